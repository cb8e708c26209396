//! Keys: one root seed per installation, and from it, for every circle, keys that nobody can link.

use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use hpke::{Deserializable, Kem, Serializable, kem::X25519HkdfSha256};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::id::{CircleId, Nonce, PublicKey, SealingKey, SignatureBytes};
use crate::record::{Body, Payload, Record, RecordError};

/// Thirty-two secret bytes, wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Wraps secret bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    /// Draws a new one.
    pub fn random(rng: &mut impl rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }
    /// The bytes themselves, for sealing and storing.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// HKDF-SHA256 (RFC 5869) with this as input keying material.
    pub fn derive(&self, salt: &[u8], info: &str) -> Self {
        let mut out = [0; 32];
        // 32 bytes are always within HKDF-SHA256's 255 × 32, the only way this can fail.
        let _ = Hkdf::<Sha256>::new(Some(salt), &self.0).expand(info.as_bytes(), &mut out);
        Self(out)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What an installation is grown from.
#[derive(Debug, Clone)]
pub struct RootSeed(Secret);

impl RootSeed {
    /// Wraps a stored seed.
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }
    /// The pseudonym for one founding or one invite. `salt` is the door's nonce: known before the circle's
    /// id is (a founder's pseudonym stands in the charter), fresh for each circle, so that no two circles
    /// share a key. A new `generation` is a new pseudonym.
    pub fn pseudonym(&self, salt: &Nonce, generation: u32) -> Pseudonym {
        let salt = [salt.as_bytes().as_slice(), &generation.to_be_bytes()].concat();
        let signing = self.0.derive(&salt, "undertone/1/pseudonym");
        let sealing = self.0.derive(&salt, "undertone/1/sealing");
        Pseudonym::from_secrets(&signing, &sealing)
    }
    /// The secret voice setting for one circle; the next `character` takes a new one.
    pub fn voice_seed(&self, salt: &Nonce, character: u32) -> Secret {
        let salt = [salt.as_bytes().as_slice(), &character.to_be_bytes()].concat();
        self.0.derive(&salt, "undertone/1/voice")
    }
    /// The key that seals what is kept on disk.
    pub fn storage_key(&self) -> Secret {
        self.0.derive(b"", "undertone/1/storage")
    }
}

/// One person in one circle: a key to sign with, and a key others seal to.
#[derive(Clone)]
pub struct Pseudonym {
    signing: SigningKey,
    sealing: <X25519HkdfSha256 as Kem>::PrivateKey,
    sealing_public: <X25519HkdfSha256 as Kem>::PublicKey,
}

impl Pseudonym {
    fn from_secrets(signing: &Secret, sealing: &Secret) -> Self {
        let (private, public) = X25519HkdfSha256::derive_keypair(sealing.as_bytes());
        Self {
            signing: SigningKey::from_bytes(signing.as_bytes()),
            sealing: private,
            sealing_public: public,
        }
    }
    /// The pseudonym itself.
    pub fn public_key(&self) -> PublicKey {
        public_key(&self.signing)
    }
    /// What others seal to.
    pub fn sealing_key(&self) -> SealingKey {
        SealingKey::from_bytes(self.sealing_public.to_bytes().into())
    }
    /// Signs a record as this pseudonym.
    ///
    /// # Errors
    /// When the content is not acceptable.
    pub fn sign(&self, draft: Draft) -> Result<Record, RecordError> {
        draft.sign(&self.signing)
    }
    /// Signs bytes that are no record; they begin with a domain of their own.
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> SignatureBytes {
        SignatureBytes::from_bytes(crate::signature::sign(&self.signing, message))
    }
    pub(crate) fn sealing_private(&self) -> &<X25519HkdfSha256 as Kem>::PrivateKey {
        &self.sealing
    }
    pub(crate) fn sealing_pair(
        &self,
    ) -> (
        <X25519HkdfSha256 as Kem>::PrivateKey,
        <X25519HkdfSha256 as Kem>::PublicKey,
    ) {
        (self.sealing.clone(), self.sealing_public.clone())
    }
}

impl std::fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pseudonym({})", self.public_key().short())
    }
}

/// The key that admits, removes and gives turns; apart from the leader's pseudonym, so that it can be
/// exported, delegated and replaced.
#[derive(Clone)]
pub struct GroupKey(SigningKey);

impl GroupKey {
    /// From its secret half.
    pub fn from_secret(secret: &Secret) -> Self {
        Self(SigningKey::from_bytes(secret.as_bytes()))
    }
    /// Its public half, as it stands in the charter.
    pub fn public_key(&self) -> PublicKey {
        public_key(&self.0)
    }
    /// Its secret half, for storing.
    pub fn to_secret(&self) -> Secret {
        Secret::from_bytes(self.0.to_bytes())
    }
    /// Signs a record with the authority of the group.
    ///
    /// # Errors
    /// When the content is not acceptable.
    pub fn sign(&self, draft: Draft) -> Result<Record, RecordError> {
        draft.sign(&self.0)
    }
}

impl std::fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupKey({})", self.public_key().short())
    }
}

/// A record before it is signed.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The circle; [`CircleId::UNBORN`] for a charter.
    pub circle: CircleId,
    /// Position in the author's chain.
    pub seq: u64,
    /// What it follows in the author's authority chain.
    pub prev: Option<crate::id::RecordId>,
    /// Lamport time.
    pub lamport: u64,
    /// Minutes since 1970 UTC.
    pub created: u64,
    /// For how many minutes it is valid.
    pub valid_minutes: u64,
    /// What it says.
    pub body: Body,
}

impl Draft {
    fn sign(self, key: &SigningKey) -> Result<Record, RecordError> {
        Record::sign(
            Payload {
                circle: self.circle,
                author: public_key(key),
                seq: self.seq,
                prev: self.prev,
                lamport: self.lamport,
                created: self.created,
                expires: self.created.saturating_add(self.valid_minutes),
                body: self.body,
            },
            key,
        )
    }
}

fn public_key(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

/// Reads a sealing key as HPKE wants it.
pub(crate) fn hpke_public(key: &SealingKey) -> Option<<X25519HkdfSha256 as Kem>::PublicKey> {
    <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(key.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_share_no_key() {
        let root = RootSeed::new(Secret::from_bytes([7; 32]));
        let one = root.pseudonym(&Nonce::from_bytes([1; 16]), 0);
        let other = root.pseudonym(&Nonce::from_bytes([2; 16]), 0);
        let again = root.pseudonym(&Nonce::from_bytes([1; 16]), 0);
        let reborn = root.pseudonym(&Nonce::from_bytes([1; 16]), 1);
        assert_eq!(one.public_key(), again.public_key());
        assert_ne!(one.public_key(), other.public_key());
        assert_ne!(one.public_key(), reborn.public_key());
        assert_ne!(one.sealing_key(), other.sealing_key());
        assert_ne!(one.public_key().as_bytes(), one.sealing_key().as_bytes());
    }

    #[test]
    fn secrets_do_not_print() {
        assert_eq!(format!("{:?}", Secret::from_bytes([1; 32])), "Secret(…)");
    }
}

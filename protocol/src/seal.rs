//! Sealing: HPKE to one member, and padded authenticated encryption for everybody who shares a key.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305 as HpkeAead,
    kdf::HkdfSha256, kem::X25519HkdfSha256, setup_receiver, single_shot_seal_with_rng,
};
use rand_core::CryptoRng;

use crate::id::SealingKey;
use crate::identity::{Pseudonym, Secret, hpke_public};
use crate::memo::Memo;

const ENCAPSULATED_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const LENGTH_BYTES: usize = 4;

/// Sizes that sealed messages have on the wire, so that their length says little. The smallest holds what is said all the
/// time: hands, turns, and the hello of any member of any circle.
pub const BUCKETS: [usize; 6] = [640, 1_280, 2_560, 5_120, 10_240, 16_384];
/// What sealing and padding add to a message at least.
pub const SEALING_BYTES: usize = NONCE_BYTES + TAG_BYTES + LENGTH_BYTES;
/// The longest message that fits the largest bucket.
pub const MAX_MESSAGE_BYTES: usize = BUCKETS[BUCKETS.len() - 1] - SEALING_BYTES;

/// Why something could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's or sender's key is no X25519 point that HPKE accepts.
    #[error("not an acceptable sealing key")]
    BadKey,
    /// Wrong key, wrong context, or changed on the way.
    #[error("cannot be opened with this key")]
    CannotOpen,
    /// More than [`MAX_MESSAGE_BYTES`].
    #[error("{0} bytes do not fit the largest message")]
    TooLarge(usize),
}

/// Seals `secret` so that only `to` can open it and knows that `from` sealed it (RFC 9180, Auth mode;
/// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305). Returns encapsulated key ‖ ciphertext.
///
/// # Errors
/// [`SealError::BadKey`] when `to` is no acceptable key.
pub fn seal_to(
    to: &SealingKey,
    from: Option<&Pseudonym>,
    info: &[u8],
    secret: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let recipient = hpke_public(to).ok_or(SealError::BadKey)?;
    let mode = match from {
        Some(sender) => OpModeS::Auth(sender.sealing_pair()),
        None => OpModeS::Base,
    };
    let (encapsulated, ciphertext) =
        single_shot_seal_with_rng::<HpkeAead, HkdfSha256, X25519HkdfSha256>(
            &mode, &recipient, info, secret, b"", rng,
        )
        .map_err(|_| SealError::BadKey)?;
    let sealed = [encapsulated.to_bytes().as_slice(), &ciphertext].concat();
    let from = from.map(Pseudonym::sealing_key);
    OPENED.with(|known| {
        let parts = parts(to, from.as_ref(), info, &sealed);
        known.put(&parts, || Ok(secret.to_vec()));
    });
    Ok(sealed)
}

thread_local! {
    static OPENED: Memo<Result<Vec<u8>, SealError>> = const { Memo::new() };
}

fn parts<'a>(
    to: &'a SealingKey,
    from: Option<&'a SealingKey>,
    info: &'a [u8],
    sealed: &'a [u8],
) -> [&'a [u8]; 4] {
    [
        to.as_bytes(),
        from.map_or(&[], |key| key.as_bytes().as_slice()),
        info,
        sealed,
    ]
}

/// Opens what [`seal_to`] made; `from` must be the same sender as there.
///
/// # Errors
/// [`SealError::BadKey`], [`SealError::CannotOpen`].
pub fn open_sealed(
    own: &Pseudonym,
    from: Option<&SealingKey>,
    info: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let to = own.sealing_key();
    OPENED.with(|known| {
        known.once(&parts(&to, from, info, sealed), || {
            open_with(own, from, info, sealed)
        })
    })
}

fn open_with(
    own: &Pseudonym,
    from: Option<&SealingKey>,
    info: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, SealError> {
    let (encapsulated, ciphertext) = sealed
        .split_at_checked(ENCAPSULATED_BYTES)
        .ok_or(SealError::CannotOpen)?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
        .map_err(|_| SealError::CannotOpen)?;
    let mode = match from {
        Some(sender) => OpModeR::Auth(hpke_public(sender).ok_or(SealError::BadKey)?),
        None => OpModeR::Base,
    };
    let mut context = setup_receiver::<HpkeAead, HkdfSha256, X25519HkdfSha256>(
        &mode,
        own.sealing_private(),
        &encapsulated,
        info,
    )
    .map_err(|_| SealError::CannotOpen)?;
    context
        .open(ciphertext, b"")
        .map_err(|_| SealError::CannotOpen)
}

/// Encrypts a message for all holders of `key` (XChaCha20-Poly1305, random nonce), padded so that it
/// leaves in one of the sizes of [`BUCKETS`].
///
/// ```text
/// nonce 24 | sealed { length u32 BE | message | zeros } | tag 16
/// ```
///
/// # Errors
/// [`SealError::TooLarge`].
pub fn seal_padded(
    key: &Secret,
    context: &[u8],
    message: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let needed = SEALING_BYTES + message.len();
    let size = BUCKETS
        .into_iter()
        .find(|bucket| *bucket >= needed)
        .ok_or(SealError::TooLarge(message.len()))?;
    let mut padded = (message.len() as u32).to_be_bytes().to_vec();
    padded.extend_from_slice(message);
    padded.resize(size - NONCE_BYTES - TAG_BYTES, 0);
    seal(key, context, &padded, rng)
}

/// Opens what [`seal_padded`] made.
///
/// # Errors
/// [`SealError::CannotOpen`].
pub fn open_padded(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    if !BUCKETS.contains(&sealed.len()) {
        return Err(SealError::CannotOpen);
    }
    let mut message = open(key, context, sealed)?;
    let length = message
        .first_chunk::<LENGTH_BYTES>()
        .map(|b| u32::from_be_bytes(*b) as usize)
        .filter(|length| LENGTH_BYTES + length <= message.len())
        .ok_or(SealError::CannotOpen)?;
    message.truncate(LENGTH_BYTES + length);
    message.drain(..LENGTH_BYTES);
    Ok(message)
}

/// Encrypts bytes for the holder of `key`: nonce 24 | ciphertext | tag 16.
///
/// # Errors
/// [`SealError::TooLarge`] beyond what the cipher takes (256 GiB).
pub fn seal(
    key: &Secret,
    context: &[u8],
    message: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    rng.fill_bytes(&mut nonce);
    let cipher = XChaCha20Poly1305::new(key.as_bytes().into());
    let payload = Payload {
        msg: message,
        aad: context,
    };
    let sealed = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| SealError::TooLarge(message.len()))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made.
///
/// # Errors
/// [`SealError::CannotOpen`].
pub fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, sealed) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or(SealError::CannotOpen)?;
    let cipher = XChaCha20Poly1305::new(key.as_bytes().into());
    let payload = Payload {
        msg: sealed,
        aad: context,
    };
    cipher
        .decrypt(&XNonce::from(*nonce), payload)
        .map_err(|_| SealError::CannotOpen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Nonce;
    use crate::identity::RootSeed;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    fn person(byte: u8) -> Pseudonym {
        RootSeed::new(Secret::from_bytes([byte; 32])).pseudonym(&Nonce::from_bytes([0; 16]), 0)
    }

    #[test]
    fn only_the_recipient_opens_and_knows_the_sender() {
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let (ann, ben, eve) = (person(1), person(2), person(3));
        let sealed = seal_to(&ben.sealing_key(), Some(&ann), b"info", b"key", &mut rng).unwrap();
        let from_ann = Some(ann.sealing_key());
        assert_eq!(
            open_sealed(&ben, from_ann.as_ref(), b"info", &sealed).unwrap(),
            b"key"
        );
        let wrong = [
            open_sealed(&eve, from_ann.as_ref(), b"info", &sealed),
            open_sealed(&ben, Some(&eve.sealing_key()), b"info", &sealed),
            open_sealed(&ben, None, b"info", &sealed),
            open_sealed(&ben, from_ann.as_ref(), b"other", &sealed),
            open_sealed(&ben, from_ann.as_ref(), b"info", &sealed[..20]),
        ];
        assert!(wrong.iter().all(Result::is_err));
    }

    #[test]
    fn messages_have_few_sizes() {
        let mut rng = ChaCha20Rng::from_seed([2; 32]);
        let key = Secret::from_bytes([9; 32]);
        for length in [
            0,
            1,
            596,
            597,
            1_236,
            4_000,
            5_077,
            10_197,
            MAX_MESSAGE_BYTES,
        ] {
            let message = vec![5; length];
            let sealed = seal_padded(&key, b"t", &message, &mut rng).unwrap();
            assert!(BUCKETS.contains(&sealed.len()), "{}", sealed.len());
            assert_eq!(open_padded(&key, b"t", &sealed).unwrap(), message);
            assert_eq!(open_padded(&key, b"u", &sealed), Err(SealError::CannotOpen));
        }
        let large = vec![0; MAX_MESSAGE_BYTES + 1];
        assert!(seal_padded(&key, b"t", &large, &mut rng).is_err());
    }
}

//! Invite links: where a circle's door is, and the secret that opens the conversation at it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use minicbor::{Decode, Encode};

use ed25519_dalek::SigningKey;
use rand_core::CryptoRng;

use crate::id::{CircleId, Nonce, PublicKey, SignatureBytes};
use crate::identity::{Pseudonym, Secret};
use crate::record::{InviteProof, MAX_MEMBERS, Pace, RouteKind};

/// What every link begins with.
pub const SCHEME: &str = "undertone:";
/// Longest link that is read at all.
pub const MAX_LINK_CHARS: usize = 2_048;

/// An invite as a person passes it on: `undertone:` and base64url of a CBOR map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// The circle, and so its charter, which is fetched at the door and must hash to this.
    pub circle: CircleId,
    /// Opens the conversation at the door; nothing inside the circle.
    pub door: Secret,
    /// How the traffic travels.
    pub route: RouteKind,
    /// Where to go first: the ways to the relay, or members of a direct circle, as the network layer writes addresses.
    pub addresses: Vec<String>,
    /// Opens an invite door, once.
    pub token: Option<Token>,
    /// Most members of the circle, 2–16: how much a relay is asked to send at any time, whoever is there.
    pub members: u8,
    /// How often something goes over each line.
    pub pace: Pace,
}

/// A single-use token: a signing key of 128 bits, for which a member answers.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Token {
    #[n(0)]
    secret: Nonce,
    #[n(1)]
    sponsor: PublicKey,
    /// Minutes since 1970 UTC until which it may be spent.
    #[n(2)]
    pub until: u64,
    #[n(3)]
    sponsored_by: SignatureBytes,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token(until {})", self.until)
    }
}

/// Longest time for which a token is good: a week.
pub const MAX_TOKEN_MINUTES: u64 = 7 * 24 * 60;

impl Token {
    /// A new one, for which `sponsor` answers.
    pub fn issue(
        sponsor: &Pseudonym,
        circle: &CircleId,
        until: u64,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let mut secret = [0; 16];
        rng.fill_bytes(&mut secret);
        let secret = Nonce::from_bytes(secret);
        let public = public_half(&signing_key(&secret));
        let message = InviteProof::sponsored(circle, &public, until);
        Self {
            secret,
            sponsor: sponsor.public_key(),
            until,
            sponsored_by: sponsor.sign_bytes(&message),
        }
    }

    /// Its public half: what a join record shows, and an admission spends.
    pub fn public(&self) -> PublicKey {
        public_half(&signing_key(&self.secret))
    }

    /// Shows that `author` holds it, without showing it.
    pub fn proof(&self, circle: &CircleId, author: &PublicKey) -> InviteProof {
        let key = signing_key(&self.secret);
        let spent = crate::signature::sign(&key, &InviteProof::spent(circle, author));
        InviteProof {
            token: public_half(&key),
            sponsor: self.sponsor,
            until: self.until,
            sponsored_by: self.sponsored_by,
            spent_by: SignatureBytes::from_bytes(spent),
        }
    }
}

fn signing_key(secret: &Nonce) -> SigningKey {
    let mut padded = [0; 32];
    padded[..16].copy_from_slice(secret.as_bytes());
    let seed = Secret::from_bytes(padded).derive(b"", "undertone/1/token");
    SigningKey::from_bytes(seed.as_bytes())
}

fn public_half(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Wire {
    #[n(0)]
    circle: CircleId,
    #[cbor(n(1), with = "minicbor::bytes")]
    door: [u8; 32],
    #[n(2)]
    route: RouteKind,
    #[n(3)]
    addresses: Vec<String>,
    #[n(4)]
    token: Option<Token>,
    /// Not in links made before there were lines of cells.
    #[n(5)]
    members: Option<u8>,
    /// Only where it is not the usual one.
    #[n(6)]
    pace: Option<Pace>,
}

impl Wire {
    fn to_link(&self) -> String {
        let mut bytes = Vec::new();
        // Writing into a Vec cannot fail (its error is `Infallible`).
        let _ = minicbor::encode(self, &mut bytes);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Why a text is no invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin with `undertone:`.
    #[error("an invite begins with \"{SCHEME}\"")]
    NotAnInvite,
    /// Cut off, mistyped or made by something else.
    #[error("the invite is incomplete or was changed on the way")]
    Damaged,
}

impl Invite {
    /// The link to pass on.
    pub fn to_link(&self) -> String {
        self.wire().to_link()
    }

    fn wire(&self) -> Wire {
        Wire {
            circle: self.circle,
            door: *self.door.as_bytes(),
            route: self.route,
            addresses: self.addresses.clone(),
            token: self.token.clone(),
            members: Some(self.members),
            pace: self.pace.named(),
        }
    }

    /// Reads a link; white space around and inside it, as mail programs add, is ignored.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn from_link(link: &str) -> Result<Self, InviteError> {
        let link: String = link.chars().filter(|c| !c.is_whitespace()).collect();
        let encoded = link
            .strip_prefix(SCHEME)
            .filter(|_| link.len() <= MAX_LINK_CHARS)
            .ok_or(InviteError::NotAnInvite)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| InviteError::Damaged)?;
        let (content, sum) = bytes
            .split_last_chunk::<4>()
            .filter(|(content, sum)| checksum(content) == **sum)
            .ok_or(InviteError::Damaged)?;
        let _ = sum;
        let wire: Wire = minicbor::decode(content).map_err(|_| InviteError::Damaged)?;
        let few = wire.addresses.len() <= 8 && wire.addresses.iter().all(|a| a.len() <= 256);
        let members = wire.members.unwrap_or(MAX_MEMBERS);
        if !few || !(2..=MAX_MEMBERS).contains(&members) {
            return Err(InviteError::Damaged);
        }
        Ok(Self {
            circle: wire.circle,
            door: Secret::from_bytes(wire.door),
            route: wire.route,
            addresses: wire.addresses,
            token: wire.token,
            members,
            pace: wire.pace.unwrap_or_default(),
        })
    }
}

/// First four bytes of SHA-256: catches a cut or mistyped link, nothing more.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(bytes);
    [digest[0], digest[1], digest[2], digest[3]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::RootSeed;
    use rand_core::SeedableRng;

    fn token() -> Token {
        let root = RootSeed::new(Secret::from_bytes([1; 32]));
        let sponsor = root.pseudonym(&Nonce::from_bytes([2; 16]), 0);
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([5; 32]);
        Token::issue(
            &sponsor,
            &CircleId::from_bytes([3; 32]),
            29_000_000,
            &mut rng,
        )
    }

    fn invite() -> Invite {
        Invite {
            circle: CircleId::from_bytes([3; 32]),
            door: Secret::from_bytes([4; 32]),
            route: RouteKind::Direct,
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
            token: Some(token()),
            members: 8,
            pace: Pace::Usual,
        }
    }

    #[test]
    fn a_link_that_says_no_most_members_leads_to_a_circle_of_as_many_as_there_can_be() {
        let members = |members| Wire {
            members,
            ..invite().wire()
        };
        let read = Invite::from_link(&members(None).to_link()).unwrap();
        assert_eq!(
            read,
            Invite {
                members: MAX_MEMBERS,
                ..invite()
            }
        );
        for wrong in [0, 1, MAX_MEMBERS + 1] {
            let link = members(Some(wrong)).to_link();
            assert_eq!(Invite::from_link(&link), Err(InviteError::Damaged));
        }
    }

    #[test]
    fn a_link_survives_being_passed_on_and_a_typo_is_noticed() {
        let invite = invite();
        let link = invite.to_link();
        assert_eq!(Invite::from_link(&link).unwrap(), invite);
        let wrapped = format!("  {}\n {} ", &link[..40], &link[40..]);
        assert_eq!(Invite::from_link(&wrapped).unwrap(), invite);

        let mut typo = link.clone().into_bytes();
        typo[30] = if typo[30] == b'A' { b'B' } else { b'A' };
        let typo = String::from_utf8(typo).unwrap();
        assert_eq!(Invite::from_link(&typo), Err(InviteError::Damaged));
        assert_eq!(
            Invite::from_link(&link[..link.len() - 3]),
            Err(InviteError::Damaged)
        );
        assert_eq!(
            Invite::from_link("https://example.org"),
            Err(InviteError::NotAnInvite)
        );
    }
}

//! Invite links: where a circle's door is, and the secret that opens the conversation at it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use minicbor::{Decode, Encode};

use crate::id::CircleId;
use crate::identity::Secret;
use crate::record::RouteKind;

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
    /// Where to go first: the relay, or members of a direct circle, as the network layer writes addresses.
    pub addresses: Vec<String>,
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
        let wire = Wire {
            circle: self.circle,
            door: *self.door.as_bytes(),
            route: self.route,
            addresses: self.addresses.clone(),
        };
        let mut bytes = Vec::new();
        // Writing into a Vec cannot fail (its error is `Infallible`).
        let _ = minicbor::encode(&wire, &mut bytes);
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(bytes))
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
        if wire.addresses.len() > 8 || wire.addresses.iter().any(|a| a.len() > 256) {
            return Err(InviteError::Damaged);
        }
        Ok(Self {
            circle: wire.circle,
            door: Secret::from_bytes(wire.door),
            route: wire.route,
            addresses: wire.addresses,
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

    #[test]
    fn a_link_survives_being_passed_on_and_a_typo_is_noticed() {
        let invite = Invite {
            circle: CircleId::from_bytes([3; 32]),
            door: Secret::from_bytes([4; 32]),
            route: RouteKind::Direct,
            addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        };
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

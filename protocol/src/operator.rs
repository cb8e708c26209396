//! The card of whoever runs a relay: who they are, what they see and keep, and where to complain, in their own words,
//! signed by the relay's lasting key. It is shown at the door, so that people know whom they entrust their address to.

use ed25519_dalek::SigningKey;
use minicbor::{Decode, Encode};

use crate::cose::{self, Envelope};
use crate::id::PublicKey;
use crate::identity::Secret;
use crate::record::is_plain;

/// Largest card, bytes.
pub const MAX_CARD_BYTES: usize = 2_048;
/// Longest name or place to complain, in bytes of UTF-8.
pub const MAX_SHORT_BYTES: usize = 120;
/// Longest statement of what is seen or kept, in bytes of UTF-8.
pub const MAX_STATEMENT_BYTES: usize = 600;

const AAD: &[u8] = b"undertone/1/operator";

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct OperatorCard {
    /// The relay's lasting key.
    #[n(0)]
    pub key: PublicKey,
    /// Who runs it.
    #[n(1)]
    pub name: Option<String>,
    /// What they can see.
    #[n(2)]
    pub sees: String,
    /// What they keep, and for how long.
    #[n(3)]
    pub keeps: String,
    /// Where to complain: an address, a web page, a telephone number.
    #[n(4)]
    pub complain: Option<String>,
}

/// Why a card is not acceptable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// Over [`MAX_CARD_BYTES`].
    #[error("a card has at most {MAX_CARD_BYTES} bytes")]
    TooLarge,
    /// A text is empty, too long, or has characters that cannot be seen.
    #[error("{0} is empty, too long, or has characters that cannot be seen")]
    BadField(&'static str),
    /// Not a card of the one form.
    #[error("not a card")]
    NotACard,
    /// Signed by somebody else than the relay, or changed.
    #[error("not signed by this relay")]
    BadSignature,
}

impl OperatorCard {
    /// Signs the card; its key must be the public half of the relay's Ed25519 `secret`.
    ///
    /// # Errors
    /// Whatever [`OperatorCard::verify`] would find wrong with the result.
    pub fn sign(&self, secret: &Secret) -> Result<Vec<u8>, CardError> {
        let key = SigningKey::from_bytes(secret.as_bytes());
        let bytes = cose::sign(self.to_bytes(), AAD, &key).ok_or(CardError::NotACard)?;
        Self::verify(&bytes, &self.key)?;
        Ok(bytes)
    }

    /// Reads a card that must be this relay's.
    ///
    /// # Errors
    /// One [`CardError`] per rule broken.
    pub fn verify(bytes: &[u8], relay: &PublicKey) -> Result<Self, CardError> {
        if bytes.len() > MAX_CARD_BYTES {
            return Err(CardError::TooLarge);
        }
        let envelope = Envelope::read(bytes).map_err(|_| CardError::NotACard)?;
        let payload = envelope.payload().map_err(|_| CardError::NotACard)?;
        let card: Self = minicbor::decode(payload).map_err(|_| CardError::NotACard)?;
        card.check()?;
        let verified = envelope.verify(bytes, card.to_bytes(), AAD, relay.as_bytes());
        match verified {
            Ok(_) if card.key == *relay => Ok(card),
            Ok(_) | Err(cose::Flaw::BadSignature | cose::Flaw::BadKey) => {
                Err(CardError::BadSignature)
            }
            Err(_) => Err(CardError::NotACard),
        }
    }

    /// Whether every text is one that people can be shown.
    ///
    /// # Errors
    /// [`CardError::BadField`] for the first that is not.
    pub fn check(&self) -> Result<(), CardError> {
        let texts = [
            ("name", self.name.as_deref(), MAX_SHORT_BYTES),
            ("sees", Some(&*self.sees), MAX_STATEMENT_BYTES),
            ("keeps", Some(&*self.keeps), MAX_STATEMENT_BYTES),
            ("complain", self.complain.as_deref(), MAX_SHORT_BYTES),
        ];
        let bad = |&(_, text, longest): &(_, Option<&str>, usize)| {
            text.is_some_and(|text| text.len() > longest || !is_plain(text))
        };
        match texts.iter().find(|text| bad(text)) {
            Some((field, _, _)) => Err(CardError::BadField(field)),
            None => Ok(()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing into a Vec cannot fail (its error is `Infallible`).
        let _ = minicbor::encode(self, &mut bytes);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Secret {
        Secret::from_bytes([byte; 32])
    }

    fn public(secret: &Secret) -> PublicKey {
        let key = SigningKey::from_bytes(secret.as_bytes());
        PublicKey::from_bytes(key.verifying_key().to_bytes())
    }

    fn card() -> OperatorCard {
        OperatorCard {
            key: public(&key(1)),
            name: Some("Riverside community network".into()),
            sees: "Who connects, and when.".into(),
            keeps: "Nothing.".into(),
            complain: None,
        }
    }

    #[test]
    fn a_card_is_read_as_it_was_signed() {
        let bytes = card().sign(&key(1)).unwrap();
        assert_eq!(OperatorCard::verify(&bytes, &card().key), Ok(card()));
    }

    #[test]
    fn a_card_of_somebody_else_or_changed_is_refused() {
        let bytes = card().sign(&key(1)).unwrap();
        let other = public(&key(2));
        let forged = |aad: &[u8], by: u8| {
            let key = SigningKey::from_bytes(key(by).as_bytes());
            cose::sign(card().to_bytes(), aad, &key).unwrap()
        };
        let verify = OperatorCard::verify;
        assert_eq!(verify(&bytes, &other), Err(CardError::BadSignature));
        assert_eq!(card().sign(&key(2)), Err(CardError::BadSignature));
        // The other relay's key over a card that names this one.
        let stolen = forged(AAD, 2);
        assert_eq!(verify(&stolen, &other), Err(CardError::BadSignature));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(verify(&changed, &card().key).is_err(), "byte {at}");
            assert!(verify(&bytes[..at], &card().key).is_err(), "{at} bytes");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(verify(&longer, &card().key), Err(CardError::NotACard));
        let elsewhere = forged(b"undertone/1/record", 1);
        assert_eq!(
            verify(&elsewhere, &card().key),
            Err(CardError::BadSignature)
        );
    }

    #[test]
    fn texts_are_short_and_plain() {
        let signed = |change: fn(&mut OperatorCard)| {
            let mut card = card();
            change(&mut card);
            card.sign(&key(1)).map(|_| ())
        };
        assert_eq!(
            signed(|c| c.name = Some(" ".into())),
            Err(CardError::BadField("name"))
        );
        assert_eq!(
            signed(|c| c.sees = "x".repeat(601)),
            Err(CardError::BadField("sees"))
        );
        assert_eq!(
            signed(|c| c.keeps = "noth\u{202e}ing".into()),
            Err(CardError::BadField("keeps"))
        );
        assert_eq!(
            signed(|c| c.complain = Some("a\nb".into())),
            Err(CardError::BadField("complain"))
        );
        let longest = |c: &mut OperatorCard| {
            (c.sees, c.keeps) = ("s".repeat(600), "k".repeat(600));
            (c.name, c.complain) = (Some("n".repeat(120)), Some("c".repeat(120)));
        };
        assert_eq!(signed(longest), Ok(()), "the longest texts make a card");
    }
}

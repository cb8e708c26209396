//! COSE_Sign1 (RFC 9052) in the one form that Undertone signs and reads: Ed25519, nothing unprotected, one encoding.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, iana};
use ed25519_dalek::SigningKey;

use crate::signature;

/// Signs `payload`, bound to `aad`, which is not sent.
pub(crate) fn sign(payload: Vec<u8>, aad: &[u8], key: &SigningKey) -> Option<Vec<u8>> {
    CoseSign1Builder::new()
        .protected(header())
        .payload(payload)
        .create_signature(aad, |message| signature::sign(key, message).to_vec())
        .build()
        .to_vec()
        .ok()
}

/// What is wrong with an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    NotCose,
    WrongHeaders,
    BadKey,
    BadSignature,
    NotCanonical,
}

/// An envelope that was read, and not verified yet: who signed it stands in the payload.
pub(crate) struct Envelope(CoseSign1);

impl Envelope {
    /// Reads an envelope.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let sign1 = CoseSign1::from_slice(bytes).map_err(|_| Flaw::NotCose)?;
        if sign1.protected.header != header() || !sign1.unprotected.is_empty() {
            return Err(Flaw::WrongHeaders);
        }
        Ok(Self(sign1))
    }

    /// What was signed.
    pub(crate) fn payload(&self) -> Result<&[u8], Flaw> {
        self.0.payload.as_deref().ok_or(Flaw::NotCose)
    }

    /// Verifies that `author` signed it, bound to `aad`, and that `bytes` are the one encoding of it, with `payload`
    /// encoded again from what was understood. Returns what the signature covers.
    pub(crate) fn verify(
        self,
        bytes: &[u8],
        payload: Vec<u8>,
        aad: &[u8],
        author: &[u8; 32],
    ) -> Result<Vec<u8>, Flaw> {
        let key = signature::key(author).ok_or(Flaw::BadKey)?;
        let signed: &[u8; 64] =
            (self.0.signature.as_slice().try_into()).map_err(|_| Flaw::BadSignature)?;
        let message = self.0.tbs_data(aad);
        if !signature::fits(&key, &message, signed) {
            return Err(Flaw::BadSignature);
        }
        // Encoded again from what was understood, not from what was received: extra or non-minimal bytes
        // anywhere in the envelope, all of which COSE libraries tolerate, make a difference here.
        let canonical = CoseSign1Builder::new()
            .protected(header())
            .payload(payload)
            .signature(self.0.signature)
            .build()
            .to_vec()
            .map_err(|_| Flaw::NotCose)?;
        if canonical != bytes {
            return Err(Flaw::NotCanonical);
        }
        Ok(message)
    }
}

fn header() -> Header {
    HeaderBuilder::new()
        .algorithm(iana::Algorithm::Ed25519)
        .build()
}

//! Signing and verifying records, strict in every respect.

use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use super::{Kind, MAX_INTEGER, Payload, Record, RecordError, validate};
use crate::cose::{self, Envelope, Flaw};
use crate::id::{CircleId, RecordId};
use crate::memo::Memo;

/// Largest record other than a charter.
pub const MAX_RECORD_BYTES: usize = 4 * 1024;
/// Largest charter, and largest record that holds others.
pub const MAX_CHARTER_BYTES: usize = 16 * 1024;

thread_local! {
    static VERIFIED: Memo<Result<Record, RecordError>> = const { Memo::new() };
}

impl Record {
    /// Signs what `payload` says; its author must be `key`'s public half.
    ///
    /// # Errors
    /// Whatever [`Record::verify`] would find wrong with the result.
    pub fn sign(payload: Payload, key: &SigningKey) -> Result<Self, RecordError> {
        let signed = cose::sign(payload.to_bytes(), &external_aad(&payload), key);
        Self::verify(&signed.ok_or(RecordError::NotCose)?)
    }

    /// Reads and verifies an envelope of any circle.
    ///
    /// # Errors
    /// One [`RecordError`] per rule broken: size, form, canonical encoding, headers, fields, key, signature.
    pub fn verify(bytes: &[u8]) -> Result<Self, RecordError> {
        VERIFIED.with(|known| known.once(&[bytes], || Self::read(bytes)))
    }

    fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_CHARTER_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let envelope = Envelope::read(bytes)?;
        let payload = Payload::from_bytes(envelope.payload()?)?;
        check_bounds(&payload, bytes.len())?;
        let (aad, again) = (external_aad(&payload), payload.to_bytes());
        let message = envelope.verify(bytes, again, &aad, payload.author.as_bytes())?;
        let mut id = Sha256::new();
        id.update(b"undertone/1/id");
        id.update(&message);
        Ok(Self {
            id: RecordId::from_bytes(id.finalize().into()),
            payload,
            envelope: bytes.into(),
        })
    }

    /// As [`verify`](Self::verify), for a record that must belong to this circle.
    ///
    /// # Errors
    /// Also [`RecordError::WrongCircle`].
    pub fn verify_in(bytes: &[u8], circle: &CircleId) -> Result<Self, RecordError> {
        let record = Self::verify(bytes)?;
        let own = record.founds().unwrap_or(record.payload.circle);
        (own == *circle)
            .then_some(record)
            .ok_or(RecordError::WrongCircle)
    }
}

impl From<Flaw> for RecordError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::NotCose => Self::NotCose,
            Flaw::WrongHeaders => Self::WrongHeaders,
            Flaw::BadKey => Self::BadKey,
            Flaw::BadSignature => Self::BadSignature,
            Flaw::NotCanonical => Self::NotCanonical,
        }
    }
}

fn external_aad(payload: &Payload) -> Vec<u8> {
    let kind = [payload.body.kind() as u8];
    [
        b"undertone/1/record".as_slice(),
        payload.circle.as_bytes(),
        &kind,
    ]
    .concat()
}

fn check_bounds(payload: &Payload, size: usize) -> Result<(), RecordError> {
    let kind = payload.body.kind();
    if !kind.holds_records() && size > MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge(size));
    }
    if (kind == Kind::Charter) != (payload.circle == CircleId::UNBORN) {
        return Err(RecordError::BadField("circle"));
    }
    let first = kind == Kind::Charter;
    if payload.prev.is_some() != (kind.is_chained() && !first) || (first && payload.seq != 0) {
        return Err(RecordError::BadField("prev"));
    }
    if payload.prev.is_some() && payload.seq == 0 {
        return Err(RecordError::BadField("seq"));
    }
    let numbers = [
        payload.seq,
        payload.lamport,
        payload.created,
        payload.expires,
    ];
    if numbers.iter().any(|n| *n > MAX_INTEGER) || payload.expires < payload.created {
        return Err(RecordError::BadField("seq, lamport, created or expires"));
    }
    validate::validate(&payload.body)
}

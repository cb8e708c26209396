//! Signing and verifying: COSE_Sign1 by `coset`, Ed25519 by `ed25519-dalek`, strict in every respect.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::SigningKey;
use sha2::{Digest, Sha256};

use super::{Kind, MAX_INTEGER, Payload, Record, RecordError, validate};
use crate::id::{CircleId, RecordId};
use crate::memo::Memo;
use crate::signature;

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
        let header = HeaderBuilder::new()
            .algorithm(iana::Algorithm::Ed25519)
            .build();
        let aad = external_aad(&payload);
        let sign1 = CoseSign1Builder::new()
            .protected(header)
            .payload(payload.to_bytes())
            .create_signature(&aad, |message| signature::sign(key, message).to_vec())
            .build();
        let bytes = sign1.to_vec().map_err(|_| RecordError::NotCose)?;
        Self::verify(&bytes)
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
        let sign1 = CoseSign1::from_slice(bytes).map_err(|_| RecordError::NotCose)?;
        let expected = HeaderBuilder::new()
            .algorithm(iana::Algorithm::Ed25519)
            .build();
        if sign1.protected.header != expected || !sign1.unprotected.is_empty() {
            return Err(RecordError::WrongHeaders);
        }
        let payload = Payload::from_bytes(sign1.payload.as_deref().ok_or(RecordError::NotCose)?)?;
        check_bounds(&payload, bytes.len())?;

        let key = signature::key(payload.author.as_bytes()).ok_or(RecordError::BadKey)?;
        let signed = sign1.signature.as_slice();
        let signed: &[u8; 64] = signed.try_into().map_err(|_| RecordError::BadSignature)?;
        let message = sign1.tbs_data(&external_aad(&payload));
        if !signature::fits(&key, &message, signed) {
            return Err(RecordError::BadSignature);
        }

        // Encoded again from what was understood, not from what was received: extra or non-minimal bytes
        // anywhere in the envelope, all of which COSE libraries tolerate, make a difference here.
        let canonical = CoseSign1Builder::new()
            .protected(expected)
            .payload(payload.to_bytes())
            .signature(sign1.signature)
            .build()
            .to_vec()
            .map_err(|_| RecordError::NotCose)?;
        if canonical != bytes {
            return Err(RecordError::NotCanonical);
        }
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

//! Records: the envelope as it arrives, and the payload under a signature that fits.

use ed25519_dalek::{Signer, SigningKey};
use minicbor::bytes::ByteVec;
use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};
use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{CircleId, PublicKey};
use undertone_protocol::record::{Kind, MAX_CHARTER_BYTES, MAX_INTEGER, MAX_RECORD_BYTES, Record};

use crate::kit;

/// {1: -19}
const PROTECTED: &[u8] = &[0xa1, 0x01, 0x32];

/// An envelope from anywhere.
pub fn envelope(data: &[u8]) {
    let Ok(record) = Record::verify(data) else {
        return;
    };
    check(data, &record);
    let circle = kit::circle();
    let here = record.founds().unwrap_or(record.payload().circle) == circle;
    assert_eq!(Record::verify_in(data, &circle).is_ok(), here);
}

/// A payload, signed by whoever it names if that is one of the people of the golden vectors, and folded into
/// their circle.
pub fn payload(data: &[u8]) {
    let bytes = signed(data);
    let Ok(record) = Record::verify(&bytes) else {
        return;
    };
    check(&bytes, &record);
    let mut state = CircleState::new(&kit::founding()).unwrap();
    let _ = state.apply(&record);
    let digest = state.digest();
    let _ = state.apply(&record);
    assert_eq!(digest, state.digest(), "a copy changes something");
    if let Some(mut own) = CircleState::new(&record) {
        assert_eq!(Some(own.id()), record.founds());
        let _ = own.apply(&record);
    }
}

/// What holds of every record that was accepted.
fn check(bytes: &[u8], record: &Record) {
    assert_eq!(**record.envelope(), *bytes);
    let p = record.payload();
    let kind = p.body.kind();
    let most = match kind {
        Kind::Charter | Kind::Announcement | Kind::Equivocation => MAX_CHARTER_BYTES,
        _ => MAX_RECORD_BYTES,
    };
    assert!(bytes.len() <= most);
    assert!(p.seq.max(p.lamport).max(p.created).max(p.expires) <= MAX_INTEGER);
    assert_eq!(p.prev.is_some(), kind.is_chained() && kind != Kind::Charter);
    let (payload, signature) = parts(bytes).expect("array of four");
    assert_eq!(bytes, assemble(payload, signature), "another form of it");
    let message = to_sign(&p.circle, kind as u8, payload);
    let id = Sha256::new()
        .chain_update(b"undertone/1/id")
        .chain_update(&message);
    assert_eq!(record.id().as_bytes()[..], id.finalize()[..]);
    let bare = record.founds().is_none();
    assert_eq!(bare, kind != Kind::Charter);
}

/// Payload and signature of an envelope.
pub fn parts(envelope: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut d = Decoder::new(envelope);
    d.array().ok()?;
    d.bytes().ok()?;
    d.map().ok()?;
    Some((d.bytes().ok()?, d.bytes().ok()?))
}

/// An envelope around a payload, signed if its author is known here.
pub fn signed(payload: &[u8]) -> Vec<u8> {
    let signature = head(payload).and_then(|(kind, circle, author)| {
        let key = keys()
            .into_iter()
            .find(|key| key.verifying_key().as_bytes() == author.as_bytes())?;
        Some(key.sign(&to_sign(&circle, kind, payload)).to_bytes())
    });
    assemble(payload, &signature.unwrap_or([0; 64]))
}

/// Records as they travel.
pub fn envelopes<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<ByteVec> {
    records
        .into_iter()
        .map(|r| r.envelope().to_vec().into())
        .collect()
}

fn keys() -> Vec<SigningKey> {
    let groups = [0x61, 0x62, 0x63].map(|byte| SigningKey::from_bytes(&[byte; 32]));
    let people = [kit::LEADER, kit::ANN, kit::BEN, kit::CLEO].map(kit::signing);
    groups.into_iter().chain(people).collect()
}

/// Kind, circle and author, without which nothing can be signed.
fn head(payload: &[u8]) -> Option<(u8, CircleId, PublicKey)> {
    let mut d = Decoder::new(payload);
    d.map().ok()?;
    d.u8().ok()?;
    d.u8().ok()?;
    d.u8().ok()?;
    let kind = d.u8().ok()?;
    d.u8().ok()?;
    let circle = d.decode().ok()?;
    d.u8().ok()?;
    Some((kind, circle, d.decode().ok()?))
}

/// The Sig_structure of RFC 9052, §4.4.
fn to_sign(circle: &CircleId, kind: u8, payload: &[u8]) -> Vec<u8> {
    let aad = [b"undertone/1/record".as_slice(), circle.as_bytes(), &[kind]].concat();
    let mut e = Encoder::new(Vec::new());
    let signed = e.array(4).and_then(|e| {
        e.str("Signature1")?
            .bytes(PROTECTED)?
            .bytes(&aad)?
            .bytes(payload)
    });
    signed.unwrap();
    e.into_writer()
}

fn assemble(payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    let written = e
        .array(4)
        .and_then(|e| e.bytes(PROTECTED)?.map(0)?.bytes(payload)?.bytes(signature));
    written.unwrap();
    e.into_writer()
}

//! Everything that is no record, and must not pass for one: a named corpus with a verdict for each case, and
//! tens of thousands of forged, expired, replayed and transplanted records against a circle.
//!
//! `UNDERTONE_REWRITE_VECTORS=1 cargo test -p undertone-protocol --test corpus` writes `vectors/corpus.json` anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)]

#[path = "vectors/attacks.rs"]
mod attacks;
#[path = "vectors/cbor.rs"]
mod cbor;
#[path = "vectors/envelopes.rs"]
mod envelopes;
#[path = "vectors/fields.rs"]
mod fields;
#[path = "vectors/json.rs"]
#[allow(dead_code)]
mod json;
#[path = "vectors/kit.rs"]
mod kit;
#[path = "vectors/limits.rs"]
mod limits;

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use undertone_protocol::record::{Kind, Record, RecordError};

use cbor::{Cbor, head};
use json::{Json, compare};
use kit::*;

const LEAST_CASES: usize = 1_000;

/// What must become of some bytes.
#[derive(Debug, Clone, Copy)]
pub enum Must {
    /// Accepted.
    Pass,
    /// Refused for this reason.
    Fail(&'static str),
    /// Refused, for whichever reason comes first.
    FailSomehow,
}

pub struct Case {
    name: String,
    bytes: Vec<u8>,
    must: Must,
}

#[derive(Default)]
pub struct Corpus(Vec<Case>);

impl Corpus {
    pub fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>, must: Must) {
        let name = name.into();
        self.0.push(Case { name, bytes, must });
    }
}

/// A record that is genuine, taken apart, with the key that signed it.
pub struct Sample {
    pub name: &'static str,
    pub kind: Kind,
    pub circle: [u8; 32],
    pub key: SigningKey,
    pub payload: Cbor,
    pub envelope: Vec<u8>,
}

impl Sample {
    fn new(name: &'static str, record: &Record) -> Self {
        let sign1: coset::CoseSign1 =
            coset::CborSerializable::from_slice(record.envelope()).unwrap();
        let keys = [
            signing(ANN),
            SigningKey::from_bytes(&[0x61; 32]),
            SigningKey::from_bytes(&[0x62; 32]),
        ];
        let author = record.author();
        let mut keys = keys.into_iter();
        Self {
            name,
            kind: record.body().kind(),
            circle: *record.payload().circle.as_bytes(),
            key: keys
                .find(|k| k.verifying_key().as_bytes() == author.as_bytes())
                .unwrap(),
            payload: Cbor::parse(&sign1.payload.unwrap()),
            envelope: record.envelope().to_vec(),
        }
    }

    /// Changed in one place, and signed again.
    pub fn with(&self, change: impl FnOnce(&mut Cbor)) -> Vec<u8> {
        let mut payload = self.payload.clone();
        change(&mut payload);
        self.signed(&payload.write())
    }

    /// The same for its body.
    pub fn with_body(&self, change: impl FnOnce(&mut Cbor)) -> Vec<u8> {
        self.with(|payload| change(payload.field(9)))
    }

    pub fn signed(&self, payload: &[u8]) -> Vec<u8> {
        let signature = self.key.sign(&self.to_sign(payload));
        assemble(PROTECTED, payload, &signature.to_bytes())
    }

    pub fn to_sign(&self, payload: &[u8]) -> Vec<u8> {
        to_sign(PROTECTED, &self.circle, self.kind as u8, payload)
    }
}

/// {1: -19}
pub const PROTECTED: &[u8] = &[0xa1, 0x01, 0x32];

/// The Sig_structure of RFC 9052, §4.4.
pub fn to_sign(protected: &[u8], circle: &[u8; 32], kind: u8, payload: &[u8]) -> Vec<u8> {
    let aad = [b"undertone/1/record".as_slice(), circle, &[kind]].concat();
    Cbor::List(vec![
        cbor::text("Signature1"),
        Cbor::Bytes(protected.into()),
        Cbor::Bytes(aad),
        Cbor::Bytes(payload.into()),
    ])
    .write()
}

pub fn assemble(protected: &[u8], payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let parts = [
        head(4, 4),
        Cbor::Bytes(protected.into()).write(),
        head(5, 0),
        Cbor::Bytes(payload.into()).write(),
        Cbor::Bytes(signature.into()).write(),
    ];
    parts.concat()
}

/// The reason as it stands in the file.
fn verdict(bytes: &[u8]) -> String {
    match Record::verify(bytes) {
        Ok(_) => "accept".into(),
        Err(RecordError::TooLarge(_)) => "TooLarge".into(),
        Err(RecordError::BadPayload(_)) => "BadPayload".into(),
        Err(RecordError::BadField(field)) => format!("BadField {field}"),
        Err(other) => format!("{other:?}"),
    }
}

#[test]
fn every_case_is_judged_as_it_must_be() {
    let samples: Vec<_> = samples()
        .iter()
        .map(|(name, record)| Sample::new(name, record))
        .collect();
    let mut corpus = Corpus::default();
    fields::add(&mut corpus, &samples);
    envelopes::add(&mut corpus, &samples);
    limits::add(&mut corpus, &samples);

    let mut wrong = Vec::new();
    let mut lines = Vec::new();
    for case in &corpus.0 {
        let verdict = verdict(&case.bytes);
        let fine = match case.must {
            Must::Pass => verdict == "accept",
            Must::Fail(reason) => verdict == reason,
            Must::FailSomehow => verdict != "accept",
        };
        if !fine {
            wrong.push(format!("{}: {verdict}, must be {:?}", case.name, case.must));
        }
        lines.push(Json::List(vec![
            case.name.as_str().into(),
            verdict.into(),
            STANDARD.encode(&case.bytes).into(),
        ]));
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    let names: std::collections::BTreeSet<_> = corpus.0.iter().map(|c| &c.name).collect();
    assert_eq!(names.len(), corpus.0.len(), "no two cases share a name");
    assert!(corpus.0.len() >= LEAST_CASES);
    compare("corpus.json", &lines);
    println!("{} cases", corpus.0.len());
}

//! The envelope around a record: headers, signatures, bytes before, within and after.

use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha512};

use crate::cbor::{Cbor, NULL, bytes, head, text};
use crate::{Corpus, Must, PROTECTED, Sample, assemble, to_sign};
use undertone_protocol::record::Kind;

pub fn add(corpus: &mut Corpus, samples: &[Sample]) {
    let mut kinds = std::collections::BTreeSet::new();
    for sample in samples.iter().filter(|s| kinds.insert(s.kind)) {
        signatures(corpus, sample);
        if [Kind::Charter, Kind::Pledge, Kind::Removal, Kind::Epoch].contains(&sample.kind) {
            headers(corpus, sample);
            flips(corpus, sample);
        }
    }
    for sample in samples.iter().filter(|s| s.kind == Kind::Pledge) {
        weak_keys(corpus, sample);
    }
}

fn parts(envelope: &[u8]) -> Vec<Cbor> {
    match Cbor::parse(envelope) {
        Cbor::List(parts) => parts,
        _ => panic!("an envelope is a list"),
    }
}

/// Signed by somebody else, for something else, or not quite.
fn signatures(corpus: &mut Corpus, sample: &Sample) {
    let payload = sample.payload.write();
    let kind = sample.kind as u8;
    let mut add = |what: &str, reason: &'static str, message: Vec<u8>, key: &SigningKey| {
        let bytes = assemble(PROTECTED, &payload, &key.sign(&message).to_bytes());
        corpus.add(
            format!("{}: {what}", sample.name),
            bytes,
            Must::Fail(reason),
        );
    };
    let wrong = "BadSignature";
    let own = sample.to_sign(&payload);
    let other = SigningKey::from_bytes(&[0x59; 32]);
    add("signed by somebody else", wrong, own.clone(), &other);
    let elsewhere = to_sign(PROTECTED, &[9; 32], kind, &payload);
    add("signed for another circle", wrong, elsewhere, &sample.key);
    let otherwise = to_sign(PROTECTED, &sample.circle, kind % 31 + 1, &payload);
    add("signed as another kind", wrong, otherwise, &sample.key);
    add(
        "signed without its envelope",
        wrong,
        payload.clone(),
        &sample.key,
    );
    let bare = Cbor::List(vec![
        text("Signature1"),
        Cbor::Bytes(PROTECTED.into()),
        Cbor::Bytes(Vec::new()),
        Cbor::Bytes(payload.clone()),
    ]);
    add("signed without a domain", wrong, bare.write(), &sample.key);

    let mut moved = sample.key.sign(&own).to_bytes();
    let s: [u8; 32] = moved[32..].try_into().unwrap();
    moved[32..].copy_from_slice(&scalar::plus_order(s));
    let name = format!("{}: s raised by the order", sample.name);
    corpus.add(
        name,
        assemble(PROTECTED, &payload, &moved),
        Must::Fail(wrong),
    );
    // R = the neutral element, s = k·a: the one equation that plain verification asks for holds.
    let mut zero = [0; 64];
    zero[0] = 1;
    let author = sample.key.verifying_key().to_bytes();
    let k = Sha512::new().chain_update(&zero[..32]).chain_update(author);
    let k: [u8; 64] = k.chain_update(&own).finalize().into();
    let mut own_scalar = sample.key.to_scalar_bytes();
    own_scalar[0] &= 0xf8;
    own_scalar[31] = own_scalar[31] & 0x7f | 0x40;
    let s = scalar::product(&k, &own_scalar);
    zero[32..].copy_from_slice(&s);
    let signature = ed25519_dalek::Signature::from_bytes(&zero);
    let verifying = sample.key.verifying_key();
    assert!(ed25519_dalek::Verifier::verify(&verifying, &own, &signature).is_ok());
    let name = format!("{}: R is the neutral element", sample.name);
    corpus.add(
        name,
        assemble(PROTECTED, &payload, &zero),
        Must::Fail(wrong),
    );
    // A record that was signed as one kind shown as another.
    let shown = kind % 31 + 1;
    let mut other_kind = sample.payload.clone();
    *other_kind.field(1) = Cbor::Number(shown.into());
    let signature = sample.key.sign(&own).to_bytes();
    let bytes = assemble(PROTECTED, &other_kind.write(), &signature);
    corpus.add(
        format!("{}: shown as kind {shown}", sample.name),
        bytes,
        Must::FailSomehow,
    );
}

fn headers(corpus: &mut Corpus, sample: &Sample) {
    let payload = sample.payload.write();
    let name = |what: &str| format!("{}: {what}", sample.name);
    let with = |protected: &[u8]| {
        let message = to_sign(protected, &sample.circle, sample.kind as u8, &payload);
        assemble(protected, &payload, &sample.key.sign(&message).to_bytes())
    };
    let not = Must::Fail("NotCose");
    let wrong = Must::Fail("WrongHeaders");
    let odd = Must::Fail("NotCanonical");
    for (what, protected, must) in [
        ("algorithm -8", vec![0xa1, 1, 0x27], wrong),
        ("algorithm -7", vec![0xa1, 1, 0x26], wrong),
        (
            "algorithm as text",
            [&[0xa1, 1, 0x67], b"Ed25519".as_slice()].concat(),
            wrong,
        ),
        ("no algorithm", vec![0xa0], wrong),
        ("no protected header", vec![], wrong),
        ("a key id", vec![0xa2, 1, 0x32, 4, 0x41, 7], wrong),
        ("a critical header", vec![0xa2, 1, 0x32, 2, 0x81, 1], wrong),
        ("an unknown header", vec![0xa2, 1, 0x32, 0x18, 99, 7], wrong),
        ("the algorithm twice", vec![0xa2, 1, 0x32, 1, 0x32], not),
        (
            "a header without a length",
            vec![0xbf, 1, 0x32, 0xff],
            Must::FailSomehow,
        ),
        (
            "a header of more bytes than it needs",
            vec![0xa1, 1, 0x38, 18],
            Must::FailSomehow,
        ),
        ("a header and more", vec![0xa1, 1, 0x32, 0], not),
    ] {
        corpus.add(name(what), with(&protected), must);
    }
    let whole = |parts: &[Cbor]| Cbor::List(parts.to_vec()).write();
    let own = parts(&sample.envelope);
    let replace = |at: usize, part: Cbor| {
        let mut parts = own.clone();
        parts[at] = part;
        whole(&parts)
    };
    let raw = |bytes: &[u8]| Cbor::Raw(bytes.to_vec());
    let deep = [&[0xa1, 0x18, 99], vec![0x81; 300].as_slice(), &[0]].concat();
    for (what, bytes, must) in [
        (
            "an unprotected key id",
            replace(1, raw(&[0xa1, 4, 0x41, 7])),
            wrong,
        ),
        (
            "an unprotected algorithm",
            replace(1, raw(&[0xa1, 1, 0x32])),
            wrong,
        ),
        ("an unprotected list", replace(1, raw(&[0x80])), not),
        (
            "an unprotected header without a length",
            replace(1, raw(&[0xbf, 0xff])),
            odd,
        ),
        (
            "an unprotected header too deep",
            replace(1, raw(&deep)),
            not,
        ),
        (
            "a protected map instead of its bytes",
            replace(0, raw(PROTECTED)),
            not,
        ),
        ("a detached payload", replace(2, raw(&[NULL])), not),
        ("a payload as text", replace(2, own[2].mistyped()), not),
        (
            "a payload of no bytes",
            replace(2, bytes(0)),
            Must::Fail("BadPayload"),
        ),
        (
            "a signature of 63 bytes",
            replace(3, bytes(63)),
            Must::Fail("BadSignature"),
        ),
        (
            "a signature of 65 bytes",
            replace(3, bytes(65)),
            Must::Fail("BadSignature"),
        ),
        (
            "a signature of none",
            replace(3, bytes(0)),
            Must::Fail("BadSignature"),
        ),
        (
            "a signature of zeros",
            replace(3, Cbor::Bytes(vec![0; 64])),
            Must::Fail("BadSignature"),
        ),
        ("a signature of null", replace(3, raw(&[NULL])), not),
        (
            "a longer head of the protected header",
            replace(0, own[0].longer()),
            odd,
        ),
        (
            "a longer head of the unprotected header",
            replace(1, own[1].longer()),
            odd,
        ),
        (
            "a longer head of the payload",
            replace(2, own[2].longer()),
            odd,
        ),
        (
            "a longer head of the signature",
            replace(3, own[3].longer()),
            odd,
        ),
        (
            "a protected header in pieces",
            replace(0, own[0].endless()),
            odd,
        ),
        ("a payload in pieces", replace(2, own[2].endless()), odd),
        ("a signature in pieces", replace(3, own[3].endless()), odd),
        (
            "an envelope without a length",
            Cbor::List(own.clone()).endless().write(),
            odd,
        ),
        (
            "an envelope with a longer head",
            Cbor::List(own.clone()).longer().write(),
            odd,
        ),
        ("three parts", whole(&own[..3]), not),
        (
            "five parts",
            whole(&[own.as_slice(), &[raw(&[NULL])]].concat()),
            not,
        ),
        (
            "tag 18",
            [head(6, 18), sample.envelope.clone()].concat(),
            not,
        ),
        (
            "a byte after the end",
            [sample.envelope.as_slice(), &[0]].concat(),
            not,
        ),
        (
            "a byte before the beginning",
            [&[0], sample.envelope.as_slice()].concat(),
            not,
        ),
        ("itself twice", sample.envelope.repeat(2), not),
        (
            "a map",
            [head(5, 2), sample.envelope[1..].to_vec()].concat(),
            not,
        ),
    ] {
        corpus.add(name(what), bytes, must);
    }
    for part in 1..8 {
        let end = sample.envelope.len() * part / 8;
        corpus.add(
            name(&format!("cut after {end} bytes")),
            sample.envelope[..end].to_vec(),
            not,
        );
    }
}

/// One bit of every stretch of the envelope.
fn flips(corpus: &mut Corpus, sample: &Sample) {
    for byte in (0..sample.envelope.len()).step_by(11) {
        let mut bytes = sample.envelope.clone();
        let bit = byte % 8;
        bytes[byte] ^= 1 << bit;
        let name = format!("{}: bit {bit} of byte {byte} flipped", sample.name);
        corpus.add(name, bytes, Must::FailSomehow);
    }
}

/// Every encoding of the eight points of small order: signatures nobody made fit them where nobody looks.
fn weak_keys(corpus: &mut Corpus, sample: &Sample) {
    const EIGHTH: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    let field = |low: u8| {
        let mut bytes = [0xff; 32];
        bytes[0] = low;
        bytes[31] = 0x7f;
        bytes
    };
    let small = |low: u8| {
        let mut bytes = [0; 32];
        bytes[0] = low;
        bytes
    };
    let mut other_eighth: [u8; 32] = std::array::from_fn(|i| 0xff - EIGHTH[i]);
    other_eighth[0] = 0xed - EIGHTH[0];
    other_eighth[31] = 0x7f - EIGHTH[31];
    let heights = [
        ("0", small(0)),
        ("1", small(1)),
        ("-1", field(0xec)),
        ("0 as the prime", field(0xed)),
        ("1 as the prime and 1", field(0xee)),
        ("of an eighth", EIGHTH),
        ("of another eighth", other_eighth),
    ];
    for (what, height) in heights {
        for sign in [0, 0x80] {
            let mut author = height;
            author[31] |= sign;
            let mut payload = sample.payload.clone();
            *payload.field(3) = Cbor::Bytes(author.into());
            let mut signature = [0; 64];
            signature[0] = 1;
            let bytes = assemble(PROTECTED, &payload.write(), &signature);
            let name = format!("pledge: a key of height {what}, sign {}", sign >> 7);
            corpus.add(name, bytes, Must::Fail("BadKey"));
        }
    }
    // Not the encoding of any point, and one beyond the prime that is no weak point.
    for (what, author) in [("2", small(2)), ("3 beyond the prime", field(0xf0))] {
        let mut payload = sample.payload.clone();
        *payload.field(3) = Cbor::Bytes(author.into());
        let bytes = assemble(
            PROTECTED,
            &payload.write(),
            &sample.key.sign(b"").to_bytes(),
        );
        corpus.add(
            format!("pledge: a key of height {what}"),
            bytes,
            Must::FailSomehow,
        );
    }
}

/// Just enough arithmetic modulo the order of the curve's large subgroup.
mod scalar {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    fn add(a: [u8; 32], b: [u8; 32]) -> [u8; 32] {
        let mut carry = 0;
        std::array::from_fn(|i| {
            let sum = u16::from(a[i]) + u16::from(b[i]) + carry;
            carry = sum >> 8;
            sum as u8
        })
    }

    fn reduced(a: [u8; 32]) -> [u8; 32] {
        if a.iter().rev().lt(ORDER.iter().rev()) {
            return a;
        }
        let mut borrow = 0;
        std::array::from_fn(|i| {
            let left = i16::from(a[i]) - i16::from(ORDER[i]) - borrow;
            borrow = i16::from(left < 0);
            left as u8
        })
    }

    pub fn plus_order(a: [u8; 32]) -> [u8; 32] {
        add(a, ORDER)
    }

    /// Both little-endian; the second below twice the order's power of two.
    pub fn product(k: &[u8; 64], a: &[u8; 32]) -> [u8; 32] {
        let mut one = [0; 32];
        one[0] = 1;
        let a = times(a, one);
        times(k, a)
    }

    fn times(k: &[u8], a: [u8; 32]) -> [u8; 32] {
        let mut sum = [0; 32];
        for byte in k.iter().rev() {
            for bit in (0..8).rev() {
                sum = reduced(add(sum, sum));
                if byte >> bit & 1 == 1 {
                    sum = reduced(add(sum, a));
                }
            }
        }
        sum
    }
}

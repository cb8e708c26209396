//! Every kind, each field: missing, mistyped, unordered, written in another way.

use std::collections::BTreeSet;

use crate::cbor::{Cbor, NULL, bytes};
use crate::{Corpus, Must, Sample};
use undertone_protocol::record::{Kind, MAX_INTEGER};

/// Fields of a body that may be absent.
const OPTIONAL: [(Kind, u64); 10] = [
    (Kind::Charter, 14),
    (Kind::Charter, 15),
    (Kind::Charter, 16),
    (Kind::Join, 3),
    (Kind::Join, 4),
    (Kind::Hello, 6),
    (Kind::Removal, 2),
    (Kind::Removal, 3),
    (Kind::TurnGrant, 2),
    (Kind::Announcement, 1),
];

/// Samples with fewer fields than another of their kind.
const POORER: [&str; 8] = [
    "charter",
    "charter of an invite door",
    "join",
    "turn grant",
    "admission as newcomer",
    "hello of somebody alone",
    "removal for good",
    "announcement of a circle open now",
];

pub fn add(corpus: &mut Corpus, samples: &[Sample]) {
    let mut kinds = BTreeSet::new();
    for sample in samples {
        corpus.add(sample.name, sample.envelope.clone(), Must::Pass);
        if kinds.insert(sample.kind) {
            common(corpus, sample);
        }
        if !POORER.contains(&sample.name) {
            body(corpus, sample);
        }
    }
}

/// The fields that every record has.
fn common(corpus: &mut Corpus, sample: &Sample) {
    let chained = sample.kind.is_chained() && sample.kind != Kind::Charter;
    let mut add = |what: &str, must: Must, change: &dyn Fn(&mut Cbor)| {
        corpus.add(
            format!("{}: {what}", sample.name),
            sample.with(change),
            must,
        );
    };
    let bad = Must::Fail("BadPayload");
    let number = Must::Fail("BadField seq, lamport, created or expires");
    let prev = Must::Fail("BadField prev");
    let set = |key: u64, value: Cbor| move |p: &mut Cbor| *p.field(key) = value.clone();

    for key in [0, 1, 2, 3, 4, 6, 7, 8, 9] {
        add(&format!("no key {key}"), bad, &|p| p.remove(key));
        add(&format!("key {key} of another type"), bad, &|p| {
            *p.field(key) = p.field(key).mistyped();
        });
    }
    add("prev the other way", prev, &|p| match chained {
        true => p.remove(5),
        false => p.fields().insert(5, (Cbor::Number(5), bytes(32))),
    });
    add("prev of null", bad, &|p| {
        p.remove(5);
        p.fields()
            .insert(5, (Cbor::Number(5), Cbor::Raw(vec![NULL])));
    });
    add("a key 10", bad, &|p| {
        p.fields().push((Cbor::Number(10), Cbor::Number(0)));
    });
    add("a text key", bad, &|p| {
        p.fields().push((crate::cbor::text("x"), Cbor::Number(0)));
    });
    add("keys out of order", bad, &|p| p.fields().swap(4, 6));
    add("seq twice", bad, &|p| {
        let seq = p.fields()[4].clone();
        p.fields().insert(4, seq);
    });
    add("kind 0", bad, &set(1, Cbor::Number(0)));
    add("kind 32", bad, &set(1, Cbor::Number(32)));
    add("kind 256", bad, &set(1, Cbor::Number(256)));
    add("version 2", bad, &set(0, Cbor::Number(2)));
    add("circle of 31 bytes", bad, &set(2, bytes(31)));
    add("author of 33 bytes", bad, &set(3, bytes(33)));
    let circle = match sample.kind {
        Kind::Charter => bytes(32),
        _ => Cbor::Bytes(vec![0; 32]),
    };
    add(
        "circle of zeros, or not",
        Must::Fail("BadField circle"),
        &set(2, circle),
    );
    add(
        "lamport too large",
        number,
        &set(6, Cbor::Number(MAX_INTEGER + 1)),
    );
    add(
        "lamport of the largest number",
        Must::Pass,
        &set(6, Cbor::Number(MAX_INTEGER)),
    );
    add(
        "lamport as a float",
        bad,
        &set(6, Cbor::Raw(vec![0xf9, 0x47, 0x00])),
    );
    add("lamport below nothing", bad, &set(6, Cbor::Raw(vec![0x20])));
    add(
        "lamport as a bignum",
        bad,
        &set(6, Cbor::Raw(vec![0xc2, 0x41, 0x07])),
    );
    add(
        "created too large",
        number,
        &set(7, Cbor::Number(MAX_INTEGER + 1)),
    );
    add("expires too large", number, &set(8, Cbor::Number(u64::MAX)));
    add("expires before created", number, &|p| {
        let Cbor::Number(created) = *p.field(7) else {
            panic!("created is a number");
        };
        *p.field(8) = Cbor::Number(created - 1);
    });
    add("expires when created", Must::Pass, &|p| {
        *p.field(8) = p.field(7).clone()
    });
    match (sample.kind, chained) {
        (Kind::Charter, _) => add("seq 1", prev, &set(4, Cbor::Number(1))),
        (_, true) => add(
            "seq 0",
            Must::Fail("BadField seq"),
            &set(4, Cbor::Number(0)),
        ),
        (_, false) => add("seq 0", Must::Pass, &set(4, Cbor::Number(0))),
    }
    let seq = match sample.kind {
        Kind::Charter => prev,
        _ => number,
    };
    add("seq too large", seq, &set(4, Cbor::Number(MAX_INTEGER + 1)));
    add(
        "created of more bytes than it needs",
        Must::Fail("NotCanonical"),
        &|p| {
            *p.field(7) = p.field(7).longer();
        },
    );
    add(
        "a key of more bytes than it needs",
        Must::Fail("NotCanonical"),
        &|p| {
            p.fields()[6].0 = p.fields()[6].0.longer();
        },
    );
    add("circle without a length", bad, &|p| {
        *p.field(2) = p.field(2).endless()
    });
    add("payload without a length", bad, &|p| *p = p.endless());
    add(
        "payload of more bytes than it needs",
        Must::Fail("NotCanonical"),
        &|p| *p = p.longer(),
    );
    add("payload tagged", bad, &|p| *p = p.tagged());
    add("author tagged", bad, &|p| *p.field(3) = p.field(3).tagged());
    add("more after the payload", Must::Fail("NotCanonical"), &|p| {
        *p = Cbor::Raw([p.write(), vec![0]].concat());
    });
    add("payload cut short", bad, &|p| {
        let mut cut = p.write();
        cut.pop();
        *p = Cbor::Raw(cut);
    });
    add("payload a list", bad, &|p| {
        *p = Cbor::List(p.fields().iter().map(|(_, v)| v.clone()).collect());
    });
    add("payload empty", bad, &|p| *p = Cbor::Map(Vec::new()));
}

/// What stands in its body.
fn body(corpus: &mut Corpus, sample: &Sample) {
    let mut add = |what: String, must: Must, change: &dyn Fn(&mut Cbor)| {
        let bytes = sample.with_body(change);
        corpus.add(format!("{}: {what}", sample.name), bytes, must);
    };
    let bad = Must::Fail("BadPayload");
    let odd = Must::Fail("NotCanonical");
    add("body with a key 30".into(), odd, &|b| {
        b.fields().push((Cbor::Number(30), Cbor::Number(0)));
    });
    add("body with something deep".into(), odd, &|b| {
        let deep = Cbor::Raw([vec![0x81; 200], vec![0]].concat());
        b.fields().push((Cbor::Number(30), deep));
    });
    add("body without a length".into(), odd, &|b| *b = b.endless());
    add("body tagged".into(), bad, &|b| *b = b.tagged());
    add("body of null".into(), bad, &|b| *b = Cbor::Raw(vec![NULL]));
    let keys: Vec<u64> = sample
        .payload
        .clone()
        .field(9)
        .fields()
        .iter()
        .map(|(key, _)| match key {
            Cbor::Number(key) => *key,
            _ => panic!("keys are numbers"),
        })
        .collect();
    if keys.len() > 1 {
        add("body out of order".into(), odd, &|b| b.fields().swap(0, 1));
    }
    for key in keys {
        let optional = OPTIONAL.contains(&(sample.kind, key));
        let missing = match (optional, sample.kind, key) {
            (_, Kind::Charter, 14) => Must::Fail("BadField puzzle"),
            (true, ..) => Must::Pass,
            (false, ..) => bad,
        };
        let null = match optional {
            true => Must::FailSomehow,
            false => bad,
        };
        add(format!("body without {key}"), missing, &|b| b.remove(key));
        add(format!("body with null for {key}"), null, &|b| {
            *b.field(key) = Cbor::Raw(vec![NULL]);
        });
        add(format!("body with another type for {key}"), bad, &|b| {
            *b.field(key) = b.field(key).mistyped();
        });
        add(format!("body with {key} twice"), odd, &|b| {
            let again = (Cbor::Number(key), b.field(key).clone());
            b.fields().push(again);
        });
        let must = match sample.payload.clone().field(9).field(key) {
            Cbor::Raw(_) => continue, // A truth has no length.
            // Nothing is longer than the longest head.
            Cbor::Number(n) if *n > u32::MAX.into() => bad,
            _ => odd,
        };
        add(format!("body with a longer {key}"), must, &|b| {
            *b.field(key) = b.field(key).longer();
        });
    }
}

//! Records as a stranger would attack them: every accepted byte counts, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, iana};
use ed25519_dalek::{Signer, SigningKey};
use undertone_protocol::id::{CircleId, Nonce, PublicKey, RecordId, TextsHash};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::pledge_file;
use undertone_protocol::record::*;
use undertone_protocol::session::{Founding, Now};
use undertone_protocol::texts;

const MINUTE: u64 = 29_000_000;

fn somebody() -> Pseudonym {
    RootSeed::new(Secret::from_bytes([7; 32])).pseudonym(&Nonce::from_bytes([1; 16]), 0)
}

fn circle() -> CircleId {
    CircleId::from_bytes([5; 32])
}

fn draft(body: impl Into<Body>) -> Draft {
    Draft {
        circle: circle(),
        seq: 3,
        prev: None,
        lamport: 4,
        created: MINUTE,
        valid_minutes: 60,
        body: body.into(),
    }
}

fn leave() -> Leave {
    Leave {
        join: RecordId::from_bytes([3; 32]),
    }
}

fn pledge() -> Record {
    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    let texts = texts::hash();
    somebody().sign(draft(Pledge { texts, accepted })).unwrap()
}

fn charter() -> (GroupKey, Record) {
    let key = GroupKey::from_secret(&Secret::from_bytes([9; 32]));
    let founding = Founding {
        topic: "grief".into(),
        title: "Evening circle".into(),
        language: "en".into(),
        admission: AdmissionMode::Approval,
        max_members: 8,
        turn_seconds: 180,
        floor: FloorMode::Active,
        puzzle: PuzzleCost::USUAL,
        schedule: None,
        listener_welcome: true,
        route: RouteKind::Relay,
        pace: Pace::Usual,
        recovery_key: key.public_key(),
        name: "Leader".into(),
        nonce: Nonce::from_bytes([2; 16]),
    };
    let now = Now {
        at: std::time::Duration::ZERO,
        minute: MINUTE,
    };
    let record = founding
        .charter(&key, somebody().public_key(), now)
        .unwrap();
    (key, record)
}

#[test]
fn what_is_signed_verifies_and_encodes_to_the_same_bytes() {
    let (_, charter) = charter();
    for record in [pledge(), charter] {
        let again = Record::verify(record.envelope()).unwrap();
        assert_eq!(again, record);
        assert_eq!(again.id(), record.id());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    let genuine = pledge();
    for byte in 0..genuine.envelope().len() {
        for bit in [0x01, 0x10, 0x80] {
            let mut changed = genuine.envelope().to_vec();
            changed[byte] ^= bit;
            assert!(
                Record::verify(&changed).is_err(),
                "byte {byte}, bit {bit:#x}"
            );
        }
    }
}

#[test]
fn cut_or_lengthened_envelopes_are_refused() {
    let genuine = pledge().envelope().to_vec();
    for end in 0..genuine.len() {
        assert!(Record::verify(&genuine[..end]).is_err(), "cut at {end}");
    }
    let longer = [genuine.as_slice(), &[0]].concat();
    assert!(Record::verify(&longer).is_err());
}

#[test]
fn what_a_tolerant_cose_library_accepts_is_refused_here() {
    let genuine = pledge().envelope().to_vec();
    let parsed = CoseSign1::from_slice(&genuine).unwrap();

    // An unprotected header is outside the signature, so it still verifies elsewhere.
    let mut with_header = parsed.clone();
    with_header.unprotected = HeaderBuilder::new().key_id(vec![1]).build();
    let error = Record::verify(&with_header.to_vec().unwrap()).unwrap_err();
    assert_eq!(error, RecordError::WrongHeaders);

    // A non-minimal length of the signature: 0x58 0x40 becomes 0x59 0x00 0x40.
    let at = genuine.len() - 66;
    assert_eq!(genuine[at..at + 2], [0x58, 0x40]);
    let mut longer = genuine[..at].to_vec();
    longer.extend([0x59, 0x00, 0x40]);
    longer.extend(&genuine[at + 2..]);
    assert!(CoseSign1::from_slice(&longer).is_ok(), "others accept it");
    assert_eq!(Record::verify(&longer), Err(RecordError::NotCanonical));

    // An indefinite array.
    let mut indefinite = vec![0x9f];
    indefinite.extend(&genuine[1..]);
    indefinite.push(0xff);
    assert!(
        CoseSign1::from_slice(&indefinite).is_ok(),
        "others accept it"
    );
    assert_eq!(Record::verify(&indefinite), Err(RecordError::NotCanonical));
}

#[test]
fn a_record_does_not_pass_for_another_circle_or_kind() {
    let genuine = pledge();
    let elsewhere = CircleId::from_bytes([6; 32]);
    assert!(Record::verify_in(genuine.envelope(), &circle()).is_ok());
    assert_eq!(
        Record::verify_in(genuine.envelope(), &elsewhere),
        Err(RecordError::WrongCircle)
    );
    // Transplanted into the other circle, the signature no longer fits.
    let transplanted = replace(
        genuine.envelope(),
        circle().as_bytes(),
        elsewhere.as_bytes(),
    );
    assert_eq!(
        Record::verify(&transplanted),
        Err(RecordError::BadSignature)
    );

    // A leave (kind 11) and a hello share nothing; a leave and a record of kind 99 differ in one byte.
    let leave = somebody().sign(draft(leave())).unwrap();
    let unknown = replace(
        leave.envelope(),
        &[0x01, 0x0b, 0x02],
        &[0x01, 0x18, 0x63, 0x02],
    );
    assert!(Record::verify(&unknown).is_err());
    let other_kind = replace(leave.envelope(), &[0x01, 0x0b, 0x02], &[0x01, 0x02, 0x02]);
    assert!(Record::verify(&other_kind).is_err());
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn another_signers_signature_and_low_order_keys_are_refused() {
    let sign = |author: PublicKey, signature: Vec<u8>| {
        let genuine = CoseSign1::from_slice(pledge().envelope()).unwrap();
        let payload = replace(
            &genuine.payload.unwrap(),
            somebody().public_key().as_bytes(),
            author.as_bytes(),
        );
        let header = HeaderBuilder::new()
            .algorithm(iana::Algorithm::Ed25519)
            .build();
        CoseSign1Builder::new()
            .protected(header)
            .payload(payload)
            .signature(signature)
            .build()
            .to_vec()
            .unwrap()
    };
    let other = SigningKey::from_bytes(&[8; 32]);
    let other_key = PublicKey::from_bytes(other.verifying_key().to_bytes());
    let forged = sign(other_key, other.sign(b"something else").to_bytes().to_vec());
    assert_eq!(Record::verify(&forged), Err(RecordError::BadSignature));

    // The neutral element: a plain `verify` accepts R = identity, s = 0 for any message.
    let mut low_order = [0; 32];
    low_order[0] = 1;
    let mut signature = vec![0; 64];
    signature[0] = 1;
    let forged = sign(PublicKey::from_bytes(low_order), signature);
    assert_eq!(Record::verify(&forged), Err(RecordError::BadKey));
}

#[test]
fn limits_hold() {
    assert!(matches!(
        Record::verify(&vec![0; 20 * 1024]),
        Err(RecordError::TooLarge(_))
    ));
    let texts = TextsHash::from_bytes([0; 32]);
    let few = vec!["a".to_owned()];
    let partial = somebody().sign(draft(Pledge {
        texts,
        accepted: few,
    }));
    assert_eq!(partial, Err(RecordError::BadField("accepted")));

    let join = |name: &str| {
        somebody().sign(draft(Join {
            name: name.into(),
            sealing_key: somebody().sealing_key(),
            pledge: pledge().id(),
            invite: None,
            puzzle: None,
        }))
    };
    assert!(join("Quiet Heron").is_ok());
    for bad in ["", "   ", "two\nlines", &"x".repeat(121)] {
        assert_eq!(join(bad), Err(RecordError::BadField("name")), "{bad:?}");
    }
    let removal = |clause: &str| {
        let mut notice = draft(Removal {
            subject: somebody().public_key(),
            clause: clause.into(),
            until: None,
            cut: None,
        });
        notice.prev = Some(pledge().id());
        somebody().sign(notice)
    };
    assert!(removal("8").is_ok());
    assert_eq!(removal("9"), Err(RecordError::BadField("clause")));

    let mut far = draft(leave());
    far.seq = MAX_INTEGER + 1;
    assert!(somebody().sign(far).is_err());
    // Only a charter may stand outside a circle.
    let mut unborn = draft(leave());
    unborn.circle = CircleId::UNBORN;
    assert_eq!(
        somebody().sign(unborn),
        Err(RecordError::BadField("circle"))
    );
}

#[test]
fn clocks_may_be_twenty_one_minutes_apart() {
    let record = pledge();
    for fine in [MINUTE - 21, MINUTE, MINUTE + 60, MINUTE + 81] {
        assert!(record.check_time(fine).is_ok(), "{fine}");
    }
    for wrong in [MINUTE - 22, MINUTE + 82] {
        assert_eq!(
            record.check_time(wrong),
            Err(RecordError::Expired),
            "{wrong}"
        );
    }
}

#[test]
fn a_charter_founds_exactly_one_circle() {
    let (_, charter) = charter();
    let id = charter.founds().unwrap();
    assert!(Record::verify_in(charter.envelope(), &id).is_ok());
    assert_eq!(pledge().founds(), None);
    assert_eq!(
        Record::verify_in(charter.envelope(), &circle()),
        Err(RecordError::WrongCircle)
    );
}

#[test]
fn an_exported_pledge_reads_back_and_nothing_else_passes_for_one() {
    let genuine = pledge();
    let file = pledge_file::write(&genuine).unwrap();
    assert_eq!(pledge_file::read(&file).unwrap(), genuine);
    assert!(
        texts::PLEDGE
            .iter()
            .all(|clause| file.contains(clause.full))
    );
    // What people may do to a text on its way.
    let mailed = file.replace('\n', "\r\n> ").replace("> -----", "-----");
    let quoted = pledge_file::read(&mailed);
    assert!(
        quoted.is_err(),
        "quoting marks inside the block are not base64"
    );
    assert!(pledge_file::read(&file.replace('\n', "\r\n")).is_ok());

    let begin = file.find("PLEDGE-----\n").unwrap() + 40;
    let mut flipped = file.clone().into_bytes();
    flipped[begin] = if flipped[begin] == b'A' { b'B' } else { b'A' };
    assert!(pledge_file::read(&String::from_utf8(flipped).unwrap()).is_err());
    assert_eq!(
        pledge_file::read("nothing here"),
        Err(pledge_file::PledgeFileError::NoBlock)
    );
    assert_eq!(
        pledge_file::write(&somebody().sign(draft(leave())).unwrap()),
        None
    );
}

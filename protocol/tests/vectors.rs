//! Golden vectors: what goes over the wire, from fixed keys, for whoever writes a second implementation.
//!
//! `UNDERTONE_REWRITE_VECTORS=1 cargo test -p undertone-protocol --test vectors` writes the files anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(missing_docs)]

#[path = "vectors/histories.rs"]
mod histories;
#[path = "vectors/json.rs"]
mod json;
#[path = "vectors/kit.rs"]
mod kit;
#[path = "vectors/live.rs"]
mod live;
#[path = "vectors/messages.rs"]
mod messages;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use hpke::{Kem, Serializable, kem::X25519HkdfSha256};
use minicbor::Decoder;
use minicbor::bytes::ByteVec;
use sha2::{Digest, Sha256};
use undertone_protocol::id::{CircleId, Nonce, TransportId};
use undertone_protocol::identity::{RootSeed, Secret};
use undertone_protocol::invite::Invite;
use undertone_protocol::nearby::Names;
use undertone_protocol::puzzle::Puzzle;
use undertone_protocol::record::*;
use undertone_protocol::seal::{open_padded, open_sealed, seal, seal_padded, seal_to};
use undertone_protocol::texts::{self, ClauseText};
use undertone_protocol::voice::{self, OPUS_BYTES, ReceiveKey, SendKey, VoiceError};

use json::{Json, compare, hex, plain, vector};
use kit::*;
use messages::{CircleMessage, DoorMessage, Handout};

#[test]
fn records() {
    let samples = samples();
    for kind in Kind::ALL {
        let has = samples.iter().any(|(_, r)| r.body().kind() == *kind);
        assert!(has, "{kind:?} has a vector");
    }
    let vectors = samples.iter().map(|(name, record)| {
        let p = record.payload();
        let sign1: coset::CoseSign1 =
            coset::CborSerializable::from_slice(record.envelope()).unwrap();
        let payload = sign1.payload.unwrap();
        let mut d = Decoder::new(&payload);
        let Json::Object(mut fields) = plain(&mut d) else {
            panic!("a payload is a map");
        };
        let (_, body) = fields.pop().unwrap();
        vector(
            name,
            [
                ("kind", format!("{:?}", p.body.kind()).into()),
                ("number", (p.body.kind() as u64).into()),
                ("circle", p.circle.to_hex().into()),
                ("author", p.author.to_hex().into()),
                ("seq", p.seq.into()),
                ("prev", p.prev.map(|id| id.to_hex()).into()),
                ("lamport", p.lamport.into()),
                ("created", p.created.into()),
                ("expires", p.expires.into()),
                ("body", body),
                ("founds", record.founds().map(|id| id.to_hex()).into()),
                ("id", record.id().to_hex().into()),
                ("envelope", hex(record.envelope()).into()),
            ],
        )
    });
    compare("records.json", &vectors.collect::<Vec<_>>());
}

#[test]
fn identities() {
    let cases = [
        ("a first pseudonym", 7, 0x40, 0),
        ("another circle's", 7, 0x41, 0),
        ("a new pseudonym for the same door", 7, 0x40, 1),
        ("another installation's", 8, 0x40, 0),
        ("a far generation", 7, 0x40, 0x0102_0304),
    ];
    let vectors = cases.map(|(name, root, salt, generation)| {
        let seed = RootSeed::new(secret(root));
        let nonce = Nonce::from_bytes([salt; 16]);
        let person = seed.pseudonym(&nonce, generation);
        let salted = [nonce.as_bytes().as_slice(), &generation.to_be_bytes()].concat();
        let signing = secret(root).derive(&salted, "undertone/1/pseudonym");
        vector(
            name,
            [
                ("root", hex([root; 32]).into()),
                ("nonce", hex(nonce.as_bytes()).into()),
                ("generation", u64::from(generation).into()),
                ("signing_secret", hex(signing.as_bytes()).into()),
                ("pseudonym", person.public_key().to_hex().into()),
                (
                    "sealing_secret",
                    sealing_secret(root, &nonce, generation).into(),
                ),
                ("sealing_key", person.sealing_key().to_hex().into()),
                (
                    "voice_seed",
                    hex(seed.voice_seed(&nonce, generation).as_bytes()).into(),
                ),
                ("storage_key", hex(seed.storage_key().as_bytes()).into()),
            ],
        )
    });
    compare("identities.json", &vectors);
}

/// The private half of a sealing key: DeriveKeyPair of RFC 9180, §7.1.3.
fn sealing_secret(root: u8, nonce: &Nonce, generation: u32) -> String {
    let salted = [nonce.as_bytes().as_slice(), &generation.to_be_bytes()].concat();
    let seed = secret(root).derive(&salted, "undertone/1/sealing");
    let (private, _) = X25519HkdfSha256::derive_keypair(seed.as_bytes());
    hex(private.to_bytes())
}

fn own_secret(person: u8) -> String {
    sealing_secret(person, &DOOR_NONCE, 0)
}

#[test]
fn channels() {
    let mut rng = rng(0x51);
    let circle = circle();
    let samples = samples();
    let record = |name: &str| {
        let (_, record) = samples.iter().find(|(n, _)| *n == name).unwrap();
        ByteVec::from(record.envelope().to_vec())
    };
    let door = |name, message: &DoorMessage| (name, "door", minicbor::to_vec(message).unwrap());
    let told = |name, message: &CircleMessage| (name, "epoch", minicbor::to_vec(message).unwrap());
    let (handout, _) = handout();
    let mut cases = vec![
        door("ask", &DoorMessage::Ask(Nonce::from_bytes([9; 16]))),
        door("charter", &DoorMessage::Charter(record("charter"))),
        door(
            "knock",
            &DoorMessage::Knock(vec![record("pledge"), record("join")]),
        ),
        door("welcome", &DoorMessage::Welcome(welcome())),
        door("refusal", &DoorMessage::Answer(record("refusal"))),
        door("removal", &DoorMessage::Answer(record("removal for good"))),
    ];
    let two = vec![record("freeze"), record("hello")];
    for (name, records, voice_key) in [
        ("nothing", Vec::new(), None),
        ("two records", two, None),
        (
            "a hello and a voice key",
            vec![record("hello")],
            Some(handout),
        ),
        ("eleven charters", vec![record("charter"); 11], None),
    ] {
        cases.push(told(name, &CircleMessage { records, voice_key }));
    }
    let vectors = cases.into_iter().map(|(name, what, message)| {
        let own = secret(if what == "door" { 0x52 } else { 0x53 });
        let (topic, key) = messages::channel(&own, &circle, what);
        let payload = seal_padded(&key, topic.as_bytes(), &message, &mut rng).unwrap();
        let route = own.derive(circle.as_bytes(), "undertone/1/route");
        let route = (what == "epoch").then(|| hex(route.as_bytes()));
        assert_eq!(
            open_padded(&key, topic.as_bytes(), &payload).unwrap(),
            message
        );
        vector(
            name,
            [
                ("channel", what.into()),
                ("circle", circle.to_hex().into()),
                ("secret", hex(own.as_bytes()).into()),
                ("topic", hex(topic.as_bytes()).into()),
                ("key", hex(key.as_bytes()).into()),
                ("route", route.into()),
                ("message", hex(&message).into()),
                ("payload", hex(&payload).into()),
            ],
        )
    });
    compare("channels.json", &vectors.collect::<Vec<_>>());
}

/// An epoch record for two, sealed once more to one of them, as somebody gets it at the door.
fn welcome() -> SealedTo {
    let samples = samples();
    let (_, epoch) = samples.iter().find(|(n, _)| *n == "epoch").unwrap();
    let envelopes = vec![ByteVec::from(epoch.envelope().to_vec())];
    let me = person(ANN).public_key();
    let info = messages::info("welcome", &[circle().as_bytes(), me.as_bytes()]);
    sealed_to(ANN, &info, &minicbor::to_vec(envelopes).unwrap())
}

/// The leader's voice key, handed to two members; and the info it is bound to for the first.
fn handout() -> (Handout, Vec<u8>) {
    let (leader, transport) = (person(LEADER), hello().transport);
    let key = SendKey::generate(&mut rng(0x54), &leader.public_key(), 0).unwrap();
    let info = |to: u8| messages::voice_key_info(&circle(), &leader, &transport, &person(to));
    let sealed = [ANN, BEN].map(|to| SealedTo {
        member: person(to).public_key(),
        secret: seal_to(
            &person(to).sealing_key(),
            Some(&leader),
            &info(to),
            &key.secret().to_bytes(),
            &mut rng(to),
        )
        .unwrap(),
    });
    let from = leader.public_key();
    let sealed = sealed.into();
    (Handout { from, sealed }, info(ANN))
}

#[test]
fn seals() {
    let mut vectors = Vec::new();
    let key = secret(0x55);
    for (name, length) in [
        ("padded, nothing", 0),
        ("padded, fills a kibibyte", 980),
        ("padded, just too long for a kibibyte", 981),
        ("padded, needs the largest", 4_053),
    ] {
        let message: Vec<_> = (0..length).map(|i| i as u8).collect();
        let sealed = seal_padded(&key, b"context", &message, &mut rng(1)).unwrap();
        vectors.push(padded(name, &key, &sealed, Some(&message)));
    }
    // Sealed with this key, but not as a message of these sizes.
    let odd = seal(&key, b"context", &[0; 500], &mut rng(2)).unwrap();
    vectors.push(padded("padded, a size between", &key, &odd, None));
    let mut long = vec![0; 984];
    long[..4].copy_from_slice(&981u32.to_be_bytes());
    let lie = seal(&key, b"context", &long, &mut rng(3)).unwrap();
    vectors.push(padded("padded, a length beyond its end", &key, &lie, None));
    let mut flipped = seal_padded(&key, b"context", b"hello", &mut rng(4)).unwrap();
    flipped[30] ^= 1;
    vectors.push(padded("padded, a bit flipped", &key, &flipped, None));

    let (ann, ben) = (person(ANN), person(BEN));
    for (name, from, info, as_if) in [
        ("hpke base", None, b"info".as_slice(), None),
        ("hpke base, no info", None, b"", None),
        ("hpke auth", Some(&ann), b"info", Some(&ann)),
        ("hpke auth, no info", Some(&ann), b"", Some(&ann)),
        (
            "hpke auth, taken for another's",
            Some(&ann),
            b"info",
            Some(&ben),
        ),
        ("hpke auth, taken for nobody's", Some(&ann), b"info", None),
        ("hpke base, taken for somebody's", None, b"info", Some(&ann)),
    ] {
        let words = b"thirty-two bytes of some secret!";
        let sealed = seal_to(&ben.sealing_key(), from, info, words, &mut rng(6)).unwrap();
        let sender = as_if.map(|p| p.sealing_key());
        let opened = open_sealed(&ben, sender.as_ref(), info, &sealed).ok();
        let genuine = from.map(|p| p.public_key()) == as_if.map(|p| p.public_key());
        assert_eq!(opened.is_some(), genuine, "{name}");
        vectors.push(vector(
            name,
            [
                ("private_key", own_secret(BEN).into()),
                ("sender", sender.map(|k| k.to_hex()).into()),
                ("info", hex(info).into()),
                ("sealed", hex(&sealed).into()),
                ("message", opened.map(hex).into()),
            ],
        ));
    }
    compare("seals.json", &vectors);
}

fn padded(name: &str, key: &Secret, sealed: &[u8], message: Option<&[u8]>) -> Json {
    let opened = open_padded(key, b"context", sealed).ok();
    assert_eq!(opened.as_deref(), message, "{name}");
    vector(
        name,
        [
            ("key", hex(key.as_bytes()).into()),
            ("context", hex(b"context").into()),
            ("sealed", hex(sealed).into()),
            ("message", message.map(hex).into()),
        ],
    )
}

#[test]
fn voices() {
    let owner = person(LEADER).public_key();
    let mut send = SendKey::generate(&mut rng(0x54), &owner, 0).unwrap();
    let secret_bytes = send.secret().to_bytes();
    let (handout, info) = handout();
    let mut vectors = vec![vector(
        "a voice key, handed out",
        [
            ("from", handout.from.to_hex().into()),
            (
                "sender_sealing_key",
                person(LEADER).sealing_key().to_hex().into(),
            ),
            ("transport", hello().transport.to_hex().into()),
            ("member", handout.sealed[0].member.to_hex().into()),
            ("circle", circle().to_hex().into()),
            ("private_key", own_secret(ANN).into()),
            ("info", hex(&info).into()),
            ("sealed", hex(&handout.sealed[0].secret).into()),
            ("voice_key", hex(secret_bytes).into()),
            ("key_id", hex(send.secret().key_id.to_be_bytes()).into()),
        ],
    )];
    let opened = open_sealed(
        &person(ANN),
        Some(&person(LEADER).sealing_key()),
        &info,
        &handout.sealed[0].secret,
    );
    assert_eq!(opened.unwrap(), secret_bytes);

    let speech: [u8; OPUS_BYTES] = std::array::from_fn(|i| i as u8);
    let first = send.seal(&speech, false).unwrap();
    let second = send.seal(&[0xf8; OPUS_BYTES], true).unwrap();
    let mut later = SendKey::generate(&mut rng(0x56), &owner, 0xffff_fffe).unwrap();
    let last = later.seal(&speech, false).unwrap();
    let mut flipped = first.clone();
    flipped[60] ^= 4;
    let mut renamed = first.clone();
    renamed[12] ^= 1;
    let cases = [
        ("a first packet", &send, first.clone(), None),
        ("a muted packet", &send, second, None),
        ("the last number but one", &later, last, None),
        (
            "a packet cut short",
            &send,
            first[..173].to_vec(),
            Some(VoiceError::Malformed),
        ),
        (
            "another's packet",
            &later,
            first,
            Some(VoiceError::Malformed),
        ),
        (
            "a bit flipped",
            &send,
            flipped,
            Some(VoiceError::CannotOpen),
        ),
        (
            "another number claimed",
            &send,
            renamed,
            Some(VoiceError::CannotOpen),
        ),
        (
            "signed by another",
            &send,
            forged(&send),
            Some(VoiceError::Forged),
        ),
    ];
    for (name, key, packet, error) in cases {
        let mut receive = ReceiveKey::new(key.secret()).unwrap();
        let frame = receive.open(&packet);
        assert_eq!(frame.err(), error, "{name}");
        vectors.push(vector(
            name,
            [
                ("from", owner.to_hex().into()),
                ("voice_key", hex(key.secret().to_bytes()).into()),
                ("packet", hex(&packet).into()),
                (
                    "key_id",
                    voice::key_id(&packet)
                        .map(|id| hex(id.to_be_bytes()))
                        .into(),
                ),
                ("sequence", frame.ok().map(|f| f.sequence).into()),
                ("muted", frame.ok().map(|f| f.muted).into()),
                ("opus", frame.ok().map(|f| hex(f.opus)).into()),
            ],
        ));
    }
    compare("voices.json", &vectors);
}

/// What a member can make who holds the key to open with, and not the one to sign with.
fn forged(key: &SendKey) -> Vec<u8> {
    use sframe::CipherSuite;
    use sframe::frame::{MediaFrameView, MonotonicCounter};
    use sframe::key::EncryptionKey;
    let secret = key.secret();
    let suite = CipherSuite::AesGcm128Sha256;
    let encryption =
        EncryptionKey::derive_from(suite, secret.key_id, secret.base_key.as_bytes()).unwrap();
    let mut counter = MonotonicCounter::with_start_value(1 << 24, u32::MAX.into());
    let mut plain = [0; 1 + OPUS_BYTES + 64];
    let own = SigningKey::from_bytes(&[0x57; 32]);
    let signed = [
        b"undertone/1/frame".as_slice(),
        &secret.key_id.to_be_bytes(),
        &(1u64 << 24).to_be_bytes(),
        &plain[..=OPUS_BYTES],
    ];
    let signature = ed25519_dalek::Signer::sign(&own, &signed.concat());
    plain[1 + OPUS_BYTES..].copy_from_slice(&signature.to_bytes());
    let mut packet = Vec::new();
    let frame = MediaFrameView::try_new(&mut counter, &plain).unwrap();
    frame.encrypt_into(&encryption, &mut packet).unwrap();
    packet
}

/// The link as it was written before links said how many members a circle may have: without key 5, its last.
fn older(link: &str) -> String {
    let octets = URL_SAFE_NO_PAD
        .decode(link.strip_prefix("undertone:").unwrap())
        .unwrap();
    let (content, _) = octets.split_at(octets.len() - 4);
    let mut content = content.strip_suffix(&[5, 8]).unwrap().to_vec();
    content[0] -= 1;
    let checksum = Sha256::digest(&content);
    content.extend(&checksum[..4]);
    format!("undertone:{}", URL_SAFE_NO_PAD.encode(content))
}

#[test]
fn invites() {
    let bare = Invite {
        circle: circle(),
        door: secret(0x52),
        route: RouteKind::Relay,
        addresses: vec!["/ip4/192.0.2.1/udp/4433/quic-v1".into()],
        token: None,
        members: 8,
        pace: Pace::Usual,
    };
    let with_token = Invite {
        route: RouteKind::Direct,
        addresses: Vec::new(),
        token: Some(token()),
        ..bare.clone()
    };
    let crowded = Invite {
        addresses: vec!["a".into(); 9],
        ..bare.clone()
    };
    let huge = Invite {
        members: 17,
        ..bare.clone()
    };
    let two_hops = Invite {
        route: RouteKind::TwoHop,
        ..bare.clone()
    };
    let thin = Invite {
        pace: Pace::Thin,
        ..two_hops.clone()
    };
    let link = bare.to_link();
    let mut typo = link.clone().into_bytes();
    typo[40] = if typo[40] == b'A' { b'B' } else { b'A' };
    let mut vectors = Vec::new();
    for (name, link, fine) in [
        ("a link", link.clone(), true),
        ("a link with a token", with_token.to_link(), true),
        ("a link of two hops", two_hops.to_link(), true),
        ("a link to a circle on thin lines", thin.to_link(), true),
        ("a link that says no most members", older(&link), true),
        (
            "a link broken into lines",
            format!(" {}\n{}", &link[..50], &link[50..]),
            true,
        ),
        ("a typo", String::from_utf8(typo).unwrap(), false),
        ("a link cut short", link[..link.len() - 4].into(), false),
        ("nine addresses", crowded.to_link(), false),
        ("seventeen members", huge.to_link(), false),
        ("another scheme", link.replace("undertone", "http"), false),
    ] {
        let read = Invite::from_link(&link).ok();
        assert_eq!(read.is_some(), fine, "{name}");
        let addresses =
            |i: &Invite| Json::List(i.addresses.iter().map(|a| a.as_str().into()).collect());
        let read = read.as_ref();
        let token = read.and_then(|i| i.token.as_ref());
        vectors.push(vector(
            name,
            [
                ("link", link.into()),
                ("circle", read.map(|i| i.circle.to_hex()).into()),
                ("door", read.map(|i| hex(i.door.as_bytes())).into()),
                ("route", read.map(|i| i.route as u64).into()),
                ("addresses", read.map(addresses).into()),
                ("members", read.map(|i| u64::from(i.members)).into()),
                ("pace", read.map(|i| i.pace as u64).into()),
                ("token", token.map(|t| t.public().to_hex()).into()),
                ("until", token.map(|t| t.until).into()),
            ],
        ));
    }
    vectors.extend(proofs());
    compare("invites.json", &vectors);
}

fn proofs() -> Vec<Json> {
    let ann = person(ANN).public_key();
    let genuine = token().proof(&circle(), &ann);
    let longer = InviteProof {
        until: genuine.until + 1,
        ..genuine.clone()
    };
    let other_sponsor = InviteProof {
        sponsor: person(BEN).public_key(),
        ..genuine.clone()
    };
    let elsewhere = CircleId::from_bytes([9; 32]);
    let cases = [
        ("a proof", circle(), ann, genuine.clone(), true),
        (
            "a proof of somebody else's",
            circle(),
            person(BEN).public_key(),
            genuine.clone(),
            false,
        ),
        ("a proof for another circle", elsewhere, ann, genuine, false),
        ("a proof made to last", circle(), ann, longer, false),
        (
            "a proof with another sponsor",
            circle(),
            ann,
            other_sponsor,
            false,
        ),
    ];
    let vectors = cases.map(|(name, circle, author, proof, genuine)| {
        vector(
            name,
            [
                ("circle", circle.to_hex().into()),
                ("author", author.to_hex().into()),
                ("proof", hex(minicbor::to_vec(&proof).unwrap()).into()),
                ("genuine", genuine.into()),
            ],
        )
    });
    vectors.into()
}

#[test]
fn puzzles() {
    let mut vectors = Vec::new();
    for (name, memory_kib, zero_bits, more) in [
        ("eight KiB, no zero bits", 8, 0, 0),
        ("eight KiB, five zero bits", 8, 5, 0),
        ("a MiB, four zero bits", 1_024, 4, 0),
        ("an answer that is none", 64, 6, 1),
        ("another that is none", 8, 7, 12),
    ] {
        let puzzle = Puzzle {
            cost: PuzzleCost {
                memory_kib,
                zero_bits,
            },
            circle: circle(),
            author: person(ANN).public_key(),
            purpose: sign(pledge()).id(),
        };
        let answer = puzzle.solve(|| true).unwrap() + more;
        assert_eq!(puzzle.is_answer(answer), more == 0, "{name}");
        vectors.push(vector(
            name,
            [
                ("memory_kib", u64::from(memory_kib).into()),
                ("zero_bits", u64::from(zero_bits).into()),
                ("circle", puzzle.circle.to_hex().into()),
                ("author", puzzle.author.to_hex().into()),
                ("pledge", puzzle.purpose.to_hex().into()),
                ("answer", answer.into()),
                ("fits", (more == 0).into()),
            ],
        ));
    }
    compare("puzzles.json", &vectors);
}

#[test]
fn neighbours() {
    let cases = [
        ("a member", 0x52, 20_420, 0x61, 4433),
        ("the same the day after", 0x52, 20_421, 0x61, 4433),
        ("another member", 0x52, 20_420, 0x62, 65_535),
        ("another door", 0x53, 20_420, 0x61, 4433),
        ("the first day", 0x52, 0, 0x61, 1),
    ];
    let vectors = cases.map(|(name, door, day, transport, port)| {
        let names = Names::new(secret(door), circle());
        let transport = TransportId::from_bytes([transport; 32]);
        vector(
            name,
            [
                ("secret", hex([door; 32]).into()),
                ("circle", circle().to_hex().into()),
                ("day", day.into()),
                ("transport", transport.to_hex().into()),
                ("port", u64::from(port).into()),
                ("circle_name", names.circle(day).into()),
                ("member_name", names.member(day, &transport, port).into()),
            ],
        )
    });
    compare("neighbours.json", &vectors);
}

#[test]
fn texts() {
    let vectors = ["en", "es"].map(|language| {
        let texts = texts::of_language(language);
        let list = |text: &&str| Json::from(*text);
        let clause = |c: &ClauseText| Json::List(vec![c.mark.into(), c.full.into()]);
        vector(
            language,
            [
                ("version", texts.version.into()),
                (
                    "is_not",
                    texts.is_not.iter().map(list).collect::<Vec<_>>().into(),
                ),
                (
                    "clauses",
                    texts.clauses().map(clause).collect::<Vec<_>>().into(),
                ),
                ("hash", texts.hash().to_hex().into()),
            ],
        )
    });
    compare("texts.json", &vectors);
}

//! People with fixed keys, one circle, and records of every kind: what vectors and corpus are made from.

#![allow(dead_code)]

use ed25519_dalek::{Signer, SigningKey};
use undertone_protocol::id::{
    CircleId, Nonce, PublicKey, RecordId, SignatureBytes, TextsHash, TransportId,
};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::invite::Token;
use undertone_protocol::record::*;
use undertone_protocol::seal::seal_to;
use undertone_protocol::texts;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub const MINUTE: u64 = 29_000_000;
/// Of no texts that there are: these change, and the vectors need not.
pub const TEXTS: TextsHash = TextsHash::from_bytes([0x44; 32]);
pub const DOOR_NONCE: Nonce = Nonce::from_bytes([0x40; 16]);

pub fn rng(byte: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([byte; 32])
}
pub fn secret(byte: u8) -> Secret {
    Secret::from_bytes([byte; 32])
}
/// The person grown from a root seed of this byte, thirty-two times.
pub fn person(byte: u8) -> Pseudonym {
    RootSeed::new(secret(byte)).pseudonym(&DOOR_NONCE, 0)
}
/// The secret half of their signing key.
pub fn signing(byte: u8) -> SigningKey {
    let salt = [DOOR_NONCE.as_bytes().as_slice(), &[0; 4]].concat();
    SigningKey::from_bytes(
        secret(byte)
            .derive(&salt, "undertone/1/pseudonym")
            .as_bytes(),
    )
}
pub fn group() -> GroupKey {
    GroupKey::from_secret(&secret(0x61))
}
pub fn recovery() -> GroupKey {
    GroupKey::from_secret(&secret(0x62))
}
pub fn new_group() -> GroupKey {
    GroupKey::from_secret(&secret(0x63))
}

pub const LEADER: u8 = 1;
pub const ANN: u8 = 2;
pub const BEN: u8 = 3;
pub const CLEO: u8 = 4;
pub const DAN: u8 = 5;

pub fn charter(admission: AdmissionMode) -> Charter {
    Charter {
        topic: "Grief".into(),
        title: "Evening circle".into(),
        language: "en".into(),
        group_key: group().public_key(),
        recovery_key: recovery().public_key(),
        leader: person(LEADER).public_key(),
        admission,
        texts: TEXTS,
        max_members: 6,
        turn_seconds: 180,
        floor: FloorMode::Active,
        listener_welcome: true,
        route: RouteKind::Relay,
        nonce: DOOR_NONCE,
        puzzle: None,
        schedule: None,
        pace: None,
    }
}

pub fn found(charter: Charter) -> Record {
    let draft = Draft {
        circle: CircleId::UNBORN,
        seq: 0,
        prev: None,
        lamport: 0,
        created: MINUTE,
        valid_minutes: 180 * 24 * 60,
        body: charter.into(),
    };
    group().sign(draft).unwrap()
}

pub fn founding() -> Record {
    found(charter(AdmissionMode::Approval))
}

pub fn circle() -> CircleId {
    founding().founds().unwrap()
}

pub fn draft(body: impl Into<Body>) -> Draft {
    let body = body.into();
    let prev = body.kind().is_chained().then(|| founding().id());
    Draft {
        circle: circle(),
        seq: 1,
        prev,
        lamport: 7,
        created: MINUTE,
        valid_minutes: 60,
        body,
    }
}

/// Signed by whoever may sign this kind.
pub fn sign(body: impl Into<Body>) -> Record {
    use undertone_protocol::circle::policy::{Signer as By, signer};
    let draft = draft(body);
    match signer(draft.body.kind()) {
        By::Leader | By::Authority | By::AuthorityNow => group().sign(draft),
        By::Recovery => recovery().sign(draft),
        By::Member | By::Anybody | By::MemberOrAuthority => person(ANN).sign(draft),
    }
    .unwrap()
}

pub fn pledge() -> Pledge {
    Pledge {
        texts: TEXTS,
        accepted: texts::all_clauses().map(|c| c.mark.to_owned()).collect(),
    }
}

pub fn join(invite: Option<InviteProof>, puzzle: Option<u64>) -> Join {
    Join {
        name: "Quiet Heron".into(),
        sealing_key: person(ANN).sealing_key(),
        pledge: sign(pledge()).id(),
        invite,
        puzzle,
    }
}

pub fn token() -> Token {
    Token::issue(&person(LEADER), &circle(), MINUTE + 60, &mut rng(0x70))
}

pub fn hello() -> Hello {
    let transport = SigningKey::from_bytes(&[0x71; 32]);
    let binding = Hello::binding(&circle(), &person(ANN).public_key());
    Hello {
        transport: TransportId::from_bytes(transport.verifying_key().to_bytes()),
        proof: SignatureBytes::from_bytes(transport.sign(&binding).to_bytes()),
        heads: vec![Head {
            author: group().public_key(),
            seq: 12,
        }],
        voice_keys: vec![1 << 63 | 5, u64::MAX],
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        digest: 0x1f_1234_5678_9abc,
        turn: Some(TurnSeen {
            turn: RecordId::from_bytes([0x22; 32]),
            seconds: 30,
        }),
    }
}

pub fn sealed_to(byte: u8, info: &[u8], words: &[u8]) -> SealedTo {
    let to = person(byte);
    let secret = seal_to(&to.sealing_key(), None, info, words, &mut rng(byte)).unwrap();
    SealedTo {
        member: to.public_key(),
        secret,
    }
}

fn some_record() -> RecordId {
    RecordId::from_bytes([0x33; 32])
}

fn contradiction() -> Equivocation {
    let (one, other) = (sign(Freeze { on: true }), sign(Freeze { on: false }));
    let (first, second) = match one.id() < other.id() {
        true => (one, other),
        false => (other, one),
    };
    Equivocation {
        first: first.envelope().to_vec().into(),
        second: second.envelope().to_vec().into(),
    }
}

/// At least one record of every kind, with optional fields and without.
pub fn samples() -> Vec<(&'static str, Record)> {
    let subject: PublicKey = person(BEN).public_key();
    let cut = Cut {
        seq: 4,
        id: some_record(),
    };
    let open = Charter {
        puzzle: Some(PuzzleCost::USUAL),
        schedule: Some("Tuesdays, 19:00 UTC".into()),
        route: RouteKind::TwoHop,
        pace: Some(Pace::Thin),
        floor: FloorMode::Passive,
        listener_welcome: false,
        ..charter(AdmissionMode::Open)
    };
    let proof = token().proof(&circle(), &person(ANN).public_key());
    let empty = Hello {
        heads: Vec::new(),
        voice_keys: Vec::new(),
        addresses: Vec::new(),
        digest: 0,
        turn: None,
        ..hello()
    };
    let removal = Removal {
        subject,
        clause: "2".into(),
        until: None,
        cut: None,
    };
    let admission = Admission {
        subject,
        role: Role::Participant,
        join: some_record(),
    };
    let announcement = Announcement {
        charter: founding().envelope().to_vec().into(),
        next_meeting: Some(MINUTE + 600),
        seats: 4,
        link: "undertone:AAAA".into(),
        stamp: 7,
    };
    let epoch = Epoch {
        number: 1,
        sealed: [LEADER, ANN]
            .map(|p| sealed_to(p, b"undertone/1/epoch", &[5; 32]))
            .into(),
    };
    let sealed = sealed_to(BEN, b"undertone/1/referral", b"Please ring me.");
    vec![
        ("charter", founding()),
        ("charter of an open door", found(open)),
        (
            "charter of an invite door",
            found(charter(AdmissionMode::Invite)),
        ),
        ("pledge", sign(pledge())),
        ("join", sign(join(None, None))),
        ("join with a token", sign(join(Some(proof), None))),
        (
            "join with a puzzle's answer",
            sign(join(None, Some(MAX_INTEGER))),
        ),
        ("admission", sign(admission.clone())),
        (
            "admission as newcomer",
            sign(Admission {
                role: Role::Newcomer,
                ..admission
            }),
        ),
        (
            "refusal",
            sign(Refusal {
                subject,
                may_knock_again: true,
                join: some_record(),
            }),
        ),
        ("hello", sign(hello())),
        ("hello of somebody alone", sign(empty)),
        ("removal for good", sign(removal.clone())),
        (
            "removal of a co-leader for a time",
            sign(Removal {
                until: Some(MINUTE + 1_440),
                cut: Some(cut),
                clause: "d".into(),
                ..removal
            }),
        ),
        ("turn request", sign(TurnRequest { since: 5, first: 1 })),
        (
            "turn grant",
            sign(TurnGrant {
                holder: subject,
                seconds: 3_600,
                hand: None,
            }),
        ),
        (
            "turn grant, of a raised hand",
            sign(TurnGrant {
                holder: subject,
                seconds: 1,
                hand: Some(TurnRequest { since: 5, first: 1 }.hand(&subject)),
            }),
        ),
        (
            "turn release",
            sign(TurnRelease {
                holder: person(ANN).public_key(),
                turn: some_record(),
            }),
        ),
        (
            "leave",
            sign(Leave {
                join: some_record(),
            }),
        ),
        ("epoch", sign(epoch)),
        ("announcement", sign(announcement.clone())),
        (
            "announcement of a circle open now",
            sign(Announcement {
                next_meeting: None,
                ..announcement
            }),
        ),
        (
            "reinstatement",
            sign(Reinstatement {
                removal: some_record(),
            }),
        ),
        (
            "delegation",
            sign(Delegation {
                subject,
                role: Role::CoLeader,
            }),
        ),
        ("revocation", sign(Revocation { subject, cut })),
        ("cease request", sign(CeaseRequest { subject })),
        (
            "cease acknowledgement",
            sign(CeaseAcknowledgement {
                request: some_record(),
            }),
        ),
        (
            "mute",
            sign(Mute {
                subject,
                until: MINUTE + 5,
            }),
        ),
        (
            "turn extend",
            sign(TurnExtend {
                turn: some_record(),
                seconds: 240,
            }),
        ),
        ("freeze", sign(Freeze { on: true })),
        (
            "mode",
            sign(Mode {
                floor: FloorMode::Passive,
            }),
        ),
        ("door", sign(Door { open: false })),
        ("close", sign(Close {})),
        (
            "thanks",
            sign(Thanks {
                subject,
                gratitude: Gratitude::ForListening,
            }),
        ),
        (
            "crisis referral",
            sign(CrisisReferral {
                sealed: sealed.clone(),
            }),
        ),
        (
            "contact request",
            sign(ContactRequest {
                sealed: sealed.clone(),
            }),
        ),
        (
            "contact answer",
            sign(ContactAnswer {
                request: some_record(),
                sealed,
            }),
        ),
        (
            "erase",
            sign(Erase {
                join: some_record(),
            }),
        ),
        (
            "succession",
            sign(Succession {
                group_key: new_group().public_key(),
                leader: subject,
                cut,
            }),
        ),
        ("equivocation", sign(contradiction())),
    ]
}

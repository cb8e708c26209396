//! Ten thousand of each sort of attack against one circle: none has any effect.

use ed25519_dalek::{Signer, SigningKey};
use undertone_protocol::circle::{Applied, CircleState};
use undertone_protocol::id::{CircleId, PublicKey, RecordId};
use undertone_protocol::identity::Draft;
use undertone_protocol::record::*;

use crate::kit::*;
use crate::{PROTECTED, assemble, to_sign};

const ATTEMPTS: usize = 10_000;
const MEMBERS: [u8; 5] = [LEADER, ANN, BEN, CLEO, DAN];

fn group_secret() -> SigningKey {
    SigningKey::from_bytes(&[0x61; 32])
}

/// A circle of five, where Ben leads beside the leader.
struct Ring {
    circle: CircleId,
    state: CircleState,
    seq: u64,
    /// Every genuine record so far.
    said: Vec<Record>,
}

impl Ring {
    fn new(charter: Charter) -> Self {
        let founding = found(charter);
        let mut ring = Self {
            circle: founding.founds().unwrap(),
            state: CircleState::new(&founding).unwrap(),
            seq: 0,
            said: Vec::new(),
        };
        for who in MEMBERS {
            ring.let_in(who);
        }
        let (subject, role) = (person(BEN).public_key(), Role::CoLeader);
        ring.genuine(&group_secret(), Delegation { subject, role });
        ring
    }

    fn let_in(&mut self, who: u8) {
        let pledge = self.genuine(&signing(who), pledge());
        let join = Join {
            name: "Somebody".into(),
            sealing_key: person(who).sealing_key(),
            pledge: pledge.id(),
            invite: None,
            puzzle: None,
        };
        let join = self.genuine(&signing(who), join).id();
        let role = match who {
            LEADER => Role::Leader,
            _ => Role::Participant,
        };
        let subject = person(who).public_key();
        self.genuine(
            &group_secret(),
            Admission {
                subject,
                role,
                join,
            },
        );
    }

    /// A record that would have effect, were it signed by whom it names.
    fn payload(&mut self, author: PublicKey, body: impl Into<Body>) -> Payload {
        let body = body.into();
        self.seq += 1;
        let chained = body.kind().is_chained();
        let head = self.state.powers().of(&author).map(|p| p.head());
        let head = head.unwrap_or((0, self.state.founding().id()));
        Payload {
            circle: self.circle,
            author,
            seq: if chained { head.0 + 1 } else { self.seq },
            prev: chained.then_some(head.1),
            lamport: self.state.lamport() + 1,
            created: MINUTE,
            expires: MINUTE + 60,
            body,
        }
    }

    /// Says it, and makes sure that it counts.
    fn genuine(&mut self, key: &SigningKey, body: impl Into<Body>) -> Record {
        let author = PublicKey::from_bytes(key.verifying_key().to_bytes());
        let payload = self.payload(author, body);
        let record = Record::sign(payload, key).unwrap();
        assert!(self.takes(record.envelope(), MINUTE), "{:?}", record.body());
        self.said.push(record.clone());
        record
    }

    /// Whether it has any effect, as a session would let it have.
    fn takes(&mut self, envelope: &[u8], minute: u64) -> bool {
        let Ok(record) = Record::verify_in(envelope, &self.circle) else {
            return false;
        };
        let kind = record.body().kind();
        let lasts = kind.is_chained()
            || matches!(kind, Kind::Pledge | Kind::Join | Kind::Leave | Kind::Erase);
        if !lasts && record.check_time(minute).is_err() {
            return false;
        }
        matches!(self.state.apply(&record), Ok(Applied::Changed(_)))
    }
}

fn ring() -> Ring {
    Ring::new(charter(AdmissionMode::Approval))
}

/// What whoever leads may say; `n` makes them differ.
fn decisions(n: usize) -> Body {
    let subject = person(MEMBERS[1 + n % 4]).public_key();
    let until = MINUTE + 1 + n as u64;
    match n % 11 {
        0 => Mute { subject, until }.into(),
        1 => Removal {
            subject,
            clause: "2".into(),
            until: Some(until),
            cut: None,
        }
        .into(),
        2 => Freeze { on: until & 1 == 0 }.into(),
        3 => Door {
            open: until & 1 == 0,
        }
        .into(),
        4 => Mode {
            floor: FloorMode::Passive,
        }
        .into(),
        5 => CeaseRequest { subject }.into(),
        6 => Epoch {
            number: n as u32 + 1,
            sealed: Vec::new(),
        }
        .into(),
        7 => Delegation {
            subject,
            role: Role::Listener,
        }
        .into(),
        8 => Close {}.into(),
        9 => TurnGrant {
            holder: subject,
            seconds: 60,
            hand: None,
        }
        .into(),
        _ => TurnExtend {
            turn: founding().id(),
            seconds: 60,
        }
        .into(),
    }
}

/// What members may say for a moment.
fn words(n: usize) -> Body {
    let subject = person(LEADER).public_key();
    match n % 2 {
        0 => TurnRequest {
            since: n as u64,
            first: n as u64,
        }
        .into(),
        _ => Thanks {
            subject,
            gratitude: Gratitude::IHearYou,
        }
        .into(),
    }
}

fn signed_by(payload: &Payload, key: &SigningKey, kind: Kind) -> Vec<u8> {
    let bytes = minicbor::to_vec(payload).unwrap();
    let message = to_sign(PROTECTED, payload.circle.as_bytes(), kind as u8, &bytes);
    assemble(PROTECTED, &bytes, &key.sign(&message).to_bytes())
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

/// Runs one sort of attack, and checks that it would be noticed if one came through.
fn count(
    ring: &mut Ring,
    what: &str,
    (attempts, minute): (usize, u64),
    attack: impl Fn(&mut Ring, usize) -> Vec<u8>,
) {
    let before = ring.state.digest();
    let mut accepted = 0;
    for n in 0..attempts {
        let envelope = attack(ring, n);
        accepted += usize::from(ring.takes(&envelope, minute));
    }
    println!("{what}: {attempts} tried, {accepted} accepted");
    assert_eq!(accepted, 0, "{what}");
    assert_eq!(ring.state.digest(), before, "{what}");
    let until = MINUTE + 1_000_000;
    let subject = person(ANN).public_key();
    ring.genuine(&group_secret(), Mute { subject, until });
}

#[test]
fn nothing_forged_is_accepted() {
    let outsider = SigningKey::from_bytes(&[0x5a; 32]);
    let leading = public(&group_secret());
    count(&mut ring(), "forged", (ATTEMPTS, MINUTE), |ring, n| {
        let member = signing(ANN);
        let (author, key, body) = match n % 5 {
            // In the name of whoever leads, or of a member; by a stranger, or by another member.
            0 => (leading, &outsider, decisions(n)),
            1 => (leading, &member, decisions(n)),
            2 => {
                let author = person(CLEO).public_key();
                (author, &member, words(n))
            }
            // In one's own name, without authority or membership.
            3 => (public(&outsider), &outsider, decisions(n)),
            _ => (public(&member), &member, decisions(n)),
        };
        let payload = ring.payload(author, body);
        signed_by(&payload, key, payload.body.kind())
    });
    // A stranger's words to the circle, in their own name.
    count(
        &mut ring(),
        "strangers' words",
        (ATTEMPTS / 10, MINUTE),
        |ring, n| {
            let payload = ring.payload(public(&outsider), words(n));
            signed_by(&payload, &outsider, payload.body.kind())
        },
    );
}

#[test]
fn nothing_expired_is_accepted() {
    // Far enough from when it was said, in either direction.
    let after = MINUTE + 60 + CLOCK_TOLERANCE_MINUTES + 1;
    let before = MINUTE - CLOCK_TOLERANCE_MINUTES - 1;
    for (what, attempts, minute) in [
        ("expired", ATTEMPTS, after),
        ("from the future", ATTEMPTS / 10, before),
    ] {
        count(&mut ring(), what, (attempts, minute), |ring, n| {
            let (key, body) = match n % 4 {
                0 => (group_secret(), decisions(9)),
                _ => (signing(ANN), words(n)),
            };
            let payload = ring.payload(public(&key), body);
            signed_by(&payload, &key, payload.body.kind())
        });
    }
}

#[test]
fn nothing_replayed_is_accepted() {
    let mut ring = ring();
    for n in 0..40 {
        let who = MEMBERS[1 + n % 4];
        let subject = person(who).public_key();
        let key = signing(who);
        let (since, first) = (n as u64, n as u64);
        let request = TurnRequest { since, first };
        ring.genuine(&key, request.clone());
        let release = TurnRelease {
            holder: subject,
            turn: request.hand(&subject),
        };
        ring.genuine(&key, release);
        ring.genuine(&key, words(1));
        let seconds = 30 + n as u16;
        let turn = ring.genuine(
            &group_secret(),
            TurnGrant {
                holder: subject,
                seconds,
                hand: None,
            },
        );
        let turn = turn.id();
        ring.genuine(
            &group_secret(),
            TurnExtend {
                turn,
                seconds: 2 * seconds,
            },
        );
        let request = ring.genuine(&group_secret(), CeaseRequest { subject }).id();
        ring.genuine(&key, CeaseAcknowledgement { request });
        ring.genuine(&group_secret(), Freeze { on: n % 2 == 0 });
        let until = MINUTE + n as u64;
        ring.genuine(&signing(BEN), Mute { subject, until });
    }
    let join = ring
        .state
        .member(&person(DAN).public_key())
        .unwrap()
        .join
        .id();
    ring.genuine(&signing(DAN), Leave { join });
    ring.let_in(DAN);
    let subject = person(DAN).public_key();
    let clause = "2".into();
    let removal = Removal {
        subject,
        clause,
        until: None,
        cut: None,
    };
    ring.genuine(&group_secret(), removal);
    let said = ring.said.clone();
    println!("{} genuine records", said.len());
    count(&mut ring, "replayed", (ATTEMPTS, MINUTE), |_, n| {
        said[n * 7 % said.len()].envelope().to_vec()
    });
}

#[test]
fn nothing_of_another_circle_is_accepted() {
    let twin = Charter {
        title: "Morning circle".into(),
        ..charter(AdmissionMode::Approval)
    };
    let twin = Ring::new(twin);
    count(
        &mut ring(),
        "cross-circle",
        (ATTEMPTS, MINUTE),
        |ring, n| {
            let (key, body) = match n % 2 {
                0 => (group_secret(), decisions(n)),
                _ => (signing(ANN), words(n)),
            };
            let mut payload = ring.payload(public(&key), body);
            let kind = payload.body.kind();
            let home = payload.circle;
            payload.circle = twin.circle;
            let genuine = signed_by(&payload, &key, kind);
            assert!(n >= 50 || Record::verify_in(&genuine, &twin.circle).is_ok());
            match n % 4 {
                0 | 1 => genuine,
                // The same signature under this circle's name.
                _ => {
                    let signature = &genuine[genuine.len() - 64..];
                    payload.circle = home;
                    assemble(PROTECTED, &minicbor::to_vec(&payload).unwrap(), signature)
                }
            }
        },
    );
}

#[test]
fn nothing_of_another_kind_is_accepted() {
    // Bodies that look alike: what was signed as one is shown as the other.
    count(&mut ring(), "cross-type", (ATTEMPTS, MINUTE), |ring, n| {
        let subject = person(MEMBERS[1 + n % 4]).public_key();
        let id = founding().id();
        let on = n % 2 == 0;
        let (number, seconds) = (1 + n as u32 % 3_600, 1 + n as u16 % 3_600);
        let alike: [(Body, Body); 8] = [
            (Freeze { on: true }.into(), Door { open: true }.into()),
            (Door { open: on }.into(), Freeze { on }.into()),
            (
                Reinstatement {
                    removal: RecordId::from_bytes(*subject.as_bytes()),
                }
                .into(),
                CeaseRequest { subject }.into(),
            ),
            (
                CeaseAcknowledgement { request: id }.into(),
                Reinstatement { removal: id }.into(),
            ),
            (Leave { join: id }.into(), Erase { join: id }.into()),
            (
                TurnGrant {
                    holder: subject,
                    seconds,
                    hand: None,
                }
                .into(),
                Mute {
                    subject,
                    until: number.into(),
                }
                .into(),
            ),
            (
                Delegation {
                    subject,
                    role: Role::Listener,
                }
                .into(),
                Thanks {
                    subject,
                    gratitude: Gratitude::NotAlone,
                }
                .into(),
            ),
            (
                Mode {
                    floor: FloorMode::Passive,
                }
                .into(),
                Mode {
                    floor: FloorMode::Passive,
                }
                .into(),
            ),
        ];
        let (one, other) = alike[n / 2 % 7].clone();
        let (signed, shown) = if on { (one, other) } else { (other, one) };
        let payload = ring.payload(public(&group_secret()), shown.clone());
        let kind = signed.kind();
        match n % 3 {
            // The signature was made over this very content, but as another kind.
            0 => signed_by(&payload, &group_secret(), kind),
            _ => {
                let own = Draft {
                    circle: payload.circle,
                    seq: payload.seq,
                    prev: kind.is_chained().then(|| payload.prev.unwrap_or(id)),
                    lamport: payload.lamport,
                    created: payload.created,
                    valid_minutes: 60,
                    body: signed,
                };
                let genuine = group().sign(own).unwrap();
                let signature = &genuine.envelope()[genuine.envelope().len() - 64..];
                assemble(PROTECTED, &minicbor::to_vec(&payload).unwrap(), signature)
            }
        }
    });
}

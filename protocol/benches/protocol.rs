//! What the rules cost: verifying a record, sealing and opening a frame, each against its bare signature.
//!
//! Budget: opening the frames of 11 others, 50 a second each, stays under 5 % of a core.

#![allow(clippy::panic)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::{Signer, SigningKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{CircleId, Nonce, PublicKey};
use undertone_protocol::identity::{Draft, GroupKey, RootSeed, Secret};
use undertone_protocol::record::*;
use undertone_protocol::session::{Founding, Now};
use undertone_protocol::texts;
use undertone_protocol::voice::{OPUS_BYTES, PACKET_BYTES, ReceiveKey, SendKey};

fn pledge() -> Record {
    let me = RootSeed::new(Secret::from_bytes([1; 32])).pseudonym(&Nonce::from_bytes([0; 16]), 0);
    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    let texts = texts::hash();
    me.sign(Draft {
        circle: CircleId::from_bytes([2; 32]),
        seq: 0,
        prev: None,
        lamport: 0,
        created: 1,
        valid_minutes: 60,
        body: Pledge { texts, accepted }.into(),
    })
    .unwrap_or_else(|error| panic!("{error}"))
}

fn keys() -> (SendKey, ReceiveKey) {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let owner = PublicKey::from_bytes([1; 32]);
    let send = SendKey::generate(&mut rng, &owner, 0).unwrap_or_else(|error| panic!("{error}"));
    let receive = ReceiveKey::new(send.secret());
    (
        send,
        receive.unwrap_or_else(|| panic!("a fresh key is acceptable")),
    )
}

/// What a busy circle's members hold after about a year: people who come, stay a while and leave, with a new
/// key each time, and a removal now and then.
fn year(records: usize) -> Vec<Vec<u8>> {
    let must = |record: Result<Record, _>| record.unwrap_or_else(|error| panic!("{error}"));
    let key = GroupKey::from_secret(&Secret::from_bytes([5; 32]));
    let recovery = GroupKey::from_secret(&Secret::from_bytes([4; 32]));
    let person = |n: u32| {
        RootSeed::new(Secret::from_bytes([6; 32])).pseudonym(&Nonce::from_bytes([0; 16]), n)
    };
    let founding = Founding {
        topic: "loss".into(),
        title: "Evening circle".into(),
        language: "en".into(),
        admission: AdmissionMode::Approval,
        max_members: 16,
        turn_seconds: 180,
        floor: FloorMode::Active,
        puzzle: PuzzleCost::USUAL,
        schedule: None,
        listener_welcome: false,
        route: RouteKind::Relay,
        pace: Pace::Usual,
        recovery_key: recovery.public_key(),
        name: "Leader".into(),
        nonce: Nonce::from_bytes([1; 16]),
    };
    let now = Now {
        at: Duration::ZERO,
        minute: 1,
    };
    let charter = founding
        .charter(&key, person(0).public_key(), now)
        .unwrap_or_else(|error| panic!("{error}"));
    let circle = charter
        .founds()
        .unwrap_or_else(|| panic!("a charter founds"));
    let mut chain = (0, charter.id());
    let mut all = vec![charter.envelope().to_vec()];
    let mut lamport = 1;
    let accepted: Vec<String> = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    for n in 1u32.. {
        let me = person(n);
        let mut say = |all: &mut Vec<Vec<u8>>, chained: bool, body: Body| {
            lamport += 1;
            let draft = Draft {
                circle,
                seq: if chained { chain.0 + 1 } else { lamport },
                prev: chained.then_some(chain.1),
                lamport,
                created: 1,
                valid_minutes: 600_000,
                body,
            };
            let record = must(if chained {
                key.sign(draft)
            } else {
                me.sign(draft)
            });
            if chained {
                chain = (chain.0 + 1, record.id());
            }
            all.push(record.envelope().to_vec());
            record.id()
        };
        let (texts, accepted) = (texts::hash(), accepted.clone());
        let pledge = say(&mut all, false, Pledge { texts, accepted }.into());
        let join = Join {
            name: format!("Person {n}"),
            sealing_key: me.sealing_key(),
            pledge,
            invite: None,
            puzzle: None,
        };
        let join = say(&mut all, false, join.into());
        let (subject, role) = (me.public_key(), Role::Participant);
        say(
            &mut all,
            true,
            Admission {
                subject,
                role,
                join,
            }
            .into(),
        );
        let sealed = (0..8).map(|k| SealedTo {
            member: person(n.saturating_sub(k)).public_key(),
            secret: vec![7; 80],
        });
        let sealed: Vec<_> = sealed.take(n.min(8) as usize).collect();
        say(&mut all, true, Epoch { number: n, sealed }.into());
        if n % 10 == 0 {
            let (clause, until, cut) = ("2".into(), None, None);
            say(
                &mut all,
                true,
                Removal {
                    subject,
                    clause,
                    until,
                    cut,
                }
                .into(),
            );
        } else {
            say(&mut all, false, Leave { join }.into());
        }
        if all.len() >= records {
            break;
        }
    }
    all
}

/// Verifies and folds all of them, one after another as they come from the network.
fn fold(year: &[Vec<u8>]) -> CircleState {
    let verify = |bytes: &Vec<u8>| Record::verify(bytes).unwrap_or_else(|error| panic!("{error}"));
    let mut state = CircleState::new(&verify(&year[0])).unwrap_or_else(|| panic!("a charter"));
    for bytes in &year[1..] {
        let _ = state.apply(&verify(bytes));
    }
    state
}

/// Verifies and loads all of them at once, as from the disk.
fn load(year: &[Vec<u8>]) -> CircleState {
    let verify = |bytes: &Vec<u8>| Record::verify(bytes).unwrap_or_else(|error| panic!("{error}"));
    let records: Vec<_> = year.iter().map(verify).collect();
    CircleState::load(&records[0], &records).unwrap_or_else(|| panic!("a charter"))
}

fn a_year(c: &mut Criterion) {
    let year = year(10_000);
    assert_eq!(fold(&year).digest(), load(&year).digest());
    let seconds = |work: &dyn Fn() -> CircleState| {
        let begun = Instant::now();
        black_box(work());
        begun.elapsed().as_secs_f64()
    };
    let (folded, loaded) = (seconds(&|| fold(&year)), seconds(&|| load(&year)));
    let kept = |fine: bool| if fine { "kept" } else { "MISSED" };
    let rate = year.len() as f64 / folded;
    println!(
        "{} records: verified and applied at {rate:.0}/s, budget 20000: {}; loaded in {loaded:.2} s, budget 1: {}",
        year.len(),
        kept(rate >= 20_000.0),
        kept(loaded < 1.0)
    );
    let mut group = c.benchmark_group("a busy year");
    group.sample_size(10);
    group.throughput(Throughput::Elements(year.len() as u64));
    group.bench_function("verify and apply", |b| b.iter(|| fold(&year)));
    group.bench_function("verify and load", |b| b.iter(|| load(&year)));
    group.finish();
}

fn bench(c: &mut Criterion) {
    let record = pledge();
    let signer = SigningKey::from_bytes(&[4; 32]);
    let signature = signer.sign(record.envelope());
    let key = signer.verifying_key();
    let opus = [7; OPUS_BYTES];
    let (mut send, mut receive) = keys();

    let mut group = c.benchmark_group("protocol");
    group.bench_function("yardstick: bare verify_strict", |b| {
        b.iter(|| key.verify_strict(black_box(record.envelope()), &signature));
    });
    group.bench_function("record verify", |b| {
        b.iter(|| Record::verify(black_box(record.envelope())));
    });
    group.throughput(Throughput::Bytes(PACKET_BYTES as u64));
    group.bench_function("frame seal", |b| {
        b.iter(|| send.seal(black_box(&opus), false))
    });
    group.bench_function("frame seal + open", |b| {
        b.iter(|| {
            let packet = send.seal(black_box(&opus), false);
            packet.map(|packet| receive.open(&packet))
        });
    });
    group.finish();
    print_budget();
}

/// The budget, measured in the same run as its yardstick.
fn print_budget() {
    const ROUNDS: u32 = 2_000;
    let (mut send, mut receive) = keys();
    let packets: Vec<_> = (0..ROUNDS)
        .filter_map(|_| send.seal(&[7; OPUS_BYTES], false).ok())
        .collect();
    let begun = Instant::now();
    let opened = packets.iter().filter(|p| receive.open(p).is_ok()).count();
    let open = begun.elapsed() / ROUNDS;
    assert_eq!(opened, packets.len());
    let record = pledge();
    let signer = SigningKey::from_bytes(&[4; 32]);
    let signature = signer.sign(record.envelope());
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        black_box(
            signer
                .verifying_key()
                .verify_strict(record.envelope(), &signature),
        )
        .ok();
    }
    let bare = begun.elapsed() / ROUNDS;
    let share = open * 11 * 50;
    let percent = 100.0 * share.as_secs_f64() / Duration::from_secs(1).as_secs_f64();
    println!(
        "opening a frame: {open:?}, {:.2} x a bare signature; 11 others: {percent:.1} % of a core (budget 5 %)",
        open.as_secs_f64() / bare.as_secs_f64()
    );
}

criterion_group!(benches, bench, a_year);
criterion_main!(benches);

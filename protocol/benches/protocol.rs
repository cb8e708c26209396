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
use undertone_protocol::id::{CircleId, Nonce, PublicKey};
use undertone_protocol::identity::{Draft, RootSeed, Secret};
use undertone_protocol::record::{Pledge, Record};
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

criterion_group!(benches, bench);
criterion_main!(benches);

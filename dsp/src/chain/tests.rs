//! The receive chain against a made-up network on a made-up clock.

use proptest::prelude::*;

use super::*;
use crate::mixer::{CEILING, LOOKAHEAD};
use crate::testing::{Noise, speech_like, vowel};
use crate::{FRAME_DURATION, MAX_DELAY, MIN_DELAY, OPUS_FRAME_BYTES};

const VOICE: StreamId = StreamId(1);

fn encode(samples: &[f32]) -> Vec<OpusFrame> {
    let mut encoder = VoiceEncoder::new(Redundancy::default()).unwrap();
    samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|chunk| {
            let frame = AudioFrame(chunk.try_into().unwrap());
            encoder.encode(&Morphed::from_morpher(frame)).unwrap()
        })
        .collect()
}

fn millis(ms: f64) -> Duration {
    Duration::from_nanos((ms.max(0.0) * 1e6) as u64)
}

/// What one run heard.
struct Heard {
    chain: ReceiveChain,
    samples: Vec<f32>,
    played: Vec<Played>,
    delays_ms: Vec<f64>,
}

impl Heard {
    fn stats(&self) -> StreamStats {
        self.chain.stats(VOICE).unwrap()
    }

    fn count(&self, kind: PlayedKind) -> usize {
        self.played.iter().filter(|p| p.kind == kind).count()
    }
}

/// Sends frame `i` (numbered from `first`) at `i * 20 ms * sender_pace`; `travel(i)` gives its travel times in
/// milliseconds (none: lost; two: duplicated). Pulls for `frames + 30` frames.
fn run(
    first: u64,
    packets: &[OpusFrame],
    frames: usize,
    sender_pace: f64,
    travel: impl Fn(usize) -> Vec<f64>,
) -> Heard {
    let mut arrivals: Vec<(f64, u64, &OpusFrame)> = Vec::new();
    for i in 0..frames {
        for t in travel(i) {
            let at = i as f64 * 20.0 * sender_pace + t;
            arrivals.push((
                at,
                first.wrapping_add(i as u64),
                &packets[i % packets.len()],
            ));
        }
    }
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut chain = ReceiveChain::new();
    chain.add_stream(VOICE).unwrap();
    let mut heard = Heard {
        chain,
        samples: Vec::new(),
        played: Vec::new(),
        delays_ms: Vec::new(),
    };
    let mut out = AudioFrame::SILENCE;
    let mut waiting = arrivals.into_iter().peekable();
    for pull in 0..frames + 30 {
        let now = pull as f64 * 20.0 + 7.0;
        while let Some((at, sequence, packet)) = waiting.next_if(|a| a.0 <= now) {
            heard.chain.push(VOICE, sequence, packet, millis(at));
        }
        heard.chain.pull(millis(now), &mut out);
        heard.samples.extend_from_slice(&out.0);
        heard.played.extend_from_slice(heard.chain.last_played());
        // While nothing is decoded there is nothing that a delay could be of.
        let decodes = heard
            .chain
            .last_played()
            .iter()
            .any(|p| p.kind == PlayedKind::Decoded);
        let before = heard.delays_ms.last().copied().unwrap_or(0.0);
        heard.delays_ms.push(if decodes {
            heard.stats().delay.as_secs_f64() * 1e3
        } else {
            before
        });
    }
    heard
}

fn power_db(samples: &[f32]) -> f32 {
    10.0 * (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32 + 1e-12).log10()
}

/// Deterministic uniform number in 0–1 for frame `i`.
fn chance(i: usize) -> f64 {
    let mut noise = Noise::new(i as u32 + 17);
    for _ in 0..5 {
        noise.next();
    }
    f64::from(noise.next()) * 0.5 + 0.5
}

#[test]
fn a_perfect_network_plays_everything_once_with_the_least_delay() {
    let speech = speech_like(4.0, 140.0);
    let packets = encode(&speech);
    let heard = run(100, &packets, 1000, 1.0, |_| vec![30.0]);
    let order: Vec<u64> = heard
        .played
        .iter()
        .filter(|p| p.kind == PlayedKind::Decoded)
        .map(|p| p.sequence)
        .collect();
    assert_eq!(order, (100..1100).collect::<Vec<_>>());
    let stats = heard.stats();
    assert_eq!(
        (stats.lost, stats.late, stats.duplicates, stats.skipped),
        (0, 0, 0, 0)
    );
    let delay = heard.delays_ms[900];
    assert!((15.0..=40.0).contains(&delay), "{delay} ms");
    let level = power_db(&heard.samples[480_000..672_000]) - power_db(&speech);
    assert!(level.abs() < 2.0, "{level} dB");
}

#[test]
fn the_first_frame_of_a_spurt_is_played_whole() {
    let packets = encode(&vowel(2.0, 120.0, &[600.0, 1100.0, 2400.0]));
    let heard = run(7, &packets, 100, 1.0, |i| vec![25.0 + 15.0 * chance(i)]);
    assert_eq!(
        heard.played[0],
        Played {
            stream: VOICE,
            sequence: 7,
            kind: PlayedKind::Decoded
        }
    );
}

#[test]
fn ten_percent_loss_still_plays() {
    let speech = speech_like(4.0, 140.0);
    let packets = encode(&speech);
    let heard = run(0, &packets, 1500, 1.0, |i| {
        if chance(i) < 0.1 {
            vec![]
        } else {
            vec![30.0 + 4.0 * chance(i + 9)]
        }
    });
    let stats = heard.stats();
    let lost = (0..1500).filter(|i| chance(*i) < 0.1).count() as u64;
    assert!(
        stats.lost.abs_diff(lost) <= 3,
        "{stats:?}, really lost {lost}"
    );
    assert!(
        stats.recovered * 2 > stats.lost,
        "most single losses are recovered: {stats:?}"
    );
    let level = power_db(&heard.samples[96_000..1_440_000]) - power_db(&speech);
    assert!(level.abs() < 2.5, "{level} dB");
    assert!(
        heard.delays_ms[1400] < 80.0,
        "loss must not pile up delay: {} ms",
        heard.delays_ms[1400]
    );
}

#[test]
fn reordering_costs_nothing_once_it_is_known() {
    let packets = encode(&speech_like(4.0, 140.0));
    // Every fourth frame is overtaken by the next one.
    let heard = run(0, &packets, 1000, 1.0, |i| {
        vec![if i % 4 == 0 { 55.0 } else { 30.0 }]
    });
    let stats = heard.stats();
    assert!(stats.lost + stats.late <= 2, "{stats:?}");
    let order: Vec<u64> = heard
        .played
        .iter()
        .filter(|p| p.kind == PlayedKind::Decoded)
        .map(|p| p.sequence)
        .collect();
    assert!(order.is_sorted());
}

#[test]
fn delay_grows_with_jitter_at_once_and_shrinks_when_it_is_over() {
    let packets = encode(&speech_like(4.0, 140.0));
    let heard = run(0, &packets, 4000, 1.0, |i| match i {
        0..500 => vec![30.0],
        500..1500 => vec![30.0 + 90.0 * chance(i)],
        _ => vec![30.0],
    });
    let before = heard.delays_ms[450];
    let during = heard.delays_ms[700..1500]
        .iter()
        .copied()
        .fold(0.0, f64::max);
    let soon = heard.delays_ms[560];
    let after = heard.delays_ms[3900];
    assert!(before < 45.0, "before: {before}");
    assert!(soon > 70.0, "a second into it: {soon}");
    assert!((80.0..=170.0).contains(&during), "during: {during}");
    assert!(after < 50.0, "after: {after}");
    let stats = heard.stats();
    assert!(
        stats.lost < 15,
        "the jump costs a few frames, the rest is covered: {stats:?}"
    );
}

#[test]
fn clock_drift_does_not_move_the_delay() {
    let packets = encode(&speech_like(4.0, 140.0));
    for pace in [0.9997, 1.0003] {
        let heard = run(0, &packets, 9000, pace, |i| vec![30.0 + 8.0 * chance(i)]);
        let stats = heard.stats();
        assert_eq!(stats.skipped, 0, "pace {pace}");
        assert!(stats.lost + stats.late <= 3, "pace {pace}: {stats:?}");
        for at in [3000, 6000, 8900] {
            let delay = heard.delays_ms[at];
            assert!(
                (15.0..60.0).contains(&delay),
                "pace {pace}: {delay} ms at frame {at}"
            );
        }
    }
}

#[test]
fn duplicates_and_late_frames_are_counted_and_dropped() {
    let packets = encode(&speech_like(2.0, 140.0));
    let heard = run(0, &packets, 300, 1.0, |i| match i {
        150 => vec![230.0],
        i if i % 10 == 0 => vec![30.0, 41.0],
        _ => vec![30.0],
    });
    let stats = heard.stats();
    assert_eq!(stats.duplicates, 29, "{stats:?}");
    assert_eq!((stats.late, stats.lost), (1, 1), "{stats:?}");
    let mut decoded: Vec<u64> = heard
        .played
        .iter()
        .filter(|p| p.kind == PlayedKind::Decoded)
        .map(|p| p.sequence)
        .collect();
    let n = decoded.len();
    decoded.dedup();
    assert_eq!(decoded.len(), n, "nothing is played twice");
}

#[test]
fn sequence_numbers_may_wrap() {
    let packets = encode(&speech_like(2.0, 140.0));
    let heard = run(u64::MAX - 49, &packets, 100, 1.0, |i| {
        vec![30.0 + 10.0 * chance(i)]
    });
    assert_eq!(heard.count(PlayedKind::Decoded), 100);
    assert_eq!(heard.stats().lost, 0);
}

#[test]
fn a_sender_who_is_gone_is_concealed_for_a_tenth_of_a_second_and_may_come_back() {
    let packets = encode(&vowel(4.0, 120.0, &[600.0, 1100.0, 2400.0]));
    // Frames 100 to 149 are never sent; the rest is on time.
    let heard = run(0, &packets, 200, 1.0, |i| {
        if (100..150).contains(&i) {
            vec![]
        } else {
            vec![30.0]
        }
    });
    let concealed = heard
        .played
        .iter()
        .filter(|p| p.kind == PlayedKind::Concealed && p.sequence <= 150)
        .count();
    assert!((3..=6).contains(&concealed), "{concealed} frames concealed");
    let loud: Vec<bool> = heard
        .samples
        .chunks_exact(FRAME_SAMPLES)
        .map(|c| power_db(c) > -60.0)
        .collect();
    let from = loud
        .iter()
        .enumerate()
        .skip(60)
        .find(|(_, l)| !**l)
        .unwrap()
        .0;
    let silent = loud[from..].iter().take_while(|l| !**l).count();
    assert!((40..=50).contains(&silent), "{silent} silent frames");
    assert!(heard.played.contains(&Played {
        stream: VOICE,
        sequence: 150,
        kind: PlayedKind::Decoded
    }));
    let steps = heard
        .samples
        .windows(2)
        .map(|w| (w[1] - w[0]).abs())
        .fold(0.0, f32::max);
    assert!(steps < 0.25, "a step of {steps} would click");
}

#[test]
fn after_an_outage_the_delay_is_bounded_and_comes_back() {
    let packets = encode(&speech_like(4.0, 140.0));
    // Half a second of frames arrives at once, at the end of the outage.
    let heard = run(0, &packets, 2500, 1.0, |i| match i {
        300..325 => vec![30.0 + (325 - i) as f64 * 20.0],
        _ => vec![30.0],
    });
    let most = heard.delays_ms.iter().copied().fold(0.0, f64::max);
    assert!(
        most <= (MAX_DELAY + FRAME_DURATION).as_secs_f64() * 1e3 + 1.0,
        "{most} ms"
    );
    assert!(
        heard.delays_ms[2400] < 60.0,
        "{} ms at the end",
        heard.delays_ms[2400]
    );
    let after = heard
        .played
        .iter()
        .filter(|p| (330..2500).contains(&p.sequence) && p.kind != PlayedKind::Decoded)
        .count();
    assert_eq!(after, 0);
}

#[test]
fn a_removed_voice_is_gone_within_two_milliseconds_and_does_not_click() {
    let packets = encode(&vowel(2.0, 120.0, &[600.0, 1100.0, 2400.0]));
    let mut heard = run(0, &packets, 60, 1.0, |_| vec![10.0]);
    // Well inside speech: play on from a fresh chain so that frames are waiting.
    heard.chain.remove_stream(VOICE);
    let mut chain = ReceiveChain::new();
    chain.add_stream(VOICE).unwrap();
    let mut out = AudioFrame::SILENCE;
    let mut before = [0.0; 2];
    for i in 0..40_u64 {
        let now = FRAME_DURATION * i as u32;
        chain.push(VOICE, i, &packets[i as usize], now);
        chain.pull(now, &mut out);
        before = [out.0[FRAME_SAMPLES - 2], out.0[FRAME_SAMPLES - 1]];
    }
    assert!(out.rms_db() > -40.0);
    chain.remove_stream(VOICE);
    chain.push(VOICE, 40, &packets[40], FRAME_DURATION * 40);
    chain.pull(FRAME_DURATION * 40, &mut out);
    assert!(chain.last_played().is_empty());
    assert!(out.0[LOOKAHEAD + TAIL_SAMPLES..].iter().all(|s| *s == 0.0));
    let mut joined = before.to_vec();
    joined.extend_from_slice(&out.0);
    let step = joined
        .windows(2)
        .map(|w| (w[1] - w[0]).abs())
        .fold(0.0, f32::max);
    assert!(step < 0.1, "{step}");
    for i in 41..60_u64 {
        chain.push(VOICE, i, &packets[i as usize], FRAME_DURATION * i as u32);
        chain.pull(FRAME_DURATION * i as u32, &mut out);
        assert_eq!(out, AudioFrame::SILENCE);
    }
    assert!(chain.stats(VOICE).is_none());
}

#[test]
fn decoders_exist_only_for_streams_that_were_added() {
    let mut chain = ReceiveChain::new();
    for i in 0..MAX_STREAMS as u32 {
        chain.add_stream(StreamId(i)).unwrap();
    }
    assert!(matches!(
        chain.add_stream(StreamId(3)),
        Err(DspError::StreamExists(StreamId(3)))
    ));
    assert!(matches!(
        chain.add_stream(StreamId(99)),
        Err(DspError::StreamLimit)
    ));
    let frame = OpusFrame::try_from(&[0; OPUS_FRAME_BYTES][..]).unwrap();
    chain.push(StreamId(99), 0, &frame, Duration::ZERO);
    assert!(chain.stats(StreamId(99)).is_none());
    chain.remove_stream(StreamId(3));
    chain.add_stream(StreamId(99)).unwrap();
    assert_eq!(chain.streams().count(), MAX_STREAMS);
}

#[test]
fn sixteen_loud_voices_never_clip_and_volume_is_obeyed() {
    let packets = encode(
        &speech_like(2.0, 140.0)
            .iter()
            .map(|s| s * 1.9)
            .collect::<Vec<_>>(),
    );
    let mut chain = ReceiveChain::new();
    for id in 0..16 {
        chain.add_stream(StreamId(id)).unwrap();
        chain.set_gain(StreamId(id), 7.0);
    }
    let mut out = AudioFrame::SILENCE;
    for i in 0..90_u64 {
        let now = FRAME_DURATION * i as u32;
        for id in 0..16 {
            chain.push(StreamId(id), i, &packets[i as usize], now);
        }
        chain.pull(now, &mut out);
        assert!(out.peak() <= CEILING);
        if i == 60 {
            assert!(chain.level_db(StreamId(5)) > -30.0);
            (0..16).for_each(|id| chain.set_gain(StreamId(id), 0.0));
        }
    }
    assert_eq!(out.peak(), 0.0, "all turned down to nothing");
    assert!(
        chain.level_db(StreamId(5)) > -50.0,
        "the level is measured before the volume"
    );
}

#[test]
fn muted_frames_have_the_same_size_and_decode_to_silence() {
    let mut send = SendChain::new(&MorphSeed::from_bytes([9; 32]), Character::Free).unwrap();
    let mut chain = ReceiveChain::new();
    chain.add_stream(VOICE).unwrap();
    let mut out = AudioFrame::SILENCE;
    for i in 0..50_u64 {
        let sent = send.silence();
        assert_eq!(sent.morphed_level_db, LEVEL_FLOOR_DB);
        chain.push(VOICE, i, &sent.opus, FRAME_DURATION * i as u32);
        chain.pull(FRAME_DURATION * i as u32, &mut out);
        assert!(out.rms_db() < -70.0);
    }
    assert_eq!(chain.stats(VOICE).unwrap().lost, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the network does: order, bounds, finite samples.
    #[test]
    fn any_network_keeps_order_and_bounds(
        first in any::<u64>(), loss in 0.0..0.5_f64, jitter in 0.0..400.0_f64, seed in 0..1000_usize,
        garbage in prop::bool::weighted(0.2),
    ) {
        let mut packets = encode(&speech_like(1.0, 140.0));
        if garbage {
            let mut noise = Noise::new(seed as u32);
            let junk: Vec<u8> = (0..OPUS_FRAME_BYTES).map(|_| (noise.next() * 127.0) as i8 as u8).collect();
            packets.push(OpusFrame::try_from(&junk[..]).unwrap());
        }
        let heard = run(first, &packets, 400, 1.0, |i| {
            let i = i + seed * 1000;
            match chance(i) {
                c if c < loss => vec![],
                c if c > 0.95 => vec![jitter * chance(i + 1), jitter * chance(i + 2)],
                _ => vec![jitter * chance(i + 3)],
            }
        });
        let decoded: Vec<i64> = heard.played.iter().filter(|p| p.kind == PlayedKind::Decoded)
            .map(|p| p.sequence.wrapping_sub(first) as i64).collect();
        prop_assert!(decoded.windows(2).all(|w| w[0] < w[1]), "order");
        prop_assert!(heard.samples.iter().all(|s| s.is_finite() && s.abs() <= CEILING));
        let most = heard.delays_ms.iter().copied().fold(0.0, f64::max);
        // Up to three frames of grace where hardly any frame waits, and what is left in the queue.
        prop_assert!(most <= MAX_DELAY.as_secs_f64() * 1e3 + 80.0, "{most} ms");
        let stats = heard.stats();
        prop_assert!(stats.target_delay >= MIN_DELAY && stats.target_delay <= MAX_DELAY);
        prop_assert!(stats.received <= 400);
    }
}

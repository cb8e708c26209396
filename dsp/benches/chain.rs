//! What 20 ms of voice cost, against bare Opus in the same run.
//!
//! Budgets, as shares of the 20 ms that a frame lasts: the send chain under 5 %, the receive chain with eleven
//! voices under 10 %. They are printed, with the ratio to what libopus alone takes; nothing fails on them, since
//! a busy machine says nothing about the code.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use undertone_dsp::{
    AudioFrame, Character, CleanUp, Cleaner, FRAME_DURATION, FRAME_SAMPLES, MorphSeed, Morphed,
    Morpher, OpusFrame, RawPcm, ReceiveChain, Redundancy, SAMPLE_RATE_HZ, SendChain, StreamId,
    VoiceDecoder, VoiceEncoder,
};

const SEND_BUDGET: f64 = 0.05;
const RECEIVE_BUDGET: f64 = 0.10;
/// A printed measurement: batches of one second of voice.
const FRAMES: usize = 50;
const BATCHES: usize = 40;

/// Two seconds of buzz with moving resonances and hiss between: busy, and nobody's voice.
fn voice() -> Vec<RawPcm> {
    let mut phase = 0.0_f32;
    let mut noise = 1_u32;
    let (mut y1, mut y2) = (0.0_f32, 0.0_f32);
    (0..100)
        .map(|frame| {
            let mut out = AudioFrame::SILENCE;
            let formant_hz = 500.0 + 300.0 * (frame as f32 * 0.3).sin();
            let theta = std::f32::consts::TAU * formant_hz / SAMPLE_RATE_HZ as f32;
            for sample in &mut out.0 {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                phase += (120.0 + 20.0 * (frame as f32 * 0.1).sin()) / SAMPLE_RATE_HZ as f32;
                let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
                phase -= phase.floor();
                let hiss = (noise as f32 / u32::MAX as f32 - 0.5)
                    * if frame % 10 < 7 { 0.002 } else { 0.05 };
                let y = pulse + hiss + 1.97 * theta.cos() * y1 - 0.97 * y2;
                (y2, y1) = (y1, y);
                *sample = 0.15 * y;
            }
            RawPcm(out)
        })
        .collect()
}

fn morph_all(raw: &[RawPcm]) -> Vec<Morphed> {
    let mut morpher = Morpher::new(&seed(), Character::Free);
    raw.iter().map(|frame| morpher.process(frame)).collect()
}

fn seed() -> MorphSeed {
    MorphSeed::from_bytes([42; 32])
}

/// A receive chain with as many voices, and a closure that plays its next frame.
fn receiver(voices: u32, packets: &[OpusFrame]) -> impl FnMut() + use<> {
    let packets = packets.to_vec();
    let mut chain = ReceiveChain::new();
    for id in 0..voices {
        let _ = chain.add_stream(StreamId(id));
    }
    let mut out = AudioFrame::SILENCE;
    let mut frame = 0_u64;
    move || {
        let now = FRAME_DURATION * frame as u32;
        for id in 0..voices {
            chain.push(
                StreamId(id),
                frame,
                &packets[(frame as usize + id as usize * 7) % packets.len()],
                now,
            );
        }
        chain.pull(now, &mut out);
        black_box(&out);
        frame += 1;
    }
}

/// Time of a call: the fastest of many batches, since other work on the machine only ever adds.
fn fastest(mut call: impl FnMut()) -> Duration {
    (0..BATCHES)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..FRAMES {
                call();
            }
            start.elapsed() / FRAMES as u32
        })
        .min()
        .unwrap_or_default()
}

fn print_budget(
    raw: &[RawPcm],
    morphed: &[Morphed],
    packets: &[OpusFrame],
) -> Result<(), undertone_dsp::DspError> {
    let mut i = 0;
    let mut next = || {
        i += 1;
        i
    };
    let mut coded = |redundancy| {
        let mut encoder = VoiceEncoder::new(redundancy)?;
        Ok::<_, undertone_dsp::DspError>(fastest(|| {
            let _ = black_box(encoder.encode(&morphed[next() % morphed.len()]));
        }))
    };
    let (bare_encode, encode) = (coded(Redundancy::OneFrame)?, coded(Redundancy::Deep)?);
    let mut decoder = VoiceDecoder::new()?;
    let mut out = AudioFrame::SILENCE;
    let decode = fastest(|| {
        let _ = black_box(decoder.decode(&packets[next() % packets.len()], &mut out));
    });
    let rebuild = fastest(|| {
        let _ = black_box(decoder.recover(&packets[next() % packets.len()], 2, &mut out));
    });
    let conceal = fastest(|| {
        let _ = black_box(decoder.conceal(&mut out));
    });
    let mut cleaner = Cleaner::new(CleanUp::default())?;
    let mut at = Duration::ZERO;
    let clean = fastest(|| {
        at += FRAME_DURATION;
        cleaner.hear(&raw[next() % raw.len()].0, at);
        let mut frame = raw[next() % raw.len()].clone();
        cleaner.process(&mut frame);
        black_box(&frame);
    });
    let mut morpher = Morpher::new(&seed(), Character::Free);
    let morph = fastest(|| {
        black_box(morpher.process(&raw[next() % raw.len()]));
    });
    let mut chain = SendChain::new(&seed(), Character::Free)?;
    let send = fastest(|| {
        at += FRAME_DURATION;
        cleaner.hear(&raw[next() % raw.len()].0, at);
        let mut frame = raw[next() % raw.len()].clone();
        cleaner.process(&mut frame);
        black_box(chain.process(&frame));
    });
    let share = |time: Duration| 100.0 * time.as_secs_f64() / FRAME_DURATION.as_secs_f64();
    println!("a frame lasts {FRAME_SAMPLES} samples, 20 ms; of one core:");
    for (stage, time) in [
        ("clean-up (sonora)", clean),
        ("morph", morph),
        ("Opus encode, FEC", bare_encode),
        ("Opus encode, DRED", encode),
        ("Opus decode", decode),
        ("  of a lost frame", rebuild),
        ("  made up", conceal),
    ] {
        println!("  {stage:<20}  {time:>10.1?}  {:5.2} %", share(time));
    }
    let mut budgets = vec![("send, all of it".to_owned(), send, SEND_BUDGET, bare_encode)];
    for voices in [1, 4, 11] {
        let time = fastest(receiver(voices, packets));
        let name = format!("receive {voices}");
        budgets.push((name, time, RECEIVE_BUDGET, decode * voices));
    }
    for (name, time, budget, bare) in budgets {
        println!(
            "  {name:<20}  {time:>10.1?}  {:5.2} %  of {:.0} % allowed: {}; {:.2} x bare Opus",
            share(time),
            100.0 * budget,
            if share(time) <= 100.0 * budget {
                "kept"
            } else {
                "NOT KEPT"
            },
            time.as_secs_f64() / bare.as_secs_f64(),
        );
    }
    Ok(())
}

fn chains(c: &mut Criterion) {
    let raw = voice();
    let morphed = morph_all(&raw);
    let (Ok(mut encoder), Ok(mut send)) = (
        VoiceEncoder::new(Redundancy::default()),
        SendChain::new(&seed(), Character::Free),
    ) else {
        println!("libopus refused its settings; nothing measured");
        return;
    };
    let packets: Vec<OpusFrame> = morphed
        .iter()
        .filter_map(|frame| encoder.encode(frame).ok())
        .collect();
    if let Err(error) = print_budget(&raw, &morphed, &packets) {
        println!("budget not measured: {error}");
    }

    let mut group = c.benchmark_group("20 ms");
    let mut i = 0;
    group.bench_function("opus encode", |b| {
        b.iter(|| {
            i += 1;
            encoder.encode(&morphed[i % morphed.len()])
        })
    });
    let mut morpher = Morpher::new(&seed(), Character::Free);
    group.bench_function("morph", |b| {
        b.iter(|| {
            i += 1;
            morpher.process(&raw[i % raw.len()])
        })
    });
    group.bench_function("send chain", |b| {
        b.iter(|| {
            i += 1;
            send.process(&raw[i % raw.len()])
        })
    });
    for voices in [1, 4, 11] {
        let mut play = receiver(voices, &packets);
        group.bench_function(format!("receive chain of {voices}"), |b| b.iter(&mut play));
    }
    group.finish();
}

criterion_group!(benches, chains);
criterion_main!(benches);

//! The morph as a whole, on synthesised speech.

use super::*;
use crate::testing::{Noise, speech_like, vowel};

fn morpher(seed: u8) -> Morpher {
    Morpher::new(&MorphSeed::from_bytes([seed; 32]), Character::Free)
}

fn run(morpher: &mut Morpher, samples: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(samples.len());
    for chunk in samples.as_chunks::<FRAME_SAMPLES>().0 {
        let morphed = morpher
            .try_process(&RawPcm(AudioFrame(*chunk)))
            .expect("healthy");
        out.extend_from_slice(&morphed.as_frame().0);
    }
    out
}

fn morph(samples: &[f32], seed: u8) -> Vec<f32> {
    run(&mut morpher(seed), samples)
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
}

/// Largest normalised correlation over all delays up to 50 ms.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    (0..2_400_usize)
        .step_by(2)
        .map(|delay| {
            let (mut cross, mut aa, mut bb) = (0.0_f32, 1e-9, 1e-9);
            for (x, y) in a.iter().zip(&b[delay..]).step_by(7) {
                cross += x * y;
                aa += x * x;
                bb += y * y;
            }
            cross.abs() / (aa * bb).sqrt()
        })
        .fold(0.0, f32::max)
}

/// Median pitch in hertz by the crate's own tracker.
fn pitch_hz(samples: &[f32]) -> f32 {
    let mut decimator = Decimator::new();
    let mut tracker = PitchTracker::new();
    let mut heard: Vec<f32> = samples
        .as_chunks::<HOP>()
        .0
        .iter()
        .filter_map(|hop| {
            let mut core = [0.0; CORE_HOP];
            decimator.process(hop, &mut core);
            let pitch = tracker.process(&core, 0.0);
            pitch.is_voiced.then_some(pitch.hz)
        })
        .collect();
    heard.sort_by(f32::total_cmp);
    heard[heard.len() / 2]
}

/// Level in dB of bands a third of an octave apart, 250 Hz to 6 kHz, about their mean.
fn bands_db(samples: &[f32]) -> Vec<f32> {
    let mut bands: Vec<f32> = (0..14)
        .map(|i| {
            let hz = 250.0 * 1.28_f32.powi(i);
            let mut filters = [Biquad::band_pass(hz, 4.0), Biquad::band_pass(hz, 4.0)];
            let out: Vec<f32> = samples
                .iter()
                .map(|s| filters.iter_mut().fold(*s, |x, f| f.step(x)))
                .collect();
            20.0 * (rms(&out) + 1e-9).log10()
        })
        .collect();
    let mean = bands.iter().sum::<f32>() / bands.len() as f32;
    bands.iter_mut().for_each(|b| *b -= mean);
    bands
}

fn distance_db(a: &[f32], b: &[f32]) -> f32 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32).sqrt()
}

#[test]
fn silence_stays_silence_and_faint_noise_is_not_raised() {
    assert!(morph(&[0.0; 48_000], 1).iter().all(|s| s.abs() < 1e-6));
    let mut noise = Noise::new(6);
    let faint: Vec<f32> = (0..96_000).map(|_| 5e-4 * noise.next()).collect();
    let change_db = 20.0 * (rms(&morph(&faint, 1)[48_000..]) / rms(&faint)).log10();
    assert!(change_db < 2.0, "{change_db} dB");
}

#[test]
fn one_seed_always_does_the_same_and_another_something_else() {
    let speech = speech_like(2.0, 130.0);
    let (a, b, c) = (morph(&speech, 3), morph(&speech, 3), morph(&speech, 4));
    assert_eq!(a, b);
    assert!(likeness(&a[24_000..72_000], &c[24_000..]) < 0.9);
}

#[test]
fn pitch_and_envelope_both_move_and_the_level_stays() {
    let mut all_moved = 0.0;
    for seed in 0..8 {
        for f0 in [95.0, 210.0] {
            let sound = vowel(2.0, f0, &[650.0, 1_100.0, 2_450.0, 3_400.0]);
            let out = morph(&sound, seed);
            let (sound, out) = (&sound[48_000..], &out[48_000..]);
            let semitones = 12.0 * (pitch_hz(out) / f0).log2();
            assert!(
                semitones.abs() > 1.7 && semitones.abs() < 13.0,
                "seed {seed}, {f0} Hz: {semitones} semitones"
            );
            let moved = distance_db(&bands_db(sound), &bands_db(out));
            assert!(
                moved > 1.5,
                "seed {seed}, {f0} Hz: the spectrum moved by {moved} dB only"
            );
            all_moved += moved / 16.0;
            let level = 20.0 * (rms(out) / rms(sound)).log10();
            assert!(level.abs() < 2.5, "seed {seed}, {f0} Hz: {level} dB");
        }
    }
    assert!(
        all_moved > 3.0,
        "the spectrum moved by {all_moved} dB on average"
    );
}

#[test]
fn what_was_said_is_not_in_the_output_as_it_was_from_the_first_syllable_on() {
    let speech = speech_like(2.0, 120.0);
    for seed in 0..6 {
        let out = morph(&speech, seed);
        for from in [0, 24_000, 60_000] {
            let close = likeness(&speech[from..from + 9_600], &out[from..]);
            assert!(close < 0.93, "seed {seed}, from {from}: {close}");
        }
    }
}

#[test]
fn what_is_constant_about_a_speaker_is_reduced() {
    // The same words by someone whose whole voice has a lasting hump at 1.5 kHz and lacks treble.
    let a = speech_like(8.0, 120.0);
    let mut hump = Biquad::band_pass(1_500.0, 1.5);
    let mut dull = 0.0;
    let b: Vec<f32> = a
        .iter()
        .map(|s| {
            dull += 0.3 * (s + 2.0 * hump.step(*s) - dull);
            0.3 * dull
        })
        .collect();
    let late = 192_000..;
    let before = distance_db(&bands_db(&a[late.clone()]), &bands_db(&b[late.clone()]));
    let mut after = 0.0;
    for seed in 0..4 {
        let (x, y) = (morph(&a, seed), morph(&b, seed));
        after += distance_db(&bands_db(&x[late.clone()]), &bands_db(&y[late.clone()])) / 4.0;
    }
    assert!(
        after < 0.7 * before,
        "{before} dB apart before, {after} dB after"
    );
}

#[test]
fn nonsense_in_is_no_nonsense_out() {
    let mut noise = Noise::new(8);
    let mut square = vec![0.0; 48_000];
    for (i, s) in square.iter_mut().enumerate() {
        *s = if i / 57 % 2 == 0 { 1.0 } else { -1.0 };
    }
    let inputs: [Vec<f32>; 6] = [
        vec![f32::NAN; 9_600],
        vec![f32::INFINITY; 9_600],
        (0..48_000).map(|_| 30.0 * noise.next()).collect(),
        square,
        (0..48_000).map(|i| (i as f32 * 0.13).sin()).collect(),
        (0..48_000)
            .map(|i| if i % 9_000 == 0 { 1.0 } else { 1e-30 })
            .collect(),
    ];
    let mut one = morpher(5);
    for input in &inputs {
        for out in [morph(input, 2), run(&mut one, input)] {
            assert!(
                out.iter()
                    .all(|s| s.is_finite() && s.abs() <= crate::mixer::CEILING)
            );
        }
    }
    // It recovers, and is quiet when there is nothing.
    let rest = run(&mut one, &[0.0; 48_000]);
    assert!(rms(&rest[24_000..]) < 1e-4);
}

#[test]
fn frames_join_without_clicks() {
    let sound = vowel(2.0, 140.0, &[650.0, 1_100.0, 2_450.0]);
    for seed in 0..4 {
        let out = morph(&sound, seed);
        let jerk = |i: usize| (out[i + 1] - 2.0 * out[i] + out[i - 1]).abs();
        let usual = (48_000..90_000).map(jerk).fold(0.0, f32::max);
        let at_edges = (200..370)
            .map(|hop| jerk(hop * HOP).max(jerk(hop * HOP - 1)))
            .fold(0.0, f32::max);
        assert!(at_edges <= usual && usual < 0.5, "{at_edges} of {usual}");
    }
}

#[test]
fn output_follows_input_by_the_stated_latency_and_never_looks_further_ahead() {
    let speech = speech_like(2.0, 120.0);
    let mut changed = speech.clone();
    let from = 50_003;
    for (i, s) in changed[from..].iter_mut().enumerate() {
        *s = 0.3 * (i as f32 * 0.05).sin();
    }
    let (a, b) = (morph(&speech, 3), morph(&changed, 3));
    let first = (0..a.len())
        .find(|i| (a[*i] - b[*i]).abs() > 1e-6)
        .expect("the change is heard");
    // Output is handed out as it is made: what depends on a sample comes after it, but for the rest of its hop.
    assert!(first + HOP >= from, "sample {first} knew of {from}");
    assert!(Morpher::LATENCY <= Duration::from_millis(30));

    let mut onset = vec![0.0; 48_000];
    onset.extend(vowel(0.5, 120.0, &[650.0, 1_100.0]));
    let out = morph(&onset, 3);
    let heard = out
        .iter()
        .position(|s| s.abs() > 0.02)
        .expect("the vowel is heard");
    let latency = Morpher::LATENCY.as_micros() as usize * 48 / 1_000;
    assert!((48_000..48_000 + latency + 480).contains(&heard), "{heard}");
}

#[test]
fn a_flush_leaves_no_tail() {
    let mut one = morpher(3);
    run(&mut one, &speech_like(1.0, 120.0));
    one.flush();
    assert!(run(&mut one, &[0.0; 9_600]).iter().all(|s| s.abs() < 1e-6));
}

#[test]
fn the_difference_is_known_once_a_voice_was_heard_and_is_never_small() {
    for n in 0..24 {
        let mut morpher = Morpher::new(
            &MorphSeed::from_bytes([n; 32]),
            Character::ALL[n as usize % Character::ALL.len()],
        );
        assert_eq!(morpher.difference(), None);
        let speech = speech_like(4.0, 120.0 + 5.0 * f32::from(n));
        for chunk in speech.chunks_exact(FRAME_SAMPLES) {
            let mut raw = RawPcm::default();
            raw.0.0.copy_from_slice(chunk);
            morpher.process(&raw);
        }
        let difference = morpher.difference().unwrap();
        assert!(
            difference.pitch_semitones.abs() > 1.5,
            "{n}: {difference:?}"
        );
        assert!(difference.moved_percent > 1.0, "{n}: {difference:?}");
        assert!(difference.moved_percent + 1e-3 >= difference.resonances_percent.abs());
        assert!(difference.share() > 0.2, "{n}: {difference:?}");
    }
}

//! The morph as a whole, on synthesised speech.

use super::*;
use crate::testing::{Noise, speech_like, vowel};

fn morpher(seed: u8) -> Morpher {
    Morpher::new(&MorphSeed::from_bytes([seed; 32]), Character::Free)
}

fn morph(samples: &[f32], seed: u8) -> Vec<f32> {
    let mut morpher = morpher(seed);
    let mut out = Vec::new();
    for chunk in samples.as_chunks::<FRAME_SAMPLES>().0 {
        let morphed = morpher
            .try_process(&RawPcm(AudioFrame(*chunk)))
            .expect("healthy");
        out.extend_from_slice(&morphed.as_frame().0);
    }
    out
}

#[test]
fn silence_stays_silence() {
    assert!(morph(&[0.0; 48_000], 1).iter().all(|s| s.abs() < 1e-6));
}
#[test]
fn smoke() {
    let y = morph(&speech_like(3.0, 130.0), 3);
    assert!(y.iter().all(|s| s.is_finite()));
    let _ = (vowel(0.1, 100.0, &[500.0]), Noise::new(1));
}

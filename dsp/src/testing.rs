//! Test signals, synthesised: nobody's voice.

use crate::SAMPLE_RATE_HZ;

/// Uniform noise in ±1.0 from a small generator; deterministic for a seed.
pub(crate) struct Noise(u32);

impl Noise {
    pub(crate) fn new(seed: u32) -> Self {
        Self(seed.wrapping_mul(2_654_435_761).max(1))
    }

    pub(crate) fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as f32 / (u32::MAX / 2) as f32 - 1.0
    }
}

/// Second-order resonator at `hz` with bandwidth `bw_hz`.
pub(crate) struct Resonator {
    a1: f32,
    a2: f32,
    gain: f32,
    y1: f32,
    y2: f32,
}

impl Resonator {
    pub(crate) fn new(hz: f32, bw_hz: f32) -> Self {
        let fs = SAMPLE_RATE_HZ as f32;
        let r = (-std::f32::consts::PI * bw_hz / fs).exp();
        let theta = std::f32::consts::TAU * hz / fs;
        let (a1, a2) = (2.0 * r * theta.cos(), -r * r);
        Self {
            a1,
            a2,
            gain: 1.0 - a1 - a2,
            y1: 0.0,
            y2: 0.0,
        }
    }

    pub(crate) fn step(&mut self, x: f32) -> f32 {
        let y = self.gain * x + self.a1 * self.y1 + self.a2 * self.y2;
        (self.y2, self.y1) = (self.y1, y);
        y
    }
}

/// A steady vowel: glottal pulses at `f0_hz` through resonances at `formants` (Hz), peak near 0.5.
pub(crate) fn vowel(seconds: f32, f0_hz: f32, formants: &[f32]) -> Vec<f32> {
    let n = (seconds * SAMPLE_RATE_HZ as f32) as usize;
    let mut bank: Vec<_> = formants
        .iter()
        .map(|f| Resonator::new(*f, 60.0 + f / 30.0))
        .collect();
    let mut noise = Noise::new(11);
    let (mut phase, mut tilt) = (0.0_f32, 0.0_f32);
    let mut out: Vec<f32> = (0..n)
        .map(|_| {
            phase += f0_hz / SAMPLE_RATE_HZ as f32;
            let pulse = if phase >= 1.0 {
                phase -= 1.0;
                1.0
            } else {
                0.0
            };
            tilt += 0.15 * (pulse - tilt);
            bank.iter_mut()
                .fold(tilt + 2e-4 * noise.next(), |x, r| r.step(x))
        })
        .collect();
    normalise(&mut out, 0.5);
    out
}

/// Something with the rhythm of speech: syllables of gliding vowels, hiss between them, pauses.
pub(crate) fn speech_like(seconds: f32, f0_hz: f32) -> Vec<f32> {
    const VOWELS: [[f32; 4]; 5] = [
        [730.0, 1090.0, 2440.0, 3400.0],
        [270.0, 2290.0, 3010.0, 3600.0],
        [300.0, 870.0, 2240.0, 3300.0],
        [530.0, 1840.0, 2480.0, 3500.0],
        [570.0, 840.0, 2410.0, 3300.0],
    ];
    let fs = SAMPLE_RATE_HZ as f32;
    let n = (seconds * fs) as usize;
    let mut out = Vec::with_capacity(n);
    let mut noise = Noise::new(5);
    let mut hiss = Resonator::new(5200.0, 1500.0);
    let mut phase = 0.0_f32;
    let mut syllable = 0;
    while out.len() < n {
        let mut bank: Vec<_> = VOWELS[syllable % 5]
            .iter()
            .map(|f| Resonator::new(*f, 60.0 + f / 30.0))
            .collect();
        let voiced = (0.22 * fs) as usize;
        let mut tilt = 0.0_f32;
        for i in 0..voiced {
            let along = i as f32 / voiced as f32;
            let f0 = f0_hz * (1.12 - 0.2 * along + 0.05 * (syllable as f32).sin());
            phase += f0 / fs;
            let pulse = if phase >= 1.0 {
                phase -= 1.0;
                1.0
            } else {
                0.0
            };
            tilt += 0.15 * (pulse - tilt);
            let fade = (along * 8.0).min((1.0 - along) * 8.0).min(1.0);
            let y = bank
                .iter_mut()
                .fold(tilt + 4e-4 * noise.next(), |x, r| r.step(x));
            out.push(40.0 * fade * y);
        }
        for i in 0..(0.07 * fs) as usize {
            let fade = (std::f32::consts::PI * i as f32 / (0.07 * fs)).sin();
            out.push(0.25 * fade * hiss.step(noise.next()));
        }
        if syllable % 4 == 3 {
            out.extend(std::iter::repeat_n(0.0, (0.15 * fs) as usize));
        }
        syllable += 1;
    }
    out.truncate(n);
    normalise(&mut out, 0.5);
    out
}

fn normalise(samples: &mut [f32], peak: f32) {
    let max = samples.iter().fold(1e-9_f32, |m, s| m.max(s.abs()));
    samples.iter_mut().for_each(|s| *s *= peak / max);
}

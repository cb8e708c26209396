//! The pitch of the voice, every 5 ms, from past samples only.
//!
//! McLeod's normalised square difference (P. McLeod, G. Wyvill, "A smarter way to find pitch", ICMC 2005) on
//! the core at 8 kHz. Peaks are picked and refined by the `pitch-detection` crate. Its detectors themselves
//! plan a Fourier transform at every call, which allocates, so the square difference is computed here; at
//! these sizes the direct sum is cheaper as well. Candidates carry a cost for jumping and for leaving the
//! speaker's usual range (the octave guard), as in P. Boersma's path finder (IFA 1993), but causal.

use pitch_detection::utils::peak::{PeakCorrection, correct_peak, detect_peaks};

use super::CORE_HOP;

const RATE_HZ: f32 = 8_000.0;
pub(super) const MIN_PITCH_HZ: f32 = 65.0;
pub(super) const MAX_PITCH_HZ: f32 = 500.0;
/// 30 ms: two and a half periods at 83 Hz, nearly two at the lowest pitch.
const WINDOW: usize = 240;
const LONGEST_LAG: usize = 126;
const CANDIDATES: usize = 10;
const VOICED_ABOVE: f32 = 0.55;
const UNVOICED_BELOW: f32 = 0.42;
/// A change of voicing must be seen this often to count.
const CONFIRM: u32 = 2;
const JUMP_COST: f32 = 0.4;
const RANGE_COST: f32 = 0.15;
/// Between peaks as good as each other the shorter period wins by this much an octave.
const OCTAVE_COST: f32 = 0.06;

/// What the tracker says about one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pitch {
    /// Hertz; holds its last value where nothing is voiced.
    pub(super) hz: f32,
    /// Whether the stretch is voiced, after hysteresis.
    pub(super) is_voiced: bool,
    /// How well the sound repeats itself, 0–1.
    pub(super) clarity: f32,
}

pub(super) struct PitchTracker {
    /// Low-passed core at 8 kHz, latest last.
    window: [f32; WINDOW],
    half_band: [f32; 16],
    low: [f32; 2],
    difference: [f32; LONGEST_LAG + 2],
    last_log2: Option<f32>,
    usual_log2: Option<f32>,
    now: Pitch,
    contrary: u32,
    unvoiced_for: u32,
}

impl PitchTracker {
    pub(super) fn new() -> Self {
        Self {
            window: [0.0; WINDOW],
            half_band: [0.0; 16],
            low: [0.0; 2],
            difference: [0.0; LONGEST_LAG + 2],
            last_log2: None,
            usual_log2: None,
            now: Pitch {
                hz: 140.0,
                ..Pitch::default()
            },
            contrary: 0,
            unvoiced_for: 0,
        }
    }

    /// Takes in 5 ms of core samples; `is_active` where there is more than background.
    pub(super) fn process(&mut self, core: &[f32; CORE_HOP], is_active: bool) -> Pitch {
        self.feed(core);
        let power = self.square_difference();
        let best = if is_active && power > 1e-8 {
            self.best_candidate()
        } else {
            None
        };
        let clarity = best.map_or(0.0, |b| b.1.clamp(0.0, 1.0));
        self.now.clarity = clarity;
        self.decide_voicing(clarity);
        if let Some((log2, _)) = best
            && clarity > UNVOICED_BELOW
        {
            self.last_log2 = Some(log2);
            if self.now.is_voiced {
                self.now.hz = log2.exp2();
                let usual = self.usual_log2.unwrap_or(log2);
                self.usual_log2 = Some(usual + (log2 - usual) / 100.0);
            }
        }
        if self.now.is_voiced {
            self.unvoiced_for = 0;
        } else {
            self.unvoiced_for += 1;
            if self.unvoiced_for > 20 {
                self.last_log2 = None;
            }
        }
        self.now
    }

    /// Low-pass, halve the rate, append.
    fn feed(&mut self, core: &[f32; CORE_HOP]) {
        self.window.copy_within(CORE_HOP / 2.., 0);
        for (pair, slot) in core
            .as_chunks::<2>()
            .0
            .iter()
            .zip(&mut self.window[WINDOW - CORE_HOP / 2..])
        {
            for sample in pair {
                self.half_band.copy_within(1.., 0);
                // First formants up to 1 kHz stay, hiss does not.
                self.low[0] += 0.35 * (sample - self.low[0]);
                self.low[1] += 0.5 * (self.low[0] - self.low[1]);
                self.half_band[15] = self.low[1];
            }
            *slot = self.half_band.iter().sum::<f32>() / 16.0 * 0.3
                + 0.35 * (self.half_band[7] + self.half_band[8]);
        }
    }

    /// Fills `difference` with the normalised square difference of each lag; returns mean power.
    fn square_difference(&mut self) -> f32 {
        let mean = self.window.iter().sum::<f32>() / WINDOW as f32;
        let mut x = self.window;
        x.iter_mut().for_each(|s| *s -= mean);
        let total: f32 = x.iter().map(|s| s * s).sum();
        let mut energy = 2.0 * total;
        for (lag, value) in self.difference.iter_mut().enumerate() {
            let cross: f32 = x[..WINDOW - lag]
                .iter()
                .zip(&x[lag..])
                .map(|(a, b)| a * b)
                .sum();
            *value = 2.0 * cross / (energy + 1e-9);
            energy -= x[lag] * x[lag] + x[WINDOW - 1 - lag] * x[WINDOW - 1 - lag];
        }
        total / WINDOW as f32
    }

    /// Log2 of the pitch of the best candidate, and how well it repeats.
    fn best_candidate(&self) -> Option<(f32, f32)> {
        let mut best: Option<(f32, f32, f32)> = None;
        for peak in detect_peaks(&self.difference).take(CANDIDATES) {
            let (lag, value) = correct_peak(peak, &self.difference, PeakCorrection::Quadratic);
            let hz = RATE_HZ / lag.max(1.0);
            if !(MIN_PITCH_HZ..=MAX_PITCH_HZ).contains(&hz) || !value.is_finite() {
                continue;
            }
            let log2 = hz.log2();
            let mut score = value + OCTAVE_COST * (log2 - MIN_PITCH_HZ.log2());
            if let Some(last) = self.last_log2 {
                score -= JUMP_COST * (log2 - last).abs().min(1.0);
            }
            if let Some(usual) = self.usual_log2 {
                score -= RANGE_COST * ((log2 - usual).abs() - 0.5).max(0.0);
            }
            if best.is_none_or(|(_, _, s)| score > s) {
                best = Some((log2, value, score));
            }
        }
        best.map(|(log2, value, _)| (log2, value))
    }

    fn decide_voicing(&mut self, clarity: f32) {
        let wants_change = if self.now.is_voiced {
            clarity < UNVOICED_BELOW
        } else {
            clarity > VOICED_ABOVE
        };
        self.contrary = if wants_change { self.contrary + 1 } else { 0 };
        if self.contrary >= CONFIRM {
            self.now.is_voiced = !self.now.is_voiced;
            self.contrary = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, vowel};

    fn track(core: &[f32]) -> Vec<Pitch> {
        let mut tracker = PitchTracker::new();
        core.as_chunks::<CORE_HOP>()
            .0
            .iter()
            .map(|hop| tracker.process(hop, true))
            .collect()
    }

    fn core_vowel(f0_hz: f32, formants: &[f32]) -> Vec<f32> {
        vowel(0.5, f0_hz, formants).into_iter().step_by(3).collect()
    }

    #[test]
    fn vowels_are_heard_at_their_pitch() {
        for f0 in [80.0, 110.0, 160.0, 230.0, 320.0, 420.0] {
            for formants in [
                [700.0, 1200.0, 2500.0],
                [300.0, 2300.0, 3000.0],
                [320.0, 800.0, 2300.0],
            ] {
                let pitches = track(&core_vowel(f0, &formants));
                for p in &pitches[20..] {
                    assert!(p.is_voiced, "{f0} Hz, {formants:?}: {p:?}");
                    assert!(
                        (p.hz / f0 - 1.0).abs() < 0.03,
                        "{f0} Hz, {formants:?}: {p:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn hiss_and_silence_are_not_voiced() {
        let mut noise = Noise::new(2);
        let hiss: Vec<f32> = (0..16_000).map(|_| 0.1 * noise.next()).collect();
        let voiced = track(&hiss).iter().filter(|p| p.is_voiced).count();
        assert!(voiced < 12, "{voiced} of 200 hops");
        assert!(
            track(&[0.0; 8_000])
                .iter()
                .all(|p| !p.is_voiced && p.hz.is_finite())
        );
    }

    #[test]
    fn a_glide_is_followed_without_octave_jumps() {
        let mut phase = 0.0_f32;
        let mut low = 0.0;
        let sound: Vec<f32> = (0..16_000)
            .map(|i| {
                phase += (120.0 + 100.0 * i as f32 / 16_000.0) / 16_000.0;
                phase -= phase.floor();
                low += 0.3 * (if phase < 0.1 { 1.0 } else { 0.0 } - low);
                low - 0.1
            })
            .collect();
        let pitches = track(&sound);
        for pair in pitches[12..].windows(2) {
            assert!((pair[1].hz / pair[0].hz).log2().abs() < 0.1, "{pair:?}");
        }
    }

    #[test]
    fn nothing_numeric_comes_of_nonsense() {
        for bad in [f32::MAX, f32::MIN_POSITIVE] {
            assert!(
                track(&[bad; 800])
                    .iter()
                    .all(|p| p.hz.is_finite() && p.clarity.is_finite())
            );
        }
    }
}

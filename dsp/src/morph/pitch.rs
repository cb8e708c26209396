//! The pitch of the voice, every 5 ms, from past samples only.
//!
//! McLeod's normalised square difference (P. McLeod, G. Wyvill, "A smarter way to find pitch", ICMC 2005) on
//! the core at 8 kHz. Peaks are picked and refined by the `pitch-detection` crate. Its detectors themselves
//! plan a Fourier transform at every call, which allocates, so the square difference is computed here; at
//! these sizes the direct sum is cheap. Candidates, and the one that nothing is voiced, compete over time as
//! in P. Boersma's path finder (IFA Proceedings 17, 1993), forwards only: evidence adds up, jumps of an octave
//! and changes of voicing cost.

use pitch_detection::utils::peak::{PeakCorrection, correct_peak, detect_peaks};

use super::CORE_HOP;

const RATE_HZ: f32 = 8_000.0;
pub(super) const MIN_PITCH_HZ: f32 = 65.0;
pub(super) const MAX_PITCH_HZ: f32 = 500.0;
/// 36 ms: the middle lies where the re-pitching is working, 18 ms ago.
const WINDOW: usize = 288;
/// Samples compared for short lags, 18 ms; longer lags compare at least twice their length.
const LEAST_SPAN: usize = 144;
const LONGEST_LAG: usize = 126;
const CANDIDATES: usize = 9;
/// How well a sound must repeat itself to count as voiced.
const VOICED_ABOVE: f32 = 0.54;
const JUMP_COST: f32 = 0.6;
const CHANGE_COST: f32 = 0.25;
/// Cost of leaving the speaker's usual octave, for each octave beyond it.
const RANGE_COST: f32 = 0.1;
/// Between peaks as good as each other the shorter period wins by this much an octave.
const OCTAVE_COST: f32 = 0.05;
/// Share of the evidence that lasts from one hop to the next.
const MEMORY: f32 = 0.85;
/// Below this level against the loudest lately, sound is ever less likely to be voiced.
const QUIET_DB: f32 = -24.0;

/// What the tracker says about one hop.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Pitch {
    /// Hertz; holds its last value where nothing is voiced.
    pub(super) hz: f32,
    /// Whether the stretch is voiced.
    pub(super) is_voiced: bool,
    /// How well the sound repeats itself, 0–1.
    pub(super) clarity: f32,
}

/// One explanation of the present, and how good the best way to it is.
#[derive(Clone, Copy, Default)]
struct Path {
    /// Log2 of the pitch in hertz; none for unvoiced.
    log2: Option<f32>,
    clarity: f32,
    score: f32,
}

pub(super) struct PitchTracker {
    /// Low-passed core at 8 kHz, latest last.
    window: [f32; WINDOW],
    half_band: [f32; 8],
    low: f32,
    difference: [f32; LONGEST_LAG + 2],
    paths: [Path; CANDIDATES + 1],
    path_count: usize,
    usual_log2: Option<f32>,
    now: Pitch,
}

impl PitchTracker {
    pub(super) fn new() -> Self {
        Self {
            window: [0.0; WINDOW],
            half_band: [0.0; 8],
            low: 0.0,
            difference: [0.0; LONGEST_LAG + 2],
            paths: [Path::default(); CANDIDATES + 1],
            path_count: 1,
            usual_log2: None,
            now: Pitch {
                hz: 140.0,
                ..Pitch::default()
            },
        }
    }

    /// Takes in 5 ms of core samples, and their level against the loudest lately, in dB.
    pub(super) fn process(&mut self, core: &[f32; CORE_HOP], level_db: f32) -> Pitch {
        self.feed(core);
        self.square_difference();
        self.compete(level_db);
        let best = self.paths[..self.path_count]
            .iter()
            .max_by(|a, b| a.score.total_cmp(&b.score));
        let best = best.copied().unwrap_or_default();
        self.now.clarity = best.clarity.clamp(0.0, 1.0);
        self.now.is_voiced = best.log2.is_some();
        if let Some(log2) = best.log2 {
            self.now.hz = log2.exp2();
            let usual = self.usual_log2.unwrap_or(log2);
            self.usual_log2 = Some(usual + (log2 - usual) / 100.0);
        }
        self.now
    }

    /// Low-pass, halve the rate, append.
    fn feed(&mut self, core: &[f32; CORE_HOP]) {
        const TAPS: [f32; 8] = [-0.010, -0.013, 0.130, 0.393, 0.393, 0.130, -0.013, -0.010];
        self.window.copy_within(CORE_HOP / 2.., 0);
        for (pair, slot) in core
            .as_chunks::<2>()
            .0
            .iter()
            .zip(&mut self.window[WINDOW - CORE_HOP / 2..])
        {
            for sample in pair {
                self.half_band.copy_within(1.., 0);
                self.low += LOW_PASS * (sample - self.low);
                self.half_band[7] = self.low;
            }
            *slot = self.half_band.iter().zip(&TAPS).map(|(x, t)| x * t).sum();
        }
    }

    /// Fills `difference` with the normalised square difference of each lag, about the middle of the window.
    fn square_difference(&mut self) {
        let mean = self.window.iter().sum::<f32>() / WINDOW as f32;
        let mut x = self.window;
        x.iter_mut().for_each(|s| *s -= mean);
        for (lag, value) in self.difference.iter_mut().enumerate() {
            let span = LEAST_SPAN.max(2 * lag).min(WINDOW - lag);
            let from = (WINDOW - lag - span) / 2;
            let (a, b) = (&x[from..from + span], &x[from + lag..from + lag + span]);
            let (mut cross, mut energy) = (0.0, 1e-7);
            for (a, b) in a.iter().zip(b) {
                cross += a * b;
                energy += a * a + b * b;
            }
            *value = 2.0 * cross / energy;
        }
    }

    /// Sets up the candidates of this hop, each with the best way to it.
    fn compete(&mut self, level_db: f32) {
        let before = self.paths;
        let before = &before[..self.path_count];
        let quiet = ((QUIET_DB - level_db) / 12.0).max(0.0);
        let mut paths = [Path::default(); CANDIDATES + 1];
        paths[0].score = VOICED_ABOVE + quiet;
        let mut count = 1;
        for peak in detect_peaks(&self.difference) {
            if count > CANDIDATES {
                break;
            }
            let (lag, clarity) = correct_peak(peak, &self.difference, PeakCorrection::Quadratic);
            let hz = RATE_HZ / lag.max(1.0);
            if !(MIN_PITCH_HZ..=MAX_PITCH_HZ).contains(&hz) || !clarity.is_finite() {
                continue;
            }
            let log2 = hz.log2();
            let unusual = self
                .usual_log2
                .map_or(0.0, |usual| ((log2 - usual).abs() - 0.5).max(0.0));
            let score = clarity + OCTAVE_COST * (log2 - USUAL_LOG2) - RANGE_COST * unusual;
            paths[count] = Path {
                log2: Some(log2),
                clarity,
                score,
            };
            count += 1;
        }
        let mut best = f32::MIN;
        for path in &mut paths[..count] {
            let way = before
                .iter()
                .map(|from| {
                    let cost = match (from.log2, path.log2) {
                        (Some(a), Some(b)) => JUMP_COST * (a - b).abs(),
                        (None, None) => 0.0,
                        _ => CHANGE_COST,
                    };
                    MEMORY * from.score - cost
                })
                .fold(f32::MIN, f32::max);
            path.score += way;
            best = best.max(path.score);
        }
        for path in &mut paths[..count] {
            path.score -= best;
        }
        self.paths = paths;
        self.path_count = count;
    }
}

/// Middle of the range of voices, about 170 Hz: where the octave cost is nothing.
const USUAL_LOG2: f32 = 7.4;
const LOW_PASS: f32 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, vowel};

    fn track(core: &[f32]) -> Vec<Pitch> {
        let mut tracker = PitchTracker::new();
        core.as_chunks::<CORE_HOP>()
            .0
            .iter()
            .map(|hop| tracker.process(hop, 0.0))
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

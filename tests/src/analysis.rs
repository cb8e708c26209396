//! What was said and what was heard, on one clock: how loud, how long, how late.

use std::time::Duration;

/// Length of one envelope step.
pub const STEP: Duration = Duration::from_millis(5);
/// The same in samples.
pub const STEP_SAMPLES: usize = 240;
const RATE: f64 = 48_000.0;
/// Above this there is sound, dBFS of a 5 ms step.
pub const SOUND_DB: f32 = -50.0;
/// Longest delay looked for.
const MOST_DELAY: Duration = Duration::from_millis(900);
/// Windows that are compared, and how far apart they begin.
const WINDOW: Duration = Duration::from_millis(1_500);
pub(crate) const HOP: Duration = Duration::from_millis(500);
/// Envelopes that match worse than this are not used.
const LEAST_MATCH: f64 = 0.55;

/// Sound on the clock of the stage: sample 0 is its beginning, and what was not recorded is silence.
#[derive(Debug, Default, Clone)]
pub struct Track {
    /// Mono samples at 48 kHz.
    pub samples: Vec<f32>,
}

impl Track {
    /// Writes samples whose first one is at this time.
    pub fn write(&mut self, at: Duration, samples: &[f32]) {
        let from = (at.as_secs_f64() * RATE).round() as usize;
        if self.samples.len() < from + samples.len() {
            self.samples.resize(from + samples.len(), 0.0);
        }
        self.samples[from..from + samples.len()].copy_from_slice(samples);
    }

    /// Levels in dBFS, one a [`STEP`], −120 for silence.
    pub fn envelope(&self) -> Envelope {
        let levels = self.samples.chunks(STEP_SAMPLES).map(|chunk| {
            let power = chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32;
            (10.0 * power.max(1e-12).log10()).max(-120.0)
        });
        Envelope {
            levels_db: levels.collect(),
        }
    }
}

/// Levels over time.
#[derive(Debug, Default, Clone)]
pub struct Envelope {
    levels_db: Vec<f32>,
}

impl Envelope {
    /// An envelope of levels in dBFS, one a [`STEP`].
    pub fn of(levels_db: Vec<f32>) -> Self {
        Self { levels_db }
    }

    /// Level of a step, −120 where there is none.
    pub fn at(&self, step: usize) -> f32 {
        self.levels_db.get(step).copied().unwrap_or(-120.0)
    }

    /// How long there was sound between two moments.
    pub fn sound(&self, from: Duration, to: Duration) -> Duration {
        let loud = (steps(from)..steps(to)).filter(|s| self.at(*s) > SOUND_DB);
        STEP * loud.count() as u32
    }

    /// The last moment of sound between two moments.
    pub fn last_sound(&self, from: Duration, to: Duration) -> Option<Duration> {
        let last = (steps(from)..steps(to))
            .rev()
            .find(|s| self.at(*s) > SOUND_DB)?;
        Some(STEP * (last as u32 + 1))
    }

    /// How late `heard` follows this, in windows between two moments: where two envelopes match best.
    pub fn delays(&self, heard: &Self, from: Duration, to: Duration) -> Vec<Duration> {
        let delays = self.timed_delays(heard, from, to);
        delays.map(|(_, delay)| delay).collect()
    }

    /// As [`Self::delays`], each with the beginning of its window.
    pub fn timed_delays(
        &self,
        heard: &Self,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = (Duration, Duration)> {
        let starts = (0..).map(move |n| from + HOP * n);
        let windows = starts.take_while(move |at| *at + WINDOW <= to);
        windows.filter_map(move |at| {
            let delay = self.delay_in(heard, steps(at), steps(WINDOW))?;
            Some((at, STEP * delay as u32))
        })
    }

    fn delay_in(&self, heard: &Self, from: usize, length: usize) -> Option<usize> {
        // Below the threshold everything is alike: what counts is where sound begins, swells and ends.
        let clip = |level: f32| f64::from(level.clamp(SOUND_DB - 10.0, 0.0));
        let said: Vec<_> = (from..from + length).map(|s| clip(self.at(s))).collect();
        let best = (0..=steps(MOST_DELAY))
            .map(|lag| {
                let from = from + lag;
                let heard = (from..from + length).map(|s| clip(heard.at(s)));
                (lag, correlation(&said, &heard.collect::<Vec<_>>()))
            })
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        (best.1 >= LEAST_MATCH).then_some(best.0)
    }
}

pub(crate) fn steps(time: Duration) -> usize {
    (time.as_micros() / STEP.as_micros()) as usize
}

/// Pearson's, 0 when either does not vary.
pub(crate) fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let mut products = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        products.0 += (x - ma) * (y - mb);
        products.1 += (x - ma).powi(2);
        products.2 += (y - mb).powi(2);
    }
    let norm = (products.1 * products.2).sqrt();
    if norm > 1e-9 { products.0 / norm } else { 0.0 }
}

/// A value of a sorted list, by rank.
pub fn quantile(sorted: &[Duration], q: f64) -> Option<Duration> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * q).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bursts of noise of uneven length and loudness.
    fn speech_like(seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let mut samples = Vec::new();
        while samples.len() < 48_000 * 4 {
            let (loud, length, pause) = (0.05 + 0.3 * next(), next(), next());
            samples.extend((0..(length * 12_000.0) as usize).map(|_| loud * (next() - 0.5)));
            samples.extend(std::iter::repeat_n(0.0, (pause * 9_000.0) as usize));
        }
        samples
    }

    #[test]
    fn a_known_delay_is_found_through_other_loudness() {
        let said = speech_like(7);
        let quieter: Vec<_> = said.iter().map(|s| s * 0.6).collect();
        let (mut mouth, mut ear) = (Track::default(), Track::default());
        mouth.write(Duration::from_secs(1), &said);
        ear.write(Duration::from_millis(1_135), &quieter);
        let (mouth, ear) = (mouth.envelope(), ear.envelope());
        let delays = mouth.delays(&ear, Duration::from_secs(1), Duration::from_secs(5));
        assert!(delays.len() >= 5);
        for delay in delays {
            assert!(
                delay.abs_diff(Duration::from_millis(135)) <= STEP,
                "{delay:?}"
            );
        }
    }

    #[test]
    fn other_speech_is_not_taken_for_a_delay() {
        let (mut mouth, mut ear) = (Track::default(), Track::default());
        mouth.write(Duration::ZERO, &speech_like(7));
        ear.write(Duration::ZERO, &[0.0; 48_000 * 5]);
        let silent = mouth.envelope();
        let delays = silent.delays(&ear.envelope(), Duration::ZERO, Duration::from_secs(4));
        assert!(delays.is_empty());
    }

    #[test]
    fn sound_is_measured_where_it_is() {
        let mut track = Track::default();
        track.write(Duration::from_millis(500), &[0.1; 9_600]);
        let envelope = track.envelope();
        let second = Duration::from_secs(1);
        assert_eq!(
            envelope.sound(Duration::ZERO, second),
            Duration::from_millis(200)
        );
        let last = envelope.last_sound(Duration::ZERO, second);
        assert_eq!(last, Some(Duration::from_millis(700)));
        assert_eq!(envelope.last_sound(second, 2 * second), None);
    }
}

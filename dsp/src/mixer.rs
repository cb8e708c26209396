//! Adding voices up without ever clipping.

use crate::FRAME_SAMPLES;

/// The mix never exceeds this: −1 dBFS.
pub(crate) const CEILING: f32 = 0.891;
/// Look-ahead of the limiter, 1.5 ms.
pub(crate) const LOOKAHEAD: usize = 72;
/// The gain recovers by 63 % in this time.
const RELEASE_S: f32 = 0.12;

/// Adds `voice` to `mix`, moving from one gain to the other over the frame so that no change clicks.
pub(crate) fn add(
    mix: &mut [f32; FRAME_SAMPLES],
    voice: &[f32; FRAME_SAMPLES],
    from_gain: f32,
    to_gain: f32,
) {
    let step = (to_gain - from_gain) / FRAME_SAMPLES as f32;
    let mut gain = from_gain;
    for (m, v) in mix.iter_mut().zip(voice) {
        gain += step;
        *m += gain * v;
    }
}

/// Look-ahead peak limiter: the gain is the moving average of a moving minimum, which cannot exceed what
/// any sample needs at the moment it leaves (as in Zölzer, *DAFX*, §4.2.3).
pub(crate) struct Limiter {
    delayed: [f32; LOOKAHEAD],
    needed: [f32; LOOKAHEAD],
    held: [f32; LOOKAHEAD],
    at: usize,
    released: f32,
    release: f32,
    quiet_for: usize,
}

impl Limiter {
    pub(crate) fn new() -> Self {
        Self {
            delayed: [0.0; LOOKAHEAD],
            needed: [1.0; LOOKAHEAD],
            held: [1.0; LOOKAHEAD],
            at: 0,
            released: 1.0,
            release: 1.0 - (-1.0 / (RELEASE_S * crate::SAMPLE_RATE_HZ as f32)).exp(),
            quiet_for: 0,
        }
    }

    /// Limits in place; the output is [`LOOKAHEAD`] samples late and within ±[`CEILING`].
    pub(crate) fn process(&mut self, samples: &mut [f32]) {
        let peak = samples.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        if peak <= CEILING && self.quiet_for >= 2 * LOOKAHEAD && self.released > 0.9999 {
            // Nothing to do for as far as the look-ahead reaches: only the delay.
            for sample in samples {
                let out = self.delayed[self.at];
                self.delayed[self.at] = *sample;
                self.needed[self.at] = 1.0;
                self.held[self.at] = 1.0;
                self.at = (self.at + 1) % LOOKAHEAD;
                *sample = out;
            }
            self.released = 1.0;
            return;
        }
        self.quiet_for = if peak <= CEILING {
            self.quiet_for + samples.len()
        } else {
            0
        };
        let mut sum: f32 = self.held.iter().sum();
        for sample in samples {
            let input = if sample.is_finite() { *sample } else { 0.0 };
            self.needed[self.at] = CEILING / input.abs().max(CEILING);
            let least = self.needed.iter().fold(1.0_f32, |least, n| least.min(*n));
            self.released = least.min(self.released + (1.0 - self.released) * self.release);
            sum += self.released - self.held[self.at];
            self.held[self.at] = self.released;
            let out = self.delayed[self.at];
            self.delayed[self.at] = input;
            self.at = (self.at + 1) % LOOKAHEAD;
            // The clamp only catches rounding in the running sum.
            *sample = (out * (sum / LOOKAHEAD as f32).min(1.0)).clamp(-CEILING, CEILING);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    fn limit(samples: &mut [f32]) {
        let mut limiter = Limiter::new();
        samples
            .chunks_mut(FRAME_SAMPLES)
            .for_each(|c| limiter.process(c));
    }

    #[test]
    fn nothing_exceeds_the_ceiling_even_before_clamping_matters() {
        let mut noise = Noise::new(4);
        let mut samples: Vec<f32> = (0..96_000)
            .map(|i| noise.next() * (1.0 + (i % 7919) as f32 / 800.0))
            .collect();
        limit(&mut samples);
        assert!(samples.iter().all(|s| s.abs() <= CEILING));
    }

    #[test]
    fn what_fits_passes_untouched_but_late() {
        let samples: Vec<f32> = (0..9600).map(|i| 0.8 * (i as f32 * 0.05).sin()).collect();
        let mut limited = samples.clone();
        limit(&mut limited);
        for i in LOOKAHEAD..samples.len() {
            assert!((limited[i] - samples[i - LOOKAHEAD]).abs() < 1e-4, "{i}");
        }
    }

    #[test]
    fn a_loud_sine_is_turned_down_not_squared_off() {
        let mut samples: Vec<f32> = (0..48_000).map(|i| 3.0 * (i as f32 * 0.03).sin()).collect();
        limit(&mut samples);
        let flat = samples
            .windows(2)
            .filter(|w| w[0] == w[1] && w[0].abs() > 0.8)
            .count();
        assert!(flat < 10, "{flat} flattened samples");
        let peak = samples[24_000..]
            .iter()
            .fold(0.0_f32, |p, s| p.max(s.abs()));
        assert!((0.8..=CEILING).contains(&peak));
    }

    #[test]
    fn the_gain_comes_back() {
        let mut samples: Vec<f32> = (0..96_000)
            .map(|i| if i < 4800 { 4.0 } else { 0.5 })
            .collect();
        limit(&mut samples);
        assert!(samples[4900 + LOOKAHEAD] < 0.2, "still recovering");
        assert!(samples[95_000] > 0.49);
    }

    #[test]
    fn gain_changes_glide() {
        let mut mix = [0.0; FRAME_SAMPLES];
        add(&mut mix, &[1.0; FRAME_SAMPLES], 0.0, 2.0);
        assert!(mix.windows(2).all(|w| (w[1] - w[0]).abs() < 0.003));
        assert!((mix[FRAME_SAMPLES - 1] - 2.0).abs() < 1e-3);
    }
}

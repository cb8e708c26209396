//! The band above 8 kHz: never passed on, only its level is, as noise.

use super::HOP;
use crate::filters::Biquad;

/// Centre frequencies and quality: 8–12 and 12–18 kHz.
const BANDS: [(f32, f32); 2] = [(9_900.0, 2.2), (14_600.0, 2.2)];
const BLOCK: usize = 60;
const BLOCKS: usize = HOP / BLOCK;
/// Blocks that levels wait for the core: its delay less the delay of the level smoothing.
const WAIT: usize = 15;
const SMOOTHING: f32 = 0.25;

struct Band {
    analysis: [Biquad; 2],
    synthesis: [Biquad; 2],
    level: f32,
    waiting: [f32; WAIT],
    at: usize,
    now: f32,
}

impl Band {
    fn new((hz, q): (f32, f32)) -> Self {
        let filters = || [Biquad::band_pass(hz, q), Biquad::band_pass(hz, q)];
        Self {
            analysis: filters(),
            synthesis: filters(),
            level: 0.0,
            waiting: [0.0; WAIT],
            at: 0,
            now: 0.0,
        }
    }

    /// Measures a block, and returns the level that a block of output should have.
    fn follow(&mut self, block: &[f32]) -> f32 {
        let mut power = 0.0;
        for x in block {
            let y = self.analysis.iter_mut().fold(*x, |x, f| f.step(x));
            power += y * y;
        }
        let rms = (power / BLOCK as f32).sqrt();
        self.level += SMOOTHING * (rms - self.level);
        let delayed = self.waiting[self.at];
        self.waiting[self.at] = self.level;
        self.at = (self.at + 1) % WAIT;
        delayed
    }
}

pub(super) struct HighBand {
    bands: [Band; 2],
    air: f32,
    state: u32,
    /// Level of white noise of unit amplitude behind each band's filters.
    noise_rms: [f32; 2],
}

impl HighBand {
    pub(super) fn new(air: f32, noise: u32) -> Self {
        let mut this = Self {
            bands: BANDS.map(Band::new),
            air,
            state: noise.max(1),
            noise_rms: [1.0; 2],
        };
        for (band, rms) in BANDS.iter().zip(&mut this.noise_rms) {
            let mut probe = Band::new(*band);
            let mut state = 1;
            let power: f32 = (0..9_600)
                .map(|_| {
                    let y = probe
                        .synthesis
                        .iter_mut()
                        .fold(next(&mut state), |x, f| f.step(x));
                    y * y
                })
                .sum();
            *rms = (power / 9_600.0).sqrt();
        }
        this
    }

    /// Adds the rebuilt band to `out`; `input` is the microphone's hop.
    pub(super) fn process(&mut self, input: &[f32; HOP], out: &mut [f32; HOP]) {
        for block in 0..BLOCKS {
            let range = block * BLOCK..(block + 1) * BLOCK;
            for (band, rms) in self.bands.iter_mut().zip(&self.noise_rms) {
                let to = band.follow(&input[range.clone()]) * self.air / rms;
                let step = (to - band.now) / BLOCK as f32;
                for sample in &mut out[range.clone()] {
                    band.now += step;
                    let noise = band
                        .synthesis
                        .iter_mut()
                        .fold(next(&mut self.state), |x, f| f.step(x));
                    *sample += band.now * noise;
                }
                band.now = to;
            }
        }
        for band in &mut self.bands {
            if band.level < 1e-9 {
                band.level = 0.0;
            }
            band.analysis.iter_mut().for_each(Biquad::flush_denormals);
        }
    }

    pub(super) fn flush(&mut self) {
        for band in &mut self.bands {
            band.analysis.iter_mut().for_each(Biquad::reset);
            band.level = 0.0;
            band.now = 0.0;
            band.waiting.fill(0.0);
        }
    }
}

/// Uniform noise in ±1 (G. Marsaglia's xorshift).
fn next(state: &mut u32) -> f32 {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    *state as f32 / (u32::MAX / 2) as f32 - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    #[test]
    fn hiss_comes_back_at_its_level_but_not_its_samples() {
        let mut high = HighBand::new(1.0, 77);
        let mut noise = Noise::new(9);
        let (mut cross, mut power_in, mut power_out) = (0.0, 0.0, 0.0);
        for hop in 0..400 {
            let input: [f32; HOP] = std::array::from_fn(|_| 0.1 * noise.next());
            let mut out = [0.0; HOP];
            high.process(&input, &mut out);
            if hop > 20 {
                cross += input.iter().zip(&out).map(|(a, b)| a * b).sum::<f32>();
                power_in += input.iter().map(|a| a * a).sum::<f32>();
                power_out += out.iter().map(|a| a * a).sum::<f32>();
            }
        }
        // Both bands together hold about 8 of 24 kHz.
        let db = 10.0 * (power_out / power_in).log10();
        assert!((-9.0..-2.0).contains(&db), "{db} dB");
        assert!(cross.abs() / (power_in * power_out).sqrt() < 0.05);
    }

    #[test]
    fn silence_stays_silence() {
        let mut high = HighBand::new(1.4, 77);
        let mut out = [0.0; HOP];
        high.process(&[0.0; HOP], &mut out);
        assert_eq!(out, [0.0; HOP]);
    }
}

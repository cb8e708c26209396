//! How loud sound is, and where something begins in it, every 5 ms.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

use crate::analysis::{Envelope, STEP_SAMPLES};

/// 25 ms: long enough not to see single periods of a voice.
const WINDOW: usize = 1_200;
const FFT: usize = 2_048;
const BANDS: usize = 20;
const RATE_HZ: f32 = 48_000.0;
const TOP_HZ: f32 = 8_000.0;
/// Bands quieter than this are all alike, dB against a sine of full scale.
const FLOOR_DB: f32 = -80.0;
const SMOOTHING: [f64; 5] = [1.0 / 12.0, 0.25, 1.0 / 3.0, 0.25, 1.0 / 12.0];

/// Levels and onsets of a stretch of sound. An onset is how fast the levels of 20 mel bands rise, on average.
#[derive(Debug, Default, Clone)]
pub struct Features {
    levels_db: Vec<f32>,
    rises: Vec<f32>,
}

impl Features {
    /// Levels in dBFS, one every 5 ms.
    pub fn levels(&self) -> Envelope {
        Envelope::of(self.levels_db.clone())
    }

    /// How much begins at a step, dB; 0 outside.
    pub fn onset(&self, step: usize) -> f64 {
        let rise = |at: Option<usize>| at.and_then(|at| self.rises.get(at)).copied();
        let weighted = SMOOTHING.iter().enumerate().map(|(i, weight)| {
            let at = (step + i).checked_sub(SMOOTHING.len() / 2);
            weight * f64::from(rise(at).unwrap_or_default())
        });
        weighted.sum()
    }

    /// The same as a clock sees it that counts one while so much of this passes.
    pub fn at_rate(&self, rate: f64) -> Self {
        let count = (self.levels_db.len() as f64 / rate) as usize;
        let pick = |of: &[f32]| -> Vec<f32> {
            let at = (0..count).map(|step| (step as f64 * rate) as usize);
            at.filter_map(|at| of.get(at).copied()).collect()
        };
        Self {
            levels_db: pick(&self.levels_db),
            rises: pick(&self.rises),
        }
    }
}

/// Listens to samples as they come, and notes their [`Features`].
pub struct Listener {
    /// Latest last.
    window: Box<[f32; WINDOW]>,
    shape: Box<[f32; WINDOW]>,
    pending: Vec<f32>,
    transform: Arc<dyn RealToComplex<f32>>,
    time: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    bands_before: [[f32; BANDS]; 2],
    heard: Features,
}

impl Default for Listener {
    fn default() -> Self {
        let transform = RealFftPlanner::new().plan_fft_forward(FFT);
        let hann =
            |i: usize| 0.5 - 0.5 * (std::f32::consts::TAU * (i as f32 + 0.5) / WINDOW as f32).cos();
        Self {
            window: Box::new([0.0; WINDOW]),
            shape: Box::new(std::array::from_fn(|i| 4.0 / WINDOW as f32 * hann(i))),
            pending: Vec::new(),
            time: transform.make_input_vec(),
            spectrum: transform.make_output_vec(),
            transform,
            bands_before: [[FLOOR_DB; BANDS]; 2],
            heard: Features::default(),
        }
    }
}

impl Listener {
    /// Hears mono samples at 48 kHz, any number.
    pub fn hear(&mut self, samples: &[f32]) {
        self.pending.extend_from_slice(samples);
        let pending = std::mem::take(&mut self.pending);
        let (whole, rest) = pending.as_chunks::<STEP_SAMPLES>();
        for step in whole {
            self.step(step);
        }
        self.pending.extend_from_slice(rest);
    }

    /// All that was heard.
    pub fn finish(self) -> Features {
        self.heard
    }

    fn step(&mut self, step: &[f32; STEP_SAMPLES]) {
        let power = step.iter().map(|s| s * s).sum::<f32>() / STEP_SAMPLES as f32;
        (self.heard.levels_db).push((10.0 * power.max(1e-12).log10()).max(-120.0));
        self.window.copy_within(STEP_SAMPLES.., 0);
        self.window[WINDOW - STEP_SAMPLES..].copy_from_slice(step);
        let bands = self.bands();
        let [before, _] = self.bands_before;
        let rise = |(now, before): (&f32, &f32)| (now - before).max(0.0);
        let rises = bands.iter().zip(&self.bands_before[1]).map(rise);
        self.heard.rises.push(rises.sum::<f32>() / BANDS as f32);
        self.bands_before = [bands, before];
    }

    fn bands(&mut self) -> [f32; BANDS] {
        self.time.fill(0.0);
        for (t, (x, w)) in (self.time.iter_mut()).zip(self.window.iter().zip(self.shape.iter())) {
            *t = x * w;
        }
        // Cannot fail: the plan made the buffers.
        let _ = self.transform.process(&mut self.time, &mut self.spectrum);
        let mut powers = [0.0_f32; BANDS];
        let mel = |hz: f32| (1.0 + hz / 700.0).ln() / (1.0 + TOP_HZ / 700.0).ln();
        for (bin, value) in self.spectrum.iter().enumerate() {
            let band = (mel(bin as f32 * RATE_HZ / FFT as f32) * BANDS as f32) as usize;
            if let Some(power) = powers.get_mut(band) {
                *power += value.norm_sqr();
            }
        }
        powers.map(|power| (10.0 * power.max(1e-12).log10()).max(FLOOR_DB))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn onsets_are_where_something_begins() {
        let mut listener = Listener::default();
        let tone = |i: usize| 0.2 * (i as f32 * 0.13).sin();
        let samples: Vec<_> = (0..48_000)
            .map(|i| {
                if (12_000..36_000).contains(&i) {
                    tone(i)
                } else {
                    0.0
                }
            })
            .collect();
        // In uneven pieces, as a device would hand them out.
        samples.chunks(777).for_each(|piece| listener.hear(piece));
        let heard = listener.finish();
        let strongest = (0..200).max_by(|a, b| heard.onset(*a).total_cmp(&heard.onset(*b)));
        assert!(strongest.unwrap().abs_diff(50) <= 4, "{strongest:?}");
        assert!(heard.onset(100) < 0.1 * heard.onset(strongest.unwrap()));
        assert!((heard.levels().at(100) + 17.0).abs() < 0.5);
    }

    #[test]
    fn another_clock_sees_the_same_a_little_shorter() {
        let mut listener = Listener::default();
        listener.hear(&vec![0.1; 48_000 * 10]);
        let heard = listener.finish();
        let shorter = heard.at_rate(1.01);
        assert_eq!(shorter.levels_db.len(), (2_000.0_f64 / 1.01) as usize);
    }
}

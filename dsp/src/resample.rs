//! Between a device's clock and format, and frames of 960 samples at 48 kHz.
//!
//! Two devices never run at quite the same rate. Whoever owns the ring between device and frames reports
//! its fill with `steer`, and the ratio is nudged by at most [`MAX_DRIFT`], far too little to hear as pitch
//! (5 ‰ is 9 cents, and real drift needs a fiftieth of that). Interpolation is rubato's windowed sinc.

use std::collections::VecDeque;

use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{
    Adjustable, Async, FixedAsync, Resampler, SincInterpolationParameters, SincInterpolationType,
    WindowFunction,
};

use crate::{AudioFrame, DspError, FRAME_SAMPLES, SAMPLE_RATE_HZ};

/// Largest nudge of the ratio, to either side.
pub const MAX_DRIFT: f64 = 0.005;
/// Most channels a device may have.
pub const MAX_DEVICE_CHANNELS: usize = 32;

const MIN_DEVICE_RATE_HZ: u32 = 8_000;
const MAX_DEVICE_RATE_HZ: u32 = 192_000;
/// Samples taken in at a time: 2.5 ms at 48 kHz, so that little waits.
const CHUNK: usize = 120;
/// Samples that may wait at the output. What comes on top is dropped, oldest first: latency cannot grow.
const OUTPUT_LIMIT: usize = 16 * FRAME_SAMPLES;
/// Share of a fill error of one target that becomes drift, and how fast the standing part is learnt.
const PROPORTIONAL: f64 = 0.002;
const INTEGRAL: f64 = 0.000_02;
const SMOOTHING: f64 = 0.05;

/// One mono stream from one rate to another, with a ratio that can be nudged while it runs.
pub struct DriftResampler {
    inner: Async<f32>,
    chunk: usize,
    input: Vec<f32>,
    output: Vec<f32>,
    ready: VecDeque<f32>,
    smooth_error: f64,
    standing: f64,
    drift: f64,
    dropped: u64,
}

impl DriftResampler {
    /// A resampler from one rate to the other, in hertz. Allocates everything it will need.
    ///
    /// # Errors
    /// [`DspError::DeviceFormat`] for rates outside 8–192 kHz, [`DspError::Resampler`] if it cannot be built.
    pub fn new(from_hz: u32, to_hz: u32) -> Result<Self, DspError> {
        Self::by_chunks(from_hz, to_hz, CHUNK)
    }

    /// The same, which takes in so many samples at a time.
    pub(crate) fn by_chunks(from_hz: u32, to_hz: u32, chunk: usize) -> Result<Self, DspError> {
        for rate_hz in [from_hz, to_hz] {
            if !(MIN_DEVICE_RATE_HZ..=MAX_DEVICE_RATE_HZ).contains(&rate_hz) {
                return Err(DspError::DeviceFormat {
                    rate_hz,
                    channels: 1,
                });
            }
        }
        let parameters = SincInterpolationParameters {
            sinc_len: 128,
            f_cutoff: Some(0.95),
            interpolation: SincInterpolationType::Quadratic,
            oversampling_factor: 256,
            window: WindowFunction::BlackmanHarris2,
        };
        let ratio = f64::from(to_hz) / f64::from(from_hz);
        let inner = Async::new_sinc(
            ratio,
            1.0 + 2.0 * MAX_DRIFT,
            &parameters,
            chunk,
            1,
            FixedAsync::Input,
        )
        .map_err(|e| DspError::Resampler(e.to_string()))?;
        let output = vec![0.0; inner.output_frames_max()];
        Ok(Self {
            inner,
            chunk,
            input: Vec::with_capacity(chunk),
            output,
            ready: VecDeque::with_capacity(OUTPUT_LIMIT),
            smooth_error: 0.0,
            standing: 0.0,
            drift: 0.0,
            dropped: 0,
        })
    }

    /// Takes in samples at the first rate, any number.
    pub fn push(&mut self, samples: impl IntoIterator<Item = f32>) {
        for sample in samples {
            self.input
                .push(if sample.is_finite() { sample } else { 0.0 });
            if self.input.len() >= self.chunk {
                self.run();
            }
        }
    }

    /// Samples at the second rate that are ready.
    pub fn available(&self) -> usize {
        self.ready.len()
    }

    /// Fills `out` with samples at the second rate, or leaves it alone and returns false if too few are ready.
    pub fn pull(&mut self, out: &mut [f32]) -> bool {
        if self.ready.len() < out.len() {
            return false;
        }
        let n = out.len();
        for (sample, ready) in out.iter_mut().zip(self.ready.drain(..n)) {
            *sample = ready;
        }
        true
    }

    /// Reports how full the ring *after* this resampler is against how full it should be, in samples or any
    /// other unit. Call it at a steady pace, about once a frame. A ring too full makes fewer samples.
    pub fn steer(&mut self, fill: usize, target_fill: usize) {
        let target = target_fill.max(1) as f64;
        let error = ((target - fill as f64) / target).clamp(-1.0, 1.0);
        self.smooth_error += SMOOTHING * (error - self.smooth_error);
        self.standing = (self.standing + INTEGRAL * self.smooth_error).clamp(-MAX_DRIFT, MAX_DRIFT);
        self.set_drift(PROPORTIONAL * self.smooth_error + self.standing);
    }

    /// Nudges by what is known from elsewhere, instead of steering.
    pub(crate) fn set_drift(&mut self, drift: f64) {
        self.drift = drift.clamp(-MAX_DRIFT, MAX_DRIFT);
        // The ratio lies within what the resampler was built for, so this cannot fail; if it did, the
        // ratio would stay as it is.
        let _ = self
            .inner
            .set_resample_ratio_relative(1.0 + self.drift, true);
    }

    /// The nudge in force: 0.0002 makes 200 samples more of a million.
    pub fn drift(&self) -> f64 {
        self.drift
    }

    /// Samples dropped because nobody took them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Delay of the interpolation filter, in samples at the second rate.
    pub fn delay_samples(&self) -> usize {
        self.inner.output_delay()
    }

    /// Forgets what waits, keeps what was learnt about drift.
    pub fn clear(&mut self) {
        self.input.clear();
        self.ready.clear();
        self.inner.reset();
        let _ = self
            .inner
            .set_resample_ratio_relative(1.0 + self.drift, false);
    }

    fn run(&mut self) {
        let made = {
            let room = self.output.len();
            let adapters = (
                SequentialSlice::new(&self.input, 1, self.chunk),
                SequentialSlice::new_mut(&mut self.output, 1, room),
            );
            match adapters {
                (Ok(input), Ok(mut output)) => self
                    .inner
                    .process_into_buffer(&input, &mut output, None)
                    .map_or(0, |(_, made)| made),
                _ => 0,
            }
        };
        self.input.clear();
        for sample in &self.output[..made] {
            if self.ready.len() >= OUTPUT_LIMIT {
                self.ready.pop_front();
                self.dropped += 1;
            }
            self.ready.push_back(*sample);
        }
    }
}

/// A device's interleaved input, as mono frames at 48 kHz.
pub struct CaptureResampler {
    core: DriftResampler,
    channels: usize,
}

impl CaptureResampler {
    /// For a device of this rate and channel count.
    ///
    /// # Errors
    /// [`DspError::DeviceFormat`], [`DspError::Resampler`].
    pub fn new(rate_hz: u32, channels: usize) -> Result<Self, DspError> {
        check_channels(rate_hz, channels)?;
        Ok(Self {
            core: DriftResampler::new(rate_hz, SAMPLE_RATE_HZ)?,
            channels,
        })
    }

    /// Takes in interleaved samples; channels are averaged. An incomplete last group is ignored.
    pub fn push_interleaved(&mut self, samples: &[f32]) {
        let scale = 1.0 / self.channels as f32;
        self.core.push(
            samples
                .chunks_exact(self.channels)
                .map(|group| group.iter().sum::<f32>() * scale),
        );
    }

    /// The next 20 ms, if they are complete.
    pub fn next_frame(&mut self, out: &mut AudioFrame) -> bool {
        self.core.pull(&mut out.0)
    }

    /// The resampler inside, to steer and to watch.
    pub fn core(&mut self) -> &mut DriftResampler {
        &mut self.core
    }
}

/// Mono frames at 48 kHz, as a device's interleaved output.
pub struct PlaybackResampler {
    core: DriftResampler,
    channels: usize,
    mono: Vec<f32>,
}

impl PlaybackResampler {
    /// For a device of this rate and channel count.
    ///
    /// # Errors
    /// [`DspError::DeviceFormat`], [`DspError::Resampler`].
    pub fn new(rate_hz: u32, channels: usize) -> Result<Self, DspError> {
        check_channels(rate_hz, channels)?;
        Ok(Self {
            core: DriftResampler::new(SAMPLE_RATE_HZ, rate_hz)?,
            channels,
            mono: vec![0.0; FRAME_SAMPLES],
        })
    }

    /// Takes in 20 ms.
    pub fn push_frame(&mut self, frame: &AudioFrame) {
        self.core.push(frame.0.iter().copied());
    }

    /// Groups of interleaved samples (one sample for each channel) that are ready.
    pub fn available(&self) -> usize {
        self.core.available()
    }

    /// Writes ready samples to every channel, in interleaved order. Returns how many groups were written; the
    /// rest of `out` is left alone.
    pub fn pull_interleaved(&mut self, out: &mut [f32]) -> usize {
        let mut done = 0;
        for part in out.chunks_mut(FRAME_SAMPLES * self.channels) {
            let n = (part.len() / self.channels).min(self.core.available());
            if !self.core.pull(&mut self.mono[..n]) {
                break;
            }
            for (group, sample) in part.chunks_exact_mut(self.channels).zip(&self.mono[..n]) {
                group.fill(*sample);
            }
            done += n;
        }
        done
    }

    /// The resampler inside, to steer and to watch.
    pub fn core(&mut self) -> &mut DriftResampler {
        &mut self.core
    }
}

fn check_channels(rate_hz: u32, channels: usize) -> Result<(), DspError> {
    if channels == 0 || channels > MAX_DEVICE_CHANNELS {
        return Err(DspError::DeviceFormat { rate_hz, channels });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(hz: f32, rate_hz: u32, seconds: f32) -> Vec<f32> {
        let step = std::f64::consts::TAU * f64::from(hz) / f64::from(rate_hz);
        (0..(seconds * rate_hz as f32) as usize)
            .map(|i| 0.5 * (i as f64 * step).sin() as f32)
            .collect()
    }

    /// Power of what is not the sine, against the sine, in dB.
    fn residue_db(samples: &[f32], hz: f32) -> f64 {
        let step = std::f64::consts::TAU * f64::from(hz) / f64::from(SAMPLE_RATE_HZ);
        let (mut c, mut s) = (0.0, 0.0);
        let n = samples.len() as f64;
        for (i, x) in samples.iter().enumerate() {
            c += f64::from(*x) * (i as f64 * step).cos() * 2.0 / n;
            s += f64::from(*x) * (i as f64 * step).sin() * 2.0 / n;
        }
        let rest: f64 = samples
            .iter()
            .enumerate()
            .map(|(i, x)| {
                (f64::from(*x) - c * (i as f64 * step).cos() - s * (i as f64 * step).sin()).powi(2)
            })
            .sum();
        10.0 * (rest / n / ((c * c + s * s) / 2.0)).log10()
    }

    #[test]
    fn device_formats_become_frames_of_the_same_sine() {
        for (rate_hz, channels) in [
            (44_100, 2),
            (48_000, 1),
            (16_000, 1),
            (96_000, 2),
            (8_000, 1),
        ] {
            let mut capture = CaptureResampler::new(rate_hz, channels).unwrap();
            let mut frames = Vec::new();
            let mut frame = AudioFrame::SILENCE;
            for chunk in sine(1_000.0, rate_hz, 1.0).chunks(441) {
                let interleaved: Vec<f32> = chunk
                    .iter()
                    .flat_map(|s| std::iter::repeat_n(*s, channels))
                    .collect();
                capture.push_interleaved(&interleaved);
                while capture.next_frame(&mut frame) {
                    frames.extend_from_slice(&frame.0);
                }
            }
            assert!(
                frames.len() >= 46 * FRAME_SAMPLES,
                "{rate_hz} Hz gave {}",
                frames.len()
            );
            let residue = residue_db(&frames[9_600..43_200], 1_000.0);
            assert!(residue < -70.0, "{rate_hz} Hz: {residue} dB");
        }
    }

    #[test]
    fn frames_become_what_the_device_wants() {
        let mut playback = PlaybackResampler::new(44_100, 2).unwrap();
        let mut out = vec![9.0; 2 * 44_100];
        let mut written = 0;
        for chunk in sine(500.0, SAMPLE_RATE_HZ, 1.0).chunks_exact(FRAME_SAMPLES) {
            playback.push_frame(&AudioFrame(chunk.try_into().unwrap()));
            written += playback.pull_interleaved(&mut out[2 * written..]);
        }
        assert!((43_800..=44_100).contains(&written), "{written}");
        assert!(
            out[..2 * written]
                .chunks_exact(2)
                .all(|g| g[0] == g[1] && g[0].abs() < 0.6)
        );
        assert!(out[2 * written..].iter().all(|s| *s == 9.0));
    }

    /// A device whose clock is off empties a ring that the resampler fills; steering holds the fill.
    #[test]
    fn steering_holds_the_ring_against_drift_inaudibly() {
        for ppm in [-300.0, 300.0] {
            let mut resampler = DriftResampler::new(SAMPLE_RATE_HZ, SAMPLE_RATE_HZ).unwrap();
            let input = sine(1_000.0, SAMPLE_RATE_HZ, 1.0);
            let (mut fill, target) = (2_000.0, 1_920);
            let mut drained = [0.0; FRAME_SAMPLES];
            let mut fills = Vec::new();
            let mut drifts = Vec::new();
            for i in 0..12_000 {
                let at = (i % 50) * FRAME_SAMPLES;
                resampler.push(input[at..at + FRAME_SAMPLES].iter().copied());
                let made = resampler.available();
                let mut left = made;
                while left > 0 {
                    let n = left.min(FRAME_SAMPLES);
                    assert!(resampler.pull(&mut drained[..n]));
                    left -= n;
                }
                fill = (fill + made as f64 - FRAME_SAMPLES as f64 * (1.0 + ppm / 1e6)).max(0.0);
                resampler.steer(fill as usize, target);
                fills.push(fill);
                drifts.push(resampler.drift());
            }
            assert!(
                fills[2_000..].iter().all(|f| (f - 1_920.0).abs() < 400.0),
                "{ppm} ppm: ring left its place"
            );
            let settled = drifts[11_999] * 1e6;
            assert!(
                (settled - ppm).abs() < 60.0,
                "{ppm} ppm was learnt as {settled}"
            );
            let jumps = drifts
                .windows(2)
                .map(|w| (w[1] - w[0]).abs())
                .fold(0.0, f64::max);
            assert!(jumps < 2e-4, "the ratio moves gently: {jumps}");
        }
    }

    #[test]
    fn nobody_taking_samples_does_not_grow_memory() {
        let mut resampler = DriftResampler::new(SAMPLE_RATE_HZ, SAMPLE_RATE_HZ).unwrap();
        resampler.push(std::iter::repeat_n(0.1, 10 * OUTPUT_LIMIT));
        assert!(resampler.available() <= OUTPUT_LIMIT && resampler.dropped() > 0);
        resampler.clear();
        assert_eq!(resampler.available(), 0);
    }

    #[test]
    fn impossible_devices_are_refused_and_nan_is_swallowed() {
        assert!(matches!(
            CaptureResampler::new(1_000, 1),
            Err(DspError::DeviceFormat { .. })
        ));
        assert!(matches!(
            PlaybackResampler::new(48_000, 0),
            Err(DspError::DeviceFormat { channels: 0, .. })
        ));
        let mut capture = CaptureResampler::new(48_000, 1).unwrap();
        capture.push_interleaved(&[f32::NAN; 4_000]);
        let mut frame = AudioFrame::SILENCE;
        assert!(capture.next_frame(&mut frame) && frame.is_finite());
    }
}

//! The microphone's clock, reconciled with the program's.
//!
//! The microphone brings bursts at its own pace; every 20 ms of the program's clock one frame is due. All that
//! has come goes through a resampler into a queue, and the fill of that queue steers the resampler. Bursts
//! would make the fill jump, so what is steered is the fill *plus what has been spoken since the last burst*:
//! sound on its way in, a smooth quantity. Its target is one frame, one burst and a margin; the margin grows
//! when it proved too small and shrinks when it has long been enough. Much too much is cut off at the old end,
//! so the delay is bounded whatever the clocks do.

use std::time::Duration;

use undertone_dsp::{AudioFrame, DriftResampler, DspError, FRAME_SAMPLES, SAMPLE_RATE_HZ};

use super::ring::{CaptureReader, samples_in};

const LEAST_MARGIN: usize = samples_48k(6);
const MOST_MARGIN: usize = samples_48k(40);
const MARGIN_STEP: usize = samples_48k(4);
/// Frames without trouble after which the margin shrinks by 1 ms.
const CALM_FRAMES: u32 = 500;
/// Above the target by this much, the oldest sound is dropped.
const MOST_EXCESS: usize = samples_48k(40);
/// Distance from the target at which steering does all it may. So short, because the fill is smooth already:
/// a stiffer loop settles sooner and rings less. What lies further above is not a matter of clocks; it would
/// only be learnt as drift that is not there.
const STEERING_SPAN: usize = samples_48k(10);
/// Above the target by this much for a while, the rest of it is dropped in the next pause of speech.
const USELESS: f32 = samples_48k(6) as f32;
const PAUSE_RMS: f32 = 0.001;
/// More at a time is a hiccup, not a habit.
const MOST_BURST: usize = samples_48k(50);
const FADE: usize = samples_48k(5);

const fn samples_48k(milliseconds: usize) -> usize {
    milliseconds * SAMPLE_RATE_HZ as usize / 1_000
}

/// See the module.
pub(crate) struct CaptureClock {
    reader: CaptureReader,
    resampler: DriftResampler,
    is_running: bool,
    margin: usize,
    calm: u32,
    cut: [f32; FADE],
    smooth_excess: f32,
    last_rms: f32,
    /// Since it was made.
    pub(crate) starved: u64,
    pub(crate) trimmed: u64,
    pub(crate) delay: Duration,
}

impl CaptureClock {
    pub(crate) fn new(reader: CaptureReader) -> Result<Self, DspError> {
        let resampler = DriftResampler::new(reader.rate_hz, SAMPLE_RATE_HZ)?;
        Ok(Self {
            reader,
            resampler,
            is_running: false,
            margin: LEAST_MARGIN,
            calm: 0,
            cut: [0.0; FADE],
            smooth_excess: 0.0,
            last_rms: 0.0,
            starved: 0,
            trimmed: 0,
            delay: Duration::ZERO,
        })
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.reader.epoch
    }

    pub(crate) fn drift_ppm(&self) -> f64 {
        -self.resampler.drift() * 1e6
    }

    /// The frame that is due at `due`, asked for at `now`; false if the microphone has none.
    pub(crate) fn next_frame(
        &mut self,
        due: Duration,
        now: Duration,
        out: &mut AudioFrame,
    ) -> bool {
        let resampler = &mut self.resampler;
        self.reader
            .drain(|samples| resampler.push(samples.iter().copied()));
        let ready = self.resampler.available();
        let burst = self.reader.burst() * SAMPLE_RATE_HZ as usize / self.reader.rate_hz as usize;
        let burst = burst.min(MOST_BURST);
        let spoken_since = samples_in(self.reader.since_last(now), SAMPLE_RATE_HZ).min(burst);
        let asked_late = samples_in(now.saturating_sub(due), SAMPLE_RATE_HZ);
        let coming = (ready + spoken_since).saturating_sub(asked_late);
        let target = FRAME_SAMPLES + burst + self.margin;

        let was_running = self.is_running;
        if !self.is_running {
            if ready < FRAME_SAMPLES || coming < target {
                return false;
            }
            self.drop_oldest((coming - target).min(ready - FRAME_SAMPLES));
            self.is_running = true;
        } else if ready < FRAME_SAMPLES {
            self.run_dry(ready, out);
            return true;
        } else {
            let excess = coming as f32 - target as f32;
            self.smooth_excess += (excess - self.smooth_excess) / 16.0;
            let is_pause = self.last_rms < PAUSE_RMS && self.smooth_excess > USELESS;
            let cut = (excess.max(0.0) as usize).min(ready - FRAME_SAMPLES);
            if (is_pause || coming > target + MOST_EXCESS) && cut >= FADE {
                self.cut_off(cut, out);
                return true;
            }
        }
        self.steer(coming, target);
        self.resampler.pull(&mut out.0);
        if !was_running {
            fade_in(out);
        }
        self.relax();
        self.last_rms = out.rms();
        let left = (coming.saturating_sub(FRAME_SAMPLES) + self.resampler.delay_samples()) as u32;
        self.delay = Duration::from_secs(1) * left / SAMPLE_RATE_HZ;
        true
    }

    /// Drops the oldest `samples`, at least [`FADE`] of them, and fades over into what follows.
    fn cut_off(&mut self, samples: usize, out: &mut AudioFrame) {
        self.trimmed += 1;
        self.smooth_excess = 0.0;
        self.resampler.pull(&mut self.cut);
        self.drop_oldest(samples - FADE);
        self.resampler.pull(&mut out.0);
        for (i, (sample, old)) in out.0.iter_mut().zip(&self.cut).enumerate() {
            let share = i as f32 / FADE as f32;
            *sample = old + share * (*sample - old);
        }
    }

    fn steer(&mut self, coming: usize, target: usize) {
        if coming <= target + STEERING_SPAN {
            let steered = (coming + STEERING_SPAN).saturating_sub(target);
            self.resampler.steer(steered, STEERING_SPAN);
        }
    }

    /// Too little is there: what is there, faded out. It begins again once the target is reached.
    fn run_dry(&mut self, ready: usize, out: &mut AudioFrame) {
        out.0.fill(0.0);
        self.resampler.pull(&mut out.0[..ready]);
        let fade = ready.min(FADE);
        for (i, sample) in out.0[ready - fade..ready].iter_mut().enumerate() {
            *sample *= 1.0 - (i + 1) as f32 / fade as f32;
        }
        self.is_running = false;
        self.starved += 1;
        self.calm = 0;
        self.margin = (self.margin + MARGIN_STEP).min(MOST_MARGIN);
    }

    fn relax(&mut self) {
        self.calm += 1;
        if self.calm >= CALM_FRAMES {
            self.calm = 0;
            self.margin = (self.margin - samples_48k(1)).max(LEAST_MARGIN);
        }
    }

    fn drop_oldest(&mut self, mut samples: usize) {
        let mut scratch = [0.0; FADE];
        while samples > 0 {
            let n = samples.min(FADE);
            if !self.resampler.pull(&mut scratch[..n]) {
                return;
            }
            samples -= n;
        }
    }
}

fn fade_in(out: &mut AudioFrame) {
    for (i, sample) in out.0[..FADE].iter_mut().enumerate() {
        *sample *= i as f32 / FADE as f32;
    }
}

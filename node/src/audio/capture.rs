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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audio::Format;
    use crate::audio::ring::{CaptureSink, CaptureWriter, Handover, Meter};

    /// A microphone and the program on a virtual clock.
    struct Bench {
        clock: CaptureClock,
        writer: CaptureWriter,
        meter: Arc<Meter>,
        rate_hz: f64,
        burst: usize,
        /// How late a callback may be, milliseconds.
        lateness_ms: f64,
        now: f64,
        brought: u64,
        callbacks: u64,
        noise: u32,
    }

    impl Bench {
        fn new(rate_hz: u32, ppm: f64, burst: usize, lateness_ms: f64) -> Self {
            let (meter, to) = (Arc::new(Meter::default()), Arc::new(Handover::new()));
            let sink = CaptureSink {
                epoch: 1,
                meter: meter.clone(),
                to: to.clone(),
            };
            let writer = sink.writer(Format {
                rate_hz,
                channels: 1,
            });
            let clock = CaptureClock::new(to.take().unwrap()).unwrap();
            let rate_hz = f64::from(rate_hz) * (1.0 + ppm / 1e6);
            let (now, brought, callbacks, noise) = (0.0, 0, 0, 1);
            Self {
                clock,
                writer,
                meter,
                rate_hz,
                burst,
                lateness_ms,
                now,
                brought,
                callbacks,
                noise,
            }
        }

        /// Lets callbacks happen until `until`, in seconds. A tone, of one amplitude everywhere.
        fn bring(&mut self, until: f64, amplitude: f32) {
            loop {
                self.noise = self
                    .noise
                    .wrapping_mul(1_664_525)
                    .wrapping_add(1_013_904_223);
                let late = f64::from(self.noise >> 8) / f64::from(1 << 24) * self.lateness_ms / 1e3;
                let at = ((self.callbacks + 1) * self.burst as u64) as f64 / self.rate_hz + late;
                if at > until {
                    return;
                }
                let from = self.brought;
                let samples: Vec<f32> = (from..from + self.burst as u64)
                    .map(|n| amplitude * (n as f32 * 0.05).sin())
                    .collect();
                self.writer.write(&samples, |s| s);
                self.meter.pretend(Duration::from_secs_f64(at));
                self.brought += self.burst as u64;
                self.callbacks += 1;
            }
        }

        /// Frames over so many seconds; returns the longest delay and the shortest after the first second.
        fn run(&mut self, seconds: f64, amplitude: f32) -> (Duration, Duration) {
            let (mut out, until) = (AudioFrame::SILENCE, self.now + seconds);
            let (began, mut longest, mut shortest) = (self.now, Duration::ZERO, Duration::MAX);
            while self.now < until {
                self.now += 0.02;
                self.bring(self.now, amplitude);
                let now = Duration::from_secs_f64(self.now);
                let has = self.clock.next_frame(now, now, &mut out);
                if has && self.now > began + 1.0 {
                    longest = longest.max(self.clock.delay);
                    shortest = shortest.min(self.clock.delay);
                }
            }
            (longest, shortest)
        }
    }

    #[test]
    fn any_device_clock_is_followed_without_gaps() {
        for (rate_hz, burst) in [(48_000, 480), (48_000, 1_024), (44_100, 441), (16_000, 160)] {
            for ppm in [-1_000.0, 200.0, 1_000.0] {
                let mut bench = Bench::new(rate_hz, ppm, burst, 3.0);
                let (longest, shortest) = bench.run(60.0, 0.3);
                let (starved, trimmed) = (bench.clock.starved, bench.clock.trimmed);
                let drift = bench.clock.drift_ppm();
                println!(
                    "{rate_hz} Hz, {burst}, {ppm} ppm: {shortest:?} to {longest:?}, starved {starved}, trimmed {trimmed}, {drift:.0} ppm"
                );
                assert_eq!(trimmed, 0);
                assert!(
                    starved <= u64::from(ppm.abs() > 200.0),
                    "starved {starved} times"
                );
                assert!(longest < Duration::from_millis(60), "{longest:?}");
                assert!(
                    (drift - ppm).abs() < 200.0,
                    "{ppm} ppm was learnt as {drift}"
                );
            }
        }
    }

    #[test]
    fn what_piles_up_is_cut_off_and_what_is_missing_is_waited_for() {
        let mut bench = Bench::new(48_000, 0.0, 480, 1.0);
        let (usual, _) = bench.run(5.0, 0.3);
        // The program stands still for 90 ms, then goes on at its pace without catching up.
        bench.now += 0.09;
        bench.run(0.1, 0.3);
        assert_eq!(bench.clock.trimmed, 1);
        let (after, _) = bench.run(5.0, 0.3);
        assert!(
            after < usual + Duration::from_millis(15),
            "{after:?}, before {usual:?}"
        );
        // The microphone stands still for 60 ms and what was said is lost.
        bench.callbacks += 6;
        bench.run(5.0, 0.3);
        assert_eq!(bench.clock.starved, 1);
        let (after, _) = bench.run(5.0, 0.3);
        assert!(
            after < usual + Duration::from_millis(15),
            "{after:?}, before {usual:?}"
        );
    }

    #[test]
    fn useless_delay_goes_in_the_next_pause() {
        let mut bench = Bench::new(48_000, 0.0, 480, 1.0);
        let (usual, _) = bench.run(5.0, 0.3);
        bench.now += 0.03;
        let (longer, _) = bench.run(2.0, 0.3);
        assert_eq!(bench.clock.trimmed, 0, "not while somebody speaks");
        assert!(longer > usual + Duration::from_millis(15));
        bench.run(1.0, 0.0);
        assert_eq!(bench.clock.trimmed, 1);
        let (after, _) = bench.run(2.0, 0.3);
        assert!(
            after < usual + Duration::from_millis(10),
            "{after:?}, before {usual:?}"
        );
    }

    /// The tone comes out as a tone: no cut in the wave is felt as a step.
    #[test]
    fn cuts_are_bent_together() {
        let mut bench = Bench::new(48_000, 0.0, 480, 1.0);
        bench.run(2.0, 0.3);
        bench.now += 0.09;
        let (mut out, mut last, mut step) = (AudioFrame::SILENCE, None, 0.0_f32);
        for _ in 0..50 {
            bench.now += 0.02;
            bench.bring(bench.now, 0.3);
            let now = Duration::from_secs_f64(bench.now);
            assert!(bench.clock.next_frame(now, now, &mut out));
            for sample in out.0 {
                step = step.max((sample - last.unwrap_or(sample)).abs());
                last = Some(sample);
            }
        }
        assert_eq!(bench.clock.trimmed, 1);
        // The tone itself moves by 0.3 × 0.05 a sample.
        assert!(step < 0.03, "stepped by {step}");
    }
}

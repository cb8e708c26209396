//! How much faster one clock runs than another, from the times at which frames of the one fell by the other.
//!
//! Two devices' clocks differ by up to 100 in a million, which moves an echo by a sample every fifth of a second:
//! no adaptive filter follows that for long. The times come by way of callbacks that are early or late by
//! milliseconds, so a straight line is laid through minutes of them by least squares, which needs to keep none (as a
//! filter with growing memory).

use std::time::Duration;

use crate::FRAME_DURATION;

/// Frames that the line remembers at most, 3 minutes, and after which it is trusted, 30 s: with times that are
/// off by 5 ms each it is good to 15 in a million then.
const MOST_FRAMES: f64 = 9_000.0;
const TRUSTED_FRAMES: f64 = 1_500.0;
/// Frames about as many as which have to be off by so much before that is a device that stuttered, and no clock.
const STUTTER_FRAMES: f64 = 50.0;
const STUTTER_S: f64 = 0.005;
/// Off by this much, one frame is enough.
const JUMP_S: f64 = 0.1;
/// No clock that works is further off.
const MOST_DRIFT: f64 = 500e-6;
/// Share of the way that the drift in force goes each frame, so that it never jumps.
const FOLLOW: f64 = 0.002;

/// The clock of whoever plays, by the clock of whoever listens.
#[derive(Default)]
pub(super) struct Clock {
    frames: f64,
    /// Where the line says that the last frame began, and how much later than its duration the next one will, seconds.
    time: f64,
    late: f64,
    off: f64,
    drift: f64,
}

impl Clock {
    /// A frame begins to be played at this time.
    pub(super) fn observe(&mut self, at: Duration) {
        let (at, frame) = (at.as_secs_f64(), FRAME_DURATION.as_secs_f64());
        let expected = self.time + frame + self.late;
        let error = at - expected;
        self.off += (error - self.off) / STUTTER_FRAMES;
        if self.frames == 0.0 || error.abs() > JUMP_S || self.off.abs() > STUTTER_S {
            (self.frames, self.time, self.late, self.off) = (1.0, at, 0.0, 0.0);
            return;
        }
        let n = self.frames;
        self.time = expected + error * 2.0 * (2.0 * n + 1.0) / ((n + 1.0) * (n + 2.0));
        self.late += error * 6.0 / ((n + 1.0) * (n + 2.0));
        self.frames = (n + 1.0).min(MOST_FRAMES);
        if n >= TRUSTED_FRAMES {
            let measured = (self.late / frame).clamp(-MOST_DRIFT, MOST_DRIFT);
            self.drift += FOLLOW * (measured - self.drift);
        }
    }

    /// Share by which frames take longer than their duration. What was learnt is kept while a line is begun anew.
    pub(super) fn drift(&self) -> f64 {
        self.drift
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Noise;

    /// The drift after so many frames of a device that is off by `ppm` and whose callbacks come within 10 ms.
    fn after(frames: usize, ppm: f64, stutter_at: Option<usize>) -> f64 {
        let mut noise = Noise::new(9);
        let mut clock = Clock::default();
        let mut late = 0.0;
        for n in 0..frames {
            if stutter_at == Some(n) {
                late += 0.04;
            }
            let at = n as f64 * 0.02 * (1.0 + ppm * 1e-6) + late + 0.005 * f64::from(noise.next());
            clock.observe(Duration::from_secs_f64(1.0 + at));
        }
        clock.drift() * 1e6
    }

    #[test]
    fn it_is_found_through_the_jitter_of_callbacks() {
        for ppm in [-100.0, -30.0, 0.0, 20.0, 100.0] {
            let found = after(6_000, ppm, None);
            assert!((found - ppm).abs() < 8.0, "{ppm}: {found}");
        }
    }

    #[test]
    fn nothing_is_said_before_it_is_known() {
        assert!(after(1_400, 100.0, None) == 0.0);
    }

    #[test]
    fn a_stutter_is_no_drift() {
        for at in [2_000, 5_000, 7_000] {
            let found = after(8_000, 50.0, Some(at));
            assert!((found - 50.0).abs() < 12.0, "at {at}: {found}");
        }
    }

    #[test]
    fn times_that_make_no_sense_cost_nothing() {
        let mut clock = Clock::default();
        for n in 0..4_000_u64 {
            clock.observe(Duration::from_millis(n * n % 1_000_003));
        }
        assert!(clock.drift().abs() <= MOST_DRIFT);
    }
}

//! A loudspeaker and a microphone in one room, offline: how much of what is played goes out again, and what
//! taking it out does to what is said.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::Serialize;
use undertone_dsp::{AudioFrame, CleanUp, Cleaner, FRAME_DURATION, FRAME_SAMPLES, RawPcm};

use crate::words::{Clips, Words};

const RATE: usize = 48_000;
/// From the loudspeaker's ring to the microphone's: devices, air.
const DELAY: Duration = Duration::from_millis(60);
/// Reflections, and how long they take to fall by 60 dB.
const REFLECTIONS: usize = 150;
const REVERBERATION: Duration = Duration::from_millis(300);
/// The canceller has learnt the room by then.
const LEARNT: Duration = Duration::from_secs(5);
/// A device that stutters drops or repeats sound, and the echo comes so much later from then on, milliseconds.
const STUTTERS_MS: [usize; 12] = [0, 12, 33, 5, 26, 0, 45, 18, 20, 60, 11, 3];
const BETWEEN_STUTTERS: Duration = Duration::from_secs(10);
/// It has learnt again when as much was taken out of a second, dB.
const TAKEN_OUT_AGAIN_DB: f32 = 20.0;
/// How much faster the microphone's clock runs than the loudspeaker's, where they are two devices.
const DRIFT: f64 = 100e-6;
/// The loudspeaker's callbacks come later than they should by up to this.
const CALLBACKS: Duration = Duration::from_millis(10);
/// Words are counted beside so many echoes: with one, a few words more or less are luck.
const ECHOES: usize = 4;
/// The canceller has learnt it by then.
const DRIFT_KNOWN: Duration = Duration::from_secs(60);

/// What the clean-up did.
#[derive(Debug, Clone, Serialize)]
pub struct Echo {
    /// What played.
    pub loudspeaker: Loudspeaker,
    /// Echo that came to the microphone, dBFS, against speech of about the level of the bundled voices.
    pub echo_db: f32,
    /// Echo taken out while nobody speaks near the microphone (ERLE), dB.
    pub taken_out_db: f32,
    /// The same where microphone and loudspeaker are two devices, whose clocks differ by 100 ppm.
    pub taken_out_drifting_db: f32,
    /// Seconds until 20 dB are taken out again after the echo jumped by 2 to 49 ms, as a device that stutters makes
    /// it: the middle of eleven jumps, and the slowest.
    pub learns_again_s: (f32, f32),
    /// Speech near the microphone while there is echo: its level after against before, dB.
    pub speech_kept_db: f32,
    /// What the kit says of that speech, cleaned, without any echo.
    pub without: Option<Words>,
    /// And with four echoes, one after the other.
    pub with: Vec<Words>,
}

/// What plays into the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Loudspeaker {
    /// Plays what it is given.
    Clean,
    /// Bends loud sound over, as small ones do: about 7 % of third harmonic at −10 dBFS.
    Distorting,
}

impl Loudspeaker {
    const DRIVE: f32 = 3.0;

    fn play(self, sample: f32) -> f32 {
        match self {
            Self::Clean => sample,
            Self::Distorting => (Self::DRIVE * sample).tanh() / Self::DRIVE,
        }
    }
}

/// What comes back to the microphone of what is played.
fn echo_of(played: &[f32]) -> Vec<f32> {
    let mut rng = ChaCha20Rng::seed_from_u64(60);
    let mut unit = move || (rng.next_u64() >> 11) as f32 / (1_u64 << 53) as f32;
    let samples = |time: Duration| (time.as_secs_f32() * RATE as f32) as usize;
    let tail = samples(REVERBERATION);
    let mut paths = vec![(samples(DELAY), 0.35)];
    paths.extend((0..REFLECTIONS).map(|_| {
        let after = (unit() * tail as f32) as usize;
        let fallen = 10.0_f32.powf(-3.0 * after as f32 / tail as f32);
        (samples(DELAY) + after, 0.08 * (2.0 * unit() - 1.0) * fallen)
    }));
    let mut echo = vec![0.0; played.len()];
    for (after, gain) in paths {
        for (echo, played) in echo.iter_mut().skip(after).zip(played) {
            *echo += gain * played;
        }
    }
    echo
}

/// Echo taken out of a microphone whose clock is faster than the loudspeaker's, once that is known, dB.
fn taken_out_drifting(wanted: CleanUp, played: &[f32], echo: &[f32]) -> Result<f32> {
    let length = (DRIFT_KNOWN + Duration::from_secs(60)).as_secs() as usize * RATE;
    let long = |of: &[f32]| -> Vec<f32> { of.iter().copied().cycle().take(length).collect() };
    let (played, echo) = (long(played), long(echo));
    let heard: Vec<_> = (0..length)
        .map(|n| {
            let place = n as f64 * (1.0 - DRIFT);
            let (whole, share) = (place as usize, place.fract() as f32);
            echo[whole] * (1.0 - share) + echo[(whole + 1).min(length - 1)] * share
        })
        .collect();
    let mut rng = ChaCha20Rng::seed_from_u64(61);
    let plays_at = |n: u32| {
        let late = CALLBACKS.mul_f64(f64::from(rng.next_u32()) / f64::from(u32::MAX));
        (n * FRAME_DURATION).mul_f64(1.0 + DRIFT) + late
    };
    let left = clean_by(wanted, plays_at, &played, &heard)?;
    let known = DRIFT_KNOWN.as_secs() as usize * RATE;
    Ok(level_db(&heard[known..]) - level_db(&left[known..]))
}

/// Seconds from each stutter until the echo is taken out again, sorted.
fn learns_again(wanted: CleanUp, played: &[f32], echo: &[f32]) -> Result<Vec<f32>> {
    let between = BETWEEN_STUTTERS.as_secs() as usize * RATE;
    let played: Vec<_> = (played.iter().copied().cycle())
        .take(STUTTERS_MS.len() * between)
        .collect();
    let jumping: Vec<_> = (0..played.len())
        .map(|n| {
            let late = STUTTERS_MS[n / between] * RATE / 1_000;
            echo[(n % echo.len()).saturating_sub(late)]
        })
        .collect();
    let left = clean(wanted, &played, &jumping)?;
    let taken_out = |at: usize| level_db(&jumping[at..at + RATE]) - level_db(&left[at..at + RATE]);
    let mut seconds: Vec<_> = (1..STUTTERS_MS.len())
        .map(|jump| {
            let step = RATE / 10;
            let steps = (between - RATE) / step;
            let again = (0..steps)
                .find(|i| taken_out(jump * between + i * step) >= TAKEN_OUT_AGAIN_DB)
                .unwrap_or(steps);
            (again * step) as f32 / RATE as f32
        })
        .collect();
    seconds.sort_by(f32::total_cmp);
    Ok(seconds)
}

fn clean(wanted: CleanUp, played: &[f32], microphone: &[f32]) -> Result<Vec<f32>> {
    clean_by(wanted, |n| n * FRAME_DURATION, played, microphone)
}

/// The same, where the loudspeaker says when it plays each frame.
fn clean_by(
    wanted: CleanUp,
    mut plays_at: impl FnMut(u32) -> Duration,
    played: &[f32],
    microphone: &[f32],
) -> Result<Vec<f32>> {
    let mut cleaner = Cleaner::new(wanted)?;
    let mut cleaned = Vec::with_capacity(microphone.len());
    let frames = (played.as_chunks::<FRAME_SAMPLES>().0.iter())
        .zip(microphone.as_chunks::<FRAME_SAMPLES>().0);
    for (n, (played, microphone)) in (0..).zip(frames) {
        cleaner.hear(&AudioFrame(*played), plays_at(n));
        let mut raw = RawPcm(AudioFrame(*microphone));
        cleaner.process(&mut raw);
        cleaned.extend_from_slice(raw.0.samples());
    }
    Ok(cleaned)
}

fn level_db(samples: &[f32]) -> f32 {
    let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32;
    undertone_dsp::level_db(power.sqrt())
}

/// Plays `far`, over and over, while `near` is said; cleans what the microphone hears. With clips of the kit, `near`
/// is theirs, and their words are counted.
///
/// # Errors
/// If there is too little speech, or the kit cannot be run.
pub fn measure(
    loudspeaker: Loudspeaker,
    far: &[Vec<f32>],
    near: &[f32],
    clips: Option<&Clips>,
) -> Result<Echo> {
    let learnt = LEARNT.as_secs() as usize * RATE;
    ensure!(near.len() > 2 * learnt, "too little speech");
    let played: Vec<_> = far
        .iter()
        .flatten()
        .copied()
        .cycle()
        .take(near.len())
        .collect();
    let sound: Vec<_> = played.iter().map(|s| loudspeaker.play(*s)).collect();
    let echo = echo_of(&sound);
    let wanted = CleanUp {
        gain: false,
        ..CleanUp::default()
    };
    let left = clean(wanted, &played, &echo)?;
    let learns_again = learns_again(wanted, &played, &echo)?;
    let beside = |played: &[f32], echo: &[f32]| {
        let both: Vec<_> = near.iter().zip(echo).map(|(n, e)| n + e).collect();
        clean(wanted, played, &both)
    };
    let with = beside(&played, &echo)?;
    let without = clean(wanted, &vec![0.0; near.len()], near)?;
    let end = left.len();
    let mut measured = Echo {
        loudspeaker,
        echo_db: level_db(&echo[learnt..end]),
        taken_out_db: level_db(&echo[learnt..end]) - level_db(&left[learnt..end]),
        taken_out_drifting_db: taken_out_drifting(wanted, &played, &echo)?,
        learns_again_s: (
            learns_again[learns_again.len() / 2],
            learns_again[learns_again.len() - 1],
        ),
        speech_kept_db: level_db(&with[learnt..end]) - level_db(&without[learnt..end]),
        without: None,
        with: Vec::new(),
    };
    if let Some(clips) = clips {
        let mut cut = vec![
            clips.cut("without-echo", &without, Duration::ZERO)?,
            clips.cut("with-echo", &with, Duration::ZERO)?,
        ];
        for shift in 1..ECHOES {
            // The same room, while others talk.
            let by = shift * played.len() / ECHOES;
            let turned = |of: &[f32]| [&of[by..], &of[..by]].concat();
            let with = beside(&turned(&played), &turned(&echo))?;
            cut.push(clips.cut(&format!("with-echo-{shift}"), &with, Duration::ZERO)?);
        }
        let mut scores = clips.score(&cut)?.into_iter();
        measured.without = scores.next();
        measured.with = scores.collect();
    }
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::voices;

    #[test]
    fn echo_is_taken_out_and_speech_stays() {
        let mut voices = voices(None).unwrap();
        let near: Vec<_> = voices
            .remove(0)
            .into_iter()
            .cycle()
            .take(20 * RATE)
            .collect();
        let echo = measure(Loudspeaker::Clean, &voices[1..3], &near, None).unwrap();
        assert!(echo.taken_out_db > 25.0, "{echo:?}");
        assert!(echo.taken_out_drifting_db > 20.0, "{echo:?}");
        assert!(echo.speech_kept_db.abs() < 2.0, "{echo:?}");
        let echo = measure(Loudspeaker::Distorting, &voices[1..3], &near, None).unwrap();
        assert!(echo.taken_out_db > 18.0, "{echo:?}");
        assert!(echo.speech_kept_db.abs() < 2.0, "{echo:?}");
    }
}

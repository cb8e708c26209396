//! A loudspeaker and a microphone in one room, offline: how much of what is played goes out again, and what
//! taking it out does to what is said.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::Serialize;
use undertone_dsp::{AudioFrame, CleanUp, Cleaner, FRAME_SAMPLES, RawPcm};

use crate::words::{Clips, Words};

const RATE: usize = 48_000;
/// From the loudspeaker's ring to the microphone's: devices, air.
const DELAY: Duration = Duration::from_millis(60);
/// Reflections, and how long they take to fall by 60 dB.
const REFLECTIONS: usize = 150;
const REVERBERATION: Duration = Duration::from_millis(300);
/// The canceller has learnt the room by then.
const LEARNT: Duration = Duration::from_secs(5);

/// What the clean-up did.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Echo {
    /// What played.
    pub loudspeaker: Loudspeaker,
    /// Echo that came to the microphone, dBFS, against speech of about the level of the bundled voices.
    pub echo_db: f32,
    /// Echo taken out while nobody speaks near the microphone (ERLE), dB.
    pub taken_out_db: f32,
    /// Speech near the microphone while there is echo: its level after against before, dB.
    pub speech_kept_db: f32,
    /// What the kit says of that speech, cleaned, without any echo.
    pub without: Option<Words>,
    /// And with it.
    pub with: Option<Words>,
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

fn clean(wanted: CleanUp, played: &[f32], microphone: &[f32]) -> Vec<f32> {
    let mut cleaner = Cleaner::new(wanted);
    let mut cleaned = Vec::with_capacity(microphone.len());
    let frames = |of: &[f32]| -> Vec<AudioFrame> {
        let whole = of.as_chunks::<FRAME_SAMPLES>().0;
        whole.iter().map(|samples| AudioFrame(*samples)).collect()
    };
    for (played, microphone) in frames(played).iter().zip(frames(microphone)) {
        cleaner.hear(played);
        let mut raw = RawPcm(microphone);
        cleaner.process(&mut raw);
        cleaned.extend_from_slice(raw.0.samples());
    }
    cleaned
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
    let left = clean(wanted, &played, &echo);
    let both: Vec<_> = near
        .iter()
        .zip(&echo)
        .map(|(near, echo)| near + echo)
        .collect();
    let (with, silence) = (clean(wanted, &played, &both), vec![0.0; near.len()]);
    let without = clean(wanted, &silence, near);
    let end = left.len();
    let mut measured = Echo {
        loudspeaker,
        echo_db: level_db(&echo[learnt..end]),
        taken_out_db: level_db(&echo[learnt..end]) - level_db(&left[learnt..end]),
        speech_kept_db: level_db(&with[learnt..end]) - level_db(&without[learnt..end]),
        without: None,
        with: None,
    };
    if let Some(clips) = clips {
        let cut = [
            clips.cut("without-echo", &without, Duration::ZERO)?,
            clips.cut("with-echo", &with, Duration::ZERO)?,
        ];
        let scores = clips.score(&cut)?;
        (measured.without, measured.with) = (scores.first().copied(), scores.get(1).copied());
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
        assert!(echo.speech_kept_db.abs() < 2.0, "{echo:?}");
        let echo = measure(Loudspeaker::Distorting, &voices[1..3], &near, None).unwrap();
        assert!(echo.taken_out_db > 18.0, "{echo:?}");
        assert!(echo.speech_kept_db.abs() < 2.0, "{echo:?}");
    }
}

//! What comes off a microphone before the morph: the echo of what is played, the room's noise, and too low or too
//! high a level. An echo of somebody's morphed voice must never be morphed again, and noise would betray the room.
//!
//! All three are WebRTC's (AEC3, NS, AGC2), as ported to Rust by the `sonora` crates.

mod clock;
mod echo;
mod gain;

use std::time::Duration;

use echo::EchoCanceller;
use gain::GainControl;
use sonora::config::{
    HighPassFilter, MaxProcessingRate, NoiseSuppression, NoiseSuppressionLevel, Pipeline,
};
use sonora::{AudioProcessing, Config, StreamConfig};

use crate::{AudioFrame, DspError, FRAME_SAMPLES, RawPcm, SAMPLE_RATE_HZ};

/// It works on 10 ms at a time.
const PIECE: usize = FRAME_SAMPLES / 2;

/// Which parts of the clean-up run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CleanUp {
    /// Takes out the echo of what is played.
    pub echo: bool,
    /// Turns steady noise down, by about 12 dB.
    pub noise: bool,
    /// Brings speech to one level, slowly, so that what is said loud or softly stays so.
    pub gain: bool,
}

impl CleanUp {
    /// Nothing runs.
    pub const NONE: Self = Self {
        echo: false,
        noise: false,
        gain: false,
    };
}

impl Default for CleanUp {
    /// Everything runs, which loudspeakers and a microphone in one case need.
    fn default() -> Self {
        Self {
            echo: true,
            noise: true,
            gain: true,
        }
    }
}

/// Cleans one microphone.
pub struct Cleaner {
    echo: EchoCanceller,
    noise: AudioProcessing,
    gain: GainControl,
    wanted: CleanUp,
    piece: [f32; PIECE],
}

impl Cleaner {
    /// A cleaner that has learnt nothing of the room yet.
    ///
    /// # Errors
    /// [`DspError::Resampler`] if the echo canceller's cannot be built.
    pub fn new(wanted: CleanUp) -> Result<Self, DspError> {
        let mono = StreamConfig::new(SAMPLE_RATE_HZ, 1);
        Ok(Self {
            echo: EchoCanceller::new()?,
            noise: AudioProcessing::builder()
                .config(config(wanted))
                .capture_config(mono)
                .build(),
            gain: GainControl::new(),
            wanted,
            piece: [0.0; PIECE],
        })
    }

    /// Runs other parts from the next frame on.
    pub fn set(&mut self, wanted: CleanUp) {
        if wanted != self.wanted {
            self.wanted = wanted;
            self.noise.apply_config(config(wanted));
        }
    }

    /// Hears what begins to be played at `at`, by the clock of the microphone's frames, whatever that counts from:
    /// the loudspeaker's own clock is learnt from it. The echo may come up to half a second later.
    pub fn hear(&mut self, played: &AudioFrame, at: Duration) {
        if self.wanted.echo {
            let mut played = played.clone();
            make_numbers(&mut played);
            self.echo.hear(&played, at);
        }
    }

    /// Cleans 20 ms from the microphone. Where that fails, silence is left: what is not clean is not sent.
    pub fn process(&mut self, raw: &mut RawPcm) {
        if self.wanted == CleanUp::NONE {
            return;
        }
        make_numbers(&mut raw.0);
        if self.wanted.echo {
            self.echo.process(&mut raw.0);
        }
        if !self.wanted.noise && !self.wanted.gain {
            return;
        }
        for samples in raw.0.0.as_chunks_mut::<PIECE>().0 {
            match (self.noise).process_capture_f32(&[samples], &mut [&mut self.piece]) {
                Ok(()) => samples.copy_from_slice(&self.piece),
                Err(_) => samples.fill(0.0),
            }
            if self.wanted.gain {
                self.gain.process(samples);
            }
        }
    }
}

/// Clips, and makes silence of what is no number.
fn make_numbers(frame: &mut AudioFrame) {
    for sample in &mut frame.0 {
        *sample = if sample.is_finite() {
            sample.clamp(-1.0, 1.0)
        } else {
            0.0
        };
    }
}

fn config(wanted: CleanUp) -> Config {
    Config {
        pipeline: Pipeline {
            maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
            multi_channel_capture: false,
            ..Pipeline::default()
        },
        high_pass_filter: Some(HighPassFilter::default()),
        noise_suppression: wanted.noise.then(|| NoiseSuppression {
            level: NoiseSuppressionLevel::Moderate,
            ..NoiseSuppression::default()
        }),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::echo::RUMBLE_HZ;
    use super::*;
    use crate::FRAME_DURATION;
    use crate::filters::Biquad;
    use crate::testing::{Noise, speech_like};

    const RATE: usize = SAMPLE_RATE_HZ as usize;
    /// 60 ms from loudspeaker to microphone.
    const ECHO_DELAY: usize = 60 * RATE / 1_000;

    /// The echo of a small room: a direct path, and reflections that fall by 60 dB in 0.2 s.
    fn echo_of(played: &[f32]) -> Vec<f32> {
        let mut noise = Noise::new(5);
        let paths: Vec<(usize, f32)> = std::iter::once((0, 0.4))
            .chain((1..120).map(|n| {
                let after = n * RATE / 600;
                (
                    after,
                    0.12 * noise.next() * (-6.9 * after as f32 / (0.2 * RATE as f32)).exp(),
                )
            }))
            .collect();
        (0..played.len())
            .map(|i| {
                let before = |after: usize| i.checked_sub(ECHO_DELAY + after).map(|at| played[at]);
                paths
                    .iter()
                    .filter_map(|(after, gain)| Some(before(*after)? * gain))
                    .sum()
            })
            .collect()
    }

    fn clean(wanted: CleanUp, played: &[f32], microphone: &[f32]) -> Vec<f32> {
        clean_by(wanted, FRAME_DURATION, played, microphone)
    }

    /// The same, where the loudspeaker plays a frame each `frame`.
    fn clean_by(wanted: CleanUp, frame: Duration, played: &[f32], microphone: &[f32]) -> Vec<f32> {
        let mut cleaner = Cleaner::new(wanted).unwrap();
        let frames = played
            .as_chunks::<FRAME_SAMPLES>()
            .0
            .iter()
            .zip(microphone.as_chunks::<FRAME_SAMPLES>().0);
        (0..)
            .zip(frames)
            .flat_map(|(n, (played, microphone))| {
                cleaner.hear(&AudioFrame(*played), n * frame);
                let mut raw = RawPcm(AudioFrame(*microphone));
                cleaner.process(&mut raw);
                raw.0.0
            })
            .collect()
    }

    fn level_db(samples: &[f32]) -> f32 {
        crate::level_db((samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt())
    }

    const ECHO_ONLY: CleanUp = CleanUp {
        echo: true,
        ..CleanUp::NONE
    };

    #[test]
    fn the_echo_of_what_is_played_is_gone_within_seconds() {
        let played = speech_like(12.0, 130.0);
        let echo = echo_of(&played);
        let cleaned = clean(ECHO_ONLY, &played, &echo);
        let late = 6 * RATE..11 * RATE;
        let taken_db = level_db(&echo[late.clone()]) - level_db(&cleaned[late]);
        assert!(taken_db > 25.0, "{taken_db} dB");
    }

    #[test]
    fn the_echo_is_gone_again_soon_after_the_room_changed() {
        let played = speech_like(20.0, 130.0);
        let mut echo = echo_of(&played);
        // The microphone is turned to the other side: the same echo, softer, later, upside down.
        for i in (8 * RATE..echo.len()).rev() {
            echo[i] = -0.6 * echo[i - 480];
        }
        let cleaned = clean(ECHO_ONLY, &played, &echo);
        let late = 14 * RATE..19 * RATE;
        let taken_db = level_db(&echo[late.clone()]) - level_db(&cleaned[late]);
        assert!(taken_db > 25.0, "{taken_db} dB");
    }

    #[test]
    fn the_echo_of_a_loudspeaker_with_another_clock_is_gone_once_that_is_known() {
        let played = speech_like(80.0, 130.0);
        let echo = echo_of(&played);
        // The microphone's clock is fast by 100 in a million.
        let heard: Vec<f32> = (0..echo.len() - 1)
            .map(|n| {
                let place = n as f64 * (1.0 - 100e-6);
                let (whole, share) = (place as usize, place.fract() as f32);
                echo[whole] * (1.0 - share) + echo[whole + 1] * share
            })
            .collect();
        let late = 65 * RATE..79 * RATE;
        let taken_db = |frame: Duration| {
            let cleaned = clean_by(ECHO_ONLY, frame, &played, &heard);
            level_db(&heard[late.clone()]) - level_db(&cleaned[late.clone()])
        };
        let by_its_clock = taken_db(FRAME_DURATION + Duration::from_micros(2));
        assert!(by_its_clock > 20.0, "{by_its_clock} dB");
        let by_another = taken_db(FRAME_DURATION);
        assert!(by_another < by_its_clock - 6.0, "{by_another} dB");
    }

    #[test]
    fn without_an_echo_the_microphone_comes_out_as_it_is() {
        // Rumble aside, which is taken out of both.
        let mut high_pass = Biquad::high_pass(RUMBLE_HZ);
        let said = speech_like(8.0, 170.0);
        let cleaned = clean(ECHO_ONLY, &vec![0.0; said.len()], &said);
        let said: Vec<f32> = said.iter().map(|s| high_pass.step(*s)).collect();
        let late = 2 * RATE..7 * RATE;
        let off = |delay: usize| {
            let pairs = cleaned[late.clone()]
                .iter()
                .zip(&said[late.start - delay..]);
            let left: f32 = pairs.map(|(a, b)| (a - b) * (a - b)).sum();
            let whole: f32 = said[late.clone()].iter().map(|s| s * s).sum();
            10.0 * (left / whole).log10()
        };
        let (delay, off_db) = (0..600)
            .map(|delay| (delay, off(delay)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap();
        assert!(off_db < -20.0, "{off_db} dB at {delay} samples");
        assert!(delay < 6 * RATE / 1_000, "{delay} samples");
    }

    #[test]
    fn what_one_says_oneself_stays() {
        let said = speech_like(10.0, 190.0);
        let silence = vec![0.0; said.len()];
        let cleaned = clean(
            CleanUp {
                gain: false,
                ..CleanUp::default()
            },
            &silence,
            &said,
        );
        let late = 3 * RATE..9 * RATE;
        let lost_db = level_db(&said[late.clone()]) - level_db(&cleaned[late]);
        assert!(lost_db.abs() < 3.0, "{lost_db} dB");
    }

    #[test]
    fn steady_noise_is_turned_down_and_a_low_voice_up() {
        let mut noise = Noise::new(9);
        let hiss: Vec<f32> = (0..8 * RATE).map(|_| 0.003 * noise.next()).collect();
        let silence = vec![0.0; hiss.len()];
        let noise_only = CleanUp {
            noise: true,
            ..CleanUp::NONE
        };
        let late = 4 * RATE..7 * RATE;
        let quieter_db = level_db(&hiss[late.clone()])
            - level_db(&clean(noise_only, &silence, &hiss)[late.clone()]);
        assert!(quieter_db > 6.0, "{quieter_db} dB");

        let far_off: Vec<f32> = speech_like(20.0, 120.0).iter().map(|s| 0.02 * s).collect();
        let gain_only = CleanUp {
            gain: true,
            ..CleanUp::NONE
        };
        let louder = clean(gain_only, &vec![0.0; far_off.len()], &far_off);
        let late = 14 * RATE..19 * RATE;
        let louder_db = level_db(&louder[late.clone()]) - level_db(&far_off[late]);
        assert!(louder_db > 6.0, "{louder_db} dB");
    }

    #[test]
    fn nothing_wanted_leaves_the_microphone_as_it_is() {
        let said = speech_like(1.0, 150.0);
        let said = &said[..said.len() / FRAME_SAMPLES * FRAME_SAMPLES];
        assert_eq!(clean(CleanUp::NONE, said, said), said);
    }

    #[test]
    fn what_is_no_number_does_no_harm() {
        for wanted in [CleanUp::default(), ECHO_ONLY] {
            let mut cleaner = Cleaner::new(wanted).unwrap();
            for value in [f32::NAN, f32::INFINITY, -4.0e30] {
                cleaner.hear(&AudioFrame([value; FRAME_SAMPLES]), Duration::MAX);
                let mut raw = RawPcm(AudioFrame([value; FRAME_SAMPLES]));
                cleaner.process(&mut raw);
            }
            let said = speech_like(3.0, 150.0);
            let mut left = Vec::new();
            for samples in said.as_chunks::<FRAME_SAMPLES>().0 {
                let mut raw = RawPcm(AudioFrame(*samples));
                cleaner.hear(&AudioFrame::SILENCE, Duration::ZERO);
                cleaner.process(&mut raw);
                left.extend(raw.0.0);
            }
            assert!(left.iter().all(|s| s.is_finite()));
            assert!(level_db(&left) > level_db(&said) - 12.0, "{wanted:?}");
        }
    }
}

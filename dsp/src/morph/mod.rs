//! The morph: normalise, then randomise.
//!
//! What a speaker's own voice adds to pitch, long-term spectrum and tract length is taken away, and a
//! pseudo-voice drawn from a secret seed is put there; tune, loudness, timing and words pass.
//!
//! ```text
//! 48 kHz ─ high-pass ─┬─ ↓3 ─┬─ pitch ────► melody ──────┐
//!                     │      ├─ envelope ─► morphed ───┐ │
//!                     │      └─ residual ─► re-pitched ─┴─► lattice ─ level ─ ↑3 ─┬─ limiter ─► 48 kHz
//!                     └─ level above 8 kHz ─► noise ────────────────────────────┘
//! ```
//!
//! It works in hops of 5 ms, is causal, and never lets a sample of the original through: the core is always
//! re-synthesised and the rest is noise. It hides a voice from people, and from machines that were not trained
//! on it; rhythm, accent and words remain. A learned morph can take its place behind [`Morpher`].

mod character;
mod difference;
mod envelope;
mod highband;
mod level;
mod melody;
mod pitch;
mod resynthesis;

use std::time::Duration;

#[cfg(feature = "ablation")]
pub use character::Part;
pub use character::{Character, MorphSeed};
pub use difference::Difference;

use crate::filters::{Biquad, CORE_HOP, Decimator, HOP, Interpolator, TAPS};
use crate::mixer::{LOOKAHEAD, Limiter};
use crate::{AudioFrame, FRAME_SAMPLES, Morphed, RawPcm, SAMPLE_RATE_HZ};
use character::PseudoVoice;
use envelope::{AHEAD, EnvelopeMorph, Envelopes};
use highband::HighBand;
use level::{Activity, LevelKeeper};
use melody::Melody;
use pitch::PitchTracker;
use resynthesis::{HopPitch, Resynthesis, period_of};

const CORE_RATE_HZ: f32 = 16_000.0;
const HOPS: usize = FRAME_SAMPLES / HOP;
/// Delay of the core, in its samples: 5 ms look-ahead of the envelope, 15 ms to find and place pulses.
const CORE_DELAY: usize = 320;
/// Envelopes wait this many hops for the residual that they shape.
const ENVELOPE_WAIT: usize = CORE_DELAY / CORE_HOP;

const DELAY_SAMPLES: usize = CORE_DELAY * 3 + (TAPS - 1) + LOOKAHEAD + HOP;

/// Turns a voice into another one, 20 ms at a time.
pub struct Morpher {
    high_pass: Biquad,
    decimator: Decimator,
    interpolator: Interpolator,
    activity: Activity,
    pitch: PitchTracker,
    melody: Melody,
    envelope: EnvelopeMorph,
    /// Newest first.
    envelopes: [Envelopes; ENVELOPE_WAIT + 1],
    /// The core's newest hop, which waits for the envelope's look-ahead.
    waiting: [f32; CORE_HOP],
    resynthesis: Resynthesis,
    level: LevelKeeper,
    high_band: HighBand,
    limiter: Limiter,
    is_flushed: bool,
}

impl Morpher {
    /// Algorithmic latency from microphone to output: filters, core, look-ahead of the limiter, and the hop.
    pub const LATENCY: Duration =
        Duration::from_micros(DELAY_SAMPLES as u64 * 1_000_000 / SAMPLE_RATE_HZ as u64);

    /// A morpher for one circle. Everything it needs is allocated here.
    pub fn new(seed: &MorphSeed, character: Character) -> Self {
        Self::of(&PseudoVoice::draw(seed, character))
    }

    /// The same with one part left out, to measure what it is for.
    #[cfg(feature = "ablation")]
    pub fn without(part: Part, seed: &MorphSeed, character: Character) -> Self {
        Self::of(&PseudoVoice::draw(seed, character).without(part))
    }

    fn of(voice: &PseudoVoice) -> Self {
        Self {
            high_pass: Biquad::high_pass(70.0),
            decimator: Decimator::new(),
            interpolator: Interpolator::new(),
            activity: Activity::new(),
            pitch: PitchTracker::new(),
            melody: Melody::new(voice),
            envelope: EnvelopeMorph::new(voice),
            envelopes: [Envelopes::FLAT; ENVELOPE_WAIT + 1],
            waiting: [0.0; CORE_HOP],
            resynthesis: Resynthesis::new(),
            level: LevelKeeper::new(),
            high_band: HighBand::new(voice.air, voice.noise),
            limiter: Limiter::new(),
            is_flushed: true,
        }
    }

    /// Morphs 20 ms; silence where that fails.
    pub fn process(&mut self, raw: &RawPcm) -> Morphed {
        self.try_process(raw).unwrap_or_default()
    }

    /// Morphs 20 ms. None if the result was not fit to be sent; the morph has then started afresh.
    /// Samples that are no numbers count as zero, and what is too loud is clipped first.
    pub fn try_process(&mut self, raw: &RawPcm) -> Option<Morphed> {
        self.is_flushed = false;
        let mut out = AudioFrame::SILENCE;
        let mut input = [0.0; HOP];
        for hop in 0..HOPS {
            let range = hop * HOP..(hop + 1) * HOP;
            for (x, raw) in input.iter_mut().zip(&raw.0.0[range.clone()]) {
                *x = if raw.is_finite() {
                    raw.clamp(-1.0, 1.0)
                } else {
                    0.0
                };
            }
            let mut made = [0.0; HOP];
            self.process_hop(&mut input, &mut made);
            out.0[range].copy_from_slice(&made);
        }
        if !out.is_finite() {
            self.flush();
            return None;
        }
        self.limiter.process(&mut out.0);
        Some(Morphed::from_morpher(out))
    }

    /// How far the outgoing voice lies from the speaker's own; none before enough of it was heard.
    pub fn difference(&self) -> Option<Difference> {
        let pitch_semitones = self.melody.shift_semitones()?;
        let warped = self.envelope.warped();
        Some(Difference {
            pitch_semitones,
            resonances_percent: warped.mean_percent,
            moved_percent: warped.moved_percent,
            colour_db: self.envelope.colour_db(),
        })
    }

    /// Forgets the sound that is on its way through, keeps what was learnt of the speaker.
    pub fn flush(&mut self) {
        if self.is_flushed {
            return;
        }
        self.high_pass.reset();
        self.decimator = Decimator::new();
        self.interpolator = Interpolator::new();
        self.envelope.flush();
        self.envelopes = [Envelopes::FLAT; ENVELOPE_WAIT + 1];
        self.waiting.fill(0.0);
        self.resynthesis.flush();
        self.level = LevelKeeper::new();
        self.high_band.flush();
        self.limiter = Limiter::new();
        self.is_flushed = true;
    }

    fn process_hop(&mut self, input: &mut [f32; HOP], out: &mut [f32; HOP]) {
        for x in input.iter_mut() {
            *x = self.high_pass.step(*x);
        }
        self.high_pass.flush_denormals();
        let mut core = [0.0; CORE_HOP];
        self.decimator.process(input, &mut core);

        let activity = self.activity.observe(&core);
        let pitch = self.pitch.process(&core, activity.level_db);
        let mut hop_pitch = HopPitch {
            is_voiced: false,
            period: 100.0,
            new_period: 100.0,
        };
        if pitch.is_voiced {
            let new_hz = self.melody.process(pitch.hz);
            hop_pitch = HopPitch {
                is_voiced: true,
                period: period_of(pitch.hz),
                new_period: period_of(new_hz),
            };
        }
        self.envelopes.copy_within(..ENVELOPE_WAIT, 1);
        self.envelopes[0] =
            self.envelope
                .process(&core, self.melody.tract_scale(), activity.is_speech);

        let mut shaped = [0.0; CORE_HOP];
        self.resynthesis.process(
            &self.waiting,
            &self.envelopes[0].analysis,
            &self.envelopes[ENVELOPE_WAIT - 1],
            hop_pitch,
            &mut shaped,
        );
        self.waiting = core;
        self.level.process(&core, activity.is_active, &mut shaped);
        self.interpolator.process(&shaped, out);
        self.high_band.process(input, out);
    }
}

const _: () = assert!(CORE_DELAY.is_multiple_of(CORE_HOP) && AHEAD == CORE_HOP);
const _: () = assert!(
    DELAY_SAMPLES <= 30 * SAMPLE_RATE_HZ as usize / 1_000,
    "latency is at most 30 ms"
);

#[cfg(test)]
mod tests;

//! Loudness: where there is speech, and that the morph is as loud as the voice was.

use super::{CORE_DELAY, CORE_HOP};

/// Below this nothing is speech, dBFS.
const SILENCE_DB: f32 = -66.0;
/// Speech is this far above the background.
const ABOVE_BACKGROUND_DB: f32 = 8.0;
/// Parameters learn only from sound within this of the loudest lately.
const BELOW_PEAK_DB: f32 = 32.0;
const HANGOVER_HOPS: u32 = 30;
const BACKGROUND_RISE_DB: f32 = 0.015;
const PEAK_FALL_DB: f32 = 0.01;

/// What a hop holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Active {
    /// More than background, or shortly after it.
    pub(super) is_active: bool,
    /// Speech to learn from.
    pub(super) is_speech: bool,
    /// Level against the loudest lately, dB.
    pub(super) level_db: f32,
}

/// Tells speech from background by level over a running minimum.
pub(super) struct Activity {
    background_db: f32,
    peak_db: f32,
    hangover: u32,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            background_db: -60.0,
            peak_db: -60.0,
            hangover: 0,
        }
    }

    pub(super) fn observe(&mut self, core: &[f32; CORE_HOP]) -> Active {
        let power = core.iter().map(|x| x * x).sum::<f32>() / CORE_HOP as f32;
        let db = 10.0 * (power + 1e-10).log10();
        self.background_db = if db < self.background_db {
            db
        } else {
            self.background_db + BACKGROUND_RISE_DB
        };
        self.background_db = self.background_db.clamp(-90.0, -35.0);
        self.peak_db = db.max(self.peak_db - PEAK_FALL_DB).max(-60.0);
        let is_loud = db > SILENCE_DB && db > self.background_db + ABOVE_BACKGROUND_DB;
        self.hangover = if is_loud {
            HANGOVER_HOPS
        } else {
            self.hangover.saturating_sub(1)
        };
        Active {
            is_active: self.hangover > 0,
            is_speech: is_loud && db > self.peak_db - BELOW_PEAK_DB,
            level_db: db - self.peak_db,
        }
    }
}

/// 35 ms, in core samples: several periods of the lowest voice, or its pulses would be levelled one by one.
/// The filters' own gains are exact and instant; this only corrects what re-pitching adds or loses.
const SMOOTHING: f32 = 1.0 / 560.0;
const MOST_GAIN: f32 = 4.0;
const QUIET_POWER: f32 = 1e-9;
/// Background is turned down this far: noise and room identify too.
const BACKGROUND_GAIN: f32 = 0.35;
const GATE_STEP: f32 = 1.0 / 640.0;

/// Gives the morph the short-time level of the voice, and turns the background down.
pub(super) struct LevelKeeper {
    /// The input, waiting for the output that it became.
    line: [f32; CORE_DELAY + CORE_HOP],
    power_in: f32,
    power_out: f32,
    gate: f32,
}

impl LevelKeeper {
    pub(super) fn new() -> Self {
        Self {
            line: [0.0; CORE_DELAY + CORE_HOP],
            power_in: 0.0,
            power_out: 0.0,
            gate: BACKGROUND_GAIN,
        }
    }

    pub(super) fn process(
        &mut self,
        core: &[f32; CORE_HOP],
        is_active: bool,
        out: &mut [f32; CORE_HOP],
    ) {
        self.line.copy_within(CORE_HOP.., 0);
        self.line[CORE_DELAY..].copy_from_slice(core);
        // Activity is known for the newest input, so the gate opens well before what opened it comes out.
        let wanted = if is_active { 1.0 } else { BACKGROUND_GAIN };
        for (x, y) in self.line[..CORE_HOP].iter().zip(out.iter_mut()) {
            self.power_in += SMOOTHING * (x * x - self.power_in);
            self.power_out += SMOOTHING * (*y * *y - self.power_out);
            let gain = ((self.power_in + QUIET_POWER) / (self.power_out + QUIET_POWER)).sqrt();
            self.gate += (wanted - self.gate).clamp(-GATE_STEP, 4.0 * GATE_STEP);
            *y *= gain.clamp(1.0 / MOST_GAIN, MOST_GAIN) * self.gate;
        }
    }
}

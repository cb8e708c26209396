//! A level that one thread writes and others read, without locks.

use std::sync::atomic::{AtomicU32, Ordering};

/// Level reported for silence, dBFS.
pub const SILENCE_DB: f32 = -100.0;
/// Levels fall by this much a frame (75 dB a second), and rise at once.
const FALL_DB: f32 = 1.5;

/// A dsp level in dBFS, with its floor read as silence.
pub(crate) fn reported_db(level_db: f32) -> f32 {
    if level_db > undertone_dsp::LEVEL_FLOOR_DB {
        level_db
    } else {
        SILENCE_DB
    }
}

/// See the module.
pub(crate) struct Level(AtomicU32);

impl Level {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(SILENCE_DB.to_bits()))
    }

    /// Takes in one frame's level, dBFS RMS.
    pub(crate) fn follow(&self, level_db: f32) {
        let fallen = self.db() - FALL_DB;
        let level_db = level_db.max(fallen);
        self.0
            .store(reported_db(level_db).to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn silence(&self) {
        self.0.store(SILENCE_DB.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn db(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_at_once_falls_gently_and_ends_at_silence() {
        let level = Level::new();
        assert_eq!(level.db(), SILENCE_DB);
        level.follow(-20.0);
        assert_eq!(level.db(), -20.0);
        level.follow(undertone_dsp::LEVEL_FLOOR_DB);
        assert_eq!(level.db(), -21.5);
        (0..60).for_each(|_| level.follow(undertone_dsp::LEVEL_FLOOR_DB));
        assert_eq!(level.db(), SILENCE_DB);
        level.follow(f32::NAN);
        assert_eq!(level.db(), SILENCE_DB);
    }
}

//! How far the outgoing voice lies from one's own.

/// Distances between one's own voice and the outgoing one, from what the morph knows of both. They say how much
/// was moved, not how well it hides. Kept nowhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Difference {
    /// Mean pitch of the outgoing voice over one's own, semitones.
    pub pitch_semitones: f32,
    /// Resonances of the outgoing voice over one's own, percent, on average from 300 to 4,000 Hz: higher ones
    /// belong to a smaller mouth and throat.
    pub resonances_percent: f32,
    /// How far they moved either way, percent (root mean square).
    pub moved_percent: f32,
    /// Difference of the mean spectra, dB (root mean square over mel).
    pub colour_db: f32,
}

/// Distances at which two voices are taken for different people on that count alone.
const PITCH_APART: f32 = 5.0;
const MOVED_APART: f32 = 15.0;
const COLOUR_APART: f32 = 6.0;

impl Difference {
    /// In whole units, for showing.
    pub fn rounded(self) -> Self {
        Self {
            pitch_semitones: self.pitch_semitones.round(),
            resonances_percent: self.resonances_percent.round(),
            moved_percent: self.moved_percent.round(),
            colour_db: self.colour_db.round(),
        }
    }

    /// All of it as one share: 0 is one's own voice, 1 as different as two people are.
    pub fn share(&self) -> f32 {
        let pitch = self.pitch_semitones / PITCH_APART;
        let moved = self.moved_percent / MOVED_APART;
        let colour = self.colour_db / COLOUR_APART;
        let apart = (pitch * pitch + moved * moved + colour * colour) / 3.0;
        if apart.is_finite() {
            apart.sqrt().min(1.0)
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moved_is_nothing_and_more_is_more() {
        let mut d = Difference {
            pitch_semitones: 0.0,
            resonances_percent: 0.0,
            moved_percent: 0.0,
            colour_db: 0.0,
        };
        assert_eq!(d.share(), 0.0);
        d.pitch_semitones = -4.0;
        let pitch = d.share();
        d.moved_percent = 12.0;
        assert!(pitch > 0.3 && d.share() > pitch && d.share() < 1.0);
        d.colour_db = f32::NAN;
        assert_eq!(d.share(), 0.0);
    }
}

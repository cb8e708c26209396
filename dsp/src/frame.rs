//! Frames of sound, and the types that keep an unmorphed voice from being encoded.

use crate::FRAME_SAMPLES;

/// Level reported for silence, in dBFS. Levels never go below it.
pub const LEVEL_FLOOR_DB: f32 = -96.0;

/// 20 ms of mono sound at 48 kHz: 960 samples, nominally within ±1.0.
#[derive(Clone, Debug, PartialEq)]
pub struct AudioFrame(pub [f32; FRAME_SAMPLES]);

impl AudioFrame {
    /// A frame of zeros.
    pub const SILENCE: Self = Self([0.0; FRAME_SAMPLES]);

    /// The samples, in time order.
    pub fn samples(&self) -> &[f32; FRAME_SAMPLES] {
        &self.0
    }

    /// Largest magnitude in the frame, linear. NaN samples are ignored.
    pub fn peak(&self) -> f32 {
        self.0.iter().fold(0.0, |peak, s| s.abs().max(peak))
    }

    /// Root mean square of the frame, linear.
    pub fn rms(&self) -> f32 {
        (self.0.iter().map(|s| s * s).sum::<f32>() / FRAME_SAMPLES as f32).sqrt()
    }

    /// Root mean square in dBFS (a full-scale square wave is 0), not below [`LEVEL_FLOOR_DB`].
    pub fn rms_db(&self) -> f32 {
        level_db(self.rms())
    }

    /// Whether no sample is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.0.iter().all(|s| s.is_finite())
    }
}

impl Default for AudioFrame {
    fn default() -> Self {
        Self::SILENCE
    }
}

/// A linear amplitude in dBFS, not below [`LEVEL_FLOOR_DB`]; the floor for NaN.
pub fn level_db(amplitude: f32) -> f32 {
    // `max` returns the other operand for NaN.
    (20.0 * amplitude.log10()).max(LEVEL_FLOOR_DB)
}

/// Sound straight from a microphone. It can be morphed and measured; it cannot be encoded.
#[derive(Clone, Debug, Default)]
pub struct RawPcm(pub AudioFrame);

/// Sound that has been through the morph (or silence). The only thing that can be encoded.
///
/// There is no public way to make one out of samples; only [`crate::Morpher`] does:
///
/// ```compile_fail
/// let frame = undertone_dsp::Morphed(undertone_dsp::AudioFrame::SILENCE);
/// ```
#[derive(Clone, Debug)]
pub struct Morphed(AudioFrame);

impl Morphed {
    /// Silence, which hides any voice.
    pub fn silence() -> Self {
        Self(AudioFrame::SILENCE)
    }

    /// The samples that others will hear, for the voice check and the sidetone.
    pub fn as_frame(&self) -> &AudioFrame {
        &self.0
    }

    /// For the morpher alone.
    pub(crate) fn from_morpher(frame: AudioFrame) -> Self {
        Self(frame)
    }
}

impl Default for Morphed {
    fn default() -> Self {
        Self::silence()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_known_frames() {
        assert_eq!(AudioFrame::SILENCE.rms_db(), LEVEL_FLOOR_DB);
        let half = AudioFrame([0.5; FRAME_SAMPLES]);
        assert!((half.rms_db() + 6.02).abs() < 0.01);
        assert_eq!(half.peak(), 0.5);
        assert_eq!(level_db(f32::NAN), LEVEL_FLOOR_DB);
    }

    #[test]
    fn nan_is_noticed() {
        let mut frame = AudioFrame::SILENCE;
        frame.0[7] = f32::NAN;
        assert!(!frame.is_finite());
        assert_eq!(frame.peak(), 0.0);
    }
}

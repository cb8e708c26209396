//! Brings speech to one level: WebRTC's AGC2, its parts put together as its own controller does, in memory of its own.

use sonora_agc2::adaptive_digital_gain_controller::{AdaptiveDigitalGainController, FrameInfo};
use sonora_agc2::common::{
    ADJACENT_SPEECH_FRAMES_THRESHOLD, MAX_ABS_FLOAT_S16_VALUE,
    SATURATION_PROTECTOR_INITIAL_HEADROOM_DB, SUB_FRAMES_IN_FRAME, float_s16_to_dbfs,
};
use sonora_agc2::fixed_digital_level_estimator::FixedDigitalLevelEstimator;
use sonora_agc2::interpolated_gain_curve::InterpolatedGainCurve;
use sonora_agc2::noise_level_estimator::NoiseLevelEstimator;
use sonora_agc2::saturation_protector::SaturationProtector;
use sonora_agc2::speech_level_estimator::{AdaptiveDigitalConfig, SpeechLevelEstimator};
use sonora_agc2::vad_wrapper::VoiceActivityDetectorWrapper;

use super::PIECE;
use crate::SAMPLE_RATE_HZ;

/// The limiter's gain goes straight from one of these to the next.
const SUB_FRAME: usize = PIECE / SUB_FRAMES_IN_FRAME as usize;

/// Raises by up to 30 dB, 3 dB a second, and limits what would clip.
pub(super) struct GainControl {
    voice: VoiceActivityDetectorWrapper,
    noise: NoiseLevelEstimator,
    speech: SpeechLevelEstimator,
    saturation: SaturationProtector,
    adaptive: AdaptiveDigitalGainController,
    level: FixedDigitalLevelEstimator,
    curve: InterpolatedGainCurve,
    limit: f32,
}

impl GainControl {
    pub(super) fn new() -> Self {
        let config = AdaptiveDigitalConfig {
            initial_gain_db: 6.0,
            max_gain_db: 30.0,
            max_gain_change_db_per_second: 3.0,
            ..AdaptiveDigitalConfig::default()
        };
        let frames = ADJACENT_SPEECH_FRAMES_THRESHOLD;
        let headroom_db = SATURATION_PROTECTOR_INITIAL_HEADROOM_DB;
        let backend = sonora_simd::detect_backend();
        Self {
            voice: VoiceActivityDetectorWrapper::new(backend, SAMPLE_RATE_HZ as i32),
            noise: NoiseLevelEstimator::default(),
            speech: SpeechLevelEstimator::new(&config, frames),
            saturation: SaturationProtector::new(headroom_db, frames),
            adaptive: AdaptiveDigitalGainController::new(config, frames),
            level: FixedDigitalLevelEstimator::new(PIECE),
            curve: InterpolatedGainCurve::default(),
            limit: 1.0,
        }
    }

    /// Levels 10 ms, without delay.
    pub(super) fn process(&mut self, piece: &mut [f32; PIECE]) {
        for sample in &mut *piece {
            *sample *= MAX_ABS_FLOAT_S16_VALUE;
        }
        let info = self.listen(piece);
        self.adaptive.process(&info, &mut [piece]);
        self.limit(piece);
        for sample in piece {
            *sample = (*sample / MAX_ABS_FLOAT_S16_VALUE).clamp(-1.0, 1.0);
        }
    }

    fn listen(&mut self, piece: &[f32; PIECE]) -> FrameInfo {
        let peak = piece.iter().fold(0.0_f32, |peak, s| peak.max(s.abs()));
        let power = piece.iter().map(|s| s * s).sum::<f32>() / PIECE as f32;
        let speech_probability = self.voice.analyze(piece);
        self.speech
            .update(float_s16_to_dbfs(power.sqrt()), speech_probability);
        let speech_level_dbfs = self.speech.level_dbfs();
        self.saturation.analyze(
            speech_probability,
            float_s16_to_dbfs(peak),
            speech_level_dbfs,
        );
        FrameInfo {
            speech_probability,
            speech_level_dbfs,
            speech_level_reliable: self.speech.is_confident(),
            noise_rms_dbfs: self.noise.analyze(&[piece]),
            headroom_db: self.saturation.headroom_db(),
            limiter_envelope_dbfs: float_s16_to_dbfs(self.level.last_audio_level()),
        }
    }

    fn limit(&mut self, piece: &mut [f32; PIECE]) {
        let levels = self.level.compute_level(&[piece]);
        for (samples, level) in piece.as_chunks_mut::<SUB_FRAME>().0.iter_mut().zip(levels) {
            let from = std::mem::replace(&mut self.limit, self.curve.look_up_gain_to_apply(level));
            // Down within the first samples, up evenly.
            let bend = if self.limit < from { 8 } else { 1 };
            for (i, sample) in samples.iter_mut().enumerate() {
                let way = 1.0 - i as f32 / SUB_FRAME as f32;
                *sample *= self.limit + way.powi(bend) * (from - self.limit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sonora::config::{AdaptiveDigital, GainController2, MaxProcessingRate, Pipeline};
    use sonora::{AudioProcessing, Config, StreamConfig};

    use super::*;
    use crate::testing::speech_like;

    /// The same parts, put together by the crate that they come from.
    fn theirs() -> AudioProcessing {
        AudioProcessing::builder()
            .config(Config {
                pipeline: Pipeline {
                    maximum_internal_processing_rate: MaxProcessingRate::Rate48kHz,
                    ..Pipeline::default()
                },
                gain_controller2: Some(GainController2 {
                    adaptive_digital: Some(AdaptiveDigital {
                        initial_gain_db: 6.0,
                        max_gain_db: 30.0,
                        max_gain_change_db_per_second: 3.0,
                        ..AdaptiveDigital::default()
                    }),
                    ..GainController2::default()
                }),
                ..Config::default()
            })
            .capture_config(StreamConfig::new(SAMPLE_RATE_HZ, 1))
            .build()
    }

    #[test]
    fn it_does_what_webrtc_does() {
        for level in [0.02, 0.3, 1.6] {
            let said: Vec<f32> = speech_like(20.0, 120.0)
                .iter()
                .map(|s| (level * s).clamp(-1.0, 1.0))
                .collect();
            let (mut ours, mut theirs) = (GainControl::new(), theirs());
            let (mut power, mut off) = (0.0, 0.0);
            for said in said.as_chunks::<PIECE>().0 {
                let (mut a, mut b) = (*said, [0.0; PIECE]);
                ours.process(&mut a);
                theirs.process_capture_f32(&[said], &mut [&mut b]).unwrap();
                power += b.iter().map(|s| s * s).sum::<f32>();
                off += a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
            }
            assert!(power > 1.0, "{level}: {power}");
            assert!(off < 1e-4 * power, "{level}: {off} of {power}");
        }
    }
}

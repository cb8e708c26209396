//! What is played, taken out of what the microphone hears.
//!
//! WebRTC's AEC3 on the core at 16 kHz. Above it, where the morph lets nothing of the microphone through but a
//! level, the band follows what the canceller left of the core's upper half.
//!
//! AEC3's own settings give way to the far voice: while both talk it mutes what is said as soon as it doubts. Here
//! the linear filter is longer (a living room's reflections, not a telephone's) and steadier, it is trusted for what
//! it was seen to take out, and while the near voice is the louder one little is muted. `sound-check --echo` measures
//! both sides: what is left of the echo, and the words of who talks over it.

use sonora_aec3::block::Block;
use sonora_aec3::block_processor::BlockProcessor;
use sonora_aec3::common::BLOCK_SIZE;
use sonora_aec3::config::EchoCanceller3Config;

use std::time::Duration;

use super::clock::Clock;
use crate::filters::{Biquad, CORE_HOP, Decimator, HOP, Interpolator, TAPS};
use crate::{AudioFrame, DriftResampler, DspError, FRAME_SAMPLES};

const CORE_RATE_HZ: u32 = 16_000;
const RATIO: usize = HOP / CORE_HOP;
const CORE_FRAME: usize = FRAME_SAMPLES / RATIO;
/// AEC3 gives back the block before the one that it takes.
const CORE_DELAY: usize = BLOCK_SIZE;
/// 6 ms: AEC3, and to the core and back.
const DELAY: usize = CORE_DELAY * RATIO + TAPS - RATIO;
/// From the core back to 48 kHz, in the core's samples.
const UP_DELAY: usize = TAPS / (2 * RATIO);
pub(super) const RUMBLE_HZ: f32 = 80.0;
/// AEC3 works in the units of 16-bit samples.
const FULL_SCALE: f32 = 32_768.0;
/// At this level the microphone is taken for overloaded.
const OVERLOAD: f32 = 0.998;
/// Share of the way that the band above the core goes back up in 4 ms; down it goes at once.
const RISE: f32 = 0.3;
/// Power a sample, −80 dBFS, below which nothing is worth turning down.
const FLOOR: f32 = 1e-8;

/// Takes one loudspeaker out of one microphone.
pub(super) struct EchoCanceller {
    processor: BlockProcessor,
    block: Block,
    played: Decimator,
    /// By the microphone's clock, which is not the loudspeaker's where they are two devices.
    played_in_time: DriftResampler,
    clock: Clock,
    high_pass: Biquad,
    down: Decimator,
    up: Interpolator,
    /// The microphone, and its core, until the cleaned core comes back.
    late: [f32; DELAY + FRAME_SAMPLES],
    late_core: [f32; CORE_DELAY + CORE_FRAME],
    /// Gain of the band above the core for each sample of the core, until that is back at 48 kHz.
    gains: [f32; UP_DELAY + CORE_FRAME],
}

impl EchoCanceller {
    pub(super) fn new() -> Result<Self, DspError> {
        let mut this = Self {
            processor: BlockProcessor::new(&settings(), CORE_RATE_HZ as usize, 1, 1),
            block: Block::new(1, 1),
            played: Decimator::new(),
            played_in_time: DriftResampler::by_chunks(CORE_RATE_HZ, CORE_RATE_HZ, BLOCK_SIZE)?,
            clock: Clock::default(),
            high_pass: Biquad::high_pass(RUMBLE_HZ),
            down: Decimator::new(),
            up: Interpolator::new(),
            late: [0.0; DELAY + FRAME_SAMPLES],
            late_core: [0.0; CORE_DELAY + CORE_FRAME],
            gains: [1.0; UP_DELAY + CORE_FRAME],
        };
        // Until it heard anything AEC3 would pass the microphone on without its delay.
        this.processor.buffer_render(&this.block);
        Ok(this)
    }

    /// Hears what begins to be played at `at`, by the clock of the microphone's frames.
    pub(super) fn hear(&mut self, played: &AudioFrame, at: Duration) {
        self.clock.observe(at);
        self.played_in_time.set_drift(self.clock.drift());
        self.played_in_time
            .push(to_core(&mut self.played, &played.0));
        let mut samples = [0.0; BLOCK_SIZE];
        while self.played_in_time.pull(&mut samples) {
            fill(&mut self.block, &samples);
            self.processor.buffer_render(&self.block);
        }
    }

    /// Takes the echo out of 20 ms, which come out 6 ms later.
    pub(super) fn process(&mut self, frame: &mut AudioFrame) {
        let is_overloaded = frame.0.iter().any(|s| s.abs() >= OVERLOAD);
        for sample in &mut frame.0 {
            *sample = self.high_pass.step(*sample);
        }
        self.high_pass.flush_denormals();
        let mut core = to_core(&mut self.down, &frame.0);
        push(&mut self.late, &frame.0);
        push(&mut self.late_core, &core);
        self.gains.copy_within(CORE_FRAME.., 0);
        for (i, samples) in core.as_chunks_mut::<BLOCK_SIZE>().0.iter_mut().enumerate() {
            fill(&mut self.block, samples);
            (self.processor).process_capture(false, is_overloaded, None, &mut self.block);
            for (sample, cleaned) in samples.iter_mut().zip(self.block.view(0, 0)) {
                *sample = cleaned / FULL_SCALE;
            }
            let at = i * BLOCK_SIZE;
            let target = left(&self.late_core[at..][..BLOCK_SIZE], samples);
            glide(&mut self.gains[UP_DELAY + at - 1..][..=BLOCK_SIZE], target);
        }
        // To the cleaned core comes the band above it: the microphone less its core.
        for (i, sample) in core.iter_mut().enumerate() {
            *sample -= self.gains[UP_DELAY + i] * self.late_core[i];
        }
        let made = to_rate(&mut self.up, &core);
        for (i, sample) in frame.0.iter_mut().enumerate() {
            *sample = made[i] + self.gains[i / RATIO] * self.late[i];
        }
    }
}

/// AEC3's settings, where they are not its own.
fn settings() -> EchoCanceller3Config {
    let mut settings = EchoCanceller3Config::default();
    let filter = &mut settings.filter;
    for length in [
        &mut filter.refined.length_blocks,
        &mut filter.refined_initial.length_blocks,
        &mut filter.coarse.length_blocks,
        &mut filter.coarse_initial.length_blocks,
    ] {
        // 80 ms of reflections: longer filters take in more of a real room, but learn slower.
        *length = 20;
    }
    filter.refined.leakage_diverged = 0.002;
    filter.coarse.rate = 0.15;
    settings.erle.max_l = 100.0;
    settings.erle.max_h = 100.0;
    settings.ep_strength.default_len = 0.4;
    settings.ep_strength.nearend_len = 0.4;
    settings
        .ep_strength
        .use_conservative_tail_frequency_response = false;
    let detection = &mut settings.suppressor.dominant_nearend_detection;
    // After 16 ms, not 48, the near voice is believed to be the louder one, and for 400 ms: words have soft ends.
    (detection.trigger_threshold, detection.hold_duration) = (4, 100);
    let near = &mut settings.suppressor.nearend_tuning;
    (near.mask_lf.enr_transparent, near.mask_lf.enr_suppress) = (30.0, 60.0);
    (near.mask_hf.enr_transparent, near.mask_hf.enr_suppress) = (15.0, 30.0);
    settings
}

fn fill(block: &mut Block, samples: &[f32; BLOCK_SIZE]) {
    for (to, from) in block.view_mut(0, 0).iter_mut().zip(samples) {
        *to = FULL_SCALE * from;
    }
}

fn to_core(down: &mut Decimator, samples: &[f32; FRAME_SAMPLES]) -> [f32; CORE_FRAME] {
    let mut core = [0.0; CORE_FRAME];
    let hops = samples.as_chunks::<HOP>().0.iter();
    for (hop, core) in hops.zip(core.as_chunks_mut::<CORE_HOP>().0) {
        down.process(hop, core);
    }
    core
}

fn to_rate(up: &mut Interpolator, core: &[f32; CORE_FRAME]) -> [f32; FRAME_SAMPLES] {
    let mut samples = [0.0; FRAME_SAMPLES];
    let hops = core.as_chunks::<CORE_HOP>().0.iter();
    for (core, hop) in hops.zip(samples.as_chunks_mut::<HOP>().0) {
        up.process(core, hop);
    }
    samples
}

/// Appends to a line, and forgets as much.
fn push(line: &mut [f32], samples: &[f32]) {
    line.copy_within(samples.len().., 0);
    let from = line.len() - samples.len();
    line[from..].copy_from_slice(samples);
}

/// Share of the level that the canceller left of a block's upper half, 1 at most.
fn left(before: &[f32], after: &[f32]) -> f32 {
    let upper = |samples: &[f32]| {
        samples
            .windows(2)
            .map(|w| (w[1] - w[0]).powi(2))
            .sum::<f32>()
            + FLOOR * BLOCK_SIZE as f32
    };
    (upper(after) / upper(before)).sqrt().min(1.0)
}

/// Moves from the first gain to the target, or part of the way up to it, by the last.
fn glide(gains: &mut [f32], target: f32) {
    let from = gains[0];
    let to = if target < from {
        target
    } else {
        from + RISE * (target - from)
    };
    let step = (to - from) / (gains.len() - 1) as f32;
    for (i, gain) in gains.iter_mut().enumerate() {
        *gain = from + step * i as f32;
    }
}

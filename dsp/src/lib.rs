//! The sound of Undertone: samples in, samples out.
//!
//! ```text
//! RawPcm ── Cleaner ──► RawPcm
//! RawPcm ── Morpher ──► Morphed ── Opus ──► OpusFrame          (SendChain)
//! OpusFrame ── jitter buffer ── Opus ── gain ── mix ── limiter ──► AudioFrame   (ReceiveChain)
//! ```
//!
//! What the types promise: a microphone's samples are a [`RawPcm`], and nothing in this crate encodes
//! a `RawPcm`. Only [`morph::Morpher`] turns one into a [`Morphed`], and only a `Morphed` can become an
//! [`OpusFrame`]. Where morphing fails, silence is coded instead and [`SendChain::health`] says so.
//!
//! What this crate deliberately lacks: threads, clocks, files, sockets, devices and global randomness.
//! Time is a parameter, randomness comes from a [`MorphSeed`], and whoever owns a device owns its rings.
//! It cannot write audio anywhere; WAV code is a dev-dependency of the examples. After construction both chains
//! do not allocate; [`Cleaner`] does, and belongs on a thread of its own pace.

mod chain;
mod cleanup;
mod codec;
mod error;
mod filters;
mod frame;
mod jitter;
mod mixer;
pub mod morph;
mod playout;
mod resample;
mod stretch;
#[cfg(test)]
mod testing;

pub use chain::{
    Health, MAX_STREAMS, Played, PlayedKind, ReceiveChain, SendChain, SendFrame, StreamId,
    StreamStats,
};
pub use cleanup::{CleanUp, Cleaner};
pub use codec::{OpusFrame, Redundancy, VoiceDecoder, VoiceEncoder};
pub use error::DspError;
pub use frame::{AudioFrame, LEVEL_FLOOR_DB, Morphed, RawPcm, level_db};
pub use jitter::{MAX_DELAY, MIN_DELAY};
pub use morph::{Character, Difference, MorphSeed, Morpher};
pub use resample::{
    CaptureResampler, DriftResampler, MAX_DEVICE_CHANNELS, MAX_DRIFT, PlaybackResampler,
};

use std::time::Duration;

/// Sample rate of every frame in this crate, in hertz.
pub const SAMPLE_RATE_HZ: u32 = 48_000;
/// Samples in one frame: 20 ms of mono sound.
pub const FRAME_SAMPLES: usize = 960;
/// Bytes of one coded frame. 32 kb/s hard CBR at 20 ms: every packet has this size, silence too.
pub const OPUS_FRAME_BYTES: usize = 80;
/// Length of one frame.
pub const FRAME_DURATION: Duration = Duration::from_millis(20);

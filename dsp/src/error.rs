//! What can go wrong outside the audio path: inside it, errors become silence or concealment.

use crate::chain::StreamId;

/// One variant per broken rule.
#[derive(Debug, thiserror::Error)]
pub enum DspError {
    /// libopus refused a setting or a packet.
    #[error("opus: {0}")]
    Libopus(String),
    /// A packet that is none.
    #[error("opus: {0}")]
    Packet(#[from] opus::Error),
    /// A packet says nothing about that frame before it.
    #[error("the packet does not describe that frame")]
    NotDescribed,
    /// A coded frame has the wrong length.
    #[error("a coded frame is {expected} bytes, not {found}", expected = crate::OPUS_FRAME_BYTES)]
    FrameLength {
        /// Length that was offered, in bytes.
        found: usize,
    },
    /// A packet that is not one 20 ms Opus frame.
    #[error("the packet does not hold exactly one 20 ms frame")]
    NotOneFrame,
    /// More speakers than [`crate::MAX_STREAMS`].
    #[error("already {limit} streams", limit = crate::MAX_STREAMS)]
    StreamLimit,
    /// The stream exists already.
    #[error("stream {0:?} exists already")]
    StreamExists(StreamId),
    /// A device format that the resampler does not serve.
    #[error("unsupported device format: {rate_hz} Hz, {channels} channels")]
    DeviceFormat {
        /// Device sample rate, in hertz.
        rate_hz: u32,
        /// Device channel count.
        channels: usize,
    },
    /// The resampler could not be built or run.
    #[error("resampler: {0}")]
    Resampler(String),
}

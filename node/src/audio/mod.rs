//! Sound devices and the two threads that carry a voice.
//!
//! ```text
//! device callback ─ring─► voice-send ── LocalFrame every 20 ms ──► the driver
//! the driver ── push(stream, sequence, opus) ──► voice-receive ─ring─► device callback
//! ```
//!
//! Each thing has one owner: the callbacks own one end of a lock-free ring and nothing else; `voice-send` owns
//! the `SendChain` and keeps the program's own clock; `voice-receive` owns the `ReceiveChain` and follows the
//! output device's clock; `voice-mic` and `voice-speaker` open and close devices, because that may take the
//! system seconds and nothing that must be on time may wait for it.
//!
//! What this module deliberately lacks: sockets, keys, any rule about whose turn it is (it is told), and any
//! way to write sound to a file. The unmorphed voice exists in the capture ring and in `voice-send` only.

mod capture;
mod error;
mod keeper;
mod levels;
mod memory;
mod receive;
mod ring;
mod send;
mod shared;
mod system;
mod voice;

use std::sync::OnceLock;
use std::time::{Duration, Instant};

pub use crate::api::{Device, DeviceId};
pub use error::{AudioError, Direction};
pub use levels::SILENCE_DB;
pub use memory::{MemoryHost, SilentHost};
pub use ring::{CaptureSink, CaptureWriter, PlaybackReader, PlaybackSource};
pub use shared::{Diagnostics, LocalFrame, Mode, Observer, StreamStatus, VoiceStatus};
pub use system::SystemHost;
pub use voice::{Voice, VoiceConfig, VoiceHandle};

/// Where devices come from: the system, or memory.
///
/// Every method may wait for the system, so none belongs on a thread that must be on time.
pub trait AudioHost: Send + Sync + 'static {
    /// Microphones one can choose.
    ///
    /// # Errors
    /// [`AudioError::Listing`] if the system cannot say.
    fn inputs(&self) -> Result<Vec<Device>, AudioError>;

    /// Headphones and loudspeakers one can choose.
    ///
    /// # Errors
    /// [`AudioError::Listing`] if the system cannot say.
    fn outputs(&self) -> Result<Vec<Device>, AudioError>;

    /// Opens a microphone (`None` is the system's default) and starts it: from now on its callback writes
    /// into a writer made of `sink`. Dropping what is returned closes it.
    ///
    /// # Errors
    /// Why it does not open.
    fn open_input(
        &self,
        device: Option<&DeviceId>,
        sink: CaptureSink,
    ) -> Result<Box<dyn OpenDevice>, AudioError>;

    /// Opens headphones or a loudspeaker likewise; its callback reads from a reader made of `source`.
    ///
    /// # Errors
    /// Why it does not open.
    fn open_output(
        &self,
        device: Option<&DeviceId>,
        source: PlaybackSource,
    ) -> Result<Box<dyn OpenDevice>, AudioError>;
}

/// A device in use, until it is dropped.
pub trait OpenDevice: Send {
    /// How its samples come.
    fn format(&self) -> Format;

    /// What is wrong with it now, if anything. Asked about ten times a second. Callbacks that no longer come
    /// need not be noticed here: whoever keeps the device watches for that.
    fn failure(&self) -> Option<AudioError>;
}

/// How a device's samples come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Sample rate, hertz.
    pub rate_hz: u32,
    /// Samples in each group.
    pub channels: u16,
}

/// The program's own clock: time since it was first asked. Never goes back.
pub(crate) fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

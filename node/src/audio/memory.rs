//! Devices made of memory, paced in real time: for tests, for the circle in a box, for the companions of the
//! practice circle; and a machine with no devices at all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ring::{CaptureSink, PlaybackSource};
use super::shared::lock;
use super::{AudioError, AudioHost, Device, DeviceId, Direction, Format, OpenDevice};

/// What a memory microphone says: fills 960 mono samples at 48 kHz at the instant the last of them was spoken.
pub type Speak = Box<dyn FnMut(&mut [f32]) + Send>;
/// What a memory loudspeaker plays: mono samples at 48 kHz, and when the first of them leaves it.
pub type Listen = Box<dyn FnMut(&[f32], Instant) + Send>;

const RATE_HZ: u32 = 48_000;
const FORMAT: Format = Format {
    rate_hz: RATE_HZ,
    channels: 1,
};
/// The microphone brings 20 ms at a time.
const INPUT_SAMPLES: usize = 960;
/// The loudspeaker takes 10 ms at a time, and plays them when it takes the next.
pub(crate) const OUTPUT_SAMPLES: usize = 480;
/// A schedule further behind than this begins afresh: the sound of that time is lost, as with a real device.
const MOST_BEHIND: Duration = Duration::from_millis(200);

/// One microphone and one loudspeaker, made of closures. Closures are called only while a device is open.
pub struct MemoryHost {
    input: Arc<Line<Speak>>,
    output: Arc<Line<Listen>>,
}

/// One device: what it does, and what has been done to it.
struct Line<F> {
    closure: Mutex<F>,
    ppm: f64,
    is_unplugged: AtomicBool,
    is_stalled: AtomicBool,
    is_open: AtomicBool,
}

impl<F> Line<F> {
    fn new(closure: F, ppm: f64) -> Arc<Self> {
        Arc::new(Self {
            closure: Mutex::new(closure),
            ppm,
            is_unplugged: AtomicBool::new(false),
            is_stalled: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
        })
    }
}

impl MemoryHost {
    /// Devices that keep exact time. `output` gets 480 samples at a time.
    pub fn new(input: Speak, output: Listen) -> Self {
        Self::with_skew(input, output, 0.0, 0.0)
    }

    /// Devices whose clocks run fast by so many parts per million (slow, if negative).
    pub fn with_skew(input: Speak, output: Listen, input_ppm: f64, output_ppm: f64) -> Self {
        Self {
            input: Line::new(input, input_ppm),
            output: Line::new(output, output_ppm),
        }
    }

    /// Takes a device away, or brings it back: the one in use fails, and none opens meanwhile.
    pub fn unplug(&self, direction: Direction, unplugged: bool) {
        match direction {
            Direction::Input => self.input.is_unplugged.store(unplugged, Ordering::Release),
            Direction::Output => self.output.is_unplugged.store(unplugged, Ordering::Release),
        }
    }

    /// Makes a device's callbacks stop coming without a word, as Bluetooth devices do, or come again.
    pub fn stall(&self, direction: Direction, stalled: bool) {
        match direction {
            Direction::Input => self.input.is_stalled.store(stalled, Ordering::Release),
            Direction::Output => self.output.is_stalled.store(stalled, Ordering::Release),
        }
    }

    /// Whether a device is open now.
    pub fn is_open(&self, direction: Direction) -> bool {
        match direction {
            Direction::Input => self.input.is_open.load(Ordering::Acquire),
            Direction::Output => self.output.is_open.load(Ordering::Acquire),
        }
    }

    /// What the one device of this direction is called.
    pub fn device(direction: Direction) -> Device {
        let name = match direction {
            Direction::Input => "memory-microphone",
            Direction::Output => "memory-headphones",
        };
        Device {
            id: DeviceId(name.to_owned()),
            name: name.replace('-', " "),
            is_default: true,
        }
    }

    fn list<F>(line: &Line<F>, direction: Direction) -> Vec<Device> {
        let is_there = !line.is_unplugged.load(Ordering::Acquire);
        is_there
            .then(|| Self::device(direction))
            .into_iter()
            .collect()
    }

    fn check<F>(
        line: &Line<F>,
        direction: Direction,
        device: Option<&DeviceId>,
    ) -> Result<(), AudioError> {
        let is_there = !line.is_unplugged.load(Ordering::Acquire);
        match device {
            None if is_there => Ok(()),
            None => Err(AudioError::NoDevice(direction)),
            Some(id) if is_there && *id == Self::device(direction).id => Ok(()),
            Some(_) => Err(AudioError::NotThere(direction)),
        }
    }
}

impl AudioHost for MemoryHost {
    fn inputs(&self) -> Result<Vec<Device>, AudioError> {
        Ok(Self::list(&self.input, Direction::Input))
    }

    fn outputs(&self) -> Result<Vec<Device>, AudioError> {
        Ok(Self::list(&self.output, Direction::Output))
    }

    fn open_input(
        &self,
        device: Option<&DeviceId>,
        sink: CaptureSink,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        Self::check(&self.input, Direction::Input, device)?;
        let mut writer = sink.writer(FORMAT);
        let mut samples = vec![0.0; INPUT_SAMPLES];
        let line = self.input.clone();
        MemoryDevice::start(
            Direction::Input,
            self.input.clone(),
            INPUT_SAMPLES,
            move |_| {
                (lock(&line.closure))(&mut samples);
                writer.write(&samples, |s| s);
            },
        )
    }

    fn open_output(
        &self,
        device: Option<&DeviceId>,
        source: PlaybackSource,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        Self::check(&self.output, Direction::Output, device)?;
        let mut reader = source.reader(FORMAT);
        let mut samples = vec![0.0; OUTPUT_SAMPLES];
        let line = self.output.clone();
        MemoryDevice::start(
            Direction::Output,
            self.output.clone(),
            OUTPUT_SAMPLES,
            move |next| {
                reader.read(&mut samples, |s| s);
                (lock(&line.closure))(&samples, next);
            },
        )
    }
}

struct MemoryDevice<F: Send + 'static> {
    direction: Direction,
    line: Arc<Line<F>>,
    closing: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl<F: Send + 'static> MemoryDevice<F> {
    /// Calls `callback` whenever so many samples have gone by, with the instant of the next time.
    fn start(
        direction: Direction,
        line: Arc<Line<F>>,
        samples: usize,
        mut callback: impl FnMut(Instant) + Send + 'static,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        let closing = Arc::new((Mutex::new(false), Condvar::new()));
        let (line_, closing_) = (line.clone(), closing.clone());
        let rate_hz = f64::from(RATE_HZ) * (1.0 + line.ppm / 1e6);
        let period = Duration::from_secs_f64(samples as f64 / rate_hz);
        let body = move || {
            let mut due = Instant::now() + period;
            while !closes_before(&closing_, due) && !line_.is_unplugged.load(Ordering::Acquire) {
                if !line_.is_stalled.load(Ordering::Acquire) {
                    callback(due + period);
                }
                due += period;
                if due + MOST_BEHIND < Instant::now() {
                    due = Instant::now() + period;
                }
            }
        };
        let name = match direction {
            Direction::Input => "memory-mic",
            Direction::Output => "memory-speaker",
        };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body)
            .map_err(|e| AudioError::Failed {
                direction,
                detail: e.to_string(),
            })?;
        line.is_open.store(true, Ordering::Release);
        Ok(Box::new(Self {
            direction,
            line,
            closing,
            thread: Some(thread),
        }))
    }
}

/// Waits until `due`; true if the device is closed first.
fn closes_before(closing: &(Mutex<bool>, Condvar), due: Instant) -> bool {
    let mut closes = lock(&closing.0);
    while !*closes {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        closes = closing
            .1
            .wait_timeout(closes, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    true
}

impl<F: Send + 'static> OpenDevice for MemoryDevice<F> {
    fn format(&self) -> Format {
        FORMAT
    }

    fn failure(&self) -> Option<AudioError> {
        self.line
            .is_unplugged
            .load(Ordering::Acquire)
            .then_some(AudioError::Unplugged(self.direction))
    }
}

impl<F: Send + 'static> Drop for MemoryDevice<F> {
    fn drop(&mut self) {
        *lock(&self.closing.0) = true;
        self.closing.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.line.is_open.store(false, Ordering::Release);
    }
}

/// A machine with no sound devices at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentHost;

impl AudioHost for SilentHost {
    fn inputs(&self) -> Result<Vec<Device>, AudioError> {
        Ok(Vec::new())
    }

    fn outputs(&self) -> Result<Vec<Device>, AudioError> {
        Ok(Vec::new())
    }

    fn open_input(
        &self,
        device: Option<&DeviceId>,
        _: CaptureSink,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        Err(missing(Direction::Input, device))
    }

    fn open_output(
        &self,
        device: Option<&DeviceId>,
        _: PlaybackSource,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        Err(missing(Direction::Output, device))
    }
}

pub(crate) fn missing(direction: Direction, device: Option<&DeviceId>) -> AudioError {
    match device {
        None => AudioError::NoDevice(direction),
        Some(_) => AudioError::NotThere(direction),
    }
}

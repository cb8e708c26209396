//! Devices of the system, through cpal: PulseAudio (or PipeWire in its place) where it runs, else ALSA; on
//! other systems their own.
//!
//! Buffer sizes are those that were measured: 10 ms on PulseAudio, whose default would hold two seconds and
//! where 5 ms starve on a busy machine; 1024 samples on ALSA, where less ends in a storm of underruns.

use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig, SupportedBufferSize,
};

use super::keeper::WARM_UP;
use super::memory::missing;
use super::ring::{CaptureSink, Meter, PlaybackSource};
use super::shared::lock;
use super::{AudioError, AudioHost, Device, DeviceId, Direction, Format, OpenDevice, monotonic};

/// How long the system may take to open a device.
const OPENING: Duration = Duration::from_secs(3);
/// How often it is checked that a device is still listed.
const LOOK: Duration = Duration::from_millis(200);
/// How often its pace is measured, and the share of real time that is too slow.
const PACE: Duration = Duration::from_millis(500);
const LEAST_PACE: f64 = 0.97;
/// Nothing but zeros for this long means that a switch is off.
const QUIET: Duration = Duration::from_secs(10);

/// ALSA names that are plumbing, or the same device once more.
const ALSA_PLUMBING: [&str; 16] = [
    "null",
    "samplerate",
    "speexrate",
    "lavrate",
    "upmix",
    "vdownmix",
    "surround",
    "dmix",
    "dsnoop",
    "hw:",
    "usbstream",
    "iec958",
    "front:",
    "speex",
    "oss",
    "plughw:",
];

/// The system's devices.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemHost;

impl SystemHost {
    /// The devices of this machine. Connects to nothing before it is asked for them.
    pub fn new() -> Self {
        Self
    }
}

impl AudioHost for SystemHost {
    fn inputs(&self) -> Result<Vec<Device>, AudioError> {
        list(Direction::Input)
    }

    fn outputs(&self) -> Result<Vec<Device>, AudioError> {
        list(Direction::Output)
    }

    fn open_input(
        &self,
        device: Option<&DeviceId>,
        sink: CaptureSink,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        open(device, End::Input(sink))
    }

    fn open_output(
        &self,
        device: Option<&DeviceId>,
        source: PlaybackSource,
    ) -> Result<Box<dyn OpenDevice>, AudioError> {
        open(device, End::Output(source))
    }
}

static HOST: Mutex<Option<Arc<cpal::Host>>> = Mutex::new(None);

/// The connection to the sound server, made once: cpal's thread for it never ends while the server lives.
fn host() -> Result<Arc<cpal::Host>, cpal::Error> {
    let known = lock(&HOST).clone();
    // Asks the server; fails when it has ended or was started again since.
    if let Some(host) = known.filter(|host| host.devices().is_ok()) {
        return Ok(host);
    }
    let mut kept = lock(&HOST);
    *kept = None;
    let mut last = cpal::Error::new(ErrorKind::HostUnavailable);
    for id in cpal::available_hosts() {
        match cpal::host_from_id(id) {
            Ok(host) => {
                let host = Arc::new(host);
                if is_pulse(&host) {
                    *kept = Some(host.clone());
                }
                return Ok(host);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn is_pulse(host: &cpal::Host) -> bool {
    host.id().name() == "PulseAudio"
}

/// Whether a person would call this a device: not plumbing, and not a recording of what the loudspeaker plays,
/// which would send other people's voices back to them.
fn is_for_people(id: &cpal::DeviceId, direction: Direction) -> bool {
    let name = id.id();
    match id.host().name() {
        "PulseAudio" => direction == Direction::Output || !name.ends_with(".monitor"),
        "ALSA" => !ALSA_PLUMBING
            .iter()
            .any(|plumbing| name.starts_with(plumbing)),
        _ => true,
    }
}

fn serves(device: &cpal::Device, direction: Direction) -> bool {
    match direction {
        Direction::Input => device.supports_input(),
        Direction::Output => device.supports_output(),
    }
}

fn default_device(host: &cpal::Host, direction: Direction) -> Option<cpal::Device> {
    match direction {
        Direction::Input => host.default_input_device(),
        Direction::Output => host.default_output_device(),
    }
}

fn list(direction: Direction) -> Result<Vec<Device>, AudioError> {
    let failed = |error: cpal::Error| AudioError::Listing {
        direction,
        detail: error.to_string(),
    };
    let host = host().map_err(failed)?;
    let default = default_device(&host, direction).and_then(|device| device.id().ok());
    let mut found = Vec::new();
    for device in host.devices().map_err(failed)? {
        let Ok(id) = device.id() else { continue };
        if !serves(&device, direction) || !is_for_people(&id, direction) {
            continue;
        }
        let name = device
            .description()
            .map_or_else(|_| id.id().to_owned(), |d| d.name().to_owned());
        found.push(Device {
            is_default: default.as_ref() == Some(&id),
            id: DeviceId(id.to_string()),
            name,
        });
    }
    Ok(found)
}

fn find(
    host: &cpal::Host,
    direction: Direction,
    device: Option<&DeviceId>,
) -> Result<cpal::Device, AudioError> {
    let missing = || missing(direction, device);
    match device {
        Some(DeviceId(id)) => {
            let id = cpal::DeviceId::from_str(id).map_err(|_| missing())?;
            host.device_by_id(&id)
                .filter(|found| serves(found, direction))
                .ok_or_else(missing)
        }
        // Where there is no microphone, PulseAudio offers a loudspeaker's monitor.
        None => default_device(host, direction)
            .filter(|found| found.id().is_ok_and(|id| is_for_people(&id, direction)))
            .ok_or_else(missing),
    }
}

enum End {
    Input(CaptureSink),
    Output(PlaybackSource),
}

impl End {
    fn direction(&self) -> Direction {
        match self {
            Self::Input(_) => Direction::Input,
            Self::Output(_) => Direction::Output,
        }
    }

    fn meter(&self) -> &Arc<Meter> {
        match self {
            Self::Input(sink) => &sink.meter,
            Self::Output(source) => &source.meter,
        }
    }
}

fn open(device: Option<&DeviceId>, end: End) -> Result<Box<dyn OpenDevice>, AudioError> {
    let direction = end.direction();
    let explain = |error: cpal::Error| explain(&error, direction, device);
    let host = host().map_err(explain)?;
    let device = find(&host, direction, device)?;
    let offered = match direction {
        Direction::Input => device.default_input_config(),
        Direction::Output => device.default_output_config(),
    };
    let offered = offered.map_err(explain)?;
    let rate_hz = offered.sample_rate();
    let (wanted, sample_format) = match host.id().name() {
        // PulseAudio's server converts for nothing; elsewhere the device's own format is taken.
        "PulseAudio" => (rate_hz / 100, SampleFormat::F32),
        "ALSA" => (1_024, offered.sample_format()),
        _ => (480, offered.sample_format()),
    };
    let wanted = match *offered.buffer_size() {
        SupportedBufferSize::Range { min, max } => wanted.clamp(min, max.max(min)),
        SupportedBufferSize::Unknown => wanted,
    };
    let config = StreamConfig {
        channels: offered.channels(),
        sample_rate: rate_hz,
        buffer_size: BufferSize::Fixed(wanted),
    };
    let watched = is_pulse(&host).then(|| device.id().ok()).flatten();
    let mut open = SystemDevice {
        device,
        config,
        sample_format,
        end,
        watched,
        running: Mutex::default(),
    };
    let mut started = open.start(config);
    // A size of its own is better than no sound; on PulseAudio it would mean two seconds.
    let is_refused = started
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::UnsupportedConfig);
    if is_refused && !is_pulse(&host) {
        open.config.buffer_size = BufferSize::Default;
        started = open.start(open.config);
    }
    started.map_err(explain)?;
    Ok(Box::new(open))
}

fn build(
    device: &cpal::Device,
    config: StreamConfig,
    format: SampleFormat,
    end: &End,
    health: &Arc<Health>,
) -> Result<cpal::Stream, cpal::Error> {
    match format {
        SampleFormat::F32 => build_as::<f32>(device, config, end, health),
        SampleFormat::F64 => build_as::<f64>(device, config, end, health),
        SampleFormat::I16 => build_as::<i16>(device, config, end, health),
        SampleFormat::U16 => build_as::<u16>(device, config, end, health),
        SampleFormat::I32 => build_as::<i32>(device, config, end, health),
        SampleFormat::U32 => build_as::<u32>(device, config, end, health),
        SampleFormat::I24 => build_as::<cpal::I24>(device, config, end, health),
        SampleFormat::U24 => build_as::<cpal::U24>(device, config, end, health),
        SampleFormat::I8 => build_as::<i8>(device, config, end, health),
        SampleFormat::U8 => build_as::<u8>(device, config, end, health),
        _ => Err(cpal::Error::new(ErrorKind::UnsupportedConfig)),
    }
}

fn build_as<T>(
    device: &cpal::Device,
    config: StreamConfig,
    end: &End,
    health: &Arc<Health>,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample + FromSample<f32> + Send + 'static,
    f32: FromSample<T>,
{
    let format = Format {
        rate_hz: config.sample_rate,
        channels: config.channels,
    };
    let health = health.clone();
    let failed = move |error: cpal::Error| health.take_in(error.kind());
    match end {
        End::Input(sink) => {
            let mut writer = sink.writer(format);
            let heard = move |data: &[T], _: &cpal::InputCallbackInfo| {
                writer.write(data, f32::from_sample_)
            };
            device.build_input_stream(config, heard, failed, Some(OPENING))
        }
        End::Output(source) => {
            let mut reader = source.reader(format);
            let play = move |data: &mut [T], _: &cpal::OutputCallbackInfo| {
                reader.read(data, T::from_sample_)
            };
            device.build_output_stream(config, play, failed, Some(OPENING))
        }
    }
}

/// What the error callback has seen. It may be called in a storm, and from the audio callback: two stores.
#[derive(Default)]
struct Health {
    fatal: AtomicU8,
    hiccups: AtomicU32,
}

impl Health {
    fn take_in(&self, kind: ErrorKind) {
        match kind {
            // `DeviceChanged`: the system has put another device in its place, and nobody asked.
            ErrorKind::DeviceNotAvailable
            | ErrorKind::DeviceChanged
            | ErrorKind::HostUnavailable
            | ErrorKind::StreamInvalidated => self.fatal.store(1, Ordering::Relaxed),
            ErrorKind::PermissionDenied => self.fatal.store(2, Ordering::Relaxed),
            // Glitches, which the stream survives: ALSA's plug-in for PulseAudio, for one, calls a stream that
            // is being opened an input/output error some twenty times in a millisecond. Where nothing comes
            // after one, the keeper sees the silence.
            _ => {
                self.hiccups.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// An open device. PulseAudio starves a stream whose buffer is too small for a busy machine, without telling,
/// so it is measured whether sound passes at the pace of time; where it does not, the buffer is doubled.
struct SystemDevice {
    device: cpal::Device,
    config: StreamConfig,
    sample_format: SampleFormat,
    end: End,
    /// PulseAudio moves a stream to another device when its own goes away, without a word: so it is looked for.
    watched: Option<cpal::DeviceId>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    stream: Option<cpal::Stream>,
    /// Of this stream alone: one that is closed may still complain.
    health: Arc<Health>,
    /// Frames in a buffer; none where the system chose.
    buffer: Option<u32>,
    began: Duration,
    /// When its pace was last measured, and what had passed by then.
    measured: Duration,
    passed: u64,
    /// Measurements in a row that were too slow.
    slow: u32,
    /// When it was last looked for.
    looked: Duration,
}

impl SystemDevice {
    fn start(&self, config: StreamConfig) -> Result<(), cpal::Error> {
        let health = Arc::default();
        let stream = build(&self.device, config, self.sample_format, &self.end, &health)?;
        stream.play()?;
        let now = monotonic();
        *lock(&self.running) = Running {
            stream: Some(stream),
            health,
            buffer: match config.buffer_size {
                BufferSize::Fixed(frames) => Some(frames),
                BufferSize::Default => None,
            },
            began: now,
            measured: now,
            passed: self.end.meter().passed(),
            slow: 0,
            looked: now,
        };
        Ok(())
    }

    /// Doubles the buffer if less sound passes than time.
    fn keep_pace(&self) -> Result<(), cpal::Error> {
        let mut running = lock(&self.running);
        let now = monotonic();
        if now < running.began + WARM_UP {
            (running.measured, running.passed) = (now, self.end.meter().passed());
        }
        let elapsed = now.saturating_sub(running.measured);
        if elapsed < PACE {
            return Ok(());
        }
        let passed = self.end.meter().passed();
        let due = elapsed.as_secs_f64() * f64::from(self.config.sample_rate);
        let is_slow = ((passed - running.passed) as f64) < due * LEAST_PACE;
        (running.measured, running.passed) = (now, passed);
        running.slow = if is_slow { running.slow + 1 } else { 0 };
        let Some(buffer) = running.buffer.filter(|_| running.slow >= 2) else {
            return Ok(());
        };
        let most = self.config.sample_rate / 25;
        if buffer >= most {
            return Ok(());
        }
        let larger = (2 * buffer).min(most);
        tracing::info!(direction = %self.end.direction(), frames = larger, "the machine is busy: larger buffer");
        drop(running.stream.take());
        drop(running);
        self.start(StreamConfig {
            buffer_size: BufferSize::Fixed(larger),
            ..self.config
        })
    }

    fn is_listed(&self) -> bool {
        let Some(id) = &self.watched else { return true };
        let mut running = lock(&self.running);
        if monotonic() < running.looked + LOOK {
            return true;
        }
        running.looked = monotonic();
        drop(running);
        // One question, at the price of finding a server that was started again only by choosing again.
        let known = lock(&HOST).clone();
        known.is_some_and(|host| host.device_by_id(id).is_some())
    }
}

impl OpenDevice for SystemDevice {
    fn format(&self) -> Format {
        Format {
            rate_hz: self.config.sample_rate,
            channels: self.config.channels,
        }
    }

    fn failure(&self) -> Option<AudioError> {
        let direction = self.end.direction();
        let fatal = lock(&self.running).health.fatal.load(Ordering::Relaxed);
        match fatal {
            0 => {}
            2 => return Some(AudioError::Denied(direction)),
            _ => return Some(AudioError::Unplugged(direction)),
        }
        if !self.is_listed() || self.keep_pace().is_err() {
            return Some(AudioError::Unplugged(direction));
        }
        let quiet = QUIET.as_secs() * u64::from(self.config.sample_rate);
        (direction == Direction::Input && self.end.meter().zeros() > quiet)
            .then_some(AudioError::Quiet)
    }
}

impl Drop for SystemDevice {
    fn drop(&mut self) {
        let hiccups = lock(&self.running).health.hiccups.load(Ordering::Relaxed);
        if hiccups > 0 {
            tracing::info!(direction = %self.end.direction(), hiccups, "device closed; it had hiccups");
        }
    }
}

fn explain(error: &cpal::Error, direction: Direction, device: Option<&DeviceId>) -> AudioError {
    match error.kind() {
        ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => missing(direction, device),
        ErrorKind::DeviceBusy => AudioError::Busy(direction),
        ErrorKind::PermissionDenied => AudioError::Denied(direction),
        ErrorKind::UnsupportedConfig | ErrorKind::UnsupportedOperation => {
            AudioError::Unsupported(direction)
        }
        _ => AudioError::Failed {
            direction,
            detail: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glitches_are_counted_and_only_what_ends_a_stream_ends_it() {
        let health = Health::default();
        for passing in [
            ErrorKind::Xrun,
            ErrorKind::DeviceBusy,
            ErrorKind::BackendError,
        ] {
            health.take_in(passing);
        }
        assert_eq!(health.fatal.load(Ordering::Relaxed), 0);
        assert_eq!(health.hiccups.load(Ordering::Relaxed), 3);
        health.take_in(ErrorKind::DeviceNotAvailable);
        assert_eq!(health.fatal.load(Ordering::Relaxed), 1);
        health.take_in(ErrorKind::PermissionDenied);
        assert_eq!(health.fatal.load(Ordering::Relaxed), 2);
    }
}

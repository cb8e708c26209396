//! What the handle, the two voice threads and the two device keepers have in common.
//!
//! Wishes are state, not messages: setting one twice is setting it once, nothing queues up, and nothing that
//! matters (a removal, a mute) can be dropped. Locks are held for a few assignments; the voice threads only
//! ever `try_lock` what a reader of the status may hold.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use undertone_dsp::{
    CleanUp, Difference, OPUS_FRAME_BYTES, OpusFrame, Played, SendChain, StreamId, StreamStats,
};

use super::levels::Level;
use super::ring::{CaptureReader, Handover, PlaybackWriter};
use super::{AudioError, DeviceId, Direction};

/// Packets that wait for `voice-receive`: 16 voices for 200 ms.
pub(crate) const MAX_WAITING_PACKETS: usize = 160;
/// The stream that the voice check is heard on. Not for others.
pub(crate) const OWN_STREAM: StreamId = StreamId(u32::MAX);

/// One coded frame of one's own voice, or of silence. Every one has the same size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalFrame {
    /// 20 ms of Opus.
    pub opus: [u8; OPUS_FRAME_BYTES],
    /// Whether the microphone was closed.
    pub muted: bool,
}

/// What the voice threads do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing: no device is open.
    #[default]
    Off,
    /// Microphone, morph, codec, own headphones: one hears what others would. Nothing leaves.
    Check,
    /// A frame every 20 ms goes out, and what is pushed is played.
    Circle,
}

/// How sound is doing, at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceStatus {
    /// Level at the microphone, dBFS; [`super::SILENCE_DB`] when it is closed.
    pub input_level_db: f32,
    /// Level of what others hear, dBFS.
    pub morphed_level_db: f32,
    /// How far that is from one's own voice; none before enough was heard.
    pub difference: Option<Difference>,
    /// One plain sentence: what happened, what to do.
    pub problem: Option<String>,
    /// Whether a microphone is open.
    pub input_open: bool,
    /// Whether headphones are open.
    pub output_open: bool,
    /// Incoming voices, ordered by stream.
    pub streams: Vec<StreamStatus>,
    /// For reports and tests.
    pub diagnostics: Diagnostics,
}

/// One incoming voice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamStatus {
    /// Which.
    pub stream: StreamId,
    /// Its level before its volume, dBFS.
    pub level_db: f32,
    /// Its counts.
    pub stats: StreamStats,
}

/// What the clocks and rings are doing. Counts since [`super::Voice::start`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Diagnostics {
    /// Frames made for the circle.
    pub frames: u64,
    /// Frames that nobody took in time.
    pub frames_dropped: u64,
    /// Age of a frame's last sample when the frame is made, without the microphone's own delay.
    pub capture_delay: Duration,
    /// The microphone's clock against the program's, as measured so far, parts per million.
    pub capture_drift_ppm: i64,
    /// Times the microphone had too little.
    pub starved: u64,
    /// Times the oldest sound was dropped to keep the delay short.
    pub trimmed: u64,
    /// Sound that waits in the playback ring after a frame was written into it.
    pub playback_delay: Duration,
    /// Samples that came too late for the headphones.
    pub underrun_samples: u64,
    /// Pushed packets that had to make room for newer ones.
    pub packets_dropped: u64,
}

/// Told which frames were decoded, and when their first sample leaves the ring. Runs on `voice-receive`: must be quick
/// and must not wait.
pub type Observer = Box<dyn FnMut(&[Played], Instant) + Send>;

/// What a keeper should have open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    pub(crate) open: bool,
    pub(crate) device: Option<DeviceId>,
    /// Moves whenever the device must be opened afresh.
    pub(crate) epoch: u64,
    /// Moves whenever the person chose.
    pub(crate) choice: u64,
}

impl Wish {
    /// The person chose: it is opened afresh, even if it is the same.
    pub(crate) fn choose(&mut self, device: Option<DeviceId>) {
        self.device = device;
        self.epoch += 1;
        self.choice += 1;
    }
}

#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) stop: bool,
    pub(crate) mode: Mode,
    pub(crate) muted: bool,
    pub(crate) input: Wish,
    pub(crate) output: Wish,
}

/// A packet for `voice-receive`.
pub(crate) struct Packet {
    pub(crate) stream: StreamId,
    pub(crate) sequence: u64,
    pub(crate) opus: OpusFrame,
    pub(crate) arrived: Duration,
}

/// What should be heard.
pub(crate) struct Incoming {
    /// Volume of each voice, 1.0 is as sent, and a number that tells one adding of it from the next.
    pub(crate) streams: BTreeMap<StreamId, (f32, u64)>,
    pub(crate) changed: bool,
    pub(crate) added: u64,
    pub(crate) packets: VecDeque<Packet>,
    pub(crate) packets_dropped: u64,
}

/// What is wrong, by what it concerns.
#[derive(Debug, Default, Clone)]
pub(crate) struct Problems {
    pub(crate) voice: Option<AudioError>,
    pub(crate) input: Option<AudioError>,
    pub(crate) output: Option<AudioError>,
}

/// Written by `voice-receive` after each frame.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) streams: Vec<StreamStatus>,
    pub(crate) observer: Option<Observer>,
}

/// Counters of [`Diagnostics`].
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) frames: AtomicU64,
    pub(crate) frames_dropped: AtomicU64,
    pub(crate) capture_delay_us: AtomicU64,
    pub(crate) capture_drift_ppm: AtomicI64,
    pub(crate) starved: AtomicU64,
    pub(crate) trimmed: AtomicU64,
    pub(crate) playback_delay_us: AtomicU64,
    pub(crate) underrun_samples: AtomicU64,
}

/// See the module.
pub(crate) struct Shared {
    wishes: Mutex<Wishes>,
    wish_changed: Condvar,
    // Copies of wishes, for the voice threads to read each frame.
    stop: AtomicBool,
    mode: AtomicU8,
    muted: AtomicBool,
    may_speak: AtomicBool,
    /// Echo, noise, gain.
    clean_up: [AtomicBool; 3],
    input_epoch: AtomicU64,
    output_epoch: AtomicU64,

    incoming: Mutex<Incoming>,
    incoming_changed: Condvar,

    pub(crate) next_chain: Handover<Box<SendChain>>,
    pub(crate) capture: Arc<Handover<CaptureReader>>,
    pub(crate) playback: Arc<Handover<PlaybackWriter>>,

    pub(crate) input_level: Level,
    pub(crate) morphed_level: Level,
    pub(crate) difference: Mutex<Option<Difference>>,
    pub(crate) input_open: AtomicBool,
    pub(crate) output_open: AtomicBool,
    problems: Mutex<Problems>,
    morph_fails: AtomicBool,
    pub(crate) heard: Mutex<Heard>,
    pub(crate) counters: Counters,
}

/// A lock that outlives a panic elsewhere: what it guards is plain data, valid at every step.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(input: Option<DeviceId>, output: Option<DeviceId>) -> Self {
        let wishes = Wishes {
            input: Wish {
                device: input,
                ..Wish::default()
            },
            output: Wish {
                device: output,
                ..Wish::default()
            },
            ..Wishes::default()
        };
        Self {
            wishes: Mutex::new(wishes),
            wish_changed: Condvar::new(),
            stop: AtomicBool::new(false),
            mode: AtomicU8::new(Mode::Off as u8),
            muted: AtomicBool::new(false),
            may_speak: AtomicBool::new(false),
            clean_up: Default::default(),
            input_epoch: AtomicU64::new(0),
            output_epoch: AtomicU64::new(0),
            incoming: Mutex::new(Incoming {
                streams: BTreeMap::new(),
                changed: false,
                added: 0,
                packets: VecDeque::with_capacity(MAX_WAITING_PACKETS),
                packets_dropped: 0,
            }),
            incoming_changed: Condvar::new(),
            next_chain: Handover::new(),
            capture: Arc::new(Handover::new()),
            playback: Arc::new(Handover::new()),
            input_level: Level::new(),
            morphed_level: Level::new(),
            difference: Mutex::default(),
            input_open: AtomicBool::new(false),
            output_open: AtomicBool::new(false),
            problems: Mutex::default(),
            morph_fails: AtomicBool::new(false),
            heard: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Changes wishes, works out what follows for the devices, and wakes everyone.
    pub(crate) fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        let mut guard = lock(&self.wishes);
        let wishes = &mut *guard;
        let before = wishes.mode;
        change(wishes);
        let is_on = wishes.mode != Mode::Off && !wishes.stop;
        let (listens, plays) = (is_on && !wishes.muted, is_on);
        if before == Mode::Off && is_on {
            // Starting anew is choosing anew: what was lost may be looked for again.
            wishes.input.choice += 1;
            wishes.output.choice += 1;
        }
        for (wish, open) in [(&mut wishes.input, listens), (&mut wishes.output, plays)] {
            if wish.open != open {
                wish.open = open;
                wish.epoch += 1;
            }
        }
        self.mode.store(wishes.mode as u8, Ordering::Release);
        self.muted.store(wishes.muted, Ordering::Release);
        self.input_epoch
            .store(wishes.input.epoch, Ordering::Release);
        self.output_epoch
            .store(wishes.output.epoch, Ordering::Release);
        self.stop.store(wishes.stop, Ordering::Release);
        drop(guard);
        self.wish_changed.notify_all();
        // Taking the lock makes sure that `voice-receive` is either before its check or asleep.
        drop(lock(&self.incoming));
        self.incoming_changed.notify_all();
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Acquire) {
            1 => Mode::Check,
            2 => Mode::Circle,
            _ => Mode::Off,
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(crate) fn is_muted(&self) -> bool {
        self.muted.load(Ordering::Acquire)
    }

    pub(crate) fn set_clean_up(&self, wanted: CleanUp) {
        let wanted = [wanted.echo, wanted.noise, wanted.gain];
        for (part, wanted) in self.clean_up.iter().zip(wanted) {
            part.store(wanted, Ordering::Relaxed);
        }
    }

    pub(crate) fn clean_up(&self) -> CleanUp {
        let [echo, noise, gain] = self
            .clean_up
            .each_ref()
            .map(|part| part.load(Ordering::Relaxed));
        CleanUp { echo, noise, gain }
    }

    pub(crate) fn may_speak(&self) -> bool {
        self.may_speak.load(Ordering::Acquire)
    }

    pub(crate) fn set_may_speak(&self, may_speak: bool) {
        self.may_speak.store(may_speak, Ordering::Release);
    }

    /// The epoch a ring must have to be the one that is wished for.
    pub(crate) fn epoch(&self, direction: Direction) -> u64 {
        match direction {
            Direction::Input => self.input_epoch.load(Ordering::Acquire),
            Direction::Output => self.output_epoch.load(Ordering::Acquire),
        }
    }

    /// Waits until there is something to do. None when it is time to end.
    pub(crate) fn wait_while_off(&self) -> Option<Mode> {
        let mut wishes = lock(&self.wishes);
        while !wishes.stop && wishes.mode == Mode::Off {
            wishes = self
                .wish_changed
                .wait(wishes)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (!wishes.stop).then_some(wishes.mode)
    }

    /// What one keeper should have open, when it differs from `known` or `time` has passed. None at the end.
    pub(crate) fn wait_wish(
        &self,
        direction: Direction,
        known: &Wish,
        time: Duration,
    ) -> Option<Wish> {
        let of = |wishes: &Wishes| match direction {
            Direction::Input => wishes.input.clone(),
            Direction::Output => wishes.output.clone(),
        };
        let mut wishes = lock(&self.wishes);
        if !wishes.stop && of(&wishes) == *known {
            let waited = self.wish_changed.wait_timeout(wishes, time);
            wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        (!wishes.stop).then(|| of(&wishes))
    }

    /// Changes what should be heard, and wakes `voice-receive`.
    pub(crate) fn hear(&self, change: impl FnOnce(&mut Incoming)) {
        let mut incoming = lock(&self.incoming);
        change(&mut incoming);
        incoming.changed = true;
        drop(incoming);
        self.incoming_changed.notify_all();
    }

    /// Adds a packet; the oldest makes room. Wakes nobody: it will be looked at before the next frame is due.
    pub(crate) fn push(&self, packet: Packet) {
        if self.mode() == Mode::Off {
            return;
        }
        let mut incoming = lock(&self.incoming);
        if !incoming.streams.contains_key(&packet.stream) && packet.stream != OWN_STREAM {
            return;
        }
        if incoming.packets.len() >= MAX_WAITING_PACKETS {
            incoming.packets.pop_front();
            incoming.packets_dropped += 1;
        }
        incoming.packets.push_back(packet);
    }

    pub(crate) fn incoming(&self) -> MutexGuard<'_, Incoming> {
        lock(&self.incoming)
    }

    /// Sleeps for `time`, or until what should be heard changes.
    pub(crate) fn wait_incoming(&self, time: Duration) {
        let incoming = lock(&self.incoming);
        if incoming.changed || self.is_stopped() {
            return;
        }
        drop(self.incoming_changed.wait_timeout(incoming, time));
    }

    pub(crate) fn report(&self, change: impl FnOnce(&mut Problems)) {
        change(&mut lock(&self.problems));
    }

    /// Called each frame, so without a lock.
    pub(crate) fn report_morph(&self, fails: bool) {
        self.morph_fails.store(fails, Ordering::Relaxed);
    }

    pub(crate) fn status(&self) -> VoiceStatus {
        let problems = lock(&self.problems).clone();
        let morph = self
            .morph_fails
            .load(Ordering::Relaxed)
            .then_some(AudioError::Morph);
        let problem = problems
            .voice
            .or(morph)
            .or(problems.input)
            .or(problems.output);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        VoiceStatus {
            input_level_db: self.input_level.db(),
            morphed_level_db: self.morphed_level.db(),
            difference: *lock(&self.difference),
            problem: problem.map(|p| p.to_string()),
            input_open: self.input_open.load(Ordering::Relaxed),
            output_open: self.output_open.load(Ordering::Relaxed),
            streams: lock(&self.heard).streams.clone(),
            diagnostics: Diagnostics {
                frames: count(&c.frames),
                frames_dropped: count(&c.frames_dropped),
                capture_delay: Duration::from_micros(count(&c.capture_delay_us)),
                capture_drift_ppm: c.capture_drift_ppm.load(Ordering::Relaxed),
                starved: count(&c.starved),
                trimmed: count(&c.trimmed),
                playback_delay: Duration::from_micros(count(&c.playback_delay_us)),
                underrun_samples: count(&c.underrun_samples),
                packets_dropped: lock(&self.incoming).packets_dropped,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(shared: &Shared) -> (u64, u64) {
        (
            shared.epoch(Direction::Input),
            shared.epoch(Direction::Output),
        )
    }

    #[test]
    fn a_mute_undone_at_once_still_opens_the_microphone_afresh() {
        let shared = Shared::new(None, None);
        shared.wish(|w| w.mode = Mode::Circle);
        assert_eq!(epochs(&shared), (1, 1));
        shared.wish(|w| w.muted = true);
        shared.wish(|w| w.muted = false);
        assert_eq!(epochs(&shared), (3, 1));
        shared.wish(|w| w.mode = Mode::Check);
        assert_eq!(epochs(&shared), (3, 1), "changing over keeps the devices");
    }

    #[test]
    fn only_packets_of_wanted_streams_wait_and_the_oldest_make_room() {
        let shared = Shared::new(None, None);
        shared.wish(|w| w.mode = Mode::Circle);
        let opus = OpusFrame::try_from(&[0_u8; OPUS_FRAME_BYTES][..]).unwrap();
        let packet = |sequence| Packet {
            stream: StreamId(4),
            sequence,
            opus,
            arrived: Duration::ZERO,
        };
        shared.push(packet(0));
        assert!(shared.incoming().packets.is_empty());
        shared.hear(|i| i.streams.extend([(StreamId(4), (1.0, 0))]));
        (0..MAX_WAITING_PACKETS as u64 + 5).for_each(|n| shared.push(packet(n)));
        assert_eq!(shared.incoming().packets.len(), MAX_WAITING_PACKETS);
        assert_eq!(shared.incoming().packets[0].sequence, 5);
        assert_eq!(shared.status().diagnostics.packets_dropped, 5);
    }
}

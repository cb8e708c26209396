//! `voice-send`: every 20 ms of the program's own clock one frame is made, whatever the microphone does.
//!
//! The schedule is absolute, so frames neither drift nor bunch; after a stall the missed frames are made at
//! once, after a long one (the machine slept) they are left out. Muted, not one's turn, no microphone, a morph
//! that fails: each becomes coded silence of the same size, so that nothing outside can tell them apart.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rtrb::Consumer;
use tokio::sync::mpsc;
use undertone_dsp::{AudioFrame, Cleaner, FRAME_DURATION, Health, RawPcm, SendChain, SendFrame};

use super::capture::CaptureClock;
use super::receive::Played;
use super::shared::{LocalFrame, Mode, OWN_STREAM, Packet, Shared, lock};
use super::{Direction, monotonic};

/// Frames that wait for the driver. It takes them at once; if it stands still this long, new ones are dropped,
/// because a channel's reader cannot be made to skip.
pub(crate) const FRAME_QUEUE: usize = 10;
/// Further behind than this, frames are left out.
const MOST_BEHIND: Duration = Duration::from_millis(200);

/// What the thread works with.
pub(crate) struct Gear {
    pub(crate) chain: Box<SendChain>,
    pub(crate) cleaner: Box<Cleaner>,
    /// Frames that went to the headphones.
    pub(crate) played: Consumer<Played>,
    /// To the driver.
    pub(crate) frames: mpsc::Sender<LocalFrame>,
}

/// The thread's body.
pub(crate) fn run(shared: &Shared, gear: Gear) {
    let mut sender = Sender {
        shared,
        gear,
        capture: None,
        raw: RawPcm::default(),
        sequence: 0,
        counted: (0, 0),
    };
    while shared.wait_while_off().is_some() {
        let mut due = monotonic();
        while shared.mode() != Mode::Off && !shared.is_stopped() {
            let now = monotonic();
            if now < due {
                std::thread::sleep(due - now);
                continue;
            }
            sender.tick(due, now);
            due += FRAME_DURATION;
            if now > due + MOST_BEHIND {
                due = now;
            }
        }
        sender.rest();
    }
}

struct Sender<'a> {
    shared: &'a Shared,
    gear: Gear,
    capture: Option<CaptureClock>,
    raw: RawPcm,
    sequence: u64,
    /// Starved and trimmed of the present microphone, as already counted.
    counted: (u64, u64),
}

impl Sender<'_> {
    fn tick(&mut self, due: Duration, now: Duration) {
        if let Some(chain) = self.shared.next_chain.take() {
            self.gear.chain = chain;
        }
        let mode = self.shared.mode();
        let muted = self.shared.is_muted();
        self.follow_device(muted);
        let has_sound = self
            .capture
            .as_mut()
            .is_some_and(|c| c.next_frame(due, now, &mut self.raw.0));
        self.count();
        if has_sound {
            self.shared.input_level.follow(self.raw.0.rms_db());
        } else {
            self.shared.input_level.silence();
        }
        self.clean(has_sound);
        let may_speak = mode == Mode::Check || self.shared.may_speak();
        let frame = if has_sound && may_speak {
            let frame = self.gear.chain.process(&self.raw);
            self.report_health();
            frame
        } else {
            self.gear.chain.silence()
        };
        self.shared.morphed_level.follow(frame.morphed_level_db);
        *lock(&self.shared.difference) = self.gear.chain.difference();
        // What was said is not kept longer than needed.
        self.raw.0 = AudioFrame::SILENCE;
        self.hand_on(mode, muted, &frame, now);
    }

    /// The echo canceller hears all that is played and all that is said, turn or not: so it knows the room before
    /// the turn comes.
    fn clean(&mut self, has_sound: bool) {
        let Gear {
            cleaner, played, ..
        } = &mut self.gear;
        cleaner.set(self.shared.clean_up());
        while let Ok(Played { frame, at }) = played.pop() {
            cleaner.hear(&frame, at);
        }
        if has_sound {
            cleaner.process(&mut self.raw);
        }
    }

    fn hand_on(&mut self, mode: Mode, muted: bool, frame: &SendFrame, now: Duration) {
        match mode {
            Mode::Circle => {
                self.shared.counters.frames.fetch_add(1, Ordering::Relaxed);
                let local = LocalFrame {
                    opus: *frame.opus.as_bytes(),
                    muted,
                };
                if self.gear.frames.try_send(local).is_err() {
                    self.shared
                        .counters
                        .frames_dropped
                        .fetch_add(1, Ordering::Relaxed);
                }
            }
            Mode::Check => {
                let packet = Packet {
                    stream: OWN_STREAM,
                    sequence: self.sequence,
                    opus: frame.opus,
                    arrived: now,
                };
                self.shared.push(packet);
            }
            Mode::Off => {}
        }
        self.sequence += 1;
    }

    /// Takes over a microphone that was opened, and lets go of one that is no longer wished for.
    fn follow_device(&mut self, muted: bool) {
        let epoch = self.shared.epoch(Direction::Input);
        if let Some(reader) = self.shared.capture.take()
            && reader.epoch == epoch
        {
            self.counted = (0, 0);
            // The keeper has looked at the format; should it not do all the same, silence goes out.
            self.capture = CaptureClock::new(reader).ok();
        }
        if muted || self.capture.as_ref().is_some_and(|c| c.epoch() != epoch) {
            self.capture = None;
        }
    }

    fn count(&mut self) {
        let Some(capture) = &self.capture else { return };
        let counters = &self.shared.counters;
        counters
            .starved
            .fetch_add(capture.starved - self.counted.0, Ordering::Relaxed);
        counters
            .trimmed
            .fetch_add(capture.trimmed - self.counted.1, Ordering::Relaxed);
        self.counted = (capture.starved, capture.trimmed);
        counters
            .capture_delay_us
            .store(capture.delay.as_micros() as u64, Ordering::Relaxed);
        counters
            .capture_drift_ppm
            .store(capture.drift_ppm().round() as i64, Ordering::Relaxed);
    }

    fn report_health(&self) {
        let failed = self.gear.chain.health() != Health::Morphing;
        self.shared.report_morph(failed);
    }

    /// Nothing to do for a while: no sound stays behind.
    fn rest(&mut self) {
        self.capture = None;
        drop(self.shared.capture.take());
        self.gear.chain.silence();
        *lock(&self.shared.difference) = None;
        self.shared.input_level.silence();
        self.shared.morphed_level.silence();
    }
}

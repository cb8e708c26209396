//! `voice-receive`: keeps the playback ring filled just ahead of the device.
//!
//! The output device's clock paces everything: whenever less waits than one of its bursts and a margin,
//! another 20 ms are mixed. So the ring holds 10 to 30 ms on a device that takes 5 ms at a time. Where no device
//! takes anything, a timer does instead and the sound is thrown away, so that no buffer grows.
//!
//! When a voice is removed, what was mixed with it is flushed from the ring and mixed anew without it. The
//! others jump ahead by what was flushed; they are not made to wait for it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtrb::Producer;
use undertone_dsp::{
    AudioFrame, DriftResampler, DspError, FRAME_DURATION, ReceiveChain, SAMPLE_RATE_HZ, StreamId,
};

use super::levels::reported_db;
use super::ring::{PlaybackWriter, samples_in};
use super::shared::{MAX_WAITING_PACKETS, Mode, OWN_STREAM, Packet, Shared, StreamStatus};
use super::{Direction, SILENCE_DB, monotonic};

const LEAST_MARGIN: Duration = Duration::from_millis(5);
const MOST_MARGIN: Duration = Duration::from_millis(20);
const MARGIN_STEP: Duration = Duration::from_micros(2_500);
/// Frames without trouble after which the margin shrinks by 1 ms.
const CALM_FRAMES: u32 = 500;
/// A device that has taken nothing for this long is not waited for.
const DEAD: Duration = Duration::from_millis(250);
/// Never wait for more than this to lie ahead, whatever a device asks for at a time.
const MOST_AHEAD: Duration = Duration::from_millis(60);
const LONGEST_SLEEP: Duration = Duration::from_millis(10);
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);
/// Frames mixed in one go, at most.
const MOST_AT_ONCE: usize = 4;

/// What went to the device, for the echo canceller.
pub(crate) struct Played {
    pub(crate) frame: AudioFrame,
    /// When the device takes its first sample.
    pub(crate) at: Duration,
}

/// The thread's body.
pub(crate) fn run(shared: &Shared, playing: Producer<Played>) {
    let mut receiver = Receiver::new(shared, playing);
    while shared.wait_while_off().is_some() {
        receiver.timer_due = monotonic();
        while shared.mode() != Mode::Off && !shared.is_stopped() {
            let time = receiver.step();
            shared.wait_incoming(time);
        }
        receiver.rest();
    }
}

struct Output {
    writer: PlaybackWriter,
    /// None where the device runs at 48 kHz.
    resampler: Option<DriftResampler>,
    scratch: Vec<f32>,
    margin: Duration,
    missed: u64,
    calm: u32,
    was_alive: bool,
}

struct Receiver<'a> {
    shared: &'a Shared,
    chain: ReceiveChain,
    /// Streams in the chain, and which adding of each it is.
    streams: Vec<(StreamId, u64)>,
    packets: VecDeque<Packet>,
    output: Option<Output>,
    /// To the echo canceller; what has no room there is not heard by it.
    playing: Producer<Played>,
    frame: AudioFrame,
    /// When the timer takes the next frame, where no device does.
    timer_due: Duration,
}

impl<'a> Receiver<'a> {
    fn new(shared: &'a Shared, playing: Producer<Played>) -> Self {
        Self {
            shared,
            chain: ReceiveChain::new(),
            streams: Vec::new(),
            packets: VecDeque::with_capacity(MAX_WAITING_PACKETS),
            output: None,
            playing,
            frame: AudioFrame::SILENCE,
            timer_due: Duration::ZERO,
        }
    }

    /// Does what is due and says how long there is nothing to do.
    fn step(&mut self) -> Duration {
        if self.follow_wishes()
            && let Some(output) = &mut self.output
        {
            output.flush();
        }
        self.follow_device();
        let now = monotonic();
        match self.output.take() {
            Some(mut output) if output.writer.is_alive(now, DEAD) => {
                let time = self.feed(&mut output);
                self.output = Some(output);
                self.timer_due = monotonic() + FRAME_DURATION;
                time
            }
            output => {
                self.output = output;
                if let Some(output) = &mut self.output {
                    output.was_alive = false;
                }
                self.discard(now)
            }
        }
    }

    /// Mixes until enough lies ahead.
    fn feed(&mut self, output: &mut Output) -> Duration {
        if !std::mem::replace(&mut output.was_alive, true) {
            output.flush();
            output.missed = output.writer.missed();
        }
        let rate_hz = output.writer.rate_hz;
        output.learn(self.shared);
        let low = output.writer.burst() + samples_in(output.margin, rate_hz);
        let low = low.min(samples_in(MOST_AHEAD, rate_hz));
        for _ in 0..MOST_AT_ONCE {
            let fill = output.writer.fill();
            if fill >= low {
                break;
            }
            if self.mix() {
                output.flush();
            }
            self.publish(Duration::from_secs_f64(fill as f64 / f64::from(rate_hz)));
            let at = output.writer.plays_at();
            output.write(&self.frame);
            let frame = self.frame.clone();
            let _ = self.playing.push(Played { frame, at });
            let delay = Duration::from_secs_f64(output.writer.fill() as f64 / f64::from(rate_hz));
            self.shared
                .counters
                .playback_delay_us
                .store(delay.as_micros() as u64, Ordering::Relaxed);
        }
        let spare = output.writer.fill().saturating_sub(low);
        Duration::from_secs_f64(spare as f64 / f64::from(rate_hz))
            .clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    /// Nobody listens: time passes all the same.
    fn discard(&mut self, now: Duration) -> Duration {
        if now > self.timer_due + 10 * FRAME_DURATION {
            self.timer_due = now;
        }
        while self.timer_due <= now {
            self.mix();
            self.publish(Duration::ZERO);
            self.timer_due += FRAME_DURATION;
        }
        (self.timer_due - now).clamp(SHORTEST_SLEEP, LONGEST_SLEEP)
    }

    /// Mixes the next 20 ms. Says whether what lies in the ring must not be played any more.
    fn mix(&mut self) -> bool {
        // A removal that came this moment must not be mixed once more.
        let must_flush = self.follow_wishes();
        let mut incoming = self.shared.incoming();
        std::mem::swap(&mut incoming.packets, &mut self.packets);
        drop(incoming);
        for packet in self.packets.drain(..) {
            self.chain
                .push(packet.stream, packet.sequence, &packet.opus, packet.arrived);
        }
        self.chain.pull(monotonic(), &mut self.frame);
        must_flush
    }

    /// Lets the status and the observer know. Whoever reads the status this moment is not waited for.
    fn publish(&mut self, ahead: Duration) {
        let Ok(mut heard) = self.shared.heard.try_lock() else {
            return;
        };
        heard.streams.clear();
        for (stream, _) in self
            .streams
            .iter()
            .filter(|(stream, _)| *stream != OWN_STREAM)
        {
            heard.streams.push(StreamStatus {
                stream: *stream,
                level_db: reported_db(self.chain.level_db(*stream)),
                stats: self.chain.stats(*stream).unwrap_or_default(),
            });
        }
        heard.streams.sort_unstable_by_key(|s| s.stream);
        if let Some(observer) = &mut heard.observer
            && !self.chain.last_played().is_empty()
        {
            observer(
                self.chain.last_played(),
                Instant::now() + ahead + ReceiveChain::LIMITER_DELAY,
            );
        }
    }

    /// Makes the chain hold what is wished for. Says whether a voice that could be heard is gone.
    fn follow_wishes(&mut self) -> bool {
        let checks = self.shared.mode() == Mode::Check;
        let mut incoming = self.shared.incoming();
        let checked = self.streams.iter().any(|(stream, _)| *stream == OWN_STREAM);
        if !incoming.changed && checks == checked {
            return false;
        }
        incoming.changed = false;
        let wanted = |stream: StreamId, added: u64| match stream {
            OWN_STREAM => checks,
            _ => incoming
                .streams
                .get(&stream)
                .is_some_and(|(_, wanted)| *wanted == added),
        };
        let mut was_audible = false;
        let chain = &mut self.chain;
        self.streams.retain(|(stream, added)| {
            let stays = wanted(*stream, *added);
            if !stays {
                was_audible |= reported_db(chain.level_db(*stream)) > SILENCE_DB;
                chain.remove_stream(*stream);
            }
            stays
        });
        let own = checks.then_some((OWN_STREAM, (1.0, 0)));
        for (stream, (volume, added)) in incoming.streams.iter().map(|(s, w)| (*s, *w)).chain(own) {
            if !self.streams.iter().any(|(known, _)| *known == stream)
                && chain.add_stream(stream).is_ok()
            {
                self.streams.push((stream, added));
            }
            chain.set_gain(stream, volume);
        }
        was_audible
    }

    /// Takes over headphones that were opened, and lets go of those no longer wished for.
    fn follow_device(&mut self) {
        let epoch = self.shared.epoch(Direction::Output);
        if let Some(writer) = self.shared.playback.take()
            && writer.epoch == epoch
        {
            // The keeper has looked at the format; should it not do all the same, the timer goes on.
            self.output = Output::new(writer).ok();
        }
        if self
            .output
            .as_ref()
            .is_some_and(|o| o.writer.epoch != epoch)
        {
            self.output = None;
        }
    }

    fn rest(&mut self) {
        self.output = None;
        drop(self.shared.playback.take());
        self.shared.incoming().packets.clear();
        if let Ok(mut heard) = self.shared.heard.lock() {
            heard.streams.clear();
        }
    }
}

impl Output {
    fn new(writer: PlaybackWriter) -> Result<Self, DspError> {
        let rate_hz = writer.rate_hz;
        let resampler = match rate_hz {
            SAMPLE_RATE_HZ => None,
            _ => Some(DriftResampler::new(SAMPLE_RATE_HZ, rate_hz)?),
        };
        let missed = writer.missed();
        Ok(Self {
            writer,
            resampler,
            scratch: Vec::with_capacity(2 * samples_in(FRAME_DURATION, rate_hz)),
            margin: LEAST_MARGIN,
            missed,
            calm: 0,
            was_alive: false,
        })
    }

    fn write(&mut self, frame: &AudioFrame) {
        let Some(resampler) = &mut self.resampler else {
            self.writer.write(&frame.0);
            return;
        };
        resampler.push(frame.0.iter().copied());
        self.scratch.resize(resampler.available(), 0.0);
        resampler.pull(&mut self.scratch);
        self.writer.write(&self.scratch);
    }

    fn flush(&mut self) {
        self.writer.flush();
        if let Some(resampler) = &mut self.resampler {
            resampler.clear();
        }
    }

    /// The margin grows when the device went short, and shrinks when all has long been well.
    fn learn(&mut self, shared: &Shared) {
        let missed = self.writer.missed();
        if missed > self.missed {
            shared
                .counters
                .underrun_samples
                .fetch_add(missed - self.missed, Ordering::Relaxed);
            self.missed = missed;
            self.margin = (self.margin + MARGIN_STEP).min(MOST_MARGIN);
            self.calm = 0;
            return;
        }
        self.calm += 1;
        // Steps come about twice a frame.
        if self.calm >= 2 * CALM_FRAMES {
            self.calm = 0;
            self.margin = self
                .margin
                .saturating_sub(Duration::from_millis(1))
                .max(LEAST_MARGIN);
        }
    }
}

//! One incoming voice: from packets at any time to samples at the player's pace.
//!
//! The delay in force is *turn minus media time minus the fastest transit*: how long a frame that travelled
//! as fast as any has waited when it is decoded. Turns come only when the player asks, so this delay moves in
//! steps of a frame, and samples left over in the queue after a turn are delay without use. Both are
//! corrected by splices; clock drift between sender and player shows as a slow slope and goes the same way.
//! Nothing else moves the delay but a stall (nothing to play) and a skip (too much to play): it cannot creep.

use std::time::Duration;

use crate::chain::{Played, PlayedKind, StreamId, StreamStats};
use crate::codec::{OpusFrame, VoiceDecoder};
use crate::jitter::{
    DelayEstimator, FRAME_US, MAX_DELAY_US, Offered, PacketBuffer, WAITING_FRAMES,
};
use crate::stretch::{find_splice, lengthen, shorten};
use crate::{AudioFrame, DspError, FRAME_SAMPLES};

/// Concealment sounds natural this long, then fades, then stops.
const CONCEAL_FULL_FRAMES: u32 = 2;
const CONCEAL_FRAMES: u32 = 5;
/// Distance from the target that is left alone, so that the delay does not flutter.
const SLACK_ABOVE_US: i64 = 6_000;
const SLACK_BELOW_US: i64 = 3_000;
/// Useless delay shorter than this is not worth a splice.
const LEAST_SPLICE_US: i64 = 2_500;
/// Between splices that shorten speech: about 5–10 % faster at most.
const SHORTEN_EVERY_FRAMES: u32 = 6;
const QUEUE_SAMPLES: usize = 4 * FRAME_SAMPLES;
/// Frames between two numbers that are told apart: 20 years.
const MAX_FRAMES_APART: i64 = 1 << 35;
const DECLICK_SAMPLES: usize = 96;
/// Fade-in after a gap, in samples (5 ms): shorter than any consonant, long enough not to click.
const RISE_PER_SAMPLE: f32 = 1.0 / 240.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing to play; waits for frames.
    Idle,
    /// Frames are arriving; waits until they have been held back for the target delay.
    Filling,
    Playing,
}

/// One stream's decoder, buffer and clockwork.
pub(crate) struct Voice {
    id: StreamId,
    decoder: VoiceDecoder,
    packets: PacketBuffer,
    delay: DelayEstimator,
    state: State,
    /// Media times count from this number, so that differences stay small.
    origin: Option<u64>,
    /// Decoded samples that the player has not taken.
    queue: Box<[f32; QUEUE_SAMPLES]>,
    queued: usize,
    scratch: AudioFrame,
    stretched: Box<[f32; 2 * FRAME_SAMPLES]>,
    /// The player's clock with its unevenness smoothed away, microseconds; none before the first pull.
    pull_clock_us: Option<f64>,
    /// Frames concealed while nothing was waiting: if they prove lost, their time has been paid already.
    stalled: u32,
    conceal_run: u32,
    fade: f32,
    last_sample: f32,
    /// The wave was cut: the next samples must be bent to meet the last.
    is_broken: bool,
    since_shorten: u32,
    stats: StreamStats,
}

impl Voice {
    pub(crate) fn new(id: StreamId) -> Result<Self, DspError> {
        Ok(Self {
            id,
            decoder: VoiceDecoder::new()?,
            packets: PacketBuffer::new(),
            delay: DelayEstimator::new(),
            state: State::Idle,
            origin: None,
            queue: Box::new([0.0; QUEUE_SAMPLES]),
            queued: 0,
            scratch: AudioFrame::SILENCE,
            stretched: Box::new([0.0; 2 * FRAME_SAMPLES]),
            pull_clock_us: None,
            stalled: 0,
            conceal_run: 0,
            fade: 0.0,
            last_sample: 0.0,
            is_broken: false,
            since_shorten: 0,
            stats: StreamStats::default(),
        })
    }

    pub(crate) fn id(&self) -> StreamId {
        self.id
    }

    pub(crate) fn stats(&self) -> StreamStats {
        self.stats
    }

    pub(crate) fn push(&mut self, sequence: u64, frame: &OpusFrame, now: Duration) {
        let now_us = now.as_micros() as i64;
        let outcome = self.packets.offer(sequence, frame);
        match outcome {
            Offered::Duplicate => {
                self.stats.duplicates += 1;
                return;
            }
            Offered::Late => self.stats.late += 1,
            Offered::Accepted => {}
            Offered::Jumped => {
                self.stats.resynced += 1;
                self.begin_again();
            }
        }
        self.stats.received += 1;
        if self.origin.is_none() {
            self.origin = Some(sequence);
        }
        let transit_us = now_us - self.media_us(sequence);
        let is_ancient = self
            .delay
            .base_us()
            .is_some_and(|base| transit_us - base > 4 * MAX_DELAY_US);
        if outcome == Offered::Late && (self.state != State::Playing || is_ancient) {
            return;
        }
        let relative_us = self.delay.observe(transit_us, now_us);
        let was_waited_for = self.stalled > 0 && self.packets.next() == Some(sequence);
        if self.state == State::Playing && (was_waited_for || now_us > self.turn_us(sequence)) {
            self.delay.learn_late(relative_us, now_us);
        }
        if self.state == State::Idle && !self.packets.is_empty() {
            self.state = State::Filling;
        }
    }

    /// Writes the next 20 ms. False if the voice is silent (then `out` is untouched).
    pub(crate) fn pull(
        &mut self,
        now: Duration,
        out: &mut [f32; FRAME_SAMPLES],
        played: &mut Vec<Played>,
    ) -> bool {
        let now_us = now.as_micros() as i64;
        self.stats.target_delay = micros(self.delay.target_us(now_us));
        self.follow_pull(now_us);
        if self.state == State::Filling {
            self.try_start(now_us);
        }
        if self.state != State::Playing {
            self.stats.delay = Duration::ZERO;
            self.queued = 0;
            return self.settle(out);
        }
        self.skip_excess();
        self.stats.delay = micros(self.delay_us() + micros_of(self.queued % FRAME_SAMPLES));
        while self.queued < FRAME_SAMPLES && self.state == State::Playing {
            self.decode_next(now_us, played);
        }
        let n = self.queued.min(FRAME_SAMPLES);
        out[..n].copy_from_slice(&self.queue[..n]);
        out[n..].fill(0.0);
        self.queue.copy_within(n..self.queued, 0);
        self.queued -= n;
        self.declick(out);
        true
    }

    /// Nothing sounds. What sounded last leaves within 2 ms instead of stopping in mid-wave.
    fn settle(&mut self, out: &mut [f32; FRAME_SAMPLES]) -> bool {
        if self.last_sample == 0.0 {
            return false;
        }
        out.fill(0.0);
        self.is_broken = true;
        self.declick(out);
        true
    }

    /// Where the wave was cut on purpose, bends it together over 2 ms.
    fn declick(&mut self, out: &mut [f32; FRAME_SAMPLES]) {
        if self.is_broken {
            let step = self.last_sample - out[0];
            for (i, sample) in out[..DECLICK_SAMPLES].iter_mut().enumerate() {
                let left = 1.0 - i as f32 / DECLICK_SAMPLES as f32;
                *sample += step * left * left;
            }
            self.is_broken = false;
        }
        self.last_sample = out[FRAME_SAMPLES - 1];
    }

    /// The last sample handed out, for whoever ends this voice.
    pub(crate) fn last_sample(&self) -> f32 {
        self.last_sample
    }

    /// Starts playing once the first waiting frame has been held back for the target delay.
    fn try_start(&mut self, now_us: i64) {
        if self.packets.is_empty()
            || self.delay_us() < self.delay.target_us(now_us) - SLACK_BELOW_US
        {
            return;
        }
        self.queued = 0;
        self.state = State::Playing;
        self.stalled = 0;
        self.conceal_run = 0;
        // A talk-spurt's first sample is whole: there is nothing before it to click against.
        self.fade = 1.0;
    }

    fn decode_next(&mut self, now_us: i64, played: &mut Vec<Played>) {
        let Some(sequence) = self.packets.next() else {
            self.fall_silent();
            return;
        };
        let kind = if self.packets.peek(0).is_some() {
            self.stalled = 0;
            self.delay.observe_turn(false, now_us);
            self.decode_waiting()
        } else if self.packets.is_empty() {
            self.stall()
        } else if self.stalled > 0 {
            // Concealed already, when it could still have been late.
            self.stalled -= 1;
            self.lose(now_us);
            return;
        } else {
            self.lose(now_us);
            self.repair()
        };
        let Some(kind) = kind else { return };
        match kind {
            PlayedKind::Decoded => self.conceal_run = 0,
            PlayedKind::Recovered => {
                self.conceal_run = 0;
                self.stats.recovered += 1;
            }
            PlayedKind::Concealed => {
                self.conceal_run += 1;
                self.stats.concealed += 1;
            }
        }
        if played.len() < played.capacity() {
            played.push(Played {
                stream: self.id,
                sequence,
                kind,
            });
        }
        self.apply_fade();
        self.enqueue(now_us, kind);
    }

    fn decode_waiting(&mut self) -> Option<PlayedKind> {
        let frame = self.packets.advance()?;
        match self.decoder.decode(&frame, &mut self.scratch) {
            Ok(()) => Some(PlayedKind::Decoded),
            Err(_) => {
                self.stats.malformed += 1;
                self.conceal();
                Some(PlayedKind::Concealed)
            }
        }
    }

    /// Nothing waits. The frame may be late or lost: conceal without ending its turn.
    fn stall(&mut self) -> Option<PlayedKind> {
        if self.conceal_run >= CONCEAL_FRAMES {
            self.fall_silent();
            return None;
        }
        self.stalled += 1;
        self.conceal();
        Some(PlayedKind::Concealed)
    }

    /// The frame is lost, later ones are here: what the first of them carries about it, or concealment.
    fn repair(&mut self) -> Option<PlayedKind> {
        // `lose` has ended the lost frame's turn, so the one after it is now at 0.
        let waiting = (0..WAITING_FRAMES).find_map(|n| Some((n, self.packets.peek(n as u64)?)));
        if let Some((between, later)) = waiting
            && (self.decoder)
                .recover(later, between + 1, &mut self.scratch)
                .is_ok()
        {
            return Some(PlayedKind::Recovered);
        }
        self.conceal();
        Some(PlayedKind::Concealed)
    }

    fn lose(&mut self, now_us: i64) {
        self.packets.advance();
        self.stats.lost += 1;
        self.delay.observe_turn(true, now_us);
    }

    fn conceal(&mut self) {
        if self.conceal_run >= CONCEAL_FRAMES || self.decoder.conceal(&mut self.scratch).is_err() {
            self.scratch.0.fill(0.0);
        }
    }

    /// Concealment fades out towards its end; what follows it fades in over 5 ms.
    fn apply_fade(&mut self) {
        let fades_out = self.conceal_run > CONCEAL_FULL_FRAMES;
        let fall = 1.0 / ((CONCEAL_FRAMES - CONCEAL_FULL_FRAMES) as f32 * FRAME_SAMPLES as f32);
        let step = if fades_out { -fall } else { RISE_PER_SAMPLE };
        if !fades_out && self.fade >= 1.0 {
            return;
        }
        for sample in &mut self.scratch.0 {
            self.fade = (self.fade + step).clamp(0.0, 1.0);
            *sample *= self.fade;
        }
    }

    /// Delay without use, microseconds; negative if there is too little.
    fn excess_us(&self, now_us: i64) -> i64 {
        // The frame in hand has left the buffer: its turn was one frame before the next one's.
        let slack = self.delay_us() + FRAME_US - self.delay.target_us(now_us);
        let frames = if slack > FRAME_US + SLACK_ABOVE_US {
            (slack - SLACK_ABOVE_US).div_euclid(FRAME_US)
        } else if slack < -SLACK_BELOW_US {
            slack.div_euclid(FRAME_US)
        } else {
            0
        };
        micros_of(self.queued) + frames * FRAME_US
    }

    /// Puts the decoded frame into the queue, spliced if the delay should change.
    fn enqueue(&mut self, now_us: i64, kind: PlayedKind) {
        self.since_shorten = self.since_shorten.saturating_add(1);
        let excess_us = self.excess_us(now_us);
        let mut samples: &[f32] = &self.scratch.0;
        if kind == PlayedKind::Decoded && excess_us >= LEAST_SPLICE_US {
            let least = if excess_us > 60_000 { 0.5 } else { 0.75 };
            if let Some(splice) = find_splice(&self.scratch.0, least, samples_of(excess_us))
                && (splice.is_silent || self.since_shorten >= SHORTEN_EVERY_FRAMES)
            {
                let n = shorten(&self.scratch.0, splice, &mut self.stretched);
                self.since_shorten = 0;
                self.stats.shortened_samples += (FRAME_SAMPLES - n) as u64;
                samples = &self.stretched[..n];
            }
        } else if kind == PlayedKind::Decoded && excess_us < 0 {
            let least = if excess_us < -FRAME_US { 0.4 } else { 0.7 };
            if let Some(splice) = find_splice(&self.scratch.0, least, FRAME_SAMPLES) {
                let n = lengthen(&self.scratch.0, splice, &mut self.stretched);
                self.stats.lengthened_samples += (n - FRAME_SAMPLES) as u64;
                samples = &self.stretched[..n];
            }
        }
        let room = QUEUE_SAMPLES - self.queued;
        let n = samples.len().min(room);
        self.queue[self.queued..self.queued + n].copy_from_slice(&samples[..n]);
        self.queued += n;
    }

    /// More than the most that is allowed: the oldest frames are given up, so that delay cannot creep.
    fn skip_excess(&mut self) {
        let mut skipped = false;
        let most_us = |waiting| MAX_DELAY_US + if waiting > 2 { FRAME_US } else { 3 * FRAME_US };
        while !self.packets.is_empty() && self.delay_us() > most_us(self.packets.span()) {
            if self.packets.advance().is_some() {
                self.stats.skipped += 1;
            } else {
                self.stats.lost += 1;
            }
            skipped = true;
        }
        if skipped {
            self.stalled = 0;
            self.is_broken = true;
        }
    }

    /// The sender has gone quiet: nothing sounds until it is back.
    fn fall_silent(&mut self) {
        self.packets.pause();
        self.begin_again();
        self.state = State::Idle;
    }

    fn begin_again(&mut self) {
        self.delay.restart();
        self.origin = None;
        self.is_broken = true;
        self.state = State::Filling;
        self.stalled = 0;
        self.conceal_run = 0;
    }

    /// Follows the player's rhythm slowly, and learns how unevenly it asks.
    fn follow_pull(&mut self, now_us: i64) {
        let now = now_us as f64;
        self.pull_clock_us = match self.pull_clock_us {
            Some(clock) if (now - clock - FRAME_US as f64).abs() < 100_000.0 => {
                let expected = clock + FRAME_US as f64;
                self.delay.observe_pull((expected - now) as f32);
                Some(expected + (now - expected) / 16.0)
            }
            _ => Some(now),
        };
    }

    fn pull_us(&self) -> i64 {
        self.pull_clock_us.unwrap_or(0.0) as i64
    }

    /// How long the next frame would have waited, had it travelled as fast as any, if its turn were at this
    /// pull; or at the later one at which the queue will have run low.
    fn delay_us(&self) -> i64 {
        let (Some(next), Some(base)) = (self.packets.next(), self.delay.base_us()) else {
            return 0;
        };
        let turn_us = self.pull_us() + (self.queued / FRAME_SAMPLES) as i64 * FRAME_US;
        turn_us - self.media_us(next) - base
    }

    /// When the frame's turn comes (or came) if nothing changes. Meant between pulls.
    fn turn_us(&self, sequence: u64) -> i64 {
        let next = self.packets.next().unwrap_or(sequence);
        let next_turn_us = self.pull_us() + (1 + self.queued / FRAME_SAMPLES) as i64 * FRAME_US;
        next_turn_us + self.media_us(sequence) - self.media_us(next)
    }

    fn media_us(&self, sequence: u64) -> i64 {
        let origin = self.origin.unwrap_or(sequence);
        // A sender may claim any number; times stay far from overflow.
        (sequence.wrapping_sub(origin) as i64).clamp(-MAX_FRAMES_APART, MAX_FRAMES_APART) * FRAME_US
    }
}

fn micros_of(samples: usize) -> i64 {
    samples as i64 * 1_000 / 48
}

fn samples_of(us: i64) -> usize {
    (us.max(0) * 48 / 1_000) as usize
}

fn micros(us: i64) -> Duration {
    Duration::from_micros(us.max(0) as u64)
}

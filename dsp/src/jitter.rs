//! How long to hold incoming frames back, and where they wait meanwhile.
//!
//! Both parts know nothing of codecs and clocks: arrival times are arguments. A frame's *transit* is its
//! arrival time minus its media time (sequence × 20 ms); the *relative delay* is the transit above the
//! fastest one of the last seconds. The target is a high percentile of relative delays, as in NetEQ's
//! delay manager (WebRTC, `delay_manager.cc`), plus what a late frame has just taught.

use std::time::Duration;

use crate::{FRAME_DURATION, OpusFrame};

/// The least time frames are held back.
pub const MIN_DELAY: Duration = Duration::from_millis(20);
/// The most time frames are held back: what needs longer is lost.
pub const MAX_DELAY: Duration = Duration::from_millis(200);

pub(crate) const FRAME_US: i64 = FRAME_DURATION.as_micros() as i64;
pub(crate) const MAX_DELAY_US: i64 = MAX_DELAY.as_micros() as i64;
const MIN_DELAY_US: i64 = MIN_DELAY.as_micros() as i64;

const BUCKET_US: i64 = 5_000;
const BUCKETS: usize = 80;
/// Packets that the histogram remembers (6 s), and how many the prior counts as at the start.
const MEMORY_PACKETS: f32 = 300.0;
const PRIOR_PACKETS: f32 = 20.0;
const PERCENTILE: f32 = 0.97;
const MARGIN_US: i64 = 5_000;
/// Before anything was measured, jitter is assumed to be this.
const PRIOR_US: i64 = 30_000;
/// The fastest transit is remembered for one to two of these, so that clock drift is followed.
const BASE_WINDOW_US: i64 = 5_000_000;
/// A lesson from a late frame holds this long, then fades.
const PEAK_HOLD_US: i64 = 3_000_000;
const PEAK_FADE_US_PER_S: i64 = 8_000;
/// The longest gap of late is waited for so long; longer ones are not worth their delay.
const MOST_GAP_US: i64 = 100_000;
const GAP_HOLD_US: i64 = 10_000_000;
const GAP_FADE_US_PER_S: i64 = 4_000;

/// Measures jitter and says how long to hold frames back.
pub(crate) struct DelayEstimator {
    histogram: [f32; BUCKETS],
    remembered: f32,
    base_now_us: Option<i64>,
    base_before_us: Option<i64>,
    base_since_us: i64,
    peak_us: i64,
    peak_at_us: i64,
    pull_early_us: f32,
    loss: f32,
    gaps: Gaps,
}

/// How many frames are lost in a row, lately.
#[derive(Default)]
struct Gaps {
    running: i64,
    longest_us: i64,
    longest_at_us: i64,
}

impl Gaps {
    fn observe(&mut self, lost: bool, now_us: i64) {
        if lost {
            self.running += 1;
            return;
        }
        let gap_us = self.running * FRAME_US;
        self.running = 0;
        if gap_us > self.faded_us(now_us) {
            self.longest_us = gap_us.min(MOST_GAP_US);
            self.longest_at_us = now_us;
        }
    }

    fn faded_us(&self, now_us: i64) -> i64 {
        let age = (now_us - self.longest_at_us - GAP_HOLD_US).max(0);
        (self.longest_us - age.saturating_mul(GAP_FADE_US_PER_S) / 1_000_000).max(0)
    }
}

impl DelayEstimator {
    pub(crate) fn new() -> Self {
        let mut histogram = [0.0; BUCKETS];
        histogram[(PRIOR_US / BUCKET_US) as usize] = 1.0;
        Self {
            histogram,
            remembered: PRIOR_PACKETS,
            base_now_us: None,
            base_before_us: None,
            base_since_us: 0,
            peak_us: 0,
            peak_at_us: 0,
            pull_early_us: 0.0,
            loss: 0.0,
            gaps: Gaps::default(),
        }
    }

    /// Forgets the fastest transit (a sender pauses, its numbers need not follow the clock), keeps the jitter.
    pub(crate) fn restart(&mut self) {
        self.base_now_us = None;
        self.base_before_us = None;
    }

    /// Transit of the fastest frame in memory, in microseconds.
    pub(crate) fn base_us(&self) -> Option<i64> {
        match (self.base_now_us, self.base_before_us) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes in a frame's transit; returns its relative delay in microseconds.
    pub(crate) fn observe(&mut self, transit_us: i64, now_us: i64) -> i64 {
        let old_base = self.base_us();
        if self.base_now_us.is_some() && now_us - self.base_since_us > BASE_WINDOW_US {
            self.base_before_us = self.base_now_us.take();
        }
        match &mut self.base_now_us {
            Some(base) => *base = transit_us.min(*base),
            None => {
                self.base_now_us = Some(transit_us);
                self.base_since_us = now_us;
            }
        }
        let base = self.base_us().unwrap_or(transit_us);
        if let Some(old) = old_base {
            self.shift_histogram(old - base);
        }
        let relative = transit_us - base;
        let bucket = ((relative / BUCKET_US).max(0) as usize).min(BUCKETS - 1);
        self.remembered = (self.remembered + 1.0).min(MEMORY_PACKETS);
        let share = 1.0 / self.remembered;
        for weight in &mut self.histogram {
            *weight *= 1.0 - share;
        }
        self.histogram[bucket] += share;
        relative
    }

    /// A frame was this late against the fastest one and missed its turn: hold back more from now on.
    pub(crate) fn learn_late(&mut self, relative_us: i64, now_us: i64) {
        self.peak_us = self
            .faded_peak_us(now_us)
            .max(relative_us.min(MAX_DELAY_US));
        self.peak_at_us = now_us;
    }

    /// The player asked this much before its own average rhythm (it asks in bursts).
    pub(crate) fn observe_pull(&mut self, early_us: f32) {
        let early = early_us.clamp(0.0, 60_000.0);
        self.pull_early_us = if early > self.pull_early_us {
            early
        } else {
            self.pull_early_us * 0.998
        };
    }

    /// A frame's turn came; `lost` if it had not arrived.
    pub(crate) fn observe_turn(&mut self, lost: bool, now_us: i64) {
        self.gaps.observe(lost, now_us);
        self.loss += (f32::from(u8::from(lost)) - self.loss) / 250.0;
    }

    /// How long to hold frames back, in microseconds after the fastest possible arrival.
    pub(crate) fn target_us(&self, now_us: i64) -> i64 {
        let total: f32 = self.histogram.iter().sum();
        let mut below = 0.0;
        let mut percentile_us = 0;
        for (i, weight) in self.histogram.iter().enumerate() {
            below += weight;
            if below >= PERCENTILE * total {
                percentile_us = i as i64 * BUCKET_US + BUCKET_US / 2;
                break;
            }
        }
        // A gap is rebuilt from the frame after it, which must be here before the gap's first turn.
        let for_recovery = if self.loss > 0.01 {
            self.gaps.faded_us(now_us).max(FRAME_US)
        } else {
            0
        };
        let wanted = percentile_us.max(self.faded_peak_us(now_us)) + for_recovery;
        (wanted + MARGIN_US + self.pull_early_us as i64).clamp(MIN_DELAY_US, MAX_DELAY_US)
    }

    fn faded_peak_us(&self, now_us: i64) -> i64 {
        let age = (now_us - self.peak_at_us - PEAK_HOLD_US).max(0);
        (self.peak_us - age.saturating_mul(PEAK_FADE_US_PER_S) / 1_000_000).max(0)
    }

    /// Relative delays grow when a faster frame lowers the base.
    fn shift_histogram(&mut self, by_us: i64) {
        let by = (by_us / BUCKET_US).clamp(-(BUCKETS as i64), BUCKETS as i64);
        for _ in 0..by {
            let last = self.histogram[BUCKETS - 1];
            self.histogram.copy_within(..BUCKETS - 1, 1);
            self.histogram[0] = 0.0;
            self.histogram[BUCKETS - 1] += last;
        }
        for _ in by..0 {
            let first = self.histogram[0];
            self.histogram.copy_within(1.., 0);
            self.histogram[BUCKETS - 1] = 0.0;
            self.histogram[0] += first;
        }
    }
}

/// Frames one stream may have waiting: 1.28 s, far above [`MAX_DELAY`].
pub(crate) const WAITING_FRAMES: usize = 64;

/// What became of an offered frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    Accepted,
    Duplicate,
    /// Its turn is over, or it belongs to a past that is no longer tracked.
    Late,
    /// So far ahead that everything waiting was given up for it.
    Jumped,
}

/// Frames waiting for their turn, by sequence number. Order is modular, so numbers may wrap.
pub(crate) struct PacketBuffer {
    slots: Box<[Option<(u64, OpusFrame)>; WAITING_FRAMES]>,
    next: Option<u64>,
    /// Numbers before this have had their turn.
    floor: Option<u64>,
    waiting: usize,
    highest: u64,
    /// Bit n: `highest - n` has arrived.
    seen: u128,
}

impl PacketBuffer {
    pub(crate) fn new() -> Self {
        Self {
            slots: Box::new([None; WAITING_FRAMES]),
            next: None,
            floor: None,
            waiting: 0,
            highest: 0,
            seen: 0,
        }
    }

    /// Sequence number whose turn is next; none before the first frame.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Frames from the next one's turn to the end of the newest waiting one.
    pub(crate) fn span(&self) -> u64 {
        match self.next {
            Some(next) if self.waiting > 0 => (ahead(self.highest, next) + 1).max(0) as u64,
            _ => 0,
        }
    }

    pub(crate) fn offer(&mut self, sequence: u64, frame: &OpusFrame) -> Offered {
        if self.floor.is_some_and(|floor| ahead(sequence, floor) < 0) {
            return if self.mark_seen(sequence) {
                Offered::Late
            } else {
                Offered::Duplicate
            };
        }
        let Some(next) = self.next else {
            self.highest = sequence;
            self.seen = 0;
            self.next = Some(sequence);
            return self.insert(sequence, frame, Offered::Accepted);
        };
        let distance = ahead(sequence, next);
        if distance >= WAITING_FRAMES as i64 {
            self.clear();
            self.next = Some(sequence);
            return self.insert(sequence, frame, Offered::Jumped);
        }
        if distance < 0 {
            // Before the first turn an earlier frame may still come first, if the newest still fits.
            if ahead(self.highest, sequence) >= WAITING_FRAMES as i64 {
                return Offered::Late;
            }
            self.next = Some(sequence);
        }
        self.insert(sequence, frame, Offered::Accepted)
    }

    /// The frame whose turn it is, if it is here. Does not advance.
    pub(crate) fn peek(&self, ahead_by: u64) -> Option<&OpusFrame> {
        let sequence = self.next?.wrapping_add(ahead_by);
        match &self.slots[slot(sequence)] {
            Some((held, frame)) if *held == sequence => Some(frame),
            _ => None,
        }
    }

    /// Ends the turn of the next frame, taking it out if it is here.
    pub(crate) fn advance(&mut self) -> Option<OpusFrame> {
        let sequence = self.next?;
        self.next = Some(sequence.wrapping_add(1));
        self.floor = self.next;
        match self.slots[slot(sequence)] {
            Some((held, frame)) if held == sequence => {
                self.slots[slot(sequence)] = None;
                self.waiting -= 1;
                Some(frame)
            }
            _ => None,
        }
    }

    /// The sender has gone quiet. Whatever number comes next that had no turn yet starts afresh.
    pub(crate) fn pause(&mut self) {
        self.clear();
        self.next = None;
    }

    fn clear(&mut self) {
        self.slots.fill(None);
        self.waiting = 0;
    }

    fn insert(&mut self, sequence: u64, frame: &OpusFrame, outcome: Offered) -> Offered {
        if !self.mark_seen(sequence) {
            return Offered::Duplicate;
        }
        self.slots[slot(sequence)] = Some((sequence, *frame));
        self.waiting += 1;
        outcome
    }

    /// Notes an arrival; false if it had arrived before.
    fn mark_seen(&mut self, sequence: u64) -> bool {
        let newer = ahead(sequence, self.highest);
        if newer > 0 {
            self.seen = if newer < 128 { self.seen << newer } else { 0 };
            self.highest = sequence;
        }
        let age = ahead(self.highest, sequence);
        if age >= 128 {
            return true;
        }
        let bit = 1_u128 << age;
        let fresh = self.seen & bit == 0;
        self.seen |= bit;
        fresh
    }
}

/// How far `a` is after `b`, in modular order (RFC 1982 for 64 bits).
fn ahead(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b) as i64
}

fn slot(sequence: u64) -> usize {
    (sequence % WAITING_FRAMES as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OPUS_FRAME_BYTES;

    fn frame(tag: u8) -> OpusFrame {
        OpusFrame::try_from(&[tag; OPUS_FRAME_BYTES][..]).unwrap()
    }

    #[test]
    fn reordered_frames_come_out_in_order() {
        let mut buffer = PacketBuffer::new();
        for n in [12, 10, 11, 14, 13] {
            assert_eq!(buffer.offer(n, &frame(n as u8)), Offered::Accepted);
        }
        let order: Vec<u8> = (0..5)
            .map(|_| buffer.advance().unwrap().as_bytes()[0])
            .collect();
        assert_eq!(order, [10, 11, 12, 13, 14]);
    }

    #[test]
    fn duplicates_and_late_frames_are_told_apart() {
        let mut buffer = PacketBuffer::new();
        buffer.offer(5, &frame(5));
        assert_eq!(buffer.offer(5, &frame(5)), Offered::Duplicate);
        buffer.offer(7, &frame(7));
        buffer.advance();
        assert!(buffer.advance().is_none(), "6 never came");
        assert_eq!(buffer.offer(6, &frame(6)), Offered::Late);
        assert_eq!(buffer.offer(6, &frame(6)), Offered::Duplicate);
        assert_eq!(buffer.offer(5, &frame(5)), Offered::Duplicate);
        assert_eq!(buffer.advance().unwrap().as_bytes()[0], 7);
    }

    #[test]
    fn numbers_may_wrap() {
        let mut buffer = PacketBuffer::new();
        for n in [u64::MAX - 1, 0, u64::MAX, 1] {
            assert_eq!(buffer.offer(n, &frame(n as u8)), Offered::Accepted, "{n}");
        }
        let order: Vec<u8> = (0..4)
            .map(|_| buffer.advance().unwrap().as_bytes()[0])
            .collect();
        assert_eq!(order, [254, 255, 0, 1]);
        assert_eq!(buffer.offer(u64::MAX, &frame(1)), Offered::Duplicate);
    }

    #[test]
    fn a_jump_gives_up_what_waits_and_memory_stays_bounded() {
        let mut buffer = PacketBuffer::new();
        for n in 0..10 {
            buffer.offer(n, &frame(0));
        }
        assert_eq!(buffer.offer(1_000_000, &frame(9)), Offered::Jumped);
        assert_eq!(buffer.span(), 1);
        assert_eq!(
            buffer.offer(9, &frame(9)),
            Offered::Late,
            "too old to fit beside the newest"
        );
    }

    #[test]
    fn after_a_pause_earlier_numbers_stay_refused() {
        let mut buffer = PacketBuffer::new();
        buffer.offer(3, &frame(3));
        buffer.advance();
        buffer.pause();
        assert_eq!(buffer.offer(2, &frame(2)), Offered::Late);
        assert_eq!(buffer.offer(900, &frame(4)), Offered::Accepted);
        assert_eq!(buffer.next(), Some(900));
    }

    fn run(
        estimator: &mut DelayEstimator,
        from_s: i64,
        seconds: i64,
        jitter_us: impl Fn(i64) -> i64,
    ) -> i64 {
        let mut now = 0;
        for i in from_s * 50..(from_s + seconds) * 50 {
            now = i * FRAME_US + jitter_us(i);
            estimator.observe(now - i * FRAME_US, now);
        }
        estimator.target_us(now)
    }

    #[test]
    fn target_follows_the_jitter_both_ways_and_keeps_its_bounds() {
        let mut e = DelayEstimator::new();
        assert_eq!(
            run(&mut e, 0, 30, |_| 0),
            MIN_DELAY_US,
            "a perfect network needs the least"
        );
        let shaky = run(&mut e, 30, 30, |i| (i * 7919 % 13) * 5_000);
        assert!((55_000..=75_000).contains(&shaky), "{shaky}");
        assert_eq!(run(&mut e, 60, 30, |i| (i % 7) * 90_000), MAX_DELAY_US);
        assert_eq!(run(&mut e, 90, 60, |_| 0), MIN_DELAY_US);
    }

    #[test]
    fn one_late_frame_raises_the_target_at_once_and_it_fades() {
        let mut e = DelayEstimator::new();
        run(&mut e, 0, 20, |_| 0);
        let now = 20_000_000;
        e.learn_late(90_000, now);
        assert!(e.target_us(now) >= 90_000);
        assert!(e.target_us(now + 2_000_000) >= 90_000);
        assert!(e.target_us(now + 7_000_000) < 70_000);
        assert_eq!(e.target_us(now + 30_000_000), MIN_DELAY_US);
    }
}

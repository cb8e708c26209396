//! The lock-free rings between device callbacks and the voice threads.
//!
//! Rings hold mono samples at the device's own rate, at most [`RING`] of them in time. A callback's end never
//! locks, allocates, logs or blocks: it converts, copies, and counts in atomics. When a ring is full the
//! callback drops what it has; the thread's end drops the oldest long before that (see `capture` and
//! `receive`), so a full ring means that the thread stood still.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rtrb::{Consumer, Producer, RingBuffer};

use super::{Format, monotonic};

/// Most sound a ring holds.
pub(crate) const RING: Duration = Duration::from_millis(100);
/// A cut in the wave is bent together over this many samples.
const BEND_SAMPLES: u32 = 96;

/// Samples in `time` at `rate_hz`.
pub(crate) fn samples_in(time: Duration, rate_hz: u32) -> usize {
    (time.as_secs_f64() * f64::from(rate_hz)).round() as usize
}

/// What a callback lets others see. Times are microseconds of [`monotonic`], plus one; zero is never.
#[derive(Default)]
pub(crate) struct Meter {
    touched_us: AtomicU64,
    /// Samples a callback moves at a time: the most of late.
    burst: AtomicU32,
    /// Samples the callback has taken from its ring since it was opened.
    taken: AtomicU64,
    /// The callback throws away what was written before this count.
    flush_to: AtomicU64,
    /// Samples that had no room, or were not there in time.
    missed: AtomicU64,
    /// Exact zeros in a row.
    zeros: AtomicU64,
    /// Samples the callback has moved, real or silent.
    passed: AtomicU64,
}

impl Meter {
    fn touch(&self, samples: usize) {
        self.touched_us
            .store(monotonic().as_micros() as u64 + 1, Ordering::Relaxed);
        self.passed.fetch_add(samples as u64, Ordering::Relaxed);
        let before = self.burst.load(Ordering::Relaxed);
        let faded = before - before / 64;
        self.burst
            .store(faded.max(samples as u32), Ordering::Relaxed);
    }

    /// Has the callback run at `at`, for tests on a clock of their own.
    #[cfg(test)]
    pub(crate) fn pretend(&self, at: Duration) {
        self.touched_us
            .store(at.as_micros() as u64 + 1, Ordering::Relaxed);
    }

    /// When the callback last ran; none before the first time.
    pub(crate) fn touched(&self) -> Option<Duration> {
        let us = self.touched_us.load(Ordering::Relaxed);
        us.checked_sub(1).map(Duration::from_micros)
    }

    pub(crate) fn burst(&self) -> usize {
        self.burst.load(Ordering::Relaxed) as usize
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    pub(crate) fn zeros(&self) -> u64 {
        self.zeros.load(Ordering::Relaxed)
    }
}

/// One thing on its way between threads; a newer one replaces it.
pub(crate) struct Handover<T>(Mutex<Option<T>>);

impl<T> Handover<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn put(&self, thing: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(thing);
    }

    /// Never waits: what is being put this moment comes the next time.
    pub(crate) fn take(&self) -> Option<T> {
        self.0.try_lock().ok()?.take()
    }
}

/// Where a microphone's sound goes. Made by [`super::Voice`], used by an [`super::AudioHost`].
pub struct CaptureSink {
    pub(crate) epoch: u64,
    pub(crate) meter: Arc<Meter>,
    pub(crate) to: Arc<Handover<CaptureReader>>,
}

impl CaptureSink {
    /// A ring for this format, and the callback's end of it. A later one replaces it.
    pub fn writer(&self, format: Format) -> CaptureWriter {
        let (producer, consumer) = RingBuffer::new(samples_in(RING, format.rate_hz).max(1));
        self.to.put(CaptureReader {
            consumer,
            meter: self.meter.clone(),
            rate_hz: format.rate_hz,
            epoch: self.epoch,
        });
        CaptureWriter {
            producer,
            meter: self.meter.clone(),
            channels: usize::from(format.channels.max(1)),
        }
    }
}

/// The microphone callback's end.
pub struct CaptureWriter {
    producer: Producer<f32>,
    meter: Arc<Meter>,
    channels: usize,
}

impl CaptureWriter {
    /// Takes in interleaved samples, converted to ±1.0 by `to_f32`. Of more than two channels the first two
    /// are used; an incomplete last group is ignored.
    pub fn write<T: Copy>(&mut self, interleaved: &[T], to_f32: impl Fn(T) -> f32) {
        let groups = interleaved.len() / self.channels;
        let mut zeros = self.meter.zeros.load(Ordering::Relaxed);
        let mono = interleaved.chunks_exact(self.channels).map(|group| {
            let sample = match group {
                [left, right, ..] => 0.5 * (to_f32(*left) + to_f32(*right)),
                [only] => to_f32(*only),
                [] => 0.0,
            };
            zeros = if sample == 0.0 { zeros + 1 } else { 0 };
            sample
        });
        let room = groups.min(self.producer.slots());
        if let Ok(chunk) = self.producer.write_chunk_uninit(room) {
            chunk.fill_from_iter(mono);
        }
        self.meter.zeros.store(zeros, Ordering::Relaxed);
        self.meter
            .missed
            .fetch_add((groups - room) as u64, Ordering::Relaxed);
        self.meter.touch(groups);
    }
}

/// `voice-send`'s end of the microphone's ring.
pub(crate) struct CaptureReader {
    consumer: Consumer<f32>,
    meter: Arc<Meter>,
    pub(crate) rate_hz: u32,
    pub(crate) epoch: u64,
}

impl CaptureReader {
    /// Hands all that waits to `take`, oldest first.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(&[f32])) {
        let waiting = self.consumer.slots();
        if let Ok(chunk) = self.consumer.read_chunk(waiting) {
            let (first, second) = chunk.as_slices();
            take(first);
            take(second);
            chunk.commit_all();
        }
    }

    /// Samples that a callback brings at a time.
    pub(crate) fn burst(&self) -> usize {
        self.meter.burst()
    }

    /// Time since the last callback.
    pub(crate) fn since_last(&self, now: Duration) -> Duration {
        self.meter
            .touched()
            .map_or(Duration::ZERO, |at| now.saturating_sub(at))
    }
}

/// Where a loudspeaker's sound comes from. Made by [`super::Voice`], used by an [`super::AudioHost`].
pub struct PlaybackSource {
    pub(crate) epoch: u64,
    pub(crate) meter: Arc<Meter>,
    pub(crate) to: Arc<Handover<PlaybackWriter>>,
}

impl PlaybackSource {
    /// A ring for this format, and the callback's end of it. A later one replaces it.
    pub fn reader(&self, format: Format) -> PlaybackReader {
        let (producer, consumer) = RingBuffer::new(samples_in(RING, format.rate_hz).max(1));
        self.meter.taken.store(0, Ordering::Relaxed);
        self.meter.flush_to.store(0, Ordering::Relaxed);
        self.to.put(PlaybackWriter {
            producer,
            meter: self.meter.clone(),
            written: 0,
            rate_hz: format.rate_hz,
            epoch: self.epoch,
        });
        PlaybackReader {
            consumer,
            meter: self.meter.clone(),
            channels: usize::from(format.channels.max(1)),
            taken: 0,
            is_running: false,
            last: 0.0,
            offset: 0.0,
            bend_left: 0,
        }
    }
}

/// The loudspeaker callback's end.
pub struct PlaybackReader {
    consumer: Consumer<f32>,
    meter: Arc<Meter>,
    channels: usize,
    taken: u64,
    is_running: bool,
    last: f32,
    offset: f32,
    bend_left: u32,
}

impl PlaybackReader {
    /// Fills interleaved `out` with the next samples, the same in every channel, converted from ±1.0 by
    /// `from_f32`. Where the ring runs dry the wave is led to zero within 2 ms and silence follows.
    pub fn read<T: Copy>(&mut self, out: &mut [T], from_f32: impl Fn(f32) -> T) {
        let mut is_cut = self.skip_flushed();
        let groups = out.len() / self.channels;
        let ready = groups.min(self.consumer.slots());
        if self.is_running && ready < groups {
            self.meter
                .missed
                .fetch_add((groups - ready) as u64, Ordering::Relaxed);
        }
        is_cut |= self.is_running != (ready > 0);
        let mut out_groups = out.chunks_exact_mut(self.channels);
        let mut bend = Bend {
            last: self.last,
            offset: self.offset,
            left: self.bend_left,
        };
        if ready > 0
            && let Ok(chunk) = self.consumer.read_chunk(ready)
        {
            let (first, second) = chunk.as_slices();
            for (sample, group) in first.iter().chain(second).zip(&mut out_groups) {
                if is_cut {
                    bend.begin(*sample);
                    is_cut = false;
                }
                group.fill(from_f32(bend.next(*sample)));
            }
            chunk.commit_all();
            is_cut = true;
        }
        for group in out_groups {
            if is_cut {
                bend.begin(0.0);
                is_cut = false;
            }
            group.fill(from_f32(bend.next(0.0)));
        }
        (self.last, self.offset, self.bend_left) = (bend.last, bend.offset, bend.left);
        self.is_running = ready > 0 && ready == groups;
        self.taken += ready as u64;
        self.meter.taken.store(self.taken, Ordering::Release);
        self.meter.touch(groups);
    }

    /// Throws away what was flushed; says whether there was anything.
    fn skip_flushed(&mut self) -> bool {
        let flushed = self
            .meter
            .flush_to
            .load(Ordering::Acquire)
            .saturating_sub(self.taken);
        let skip = (flushed as usize).min(self.consumer.slots());
        if skip == 0 {
            return false;
        }
        if let Ok(chunk) = self.consumer.read_chunk(skip) {
            chunk.commit_all();
        }
        self.taken += skip as u64;
        true
    }
}

/// Leads the wave across a cut: the step fades over 2 ms.
struct Bend {
    last: f32,
    offset: f32,
    left: u32,
}

impl Bend {
    fn begin(&mut self, next: f32) {
        self.offset = self.last - next;
        self.left = BEND_SAMPLES;
    }

    fn next(&mut self, sample: f32) -> f32 {
        self.last = sample;
        if self.left > 0 {
            let share = self.left as f32 / BEND_SAMPLES as f32;
            self.last += self.offset * share * share;
            self.left -= 1;
        }
        self.last
    }
}

/// `voice-receive`'s end of the loudspeaker's ring.
pub(crate) struct PlaybackWriter {
    producer: Producer<f32>,
    meter: Arc<Meter>,
    written: u64,
    pub(crate) rate_hz: u32,
    pub(crate) epoch: u64,
}

impl PlaybackWriter {
    /// Adds samples; what has no room is dropped and counted.
    pub(crate) fn write(&mut self, samples: &[f32]) {
        let room = samples.len().min(self.producer.slots());
        if self.producer.push_entire_slice(&samples[..room]).is_ok() {
            self.written += room as u64;
        }
        self.meter
            .missed
            .fetch_add((samples.len() - room) as u64, Ordering::Relaxed);
    }

    /// Samples that wait and will be played.
    pub(crate) fn fill(&self) -> usize {
        let taken = self.meter.taken.load(Ordering::Acquire);
        let gone = taken.max(self.meter.flush_to.load(Ordering::Relaxed));
        self.written.saturating_sub(gone) as usize
    }

    /// When what is written next will be taken, but for a constant. Counted from the last time that any was taken,
    /// so that it does not depend on when one asks.
    pub(crate) fn plays_at(&self) -> Duration {
        self.meter.touched().unwrap_or_default()
            + Duration::from_secs(1) * self.fill() as u32 / self.rate_hz
    }

    /// Nothing that has been written so far will be played.
    pub(crate) fn flush(&mut self) {
        self.meter.flush_to.store(self.written, Ordering::Release);
    }

    /// Samples that a callback takes at a time.
    pub(crate) fn burst(&self) -> usize {
        self.meter.burst()
    }

    /// Samples that were not there in time, since it was opened.
    pub(crate) fn missed(&self) -> u64 {
        self.meter.missed()
    }

    /// Whether the callback has run within `time`.
    pub(crate) fn is_alive(&self, now: Duration, time: Duration) -> bool {
        !self.producer.is_abandoned()
            && self
                .meter
                .touched()
                .is_some_and(|at| now.saturating_sub(at) <= time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEREO: Format = Format {
        rate_hz: 48_000,
        channels: 2,
    };

    fn playback(format: Format) -> (PlaybackWriter, PlaybackReader) {
        let to = Arc::new(Handover::new());
        let source = PlaybackSource {
            epoch: 1,
            meter: Arc::default(),
            to: to.clone(),
        };
        let reader = source.reader(format);
        (to.take().unwrap(), reader)
    }

    fn read(reader: &mut PlaybackReader, groups: usize) -> Vec<f32> {
        let mut out = vec![9.0; groups * reader.channels];
        reader.read(&mut out, |s| s);
        out.chunks(reader.channels).map(|g| g[0]).collect()
    }

    #[test]
    fn captured_channels_become_one_and_a_full_ring_counts_what_it_missed() {
        let to = Arc::new(Handover::new());
        let sink = CaptureSink {
            epoch: 3,
            meter: Arc::default(),
            to: to.clone(),
        };
        let mut writer = sink.writer(STEREO);
        writer.write(&[16_384_i16, 0, -16_384, -16_384, 7], |s| {
            f32::from(s) / 32_768.0
        });
        let mut reader = to.take().unwrap();
        let mut heard = Vec::new();
        reader.drain(|s| heard.extend_from_slice(s));
        assert_eq!(
            (reader.epoch, heard.as_slice()),
            (3, [0.25, -0.5].as_slice())
        );
        assert_eq!(reader.burst(), 2);
        writer.write(&vec![0_i16; 2 * 6_000], f32::from);
        assert_eq!(sink.meter.missed(), 1_200);
        assert_eq!(sink.meter.zeros(), 4_800, "only what was kept is looked at");
    }

    #[test]
    fn a_frame_plays_as_much_later_as_lies_before_it_whenever_one_asks() {
        let (mut writer, mut reader) = playback(STEREO);
        writer.write(&[0.5; 960]);
        read(&mut reader, 480);
        let first = writer.plays_at();
        std::thread::sleep(Duration::from_millis(3));
        assert_eq!(writer.plays_at(), first);
        writer.write(&[0.5; 960]);
        assert_eq!(writer.plays_at(), first + Duration::from_millis(20));
    }

    #[test]
    fn a_dry_ring_gives_silence_without_a_click() {
        let (mut writer, mut reader) = playback(STEREO);
        assert!(read(&mut reader, 240).iter().all(|s| *s == 0.0));
        assert_eq!(writer.missed(), 0, "nothing has begun yet");
        writer.write(&[0.5; 300]);
        let mut out = read(&mut reader, 240);
        out.extend(read(&mut reader, 240));
        assert_eq!(out[200], 0.5);
        assert_eq!(out[479], 0.0);
        assert_eq!(writer.missed(), 180);
        let step = out
            .windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max);
        assert!(step < 0.02, "stepped by {step}");
    }

    #[test]
    fn what_is_flushed_is_not_played() {
        let (mut writer, mut reader) = playback(Format {
            rate_hz: 48_000,
            channels: 1,
        });
        writer.write(&[0.5; 2_000]);
        read(&mut reader, 500);
        assert_eq!(writer.fill(), 1_500);
        writer.flush();
        assert_eq!(writer.fill(), 0);
        writer.write(&[-0.25; 960]);
        assert_eq!(writer.fill(), 960);
        let out = read(&mut reader, 480);
        assert!(out[BEND_SAMPLES as usize..].iter().all(|s| *s == -0.25));
        assert!((out[0] - 0.5).abs() < 0.02, "no click at the cut");
        assert_eq!(writer.fill(), 480);
    }
}

//! One voice over one line, offline: what a network does to it, and what is left at the ear.
//!
//! The sender's chain codes speech once. A line loses, delays and reorders the packets, and the sender's clock
//! runs faster or slower than the listener's; the receiving chain plays on its own clock of 20 ms. What is heard
//! is compared with the same packets decoded in order, each in its time.

use std::time::Duration;

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::Serialize;
use undertone_dsp::{
    AudioFrame, Character, FRAME_DURATION, FRAME_SAMPLES, MorphSeed, Morpher, OpusFrame, RawPcm,
    ReceiveChain, Redundancy, StreamId, StreamStats, VoiceDecoder, VoiceEncoder,
};

use crate::analysis::{Envelope, HOP, SOUND_DB, correlation, quantile, steps};
use crate::onsets::{Features, Listener};
use crate::words::Words;

/// The line's least delay.
pub const BASE_DELAY: Duration = Duration::from_millis(40);
/// Bursts begin this far apart on average.
const BURST_EVERY: Duration = Duration::from_secs(4);
/// What is heard first is left out: delays are still being learnt.
const SETTLING: Duration = Duration::from_secs(2);

/// Half a second may lie this many steps away from the window it is in, 30 ms.
const MOST_MOVED: usize = 6;

/// What a line does to packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Line {
    /// Probability that a packet is lost, each on its own.
    pub loss: f64,
    /// How long a burst is in which all are lost; one every four seconds on average.
    pub burst_ms: u64,
    /// Delay beyond the least: uniform up to this.
    pub jitter_ms: u64,
    /// How much faster the sender's clock runs than the listener's, parts per million.
    pub drift_ppm: f64,
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if self.loss > 0.0 {
            parts.push(format!("loss {:.0} %", 100.0 * self.loss));
        }
        if self.burst_ms > 0 {
            parts.push(format!("bursts {} ms", self.burst_ms));
        }
        if self.jitter_ms > 0 {
            parts.push(format!("jitter {} ms", self.jitter_ms));
        }
        if self.drift_ppm != 0.0 {
            parts.push(format!("drift {:+.0} ppm", self.drift_ppm));
        }
        f.pad(&match parts.is_empty() {
            true => "clean".to_owned(),
            false => parts.join(", "),
        })
    }
}

/// A coded voice, and what it sounds like in order and in time.
pub struct Sent {
    packets: Vec<OpusFrame>,
    clean: Features,
}

impl Sent {
    /// Morphs and codes speech, over and over, until it is so long.
    ///
    /// # Errors
    /// If libopus cannot make a coder.
    pub fn new(speech: &[Vec<f32>], length: Duration, redundancy: Redundancy) -> Result<Self> {
        let frames = length.as_micros().div_ceil(FRAME_DURATION.as_micros()) as usize;
        let mut samples = speech.iter().flatten().copied().cycle();
        let mut morpher = Morpher::new(&MorphSeed::from_bytes([7; 32]), Character::Free);
        let mut encoder = VoiceEncoder::new(redundancy)?;
        let mut decoder = VoiceDecoder::new()?;
        let mut clean = Listener::default();
        let mut packets = Vec::with_capacity(frames);
        for _ in 0..frames {
            let raw = std::array::from_fn(|_| samples.next().unwrap_or(0.0));
            let packet = encoder.encode(&morpher.process(&RawPcm(AudioFrame(raw))))?;
            let mut frame = AudioFrame::SILENCE;
            decoder.decode(&packet, &mut frame)?;
            clean.hear(frame.samples());
            packets.push(packet);
        }
        Ok(Self {
            packets,
            clean: clean.finish(),
        })
    }

    /// How long it lasts.
    pub fn length(&self) -> Duration {
        FRAME_DURATION * self.packets.len() as u32
    }

    /// The same voice, decoded in order.
    ///
    /// # Errors
    /// If libopus cannot make a decoder.
    pub fn in_order(&self) -> Result<Vec<f32>> {
        let mut decoder = VoiceDecoder::new()?;
        let mut samples = Vec::with_capacity(self.packets.len() * FRAME_SAMPLES);
        for packet in &self.packets {
            let mut frame = AudioFrame::SILENCE;
            decoder.decode(packet, &mut frame)?;
            samples.extend_from_slice(frame.samples());
        }
        Ok(samples)
    }

    /// Sends the first part of it over a line; the same seed loses the same packets. Each frame that is played
    /// is handed to `ear`.
    ///
    /// # Errors
    /// If libopus cannot make a decoder.
    pub fn over(
        &self,
        line: Line,
        length: Duration,
        seed: u64,
        mut ear: impl FnMut(&AudioFrame),
    ) -> Result<Outcome> {
        const ONE: StreamId = StreamId(1);
        let (arrivals, sent) = arrivals(line, length, seed);
        let arrived = arrivals.len();
        let mut arrivals = arrivals.into_iter().peekable();
        let mut chain = ReceiveChain::new();
        chain.add_stream(ONE)?;
        let mut heard = Listener::default();
        let mut buffered = Duration::ZERO;
        let pulls = (length.as_micros() / FRAME_DURATION.as_micros()) as u32;
        for pull in 0..pulls {
            let now = FRAME_DURATION * pull;
            while let Some((at, n)) = arrivals.next_if(|(at, _)| *at <= now) {
                let Some(packet) = self.packets.get(n) else {
                    break;
                };
                chain.push(ONE, n as u64, packet, at);
            }
            let mut frame = AudioFrame::SILENCE;
            chain.pull(now, &mut frame);
            heard.hear(frame.samples());
            ear(&frame);
            buffered += chain.stats(ONE).map_or(Duration::ZERO, |s| s.delay);
        }
        let stats = chain.stats(ONE).context("the stream is there")?;
        let (said, heard) = (self.clean.at_rate(line.rate()), heard.finish());
        Ok(Outcome {
            line,
            seconds: length.as_secs(),
            delay: Delay::between(&said, &heard, length),
            buffer_ms: buffered.as_secs_f64() * 1e3 / f64::from(pulls.max(1)),
            frames: Frames::of(&stats, sent, arrived),
            likeness: Likeness::between(&said, &heard, length),
            kit: None,
        })
    }
}

/// When each packet arrives that does, in order of arrival; and how many were sent.
fn arrivals(line: Line, length: Duration, seed: u64) -> (Vec<(Duration, usize)>, usize) {
    let units = |seed| {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        move || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    };
    let (mut unit, mut pauses) = (units(seed), units(seed ^ 1));
    let mut pause = move || -(1.0 - pauses()).ln() * BURST_EVERY.as_secs_f64();
    let burst = line.burst_ms as f64 / 1e3;
    let mut next_burst = SETTLING.as_secs_f64() + pause();
    let mut arrivals = Vec::new();
    let packets = (length.as_secs_f64() * line.rate() / FRAME_DURATION.as_secs_f64()) as usize;
    for n in 0..packets {
        let sent = n as f64 * FRAME_DURATION.as_secs_f64() / line.rate();
        let jitter = unit() * line.jitter_ms as f64 / 1e3;
        let is_lost = unit() < line.loss;
        while burst > 0.0 && sent >= next_burst + burst {
            next_burst += burst + pause();
        }
        let is_in_burst = burst > 0.0 && sent >= next_burst;
        if !is_lost && !is_in_burst {
            let at = sent + BASE_DELAY.as_secs_f64() + jitter;
            arrivals.push((Duration::from_secs_f64(at), n));
        }
    }
    arrivals.sort();
    (arrivals, packets)
}

impl Line {
    /// Frames the sender makes while the listener's clock counts one.
    fn rate(&self) -> f64 {
        1.0 + self.drift_ppm * 1e-6
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Outcome {
    /// The line.
    pub line: Line,
    /// How long.
    pub seconds: u64,
    /// How late it was heard.
    pub delay: Delay,
    /// What the jitter buffer says of its own part of that, on average.
    pub buffer_ms: f64,
    /// What became of the frames.
    pub frames: Frames,
    /// How like the clean path it sounded.
    pub likeness: Likeness,
    /// Word errors and quality, where they were asked for.
    pub kit: Option<Words>,
}

/// From the sender's coder to the ear, found by comparing what was coded with what was heard. It holds the
/// line's least delay of 40 ms, and the frame itself.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Delay {
    /// Half were shorter.
    pub median_ms: f64,
    /// One in a hundred was longer.
    pub p99_ms: f64,
    /// Medians of the first and of the last minute.
    pub first_minute_ms: f64,
    /// See [`Self::first_minute_ms`].
    pub last_minute_ms: f64,
    /// Largest less smallest median of a minute.
    pub spread_ms: f64,
}

impl Delay {
    fn between(said: &Features, heard: &Features, length: Duration) -> Self {
        let ms = |d: Option<Duration>| d.map_or(f64::NAN, |d| d.as_secs_f64() * 1e3);
        let found: Vec<_> = said
            .levels()
            .timed_delays(&heard.levels(), SETTLING, length)
            .collect();
        let median = |mut delays: Vec<Duration>| {
            delays.sort();
            ms(quantile(&delays, 0.5))
        };
        let minutes: Vec<f64> = found
            .chunk_by(|a, b| a.0.as_secs() / 60 == b.0.as_secs() / 60)
            .map(|minute| median(minute.iter().map(|(_, delay)| *delay).collect()))
            .collect();
        let (low, high) = minutes.iter().fold((f64::MAX, f64::MIN), |(low, high), m| {
            (low.min(*m), high.max(*m))
        });
        let mut all: Vec<_> = found.iter().map(|(_, delay)| *delay).collect();
        all.sort();
        Self {
            median_ms: ms(quantile(&all, 0.5)),
            p99_ms: ms(quantile(&all, 0.99)),
            first_minute_ms: minutes.first().copied().unwrap_or(f64::NAN),
            last_minute_ms: minutes.last().copied().unwrap_or(f64::NAN),
            spread_ms: (high - low).max(0.0),
        }
    }
}

/// What became of the frames, in percent of those sent, and how much time was scaled.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Frames {
    /// Lost on the line.
    pub lost: f64,
    /// Came after their turn, or were given up because too many waited.
    pub late: f64,
    /// Rebuilt from a later packet.
    pub rebuilt: f64,
    /// Made up: those that were not rebuilt, until a gap is so long that it stays silent.
    pub concealed: f64,
    /// Time put in and taken out by playing slower and faster.
    pub scaled: f64,
}

impl Frames {
    fn of(stats: &StreamStats, sent: usize, arrived: usize) -> Self {
        let percent = |count: u64| 100.0 * count as f64 / sent.max(1) as f64;
        let scaled = stats.lengthened_samples + stats.shortened_samples;
        Self {
            lost: percent((sent - arrived) as u64),
            late: percent(stats.late + stats.skipped),
            rebuilt: percent(stats.recovered),
            concealed: percent(stats.concealed),
            scaled: percent(scaled) / FRAME_SAMPLES as f64,
        }
    }
}

/// The delay about `delay` at which half a second matches best, in steps: playing slower or faster moves it.
fn nearest_match(mouth: &Envelope, ear: &Envelope, at: usize, delay: usize) -> usize {
    let likeness = |delay: usize| {
        let level = |of: &Envelope, step| f64::from(of.at(step).clamp(SOUND_DB - 10.0, 0.0));
        let piece = at..at + steps(HOP);
        let said: Vec<_> = piece.clone().map(|step| level(mouth, step)).collect();
        let heard: Vec<_> = piece.map(|step| level(ear, step + delay)).collect();
        correlation(&said, &heard)
    };
    let near = delay.saturating_sub(MOST_MOVED)..=delay + MOST_MOVED;
    // Where nothing is said every delay is as good: the given one stays.
    near.map(|near| (near, likeness(near) - 1e-6 * near.abs_diff(delay) as f64))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(delay, |best| best.0)
}

/// Correlation with the clean path, moment by moment, after its delay was taken out; 1 is the same.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Likeness {
    /// Of levels.
    pub energy: f64,
    /// Of onsets.
    pub onsets: f64,
}

impl Likeness {
    fn between(said: &Features, heard: &Features, length: Duration) -> Self {
        let level =
            |levels: &Envelope, step| f64::from(levels.at(step).clamp(SOUND_DB - 10.0, 0.0));
        let (mut levels, mut onsets) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        let (mouth, ear) = (said.levels(), heard.levels());
        for (at, delay) in mouth.timed_delays(&ear, SETTLING, length) {
            let delay = nearest_match(&mouth, &ear, steps(at), steps(delay));
            for step in steps(at)..steps(at + HOP) {
                let later = step + delay;
                levels.0.push(level(&mouth, step));
                levels.1.push(level(&ear, later));
                onsets.0.push(said.onset(step));
                onsets.1.push(heard.onset(later));
            }
        }
        Self {
            energy: correlation(&levels.0, &levels.1),
            onsets: correlation(&onsets.0, &onsets.1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::speech::voices;

    fn over(line: Line) -> Outcome {
        over_for(line, Duration::from_secs(30))
    }

    fn over_for(line: Line, length: Duration) -> Outcome {
        let sent = Sent::new(&voices(None).unwrap(), length, Redundancy::Deep).unwrap();
        sent.over(line, length, 1, |_| ()).unwrap()
    }

    #[test]
    fn a_clean_line_changes_nothing_but_the_delay() {
        let outcome = over(Line::default());
        assert_eq!(outcome.frames.lost, 0.0);
        assert_eq!(outcome.frames.concealed, 0.0);
        assert!(outcome.likeness.energy > 0.98, "{outcome:?}");
        assert!(outcome.likeness.onsets > 0.97, "{outcome:?}");
        let least = BASE_DELAY.as_secs_f64() * 1e3;
        assert!(
            (least..150.0).contains(&outcome.delay.median_ms),
            "{outcome:?}"
        );
    }

    #[test]
    fn what_is_lost_is_counted_and_mostly_rebuilt() {
        let outcome = over(Line {
            loss: 0.2,
            ..Line::default()
        });
        let frames = outcome.frames;
        assert!((15.0..25.0).contains(&frames.lost), "{outcome:?}");
        assert!(frames.rebuilt > 0.75 * frames.lost, "{outcome:?}");
        assert!(outcome.likeness.energy > 0.9, "{outcome:?}");
        let clean = over(Line::default());
        assert!(outcome.likeness.onsets < clean.likeness.onsets);
    }

    #[test]
    fn clocks_that_disagree_do_not_let_the_delay_creep() {
        for drift_ppm in [-1_000.0, 1_000.0] {
            let line = Line {
                drift_ppm,
                ..Line::default()
            };
            let outcome = over_for(line, Duration::from_secs(75));
            // Left alone, they would be 75 ms apart by the end.
            assert!(outcome.frames.scaled > 0.02, "{outcome:?}");
            assert!(
                outcome.delay.p99_ms < outcome.delay.median_ms + 30.0,
                "{outcome:?}"
            );
        }
    }
}

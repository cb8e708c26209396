//! The two ways through the crate: out of a microphone, and into a speaker.

use std::time::Duration;

use crate::codec::{OpusFrame, Redundancy, VoiceEncoder};
use crate::mixer::{self, Limiter};
use crate::morph::{Character, Difference, MorphSeed, Morpher};
use crate::playout::Voice;
use crate::{AudioFrame, DspError, FRAME_SAMPLES, LEVEL_FLOOR_DB, Morphed, RawPcm};

/// Voices that can be heard at once.
pub const MAX_STREAMS: usize = 16;
/// A voice's volume lies between 0 and this.
pub const MAX_GAIN: f32 = 2.0;

const PLAYED_CAPACITY: usize = MAX_STREAMS * 4;
/// A removed voice leaves within 2 ms.
const TAIL_SAMPLES: usize = 96;
/// Levels fall by this much a frame, and rise at once.
const LEVEL_FALL_DB: f32 = 1.5;

/// What one microphone frame became.
#[derive(Clone, Copy, Debug)]
pub struct SendFrame {
    /// The coded morph, always the same size.
    pub opus: OpusFrame,
    /// Level of what others will hear, dBFS RMS.
    pub morphed_level_db: f32,
    /// Level at the microphone, dBFS RMS.
    pub raw_level_db: f32,
}

/// Whether a voice is going out, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// The morph runs.
    Morphing,
    /// The morph failed on the last frame: silence went out instead.
    MorphFailed,
    /// The encoder failed on the last frame: coded silence went out instead.
    EncoderFailed,
}

/// Microphone frame in, coded morph out.
pub struct SendChain {
    morpher: Morpher,
    encoder: VoiceEncoder,
    monitor: Morphed,
    coded_silence: OpusFrame,
    health: Health,
}

impl SendChain {
    /// A chain for one circle; the seed is that circle's secret.
    ///
    /// # Errors
    /// [`DspError::Libopus`] if libopus cannot make an encoder.
    pub fn new(seed: &MorphSeed, character: Character) -> Result<Self, DspError> {
        let coded_silence = VoiceEncoder::new(Redundancy::default())?.encode(&Morphed::silence())?;
        Ok(Self {
            morpher: Morpher::new(seed, character),
            encoder: VoiceEncoder::new(Redundancy::default())?,
            monitor: Morphed::silence(),
            coded_silence,
            health: Health::Morphing,
        })
    }

    /// Morphs and encodes 20 ms. Where either fails, silence is coded and [`Self::health`] says so.
    pub fn process(&mut self, raw: &RawPcm) -> SendFrame {
        let (monitor, health) = match self.morpher.try_process(raw) {
            Some(morphed) => (morphed, Health::Morphing),
            None => (Morphed::silence(), Health::MorphFailed),
        };
        self.monitor = monitor;
        self.health = health;
        self.send(raw.0.rms_db())
    }

    /// Muted: codes silence, so that a packet of the same size goes out. The morph forgets what it was
    /// saying, so that no tail of it comes after the silence.
    pub fn silence(&mut self) -> SendFrame {
        self.morpher.flush();
        self.monitor = Morphed::silence();
        self.health = Health::Morphing;
        self.send(LEVEL_FLOOR_DB)
    }

    /// What others will hear of the last frame: for the voice check and the sidetone.
    pub fn monitor(&self) -> &Morphed {
        &self.monitor
    }

    /// How far the outgoing voice lies from the speaker's own; none before enough of it was heard.
    pub fn difference(&self) -> Option<Difference> {
        self.morpher.difference()
    }

    /// Whether the last frame went out as it should.
    pub fn health(&self) -> Health {
        self.health
    }

    fn send(&mut self, raw_level_db: f32) -> SendFrame {
        let opus = match self.encoder.encode(&self.monitor) {
            Ok(opus) => opus,
            Err(_) => {
                self.health = Health::EncoderFailed;
                self.coded_silence
            }
        };
        SendFrame {
            opus,
            morphed_level_db: self.monitor.as_frame().rms_db(),
            raw_level_db,
        }
    }
}

/// Names one incoming voice within a [`ReceiveChain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// How a frame came to be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayedKind {
    /// From its own packet.
    Decoded,
    /// From what a later packet carries about it.
    Recovered,
    /// Made up.
    Concealed,
}

/// One frame that the last [`ReceiveChain::pull`] decoded. A frame whose packet was late appears as
/// `Concealed` and, when the packet comes, once more as `Decoded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Played {
    /// Whose.
    pub stream: StreamId,
    /// Which.
    pub sequence: u64,
    /// How.
    pub kind: PlayedKind,
}

/// Counts since the stream was added, and the delay now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamStats {
    /// Packets that arrived, each counted once.
    pub received: u64,
    /// Frames whose packet had not come when their turn ended.
    pub lost: u64,
    /// Frames made up, for lost or for late packets.
    pub concealed: u64,
    /// Lost frames rebuilt from a later packet.
    pub recovered: u64,
    /// Packets that came after their turn, and were dropped.
    pub late: u64,
    /// Packets that came again, and were dropped.
    pub duplicates: u64,
    /// Frames given up because the delay had reached [`crate::MAX_DELAY`].
    pub skipped: u64,
    /// Packets that did not decode.
    pub malformed: u64,
    /// Jumps in the numbering that made the buffer start afresh.
    pub resynced: u64,
    /// Samples put in so that the delay grew.
    pub lengthened_samples: u64,
    /// Samples taken out so that it shrank.
    pub shortened_samples: u64,
    /// Time frames are held back now, beyond the fastest arrival; zero when nothing plays.
    pub delay: Duration,
    /// Time frames should be held back, as measured jitter has it.
    pub target_delay: Duration,
}

struct Stream {
    voice: Voice,
    gain: f32,
    wanted_gain: f32,
    level_db: f32,
}

/// Coded frames in, one mixed frame out.
///
/// A decoder exists only for a stream that was added; packets for others are ignored.
pub struct ReceiveChain {
    streams: Vec<Stream>,
    scratch: Box<AudioFrame>,
    limiter: Limiter,
    played: Vec<Played>,
    /// Ends of removed voices, already fading.
    tail: [f32; TAIL_SAMPLES],
}

impl ReceiveChain {
    /// A chain without streams.
    pub fn new() -> Self {
        Self {
            streams: Vec::with_capacity(MAX_STREAMS),
            scratch: Box::new(AudioFrame::SILENCE),
            limiter: Limiter::new(),
            played: Vec::with_capacity(PLAYED_CAPACITY),
            tail: [0.0; TAIL_SAMPLES],
        }
    }

    /// Makes room, and a decoder, for one voice. Allocates: not for the audio callback.
    ///
    /// # Errors
    /// [`DspError::StreamLimit`], [`DspError::StreamExists`], [`DspError::Libopus`].
    pub fn add_stream(&mut self, id: StreamId) -> Result<(), DspError> {
        if self.find(id).is_some() {
            return Err(DspError::StreamExists(id));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(DspError::StreamLimit);
        }
        self.streams.push(Stream {
            voice: Voice::new(id)?,
            gain: 1.0,
            wanted_gain: 1.0,
            level_db: LEVEL_FLOOR_DB,
        });
        Ok(())
    }

    /// Ends a voice at once: its packets and samples are gone, and the last sample that was played falls to
    /// zero over 2 ms, so that nothing more of what was said is heard and nothing clicks.
    pub fn remove_stream(&mut self, id: StreamId) {
        let Some(at) = self.find(id) else { return };
        let stream = self.streams.swap_remove(at);
        let last = stream.voice.last_sample() * stream.gain;
        for (i, sample) in self.tail.iter_mut().enumerate() {
            let left = 1.0 - i as f32 / TAIL_SAMPLES as f32;
            *sample += last * left * left;
        }
    }

    /// Takes in a packet that arrived at `now`. Packets of unknown streams are ignored.
    pub fn push(&mut self, id: StreamId, sequence: u64, frame: &OpusFrame, now: Duration) {
        if let Some(at) = self.find(id) {
            self.streams[at].voice.push(sequence, frame, now);
        }
    }

    /// Writes the next 20 ms of the mix, to be played from `now` on. Every sample is within ±0.891.
    pub fn pull(&mut self, now: Duration, out: &mut AudioFrame) {
        self.played.clear();
        out.0.fill(0.0);
        out.0[..TAIL_SAMPLES].copy_from_slice(&self.tail);
        self.tail.fill(0.0);
        for stream in &mut self.streams {
            let mut level_db = LEVEL_FLOOR_DB;
            if stream
                .voice
                .pull(now, &mut self.scratch.0, &mut self.played)
            {
                mixer::add(&mut out.0, &self.scratch.0, stream.gain, stream.wanted_gain);
                level_db = self.scratch.rms_db();
            }
            stream.gain = stream.wanted_gain;
            stream.level_db = level_db
                .max(stream.level_db - LEVEL_FALL_DB)
                .max(LEVEL_FLOOR_DB);
        }
        self.limiter.process(&mut out.0);
    }

    /// Sets a voice's volume, linear, held within 0 to 2. NaN is ignored.
    pub fn set_gain(&mut self, id: StreamId, gain: f32) {
        if let Some(at) = self.find(id)
            && !gain.is_nan()
        {
            self.streams[at].wanted_gain = gain.clamp(0.0, MAX_GAIN);
        }
    }

    /// Level of a voice before its volume, dBFS RMS; rises at once, falls by 75 dB a second.
    /// [`LEVEL_FLOOR_DB`] for unknown streams.
    pub fn level_db(&self, id: StreamId) -> f32 {
        self.find(id)
            .map_or(LEVEL_FLOOR_DB, |at| self.streams[at].level_db)
    }

    /// Counts of one stream; none if it is unknown.
    pub fn stats(&self, id: StreamId) -> Option<StreamStats> {
        self.find(id).map(|at| self.streams[at].voice.stats())
    }

    /// What the last [`Self::pull`] decoded, in no particular order of streams.
    pub fn last_played(&self) -> &[Played] {
        &self.played
    }

    /// Streams at present, in no particular order.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.streams.iter().map(|s| s.voice.id())
    }

    /// Delay that the limiter's look-ahead adds to every sample.
    pub const LIMITER_DELAY: Duration =
        Duration::from_micros(mixer::LOOKAHEAD as u64 * 1_000_000 / crate::SAMPLE_RATE_HZ as u64);

    fn find(&self, id: StreamId) -> Option<usize> {
        self.streams.iter().position(|s| s.voice.id() == id)
    }
}

impl Default for ReceiveChain {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(TAIL_SAMPLES <= FRAME_SAMPLES);

/// Both chains may be made on one thread and run on another.
const fn may_move_between_threads<T: Send>() {}
const _: () = may_move_between_threads::<SendChain>();
const _: () = may_move_between_threads::<ReceiveChain>();

#[cfg(test)]
mod tests;

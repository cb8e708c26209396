//! Signals, ears and stopwatches for the tests of the voice path. Real time, but patient: nothing here
//! fails because a machine is slow, only because something promised did not happen.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::f32::consts::TAU;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use undertone_dsp::{AudioFrame, Character, CleanUp, MorphSeed, OpusFrame, VoiceDecoder};
use undertone_node::audio::{
    AudioHost, LocalFrame, MemoryHost, Voice, VoiceConfig, VoiceHandle, VoiceStatus,
};

pub const RATE_HZ: f32 = 48_000.0;

/// Syllables of a gliding, buzzing tone with pauses between them; endless. Peak about 0.4.
pub struct Speech {
    at: u64,
    phase: f32,
    f0_hz: f32,
}

impl Speech {
    pub fn new(f0_hz: f32) -> Self {
        Self {
            at: 0,
            phase: 0.0,
            f0_hz,
        }
    }

    pub fn fill(&mut self, out: &mut [f32]) {
        for sample in out {
            let t = self.at as f32 / RATE_HZ;
            let syllable = t % 0.3;
            let open = (syllable / 0.03)
                .min((0.24 - syllable) / 0.03)
                .clamp(0.0, 1.0);
            let f0 = self.f0_hz * (1.0 + 0.15 * (0.9 * t).sin());
            self.phase = (self.phase + f0 / RATE_HZ).fract();
            let buzz: f32 = (1..=12)
                .map(|k| (TAU * self.phase * k as f32).sin() / k as f32)
                .sum();
            *sample = 0.2 * open * buzz;
            self.at += 1;
        }
    }
}

/// Everything that went one way.
#[derive(Clone, Default)]
pub struct Tape(Arc<Mutex<Vec<f32>>>);

impl Tape {
    pub fn add(&self, samples: &[f32]) {
        self.0.lock().unwrap().extend_from_slice(samples);
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }

    pub fn samples(&self) -> Vec<f32> {
        self.0.lock().unwrap().clone()
    }

    pub fn rms(&self) -> f32 {
        rms(&self.samples())
    }
}

pub fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len().max(1) as f32).sqrt()
}

/// Largest normalised correlation of `heard` with `raw`, over delays up to `most` samples: 1 is the same wave.
/// Looks at every fourth sample; the test signal has nothing above 6 kHz.
pub fn likeness(raw: &[f32], heard: &[f32], most: usize) -> f32 {
    let thin = |samples: &[f32]| samples.iter().step_by(4).copied().collect::<Vec<_>>();
    let (raw, heard, most) = (thin(raw), thin(heard), most / 4);
    let length = raw.len().min(heard.len().saturating_sub(most));
    let raw = &raw[..length];
    let power = rms(raw);
    (0..most)
        .map(|lag| {
            let later = &heard[lag..lag + length];
            let product: f32 =
                raw.iter().zip(later).map(|(a, b)| a * b).sum::<f32>() / length as f32;
            (product / (power * rms(later)).max(1e-9)).abs()
        })
        .fold(0.0, f32::max)
}

/// A memory machine whose microphone speaks and whose loudspeaker is taped.
pub struct Machine {
    pub host: Arc<MemoryHost>,
    pub said: Tape,
    pub heard: Tape,
}

impl Machine {
    pub fn speaking(f0_hz: f32) -> Self {
        Self::skewed(f0_hz, 0.0, 0.0)
    }

    pub fn skewed(f0_hz: f32, input_ppm: f64, output_ppm: f64) -> Self {
        let (said, heard) = (Tape::default(), Tape::default());
        let (say, hear) = (said.clone(), heard.clone());
        let mut speech = Speech::new(f0_hz);
        let input = Box::new(move |out: &mut [f32]| {
            speech.fill(out);
            say.add(out);
        });
        let output = Box::new(move |samples: &[f32], _| hear.add(samples));
        let host = Arc::new(MemoryHost::with_skew(input, output, input_ppm, output_ppm));
        Self { host, said, heard }
    }

    pub fn start(&self, seed: u8) -> (VoiceHandle, Receiver<LocalFrame>) {
        start(self.host.clone(), seed)
    }
}

pub fn start(host: Arc<dyn AudioHost>, seed: u8) -> (VoiceHandle, Receiver<LocalFrame>) {
    Voice::start(VoiceConfig {
        host,
        input: None,
        output: None,
        seed: MorphSeed::from_bytes([seed; 32]),
        character: Character::Free,
        clean_up: CleanUp::NONE,
    })
    .unwrap()
}

/// Takes frames as they come, and what `then` does with them, until the voice is stopped.
pub struct Frames {
    taken: Arc<Mutex<Vec<(Instant, LocalFrame)>>>,
    thread: JoinHandle<()>,
}

impl Frames {
    pub fn take(
        mut frames: Receiver<LocalFrame>,
        mut then: impl FnMut(u64, LocalFrame) + Send + 'static,
    ) -> Self {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let into = taken.clone();
        let thread = std::thread::spawn(move || {
            let mut sequence = 0;
            while let Some(frame) = frames.blocking_recv() {
                into.lock().unwrap().push((Instant::now(), frame));
                then(sequence, frame);
                sequence += 1;
            }
        });
        Self { taken, thread }
    }

    pub fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Ends when the voice has been stopped.
    pub fn all(self) -> Vec<(Instant, LocalFrame)> {
        self.thread.join().unwrap();
        std::mem::take(&mut *self.taken.lock().unwrap())
    }
}

/// What a listener would hear of these frames.
pub fn decode(frames: &[(Instant, LocalFrame)]) -> Vec<f32> {
    let mut decoder = VoiceDecoder::new().unwrap();
    let mut out = AudioFrame::SILENCE;
    let mut heard = Vec::new();
    for (_, frame) in frames {
        decoder
            .decode(&OpusFrame::try_from(&frame.opus[..]).unwrap(), &mut out)
            .unwrap();
        heard.extend_from_slice(&out.0);
    }
    heard
}

/// Waits until `holds`; fails loudly after ten seconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(
            began.elapsed() < Duration::from_secs(10),
            "never happened: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    began.elapsed()
}

pub fn until_status(
    what: &str,
    handle: &VoiceHandle,
    holds: impl Fn(&VoiceStatus) -> bool,
) -> VoiceStatus {
    let began = Instant::now();
    loop {
        let status = handle.status();
        if holds(&status) {
            return status;
        }
        let in_time = began.elapsed() < Duration::from_secs(10);
        assert!(in_time, "never happened: {what}; now {status:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn wait(seconds: f32) {
    std::thread::sleep(Duration::from_secs_f32(seconds));
}

//! Starting and stopping the voice, and the handle that says what it should do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rtrb::RingBuffer;
use tokio::sync::mpsc;
use undertone_dsp::{
    Character, CleanUp, Cleaner, MAX_STREAMS, MorphSeed, OPUS_FRAME_BYTES, OpusFrame, SendChain,
    StreamId,
};

use super::shared::{LocalFrame, Mode, OWN_STREAM, Observer, Packet, Shared, VoiceStatus, lock};
use super::{AudioError, AudioHost, DeviceId, Direction, keeper, monotonic, receive, send};

/// How long [`VoiceHandle::stop`] waits for a device that does not close.
const CLOSING: Duration = Duration::from_millis(80);
/// Frames on their way from the headphones' thread to the echo canceller; more than ever wait.
const PLAYED_FRAMES: usize = 16;

/// What a voice is made of.
pub struct VoiceConfig {
    /// Where devices come from.
    pub host: Arc<dyn AudioHost>,
    /// The microphone, `None` for the system's default.
    pub input: Option<DeviceId>,
    /// The headphones, `None` for the system's default.
    pub output: Option<DeviceId>,
    /// The circle's secret.
    pub seed: MorphSeed,
    /// The direction of the pseudo-voice.
    pub character: Character,
    /// What comes off the microphone before that.
    pub clean_up: CleanUp,
}

/// The voice path from microphone to coded frames, and from packets to headphones.
pub struct Voice;

impl Voice {
    /// Starts the threads, in [`Mode::Off`] and not allowed to speak. Missing devices are no error here: the
    /// status tells of them. Frames come out in [`Mode::Circle`], every 20 ms.
    ///
    /// # Errors
    /// [`AudioError::Morph`] if no voice can be made, [`AudioError::Threads`] if the system refuses threads or what they need.
    pub fn start(
        config: VoiceConfig,
    ) -> Result<(VoiceHandle, mpsc::Receiver<LocalFrame>), AudioError> {
        let chain = Box::new(
            SendChain::new(&config.seed, config.character).map_err(|_| AudioError::Morph)?,
        );
        let cleaner = Box::new(Cleaner::new(config.clean_up).map_err(|_| AudioError::Threads)?);
        let shared = Arc::new(Shared::new(config.input, config.output));
        shared.set_clean_up(config.clean_up);
        let (playing, played) = RingBuffer::new(PLAYED_FRAMES);
        let (frames, taken) = mpsc::channel(send::FRAME_QUEUE);
        let handle = VoiceHandle(Arc::new(Owner {
            shared: shared.clone(),
            threads: Mutex::default(),
        }));

        let mut threads = Threads::default();
        let start = || {
            let (s, r) = (shared.clone(), shared.clone());
            threads.voice.push(spawn("voice-send", &shared, move || {
                send::run(
                    &s,
                    send::Gear {
                        chain,
                        cleaner,
                        played,
                        frames,
                    },
                )
            })?);
            threads.voice.push(spawn("voice-receive", &shared, move || {
                receive::run(&r, playing)
            })?);
            for (name, direction) in [
                ("voice-mic", Direction::Input),
                ("voice-speaker", Direction::Output),
            ] {
                let (shared_, host) = (shared.clone(), config.host.clone());
                threads.keepers.push(spawn(name, &shared, move || {
                    keeper::run(&shared_, &*host, direction)
                })?);
            }
            Ok(())
        };
        let started: Result<(), AudioError> = start();
        *lock(&handle.0.threads) = threads;
        // An error drops the handle, which ends what did start.
        started.map(|()| (handle, taken))
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, AudioError> {
    let shared = shared.clone();
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            shared.report(|problems| problems.voice = Some(AudioError::Threads));
        }
    };
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(guarded)
        .map_err(|_| AudioError::Threads)
}

#[derive(Default)]
struct Threads {
    voice: Vec<JoinHandle<()>>,
    keepers: Vec<JoinHandle<()>>,
}

struct Owner {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

impl Owner {
    fn stop(&self) {
        self.shared.wish(|w| w.stop = true);
        let mut threads = lock(&self.threads);
        for thread in threads.voice.drain(..) {
            let _ = thread.join();
        }
        let until = monotonic() + CLOSING;
        for keeper in threads.keepers.drain(..) {
            while !keeper.is_finished() && monotonic() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
            if keeper.is_finished() {
                let _ = keeper.join();
            } else {
                // The system does not answer. The thread ends by itself once it does; its ring has no reader.
                tracing::warn!("a sound device takes long to close");
            }
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Says what the voice should do, from any thread, without waiting for it. The last one to be dropped stops it.
#[derive(Clone)]
pub struct VoiceHandle(Arc<Owner>);

impl VoiceHandle {
    /// What to do from now on.
    pub fn set_mode(&self, mode: Mode) {
        self.0.shared.wish(|w| w.mode = mode);
    }

    /// Muted means that the microphone is closed.
    pub fn set_muted(&self, muted: bool) {
        self.0.shared.wish(|w| w.muted = muted);
    }

    /// Whether what is said may be heard in the circle. It may not at the start.
    pub fn set_may_speak(&self, may_speak: bool) {
        self.0.shared.set_may_speak(may_speak);
    }

    /// Another voice, from the next frame on. If it cannot be made, the one before stays.
    pub fn set_voice(&self, seed: MorphSeed, character: Character) {
        // Made here, because making it may take longer than a frame.
        match SendChain::new(&seed, character) {
            Ok(chain) => {
                self.0.shared.next_chain.put(Box::new(chain));
                self.0
                    .shared
                    .report(|p| p.voice = p.voice.take().filter(|e| *e != AudioError::Morph));
            }
            Err(_) => self.0.shared.report(|p| p.voice = Some(AudioError::Morph)),
        }
    }

    /// What comes off the microphone before the morph, from the next frame on.
    pub fn set_clean_up(&self, clean_up: CleanUp) {
        self.0.shared.set_clean_up(clean_up);
    }

    /// Another microphone, or the same one again; `None` for the system's default.
    pub fn choose_input(&self, device: Option<DeviceId>) {
        self.0.shared.wish(|w| w.input.choose(device));
    }

    /// Other headphones, or the same ones again; `None` for the system's default.
    pub fn choose_output(&self, device: Option<DeviceId>) {
        self.0.shared.wish(|w| w.output.choose(device));
    }

    /// Makes room for one incoming voice. At most [`MAX_STREAMS`]; one more is ignored, as is `StreamId(u32::MAX)`.
    pub fn add_stream(&self, stream: StreamId) {
        self.0.shared.hear(|incoming| {
            if stream == OWN_STREAM || incoming.streams.len() >= MAX_STREAMS {
                tracing::warn!("no room for another voice");
                return;
            }
            incoming.added += 1;
            let added = incoming.added;
            incoming.streams.entry(stream).or_insert((1.0, added));
        });
    }

    /// Ends one incoming voice: what of it waits in buffers and in the playback ring is not played.
    pub fn remove_stream(&self, stream: StreamId) {
        self.0.shared.hear(|incoming| {
            incoming.streams.remove(&stream);
            incoming.packets.retain(|packet| packet.stream != stream);
        });
    }

    /// Takes in a packet that arrived now. Packets of unknown streams are ignored.
    pub fn push(&self, stream: StreamId, sequence: u64, opus: [u8; OPUS_FRAME_BYTES]) {
        let Ok(opus) = OpusFrame::try_from(&opus[..]) else {
            return;
        };
        if stream != OWN_STREAM {
            self.0.shared.push(Packet {
                stream,
                sequence,
                opus,
                arrived: monotonic(),
            });
        }
    }

    /// How loud one voice is: 0.0 to 2.0, 1.0 is as sent.
    pub fn set_volume(&self, stream: StreamId, volume: f32) {
        self.0.shared.hear(|incoming| {
            if let Some((wanted, _)) = incoming.streams.get_mut(&stream) {
                *wanted = volume;
            }
        });
    }

    /// Has every decoded frame told to `observer`, for reports; `None` ends it.
    pub fn observe(&self, observer: Option<Observer>) {
        lock(&self.0.shared.heard).observer = observer;
    }

    /// How it goes. Cheap; holds up no thread that carries sound.
    pub fn status(&self) -> VoiceStatus {
        self.0.shared.status()
    }

    /// Ends the threads and closes the devices, within 100 ms. A device that the system does not close in that
    /// time is left to it.
    pub fn stop(&self) {
        self.0.stop();
    }
}

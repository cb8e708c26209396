//! The world's side of Undertone: network, sound, disk, and the driver that brings them to the rules.
//!
//! It deliberately lacks rules of its own: who may do what is decided in `undertone-protocol`, how a
//! voice sounds in `undertone-dsp`. It lacks accounts, telemetry, and any way to write audio to disk.

pub mod api;
pub mod audio;
pub mod clock;
mod driver;
pub use driver::find_circles;
pub mod entropy;
pub mod net;
mod practice;
pub mod relay;
pub mod speech;
pub mod store;

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use undertone_protocol::invite::InviteError;
use undertone_protocol::record::RecordError;
use undertone_protocol::session::SessionError;

use api::{Command, Event, Snapshot};
use audio::{AudioError, AudioHost, SystemHost, Voice, VoiceConfig, VoiceHandle};
use net::{NetError, SocketFactory, udp_sockets};
use store::{Store, StoreError};

/// Commands that may wait for the driver; a person cannot click faster.
const COMMAND_QUEUE: usize = 64;
/// Events that a slow reader may be behind.
const EVENT_QUEUE: usize = 256;

/// Why a node cannot start, or could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetError),
    /// The sound.
    #[error(transparent)]
    Audio(#[from] AudioError),
    /// The rules.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An invite link.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// An invite that leads nowhere.
    #[error("the invite names no place to go to")]
    BadInvite,
    /// Not a relay's address.
    #[error("not the address of a relay")]
    BadRelay,
    /// The circle cannot be shown in a directory, or not by this person.
    #[error("this circle cannot be announced")]
    NotAnnounceable,
    /// The charter promises two hops, and the invite's ways have a relay that is both.
    #[error(
        "this circle goes through two operators' relays, and the invite leads through one that would see both ends"
    )]
    NotTwoHops,
    /// No pseudonym was chosen.
    #[error("no name was chosen")]
    NoName,
    /// Not a pseudonym.
    #[error("a name has 1 to 40 characters")]
    BadName,
    /// Only inside a circle.
    #[error("not in a circle")]
    NotInACircle,
    /// Only outside.
    #[error("already in a circle")]
    AlreadyInACircle,
    /// The voice check is for outside.
    #[error("no voice check inside a circle")]
    NoCheckInACircle,
    /// The network ended by itself.
    #[error("the network ended")]
    NetworkEnded,
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// No thread or runtime.
    #[error("cannot start: {0}")]
    Runtime(#[source] std::io::Error),
}

impl From<RecordError> for NodeError {
    fn from(error: RecordError) -> Self {
        Self::Session(error.into())
    }
}

/// What a node needs of the machine.
#[derive(Clone)]
pub struct NodeConfig {
    /// Where to keep what survives a restart; `None` keeps it in memory.
    pub data: Option<PathBuf>,
    /// The sound devices.
    pub audio: Arc<dyn AudioHost>,
    /// Where to listen in direct circles. Of several, those that this machine has.
    pub listen: Vec<SocketAddr>,
    /// How UDP sockets are opened.
    pub socket: SocketFactory,
    /// Whether members of a direct circle may find each other on this network.
    pub nearby: bool,
}

impl NodeConfig {
    /// The person's own machine: their data folder, their devices.
    ///
    /// # Errors
    /// When the system names no data folder.
    pub fn desktop() -> Result<Self, NodeError> {
        let folders = directories::ProjectDirs::from("", "", "undertone");
        let folders = folders.ok_or_else(|| {
            NodeError::Runtime(std::io::Error::other("no home folder on this system"))
        })?;
        Ok(Self {
            data: Some(folders.data_dir().to_owned()),
            audio: Arc::new(SystemHost::new()),
            listen: vec![
                SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            ],
            socket: udp_sockets(),
            nearby: true,
        })
    }

    /// A node that keeps nothing and stays on this machine.
    pub fn in_memory(audio: Arc<dyn AudioHost>) -> Self {
        Self {
            data: None,
            audio,
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            socket: udp_sockets(),
            nearby: false,
        }
    }
}

/// A running node. Dropping it ends it.
pub struct NodeHandle {
    commands: mpsc::Sender<Command>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    events: broadcast::Sender<Event>,
    voice: VoiceHandle,
    runtime: tokio::runtime::Handle,
    cancel: CancellationToken,
    hurry: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a node on threads of its own. What is stored is read before any socket opens.
///
/// # Errors
/// When the store cannot be read, or a thread cannot be started. Missing sound devices are no error: the
/// snapshot says so.
pub fn start(config: NodeConfig) -> Result<NodeHandle, NodeError> {
    let store = Store::open(config.data.as_deref())?;
    let settings = store.settings()?;
    let (voice, frames) = Voice::start(VoiceConfig {
        host: Arc::clone(&config.audio),
        input: driver::device(&settings.input),
        output: driver::device(&settings.output),
        seed: driver::morph_seed(&store, None, &settings),
        character: driver::character(&settings),
        clean_up: driver::clean_up(&settings),
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("node")
        .enable_all()
        .build()
        .map_err(NodeError::Runtime)?;
    let (commands, from_person) = mpsc::channel(COMMAND_QUEUE);
    let (draw, snapshot) = watch::channel(Arc::new(Snapshot {
        name: settings.name.clone(),
        ..Snapshot::default()
    }));
    let (events, _) = broadcast::channel(EVENT_QUEUE);
    let hurry = CancellationToken::new();
    let ends = driver::Ends {
        commands: from_person,
        frames,
        snapshot: draw,
        events: events.clone(),
        hurry: hurry.clone(),
    };
    let cancel = CancellationToken::new();
    let handle = runtime.handle().clone();
    let (speaking, ending) = (voice.clone(), cancel.clone());
    let thread = std::thread::Builder::new()
        .name("driver".into())
        .spawn(move || {
            let driver = driver::Driver::run(config, store, settings, speaking, ends, ending);
            runtime.block_on(driver);
            runtime.shutdown_timeout(Duration::from_secs(2));
        })
        .map_err(NodeError::Runtime)?;
    Ok(NodeHandle {
        commands,
        snapshot,
        events,
        voice,
        runtime: handle,
        cancel,
        hurry,
        thread: Mutex::new(Some(thread)),
    })
}

impl NodeHandle {
    /// Asks for something; what comes of it shows in the snapshot. Never blocks.
    pub fn send(&self, command: Command) {
        if self.commands.try_send(command).is_err() {
            tracing::warn!("a command was dropped: the node has ended or is not keeping up");
        }
    }

    /// All that can be seen now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// Has `call` called, from another thread, whenever there is a new snapshot.
    pub fn on_change(&self, call: Box<dyn Fn() + Send + Sync>) {
        let mut snapshot = self.snapshot.clone();
        self.runtime.spawn(async move {
            while snapshot.changed().await.is_ok() {
                call();
            }
        });
    }

    /// What happens from now on, in order.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The sound, for reports on it.
    pub fn voice(&self) -> &VoiceHandle {
        &self.voice
    }

    /// Ends sound and connections at once, without waiting for what follows.
    pub fn quick_exit(&self) {
        self.voice.stop();
        self.hurry.cancel();
        self.cancel.cancel();
    }

    /// Ends it, and waits until every task has ended and everything is on disk.
    pub fn stop(&self) {
        self.cancel.cancel();
        let thread = self.thread.lock();
        let thread = thread.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

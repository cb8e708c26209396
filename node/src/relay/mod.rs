//! The relay: what a community's operators run so that members never see each other's addresses.
//!
//! It has two halves, each on UDP ports of its own. The *entry* takes members' lines in, and passes their packets on to hubs,
//! its own or other operators'. It learns who comes, from where, and to which hubs. The *hub* is where circles meet: it tells
//! everybody who hears an opaque topic what others say on it, and copies sealed packets among the connections attached to
//! the same route. It can read neither: topics and routes are derived from circle keys it does not have, and everything
//! inside is sealed. It learns which connections share a route, and by which entry they come.
//!
//! The hub also has a *mailbox*, in memory: sealed messages for those who are away; and a *topic directory*: what leaders
//! chose to announce to everybody, exchanged with other relays.
//!
//! What it deliberately lacks: accounts, storage, logs of who or where, connections out to anybody but relays, knowledge
//! of circles that are not announced, and queues that grow. What a client cannot take at once pushes out the oldest packet
//! waiting for it. A client that goes on sending more than its share is cut.

mod config;
mod directory;
mod entry;
mod fair;
mod finder;
mod hub;
mod limits;
mod links;
mod mailbox;
mod metrics;
mod operator;
mod session;
mod stats;
mod swarm;
mod topics;

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use libp2p::{PeerId, identity::Keypair};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_util::sync::CancellationToken;
use undertone_protocol::operator::CardError;

use crate::net::{
    Behaviour, BehaviourLimits, Buffers, DialPolicy, Gate, GateLimits, Metronome, Observer,
    QuicConfig, QuicTransport, Registry, RelayAddress, RelayPath, SocketFactory, Tasks,
    TransportError, dialable, udp_sockets,
};

pub use config::{ConfigError, DirectoryFile, EntryFile, HubFile, RelayFile};
pub use limits::RelayLimits;
pub use operator::Operator;
pub use stats::RelayStats;

/// How often it is looked whether everybody has gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Relays found that wait to be linked to.
const FOUND: usize = 16;

/// Most addresses a relay listens on.
pub const MAX_LISTEN: usize = 4;

/// What a relay needs.
#[derive(Clone)]
pub struct RelayConfig {
    /// Where circles meet.
    pub hub: HubFile,
    /// Where members come in.
    pub entry: EntryFile,
    /// Its lasting identity: clients pin it. Keeping it is the caller's business.
    pub identity: Keypair,
    /// What clients are told of whoever runs it.
    pub operator: Operator,
    /// What leaders announce to everybody.
    pub directory: DirectoryFile,
    /// What clients may take.
    pub limits: RelayLimits,
    /// Where to answer `GET /metrics` and `GET /healthz` over HTTP, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// What opens UDP sockets.
    pub socket: SocketFactory,
}

impl RelayConfig {
    /// A relay with the default limits on plain UDP sockets, whose hub listens here, and its entry on any port
    /// of the same addresses.
    #[must_use]
    pub fn new(identity: Keypair, listen: Vec<SocketAddr>) -> Self {
        let entry = listen.iter().map(|a| SocketAddr::new(a.ip(), 0)).collect();
        Self {
            hub: HubFile {
                listen,
                ..HubFile::default()
            },
            entry: EntryFile {
                listen: entry,
                ..EntryFile::default()
            },
            identity,
            operator: Operator::default(),
            directory: DirectoryFile::default(),
            limits: RelayLimits::default(),
            metrics: None,
            socket: udp_sockets(),
        }
    }
}

impl RelayConfig {
    /// As the operator's file has it.
    #[must_use]
    pub fn from_file(identity: Keypair, file: RelayFile) -> Self {
        Self {
            operator: file.operator,
            directory: file.directory,
            limits: file.limits,
            metrics: file.metrics,
            hub: file.hub,
            entry: file.entry,
            ..Self::new(identity, Vec::new())
        }
    }
}

/// Why a relay could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// No socket could be opened.
    #[error("a UDP socket could not be opened: {0}")]
    Socket(#[source] std::io::Error),
    /// The clock of lines could not be started.
    #[error("the lines' clock could not be started: {0}")]
    Clock(#[source] std::io::Error),
    /// Nothing, or more than [`MAX_LISTEN`] addresses, to listen on.
    #[error("a relay listens on 1 to {MAX_LISTEN} addresses, not {0}")]
    Listen(usize),
    /// The operator's card has a text that cannot be shown.
    #[error("operator: {0}")]
    Card(#[from] CardError),
    /// The directory's part of the settings names a circle that is none.
    #[error("directory.refuse names something that is no circle")]
    Refused,
    /// Its identity is not an Ed25519 key.
    #[error("a relay's identity is an Ed25519 key")]
    Identity,
    /// The port for metrics could not be opened.
    #[error("metrics cannot be answered there: {0}")]
    Metrics(#[source] std::io::Error),
    /// TLS, QUIC or the transport could not be configured.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Called outside a tokio runtime.
    #[error("no tokio runtime")]
    NoRuntime,
}

/// A running relay. It runs until the token given to [`Relay::start`] is cancelled.
pub struct Relay {
    /// Its identity.
    pub peer: PeerId,
    /// Addresses of its hub, the likeliest first.
    pub hubs: Vec<RelayAddress>,
    /// Addresses of its entry, the likeliest first.
    pub entries: Vec<RelayAddress>,
    /// Where metrics are answered.
    pub metrics: Option<SocketAddr>,
    /// Other operators' hubs that its entry leads to.
    others: Vec<RelayAddress>,
    hub: Arc<hub::Hub>,
    gates: [Arc<Gate>; 2],
    tasks: Tasks,
}

impl Relay {
    /// Starts a relay, inside a tokio runtime.
    ///
    /// # Errors
    /// [`RelayError`] when no socket can be opened or the configuration is unusable; nothing keeps running then.
    pub fn start(config: RelayConfig, cancel: CancellationToken) -> Result<Self, RelayError> {
        tokio::runtime::Handle::try_current().map_err(|_| RelayError::NoRuntime)?;
        if config.hub.listen.is_empty() || config.hub.listen.len() > MAX_LISTEN {
            return Err(RelayError::Listen(config.hub.listen.len()));
        }
        let card = config.operator.card(&config.identity)?;
        let tasks = Tasks::new();
        let peer = config.identity.public().to_peer_id();
        let quic = QuicConfig::new(&config.identity, Buffers::RELAY)?;
        let line = QuicConfig::line(&config.identity)?;
        let listen = |quic: &QuicConfig, at: &[SocketAddr]| {
            let endpoint = |bind: &SocketAddr| {
                let socket = (config.socket)(*bind).map_err(RelayError::Socket)?;
                quic.endpoint(socket, true).map_err(RelayError::Socket)
            };
            at.iter().map(endpoint).collect::<Result<Vec<_>, _>>()
        };
        let endpoints = listen(&quic, &config.hub.listen)?;
        let doors = listen(&line, &config.entry.listen)?;
        let bound = bound(&endpoints);
        let named = |own: &[SocketAddr], public: &[SocketAddr]| -> Vec<RelayAddress> {
            let own = own.iter().flat_map(|addr| dialable(*addr));
            let all = public.iter().copied().chain(own);
            all.map(|addr| RelayAddress { peer, addr }).collect()
        };
        let hubs = named(&bound, &config.hub.public);
        let entries = named(&self::bound(&doors), &config.entry.public);

        // Whoever comes by our own entry comes from this machine.
        let mut trusted = config.hub.entries.clone();
        if !doors.is_empty() {
            trusted.push(Ipv4Addr::LOCALHOST.into());
            trusted.push(Ipv6Addr::LOCALHOST.into());
            trusted.extend(hubs.iter().map(|hub| hub.addr.ip()));
        }

        let metrics = config.metrics.map(listen_for_metrics).transpose()?;
        let registry = Registry::new();
        let refused = config.directory.refused().ok_or(RelayError::Refused)?;
        let directory = directory::TopicDirectory::new(&config.limits, refused);
        let directory = config.directory.carry.then(|| Arc::new(directory));
        let hub = hub::Hub::new(
            config.limits,
            directory.clone(),
            card.clone().into(),
            trusted.clone(),
            tasks.clone(),
        );
        let observer: Weak<dyn Observer> = Arc::downgrade(&hub) as Weak<dyn Observer>;
        registry.observe(observer);
        let limits = GateLimits {
            connections: config.limits.connections_per_address,
            attempts: config.limits.attempts,
            // Members come by an entry: nobody else is to take their room at the hub.
            strangers: config.limits.connections / 2,
            unproven: config.limits.pending / 4,
        };
        let gate = Gate::new(limits, trusted);
        let entry = Arc::new(entry::Entry {
            hubs: reached(&hubs, &bound, &config.entry.hubs),
            card,
            limits: config.limits,
            metronome: Metronome::start().map_err(RelayError::Clock)?,
            gate: Gate::new(
                GateLimits {
                    strangers: config.limits.lines,
                    ..limits
                },
                Vec::new(),
            ),
            counters: Arc::clone(&hub.counters),
            tasks: tasks.clone(),
        });
        let transport = QuicTransport::new(
            quic,
            endpoints.clone(),
            match config.directory.peers.is_empty() {
                true => DialPolicy::Nobody,
                false => DialPolicy::Anyone,
            },
            registry,
            Arc::clone(&gate),
        );
        let gates = [gate, Arc::clone(&entry.gate)];
        let limits = BehaviourLimits {
            connections: config.limits.connections,
            per_peer: 3,
            pending: config.limits.pending,
            memory_bytes: (config.limits.memory_mib as usize) << 20,
        };
        let mut behaviour = Behaviour::new(&config.identity, None, &limits);
        let peers = config.directory.peers;
        let finder = directory.map(|directory| {
            behaviour.kademlia = Some(finder::kademlia(peer)).into();
            let (found, from_finder) = mpsc::channel(FOUND);
            let links = links::Links {
                directory,
                counters: Arc::clone(&hub.counters),
                socket: config.socket.clone(),
                tasks: tasks.clone(),
                linked: Arc::new(Mutex::new(
                    [(peer, (links::Origin::Own, Ipv4Addr::LOCALHOST.into()))].into(),
                )),
            };
            tasks.spawn(links.run(peers.clone(), from_finder));
            // Where it is, other relays need to know only if it looks for them.
            let own = match (peers.is_empty(), config.hub.public.is_empty()) {
                (true, _) => Vec::new(),
                (false, true) => bound.iter().flat_map(|addr| dialable(*addr)).collect(),
                (false, false) => config.hub.public,
            };
            (own, finder::Finder::new(peer, peers, found))
        });
        let swarm = swarm::RelaySwarm::new(
            transport,
            behaviour,
            swarm::Setup {
                peer,
                bound,
                endpoints: endpoints.into_iter().chain(doors.iter().cloned()).collect(),
                gates: gates.clone(),
                hub: Arc::clone(&hub),
                finder,
                tasks: tasks.clone(),
            },
        )?;
        tasks.spawn_to_the_end(swarm.run(cancel));
        for door in doors {
            tasks.spawn(Arc::clone(&entry).serve(door));
        }
        let pages = metrics.as_ref().and_then(|m| m.local_addr().ok());
        if let Some(listener) = metrics {
            tasks.spawn(metrics::serve(listener, Arc::clone(&hub)));
        }
        Ok(Self {
            peer,
            hubs,
            entries,
            metrics: pages,
            others: config.entry.hubs,
            hub,
            gates,
            tasks,
        })
    }

    /// The ways to its hub by its own entry, the likeliest first.
    #[must_use]
    pub fn paths(&self) -> Vec<RelayPath> {
        let pairs = self.entries.iter().zip(&self.hubs);
        pairs.map(RelayPath::from).collect()
    }

    /// The ways by its entry to other operators' hubs.
    #[must_use]
    pub fn two_hop_paths(&self) -> Vec<RelayPath> {
        let near = |hub: &RelayAddress| {
            let same = |entry: &&RelayAddress| entry.addr.is_ipv4() == hub.addr.is_ipv4();
            self.entries.iter().find(same).or(self.entries.first())
        };
        let others = self.others.iter();
        others
            .filter_map(|hub| Some(RelayPath::from((near(hub)?, hub))))
            .collect()
    }

    /// Lets nobody new in, and returns when the last circle and the last line have ended, or after `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.gates.iter().for_each(|gate| gate.close());
        self.hub.counters.drain();
        let empty = async {
            while self.stats().is_in_use() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let _ = tokio::time::timeout(patience, empty).await;
    }

    /// What it has done so far, in sum; nothing about anybody.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.hub.stats()
    }

    /// Returns when every task of the relay has ended, after the token was cancelled.
    pub async fn closed(self) {
        self.tasks.joined().await;
    }
}

fn bound(endpoints: &[quinn::Endpoint]) -> Vec<SocketAddr> {
    (endpoints.iter().filter_map(|e| e.local_addr().ok())).collect()
}

/// Hubs that the entry leads to, as members name them, and where they are from here: our own on this machine.
fn reached(
    own: &[RelayAddress],
    bound: &[SocketAddr],
    others: &[RelayAddress],
) -> Vec<(SocketAddr, SocketAddr)> {
    let here = |hub: SocketAddr| {
        let same = |at: &&SocketAddr| at.is_ipv4() == hub.is_ipv4();
        match bound.iter().find(same) {
            Some(at) if !at.ip().is_unspecified() => *at,
            Some(SocketAddr::V4(at)) => (Ipv4Addr::LOCALHOST, at.port()).into(),
            Some(SocketAddr::V6(at)) => (Ipv6Addr::LOCALHOST, at.port()).into(),
            None => hub,
        }
    };
    let own = own.iter().map(|hub| (hub.addr, here(hub.addr)));
    own.chain(others.iter().map(|hub| (hub.addr, hub.addr)))
        .collect()
}

/// Opens the port at once, so that the operator hears of it at once if it is taken.
fn listen_for_metrics(address: SocketAddr) -> Result<TcpListener, RelayError> {
    let listener = std::net::TcpListener::bind(address).map_err(RelayError::Metrics)?;
    (listener.set_nonblocking(true))
        .and_then(|()| TcpListener::from_std(listener))
        .map_err(RelayError::Metrics)
}

//! The relay: what a community's operators run so that members never see each other's addresses.
//!
//! It is two hubs on one UDP port. *Gossip*: it subscribes to whatever opaque topics its clients subscribe to, and
//! hands on what they publish. *Media*: it copies sealed packets among the connections attached to the same route.
//! It can read neither: topics and routes are derived from circle keys it does not have, and everything inside is
//! sealed. It learns its clients' addresses and which connections share a route.
//!
//! What it deliberately lacks: accounts, storage, logs of who or where, outgoing connections, knowledge of circles,
//! and queues that grow. What a client cannot take at once pushes out the oldest packet waiting for it.

mod hub;
mod session;
mod stats;
mod swarm;
mod topics;

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use libp2p::{PeerId, identity::Keypair};
use tokio_util::sync::CancellationToken;

use crate::net::{
    Behaviour, BehaviourLimits, Budget, Buffers, DialPolicy, Observer, QuicConfig, QuicTransport,
    Registry, RelayAddress, Role, SocketFactory, Tasks, TransportError, dialable, udp_sockets,
};

pub use stats::RelayStats;

/// Most addresses a relay listens on.
pub const MAX_LISTEN: usize = 4;

/// What one client, and all clients together, may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelayLimits {
    /// Connections in all.
    pub connections: u32,
    /// Handshakes under way.
    pub pending: u32,
    /// Resident memory beyond which no connection is taken, bytes.
    pub memory_bytes: usize,
    /// Media routes in all.
    pub routes: usize,
    /// Connections on one route: the members of a circle.
    pub slots_per_route: usize,
    /// Routes one connection is attached to: this epoch's and the last one's.
    pub routes_per_connection: usize,
    /// Datagrams taken from one connection.
    pub datagrams: Budget,
    /// Route requests taken from one connection.
    pub route_requests: Budget,
    /// Topics in all.
    pub topics: usize,
    /// Topics one client may subscribe to.
    pub topics_per_client: usize,
    /// Control messages taken from one client.
    pub messages: Budget,
    /// Bytes of control messages taken from one client; the burst lets one catch-up answer (256 KiB) through.
    pub message_bytes: Budget,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            pending: 128,
            memory_bytes: 1 << 30,
            routes: 256,
            slots_per_route: 16,
            routes_per_connection: 2,
            datagrams: Budget {
                per_second: 150.0,
                burst: 75.0,
            },
            route_requests: Budget {
                per_second: 2.0,
                burst: 16.0,
            },
            topics: 1_024,
            topics_per_client: 16,
            messages: Budget {
                per_second: 20.0,
                burst: 100.0,
            },
            message_bytes: Budget {
                per_second: 64.0 * 1024.0,
                burst: 512.0 * 1024.0,
            },
        }
    }
}

/// What a relay needs.
#[derive(Clone)]
pub struct RelayConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Its lasting identity: clients pin it. Keeping it is the caller's business.
    pub identity: Keypair,
    /// What clients may take.
    pub limits: RelayLimits,
    /// What opens UDP sockets.
    pub socket: SocketFactory,
}

impl RelayConfig {
    /// A relay with the default limits on plain UDP sockets.
    #[must_use]
    pub fn new(identity: Keypair, listen: Vec<SocketAddr>) -> Self {
        Self {
            listen,
            identity,
            limits: RelayLimits::default(),
            socket: udp_sockets(),
        }
    }
}

/// Why a relay could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// No socket could be opened.
    #[error("a UDP socket could not be opened: {0}")]
    Socket(#[source] std::io::Error),
    /// Nothing, or more than [`MAX_LISTEN`] addresses, to listen on.
    #[error("a relay listens on 1 to {MAX_LISTEN} addresses, not {0}")]
    Listen(usize),
    /// TLS, QUIC or the transport could not be configured.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Gossip could not be configured.
    #[error("gossip could not be configured: {0}")]
    Gossip(String),
    /// Called outside a tokio runtime.
    #[error("no tokio runtime")]
    NoRuntime,
}

/// A running relay. It runs until the token given to [`Relay::start`] is cancelled.
pub struct Relay {
    /// Its identity.
    pub peer: PeerId,
    /// Addresses clients can be given, the likeliest first.
    pub addresses: Vec<RelayAddress>,
    hub: Arc<hub::Hub>,
    tasks: Tasks,
}

impl Relay {
    /// Starts a relay, inside a tokio runtime.
    ///
    /// # Errors
    /// [`RelayError`] when no socket can be opened or the configuration is unusable; nothing keeps running then.
    pub fn start(config: RelayConfig, cancel: CancellationToken) -> Result<Self, RelayError> {
        tokio::runtime::Handle::try_current().map_err(|_| RelayError::NoRuntime)?;
        if config.listen.is_empty() || config.listen.len() > MAX_LISTEN {
            return Err(RelayError::Listen(config.listen.len()));
        }
        let tasks = Tasks::new();
        let peer = config.identity.public().to_peer_id();
        let quic = QuicConfig::new(&config.identity, Buffers::RELAY)?;
        let endpoints = config
            .listen
            .iter()
            .map(|bind| {
                let socket = (config.socket)(*bind).map_err(RelayError::Socket)?;
                quic.endpoint(socket, true).map_err(RelayError::Socket)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let bound: Vec<SocketAddr> = endpoints
            .iter()
            .filter_map(|e| e.local_addr().ok())
            .collect();
        let addresses = bound
            .iter()
            .flat_map(|addr| dialable(*addr))
            .map(|addr| RelayAddress { peer, addr })
            .collect();

        let registry = Registry::new();
        let hub = hub::Hub::new(config.limits, tasks.clone());
        let observer: Weak<dyn Observer> = Arc::downgrade(&hub) as Weak<dyn Observer>;
        registry.observe(observer);
        let transport = QuicTransport::new(quic, endpoints.clone(), DialPolicy::Nobody, registry);
        let limits = BehaviourLimits {
            connections: config.limits.connections,
            per_peer: 3,
            pending: config.limits.pending,
            topics_per_peer: config.limits.topics_per_client,
            memory_bytes: config.limits.memory_bytes,
        };
        let behaviour =
            Behaviour::new(&config.identity, Role::Relay, &limits).map_err(RelayError::Gossip)?;
        let swarm = swarm::RelaySwarm::new(
            transport,
            behaviour,
            swarm::Setup {
                peer,
                bound,
                endpoints,
                limits: config.limits,
                hub: Arc::clone(&hub),
                tasks: tasks.clone(),
            },
        )?;
        tasks.spawn_to_the_end(swarm.run(cancel));
        Ok(Self {
            peer,
            addresses,
            hub,
            tasks,
        })
    }

    /// What it has done so far, in sum; nothing about anybody.
    #[must_use]
    pub fn stats(&self) -> RelayStats {
        self.hub.counters.snapshot()
    }

    /// Returns when every task of the relay has ended, after the token was cancelled.
    pub async fn closed(self) {
        self.tasks.joined().await;
    }
}

/// Runs a relay until `cancel`.
///
/// # Errors
/// As [`Relay::start`].
pub async fn run(config: RelayConfig, cancel: CancellationToken) -> Result<(), RelayError> {
    Relay::start(config, cancel)?.closed().await;
    Ok(())
}

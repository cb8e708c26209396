//! The network of one circle session: one fresh identity, one UDP port, one connection a peer.
//!
//! ```text
//!            NetCommand                                            NetEvent
//!  driver ───────────────► courier ──► swarm (gossipsub, identify, ping) ──────► driver
//!                             │            │ streams                     ▲  ▲
//!                     hubs,   │            ▼                             │  │ pump
//!                     media   │      quinn::Connection ── datagrams ──► inbox (drop-oldest)
//!                             └────────────►  ── hub streams ───────────┘
//! ```
//!
//! In direct circles control messages travel on libp2p gossipsub, in relayed ones on a stream to each hub (`wire`);
//! sealed packets on RFC 9221 datagrams of the *same* QUIC connection. Media never waits behind control: commands
//! carrying it are answered by the courier at once, and what arrives goes through a ring of its own that forgets the
//! oldest packet when the driver is slow.
//!
//! What this module deliberately lacks: any rule about who may speak, any key, any clear text. It moves opaque
//! topics, opaque payloads and opaque packets. It also lacks discovery among strangers (libp2p's mDNS, DHT, peer
//! exchange), hole punching, port mapping, and any way from a relayed circle to a direct connection. Members of a direct
//! circle may look for each other on one network beside it (`nearby`), under names that their invite gives.
//!
//! A relayed circle's endpoint sits on a *line* to an entry (`line`), which shows the same packets at the same pace
//! whatever goes on; the module above it knows nothing of that.
//!
//! Nothing here logs an address, a peer, a topic or a route, and `Debug` of its types shows none. libp2p and quinn do
//! log peers and addresses under their own targets (`libp2p_*`, `quinn*`); a program that logs must leave those off.

mod address;
mod backlog;
mod behaviour;
mod cadence;
mod choice;
mod congestion;
mod courier;
pub mod directory;
mod gate;
mod gossip;
mod hub_client;
mod limit;
pub(crate) mod line;
mod media;
mod muxer;
mod nearby;
mod outbox;
mod quic;
mod registry;
mod relay_link;
mod seen;
mod swarm;
mod tasks;
mod transport;
pub(crate) mod twice;
mod types;
mod wants;
pub(crate) mod wire;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use libp2p::{PeerId, identity::Keypair};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use undertone_protocol::record::Pace;

pub use address::{AddressError, RelayAddress, RelayPath};
pub(crate) use address::{is_dialable, parse_quic, quic_multiaddr};
pub(crate) use limit::Allowance;
pub use limit::{Budget, TokenBucket};
pub use media::MediaCounters;
pub(crate) use nearby::{Nearby, Neighbour};
pub use quic::{SocketFactory, udp_sockets};
pub use transport::TransportError;
pub use types::{
    MessageRef, NetCommand, NetEvent, Refusal, RouteKey, RouteRefusal, Topic, Verdict,
};
pub use undertone_protocol::session::Delivery;

pub(crate) use backlog::Backlog;
pub(crate) use behaviour::{Behaviour, BehaviourEvent, BehaviourLimits};
pub(crate) use gate::{Gate, GateLimits, Trusted, source};
pub(crate) use line::Metronome;
use line::{LineConfig, cells};
pub(crate) use quic::{Buffers, QuicConfig};
pub(crate) use registry::{CLOSE_EXCESS, CLOSE_PROTOCOL, Observer, Registry};
pub(crate) use swarm::swarm_config;
pub(crate) use tasks::Tasks;
pub(crate) use transport::pass;
pub(crate) use transport::{DialPolicy, QuicTransport};
pub(crate) use wants::REQUESTS;

/// Largest control payload accepted for publishing, bytes: a record padded to 16 KiB and its sealing.
pub const MAX_CONTROL_BYTES: usize = 18 * 1024;

/// Largest sealed packet accepted for a datagram, bytes. A path that carries QUIC carries this.
pub const MAX_PACKET_BYTES: usize = 1_100;

/// Commands that may wait for the courier.
pub const COMMAND_QUEUE: usize = 256;

/// Events that may wait for the driver.
pub const EVENT_QUEUE: usize = 64;

/// How a circle's members reach one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// Members connect to each other and see each other's addresses.
    Direct,
    /// Everything goes through relays; this node opens a line to an entry and nothing else, and listens to nobody.
    Relayed(Relayed),
}

/// How a relayed circle is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relayed {
    /// Hubs that members meet at, 1 to [`MAX_HUBS`]: everybody hears all of them, and sends on the first that works.
    pub hubs: Vec<RelayAddress>,
    /// Entries to them, the preferred first; each leads to all hubs.
    pub entries: Vec<RelayAddress>,
    /// Most members of the circle, from which follows how much the entry sends at any time.
    pub members: u8,
    /// How often something goes over the line.
    pub pace: Pace,
}

impl Relayed {
    /// By all entries and all hubs of these ways; a hub with several addresses is reached at the first.
    #[must_use]
    pub fn by(paths: &[RelayPath], members: u8, pace: Pace) -> Option<Self> {
        let (mut hubs, mut entries) = (Vec::<RelayAddress>::new(), Vec::new());
        for RelayPath { entry, hub } in paths {
            if hubs.len() < MAX_HUBS && !hubs.iter().any(|h| h.peer == hub.peer) {
                hubs.push(hub.clone());
            }
            if !entries.contains(entry) {
                entries.push(entry.clone());
            }
        }
        (!hubs.is_empty()).then_some(Self {
            hubs,
            entries,
            members,
            pace,
        })
    }
}

/// What a circle session needs of the network.
#[derive(Clone)]
pub struct NetworkConfig {
    /// The transport identity, made afresh for this run and circle.
    pub keypair: Keypair,
    /// Direct: addresses to listen on (`0.0.0.0:0` for any port).
    pub listen: Vec<SocketAddr>,
    /// How peers are reached.
    pub route: Route,
    /// What opens UDP sockets; [`udp_sockets`] unless packets are to be lost or nested.
    pub socket: SocketFactory,
}

impl NetworkConfig {
    /// Configuration of a direct circle on plain UDP sockets, listening on `listen`.
    #[must_use]
    pub fn direct(keypair: Keypair, listen: Vec<SocketAddr>) -> Self {
        Self {
            keypair,
            listen,
            route: Route::Direct,
            socket: udp_sockets(),
        }
    }

    /// Configuration of a relayed circle on plain UDP sockets.
    #[must_use]
    pub fn relayed(keypair: Keypair, relayed: Relayed) -> Self {
        Self {
            keypair,
            listen: Vec::new(),
            route: Route::Relayed(relayed),
            socket: udp_sockets(),
        }
    }
}

/// Why a network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No socket could be opened.
    #[error("a UDP socket could not be opened: {0}")]
    Socket(#[source] std::io::Error),
    /// The clock of a line could not be started.
    #[error("a line's clock could not be started: {0}")]
    Clock(#[source] std::io::Error),
    /// A direct circle was given nothing to listen on.
    #[error("a direct circle needs an address to listen on")]
    NothingToListenOn,
    /// A relayed circle was given nowhere to meet.
    #[error("a relayed circle needs a hub to meet at")]
    NoHub,
    /// More listen addresses than [`MAX_LISTEN`].
    #[error("{0} listen addresses, at most {MAX_LISTEN}")]
    TooManyListeners(usize),
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

/// Most hubs of a circle.
pub const MAX_HUBS: usize = 3;

/// Most addresses a node listens on.
pub const MAX_LISTEN: usize = 4;

/// A running network. Dropping it, or cancelling the token given to [`start`], ends it; [`Network::closed`] joins it.
pub struct Network {
    /// This session's transport identity.
    pub local_peer: PeerId,
    /// Addresses peers could dial, the likeliest first; of a relayed circle, nothing.
    pub local_addrs: Vec<SocketAddr>,
    /// Sockets that peers could dial, as they were bound; of a relayed circle, none.
    pub bound: Vec<SocketAddr>,
    /// Where commands go. Never blocks for long: commands are taken even while events wait.
    pub commands: mpsc::Sender<NetCommand>,
    /// What happened, in order; media may be dropped (oldest first) when nobody reads, nothing else is.
    pub events: mpsc::Receiver<NetEvent>,
    counters: Arc<MediaCounters>,
    tasks: Tasks,
}

impl Network {
    /// Counts of packets sent, received and dropped so far.
    #[must_use]
    pub fn counters(&self) -> Arc<MediaCounters> {
        Arc::clone(&self.counters)
    }

    /// Ends when every task of this network has ended. Ends the network if nothing else has.
    pub async fn closed(self) {
        let Self {
            commands,
            mut events,
            tasks,
            ..
        } = self;
        drop(commands);
        // Whatever is still to be said may need a connection first, of which there is something to tell.
        let hear_out = async {
            while events.recv().await.is_some() {}
            std::future::pending().await
        };
        tokio::select! {
            () = tasks.joined() => {}
            () = hear_out => {}
        }
    }
}

/// Starts the network of one circle session.
///
/// Must be called inside a tokio runtime. After `cancel`, commands already sent are still carried out and a short
/// time is given to gossip on its way; then connections are closed and tasks end.
///
/// # Errors
/// [`NetError`] when no socket can be opened or the configuration contradicts itself; nothing keeps running then.
pub fn start(config: NetworkConfig, cancel: CancellationToken) -> Result<Network, NetError> {
    tokio::runtime::Handle::try_current().map_err(|_| NetError::NoRuntime)?;
    if config.listen.len() > MAX_LISTEN {
        return Err(NetError::TooManyListeners(config.listen.len()));
    }
    let tasks = Tasks::new();
    let local_peer = config.keypair.public().to_peer_id();
    let quic = QuicConfig::new(&config.keypair, Buffers::NODE)?;

    let (events_tx, events) = mpsc::channel(EVENT_QUEUE);
    let (binds, hubs, beat, sockets) = match config.route {
        Route::Direct if config.listen.is_empty() => return Err(NetError::NothingToListenOn),
        Route::Relayed(relayed) if relayed.hubs.is_empty() => return Err(NetError::NoHub),
        Route::Direct => (config.listen, Vec::new(), Duration::ZERO, config.socket),
        Route::Relayed(relayed) => {
            let line = LineConfig {
                entries: relayed.entries,
                hubs: relayed.hubs.iter().map(|hub| hub.addr).collect(),
                cells: cells(relayed.members, relayed.hubs.len(), relayed.pace),
                pace: relayed.pace,
                socket: config.socket,
                events: events_tx.clone(),
            };
            let binds: BTreeSet<_> = line.hubs.iter().map(unspecified).collect();
            let beat = undertone_protocol::session::beat(relayed.members, relayed.pace);
            let sockets = line::start(line, &tasks)?;
            (binds.into_iter().collect(), relayed.hubs, beat, sockets)
        }
    };
    let listens = hubs.is_empty();
    let open = |bind: &SocketAddr| quic.endpoint(sockets(*bind)?, listens);
    let (opened, failed): (Vec<_>, Vec<_>) = binds.iter().map(open).partition(Result::is_ok);
    // A machine without IPv6, say, has what it has.
    let elsewhere = listens && !opened.is_empty();
    if let Some(Err(error)) = failed.into_iter().next().filter(|_| !elsewhere) {
        return Err(NetError::Socket(error));
    }
    let endpoints: Vec<_> = opened.into_iter().flatten().collect();
    let bound: Vec<SocketAddr> = endpoints
        .iter()
        .filter_map(|e| e.local_addr().ok())
        .collect();
    let local_addrs = if listens {
        bound.iter().flat_map(|a| dialable(*a)).collect()
    } else {
        Vec::new()
    };

    let (commands, commands_rx) = mpsc::channel(COMMAND_QUEUE);
    let (swarm_tx, swarm_rx) = mpsc::channel(courier::SWARM_QUEUE);

    let registry = Registry::new();
    let plane = media::MediaPlane::new(
        &hubs,
        beat,
        Arc::clone(&registry),
        &events_tx,
        tasks.clone(),
    );
    let observer: Weak<dyn Observer> = Arc::downgrade(&plane) as Weak<dyn Observer>;
    registry.observe(observer);
    let (policy, gossip) = match listens {
        true => {
            let gossip = gossip::behaviour().map_err(NetError::Gossip)?;
            (DialPolicy::Anyone, Some(gossip))
        }
        false => (DialPolicy::Only(hubs.clone()), None),
    };
    let gate = Gate::new(GateLimits::NODE, Vec::new());
    let transport =
        QuicTransport::new(quic, endpoints.clone(), policy, Arc::clone(&registry), gate);

    let behaviour = Behaviour::new(&config.keypair, gossip, &BehaviourLimits::NODE);
    let swarm = swarm::NodeSwarm::new(
        transport,
        behaviour,
        swarm::Setup {
            local_peer,
            listen: if listens { bound.clone() } else { Vec::new() },
            hubs,
            registry,
            endpoints,
            tasks: tasks.clone(),
        },
    )?;

    let counters = plane.counters();
    tasks.spawn(media::pump(plane.inbox(), events_tx.clone()));
    tasks.spawn(courier::run(commands_rx, swarm_tx, plane, cancel));
    tasks.spawn_to_the_end(swarm.run(swarm_rx, events_tx));
    Ok(Network {
        local_peer,
        local_addrs,
        bound: if listens { bound } else { Vec::new() },
        commands,
        events,
        counters,
        tasks,
    })
}

/// The unspecified address of `peer`'s family, any port.
pub(crate) fn unspecified(peer: &SocketAddr) -> SocketAddr {
    match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Addresses under which `bound` can be dialled: itself, or for an unspecified one the address that outgoing packets
/// would carry, then loopback. Where nothing leads further, of either family, it is the private address of an interface instead: not
/// all that the machine has, as somebody may be behind a tunnel so that others do not learn them. Asks the kernel; sends nothing.
pub(crate) fn dialable(bound: SocketAddr) -> Vec<SocketAddr> {
    if !bound.ip().is_unspecified() {
        return vec![bound];
    }
    let is_ipv6 = bound.is_ipv6();
    let leads_nowhere = || outward(!is_ipv6).is_none();
    let reached = outward(is_ipv6).or_else(|| leads_nowhere().then(|| private(is_ipv6)).flatten());
    let loopback: IpAddr = match is_ipv6 {
        false => Ipv4Addr::LOCALHOST.into(),
        true => Ipv6Addr::LOCALHOST.into(),
    };
    (reached.into_iter().chain([loopback]))
        .map(|ip| SocketAddr::new(ip, bound.port()))
        .collect()
}

/// The address that packets of this family would carry far away.
fn outward(is_ipv6: bool) -> Option<IpAddr> {
    // Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket only chooses a source address.
    let far: IpAddr = match is_ipv6 {
        false => Ipv4Addr::new(192, 0, 2, 1).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    let far = SocketAddr::new(far, 9);
    let socket = std::net::UdpSocket::bind(unspecified(&far)).ok()?;
    socket.connect(far).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

/// The private address (RFC 1918, RFC 4193) of an interface of this family to other machines.
fn private(is_ipv6: bool) -> Option<IpAddr> {
    let is_private = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_private(),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    let all = if_addrs::get_if_addrs().ok()?.into_iter();
    all.filter(|interface| interface.is_oper_up() && !interface.is_p2p())
        .map(|interface| interface.ip())
        .find(|ip| ip.is_ipv6() == is_ipv6 && is_private(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_address_is_dialled_as_it_is() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 4000));
        assert_eq!(dialable(addr), vec![addr]);
    }

    #[test]
    fn an_unspecified_address_always_offers_loopback() {
        let found = dialable(SocketAddr::from(([0, 0, 0, 0], 4000)));
        assert_eq!(
            found.last(),
            Some(&SocketAddr::from(([127, 0, 0, 1], 4000)))
        );
        assert!(found.iter().all(|a| !a.ip().is_unspecified()));
    }
}

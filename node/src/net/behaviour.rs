//! The libp2p protocols an Undertone endpoint speaks, under limits: identify and ping, in direct circles gossipsub, and among
//! relays Kademlia. Nothing else.

use std::time::Duration;

use libp2p::{
    connection_limits::{self, ConnectionLimits},
    identify,
    identity::Keypair,
    kad, memory_connection_limits, ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
};

use super::gossip::Gossip;

/// Bounds on what peers may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BehaviourLimits {
    /// Connections in all.
    pub(crate) connections: u32,
    /// Connections of one peer: one, one more when both dial, one more while an old one is closing.
    pub(crate) per_peer: u32,
    /// Handshakes under way, each direction.
    pub(crate) pending: u32,
    /// Resident memory of the process beyond which no connection is taken, bytes.
    pub(crate) memory_bytes: usize,
}

impl BehaviourLimits {
    /// A participant: sixteen members, and some who wait at the door.
    pub(crate) const NODE: Self = Self {
        connections: 64,
        per_peer: 3,
        pending: 32,
        memory_bytes: 2 << 30,
    };
}

/// See the module.
#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(crate) gossip: Toggle<Gossip>,
    pub(crate) kademlia: Toggle<kad::Behaviour<kad::store::MemoryStore>>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    /// Without Kademlia, which only relays have.
    pub(crate) fn new(keypair: &Keypair, gossip: Option<Gossip>, limits: &BehaviourLimits) -> Self {
        let connections = ConnectionLimits::default()
            .with_max_established(Some(limits.connections))
            .with_max_established_per_peer(Some(limits.per_peer))
            .with_max_pending_incoming(Some(limits.pending))
            .with_max_pending_outgoing(Some(limits.pending));
        // Everybody says the same words, no version, no system; no listen address is told in any kind of circle
        // (members of direct circles learn addresses inside the circle's encryption), and none is learnt.
        let identify = identify::Config::new("/undertone/1".into(), keypair.public())
            .with_agent_version("undertone".into())
            .with_hide_listen_addrs(true)
            .with_push_listen_addr_updates(false)
            .with_cache_size(0);
        Self {
            limits: connection_limits::Behaviour::new(connections),
            memory: memory_connection_limits::Behaviour::with_max_bytes(limits.memory_bytes),
            gossip: gossip.into(),
            kademlia: None.into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(Duration::from_secs(15))),
        }
    }
}

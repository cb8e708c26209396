//! How relays find each other's directories, so that no operator has to know all others: Kademlia, among relays only.
//!
//! Every relay that carries a directory and knows another says so under one key; since all of them exchange all that they
//! hold, any of them leads to every topic. Members take no part, and no topic is ever asked for (`docs/decisions/0014`).
//! A relay counts as being at an address only if it was connected from there or to there.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use libp2p::{
    PeerId, StreamProtocol, Swarm, identify,
    kad::{
        self, BucketInserts, GetProvidersOk, InboundRequest, Mode, QueryResult, RecordKey,
        StoreInserts,
        store::{MemoryStore, MemoryStoreConfig, RecordStore},
    },
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::sync::mpsc;

use crate::net::{
    Behaviour, BehaviourEvent, RelayAddress, is_dialable, parse_quic, quic_multiaddr, source,
};

/// Kademlia as relays speak it.
pub(crate) type Kademlia = kad::Behaviour<MemoryStore>;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/undertone/kad/1");
/// What every relay with a directory provides.
const DIRECTORY: &[u8] = b"undertone/1/directory";
/// Relays remembered, those at one address, and for how long after they last showed that they are there.
const MOST_KNOWN: usize = 256;
const MOST_AT_ONE: usize = 4;
const KNOWN_FOR: Duration = Duration::from_secs(2 * 3_600);
/// Addresses of one.
const MOST_ADDRESSES: usize = 4;
/// The first pause between two searches, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a relay is said to have a directory, if it does not say so again.
const PROVIDER_TTL: Duration = Duration::from_secs(3_600);

/// Kademlia, under limits.
pub(crate) fn kademlia(peer: PeerId) -> Kademlia {
    let store = MemoryStoreConfig {
        max_records: 0,
        max_value_bytes: 0,
        max_provided_keys: 1,
        ..MemoryStoreConfig::default()
    };
    let mut config = kad::Config::new(PROTOCOL);
    config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        // Each search says it again.
        .set_provider_publication_interval(None)
        .set_periodic_bootstrap_interval(None);
    let mut kademlia = Kademlia::with_config(peer, MemoryStore::with_config(peer, store), config);
    kademlia.set_mode(Some(Mode::Server));
    kademlia
}

/// Where relays are. Whoever comes with many names from one address takes the places of few.
#[derive(Default)]
struct Known {
    relays: HashMap<PeerId, (SocketAddr, Instant)>,
}

impl Known {
    /// One is there; says whether it is remembered. Time is an argument.
    fn remember(&mut self, peer: PeerId, addr: SocketAddr, now: Instant) -> bool {
        let recent = |since: &Instant| now.saturating_duration_since(*since) < KNOWN_FOR;
        self.relays.retain(|_, (_, since)| recent(since));
        let others = self.relays.iter().filter(|(known, _)| **known != peer);
        let at = source(addr, &[]);
        let beside = others.clone().filter(|(_, (a, _))| source(*a, &[]) == at);
        if others.count() >= MOST_KNOWN || beside.count() >= MOST_AT_ONE {
            return false;
        }
        self.relays.insert(peer, (addr, now));
        true
    }

    fn get(&self, peer: &PeerId) -> Option<SocketAddr> {
        self.relays.get(peer).map(|(addr, _)| *addr)
    }
}

/// See the module.
pub(crate) struct Finder {
    own: PeerId,
    named: Vec<RelayAddress>,
    /// Where to tell of relays.
    found: mpsc::Sender<RelayAddress>,
    known: Known,
    /// Relays that have a directory, and when that was said last.
    providers: HashMap<PeerId, Instant>,
    remotes: HashMap<ConnectionId, IpAddr>,
    next: Instant,
    pause: Duration,
}

impl Finder {
    pub(crate) fn new(
        own: PeerId,
        named: Vec<RelayAddress>,
        found: mpsc::Sender<RelayAddress>,
    ) -> Self {
        Self {
            own,
            named,
            found,
            known: Known::default(),
            providers: HashMap::new(),
            remotes: HashMap::new(),
            next: Instant::now(),
            pause: FIRST_PAUSE,
        }
    }

    /// Searches, when it is time to. A relay whose operator named no other only answers.
    pub(crate) fn handle_tick(&mut self, swarm: &mut Swarm<Behaviour>, now: Instant) {
        if now < self.next || self.named.is_empty() {
            return;
        }
        self.next = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        if let Some(kademlia) = swarm.behaviour_mut().kademlia.as_mut() {
            for relay in &self.named {
                kademlia.add_address(&relay.peer, quic_multiaddr(relay.addr));
            }
            let key = RecordKey::new(&DIRECTORY);
            // Whoever is not there is tried again with the next search.
            let _ = kademlia.bootstrap();
            let _ = kademlia.start_providing(key.clone());
            kademlia.get_providers(key);
        }
    }

    pub(crate) fn handle_event(
        &mut self,
        swarm: &mut Swarm<Behaviour>,
        event: SwarmEvent<BehaviourEvent>,
    ) {
        match event {
            SwarmEvent::ConnectionEstablished {
                connection_id,
                endpoint,
                ..
            } => {
                if let Some((remote, _)) = parse_quic(endpoint.get_remote_address()) {
                    self.remotes.insert(connection_id, remote.ip());
                }
            }
            SwarmEvent::ConnectionClosed { connection_id, .. } => {
                self.remotes.remove(&connection_id);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) if info.protocols.contains(&PROTOCOL) => {
                let from = self.remotes.get(&connection_id).copied();
                let told = info.listen_addrs.iter().filter_map(parse_quic);
                let there = |addr: &SocketAddr| Some(addr.ip()) == from && is_dialable(addr);
                for addr in told
                    .map(|(addr, _)| addr)
                    .filter(there)
                    .take(MOST_ADDRESSES)
                {
                    self.handle_relay(swarm, peer_id, addr);
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Kademlia(event)) => {
                self.handle_kademlia(swarm, event);
            }
            _ => {}
        }
    }

    /// A relay is where it says it is.
    fn handle_relay(&mut self, swarm: &mut Swarm<Behaviour>, peer: PeerId, addr: SocketAddr) {
        if !self.known.remember(peer, addr, Instant::now()) {
            return;
        }
        if let Some(kademlia) = swarm.behaviour_mut().kademlia.as_mut() {
            kademlia.add_address(&peer, quic_multiaddr(addr));
        }
        if self.providers.contains_key(&peer) {
            self.tell(peer, addr);
        }
    }

    fn handle_kademlia(&mut self, swarm: &mut Swarm<Behaviour>, event: kad::Event) {
        let Some(kademlia) = swarm.behaviour_mut().kademlia.as_mut() else {
            return;
        };
        match event {
            kad::Event::InboundRequest {
                request:
                    InboundRequest::AddProvider {
                        record: Some(record),
                    },
            } if record.key == RecordKey::new(&DIRECTORY) => {
                // Full: others tell of it.
                let _ = kademlia.store_mut().add_provider(record);
            }
            kad::Event::OutboundQueryProgressed {
                result:
                    QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                ..
            } => {
                let now = Instant::now();
                let recent = |since: &Instant| now.saturating_duration_since(*since) < KNOWN_FOR;
                self.providers.retain(|_, since| recent(since));
                for peer in providers.into_iter().filter(|peer| *peer != self.own) {
                    if self.providers.len() < MOST_KNOWN {
                        self.providers.insert(peer, now);
                    }
                    match self.known.get(&peer) {
                        Some(addr) => self.tell(peer, addr),
                        // On the way it is connected to, and says where it is.
                        None => {
                            kademlia.get_closest_peers(peer);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn tell(&self, peer: PeerId, addr: SocketAddr) {
        // It is found again with the next search.
        let _ = self.found.try_send(RelayAddress { peer, addr });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_from_one_address_keep_no_relay_out() {
        let (mut known, now) = (Known::default(), Instant::now());
        let at = |a: u8, port: u16| SocketAddr::from(([203, 0, 113, a], port));
        let remembered = (0..1_000).filter(|n| known.remember(PeerId::random(), at(1, *n), now));
        assert_eq!(remembered.count(), MOST_AT_ONE);
        let honest = PeerId::random();
        assert!(known.remember(honest, at(2, 1), now));
        assert!(known.remember(honest, at(2, 2), now), "it moved");
        assert_eq!(known.get(&honest), Some(at(2, 2)));
        assert!(known.remember(PeerId::random(), at(1, 1), now + KNOWN_FOR));
        assert_eq!(known.get(&honest), None, "nothing was heard of it");
    }
}

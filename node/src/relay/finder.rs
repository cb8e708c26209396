//! How relays find each other's directories, so that no operator has to know all others: Kademlia, among relays only.
//!
//! Every relay that carries a directory and knows another says so under one key; since all of them exchange all that they
//! hold, any of them leads to every topic. Members take no part, and no topic is ever asked for (`docs/decisions/0014`).
//! A relay counts as being at an address only if it was connected from there or to there.

use std::{
    collections::{BTreeMap, HashMap},
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

use super::links::MOST_FOUND;
use crate::net::{
    Behaviour, BehaviourEvent, RelayAddress, is_dialable, parse_quic, quic_multiaddr, source,
};

/// Kademlia as relays speak it.
pub(crate) type Kademlia = kad::Behaviour<MemoryStore>;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/undertone/kad/1");
/// What every relay with a directory provides.
const DIRECTORY: &[u8] = b"undertone/1/directory";
/// Relays remembered.
const MOST_KNOWN: usize = 256;
/// Of those, at one IP address (of IPv6, in one /64): an identity costs nothing.
const MOST_AT_ONE: usize = 4;
/// How long, if nothing more is heard of them.
const REMEMBERED: Duration = Duration::from_secs(2 * 3_600);
/// Relays said to have a directory, of which it is not known where they are, that others are told of.
const MOST_UNSEEN: usize = 10;
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

/// See the module.
pub(crate) struct Finder {
    own: PeerId,
    named: Vec<RelayAddress>,
    /// Where to tell of relays.
    found: mpsc::Sender<RelayAddress>,
    known: Known,
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
        let now = Instant::now();
        let forgotten = self.known.see(peer, addr, now);
        if let Some(kademlia) = swarm.behaviour_mut().kademlia.as_mut() {
            let key = RecordKey::new(&DIRECTORY);
            for gone in forgotten {
                let _ = kademlia.remove_peer(&gone);
                kademlia.store_mut().remove_provider(&key, &gone);
            }
            kademlia.add_address(&peer, quic_multiaddr(addr));
        }
        if self.known.is_untold(&peer) {
            self.tell(now);
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
                let held = kademlia.store_mut().providers(&record.key).len();
                if held < MOST_UNSEEN || self.known.is_seen(&record.provider) {
                    // Full: others tell of it.
                    let _ = kademlia.store_mut().add_provider(record);
                }
            }
            kad::Event::OutboundQueryProgressed {
                result:
                    QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { providers, .. })),
                ..
            } => {
                let now = Instant::now();
                for peer in providers.into_iter().filter(|peer| *peer != self.own) {
                    self.known.provides(peer, now);
                    if !self.known.is_seen(&peer) {
                        // On the way it is connected to, and says where it is.
                        kademlia.get_closest_peers(peer);
                    }
                }
                self.tell(now);
            }
            _ => {}
        }
    }

    fn tell(&mut self, now: Instant) {
        for relay in self.known.next_to_tell(now) {
            // It is its turn again once the others had theirs.
            let _ = self.found.try_send(relay);
        }
    }
}

/// Relays, and which of them have a directory, under limits. Time is an argument.
#[derive(Default)]
struct Known {
    /// Those known to be somewhere.
    seen: BTreeMap<PeerId, Seen>,
    /// Those said to have a directory, and when that was said last.
    providers: BTreeMap<PeerId, Instant>,
}

/// Where and when a relay was seen.
struct Seen {
    addr: SocketAddr,
    last: Instant,
    /// When its turn was to be told of.
    told: Option<Instant>,
}

impl Known {
    /// It is there. Returns who is forgotten: whoever was not seen for long, and the oldest where there are too many.
    fn see(&mut self, peer: PeerId, addr: SocketAddr, now: Instant) -> Vec<PeerId> {
        let is_old = |seen: &Seen| now.saturating_duration_since(seen.last) >= REMEMBERED;
        let told = self.seen.get(&peer).and_then(|seen| seen.told);
        self.seen.remove(&peer);
        let old = self.seen.iter().filter(|(_, seen)| is_old(seen));
        let mut forgotten: Vec<_> = old.map(|(peer, _)| *peer).collect();
        self.seen.retain(|_, seen| !is_old(seen));
        let network = source(addr, &[]);
        let is_near = |seen: &Seen| source(seen.addr, &[]) == network;
        if self.seen.values().filter(|seen| is_near(seen)).count() >= MOST_AT_ONE {
            forgotten.extend(self.forget_oldest(is_near));
        }
        if self.seen.len() >= MOST_KNOWN {
            forgotten.extend(self.forget_oldest(|_| true));
        }
        let last = now;
        self.seen.insert(peer, Seen { addr, last, told });
        forgotten
    }

    fn forget_oldest(&mut self, is_among: impl Fn(&Seen) -> bool) -> Option<PeerId> {
        let among = self.seen.iter().filter(|(_, seen)| is_among(seen));
        let (oldest, _) = among.min_by_key(|(_, seen)| seen.last)?;
        let oldest = *oldest;
        self.seen.remove(&oldest);
        Some(oldest)
    }

    /// It is said to have a directory.
    fn provides(&mut self, peer: PeerId, now: Instant) {
        self.providers
            .retain(|_, said| now.saturating_duration_since(*said) < REMEMBERED);
        if self.providers.len() >= MOST_KNOWN && !self.providers.contains_key(&peer) {
            let oldest = self.providers.iter().min_by_key(|(_, said)| **said);
            if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                self.providers.remove(&oldest);
            }
        }
        self.providers.insert(peer, now);
    }

    fn is_seen(&self, peer: &PeerId) -> bool {
        self.seen.contains_key(peer)
    }

    /// Whether it is there, has a directory, and had no turn yet.
    fn is_untold(&self, peer: &PeerId) -> bool {
        let seen = self.seen.get(peer);
        self.providers.contains_key(peer) && seen.is_some_and(|seen| seen.told.is_none())
    }

    /// Whose turn it is now: a few with a directory, the longest not told of first, so that what cannot be linked to gives
    /// way.
    fn next_to_tell(&mut self, now: Instant) -> Vec<RelayAddress> {
        let Self { seen, providers } = self;
        let mut there: Vec<_> = seen
            .iter_mut()
            .filter(|(peer, _)| providers.contains_key(*peer))
            .collect();
        there.sort_by_key(|(_, seen)| seen.told);
        let turns = there.into_iter().take(MOST_FOUND);
        turns
            .map(|(peer, seen)| {
                seen.told = Some(now);
                let (peer, addr) = (*peer, seen.addr);
                RelayAddress { peer, addr }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(network: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, network], port).into()
    }

    #[test]
    fn many_names_at_one_address_push_out_nobody_elsewhere() {
        let (start, honest) = (Instant::now(), PeerId::random());
        let mut known = Known::default();
        assert!(known.see(honest, at(1, 1), start).is_empty());
        let mut names = Vec::new();
        let mut gone = Vec::new();
        for port in 1..=300 {
            let name = PeerId::random();
            names.push(name);
            gone.extend(known.see(name, at(2, port), start + SECOND * u32::from(port)));
        }
        assert_eq!(known.seen.len(), 1 + MOST_AT_ONE);
        assert!(known.is_seen(&honest));
        assert_eq!(gone, names[..300 - MOST_AT_ONE], "the oldest went first");

        // A line's 2^64 addresses are one; and whoever comes again is the same.
        let mut known = Known::default();
        for last in 1..=9 {
            let addr = SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, last], 1));
            known.see(PeerId::random(), addr, start);
        }
        assert_eq!(known.seen.len(), MOST_AT_ONE);
        for _ in 0..9 {
            assert!(known.see(honest, at(1, 1), start).is_empty());
        }
        assert_eq!(known.seen.len(), MOST_AT_ONE + 1);
    }

    #[test]
    fn who_was_not_seen_for_long_makes_room_and_so_does_the_oldest() {
        let start = Instant::now();
        let mut known = Known::default();
        let peers: Vec<_> = (0..=MOST_KNOWN).map(|_| PeerId::random()).collect();
        for (n, (peer, number)) in peers.iter().zip(0u32..).enumerate() {
            let [_, _, a, b] = number.to_be_bytes();
            let gone = known.see(*peer, ([10, 0, a, b], 1).into(), start + SECOND * number);
            let full = n == MOST_KNOWN;
            assert_eq!(gone, if full { vec![peers[0]] } else { vec![] });
            known.provides(*peer, start + SECOND * number);
        }
        assert_eq!(known.seen.len(), MOST_KNOWN);
        assert_eq!(known.providers.len(), MOST_KNOWN);
        assert!(!known.providers.contains_key(&peers[0]));

        let later = start + REMEMBERED + SECOND * 1_000;
        let gone = known.see(peers[0], at(1, 1), later);
        assert_eq!(gone.len(), MOST_KNOWN);
        known.provides(peers[0], later);
        assert_eq!((known.seen.len(), known.providers.len()), (1, 1));
    }

    #[test]
    fn relays_are_told_of_in_turns_and_only_those_with_a_directory() {
        let start = Instant::now();
        let mut known = Known::default();
        let peers: Vec<_> = (0..2 * MOST_FOUND).map(|_| PeerId::random()).collect();
        for (peer, network) in peers.iter().zip(1..) {
            known.see(*peer, at(network, 1), start);
            known.provides(*peer, start);
        }
        let (elsewhere, other) = (PeerId::random(), PeerId::random());
        known.provides(elsewhere, start);
        known.see(other, at(200, 1), start);
        let mut told =
            |at| -> Vec<_> { known.next_to_tell(at).into_iter().map(|r| r.peer).collect() };
        let (first, second) = (told(start + SECOND), told(start + SECOND * 2));
        assert_eq!(told(start + SECOND * 3), first, "the first again");
        let mut all = [first, second].concat();
        all.sort();
        let mut expected = peers.clone();
        expected.sort();
        assert_eq!(all, expected);

        // Being seen again is no new turn; who comes new has the next one.
        known.see(peers[0], at(1, 1), start + SECOND * 4);
        assert!(!known.is_untold(&peers[0]));
        known.see(elsewhere, at(100, 1), start + SECOND * 4);
        assert!(known.is_untold(&elsewhere) && !known.is_untold(&other));
        assert_eq!(known.next_to_tell(start + SECOND * 5)[0].peer, elsewhere);
    }
}

//! The media side of connections: sealed packets out and in, beside libp2p.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;
use undertone_protocol::session::Delivery;

use super::{
    MAX_PACKET_BYTES,
    address::RelayAddress,
    backlog::Backlog,
    choice::Choice,
    hub_client::HubClient,
    limit::{Budget, TokenBucket},
    registry::{Observer, Registry},
    tasks::Tasks,
    types::{NetEvent, RouteKey, Topic},
    wire,
};

/// Most peers media goes to.
pub(crate) const MAX_ALLOWED: usize = 32;

/// Packets that wait for the driver: about 170 ms of a full circle.
const INBOX: usize = 128;

/// A packet and, on direct connections, whose connection it came on.
type Arrival = (Option<PeerId>, Bytes);

/// Datagrams taken from one member: three times what a voice sends, so that nobody can crowd the inbox.
const FROM_MEMBER: Budget = Budget {
    per_second: 150.0,
    burst: 75.0,
};
/// Datagrams taken from a relay: fifteen members' worth.
const FROM_RELAY: Budget = Budget {
    per_second: 15.0 * 150.0,
    burst: 15.0 * 75.0,
};

/// Packets counted since the start.
#[derive(Debug, Default)]
pub struct MediaCounters {
    /// Datagrams handed to QUIC.
    pub sent: AtomicU64,
    /// Datagrams QUIC would not take: no route yet, too large for the path, connection going.
    pub unsent: AtomicU64,
    /// Packets put in the inbox.
    pub received: AtomicU64,
    /// Packets that left the inbox unread because newer ones came.
    pub overrun: AtomicU64,
    /// Datagrams of the wrong form.
    pub malformed: AtomicU64,
    /// Datagrams from peers not allowed, or on routes not held.
    pub unwanted: AtomicU64,
    /// Datagrams over the rate.
    pub excess: AtomicU64,
}

/// Who gets media and from whom it is taken; in relayed circles, what is held at the hubs.
pub(crate) struct MediaPlane {
    registry: Arc<Registry>,
    allowed: Mutex<HashSet<PeerId>>,
    /// None in direct circles; else what is held at each hub, in the order in which they are sent on.
    hubs: Vec<(PeerId, Arc<HubClient>)>,
    choice: Mutex<Choice>,
    inbox: Arc<Backlog<Arrival>>,
    counters: Arc<MediaCounters>,
    tasks: Tasks,
}

impl MediaPlane {
    pub(crate) fn new(
        hubs: &[RelayAddress],
        beat: Duration,
        registry: Arc<Registry>,
        events: &mpsc::Sender<NetEvent>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let seen = Arc::default();
        let client = |hub: PeerId| {
            let seen = Arc::clone(&seen);
            Arc::new(HubClient::new(hub, beat, events.clone(), seen))
        };
        let hubs: Vec<_> = hubs
            .iter()
            .map(|hub| (hub.peer, client(hub.peer)))
            .collect();
        Arc::new(Self {
            registry,
            allowed: Mutex::default(),
            choice: Mutex::new(Choice::new(hubs.len())),
            hubs,
            inbox: Arc::new(Backlog::new(INBOX)),
            counters: Arc::default(),
            tasks,
        })
    }

    pub(crate) fn counters(&self) -> Arc<MediaCounters> {
        Arc::clone(&self.counters)
    }

    pub(crate) fn inbox(&self) -> Arc<Backlog<Arrival>> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn is_relayed(&self) -> bool {
        !self.hubs.is_empty()
    }

    /// Replaces the list of peers media goes to and comes from.
    pub(crate) fn allow(&self, peers: Vec<PeerId>) {
        *self.allowed.lock().unwrap_or_else(PoisonError::into_inner) =
            peers.into_iter().take(MAX_ALLOWED).collect();
    }

    /// Stops media with this peer and closes its connections.
    pub(crate) fn block(&self, peer: PeerId) {
        self.allowed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&peer);
        self.registry.block(peer);
    }

    /// Lets this peer connect again.
    pub(crate) fn unblock(&self, peer: &PeerId) {
        self.registry.unblock(peer);
    }

    pub(crate) fn attach(&self, route: RouteKey) {
        self.at_hubs(|hub| hub.attach(route));
    }

    pub(crate) fn detach(&self, route: RouteKey) {
        self.at_hubs(|hub| hub.detach(route));
    }

    pub(crate) fn subscribe(&self, topic: Topic) {
        self.at_hubs(|hub| hub.subscribe(topic));
    }

    pub(crate) fn unsubscribe(&self, topic: Topic) {
        self.at_hubs(|hub| hub.unsubscribe(topic));
    }

    pub(crate) fn keep_up(&self, topic: Topic) {
        self.at_hubs(|hub| hub.keep_up(topic));
    }

    pub(crate) fn publish(&self, topic: Topic, payload: &Bytes, delivery: Delivery) {
        self.at_hubs(|hub| hub.publish(topic, payload.clone(), delivery));
    }

    /// Whether a decision still waits for a hub.
    pub(crate) fn holds_lasting(&self) -> bool {
        self.hubs.iter().any(|(_, hub)| hub.holds_lasting())
    }

    /// Returns when the hubs have all that was published.
    pub(crate) async fn finish(&self) {
        futures::future::join_all(self.hubs.iter().map(|(_, hub)| hub.finish())).await;
    }

    fn at_hubs(&self, what: impl Fn(&HubClient)) {
        self.hubs.iter().for_each(|(_, hub)| what(hub));
    }

    /// Sends one packet to whoever is to have it. Never waits: what a connection cannot take at once pushes out the
    /// oldest it still holds.
    pub(crate) fn send(&self, packet: &Bytes) {
        if packet.is_empty() || packet.len() > MAX_PACKET_BYTES {
            self.counters.unsent.fetch_add(1, Relaxed);
            return;
        }
        match self.is_relayed() {
            true => match self.way_out() {
                Some((connection, slot)) => {
                    self.send_on(Some(&connection), wire::datagram(slot, packet));
                }
                None => self.send_on(None, Bytes::new()),
            },
            false => {
                let datagram = wire::datagram(wire::DIRECT_SLOT, packet);
                let peers: Vec<PeerId> = self
                    .allowed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .iter()
                    .copied()
                    .collect();
                for peer in peers {
                    self.send_on(self.registry.newest(&peer).as_ref(), datagram.clone());
                }
            }
        }
    }

    /// The hub to send on, and the slot there.
    fn way_out(&self) -> Option<(quinn::Connection, u8)> {
        let ways: Vec<_> = (self.hubs.iter())
            .map(|(peer, hub)| Some((self.registry.newest(peer)?, hub.sending_slot()?)))
            .collect();
        let packets = |i: usize| Some(ways.get(i)?.as_ref()?.0.stats().udp_rx.datagrams);
        let mut choice = self.choice.lock().unwrap_or_else(PoisonError::into_inner);
        let picked = choice.pick(Instant::now(), packets)?;
        ways.into_iter().nth(picked)?
    }

    fn send_on(&self, connection: Option<&quinn::Connection>, datagram: Bytes) {
        let sent = connection.is_some_and(|connection| connection.send_datagram(datagram).is_ok());
        let counter = if sent {
            &self.counters.sent
        } else {
            &self.counters.unsent
        };
        counter.fetch_add(1, Relaxed);
    }

    /// What this node holds at a hub.
    fn hub(&self, peer: &PeerId) -> Option<&Arc<HubClient>> {
        let found = self.hubs.iter().find(|(hub, _)| hub == peer);
        found.map(|(_, hub)| hub)
    }

    /// Sorts one datagram in.
    fn handle_datagram(&self, peer: PeerId, datagram: Bytes) {
        let Some((slot, packet)) = wire::parse_datagram(datagram) else {
            self.counters.malformed.fetch_add(1, Relaxed);
            return;
        };
        let (wanted, from) = match self.is_relayed() {
            true => (self.hub(&peer).is_some_and(|hub| hub.hears(slot)), None),
            false => {
                let allowed = self
                    .allowed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains(&peer);
                (slot == wire::DIRECT_SLOT && allowed, Some(peer))
            }
        };
        if !wanted {
            self.counters.unwanted.fetch_add(1, Relaxed);
            return;
        }
        self.counters.received.fetch_add(1, Relaxed);
        let overrun = self.inbox.push((from, packet), 1) as u64;
        self.counters.overrun.fetch_add(overrun, Relaxed);
    }
}

impl Observer for MediaPlane {
    fn connected(self: Arc<Self>, peer: PeerId, connection: quinn::Connection) {
        let hub = self.hub(&peer).cloned();
        let is_relay = hub.is_some();
        if let Some(hub) = hub {
            let connection = connection.clone();
            self.tasks.spawn(async move { hub.serve(connection).await });
        }
        let tasks = self.tasks.clone();
        tasks.spawn(read_datagrams(
            self,
            peer,
            connection,
            if is_relay { FROM_RELAY } else { FROM_MEMBER },
        ));
    }
}

/// Reads a connection's datagrams until it ends.
async fn read_datagrams(
    plane: Arc<MediaPlane>,
    peer: PeerId,
    connection: quinn::Connection,
    budget: Budget,
) {
    let mut bucket = TokenBucket::new(budget, Instant::now());
    while let Ok(datagram) = connection.read_datagram().await {
        if bucket.take(1.0, Instant::now()) {
            plane.handle_datagram(peer, datagram);
        } else {
            plane.counters.excess.fetch_add(1, Relaxed);
        }
    }
}

/// Carries packets from the inbox to the driver.
pub(crate) async fn pump(inbox: Arc<Backlog<Arrival>>, events: mpsc::Sender<NetEvent>) {
    loop {
        // Room first, packet second: while the driver is busy the inbox keeps the newest.
        let Ok(room) = events.reserve().await else {
            return;
        };
        let (from, payload) = inbox.pop().await;
        room.send(NetEvent::Media { from, payload });
    }
}

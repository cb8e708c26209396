//! The media side of connections: sealed packets out and in, beside libp2p.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::{
    MAX_PACKET_BYTES,
    address::RelayAddress,
    inbox::Inbox,
    limit::{Budget, TokenBucket},
    registry::{Observer, Registry},
    route_client::RouteClient,
    tasks::Tasks,
    types::{NetEvent, RouteKey},
    wire,
};

/// Most peers media goes to.
pub(crate) const MAX_ALLOWED: usize = 32;

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

/// Who gets media and from whom it is taken.
pub(crate) struct MediaPlane {
    relay: Option<RelayAddress>,
    registry: Arc<Registry>,
    allowed: Mutex<HashSet<PeerId>>,
    routes: Arc<RouteClient>,
    inbox: Arc<Inbox>,
    counters: Arc<MediaCounters>,
    tasks: Tasks,
}

impl MediaPlane {
    pub(crate) fn new(
        relay: Option<RelayAddress>,
        registry: Arc<Registry>,
        events: mpsc::Sender<NetEvent>,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            relay,
            registry,
            allowed: Mutex::default(),
            routes: Arc::new(RouteClient::new(events)),
            inbox: Arc::default(),
            counters: Arc::default(),
            tasks,
        })
    }

    pub(crate) fn counters(&self) -> Arc<MediaCounters> {
        Arc::clone(&self.counters)
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.inbox)
    }

    pub(crate) fn is_relayed(&self) -> bool {
        self.relay.is_some()
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
        self.routes.attach(route);
    }

    pub(crate) fn detach(&self, route: RouteKey) {
        self.routes.detach(route);
    }

    /// Sends one packet to whoever is to have it. Never waits: what a connection cannot take at once pushes out the
    /// oldest it still holds.
    pub(crate) fn send(&self, packet: &Bytes) {
        if packet.is_empty() || packet.len() > MAX_PACKET_BYTES {
            self.counters.unsent.fetch_add(1, Relaxed);
            return;
        }
        match &self.relay {
            Some(relay) => match self.routes.sending_slot() {
                Some(slot) => self.send_to(&relay.peer, wire::datagram(slot, packet)),
                None => {
                    self.counters.unsent.fetch_add(1, Relaxed);
                }
            },
            None => {
                let datagram = wire::datagram(wire::DIRECT_SLOT, packet);
                let peers: Vec<PeerId> = self
                    .allowed
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .iter()
                    .copied()
                    .collect();
                for peer in peers {
                    self.send_to(&peer, datagram.clone());
                }
            }
        }
    }

    fn send_to(&self, peer: &PeerId, datagram: Bytes) {
        let sent = self
            .registry
            .newest(peer)
            .is_some_and(|connection| connection.send_datagram(datagram).is_ok());
        let counter = if sent {
            &self.counters.sent
        } else {
            &self.counters.unsent
        };
        counter.fetch_add(1, Relaxed);
    }

    /// Sorts one datagram in.
    fn handle_datagram(&self, peer: PeerId, datagram: Bytes) {
        let Some((slot, packet)) = wire::parse_datagram(datagram) else {
            self.counters.malformed.fetch_add(1, Relaxed);
            return;
        };
        let (wanted, from) = match &self.relay {
            Some(relay) => (relay.peer == peer && self.routes.hears(slot), None),
            None => {
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
        if self.inbox.push((from, packet)) {
            self.counters.overrun.fetch_add(1, Relaxed);
        }
    }
}

impl Observer for MediaPlane {
    fn connected(self: Arc<Self>, peer: PeerId, connection: quinn::Connection) {
        let is_relay = self.relay.as_ref().is_some_and(|relay| relay.peer == peer);
        if is_relay {
            let (routes, connection) = (Arc::clone(&self.routes), connection.clone());
            self.tasks
                .spawn(async move { routes.serve(connection).await });
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
pub(crate) async fn pump(inbox: Arc<Inbox>, events: mpsc::Sender<NetEvent>) {
    loop {
        // Room first, packet second: while the driver is busy the inbox keeps the newest.
        let Ok(room) = events.reserve().await else {
            return;
        };
        let (from, payload) = inbox.pop().await;
        room.send(NetEvent::Media { from, payload });
    }
}

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
    choice::Choice,
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
    registry: Arc<Registry>,
    allowed: Mutex<HashSet<PeerId>>,
    /// None in direct circles; else each hub's routes, in the order in which they are sent on.
    hubs: Vec<(PeerId, Arc<RouteClient>)>,
    choice: Mutex<Choice>,
    inbox: Arc<Inbox>,
    counters: Arc<MediaCounters>,
    tasks: Tasks,
}

impl MediaPlane {
    pub(crate) fn new(
        hubs: &[RelayAddress],
        registry: Arc<Registry>,
        events: &mpsc::Sender<NetEvent>,
        tasks: Tasks,
    ) -> Arc<Self> {
        let hubs: Vec<_> = (hubs.iter())
            .map(|hub| {
                (
                    hub.peer,
                    Arc::new(RouteClient::new(hub.peer, events.clone())),
                )
            })
            .collect();
        Arc::new(Self {
            registry,
            allowed: Mutex::default(),
            choice: Mutex::new(Choice::new(hubs.len())),
            hubs,
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
        self.hubs
            .iter()
            .for_each(|(_, routes)| routes.attach(route));
    }

    pub(crate) fn detach(&self, route: RouteKey) {
        self.hubs
            .iter()
            .for_each(|(_, routes)| routes.detach(route));
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
            .map(|(hub, routes)| Some((self.registry.newest(hub)?, routes.sending_slot()?)))
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
    fn routes(&self, hub: &PeerId) -> Option<&Arc<RouteClient>> {
        let found = self.hubs.iter().find(|(peer, _)| peer == hub);
        found.map(|(_, routes)| routes)
    }

    /// Sorts one datagram in.
    fn handle_datagram(&self, peer: PeerId, datagram: Bytes) {
        let Some((slot, packet)) = wire::parse_datagram(datagram) else {
            self.counters.malformed.fetch_add(1, Relaxed);
            return;
        };
        let (wanted, from) = match self.is_relayed() {
            true => (
                self.routes(&peer).is_some_and(|routes| routes.hears(slot)),
                None,
            ),
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
        if self.inbox.push((from, packet)) {
            self.counters.overrun.fetch_add(1, Relaxed);
        }
    }
}

impl Observer for MediaPlane {
    fn connected(self: Arc<Self>, peer: PeerId, connection: quinn::Connection) {
        let routes = self.routes(&peer).cloned();
        let is_relay = routes.is_some();
        if let Some(routes) = routes {
            let connection = connection.clone();
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

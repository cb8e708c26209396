//! Who is connected: the bridge from libp2p's peers to the quinn connections under them.
//!
//! A peer may be here twice for a moment, when both sides dialled at once; both connections are then read, and the
//! newest is written to. A peer that connects anew while an *old* connection of it still looks alive has lost that
//! one: it is closed first, because gossipsub tells its subscriptions only on the first connection of a peer.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use libp2p::PeerId;

/// Blocked peers remembered; transport identities are fresh each run, so the oldest are long gone.
const MAX_BLOCKED: usize = 4_096;
/// Connections made within this time of each other count as simultaneous.
const SIMULTANEOUS: Duration = Duration::from_secs(2);
/// Time for the swarm to notice that a superseded connection is closed, before it hears of the next.
const SETTLE: Duration = Duration::from_millis(50);

/// Application close code of a connection to a blocked peer.
pub(crate) const CLOSE_BLOCKED: u32 = 1;
/// Application close code of a connection that a newer one of the same peer replaced.
pub(crate) const CLOSE_SUPERSEDED: u32 = 2;

/// Application close code of a connection whose client went on sending more than its share.
pub(crate) const CLOSE_EXCESS: u32 = 3;

/// Application close code of a connection whose client does not speak the hub protocol.
pub(crate) const CLOSE_PROTOCOL: u32 = 4;

/// Hears of each new connection, in both directions, before libp2p does.
pub(crate) trait Observer: Send + Sync {
    /// An authenticated connection is up. Must not block.
    fn connected(self: Arc<Self>, peer: PeerId, connection: quinn::Connection);
}

#[derive(Default)]
struct State {
    links: HashMap<PeerId, Vec<(quinn::Connection, Instant)>>,
    blocked: HashSet<PeerId>,
    blocked_order: VecDeque<PeerId>,
}

/// PeerId → connections, and who is refused.
pub(crate) struct Registry {
    state: Mutex<State>,
    observer: OnceLock<Weak<dyn Observer>>,
}

impl Registry {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            observer: OnceLock::new(),
        })
    }

    /// Sets who hears of new connections, without keeping it alive. The first call counts.
    pub(crate) fn observe(&self, observer: Weak<dyn Observer>) {
        let _ = self.observer.set(observer);
    }

    /// Whether this peer is refused.
    pub(crate) fn is_blocked(&self, peer: &PeerId) -> bool {
        self.lock().blocked.contains(peer)
    }

    /// Closes every connection of `peer` and refuses it from now on.
    pub(crate) fn block(&self, peer: PeerId) {
        let links = {
            let mut state = self.lock();
            if state.blocked.insert(peer) {
                state.blocked_order.push_back(peer);
                if state.blocked_order.len() > MAX_BLOCKED
                    && let Some(oldest) = state.blocked_order.pop_front()
                {
                    state.blocked.remove(&oldest);
                }
            }
            state.links.remove(&peer)
        };
        for (connection, _) in links.into_iter().flatten() {
            connection.close(CLOSE_BLOCKED.into(), b"");
        }
    }

    /// Refuses `peer` no longer.
    pub(crate) fn unblock(&self, peer: &PeerId) {
        let mut state = self.lock();
        state.blocked.remove(peer);
        state.blocked_order.retain(|p| p != peer);
    }

    /// The newest open connection of `peer`.
    pub(crate) fn newest(&self, peer: &PeerId) -> Option<quinn::Connection> {
        let state = self.lock();
        let links = state.links.get(peer)?;
        links
            .iter()
            .rev()
            .map(|(c, _)| c)
            .find(|c| c.close_reason().is_none())
            .cloned()
    }

    /// Takes a freshly authenticated connection in. `None`, with the connection closed, if the peer is blocked.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        peer: PeerId,
        connection: &quinn::Connection,
    ) -> Option<Registration> {
        let superseded: Vec<quinn::Connection> = {
            let state = self.lock();
            let links = state
                .links
                .get(&peer)
                .map(Vec::as_slice)
                .unwrap_or_default();
            links
                .iter()
                .filter(|(_, since)| since.elapsed() > SIMULTANEOUS)
                .map(|(c, _)| c.clone())
                .collect()
        };
        if !superseded.is_empty() {
            for old in superseded {
                old.close(CLOSE_SUPERSEDED.into(), b"");
            }
            tokio::time::sleep(SETTLE).await;
        }
        {
            let mut state = self.lock();
            if state.blocked.contains(&peer) {
                drop(state);
                connection.close(CLOSE_BLOCKED.into(), b"");
                return None;
            }
            state
                .links
                .entry(peer)
                .or_default()
                .push((connection.clone(), Instant::now()));
        }
        if let Some(observer) = self.observer.get().and_then(Weak::upgrade) {
            observer.connected(peer, connection.clone());
        }
        Some(Registration {
            registry: Arc::clone(self),
            peer,
            connection: connection.stable_id(),
        })
    }

    fn forget(&self, peer: &PeerId, connection: usize) {
        let mut state = self.lock();
        if let Some(links) = state.links.get_mut(peer) {
            links.retain(|(c, _)| c.stable_id() != connection);
            if links.is_empty() {
                state.links.remove(peer);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the registry, given up when dropped.
pub(crate) struct Registration {
    registry: Arc<Registry>,
    peer: PeerId,
    connection: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.forget(&self.peer, self.connection);
    }
}

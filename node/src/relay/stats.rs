//! Sums over all clients. Nothing here can be traced to a connection, a route or a topic.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a relay has done and holds, in sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelayStats {
    /// Connections open now.
    pub connections: u64,
    /// Routes alive now.
    pub routes: u64,
    /// Topics forwarded now.
    pub topics: u64,
    /// Subscriptions of clients to topics now.
    pub subscriptions: u64,
    /// Datagrams taken in.
    pub datagrams_in: u64,
    /// Copies handed to QUIC.
    pub datagrams_out: u64,
    /// Datagrams dropped on arrival: of the wrong form, on no route, or over the rate.
    pub datagrams_refused: u64,
    /// Copies dropped on departure: the recipient's path or queue could not take them.
    pub datagrams_dropped: u64,
    /// Control messages handed on.
    pub messages: u64,
    /// Control messages dropped for being over the rate.
    pub messages_dropped: u64,
    /// Route requests refused.
    pub routes_refused: u64,
}

/// The counters behind [`RelayStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) routes: AtomicU64,
    pub(crate) topics: AtomicU64,
    pub(crate) subscriptions: AtomicU64,
    pub(crate) datagrams_in: AtomicU64,
    pub(crate) datagrams_out: AtomicU64,
    pub(crate) datagrams_refused: AtomicU64,
    pub(crate) datagrams_dropped: AtomicU64,
    pub(crate) messages: AtomicU64,
    pub(crate) messages_dropped: AtomicU64,
    pub(crate) routes_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn snapshot(&self) -> RelayStats {
        RelayStats {
            connections: self.connections.load(Relaxed),
            routes: self.routes.load(Relaxed),
            topics: self.topics.load(Relaxed),
            subscriptions: self.subscriptions.load(Relaxed),
            datagrams_in: self.datagrams_in.load(Relaxed),
            datagrams_out: self.datagrams_out.load(Relaxed),
            datagrams_refused: self.datagrams_refused.load(Relaxed),
            datagrams_dropped: self.datagrams_dropped.load(Relaxed),
            messages: self.messages.load(Relaxed),
            messages_dropped: self.messages_dropped.load(Relaxed),
            routes_refused: self.routes_refused.load(Relaxed),
        }
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

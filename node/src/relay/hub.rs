//! The hub: routes and topics, who is on them, and the copying.
//!
//! Locks are taken in one order, a session's slots, then the routes, then one route's members, and only the last is
//! held while copying packets, as that of the topics is while copying messages. Handing a datagram to QUIC never waits.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::PeerId;

use super::{
    RelayLimits,
    directory::TopicDirectory,
    mailbox::{Bounds, Mailbox},
    session::Session,
    stats::{Counters, RelayStats, count},
    topics::Topics,
};
use crate::net::{CLOSE_EXCESS, Observer, RouteKey, RouteRefusal, Tasks, Topic, Trusted, wire};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// One connection on one route.
struct Member {
    connection: quinn::Connection,
    peer: PeerId,
    slot: u8,
    /// Where it comes from: one line, or one address.
    source: SocketAddr,
}

/// The connections attached to a route.
#[derive(Default)]
pub(crate) struct Route {
    members: RwLock<Vec<Member>>,
}

/// A session's slots: its own numbers for the routes it is attached to.
pub(crate) type Slots = Vec<(u8, RouteKey, Arc<Route>)>;

/// See the module.
pub(crate) struct Hub {
    routes: Mutex<HashMap<RouteKey, Arc<Route>>>,
    topics: Mutex<Topics<Session>>,
    mailbox: Mutex<Mailbox>,
    pub(crate) limits: RelayLimits,
    /// The topic directory, if there is one.
    pub(crate) directory: Option<Arc<TopicDirectory>>,
    /// The operator's, signed.
    pub(crate) card: Bytes,
    pub(crate) counters: Arc<Counters>,
    /// Where many come from: entries.
    pub(crate) shared: Trusted,
    pub(crate) tasks: Tasks,
}

impl Hub {
    pub(crate) fn new(
        limits: RelayLimits,
        directory: Option<Arc<TopicDirectory>>,
        card: Bytes,
        shared: Trusted,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            routes: Mutex::default(),
            topics: Mutex::new(Topics::new(limits.topics)),
            mailbox: Mutex::new(Mailbox::new(Bounds {
                bytes: (limits.mailbox_mib as usize) << 20,
                bytes_per_topic: (limits.mailbox_topic_kib as usize) << 10,
                age: DAY * limits.mailbox_days,
            })),
            limits,
            directory,
            card,
            counters: Arc::default(),
            shared,
            tasks,
        })
    }

    /// What it has done and holds.
    pub(crate) fn stats(&self) -> RelayStats {
        let listings = self.directory.as_ref().map_or(0, |d| d.len());
        self.counters.listings.store(listings as u64, Relaxed);
        let (letters, bytes) = {
            let mut mailbox = self.mailbox();
            mailbox.expire(Instant::now());
            mailbox.size()
        };
        self.counters.letters.store(letters as u64, Relaxed);
        self.counters.letter_bytes.store(bytes as u64, Relaxed);
        self.counters.snapshot()
    }

    /// Gives `session` the slot on the route. Asking again for what one has is granted again.
    pub(crate) fn attach(
        &self,
        session: &Session,
        slot: u8,
        key: RouteKey,
    ) -> Result<(), RouteRefusal> {
        let result = self.try_attach(session, slot, key);
        if result.is_err() {
            count(&self.counters.routes_refused);
        }
        result
    }

    fn try_attach(&self, session: &Session, slot: u8, key: RouteKey) -> Result<(), RouteRefusal> {
        let mut slots = session.slots();
        if slots.iter().any(|(s, k, _)| *s == slot && *k == key) {
            return Ok(());
        }
        if slot == wire::DIRECT_SLOT || slots.iter().any(|(s, k, _)| *s == slot || *k == key) {
            return Err(RouteRefusal::SlotTaken);
        }
        if slots.len() >= self.limits.routes_per_connection {
            return Err(RouteRefusal::TooManyRoutes);
        }
        let mut routes = self.routes();
        let route = match routes.get(&key) {
            Some(route) => Arc::clone(route),
            None if routes.len() >= self.limits.routes => return Err(RouteRefusal::RelayFull),
            None => Arc::default(),
        };
        {
            let mut members = route
                .members
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            // A client that lost its connection returns on a new one; its old place is not to keep it out.
            members.retain(|m| m.peer != session.peer);
            if members.len() >= self.limits.slots_per_route {
                // Nobody keeps others out by coming often.
                let sources: Vec<_> = members.iter().map(|m| m.source).collect();
                let Some(at) = superfluous(&sources, session.source) else {
                    return Err(RouteRefusal::RouteFull);
                };
                count(&self.counters.clients_cut);
                let (code, no_words) = (CLOSE_EXCESS.into(), b"");
                members.remove(at).connection.close(code, no_words);
            }
            members.push(Member {
                connection: session.connection.clone(),
                peer: session.peer,
                slot,
                source: session.source,
            });
        }
        routes.insert(key, Arc::clone(&route));
        self.counters.routes.store(routes.len() as u64, Relaxed);
        slots.push((slot, key, route));
        Ok(())
    }

    /// Takes the slot back; the route dies with its last.
    pub(crate) fn detach(&self, session: &Session, slot: u8) {
        let mut slots = session.slots();
        if let Some(at) = slots.iter().position(|(s, _, _)| *s == slot) {
            let (_, key, route) = slots.swap_remove(at);
            self.leave(session, key, &route);
        }
    }

    /// Takes every slot of a session back.
    pub(crate) fn detach_all(&self, session: &Session) {
        for (_, key, route) in session.slots().drain(..) {
            self.leave(session, key, &route);
        }
    }

    fn leave(&self, session: &Session, key: RouteKey, route: &Arc<Route>) {
        let mut routes = self.routes();
        let mut members = route
            .members
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        members.retain(|m| m.connection.stable_id() != session.connection.stable_id());
        if members.is_empty()
            && routes
                .get(&key)
                .is_some_and(|current| Arc::ptr_eq(current, route))
        {
            routes.remove(&key);
        }
        self.counters.routes.store(routes.len() as u64, Relaxed);
    }

    /// Copies one datagram to the others on its route, each under its own slot number.
    pub(crate) fn forward(&self, session: &Session, datagram: Bytes) {
        count(&self.counters.datagrams_in);
        let Some((slot, packet)) = wire::parse_datagram(datagram.clone()) else {
            count(&self.counters.datagrams_refused);
            return;
        };
        let route = session
            .slots()
            .iter()
            .find(|(s, _, _)| *s == slot)
            .map(|(_, _, route)| Arc::clone(route));
        let Some(route) = route else {
            count(&self.counters.datagrams_refused);
            return;
        };
        let sender = session.connection.stable_id();
        // Members mostly use the same number, so the last rewriting mostly serves again.
        let mut rewritten = (slot, datagram);
        let (mut sent, mut dropped) = (0, 0);
        for member in route
            .members
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            if member.connection.stable_id() == sender {
                continue;
            }
            if rewritten.0 != member.slot {
                rewritten = (member.slot, wire::datagram(member.slot, &packet));
            }
            // A full queue pushes out its oldest without saying so.
            dropped +=
                u64::from(member.connection.datagram_send_buffer_space() < rewritten.1.len());
            match member.connection.send_datagram(rewritten.1.clone()) {
                Ok(()) => sent += 1,
                Err(_) => dropped += 1,
            }
        }
        self.counters.datagrams_out.fetch_add(sent, Relaxed);
        self.counters.datagrams_dropped.fetch_add(dropped, Relaxed);
    }

    /// `session` is told what is said on `topic`, unless there are too many.
    pub(crate) fn hear(&self, session: &Arc<Session>, topic: Topic) -> bool {
        let mut topics = self.topics();
        let heard = topics.hear(session, topic);
        self.count_topics(&topics);
        heard
    }

    /// `session` is told no longer.
    pub(crate) fn ignore(&self, session: &Arc<Session>, topic: &Topic) {
        let mut topics = self.topics();
        topics.ignore(session, topic);
        self.count_topics(&topics);
    }

    /// Tells all others who hear `topic` what `session` says on it.
    pub(crate) fn hand_on(&self, session: &Arc<Session>, topic: Topic, message: Bytes) {
        count(&self.counters.messages);
        let frame = wire::Frame::Said(topic, message).encode();
        let topics = self.topics();
        let others = topics.others(session, &topic);
        let dropped: usize = others
            .map(|other| other.hand(topic, session.source, frame.clone()))
            .sum();
        (self.counters.messages_untaken).fetch_add(dropped as u64, Relaxed);
    }

    /// The same, and keeps it for those who come later.
    pub(crate) fn keep(&self, session: &Arc<Session>, topic: Topic, message: Bytes) {
        let leaver = session.source;
        let forgotten = self
            .mailbox()
            .leave(topic, leaver, message.clone(), Instant::now());
        (self.counters.letters_forgotten).fetch_add(forgotten as u64, Relaxed);
        self.hand_on(session, topic, message);
    }

    /// Tells `session` what was left on a topic.
    pub(crate) fn hand_out(&self, session: &Session, topic: Topic) {
        let held = self.mailbox().held(&topic, Instant::now());
        for message in held {
            let frame = wire::Frame::Kept(topic, message).encode();
            session.hand(topic, session.source, frame);
        }
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_topics(&self, topics: &Topics<Session>) {
        let (all, heard) = (topics.len() as u64, topics.subscriptions() as u64);
        self.counters.topics.store(all, Relaxed);
        self.counters.subscriptions.store(heard, Relaxed);
    }

    fn topics(&self) -> MutexGuard<'_, Topics<Session>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn routes(&self) -> MutexGuard<'_, HashMap<RouteKey, Arc<Route>>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose place on a full route somebody from `newcomer` takes: the latest of those whose source has most places, and more
/// than the newcomer's would have then.
fn superfluous(sources: &[SocketAddr], newcomer: SocketAddr) -> Option<usize> {
    let places = |source: SocketAddr| sources.iter().filter(|s| **s == source).count();
    let (most, at) = (0..sources.len())
        .map(|at| (places(sources[at]), at))
        .max()?;
    (most > places(newcomer) + 1).then_some(at)
}

impl Observer for Hub {
    fn connected(self: Arc<Self>, peer: PeerId, connection: quinn::Connection) {
        Session::begin(self, peer, connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_most_places_makes_room_for_whoever_has_none() {
        let sources = |ports: &[u16]| -> Vec<SocketAddr> {
            ports
                .iter()
                .map(|port| ([192, 0, 2, 1], *port).into())
                .collect()
        };
        let newcomer = |port: u16| ([192, 0, 2, 1], port).into();
        assert_eq!(superfluous(&sources(&[1, 2, 3]), newcomer(4)), None);
        assert_eq!(superfluous(&sources(&[1, 9, 9, 2]), newcomer(4)), Some(2));
        assert_eq!(superfluous(&sources(&[9, 9, 1, 2]), newcomer(9)), None);
        assert_eq!(
            superfluous(&sources(&[9, 9, 9, 8, 8, 1]), newcomer(2)),
            Some(2)
        );
        assert_eq!(superfluous(&[], newcomer(4)), None);
    }
}

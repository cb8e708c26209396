//! Which topics the gossip hub forwards, for whom, and how much each client may say. Time is an argument.

use std::{
    collections::{HashMap, HashSet},
    time::Instant,
};

use libp2p::PeerId;

use super::RelayLimits;
use crate::net::{Allowance, TokenBucket, Topic};

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is handed on.
    Forward,
    /// It is over the client's budget.
    Drop,
    /// So is it, after too many of the kind: the client is to go.
    Cut,
}

/// One client, as the gossip hub knows it.
struct Client {
    topics: HashSet<Topic>,
    allowance: Allowance,
    excess: TokenBucket,
}

/// See the module.
pub(crate) struct Topics {
    limits: RelayLimits,
    clients: HashMap<PeerId, Client>,
    /// Topics forwarded, with the number of clients subscribed.
    forwarded: HashMap<Topic, usize>,
}

impl Topics {
    pub(crate) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            clients: HashMap::new(),
            forwarded: HashMap::new(),
        }
    }

    /// Topics forwarded now.
    pub(crate) fn len(&self) -> usize {
        self.forwarded.len()
    }

    /// Subscriptions of all clients.
    pub(crate) fn subscriptions(&self) -> usize {
        self.forwarded.values().sum()
    }

    /// A client is connected.
    pub(crate) fn handle_connected(&mut self, peer: PeerId, now: Instant) {
        let (messages, bytes) = (self.limits.messages, self.limits.message_bytes);
        let excess = self.limits.excess;
        self.clients.entry(peer).or_insert_with(|| Client {
            topics: HashSet::new(),
            allowance: Allowance::new(messages, bytes, now),
            excess: TokenBucket::new(excess, now),
        });
    }

    /// A client subscribed. Says whether the hub is to subscribe too.
    pub(crate) fn handle_subscribed(&mut self, peer: PeerId, topic: Topic) -> bool {
        let Some(client) = self.clients.get_mut(&peer) else {
            return false;
        };
        let known = self.forwarded.contains_key(&topic);
        if client.topics.len() >= self.limits.topics_per_client
            || !known && self.forwarded.len() >= self.limits.topics
            || !client.topics.insert(topic)
        {
            return false;
        }
        *self.forwarded.entry(topic).or_default() += 1;
        !known
    }

    /// A client unsubscribed. Says whether nobody is left, and the hub is to unsubscribe too.
    pub(crate) fn handle_unsubscribed(&mut self, peer: PeerId, topic: Topic) -> bool {
        let held = self
            .clients
            .get_mut(&peer)
            .is_some_and(|client| client.topics.remove(&topic));
        held && self.release(topic)
    }

    /// A client is gone. Returns the topics nobody is left on.
    pub(crate) fn handle_gone(&mut self, peer: &PeerId) -> Vec<Topic> {
        let topics = self
            .clients
            .remove(peer)
            .map(|client| client.topics)
            .unwrap_or_default();
        topics
            .into_iter()
            .filter(|topic| self.release(*topic))
            .collect()
    }

    /// What is to be done with a message of this size from this client.
    pub(crate) fn admits(&mut self, peer: &PeerId, bytes: usize, now: Instant) -> Admission {
        let Some(client) = self.clients.get_mut(peer) else {
            return Admission::Drop;
        };
        if client.allowance.admits(bytes, now) {
            Admission::Forward
        } else if client.excess.take(1.0, now) {
            Admission::Drop
        } else {
            Admission::Cut
        }
    }

    fn release(&mut self, topic: Topic) -> bool {
        let Some(subscribers) = self.forwarded.get_mut(&topic) else {
            return false;
        };
        *subscribers = subscribers.saturating_sub(1);
        let last = *subscribers == 0;
        if last {
            self.forwarded.remove(&topic);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Topic = Topic([1; 32]);
    const B: Topic = Topic([2; 32]);
    const C: Topic = Topic([3; 32]);

    fn topics() -> (Topics, PeerId, PeerId) {
        let limits = RelayLimits {
            topics: 2,
            topics_per_client: 2,
            ..RelayLimits::default()
        };
        let (mut topics, one, two) = (Topics::new(limits), PeerId::random(), PeerId::random());
        topics.handle_connected(one, Instant::now());
        topics.handle_connected(two, Instant::now());
        (topics, one, two)
    }

    #[test]
    fn the_hub_joins_with_the_first_and_leaves_with_the_last() {
        let (mut topics, one, two) = topics();
        assert!(topics.handle_subscribed(one, A));
        assert!(!topics.handle_subscribed(one, A));
        assert!(!topics.handle_subscribed(two, A));
        assert_eq!((topics.len(), topics.subscriptions()), (1, 2));
        assert!(!topics.handle_unsubscribed(one, A));
        assert!(!topics.handle_unsubscribed(one, A));
        assert!(topics.handle_unsubscribed(two, A));
        assert_eq!(topics.len(), 0);
    }

    #[test]
    fn a_client_that_vanishes_takes_its_topics_along() {
        let (mut topics, one, two) = topics();
        topics.handle_subscribed(one, A);
        topics.handle_subscribed(one, B);
        topics.handle_subscribed(two, B);
        assert_eq!(topics.handle_gone(&one), [A]);
        assert_eq!(topics.handle_gone(&one), []);
        assert_eq!(topics.len(), 1);
    }

    #[test]
    fn limits_hold_for_one_and_for_all() {
        let (mut topics, one, two) = topics();
        assert!(topics.handle_subscribed(one, A));
        assert!(topics.handle_subscribed(one, B));
        assert!(!topics.handle_subscribed(one, C), "two a client");
        assert!(!topics.handle_subscribed(two, C), "two in all");
        assert!(
            !topics.handle_subscribed(PeerId::random(), A),
            "unknown clients have none"
        );
        assert_eq!(topics.len(), 2);
    }

    #[test]
    fn budgets_count_messages_and_bytes() {
        let (mut topics, one, two) = topics();
        let now = Instant::now();
        let mut forwarded = |peer, bytes| {
            let admitted = (0..500).map(|_| topics.admits(peer, bytes, now));
            admitted.filter(|a| *a == Admission::Forward).count()
        };
        assert_eq!(forwarded(&one, 10), 100);
        assert_eq!(forwarded(&two, 16 * 1024), 32);
        assert_eq!(topics.admits(&PeerId::random(), 1, now), Admission::Drop);
    }

    #[test]
    fn whoever_goes_on_is_to_go() {
        let (mut topics, one, _) = topics();
        let now = Instant::now();
        let admitted: Vec<_> = (0..700).map(|_| topics.admits(&one, 10, now)).collect();
        let last_dropped = admitted.iter().rposition(|a| *a == Admission::Drop);
        assert_eq!(last_dropped, Some(599), "a hundred forwarded, 500 dropped");
        assert_eq!(admitted.last(), Some(&Admission::Cut));
    }
}

//! What a member wants of one hub, routes and topics, and has to say there; and the frames that tell it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use undertone_protocol::session::Delivery;

use super::{
    cadence::Cadence,
    limit::{Budget, TokenBucket},
    outbox::{Outbox, Written},
    types::{RouteKey, Topic},
    wire::Frame,
};

/// Routes held at once: this epoch's and the last one's.
const MAX_ROUTES: usize = 2;
/// What was refused is asked for again after this time.
const RETRY: Duration = Duration::from_secs(3);
/// How often what was refused is looked at.
const RETRY_TICK: Duration = Duration::from_secs(1);
/// Requests to a hub: less than it takes by default. Somebody back after many removals walks through as many topics.
pub(crate) const REQUESTS: Budget = Budget {
    per_second: 3.0,
    burst: 48.0,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Unasked,
    Asked,
    Granted,
    Refused(Instant),
}

impl Status {
    /// Whether it is time to ask.
    fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Unasked => true,
            Self::Refused(when) => now.saturating_duration_since(*when) >= RETRY,
            Self::Asked | Self::Granted => false,
        }
    }
}

struct Wanted {
    route: RouteKey,
    /// What this hub calls it.
    name: RouteKey,
    slot: u8,
    status: Status,
}

struct Heard {
    topic: Topic,
    /// What this hub calls it.
    name: Topic,
    status: Status,
}

/// What the hub has been asked for on one connection.
pub(crate) struct Held {
    slots: Vec<u8>,
    topics: Vec<Topic>,
    requests: TokenBucket,
}

impl Held {
    pub(crate) fn nothing(now: Instant) -> Self {
        Self {
            slots: Vec::new(),
            topics: Vec::new(),
            requests: TokenBucket::new(REQUESTS, now),
        }
    }
}

/// See the module.
pub(crate) struct Wants {
    hub: PeerId,
    /// Oldest first.
    routes: Vec<Wanted>,
    last_slot: u8,
    topics: Vec<Heard>,
    /// What waits to be said.
    outbox: Outbox,
    /// What is small, and is said at its own pace.
    cadence: Cadence,
    /// Decisions that the hub may not have got, as its connection may be dead already.
    written: Written,
    /// Nothing more is coming: what waits is said, and the stream ended.
    is_ending: bool,
}

impl Wants {
    /// Nothing wanted of this hub yet, to which every so often something small is said.
    pub(crate) fn new(hub: PeerId, beat: Duration) -> Self {
        Self {
            hub,
            routes: Vec::new(),
            last_slot: 0,
            topics: Vec::new(),
            outbox: Outbox::default(),
            cadence: Cadence::new(beat),
            written: Written::default(),
            is_ending: false,
        }
    }

    /// Wants a route. With two wanted already, the older is given up.
    pub(crate) fn attach(&mut self, route: RouteKey) {
        if self.routes.iter().any(|w| w.route == route) {
            return;
        }
        if self.routes.len() >= MAX_ROUTES {
            self.routes.remove(0);
        }
        // Slots go round, so that a late packet of a route given up is not taken for one of its successor.
        self.last_slot = self.last_slot.checked_add(1).unwrap_or(1);
        self.routes.push(Wanted {
            route,
            name: route.at(&self.hub),
            slot: self.last_slot,
            status: Status::Unasked,
        });
    }

    /// Wants a route no longer.
    pub(crate) fn detach(&mut self, route: RouteKey) {
        self.routes.retain(|w| w.route != route);
    }

    /// Wants to hear a topic.
    pub(crate) fn subscribe(&mut self, topic: Topic) {
        if !self.topics.iter().any(|heard| heard.topic == topic) {
            self.topics.push(Heard {
                topic,
                name: topic.at(&self.hub),
                status: Status::Unasked,
            });
        }
    }

    /// Wants to hear a topic no longer, nor to say what waits to be said on it, but for what is to last: a removal is said on
    /// the topic that it ends.
    pub(crate) fn unsubscribe(&mut self, topic: Topic) {
        self.topics.retain(|heard| heard.topic != topic);
        self.outbox.give_up(topic);
        self.cadence.give_up(topic);
    }

    /// Says something, as soon as the hub is there, or leaves it there too; what waits longest is given up where too much
    /// waits.
    pub(crate) fn publish(
        &mut self,
        topic: Topic,
        payload: Bytes,
        delivery: Delivery,
        now: Instant,
    ) {
        if delivery == Delivery::Paced && self.cadence.paces(topic, &payload) {
            self.cadence.push(topic, payload, now);
            return;
        }
        let lasting = delivery == Delivery::Lasting;
        let given_up = self.outbox.keep(topic, payload, lasting, now);
        if !given_up.is_empty() {
            tracing::debug!("too much waits for a hub");
        }
    }

    /// Says something small on this topic at a steady pace from now on.
    pub(crate) fn keep_up(&mut self, topic: Topic) {
        self.cadence.keep_up(topic);
    }

    /// Says what waits, and no more.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Whether nothing waits to be said.
    pub(crate) fn is_silent(&self) -> bool {
        self.outbox.is_empty() && self.cadence.is_empty()
    }

    /// Whether something that is to last waits to be said.
    pub(crate) fn holds_lasting(&self) -> bool {
        self.outbox.holds_lasting()
    }

    /// The slot to send on: of the newest route granted.
    pub(crate) fn sending_slot(&self) -> Option<u8> {
        let mut newest_first = self.routes.iter().rev();
        let granted = newest_first.find(|w| w.status == Status::Granted);
        granted.map(|w| w.slot)
    }

    /// Whether packets on this slot are wanted.
    pub(crate) fn hears(&self, slot: u8) -> bool {
        self.routes.iter().any(|w| w.slot == slot)
    }

    /// The topic that the hub calls so, if it is heard.
    pub(crate) fn topic(&self, name: Topic) -> Option<Topic> {
        let heard = self.topics.iter().find(|heard| heard.name == name)?;
        Some(heard.topic)
    }

    /// The next request, as fast as the hub takes them; when there is none, the next message.
    pub(crate) fn next(&mut self, held: &mut Held, now: Instant) -> Option<Frame> {
        if held.requests.holds(1.0, now)
            && let Some(request) = self.next_request(held, now)
        {
            held.requests.take(1.0, now);
            return Some(request);
        }
        if !self.outbox.expired(now).is_empty() {
            tracing::debug!("messages waited too long for a hub");
        }
        if let Some((topic, payload, lasting)) = self.outbox.pop_front() {
            let name = topic.at(&self.hub);
            return Some(match lasting {
                true => {
                    self.written.push(topic, payload.clone(), now);
                    Frame::Leave(name, payload)
                }
                false => Frame::Say(name, payload),
            });
        }
        let (topic, payload) = match self.is_ending {
            true => self.cadence.hurry(),
            false => self.cadence.strike(now),
        }?;
        Some(Frame::Say(topic.at(&self.hub), payload))
    }

    /// The request that comes next to bring the hub from what is held to what is wanted.
    fn next_request(&mut self, held: &mut Held, now: Instant) -> Option<Frame> {
        let unwanted = |slot: &u8| !self.hears(*slot);
        if let Some(at) = held.slots.iter().position(unwanted) {
            let slot = held.slots.swap_remove(at);
            return Some(Frame::Detach { slot });
        }
        let unwanted = |name: &Topic| self.topic(*name).is_none();
        if let Some(at) = held.topics.iter().position(unwanted) {
            return Some(Frame::Ignore(held.topics.swap_remove(at)));
        }
        let mut topics = self.topics.iter_mut();
        if let Some(heard) = topics.find(|heard| heard.status.is_due(now)) {
            heard.status = Status::Asked;
            if !held.topics.contains(&heard.name) {
                held.topics.push(heard.name);
            }
            return Some(Frame::Hear(heard.name));
        }
        let wanted = self.routes.iter_mut().find(|w| w.status.is_due(now))?;
        wanted.status = Status::Asked;
        let (slot, route) = (wanted.slot, wanted.name);
        if !held.slots.contains(&slot) {
            held.slots.push(slot);
        }
        Some(Frame::Attach { slot, route })
    }

    /// How long there is nothing to say if nothing changes.
    pub(crate) fn pause(&self, now: Instant) -> Duration {
        let beat = self.cadence.left(now);
        beat.map_or(RETRY_TICK, |beat| beat.min(RETRY_TICK))
    }

    /// The hub has granted a route that it was asked for.
    pub(crate) fn granted(&mut self, slot: u8) -> Option<RouteKey> {
        self.answered(slot, Status::Granted)
    }

    /// The hub has refused a route that it was asked for.
    pub(crate) fn refused(&mut self, slot: u8, now: Instant) -> Option<RouteKey> {
        self.answered(slot, Status::Refused(now))
    }

    fn answered(&mut self, slot: u8, status: Status) -> Option<RouteKey> {
        let mut routes = self.routes.iter_mut();
        let wanted = routes.find(|w| w.slot == slot && w.status == Status::Asked)?;
        wanted.status = status;
        Some(wanted.route)
    }

    /// The hub says nothing on a topic that it calls so. Says whether it is a topic wanted.
    pub(crate) fn unheard(&mut self, name: Topic, now: Instant) -> bool {
        let heard = self.topics.iter_mut().find(|heard| heard.name == name);
        heard.is_some_and(|heard| {
            heard.status = Status::Refused(now);
            true
        })
    }

    /// On a connection that has ended, or a new one, nothing has been asked; and what the last one was told in the end
    /// may not have come.
    pub(crate) fn begin_again(&mut self, now: Instant) {
        for (topic, payload) in self.written.take(now) {
            self.outbox.keep(topic, payload, true, now);
        }
        let routes = self.routes.iter_mut().map(|w| &mut w.status);
        let topics = self.topics.iter_mut().map(|heard| &mut heard.status);
        routes
            .chain(topics)
            .for_each(|status| *status = Status::Unasked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: RouteKey = RouteKey([1; 32]);
    const B: RouteKey = RouteKey([2; 32]);
    const C: RouteKey = RouteKey([3; 32]);
    const TOPIC: Topic = Topic([4; 32]);

    fn hub() -> PeerId {
        let mut seed = [1; 32];
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap();
        keypair.public().to_peer_id()
    }

    /// Nothing wanted, nothing held, and a time.
    fn nothing() -> (Wants, Held, Instant) {
        let now = Instant::now();
        let wants = Wants::new(hub(), Duration::from_millis(500));
        (wants, Held::nothing(now), now)
    }

    fn hears(topic: Topic) -> Frame {
        Frame::Hear(topic.at(&hub()))
    }

    fn says(text: &'static str) -> Frame {
        Frame::Say(TOPIC.at(&hub()), text.into())
    }

    fn leaves(text: &'static str) -> Frame {
        Frame::Leave(TOPIC.at(&hub()), text.into())
    }

    fn attaches(slot: u8, route: RouteKey) -> Frame {
        let route = route.at(&hub());
        Frame::Attach { slot, route }
    }

    /// Everything there is to tell the hub.
    fn all(wants: &mut Wants, held: &mut Held, now: Instant) -> Vec<Frame> {
        std::iter::from_fn(|| wants.next(held, now)).collect()
    }

    #[test]
    fn a_third_route_replaces_the_oldest() {
        let (mut wants, ..) = nothing();
        for route in [A, B, B, C] {
            wants.attach(route);
        }
        let routes: Vec<_> = wants.routes.iter().map(|w| (w.route, w.slot)).collect();
        assert_eq!(routes, [(B, 2), (C, 3)]);
        assert!(wants.hears(2) && !wants.hears(1));
    }

    #[test]
    fn the_newest_granted_route_is_sent_on() {
        let (mut wants, mut held, now) = nothing();
        wants.attach(A);
        assert_eq!(wants.sending_slot(), None);
        assert_eq!(all(&mut wants, &mut held, now), [attaches(1, A)]);
        assert_eq!(wants.granted(1), Some(A));
        wants.attach(B);
        assert_eq!(all(&mut wants, &mut held, now), [attaches(2, B)]);
        assert_eq!(
            wants.sending_slot(),
            Some(1),
            "until the hub has confirmed the new one"
        );
        assert_eq!(wants.granted(2), Some(B));
        assert_eq!(wants.sending_slot(), Some(2));
        wants.detach(A);
        assert_eq!(all(&mut wants, &mut held, now), [Frame::Detach { slot: 1 }]);
    }

    #[test]
    fn a_route_refused_is_asked_for_again_later() {
        let (mut wants, mut held, now) = nothing();
        wants.attach(A);
        assert_eq!(wants.refused(1, now), None, "nobody asked");
        assert_eq!(all(&mut wants, &mut held, now), [attaches(1, A)]);
        assert_eq!(wants.refused(1, now), Some(A));
        assert_eq!(all(&mut wants, &mut held, now), []);
        assert_eq!(all(&mut wants, &mut held, now + RETRY), [attaches(1, A)]);
    }

    #[test]
    fn topics_are_asked_for_before_anything_is_said() {
        let (mut wants, mut held, now) = nothing();
        wants.publish(TOPIC, "1".into(), Delivery::Paced, now);
        wants.publish(TOPIC, "2".into(), Delivery::Lasting, now);
        wants.subscribe(TOPIC);
        assert_eq!(
            all(&mut wants, &mut held, now),
            [hears(TOPIC), says("1"), leaves("2")]
        );
        wants.publish(TOPIC, "3".into(), Delivery::Paced, now);
        wants.publish(TOPIC, "4".into(), Delivery::Lasting, now);
        wants.unsubscribe(TOPIC);
        assert_eq!(
            all(&mut wants, &mut held, now),
            [Frame::Ignore(TOPIC.at(&hub())), leaves("4")],
            "what is to last outlives its topic"
        );
    }

    #[test]
    fn what_is_small_waits_for_its_beat_and_decisions_for_nothing() {
        let (mut wants, mut held, now) = nothing();
        let small = |byte: u8| Bytes::from(vec![byte; 640]);
        wants.subscribe(TOPIC);
        wants.keep_up(TOPIC);
        let first = all(&mut wants, &mut held, now);
        assert_eq!(first.len(), 2, "heard, and a filler");
        wants.publish(TOPIC, small(1), Delivery::Paced, now);
        wants.publish(TOPIC, small(2), Delivery::Lasting, now);
        wants.publish(TOPIC, small(3), Delivery::Prompt, now);
        let name = TOPIC.at(&hub());
        assert_eq!(
            all(&mut wants, &mut held, now),
            [Frame::Leave(name, small(2)), Frame::Say(name, small(3))]
        );
        assert!(!wants.is_silent());
        wants.end();
        assert_eq!(
            all(&mut wants, &mut held, now),
            [Frame::Say(name, small(1))]
        );
        assert!(wants.is_silent());
    }

    #[test]
    fn a_decision_is_told_again_after_a_connection_that_has_ended() {
        let (mut wants, mut held, now) = nothing();
        wants.publish(TOPIC, "1".into(), Delivery::Lasting, now);
        wants.publish(TOPIC, "2".into(), Delivery::Paced, now);
        assert_eq!(all(&mut wants, &mut held, now), [leaves("1"), says("2")]);
        wants.begin_again(now);
        assert_eq!(all(&mut wants, &mut held, now), [leaves("1")]);
    }

    #[test]
    fn a_hub_is_asked_no_faster_than_it_takes_requests() {
        let (mut wants, mut held, now) = nothing();
        for n in 0..200 {
            wants.subscribe(Topic([n; 32]));
        }
        wants.publish(TOPIC, "1".into(), Delivery::Lasting, now);
        let first = all(&mut wants, &mut held, now);
        assert_eq!((first.len(), first.last()), (49, Some(&leaves("1"))));
        let second_later = all(&mut wants, &mut held, now + Duration::from_secs(1));
        assert_eq!(second_later.len(), 3);
    }

    #[test]
    fn a_topic_refused_is_asked_for_again_later() {
        let (mut wants, mut held, now) = nothing();
        wants.subscribe(TOPIC);
        assert_eq!(all(&mut wants, &mut held, now), [hears(TOPIC)]);
        assert!(wants.unheard(TOPIC.at(&hub()), now));
        assert_eq!(all(&mut wants, &mut held, now), []);
        assert_eq!(all(&mut wants, &mut held, now + RETRY), [hears(TOPIC)]);
    }

    #[test]
    fn slots_go_round_without_zero() {
        let (mut wants, ..) = nothing();
        wants.last_slot = u8::MAX;
        wants.attach(A);
        assert!(wants.hears(1));
    }
}

//! What a member wants of one hub, routes and topics, and has to say there, on whichever connection is the current one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, gossipsub::MessageId};
use tokio::sync::{mpsc, watch};
use undertone_protocol::session::Delivery;

use super::{
    cadence::Cadence,
    limit::{Allowance, Budget, TokenBucket},
    outbox::{Outbox, Written},
    seen::Seen,
    types::{MessageRef, NetEvent, Refusal, RouteKey, RouteRefusal, Topic},
    wire::{Frame, StreamEnd, read_frame, read_preface, write_frame},
};

/// Routes held at once: this epoch's and the last one's.
const MAX_ROUTES: usize = 2;
/// What was refused is asked for again after this time.
const RETRY: Duration = Duration::from_secs(3);
/// How often what was refused is looked at.
const RETRY_TICK: Duration = Duration::from_secs(1);
/// Requests to a hub: less than it takes by default. Somebody back after many removals walks through as many topics.
const REQUESTS: Budget = Budget {
    per_second: 3.0,
    burst: 48.0,
};
/// Messages and bytes taken from a hub, which holds each of those who speak through it to a budget itself.
const MESSAGES: Budget = Budget {
    per_second: 300.0,
    burst: 1_500.0,
};
const BYTES: Budget = Budget {
    per_second: 1024.0 * 1024.0,
    burst: 8.0 * 1024.0 * 1024.0,
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
    fn is_due(&self) -> bool {
        match self {
            Self::Unasked => true,
            Self::Refused(when) => when.elapsed() >= RETRY,
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

struct State {
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
    /// Which connection's streams may change statuses; grows with each.
    generation: u64,
    /// Nothing more is coming: what waits is said, and the stream ended.
    ending: bool,
}

/// What the hub has been asked for on one connection.
struct Held {
    slots: Vec<u8>,
    topics: Vec<Topic>,
    requests: TokenBucket,
}

impl Held {
    fn nothing() -> Self {
        Self {
            slots: Vec::new(),
            topics: Vec::new(),
            requests: TokenBucket::new(REQUESTS, Instant::now()),
        }
    }
}

/// See the module.
pub(crate) struct HubClient {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Whether a connection is being served.
    served: watch::Sender<bool>,
    hub: PeerId,
    events: mpsc::Sender<NetEvent>,
    /// What has been heard, from this hub or another.
    seen: Arc<Seen>,
}

impl HubClient {
    /// A client of this hub, on which every so often something small is said.
    pub(crate) fn new(
        hub: PeerId,
        beat: Duration,
        events: mpsc::Sender<NetEvent>,
        seen: Arc<Seen>,
    ) -> Self {
        let state = State {
            routes: Vec::new(),
            last_slot: 0,
            topics: Vec::new(),
            outbox: Outbox::default(),
            cadence: Cadence::new(beat),
            written: Written::default(),
            generation: 0,
            ending: false,
        };
        Self {
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            served: watch::Sender::new(false),
            hub,
            events,
            seen,
        }
    }

    /// Wants a route. With two wanted already, the older is given up.
    pub(crate) fn attach(&self, route: RouteKey) {
        self.change(|state| {
            if state.routes.iter().any(|w| w.route == route) {
                return;
            }
            if state.routes.len() >= MAX_ROUTES {
                state.routes.remove(0);
            }
            // Slots go round, so that a late packet of a route given up is not taken for one of its successor.
            state.last_slot = state.last_slot.checked_add(1).unwrap_or(1);
            let slot = state.last_slot;
            state.routes.push(Wanted {
                route,
                name: route.at(&self.hub),
                slot,
                status: Status::Unasked,
            });
        });
    }

    /// Wants a route no longer.
    pub(crate) fn detach(&self, route: RouteKey) {
        self.change(|state| state.routes.retain(|w| w.route != route));
    }

    /// Wants to hear a topic.
    pub(crate) fn subscribe(&self, topic: Topic) {
        self.change(|state| {
            if !state.topics.iter().any(|heard| heard.topic == topic) {
                state.topics.push(Heard {
                    topic,
                    name: topic.at(&self.hub),
                    status: Status::Unasked,
                });
            }
        });
    }

    /// Wants to hear a topic no longer, nor to say what waits to be said on it, but for what is to last: a removal is said on
    /// the topic that it ends.
    pub(crate) fn unsubscribe(&self, topic: Topic) {
        self.change(|state| {
            state.topics.retain(|heard| heard.topic != topic);
            state.outbox.give_up(topic);
            state.cadence.give_up(topic);
        });
    }

    /// Says something, as soon as the hub is there, or leaves it there too; what waits longest is given up where too much
    /// waits.
    pub(crate) fn publish(&self, topic: Topic, payload: Bytes, delivery: Delivery) {
        self.change(|state| {
            let now = Instant::now();
            if delivery == Delivery::Paced && state.cadence.paces(topic, &payload) {
                state.cadence.push(topic, payload, now);
                return;
            }
            let lasting = delivery == Delivery::Lasting;
            let given_up = state.outbox.keep(topic, payload, lasting, now);
            if !given_up.is_empty() {
                tracing::debug!("too much waits for a hub");
            }
        });
    }

    /// Says something small on this topic at a steady pace from now on.
    pub(crate) fn keep_up(&self, topic: Topic) {
        self.change(|state| state.cadence.keep_up(topic));
    }

    /// Says what waits, and returns when the hub has acknowledged all of it.
    pub(crate) async fn finish(&self) {
        self.change(|state| state.ending = true);
        let said = |served: &bool| {
            let state = self.lock();
            !served && state.outbox.is_empty() && state.cadence.is_empty()
        };
        let _ = self.served.subscribe().wait_for(said).await;
    }

    /// Whether something that is to last waits to be said.
    pub(crate) fn holds_lasting(&self) -> bool {
        self.lock().outbox.holds_lasting()
    }

    /// The slot to send on: of the newest route granted.
    pub(crate) fn sending_slot(&self) -> Option<u8> {
        let state = self.lock();
        let mut newest_first = state.routes.iter().rev();
        let granted = newest_first.find(|w| w.status == Status::Granted);
        granted.map(|w| w.slot)
    }

    /// Whether packets on this slot are wanted.
    pub(crate) fn hears(&self, slot: u8) -> bool {
        self.lock().routes.iter().any(|w| w.slot == slot)
    }

    /// Keeps routes and topics over `connection`, until it ends or another takes over.
    pub(crate) async fn serve(&self, connection: quinn::Connection) {
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            state.forget_answers();
            state.generation
        };
        self.served.send_replace(true);
        let served = tokio::try_join!(
            self.ask(&connection, generation),
            self.hear(&connection, generation)
        );
        if let Err(StreamEnd::Protocol) = served {
            tracing::debug!("the relay does not speak the hub protocol");
        }
        // Without its streams a connection is of no use; the next may have them.
        connection.close(0u32.into(), b"");
        let mut state = self.lock();
        if state.generation == generation {
            state.forget_answers();
            drop(state);
            self.served.send_replace(false);
        }
    }

    /// Tells the hub what changed and what is to be said, as long as this connection is the current one.
    async fn ask(&self, connection: &quinn::Connection, generation: u64) -> Result<(), StreamEnd> {
        let mut changed = self.changed.subscribe();
        let mut stream = connection.open_uni().await.map_err(|_| StreamEnd::Gone)?;
        write_frame(&mut stream, Frame::Preface).await?;
        let mut held = Held::nothing();
        loop {
            changed.mark_unchanged();
            while let Some(frame) = self.outstanding(generation, &mut held)? {
                let heard = match &frame {
                    Frame::Hear(name) => self.topic(*name),
                    _ => None,
                };
                write_frame(&mut stream, frame).await?;
                // Frames are taken in order: whatever is said from now on is said on this topic too.
                if let Some(topic) = heard {
                    let peer = self.hub;
                    self.tell(NetEvent::Subscribed { peer, topic }).await?;
                }
            }
            if self.lock().ending {
                let _ = stream.finish();
                let _ = stream.stopped().await;
                return Err(StreamEnd::Gone);
            }
            let beat = self.lock().cadence.left(Instant::now());
            let pause = beat.map_or(RETRY_TICK, |beat| beat.min(RETRY_TICK));
            tokio::select! {
                alive = changed.changed() => alive.map_err(|_| StreamEnd::Gone)?,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// The next request, as fast as the hub takes them; when there is none, the next message.
    fn outstanding(&self, generation: u64, held: &mut Held) -> Result<Option<Frame>, StreamEnd> {
        let mut state = self.lock();
        if state.generation != generation {
            return Err(StreamEnd::Gone);
        }
        let now = Instant::now();
        if held.requests.holds(1.0, now)
            && let Some(request) = state.next_request(held)
        {
            held.requests.take(1.0, now);
            return Ok(Some(request));
        }
        if !state.outbox.expired(now).is_empty() {
            tracing::debug!("messages waited too long for a hub");
        }
        if let Some((topic, payload, lasting)) = state.outbox.pop_front() {
            let name = topic.at(&self.hub);
            return Ok(Some(match lasting {
                true => {
                    state.written.push(topic, payload.clone(), now);
                    Frame::Leave(name, payload)
                }
                false => Frame::Say(name, payload),
            }));
        }
        let small = match state.ending {
            true => state.cadence.hurry(),
            false => state.cadence.strike(now),
        };
        Ok(small.map(|(topic, payload)| Frame::Say(topic.at(&self.hub), payload)))
    }

    /// Hears the hub.
    async fn hear(&self, connection: &quinn::Connection, generation: u64) -> Result<(), StreamEnd> {
        let mut stream = connection.accept_uni().await.map_err(|_| StreamEnd::Gone)?;
        read_preface(&mut stream).await?;
        let mut allowance = Allowance::new(MESSAGES, BYTES, Instant::now());
        loop {
            let event = match read_frame(&mut stream).await? {
                Frame::Card(card) => {
                    let relay = self.hub;
                    Some(NetEvent::OperatorCard { relay, card })
                }
                Frame::Attached { slot } => self
                    .answer(generation, slot, Status::Granted)
                    .map(NetEvent::RouteAttached),
                Frame::Refused { slot, reason } => self
                    .answer(generation, slot, Status::Refused(Instant::now()))
                    .map(|route| refused(route, reason)),
                Frame::Unheard(name) => self.unheard(generation, name),
                Frame::Said(name, payload) if allowance.admits(payload.len(), Instant::now()) => {
                    self.said(name, payload, false)
                }
                Frame::Kept(name, payload) if allowance.admits(payload.len(), Instant::now()) => {
                    self.said(name, payload, true)
                }
                Frame::Said(..) | Frame::Kept(..) => None,
                _ => return Err(StreamEnd::Protocol),
            };
            if let Some(event) = event {
                self.tell(event).await?;
            }
        }
    }

    async fn tell(&self, event: NetEvent) -> Result<(), StreamEnd> {
        self.events.send(event).await.map_err(|_| StreamEnd::Gone)
    }

    fn answer(&self, generation: u64, slot: u8, status: Status) -> Option<RouteKey> {
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let mut routes = state.routes.iter_mut();
        let wanted = routes.find(|w| w.slot == slot && w.status == Status::Asked)?;
        wanted.status = status;
        Some(wanted.route)
    }

    fn unheard(&self, generation: u64, name: Topic) -> Option<NetEvent> {
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let mut topics = state.topics.iter_mut();
        let heard = topics.find(|heard| heard.name == name)?;
        heard.status = Status::Refused(Instant::now());
        Some(NetEvent::Refused {
            reason: Refusal::TooManyTopics,
        })
    }

    /// A message, unless its topic is not heard, or it has been heard before.
    fn said(&self, name: Topic, payload: Bytes, kept: bool) -> Option<NetEvent> {
        let topic = self.topic(name)?;
        let id = (self.seen).is_new(&topic, &payload, kept, Instant::now())?;
        Some(NetEvent::Control {
            topic,
            payload,
            kept,
            from: self.hub,
            message: MessageRef {
                id: MessageId::new(&id),
                source: self.hub,
            },
        })
    }

    /// The topic that the hub calls so, if it is heard.
    fn topic(&self, name: Topic) -> Option<Topic> {
        let state = self.lock();
        let mut topics = state.topics.iter();
        topics
            .find(|heard| heard.name == name)
            .map(|heard| heard.topic)
    }

    fn change(&self, how: impl FnOnce(&mut State)) {
        how(&mut self.lock());
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next request that brings the hub from what is held to what is wanted.
    fn next_request(&mut self, held: &mut Held) -> Option<Frame> {
        let unwanted = |slot: &u8| !self.routes.iter().any(|w| w.slot == *slot);
        if let Some(at) = held.slots.iter().position(unwanted) {
            let slot = held.slots.swap_remove(at);
            return Some(Frame::Detach { slot });
        }
        let unwanted = |name: &Topic| !self.topics.iter().any(|heard| heard.name == *name);
        if let Some(at) = held.topics.iter().position(unwanted) {
            return Some(Frame::Ignore(held.topics.swap_remove(at)));
        }
        let mut topics = self.topics.iter_mut();
        if let Some(heard) = topics.find(|heard| heard.status.is_due()) {
            heard.status = Status::Asked;
            if !held.topics.contains(&heard.name) {
                held.topics.push(heard.name);
            }
            return Some(Frame::Hear(heard.name));
        }
        let wanted = self.routes.iter_mut().find(|w| w.status.is_due())?;
        wanted.status = Status::Asked;
        let (slot, route) = (wanted.slot, wanted.name);
        if !held.slots.contains(&slot) {
            held.slots.push(slot);
        }
        Some(Frame::Attach { slot, route })
    }

    /// On a connection that has ended, or a new one, nothing has been asked; and what the last one was told in the end
    /// may not have come.
    fn forget_answers(&mut self) {
        let now = Instant::now();
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

fn refused(route: RouteKey, reason: RouteRefusal) -> NetEvent {
    NetEvent::Refused {
        reason: Refusal::Route { route, reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> HubClient {
        let beat = Duration::from_millis(500);
        HubClient::new(hub(), beat, mpsc::channel(1).0, Arc::default())
    }

    const A: RouteKey = RouteKey([1; 32]);
    const B: RouteKey = RouteKey([2; 32]);
    const C: RouteKey = RouteKey([3; 32]);
    const TOPIC: Topic = Topic([4; 32]);

    fn hub() -> PeerId {
        let mut seed = [1; 32];
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap();
        keypair.public().to_peer_id()
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
    fn all(client: &HubClient, held: &mut Held) -> Vec<Frame> {
        std::iter::from_fn(|| client.outstanding(0, held).unwrap()).collect()
    }

    #[test]
    fn a_third_route_replaces_the_oldest() {
        let client = client();
        for route in [A, B, B, C] {
            client.attach(route);
        }
        let state = client.lock();
        let routes: Vec<_> = state.routes.iter().map(|w| (w.route, w.slot)).collect();
        drop(state);
        assert_eq!(routes, [(B, 2), (C, 3)]);
        assert!(client.hears(2) && !client.hears(1));
    }

    #[test]
    fn the_newest_granted_route_is_sent_on() {
        let client = client();
        client.attach(A);
        assert_eq!(client.sending_slot(), None);
        let mut held = Held::nothing();
        assert_eq!(all(&client, &mut held), [attaches(1, A)]);
        assert_eq!(client.answer(0, 1, Status::Granted), Some(A));
        client.attach(B);
        assert_eq!(all(&client, &mut held), [attaches(2, B)]);
        assert_eq!(
            client.sending_slot(),
            Some(1),
            "until the hub has confirmed the new one"
        );
        assert_eq!(client.answer(0, 2, Status::Granted), Some(B));
        assert_eq!(client.sending_slot(), Some(2));
        client.detach(A);
        assert_eq!(all(&client, &mut held), [Frame::Detach { slot: 1 }]);
    }

    #[test]
    fn topics_are_asked_for_before_anything_is_said() {
        let (client, mut held) = (client(), Held::nothing());
        client.publish(TOPIC, "1".into(), Delivery::Paced);
        client.publish(TOPIC, "2".into(), Delivery::Lasting);
        client.subscribe(TOPIC);
        assert_eq!(
            all(&client, &mut held),
            [hears(TOPIC), says("1"), leaves("2")]
        );
        client.publish(TOPIC, "3".into(), Delivery::Paced);
        client.publish(TOPIC, "4".into(), Delivery::Lasting);
        client.unsubscribe(TOPIC);
        assert_eq!(
            all(&client, &mut held),
            [Frame::Ignore(TOPIC.at(&hub())), leaves("4")],
            "what is to last outlives its topic"
        );
    }

    #[test]
    fn what_is_small_waits_for_its_beat_and_decisions_for_nothing() {
        let (client, mut held) = (client(), Held::nothing());
        let small = |byte: u8| Bytes::from(vec![byte; 640]);
        client.subscribe(TOPIC);
        client.keep_up(TOPIC);
        assert_eq!(all(&client, &mut held).len(), 2, "heard, and a filler");
        client.publish(TOPIC, small(1), Delivery::Paced);
        client.publish(TOPIC, small(2), Delivery::Lasting);
        client.publish(TOPIC, small(3), Delivery::Prompt);
        let name = TOPIC.at(&hub());
        assert_eq!(
            all(&client, &mut held),
            [Frame::Leave(name, small(2)), Frame::Say(name, small(3))]
        );
        client.change(|state| state.ending = true);
        assert_eq!(all(&client, &mut held), [Frame::Say(name, small(1))]);
    }

    #[test]
    fn a_decision_is_told_again_after_a_connection_that_has_ended() {
        let (client, mut held) = (client(), Held::nothing());
        client.publish(TOPIC, "1".into(), Delivery::Lasting);
        client.publish(TOPIC, "2".into(), Delivery::Paced);
        assert_eq!(all(&client, &mut held), [leaves("1"), says("2")]);
        client.lock().forget_answers();
        assert_eq!(all(&client, &mut held), [leaves("1")]);
    }

    #[test]
    fn a_hub_is_asked_no_faster_than_it_takes_requests() {
        let (client, mut held) = (client(), Held::nothing());
        for n in 0..200 {
            client.subscribe(Topic([n; 32]));
        }
        client.publish(TOPIC, "1".into(), Delivery::Lasting);
        let first = all(&client, &mut held);
        assert!((48..52).contains(&(first.len() - 1)), "{}", first.len());
        assert_eq!(first.last(), Some(&leaves("1")));
        held.requests = TokenBucket::new(REQUESTS, Instant::now());
        assert!(matches!(
            all(&client, &mut held).as_slice(),
            [Frame::Hear(_), ..]
        ));
    }

    #[test]
    fn a_topic_refused_is_told_and_asked_for_again_later() {
        let (client, mut held) = (client(), Held::nothing());
        client.subscribe(TOPIC);
        assert_eq!(all(&client, &mut held), [hears(TOPIC)]);
        assert!(client.unheard(0, TOPIC.at(&hub())).is_some());
        assert_eq!(all(&client, &mut held), []);
        if let Some(heard) = client.lock().topics.first_mut() {
            heard.status = Status::Refused(Instant::now().checked_sub(RETRY).unwrap());
        }
        assert_eq!(all(&client, &mut held), [hears(TOPIC)]);
    }

    #[test]
    fn only_what_is_heard_for_the_first_time_on_a_wanted_topic_is_told() {
        let (client, name) = (client(), TOPIC.at(&hub()));
        assert!(client.said(name, "stray".into(), false).is_none());
        client.subscribe(TOPIC);
        assert!(client.said(TOPIC, "stray".into(), false).is_none());
        assert!(client.said(name, "words".into(), false).is_some());
        assert!(client.said(name, "words".into(), false).is_none());
    }

    #[test]
    fn answers_of_an_older_connection_change_nothing() {
        let client = client();
        client.attach(A);
        client.subscribe(TOPIC);
        client.lock().generation = 2;
        assert!(client.outstanding(1, &mut Held::nothing()).is_err());
        assert_eq!(client.answer(1, 1, Status::Granted), None);
        assert!(client.unheard(1, TOPIC.at(&hub())).is_none());
    }

    #[test]
    fn slots_go_round_without_zero() {
        let client = client();
        client.lock().last_slot = u8::MAX;
        client.attach(A);
        assert!(client.hears(1));
    }
}

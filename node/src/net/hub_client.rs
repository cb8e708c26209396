//! What a member wants of one hub, routes and topics, and has to say there, on whichever connection is the current one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, gossipsub::MessageId};
use tokio::sync::{mpsc, watch};

use super::{
    limit::{Allowance, Budget, TokenBucket},
    outbox::Outbox,
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
    slot: u8,
    status: Status,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    routes: Vec<Wanted>,
    last_slot: u8,
    topics: Vec<(Topic, Status)>,
    /// What waits to be said.
    outbox: Outbox,
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
    pub(crate) fn new(hub: PeerId, events: mpsc::Sender<NetEvent>, seen: Arc<Seen>) -> Self {
        Self {
            state: Mutex::default(),
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
            if !state.topics.iter().any(|(known, _)| *known == topic) {
                state.topics.push((topic, Status::Unasked));
            }
        });
    }

    /// Wants to hear a topic no longer, nor to say what waits to be said on it, but for what is to last: a removal is said on
    /// the topic that it ends.
    pub(crate) fn unsubscribe(&self, topic: Topic) {
        self.change(|state| {
            state.topics.retain(|(known, _)| *known != topic);
            state.outbox.give_up(topic);
        });
    }

    /// Says something, as soon as the hub is there, or leaves it there too; what waits longest is given up where too much
    /// waits.
    pub(crate) fn publish(&self, topic: Topic, payload: Bytes, lasting: bool) {
        self.change(|state| {
            let given_up = (state.outbox).keep(topic, payload, lasting, Instant::now());
            if !given_up.is_empty() {
                tracing::debug!("too much waits for a hub");
            }
        });
    }

    /// Says what waits, and returns when the hub has acknowledged all of it.
    pub(crate) async fn finish(&self) {
        self.change(|state| state.ending = true);
        let said = |served: &bool| !served && self.lock().outbox.is_empty();
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
                    Frame::Hear(topic) => Some(*topic),
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
            tokio::select! {
                alive = changed.changed() => alive.map_err(|_| StreamEnd::Gone)?,
                () = tokio::time::sleep(RETRY_TICK) => {}
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
        let next = state.outbox.pop_front();
        Ok(next.map(|(topic, payload, lasting)| match lasting {
            true => Frame::Leave(topic, payload),
            false => Frame::Say(topic, payload),
        }))
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
                Frame::Unheard(topic) => self.unheard(generation, topic),
                Frame::Said(topic, payload) if allowance.admits(payload.len(), Instant::now()) => {
                    self.said(topic, payload, false)
                }
                Frame::Kept(topic, payload) if allowance.admits(payload.len(), Instant::now()) => {
                    self.said(topic, payload, true)
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

    fn unheard(&self, generation: u64, topic: Topic) -> Option<NetEvent> {
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let mut topics = state.topics.iter_mut();
        let (_, status) = topics.find(|(known, _)| *known == topic)?;
        *status = Status::Refused(Instant::now());
        Some(NetEvent::Refused {
            reason: Refusal::TooManyTopics,
        })
    }

    /// A message, unless its topic is not heard, or it has been heard before.
    fn said(&self, topic: Topic, payload: Bytes, kept: bool) -> Option<NetEvent> {
        let wanted = (self.lock().topics.iter()).any(|(known, _)| *known == topic);
        let id = wanted
            .then(|| self.seen.is_new(&topic, &payload, Instant::now()))
            .flatten()?;
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
        let unwanted = |topic: &Topic| !self.topics.iter().any(|(known, _)| known == topic);
        if let Some(at) = held.topics.iter().position(unwanted) {
            return Some(Frame::Ignore(held.topics.swap_remove(at)));
        }
        let mut topics = self.topics.iter_mut();
        if let Some((topic, status)) = topics.find(|(_, status)| status.is_due()) {
            *status = Status::Asked;
            if !held.topics.contains(topic) {
                held.topics.push(*topic);
            }
            return Some(Frame::Hear(*topic));
        }
        let wanted = self.routes.iter_mut().find(|w| w.status.is_due())?;
        wanted.status = Status::Asked;
        let (slot, route) = (wanted.slot, wanted.route);
        if !held.slots.contains(&slot) {
            held.slots.push(slot);
        }
        Some(Frame::Attach { slot, route })
    }

    /// On a connection that has ended, or a new one, nothing has been asked.
    fn forget_answers(&mut self) {
        let routes = self.routes.iter_mut().map(|w| &mut w.status);
        let topics = self.topics.iter_mut().map(|(_, status)| status);
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
        HubClient::new(PeerId::random(), mpsc::channel(1).0, Arc::default())
    }

    const A: RouteKey = RouteKey([1; 32]);
    const B: RouteKey = RouteKey([2; 32]);
    const C: RouteKey = RouteKey([3; 32]);
    const TOPIC: Topic = Topic([4; 32]);

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
        assert_eq!(
            all(&client, &mut held),
            [Frame::Attach { slot: 1, route: A }]
        );
        assert_eq!(client.answer(0, 1, Status::Granted), Some(A));
        client.attach(B);
        assert_eq!(
            all(&client, &mut held),
            [Frame::Attach { slot: 2, route: B }]
        );
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
        client.publish(TOPIC, "1".into(), false);
        client.publish(TOPIC, "2".into(), true);
        client.subscribe(TOPIC);
        let said = |text: &'static str| Frame::Say(TOPIC, text.into());
        assert_eq!(
            all(&client, &mut held),
            [
                Frame::Hear(TOPIC),
                said("1"),
                Frame::Leave(TOPIC, "2".into())
            ]
        );
        client.publish(TOPIC, "3".into(), false);
        client.publish(TOPIC, "4".into(), true);
        client.unsubscribe(TOPIC);
        assert_eq!(
            all(&client, &mut held),
            [Frame::Ignore(TOPIC), Frame::Leave(TOPIC, "4".into())],
            "what is to last outlives its topic"
        );
    }

    #[test]
    fn a_hub_is_asked_no_faster_than_it_takes_requests() {
        let (client, mut held) = (client(), Held::nothing());
        for n in 0..200 {
            client.subscribe(Topic([n; 32]));
        }
        client.publish(TOPIC, "1".into(), true);
        let first = all(&client, &mut held);
        assert!((48..52).contains(&(first.len() - 1)), "{}", first.len());
        assert_eq!(first.last(), Some(&Frame::Leave(TOPIC, "1".into())));
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
        assert_eq!(all(&client, &mut held), [Frame::Hear(TOPIC)]);
        assert!(client.unheard(0, TOPIC).is_some());
        assert_eq!(all(&client, &mut held), []);
        if let Some((_, status)) = client.lock().topics.first_mut() {
            *status = Status::Refused(Instant::now().checked_sub(RETRY).unwrap());
        }
        assert_eq!(all(&client, &mut held), [Frame::Hear(TOPIC)]);
    }

    #[test]
    fn only_what_is_heard_for_the_first_time_on_a_wanted_topic_is_told() {
        let client = client();
        assert!(client.said(TOPIC, "stray".into(), false).is_none());
        client.subscribe(TOPIC);
        assert!(client.said(TOPIC, "words".into(), false).is_some());
        assert!(client.said(TOPIC, "words".into(), false).is_none());
    }

    #[test]
    fn answers_of_an_older_connection_change_nothing() {
        let client = client();
        client.attach(A);
        client.subscribe(TOPIC);
        client.lock().generation = 2;
        assert!(client.outstanding(1, &mut Held::nothing()).is_err());
        assert_eq!(client.answer(1, 1, Status::Granted), None);
        assert!(client.unheard(1, TOPIC).is_none());
    }

    #[test]
    fn slots_go_round_without_zero() {
        let client = client();
        client.lock().last_slot = u8::MAX;
        client.attach(A);
        assert!(client.hears(1));
    }
}

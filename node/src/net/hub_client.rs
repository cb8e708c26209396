//! A member's streams with one hub: they tell it what is [wanted](Wants), on whichever connection is the current one, and hear it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, gossipsub::MessageId};
use tokio::sync::{mpsc, watch};
use undertone_protocol::session::Delivery;

use super::{
    limit::{Allowance, Budget},
    seen::Seen,
    types::{MessageRef, NetEvent, Refusal, RouteKey, RouteRefusal, Topic},
    wants::{Held, Wants},
    wire::{Frame, StreamEnd, read_frame, read_preface, write_frame},
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

struct State {
    wants: Wants,
    /// Which connection's streams may change it; grows with each.
    generation: u64,
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
            wants: Wants::new(hub, beat),
            generation: 0,
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

    /// See [`Wants::attach`].
    pub(crate) fn attach(&self, route: RouteKey) {
        self.change(|wants| wants.attach(route));
    }

    /// See [`Wants::detach`].
    pub(crate) fn detach(&self, route: RouteKey) {
        self.change(|wants| wants.detach(route));
    }

    /// See [`Wants::subscribe`].
    pub(crate) fn subscribe(&self, topic: Topic) {
        self.change(|wants| wants.subscribe(topic));
    }

    /// See [`Wants::unsubscribe`].
    pub(crate) fn unsubscribe(&self, topic: Topic) {
        self.change(|wants| wants.unsubscribe(topic));
    }

    /// See [`Wants::publish`].
    pub(crate) fn publish(&self, topic: Topic, payload: Bytes, delivery: Delivery) {
        self.change(|wants| wants.publish(topic, payload, delivery, Instant::now()));
    }

    /// See [`Wants::keep_up`].
    pub(crate) fn keep_up(&self, topic: Topic) {
        self.change(|wants| wants.keep_up(topic));
    }

    /// Says what waits, and returns when the hub has acknowledged all of it.
    pub(crate) async fn finish(&self) {
        self.change(Wants::end);
        let said = |served: &bool| !served && self.lock().wants.is_silent();
        let _ = self.served.subscribe().wait_for(said).await;
    }

    /// See [`Wants::holds_lasting`].
    pub(crate) fn holds_lasting(&self) -> bool {
        self.lock().wants.holds_lasting()
    }

    /// See [`Wants::sending_slot`].
    pub(crate) fn sending_slot(&self) -> Option<u8> {
        self.lock().wants.sending_slot()
    }

    /// See [`Wants::hears`].
    pub(crate) fn hears(&self, slot: u8) -> bool {
        self.lock().wants.hears(slot)
    }

    /// Keeps routes and topics over `connection`, until it ends or another takes over.
    pub(crate) async fn serve(&self, connection: quinn::Connection) {
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            state.wants.begin_again(Instant::now());
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
            state.wants.begin_again(Instant::now());
            drop(state);
            self.served.send_replace(false);
        }
    }

    /// Tells the hub what changed and what is to be said, as long as this connection is the current one.
    async fn ask(&self, connection: &quinn::Connection, generation: u64) -> Result<(), StreamEnd> {
        let mut changed = self.changed.subscribe();
        let mut stream = connection.open_uni().await.map_err(|_| StreamEnd::Gone)?;
        write_frame(&mut stream, Frame::Preface).await?;
        let mut held = Held::nothing(Instant::now());
        loop {
            changed.mark_unchanged();
            while let Some(frame) =
                self.on(generation, |wants| wants.next(&mut held, Instant::now()))?
            {
                let heard = match &frame {
                    Frame::Hear(name) => self.lock().wants.topic(*name),
                    _ => None,
                };
                write_frame(&mut stream, frame).await?;
                // Frames are taken in order: whatever is said from now on is said on this topic too.
                if let Some(topic) = heard {
                    let peer = self.hub;
                    self.tell(NetEvent::Subscribed { peer, topic }).await?;
                }
            }
            if self.lock().wants.is_ending() {
                let _ = stream.finish();
                let _ = stream.stopped().await;
                return Err(StreamEnd::Gone);
            }
            let pause = self.lock().wants.pause(Instant::now());
            tokio::select! {
                alive = changed.changed() => alive.map_err(|_| StreamEnd::Gone)?,
                () = tokio::time::sleep(pause) => {}
            }
        }
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
                    .on(generation, |wants| wants.granted(slot))?
                    .map(NetEvent::RouteAttached),
                Frame::Refused { slot, reason } => self
                    .on(generation, |wants| wants.refused(slot, Instant::now()))?
                    .map(|route| refused(route, reason)),
                Frame::Unheard(name) => self
                    .on(generation, |wants| wants.unheard(name, Instant::now()))?
                    .then_some(NetEvent::Refused {
                        reason: Refusal::TooManyTopics,
                    }),
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

    /// A message, unless its topic is not heard, or it has been heard before.
    fn said(&self, name: Topic, payload: Bytes, kept: bool) -> Option<NetEvent> {
        let topic = self.lock().wants.topic(name)?;
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

    /// Does something with what is wanted, as long as this connection is the current one.
    fn on<T>(&self, generation: u64, how: impl FnOnce(&mut Wants) -> T) -> Result<T, StreamEnd> {
        let mut state = self.lock();
        match state.generation == generation {
            true => Ok(how(&mut state.wants)),
            false => Err(StreamEnd::Gone),
        }
    }

    fn change(&self, how: impl FnOnce(&mut Wants)) {
        how(&mut self.lock().wants);
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    const TOPIC: Topic = Topic([4; 32]);

    fn client() -> HubClient {
        let mut seed = [1; 32];
        let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap();
        let beat = Duration::from_millis(500);
        let hub = keypair.public().to_peer_id();
        HubClient::new(hub, beat, mpsc::channel(1).0, Arc::default())
    }

    #[test]
    fn only_what_is_heard_for_the_first_time_on_a_wanted_topic_is_told() {
        let client = client();
        let name = TOPIC.at(&client.hub);
        assert!(client.said(name, "stray".into(), false).is_none());
        client.subscribe(TOPIC);
        assert!(client.said(TOPIC, "stray".into(), false).is_none());
        assert!(client.said(name, "words".into(), false).is_some());
        assert!(client.said(name, "words".into(), false).is_none());
    }

    #[test]
    fn answers_of_an_older_connection_change_nothing() {
        let client = client();
        client.attach(RouteKey([1; 32]));
        client.lock().generation = 2;
        let granted = |generation| {
            let mut held = Held::nothing(Instant::now());
            client.on(generation, |wants| {
                wants.next(&mut held, Instant::now());
                wants.granted(1)
            })
        };
        assert!(granted(1).is_err());
        assert_eq!(client.sending_slot(), None);
        assert!(granted(2).is_ok());
        assert_eq!(client.sending_slot(), Some(1));
    }
}

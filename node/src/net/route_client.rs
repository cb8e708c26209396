//! A member's routes at one hub: which are wanted, which are granted, on whichever connection is the current one.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p::PeerId;
use tokio::sync::{mpsc, watch};

use super::{
    types::{NetEvent, Refusal, RouteKey, RouteRefusal},
    wire::{Frame, StreamEnd, read_card, read_frame, read_preface, write_frame},
};

/// Routes held at once: this epoch's and the last one's.
const MAX_ROUTES: usize = 2;
/// A refused route is asked for again after this time.
const RETRY: Duration = Duration::from_secs(3);
/// How often refused routes are looked at.
const RETRY_TICK: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Unasked,
    Asked,
    Granted,
    Refused(Instant),
}

struct Wanted {
    route: RouteKey,
    slot: u8,
    status: Status,
}

#[derive(Default)]
struct State {
    /// Oldest first.
    wanted: Vec<Wanted>,
    last_slot: u8,
    /// Which connection's streams may change statuses; grows with each.
    generation: u64,
}

/// See the module.
pub(crate) struct RouteClient {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    hub: PeerId,
    events: mpsc::Sender<NetEvent>,
}

impl RouteClient {
    pub(crate) fn new(hub: PeerId, events: mpsc::Sender<NetEvent>) -> Self {
        Self {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            hub,
            events,
        }
    }

    /// Wants a route. With two wanted already, the older is given up.
    pub(crate) fn attach(&self, route: RouteKey) {
        {
            let mut state = self.lock();
            if state.wanted.iter().any(|w| w.route == route) {
                return;
            }
            if state.wanted.len() >= MAX_ROUTES {
                state.wanted.remove(0);
            }
            // Slots go round, so that a late packet of a route given up is not taken for one of its successor.
            state.last_slot = state.last_slot.checked_add(1).unwrap_or(1);
            let slot = state.last_slot;
            state.wanted.push(Wanted {
                route,
                slot,
                status: Status::Unasked,
            });
        }
        self.changed.send_replace(());
    }

    /// Wants a route no longer.
    pub(crate) fn detach(&self, route: RouteKey) {
        self.lock().wanted.retain(|w| w.route != route);
        self.changed.send_replace(());
    }

    /// The slot to send on: of the newest route granted.
    pub(crate) fn sending_slot(&self) -> Option<u8> {
        self.lock()
            .wanted
            .iter()
            .rev()
            .find(|w| w.status == Status::Granted)
            .map(|w| w.slot)
    }

    /// Whether packets on this slot are wanted.
    pub(crate) fn hears(&self, slot: u8) -> bool {
        self.lock().wanted.iter().any(|w| w.slot == slot)
    }

    /// Keeps the routes attached over `connection`, until it ends or another takes over.
    pub(crate) async fn serve(&self, connection: quinn::Connection) {
        let generation = {
            let mut state = self.lock();
            state.generation += 1;
            for wanted in &mut state.wanted {
                wanted.status = Status::Unasked;
            }
            state.generation
        };
        let served = tokio::try_join!(
            self.ask(&connection, generation),
            self.hear(&connection, generation)
        );
        if let Err(StreamEnd::Protocol) = served {
            tracing::debug!("the relay does not speak the route protocol");
        }
        let mut state = self.lock();
        if state.generation == generation {
            for wanted in &mut state.wanted {
                wanted.status = Status::Unasked;
            }
        }
    }

    /// Tells the relay what changed, as long as this connection is the current one.
    async fn ask(&self, connection: &quinn::Connection, generation: u64) -> Result<(), StreamEnd> {
        let mut changed = self.changed.subscribe();
        let mut stream = connection.open_uni().await.map_err(|_| StreamEnd::Gone)?;
        write_frame(&mut stream, Frame::Preface).await?;
        let mut held: Vec<u8> = Vec::new();
        loop {
            changed.mark_unchanged();
            for frame in self.outstanding(generation, &mut held)? {
                write_frame(&mut stream, frame).await?;
            }
            tokio::select! {
                alive = changed.changed() => alive.map_err(|_| StreamEnd::Gone)?,
                () = tokio::time::sleep(RETRY_TICK) => {}
            }
        }
    }

    /// Frames that bring the relay from `held` to what is wanted.
    fn outstanding(&self, generation: u64, held: &mut Vec<u8>) -> Result<Vec<Frame>, StreamEnd> {
        let mut state = self.lock();
        if state.generation != generation {
            return Err(StreamEnd::Gone);
        }
        let mut frames = Vec::new();
        held.retain(|slot| {
            let keep = state.wanted.iter().any(|w| w.slot == *slot);
            if !keep {
                frames.push(Frame::Detach { slot: *slot });
            }
            keep
        });
        for wanted in &mut state.wanted {
            let due = match wanted.status {
                Status::Unasked => true,
                Status::Refused(when) => when.elapsed() >= RETRY,
                Status::Asked | Status::Granted => false,
            };
            if due {
                wanted.status = Status::Asked;
                frames.push(Frame::Attach {
                    slot: wanted.slot,
                    route: wanted.route,
                });
                if !held.contains(&wanted.slot) {
                    held.push(wanted.slot);
                }
            }
        }
        Ok(frames)
    }

    /// Hears the relay's answers.
    async fn hear(&self, connection: &quinn::Connection, generation: u64) -> Result<(), StreamEnd> {
        let mut stream = connection.accept_uni().await.map_err(|_| StreamEnd::Gone)?;
        read_preface(&mut stream).await?;
        let card = NetEvent::OperatorCard {
            relay: self.hub,
            card: read_card(&mut stream).await?,
        };
        self.events.send(card).await.map_err(|_| StreamEnd::Gone)?;
        loop {
            let event = match read_frame(&mut stream).await? {
                Frame::Attached { slot } => self
                    .answer(generation, slot, Status::Granted)
                    .map(NetEvent::RouteAttached),
                Frame::Refused { slot, reason } => self
                    .answer(generation, slot, Status::Refused(Instant::now()))
                    .map(|route| refused(route, reason)),
                _ => return Err(StreamEnd::Protocol),
            };
            if let Some(event) = event {
                self.events.send(event).await.map_err(|_| StreamEnd::Gone)?;
            }
        }
    }

    fn answer(&self, generation: u64, slot: u8, status: Status) -> Option<RouteKey> {
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let wanted = state
            .wanted
            .iter_mut()
            .find(|w| w.slot == slot && w.status == Status::Asked)?;
        wanted.status = status;
        Some(wanted.route)
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

    fn client() -> RouteClient {
        RouteClient::new(PeerId::random(), mpsc::channel(1).0)
    }

    const A: RouteKey = RouteKey([1; 32]);
    const B: RouteKey = RouteKey([2; 32]);
    const C: RouteKey = RouteKey([3; 32]);

    #[test]
    fn a_third_route_replaces_the_oldest() {
        let client = client();
        for route in [A, B, B, C] {
            client.attach(route);
        }
        let routes: Vec<_> = client
            .lock()
            .wanted
            .iter()
            .map(|w| (w.route, w.slot))
            .collect();
        assert_eq!(routes, [(B, 2), (C, 3)]);
        assert!(client.hears(2) && !client.hears(1));
    }

    #[test]
    fn the_newest_granted_route_is_sent_on() {
        let client = client();
        client.attach(A);
        assert_eq!(client.sending_slot(), None);
        let mut held = Vec::new();
        assert_eq!(
            client.outstanding(0, &mut held).unwrap(),
            [Frame::Attach { slot: 1, route: A }]
        );
        assert_eq!(client.answer(0, 1, Status::Granted), Some(A));
        client.attach(B);
        assert_eq!(
            client.outstanding(0, &mut held).unwrap(),
            [Frame::Attach { slot: 2, route: B }]
        );
        assert_eq!(
            client.sending_slot(),
            Some(1),
            "until the relay has confirmed the new one"
        );
        assert_eq!(client.answer(0, 2, Status::Granted), Some(B));
        assert_eq!(client.sending_slot(), Some(2));
        client.detach(A);
        assert_eq!(
            client.outstanding(0, &mut held).unwrap(),
            [Frame::Detach { slot: 1 }]
        );
    }

    #[test]
    fn answers_of_an_older_connection_change_nothing() {
        let client = client();
        client.attach(A);
        client.lock().generation = 2;
        assert!(client.outstanding(1, &mut Vec::new()).is_err());
        assert_eq!(client.answer(1, 1, Status::Granted), None);
    }

    #[test]
    fn slots_go_round_without_zero() {
        let client = client();
        client.lock().last_slot = u8::MAX;
        client.attach(A);
        assert!(client.hears(1));
    }
}

//! One client's connection, on the media side: its datagrams, and its stream about routes.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use libp2p::PeerId;

use super::{
    hub::{Hub, Slots},
    stats::count,
};
use crate::net::{
    CLOSE_EXCESS, TokenBucket,
    wire::{Frame, StreamEnd, read_frame, read_preface, write_card, write_frame},
};

/// Time a client has to take an answer it asked for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Session {
    pub(crate) peer: PeerId,
    pub(crate) connection: quinn::Connection,
    slots: Mutex<Slots>,
}

impl Session {
    /// Starts the two tasks of a connection; both end with it.
    pub(crate) fn begin(hub: Arc<Hub>, peer: PeerId, connection: quinn::Connection) {
        let session = Arc::new(Self {
            peer,
            connection,
            slots: Mutex::default(),
        });
        let tasks = hub.tasks.clone();
        hub.counters.connections.fetch_add(1, Relaxed);
        tasks.spawn(Arc::clone(&session).forward_datagrams(Arc::clone(&hub)));
        tasks.spawn(async move {
            if let Err(StreamEnd::Protocol) = session.answer_requests(&hub).await {
                tracing::debug!("a client broke the route protocol");
            }
            hub.detach_all(&session);
        });
    }

    /// The routes this connection is attached to, under its own numbers.
    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn forward_datagrams(self: Arc<Self>, hub: Arc<Hub>) {
        let begun = Instant::now();
        let mut bucket = TokenBucket::new(hub.limits.datagrams, begun);
        let mut excess = TokenBucket::new(hub.limits.excess, begun);
        while let Ok(datagram) = self.connection.read_datagram().await {
            let now = Instant::now();
            if bucket.take(1.0, now) {
                hub.forward(&self, datagram);
                continue;
            }
            count(&hub.counters.datagrams_refused);
            if !excess.take(1.0, now) {
                count(&hub.counters.clients_cut);
                self.connection.close(CLOSE_EXCESS.into(), b"");
                break;
            }
        }
        hub.counters.connections.fetch_sub(1, Relaxed);
    }

    /// Serves the route stream (`net::wire`) until it ends. One a connection.
    async fn answer_requests(&self, hub: &Hub) -> Result<(), StreamEnd> {
        let mut requests = self
            .connection
            .accept_uni()
            .await
            .map_err(|_| StreamEnd::Gone)?;
        read_preface(&mut requests).await?;
        let mut answers = self
            .connection
            .open_uni()
            .await
            .map_err(|_| StreamEnd::Gone)?;
        write_frame(&mut answers, Frame::Preface).await?;
        write_card(&mut answers, &hub.card).await?;
        let mut bucket = TokenBucket::new(hub.limits.route_requests, Instant::now());
        loop {
            let request = read_frame(&mut requests).await?;
            if !bucket.take(1.0, Instant::now()) {
                return Err(StreamEnd::Protocol);
            }
            let answer = match request {
                Frame::Attach { slot, route } => match hub.attach(self, slot, route) {
                    Ok(()) => Frame::Attached { slot },
                    Err(reason) => Frame::Refused { slot, reason },
                },
                Frame::Detach { slot } => {
                    hub.detach(self, slot);
                    continue;
                }
                _ => return Err(StreamEnd::Protocol),
            };
            tokio::time::timeout(ANSWER_TIMEOUT, write_frame(&mut answers, answer))
                .await
                .map_err(|_| StreamEnd::Gone)??;
        }
    }
}

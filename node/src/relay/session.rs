//! One client's connection, beside libp2p: its datagrams, and its streams about routes and topics.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::{broadcast::error::RecvError, mpsc};
use undertone_protocol::directory::Listing;

use super::{
    directory::{Bringer, TopicDirectory},
    fair::Fair,
    hub::{Hub, Slots},
    stats::count,
};
use crate::net::{
    Allowance, Backlog, Budget, CLOSE_EXCESS, CLOSE_PROTOCOL, TokenBucket, Topic,
    directory::Taken,
    source,
    wire::{Frame, StreamEnd, read_frame, read_preface, write_frame},
};

/// What waits for a client that does not take it, bytes: two answers to somebody catching up.
const MAX_WAITING: usize = 512 * 1024;
/// Of what others say a client is told no more than a line has room for beside voices, whoever says how much: what is
/// more would wait at its entry, and voices behind it. The burst is what all members say when their keys change.
const SAID: Budget = Budget {
    per_second: 40.0 * 1024.0,
    burst: 16.0 * 1024.0,
};
/// It is told in pieces: at an entry that sends two cells a tick, one keeps a voice waiting for 20 ms.
const PIECE: usize = 2 * 1024;
/// But for this much, which is told at once to somebody who comes in, and hears nobody yet: in so short a time.
const AT_FIRST: usize = 128 * 1024;
const COMING_IN: Duration = Duration::from_secs(10);

/// Topics of which a client is told what was left there.
const MOST_HANDED_OUT: usize = 1_024;

/// Time for a client to hear why it is cut.
const TO_HEAR_IT: Duration = Duration::from_millis(500);

/// Requests that asking for the directory counts as: it is told whole.
const FIND: f64 = 16.0;

/// What there is in the directory, for somebody who asked.
type Found = Vec<Arc<Listing>>;

/// See the module.
pub(crate) struct Session {
    /// Whom what it takes is counted for, beyond the connection.
    pub(crate) source: SocketAddr,
    pub(crate) peer: PeerId,
    pub(crate) connection: quinn::Connection,
    slots: Mutex<Slots>,
    /// Answers for the client.
    waiting: Backlog<Bytes>,
    /// What others say.
    said: Fair,
    /// Whether something it announced is being looked at.
    looking: AtomicBool,
}

impl Session {
    /// Starts the two tasks of a connection; both end with it.
    pub(crate) fn begin(hub: Arc<Hub>, peer: PeerId, connection: quinn::Connection) {
        let session = Arc::new(Self {
            source: source(connection.remote_address(), &hub.shared),
            peer,
            connection,
            slots: Mutex::default(),
            waiting: Backlog::new(MAX_WAITING),
            said: Fair::new(MAX_WAITING),
            looking: AtomicBool::new(false),
        });
        let tasks = hub.tasks.clone();
        hub.counters.connections.fetch_add(1, Relaxed);
        tasks.spawn(Arc::clone(&session).forward_datagrams(Arc::clone(&hub)));
        tasks.spawn(async move {
            let mut heard = Vec::new();
            if let Err(StreamEnd::Protocol) = session.serve_streams(&hub, &mut heard).await {
                tracing::debug!("a client broke the hub protocol");
                session.connection.close(CLOSE_PROTOCOL.into(), b"");
            }
            hub.detach_all(&session);
            heard.iter().for_each(|topic| hub.ignore(&session, topic));
        });
    }

    /// The routes this connection is attached to, under its own numbers.
    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the client, as soon as it takes it; what it has not taken for long is forgotten.
    pub(crate) fn tell(&self, frame: Bytes) {
        let weight = frame.len();
        self.waiting.push(frame, weight);
    }

    /// Tells the client what somebody says on a topic, in turn; says how much it had not taken was forgotten for it.
    pub(crate) fn hand(&self, topic: Topic, from: SocketAddr, frame: Bytes) -> usize {
        self.said.push((topic, from), frame)
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
                self.cut(&hub);
                break;
            }
        }
        hub.counters.connections.fetch_sub(1, Relaxed);
    }

    /// Serves the hub streams (`net::wire`) until they end. One pair a connection.
    async fn serve_streams(
        self: &Arc<Self>,
        hub: &Hub,
        heard: &mut Vec<Topic>,
    ) -> Result<(), StreamEnd> {
        let connection = &self.connection;
        let mut requests = connection.accept_uni().await.map_err(|_| StreamEnd::Gone)?;
        read_preface(&mut requests).await?;
        let mut answers = connection.open_uni().await.map_err(|_| StreamEnd::Gone)?;
        write_frame(&mut answers, Frame::Preface).await?;
        write_frame(&mut answers, Frame::Card(hub.card.clone())).await?;
        let (shows, shown) = mpsc::channel(1);
        tokio::select! {
            ended = self.take_requests(&mut requests, hub, heard, shows) => ended,
            ended = self.write_answers(&mut answers, shown) => ended,
        }
    }

    /// Writes what waits, and what of the directory is to be shown whenever nothing does.
    async fn write_answers(
        &self,
        answers: &mut quinn::SendStream,
        mut shown: mpsc::Receiver<Found>,
    ) -> Result<(), StreamEnd> {
        let mut found: Option<std::vec::IntoIter<Arc<Listing>>> = None;
        let mut pace = TokenBucket::new(SAID, Instant::now());
        let (begun, mut at_first) = (Instant::now(), AT_FIRST);
        loop {
            let frame = tokio::select! {
                biased;
                frame = self.waiting.pop() => frame,
                frame = self.said.pop() => {
                    for piece in frame.chunks(PIECE) {
                        tokio::time::sleep(pace.owes_for(Instant::now())).await;
                        answers.write_all(piece).await.map_err(|_| StreamEnd::Gone)?;
                        let is_coming_in = begun.elapsed() < COMING_IN;
                        match at_first.checked_sub(piece.len()).filter(|_| is_coming_in) {
                            Some(left) => at_first = left,
                            None => pace.owe(piece.len() as f64, Instant::now()),
                        }
                    }
                    continue;
                }
                more = shown.recv(), if found.is_none() => {
                    found = more.map(Vec::into_iter);
                    continue;
                }
                () = std::future::ready(()), if found.is_some() => {
                    match found.as_mut().and_then(Iterator::next) {
                        Some(listing) => {
                            Frame::Listing(Bytes::copy_from_slice(listing.envelope())).encode()
                        }
                        None => {
                            found = None;
                            Frame::Found.encode()
                        }
                    }
                }
            };
            answers
                .write_all(&frame)
                .await
                .map_err(|_| StreamEnd::Gone)?;
        }
    }

    async fn take_requests(
        self: &Arc<Self>,
        requests: &mut quinn::RecvStream,
        hub: &Hub,
        heard: &mut Vec<Topic>,
        shows: mpsc::Sender<Found>,
    ) -> Result<(), StreamEnd> {
        let (limits, begun) = (&hub.limits, Instant::now());
        let mut bucket = TokenBucket::new(limits.requests, begun);
        let mut allowance = Allowance::new(limits.messages, limits.message_bytes, begun);
        let mut excess = TokenBucket::new(limits.excess, begun);
        let mut follows = false;
        let mut handed_out = HashSet::new();
        loop {
            let request = read_frame(requests).await?;
            let now = Instant::now();
            if let Frame::Say(_, message) | Frame::Leave(_, message) = &request {
                if allowance.admits(message.len(), now) {
                    match request {
                        Frame::Leave(topic, message) => hub.keep(self, topic, message),
                        Frame::Say(topic, message) => hub.hand_on(self, topic, message),
                        _ => {}
                    }
                    continue;
                }
                count(&hub.counters.messages_dropped);
                if !excess.take(1.0, now) {
                    self.cut(hub);
                    return Err(StreamEnd::Gone);
                }
                continue;
            }
            let cost = match request {
                Frame::Find { .. } => FIND.min(limits.requests.burst),
                _ => 1.0,
            };
            if !bucket.take(cost, now) {
                return Err(StreamEnd::Protocol);
            }
            let answer = match request {
                Frame::Attach { slot, route } => match hub.attach(self, slot, route) {
                    Ok(()) => Some(Frame::Attached { slot }),
                    Err(reason) => Some(Frame::Refused { slot, reason }),
                },
                Frame::Detach { slot } => {
                    hub.detach(self, slot);
                    None
                }
                Frame::Hear(topic) => {
                    let room = heard.contains(&topic) || heard.len() < limits.topics_per_client;
                    let granted = room && hub.hear(self, topic);
                    if granted && !heard.contains(&topic) {
                        heard.push(topic);
                        // Once on a connection, however often somebody begins to hear it.
                        if handed_out.len() < MOST_HANDED_OUT && handed_out.insert(topic) {
                            hub.hand_out(self, topic);
                        }
                    }
                    (!granted).then_some(Frame::Unheard(topic))
                }
                Frame::Ignore(topic) => {
                    heard.retain(|known| *known != topic);
                    hub.ignore(self, &topic);
                    None
                }
                Frame::Find { follow, language } => {
                    match &hub.directory {
                        Some(directory) => {
                            // First, so that nothing falls between.
                            if follow && !std::mem::replace(&mut follows, true) {
                                self.follow(hub, directory);
                            }
                            let found = directory.find(&language);
                            shows.send(found).await.map_err(|_| StreamEnd::Gone)?;
                            None
                        }
                        None => Some(Frame::Verdict(Taken::NoDirectory)),
                    }
                }
                Frame::Announce(announcement) => {
                    self.look_at(hub, announcement);
                    None
                }
                _ => return Err(StreamEnd::Protocol),
            };
            if let Some(answer) = answer {
                self.tell(answer.encode());
            }
        }
    }

    /// Tells the client what comes into the directory, in whatever language, as long as the connection lasts.
    fn follow(self: &Arc<Self>, hub: &Hub, directory: &TopicDirectory) {
        let (session, mut news) = (Arc::clone(self), directory.follow());
        hub.tasks.spawn(async move {
            loop {
                let news = tokio::select! {
                    _ = session.connection.closed() => return,
                    news = news.recv() => news,
                };
                match news {
                    Ok(listing) => {
                        session.tell(Frame::Listing(listing).encode());
                    }
                    // Too slow: what was missed comes with the next link.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Looks at what the client announces, one thing at a time, and answers when that is done.
    fn look_at(self: &Arc<Self>, hub: &Hub, announcement: Bytes) {
        let (session, directory) = (Arc::clone(self), hub.directory.clone());
        let counters = Arc::clone(&hub.counters);
        if self.looking.swap(true, Relaxed) {
            count(&counters.announcements_refused);
            self.tell(Frame::Verdict(Taken::Busy).encode());
            return;
        }
        hub.tasks.spawn(async move {
            let bringer = Bringer::Client(session.source);
            let taken = match directory {
                Some(directory) => directory.offer(&announcement, bringer).await,
                None => Taken::NoDirectory,
            };
            session.looking.store(false, Relaxed);
            count(match taken {
                Taken::Yes => &counters.announcements,
                _ => &counters.announcements_refused,
            });
            session.tell(Frame::Verdict(taken).encode());
            if taken == Taken::Unpaid {
                // It has cost us as much as a stamp costs: a few a second are all that can be looked at.
                tokio::time::sleep(TO_HEAR_IT).await;
                session.connection.close(CLOSE_EXCESS.into(), b"");
            }
        });
    }

    /// Ends the connection of a client that goes on sending too much.
    fn cut(&self, hub: &Hub) {
        count(&hub.counters.clients_cut);
        self.connection.close(CLOSE_EXCESS.into(), b"");
    }
}

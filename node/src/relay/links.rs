//! Links to the directories of other relays: everything either holds, and every news, goes to the other.
//!
//! A link is a client's connection with an identity of its own, and what comes over it is looked at as what any client
//! announces. Those that the operator's file names are kept for good; those that were found (`finder`) for an hour, and
//! then perhaps others, so that nobody is the only source for long.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, identity::Keypair};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use super::{
    directory::{Bringer, TopicDirectory},
    stats::{Counted, Counters},
};
use crate::net::{
    Budget, Buffers, QuicConfig, RelayAddress, SocketFactory, Tasks, TokenBucket,
    directory::{Taken, Talk},
    source, unspecified,
    wire::{Frame, StreamEnd, read_frame},
};

/// Most links to relays that were found, and of those to one address.
pub(super) const MOST_FOUND: usize = 4;
const MOST_AT_ONE: usize = 1;
/// How long such a link is kept.
const FOUND_FOR: Duration = Duration::from_secs(3_600);
/// Time for a link to be made.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before a link is made again, and how far it grows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A link that held this long forgives earlier failures.
const STEADY: Duration = Duration::from_secs(60);
/// Pause before something is offered again to a directory that was busy.
const BUSY: Duration = Duration::from_secs(3);
/// A relay that was found and fails so often in a row makes room for others.
const MOST_FAILURES: u32 = 4;
/// What is said over a link: less than a client may.
const SAID: Budget = Budget {
    per_second: 2.0,
    burst: 30.0,
};
/// What is taken from one: a whole directory at once.
const HEARD: Budget = Budget {
    per_second: 10.0,
    burst: 600.0,
};

/// See the module.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) directory: Arc<TopicDirectory>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) socket: SocketFactory,
    pub(crate) tasks: Tasks,
    /// Whom there is a link to, or ought to be; with ourselves.
    pub(crate) linked: Arc<Mutex<BTreeMap<PeerId, (Origin, IpAddr)>>>,
}

/// How we know a relay.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is this one.
    Own,
    /// The operator named it.
    Named,
    /// Through other relays.
    Found,
}

impl Links {
    /// Links to the relays named, and to those found, until the task is ended.
    pub(crate) async fn run(
        self,
        named: Vec<RelayAddress>,
        mut found: mpsc::Receiver<RelayAddress>,
    ) {
        for relay in named {
            self.begin(relay, Origin::Named);
        }
        while let Some(relay) = found.recv().await {
            self.begin(relay, Origin::Found);
        }
    }

    fn begin(&self, relay: RelayAddress, origin: Origin) {
        {
            let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
            let at = source(relay.addr, &[]).ip();
            let found = linked.values().filter(|(o, _)| *o == Origin::Found);
            let there = found.clone().filter(|(_, ip)| *ip == at).count();
            let room = found.count() < MOST_FOUND && there < MOST_AT_ONE;
            if linked.contains_key(&relay.peer) || origin == Origin::Found && !room {
                return;
            }
            linked.insert(relay.peer, (origin, at));
        }
        let links = self.clone();
        self.tasks.spawn(async move {
            match origin {
                Origin::Found => {
                    let _ = tokio::time::timeout(FOUND_FOR, links.keep(&relay, origin)).await;
                    let mut linked = links.linked.lock().unwrap_or_else(PoisonError::into_inner);
                    linked.remove(&relay.peer);
                }
                Origin::Own | Origin::Named => links.keep(&relay, origin).await,
            }
        });
    }

    /// Makes the link again whenever it ends; gives up one that was found if it comes to nothing.
    async fn keep(&self, relay: &RelayAddress, origin: Origin) {
        let (mut pause, mut failures) = (FIRST_PAUSE, 0);
        loop {
            let since = Instant::now();
            if let Err(StreamEnd::Protocol) = self.link(relay).await {
                tracing::debug!("a relay's directory says what it must not");
                pause = LONGEST_PAUSE;
            }
            failures += 1;
            if since.elapsed() >= STEADY {
                (pause, failures) = (FIRST_PAUSE, 0);
            }
            if origin == Origin::Found && failures >= MOST_FAILURES {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One connection, until it ends.
    async fn link(&self, relay: &RelayAddress) -> Result<(), StreamEnd> {
        let gone = |_| StreamEnd::Gone;
        let quic = QuicConfig::new(&Keypair::generate_ed25519(), Buffers::RELAY).map_err(gone);
        let quic = quic?;
        let socket = (self.socket)(unspecified(&relay.addr)).map_err(|_| StreamEnd::Gone)?;
        let endpoint = quic.endpoint(socket, false).map_err(|_| StreamEnd::Gone)?;
        let begun = tokio::time::timeout(PATIENCE, Talk::begin(&quic, &endpoint, relay)).await;
        let mut talk = begun.map_err(|_| StreamEnd::Gone)??;
        // News from here on is told, whatever is held already.
        let news = self.directory.follow();
        talk.say(Frame::Find {
            follow: true,
            language: String::new(),
        })
        .await?;
        let (connection, requests, answers) = talk.split();
        let (verdicts, verdict) = mpsc::channel(1);
        let _counted = Counted::new(&self.counters.directory_links);
        let ended = tokio::select! {
            ended = self.tell(requests, news, verdict) => ended,
            ended = self.hear(answers, verdicts) => ended,
            // libp2p's streams, which nobody answers here.
            () = async { while connection.accept_bi().await.is_ok() {} } => Err(StreamEnd::Gone),
        };
        connection.close(0u32.into(), b"");
        ended
    }

    /// Announces there what is held here, and then what is new.
    async fn tell(
        &self,
        mut requests: quinn::SendStream,
        mut news: tokio::sync::broadcast::Receiver<Bytes>,
        mut verdict: mpsc::Receiver<Taken>,
    ) -> Result<(), StreamEnd> {
        let mut held = self.directory.find("").into_iter();
        let mut budget = TokenBucket::new(SAID, Instant::now());
        loop {
            let announcement = match held.next() {
                Some(held) => Bytes::copy_from_slice(held.envelope()),
                None => match news.recv().await {
                    Ok(news) => news,
                    // What was missed is among what is held.
                    Err(RecvError::Lagged(_)) => {
                        held = self.directory.find("").into_iter();
                        continue;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
            };
            loop {
                while !budget.take(1.0, Instant::now()) {
                    tokio::time::sleep(BUSY / 6).await;
                }
                crate::net::wire::write_frame(&mut requests, Frame::Announce(announcement.clone()))
                    .await?;
                match verdict.recv().await {
                    Some(Taken::Busy) => tokio::time::sleep(BUSY).await,
                    Some(_) => break,
                    None => return Err(StreamEnd::Gone),
                }
            }
        }
    }

    /// Takes what is announced there.
    async fn hear(
        &self,
        mut answers: quinn::RecvStream,
        verdicts: mpsc::Sender<Taken>,
    ) -> Result<(), StreamEnd> {
        let mut budget = TokenBucket::new(HEARD, Instant::now());
        loop {
            match read_frame(&mut answers).await? {
                Frame::Card(_) | Frame::Found => {}
                Frame::Listing(listing) => {
                    if !budget.take(1.0, Instant::now()) {
                        return Err(StreamEnd::Protocol);
                    }
                    let taken = loop {
                        match self.directory.offer(&listing, Bringer::Link).await {
                            Taken::Busy => tokio::time::sleep(BUSY).await,
                            taken => break taken,
                        }
                    };
                    // Relays look at stamps before they tell of anything.
                    if taken == Taken::Unpaid {
                        return Err(StreamEnd::Protocol);
                    }
                }
                Frame::Verdict(taken) => {
                    verdicts.send(taken).await.map_err(|_| StreamEnd::Gone)?;
                }
                _ => return Err(StreamEnd::Protocol),
            }
        }
    }
}

//! One circle that this node takes part in: the session, its network, its sound, and what it stores.
//! World in, session; session, world out. No rules here.

mod announcing;
mod outputs;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use libp2p::PeerId;
use libp2p::identity::{Keypair, PublicKey as PeerKey, ed25519};
use tokio_util::sync::CancellationToken;
use undertone_dsp::StreamId;
use undertone_protocol::id::{PublicKey, RecordId, TransportId};
use undertone_protocol::identity::{GroupKey, Secret};
use undertone_protocol::invite::{Invite, MAX_TOKEN_MINUTES, Token};
use undertone_protocol::nearby::Names;
use undertone_protocol::record::AdmissionMode;
use undertone_protocol::session::{
    self, Act, End, Input, Now, Session, SessionConfig, SessionError,
};

use super::directory::{Announcer, Hidden, NotPosted};
use super::known::Known;
use super::ways::Ways;
use crate::NodeError;
use crate::api::Announcing;
use crate::audio::{LocalFrame, VoiceHandle};
use crate::clock::{unix_minute, unix_seconds, uptime};
use crate::entropy::os_bytes;
use crate::net::{
    self, MessageRef, Nearby, Neighbour, NetCommand, NetEvent, Network, NetworkConfig,
    RelayAddress, Route, SocketFactory,
};
use crate::store::{CircleFile, Store, StoreError};

/// How often a first member is dialled until one answers.
const DIAL_AGAIN: Duration = Duration::from_secs(2);
/// Verdicts that may be outstanding; older ones are left to expire.
const MAX_VERDICTS: usize = 512;

/// What a circle is entered with.
pub(super) struct Entry {
    pub file: CircleFile,
    pub listen: Vec<SocketAddr>,
    pub socket: SocketFactory,
    /// Whether members may find each other on this network, if the circle is direct.
    pub nearby: bool,
    pub practice: bool,
}

/// How a session begins.
pub(super) enum Beginning {
    /// From an invite, at the door.
    Seek,
    /// From what is stored.
    Resume(Vec<Vec<u8>>),
    /// As its founder, with this pseudonym.
    Found {
        charter: Box<undertone_protocol::record::Record>,
        name: String,
    },
}

/// Something that happened to a circle.
pub(super) enum Happening {
    Net(NetEvent),
    NetEnded,
    Stored(u64, Result<(), StoreError>),
    Worked(Worked),
    Found(Neighbour),
    Due,
}

pub(super) struct Circle {
    pub session: Session,
    pub file: CircleFile,
    pub practice: bool,
    pub muted: bool,
    pub since: Instant,
    pub volumes: BTreeMap<PublicKey, f32>,
    pub streams: BTreeMap<PublicKey, StreamId>,
    pub events: VecDeque<session::Event>,
    pub announcer: Announcer,
    pub opened: Vec<(PublicKey, StreamId)>,
    net: Network,
    cancel: CancellationToken,
    voice: VoiceHandle,
    next_stream: u32,
    stored: FuturesUnordered<futures::future::BoxFuture<'static, (u64, Result<(), StoreError>)>>,
    verdicts: BTreeMap<u64, MessageRef>,
    next_message: u64,
    addresses: Vec<SocketAddr>,
    relay_up: bool,
    /// How relays are come by; none in a direct circle.
    pub ways: Option<Ways>,
    next_dial: Instant,
    nearby: Option<Nearby>,
    known: Known,
    /// When it was entered, by the machine's uptime.
    clock: Duration,
    /// The single-use token in the invite one shows now, if the circle asks for one.
    token: Option<Token>,
    working: FuturesUnordered<futures::future::BoxFuture<'static, Worked>>,
    socket: SocketFactory,
}

/// What came of a puzzle.
pub(super) enum Worked {
    Solved(u64),
    Checked(RecordId, bool),
    Posted(Announcing, Option<Hidden>, Result<u64, NotPosted>),
    Given,
}

/// The keys of a circle for one run, as its session wants them.
pub(super) fn session_config(
    store: &Store,
    file: &mut CircleFile,
) -> Result<(SessionConfig, Secret), NodeError> {
    let transport = Secret::from_bytes(os_bytes()?);
    let config = SessionConfig {
        circle: file.circle,
        pseudonym: store.root_seed().pseudonym(&file.salt, 0),
        transport: transport.clone(),
        door: Secret::from_bytes(file.door),
        route: file.route,
        group_key: file
            .group_key
            .map(|key| GroupKey::from_secret(&Secret::from_bytes(key))),
        token: file.token.clone(),
        first_seq: Store::next_block(file, unix_seconds()),
        rng_seed: os_bytes()?,
    };
    Ok((config, transport))
}

impl Circle {
    /// Builds the session; then, unless it is over before it began, opens the network.
    ///
    /// # Errors
    /// `Ok(Err(end))` when the session is over: removed people get no socket.
    pub async fn enter(
        store: &Store,
        voice: VoiceHandle,
        mut entry: Entry,
        beginning: Beginning,
    ) -> Result<Result<Self, End>, NodeError> {
        let clock = uptime();
        let (config, transport) = session_config(store, &mut entry.file)?;
        // The block of sequence numbers is taken on disk before any of it is used.
        store.put_circle(entry.file.clone()).done().await?;
        let now = now_since(clock);
        let session = match beginning {
            Beginning::Seek => Session::seek(config, now),
            Beginning::Resume(records) => Session::resume(config, &records, now),
            Beginning::Found { charter, name } => Session::found(config, &charter, name, now),
        }?;
        if let session::Stage::Out(end) = session.stage() {
            return Ok(Err(end.clone()));
        }
        let cancel = CancellationToken::new();
        let ways = match entry.file.route.is_relayed() {
            true => Some(Ways::of(&entry.file, &session.me())?),
            false => None,
        };
        let route = match &ways {
            Some(ways) => Route::Relayed(ways.relayed.clone()),
            None => Route::Direct,
        };
        let mut secret = *transport.as_bytes();
        let keypair = Keypair::ed25519_from_bytes(&mut secret).map_err(|_| NodeError::BadInvite)?;
        let own = transport_id(&keypair);
        let config = NetworkConfig {
            keypair,
            listen: match route {
                Route::Direct => entry.listen,
                Route::Relayed(_) => Vec::new(),
            },
            route,
            socket: entry.socket.clone(),
        };
        let net = net::start(config, cancel.clone())?;
        let addresses = net.local_addrs.clone();
        let announcer = Announcer::planned(entry.file.announced, now.minute, Instant::now());
        let nearby = own.filter(|_| entry.nearby && ways.is_none()).map(|own| {
            let door = Secret::from_bytes(entry.file.door);
            Nearby::start(Names::new(door, entry.file.circle), own, net.bound.clone())
        });
        let mut circle = Self {
            session,
            file: entry.file,
            practice: entry.practice,
            muted: true,
            since: Instant::now(),
            volumes: BTreeMap::new(),
            streams: BTreeMap::new(),
            events: VecDeque::new(),
            announcer,
            opened: Vec::new(),
            net,
            cancel,
            voice,
            next_stream: 0,
            stored: FuturesUnordered::new(),
            verdicts: BTreeMap::new(),
            next_message: 0,
            addresses,
            relay_up: false,
            ways,
            next_dial: Instant::now(),
            nearby,
            known: Known::default(),
            clock,
            token: None,
            working: FuturesUnordered::new(),
            socket: entry.socket,
        };
        circle.say_addresses();
        circle.perform(store).await;
        Ok(Ok(circle))
    }

    /// The next thing that happens to this circle. Cancel-safe.
    pub async fn next(&mut self) -> Happening {
        let now = self.now().at;
        let due = self.session.next_timeout();
        let due = due.map(|at| Instant::now() + at.saturating_sub(now));
        let dial = (self.ways.is_none() && !self.known.has_company()).then_some(self.next_dial);
        let wake = due.into_iter().chain(dial).chain(self.announcer.next());
        let wake = wake.min();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let nearby = &mut self.nearby;
        let found = async {
            match nearby {
                Some(nearby) => nearby.next().await,
                None => None,
            }
        };
        tokio::select! {
            biased;
            Some((ticket, result)) = self.stored.next() => Happening::Stored(ticket, result),
            Some(worked) = self.working.next() => Happening::Worked(worked),
            () = sleep => Happening::Due,
            Some(neighbour) = found => Happening::Found(neighbour),
            event = self.net.events.recv() => match event {
                Some(event) => Happening::Net(event),
                None => Happening::NetEnded,
            },
        }
    }

    /// Lets the session know what happened, and does what it wants done.
    ///
    /// # Errors
    /// When something could not be stored: then nothing that rests on it is told to anybody.
    pub async fn handle(&mut self, store: &Store, happening: Happening) -> Result<(), NodeError> {
        let now = self.now();
        match happening {
            Happening::Net(event) => self.handle_net(event),
            Happening::NetEnded => return Err(NodeError::NetworkEnded),
            Happening::Stored(ticket, result) => {
                result?;
                self.input(Input::Persisted(ticket));
            }
            Happening::Worked(Worked::Solved(answer)) => self.input(Input::PuzzleSolved(answer)),
            Happening::Worked(Worked::Checked(join, fits)) => {
                self.input(Input::PuzzleChecked { join, fits });
            }
            Happening::Worked(Worked::Posted(wish, hidden, posted)) => {
                (self.announcer).handle_posted(wish, hidden, posted, Instant::now());
            }
            Happening::Worked(Worked::Given) => {}
            Happening::Found(neighbour) => self.handle_found(neighbour),
            Happening::Due => {
                self.session.handle_timeout(now);
                self.dial_first();
                self.post_notice();
            }
        }
        self.perform(store).await;
        self.keep_token();
        if let Some(nearby) = &self.nearby {
            nearby.show(*self.session.stage() == session::Stage::Inside);
        }
        Ok(())
    }

    /// Takes the lead with a new group key.
    ///
    /// # Errors
    /// When one is not the founder, or could not take the lead now; the key one had is kept then.
    pub async fn recover(&mut self, store: &Store) -> Result<(), NodeError> {
        let recovery = self.file.recovery_key.ok_or(SessionError::NotLeader)?;
        let recovery = GroupKey::from_secret(&Secret::from_bytes(recovery));
        let new = Secret::from_bytes(os_bytes()?);
        // The new key cannot take back what the old one announced.
        let announced = self.notice(None).filter(|_| self.announcer.is_shown());
        // On disk first: a key that leads and is lost would be worse than one that never led.
        let old = self.file.group_key.replace(*new.as_bytes());
        store.put_circle(self.file.clone()).done().await?;
        let now = self.now();
        let key = GroupKey::from_secret(&new);
        let succeeded = self.session.succeed(now, &recovery, key);
        if succeeded.is_err() {
            self.file.group_key = old;
            store.put_circle(self.file.clone()).done().await?;
        } else if let Some(announced) = announced {
            self.announcer = Announcer::default();
            let cancel = self.cancel.clone();
            self.working.push(Box::pin(async move {
                announced.take_back(cancel).await;
                Worked::Given
            }));
        }
        self.perform(store).await;
        Ok(succeeded?)
    }

    /// Another single-use invite.
    ///
    /// # Errors
    /// Outside the circle.
    pub fn renew_token(&mut self) -> Result<(), NodeError> {
        let now = self.now();
        self.token = Some(self.session.sponsor(now, MAX_TOKEN_MINUTES)?);
        Ok(())
    }

    /// Where the circle asks for tokens, the invite one shows always holds one that is still good.
    fn keep_token(&mut self) {
        let minute = self.now().minute;
        let Some(state) = self.session.state() else {
            return;
        };
        let asked = state.charter().admission == AdmissionMode::Invite
            && *self.session.stage() == session::Stage::Inside;
        let good = |t: &Token| !state.is_spent(&t.public()) && minute < t.until;
        if asked && !self.token.as_ref().is_some_and(good) {
            // Not possible yet: the next time it is.
            let _ = self.renew_token();
        }
    }

    /// The person acts.
    ///
    /// # Errors
    /// Why it is not possible.
    pub async fn act(&mut self, store: &Store, act: Act) -> Result<(), SessionError> {
        let now = self.now();
        let result = self.session.handle_input(now, Input::Act(act));
        self.perform(store).await;
        result
    }

    /// One's own 20 ms.
    pub async fn send_voice(&mut self, store: &Store, frame: &LocalFrame) {
        self.input(Input::Voice {
            opus: &frame.opus,
            muted: frame.muted,
        });
        self.perform(store).await;
    }

    /// The present, as the session is told it.
    pub fn now(&self) -> Now {
        now_since(self.clock)
    }

    /// Whether there is a way to anybody.
    pub fn is_connected(&self) -> bool {
        match self.ways {
            Some(_) => self.relay_up,
            None => self.known.has_company(),
        }
    }

    /// Whether its members may find each other on this network.
    pub fn is_looked_for(&self) -> bool {
        self.nearby.is_some()
    }

    /// The link that leads here.
    pub fn invite(&self) -> String {
        self.link().to_link()
    }

    fn link(&self) -> Invite {
        let own = self.addresses.iter().map(|addr| {
            RelayAddress {
                peer: self.net.local_peer,
                addr: *addr,
            }
            .to_string()
        });
        Invite {
            circle: self.file.circle,
            door: Secret::from_bytes(self.file.door),
            route: self.file.route,
            addresses: match self.ways {
                Some(_) => self.file.addresses.clone(),
                None => own.take(4).collect(),
            },
            token: self.token.clone(),
            members: self.file.most_members(),
            pace: self.file.pace.unwrap_or_default(),
        }
    }

    /// Ends the network; resolves when its tasks have ended.
    pub fn close(self) -> impl Future<Output = ()> + Send + 'static {
        self.cancel.cancel();
        for stream in self.streams.values() {
            self.voice.remove_stream(*stream);
        }
        self.voice.set_may_speak(false);
        // What is still being written belongs to the store, which finishes it.
        let (net, nearby) = (self.net, self.nearby);
        async move {
            let unseen = async {
                if let Some(nearby) = nearby {
                    nearby.closed().await;
                }
            };
            tokio::join!(net.closed(), unseen);
        }
    }

    /// Waits until everything handed out for storing is on disk, and says what was waiting for that.
    ///
    /// # Errors
    /// When any of it could not be written.
    pub async fn wait_until_stored(&mut self, store: &Store) -> Result<(), StoreError> {
        while let Some((ticket, result)) = self.stored.next().await {
            result?;
            self.input(Input::Persisted(ticket));
            self.perform(store).await;
        }
        Ok(())
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        // Only acts are answered; whatever comes from the world is taken or dropped by the session.
        let _ = self.session.handle_input(now, input);
    }

    fn handle_net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Control { topic, kept, .. } if kept && self.session.is_door(&topic.0) => {}
            NetEvent::Control {
                topic,
                payload,
                message,
                ..
            } => {
                let number = self.next_message;
                self.next_message += 1;
                if self.verdicts.len() >= MAX_VERDICTS {
                    self.verdicts.pop_first();
                }
                self.verdicts.insert(number, message);
                self.input(Input::Control {
                    topic: topic.0,
                    payload: &payload,
                    message: number,
                });
            }
            NetEvent::Media { payload, .. } => self.input(Input::Media(&payload)),
            NetEvent::Subscribed { topic, .. } => self.input(Input::Listener(topic.0)),
            NetEvent::Listening(addresses) => {
                if self.addresses != addresses {
                    self.addresses = addresses;
                    self.say_addresses();
                }
            }
            NetEvent::Connected { peer, remote } => {
                self.known.connected(peer, remote);
            }
            NetEvent::Disconnected(peer) => self.known.disconnected(&peer),
            NetEvent::RelayUp => {
                self.relay_up = true;
                self.input(Input::Reconnected);
            }
            NetEvent::RelayDown => self.relay_up = false,
            NetEvent::Refused { reason } => tracing::debug!(%reason, "network refused"),
            NetEvent::OperatorCard { relay, card } => {
                if let Some(ways) = &mut self.ways {
                    ways.handle_card(relay, &card);
                }
            }
            NetEvent::Unreachable(_) | NetEvent::RouteAttached(_) => {}
        }
    }

    fn say_addresses(&mut self) {
        let addresses = self.addresses.iter().take(4).map(SocketAddr::to_string);
        let addresses = addresses.collect();
        self.input(Input::Addresses(addresses));
    }

    /// Until anybody is connected, those known here and those named in the invite are dialled again and again.
    fn dial_first(&mut self) {
        let due = self.next_dial <= Instant::now();
        if self.ways.is_some() || self.known.has_company() || !due {
            return;
        }
        self.next_dial = Instant::now() + DIAL_AGAIN;
        for (peer, addrs) in self.known.with_invited(&self.file.addresses) {
            if peer != self.net.local_peer {
                self.command(NetCommand::Dial { peer, addrs });
            }
        }
    }

    fn handle_found(&mut self, Neighbour { transport, addrs }: Neighbour) {
        let Some(peer) = peer_id(&transport) else {
            return;
        };
        for addr in &addrs {
            self.known.remember(peer, *addr);
        }
        self.command(NetCommand::Dial { peer, addrs });
    }

    /// How loud one member is for this person.
    pub fn set_volume(&mut self, member: PublicKey, volume: f32) {
        self.volumes.insert(member, volume);
        if let Some(stream) = self.streams.get(&member) {
            self.voice.set_volume(*stream, volume);
        }
    }
}

fn now_since(clock: Duration) -> Now {
    Now {
        at: uptime().saturating_sub(clock),
        minute: unix_minute(),
    }
}

fn transport_id(keypair: &Keypair) -> Option<TransportId> {
    let key = keypair.public().try_into_ed25519().ok()?;
    Some(TransportId::from_bytes(key.to_bytes()))
}

/// The libp2p name of a transport identity.
fn peer_id(transport: &TransportId) -> Option<PeerId> {
    let key = ed25519::PublicKey::try_from_bytes(transport.as_bytes()).ok()?;
    Some(PeerKey::from(key).to_peer_id())
}

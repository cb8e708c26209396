//! A world of nodes: sessions, what each has stored, and the messages between them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use undertone_protocol::id::{CircleId, Nonce, PublicKey, RecordId, TransportId};
use undertone_protocol::identity::{GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::invite::Token;
use undertone_protocol::record::{AdmissionMode, Body, FloorMode, PuzzleCost, Record, RouteKind};
use undertone_protocol::session::{
    Act, Event, Founding, Input, Now, Output, RouteKey, Session, SessionConfig, Topic,
};
use undertone_protocol::texts;
use undertone_protocol::voice::OPUS_BYTES;

use crate::network::Network;

/// How long storing takes.
const STORE_DELAY: Duration = Duration::from_millis(4);
/// How long an open door's puzzle takes.
const SOLVE_DELAY: Duration = Duration::from_secs(10);
/// How long checking an answer takes.
const CHECK_DELAY: Duration = Duration::from_millis(80);
/// A voice frame each.
const FRAME: Duration = Duration::from_millis(20);
/// Cheap: what a try costs is measured elsewhere.
const PUZZLE: PuzzleCost = PuzzleCost {
    memory_kib: 8,
    zero_bits: 3,
};
/// Minutes since 1970 UTC at the beginning of the world.
const EPOCH_MINUTE: u64 = 29_000_000;

/// A node by its place in the world.
pub type NodeIndex = usize;

/// Something a node heard or was told, and when.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A frame of somebody was let through to the ears.
    Heard(PublicKey),
    /// A session's event.
    Event(Event),
}

/// One node.
pub struct Node {
    session: Option<Session>,
    root: RootSeed,
    pseudonym: Pseudonym,
    group_key: Option<GroupKey>,
    token: Option<Token>,
    transport: TransportId,
    topics: BTreeSet<Topic>,
    routes: Vec<RouteKey>,
    allowed: BTreeSet<TransportId>,
    blocked: BTreeSet<TransportId>,
    stored: Vec<Vec<u8>>,
    /// What it heard and was told, in order.
    pub seen: Vec<(Duration, Seen)>,
    runs: u64,
    cut_off: bool,
}

impl Node {
    /// The session, unless the node is down.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }
    /// Its pseudonym.
    pub fn key(&self) -> PublicKey {
        self.pseudonym.public_key()
    }
    /// When it last heard this member.
    pub fn last_heard(&self, member: &PublicKey) -> Option<Duration> {
        let heard = Seen::Heard(*member);
        self.seen
            .iter()
            .rev()
            .find(|(_, s)| *s == heard)
            .map(|s| s.0)
    }
    /// When it first was told this.
    pub fn first(&self, event: &Event) -> Option<Duration> {
        let event = Seen::Event(event.clone());
        self.seen.iter().find(|(_, s)| *s == event).map(|s| s.0)
    }
}

enum Delivery {
    Control(Topic, Vec<u8>),
    Media(Vec<u8>),
    Persisted(u64),
    Listener(Topic),
    Solved(u64),
    Checked(RecordId, bool),
}

/// The world.
pub struct World {
    now: Duration,
    network: Network,
    route: RouteKind,
    rng: ChaCha20Rng,
    nodes: Vec<Node>,
    /// By time of arrival and a counter, so that the order is always the same.
    deliveries: BTreeMap<(Duration, u64), (NodeIndex, u64, Delivery)>,
    next_delivery: u64,
    next_frame: Duration,
    circle: CircleId,
    door: Secret,
}

impl World {
    /// A circle with its leader, node 0, on this network.
    ///
    /// # Errors
    /// When the founding fails.
    pub fn new(seed: u64, network: Network, route: RouteKind, max_members: u8) -> Result<Self> {
        let mut world =
            Self::with_admission(seed, network, route, max_members, AdmissionMode::Approval)?;
        world.act(0, Act::AutoAdmit(true))?;
        Ok(world)
    }

    /// The same, with another way of letting people in.
    ///
    /// # Errors
    /// When the founding fails.
    pub fn with_admission(
        seed: u64,
        network: Network,
        route: RouteKind,
        max_members: u8,
        admission: AdmissionMode,
    ) -> Result<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let group_key = GroupKey::from_secret(&Secret::random(&mut rng));
        let recovery_key = GroupKey::from_secret(&Secret::random(&mut rng));
        let door = Secret::random(&mut rng);
        let mut world = Self {
            now: Duration::from_secs(1),
            network,
            route,
            rng,
            nodes: Vec::new(),
            deliveries: BTreeMap::new(),
            next_delivery: 0,
            next_frame: Duration::from_secs(1),
            circle: CircleId::UNBORN,
            door,
        };
        let leader = world.new_node(Some(group_key.clone()));
        let founding = Founding {
            topic: "loss".into(),
            title: "Evening circle".into(),
            language: "en".into(),
            admission,
            max_members,
            turn_seconds: 60,
            floor: FloorMode::Active,
            puzzle: PUZZLE,
            schedule: None,
            listener_welcome: false,
            route,
            recovery_key: recovery_key.public_key(),
            name: "Leader".into(),
            nonce: Nonce::from_bytes([1; 16]),
        };
        let key = world.nodes[leader].key();
        let charter = founding.charter(&group_key, key, world.now())?;
        world.circle = charter.founds().context("a charter founds a circle")?;
        let config = world.config(leader);
        let session = Session::found(config, &charter, founding.name, world.now())?;
        world.nodes[leader].session = Some(session);
        world.drain(leader);
        Ok(world)
    }

    /// The present, as sessions are told it.
    pub fn now(&self) -> Now {
        Now {
            at: self.now,
            minute: EPOCH_MINUTE + self.now.as_secs() / 60,
        }
    }
    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// One node.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    /// Somebody with the invite comes to the door.
    ///
    /// # Errors
    /// Never in practice.
    pub fn arrive(&mut self) -> Result<NodeIndex> {
        let index = self.new_node(None);
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(index)
    }

    /// A member passes a token on.
    ///
    /// # Errors
    /// What the session says.
    pub fn sponsor(&mut self, index: NodeIndex, minutes: u64) -> Result<Token> {
        let now = self.now();
        let session = self.nodes[index].session.as_mut();
        Ok(session.context("the node is down")?.sponsor(now, minutes)?)
    }

    /// Somebody comes to the door with this token.
    ///
    /// # Errors
    /// Never in practice.
    pub fn arrive_with(&mut self, token: Token) -> Result<NodeIndex> {
        let index = self.new_node(None);
        self.nodes[index].token = Some(token);
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(index)
    }

    /// Somebody comes, signs and is let in; runs until they are inside.
    ///
    /// # Errors
    /// When they are not inside after 30 seconds.
    pub fn join(&mut self) -> Result<NodeIndex> {
        let index = self.arrive()?;
        self.wait_for(index, Duration::from_secs(30), Event::AtDoor)?;
        self.sign(index)?;
        self.wait_for(index, Duration::from_secs(30), Event::Entered)?;
        Ok(index)
    }

    /// Signs every clause at the door.
    ///
    /// # Errors
    /// When the session refuses.
    pub fn sign(&mut self, index: NodeIndex) -> Result<()> {
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let name = format!("Person {index}");
        self.act(index, Act::Sign { name, accepted })
    }

    /// The process dies without a word: only what was stored remains.
    pub fn kill(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        node.session = None;
        node.topics.clear();
        node.routes.clear();
        node.allowed.clear();
        node.runs += 1;
    }

    /// Takes a node off the network, or puts it back: what is sent meanwhile is lost to it for good.
    pub fn cut_off(&mut self, index: NodeIndex, cut: bool) {
        self.nodes[index].cut_off = cut;
    }

    /// It starts again from what it has stored, with a fresh transport.
    ///
    /// # Errors
    /// When the store is refused.
    pub fn restart(&mut self, index: NodeIndex) -> Result<()> {
        self.nodes[index].transport = TransportId::from_bytes([0; 32]);
        let config = self.config(index);
        let stored = std::mem::take(&mut self.nodes[index].stored);
        let session = Session::resume(config, &stored, self.now());
        self.nodes[index].stored = stored;
        self.nodes[index].session = Some(session?);
        self.drain(index);
        Ok(())
    }

    /// It forgets everything and comes to the door with the same keys.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wipe_and_return(&mut self, index: NodeIndex) -> Result<()> {
        self.kill(index);
        self.nodes[index].stored.clear();
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(())
    }

    /// A person acts.
    ///
    /// # Errors
    /// What the session says.
    pub fn act(&mut self, index: NodeIndex, act: Act) -> Result<()> {
        let now = self.now();
        let session = self.nodes[index].session.as_mut();
        let result = session
            .context("the node is down")?
            .handle_input(now, Input::Act(act));
        self.drain(index);
        Ok(result?)
    }

    /// Hands a message to a node as if it had come from the network.
    pub fn inject(&mut self, index: NodeIndex, topic: Topic, payload: Vec<u8>) {
        self.deliver(index, Duration::ZERO, Delivery::Control(topic, payload));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next_event().filter(|at| *at <= end) {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until a node has been told this.
    ///
    /// # Errors
    /// When it has not been within `limit`.
    pub fn wait_for(
        &mut self,
        index: NodeIndex,
        limit: Duration,
        event: Event,
    ) -> Result<Duration> {
        let end = self.now + limit;
        loop {
            if let Some(at) = self.nodes[index].first(&event) {
                return Ok(at);
            }
            ensure!(
                self.now < end,
                "node {index} was not told {event:?} in {limit:?}"
            );
            self.run_for(Duration::from_millis(5));
        }
    }

    fn new_node(&mut self, group_key: Option<GroupKey>) -> NodeIndex {
        let root = RootSeed::new(Secret::random(&mut self.rng));
        let pseudonym = root.pseudonym(&Nonce::from_bytes([0; 16]), 0);
        self.nodes.push(Node {
            session: None,
            root,
            pseudonym,
            group_key,
            token: None,
            transport: TransportId::from_bytes([0; 32]),
            topics: BTreeSet::new(),
            routes: Vec::new(),
            allowed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            stored: Vec::new(),
            seen: Vec::new(),
            runs: 0,
            cut_off: false,
        });
        self.nodes.len() - 1
    }

    fn config(&mut self, index: NodeIndex) -> SessionConfig {
        let transport = Secret::random(&mut self.rng);
        let mut rng_seed = [0; 32];
        self.rng.fill_bytes(&mut rng_seed);
        let node = &mut self.nodes[index];
        node.transport = undertone_protocol::session::transport_id(&transport);
        node.pseudonym = node.root.pseudonym(&Nonce::from_bytes([0; 16]), 0);
        SessionConfig {
            circle: self.circle,
            pseudonym: node.pseudonym.clone(),
            transport,
            door: self.door.clone(),
            route: self.route,
            group_key: node.group_key.clone(),
            token: node.token.clone(),
            first_seq: node.runs << 32,
            rng_seed,
        }
    }

    fn next_event(&self) -> Option<Duration> {
        let delivery = self.deliveries.keys().next().map(|(at, _)| *at);
        let timers = self
            .nodes
            .iter()
            .filter_map(|n| n.session.as_ref()?.next_timeout());
        timers.chain(delivery).chain([self.next_frame]).min()
    }

    fn step(&mut self) {
        let now = self.now();
        while let Some(entry) = self.deliveries.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (index, run, delivery) = entry.remove();
            if self.nodes[index].runs == run {
                self.hand_over(index, delivery);
            }
        }
        for index in 0..self.nodes.len() {
            let due = |s: &Session| s.next_timeout().is_some_and(|at| at <= now.at);
            if let Some(session) = self.nodes[index].session.as_mut().filter(|s| due(s)) {
                session.handle_timeout(now);
                self.drain(index);
            }
        }
        if self.next_frame <= self.now {
            self.next_frame += FRAME;
            for index in 0..self.nodes.len() {
                if let Some(session) = self.nodes[index].session.as_mut() {
                    let opus = [index as u8; OPUS_BYTES];
                    let voice = Input::Voice {
                        opus: &opus,
                        muted: false,
                    };
                    // A session that has ended takes nothing.
                    let _ = session.handle_input(now, voice);
                    self.drain(index);
                }
            }
        }
    }

    fn hand_over(&mut self, index: NodeIndex, delivery: Delivery) {
        let now = self.now();
        let lost = self.nodes[index].cut_off && !matches!(delivery, Delivery::Persisted(_));
        let Some(session) = self.nodes[index].session.as_mut().filter(|_| !lost) else {
            return;
        };
        let _ = match &delivery {
            Delivery::Control(topic, payload) => session.handle_input(
                now,
                Input::Control {
                    topic: *topic,
                    payload,
                    message: 0,
                },
            ),
            Delivery::Media(packet) => session.handle_input(now, Input::Media(packet)),
            Delivery::Persisted(ticket) => session.handle_input(now, Input::Persisted(*ticket)),
            Delivery::Solved(answer) => session.handle_input(now, Input::PuzzleSolved(*answer)),
            Delivery::Checked(join, fits) => {
                let (join, fits) = (*join, *fits);
                session.handle_input(now, Input::PuzzleChecked { join, fits })
            }
            Delivery::Listener(topic) => session.handle_input(now, Input::Listener(*topic)),
        };
        self.drain(index);
    }

    fn deliver(&mut self, index: NodeIndex, after: Duration, delivery: Delivery) {
        let key = (self.now + after, self.next_delivery);
        self.next_delivery += 1;
        let run = self.nodes[index].runs;
        self.deliveries.insert(key, (index, run, delivery));
    }

    /// Does what a node's session wants done.
    fn drain(&mut self, index: NodeIndex) {
        while let Some(output) = self.nodes[index]
            .session
            .as_mut()
            .and_then(Session::poll_output)
        {
            self.perform(index, output);
        }
    }

    fn perform(&mut self, index: NodeIndex, output: Output) {
        match output {
            Output::Subscribe(topic) => {
                self.nodes[index].topics.insert(topic);
                for other in self.others(index, |n| n.topics.contains(&topic)) {
                    let delay = self.network.control_delay(&mut self.rng);
                    self.deliver(other, delay, Delivery::Listener(topic));
                    self.deliver(index, delay, Delivery::Listener(topic));
                }
            }
            Output::Unsubscribe(topic) => drop(self.nodes[index].topics.remove(&topic)),
            Output::Publish { topic, payload } => {
                let from = self.nodes[index].transport;
                for other in self.others(index, |n| !n.blocked.contains(&from)) {
                    let delay = self.network.control_delay(&mut self.rng);
                    // Whoever is not on the topic when it arrives does not get it.
                    if self.nodes[other].topics.contains(&topic) {
                        let message = Delivery::Control(topic, payload.clone());
                        self.deliver(other, delay, message);
                    }
                }
            }
            Output::AttachRoute(route) => self.nodes[index].routes.push(route),
            Output::DetachRoute(route) => self.nodes[index].routes.retain(|r| *r != route),
            Output::Allow(transports) => {
                self.nodes[index].allowed = transports.into_iter().collect();
            }
            Output::Block(transport) => {
                self.nodes[index].blocked.insert(transport);
            }
            Output::SendMedia(packet) => self.send_media(index, &packet),
            Output::Play { member, .. } => {
                let at = self.now;
                self.nodes[index].seen.push((at, Seen::Heard(member)));
            }
            Output::Persist { ticket, records } => {
                let envelopes = records.iter().map(|r| r.envelope().to_vec());
                self.nodes[index].stored.extend(envelopes);
                self.deliver(index, STORE_DELAY, Delivery::Persisted(ticket));
            }
            Output::Delete(author) => self.nodes[index].stored.retain(|bytes| {
                let record = Record::verify(bytes);
                !record.is_ok_and(|r| {
                    r.author() == author && matches!(r.body(), Body::Pledge(_) | Body::Join(_))
                })
            }),
            Output::Event(event) => {
                let at = self.now;
                self.nodes[index].seen.push((at, Seen::Event(event)));
            }
            Output::SolvePuzzle(puzzle) => {
                let answer = puzzle.solve(|| true).unwrap_or_default();
                self.deliver(index, SOLVE_DELAY, Delivery::Solved(answer));
            }
            Output::CheckPuzzle {
                join,
                puzzle,
                answer,
            } => {
                let fits = puzzle.is_answer(answer);
                self.deliver(index, CHECK_DELAY, Delivery::Checked(join, fits));
            }
            Output::Verdict { .. }
            | Output::Dial { .. }
            | Output::Silence(_)
            | Output::MaySpeak(_) => {}
        }
    }

    fn send_media(&mut self, index: NodeIndex, packet: &[u8]) {
        let sender = &self.nodes[index];
        let (from, allowed) = (sender.transport, sender.allowed.clone());
        let route = sender.routes.last().copied();
        let receivers = self.others(index, |n| match route {
            Some(route) => n.routes.contains(&route),
            None => allowed.contains(&n.transport) && n.allowed.contains(&from),
        });
        for other in receivers {
            if let Some(delay) = self.network.media_delay(&mut self.rng) {
                self.deliver(other, delay, Delivery::Media(packet.to_vec()));
            }
        }
    }

    fn others(&self, index: NodeIndex, which: impl Fn(&Node) -> bool) -> Vec<NodeIndex> {
        if self.nodes[index].cut_off {
            return Vec::new();
        }
        let up = |i: &NodeIndex| *i != index && self.nodes[*i].session.is_some();
        (0..self.nodes.len())
            .filter(up)
            .filter(|i| which(&self.nodes[*i]))
            .collect()
    }
}

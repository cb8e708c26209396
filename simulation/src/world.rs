//! A world of nodes: sessions, what each has stored, and the messages between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use undertone_protocol::id::{CircleId, Nonce, PublicKey, RecordId, TransportId};
use undertone_protocol::identity::{GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::invite::Token;
use undertone_protocol::record::{
    AdmissionMode, Body, FloorMode, Pace, PuzzleCost, Record, RouteKind,
};
use undertone_protocol::session::{
    Act, Event, Founding, Input, Now, Output, RouteKey, Session, SessionConfig, Topic,
};
use undertone_protocol::voice::OPUS_BYTES;

use crate::judge::Judge;
use crate::network::Network;

/// Between two messages of somebody who is reached: hellos come every 30 seconds.
const LONG_PAUSE: Duration = Duration::from_secs(40);
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
/// Sealed messages kept for whoever copies them.
const MAX_WIRE: usize = 400;
/// Minutes since 1970 UTC at the beginning of the world.
const EPOCH_MINUTE: u64 = 29_000_000;

/// A node by its place in the world.
pub type NodeIndex = usize;

/// One node.
pub struct Node {
    pub(crate) session: Option<Session>,
    root: RootSeed,
    pseudonym: Pseudonym,
    pub(crate) group_key: Option<GroupKey>,
    pub(crate) token: Option<Token>,
    pub(crate) transport: TransportId,
    pub(crate) topics: BTreeSet<Topic>,
    pub(crate) routes: Vec<RouteKey>,
    pub(crate) allowed: BTreeSet<TransportId>,
    blocked: BTreeSet<TransportId>,
    pub(crate) stored: Vec<Vec<u8>>,
    /// What it was told, in order.
    pub seen: Vec<(Duration, Event)>,
    /// When it last heard each member.
    pub heard: BTreeMap<PublicKey, Duration>,
    pub(crate) runs: u64,
    pub(crate) cut_off: bool,
    /// Its machine sleeps: nothing comes or goes, and what is due waits.
    pub(crate) asleep: bool,
    /// Hears nothing any more, and goes on sending with the keys it has.
    pub deaf: bool,
    /// How many minutes its clock is wrong.
    pub skew: i64,
    /// Nodes on different islands do not reach each other.
    pub island: u8,
    /// Answers every puzzle wrongly.
    pub is_sybil: bool,
    /// Sealed bytes of the control messages that arrived.
    pub received: u64,
    /// When a control message of the leader last arrived.
    pub(crate) led: Duration,
    /// Since when they have arrived without a long pause.
    pub(crate) led_from: Duration,
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
        self.heard.get(member).copied()
    }
    /// When it first was told this.
    pub fn first(&self, event: &Event) -> Option<Duration> {
        self.seen.iter().find(|(_, s)| s == event).map(|s| s.0)
    }
}

pub(crate) enum Delivery {
    /// From whom, where, what.
    Control(NodeIndex, Topic, Vec<u8>),
    Media(Vec<u8>),
    Persisted(u64),
    Listener(Topic),
    Solved(u64),
    Checked(RecordId, bool),
}

/// The world.
pub struct World {
    pub(crate) now: Duration,
    /// In minutes.
    slept: u64,
    pub(crate) network: Network,
    route: RouteKind,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) nodes: Vec<Node>,
    /// By time of arrival and a counter, so that the order is always the same.
    deliveries: BTreeMap<(Duration, u64), (NodeIndex, u64, Delivery)>,
    next_delivery: u64,
    next_frame: Duration,
    frame: Duration,
    pub(crate) circle: CircleId,
    door: Secret,
    /// The recovery key of the circle.
    pub(crate) recovery: GroupKey,
    /// Who checks that the rules hold, if anybody does.
    pub judge: Judge,
    /// What a relay drops: whose control messages, to whom.
    pub withheld: Option<(NodeIndex, BTreeSet<NodeIndex>)>,
    /// What a relay's mailbox holds of each topic, if it has one: whoever subscribes is sent it.
    pub mailbox: Option<BTreeMap<Topic, Vec<Vec<u8>>>>,
    /// Co-leaders whose authority was taken back, and the time in the chains just before.
    pub(crate) deposed: BTreeMap<NodeIndex, u64>,
    /// The last number of what somebody said beside their program, which does not come that far.
    pub(crate) next_lie: u64,
    /// Sealed messages as they went over the wire, for somebody who copies them.
    pub(crate) wire: VecDeque<(Topic, Vec<u8>)>,
    /// Control messages published, and their bytes.
    pub traffic: Traffic,
}

/// How much went over the wire.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Control messages published.
    pub messages: u64,
    /// Their sealed bytes, counted once each.
    pub bytes: u64,
}

/// What a circle is founded as.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Between the nodes.
    pub network: Network,
    /// How the traffic travels.
    pub route: RouteKind,
    /// Seats.
    pub max_members: u8,
    /// Who comes in.
    pub door: AdmissionMode,
    /// Longest turn in seconds.
    pub turn_seconds: u16,
    /// How often everybody sends a voice packet.
    pub frame: Duration,
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
        let setting = Setting {
            network,
            route,
            max_members,
            door: admission,
            turn_seconds: 60,
            frame: FRAME,
        };
        Self::found(seed, setting)
    }

    /// A circle with its leader, node 0.
    ///
    /// # Errors
    /// When the founding fails.
    pub fn found(seed: u64, setting: Setting) -> Result<Self> {
        undertone_protocol::memo::remember();
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let group_key = GroupKey::from_secret(&Secret::random(&mut rng));
        let recovery = GroupKey::from_secret(&Secret::random(&mut rng));
        let door = Secret::random(&mut rng);
        let mut world = Self {
            now: Duration::from_secs(1),
            slept: 0,
            network: setting.network,
            route: setting.route,
            rng,
            nodes: Vec::new(),
            deliveries: BTreeMap::new(),
            next_delivery: 0,
            next_frame: Duration::from_secs(1),
            frame: setting.frame,
            circle: CircleId::UNBORN,
            door,
            recovery: recovery.clone(),
            judge: Judge::default(),
            withheld: None,
            mailbox: None,
            deposed: BTreeMap::new(),
            next_lie: 1 << 20,
            wire: VecDeque::new(),
            traffic: Traffic::default(),
        };
        let leader = world.new_node(Some(group_key.clone()));
        let founding = Founding {
            topic: "loss".into(),
            title: "Evening circle".into(),
            language: "en".into(),
            admission: setting.door,
            max_members: setting.max_members,
            turn_seconds: setting.turn_seconds,
            floor: FloorMode::Active,
            puzzle: PUZZLE,
            schedule: None,
            listener_welcome: false,
            route: setting.route,
            pace: Pace::Usual,
            recovery_key: recovery.public_key(),
            name: "Leader".into(),
            nonce: Nonce::from_bytes([1; 16]),
        };
        let key = world.nodes[leader].key();
        let charter = founding.charter(&group_key, key, world.now())?;
        world.circle = charter.founds().context("a charter founds a circle")?;
        let config = world.config(leader);
        let session = Session::found(config, &charter, founding.name, world.now())?;
        world.nodes[leader].session = Some(session);
        world.judge.knows(key);
        world.drain(leader);
        Ok(world)
    }

    /// The present, as sessions are told it.
    pub fn now(&self) -> Now {
        Now {
            at: self.now,
            minute: EPOCH_MINUTE + self.slept + self.now.as_secs() / 60,
        }
    }
    /// The present by a node's own clock.
    pub(crate) fn now_at(&self, index: NodeIndex) -> Now {
        let now = self.now();
        Now {
            minute: now.minute.saturating_add_signed(self.nodes[index].skew),
            ..now
        }
    }
    /// All machines sleep for so many minutes: the clock on the wall has moved, and nothing else.
    pub fn sleep(&mut self, minutes: u64) {
        self.slept += minutes;
    }
    /// All nodes.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }
    /// One node.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index]
    }

    /// Hands a message to a node as if it had come from the network.
    pub fn inject(&mut self, index: NodeIndex, topic: Topic, payload: Vec<u8>) {
        let message = Delivery::Control(NodeIndex::MAX, topic, payload);
        self.deliver(index, Duration::ZERO, message);
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

    pub(crate) fn new_node(&mut self, group_key: Option<GroupKey>) -> NodeIndex {
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
            heard: BTreeMap::new(),
            runs: 0,
            cut_off: false,
            asleep: false,
            deaf: false,
            skew: 0,
            island: 0,
            is_sybil: false,
            received: 0,
            led: self.now,
            led_from: self.now,
        });
        let index = self.nodes.len() - 1;
        self.judge.knows(self.nodes[index].key());
        index
    }

    pub(crate) fn config(&mut self, index: NodeIndex) -> SessionConfig {
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
            .filter(|n| !n.asleep)
            .filter_map(|n| n.session.as_ref()?.next_timeout());
        timers.chain(delivery).chain([self.next_frame]).min()
    }

    fn step(&mut self) {
        while let Some(entry) = self.deliveries.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (index, run, delivery) = entry.remove();
            if self.nodes[index].runs == run {
                self.hand_over(index, delivery);
            }
        }
        let awake = (0..self.nodes.len()).filter(|index| !self.nodes[*index].asleep);
        let awake: Vec<_> = awake.collect();
        for index in awake.iter().copied() {
            let now = self.now_at(index);
            let due = |s: &Session| s.next_timeout().is_some_and(|at| at <= now.at);
            if let Some(session) = self.nodes[index].session.as_mut().filter(|s| due(s)) {
                session.handle_timeout(now);
                self.drain(index);
            }
        }
        if self.next_frame <= self.now {
            self.next_frame += self.frame;
            for index in awake {
                let now = self.now_at(index);
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
        let now = self.now_at(index);
        let node = &mut self.nodes[index];
        let lost = match delivery {
            Delivery::Persisted(_) | Delivery::Solved(_) | Delivery::Checked(..) => false,
            _ => node.cut_off || node.deaf,
        };
        if matches!(delivery, Delivery::Control(0, ..)) && !lost {
            if self.now > node.led + LONG_PAUSE {
                node.led_from = self.now;
            }
            node.led = self.now;
        }
        if let (Delivery::Control(_, _, payload), false) = (&delivery, lost) {
            self.nodes[index].received += payload.len() as u64;
        }
        let Some(session) = self.nodes[index].session.as_mut().filter(|_| !lost) else {
            return;
        };
        let _ = match &delivery {
            Delivery::Control(_, topic, payload) => session.handle_input(
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

    pub(crate) fn deliver(&mut self, index: NodeIndex, after: Duration, delivery: Delivery) {
        let key = (self.now + after, self.next_delivery);
        self.next_delivery += 1;
        let run = self.nodes[index].runs;
        self.deliveries.insert(key, (index, run, delivery));
    }

    /// Does what a node's session wants done.
    pub(crate) fn drain(&mut self, index: NodeIndex) {
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
                self.empty_mailbox(index, topic);
                for other in self.others(index, |n| n.topics.contains(&topic)) {
                    let delay = self.network.control_delay(&mut self.rng);
                    self.deliver(other, delay, Delivery::Listener(topic));
                    self.deliver(index, delay, Delivery::Listener(topic));
                }
            }
            Output::Unsubscribe(topic) => drop(self.nodes[index].topics.remove(&topic)),
            Output::Publish { topic, payload, .. } => self.publish(index, topic, &payload, None),
            Output::AttachRoute { route, .. } => self.nodes[index].routes.push(route),
            Output::DetachRoute(route) => self.nodes[index].routes.retain(|r| *r != route),
            Output::Allow(transports) => {
                self.nodes[index].allowed = transports.into_iter().collect();
            }
            Output::Block(transport) => {
                self.nodes[index].blocked.insert(transport);
            }
            Output::Unblock(transport) => {
                self.nodes[index].blocked.remove(&transport);
            }
            Output::SendMedia(packet) => self.send_media(index, &packet),
            Output::Play { member, .. } => {
                let at = self.now;
                self.nodes[index].heard.insert(member, at);
                self.judge_play(index, &member);
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
                self.nodes[index].seen.push((at, event));
            }
            Output::SolvePuzzle(puzzle) => {
                let solved = puzzle.solve(|| true).unwrap_or_default();
                let wrong = (0..).find(|n| !puzzle.is_answer(*n)).unwrap_or_default();
                let answer = match self.nodes[index].is_sybil {
                    true => wrong,
                    false => solved,
                };
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

    /// Sends a control message to everybody on its topic, or to these of them only.
    pub(crate) fn publish(
        &mut self,
        index: NodeIndex,
        topic: Topic,
        payload: &[u8],
        only: Option<&BTreeSet<NodeIndex>>,
    ) {
        self.traffic.messages += 1;
        self.traffic.bytes += payload.len() as u64;
        self.judge_publish(index);
        if let Some(mailbox) = &mut self.mailbox {
            mailbox.entry(topic).or_default().push(payload.to_vec());
        }
        self.wire.push_back((topic, payload.to_vec()));
        if self.wire.len() > MAX_WIRE {
            self.wire.pop_front();
        }
        let from = self.nodes[index].transport;
        for other in self.others(index, |n| !n.blocked.contains(&from)) {
            let delay = self.network.control_delay(&mut self.rng);
            let meant = only.is_none_or(|only| only.contains(&other));
            let withheld = self
                .withheld
                .as_ref()
                .is_some_and(|(of, to)| *of == index && to.contains(&other));
            // Whoever is not on the topic when it is sent does not get it.
            if meant && !withheld && self.nodes[other].topics.contains(&topic) {
                let message = Delivery::Control(index, topic, payload.to_vec());
                self.deliver(other, delay, message);
            }
        }
    }

    fn empty_mailbox(&mut self, index: NodeIndex, topic: Topic) {
        let kept = self.mailbox.as_ref().and_then(|box_of| box_of.get(&topic));
        for payload in kept.cloned().unwrap_or_default() {
            let delay = self.network.control_delay(&mut self.rng);
            let message = Delivery::Control(NodeIndex::MAX, topic, payload);
            self.deliver(index, delay, message);
        }
    }

    fn send_media(&mut self, index: NodeIndex, packet: &[u8]) {
        self.judge_send(index);
        let sender = &self.nodes[index];
        let (from, allowed) = (sender.transport, sender.allowed.clone());
        let route = sender.routes.last().copied();
        let receivers = self.others(index, |n| match route {
            Some(route) => n.routes.contains(&route),
            None => allowed.contains(&n.transport) && n.allowed.contains(&from),
        });
        for other in receivers {
            if let Some(delay) = self.network.media_delay(index, self.now, &mut self.rng) {
                self.deliver(other, delay, Delivery::Media(packet.to_vec()));
            }
        }
    }

    pub(crate) fn others(&self, index: NodeIndex, which: impl Fn(&Node) -> bool) -> Vec<NodeIndex> {
        if self.nodes[index].cut_off {
            return Vec::new();
        }
        let island = self.nodes[index].island;
        let up = |i: &NodeIndex| {
            *i != index && self.nodes[*i].session.is_some() && self.nodes[*i].island == island
        };
        (0..self.nodes.len())
            .filter(up)
            .filter(|i| which(&self.nodes[*i]))
            .collect()
    }
}

//! Those who do not keep to the rules: each does one thing, as often as it can.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_core::Rng;
use serde::Deserialize;
use undertone_protocol::circle::Role;
use undertone_protocol::id::{CircleId, Nonce, PublicKey, RecordId};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::record::{
    Body, Close, Delegation, Door, Epoch, FloorMode, Freeze, Gratitude, Join, MAX_INTEGER, Pledge,
    Record, Removal, Thanks, TurnRequest,
};
use undertone_protocol::session::{Act, Input, Output};
use undertone_protocol::texts;
use undertone_protocol::weakness::Weakness;

use crate::world::{NodeIndex, World};

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adversary {
    /// A member signs what only leaders may.
    Forge,
    /// Somebody sends again what was sent before, on the wire and at the door.
    Replay,
    /// A member brings in genuine records of another circle with the same leader.
    CrossCircle,
    /// A member sends hundreds of messages a second, sealed and signed.
    Flood,
    /// The leader's key is used in two places and contradicts itself.
    EquivocatingLeader,
    /// A co-leader who was deposed goes on signing, dated back, for any place of their chain.
    BackdatingCoLeader,
    /// Dozens come through an open door without solving its puzzle.
    Sybils,
    /// Whoever is removed keeps every key, hears no notice, and goes on sending.
    Removed,
    /// A relay drops everything the leader says.
    Withhold,
}

impl Adversary {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Forge,
        Self::Replay,
        Self::CrossCircle,
        Self::Flood,
        Self::EquivocatingLeader,
        Self::BackdatingCoLeader,
        Self::Sybils,
        Self::Removed,
        Self::Withhold,
    ];

    /// The rule that this one breaks itself against; without it, the judge must notice.
    pub fn met_by(self) -> Weakness {
        match self {
            Self::Forge => Weakness::Authority,
            Self::Replay => Weakness::Replay,
            Self::CrossCircle => Weakness::Circle,
            Self::Flood => Weakness::Limits,
            Self::EquivocatingLeader => Weakness::Fork,
            Self::BackdatingCoLeader => Weakness::Cut,
            Self::Sybils => Weakness::Puzzle,
            Self::Removed => Weakness::Silence,
            Self::Withhold => Weakness::Freshness,
        }
    }
}

/// How far ahead of all others somebody dates their words, as powers of two: from what anybody could have come
/// to, to what leaves no number after it.
const FAR_AHEAD: std::ops::Range<u64> = 8..53;

fn draft(world: &World, seq: u64, prev: Option<RecordId>, body: Body) -> Draft {
    let lamport = world
        .node(0)
        .session()
        .and_then(|s| s.state())
        .map_or(1, |s| s.lamport() + 1);
    Draft {
        circle: world.circle,
        seq,
        prev,
        lamport,
        created: world.now().minute,
        valid_minutes: 1_000,
        body,
    }
}

fn removal(subject: PublicKey) -> Removal {
    Removal {
        subject,
        clause: "2".into(),
        until: None,
        cut: None,
    }
}

/// A key that signs what its owner should not.
#[derive(Debug, Clone)]
pub enum Hand {
    /// A group key, stolen or not.
    Group(Box<GroupKey>),
    /// The pseudonym of a member.
    Member(NodeIndex),
}

impl World {
    /// One move, twice a second. `member` is the member who does it.
    pub fn misbehave(&mut self, adversary: Adversary, member: NodeIndex) {
        let up = self.nodes[member].session.as_ref();
        if !up.is_some_and(|s| *s.stage() == undertone_protocol::session::Stage::Inside) {
            return;
        }
        match adversary {
            Adversary::Forge => self.forge(member),
            Adversary::Replay => self.replay(),
            Adversary::CrossCircle => self.cross_circle(member),
            Adversary::Flood => self.flood(member),
            Adversary::EquivocatingLeader => self.contradict(),
            Adversary::BackdatingCoLeader => self.backdate(member),
            // These are what they are from the beginning.
            Adversary::Sybils | Adversary::Removed | Adversary::Withhold => {}
        }
    }

    fn somebody_else(&mut self, than: NodeIndex) -> PublicKey {
        let members: Vec<_> = self
            .node(0)
            .session()
            .and_then(|s| s.state())
            .map(|s| s.members().map(|(key, _)| *key).collect())
            .unwrap_or_default();
        let own = self.nodes[than].key();
        let leader = self.nodes[0].key();
        let others: Vec<_> = members
            .into_iter()
            .filter(|k| *k != own && *k != leader)
            .collect();
        match others.len() {
            0 => own,
            n => others[(self.rng.next_u64() % n as u64) as usize],
        }
    }

    fn pseudonym(&self, member: NodeIndex) -> Option<Pseudonym> {
        let session = self.nodes[member].session.as_ref()?;
        Some(session.attack_keys().0.clone())
    }

    fn send_records(&mut self, member: NodeIndex, records: &[Record]) {
        if let Some(session) = self.nodes[member].session.as_mut() {
            session.attack_circle(records);
        }
        self.drain(member);
    }

    /// Says that something else came of the records than did.
    pub fn lie_about_digest(&mut self, member: NodeIndex) {
        let (now, digest) = (self.now(), self.rng.next_u64() >> 11);
        if let Some(session) = self.nodes[member].session.as_mut() {
            session.attack_hello(now, digest);
        }
        self.drain(member);
    }

    fn forge(&mut self, member: NodeIndex) {
        let Some(me) = self.pseudonym(member) else {
            return;
        };
        let subject = self.somebody_else(member);
        let founding = self
            .node(0)
            .session()
            .and_then(|s| s.state())
            .map(|s| s.founding().id());
        let own = me.public_key();
        let bodies: [Body; 6] = [
            removal(subject).into(),
            Freeze { on: true }.into(),
            Door { open: false }.into(),
            Close {}.into(),
            Delegation {
                subject: own,
                role: Role::CoLeader,
            }
            .into(),
            Epoch {
                number: 9_000,
                sealed: Vec::new(),
            }
            .into(),
        ];
        let records: Vec<_> = bodies
            .into_iter()
            .filter_map(|body| me.sign(draft(self, 1, founding, body)).ok())
            .collect();
        self.send_records(member, &records);
        self.run_ahead(member);
    }

    fn replay(&mut self) {
        for _ in 0..4 {
            let copies = self.wire.len() as u64;
            if copies == 0 {
                return;
            }
            let which = (self.rng.next_u64() % copies) as usize;
            let (topic, payload) = self.wire[which].clone();
            for index in 0..self.nodes.len() {
                if self.nodes[index].topics.contains(&topic) {
                    self.inject(index, topic, payload.clone());
                }
            }
        }
    }

    fn cross_circle(&mut self, member: NodeIndex) {
        let Some(group_key) = self.nodes[0].group_key.clone() else {
            return;
        };
        let subject = self.somebody_else(member);
        let founding = self
            .node(0)
            .session()
            .and_then(|s| s.state())
            .map(|s| s.founding().id());
        let mut elsewhere = draft(self, 1_000, founding, removal(subject).into());
        elsewhere.circle = CircleId::from_bytes([9; 32]);
        if let Ok(record) = group_key.sign(elsewhere) {
            self.send_records(member, &[record]);
        }
    }

    fn flood(&mut self, member: NodeIndex) {
        let founding = self
            .node(0)
            .session()
            .and_then(|s| s.state())
            .map(|s| s.founding().id());
        let subject = self.somebody_else(member);
        for _ in 0..2 {
            // Entries by keys that nobody ever gave authority to.
            let stray = GroupKey::from_secret(&Secret::random(&mut self.rng));
            let records: Vec<_> = (1..=24)
                .filter_map(|seq| {
                    let body = match seq % 2 {
                        0 => removal(subject).into(),
                        _ => Freeze { on: true }.into(),
                    };
                    stray.sign(draft(self, seq, founding, body)).ok()
                })
                .collect();
            self.send_records(member, &records);
        }
        for _ in 0..4 {
            let stranger = RootSeed::new(Secret::random(&mut self.rng));
            let stranger = stranger.pseudonym(&Nonce::from_bytes([0; 16]), 0);
            self.judge.knows(stranger.public_key());
            let knock = self.knock_of(&stranger);
            if let Some(session) = self.nodes[member].session.as_mut() {
                session.attack_door(&knock);
            }
            self.drain(member);
        }
    }

    fn knock_of(&self, who: &Pseudonym) -> Vec<Record> {
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let pledge = Pledge {
            texts: texts::hash(),
            accepted,
        };
        let Ok(pledge) = who.sign(draft(self, 1, None, pledge.into())) else {
            return Vec::new();
        };
        let join = Join {
            name: "Nobody".into(),
            sealing_key: who.sealing_key(),
            pledge: pledge.id(),
            invite: None,
            puzzle: None,
        };
        let join = who.sign(draft(self, 2, None, join.into()));
        std::iter::once(pledge).chain(join).collect()
    }

    /// Two entries for the next place of the leader's chain, one to each half of the circle.
    fn contradict(&mut self) {
        let Some(group_key) = self.nodes[0].group_key.clone() else {
            return;
        };
        let powers = self
            .node(0)
            .session()
            .and_then(|s| s.state())
            .map(|s| s.powers());
        let live = powers
            .and_then(|p| p.of(&group_key.public_key()))
            .filter(|p| p.is_live());
        let Some((seq, id)) = live.map(|p| p.head()) else {
            return;
        };
        for half in 0..2 {
            let only: BTreeSet<_> = (0..self.nodes.len()).filter(|n| n % 2 == half).collect();
            let body = Door { open: half == 0 };
            let record = group_key.sign(draft(self, seq + 1, Some(id), body.into()));
            if let Ok(record) = record {
                self.whisper(0, &only, &[record]);
            }
        }
    }

    /// Sends records to some only.
    fn whisper(&mut self, from: NodeIndex, only: &BTreeSet<NodeIndex>, records: &[Record]) {
        self.drain(from);
        let Some(session) = self.nodes[from].session.as_mut() else {
            return;
        };
        session.attack_circle(records);
        if let Some(Output::Publish { topic, payload, .. }) = session.poll_output() {
            self.publish(from, topic, &payload, Some(only));
            if only.contains(&from) {
                let message = Input::Control {
                    topic,
                    payload: &payload,
                    message: 0,
                };
                let now = self.now_at(from);
                if let Some(session) = self.nodes[from].session.as_mut() {
                    let _ = session.handle_input(now, message);
                }
            }
        }
        self.drain(from);
    }

    /// Is made co-leader, is deposed, and goes on as if nothing had happened.
    fn backdate(&mut self, member: NodeIndex) {
        let key = self.nodes[member].key();
        let state = self.node(0).session().and_then(|s| s.state());
        let power = state.and_then(|s| s.powers().of(&key));
        match power {
            None => {
                let _ = self.act(0, Act::SetRole(key, Role::CoLeader));
            }
            Some(_) if !self.deposed.contains_key(&member) => {
                // Something stands between, which the dates can be before.
                let state = self.node(0).session().and_then(|s| s.state());
                let (mode, led) = state.map_or((FloorMode::Active, 0), |s| {
                    (s.floor_mode(), s.next_in_chain(&key))
                });
                let _ = self.act(0, Act::SetFloorMode(mode));
                if self.act(0, Act::SetRole(key, Role::Participant)).is_ok() {
                    self.deposed.insert(member, led);
                }
            }
            Some(power) => {
                let (seq, id) = power.head();
                let subject = self.somebody_else(member);
                let Some(me) = self.pseudonym(member) else {
                    return;
                };
                // After the last that stands, or instead of any before.
                let place = 1 + self.rng.next_u64() % (seq + 1);
                let mut late = draft(self, place, Some(id), removal(subject).into());
                late.lamport = self.deposed.get(&member).copied().unwrap_or(0);
                late.created = late.created.saturating_sub(30);
                if let Ok(record) = me.sign(late) {
                    self.send_records(member, &[record]);
                }
            }
        }
    }

    /// A member says a word that any may say, at a time far ahead of everybody's.
    pub fn run_ahead(&mut self, member: NodeIndex) {
        let power = FAR_AHEAD.start + self.rng.next_u64() % (FAR_AHEAD.end - FAR_AHEAD.start);
        let subject = self.somebody_else(member);
        let gratitude = Gratitude::IHearYou;
        self.say_ahead(member, 1 << power, Thanks { subject, gratitude }.into());
    }

    /// A member raises a hand that claims to have been up since long ago, at a time that nobody can answer
    /// later than.
    pub fn claim_hand(&mut self, member: NodeIndex, since: u64) {
        let first = self.next_lie;
        self.say_ahead(member, MAX_INTEGER, TurnRequest { since, first }.into());
    }

    fn say_ahead(&mut self, member: NodeIndex, by: u64, body: Body) {
        self.next_lie += 1;
        let mut ahead = draft(self, self.next_lie, None, body);
        ahead.lamport = (ahead.lamport + by).min(MAX_INTEGER);
        if let Some(record) = self.pseudonym(member).and_then(|me| me.sign(ahead).ok()) {
            self.send_records(member, &[record]);
        }
    }

    /// The group key that leads now, as a thief would have it.
    pub fn stolen_key(&self) -> Option<Hand> {
        let key = self.nodes[0].group_key.clone()?;
        Some(Hand::Group(Box::new(key)))
    }

    /// An entry for any place of a chain, signed by whoever has its key.
    pub fn entry(
        &self,
        hand: &Hand,
        at: (u64, RecordId),
        lamport: u64,
        body: Body,
    ) -> Option<Record> {
        let mut entry = draft(self, at.0, Some(at.1), body);
        entry.lamport = lamport;
        match hand {
            Hand::Group(key) => key.sign(entry).ok(),
            Hand::Member(member) => self.pseudonym(*member)?.sign(entry).ok(),
        }
    }

    /// A member tells everybody of these.
    pub fn tell(&mut self, by: NodeIndex, records: &[Record]) {
        for part in records.chunks(16) {
            self.send_records(by, part);
        }
    }

    /// Sends the knock of somebody who left again, word for word.
    pub(crate) fn knock_again(&mut self, by: NodeIndex, knock: &[Record]) {
        if let Some(session) = self.nodes[by].session.as_mut() {
            session.attack_door(knock);
        }
        self.drain(by);
    }
}

/// How often somebody makes a move.
pub const MOVE_EVERY: Duration = Duration::from_millis(500);

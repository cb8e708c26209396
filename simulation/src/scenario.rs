//! Scenarios are data: a circle, a network, people who come and go, and whoever does not keep to the rules.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result};
use rand_core::Rng;
use serde::Deserialize;
use undertone_protocol::record::{AdmissionMode, Record, RouteKind};
use undertone_protocol::session::{Act, Event, Stage};
use undertone_protocol::weakness::Weakness;

use crate::adversary::{Adversary, MOVE_EVERY};
use crate::judge::Violation;
use crate::network::{Network, uniform};
use crate::world::{NodeIndex, Setting, World};

/// The scenarios that come with the program, by name.
pub const ALL: [(&str, &str); 12] = [
    ("calm", include_str!("../scenarios/calm.toml")),
    ("churn", include_str!("../scenarios/churn.toml")),
    ("partition", include_str!("../scenarios/partition.toml")),
    ("forge", include_str!("../scenarios/forge.toml")),
    ("replay", include_str!("../scenarios/replay.toml")),
    (
        "cross-circle",
        include_str!("../scenarios/cross-circle.toml"),
    ),
    ("flood", include_str!("../scenarios/flood.toml")),
    (
        "equivocation",
        include_str!("../scenarios/equivocation.toml"),
    ),
    ("backdating", include_str!("../scenarios/backdating.toml")),
    ("sybils", include_str!("../scenarios/sybils.toml")),
    ("removed", include_str!("../scenarios/removed.toml")),
    ("withheld", include_str!("../scenarios/withheld.toml")),
];

/// One scenario.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence.
    pub about: String,
    /// People who exist.
    pub nodes: usize,
    /// Seats of the circle.
    pub seats: u8,
    /// How long it goes on before everything is mended and looked at.
    pub seconds: u64,
    /// Part of the people who come, go, fall silent or come back in a minute.
    pub churn_per_minute: f64,
    /// Removals in a minute.
    pub removals_per_minute: f64,
    /// Through a relay instead of directly.
    pub relay: bool,
    /// How far wrong clocks are, in minutes either way.
    pub skew_minutes: i64,
    /// For how many seconds of each minute the circle is in two halves.
    pub split_seconds: u64,
    /// Who does not keep to the rules.
    pub adversary: Option<Adversary>,
    /// One-way delay in milliseconds.
    pub delay_ms: u64,
    /// Even spread around it.
    pub jitter_ms: u64,
    /// Added to one delay in fifty.
    pub tail_ms: u64,
    /// Part of the packets that are lost.
    pub loss: f64,
    /// Every so many seconds a node loses everything for `burst_ms`.
    pub burst_every_seconds: u64,
    /// How long a burst of losses is.
    pub burst_ms: u64,
}

/// What one run showed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// From each notice to the last honest peer that the notice could reach at once.
    pub removals: Vec<Duration>,
    /// From the end of trouble until all agreed.
    pub converged: Duration,
    /// Most people inside at once.
    pub inside: usize,
    /// Control messages published.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How long it was, in virtual time.
    pub lasted: Duration,
}

impl Scenario {
    /// Reads one by its name, or from a file.
    ///
    /// # Errors
    /// When there is none, or it is not a scenario.
    pub fn find(name: &str) -> Result<Self> {
        let known = ALL
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, text)| (*text).to_owned());
        let text = match known {
            Some(text) => text,
            None => std::fs::read_to_string(name)
                .with_context(|| format!("there is no scenario and no file called {name}"))?,
        };
        toml::from_str(&text).with_context(|| format!("{name} is not a scenario"))
    }

    fn setting(&self) -> Setting {
        let ms = Duration::from_millis;
        Setting {
            network: Network {
                delay: ms(self.delay_ms),
                jitter: ms(self.jitter_ms),
                tail: ms(self.tail_ms),
                loss: self.loss,
                burst_every: Duration::from_secs(self.burst_every_seconds),
                burst: ms(self.burst_ms),
            },
            route: match self.relay {
                true => RouteKind::Relay,
                false => RouteKind::Direct,
            },
            max_members: self.seats,
            door: match self.adversary {
                Some(Adversary::Sybils) => AdmissionMode::Open,
                _ => AdmissionMode::Approval,
            },
            turn_seconds: 15,
            frame: ms(500),
        }
    }

    /// Plays it once.
    ///
    /// # Errors
    /// The first rule that did not hold.
    pub fn run(&self, seed: u64) -> Result<Outcome, Violation> {
        self.run_without(seed, None)
    }

    /// Plays it with one rule left out of every program.
    ///
    /// # Errors
    /// The first rule that did not hold.
    pub fn run_without(&self, seed: u64, left_out: Option<Weakness>) -> Result<Outcome, Violation> {
        let world = World::found(seed, self.setting());
        let world = world.map_err(|e| Violation::NoTurn(format!("nothing began: {e}")))?;
        let mut play = Play {
            scenario: self,
            world,
            left_out,
            bold: None,
            notices: Vec::new(),
            departed: Vec::new(),
            outcome: Outcome::default(),
        };
        play.gather();
        play.trouble()?;
        play.mend()
    }
}

/// One run.
struct Play<'a> {
    scenario: &'a Scenario,
    world: World,
    left_out: Option<Weakness>,
    /// The member who does not keep to the rules.
    bold: Option<NodeIndex>,
    /// Removals: whom, when.
    notices: Vec<(NodeIndex, Duration)>,
    /// What those who left had knocked with.
    departed: Vec<Vec<Record>>,
    outcome: Outcome,
}

impl Play<'_> {
    fn stage(&self, node: NodeIndex) -> Option<&Stage> {
        self.world.node(node).session().map(|s| s.stage())
    }

    fn inside(&self) -> Vec<NodeIndex> {
        (0..self.world.nodes().len())
            .filter(|n| self.stage(*n) == Some(&Stage::Inside) && !self.world.node(*n).deaf)
            .filter(|n| {
                let circle = self.world.node(0).session().and_then(|s| s.state());
                circle.is_none_or(|s| s.is_admitted(&self.world.node(*n).key()))
            })
            .collect()
    }

    fn chance(&mut self, part: f64) -> bool {
        uniform(&mut self.world.rng) < part
    }

    fn one_of(&mut self, nodes: &[NodeIndex]) -> Option<NodeIndex> {
        let n = nodes.len() as u64;
        (n > 0).then(|| nodes[(self.world.rng.next_u64() % n) as usize])
    }

    fn add(&mut self, sybil: bool) {
        let Ok(index) = self.world.arrive() else {
            return;
        };
        let range = self.scenario.skew_minutes;
        if range > 0 {
            let draw = (self.world.rng.next_u64() % (2 * range as u64 + 1)) as i64;
            self.world.nodes[index].skew = draw - range;
        }
        if sybil {
            self.world.nodes[index].is_sybil = true;
            let key = self.world.node(index).key();
            self.world.judge.is_sybil(key);
        }
    }

    /// Everybody who stands at the door signs; programs lack what they are to lack.
    fn tend(&mut self) {
        for node in 0..self.world.nodes().len() {
            if self.stage(node) == Some(&Stage::AtDoor) {
                let _ = self.world.sign(node);
            }
            if let Some(weakness) = self.left_out
                && let Some(session) = self.world.nodes[node].session.as_mut()
            {
                session.weaken(weakness);
            }
            self.world.judge_state(node);
        }
    }

    fn pass(&mut self, time: Duration) -> Result<(), Violation> {
        let end = self.world.now().at + time;
        while self.world.now().at < end {
            self.world.run_for(Duration::from_millis(250));
            self.tend();
            if let Some(violation) = self.world.judge.violation.clone() {
                return Err(violation);
            }
        }
        Ok(())
    }

    fn gather(&mut self) {
        let _ = self.world.act(0, Act::AutoAdmit(true));
        let _ = self.world.act(0, Act::AutoTurns(true));
        let first = usize::from(self.scenario.seats).min(self.scenario.nodes) - 1;
        for _ in 0..first {
            self.add(false);
        }
    }

    fn trouble(&mut self) -> Result<(), Violation> {
        self.pass(Duration::from_secs(8))?;
        let sybils = self.scenario.adversary == Some(Adversary::Sybils);
        if sybils {
            self.pass(Duration::from_secs(8))?;
            for _ in 0..20 {
                self.add(true);
            }
        }
        self.bold = Some(1);
        if self.scenario.adversary == Some(Adversary::Withhold) {
            let some: BTreeSet<_> = (1..self.scenario.nodes).filter(|n| n % 2 == 1).collect();
            self.world.withheld = Some((0, some));
        }
        let begun = self.world.now().at;
        let mut moves = 0u64;
        while self.world.now().at < begun + Duration::from_secs(self.scenario.seconds) {
            self.pass(MOVE_EVERY)?;
            moves += 1;
            let second = (self.world.now().at - begun).as_secs();
            self.split(second % 60 >= 60 - self.scenario.split_seconds.min(60));
            if moves.is_multiple_of(2) {
                self.live();
            }
            if let Some(adversary) = self.scenario.adversary {
                self.misbehave(adversary, moves);
            }
        }
        Ok(())
    }

    fn split(&mut self, split: bool) {
        for node in 0..self.world.nodes().len() {
            self.world.nodes[node].island = u8::from(split && node % 3 == 1);
        }
    }

    fn misbehave(&mut self, adversary: Adversary, moves: u64) {
        let bold = self.bold.unwrap_or(1);
        if adversary == Adversary::EquivocatingLeader && moves != 30 {
            return; // Once is enough.
        }
        if adversary == Adversary::EquivocatingLeader {
            self.world.judge.rogue = true;
        }
        self.world.misbehave(adversary, bold);
        if adversary == Adversary::Replay
            && let Some(knock) = self.departed.last().cloned()
        {
            self.world.knock_again(bold, &knock);
        }
    }

    /// A second of ordinary life.
    fn live(&mut self) {
        let inside = self.inside();
        self.outcome.inside = self.outcome.inside.max(inside.len());
        let others: Vec<_> = inside
            .iter()
            .copied()
            .filter(|n| *n != 0 && Some(*n) != self.bold)
            .collect();
        if self.chance(0.3)
            && let Some(who) = self.one_of(&others)
        {
            let act = match self.chance(0.5) {
                true => Act::RaiseHand,
                false => Act::Pass,
            };
            let _ = self.world.act(who, act);
        }
        if self.chance(self.scenario.removals_per_minute / 60.0)
            && others.len() >= usize::from(self.scenario.seats) / 4
        {
            self.remove(&others);
        }
        let nodes = self.scenario.nodes as f64;
        let mut events = self.scenario.churn_per_minute * nodes / 60.0;
        while events > 0.0 {
            if self.chance(events.min(1.0)) {
                self.churn(&others);
            }
            events -= 1.0;
        }
    }

    fn remove(&mut self, others: &[NodeIndex]) {
        let Some(who) = self.one_of(others) else {
            return;
        };
        if self.scenario.adversary == Some(Adversary::Removed) {
            self.world.nodes[who].deaf = true;
        }
        let member = self.world.node(who).key();
        let act = Act::Remove {
            member,
            clause: "2".into(),
            minutes: None,
        };
        if self.world.act(0, act).is_ok() {
            self.notices.push((who, self.world.now().at));
        }
    }

    /// Somebody comes, goes, falls silent or comes back.
    fn churn(&mut self, others: &[NodeIndex]) {
        let total = self.world.nodes().len();
        let down: Vec<_> = (1..total)
            .filter(|n| self.world.node(*n).session().is_none())
            .collect();
        let away: Vec<_> = (1..total).filter(|n| self.world.node(*n).cut_off).collect();
        match self.world.rng.next_u64() % 6 {
            0 if total < self.scenario.nodes => self.add(false),
            1 => {
                if let Some(who) = self
                    .one_of(others)
                    .filter(|_| others.len() >= usize::from(self.scenario.seats) / 4)
                {
                    let knock = self.world.nodes[who]
                        .session
                        .as_ref()
                        .map(|s| s.attack_knock());
                    if self.world.act(who, Act::Leave).is_ok() {
                        self.departed.extend(knock);
                    }
                }
            }
            2 => {
                if let Some(who) = self.one_of(others) {
                    self.world.kill(who);
                }
            }
            3 => {
                if let Some(who) = self.one_of(&down) {
                    let _ = self.world.restart(who);
                }
            }
            4 => {
                if let Some(who) = self.one_of(others) {
                    self.world.cut_off(who, true);
                }
            }
            _ => {
                if let Some(who) = self.one_of(&away) {
                    self.world.cut_off(who, false);
                }
            }
        }
    }

    /// Trouble ends: everybody is reachable again, and in the end all agree and turns go on.
    fn mend(mut self) -> Result<Outcome, Violation> {
        self.split(false);
        self.world.withheld = None;
        for node in 0..self.world.nodes().len() {
            self.world.cut_off(node, false);
            if self.world.node(node).session().is_none() && !self.world.node(node).deaf {
                let _ = self.world.restart(node);
            }
        }
        if self.scenario.adversary == Some(Adversary::EquivocatingLeader) {
            self.world.succeed(0);
        }
        let mended = self.world.now().at;
        let limit = Duration::from_secs(75);
        while self.world.now().at < mended + limit && !self.agree() {
            self.pass(Duration::from_secs(1))?;
        }
        self.outcome.converged = self.world.now().at - mended;
        if !self.agree() {
            return Err(Violation::Diverged(self.strays()));
        }
        self.measure_removals();
        self.take_turns()?;
        self.outcome.messages = self.world.traffic.messages;
        self.outcome.bytes = self.world.traffic.bytes;
        self.outcome.lasted = self.world.now().at;
        Ok(self.outcome)
    }

    /// Whether all who are in, by the leader's word, are there and see the same circle. Whoever was removed
    /// while out of reach does not count: nobody talks to them any more.
    fn agree(&self) -> bool {
        let Some(circle) = self.world.node(0).session().and_then(|s| s.state()) else {
            return false;
        };
        let digest = circle.digest();
        (0..self.world.nodes().len()).all(|n| {
            let node = self.world.node(n);
            let state = node.session().and_then(|s| s.state());
            let agrees = state.is_some_and(|s| s.digest() == digest);
            let is_here = self.stage(n) == Some(&Stage::Inside) && agrees;
            !circle.is_admitted(&node.key()) || node.deaf || is_here || self.has_ended(n)
        })
    }

    /// Whoever is in, by the leader's word, and sees another circle.
    fn strays(&self) -> Vec<NodeIndex> {
        let digest = |n: NodeIndex| {
            let state = self.world.node(n).session().and_then(|s| s.state());
            state.map(|s| s.digest())
        };
        let state = self.world.node(0).session().and_then(|s| s.state());
        let is_in =
            |n: &NodeIndex| state.is_some_and(|s| s.is_admitted(&self.world.node(*n).key()));
        let all = 0..self.world.nodes().len();
        all.filter(|n| is_in(n) && digest(*n) != digest(0))
            .collect()
    }

    fn has_ended(&self, node: NodeIndex) -> bool {
        matches!(self.stage(node), Some(Stage::Out(_)) | None)
    }

    /// From each notice to the last peer who was there all the while.
    fn measure_removals(&mut self) {
        for (who, at) in self.notices.clone() {
            let event = Event::RemovalEnforced(self.world.node(who).key());
            let soon = at + Duration::from_secs(5);
            let times = self.inside().into_iter().filter_map(|n| {
                let when = self.world.node(n).first(&event)?;
                (when >= at && when < soon).then(|| when - at)
            });
            self.outcome.removals.extend(times.max());
        }
    }

    /// Somebody asks for a turn, gets it, and is heard by everybody.
    fn take_turns(&mut self) -> Result<(), Violation> {
        // Whoever has the turn now has nothing to ask for; when it ends, each sees a little differently.
        let takes = |play: &Self, n: NodeIndex| {
            let key = play.world.node(n).key();
            let state = play.world.node(n).session().and_then(|s| s.state());
            let role = state.and_then(|s| s.member(&key)).map(|m| m.role);
            let has_turn = play.inside().into_iter().any(|seen_by| {
                let state = play.world.node(seen_by).session().and_then(|s| s.state());
                state
                    .and_then(|s| s.turn())
                    .is_some_and(|t| t.holder == key)
            });
            role.is_some_and(|r| r.takes_turns()) && !has_turn
        };
        let others: Vec<_> = self
            .inside()
            .into_iter()
            .filter(|n| *n != 0 && takes(self, *n))
            .collect();
        let Some(who) = self.one_of(&others) else {
            return Ok(());
        };
        let key = self.world.node(who).key();
        let _ = self.world.act(0, Act::AutoTurns(true));
        let _ = self.world.act(0, Act::Freeze(false));
        if let Err(error) = self.world.act(who, Act::RaiseHand) {
            return Err(Violation::NoTurn(format!(
                "node {who} cannot raise a hand: {error}"
            )));
        }
        // Everybody before in the queue has fifteen seconds.
        let limit = Duration::from_secs(20 * self.outcome.inside.max(2) as u64);
        let asked = self.world.now().at;
        while self.world.now().at < asked + limit {
            self.pass(Duration::from_secs(1))?;
            let heard = |n: &NodeIndex| {
                *n == who
                    || self
                        .world
                        .node(*n)
                        .heard
                        .get(&key)
                        .is_some_and(|at| *at > asked)
            };
            if self.inside().iter().all(heard) {
                return Ok(());
            }
        }
        Err(Violation::NoTurn(format!("node {who} is not heard by all")))
    }
}

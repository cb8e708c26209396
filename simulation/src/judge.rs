//! Who knows what everybody really did, and checks at every step that the rules hold.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use undertone_protocol::id::{PublicKey, RecordId};
use undertone_protocol::session::{Act, Stage};

use crate::world::{NodeIndex, World};

/// Without word from the leader for so long, nobody may give keys out. A little more than the rule, since
/// messages take time.
const UNVERIFIED_AFTER: Duration = Duration::from_secs(130);
/// How long after a removal the circle key may still be the old one, at a node the leader reaches.
const REKEY_WITHIN: Duration = Duration::from_secs(20);
/// How long somebody may be held removed whom nobody who leads removed.
const SUSPECT_FOR: Duration = Duration::from_secs(20);
/// How much may be kept that is not in force: waiting entries, pledges, people at the door, refusals.
const MOST_PENDING: usize = 256 + 64 + 16 + 256;

/// A rule that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Somebody is in whom nobody could have let in.
    #[error("at {at:?} node {node} takes for a member somebody who never came")]
    Stranger {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody came through an open door without the puzzle.
    #[error("at {at:?} node {node} lets in somebody who did not solve the puzzle")]
    Sybil {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody is removed whom nobody who leads removed.
    #[error("at {at:?} node {node} holds somebody removed whom nobody who leads removed")]
    Unauthorised {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody vanished who neither left nor was removed.
    #[error("at {at:?} somebody vanished at node {node} who neither left nor was removed")]
    Vanished {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody who was gone is back by the same join record.
    #[error("at {at:?} somebody is back at node {node} who did not come again")]
    Ghost {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// A removal that was in force is no longer.
    #[error("at {at:?} node {node} lost a removal")]
    RemovalLost {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody is heard who is out.
    #[error("at {at:?} node {node} hears somebody who is out")]
    HeardOutside {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody who is out can open what is sent now.
    #[error("at {at:?} node {node} seals with a voice key that somebody holds who is out")]
    VoiceKeyOutside {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Somebody who is out can read what is said now.
    #[error("at {at:?} node {node} seals with a circle key that somebody holds who is out")]
    CircleKeyOutside {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// Keys were given out though no notice could have arrived.
    #[error("at {at:?} node {node} gave its key out without word from the leader")]
    Unverified {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
    },
    /// More is kept than any rule allows.
    #[error("at {at:?} node {node} keeps {pending} records that nothing rests on")]
    Unbounded {
        /// Where.
        node: NodeIndex,
        /// When.
        at: Duration,
        /// How many.
        pending: usize,
    },
    /// In the end not all agree.
    #[error("in the end nodes {0:?} do not agree")]
    Diverged(Vec<NodeIndex>),
    /// In the end somebody does not get a turn, or is not heard.
    #[error("in the end {0}")]
    NoTurn(String),
}

/// What everybody really did.
#[derive(Debug, Default)]
pub struct Judge {
    people: BTreeMap<PublicKey, Person>,
    /// Removed by somebody who leads: it may stand.
    removed: BTreeSet<PublicKey>,
    /// The last authority could not be trusted: its removals are not judged.
    pub rogue: bool,
    nodes: BTreeMap<NodeIndex, Watch>,
    /// The first rule that did not hold.
    pub violation: Option<Violation>,
}

#[derive(Debug, Default)]
struct Person {
    left: bool,
    is_sybil: bool,
}

/// What was seen of one node's state so far.
#[derive(Debug, Default)]
struct Watch {
    members: BTreeMap<PublicKey, RecordId>,
    gone: BTreeSet<(PublicKey, RecordId)>,
    enforced: BTreeMap<PublicKey, Duration>,
    /// Removed here, though nobody who leads did it: since when.
    suspect: BTreeMap<PublicKey, Duration>,
    audience: BTreeSet<PublicKey>,
    events: usize,
    runs: u64,
    digest: u64,
}

impl Judge {
    /// Somebody exists who may come.
    pub fn knows(&mut self, key: PublicKey) {
        self.people.entry(key).or_default();
    }
    /// Somebody is a sybil.
    pub fn is_sybil(&mut self, key: PublicKey) {
        self.people.entry(key).or_default().is_sybil = true;
    }
    /// Somebody who leads removes somebody.
    pub fn allows_removal(&mut self, key: PublicKey) {
        self.removed.insert(key);
    }
    fn broken(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }
}

impl World {
    pub(crate) fn judge_act(&mut self, index: NodeIndex, act: &Act) {
        let key = self.nodes[index].key();
        let leads = |s: &undertone_protocol::session::Session| s.view(self.now()).leading;
        let leading = self.nodes[index].session.as_ref().is_some_and(leads);
        match act {
            Act::Leave | Act::Erase => self.judge.people.entry(key).or_default().left = true,
            Act::Remove { member, .. } if leading => {
                self.judge.removed.insert(*member);
            }
            Act::Reinstate(member) if leading => {
                self.judge.removed.remove(member);
                for watch in self.judge.nodes.values_mut() {
                    watch.enforced.remove(member);
                }
            }
            _ => {}
        }
    }

    /// Looks at one node's state, after something happened to it.
    pub(crate) fn judge_state(&mut self, index: NodeIndex) {
        let (at, node) = (self.now, index);
        let Some(session) = self.nodes[index]
            .session
            .as_ref()
            .filter(|_| !self.nodes[index].deaf)
        else {
            return;
        };
        let Some(state) = session.state() else {
            return;
        };
        let watch = self.judge.nodes.entry(index).or_default();
        if watch.runs != self.nodes[index].runs {
            // It forgot what was not stored; what it enforced is stored.
            let enforced = std::mem::take(&mut watch.enforced);
            let gone = std::mem::take(&mut watch.gone);
            *watch = Watch {
                enforced,
                gone,
                runs: self.nodes[index].runs,
                ..Watch::default()
            };
        }
        let seen = self.nodes[index].seen.len();
        let mut changed = watch.events != seen;
        watch.events = seen;
        let pending = state.pending();
        if pending > MOST_PENDING {
            self.judge
                .broken(Violation::Unbounded { node, at, pending });
            return;
        }
        let digest = state
            .digest()
            .first_chunk()
            .map_or(0, |b| u64::from_be_bytes(*b));
        changed |= watch.digest != digest;
        changed |= !watch.suspect.is_empty();
        if !changed || *session.stage() != Stage::Inside {
            return;
        }
        watch.digest = digest;
        // A deposed co-leader's notice may turn out void; what the leader signed is never lost.
        let leader = self.nodes[0].group_key.as_ref().map(|k| k.public_key());
        let mut removed = BTreeSet::new();
        for (key, removal) in state.removed() {
            removed.insert(key);
            if Some(removal.notice.author()) == leader && self.judge.removed.contains(&key) {
                watch.enforced.entry(key).or_insert(at);
            }
        }
        watch.suspect.retain(|key, _| removed.contains(key));
        let members: BTreeMap<_, _> = state.members().map(|(k, m)| (*k, m.join.id())).collect();
        let mut broken = None;
        for (key, join) in &members {
            let person = self.judge.people.get(key);
            if person.is_none() {
                broken = Some(Violation::Stranger { node, at });
            } else if person.is_some_and(|p| p.is_sybil) {
                broken = Some(Violation::Sybil { node, at });
            } else if watch.enforced.contains_key(key) {
                broken = Some(Violation::RemovalLost { node, at });
            } else if !self.judge.rogue && watch.gone.contains(&(*key, *join)) {
                broken = Some(Violation::Ghost { node, at });
            }
        }
        let rogue = self.judge.rogue;
        for key in removed
            .iter()
            .filter(|key| !self.judge.removed.contains(key))
        {
            // Somebody who catches up may read what a deposed co-leader signed before reading that they were
            // deposed.
            let since = *watch.suspect.entry(*key).or_insert(at);
            if !rogue && at > since + SUSPECT_FOR {
                broken = Some(Violation::Unauthorised { node, at });
            }
        }
        let gone: Vec<_> = watch
            .members
            .iter()
            .filter(|(k, j)| members.get(k) != Some(j))
            .collect();
        for (key, _) in &gone {
            let left = self.judge.people.get(key).is_some_and(|p| p.left);
            let known = left || self.judge.removed.contains(key) || removed.contains(key);
            if !rogue && !known && !members.contains_key(key) {
                broken = Some(Violation::Vanished { node, at });
            }
        }
        // Whoever seems removed by somebody without authority may be back when that is known, though they have
        // left, or were removed elsewhere by the leader: this node need not know of that yet.
        let for_good = |key: &PublicKey| {
            let left = self.judge.people.get(key).is_some_and(|p| p.left);
            let seems_removed = removed.contains(key) && !watch.enforced.contains_key(key);
            !seems_removed && (left || self.judge.removed.contains(key))
        };
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|(key, _)| for_good(key))
            .map(|(key, join)| (*key, *join))
            .collect();
        watch.gone.extend(gone);
        watch.members = members;
        if let Some(violation) = broken {
            self.judge.broken(violation);
        }
    }

    pub(crate) fn judge_play(&mut self, index: NodeIndex, member: &PublicKey) {
        let state = self.nodes[index].session.as_ref().and_then(|s| s.state());
        let is_in = state.is_some_and(|s| s.is_admitted(member) && !s.is_removed(member));
        let watch = self.judge.nodes.entry(index).or_default();
        if !is_in || watch.enforced.contains_key(member) {
            let at = self.now;
            self.judge
                .broken(Violation::HeardOutside { node: index, at });
        }
    }

    /// A voice packet goes out: nobody may hold its key who is out.
    pub(crate) fn judge_send(&mut self, index: NodeIndex) {
        let Some(session) = self.nodes[index]
            .session
            .as_ref()
            .filter(|_| !self.nodes[index].deaf)
        else {
            return;
        };
        let Some(state) = session.state() else {
            return;
        };
        let outside = session.voice_audience().any(|key| !state.is_admitted(key));
        if outside {
            let at = self.now;
            self.judge
                .broken(Violation::VoiceKeyOutside { node: index, at });
        }
    }

    /// A control message goes out.
    pub(crate) fn judge_publish(&mut self, index: NodeIndex) {
        let (at, node) = (self.now, index);
        let Some(session) = self.nodes[index]
            .session
            .as_ref()
            .filter(|_| !self.nodes[index].deaf)
        else {
            return;
        };
        let Some(state) = session.state() else {
            return;
        };
        let audience: BTreeSet<_> = session.voice_audience().copied().collect();
        let removed = session.epoch_audience();
        let removed = removed.iter().filter(|key| state.is_removed(key));
        let leading = session.view(self.now()).leading;
        let (led, led_from) = (self.nodes[index].led, self.nodes[index].led_from);
        // Nobody talks to somebody removed who was out of reach: they go on with the key they have.
        let is_out = self.judge.removed.contains(&self.nodes[index].key());
        let watch = self.judge.nodes.entry(index).or_default();
        // Whoever leads changes the key in the same breath; the others when it reaches them.
        let late = removed
            .filter_map(|key| watch.enforced.get(key))
            .any(|since| {
                let from = led_from.max(*since);
                leading || (at > from + REKEY_WITHIN && at < led + REKEY_WITHIN)
            });
        let grown = audience.difference(&watch.audience).next().is_some();
        let unverified = grown && !leading && index != 0 && at > led + UNVERIFIED_AFTER;
        watch.audience = audience;
        if late && !is_out && !self.judge.rogue {
            self.judge.broken(Violation::CircleKeyOutside { node, at });
        }
        if unverified && !self.judge.rogue {
            self.judge.broken(Violation::Unverified { node, at });
        }
    }
}

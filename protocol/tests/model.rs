//! A small model of a circle beside the real state, on random decisions of a leader and co-leaders who all see
//! the same: after each, both say the same of who is in, who is out, and how things are done.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use undertone_protocol::circle::{CircleState, policy};
use undertone_protocol::id::{CircleId, Nonce, RecordId};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::record::*;
use undertone_protocol::session::{Founding, Now};
use undertone_protocol::texts;

const MINUTE: u64 = 29_000_000;
const SEATS: usize = 4;
const PEOPLE: usize = 7;

/// What somebody tries. Persons are numbers; 0 leads.
#[derive(Debug, Clone, Copy)]
enum Try {
    Knock(usize),
    Admit(usize, usize),
    Remove(usize, usize),
    Reinstate(usize, usize),
    Leave(usize),
    Delegate(usize, usize),
    Revoke(usize, usize),
    Freeze(usize, bool),
    Door(usize, bool),
    Turns(usize, bool),
    Mute(usize, usize, bool),
    Close(usize),
}

fn tries() -> impl Strategy<Value = Try> {
    let who = 0..PEOPLE;
    let lead = 0..3usize;
    prop_oneof![
        6 => who.clone().prop_map(Try::Knock),
        6 => (lead.clone(), who.clone()).prop_map(|(by, p)| Try::Admit(by, p)),
        3 => (lead.clone(), who.clone()).prop_map(|(by, p)| Try::Remove(by, p)),
        2 => (lead.clone(), who.clone()).prop_map(|(by, p)| Try::Reinstate(by, p)),
        3 => who.clone().prop_map(Try::Leave),
        2 => (lead.clone(), who.clone()).prop_map(|(by, p)| Try::Delegate(by, p)),
        1 => (lead.clone(), who.clone()).prop_map(|(by, p)| Try::Revoke(by, p)),
        1 => (lead.clone(), any::<bool>()).prop_map(|(by, on)| Try::Freeze(by, on)),
        1 => (lead.clone(), any::<bool>()).prop_map(|(by, on)| Try::Door(by, on)),
        1 => (lead.clone(), any::<bool>()).prop_map(|(by, on)| Try::Turns(by, on)),
        2 => (lead.clone(), who, any::<bool>()).prop_map(|(by, p, on)| Try::Mute(by, p, on)),
        1 => (lead, 0..12usize).prop_map(|(by, n)| match n {
            0 => Try::Close(by),
            _ => Try::Freeze(by, false),
        }),
    ]
}

/// The circle in the plainest words there are.
#[derive(Debug, Default)]
struct Model {
    inside: BTreeSet<usize>,
    knocking: BTreeSet<usize>,
    /// Removed by whom, how often.
    removed: BTreeMap<usize, Vec<usize>>,
    co_leaders: BTreeSet<usize>,
    once_co_leaders: BTreeSet<usize>,
    once_removed: BTreeSet<usize>,
    muted: BTreeSet<usize>,
    frozen: bool,
    door_closed: bool,
    passive: bool,
    closed: bool,
}

impl Model {
    fn leads(&self, by: usize) -> bool {
        by == 0 || (self.co_leaders.contains(&by) && self.inside.contains(&by))
    }
    fn is_removed(&self, person: usize) -> bool {
        self.removed.contains_key(&person)
    }
    /// Whether it is possible; if so, it is done.
    fn take(&mut self, what: Try) -> bool {
        let by = match what {
            Try::Knock(_) | Try::Leave(_) => 0,
            Try::Admit(by, _)
            | Try::Remove(by, _)
            | Try::Reinstate(by, _)
            | Try::Delegate(by, _)
            | Try::Revoke(by, _)
            | Try::Freeze(by, _)
            | Try::Door(by, _)
            | Try::Turns(by, _)
            | Try::Mute(by, _, _)
            | Try::Close(by) => by,
        };
        if !self.leads(by) {
            return false;
        }
        match what {
            Try::Leave(p) => return p != 0 && self.inside.remove(&p),
            Try::Knock(p) => {
                let may = !self.is_removed(p) && !self.door_closed && !self.closed;
                let new = may && !self.inside.contains(&p);
                if new {
                    self.knocking.insert(p);
                }
                return new;
            }
            _ if self.closed => return false,
            Try::Admit(_, p) => {
                let fits = self.knocking.contains(&p) && self.inside.len() < SEATS;
                let may = fits && !self.is_removed(p) && !self.inside.contains(&p);
                if may {
                    self.knocking.remove(&p);
                    self.inside.insert(p);
                }
                return may;
            }
            Try::Remove(by, p) => {
                if p == 0 {
                    return false;
                }
                self.removed.entry(p).or_default().push(by);
                self.once_removed.insert(p);
                self.inside.remove(&p);
                self.knocking.remove(&p);
                self.co_leaders.remove(&p);
            }
            Try::Reinstate(by, p) => {
                let Some(notices) = self.removed.get_mut(&p) else {
                    return false;
                };
                notices.retain(|of| by != 0 && *of != by);
                if notices.is_empty() {
                    self.removed.remove(&p);
                }
            }
            Try::Delegate(by, p) => {
                let may = by == 0 && p != 0 && self.inside.contains(&p);
                let may = may && !self.once_removed.contains(&p) && self.once_co_leaders.insert(p);
                if may {
                    self.co_leaders.insert(p);
                }
                return may;
            }
            Try::Revoke(by, p) => return by == 0 && self.co_leaders.remove(&p),
            Try::Freeze(_, on) => self.frozen = on,
            Try::Door(_, open) => self.door_closed = !open,
            Try::Turns(_, passive) => self.passive = passive,
            Try::Mute(_, p, on) => {
                let may = p != 0 && self.inside.contains(&p);
                match on {
                    true if may => drop(self.muted.insert(p)),
                    false if may => drop(self.muted.remove(&p)),
                    _ => {}
                }
                return may;
            }
            Try::Close(by) => {
                self.closed |= by == 0;
                return by == 0;
            }
        }
        true
    }
}

/// The real state, driven by signed records.
struct Real {
    circle: CircleId,
    group_key: GroupKey,
    people: Vec<Pseudonym>,
    state: CircleState,
    seq: u64,
    /// Every notice against somebody: by whom.
    notices: BTreeMap<usize, Vec<(usize, RecordId)>>,
}

impl Real {
    fn new() -> Self {
        let group_key = GroupKey::from_secret(&Secret::from_bytes([1; 32]));
        let recovery = GroupKey::from_secret(&Secret::from_bytes([2; 32]));
        let people: Vec<_> = (0..PEOPLE as u8)
            .map(|n| RootSeed::new(Secret::from_bytes([10 + n; 32])))
            .map(|root| root.pseudonym(&Nonce::from_bytes([0; 16]), 0))
            .collect();
        let founding = Founding {
            topic: "loss".into(),
            title: "Evening".into(),
            language: "en".into(),
            admission: AdmissionMode::Approval,
            max_members: SEATS as u8,
            turn_seconds: 60,
            floor: FloorMode::Active,
            puzzle: PuzzleCost::USUAL,
            schedule: None,
            listener_welcome: true,
            route: RouteKind::Relay,
            pace: Pace::Usual,
            recovery_key: recovery.public_key(),
            name: "Leader".into(),
            nonce: Nonce::from_bytes([1; 16]),
        };
        let now = Now {
            at: std::time::Duration::ZERO,
            minute: MINUTE,
        };
        let leader = people[0].public_key();
        let charter = founding.charter(&group_key, leader, now).unwrap();
        Self {
            circle: charter.founds().unwrap(),
            group_key,
            people,
            state: CircleState::new(&charter).unwrap(),
            seq: 0,
            notices: BTreeMap::new(),
        }
    }

    fn own(&mut self, person: usize, body: impl Into<Body>) -> (RecordId, bool) {
        self.seq += 1;
        let record = self.people[person].sign(Draft {
            circle: self.circle,
            seq: self.seq,
            prev: None,
            lamport: self.state.lamport() + 1,
            created: MINUTE,
            valid_minutes: 1_000,
            body: body.into(),
        });
        let record = record.unwrap();
        (record.id(), self.state.apply(&record).is_ok())
    }

    fn decide(&mut self, by: usize, body: impl Into<Body>) -> Option<RecordId> {
        let author = match by {
            0 => self.group_key.public_key(),
            n => self.people[n].public_key(),
        };
        let (seq, prev) = self.state.powers().of(&author)?.head();
        let draft = Draft {
            circle: self.circle,
            seq: seq + 1,
            prev: Some(prev),
            lamport: self.state.lamport() + 1,
            created: MINUTE,
            valid_minutes: 1_000,
            body: body.into(),
        };
        let record = match by {
            0 => self.group_key.sign(draft),
            n => self.people[n].sign(draft),
        };
        let record = record.unwrap();
        policy::check_decision(&self.state, &record).ok()?;
        self.state.apply(&record).unwrap();
        Some(record.id())
    }

    fn take(&mut self, what: Try) -> bool {
        let key = |real: &Self, p: usize| real.people[p].public_key();
        match what {
            Try::Knock(p) => {
                if self.state.is_admitted(&key(self, p)) {
                    return false;
                }
                let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
                let texts = texts::hash();
                let (pledge, _) = self.own(p, Pledge { texts, accepted });
                let join = Join {
                    name: format!("Person {p}"),
                    sealing_key: self.people[p].sealing_key(),
                    pledge,
                    invite: None,
                    puzzle: None,
                };
                self.own(p, join).1
            }
            Try::Admit(by, p) => {
                let subject = key(self, p);
                let applicant = self.state.applicants().find(|(k, _)| **k == subject);
                let Some(join) = applicant.map(|(_, a)| a.join.id()) else {
                    return false;
                };
                let role = match p {
                    0 => Role::Leader,
                    _ => Role::Participant,
                };
                self.decide(
                    by,
                    Admission {
                        subject,
                        role,
                        join,
                    },
                )
                .is_some()
            }
            Try::Remove(by, p) => {
                let subject = key(self, p);
                let cut = self.state.powers().of(&subject).map(|power| {
                    let (seq, id) = power.head();
                    Cut { seq, id }
                });
                let (clause, until) = ("2".into(), None);
                let notice = self.decide(
                    by,
                    Removal {
                        subject,
                        clause,
                        until,
                        cut,
                    },
                );
                let noted = notice.map(|id| self.notices.entry(p).or_default().push((by, id)));
                noted.is_some()
            }
            Try::Reinstate(by, p) => {
                if !self.state.is_removed(&key(self, p)) {
                    return false;
                }
                for (_, removal) in self.notices.get(&p).cloned().unwrap_or_default() {
                    if self.decide(by, Reinstatement { removal }).is_none() {
                        return false;
                    }
                }
                true
            }
            Try::Leave(p) => {
                let join = self.state.member(&key(self, p)).map(|m| m.join.id());
                p != 0 && join.is_some_and(|join| self.own(p, Leave { join }).1)
            }
            Try::Delegate(by, p) => {
                let (subject, role) = (key(self, p), Role::CoLeader);
                self.decide(by, Delegation { subject, role }).is_some()
            }
            Try::Revoke(by, p) => {
                let subject = key(self, p);
                let head = self.state.powers().of(&subject).map(|power| power.head());
                let Some((seq, id)) = head else {
                    return false;
                };
                let cut = Cut { seq, id };
                self.decide(by, Revocation { subject, cut }).is_some()
            }
            Try::Freeze(by, on) => self.decide(by, Freeze { on }).is_some(),
            Try::Door(by, open) => self.decide(by, Door { open }).is_some(),
            Try::Turns(by, passive) => {
                let floor = match passive {
                    true => FloorMode::Passive,
                    false => FloorMode::Active,
                };
                self.decide(by, Mode { floor }).is_some()
            }
            Try::Mute(by, p, on) => {
                let until = if on { MINUTE + 9 } else { 0 };
                let subject = key(self, p);
                self.decide(by, Mute { subject, until }).is_some()
            }
            Try::Close(by) => self.decide(by, Close {}).is_some(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_state_is_what_a_plain_model_says(all in prop::collection::vec(tries(), 1..80)) {
        let (mut model, mut real) = (Model::default(), Real::new());
        for first in [Try::Knock(0), Try::Admit(0, 0)] {
            prop_assert!(model.take(first) && real.take(first));
        }
        for what in all {
            let (expected, happened) = (model.take(what), real.take(what));
            prop_assert_eq!(expected, happened, "{:?} in {:?}", what, model);
            let state = &real.state;
            for (n, person) in real.people.iter().enumerate() {
                let key = person.public_key();
                prop_assert_eq!(state.is_admitted(&key), model.inside.contains(&n), "{:?}: in {}", what, n);
                prop_assert_eq!(state.is_removed(&key), model.is_removed(n), "{:?}: out {}", what, n);
                let is_muted = state.muted_until(&key).is_some_and(|until| until > MINUTE);
                prop_assert_eq!(is_muted, model.muted.contains(&n), "{:?}: muted {}", what, n);
                prop_assert_eq!(n == 0 || state.leads(&key), model.leads(n), "{:?}: leads {}", what, n);
            }
            prop_assert_eq!(state.is_frozen(), model.frozen);
            prop_assert_eq!(state.is_closed(), model.closed);
            prop_assert_eq!(state.is_door_open(), !model.door_closed && !model.closed);
            prop_assert_eq!(state.floor_mode() == FloorMode::Passive, model.passive);
        }
    }
}

/// A removal leaves nothing of a co-leader's chain, whenever it was: so it is not delegated in vain.
#[test]
fn nobody_is_delegated_in_vain() {
    let (mut model, mut real) = (Model::default(), Real::new());
    for (what, possible) in [
        (Try::Knock(0), true),
        (Try::Admit(0, 0), true),
        (Try::Remove(0, 4), true),
        (Try::Reinstate(0, 4), true),
        (Try::Knock(4), true),
        (Try::Admit(0, 4), true),
        (Try::Delegate(0, 4), false),
    ] {
        assert_eq!((model.take(what), real.take(what)), (possible, possible));
    }
}

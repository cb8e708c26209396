//! The state of a circle does not depend on the order in which records come, whoever quarrels, vanishes or
//! cheats; and nobody without authority has any effect.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use undertone_protocol::circle::{Applied, CircleState};
use undertone_protocol::id::{CircleId, Nonce, PublicKey, RecordId};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym, RootSeed, Secret};
use undertone_protocol::record::*;
use undertone_protocol::session::{Founding, Now};
use undertone_protocol::texts;

const MINUTE: u64 = 29_000_000;

fn pick(rng: &mut ChaCha20Rng, below: usize) -> usize {
    (rng.next_u64() % below as u64) as usize
}

enum Key<'a> {
    Group(&'a GroupKey),
    Person(&'a Pseudonym),
}

impl Key<'_> {
    fn public(&self) -> PublicKey {
        match self {
            Key::Group(key) => key.public_key(),
            Key::Person(person) => person.public_key(),
        }
    }
    fn sign(&self, draft: Draft) -> Option<Record> {
        match self {
            Key::Group(key) => key.sign(draft).ok(),
            Key::Person(person) => person.sign(draft).ok(),
        }
    }
}

/// People who each know what they know, and now and then tell one another.
struct History {
    rng: ChaCha20Rng,
    circle: CircleId,
    founding: Record,
    group: Vec<GroupKey>,
    recovery: GroupKey,
    people: Vec<Pseudonym>,
    /// What the leader and each co-leader have seen.
    sites: Vec<CircleState>,
    said: Vec<Record>,
    seq: u64,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let group = vec![
            GroupKey::from_secret(&Secret::random(&mut rng)),
            GroupKey::from_secret(&Secret::random(&mut rng)),
        ];
        let recovery = GroupKey::from_secret(&Secret::random(&mut rng));
        let people: Vec<_> = (0..8)
            .map(|_| {
                RootSeed::new(Secret::random(&mut rng)).pseudonym(&Nonce::from_bytes([0; 16]), 0)
            })
            .collect();
        let founding = Founding {
            topic: "loss".into(),
            title: "Evening".into(),
            language: "en".into(),
            admission: AdmissionMode::Approval,
            max_members: 5,
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
        let founding = founding
            .charter(&group[0], people[0].public_key(), now)
            .unwrap();
        let state = CircleState::new(&founding).unwrap();
        let mut history = Self {
            rng,
            circle: founding.founds().unwrap(),
            founding,
            group,
            recovery,
            people,
            sites: vec![state; 3],
            said: Vec::new(),
            seq: 0,
        };
        history.knock(0);
        history.sync();
        history.admit(0, 0, Role::Leader);
        history
    }

    fn say(&mut self, site: usize, record: Record) {
        let _ = self.sites[site].apply(&record);
        self.said.push(record);
    }

    fn sync(&mut self) {
        for state in &mut self.sites {
            // What waits for something else is heard again.
            for _ in 0..3 {
                for record in &self.said {
                    let _ = state.apply(record);
                }
            }
        }
    }

    fn draft(&mut self, site: usize, body: Body, chain: Option<(u64, RecordId)>) -> Draft {
        self.seq += 1;
        let state = &self.sites[site];
        Draft {
            circle: self.circle,
            seq: chain.map_or(self.seq, |(seq, _)| seq + 1),
            prev: chain.map(|(_, id)| id),
            lamport: state.lamport() + 1,
            created: MINUTE,
            valid_minutes: 1_000,
            body,
        }
    }

    /// Whoever decides at a site: the leading key, or a co-leader.
    fn hand(&self, site: usize) -> Key<'_> {
        match site {
            0 => {
                let leading = self.sites[0].powers().leading_key();
                let key = self.group.iter().find(|k| k.public_key() == leading);
                Key::Group(key.unwrap_or(&self.group[0]))
            }
            n => Key::Person(&self.people[n]),
        }
    }

    fn decide(&mut self, site: usize, body: impl Into<Body>) {
        let author = self.hand(site).public();
        let head = self.sites[site].powers().of(&author).map(|p| p.head());
        let head = head.unwrap_or((0, self.founding.id()));
        let mut draft = self.draft(site, body.into(), Some(head));
        if pick(&mut self.rng, 12) == 0 {
            draft.lamport = draft.lamport.saturating_sub(5); // Backdated.
        }
        if let Some(record) = self.hand(site).sign(draft) {
            self.say(site, record);
        }
    }

    fn knock(&mut self, person: usize) {
        let site = pick(&mut self.rng, self.sites.len());
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let pledge = Pledge {
            texts: texts::hash(),
            accepted,
        };
        let draft = self.draft(site, pledge.into(), None);
        let pledge = self.people[person].sign(draft).unwrap();
        let join = Join {
            name: format!("Person {person}"),
            sealing_key: self.people[person].sealing_key(),
            pledge: pledge.id(),
            invite: None,
            puzzle: None,
        };
        let draft = self.draft(site, join.into(), None);
        let join = self.people[person].sign(draft).unwrap();
        for record in [pledge, join] {
            self.say(site, record);
        }
    }

    fn admit(&mut self, site: usize, person: usize, role: Role) {
        let subject = self.people[person].public_key();
        let joins: Vec<_> = self
            .said
            .iter()
            .filter(|r| r.author() == subject && matches!(r.body(), Body::Join(_)))
            .map(Record::id)
            .collect();
        if let Some(join) = joins.last().copied() {
            self.decide(
                site,
                Admission {
                    subject,
                    role,
                    join,
                },
            );
        }
    }

    fn step(&mut self) {
        let site = pick(&mut self.rng, self.sites.len());
        let person = pick(&mut self.rng, self.people.len());
        let subject = self.people[person].public_key();
        let on = pick(&mut self.rng, 2) == 0;
        let cut = self.sites[site].powers().of(&subject).map(|p| {
            let (seq, id) = p.head();
            Cut { seq, id }
        });
        match pick(&mut self.rng, 26) {
            0..=3 => self.knock(person),
            4..=7 => self.admit(site, person, Role::Participant),
            8 | 9 => {
                let until = on.then_some(MINUTE);
                let clause = "2".into();
                self.decide(
                    site,
                    Removal {
                        subject,
                        clause,
                        until,
                        cut,
                    },
                );
            }
            10 => {
                let removals: Vec<_> = self
                    .said
                    .iter()
                    .filter(|r| matches!(r.body(), Body::Removal(_)))
                    .map(Record::id)
                    .collect();
                if !removals.is_empty() {
                    let removal = removals[pick(&mut self.rng, removals.len())];
                    self.decide(site, Reinstatement { removal });
                }
            }
            11 | 12 => {
                let co_leader = 1 + pick(&mut self.rng, 2);
                let subject = self.people[co_leader].public_key();
                self.decide(
                    0,
                    Delegation {
                        subject,
                        role: Role::CoLeader,
                    },
                );
            }
            13 => {
                if let Some(cut) = cut {
                    self.decide(0, Revocation { subject, cut });
                }
            }
            14 => self.decide(
                site,
                Mute {
                    subject,
                    until: MINUTE + 9,
                },
            ),
            15 => self.decide(site, Freeze { on }),
            16 => self.decide(site, Door { open: on }),
            17 | 18 => {
                let number = self.sites[site].epoch_number() + 1;
                let members: Vec<_> = self.sites[site].members().map(|(k, _)| *k).collect();
                let sealed = members
                    .into_iter()
                    .map(|member| SealedTo {
                        member,
                        secret: vec![7; 80],
                    })
                    .collect();
                self.decide(site, Epoch { number, sealed });
            }
            19 => {
                let join = self.sites[site].member(&subject).map(|m| m.join.id());
                if let Some(join) = join {
                    let body: Body = match on {
                        true => Leave { join }.into(),
                        false => Erase { join }.into(),
                    };
                    let draft = self.draft(site, body, None);
                    let leave = self.people[person].sign(draft).unwrap();
                    self.say(site, leave);
                }
            }
            20 => self.decide(
                site,
                Mode {
                    floor: FloorMode::Passive,
                },
            ),
            21 if pick(&mut self.rng, 6) == 0 => {
                // The same place of a chain, said differently.
                let again = self
                    .said
                    .iter()
                    .rev()
                    .find(|r| r.payload().prev.is_some())
                    .cloned();
                if let Some(first) = again {
                    let p = first.payload();
                    let mut draft = self.draft(site, Freeze { on }.into(), None);
                    (draft.seq, draft.prev) = (p.seq, p.prev);
                    let keys = [Key::Group(&self.group[0]), Key::Person(&self.people[1])];
                    let hand = keys.into_iter().find(|k| k.public() == p.author);
                    if let Some(record) = hand.and_then(|k| k.sign(draft)) {
                        self.say(site, record);
                    }
                }
            }
            22 if pick(&mut self.rng, 8) == 0 => {
                let leading = self.sites[0].powers().leading_key();
                let (seq, id) = self.sites[0].powers().of(&leading).unwrap().head();
                let succession = Succession {
                    group_key: self.group[1].public_key(),
                    leader: self.people[3].public_key(),
                    cut: Cut { seq, id },
                };
                let begins = (0, self.founding.id());
                let draft = self.draft(0, succession.into(), Some(begins));
                let record = self.recovery.sign(draft).unwrap();
                self.say(0, record);
            }
            23 if pick(&mut self.rng, 4) == 0 => {
                let role = [Role::CoLeader, Role::Listener, Role::Participant];
                let role = role[pick(&mut self.rng, 3)];
                self.decide(site, Delegation { subject, role });
            }
            23 if pick(&mut self.rng, 30) == 0 => self.decide(site, Close {}),
            _ => self.sync(),
        }
    }
}

fn shuffled(rng: &mut ChaCha20Rng, records: &[Record]) -> Vec<Record> {
    let mut records = records.to_vec();
    for i in (1..records.len()).rev() {
        records.swap(i, pick(rng, i + 1));
    }
    records
}

/// Applies everything until nothing waits any more.
fn fold(founding: &Record, records: &[Record]) -> CircleState {
    let mut state = CircleState::new(founding).unwrap();
    for _ in 0..4 {
        for record in records {
            let _ = state.apply(record);
        }
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_state_does_not_depend_on_the_order_of_records(seed: u64, steps in 10usize..120) {
        let mut history = History::new(seed);
        for _ in 0..steps {
            history.step();
        }
        let mut rng = ChaCha20Rng::seed_from_u64(seed ^ 1);
        let in_order = fold(&history.founding, &history.said);
        for _ in 0..3 {
            let other = fold(&history.founding, &shuffled(&mut rng, &history.said));
            prop_assert_eq!(in_order.digest(), other.digest());
            prop_assert_eq!(in_order.lamport(), other.lamport());
        }
        // What is stored gives the same circle again, whatever order the store has it in.
        let mut stored = fold(&history.founding, &history.said).take_unsaved();
        let loaded = CircleState::load(&history.founding, &stored).unwrap();
        prop_assert_eq!(in_order.digest(), loaded.digest());
        stored = shuffled(&mut rng, &stored);
        let loaded = CircleState::load(&history.founding, &stored).unwrap();
        prop_assert_eq!(in_order.digest(), loaded.digest());
        history.sync();
        for site in &history.sites {
            prop_assert_eq!(in_order.digest(), site.digest());
        }
    }

    #[test]
    fn whoever_has_no_authority_changes_nothing(seed: u64) {
        let mut history = History::new(seed);
        for _ in 0..40 {
            history.step();
        }
        history.sync();
        let nobody = history.people[7].public_key();
        prop_assume!(history.sites[0].powers().of(&nobody).is_none());
        let before = history.sites[0].digest();
        let subject = history.people[2].public_key();
        let id = history.founding.id();
        let bodies: Vec<Body> = vec![
            Removal { subject, clause: "2".into(), until: None, cut: None }.into(),
            Freeze { on: !history.sites[0].is_frozen() }.into(),
            Door { open: !history.sites[0].is_door_open() }.into(),
            Delegation { subject, role: Role::CoLeader }.into(),
            Epoch { number: 1_000, sealed: Vec::new() }.into(),
            Close {}.into(),
            Succession { group_key: subject, leader: subject, cut: Cut { seq: 0, id } }.into(),
        ];
        for body in bodies {
            let draft = history.draft(0, body, Some((0, id)));
            let record = history.people[7].sign(draft).unwrap();
            let applied = history.sites[0].apply(&record);
            prop_assert!(!matches!(applied, Ok(Applied::Changed(_))));
            prop_assert_eq!(history.sites[0].digest(), before);
        }
    }
}

/// What claims a time far beyond all others stands once others come near it, in whatever order all came.
#[test]
fn an_entry_far_ahead_does_not_depend_on_what_came_first() {
    let history = History::new(1);
    let key = &history.group[0];
    let entry = |seq, prev, lamport, body: Body| {
        key.sign(Draft {
            circle: history.circle,
            seq,
            prev: Some(prev),
            lamport,
            created: MINUTE,
            valid_minutes: 60,
            body,
        })
        .unwrap()
    };
    let far = entry(
        1,
        history.founding.id(),
        (2 << 20) + 1,
        Freeze { on: true }.into(),
    );
    let near = entry(2, far.id(), 1, Door { open: false }.into());
    let one = fold(&history.founding, &[far.clone(), near.clone()]);
    let other = fold(&history.founding, &[near, far]);
    assert_eq!(one.digest(), other.digest());
    assert!(one.is_frozen() && !one.is_door_open());
}

/// A restart does not ask again whether what was near when it came is near.
#[test]
fn whoever_came_in_at_a_late_time_is_in_after_a_restart() {
    let history = History::new(2);
    let key = &history.group[0];
    let person = &history.people[3];
    let draft = |seq, prev, lamport, body: Body| Draft {
        circle: history.circle,
        seq,
        prev,
        lamport,
        created: MINUTE,
        valid_minutes: 60,
        body,
    };
    let late = 1 << 20;
    let founding = history.founding.id();
    let freeze = draft(1, Some(founding), late, Freeze { on: true }.into());
    let freeze = key.sign(freeze).unwrap();
    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    let texts = texts::hash();
    let pledge = draft(1, None, late + 1, Pledge { texts, accepted }.into());
    let pledge = person.sign(pledge).unwrap();
    let join = Join {
        name: "Late Lark".into(),
        sealing_key: person.sealing_key(),
        pledge: pledge.id(),
        invite: None,
        puzzle: None,
    };
    let join = person.sign(draft(2, None, late + 2, join.into())).unwrap();
    let admission = Admission {
        subject: person.public_key(),
        role: Role::Participant,
        join: join.id(),
    };
    let admission = draft(2, Some(freeze.id()), late + 3, admission.into());
    let admission = key.sign(admission).unwrap();
    let mut state = fold(&history.founding, &[freeze, pledge, join, admission]);
    assert!(state.is_admitted(&person.public_key()));
    let stored = state.take_unsaved();
    let loaded = CircleState::load(&history.founding, &stored).unwrap();
    assert_eq!(state.digest(), loaded.digest());
}

//! Histories and what they amount to: one for each rule of what wins.

use std::collections::BTreeMap;

use rand_core::Rng;
use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{CircleId, PublicKey, RecordId};
use undertone_protocol::identity::Draft;
use undertone_protocol::invite::Token;
use undertone_protocol::record::*;

use crate::json::{Json, compare, hex, vector};
use crate::kit::*;

#[derive(Clone, Copy)]
enum Hand {
    Group,
    NewGroup,
    Recovery,
    Person(u8),
}
use Hand::{Group, NewGroup, Person};

impl Hand {
    fn public(self) -> PublicKey {
        match self {
            Self::Group => group().public_key(),
            Self::NewGroup => new_group().public_key(),
            Self::Recovery => recovery().public_key(),
            Self::Person(p) => person(p).public_key(),
        }
    }
    fn sign(self, draft: Draft) -> Record {
        match self {
            Self::Group => group().sign(draft),
            Self::NewGroup => new_group().sign(draft),
            Self::Recovery => recovery().sign(draft),
            Self::Person(p) => person(p).sign(draft),
        }
        .unwrap()
    }
}

/// A circle as it is told: who said what after what.
struct Story {
    founding: Record,
    circle: CircleId,
    said: Vec<Record>,
    /// The last entry of each chain.
    heads: BTreeMap<PublicKey, (u64, RecordId)>,
    joins: BTreeMap<u8, RecordId>,
    lamport: u64,
    seq: u64,
}

impl Story {
    fn new(charter: Charter) -> Self {
        let founding = found(charter);
        let begins = (0, founding.id());
        let mut story = Self {
            circle: founding.founds().unwrap(),
            heads: [Hand::Group, Hand::Recovery]
                .map(|hand| (hand.public(), begins))
                .into(),
            founding,
            said: Vec::new(),
            joins: BTreeMap::new(),
            lamport: 0,
            seq: 0,
        };
        story.knock(LEADER);
        story.admit_as(Group, LEADER, Role::Leader);
        story
    }

    fn draft(&mut self, seq: u64, prev: Option<RecordId>, body: Body) -> Draft {
        self.lamport += 1;
        Draft {
            circle: self.circle,
            seq,
            prev,
            lamport: self.lamport,
            created: MINUTE,
            valid_minutes: 10_000,
            body,
        }
    }

    /// Something apart from the chains.
    fn say(&mut self, by: u8, body: impl Into<Body>) -> Record {
        self.seq += 1;
        let draft = self.draft(self.seq, None, body.into());
        let record = Person(by).sign(draft);
        self.said.push(record.clone());
        record
    }

    /// The next entry of a chain.
    fn decide(&mut self, hand: Hand, body: impl Into<Body>) -> Record {
        let (seq, id) = self.heads[&hand.public()];
        self.entry(hand, seq + 1, id, body)
    }

    /// An entry anywhere.
    fn entry(&mut self, hand: Hand, seq: u64, prev: RecordId, body: impl Into<Body>) -> Record {
        let draft = self.draft(seq, Some(prev), body.into());
        let record = hand.sign(draft);
        self.heads.insert(hand.public(), (seq, record.id()));
        self.said.push(record.clone());
        record
    }

    /// Another entry for the same place.
    fn instead(&mut self, hand: Hand, of: &Record, body: impl Into<Body>) -> Record {
        let p = of.payload();
        self.entry(hand, p.seq, p.prev.unwrap(), body)
    }

    /// So many more removals and other entries for the same place, dated like the first.
    fn crowd(&mut self, hand: Hand, of: &Record, entries: u8) {
        let now = self.lamport;
        for who in 100..100 + entries {
            self.lamport = of.payload().lamport - 1;
            self.instead(hand, of, removal(who));
            self.lamport -= 1;
            let until = u64::from(who);
            let subject = person(who).public_key();
            self.instead(hand, of, Mute { subject, until });
        }
        self.lamport = now;
    }

    /// Nobody has heard of this one.
    fn lose(&mut self, record: &Record) {
        self.said.retain(|r| r.id() != record.id());
    }

    fn knock(&mut self, who: u8) -> RecordId {
        self.knock_with(who, None)
    }

    fn knock_with(&mut self, who: u8, token: Option<&Token>) -> RecordId {
        let pledge = self.say(who, pledge()).id();
        let me = person(who);
        let join = Join {
            name: format!("Person {who}"),
            sealing_key: me.sealing_key(),
            pledge,
            invite: token.map(|t| t.proof(&self.circle, &me.public_key())),
            puzzle: None,
        };
        let join = self.say(who, join).id();
        self.joins.insert(who, join);
        join
    }

    fn admission(&self, who: u8) -> Admission {
        Admission {
            subject: person(who).public_key(),
            role: Role::Participant,
            join: self.joins[&who],
        }
    }

    fn admit_as(&mut self, hand: Hand, who: u8, role: Role) -> Record {
        let admission = Admission {
            role,
            ..self.admission(who)
        };
        self.decide(hand, admission)
    }

    fn let_in(&mut self, people: &[u8]) {
        for who in people {
            self.knock(*who);
            self.admit_as(Group, *who, Role::Participant);
        }
    }

    /// Gives a member a chain of their own.
    fn trust(&mut self, who: u8) {
        let subject = person(who).public_key();
        let role = Role::CoLeader;
        let delegation = self.decide(Group, Delegation { subject, role });
        self.heads.insert(subject, (0, delegation.id()));
    }

    fn succeed(&mut self, who: u8, cut: Cut) {
        let succession = Succession {
            group_key: new_group().public_key(),
            leader: person(who).public_key(),
            cut,
        };
        let record = self.decide(Hand::Recovery, succession);
        self.heads
            .insert(new_group().public_key(), (0, record.id()));
    }
}

fn removal(who: u8) -> Removal {
    Removal {
        subject: person(who).public_key(),
        clause: "2".into(),
        until: None,
        cut: None,
    }
}

fn cut_at(record: &Record) -> Cut {
    Cut {
        seq: record.payload().seq,
        id: record.id(),
    }
}

fn epoch(number: u32, members: &[u8]) -> Epoch {
    let key = [number as u8; 32];
    Epoch {
        number,
        sealed: members
            .iter()
            .map(|p| sealed_to(*p, b"undertone/1/epoch", &key))
            .collect(),
    }
}

#[path = "stories.rs"]
mod stories;

#[test]
fn histories() {
    let vectors = stories::all().into_iter().map(|told| {
        let (name, story) = (told.name, &told.story);
        let state = fold(&story.founding, &story.said);
        let members: Vec<_> = state.members().map(|(key, _)| *key).collect();
        let removed: Vec<_> = state.removed().map(|(key, _)| key).collect();
        assert_eq!(members, keys(&told.members), "members of '{name}'");
        assert_eq!(removed, keys(&told.removed), "removed from '{name}'");
        let mut random = rng(0x58);
        for _ in 0..8 {
            let other = fold(&story.founding, &shuffled(&story.said, &mut random));
            assert_eq!(state.digest(), other.digest(), "'{name}' in another order");
        }
        let member = |(key, m): (&PublicKey, &undertone_protocol::circle::Member)| {
            Json::List(vec![key.to_hex().into(), (m.role as u64).into()])
        };
        let power = |(key, p): (&PublicKey, &undertone_protocol::circle::Power)| {
            Json::List(vec![
                key.to_hex().into(),
                p.head().0.into(),
                p.is_live().into(),
            ])
        };
        let records = story.said.iter().map(|r| Json::from(hex(r.envelope())));
        vector(
            name,
            [
                ("charter", hex(story.founding.envelope()).into()),
                ("records", records.collect::<Vec<_>>().into()),
                (
                    "members",
                    state.members().map(member).collect::<Vec<_>>().into(),
                ),
                (
                    "removed",
                    removed
                        .iter()
                        .map(|k| k.to_hex().into())
                        .collect::<Vec<_>>()
                        .into(),
                ),
                ("leader", state.leader().to_hex().into()),
                (
                    "powers",
                    state.powers().iter().map(power).collect::<Vec<_>>().into(),
                ),
                ("epoch", state.epoch().map(|e| e.id().to_hex()).into()),
                ("epoch_number", u64::from(state.epoch_number()).into()),
                ("floor", (state.floor_mode() as u64).into()),
                ("frozen", state.is_frozen().into()),
                ("door_open", state.is_door_open().into()),
                ("closed", state.is_closed().into()),
                ("digest", hex(state.digest()).into()),
            ],
        )
    });
    compare("histories.json", &vectors.collect::<Vec<_>>());
}

/// What each holds that the other may be missing, as in a hello and its answer.
fn exchange(one: &mut CircleState, other: &mut CircleState) {
    tell(one, other);
    tell(other, one);
}

fn tell(from: &CircleState, to: &mut CircleState) {
    let records: Vec<_> = from
        .after(&to.heads())
        .into_iter()
        .chain(from.aside())
        .collect();
    for record in records {
        let _ = to.apply(record);
    }
}

#[test]
fn whoever_heard_the_wrong_branch_first_comes_to_the_right_one() {
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[BEN]);
    story.trust(BEN);
    story.knock(CLEO);
    let begins = story.heads[&person(BEN).public_key()];
    let before = story.said.clone();
    let mut genuine = vec![story.admit_as(Person(BEN), CLEO, Role::Participant)];
    for on in [true, false].repeat(50) {
        genuine.push(story.decide(Person(BEN), Freeze { on }));
    }
    let cut = cut_at(&genuine[genuine.len() - 1]);
    let subject = person(BEN).public_key();
    let revocation = story.decide(Group, Revocation { subject, cut });
    // As long a branch, and more for its last places than are kept; all dated before the genuine one.
    story.lamport = begins.0;
    story.heads.insert(subject, begins);
    let told = story.said.len();
    for on in [false, true].repeat(51) {
        story.decide(Person(BEN), Freeze { on });
    }
    for entry in &genuine[98..] {
        story.crowd(Person(BEN), entry, 60);
    }
    let wrong = story.said.split_off(told);
    let mut knows = fold(&story.founding, &story.said);
    let right = knows.digest();
    let so_far: Vec<_> = before
        .into_iter()
        .chain([revocation])
        .chain(wrong.clone())
        .collect();
    let mut misled = fold(&story.founding, &so_far);
    assert!(!misled.is_admitted(&person(CLEO).public_key()));
    for record in wrong {
        let _ = knows.apply(&record);
    }
    assert_eq!(knows.digest(), right, "nothing of it counts");

    let mut new = CircleState::new(&story.founding).unwrap();
    for record in knows.after(&[]) {
        let _ = new.apply(record);
    }
    assert_eq!(new.digest(), right, "only what counts is told");
    for _ in 0..6 {
        exchange(&mut knows, &mut misled);
    }
    assert_eq!(misled.digest(), right);
    assert_eq!(knows.digest(), right);
}

/// Of what is told, one hears of `late` and the other does not; then each tells the other.
fn one_hears_more(story: &Story, late: &Record) -> [CircleState; 2] {
    let common: Vec<_> = story
        .said
        .iter()
        .filter(|r| r.id() != late.id())
        .cloned()
        .collect();
    let mut both = [&common, &story.said].map(|said| fold(&story.founding, said));
    let [one, other] = &mut both;
    assert_ne!(one.digest(), other.digest());
    for _ in 0..4 {
        exchange(one, other);
    }
    both
}

#[test]
fn removals_that_stand_by_themselves_reach_everybody() {
    // Beside a chain with a fork.
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[ANN, BEN]);
    story.trust(BEN);
    let decisions: Vec<_> = [true, false].repeat(5);
    let decisions: Vec<_> = decisions
        .iter()
        .map(|on| story.decide(Person(BEN), Freeze { on: *on }))
        .collect();
    story.instead(Person(BEN), &decisions[2], removal(100));
    let late = story.instead(Person(BEN), &decisions[4], removal(ANN));
    for state in one_hears_more(&story, &late) {
        assert!(state.is_removed(&person(ANN).public_key()));
    }
    // Of a co-leader by one whom another has removed.
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[ANN, BEN, CLEO]);
    for who in [ANN, BEN, CLEO] {
        story.trust(who);
    }
    let first = story.decide(Person(BEN), Freeze { on: true });
    let last = story.decide(Person(BEN), Freeze { on: false });
    let cut = Some(cut_at(&last));
    story.decide(
        Person(ANN),
        Removal {
            cut,
            ..removal(BEN)
        },
    );
    let late = story.instead(Person(BEN), &first, removal(CLEO));
    let [one, other] = one_hears_more(&story, &late);
    assert!(one.is_removed(&person(CLEO).public_key()));
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn a_lone_removal_beyond_a_known_fork_reaches_everybody() {
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[ANN, BEN]);
    story.trust(BEN);
    let first = story.decide(Person(BEN), Freeze { on: true });
    story.instead(Person(BEN), &first, Freeze { on: false });
    let second = story.decide(Person(BEN), Freeze { on: true });
    story.decide(Person(BEN), Freeze { on: true });
    let removes = story.instead(Person(BEN), &second, removal(ANN));
    // Each holds one entry for the second place.
    let without = |record: &Record| {
        let rest = story.said.iter().filter(|r| r.id() != record.id());
        fold(&story.founding, &rest.cloned().collect::<Vec<_>>())
    };
    let (mut one, mut other) = (without(&removes), without(&second));
    exchange(&mut one, &mut other);
    for state in [one, other] {
        assert!(state.is_removed(&person(ANN).public_key()));
    }
}

#[test]
fn two_successions_at_once_are_a_fork_for_everybody() {
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[ANN, BEN]);
    let (seq, id) = story.heads[&group().public_key()];
    let cut = Cut { seq, id };
    let (common, begins) = (story.said.clone(), story.heads[&recovery().public_key()]);
    story.succeed(LEADER, cut);
    story.decide(NewGroup, Freeze { on: true });
    let mut one = fold(&story.founding, &story.said);
    story.heads.insert(recovery().public_key(), begins);
    story.said = common;
    story.succeed(ANN, cut);
    let mut other = fold(&story.founding, &story.said);
    assert_ne!(one.leader(), other.leader());
    for _ in 0..2 {
        exchange(&mut one, &mut other);
    }
    assert_eq!(one.digest(), other.digest());
}

/// Somebody knocks, and a former co-leader lets them in.
fn void_admission() -> (Story, RecordId) {
    let mut story = Story::new(charter(AdmissionMode::Approval));
    story.let_in(&[BEN]);
    story.trust(BEN);
    let (seq, id) = story.heads[&person(BEN).public_key()];
    let (subject, cut) = (person(BEN).public_key(), Cut { seq, id });
    story.decide(Group, Revocation { subject, cut });
    let join = story.knock(DAN);
    story.admit_as(Person(BEN), DAN, Role::Participant);
    (story, join)
}

#[test]
fn whoever_takes_a_knock_back_that_a_void_admission_names_is_forgotten() {
    let (mut story, join) = void_admission();
    story.say(DAN, Erase { join });
    let dan = person(DAN).public_key();
    let state = fold(&story.founding, &story.said);
    assert!(state.has_left(&dan, &join));
    assert_eq!(state.applicants().count(), 0);
    // No admission that comes later lets them in with it.
    story.admit_as(Group, DAN, Role::Participant);
    assert!(!fold(&story.founding, &story.said).is_admitted(&dan));
}

#[test]
fn a_void_admission_uses_up_nobodys_knock() {
    let (mut story, join) = void_admission();
    let state = fold(&story.founding, &story.said);
    assert!(!state.was_let_in_with(&join));
    assert_eq!(state.applicants().count(), 1);
    // After a restart too, when they knock again.
    let mut again = CircleState::load(&story.founding, &story.said).unwrap();
    for record in &story.said {
        let _ = again.apply(record);
    }
    assert_eq!(again.applicants().count(), 1);
    story.admit_as(Group, DAN, Role::Participant);
    let state = fold(&story.founding, &story.said);
    assert!(state.was_let_in_with(&join));
    assert_eq!(state.applicants().count(), 0);
}

fn keys(people: &[u8]) -> Vec<PublicKey> {
    let mut keys: Vec<_> = people.iter().map(|p| person(*p).public_key()).collect();
    keys.sort();
    keys
}

/// Everything, again and again, until nothing waits any more.
fn fold(founding: &Record, records: &[Record]) -> CircleState {
    let mut state = CircleState::new(founding).unwrap();
    for _ in 0..4 {
        for record in records {
            let _ = state.apply(record);
        }
    }
    state
}

fn shuffled(records: &[Record], rng: &mut impl Rng) -> Vec<Record> {
    let mut records = records.to_vec();
    for i in (1..records.len()).rev() {
        records.swap(i, (rng.next_u64() % (i as u64 + 1)) as usize);
    }
    records
}

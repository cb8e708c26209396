//! What must hold of a [`World`], looked at after everything that happens in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{PublicKey, RecordId};
use undertone_protocol::puzzle::Puzzle;
use undertone_protocol::record::{Body, Record, Role};
use undertone_protocol::session::{Act, Input, Stage};
use undertone_protocol::voice::OPUS_BYTES;

use crate::cast::{INSIDER, LEADER, NEWCOMER, PEOPLE};
use crate::world::World;

/// How much may be kept that is not in force: waiting entries, pledges, people at the door, refusals.
const MOST_PENDING: usize = 256 + 64 + 16 + 256;

/// What everybody really did.
#[derive(Default)]
pub struct Rules {
    /// Whom honest people who lead have let in.
    pub admitted: BTreeSet<PublicKey>,
    /// Whoever left of their own.
    left: BTreeSet<PublicKey>,
    /// Removals of these people were taken back.
    reinstated: BTreeSet<PublicKey>,
    /// Somebody was made co-leader: whom they removed may be back once their authority is taken back.
    has_co_leaders: bool,
    /// The insider was: what they sign may count.
    is_insider_trusted: bool,
    /// Somebody who leads goes on from a damaged disk: their key contradicts itself.
    pub is_disk_damaged: bool,
    /// Somebody was let in by hand, or by a machine that miscounts: whether they solved the puzzle is open.
    pub is_door_lax: bool,
    /// Somebody can say no hello, and so is told nothing that they missed.
    pub is_somebody_mute: bool,
}

/// What was seen at one machine so far.
#[derive(Default)]
pub struct Seen {
    /// Removed for good by the leader's own key, on disk here.
    removed: BTreeSet<PublicKey>,
    members: BTreeMap<PublicKey, RecordId>,
    /// Left, and the join record that they took back.
    gone: BTreeSet<(PublicKey, RecordId)>,
    /// What the circle was when the machine stopped, if all of it was on disk.
    digest: Option<[u8; 32]>,
}

impl Seen {
    /// The machine stops.
    pub fn stop(&mut self, digest: Option<[u8; 32]>) {
        let removed = std::mem::take(&mut self.removed);
        *self = Self {
            removed,
            digest,
            ..Self::default()
        };
    }
    /// It is back.
    pub fn start(&mut self, state: Option<&CircleState>) {
        let before = self.digest.take();
        let same = before.is_none() || before == state.map(CircleState::digest);
        assert!(same, "something is forgotten at a restart");
    }
}

impl World {
    /// Somebody is about to do this.
    pub(crate) fn note_act(&mut self, who: usize, act: &Act) {
        let insider = self.cast.people[INSIDER].public_key();
        match act {
            Act::SetRole(key, _) => {
                self.rules.has_co_leaders = true;
                self.rules.is_insider_trusted |= *key == insider;
            }
            Act::Leave | Act::Erase => {
                self.rules.left.insert(self.cast.people[who].public_key());
            }
            Act::Admit(_) => self.rules.is_door_lax = true,
            Act::Reinstate(member) if self.leads(who) => {
                self.rules.reinstated.insert(*member);
                for person in &mut self.people {
                    person.seen.removed.remove(member);
                }
            }
            _ => {}
        }
    }

    /// What somebody decided is in force where they decided it.
    pub(crate) fn check_act(&self, who: usize, act: &Act) {
        let Some(state) = self.state(who) else {
            return;
        };
        let is_done = match act {
            Act::Admit(key) => state.is_admitted(key),
            Act::Remove { member, .. } => state.is_removed(member),
            Act::Reinstate(member) => who != LEADER || !state.is_removed(member),
            // Whoever contradicted themselves before they were trusted is not. And whatever a co-leader is to be,
            // they become a participant first.
            Act::SetRole(key, _) if *key == self.cast.people[INSIDER].public_key() => true,
            Act::SetRole(key, role) => state.member(key).is_none_or(|m| {
                m.role == *role || (*role != Role::CoLeader && m.role == Role::Participant)
            }),
            Act::Mute(key, minutes) => {
                state.muted_until(key) == Some(self.now().minute.saturating_add(*minutes))
            }
            Act::Freeze(on) => state.is_frozen() == *on,
            Act::SetFloorMode(mode) => state.floor_mode() == *mode,
            Act::SetDoor(open) => state.is_door_open() == *open,
            Act::Close => state.is_closed(),
            _ => true,
        };
        assert!(is_done, "{act:?} was possible and has no effect");
    }

    fn is_inside(&self, who: usize) -> bool {
        let session = self.people[who].session.as_ref();
        session.is_some_and(|s| *s.stage() == Stage::Inside)
    }

    fn leads(&self, who: usize) -> bool {
        let session = self.people[who].session.as_ref();
        session.is_some_and(|s| s.view(self.now()).leading)
    }

    /// Somebody's program decided this.
    pub(crate) fn note_records(&mut self, records: &[Record]) {
        let insider = self.cast.people[INSIDER].public_key();
        let honest = records.iter().filter(|r| r.author() != insider);
        self.rules
            .admitted
            .extend(honest.filter_map(|r| match r.body() {
                Body::Admission(admission) => Some(admission.subject),
                _ => None,
            }));
    }

    /// A removal is on somebody's disk.
    pub(crate) fn note_removal(&mut self, who: usize, member: PublicKey) {
        let group = self.cast.group.public_key();
        let for_good = |notice: &Record| match notice.body() {
            Body::Removal(removal) => removal.until.is_none() && notice.author() == group,
            _ => false,
        };
        let removed = self.state(who).and_then(|s| s.removal_of(&member));
        if removed.is_some_and(|r| for_good(&r.notice)) && !self.rules.reinstated.contains(&member)
        {
            self.people[who].seen.removed.insert(member);
        }
    }

    /// Something happened to somebody.
    pub(crate) fn check(&mut self, who: usize) {
        let Some(session) = self.people[who].session.as_ref() else {
            return;
        };
        let view = session.view(self.now());
        assert!(view.queue.len() <= view.members.len());
        let Some(state) = session.state() else {
            return;
        };
        let pending = state.pending();
        assert!(
            pending <= MOST_PENDING,
            "{pending} records are kept that nothing rests on"
        );
        let seen = &self.people[who].seen;
        let lost = seen
            .removed
            .iter()
            .find(|key| !state.is_removed(key) || state.is_admitted(key));
        assert_eq!(lost, None, "a removal is lost");
        let honest = (LEADER..INSIDER)
            .chain([NEWCOMER])
            .map(|who| self.cast.people[who].public_key());
        let honest: BTreeSet<_> = honest.chain([self.cast.group.public_key()]).collect();
        let contradicts = |(one, _): (&Record, &Record)| honest.contains(&one.author());
        let forked = !self.rules.is_disk_damaged && state.forks().any(contradicts);
        assert!(!forked, "an honest key contradicts itself");
        let members: BTreeMap<_, _> = state
            .members()
            .map(|(key, m)| (*key, m.join.id()))
            .collect();
        if members == seen.members {
            return;
        }
        let news = members
            .iter()
            .filter(|(key, join)| seen.members.get(key) != Some(join));
        for (key, join) in news {
            self.check_member(state, key);
            let is_back = honest.contains(key) && seen.gone.contains(&(*key, *join));
            assert!(!is_back, "somebody is back who did not come again");
        }
        let mut gone = Vec::new();
        for (key, join) in seen
            .members
            .iter()
            .filter(|(key, _)| !members.contains_key(key))
        {
            let left = self.rules.left.contains(key);
            // Whoever was away may read at once that somebody was removed and reinstated, and has to come again.
            let may_return = self.rules.reinstated.contains(key);
            let known = left || may_return || state.is_removed(key) || self.rules.has_co_leaders;
            assert!(
                known || !honest.contains(key),
                "somebody vanished who neither left nor was removed"
            );
            if left && !state.is_removed(key) {
                gone.push((*key, *join));
            }
        }
        let seen = &mut self.people[who].seen;
        seen.members = members;
        seen.gone.extend(gone);
    }

    fn check_member(&self, state: &CircleState, key: &PublicKey) {
        let member = state.member(key).unwrap();
        assert_eq!((member.join.author(), member.pledge.author()), (*key, *key));
        let let_in = self.rules.admitted.contains(key) || self.rules.is_insider_trusted;
        assert!(let_in, "nobody let {key:?} in");
        let Some(cost) = state.charter().puzzle else {
            return;
        };
        let pledge = member.pledge.id();
        let puzzle = Puzzle {
            cost,
            circle: self.circle,
            author: *key,
            purpose: pledge,
        };
        let answer = match member.join.body() {
            Body::Join(join) => join.puzzle,
            _ => None,
        };
        let solved =
            *key == state.leader() || answer.is_some_and(|answer| puzzle.is_answer(answer));
        assert!(
            solved || self.rules.is_door_lax,
            "somebody is in who did not solve the puzzle"
        );
    }

    /// Somebody is heard: a member, and with their own words.
    pub(crate) fn check_play(&self, who: usize, member: &PublicKey, opus: &[u8; OPUS_BYTES]) {
        let state = self.state(who).expect("whoever hears is in a circle");
        let is_in = state.is_admitted(member) && !state.is_removed(member);
        assert!(is_in, "somebody is heard who is out");
        let speaker = self.cast.people.get(usize::from(opus[0]));
        let speaker = speaker.map(|person| person.public_key());
        assert_eq!(speaker, Some(*member), "somebody is heard as somebody else");
    }

    /// A voice packet goes out: nobody who is out can open it.
    pub(crate) fn check_voice_key(&self, who: usize) {
        let Some(session) = self.people[who].session.as_ref() else {
            return;
        };
        let outside = |key: &&PublicKey| !session.state().is_some_and(|s| s.is_admitted(key));
        let holder = session.voice_audience().find(outside);
        assert_eq!(holder, None, "somebody holds the voice key who is out");
    }

    /// Everybody is there and heard of, long enough for whoever is in to agree with the leader.
    pub(crate) fn come_to_rest(&mut self) {
        self.refuel();
        for who in 0..PEOPLE {
            self.people[who].is_cut_off = false;
            self.start(who);
        }
        for _ in 0..75 {
            self.run(Duration::from_secs(1));
            for who in 0..PEOPLE {
                let opus = &[who as u8; OPUS_BYTES];
                self.input(who, Input::Voice { opus, muted: false });
            }
        }
        assert!(!self.is_over(), "they do not come to rest");
        let leads = self.leads(LEADER) && self.is_inside(LEADER);
        let Some(leader) = self.state(LEADER).filter(|_| leads) else {
            return;
        };
        if self.rules.is_insider_trusted || self.rules.is_somebody_mute {
            return;
        }
        let sessions = self.people.iter().filter_map(|p| p.session.as_ref());
        for session in sessions.filter(|s| !matches!(s.stage(), Stage::Out(_))) {
            let is_in = *session.stage() == Stage::Inside || leader.is_admitted(&session.me());
            let agrees = session.state().map(CircleState::digest) == Some(leader.digest());
            assert!(
                agrees || !is_in,
                "{:?} and the leader do not agree",
                session.me()
            );
        }
    }
}

//! What can be asked of a circle's state.

use sha2::{Digest, Sha256};

use super::CircleState;
use crate::circle::authority::{Powers, Rank};
use crate::circle::floor::Turn;
use crate::circle::knocks::Applicant;
use crate::circle::policy;
use crate::circle::roster::{Member, Removed};
use crate::id::{CircleId, PublicKey, RecordId};
use crate::record::{Body, Charter, Cut, FloorMode, Head, Record};

impl CircleState {
    /// SHA-256 of the charter's envelope.
    pub fn id(&self) -> CircleId {
        self.id
    }
    /// What the circle was founded as.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }
    /// The charter as signed.
    pub fn founding(&self) -> &Record {
        self.chains.founding()
    }
    /// Members in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = (&PublicKey, &Member)> {
        self.roster.members.iter()
    }
    /// A member.
    pub fn member(&self, key: &PublicKey) -> Option<&Member> {
        self.roster.members.get(key)
    }
    /// Whoever waits at the door.
    pub fn applicants(&self) -> impl Iterator<Item = (&PublicKey, &Applicant)> {
        self.knocks.applicants.iter()
    }
    /// Whether as many wait at the door as may.
    pub fn is_door_crowded(&self) -> bool {
        self.knocks.is_crowded()
    }
    /// Whether anybody may come in.
    pub fn is_door_open(&self) -> bool {
        self.roster.door_open && !self.roster.closed
    }
    /// How often somebody was turned away.
    pub fn refusals(&self, key: &PublicKey) -> u8 {
        self.knocks.refusals(key)
    }
    /// The one gate: whether somebody is in the circle now.
    pub fn is_admitted(&self, key: &PublicKey) -> bool {
        self.roster.members.contains_key(key)
    }
    /// The one gate: whether somebody was removed.
    pub fn is_removed(&self, key: &PublicKey) -> bool {
        self.roster.is_removed(key)
    }
    /// Whether somebody was removed at any time, by whoever had authority, taken back or not.
    pub fn was_ever_removed(&self, key: &PublicKey) -> bool {
        self.powers.iter().any(|(author, power)| {
            let removals = self.chains.removals(author, power.begins(), power.cut());
            removals
                .into_iter()
                .any(|(_, removal)| removal.subject == *key)
        })
    }
    /// Whether somebody who was removed for a time may knock again at this minute.
    pub fn may_return(&self, key: &PublicKey, minute: u64) -> bool {
        self.roster.may_return(key, minute)
    }
    /// Whoever was removed.
    pub fn removed(&self) -> impl Iterator<Item = (PublicKey, Removed)> {
        let keys = self.roster.removed();
        keys.filter_map(|key| Some((*key, self.removal_of(key)?)))
    }
    /// The notice against somebody.
    pub fn removal_of(&self, key: &PublicKey) -> Option<Removed> {
        let mut removed = self.roster.removal_of(key)?;
        let mut joins = self.knocks.joins.values();
        let joined = joins.rfind(|j| j.join.author() == *key);
        removed.name = joined.map(|j| j.name.clone());
        Some(removed)
    }
    /// The first notice against somebody that keeps them out; if none does, the last that was taken back.
    pub fn notice_of(&self, key: &PublicKey) -> Option<&Record> {
        self.roster.notice_of(key)
    }
    /// Whether somebody was let in with this join record.
    pub fn was_let_in_with(&self, join: &RecordId) -> bool {
        self.roster.used.contains(join)
    }
    /// Who has authority.
    pub fn powers(&self) -> &Powers {
        &self.powers
    }
    /// The pseudonym of whoever leads.
    pub fn leader(&self) -> PublicKey {
        self.powers.leader()
    }
    /// Where to cut somebody's chain so that what stands goes on standing, and what stood before a fork stands
    /// again.
    pub fn cut_of(&self, author: &PublicKey) -> Option<Cut> {
        let power = self.powers.of(author)?;
        let branch = self.chains.branch(author, power);
        let (seq, id) = ending(&branch, power.begins());
        Some(Cut { seq, id })
    }
    /// Position and id of the last entry of the recovery key's chain.
    pub fn recovery_head(&self) -> (u64, RecordId) {
        let begins = self.founding().id();
        let path = self.chains.path(&self.charter.recovery_key, begins, None);
        ending(&path, begins)
    }
    /// Whether what this key decides from now on can stand.
    pub fn leads(&self, key: &PublicKey) -> bool {
        let power = self.powers.of(key).filter(|p| p.is_live());
        power.is_some_and(|p| p.rank == Rank::Leader || self.is_admitted(key))
    }
    /// Whether this token was spent.
    pub fn is_spent(&self, token: &PublicKey) -> bool {
        self.roster.is_spent(token)
    }
    /// How turns are given.
    pub fn floor_mode(&self) -> FloorMode {
        self.roster.floor_mode
    }
    /// Whether everybody but those who lead is stopped.
    pub fn is_frozen(&self) -> bool {
        self.roster.frozen
    }
    /// Whether the circle has ended.
    pub fn is_closed(&self) -> bool {
        self.roster.closed
    }
    /// Until which minute somebody is muted.
    pub fn muted_until(&self, key: &PublicKey) -> Option<u64> {
        self.roster.mutes.get(key).copied()
    }
    /// The latest request to cease that concerns somebody, and is not acknowledged.
    pub fn cease_of(&self, key: &PublicKey) -> Option<RecordId> {
        let asked = self.roster.ceases.get(key).copied();
        asked.filter(|request| !self.ceased.contains(request))
    }
    /// Raised hands, next first.
    pub fn queue(&self) -> impl Iterator<Item = PublicKey> {
        self.floor
            .queue(self.turn().map(|t| t.id))
            .filter(|key| policy::may_take_turn(self, key))
    }
    /// Whose turn it is.
    pub fn turn(&self) -> Option<Turn> {
        let may_speak = |key: &PublicKey| policy::may_take_turn(self, key);
        let seconds = self.charter.turn_seconds;
        let turn = self.floor.turn(seconds, |key| self.leads(key), may_speak);
        turn.filter(|t| !self.is_frozen() && may_speak(&t.holder))
    }
    /// The hand that somebody has up.
    pub fn hand_of(&self, member: &PublicKey) -> Option<RecordId> {
        self.floor.hand_of(member)
    }
    /// The latest request of somebody who waits for a turn; where turns are `granted`, also of somebody to whom
    /// one passed on.
    pub fn request_of(&self, member: &PublicKey, granted: bool) -> Option<&Record> {
        let granted = granted && self.floor_mode() == FloorMode::Active;
        self.floor.request_of(member, granted)
    }
    /// Hands that are up: whose, which, and the request that said so last.
    pub fn hands(&self) -> impl Iterator<Item = (PublicKey, RecordId, RecordId)> {
        self.floor.hands()
    }
    /// What somebody who comes in now needs to know of turns.
    pub fn floor_records(&self) -> impl Iterator<Item = &Record> {
        self.floor.records()
    }
    /// The latest epoch record that may be entered.
    pub fn epoch(&self) -> Option<&Record> {
        self.roster.epoch()
    }
    /// Number of the latest epoch, 0 before the first.
    pub fn epoch_number(&self) -> u32 {
        self.roster.last_epoch()
    }
    /// Highest Lamport time seen; a new record takes the next.
    pub fn lamport(&self) -> u64 {
        self.clock.max(self.roster.lamport)
    }
    /// Lamport time of the next chain entry of somebody: one more than what stands, and for a co-leader never so
    /// far that it would be left out. Clocks outside the chains do not matter.
    pub fn next_in_chain(&self, author: &PublicKey) -> u64 {
        let next = self.roster.lamport.saturating_add(1);
        let rank = self.powers.of(author).map_or(Rank::Leader, |p| p.rank);
        next.min(self.powers.furthest(rank))
    }
    /// Whether the circle key must be renewed: somebody who is in does not have it, somebody who is out does,
    /// or whoever made it does not lead any more, so that nobody who was away would take it from the door.
    pub fn needs_epoch(&self) -> bool {
        let led = self.epoch().filter(|r| self.leads(&r.author()));
        let Some(Body::Epoch(epoch)) = led.map(Record::body) else {
            return true;
        };
        let named = |key: &PublicKey| epoch.sealed.iter().any(|s| s.member == *key);
        epoch.sealed.len() != self.roster.members.len() || !self.roster.members.keys().all(named)
    }
    /// What shows somebody who holds only the charter that a key has authority: the successions before it,
    /// and its delegation.
    pub fn credentials(&self, author: &PublicKey) -> Vec<&Record> {
        let entries = self.chains.all();
        entries
            .filter(|r| match r.body() {
                Body::Succession(_) => true,
                Body::Delegation(d) => d.subject == *author,
                _ => false,
            })
            .collect()
    }
    /// How far each chain is held without a gap.
    pub fn heads(&self) -> Vec<Head> {
        self.chains.heads(&self.powers)
    }
    /// Whether this chain entry has arrived with all that came before it: it stands, or never will.
    pub fn has_judged(&self, entry: &Record) -> bool {
        let power = self.powers.of(&entry.author());
        self.chains.holds(entry)
            && power.is_some_and(|p| !p.is_live() || p.head().0 >= entry.payload().seq)
    }
    /// Whether this join record was taken back.
    pub fn has_left(&self, author: &PublicKey, join: &RecordId) -> bool {
        self.leave_of(author, join).is_some()
    }
    /// The leave or erasure that took this join record back.
    pub fn leave_of(&self, author: &PublicKey, join: &RecordId) -> Option<&Record> {
        self.left.get(&(*author, *join))
    }
    /// Everything that somebody who has read up to `heads` may be missing, each entry preceded by what it
    /// depends on, in the order in which it was said.
    pub fn after(&self, heads: &[Head]) -> Vec<&Record> {
        let mut entries = self.chains.after(heads, &self.powers);
        entries.sort_by_key(|r| (r.payload().lamport, r.author(), r.payload().seq));
        let with_join = |entry| {
            let join = match Record::body(entry) {
                Body::Admission(a) => self.knocks.joins.get(&a.join),
                _ => None,
            };
            let before = join.into_iter().flat_map(|j| [&j.pledge, &j.join]);
            before.chain(std::iter::once(entry))
        };
        entries.into_iter().flat_map(with_join).collect()
    }
    /// What two may differ in who have read equally far: forks, known or not, what members joined with, who
    /// left, the branches that cuts name, and removals that stand by themselves.
    pub fn aside(&self) -> impl Iterator<Item = &Record> {
        let forks = self.chains.forks().flat_map(|(one, other)| [one, other]);
        let joins = self.members().flat_map(|(_, m)| [&m.pledge, &m.join]);
        let beside = forks.chain(joins).chain(self.left.values());
        let ends = self.chains.succession();
        beside.chain(ends).chain(self.chains.disputed(&self.powers))
    }
    /// Pairs of entries that contradict each other.
    pub fn forks(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.chains.forks()
    }
    /// SHA-256 over everything in force: equal exactly for those who agree.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (key, member) in self.members() {
            digest.update(key.as_bytes());
            digest.update([member.role as u8]);
            digest.update(member.join.id().as_bytes());
            digest.update(self.muted_until(key).unwrap_or(0).to_be_bytes());
        }
        for key in self.roster.removed() {
            digest.update(key.as_bytes());
        }
        for (key, power) in self.powers.iter() {
            digest.update(key.as_bytes());
            digest.update([u8::from(power.is_live())]);
            digest.update(power.head().1.as_bytes());
        }
        let r = &self.roster;
        digest.update(self.leader().as_bytes());
        digest.update([
            r.floor_mode as u8,
            r.frozen.into(),
            r.door_open.into(),
            r.closed.into(),
        ]);
        digest.update(r.epoch().map_or([0; 32], |e| *e.id().as_bytes()));
        digest.finalize().into()
    }
}

fn ending(path: &[&Record], begins: RecordId) -> (u64, RecordId) {
    path.last()
        .map_or((0, begins), |r| (r.payload().seq, r.id()))
}

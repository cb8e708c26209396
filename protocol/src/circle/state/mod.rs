//! The state of a circle as a fold over verified records: the same for everybody who holds the same records,
//! in whatever order they came.

mod read;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{CircleId, PublicKey, RecordId};
use crate::record::{Body, Charter, Kind, Record};

use crate::weakness::Weakness;

use super::authority::{self, MAX_LAMPORT_STEP, Powers};
use super::chains::{Chains, Inserted};
use super::change::{Applied, Change};
use super::floor::{CONCURRENT, Floor};
use super::knocks::{self, Knock, Knocks};
use super::policy::{self, Refused};
use super::roster::{Given, Roster};

/// Most records kept whose author has no authority yet.
const MAX_WAITING: usize = 256;
/// Most join records remembered that their authors took back.
const MAX_LEFT: usize = 4_096;

/// A circle, folded from its records.
#[derive(Debug, Clone)]
pub struct CircleState {
    id: CircleId,
    charter: Charter,
    chains: Chains,
    pub(super) powers: Powers,
    pub(super) roster: Roster,
    knocks: Knocks,
    /// Join records that their authors took back, by leaving or by asking for deletion.
    left: BTreeMap<(PublicKey, RecordId), Record>,
    /// Entries whose author has no authority yet.
    waiting: VecDeque<Record>,
    /// Requests to cease that were acknowledged.
    ceased: BTreeSet<RecordId>,
    /// Thanks of each author are told up to this number: a copy is not told twice.
    thanked: BTreeMap<PublicKey, u64>,
    floor: Floor,
    /// Highest Lamport time seen outside the chains. It orders who asked first, and nothing else rests on it.
    clock: u64,
    /// Lasting records that are new here, in the order in which they may be stored.
    unsaved: Vec<Record>,
}

impl CircleState {
    /// The circle that `founding` founds; `None` unless it is a charter signed by its own group key.
    pub fn new(founding: &Record) -> Option<Self> {
        let Body::Charter(charter) = founding.body() else {
            return None;
        };
        let own = founding.author() == charter.group_key;
        let chains = Chains::new(founding);
        let (powers, _) = authority::standing(&chains, charter);
        Some(Self {
            id: founding.founds().filter(|_| own)?,
            charter: charter.clone(),
            powers,
            chains,
            roster: Roster::new(charter),
            knocks: Knocks::default(),
            left: BTreeMap::new(),
            waiting: VecDeque::new(),
            ceased: BTreeSet::new(),
            thanked: BTreeMap::new(),
            floor: Floor::default(),
            clock: 0,
            unsaved: Vec::new(),
        })
    }

    /// The circle of stored records, in any order: all are looked at together, once.
    pub fn load<'a>(
        founding: &Record,
        stored: impl IntoIterator<Item = &'a Record>,
    ) -> Option<Self> {
        let mut state = Self::new(founding)?;
        let (entries, beside): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .filter(|r| r.body().kind() != Kind::Charter)
            .partition(|r| r.body().kind().is_chained());
        for entry in &entries {
            state.name_join(entry);
        }
        // Whatever the rules refuse has no effect now, as it had none then. First what others rest on.
        for kind in [Kind::Pledge, Kind::Join] {
            for record in beside.iter().filter(|r| r.body().kind() == kind) {
                let _ = state.apply(record);
            }
        }
        for record in &beside {
            let _ = state.note_leave(record);
        }
        state.waiting.extend(entries.into_iter().cloned());
        state.chains.is_loading = true;
        state.refold();
        state.chains.is_loading = false;
        for record in &beside {
            state.forget_erased(record);
        }
        state.unsaved.clear();
        Some(state)
    }

    /// Takes note of somebody's clock: of one far ahead no more than a step, or it would use the numbers up.
    pub fn observe(&mut self, record: &Record) {
        let near = self.lamport().saturating_add(MAX_LAMPORT_STEP);
        self.clock = self.clock.max(record.payload().lamport.min(near));
    }
    /// Lasting records that are new since this was last asked.
    pub fn take_unsaved(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unsaved)
    }

    /// Folds one record in.
    ///
    /// # Errors
    /// The rule it breaks; the state is as before.
    pub fn apply(&mut self, record: &Record) -> Result<Applied, Refused> {
        let kind = record.body().kind();
        let elsewhere = record.payload().circle != self.id && !self.lacks(Weakness::Circle);
        if elsewhere || kind == Kind::Charter {
            // The charter itself, again.
            return Ok(Applied::Known);
        }
        if kind.is_chained() {
            return self.apply_entry(record);
        }
        policy::check(self, record)?;
        self.observe(record);
        if kind == Kind::TurnGrant && record.payload().lamport + CONCURRENT < self.clock {
            // It counts as made now, and after whatever was made now before.
            self.clock += 1;
        }
        let author = record.author();
        let changes = match record.body() {
            Body::Pledge(_) => match self.knocks.pledge(record)? {
                true => vec![Change::Pledged(author)],
                false => Vec::new(),
            },
            Body::Join(_) => return self.apply_join(record),
            Body::Refusal(refusal) => match self.knocks.refuse(refusal) {
                true => vec![Change::TurnedAway(refusal.subject)],
                false => Vec::new(),
            },
            Body::Leave(_) | Body::Erase(_) => return self.apply_leave(record),
            Body::TurnRequest(_)
            | Body::TurnGrant(_)
            | Body::TurnRelease(_)
            | Body::TurnExtend(_) => match self.floor.take(record, self.lamport()) {
                true => vec![Change::Floor],
                false => Vec::new(),
            },
            Body::CeaseAcknowledgement(ack) => {
                let asked = self.cease_of(&author) == Some(ack.request);
                match asked && self.ceased.insert(ack.request) {
                    true => vec![Change::Ceased(author)],
                    false => Vec::new(),
                }
            }
            Body::Thanks(thanks) => {
                let next = record.payload().seq + 1;
                let told = self.thanked.entry(author).or_default();
                if next <= *told {
                    return Ok(Applied::Known);
                }
                *told = next;
                vec![Change::Thanked {
                    from: author,
                    subject: thanks.subject,
                    gratitude: thanks.gratitude,
                }]
            }
            Body::Equivocation(proof) => return self.apply_proof(&proof.first, &proof.second),
            _ => Vec::new(),
        };
        Ok(match changes.is_empty() {
            true => Applied::Known,
            false => Applied::Changed(changes),
        })
    }

    /// Ends the turn because its time is over.
    pub fn expire_turn(&mut self, turn: &RecordId) {
        self.floor.expire(turn, self.lamport());
    }
    /// Lets the turn pass from one to the next of those for whom `is_here` holds, or stops doing so. One that has
    /// `just_begun` goes to whoever was first after all. Whether anything changed.
    pub fn pass_turns_on(
        &mut self,
        on: bool,
        just_begun: bool,
        is_here: impl Fn(&PublicKey) -> bool,
    ) -> bool {
        if !on || self.is_frozen() {
            return self.floor.stop_passing_on();
        }
        let mut floor = std::mem::take(&mut self.floor);
        let changed = floor.pass_on(just_begun, |key| {
            is_here(key) && policy::may_take_turn(self, key)
        });
        self.floor = floor;
        changed
    }
    /// Takes over from somebody who has been here longer which request has the turn.
    pub fn adopt_turn(&mut self, turn: &RecordId) -> bool {
        self.floor.adopt(turn)
    }

    pub(super) fn check_admission(&self, record: &Record) -> Result<(), Refused> {
        let Body::Admission(admission) = record.body() else {
            return Err(Refused::NotAuthority);
        };
        let waiting = self.knocks.applicants.get(&admission.subject);
        let joined = waiting
            .filter(|a| a.join.id() == admission.join)
            .or_else(|| self.knocks.joins.get(&admission.join))
            .ok_or(Refused::NotMember)?;
        self.roster.may_admit(&self.given(), record, joined)
    }

    /// How much is kept that is not in force: bounded whatever anybody sends.
    pub fn pending(&self) -> usize {
        self.waiting.len() + self.knocks.pending()
    }

    fn given(&self) -> Given<'_> {
        Given {
            charter: &self.charter,
            powers: &self.powers,
            joins: &self.knocks.joins,
            left: &self.left,
            weak: self.chains.weak,
        }
    }

    /// Leaves one rule out, to show that its absence is noticed.
    #[cfg(feature = "attack")]
    pub fn weaken(&mut self, weakness: Weakness) {
        self.chains.weak = crate::weakness::Weak::of(weakness);
    }

    pub(crate) fn lacks(&self, weakness: Weakness) -> bool {
        self.chains.weak.lacks(weakness)
    }

    fn apply_entry(&mut self, record: &Record) -> Result<Applied, Refused> {
        policy::check_signer(self, record)?;
        let author = record.author();
        if let Body::Removal(removal) = record.body()
            && self.lacks(Weakness::Authority)
            && self.powers.of(&author).is_none()
        {
            self.roster.members.remove(&removal.subject);
            return Ok(Applied::Changed(vec![Change::Left(removal.subject)]));
        }
        if self.powers.of(&author).is_none() && author != self.charter.recovery_key {
            if !self.waiting.iter().any(|r| r.id() == record.id()) {
                self.waiting.push_back(record.clone());
                if self.waiting.len() > MAX_WAITING && !self.lacks(Weakness::Limits) {
                    self.waiting.pop_front();
                }
            }
            return Ok(Applied::Waiting);
        }
        let lamport = self.roster.lamport;
        let simple = match record.body() {
            Body::Delegation(_) | Body::Revocation(_) | Body::Succession(_) => false,
            Body::Removal(r) => self.powers.of(&r.subject).is_none() && !self.roster.is_waiting,
            _ => true,
        };
        let inserted = self.chains.insert(record, &mut self.powers, lamport);
        match inserted {
            Inserted::Known => return Ok(Applied::Known),
            Inserted::Full => return Err(Refused::OutOfOrder),
            Inserted::Next | Inserted::New => self.name_join(record),
        }
        self.unsaved.push(record.clone());
        let changes = match inserted == Inserted::Next && simple {
            true => {
                let mut roster = std::mem::replace(&mut self.roster, Roster::new(&self.charter));
                let mut changes = Vec::new();
                roster.next(&self.given(), record, &mut changes);
                self.roster = roster;
                self.tidy(&changes);
                changes
            }
            false => self.refold(),
        };
        let stands = self
            .powers
            .of(&author)
            .is_some_and(|p| p.head().0 >= record.payload().seq);
        Ok(match changes.is_empty() && !stands {
            true => Applied::Waiting,
            false => Applied::Changed(changes),
        })
    }

    /// Keeps the join that an admission names.
    fn name_join(&mut self, record: &Record) {
        if let Body::Admission(admission) = record.body()
            && let Some(a) = self.knocks.name(&admission.subject, &admission.join)
        {
            self.unsaved.extend([a.pledge.clone(), a.join.clone()]);
        }
    }

    /// Everything anew; what is different afterwards.
    fn refold(&mut self) -> Vec<Change> {
        let before = (self.powers.clone(), self.roster.clone());
        loop {
            let (powers, standing) = authority::standing(&self.chains, &self.charter);
            let given = Given {
                charter: &self.charter,
                powers: &powers,
                joins: &self.knocks.joins,
                left: &self.left,
                weak: self.chains.weak,
            };
            self.roster = Roster::fold(&given, &standing);
            self.powers = powers;
            // Entries that waited for their author's authority may have it now.
            let mut added = false;
            for record in std::mem::take(&mut self.waiting) {
                let author = record.author();
                if self.powers.of(&author).is_none() && author != self.charter.recovery_key {
                    self.waiting.push_back(record);
                    continue;
                }
                let lamport = self.roster.lamport;
                let inserted = self.chains.insert(&record, &mut self.powers, lamport);
                if matches!(inserted, Inserted::Next | Inserted::New) {
                    self.name_join(&record);
                    self.unsaved.push(record);
                    added = true;
                }
            }
            if !added {
                break;
            }
        }
        let changes = self.compare(&before.0, &before.1);
        self.tidy(&changes);
        changes
    }

    /// Whoever is gone keeps neither hand nor turn, and nobody who is in or gone a place at the door.
    fn tidy(&mut self, changes: &[Change]) {
        let clock = self.lamport();
        for change in changes {
            match change {
                Change::Removed(key) | Change::Left(key) => {
                    self.floor.forget(key, clock);
                    self.knocks.applicants.remove(key);
                }
                Change::Admitted(key) => drop(self.knocks.applicants.remove(key)),
                _ => {}
            }
        }
    }

    fn apply_join(&mut self, record: &Record) -> Result<Applied, Refused> {
        let author = record.author();
        // A member may have left before they came again, and word of it come later: it does not matter here.
        let replayed = self.has_left(&author, &record.id()) && !self.lacks(Weakness::Replay);
        let may_knock = match replayed {
            true => Err(Refused::Replayed),
            false => policy::check_knock(self, record),
        };
        let proof = match record.body() {
            Body::Join(join) => join.invite.as_ref(),
            _ => None,
        };
        if proof.is_some_and(|p| !knocks::is_genuine_proof(&self.id, &author, p)) {
            return Err(Refused::NeedsInvite);
        }
        let is_used = self.roster.used.contains(&record.id());
        Ok(match self.knocks.join(record, is_used, may_knock)? {
            Knock::Knocked => Applied::Changed(vec![Change::Knocked(author)]),
            Knock::Known => Applied::Known,
            Knock::Waiting => Applied::Waiting,
            Knock::Awaited => {
                if let Some(a) = self.knocks.joins.get(&record.id()) {
                    self.unsaved.extend([a.pledge.clone(), a.join.clone()]);
                }
                Applied::Changed(self.refold())
            }
        })
    }

    fn apply_leave(&mut self, record: &Record) -> Result<Applied, Refused> {
        let author = record.author();
        let Some(join) = taken_back(record) else {
            return Ok(Applied::Known);
        };
        let mut changes = Vec::new();
        let applicant = self.knocks.applicants.get(&author);
        if applicant.is_some_and(|a| a.join.id() == join) {
            self.knocks.applicants.remove(&author);
            changes.push(Change::Left(author));
            // An admission may name it all the same, and have effect later.
            if !self.knocks.may_leave(&author, &join) {
                return Ok(Applied::Changed(changes));
            }
        }
        if let Some(nothing) = self.note_leave(record)? {
            return Ok(match changes.is_empty() {
                true => nothing,
                false => Applied::Changed(changes),
            });
        }
        if matches!(record.body(), Body::Erase(_)) {
            changes.push(Change::Erased(author));
        }
        if self.roster.is_waiting {
            changes.extend(self.refold());
        } else if author != self.leader() && self.roster.depart(&author, &join) {
            changes.push(Change::Left(author));
            self.tidy(&changes);
        }
        self.forget_erased(record);
        Ok(match changes.is_empty() {
            true => Applied::Known,
            false => Applied::Changed(changes),
        })
    }

    /// Keeps that somebody took their join back; otherwise says what became of the record.
    fn note_leave(&mut self, record: &Record) -> Result<Option<Applied>, Refused> {
        let author = record.author();
        let Some(join) = taken_back(record) else {
            return Ok(Some(Applied::Known));
        };
        let said = self
            .left
            .get(&(author, join))
            .map(|said| said.body().kind());
        // To ask for deletion says more than to leave.
        let kind = record.body().kind();
        if said.is_some_and(|said| said == kind || kind == Kind::Leave) {
            return Ok(Some(Applied::Known));
        }
        if !self.knocks.may_leave(&author, &join) {
            return Ok(Some(Applied::Waiting));
        }
        if self.left.len() >= MAX_LEFT {
            return Err(Refused::OutOfOrder);
        }
        self.left.insert((author, join), record.clone());
        self.unsaved.push(record.clone());
        Ok(None)
    }

    /// Deletes what is held of somebody who asked for it. Whoever leads is a member by what they joined with,
    /// and stays one.
    fn forget_erased(&mut self, record: &Record) {
        let author = record.author();
        if matches!(record.body(), Body::Erase(_)) && author != self.leader() {
            let left = &self.left;
            self.knocks
                .forget(&author, |join| left.contains_key(&(author, *join)));
        }
    }

    /// Two different records for one place of a chain: both are kept, and the key is frozen.
    fn apply_proof(&mut self, first: &[u8], second: &[u8]) -> Result<Applied, Refused> {
        let read = |bytes| Record::verify_in(bytes, &self.id).map_err(|_| Refused::NoProof);
        let (first, second) = (read(first)?, read(second)?);
        let same_place =
            first.author() == second.author() && first.payload().seq == second.payload().seq;
        let chained = first.body().kind().is_chained() && second.body().kind().is_chained();
        if !same_place || !chained || first.id() >= second.id() {
            return Err(Refused::NoProof);
        }
        let mut changes = Vec::new();
        for record in [&first, &second] {
            if let Applied::Changed(more) = self.apply_entry(record)? {
                changes.extend(more);
            }
        }
        Ok(match changes.is_empty() {
            true => Applied::Known,
            false => Applied::Changed(changes),
        })
    }
}

/// The join record that a leave or an erasure takes back.
fn taken_back(record: &Record) -> Option<RecordId> {
    match record.body() {
        Body::Leave(leave) => Some(leave.join),
        Body::Erase(erase) => Some(erase.join),
        _ => None,
    }
}

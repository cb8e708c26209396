//! The state of a circle as a fold over verified records: the same for everybody who holds the same records,
//! in whatever order they came.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use sha2::{Digest, Sha256};

use crate::id::{CircleId, PublicKey, RecordId};
use crate::record::{Body, Charter, Cut, FloorMode, Head, Kind, Record};

use crate::weakness::Weakness;

use super::chains::{Chains, Inserted, MAX_LAMPORT_STEP, Powers, Rank};
use super::change::{Applied, Change};
use super::floor::{Floor, Turn};
use super::knocks::{self, Applicant, Knock, Knocks};
use super::policy::{self, Refused};
use super::roster::{Given, Member, Removed, Roster};

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
    /// Highest Lamport time seen in any record.
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
        let (powers, _) = chains.standing(charter);
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
        state.refold();
        for record in &beside {
            state.forget_erased(record);
        }
        state.unsaved.clear();
        Some(state)
    }

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
    /// Who has authority.
    pub fn powers(&self) -> &Powers {
        &self.powers
    }
    /// The pseudonym of whoever leads.
    pub fn leader(&self) -> PublicKey {
        self.powers.leader()
    }
    /// What a succession cuts the leading key's chain at: the end of its longest branch.
    pub fn succession_cut(&self) -> Option<Cut> {
        self.chains.tip(&self.powers)
    }
    /// Position and id of the last entry of the recovery key's chain.
    pub fn recovery_head(&self) -> (u64, RecordId) {
        self.chains.end_of(&self.charter.recovery_key)
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
            .queue()
            .filter(|key| policy::may_take_turn(self, key))
    }
    /// Whose turn it is.
    pub fn turn(&self) -> Option<Turn> {
        let turn = self
            .floor
            .turn(self.charter.turn_seconds, |key| self.leads(key));
        turn.filter(|t| !self.is_frozen() && policy::may_take_turn(self, &t.holder))
    }
    /// The open request of somebody who waits for a turn; where turns are `granted`, also of somebody to whom
    /// one passed on.
    pub fn request_of(&self, member: &PublicKey, granted: bool) -> Option<&Record> {
        let granted = granted && self.floor_mode() == FloorMode::Active;
        self.floor.request_of(member, granted)
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
    /// Takes note of a member's clock, unless it is far ahead of all others.
    pub fn observe(&mut self, record: &Record) {
        let lamport = record.payload().lamport;
        if lamport <= self.lamport().saturating_add(MAX_LAMPORT_STEP) {
            self.clock = self.clock.max(lamport);
        }
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
        self.chains.heads()
    }
    /// Whether this chain entry has arrived with all that came before it: it stands, or never will.
    pub fn has_judged(&self, entry: &Record) -> bool {
        let power = self.powers.of(&entry.author());
        self.chains.holds(entry)
            && power.is_some_and(|p| !p.is_live() || p.head().0 >= entry.payload().seq)
    }
    /// Whether this join record was taken back.
    pub fn has_left(&self, author: &PublicKey, join: &RecordId) -> bool {
        self.left.contains_key(&(*author, *join))
    }
    /// Everything that somebody who has read up to `heads` may be missing, each entry preceded by what it
    /// depends on, in the order in which it was said.
    pub fn after(&self, heads: &[Head]) -> Vec<&Record> {
        let mut entries = self.chains.after(heads);
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
    /// What two may differ in who have read equally far: forks, known or not, what members joined with, and
    /// who left.
    pub fn aside(&self) -> impl Iterator<Item = &Record> {
        let forks = self.chains.forks().flat_map(|(one, other)| [one, other]);
        let joins = self.members().flat_map(|(_, m)| [&m.pledge, &m.join]);
        let ends = self.chains.ends(&self.powers);
        forks.chain(ends).chain(joins).chain(self.left.values())
    }
    /// Pairs of entries that contradict each other.
    pub fn forks(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.chains.forks()
    }
    /// Lasting records that are new since this was last asked.
    pub fn take_unsaved(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.unsaved)
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
            | Body::TurnExtend(_) => match self.floor.take(record) {
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
        self.floor.expire(turn);
    }
    /// Lets the turn pass from one to the next of those for whom `is_here` holds, or stops doing so. Whether
    /// anything changed.
    pub fn pass_turns_on(&mut self, on: bool, is_here: impl Fn(&PublicKey) -> bool) -> bool {
        if !on || self.is_frozen() {
            return self.floor.stop_passing_on();
        }
        let mut floor = std::mem::take(&mut self.floor);
        let changed = floor.pass_on(|key| is_here(key) && policy::may_take_turn(self, key));
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
            let (powers, standing) = self.chains.standing(&self.charter);
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

    /// Whoever is gone keeps neither hand nor turn, nor a place at the door.
    fn tidy(&mut self, changes: &[Change]) {
        for change in changes {
            if let Change::Removed(key) | Change::Left(key) = change {
                self.floor.forget(key, self.clock);
                self.knocks.applicants.remove(key);
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
        Ok(match self.knocks.join(record, may_knock)? {
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
        let applicant = self.knocks.applicants.get(&author);
        if applicant.is_some_and(|a| a.join.id() == join) {
            self.knocks.applicants.remove(&author);
            return Ok(Applied::Changed(vec![Change::Left(author)]));
        }
        if let Some(nothing) = self.note_leave(record)? {
            return Ok(nothing);
        }
        let mut changes = Vec::new();
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

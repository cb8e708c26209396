//! The state of a circle as a fold over verified records.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{CircleId, PublicKey, RecordId, SealingKey};
use crate::record::{Body, Charter, Kind, Record, Role};

use super::floor::Floor;
use super::policy::{self, Refused, Signer};

/// Most people waiting at a door at once.
pub const MAX_APPLICANTS: usize = 16;
/// Most pledges kept: of members, of people at the door, and of some whose join has not arrived.
const MAX_PLEDGES: usize = 4 * MAX_APPLICANTS;
/// Most refused join records remembered.
const MAX_REFUSED: usize = 256;
/// Most records of the authority chain kept while one before them is missing.
const MAX_WAITING: usize = 256;

/// Somebody who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Their pseudonym.
    pub name: String,
    /// What they are here.
    pub role: Role,
    /// What to seal keys to.
    pub sealing_key: SealingKey,
    /// Their pledge, as signed.
    pub pledge: Record,
    /// Their join record.
    pub join: Record,
}

/// Somebody at the door, pledge signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// Their pseudonym.
    pub name: String,
    /// What to seal a welcome to.
    pub sealing_key: SealingKey,
    /// Their pledge.
    pub pledge: Record,
    /// Their join record.
    pub join: Record,
}

/// Somebody who was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The pseudonym they had, where known.
    pub name: Option<String>,
    /// Mark of the clause broken.
    pub clause: String,
    /// The signed notice.
    pub notice: Record,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// It took effect, perhaps with others that waited for it.
    Changed(Vec<Change>),
    /// Nothing new.
    Known,
    /// Something before it is missing; it is kept for a while.
    Waiting,
}

/// One effect on the circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A pledge was signed.
    Pledged(PublicKey),
    /// Somebody knocked.
    Knocked(PublicKey),
    /// Somebody was let in.
    Admitted(PublicKey),
    /// An applicant was turned away.
    TurnedAway(PublicKey),
    /// Somebody was removed. Also said when the notice is valid but entries before it are still missing:
    /// enforcement does not wait.
    Removed(PublicKey),
    /// Somebody is no longer a member, on their own account.
    Left(PublicKey),
    /// There is a new circle key.
    Epoch(u32),
    /// A turn began.
    TurnBegan(PublicKey),
    /// A turn ended.
    TurnEnded(PublicKey),
    /// The queue of raised hands changed.
    Queue,
}

/// A circle, folded from its records.
#[derive(Debug, Clone)]
pub struct CircleState {
    id: CircleId,
    charter: Charter,
    chain: Vec<Record>,
    waiting: BTreeMap<u64, Record>,
    members: BTreeMap<PublicKey, Member>,
    applicants: BTreeMap<PublicKey, Applicant>,
    pledges: BTreeMap<PublicKey, Record>,
    joins: BTreeMap<RecordId, Applicant>,
    refusals: BTreeMap<PublicKey, u8>,
    /// Join records that were refused: a copy of one is no new knock.
    refused: VecDeque<RecordId>,
    removed: BTreeMap<PublicKey, Removed>,
    seqs: BTreeMap<PublicKey, u64>,
    epoch: Option<Record>,
    floor: Floor,
}

impl CircleState {
    /// The circle that `founding` founds; `None` unless it is a charter signed by its own group key and at
    /// the start of its chain.
    pub fn new(founding: &Record) -> Option<Self> {
        let Body::Charter(charter) = founding.body() else {
            return None;
        };
        let own = founding.author() == charter.group_key && founding.payload().seq == 0;
        Some(Self {
            id: founding.founds().filter(|_| own)?,
            charter: charter.clone(),
            chain: vec![founding.clone()],
            waiting: BTreeMap::new(),
            members: BTreeMap::new(),
            applicants: BTreeMap::new(),
            pledges: BTreeMap::new(),
            joins: BTreeMap::new(),
            refusals: BTreeMap::new(),
            refused: VecDeque::new(),
            removed: BTreeMap::new(),
            seqs: BTreeMap::new(),
            epoch: None,
            floor: Floor::default(),
        })
    }

    /// SHA-256 of the charter's envelope.
    pub fn id(&self) -> CircleId {
        self.id
    }
    /// What the circle is.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }
    /// The charter as signed.
    pub fn founding(&self) -> &Record {
        &self.chain[0]
    }
    /// Members in the order of their keys.
    pub fn members(&self) -> impl Iterator<Item = (&PublicKey, &Member)> {
        self.members.iter()
    }
    /// A member.
    pub fn member(&self, key: &PublicKey) -> Option<&Member> {
        self.members.get(key)
    }
    /// Whoever waits at the door.
    pub fn applicants(&self) -> impl Iterator<Item = (&PublicKey, &Applicant)> {
        self.applicants.iter()
    }
    /// Whether as many wait at the door as may.
    pub fn is_door_crowded(&self) -> bool {
        self.applicants.len() >= MAX_APPLICANTS
    }
    /// How often somebody was turned away.
    pub fn refusals(&self, key: &PublicKey) -> u8 {
        self.refusals.get(key).copied().unwrap_or(0)
    }
    /// The one gate: whether somebody is in the circle now.
    pub fn is_admitted(&self, key: &PublicKey) -> bool {
        self.members.contains_key(key) && !self.is_removed(key)
    }
    /// The one gate: whether somebody was removed.
    pub fn is_removed(&self, key: &PublicKey) -> bool {
        self.removed.contains_key(key)
    }
    /// Whoever was removed.
    pub fn removed(&self) -> impl Iterator<Item = (&PublicKey, &Removed)> {
        self.removed.iter()
    }
    /// The notice against somebody.
    pub fn removal_of(&self, key: &PublicKey) -> Option<&Removed> {
        self.removed.get(key)
    }
    /// Turn and queue.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }
    /// The latest epoch record.
    pub fn epoch(&self) -> Option<&Record> {
        self.epoch.as_ref()
    }
    /// Position and id of the authority chain's last entry.
    pub fn head(&self) -> (u64, RecordId) {
        let last = &self.chain[self.chain.len() - 1];
        (last.payload().seq, last.id())
    }
    /// The authority chain from after `seq`, each entry preceded by what it depends on: what somebody who
    /// has read up to `seq` is missing.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Record> {
        let from = usize::try_from(seq).unwrap_or(usize::MAX).saturating_add(1);
        self.chain.iter().skip(from).flat_map(|entry| {
            let join = match entry.body() {
                Body::Admission(a) => self.joins.get(&a.join),
                _ => None,
            };
            let before = join.into_iter().flat_map(|j| [&j.pledge, &j.join]);
            before.chain(std::iter::once(entry))
        })
    }
    /// The authority chain, charter first.
    pub fn chain(&self) -> &[Record] {
        &self.chain
    }

    /// Folds one record in.
    ///
    /// # Errors
    /// The rule it breaks; the state is as before.
    pub fn apply(&mut self, record: &Record) -> Result<Applied, Refused> {
        if record.payload().circle != self.id {
            // The charter itself, again.
            return Ok(Applied::Known);
        }
        let on_chain = match policy::signer(record.body().kind()) {
            Signer::Authority => true,
            Signer::MemberOrAuthority => policy::is_authority(self, &record.author()),
            _ => false,
        };
        if on_chain {
            self.apply_to_chain(record)
        } else {
            self.apply_own(record)
        }
    }

    /// Ends the turn because its time is over.
    pub fn expire_turn(&mut self, turn: &RecordId) -> bool {
        self.floor.expire(turn)
    }

    fn apply_to_chain(&mut self, record: &Record) -> Result<Applied, Refused> {
        if !policy::is_authority(self, &record.author()) {
            return Err(Refused::NotAuthority);
        }
        let seq = record.payload().seq;
        let (head, _) = self.head();
        if seq <= head {
            let known = usize::try_from(seq).ok().and_then(|i| self.chain.get(i));
            return match known {
                Some(same) if same.id() == record.id() => Ok(Applied::Known),
                _ => Err(Refused::Contradiction),
            };
        }
        let mut changes = self.enforce_ahead(record)?;
        if self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&seq) {
            // Keep what comes soonest: the rest is asked for again when the gap has closed.
            match self.waiting.last_key_value() {
                Some((last, _)) if *last > seq => drop(self.waiting.pop_last()),
                _ => return Ok(Applied::Waiting),
            }
        }
        self.waiting.insert(seq, record.clone());
        let advanced = self.advance_keeping(&mut changes)?;
        if changes.is_empty() && !advanced {
            return Ok(Applied::Waiting);
        }
        Ok(Applied::Changed(changes))
    }

    /// A valid removal takes effect at once, wherever it stands in the chain: a withheld entry before it
    /// must not keep somebody audible.
    fn enforce_ahead(&mut self, record: &Record) -> Result<Vec<Change>, Refused> {
        let Body::Removal(removal) = record.body() else {
            return Ok(Vec::new());
        };
        policy::check(self, record)?;
        if self.is_removed(&removal.subject) {
            return Ok(Vec::new());
        }
        let name = self.members.remove(&removal.subject).map(|m| m.name);
        self.applicants.remove(&removal.subject);
        self.floor.forget(&removal.subject);
        let removed = Removed {
            name,
            clause: removal.clause.clone(),
            notice: record.clone(),
        };
        self.removed.insert(removal.subject, removed);
        Ok(vec![Change::Removed(removal.subject)])
    }

    /// As [`advance`](Self::advance); but a contradiction further on takes nothing back that is in force.
    fn advance_keeping(&mut self, changes: &mut Vec<Change>) -> Result<bool, Refused> {
        match self.advance(changes) {
            Err(refused) if changes.is_empty() => Err(refused),
            result => Ok(result.unwrap_or(true)),
        }
    }

    /// Appends to the chain what now fits; whether anything did.
    fn advance(&mut self, changes: &mut Vec<Change>) -> Result<bool, Refused> {
        let mut advanced = false;
        loop {
            let (seq, id) = self.head();
            let Some(next) = self.waiting.get(&(seq + 1)).cloned() else {
                return Ok(advanced);
            };
            if next.payload().prev != Some(id) {
                self.waiting.remove(&(seq + 1));
                return Err(Refused::Contradiction);
            }
            // Whoever was removed meanwhile needs no join: their admission has no effect.
            if let Body::Admission(admission) = next.body()
                && !self.is_removed(&admission.subject)
                && !self.joins.contains_key(&admission.join)
                && !self
                    .applicants
                    .values()
                    .any(|a| a.join.id() == admission.join)
            {
                return Ok(advanced); // Wait for the join record.
            }
            self.waiting.remove(&(seq + 1));
            // An entry that policy refuses still has its place in the chain, without effect: everybody
            // who holds the same chain refuses it alike.
            if policy::check(self, &next).is_ok() {
                self.effect(&next, changes);
            }
            self.chain.push(next);
            advanced = true;
        }
    }

    fn effect(&mut self, record: &Record, changes: &mut Vec<Change>) {
        match record.body() {
            Body::Admission(admission) => {
                let waiting = self
                    .applicants
                    .remove(&admission.subject)
                    .filter(|a| a.join.id() == admission.join);
                let Some(joined) = waiting.or_else(|| self.joins.get(&admission.join).cloned())
                else {
                    return;
                };
                if joined.join.author() != admission.subject {
                    return;
                }
                self.joins.insert(admission.join, joined.clone());
                let member = Member {
                    name: joined.name,
                    role: admission.role,
                    sealing_key: joined.sealing_key,
                    pledge: joined.pledge,
                    join: joined.join,
                };
                self.members.insert(admission.subject, member);
                changes.push(Change::Admitted(admission.subject));
            }
            Body::Epoch(epoch) => {
                let last = self.epoch_number();
                if epoch.number != last + 1 {
                    return;
                }
                let gone: VecDeque<_> = self
                    .members
                    .keys()
                    .filter(|key| !epoch.sealed.iter().any(|s| s.member == **key))
                    .copied()
                    .collect();
                for key in gone {
                    self.depart(&key, changes);
                }
                self.epoch = Some(record.clone());
                changes.push(Change::Epoch(epoch.number));
            }
            Body::TurnGrant(grant) => {
                if let Some(turn) = self.floor.turn() {
                    changes.push(Change::TurnEnded(turn.holder));
                }
                self.floor
                    .grant(record.id(), record.payload().created, grant);
                changes.push(Change::TurnBegan(grant.holder));
            }
            Body::TurnRelease(release) => self.release(&release.holder, release.lamport, changes),
            _ => {}
        }
    }

    fn release(&mut self, holder: &PublicKey, lamport: u64, changes: &mut Vec<Change>) {
        let had_turn = self.floor.turn().is_some_and(|t| t.holder == *holder);
        if self.floor.release(holder, lamport) {
            changes.push(match had_turn {
                true => Change::TurnEnded(*holder),
                false => Change::Queue,
            });
        }
    }

    fn depart(&mut self, key: &PublicKey, changes: &mut Vec<Change>) {
        if self.members.remove(key).is_some() {
            self.floor.forget(key);
            changes.push(Change::Left(*key));
        }
    }

    /// Number of the latest epoch, 0 before the first.
    pub fn epoch_number(&self) -> u32 {
        match self.epoch.as_ref().map(Record::body) {
            Some(Body::Epoch(epoch)) => epoch.number,
            _ => 0,
        }
    }

    /// A record on its author's own account, not on the authority chain.
    fn apply_own(&mut self, record: &Record) -> Result<Applied, Refused> {
        policy::check(self, record)?;
        let author = record.author();
        let kind = record.body().kind();
        if matches!(kind, Kind::Pledge | Kind::Join) {
            return self.apply_knock(record);
        }
        let seq = record.payload().seq;
        let seen = self.seqs.get(&author).copied();
        let joined = self.members.get(&author).map(|m| m.join.payload().seq);
        if kind != Kind::Refusal && seen.max(joined).is_some_and(|seen| seq <= seen) {
            return Err(Refused::Replayed);
        }
        let mut changes = Vec::new();
        match record.body() {
            Body::Refusal(refusal) => {
                if !self.refused.contains(&refusal.join) {
                    self.refused.push_back(refusal.join);
                    if self.refused.len() > MAX_REFUSED {
                        self.refused.pop_front();
                    }
                }
                let waiting = self.applicants.get(&refusal.subject);
                if waiting.is_some_and(|a| a.join.id() == refusal.join) {
                    self.applicants.remove(&refusal.subject);
                    *self.refusals.entry(refusal.subject).or_default() += 1;
                    changes.push(Change::TurnedAway(refusal.subject));
                }
            }
            Body::TurnRequest(request) => {
                if self.floor.request(record.id(), author, request.lamport) {
                    changes.push(Change::Queue);
                }
            }
            Body::TurnRelease(release) => {
                self.release(&release.holder, release.lamport, &mut changes);
            }
            Body::Leave(_) => self.depart(&author, &mut changes),
            _ => {}
        }
        if kind != Kind::Refusal {
            self.seqs.insert(author, seq);
        }
        Ok(match changes.is_empty() {
            true => Applied::Known,
            false => Applied::Changed(changes),
        })
    }

    fn apply_knock(&mut self, record: &Record) -> Result<Applied, Refused> {
        let author = record.author();
        let Body::Join(join) = record.body() else {
            if self
                .pledges
                .get(&author)
                .is_some_and(|p| p.id() == record.id())
            {
                return Ok(Applied::Known);
            }
            if self.pledges.len() >= MAX_PLEDGES && !self.pledges.contains_key(&author) {
                self.forget_idle_pledge()?;
            }
            self.pledges.insert(author, record.clone());
            return Ok(Applied::Changed(vec![Change::Pledged(author)]));
        };
        let named = self.waiting.values().any(|entry| {
            matches!(entry.body(), Body::Admission(admission) if admission.join == record.id())
        });
        let known = self.applicants.get(&author).map(|a| a.join.id()) == Some(record.id())
            || self.joins.contains_key(&record.id());
        if known && (self.members.contains_key(&author) || self.applicants.contains_key(&author)) {
            return self.advance_after_join();
        }
        if self.refusals(&author) >= policy::REFUSALS_UNTIL_FINAL {
            return Err(Refused::Removed);
        }
        // Unless the chain says that this very record let them in: members do not join again, and whoever
        // left is not brought back by a copy of what they once said.
        let seen = self.seqs.get(&author);
        let stale = seen.is_some_and(|seen| record.payload().seq <= *seen);
        let refused = self.refused.contains(&record.id());
        if !named && (stale || refused || self.members.contains_key(&author)) {
            return Err(Refused::Replayed);
        }
        let Some(pledge) = self.pledges.get(&author).filter(|p| p.id() == join.pledge) else {
            return Ok(Applied::Waiting);
        };
        if self.is_door_crowded() && !self.applicants.contains_key(&author) {
            // Never refuse what the chain may name next; the door itself asks before it gets so far.
            let oldest = self
                .applicants
                .iter()
                .min_by_key(|(_, a)| a.join.payload().created);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.applicants.remove(&oldest);
            }
        }
        let applicant = Applicant {
            name: join.name.clone(),
            sealing_key: join.sealing_key,
            pledge: pledge.clone(),
            join: record.clone(),
        };
        self.applicants.insert(author, applicant);
        let mut changes = vec![Change::Knocked(author)];
        self.advance_keeping(&mut changes)?;
        Ok(Applied::Changed(changes))
    }

    fn advance_after_join(&mut self) -> Result<Applied, Refused> {
        let mut changes = Vec::new();
        Ok(match self.advance_keeping(&mut changes)? {
            true => Applied::Changed(changes),
            false => Applied::Known,
        })
    }

    /// Makes room among pledges by dropping one whose author neither waits nor is a member.
    fn forget_idle_pledge(&mut self) -> Result<(), Refused> {
        let idle = self
            .pledges
            .keys()
            .find(|k| !self.applicants.contains_key(*k) && !self.members.contains_key(*k))
            .copied()
            .ok_or(Refused::DoorCrowded)?;
        self.pledges.remove(&idle);
        Ok(())
    }
}

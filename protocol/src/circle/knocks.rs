//! The door: who has signed the pledge, who knocks, and what an admission rests on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{CircleId, PublicKey, RecordId, SealingKey, TextsHash};
use crate::record::{Body, InviteProof, Record, Refusal};

use crate::signature;

use super::policy::Refused;

/// Most people waiting at a door at once.
pub const MAX_APPLICANTS: usize = 16;
/// Most pledges kept: of members, of people at the door, and of some whose join has not arrived.
const MAX_PLEDGES: usize = 4 * MAX_APPLICANTS;
/// Most refused join records remembered.
const MAX_REFUSED: usize = 256;

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

impl Applicant {
    /// The texts they agreed to.
    pub fn texts(&self) -> Option<TextsHash> {
        match self.pledge.body() {
            Body::Pledge(pledge) => Some(pledge.texts),
            _ => None,
        }
    }
    /// What an invite door asks for.
    pub fn invite(&self) -> Option<&InviteProof> {
        match self.join.body() {
            Body::Join(join) => join.invite.as_ref(),
            _ => None,
        }
    }
    /// The answer to an open door's puzzle.
    pub fn puzzle(&self) -> Option<u64> {
        match self.join.body() {
            Body::Join(join) => join.puzzle,
            _ => None,
        }
    }
    pub(super) fn token(&self) -> Option<PublicKey> {
        self.invite().map(|i| i.token)
    }
}

/// Whether both signatures of an invite proof fit: the sponsor's for the token, the token's for the author.
pub fn is_genuine_proof(circle: &CircleId, author: &PublicKey, proof: &InviteProof) -> bool {
    let fits = |key: &PublicKey, message: &[u8], signature: &[u8; 64]| {
        signature::key(key.as_bytes()).is_some_and(|key| signature::fits(&key, message, signature))
    };
    let sponsored = InviteProof::sponsored(circle, &proof.token, proof.until);
    let spent = InviteProof::spent(circle, author);
    fits(&proof.sponsor, &sponsored, proof.sponsored_by.as_bytes())
        && fits(&proof.token, &spent, proof.spent_by.as_bytes())
}

/// What became of a join record.
pub(super) enum Knock {
    /// Somebody new waits.
    Knocked,
    /// An admission waited for it.
    Awaited,
    /// Nothing new.
    Known,
    /// Its pledge is missing.
    Waiting,
}

/// Everything that is said at the door.
#[derive(Debug, Clone, Default)]
pub(super) struct Knocks {
    pledges: BTreeMap<RecordId, Record>,
    pub applicants: BTreeMap<PublicKey, Applicant>,
    /// What admissions rest on.
    pub joins: BTreeMap<RecordId, Applicant>,
    /// Joins that admissions name and that have not arrived.
    awaited: BTreeSet<RecordId>,
    refusals: BTreeMap<PublicKey, u8>,
    /// Join records that were refused: a copy of one is no new knock.
    refused: VecDeque<RecordId>,
}

impl Knocks {
    pub fn refusals(&self, key: &PublicKey) -> u8 {
        self.refusals.get(key).copied().unwrap_or(0)
    }

    pub fn is_crowded(&self) -> bool {
        self.applicants.len() >= MAX_APPLICANTS
    }

    /// Whether it is new.
    pub fn pledge(&mut self, record: &Record) -> Result<bool, Refused> {
        if self.pledges.contains_key(&record.id()) {
            return Ok(false);
        }
        if self.pledges.len() >= MAX_PLEDGES {
            let waits = |id: &RecordId| self.applicants.values().any(|a| a.pledge.id() == *id);
            let idle = self.pledges.keys().find(|id| !waits(id)).copied();
            self.pledges.remove(&idle.ok_or(Refused::DoorCrowded)?);
        }
        self.pledges.insert(record.id(), record.clone());
        Ok(true)
    }

    pub fn join(
        &mut self,
        record: &Record,
        is_used: bool,
        may_knock: Result<(), Refused>,
    ) -> Result<Knock, Refused> {
        let author = record.author();
        let Body::Join(join) = record.body() else {
            return Ok(Knock::Known);
        };
        let waits = self.applicants.get(&author).map(|a| a.join.id()) == Some(record.id());
        if waits || is_used {
            return Ok(Knock::Known);
        }
        let awaited = self.awaited.contains(&record.id());
        if !awaited {
            may_knock?;
            if self.refused.contains(&record.id()) {
                return Err(Refused::Replayed);
            }
        }
        let pledge = self
            .pledges
            .get(&join.pledge)
            .filter(|p| p.author() == author);
        let Some(pledge) = pledge else {
            return Ok(Knock::Waiting);
        };
        let applicant = Applicant {
            name: join.name.clone(),
            sealing_key: join.sealing_key,
            pledge: pledge.clone(),
            join: record.clone(),
        };
        if awaited {
            self.awaited.remove(&record.id());
            self.joins.insert(record.id(), applicant);
            return Ok(Knock::Awaited);
        }
        if self.is_crowded() && !self.applicants.contains_key(&author) {
            // Never refuse what a chain may name next; the door itself asks before it gets so far.
            let oldest = self
                .applicants
                .iter()
                .min_by_key(|(_, a)| a.join.payload().created);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                self.applicants.remove(&oldest);
            }
        }
        self.applicants.insert(author, applicant);
        Ok(Knock::Knocked)
    }

    /// An admission names this join: it is kept from now on, or awaited. What is to be stored with it. Its author
    /// waits at the door until an admission has effect.
    pub fn name(&mut self, subject: &PublicKey, join: &RecordId) -> Option<&Applicant> {
        if self.joins.contains_key(join) {
            return None;
        }
        let applicant = self.applicants.get(subject);
        match applicant.filter(|a| a.join.id() == *join).cloned() {
            Some(applicant) => Some(self.joins.entry(*join).or_insert(applicant)),
            None => {
                self.awaited.insert(*join);
                None
            }
        }
    }

    /// Whether an admission rests on this join of theirs, as far as can be known: it may have been deleted.
    pub fn may_leave(&self, author: &PublicKey, join: &RecordId) -> bool {
        match self.joins.get(join) {
            Some(joined) => joined.join.author() == *author,
            None => self.awaited.contains(join),
        }
    }

    /// Deletes what is held of somebody, but for what they joined with anew since. Admissions that rested on
    /// it wait again, and nothing comes.
    pub fn forget(&mut self, author: &PublicKey, was_taken_back: impl Fn(&RecordId) -> bool) {
        let theirs = |a: &Applicant| a.join.author() == *author && was_taken_back(&a.join.id());
        self.awaited.extend(
            self.joins
                .iter()
                .filter(|(_, a)| theirs(a))
                .map(|(id, _)| *id),
        );
        self.joins.retain(|_, a| !theirs(a));
        self.applicants.retain(|_, a| !theirs(a));
        let rest = self.joins.values().chain(self.applicants.values());
        let kept: BTreeSet<_> = rest.map(|a| a.pledge.id()).collect();
        self.pledges
            .retain(|id, p| p.author() != *author || kept.contains(id));
    }

    /// How many records are kept that nothing rests on.
    pub fn pending(&self) -> usize {
        self.pledges.len() + self.applicants.len() + self.refused.len()
    }

    /// Whether it turned somebody away.
    pub fn refuse(&mut self, refusal: &Refusal) -> bool {
        if !self.refused.contains(&refusal.join) {
            self.refused.push_back(refusal.join);
            if self.refused.len() > MAX_REFUSED {
                self.refused.pop_front();
            }
        }
        let waiting = self.applicants.get(&refusal.subject);
        let turned_away = waiting.is_some_and(|a| a.join.id() == refusal.join);
        if turned_away {
            self.applicants.remove(&refusal.subject);
            *self.refusals.entry(refusal.subject).or_default() += 1;
        }
        turned_away
    }
}

//! What the standing entries of all chains amount to: who is in, who was removed, and how things are done.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{PublicKey, RecordId, SealingKey};
use crate::record::{AdmissionMode, Body, Charter, FloorMode, Record, Role};

use crate::weakness::{Weak, Weakness};

use super::authority::{Powers, Rank};
use super::change::Change;
use super::knocks::Applicant;
use super::policy::{self, Refused};

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
    /// Minutes since 1970 UTC at which they were let in.
    pub admitted: u64,
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
    /// All notices against them that stand.
    pub notices: Vec<RecordId>,
}

/// A removal, and whether it still keeps its subject out.
#[derive(Debug, Clone)]
struct Notice {
    record: Record,
    until: Option<u64>,
    reinstated: bool,
}

/// The fold.
#[derive(Debug, Clone)]
pub struct Roster {
    pub(super) members: BTreeMap<PublicKey, Member>,
    notices: BTreeMap<PublicKey, Vec<Notice>>,
    /// Tokens that an admission rested on.
    spent: BTreeSet<PublicKey>,
    /// Joins that somebody was let in with: they are good once.
    pub(super) used: BTreeSet<RecordId>,
    /// Whoever was ever let in: they could sponsor others.
    welcomed: BTreeSet<PublicKey>,
    pub(super) floor_mode: FloorMode,
    pub(super) frozen: bool,
    pub(super) door_open: bool,
    pub(super) closed: bool,
    /// Until when somebody is muted.
    pub(super) mutes: BTreeMap<PublicKey, u64>,
    /// The last request to cease that concerns somebody.
    pub(super) ceases: BTreeMap<PublicKey, RecordId>,
    /// Whoever the last epoch names, or was let in since: they take the seats.
    seated: BTreeSet<PublicKey>,
    /// The epochs with the highest number, in order.
    epochs: Vec<Record>,
    /// An admission waits for its join record, or for a seat.
    pub(super) is_waiting: bool,
    /// Highest Lamport time of what stands.
    pub(super) lamport: u64,
}

/// What the fold takes from outside the chains.
pub(super) struct Given<'a> {
    pub charter: &'a Charter,
    pub powers: &'a Powers,
    pub joins: &'a BTreeMap<RecordId, Applicant>,
    /// Join records that their authors took back.
    pub left: &'a BTreeMap<(PublicKey, RecordId), Record>,
    pub weak: Weak,
}

impl Roster {
    pub(super) fn new(charter: &Charter) -> Self {
        Self {
            members: BTreeMap::new(),
            notices: BTreeMap::new(),
            spent: BTreeSet::new(),
            used: BTreeSet::new(),
            welcomed: BTreeSet::new(),
            floor_mode: charter.floor,
            frozen: false,
            door_open: true,
            closed: false,
            mutes: BTreeMap::new(),
            ceases: BTreeMap::new(),
            seated: BTreeSet::new(),
            epochs: Vec::new(),
            is_waiting: false,
            lamport: 0,
        }
    }

    /// Folds everything that stands.
    pub(super) fn fold(given: &Given, standing: &[&Record]) -> Self {
        let mut roster = Self::new(given.charter);
        // Removals first: each beats everything concurrent with it, wherever it stands in the order.
        for record in standing {
            roster.note_removal(given, record);
        }
        let mut changes = Vec::new();
        for record in standing {
            roster.effect(given, record, &mut changes);
        }
        let leader = given.powers.leader();
        for (key, member) in &mut roster.members {
            member.role = match member.role {
                _ if *key == leader => Role::Leader,
                Role::Leader => Role::Participant,
                role => role,
            };
        }
        roster
    }

    /// Folds one more entry, which comes after all others and is no delegation, revocation or succession.
    pub(super) fn next(&mut self, given: &Given, record: &Record, changes: &mut Vec<Change>) {
        if let Body::Removal(removal) = record.body()
            && self.note_removal(given, record)
        {
            self.members.remove(&removal.subject);
            changes.push(Change::Removed(removal.subject));
        }
        self.effect(given, record, changes);
    }

    /// Somebody takes their join record back.
    pub(super) fn depart(&mut self, key: &PublicKey, join: &RecordId) -> bool {
        let is_member = self.members.get(key).is_some_and(|m| m.join.id() == *join);
        if is_member {
            self.members.remove(key);
        }
        is_member
    }

    /// The epoch in force: of those with the highest number, the first that names nobody who was removed.
    pub(super) fn epoch(&self) -> Option<&Record> {
        self.epochs.iter().find(|record| match record.body() {
            Body::Epoch(epoch) => !epoch.sealed.iter().any(|s| self.is_removed(&s.member)),
            _ => false,
        })
    }

    /// The highest epoch number that stands, whether or not it may be entered; 0 before the first.
    pub(super) fn last_epoch(&self) -> u32 {
        match self.epochs.first().map(Record::body) {
            Some(Body::Epoch(epoch)) => epoch.number,
            _ => 0,
        }
    }

    pub(super) fn is_removed(&self, key: &PublicKey) -> bool {
        !self.members.contains_key(key) && self.standing_notices(key).next().is_some()
    }

    /// Whether somebody who was removed may knock again at this minute.
    pub(super) fn may_return(&self, key: &PublicKey, minute: u64) -> bool {
        self.standing_notices(key)
            .all(|n| n.until.is_some_and(|until| until <= minute))
    }

    pub(super) fn removed(&self) -> impl Iterator<Item = &PublicKey> {
        self.notices.keys().filter(|key| self.is_removed(key))
    }

    pub(super) fn removal_of(&self, key: &PublicKey) -> Option<Removed> {
        if !self.is_removed(key) {
            return None;
        }
        let standing: Vec<_> = self.standing_notices(key).collect();
        let notice = standing.first()?.record.clone();
        let Body::Removal(removal) = notice.body() else {
            return None;
        };
        Some(Removed {
            name: None,
            clause: removal.clause.clone(),
            notices: standing.iter().map(|n| n.record.id()).collect(),
            notice,
        })
    }

    /// The first notice against somebody that stands; if none does, the last that was taken back.
    pub(super) fn notice_of(&self, key: &PublicKey) -> Option<&Record> {
        let standing = self.standing_notices(key).next();
        let last = || self.notices.get(key)?.last();
        standing.or_else(last).map(|notice| &notice.record)
    }

    pub(super) fn is_spent(&self, token: &PublicKey) -> bool {
        self.spent.contains(token)
    }

    /// Takes note of a removal that the rules allow. Whether it was one.
    fn note_removal(&mut self, given: &Given, record: &Record) -> bool {
        let Body::Removal(removal) = record.body() else {
            return false;
        };
        if removal.subject != given.powers.leader() {
            let notices = self.notices.entry(removal.subject).or_default();
            notices.push(Notice {
                record: record.clone(),
                until: removal.until,
                reinstated: false,
            });
            return true;
        }
        false
    }

    /// Whether a removal keeps somebody out whom `record` lets in.
    fn is_kept_out(&self, key: &PublicKey, record: &Record) -> bool {
        let p = record.payload();
        self.standing_notices(key).any(|n| {
            let over = n.until.is_some_and(|until| until <= p.created);
            !over || n.record.payload().lamport >= p.lamport
        })
    }

    /// Whether somebody had been removed before `record`.
    fn was_removed_before(&self, key: &PublicKey, record: &Record) -> bool {
        self.standing_notices(key)
            .any(|n| n.record.payload().lamport < record.payload().lamport)
    }

    fn standing_notices(&self, key: &PublicKey) -> impl Iterator<Item = &Notice> {
        let notices = self.notices.get(key).into_iter().flatten();
        notices.filter(|n| !n.reinstated)
    }

    fn effect(&mut self, given: &Given, record: &Record, changes: &mut Vec<Change>) {
        self.lamport = self.lamport.max(record.payload().lamport);
        if self.closed || policy::check_entry(given.powers, given.charter, record).is_err() {
            return;
        }
        match record.body() {
            Body::Admission(admission) => {
                let Some(joined) = given.joins.get(&admission.join) else {
                    self.is_waiting = true;
                    return;
                };
                let admitted = self.may_admit(given, record, joined);
                self.spent.extend(joined.token());
                self.welcomed.insert(admission.subject);
                if let Err(refused) = admitted {
                    // They may have left before they came again, and word of it come later.
                    let again = self
                        .members
                        .get(&admission.subject)
                        .is_some_and(|m| m.join.id() != admission.join);
                    self.is_waiting |= refused == Refused::Full || again;
                    return;
                }
                let leads = given.powers.is_live_co_leader(&admission.subject);
                let role = match admission.role {
                    _ if admission.subject == given.powers.leader() => Role::Leader,
                    _ if leads => Role::CoLeader,
                    Role::Leader => Role::Participant,
                    role => role,
                };
                let member = Member {
                    name: joined.name.clone(),
                    role,
                    sealing_key: joined.sealing_key,
                    pledge: joined.pledge.clone(),
                    join: joined.join.clone(),
                    admitted: record.payload().created,
                };
                self.members.insert(admission.subject, member);
                self.used.insert(admission.join);
                self.seated.insert(admission.subject);
                changes.push(Change::Admitted(admission.subject));
            }
            Body::Reinstatement(reinstatement) => {
                let leads = given.powers.rank(&record.author()) == Some(Rank::Leader);
                let undone = self.notices.values_mut().flatten().find(|n| {
                    n.record.id() == reinstatement.removal
                        && n.record.payload().lamport < record.payload().lamport
                        && (leads || n.record.author() == record.author())
                });
                if let Some(notice) = undone.filter(|n| !n.reinstated) {
                    notice.reinstated = true;
                    if let Body::Removal(removal) = notice.record.body() {
                        changes.push(Change::Reinstated(removal.subject));
                    }
                }
            }
            Body::Delegation(delegation) => {
                self.set_role(given, &delegation.subject, delegation.role, changes)
            }
            Body::Revocation(revocation) => {
                self.set_role(given, &revocation.subject, Role::Participant, changes);
            }
            Body::CeaseRequest(cease) => {
                self.ceases.insert(cease.subject, record.id());
                changes.push(Change::AskedToCease(cease.subject));
            }
            Body::Mute(mute) => {
                self.mutes.insert(mute.subject, mute.until);
                changes.push(Change::Muted(mute.subject));
            }
            Body::Freeze(freeze) => {
                self.frozen = freeze.on;
                changes.push(Change::Frozen(freeze.on));
            }
            Body::Mode(mode) => {
                self.floor_mode = mode.floor;
                changes.push(Change::Mode(mode.floor));
            }
            Body::Door(door) => {
                self.door_open = door.open;
                changes.push(Change::Door(door.open));
            }
            Body::Close(_) => {
                self.closed = true;
                changes.push(Change::Closed);
            }
            Body::Epoch(epoch) => {
                let last = self.last_epoch();
                if epoch.number > last {
                    self.epochs.clear();
                }
                if epoch.number >= last {
                    self.seated = epoch.sealed.iter().map(|s| s.member).collect();
                    self.epochs.push(record.clone());
                    changes.push(Change::Epoch(epoch.number));
                }
            }
            _ => {}
        }
    }

    fn set_role(
        &mut self,
        given: &Given,
        subject: &PublicKey,
        role: Role,
        changes: &mut Vec<Change>,
    ) {
        let role = match role {
            Role::CoLeader if !given.powers.is_live_co_leader(subject) => Role::Participant,
            role => role,
        };
        if let Some(member) = self.members.get_mut(subject).filter(|m| m.role != role) {
            member.role = role;
            changes.push(Change::Role(*subject, role));
        }
    }

    /// Whether an admission may have effect after what stands before it.
    pub(super) fn may_admit(
        &self,
        given: &Given,
        record: &Record,
        joined: &Applicant,
    ) -> Result<(), Refused> {
        let Body::Admission(admission) = record.body() else {
            return Err(Refused::NotAuthority);
        };
        let subject = admission.subject;
        if joined.join.author() != subject {
            return Err(Refused::NotOneself);
        }
        if self.is_kept_out(&subject, record) {
            return Err(Refused::Removed);
        }
        // Whoever leads stays a member while away: the role is bound to them.
        let left = given.left.contains_key(&(subject, admission.join))
            && subject != given.powers.leader()
            && !given.weak.lacks(Weakness::Replay);
        if left || self.members.contains_key(&subject) {
            return Err(Refused::Replayed);
        }
        if joined.texts() != Some(given.charter.texts) {
            return Err(Refused::OtherTexts);
        }
        if admission.role != Role::Leader {
            self.check_proof(given, record, joined)?;
        }
        // Whoever the last epoch does not name had left, even where word of it has not come yet.
        let taken = self.members.keys().filter(|key| self.seated.contains(key));
        if taken.count() >= usize::from(given.charter.max_members) {
            return Err(Refused::Full);
        }
        Ok(())
    }

    /// What an invite door asks for: a token that nobody spent, from somebody who is still trusted.
    fn check_proof(
        &self,
        given: &Given,
        record: &Record,
        joined: &Applicant,
    ) -> Result<(), Refused> {
        let Body::Join(join) = joined.join.body() else {
            return Err(Refused::NeedsInvite);
        };
        match &join.invite {
            None if given.charter.admission == AdmissionMode::Invite => Err(Refused::NeedsInvite),
            None => Ok(()),
            Some(invite) => {
                let sponsor = &invite.sponsor;
                let known = given.powers.rank(sponsor) == Some(Rank::Leader)
                    || self.welcomed.contains(sponsor);
                if self.is_spent(&invite.token) || record.payload().created > invite.until {
                    Err(Refused::Spent)
                } else if !known || self.was_removed_before(sponsor, record) {
                    Err(Refused::Removed)
                } else {
                    Ok(())
                }
            }
        }
    }
}

//! What a record changes: told one by one, so that whoever follows the circle need not compare.

use crate::id::PublicKey;
use crate::record::{FloorMode, Gratitude, Record, Role};

use super::CircleState;
use super::authority::Powers;
use super::roster::Roster;

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
    /// Somebody was removed. Also said when entries before the notice are still missing: enforcement does
    /// not wait.
    Removed(PublicKey),
    /// A removal was taken back: they may knock again.
    Reinstated(PublicKey),
    /// Somebody is no longer a member, on their own account.
    Left(PublicKey),
    /// Somebody wants what is held of them deleted.
    Erased(PublicKey),
    /// Somebody's role is another now.
    Role(PublicKey, Role),
    /// Another key leads, with this pseudonym.
    Succeeded(PublicKey),
    /// This key signed contradictory records, and is frozen.
    Forked(PublicKey),
    /// There is a new circle key.
    Epoch(u32),
    /// Turns, or the queue of raised hands, changed.
    Floor,
    /// Somebody was muted, or is no longer.
    Muted(PublicKey),
    /// Somebody was asked to cease.
    AskedToCease(PublicKey),
    /// Somebody acknowledged that.
    Ceased(PublicKey),
    /// The circle was stopped, or goes on.
    Frozen(bool),
    /// Turns are given in another way.
    Mode(FloorMode),
    /// The door was opened or closed.
    Door(bool),
    /// The circle has ended.
    Closed,
    /// Somebody thanked somebody.
    Thanked {
        /// Who.
        from: PublicKey,
        /// Whom.
        subject: PublicKey,
        /// For what.
        gratitude: Gratitude,
    },
}

impl CircleState {
    /// What differs from before.
    pub(super) fn compare(&self, powers: &Powers, before: &Roster) -> Vec<Change> {
        let (old, new) = (before, &self.roster);
        let mut changes = Vec::new();
        let newly_removed = new.removed().filter(|key| !old.is_removed(key));
        changes.extend(newly_removed.map(|key| Change::Removed(*key)));
        let reinstated = old
            .removed()
            .filter(|k| !new.is_removed(k) && !new.members.contains_key(k));
        changes.extend(reinstated.map(|key| Change::Reinstated(*key)));
        let gone = old
            .members
            .keys()
            .filter(|k| !new.members.contains_key(k) && !new.is_removed(k));
        changes.extend(gone.map(|key| Change::Left(*key)));
        for (key, power) in self.powers.iter() {
            let was = powers.of(key).and_then(|p| p.fork());
            if power.fork().is_some() && was.is_none() {
                changes.push(Change::Forked(*key));
            }
        }
        if self.leader() != powers.leader() || self.powers.leading_key() != powers.leading_key() {
            changes.push(Change::Succeeded(self.leader()));
        }
        for (key, member) in &new.members {
            match old.members.get(key) {
                None => changes.push(Change::Admitted(*key)),
                Some(was) if was.join.id() != member.join.id() => {
                    changes.push(Change::Admitted(*key))
                }
                Some(was) if was.role != member.role => {
                    changes.push(Change::Role(*key, member.role))
                }
                Some(_) => {}
            }
        }
        let muted = new
            .mutes
            .iter()
            .filter(|(k, m)| old.mutes.get(k) != Some(m));
        changes.extend(muted.map(|(key, _)| Change::Muted(*key)));
        let asked = new
            .ceases
            .iter()
            .filter(|(k, c)| old.ceases.get(k) != Some(c));
        changes.extend(asked.map(|(key, _)| Change::AskedToCease(*key)));
        if new.frozen != old.frozen {
            changes.push(Change::Frozen(new.frozen));
        }
        if new.floor_mode != old.floor_mode {
            changes.push(Change::Mode(new.floor_mode));
        }
        if new.door_open != old.door_open {
            changes.push(Change::Door(new.door_open));
        }
        if new.closed && !old.closed {
            changes.push(Change::Closed);
        }
        let id = |r: &Roster| r.epoch().map(Record::id);
        if id(new) != id(old) && id(new).is_some() {
            changes.push(Change::Epoch(new.last_epoch()));
        }
        changes
    }
}

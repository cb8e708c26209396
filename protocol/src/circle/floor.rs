//! The floor: whose turn it is, and who asked for the next one. A pure reducer over records; how long a
//! turn has lasted is the session's to measure.

use std::collections::BTreeMap;

use crate::id::{PublicKey, RecordId};
use crate::record::TurnGrant;

/// A turn somebody was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The grant.
    pub id: RecordId,
    /// Whose.
    pub holder: PublicKey,
    /// For at most this long.
    pub seconds: u16,
    /// Minutes since 1970 UTC at which it was granted.
    pub granted: u64,
}

/// Turn and queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Floor {
    /// Requests by (Lamport time, id): the same order everywhere.
    requests: BTreeMap<(u64, RecordId), PublicKey>,
    /// Requests up to here are answered or taken back, so that a late copy raises no hand again.
    answered: BTreeMap<PublicKey, u64>,
    turn: Option<Turn>,
    lamport: u64,
}

impl Floor {
    /// Whose turn it is.
    pub fn turn(&self) -> Option<&Turn> {
        self.turn.as_ref()
    }
    /// Raised hands, next first.
    pub fn queue(&self) -> impl Iterator<Item = PublicKey> + '_ {
        self.requests.values().copied()
    }
    /// Highest Lamport time seen; a new request takes the next.
    pub fn lamport(&self) -> u64 {
        self.lamport
    }

    pub(super) fn request(&mut self, id: RecordId, author: PublicKey, lamport: u64) -> bool {
        self.lamport = self.lamport.max(lamport);
        let stale = self.answered.get(&author).is_some_and(|a| lamport <= *a);
        if stale || self.queue().any(|k| k == author) {
            return false;
        }
        self.requests.insert((lamport, id), author);
        true
    }

    pub(super) fn grant(&mut self, id: RecordId, granted: u64, grant: &TurnGrant) {
        self.lamport = self.lamport.max(grant.lamport);
        self.answer(&grant.holder, grant.lamport);
        self.turn = Some(Turn {
            id,
            holder: grant.holder,
            seconds: grant.seconds,
            granted,
        });
    }

    /// Takes the hand down and ends the turn of `holder`. Whether either was there.
    pub(super) fn release(&mut self, holder: &PublicKey, lamport: u64) -> bool {
        self.lamport = self.lamport.max(lamport);
        let before = self.requests.len();
        self.answer(holder, lamport);
        let had_turn = self.turn.is_some_and(|t| t.holder == *holder);
        if had_turn {
            self.turn = None;
        }
        had_turn || self.requests.len() != before
    }

    /// Forgets somebody who is no longer here.
    pub(super) fn forget(&mut self, member: &PublicKey) {
        self.answer(member, u64::MAX);
        if self.turn.is_some_and(|t| t.holder == *member) {
            self.turn = None;
        }
        self.answered.remove(member);
    }

    /// Ends the turn because its time is over; says whether it was this one.
    pub(super) fn expire(&mut self, turn: &RecordId) -> bool {
        let ended = self.turn.is_some_and(|t| t.id == *turn);
        if ended {
            self.turn = None;
        }
        ended
    }

    fn answer(&mut self, holder: &PublicKey, lamport: u64) {
        let answered = self.answered.entry(*holder).or_default();
        *answered = (*answered).max(lamport);
        self.requests
            .retain(|(at, _), who| who != holder || *at > lamport);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }
    fn id(byte: u8) -> RecordId {
        RecordId::from_bytes([byte; 32])
    }

    #[test]
    fn the_queue_does_not_depend_on_arrival() {
        let requests = [(3, 1), (1, 2), (1, 3), (2, 4)];
        let order = |indices: [usize; 4]| {
            let mut floor = Floor::default();
            for i in indices {
                let (lamport, who) = requests[i];
                floor.request(id(who), key(who), lamport);
            }
            floor.queue().collect::<Vec<_>>()
        };
        assert_eq!(order([0, 1, 2, 3]), order([3, 2, 1, 0]));
        assert_eq!(order([0, 1, 2, 3]), [key(2), key(3), key(4), key(1)]);
    }

    #[test]
    fn a_late_copy_of_an_answered_request_raises_no_hand() {
        let mut floor = Floor::default();
        let grant = TurnGrant {
            holder: key(1),
            seconds: 60,
            lamport: 4,
        };
        floor.grant(id(9), 0, &grant);
        assert!(!floor.request(id(1), key(1), 4));
        assert!(floor.request(id(2), key(1), 5));
        assert!(!floor.request(id(3), key(1), 6), "one hand each");
        assert!(floor.release(&key(1), 5));
        assert!(floor.turn().is_none() && floor.queue().next().is_none());
    }
}

//! The floor: whose turn it is, and who asked for the next one. A pure reducer over records that may come in
//! any order; how long a turn has lasted is the session's to measure.
//!
//! In active mode whoever leads grants each turn. In passive mode, or when nobody who leads is there, the turn
//! passes to the first in the queue, and whoever asks again goes to its end.

use std::collections::BTreeMap;

use crate::id::{PublicKey, RecordId};
use crate::record::{Body, Record};

/// How many turns that ended by the clock are remembered.
const MAX_EXPIRED: usize = 16;

/// A turn somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The grant, or the request it answers.
    pub id: RecordId,
    /// Whose.
    pub holder: PublicKey,
    /// For at most this long.
    pub seconds: u16,
}

/// Turn and queue.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    /// The latest request of each person.
    requests: BTreeMap<PublicKey, Record>,
    /// Requests up to here are answered or taken back.
    answered: BTreeMap<PublicKey, u64>,
    /// Turns granted up to here were given back, or ended by whoever leads.
    released: BTreeMap<PublicKey, u64>,
    /// The latest grant of each authority.
    grants: BTreeMap<PublicKey, Record>,
    /// The latest extension of each authority: which turn, how long in all.
    extensions: BTreeMap<PublicKey, Record>,
    /// Turns whose time was over here.
    expired: Vec<RecordId>,
    /// The request whose author has the turn without a grant.
    passed_on: Option<RecordId>,
}

fn order(record: &Record) -> (u64, RecordId) {
    (record.payload().lamport, record.id())
}

/// A request's place in the queue.
fn place(request: &Record) -> (u64, PublicKey) {
    let since = match request.body() {
        Body::TurnRequest(request) => request.since,
        _ => u64::MAX,
    };
    (since, request.author())
}

impl Floor {
    /// Raised hands, next first.
    pub fn queue(&self) -> impl Iterator<Item = PublicKey> {
        let mut raised: Vec<_> = self
            .requests
            .values()
            .filter(|r| self.is_open(r) && self.passed_on != Some(r.id()))
            .collect();
        raised.sort_by_key(|r| place(r));
        raised.into_iter().map(Record::author)
    }

    /// Whose turn it is. Grants by keys that `leads` denies are passed over.
    pub(super) fn turn(
        &self,
        turn_seconds: u16,
        leads: impl Fn(&PublicKey) -> bool,
    ) -> Option<Turn> {
        let granted = self
            .grants
            .values()
            .filter(|r| leads(&r.author()))
            .max_by_key(|r| order(r))
            .filter(|r| self.is_running(r));
        let passed_on = || self.passed_on.and_then(|id| self.request(&id));
        let record = granted.or_else(passed_on)?;
        let (holder, seconds) = match record.body() {
            Body::TurnGrant(grant) => (grant.holder, grant.seconds),
            _ => (record.author(), turn_seconds),
        };
        let extended = self
            .extensions
            .values()
            .filter(|r| leads(&r.author()))
            .filter_map(|r| match r.body() {
                Body::TurnExtend(e) if e.turn == record.id() => Some(e.seconds),
                _ => None,
            });
        Some(Turn {
            id: record.id(),
            holder,
            seconds: extended.chain([seconds]).max().unwrap_or(seconds),
        })
    }

    /// The open request of somebody, unless the turn passed on to them and that counts.
    pub(super) fn request_of(&self, member: &PublicKey, granted: bool) -> Option<&Record> {
        let request = self.requests.get(member)?;
        let holds = self.passed_on == Some(request.id()) && !granted;
        (self.is_open(request) && !holds).then_some(request)
    }

    /// What somebody who comes in now needs to know: open requests, and the grant in force.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let grants = self.grants.values().filter(|r| self.is_running(r));
        let open = self.requests.values().filter(|r| self.is_open(r));
        grants.chain(self.extensions.values()).chain(open)
    }

    /// Takes a turn request, grant, release or extension in. Whether it changed anything.
    pub(super) fn take(&mut self, record: &Record) -> bool {
        let author = record.author();
        let lamport = record.payload().lamport;
        match record.body() {
            Body::TurnRequest(_) => {
                let was_open = self.requests.get(&author).is_some_and(|r| self.is_open(r));
                latest(&mut self.requests, author, record) && !was_open && self.is_open(record)
            }
            Body::TurnGrant(grant) => {
                let holder = grant.holder;
                raise(&mut self.answered, holder, lamport);
                latest(&mut self.grants, author, record)
            }
            Body::TurnRelease(release) => {
                let holder = release.holder;
                let answered = raise(&mut self.answered, holder, lamport);
                raise(&mut self.released, holder, lamport) || answered
            }
            Body::TurnExtend(_) => latest(&mut self.extensions, author, record),
            _ => false,
        }
    }

    /// Without a grant, passes the turn to the first in the queue of those who are here.
    pub(super) fn pass_on(&mut self, is_here: impl Fn(&PublicKey) -> bool) -> bool {
        let holds = |r: &Record| self.is_open(r) && is_here(&r.author());
        let current = self.passed_on.and_then(|id| self.request(&id));
        if current.is_some_and(holds) {
            return false;
        }
        let had = self.passed_on.is_some();
        let first = self
            .requests
            .values()
            .filter(|r| holds(r))
            .min_by_key(|r| place(r))
            .map(Record::id);
        self.passed_on = first;
        had || first.is_some()
    }

    /// From now on turns are granted; whoever has the turn keeps it until it ends.
    pub(super) fn stop_passing_on(&mut self) -> bool {
        let current = self.passed_on.and_then(|id| self.request(&id));
        let ended = !current.is_some_and(|r| self.is_open(r));
        ended && self.passed_on.take().is_some()
    }

    /// Somebody who has been here longer says which request has the turn.
    pub(super) fn adopt(&mut self, turn: &RecordId) -> bool {
        let known = self.request(turn).is_some_and(|r| self.is_open(r));
        let change = known && self.passed_on != Some(*turn);
        if change {
            self.passed_on = Some(*turn);
        }
        change
    }

    /// Somebody is no longer here: neither hand nor turn of theirs remains.
    pub(super) fn forget(&mut self, member: &PublicKey, lamport: u64) {
        raise(&mut self.answered, *member, lamport);
        raise(&mut self.released, *member, lamport);
        self.requests.remove(member);
    }

    /// Ends a turn because its time is over.
    pub(super) fn expire(&mut self, turn: &RecordId) {
        if !self.expired.contains(turn) {
            self.expired.push(*turn);
            if self.expired.len() > MAX_EXPIRED {
                self.expired.remove(0);
            }
        }
    }

    fn request(&self, id: &RecordId) -> Option<&Record> {
        self.requests.values().find(|r| r.id() == *id)
    }

    fn is_open(&self, request: &Record) -> bool {
        let answered = self.answered.get(&request.author());
        answered.is_none_or(|a| request.payload().lamport > *a)
            && !self.expired.contains(&request.id())
    }

    fn is_running(&self, grant: &Record) -> bool {
        let Body::TurnGrant(body) = grant.body() else {
            return false;
        };
        let released = self.released.get(&body.holder);
        released.is_none_or(|r| grant.payload().lamport > *r) && !self.expired.contains(&grant.id())
    }
}

/// Keeps the later of two records of one author.
fn latest(kept: &mut BTreeMap<PublicKey, Record>, author: PublicKey, record: &Record) -> bool {
    let newer = kept.get(&author).is_none_or(|k| order(k) < order(record));
    if newer {
        kept.insert(author, record.clone());
    }
    newer
}

fn raise(marks: &mut BTreeMap<PublicKey, u64>, key: PublicKey, lamport: u64) -> bool {
    let mark = marks.entry(key).or_default();
    let higher = *mark < lamport;
    *mark = lamport.max(*mark);
    higher
}

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

/// A request or grant, and when it was: its Lamport time, or the clock here if that could not follow. Whatever
/// is answered here afterwards is later.
#[derive(Debug, Clone)]
struct Said {
    record: Record,
    at: u64,
}

/// Turn and queue.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    /// The latest request of each person.
    requests: BTreeMap<PublicKey, Said>,
    /// Requests up to here are answered or taken back.
    answered: BTreeMap<PublicKey, u64>,
    /// Turns granted up to here were given back, or ended by whoever leads.
    released: BTreeMap<PublicKey, u64>,
    /// The latest grant of each authority.
    grants: BTreeMap<PublicKey, Said>,
    /// The latest extension of each authority: which turn, how long in all.
    extensions: BTreeMap<PublicKey, Said>,
    /// Turns whose time was over here.
    expired: Vec<RecordId>,
    /// The request whose author has the turn without a grant.
    passed_on: Option<RecordId>,
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
            .filter(|s| self.is_open(s) && self.passed_on != Some(s.record.id()))
            .map(|s| &s.record)
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
            .filter(|s| leads(&s.record.author()))
            .max_by_key(|s| (s.at, s.record.id()))
            .filter(|s| self.is_running(s));
        let passed_on = || self.passed_on.and_then(|id| self.request(&id));
        let record = &granted.or_else(passed_on)?.record;
        let (holder, seconds) = match record.body() {
            Body::TurnGrant(grant) => (grant.holder, grant.seconds),
            _ => (record.author(), turn_seconds),
        };
        let extended = self
            .extensions
            .values()
            .filter(|s| leads(&s.record.author()))
            .filter_map(|s| match s.record.body() {
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
        let said = self.requests.get(member)?;
        let holds = self.passed_on == Some(said.record.id()) && !granted;
        (self.is_open(said) && !holds).then_some(&said.record)
    }

    /// What somebody who comes in now needs to know: open requests, and the grant in force.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let grants = self.grants.values().filter(|s| self.is_running(s));
        let open = self.requests.values().filter(|s| self.is_open(s));
        let said = grants.chain(self.extensions.values()).chain(open);
        said.map(|s| &s.record)
    }

    /// Takes a turn request, grant, release or extension in, at this time on the clock here. Whether it changed
    /// anything.
    pub(super) fn take(&mut self, record: &Record, clock: u64) -> bool {
        let author = record.author();
        let at = record.payload().lamport.min(clock);
        let said = Said {
            record: record.clone(),
            at,
        };
        match record.body() {
            Body::TurnRequest(_) => {
                let was_open = self.requests.get(&author).is_some_and(|s| self.is_open(s));
                let is_open = self.is_open(&said);
                latest(&mut self.requests, said) && !was_open && is_open
            }
            Body::TurnGrant(grant) => {
                raise(&mut self.answered, grant.holder, at);
                latest(&mut self.grants, said)
            }
            Body::TurnRelease(release) => {
                let answered = raise(&mut self.answered, release.holder, at);
                raise(&mut self.released, release.holder, at) || answered
            }
            Body::TurnExtend(_) => latest(&mut self.extensions, said),
            _ => false,
        }
    }

    /// Without a grant, passes the turn to the first in the queue of those who are here.
    pub(super) fn pass_on(&mut self, is_here: impl Fn(&PublicKey) -> bool) -> bool {
        let holds = |s: &Said| self.is_open(s) && is_here(&s.record.author());
        let current = self.passed_on.and_then(|id| self.request(&id));
        if current.is_some_and(holds) {
            return false;
        }
        let had = self.passed_on.is_some();
        let first = self
            .requests
            .values()
            .filter(|s| holds(s))
            .min_by_key(|s| place(&s.record))
            .map(|s| s.record.id());
        self.passed_on = first;
        had || first.is_some()
    }

    /// From now on turns are granted; whoever has the turn keeps it until it ends.
    pub(super) fn stop_passing_on(&mut self) -> bool {
        let current = self.passed_on.and_then(|id| self.request(&id));
        let ended = !current.is_some_and(|s| self.is_open(s));
        ended && self.passed_on.take().is_some()
    }

    /// Somebody who has been here longer says which request has the turn.
    pub(super) fn adopt(&mut self, turn: &RecordId) -> bool {
        let known = self.request(turn).is_some_and(|s| self.is_open(s));
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

    fn request(&self, id: &RecordId) -> Option<&Said> {
        self.requests.values().find(|s| s.record.id() == *id)
    }

    fn is_open(&self, request: &Said) -> bool {
        let answered = self.answered.get(&request.record.author());
        answered.is_none_or(|a| request.at > *a) && !self.expired.contains(&request.record.id())
    }

    fn is_running(&self, grant: &Said) -> bool {
        let Body::TurnGrant(body) = grant.record.body() else {
            return false;
        };
        let released = self.released.get(&body.holder);
        released.is_none_or(|r| grant.at > *r) && !self.expired.contains(&grant.record.id())
    }
}

/// Keeps the later of two of one author.
fn latest(kept: &mut BTreeMap<PublicKey, Said>, said: Said) -> bool {
    let author = said.record.author();
    let number = |said: &Said| (said.record.payload().seq, said.record.id());
    let newer = kept.get(&author).is_none_or(|k| number(k) < number(&said));
    if newer {
        kept.insert(author, said);
    }
    newer
}

fn raise(marks: &mut BTreeMap<PublicKey, u64>, key: PublicKey, at: u64) -> bool {
    let mark = marks.entry(key).or_default();
    let higher = *mark < at;
    *mark = at.max(*mark);
    higher
}

//! The floor: whose turn it is, and who asked for the next one. A pure reducer over records that may come in
//! any order; how long a turn has lasted is the session's to measure.
//!
//! In active mode whoever leads grants each turn. In passive mode, or when nobody who leads is there, the turn
//! passes to the first in the queue, and whoever asks again goes to its end.
//!
//! What answers a raised hand, and what ends a turn, names it: no clock that is wrong or lies can undo either.

use std::collections::BTreeMap;

use crate::id::{PublicKey, RecordId};
use crate::record::{Body, Record};

/// Behind by more than this, a grant of somebody new to a busy circle counts as made when it was heard.
pub(super) const CONCURRENT: u64 = 1 << 10;

/// A turn somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The grant, or the hand that it passed on to.
    pub id: RecordId,
    /// Whose.
    pub holder: PublicKey,
    /// For at most this long.
    pub seconds: u16,
}

/// A request, grant or extension.
#[derive(Debug, Clone)]
struct Said {
    record: Record,
    /// Of a grant: when it was made, as the latest of several counts. Of a hand: when it was raised, as far as
    /// its author can be believed.
    at: u64,
    /// The Lamport time here at which it was answered, given back or ended, or its time was over.
    over: Option<u64>,
}

impl Said {
    /// Whose hand or turn it is.
    fn holder(&self) -> PublicKey {
        match self.record.body() {
            Body::TurnGrant(grant) => grant.holder,
            _ => self.record.author(),
        }
    }

    /// The hand or turn.
    fn id(&self) -> RecordId {
        match self.record.body() {
            Body::TurnRequest(request) => request.hand(&self.record.author()),
            _ => self.record.id(),
        }
    }
}

/// Turn and queue.
#[derive(Debug, Clone, Default)]
pub struct Floor {
    /// The latest request of each person.
    requests: BTreeMap<PublicKey, Said>,
    /// The latest grant of each authority.
    grants: BTreeMap<PublicKey, Said>,
    /// The latest extension of each authority: which turn, how long in all.
    extensions: BTreeMap<PublicKey, Said>,
    /// The last hand or turn of each person that ended before word of it came, and when.
    ended: BTreeMap<PublicKey, (RecordId, u64)>,
    /// Who has the turn without a grant, by which hand.
    passed_on: Option<(PublicKey, RecordId)>,
    /// The last place in the queue when the turn passed on from somebody: they come after it.
    had: BTreeMap<PublicKey, u64>,
}

impl Floor {
    /// Raised hands but the one that has the `turn`, next first.
    pub(super) fn queue(&self, turn: Option<RecordId>) -> impl Iterator<Item = PublicKey> {
        let mut raised: Vec<_> = self.open().filter(|s| Some(s.id()) != turn).collect();
        raised.sort_by_key(|s| self.place(s));
        raised.into_iter().map(Said::holder)
    }

    /// Whose turn it is. Grants by keys that `leads` denies are passed over, and those to whom `may_speak` denies
    /// them end nothing.
    pub(super) fn turn(
        &self,
        turn_seconds: u16,
        leads: impl Fn(&PublicKey) -> bool,
        may_speak: impl Fn(&PublicKey) -> bool,
    ) -> Option<Turn> {
        let granted = self
            .grants
            .values()
            .filter(|s| leads(&s.record.author()))
            .max_by_key(|s| (s.at, s.id()))
            .filter(|s| s.over.is_none() && may_speak(&s.holder()));
        let said = granted.or_else(|| self.hand(self.passed_on?))?;
        let seconds = match said.record.body() {
            Body::TurnGrant(grant) => grant.seconds,
            _ => turn_seconds,
        };
        let extended = self
            .extensions
            .values()
            .filter(|s| leads(&s.record.author()))
            .filter_map(|s| match s.record.body() {
                Body::TurnExtend(e) if e.turn == said.id() => Some(e.seconds),
                _ => None,
            });
        Some(Turn {
            id: said.id(),
            holder: said.holder(),
            seconds: extended.chain([seconds]).max().unwrap_or(seconds),
        })
    }

    /// The latest request of somebody whose hand is up, unless the turn passed on to them and that counts.
    pub(super) fn request_of(&self, member: &PublicKey, granted: bool) -> Option<&Record> {
        let said = self.requests.get(member).filter(|s| s.over.is_none())?;
        let holds = self.passed_on == Some((*member, said.id())) && !granted;
        (!holds).then_some(&said.record)
    }

    /// The hand that somebody has up.
    pub(super) fn hand_of(&self, member: &PublicKey) -> Option<RecordId> {
        let said = self.requests.get(member).filter(|s| s.over.is_none());
        said.map(Said::id)
    }

    /// Hands that are up: whose, which, and the request that said so last.
    pub(super) fn hands(&self) -> impl Iterator<Item = (PublicKey, RecordId, RecordId)> {
        self.open().map(|s| (s.holder(), s.id(), s.record.id()))
    }

    /// What somebody who comes in now needs to know: open requests, and the grant in force.
    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        let grants = self.grants.values().filter(|s| s.over.is_none());
        let said = grants.chain(self.extensions.values()).chain(self.open());
        said.map(|s| &s.record)
    }

    /// Takes a turn request, grant, release or extension in, at this Lamport time here. Whether it changed
    /// anything.
    pub(super) fn take(&mut self, record: &Record, clock: u64) -> bool {
        let lamport = record.payload().lamport;
        let mut said = Said {
            record: record.clone(),
            at: match lamport.saturating_add(CONCURRENT) < clock {
                true => clock,
                false => lamport.min(clock),
            },
            over: None,
        };
        let holder = said.holder();
        let ended = self.ended.get(&holder);
        said.over = ended.filter(|e| e.0 == said.id()).map(|e| e.1);
        match record.body() {
            Body::TurnRequest(request) => {
                let before = self.requests.get(&holder).map(|b| (b.id(), b.over));
                let known = self.requests.get(&holder).filter(|b| b.id() == said.id());
                said.at = known.map_or(request.since.min(clock), |b| b.at);
                // Whoever says later that their hand is up was not reached by what took it down.
                let over = known.and_then(|b| b.over).or(said.over);
                said.over = over.filter(|over| lamport <= *over);
                let after = (said.id(), said.over);
                latest(&mut self.requests, said) && before != Some(after)
            }
            Body::TurnGrant(grant) => {
                let answered = grant.hand.is_some_and(|hand| self.end(holder, hand, clock));
                latest(&mut self.grants, said) || answered
            }
            Body::TurnRelease(release) => self.end(release.holder, release.turn, clock),
            Body::TurnExtend(_) => latest(&mut self.extensions, said),
            _ => false,
        }
    }

    /// Without a grant, passes the turn to the first in the queue of those who are here. Whoever has it keeps it;
    /// but if it has only `just_begun`, those who raised their hands at once may not have heard of each other.
    pub(super) fn pass_on(
        &mut self,
        just_begun: bool,
        is_here: impl Fn(&PublicKey) -> bool,
    ) -> bool {
        let current = self.passed_on;
        let holds = current.filter(|turn| self.hand(*turn).is_some() && is_here(&turn.0));
        if holds.is_some() && !just_begun {
            return false;
        }
        if let Some((who, _)) = current.filter(|_| holds.is_none())
            && let Some(last) = self.open().map(|s| self.place(s).0).max()
        {
            let had = self.had.entry(who).or_default();
            *had = last.max(*had);
        }
        let waiting = self.open().filter(|s| is_here(&s.holder()));
        let first = waiting.min_by_key(|s| self.place(s));
        self.passed_on = first.map(|s| (s.holder(), s.id()));
        self.passed_on != current
    }

    /// From now on turns are granted; whoever has the turn keeps it until it ends.
    pub(super) fn stop_passing_on(&mut self) -> bool {
        let ended = self.passed_on.is_some_and(|turn| self.hand(turn).is_none());
        ended && self.passed_on.take().is_some()
    }

    /// Somebody who has been here longer says which hand has the turn.
    pub(super) fn adopt(&mut self, turn: &RecordId) -> bool {
        let known = self.open().find(|s| s.id() == *turn).map(Said::holder);
        let passed_on = known.map(|holder| (holder, *turn));
        let change = passed_on.is_some() && self.passed_on != passed_on;
        if change {
            self.passed_on = passed_on;
        }
        change
    }

    /// Somebody is no longer here: neither hand nor turn of theirs remains.
    pub(super) fn forget(&mut self, member: &PublicKey, clock: u64) {
        for said in self.all().filter(|s| s.holder() == *member) {
            said.over.get_or_insert(clock);
        }
    }

    /// Ends a turn because its time is over.
    pub(super) fn expire(&mut self, turn: &RecordId, clock: u64) {
        for said in self.all().filter(|s| s.id() == *turn) {
            said.over.get_or_insert(clock);
        }
    }

    /// Ends a hand or turn of `holder`'s, now or when word of it comes. Whether it was up or running.
    fn end(&mut self, holder: PublicKey, turn: RecordId, clock: u64) -> bool {
        let theirs = |s: &&mut Said| s.id() == turn && s.holder() == holder;
        if let Some(said) = self.all().find(theirs) {
            return said.over.replace(clock).is_none();
        }
        self.ended.insert(holder, (turn, clock));
        false
    }

    /// A hand's place in the queue: since when it is up, but never before those who waited when the turn last
    /// passed on from its holder.
    fn place(&self, hand: &Said) -> (u64, bool, PublicKey) {
        let holder = hand.holder();
        match self.had.get(&holder) {
            Some(had) if *had >= hand.at => (*had, true, holder),
            _ => (hand.at, false, holder),
        }
    }

    /// Hands that are up.
    fn open(&self) -> impl Iterator<Item = &Said> {
        self.requests.values().filter(|s| s.over.is_none())
    }

    fn hand(&self, (holder, id): (PublicKey, RecordId)) -> Option<&Said> {
        let said = self.requests.get(&holder);
        said.filter(|s| s.over.is_none() && s.id() == id)
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Said> {
        self.grants.values_mut().chain(self.requests.values_mut())
    }
}

/// Keeps the later of two of one author.
fn latest(kept: &mut BTreeMap<PublicKey, Said>, said: Said) -> bool {
    let number = |said: &Said| (said.record.payload().seq, said.record.id());
    let author = said.record.author();
    let newer = kept.get(&author).is_none_or(|k| number(k) < number(&said));
    if newer {
        kept.insert(author, said);
    }
    newer
}

//! Who has authority, and what of their words stands. Effects depend on chains, never on clocks:
//!
//! 1. Each key owns one hash chain. A place with two different entries is a fork: the chain stands up to it.
//! 2. The recovery key names the leading keys one after another, and cuts the chain of the one before.
//! 3. The leading keys' chains name co-leaders, and cut theirs when they take the authority back.
//! 4. A co-leader's removal of another co-leader cuts their chain too. All such removals count at once,
//!    whoever removed whom first; nothing else after the cut does.
//! 5. A removal stands wherever it is in its author's chain: a gap, or a fork, loses none. A cut ends that too,
//!    and leaves what is on its branch: whoever lost the authority signs nothing more that counts.
//!
//! What stands is ordered by Lamport time, then rank, author and position: the same order for everybody who
//! holds the same records, however they came.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{PublicKey, RecordId};
use crate::record::{Body, Charter, Cut, Record, Removal, Role};
use crate::weakness::Weakness;

use super::chains::Chains;

/// How far beyond what leading keys have come to an entry may be dated, and how far a record outside the chains
/// moves the clocks of others: more than a circle ever makes, too little to use the numbers up.
pub const MAX_LAMPORT_STEP: u64 = 1 << 20;

/// What a key with authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The group key, or the key that succeeded it; the latest of them leads.
    Leader,
    /// A pseudonym that was made co-leader.
    CoLeader,
}

/// The authority of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Power {
    /// As what.
    pub rank: Rank,
    /// What the first entry of its chain follows.
    begins: RecordId,
    /// Set by somebody above: nothing after it stands.
    cut: Option<Cut>,
    /// Set by other co-leaders: only removals of co-leaders stand after it.
    disputed: Option<Cut>,
    /// The last entry that stands.
    head: (u64, RecordId),
    /// The first place with two different entries.
    fork: Option<u64>,
}

impl Power {
    fn new(rank: Rank, begins: RecordId) -> Self {
        Self {
            rank,
            begins,
            cut: None,
            disputed: None,
            head: (0, begins),
            fork: None,
        }
    }
    /// Whether what it signs from now on can stand.
    pub fn is_live(&self) -> bool {
        self.cut.is_none() && self.disputed.is_none() && self.fork.is_none()
    }
    /// As what it has authority.
    pub(super) fn rank(&self) -> Rank {
        self.rank
    }
    /// What the first entry of its chain follows.
    pub(super) fn begins(&self) -> RecordId {
        self.begins
    }
    /// Where somebody above cut its chain.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.cut
    }
    /// Where others cut its chain.
    pub(super) fn cuts(&self) -> impl Iterator<Item = Cut> {
        self.cut.into_iter().chain(self.disputed)
    }
    /// The earliest of these.
    pub(super) fn end(&self) -> Option<Cut> {
        self.cuts().min_by_key(|cut| (cut.seq, cut.id))
    }
    /// Position and id of the last entry that stands.
    pub fn head(&self) -> (u64, RecordId) {
        self.head
    }
    /// The first place of its chain with two different entries.
    pub fn fork(&self) -> Option<u64> {
        self.fork
    }
}

/// Who has authority, in what order it passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Powers {
    by_key: BTreeMap<PublicKey, Power>,
    /// Leading keys with their pseudonyms, the present one last.
    leaders: Vec<(PublicKey, PublicKey)>,
    /// Some entry claims a time far beyond what leading keys have come to, and stands once they do.
    has_far: bool,
    /// Highest Lamport time of what stands of the leading keys.
    led: u64,
}

impl Powers {
    /// Of one key.
    pub fn of(&self, key: &PublicKey) -> Option<&Power> {
        self.by_key.get(key)
    }
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Power)> {
        self.by_key.iter()
    }
    /// The key that leads now.
    pub fn leading_key(&self) -> PublicKey {
        self.leaders[self.leaders.len() - 1].0
    }
    /// The pseudonym of whoever leads now.
    pub fn leader(&self) -> PublicKey {
        self.leaders[self.leaders.len() - 1].1
    }
    pub(super) fn rank(&self, key: &PublicKey) -> Option<Rank> {
        self.of(key).map(|p| p.rank)
    }
    pub(super) fn is_live_co_leader(&self, key: &PublicKey) -> bool {
        self.of(key)
            .is_some_and(|p| p.rank == Rank::CoLeader && p.is_live())
    }
    /// Whether this pseudonym leads or ever led.
    pub(super) fn ever_led(&self, pseudonym: &PublicKey) -> bool {
        self.leaders.iter().any(|(_, p)| p == pseudonym)
    }
    /// The highest Lamport time at which the next entry may stand: a step beyond what leading keys have come to;
    /// theirs two, so that one after any co-leader's does.
    pub(super) fn furthest(&self, rank: Rank) -> u64 {
        let steps = match rank {
            Rank::Leader => 2,
            Rank::CoLeader => 1,
        };
        self.led.saturating_add(steps * MAX_LAMPORT_STEP)
    }

    /// Whether an entry follows the last one of its chain, and comes after all that stands.
    pub(super) fn goes_on_with(&self, record: &Record, lamport: u64) -> bool {
        let p = record.payload();
        self.of(&record.author()).is_some_and(|power| {
            power.is_live()
                && !self.has_far
                && p.seq == power.head.0 + 1
                && p.prev == Some(power.head.1)
                && p.lamport > lamport
                && p.lamport <= self.furthest(power.rank)
        })
    }
    pub(super) fn extend(&mut self, record: &Record) {
        if let Some(power) = self.by_key.get_mut(&record.author()) {
            power.head = (record.payload().seq, record.id());
            if power.rank == Rank::Leader {
                self.led = self.led.max(record.payload().lamport);
            }
        }
    }
}

/// Who has authority, and what stands, in order.
pub(super) fn standing<'a>(chains: &'a Chains, charter: &Charter) -> (Powers, Vec<&'a Record>) {
    let mut powers = leaders(chains, charter);
    add_co_leaders(chains, &mut powers);
    let is_co_leader = |key: &PublicKey| powers.rank(key) == Some(Rank::CoLeader);
    let mut standing = Vec::new();
    let mut heads = Vec::new();
    for (key, power) in &powers.by_key {
        let end = power.end();
        let path = chains.path(key, power.begins, end);
        let last = path.last().map(|r| (r.payload().seq, r.id()));
        // A fork that a cut has settled freezes nothing any more than the cut does.
        heads.push((last.unwrap_or((0, power.begins)), chains.fork(key)));
        let mut taken: BTreeSet<RecordId> = path.iter().map(|r| r.id()).collect();
        let stands = |record, is_on_path| Standing {
            record,
            rank: power.rank,
            is_on_path,
        };
        standing.extend(path.into_iter().map(|record| stands(record, true)));
        for (record, removal) in chains.removals(key, power.begins, power.cut) {
            let late = end.is_some_and(|end| record.payload().seq > end.seq);
            if (!late || is_co_leader(&removal.subject)) && taken.insert(record.id()) {
                standing.push(stands(record, false));
            }
        }
    }
    for (power, (head, fork)) in powers.by_key.values_mut().zip(heads) {
        (power.head, power.fork) = (head, fork);
    }
    let all = standing.len();
    let standing = in_order(standing, &mut powers);
    powers.has_far = standing.len() < all;
    (powers, standing)
}

/// The leading keys one after another, by the recovery key.
fn leaders(chains: &Chains, charter: &Charter) -> Powers {
    let own = chains.founding().id();
    let mut powers = Powers {
        by_key: BTreeMap::from([(charter.group_key, Power::new(Rank::Leader, own))]),
        leaders: vec![(charter.group_key, charter.leader)],
        has_far: false,
        led: 0,
    };
    for entry in chains.path(&charter.recovery_key, own, None) {
        let Body::Succession(succession) = entry.body() else {
            continue;
        };
        let before = powers.leading_key();
        let new = succession.group_key;
        if powers.by_key.contains_key(&new) || new == charter.recovery_key {
            continue;
        }
        if let Some(last) = powers.by_key.get_mut(&before) {
            last.cut = Some(succession.cut);
        }
        powers
            .by_key
            .insert(new, Power::new(Rank::Leader, entry.id()));
        powers.leaders.push((new, succession.leader));
    }
    powers
}

/// Co-leaders, by the leading keys; then what they say of one another.
fn add_co_leaders(chains: &Chains, powers: &mut Powers) {
    let leaders: Vec<_> = powers
        .leaders
        .iter()
        .filter_map(|(key, _)| powers.of(key).map(|p| (*key, p.begins, p.cut)))
        .collect();
    for (key, begins, cut) in &leaders {
        for entry in chains.path(key, *begins, *cut) {
            match entry.body() {
                Body::Delegation(d) if d.role == Role::CoLeader => {
                    // Whoever lost the authority does not get it again under the same key.
                    let power = Power::new(Rank::CoLeader, entry.id());
                    powers.by_key.entry(d.subject).or_insert(power);
                }
                Body::Revocation(r) if !chains.weak.lacks(Weakness::Cut) => {
                    if let Some(power) = co_leader(powers, &r.subject) {
                        power.cut = earlier(power.cut, Some(r.cut));
                    }
                }
                _ => {}
            }
        }
    }
    for (key, begins, cut) in &leaders {
        for (_, removal) in chains.removals(key, *begins, *cut) {
            if let Some(power) = co_leader(powers, &removal.subject) {
                power.cut = earlier(power.cut, Some(cut_of(removal, power)));
            }
        }
    }
    let quarrels: Vec<_> = powers
        .by_key
        .iter()
        .filter(|(_, p)| p.rank == Rank::CoLeader)
        .flat_map(|(key, power)| chains.removals(key, power.begins, power.cut))
        .map(|(_, removal)| removal)
        .collect();
    for removal in quarrels {
        if let Some(power) = co_leader(powers, &removal.subject) {
            power.disputed = earlier(power.disputed, Some(cut_of(removal, power)));
        }
    }
}

fn co_leader<'a>(powers: &'a mut Powers, key: &PublicKey) -> Option<&'a mut Power> {
    let power = powers.by_key.get_mut(key);
    power.filter(|p| p.rank == Rank::CoLeader)
}

/// What a removal leaves of a co-leader's chain: nothing, when its author knew of none.
fn cut_of(removal: &Removal, power: &Power) -> Cut {
    removal.cut.unwrap_or(Cut {
        seq: 0,
        id: power.begins,
    })
}

fn earlier(one: Option<Cut>, other: Option<Cut>) -> Option<Cut> {
    one.into_iter()
        .chain(other)
        .min_by_key(|cut| (cut.seq, cut.id))
}

/// An entry that stands.
struct Standing<'a> {
    record: &'a Record,
    rank: Rank,
    /// It follows the one before it; otherwise it is a removal that stands by itself.
    is_on_path: bool,
}

/// By Lamport time, rank, author and position; without what claims a time far beyond what leading keys had come
/// to. Nothing is near for an entry that its author could take away again: a co-leader's, or one beside the path.
fn in_order<'a>(mut standing: Vec<Standing<'a>>, powers: &mut Powers) -> Vec<&'a Record> {
    standing.sort_by_key(|entry| {
        let p = entry.record.payload();
        (p.lamport, entry.rank, p.author, p.seq, entry.record.id())
    });
    powers.led = 0;
    standing.retain(|entry| {
        let lamport = entry.record.payload().lamport;
        let near = lamport <= powers.furthest(entry.rank);
        if near && entry.rank == Rank::Leader && entry.is_on_path {
            powers.led = lamport;
        }
        near
    });
    standing.into_iter().map(|entry| entry.record).collect()
}

//! What keys with authority have signed, and which of it stands. Effects depend on chains, never on clocks:
//!
//! 1. Each key owns one hash chain. A place with two different entries is a fork: the chain stands up to it.
//! 2. The recovery key names the leading keys one after another, and cuts the chain of the one before.
//! 3. The leading keys' chains name co-leaders, and cut theirs when they take the authority back.
//! 4. A co-leader's removal of another co-leader cuts their chain too. All such removals count at once,
//!    whoever removed whom first; nothing else after the cut does.
//! 5. A removal stands wherever it is in its author's chain, up to a cut: a gap, or a fork, loses none.
//!
//! What stands is ordered by Lamport time, then rank, author and position: the same order for everybody who
//! holds the same records, however they came.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{PublicKey, RecordId};
use crate::record::{Body, Charter, Cut, Head, Record, Removal, Role};
use crate::weakness::{Weak, Weakness};

/// Most entries of one chain.
pub const MAX_CHAIN: usize = 1 << 16;
/// Most different entries kept for one place of a chain: removals first, then by id, so that everybody keeps
/// the same ones.
const MAX_BRANCHES: usize = 16;

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
    /// Whether what it signs from now on can stand.
    pub fn is_live(&self) -> bool {
        self.cut.is_none() && self.disputed.is_none() && self.fork.is_none()
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

    fn extend(&mut self, record: &Record) {
        if let Some(power) = self.by_key.get_mut(&record.author()) {
            power.head = (record.payload().seq, record.id());
            if power.rank == Rank::Leader {
                self.led = self.led.max(record.payload().lamport);
            }
        }
    }
}

/// Every entry by author and position.
#[derive(Debug, Clone)]
pub struct Chains {
    founding: Record,
    entries: BTreeMap<PublicKey, BTreeMap<u64, Vec<Record>>>,
    pub(super) weak: Weak,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It simply follows the last one of its chain and comes after all others.
    Next,
    /// It is new, and everything must be looked at again.
    New,
    /// It is there already.
    Known,
    /// There is no room.
    Full,
}

impl Chains {
    pub(super) fn new(founding: &Record) -> Self {
        Self {
            founding: founding.clone(),
            entries: BTreeMap::new(),
            weak: Weak::default(),
        }
    }

    /// The charter as signed.
    pub fn founding(&self) -> &Record {
        &self.founding
    }

    pub(super) fn insert(
        &mut self,
        record: &Record,
        powers: &mut Powers,
        lamport: u64,
    ) -> Inserted {
        let chain = self.entries.entry(record.author()).or_default();
        let p = record.payload();
        if chain.len() >= MAX_CHAIN {
            return Inserted::Full;
        }
        let after = chain.range(p.seq + 1..).next().is_some();
        let place = chain.entry(p.seq).or_default();
        if place.iter().any(|r| r.id() == record.id()) {
            return Inserted::Known;
        }
        if !place.is_empty() && self.weak.lacks(Weakness::Fork) {
            return Inserted::Known;
        }
        place.push(record.clone());
        place.sort_by_key(|r| (!matches!(r.body(), Body::Removal(_)), r.id()));
        if place.len() > MAX_BRANCHES && place.pop().is_some_and(|r| r.id() == record.id()) {
            return Inserted::Full;
        }
        let alone = place.len() == 1 && !after;
        let next = powers.of(&record.author()).is_some_and(|power| {
            power.is_live()
                && !powers.has_far
                && p.seq == power.head.0 + 1
                && p.prev == Some(power.head.1)
                && alone
                && p.lamport > lamport
                && p.lamport <= powers.furthest(power.rank)
        });
        if next {
            powers.extend(record);
            return Inserted::Next;
        }
        Inserted::New
    }

    /// Both entries of the first place of each forked chain: proof for others.
    pub fn forks(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.entries.values().filter_map(|chain| {
            let place = chain.values().find(|place| place.len() > 1)?;
            let (one, other) = (&place[0], &place[1]);
            Some(match one.id() < other.id() {
                true => (one, other),
                false => (other, one),
            })
        })
    }

    /// Where each chain stops to stand: the last entry that does, and the one after it.
    pub(super) fn ends<'a>(&'a self, powers: &'a Powers) -> impl Iterator<Item = &'a Record> {
        powers.iter().flat_map(|(key, power)| {
            let last = power.head.0;
            [last, last + 1]
                .into_iter()
                .flat_map(|seq| self.place(key, seq))
        })
    }

    /// How far each chain is held without a gap.
    pub fn heads(&self) -> Vec<Head> {
        let gapless = |chain: &BTreeMap<u64, Vec<Record>>| {
            (1..)
                .zip(chain.keys())
                .take_while(|(at, seq)| at == *seq)
                .count() as u64
        };
        self.entries
            .iter()
            .map(|(author, chain)| Head {
                author: *author,
                seq: gapless(chain),
            })
            .filter(|head| head.seq > 0)
            .collect()
    }

    /// Every entry that somebody who has read up to `heads` may be missing, chain by chain.
    pub fn after(&self, heads: &[Head]) -> Vec<&Record> {
        let mut entries = Vec::new();
        for (author, chain) in &self.entries {
            let read = heads.iter().find(|h| h.author == *author);
            let from = read.map_or(0, |h| h.seq).saturating_add(1);
            entries.extend(chain.range(from..).flat_map(|(_, place)| place));
        }
        entries
    }

    /// Every entry.
    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.entries.values().flat_map(BTreeMap::values).flatten()
    }

    /// The last entry of a chain that begins with the charter.
    pub(super) fn end_of(&self, author: &PublicKey) -> (u64, RecordId) {
        let begins = self.founding.id();
        let path = self.path(author, begins, None);
        path.last()
            .map_or((0, begins), |r| (r.payload().seq, r.id()))
    }

    /// The end of the longest branch of the leading key's chain: what a succession goes on from.
    pub(super) fn tip(&self, powers: &Powers) -> Option<Cut> {
        let key = powers.leading_key();
        let power = powers.of(&key)?;
        let chain = self.entries.get(&key);
        let entries = chain.into_iter().flat_map(|c| c.values().rev().flatten());
        let ends = entries.map(|r| Cut {
            seq: r.payload().seq,
            id: r.id(),
        });
        let own = Cut {
            seq: power.head.0,
            id: power.head.1,
        };
        ends.chain([own])
            .find(|cut| self.path_to(&key, power.begins, *cut).is_some())
    }

    pub(super) fn holds(&self, entry: &Record) -> bool {
        let place = self.place(&entry.author(), entry.payload().seq);
        place.iter().any(|r| r.id() == entry.id())
    }

    fn place(&self, author: &PublicKey, seq: u64) -> &[Record] {
        self.entries
            .get(author)
            .and_then(|chain| chain.get(&seq))
            .map_or(&[], Vec::as_slice)
    }

    fn fork(&self, author: &PublicKey) -> Option<u64> {
        let chain = self.entries.get(author)?;
        chain.iter().find(|(_, p)| p.len() > 1).map(|(seq, _)| *seq)
    }

    /// The entries of a chain that follow one another from its beginning to its end, a gap, a fork or a cut.
    /// A cut names one branch of a fork, and so settles it.
    fn path(&self, author: &PublicKey, begins: RecordId, cut: Option<Cut>) -> Vec<&Record> {
        let settled = cut.and_then(|cut| self.path_to(author, begins, cut));
        settled.unwrap_or_else(|| {
            let mut path = Vec::new();
            let mut last = begins;
            let most = cut.map_or(u64::MAX, |c| c.seq);
            for seq in 1..=most {
                match self.place(author, seq) {
                    [entry] if entry.payload().prev == Some(last) => {
                        last = entry.id();
                        path.push(entry);
                    }
                    _ => break,
                }
            }
            path
        })
    }

    /// The entries from the beginning to a cut, if all of them are here.
    fn path_to(&self, author: &PublicKey, begins: RecordId, cut: Cut) -> Option<Vec<&Record>> {
        let mut path = Vec::new();
        let mut id = cut.id;
        for seq in (1..=cut.seq).rev() {
            let entry = self.place(author, seq).iter().find(|r| r.id() == id)?;
            id = entry.payload().prev?;
            path.push(entry);
        }
        path.reverse();
        (id == begins).then_some(path)
    }

    /// Removals of one author wherever they are in the chain, up to a cut.
    fn removals(
        &self,
        author: &PublicKey,
        cut: Option<Cut>,
    ) -> impl Iterator<Item = (&Record, &Removal)> {
        let most = cut.map_or(u64::MAX, |c| c.seq);
        let chain = self.entries.get(author).into_iter();
        chain
            .flat_map(move |chain| chain.range(..=most).flat_map(|(_, place)| place))
            .filter_map(|record| match record.body() {
                Body::Removal(removal) => Some((record, removal)),
                _ => None,
            })
    }

    /// Who has authority, and what stands, in order.
    pub(super) fn standing(&self, charter: &Charter) -> (Powers, Vec<&Record>) {
        let mut powers = self.leaders(charter);
        self.add_co_leaders(&mut powers);
        let mut standing = Vec::new();
        for (rank, key, cut, disputed, begins) in powers
            .by_key
            .iter()
            .map(|(key, p)| (p.rank, *key, p.cut, p.disputed, p.begins))
            .collect::<Vec<_>>()
        {
            let end = earlier(cut, disputed);
            let path = self.path(&key, begins, end);
            let mut taken: BTreeSet<RecordId> = path.iter().map(|r| r.id()).collect();
            if let Some(power) = powers.by_key.get_mut(&key) {
                power.head = path
                    .last()
                    .map_or((0, begins), |r| (r.payload().seq, r.id()));
                // A fork that a cut has settled freezes nothing any more than the cut does.
                power.fork = self.fork(&key);
            }
            standing.extend(path.into_iter().map(|r| (rank, r)));
            for (record, removal) in self.removals(&key, cut) {
                let late = end.is_some_and(|end| record.payload().seq > end.seq);
                let of_co_leader = powers.rank(&removal.subject) == Some(Rank::CoLeader);
                if (!late || of_co_leader) && taken.insert(record.id()) {
                    standing.push((rank, record));
                }
            }
        }
        let all = standing.len();
        let standing = in_order(standing, &mut powers);
        powers.has_far = standing.len() < all;
        (powers, standing)
    }

    /// The leading keys one after another, by the recovery key.
    fn leaders(&self, charter: &Charter) -> Powers {
        let power = |begins| Power {
            rank: Rank::Leader,
            begins,
            cut: None,
            disputed: None,
            head: (0, begins),
            fork: None,
        };
        let own = self.founding.id();
        let mut powers = Powers {
            by_key: BTreeMap::from([(charter.group_key, power(own))]),
            leaders: vec![(charter.group_key, charter.leader)],
            has_far: false,
            led: 0,
        };
        for entry in self.path(&charter.recovery_key, own, None) {
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
            powers.by_key.insert(new, power(entry.id()));
            powers.leaders.push((new, succession.leader));
        }
        powers
    }

    /// Co-leaders, by the leading keys; then what they say of one another.
    fn add_co_leaders(&self, powers: &mut Powers) {
        let leaders: Vec<_> = powers
            .leaders
            .iter()
            .filter_map(|(key, _)| powers.of(key).map(|p| (*key, p.begins, p.cut)))
            .collect();
        for (key, begins, cut) in &leaders {
            for entry in self.path(key, *begins, *cut) {
                match entry.body() {
                    Body::Delegation(d) if d.role == Role::CoLeader => {
                        // Whoever lost the authority does not get it again under the same key.
                        powers.by_key.entry(d.subject).or_insert(Power {
                            rank: Rank::CoLeader,
                            begins: entry.id(),
                            cut: None,
                            disputed: None,
                            head: (0, entry.id()),
                            fork: None,
                        });
                    }
                    Body::Revocation(r) if !self.weak.lacks(Weakness::Cut) => {
                        if let Some(power) = co_leader(powers, &r.subject) {
                            power.cut = earlier(power.cut, Some(r.cut));
                        }
                    }
                    _ => {}
                }
            }
        }
        for (key, _, cut) in &leaders {
            for (_, removal) in self.removals(key, *cut) {
                if let Some(power) = co_leader(powers, &removal.subject) {
                    power.cut = earlier(power.cut, Some(cut_of(removal, power)));
                }
            }
        }
        let quarrels: Vec<_> = powers
            .by_key
            .iter()
            .filter(|(_, p)| p.rank == Rank::CoLeader)
            .flat_map(|(key, power)| self.removals(key, power.cut))
            .map(|(_, removal)| removal)
            .collect();
        for removal in quarrels {
            if let Some(power) = co_leader(powers, &removal.subject) {
                power.disputed = earlier(power.disputed, Some(cut_of(removal, power)));
            }
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

/// By Lamport time, rank, author and position; without what claims a time far beyond what leading keys had come
/// to. Nothing is near for a co-leader's entry alone: they could take it away again.
fn in_order<'a>(mut standing: Vec<(Rank, &'a Record)>, powers: &mut Powers) -> Vec<&'a Record> {
    standing.sort_by_key(|(rank, r)| {
        let p = r.payload();
        (p.lamport, *rank, p.author, p.seq, r.id())
    });
    powers.led = 0;
    standing.retain(|(rank, record)| {
        let lamport = record.payload().lamport;
        let near = lamport <= powers.furthest(*rank);
        if near && *rank == Rank::Leader {
            powers.led = lamport;
        }
        near
    });
    standing.into_iter().map(|(_, record)| record).collect()
}

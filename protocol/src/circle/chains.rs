//! What keys with authority have signed: every entry by author and place.
//!
//! A place with two different entries is a fork. Whoever holds a key, or once did, can sign any number for one
//! place; so a place keeps the removals with the lowest ids, all else with the lowest ids, and whatever a cut
//! leaves or what stood before the first fork consists of. Nothing is pushed out on which something rests, and
//! what counts is the same for everybody who was shown the same.

use std::collections::BTreeMap;

use crate::id::{PublicKey, RecordId};
use crate::record::{Body, Cut, Head, MAX_HEADS, Record, Removal};
use crate::weakness::{Weak, Weakness};

use super::authority::{Power, Powers};

/// Most entries of one chain.
pub const MAX_CHAIN: usize = 1 << 16;
/// Most removals that count of one place, and most other entries kept there that nothing rests on.
const MAX_BRANCHES: usize = 16;
/// So many places below the one where a cut's branch breaks off, others are shown what is held instead.
const SHOWN_BELOW: u64 = 64;

/// Every entry by author and place.
#[derive(Debug, Clone)]
pub struct Chains {
    founding: Record,
    chains: BTreeMap<PublicKey, Chain>,
    /// What was kept once is not pushed out by what was kept later.
    pub(super) is_loading: bool,
    pub(super) weak: Weak,
}

#[derive(Debug, Clone, Default)]
struct Chain {
    /// Of each place the removals, then all else; each by id.
    places: BTreeMap<u64, Vec<Record>>,
    /// The end of the chain when the second entry for one place came.
    stood: Option<Cut>,
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
            chains: BTreeMap::new(),
            is_loading: false,
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
        let (author, seq) = (record.author(), record.payload().seq);
        let held = self.place(&author, seq);
        if held.iter().any(|r| r.id() == record.id()) {
            return Inserted::Known;
        }
        let forks = !held.is_empty();
        if forks && self.weak.lacks(Weakness::Fork) {
            return Inserted::Known;
        }
        let is_crowded = held.len() >= MAX_BRANCHES && !self.is_loading;
        let stood = self.chains.get(&author).and_then(|chain| chain.stood);
        let stood = stood.or_else(|| forks.then(|| self.end_of(&author)).flatten());
        let is_long = |chain: &Chain| chain.places.len() >= MAX_CHAIN;
        let is_full = !forks && self.chains.get(&author).is_some_and(is_long);
        let kept = match is_crowded || is_full {
            true => self.rests_on(&author, seq, powers, stood),
            false => Vec::new(),
        };
        if is_full && !kept.contains(&record.id()) {
            return Inserted::Full;
        }
        let chain = self.chains.entry(author).or_default();
        let alone = !forks && chain.places.range(seq..).next().is_none();
        chain.stood = stood;
        let place = chain.places.entry(seq).or_default();
        place.push(record.clone());
        place.sort_by_key(|r| (!is_removal(r), r.id()));
        if is_crowded {
            thin_out(place, &kept);
            if !place.iter().any(|r| r.id() == record.id()) {
                return Inserted::Full;
            }
        }
        match alone && powers.goes_on_with(record, lamport) {
            true => {
                powers.extend(record);
                Inserted::Next
            }
            false => Inserted::New,
        }
    }

    /// The entries of a place on which something rests, here or not.
    fn rests_on(
        &self,
        author: &PublicKey,
        seq: u64,
        powers: &Powers,
        stood: Option<Cut>,
    ) -> Vec<RecordId> {
        let cuts = powers.of(author).into_iter().flat_map(Power::cuts);
        let ends = cuts.chain(stood);
        ends.filter_map(|cut| self.left_by(author, cut, seq))
            .collect()
    }

    /// Both entries of the first place of each forked chain: proof for others.
    pub fn forks(&self) -> impl Iterator<Item = (&Record, &Record)> {
        self.chains.values().filter_map(|chain| {
            let place = chain.places.values().find(|place| place.len() > 1)?;
            let (one, other) = (&place[0], &place[1]);
            Some(match one.id() < other.id() {
                true => (one, other),
                false => (other, one),
            })
        })
    }

    /// What two may differ in who have read a chain equally far: where it stops to stand, the last entry that
    /// does and the one after it; where it is forked, the branch that a cut names, from its end; and removals
    /// that stand by themselves. Whoever does not have that branch shows what they have instead, so that others
    /// know of the fork.
    pub(super) fn disputed<'a>(&'a self, powers: &'a Powers) -> impl Iterator<Item = &'a Record> {
        powers.iter().flat_map(|(key, power)| {
            let last = power.head().0;
            let mut entries: Vec<_> = [last, last + 1]
                .into_iter()
                .flat_map(|seq| self.place(key, seq))
                .collect();
            if let Some(cut) = power.end() {
                match self.path_to(key, power.begins(), cut) {
                    Some(path) => entries.extend(path.into_iter().rev().filter(|entry| {
                        let place = self.place(key, entry.payload().seq);
                        place.len() > 1
                    })),
                    None => {
                        let breaks = self.breaks_at(key, cut);
                        let below = breaks.saturating_sub(SHOWN_BELOW)..=breaks;
                        entries.extend(below.flat_map(|seq| self.place(key, seq)));
                    }
                }
            }
            let removals = self.removals(key, power.begins(), power.cut());
            let beside = removals.into_iter().map(|(removal, _)| removal);
            entries.extend(beside.filter(|r| {
                let seq = r.payload().seq;
                seq > last || self.place(key, seq).len() > 1
            }));
            entries
        })
    }

    /// The last entry of the recovery key's chain, and the one after it.
    pub(super) fn succession(&self) -> impl Iterator<Item = &Record> {
        let key = self.recovery_key();
        let last = self.path(&key, self.founding.id(), None).len() as u64;
        [last, last + 1]
            .into_iter()
            .flat_map(move |seq| self.place(&key, seq))
    }

    /// How far each chain is held without a gap, as far as it counts: a cut ends it. The first so many that a
    /// hello holds.
    pub(super) fn heads(&self, powers: &Powers) -> Vec<Head> {
        self.counted(powers)
            .into_iter()
            .map(|(author, _, seq)| Head { author, seq })
            .filter(|head| head.seq > 0)
            .take(MAX_HEADS)
            .collect()
    }

    /// Every entry that somebody who has read up to `heads` may be missing, chain by chain: one for each place,
    /// what a cut leaves, or what stood here before a fork. What contradicts it is told beside.
    pub(super) fn after(&self, heads: &[Head], powers: &Powers) -> Vec<&Record> {
        let mut entries = Vec::new();
        for (author, power, last) in self.counted(powers) {
            let read = heads.iter().find(|h| h.author == author);
            let from = read.map_or(0, |h| h.seq).saturating_add(1);
            if from > last {
                continue;
            }
            let settled = power.and_then(|p| self.path_to(&author, p.begins(), p.cut()?));
            let branch = settled.unwrap_or_else(|| match power {
                Some(power) => self.branch(&author, power),
                None => self.path(&author, self.founding.id(), None),
            });
            entries.extend((from..=last).filter_map(|seq| {
                let held = self.place(&author, seq).first();
                branch.get(seq as usize - 1).copied().or(held)
            }));
        }
        entries
    }

    /// The chains of the recovery key, of leading keys and of co-leaders, present and former, and how far they
    /// count.
    fn counted<'a>(&self, powers: &'a Powers) -> Vec<(PublicKey, Option<&'a Power>, u64)> {
        let mut all: Vec<_> = powers
            .iter()
            .map(|(key, power)| (*key, Some(power)))
            .chain([(self.recovery_key(), None)])
            .collect();
        all.sort_by_key(|(key, power)| (power.map(Power::rank), *key));
        all.into_iter()
            .map(|(author, power)| {
                let most = power.and_then(Power::cut).map_or(u64::MAX, |cut| cut.seq);
                (author, power, self.gapless(&author).min(most))
            })
            .collect()
    }

    fn recovery_key(&self) -> PublicKey {
        match self.founding.body() {
            Body::Charter(charter) => charter.recovery_key,
            _ => self.founding.author(),
        }
    }

    /// The last place before the first gap.
    fn gapless(&self, author: &PublicKey) -> u64 {
        let places = self.chains.get(author).into_iter();
        let places = places.flat_map(|chain| chain.places.keys());
        (1..).zip(places).take_while(|(at, seq)| at == *seq).count() as u64
    }

    /// Every entry.
    pub fn all(&self) -> impl Iterator<Item = &Record> {
        let places = self.chains.values().flat_map(|c| c.places.values());
        places.flatten()
    }

    pub(super) fn holds(&self, entry: &Record) -> bool {
        let place = self.place(&entry.author(), entry.payload().seq);
        place.iter().any(|r| r.id() == entry.id())
    }

    fn place(&self, author: &PublicKey, seq: u64) -> &[Record] {
        self.chains
            .get(author)
            .and_then(|chain| chain.places.get(&seq))
            .map_or(&[], Vec::as_slice)
    }

    /// The first place with two different entries.
    pub(super) fn fork(&self, author: &PublicKey) -> Option<u64> {
        let chain = self.chains.get(author)?;
        let fork = chain.places.iter().find(|(_, place)| place.len() > 1)?;
        Some(*fork.0)
    }

    /// The entries of a chain that follow one another from its beginning to its end, a gap, a fork or a cut.
    /// A cut names one branch of a fork, and so settles it.
    pub(super) fn path(
        &self,
        author: &PublicKey,
        begins: RecordId,
        cut: Option<Cut>,
    ) -> Vec<&Record> {
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

    /// What a chain should be cut at: its path, or where a fork lets less of it stand than before, what stood.
    pub(super) fn branch(&self, author: &PublicKey, power: &Power) -> Vec<&Record> {
        let path = self.path(author, power.begins(), power.end());
        let most = power.end().map_or(u64::MAX, |cut| cut.seq);
        let chain = self.chains.get(author);
        chain
            .and_then(|chain| chain.stood)
            .filter(|stood| stood.seq > path.len() as u64 && stood.seq <= most)
            .and_then(|stood| self.path_to(author, power.begins(), stood))
            .unwrap_or(path)
    }

    /// The entries from the beginning to a cut, if all of them are here.
    fn path_to(&self, author: &PublicKey, begins: RecordId, cut: Cut) -> Option<Vec<&Record>> {
        let mut path = Vec::new();
        let mut id = cut.id;
        for seq in (1..=cut.seq).rev() {
            let entry = self.entry(author, seq, id)?;
            id = entry.payload().prev?;
            path.push(entry);
        }
        path.reverse();
        (id == begins).then_some(path)
    }

    /// Which entry of a place a cut leaves, whether or not it is here; known if all those above it are.
    fn left_by(&self, author: &PublicKey, cut: Cut, seq: u64) -> Option<RecordId> {
        let mut id = cut.id;
        for above in (seq + 1..=cut.seq).rev() {
            id = self.entry(author, above, id)?.payload().prev?;
        }
        (seq <= cut.seq).then_some(id)
    }

    /// The highest place where an entry is missing that a cut leaves.
    fn breaks_at(&self, author: &PublicKey, cut: Cut) -> u64 {
        let mut id = Some(cut.id);
        let mut seq = cut.seq;
        while let Some(entry) = id.and_then(|id| self.entry(author, seq, id)) {
            id = entry.payload().prev;
            seq = seq.saturating_sub(1);
        }
        seq
    }

    fn entry(&self, author: &PublicKey, seq: u64, id: RecordId) -> Option<&Record> {
        self.place(author, seq).iter().find(|r| r.id() == id)
    }

    /// The end of a chain that has no fork, wherever it begins.
    fn end_of(&self, author: &PublicKey) -> Option<Cut> {
        let begins = self.place(author, 1).first()?.payload().prev?;
        self.path(author, begins, None).last().map(|r| Cut {
            seq: r.payload().seq,
            id: r.id(),
        })
    }

    /// Removals of one author that count: those that a cut leaves; without one, or where its branch is not
    /// here, those wherever they are in the chain, of each place the ones with the lowest ids.
    pub(super) fn removals(
        &self,
        author: &PublicKey,
        begins: RecordId,
        cut: Option<Cut>,
    ) -> Vec<(&Record, &Removal)> {
        let left = cut.and_then(|cut| self.path_to(author, begins, cut));
        let anywhere = || {
            let most = cut.map_or(u64::MAX, |c| c.seq);
            let chain = self.chains.get(author).into_iter();
            let places = chain.flat_map(|chain| chain.places.range(..=most));
            places
                .flat_map(|(_, place)| place.iter().take(MAX_BRANCHES))
                .collect()
        };
        let entries: Vec<_> = left.unwrap_or_else(anywhere);
        let removals = entries
            .into_iter()
            .filter_map(|record| match record.body() {
                Body::Removal(removal) => Some((record, removal)),
                _ => None,
            });
        removals.collect()
    }
}

fn is_removal(record: &Record) -> bool {
    matches!(record.body(), Body::Removal(_))
}

/// Of the removals of a place and of all else the lowest ids stay, besides what something rests on.
fn thin_out(place: &mut Vec<Record>, kept: &[RecordId]) {
    let mut before = [0; 2];
    place.retain(|record| {
        let alike = &mut before[usize::from(is_removal(record))];
        *alike += 1;
        *alike <= MAX_BRANCHES || kept.contains(&record.id())
    });
}

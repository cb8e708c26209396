//! The topic directory: circles whose leaders say in public that people may come in.
//!
//! An announcement is a record by the group key that holds the charter, the invite and a stamp. Relays keep those that
//! have not run out and hand them to whoever asks; whoever is handed one verifies it as they did. It is held to be:
//!
//! - signed by the group key of the charter in it, for the circle that this charter founds;
//! - of a relayed circle that can be entered without a token: the invite leads there, and to nothing weaker;
//! - short-lived: 45 minutes where people may come at once, else until an hour after the meeting, at most a week;
//! - stamped: a second of a machine's work for each, so that nobody fills the directory for nothing.
//!
//! The one with the highest number counts, as long as any earlier one could be shown again. One without seats says that
//! nobody is looked for any more; it lasts as long as what it takes back.
//!
//! Where there is no room, work decides: whoever proves [`OUTBID`] times the work for each minute takes the place of the
//! one that proves least. A directory that somebody fills with little work is open to whoever does more.

mod listing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::id::CircleId;

pub use listing::{
    Listing, ListingError, MAX_ANNOUNCEMENT_BYTES, MEETING_MINUTES, MOST_EFFORT, OPEN_MINUTES,
    Offer, PLANNED_MINUTES, STAMP,
};

/// How many times the work for each minute takes another one's place.
pub const OUTBID: u64 = 4;
/// Circles of which a directory remembers what counts no longer, for each one it has room for.
const REMEMBERED: usize = 4;

/// What a stamp proves, and for how long it was paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Expected tries.
    pub tries: u64,
    /// What they were made for, minutes.
    pub minutes: u64,
}

impl Work {
    /// Whether this is [`OUTBID`] times as much for each minute.
    fn outbids(&self, other: &Self) -> bool {
        self.tries.saturating_mul(other.minutes)
            >= (other.tries)
                .saturating_mul(self.minutes)
                .saturating_mul(OUTBID)
    }

    /// Work for each minute, to be compared.
    fn by_minute(&self) -> u64 {
        (self.tries << 16) / self.minutes
    }
}

/// Words as they are compared: in small letters, with single spaces.
pub fn plain(words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// Why a directory does not take an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// It is there.
    #[error("the directory has this announcement")]
    Known,
    /// One with the same number or a higher one is known.
    #[error("the directory knows a newer announcement of this circle")]
    Older,
    /// As many as may be of this topic and language, and none with so little work that this one takes its place.
    #[error("the directory has no more room for this topic")]
    TopicFull,
    /// As many as may be, and none with so little work that this one takes its place.
    #[error("the directory is full")]
    Full,
}

/// Announcements that have not run out: the newest of each circle.
#[derive(Debug)]
pub struct Directory {
    listings: BTreeMap<CircleId, (Arc<Listing>, Work)>,
    /// Circles of which an announcement that counts no longer could be brought again: the number to exceed, and until when.
    outdated: BTreeMap<CircleId, (u64, u64)>,
    most: usize,
    most_per_topic: usize,
}

impl Directory {
    /// An empty one with room for so many, and so many of one topic in one language.
    pub fn new(most: usize, most_per_topic: usize) -> Self {
        Self {
            listings: BTreeMap::new(),
            outdated: BTreeMap::new(),
            most,
            most_per_topic,
        }
    }

    /// Whether this one is news: to be asked before its stamp is looked at.
    ///
    /// # Errors
    /// Why not.
    pub fn wants(&self, listing: &Listing) -> Result<(), Untaken> {
        let circle = listing.circle();
        let known = self.listings.get(&circle).map(|(known, _)| known);
        if known.is_some_and(|known| known.envelope() == listing.envelope()) {
            return Err(Untaken::Known);
        }
        let outdated = self.outdated.get(&circle).map(|(number, _)| *number);
        let number = known.map(|known| known.number()).max(outdated);
        let newer = number.is_none_or(|number| number < listing.number());
        newer.then_some(()).ok_or(Untaken::Older)
    }

    /// Takes an announcement with the work that its stamp was found to prove.
    ///
    /// # Errors
    /// Why not.
    pub fn take(&mut self, listing: Arc<Listing>, work: Work) -> Result<(), Untaken> {
        self.wants(&listing)?;
        let circle = listing.circle();
        match self.listings.get(&circle).map(|(known, _)| known.expires()) {
            Some(until) => self.outdate(circle, listing.number(), until),
            None => self.make_room(&listing, work)?,
        }
        self.listings.insert(circle, (listing, work));
        Ok(())
    }

    /// Remembers which number is the least that counts, as long as what it replaces could be shown.
    fn outdate(&mut self, circle: CircleId, number: u64, until: u64) {
        let (least, last) = self.outdated.entry(circle).or_default();
        (*least, *last) = (number, until.max(*last));
        if self.outdated.len() > self.most * REMEMBERED {
            let first = self.outdated.iter().min_by_key(|(_, (_, until))| *until);
            let first = first.map(|(circle, _)| *circle);
            first.and_then(|circle| self.outdated.remove(&circle));
        }
    }

    fn make_room(&mut self, listing: &Listing, work: Work) -> Result<(), Untaken> {
        let shelf = listing.shelf();
        let beside = |l: &Listing| l.shelf() == shelf;
        if self.listings.values().filter(|(l, _)| beside(l)).count() >= self.most_per_topic {
            return self
                .outbid(work, beside)
                .then_some(())
                .ok_or(Untaken::TopicFull);
        }
        if self.listings.len() >= self.most {
            return self
                .outbid(work, |_| true)
                .then_some(())
                .ok_or(Untaken::Full);
        }
        Ok(())
    }

    /// Forgets the one with the least work among these, if this much takes its place.
    fn outbid(&mut self, work: Work, among: impl Fn(&Listing) -> bool) -> bool {
        let among = self.listings.iter().filter(|(_, (l, _))| among(l));
        let least = among.min_by_key(|(_, (_, work))| work.by_minute());
        let least = least.filter(|(_, (_, least))| work.outbids(least));
        let least = least.map(|(circle, _)| *circle);
        least.is_some_and(|circle| self.listings.remove(&circle).is_some())
    }

    /// Forgets what has run out.
    pub fn expire(&mut self, minute: u64) {
        self.listings.retain(|_, (l, _)| l.expires() >= minute);
        self.outdated.retain(|_, (_, until)| *until >= minute);
    }

    /// What there is in a language, or in all.
    pub fn find(&self, language: Option<&str>) -> impl Iterator<Item = &Arc<Listing>> {
        let language = language.map(plain);
        let spoken = move |l: &&Arc<Listing>| match &language {
            Some(language) => plain(&l.charter().language) == *language,
            None => true,
        };
        self.listings.values().map(|(l, _)| l).filter(spoken)
    }

    /// Announcements held.
    pub fn len(&self) -> usize {
        self.listings.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listings.is_empty()
    }
}

//! The relay's topic directory: what leaders announce, for whoever asks, and for other relays.
//!
//! Whatever comes is looked at in the order of what it costs: its form and signatures, whether it is news, and
//! last its stamp, which costs us as much as one try costs whoever made it. So many stamps a second are looked at, one
//! after another: so many of one source, so many of all clients, and some for other relays, whatever clients do.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{Semaphore, broadcast};
use undertone_protocol::{
    directory::{Directory, Listing, Untaken},
    id::CircleId,
};

use super::RelayLimits;
use crate::clock::unix_minute;
use crate::net::{Budget, TokenBucket, directory::Taken};

/// Stamps looked at for clients: an eighth of a core at most.
const CLIENTS: Budget = Budget {
    per_second: 4.0,
    burst: 60.0,
};
/// … and for one source: an address, or one line of an entry.
const SOURCE: Budget = Budget {
    per_second: 1.0,
    burst: 30.0,
};
/// What a stamp that is not paid for counts as: a minute of a source's.
const UNPAID: f64 = 60.0;
/// … and for the relays that we are linked to, all together.
const LINKS: Budget = Budget {
    per_second: 3.0,
    burst: 60.0,
};
/// Sources remembered.
const MOST_SOURCES: usize = 4_096;
/// News that a slow follower may lag behind.
const NEWS: usize = 64;

/// See the module.
pub(crate) struct TopicDirectory {
    directory: Mutex<Directory>,
    /// Circles that the operator does not show.
    refused: BTreeSet<CircleId>,
    budgets: Mutex<Budgets>,
    /// One at a time.
    looking: Semaphore,
    news: broadcast::Sender<Bytes>,
}

/// Who brings an announcement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bringer {
    /// A relay that we are linked to.
    Link,
    /// Anybody else.
    Client(SocketAddr),
}

struct Budgets {
    clients: TokenBucket,
    links: TokenBucket,
    sources: HashMap<SocketAddr, TokenBucket>,
    /// Clients one of whose stamps is being looked at.
    looked_at: HashSet<SocketAddr>,
}

impl Budgets {
    fn new(now: Instant) -> Self {
        Self {
            clients: TokenBucket::new(CLIENTS, now),
            links: TokenBucket::new(LINKS, now),
            sources: HashMap::new(),
            looked_at: HashSet::new(),
        }
    }

    /// Whether another stamp can be looked at for them, of clients one at a time. It is taken for unpaid until it is
    /// [settled](Self::settle).
    fn take(&mut self, from: Bringer, now: Instant) -> bool {
        let source = match from {
            Bringer::Link => return self.links.take(1.0, now),
            Bringer::Client(source) => source,
        };
        if self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&source) {
            // Whose bucket is full again is nobody in particular.
            self.sources
                .retain(|_, bucket| !bucket.holds(SOURCE.burst, now));
            if self.sources.len() >= MOST_SOURCES {
                return false;
            }
        }
        if self.looked_at.contains(&source) {
            return false;
        }
        let bucket = self.sources.entry(source);
        let taken = bucket
            .or_insert_with(|| TokenBucket::new(SOURCE, now))
            .take(1.0, now)
            && self.clients.take(1.0, now);
        if taken {
            self.looked_at.insert(source);
        }
        taken
    }

    /// The stamp was looked at; one that was not paid for costs them more.
    fn settle(&mut self, from: Bringer, paid: bool, now: Instant) {
        let Bringer::Client(source) = from else {
            return;
        };
        self.looked_at.remove(&source);
        if let Some(bucket) = self.sources.get_mut(&source).filter(|_| !paid) {
            bucket.owe(UNPAID, now);
        }
    }
}

impl TopicDirectory {
    pub(crate) fn new(limits: &RelayLimits, refused: BTreeSet<CircleId>) -> Self {
        Self {
            directory: Mutex::new(Directory::new(limits.listings, limits.listings_per_topic)),
            refused,
            budgets: Mutex::new(Budgets::new(Instant::now())),
            looking: Semaphore::new(1),
            news: broadcast::channel(NEWS).0,
        }
    }

    /// Looks at what somebody announces, and takes it if it is well.
    pub(crate) async fn offer(&self, announcement: &Bytes, from: Bringer) -> Taken {
        let Ok(listing) = Listing::read(announcement, unix_minute()) else {
            return Taken::Unacceptable;
        };
        if self.refused.contains(&listing.circle()) {
            return Taken::Refused;
        }
        if let Err(why) = self.directory().wants(&listing) {
            return why.into();
        }
        if !self.budgets().take(from, Instant::now()) {
            return Taken::Busy;
        }
        let Ok(_turn) = self.looking.acquire().await else {
            return Taken::Busy;
        };
        let listing = Arc::new(listing);
        let looked_at = {
            let listing = Arc::clone(&listing);
            tokio::task::spawn_blocking(move || listing.work())
        };
        let work = looked_at.await.ok().flatten();
        self.budgets().settle(from, work.is_some(), Instant::now());
        let Some(work) = work else {
            return Taken::Unpaid;
        };
        if let Err(why) = self.directory().take(listing, work) {
            return why.into();
        }
        // Nobody may be following.
        let _ = self.news.send(announcement.clone());
        Taken::Yes
    }

    /// What there is in a language; in all if it is empty.
    pub(crate) fn find(&self, language: &str) -> Vec<Arc<Listing>> {
        let language = (!language.is_empty()).then_some(language);
        let directory = self.directory();
        directory.find(language).map(Arc::clone).collect()
    }

    /// What is taken from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Bytes> {
        self.news.subscribe()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.directory().len()
    }

    fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Without what has run out.
    fn directory(&self) -> MutexGuard<'_, Directory> {
        let mut directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        directory.expire(unix_minute());
        directory
    }
}

impl From<Untaken> for Taken {
    fn from(why: Untaken) -> Self {
        match why {
            Untaken::Known => Self::Yes,
            Untaken::Older => Self::Older,
            Untaken::TopicFull => Self::TopicFull,
            Untaken::Full => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_source_does_not_take_what_others_and_relays_need() {
        let (now, mut budgets) = (Instant::now(), Budgets::new(Instant::now()));
        let source = |n: u16| Bringer::Client(SocketAddr::from(([127, 0, 0, 1], n)));
        assert!(budgets.take(source(1), now));
        assert!(!budgets.take(source(1), now), "one at a time");
        budgets.settle(source(1), true, now);
        let mut takes = |n: u16, paid: bool, now: Instant| {
            let taken = budgets.take(source(n), now);
            if taken {
                budgets.settle(source(n), paid, now);
            }
            taken
        };
        let looked_at = (0..1_000).filter(|_| takes(1, true, now)).count();
        assert_eq!(looked_at, SOURCE.burst as usize - 1);
        assert!(takes(2, true, now), "somebody else");
        for n in 0..1_000 {
            takes(n, true, now);
        }
        assert!(!takes(2_000, true, now), "all clients together");
        let later = now + Duration::from_secs(60);
        assert!(takes(2_000, false, later));
        assert!(budgets.take(Bringer::Link, now));
        assert!(!budgets.take(source(2_000), later + Duration::from_secs(25)));
        assert!(budgets.take(source(2_000), later + Duration::from_secs(35)));
    }

    #[test]
    fn sources_are_remembered_in_limited_number() {
        let (now, mut budgets) = (Instant::now(), Budgets::new(Instant::now()));
        for n in 0..20_000u16 {
            let from = Bringer::Client(([127, 0, 0, 1], n).into());
            if budgets.take(from, now) {
                budgets.settle(from, true, now);
            }
        }
        assert!(budgets.looked_at.is_empty());
        assert!(budgets.sources.len() <= MOST_SOURCES);
        let later = now + Duration::from_secs(600);
        assert!(budgets.take(Bringer::Client(([127, 0, 0, 2], 1).into()), later));
        assert_eq!(budgets.sources.len(), 1);
    }
}

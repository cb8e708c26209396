//! The relay's topic directory: what leaders announce, for whoever asks, and for other relays.
//!
//! Whatever comes is looked at in the order of what it costs: its form and signatures, whether there is room for it, and
//! last its stamp, which costs us as much as one try costs whoever made it. So many stamps a second are looked at, one
//! after another.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
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

/// Stamps looked at: a fifth of a core at most.
const STAMPS: Budget = Budget {
    per_second: 6.0,
    burst: 60.0,
};
/// News that a slow follower may lag behind.
const NEWS: usize = 64;

/// See the module.
pub(crate) struct TopicDirectory {
    directory: Mutex<Directory>,
    /// Circles that the operator does not show.
    refused: BTreeSet<CircleId>,
    budget: Mutex<TokenBucket>,
    /// One at a time.
    looking: Semaphore,
    news: broadcast::Sender<Bytes>,
}

impl TopicDirectory {
    pub(crate) fn new(limits: &RelayLimits, refused: BTreeSet<CircleId>) -> Self {
        Self {
            directory: Mutex::new(Directory::new(limits.listings, limits.listings_per_topic)),
            refused,
            budget: Mutex::new(TokenBucket::new(STAMPS, Instant::now())),
            looking: Semaphore::new(1),
            news: broadcast::channel(NEWS).0,
        }
    }

    /// Looks at what somebody announces, and takes it if it is well.
    pub(crate) async fn offer(&self, announcement: &Bytes) -> Taken {
        let Ok(listing) = Listing::read(announcement, unix_minute()) else {
            return Taken::Unacceptable;
        };
        if self.refused.contains(&listing.circle()) {
            return Taken::Refused;
        }
        if let Err(why) = self.directory().wants(&listing) {
            return why.into();
        }
        let affordable = {
            let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
            budget.take(1.0, Instant::now())
        };
        if !affordable {
            return Taken::Busy;
        }
        let Ok(_turn) = self.looking.acquire().await else {
            return Taken::Busy;
        };
        let looked_at =
            tokio::task::spawn_blocking(move || listing.is_stamped().then_some(listing));
        let Ok(Some(listing)) = looked_at.await else {
            return Taken::Unpaid;
        };
        if let Err(why) = self.directory().take(listing) {
            return why.into();
        }
        // Nobody may be following.
        let _ = self.news.send(announcement.clone());
        Taken::Yes
    }

    /// What there is in a language; in all if it is empty.
    pub(crate) fn find(&self, language: &str) -> Vec<Bytes> {
        let language = (!language.is_empty()).then_some(language);
        let directory = self.directory();
        let found = directory.find(language);
        found
            .map(|l| Bytes::copy_from_slice(l.envelope()))
            .collect()
    }

    /// What is taken from now on.
    pub(crate) fn follow(&self) -> broadcast::Receiver<Bytes> {
        self.news.subscribe()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.directory().len()
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
            Untaken::Older => Self::Older,
            Untaken::TopicFull => Self::TopicFull,
            Untaken::Full => Self::Full,
        }
    }
}

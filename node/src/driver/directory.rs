//! Topic directories, from a person's side: looking for circles in them, and showing a circle one leads there.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use undertone_protocol::directory::{Listing, MEETING_MINUTES, MOST_EFFORT, Offer, STAMP};
use undertone_protocol::identity::GroupKey;

use crate::api::{Announced, Announcing, Listed, Search};
use crate::clock::unix_minute;
use crate::net::directory::{self, DirectoryError, Taken, Wanted};
use crate::net::{RelayPath, SocketFactory};

/// How often what is shown is shown anew: it would run out, and people come and go.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// When it is tried again after it went wrong once; each further time twice as late, up to [`AGAIN`].
const RETRY: Duration = Duration::from_secs(30);
/// Zero bits more for a stamp, each time that there was no room: four times the work.
const MORE_EFFORT: u8 = 2;
/// Time for taking back what is shown, when one has left already.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What the directories of relays have in a language: the newest of each circle, those that are open now first, then by
/// time. Inside a tokio runtime.
///
/// # Errors
/// In one plain sentence, when a relay's address cannot be read or none of them answers.
pub async fn find(search: &Search, socket: SocketFactory) -> Result<Vec<Listed>, String> {
    let ways = super::ways::paths(&search.relays).map_err(|error| error.to_string())?;
    let found = directory::find(&ways, &search.language, socket).await;
    let found = found.map_err(|error| error.to_string())?;
    let minute = unix_minute();
    let mut listings: Vec<Listing> = Vec::new();
    for listing in found.iter().flat_map(|bytes| Listing::read(bytes, minute)) {
        match listings.iter_mut().find(|l| l.circle() == listing.circle()) {
            Some(known) if known.number() < listing.number() => *known = listing,
            Some(_) => {}
            None => listings.push(listing),
        }
    }
    listings.retain(|listing| listing.seats() > 0);
    listings.sort_by_key(|l| (l.next_meeting(), l.charter().title.clone()));
    let asked: BTreeSet<_> = ways.iter().map(|way| way.entry.addr).collect();
    Ok(listings.iter().map(|l| listed(l, &asked)).collect())
}

/// For somebody whose address these relays see.
fn listed(listing: &Listing, asked: &BTreeSet<SocketAddr>) -> Listed {
    let charter = listing.charter();
    let ways = listing.invite().addresses.iter();
    let entries = ways.flat_map(|way| way.parse::<RelayPath>());
    // Any of them may be the one that a member comes in by, and many share an address.
    let entries = entries.map(|way| way.entry.addr);
    let strangers: BTreeSet<_> = (entries.filter(|entry| !asked.contains(entry)))
        .map(|entry| entry.ip())
        .collect();
    Listed {
        circle: listing.circle(),
        topic: charter.topic.clone(),
        title: charter.title.clone(),
        language: charter.language.clone(),
        admission: charter.admission,
        seats: listing.seats(),
        next_meeting: listing.next_meeting(),
        schedule: charter.schedule.clone(),
        listener_welcome: charter.listener_welcome,
        route: charter.route,
        link: listing.invite().to_link(),
        strangers: strangers.into_iter().collect(),
    }
}

/// Why something was not announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotPosted {
    pub why: String,
    /// More work might make room.
    pub no_room: bool,
}

impl NotPosted {
    fn because(error: &impl ToString) -> Self {
        Self {
            why: error.to_string(),
            no_room: false,
        }
    }

    pub fn given_up() -> Self {
        Self::because(&"it was given up")
    }
}

/// Why nobody who looks for circles sees one that is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Hidden {
    #[error("its door is closed; it is shown once you open it")]
    DoorClosed,
    #[error("it is full; it is shown once a place is free")]
    Full,
}

/// What is to be said of a circle in its relays' directories.
pub(super) struct Notice {
    pub offer: Offer,
    pub is_door_open: bool,
    pub key: GroupKey,
    pub ways: Vec<RelayPath>,
    pub socket: SocketFactory,
}

impl Notice {
    /// Stamps and signs it, and hands it to the directories.
    pub async fn post(self, cancel: CancellationToken) -> Result<u64, NotPosted> {
        let Self {
            offer,
            key,
            ways,
            socket,
            is_door_open: _,
        } = self;
        let wanted = match offer.seats {
            0 => Wanted::All,
            _ => Wanted::One,
        };
        let stopped = cancel.clone();
        let signed = move || offer.sign(&key, || !stopped.is_cancelled());
        let signed = tokio::task::spawn_blocking(signed).await;
        let bytes = match signed {
            Ok(Ok(Some(bytes))) => bytes,
            Ok(Err(error)) => return Err(NotPosted::because(&error)),
            Ok(Ok(None)) | Err(_) => return Err(NotPosted::given_up()),
        };
        let until = Listing::read(&bytes, unix_minute()).map_or(0, |l| l.expires());
        let posted = directory::announce(&ways, Bytes::from(bytes), wanted, socket).await;
        posted.map(|()| until).map_err(|error| NotPosted {
            no_room: matches!(
                error,
                DirectoryError::Untaken(Taken::Full | Taken::TopicFull)
            ),
            ..NotPosted::because(&error)
        })
    }

    /// Takes it back, in a limited time, unless there is none.
    pub async fn take_back(mut self, hurry: CancellationToken) {
        self.offer.seats = 0;
        let posted = tokio::time::timeout(LAST_WORDS, self.post(hurry.clone()));
        let posted = hurry.run_until_cancelled(posted).await;
        if !matches!(posted, Some(Ok(Ok(_)))) {
            tracing::debug!("what was announced will run out by itself");
        }
    }
}

/// Whether and how a circle is shown, and when to do something about it. Time is an argument.
#[derive(Default)]
pub(super) struct Announcer {
    wish: Announcing,
    /// When there is something to do, unless it is being done.
    next: Option<Instant>,
    busy: bool,
    /// Whether and until when it may be shown; 0 if that is not known.
    shown_until: Option<u64>,
    /// What is shown until then.
    shown: Announcing,
    /// Until when anything announced before could be shown again by somebody.
    latest: u64,
    /// Beyond that of any stamp, zero bits.
    effort: u8,
    /// Attempts that went wrong, one after another.
    failures: u32,
    problem: Option<String>,
}

impl Announcer {
    /// Of a circle that was announced for then, if that is not over.
    pub fn planned(meeting: Option<u64>, minute: u64, now: Instant) -> Self {
        let mut this = Self::default();
        if let Some(meeting) = meeting.filter(|m| m + MEETING_MINUTES > minute) {
            this.wish(Announcing::At(meeting), now);
            this.latest = meeting + MEETING_MINUTES;
            this.shown_until = Some(this.latest);
        }
        this
    }

    /// What the leader wants from now on.
    pub fn wish(&mut self, wish: Announcing, now: Instant) {
        self.wish = wish;
        self.problem = None;
        self.failures = 0;
        self.next = Some(now);
    }

    /// When to ask again.
    pub fn next(&self) -> Option<Instant> {
        self.next.filter(|_| !self.busy)
    }

    /// What is to be done now, if anything; it is taken to be under way then.
    pub fn due(&mut self, now: Instant, minute: u64) -> Option<Announcing> {
        // Clocks of waiting stand still while the machine sleeps, and what is shown runs out meanwhile.
        let has_run_out = self.wish != Announcing::No
            && (self.shown_until).is_some_and(|until| (1..minute).contains(&until));
        if has_run_out && self.failures == 0 {
            self.next = self.next.map(|_| now);
        }
        self.next().filter(|next| *next <= now)?;
        self.next = None;
        if matches!(self.wish, Announcing::At(m) if m + MEETING_MINUTES <= minute) {
            *self = Self::default();
            return None;
        }
        if self.wish == Announcing::No && self.shown_until.is_none() {
            return None;
        }
        // Whatever comes of it, it may be shown from now on.
        self.shown_until = self.shown_until.or(Some(0));
        self.busy = true;
        Some(self.wish)
    }

    /// It was done for this wish, or not.
    pub fn handle_posted(
        &mut self,
        wish: Announcing,
        hidden: Option<Hidden>,
        posted: Result<u64, NotPosted>,
        now: Instant,
    ) {
        self.busy = false;
        match posted {
            Ok(until) => {
                self.shown_until = (wish != Announcing::No).then_some(until);
                self.shown = wish;
                self.latest = self.latest.max(until);
                self.problem = hidden.map(|why| why.to_string());
                self.failures = 0;
                if self.next.is_none() && wish != Announcing::No {
                    self.next = Some(now + AGAIN);
                }
            }
            Err(NotPosted { why, no_room }) => {
                self.problem = Some(why);
                let pause = RETRY * 2u32.saturating_pow(self.failures.min(10));
                self.failures += 1;
                self.next = self.next.or(Some(now + pause.min(AGAIN)));
                if no_room {
                    let most = MOST_EFFORT - STAMP.zero_bits;
                    self.effort = (self.effort + MORE_EFFORT).min(most);
                }
            }
        }
    }

    /// Until when anything announced before could be shown again, minutes since 1970 UTC.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Zero bits for the next stamp.
    pub fn effort(&self) -> u8 {
        STAMP.zero_bits + self.effort
    }

    /// Whether something is shown that is not true once the leader has gone.
    pub fn leaves_traces(&self) -> bool {
        self.wish == Announcing::Now && (self.shown_until.is_some() || self.busy)
    }

    /// Whether anything may be shown.
    pub fn is_shown(&self) -> bool {
        self.shown_until.is_some() || self.busy
    }

    pub fn look(&self) -> Announced {
        Announced {
            wish: self.wish,
            shown_until: (self.shown_until).filter(|until| {
                *until > 0 && self.wish != Announcing::No && self.shown == self.wish
            }),
            problem: self.problem.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 29_000_000;

    fn no_relay() -> NotPosted {
        NotPosted::because(&"no relay")
    }

    #[test]
    fn what_is_shown_is_shown_anew_and_what_failed_is_tried_again() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        assert_eq!(announcer.due(now, MINUTE), None);
        announcer.wish(Announcing::Now, now);
        assert_eq!(announcer.due(now, MINUTE), Some(Announcing::Now));
        assert_eq!(announcer.due(now, MINUTE), None, "it is under way");
        announcer.handle_posted(Announcing::Now, None, Err(no_relay()), now);
        assert_eq!(announcer.look().problem.as_deref(), Some("no relay"));
        assert_eq!(announcer.due(now, MINUTE), None);
        let later = now + RETRY;
        assert_eq!(announcer.due(later, MINUTE), Some(Announcing::Now));
        announcer.handle_posted(Announcing::Now, None, Ok(MINUTE + 45), later);
        assert_eq!(announcer.look().shown_until, Some(MINUTE + 45));
        assert!(announcer.leaves_traces());
        assert_eq!(announcer.next(), Some(later + AGAIN));
    }

    #[test]
    fn what_ran_out_in_sleep_is_shown_anew_at_once() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        announcer.wish(Announcing::Now, now);
        assert!(announcer.due(now, MINUTE).is_some());
        announcer.handle_posted(Announcing::Now, None, Ok(MINUTE + 45), now);
        assert_eq!(announcer.due(now, MINUTE + 45), None);
        assert_eq!(announcer.due(now, MINUTE + 46), Some(Announcing::Now));
    }

    #[test]
    fn where_there_is_no_room_more_work_is_done() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        announcer.wish(Announcing::Now, now);
        let full = NotPosted {
            no_room: true,
            ..no_relay()
        };
        let mut bits = Vec::new();
        let mut then = now;
        for _ in 0..5 {
            assert!(announcer.due(then, MINUTE).is_some());
            bits.push(announcer.effort());
            announcer.handle_posted(Announcing::Now, None, Err(full.clone()), then);
            then = announcer.next().unwrap();
        }
        assert_eq!(bits, [5, 7, 9, 11, 11]);
        assert!(then - now > 5 * RETRY && then - now < AGAIN * 5);
    }

    #[test]
    fn only_what_was_shown_is_taken_back_and_a_change_of_mind_counts() {
        let now = Instant::now();
        let mut announcer = Announcer::default();
        announcer.wish(Announcing::No, now);
        assert_eq!(announcer.due(now, MINUTE), None);
        announcer.wish(Announcing::Now, now);
        assert!(announcer.due(now, MINUTE).is_some());
        announcer.wish(Announcing::No, now);
        announcer.handle_posted(Announcing::Now, None, Ok(MINUTE + 45), now);
        assert_eq!(announcer.due(now, MINUTE), Some(Announcing::No));
        announcer.handle_posted(Announcing::No, None, Err(no_relay()), now);
        assert!(announcer.is_shown());
        assert_eq!(announcer.due(now + RETRY, MINUTE), Some(Announcing::No));
        announcer.handle_posted(Announcing::No, None, Ok(MINUTE + 45), now);
        assert!(!announcer.is_shown());
        assert_eq!(announcer.next(), None);
    }

    #[test]
    fn a_meeting_is_announced_until_it_is_over_and_no_longer() {
        let now = Instant::now();
        let over = Announcer::planned(Some(MINUTE - MEETING_MINUTES), MINUTE, now);
        assert_eq!(over.next(), None);
        let mut announcer = Announcer::planned(Some(MINUTE + 10), MINUTE, now);
        let wish = Announcing::At(MINUTE + 10);
        assert_eq!(announcer.due(now, MINUTE), Some(wish));
        announcer.handle_posted(wish, None, Ok(MINUTE + 10 + MEETING_MINUTES), now);
        assert!(!announcer.leaves_traces(), "it is true without its leader");
        let after = MINUTE + 10 + MEETING_MINUTES;
        assert_eq!(announcer.due(now + AGAIN, after), None);
        assert_eq!(announcer.look(), Announced::default());
    }
}

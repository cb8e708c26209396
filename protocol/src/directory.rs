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
//! The one with the highest number counts; one without seats says that nobody is looked for any more.

use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use sha2::{Digest, Sha256};

use crate::id::{CircleId, RecordId};
use crate::identity::{Draft, GroupKey};
use crate::invite::Invite;
use crate::puzzle::Puzzle;
use crate::record::{
    AdmissionMode, Announcement, Body, CLOCK_TOLERANCE_MINUTES, Charter, PuzzleCost, Record,
    RecordError,
};

/// Largest announcement, bytes.
pub const MAX_ANNOUNCEMENT_BYTES: usize = 4 * 1024;
/// Longest life of an announcement that people may come at once, minutes.
pub const OPEN_MINUTES: u64 = 45;
/// Longest life of an announcement of a meeting, minutes.
pub const PLANNED_MINUTES: u64 = 7 * 24 * 60;
/// How long after its beginning a meeting is announced still, minutes.
pub const MEETING_MINUTES: u64 = 60;
/// What a stamp costs: about a second, 32 tries of 32 MiB.
pub const STAMP: PuzzleCost = PuzzleCost {
    memory_kib: 32 * 1024,
    zero_bits: 5,
};

/// Why bytes are no announcement that people could be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListingError {
    /// Over [`MAX_ANNOUNCEMENT_BYTES`].
    #[error("{0} bytes are more than an announcement may have")]
    TooLarge(usize),
    /// It, or the charter in it, is no acceptable record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Another kind of record, or one in it that is no charter.
    #[error("not an announcement of a circle")]
    NotAnAnnouncement,
    /// Signed by somebody else than the charter's group key, or about another circle.
    #[error("not by this circle's group key")]
    NotTheLeaders,
    /// Its invite cannot be read, leads elsewhere, or holds a token.
    #[error("its invite is not to this circle's door")]
    BadInvite,
    /// A direct circle, whose members would show their addresses to everybody, or one that asks for a token.
    #[error("only relayed circles that need no token can be announced")]
    NotPublic,
    /// Not valid yet or any more, or for too long.
    #[error("it has run out, or would last too long")]
    Lifetime,
}

/// A verified announcement. Only its stamp is looked at separately, as that takes a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    record: Record,
    charter: Charter,
    announcement: Announcement,
    invite: Invite,
}

impl Listing {
    /// Reads and verifies an announcement, at this minute since 1970 UTC.
    ///
    /// # Errors
    /// One [`ListingError`] per rule broken.
    pub fn read(bytes: &[u8], minute: u64) -> Result<Self, ListingError> {
        if bytes.len() > MAX_ANNOUNCEMENT_BYTES {
            return Err(ListingError::TooLarge(bytes.len()));
        }
        let record = Record::verify(bytes)?;
        let Body::Announcement(announcement) = record.body().clone() else {
            return Err(ListingError::NotAnAnnouncement);
        };
        let founding = Record::verify(&announcement.charter)?;
        let (Body::Charter(charter), Some(circle)) = (founding.body().clone(), founding.founds())
        else {
            return Err(ListingError::NotAnAnnouncement);
        };
        let payload = record.payload();
        if payload.author != charter.group_key || payload.circle != circle {
            return Err(ListingError::NotTheLeaders);
        }
        if !charter.route.is_relayed() || charter.admission == AdmissionMode::Invite {
            return Err(ListingError::NotPublic);
        }
        let invite = Invite::from_link(&announcement.link).map_err(|_| ListingError::BadInvite)?;
        let there = invite.circle == circle
            && invite.route == charter.route
            && invite.members == charter.max_members
            && invite.pace == charter.pace.unwrap_or_default()
            && invite.token.is_none()
            && !invite.addresses.is_empty();
        if !there {
            return Err(ListingError::BadInvite);
        }
        let begun = payload.created <= minute.saturating_add(CLOCK_TOLERANCE_MINUTES);
        let ended = payload.expires < minute || founding.check_time(minute).is_err();
        let last = last_minute(payload.created, announcement.next_meeting);
        if !begun || ended || payload.expires > last {
            return Err(ListingError::Lifetime);
        }
        Ok(Self {
            record,
            charter,
            announcement,
            invite,
        })
    }

    /// Whether its stamp is paid for. Takes about 30 ms, and 32 MiB.
    pub fn is_stamped(&self) -> bool {
        let payload = self.record.payload();
        let stamp = stamp(payload.circle, &self.charter, payload.seq, payload.expires);
        stamp.is_answer(self.announcement.stamp)
    }

    /// The circle.
    pub fn circle(&self) -> CircleId {
        self.invite.circle
    }
    /// What the circle is.
    pub fn charter(&self) -> &Charter {
        &self.charter
    }
    /// Where its door is.
    pub fn invite(&self) -> &Invite {
        &self.invite
    }
    /// Minutes since 1970 UTC of the meeting announced; people may come at once when absent.
    pub fn next_meeting(&self) -> Option<u64> {
        self.announcement.next_meeting
    }
    /// How many may still come in.
    pub fn seats(&self) -> u8 {
        self.announcement.seats
    }
    /// Minutes since 1970 UTC until which it is shown.
    pub fn expires(&self) -> u64 {
        self.record.payload().expires
    }
    /// Of two about one circle the one with the higher number counts.
    pub fn number(&self) -> u64 {
        self.record.payload().seq
    }
    /// As it was signed.
    pub fn envelope(&self) -> &[u8] {
        self.record.envelope()
    }

    fn shelf(&self) -> (String, String) {
        (plain(&self.charter.language), plain(&self.charter.topic))
    }
}

/// Until when an announcement may be shown.
fn last_minute(created: u64, next_meeting: Option<u64>) -> u64 {
    match next_meeting {
        None => created.saturating_add(OPEN_MINUTES),
        Some(meeting) => {
            (created.saturating_add(PLANNED_MINUTES)).min(meeting.saturating_add(MEETING_MINUTES))
        }
    }
}

/// Words as they are compared: in small letters, with single spaces.
pub fn plain(words: &str) -> String {
    let words: Vec<_> = words.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

fn stamp(circle: CircleId, charter: &Charter, number: u64, expires: u64) -> Puzzle {
    let mut purpose = Sha256::new();
    purpose.update(b"undertone/1/stamp");
    purpose.update(number.to_be_bytes());
    purpose.update(expires.to_be_bytes());
    Puzzle {
        cost: STAMP,
        circle,
        author: charter.group_key,
        purpose: RecordId::from_bytes(purpose.finalize().into()),
    }
}

/// An announcement to be stamped and signed.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The circle's charter.
    pub charter: Record,
    /// Where its door is; without a token.
    pub invite: Invite,
    /// Minutes since 1970 UTC of the meeting announced; people may come at once when absent.
    pub next_meeting: Option<u64>,
    /// How many may still come in; none takes an earlier announcement back.
    pub seats: u8,
    /// Above that of any earlier announcement of the circle.
    pub number: u64,
    /// Minutes since 1970 UTC.
    pub created: u64,
}

impl Offer {
    /// Looks for its stamp, about a second, and signs it; nothing if `go_on` says no meanwhile.
    ///
    /// # Errors
    /// What [`Listing::read`] would find wrong with it.
    pub fn sign(
        &self,
        key: &GroupKey,
        go_on: impl FnMut() -> bool,
    ) -> Result<Option<Vec<u8>>, ListingError> {
        let (Body::Charter(charter), Some(circle)) = (self.charter.body(), self.charter.founds())
        else {
            return Err(ListingError::NotAnAnnouncement);
        };
        let expires = last_minute(self.created, self.next_meeting);
        let stamped = stamp(circle, charter, self.number, expires).solve(go_on);
        let Some(stamp) = stamped else {
            return Ok(None);
        };
        let announcement = Announcement {
            charter: ByteVec::from(self.charter.envelope().to_vec()),
            next_meeting: self.next_meeting,
            seats: self.seats,
            link: self.invite.to_link(),
            stamp,
        };
        let draft = Draft {
            circle,
            seq: self.number,
            prev: None,
            lamport: 0,
            created: self.created,
            valid_minutes: expires.saturating_sub(self.created),
            body: announcement.into(),
        };
        let bytes = key.sign(draft)?.envelope().to_vec();
        Listing::read(&bytes, self.created)?;
        Ok(Some(bytes))
    }
}

/// Why a directory does not take an announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Untaken {
    /// One with the same number or a higher one is known.
    #[error("the directory knows a newer announcement of this circle")]
    Older,
    /// As many as may be of this topic and language.
    #[error("the directory has no more room for this topic")]
    TopicFull,
    /// As many as may be.
    #[error("the directory is full")]
    Full,
}

/// Announcements that have not run out: the newest of each circle. Who came first stays.
#[derive(Debug)]
pub struct Directory {
    listings: BTreeMap<CircleId, Listing>,
    most: usize,
    most_per_topic: usize,
}

impl Directory {
    /// An empty one with room for so many, and so many of one topic in one language.
    pub fn new(most: usize, most_per_topic: usize) -> Self {
        Self {
            listings: BTreeMap::new(),
            most,
            most_per_topic,
        }
    }

    /// Whether this one would be taken: to be asked before its stamp is looked at.
    ///
    /// # Errors
    /// Why not.
    pub fn wants(&self, listing: &Listing) -> Result<(), Untaken> {
        if let Some(known) = self.listings.get(&listing.circle()) {
            let newer = known.number() < listing.number();
            return newer.then_some(()).ok_or(Untaken::Older);
        }
        if self.listings.len() >= self.most {
            return Err(Untaken::Full);
        }
        let shelf = listing.shelf();
        let beside = self.listings.values().filter(|l| l.shelf() == shelf);
        (beside.count() < self.most_per_topic)
            .then_some(())
            .ok_or(Untaken::TopicFull)
    }

    /// Takes an announcement, whose stamp has been looked at.
    ///
    /// # Errors
    /// As [`Directory::wants`].
    pub fn take(&mut self, listing: Listing) -> Result<(), Untaken> {
        self.wants(&listing)?;
        self.listings.insert(listing.circle(), listing);
        Ok(())
    }

    /// Forgets what has run out.
    pub fn expire(&mut self, minute: u64) {
        self.listings.retain(|_, l| l.expires() >= minute);
    }

    /// What there is in a language, or in all.
    pub fn find(&self, language: Option<&str>) -> impl Iterator<Item = &Listing> {
        let language = language.map(plain);
        let spoken = move |l: &&Listing| match &language {
            Some(language) => plain(&l.charter.language) == *language,
            None => true,
        };
        self.listings.values().filter(spoken)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Nonce, PublicKey};
    use crate::identity::Secret;
    use crate::record::{FloorMode, Pace, RouteKind};
    use crate::session::{Founding, Now};
    use std::time::Duration;

    const NOW: u64 = 29_000_000;

    fn founding(n: u8) -> Founding {
        Founding {
            topic: "Grief".into(),
            title: format!("Circle {n}"),
            language: "en".into(),
            admission: AdmissionMode::Approval,
            max_members: 8,
            turn_seconds: 180,
            floor: FloorMode::Active,
            puzzle: PuzzleCost::USUAL,
            schedule: None,
            listener_welcome: true,
            route: RouteKind::Relay,
            pace: Pace::Usual,
            recovery_key: key(200).public_key(),
            name: "Ash".into(),
            nonce: Nonce::from_bytes([n; 16]),
        }
    }

    fn key(n: u8) -> GroupKey {
        GroupKey::from_secret(&Secret::from_bytes([n; 32]))
    }

    fn offer(n: u8, change: impl FnOnce(&mut Founding)) -> Offer {
        let mut founding = founding(n);
        change(&mut founding);
        let now = Now {
            at: Duration::ZERO,
            minute: NOW,
        };
        let leader = PublicKey::from_bytes([9; 32]);
        let charter = founding.charter(&key(n), leader, now).unwrap();
        Offer {
            invite: Invite {
                circle: charter.founds().unwrap(),
                door: Secret::from_bytes([4; 32]),
                route: founding.route,
                addresses: vec!["way".into()],
                token: None,
                members: founding.max_members,
                pace: founding.pace,
            },
            charter,
            next_meeting: None,
            seats: 5,
            number: 1,
            created: NOW,
        }
    }

    fn signed(offer: &Offer, n: u8) -> Result<Vec<u8>, ListingError> {
        offer.sign(&key(n), || true).map(Option::unwrap)
    }

    fn read(bytes: &[u8]) -> Result<Listing, ListingError> {
        Listing::read(bytes, NOW)
    }

    #[test]
    fn an_announcement_says_what_its_leader_signed_and_its_stamp_is_its_own() {
        let offer = offer(1, |_| {});
        let listing = read(&signed(&offer, 1).unwrap()).unwrap();
        assert!(listing.is_stamped());
        assert_eq!(listing.charter().title, "Circle 1");
        assert_eq!((listing.seats(), listing.next_meeting()), (5, None));
        assert_eq!(*listing.invite(), offer.invite);
        assert_eq!(listing.expires(), NOW + OPEN_MINUTES);
        // The same stamp under eight other numbers: about one in 32 would fit.
        let stolen = (2..10).filter(|number| {
            let draft = Draft {
                circle: listing.circle(),
                seq: *number,
                prev: None,
                lamport: 0,
                created: NOW,
                valid_minutes: OPEN_MINUTES,
                body: listing.announcement.clone().into(),
            };
            let record = key(1).sign(draft).unwrap();
            read(record.envelope()).unwrap().is_stamped()
        });
        assert!(stolen.count() < 4);
        assert_eq!(offer.sign(&key(1), || false), Ok(None));
    }

    #[test]
    fn only_the_group_key_announces_and_only_what_can_be_entered_through_relays() {
        let wrong = |change: fn(&mut Founding)| signed(&offer(1, change), 1);
        assert_eq!(
            signed(&offer(1, |_| {}), 2),
            Err(ListingError::NotTheLeaders)
        );
        assert_eq!(
            wrong(|f| f.route = RouteKind::Direct),
            Err(ListingError::NotPublic)
        );
        assert_eq!(
            wrong(|f| f.admission = AdmissionMode::Invite),
            Err(ListingError::NotPublic)
        );
        for change in [
            (|i| i.route = RouteKind::TwoHop) as fn(&mut Invite),
            |i| i.circle = CircleId::from_bytes([7; 32]),
            |i| i.members = 2,
            |i| i.pace = Pace::Thin,
            |i| i.addresses.clear(),
        ] {
            let mut offer = offer(1, |_| {});
            change(&mut offer.invite);
            assert_eq!(signed(&offer, 1), Err(ListingError::BadInvite));
        }
        let charter = offer(1, |_| {}).charter;
        assert_eq!(
            read(charter.envelope()),
            Err(ListingError::NotAnAnnouncement)
        );
    }

    #[test]
    fn changed_bytes_are_refused() {
        let bytes = signed(&offer(1, |_| {}), 1).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "byte {at}");
        }
        assert!(read(&bytes[..bytes.len() - 1]).is_err());
        let long = vec![0; MAX_ANNOUNCEMENT_BYTES + 1];
        assert_eq!(read(&long), Err(ListingError::TooLarge(long.len())));
    }

    #[test]
    fn they_run_out() {
        let at = |bytes: &[u8], minute| Listing::read(bytes, minute).map(|l| l.expires() - NOW);
        let now = signed(&offer(1, |_| {}), 1).unwrap();
        assert_eq!(at(&now, NOW + OPEN_MINUTES), Ok(OPEN_MINUTES));
        for minute in [NOW + OPEN_MINUTES + 1, NOW - CLOCK_TOLERANCE_MINUTES - 1] {
            assert_eq!(at(&now, minute), Err(ListingError::Lifetime));
        }
        let planned = |meeting| {
            let mut offer = offer(1, |_| {});
            offer.next_meeting = Some(NOW + meeting);
            at(&signed(&offer, 1)?, NOW)
        };
        assert_eq!(planned(120), Ok(120 + MEETING_MINUTES));
        assert_eq!(planned(PLANNED_MINUTES + 120), Ok(PLANNED_MINUTES));

        let listing = read(&now).unwrap();
        let draft = Draft {
            circle: listing.circle(),
            seq: 1,
            prev: None,
            lamport: 0,
            created: NOW,
            valid_minutes: OPEN_MINUTES + 1,
            body: listing.announcement.clone().into(),
        };
        let long = key(1).sign(draft).unwrap();
        assert_eq!(read(long.envelope()), Err(ListingError::Lifetime));
    }

    #[test]
    fn a_directory_keeps_the_newest_of_each_circle_and_no_more_than_may_be() {
        let listing = |n: u8, number: u64, topic: &str, language: &str| {
            let mut offer = offer(n, |f| {
                f.topic = topic.into();
                f.language = language.into();
            });
            offer.number = number;
            read(&signed(&offer, n).unwrap()).unwrap()
        };
        let mut directory = Directory::new(3, 2);
        directory.take(listing(1, 5, "Grief", "en")).unwrap();
        for number in [4, 5] {
            let again = listing(1, number, "Grief", "en");
            assert_eq!(directory.take(again), Err(Untaken::Older));
        }
        directory.take(listing(1, 6, "Grief", "en")).unwrap();
        directory.take(listing(2, 1, " grief", "EN")).unwrap();
        let third = listing(3, 1, "GRIEF", "en");
        assert_eq!(directory.take(third), Err(Untaken::TopicFull));
        directory.take(listing(3, 1, "Duelo", "es")).unwrap();
        let other = listing(4, 1, "Alcohol", "en");
        assert_eq!(directory.take(other), Err(Untaken::Full));
        directory.take(listing(2, 2, " grief", "EN")).unwrap();

        let titles = |language| -> Vec<_> {
            let found = directory.find(language);
            let mut titles: Vec<_> = found.map(|l| l.charter().title.clone()).collect();
            titles.sort();
            titles
        };
        assert_eq!(titles(Some("en")), ["Circle 1", "Circle 2"]);
        assert_eq!(titles(None).len(), 3);
        assert_eq!(titles(Some("fi")), [""; 0]);
        directory.expire(NOW + OPEN_MINUTES);
        assert_eq!(directory.len(), 3);
        directory.expire(NOW + OPEN_MINUTES + 1);
        assert!(directory.is_empty());
    }
}

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

use std::collections::BTreeMap;
use std::sync::Arc;

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
/// Most zero bits that a leader works for where there is no room: about a minute.
pub const MOST_EFFORT: u8 = 11;
/// How many times the work for each minute takes another one's place.
pub const OUTBID: u64 = 4;
/// Circles of which a directory remembers what counts no longer, for each one it has room for.
const REMEMBERED: usize = 4;

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
        let meeting = announcement.next_meeting;
        let last = last_minute(payload.created, meeting, announcement.seats);
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

    /// The work that its stamp proves, in tries; nothing if it is not paid for. Takes about 30 ms, and 32 MiB.
    pub fn work(&self) -> Option<Work> {
        let payload = self.record.payload();
        let stamp = stamp(payload.circle, &self.charter, payload.seq, payload.expires);
        let bits = stamp.zero_bits(self.announcement.stamp)?;
        Some(Work {
            tries: 1 << bits,
            minutes: payload.expires.saturating_sub(payload.created).max(1),
        })
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

/// Until when an announcement may be shown, or count.
fn last_minute(created: u64, next_meeting: Option<u64>, seats: u8) -> u64 {
    match next_meeting {
        _ if seats == 0 => created.saturating_add(PLANNED_MINUTES),
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
    /// Minutes since 1970 UTC until when what it takes back could be shown; only looked at without seats.
    pub takes_back: u64,
    /// Zero bits of its stamp: [`STAMP`]'s, or up to [`MOST_EFFORT`] where there is no room.
    pub effort: u8,
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
        let last = last_minute(self.created, self.next_meeting, self.seats);
        let expires = match self.seats {
            0 => (self.takes_back.max(self.created + OPEN_MINUTES)).min(last),
            _ => last,
        };
        let mut stamp = stamp(circle, charter, self.number, expires);
        stamp.cost.zero_bits = self.effort.clamp(STAMP.zero_bits, MOST_EFFORT);
        let Some(stamp) = stamp.solve(go_on) else {
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
            Some(language) => plain(&l.charter.language) == *language,
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
            takes_back: 0,
            effort: STAMP.zero_bits,
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
        assert!(listing.work().is_some());
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
            read(record.envelope()).unwrap().work().is_some()
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
            Arc::new(read(&signed(&offer, n).unwrap()).unwrap())
        };
        let work = |tries, minutes| Work { tries, minutes };
        let once = work(32, OPEN_MINUTES);
        let mut directory = Directory::new(3, 2);
        directory.take(listing(1, 5, "Grief", "en"), once).unwrap();
        for (number, why) in [(4, Untaken::Older), (5, Untaken::Known)] {
            let again = listing(1, number, "Grief", "en");
            assert_eq!(directory.take(again, once), Err(why));
        }
        directory.take(listing(1, 6, "Grief", "en"), once).unwrap();
        directory.take(listing(2, 1, " grief", "EN"), once).unwrap();
        let third = listing(3, 1, "GRIEF", "en");
        assert_eq!(
            directory.take(Arc::clone(&third), once),
            Err(Untaken::TopicFull)
        );
        directory.take(listing(3, 1, "Duelo", "es"), once).unwrap();
        let other = listing(4, 1, "Alcohol", "en");
        for poor in [once, work(127, OPEN_MINUTES), work(128, PLANNED_MINUTES)] {
            let taken = directory.take(Arc::clone(&other), poor);
            assert_eq!(taken, Err(Untaken::Full));
        }
        let again = work(64, OPEN_MINUTES);
        directory
            .take(listing(2, 2, " grief", "EN"), again)
            .unwrap();

        let titles = |directory: &Directory, language| -> Vec<_> {
            let found = directory.find(language);
            let mut titles: Vec<_> = found.map(|l| l.charter().title.clone()).collect();
            titles.sort();
            titles
        };
        assert_eq!(titles(&directory, Some("en")), ["Circle 1", "Circle 2"]);
        assert_eq!(titles(&directory, None).len(), 3);
        assert_eq!(titles(&directory, Some("fi")), [""; 0]);
        // Four times the work for each minute takes the place of the least: of a topic, and of all.
        let hard = work(128, OPEN_MINUTES);
        let third = listing(3, 2, "Duelo", "es");
        directory.take(third, work(4_096, OPEN_MINUTES)).unwrap();
        directory.take(other, hard).unwrap();
        assert_eq!(
            titles(&directory, None),
            ["Circle 2", "Circle 3", "Circle 4"]
        );
        let fifth = listing(5, 1, "GRIEF", "en");
        directory.take(fifth, work(256, OPEN_MINUTES)).unwrap();
        assert_eq!(
            titles(&directory, None),
            ["Circle 3", "Circle 4", "Circle 5"]
        );
        directory.expire(NOW + OPEN_MINUTES);
        assert_eq!(directory.len(), 3);
        directory.expire(NOW + OPEN_MINUTES + 1);
        assert!(directory.is_empty());
    }

    #[test]
    fn what_was_taken_back_or_replaced_is_not_shown_again() {
        let work = Work {
            tries: 32,
            minutes: 45,
        };
        let said = |number, next_meeting: Option<u64>, seats, takes_back| {
            let mut offer = offer(1, |_| {});
            (offer.number, offer.seats, offer.takes_back) = (number, seats, takes_back);
            offer.next_meeting = next_meeting.map(|ahead| NOW + ahead);
            let bytes = signed(&offer, 1).unwrap();
            Arc::new(read(&bytes).unwrap())
        };
        let day = 24 * 60;
        let planned = said(1, Some(day), 5, 0);
        let back = said(2, None, 0, planned.expires());
        assert_eq!(
            back.expires(),
            planned.expires(),
            "as long as what it takes back"
        );
        let too_long = said(2, None, 0, NOW + 3 * PLANNED_MINUTES);
        assert_eq!(too_long.expires(), NOW + PLANNED_MINUTES);

        // Replaced by one that runs out sooner, at a relay that saw both.
        let mut directory = Directory::new(3, 2);
        directory.take(Arc::clone(&planned), work).unwrap();
        directory.take(said(2, None, 5, 0), work).unwrap();
        directory.expire(NOW + OPEN_MINUTES + 1);
        assert!(directory.is_empty());
        assert_eq!(directory.wants(&planned), Err(Untaken::Older));
        directory.take(said(3, Some(day), 5, 0), work).unwrap();
        directory.expire(NOW + day + MEETING_MINUTES + 1);
        assert!(directory.outdated.is_empty());

        // Others' are not remembered without end.
        for number in 1..40 {
            let circle = CircleId::from_bytes([number; 32]);
            directory.outdate(circle, 1, NOW + u64::from(number));
        }
        assert_eq!(directory.outdated.len(), 3 * REMEMBERED);
    }
}

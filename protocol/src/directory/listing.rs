//! One announcement: what a leader signs, and what is found wrong with it.

use minicbor::bytes::ByteVec;
use sha2::{Digest, Sha256};

use super::{Work, plain};
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
    pub(super) announcement: Announcement,
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

    pub(super) fn shelf(&self) -> (String, String) {
        (plain(&self.charter.language), plain(&self.charter.topic))
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

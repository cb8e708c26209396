use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::id::{Nonce, PublicKey};
use crate::identity::{Draft, GroupKey, Secret};
use crate::invite::Invite;
use crate::record::{
    AdmissionMode, CLOCK_TOLERANCE_MINUTES, FloorMode, Pace, PuzzleCost, RouteKind,
};
use crate::session::{Founding, Now};

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

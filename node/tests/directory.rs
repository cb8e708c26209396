//! Topic directories of relays, over real sockets on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use libp2p::identity::Keypair;
use net_support::{LOCAL, TestRelay};
use undertone_node::net::directory::{self, DirectoryError, Taken, Wanted};
use undertone_node::net::{RelayAddress, udp_sockets};
use undertone_node::relay::{DirectoryFile, RelayConfig, RelayLimits};
use undertone_protocol::directory::{Listing, Offer, STAMP};
use undertone_protocol::id::{Nonce, PublicKey};
use undertone_protocol::identity::{GroupKey, Secret};
use undertone_protocol::invite::Invite;
use undertone_protocol::record::{AdmissionMode, FloorMode, Pace, PuzzleCost, RouteKind};
use undertone_protocol::session::{Founding, Now};

/// Relays look for each other after 0, 2, 6, 14 seconds.
const FOUND_WITHIN: Duration = Duration::from_secs(60);

fn relay(change: impl FnOnce(&mut RelayConfig)) -> TestRelay {
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    change(&mut config);
    TestRelay::start(config)
}

fn with_peers(peers: &[&RelayAddress]) -> TestRelay {
    relay(|config| config.directory.peers = peers.iter().map(|p| (*p).clone()).collect())
}

fn minute() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs() / 60
}

fn key(n: u8) -> GroupKey {
    GroupKey::from_secret(&Secret::from_bytes([n; 32]))
}

/// What the leader of circle `n` says.
fn offer(n: u8, topic: &str, language: &str) -> Offer {
    offer_at(minute(), n, topic, language)
}

fn offer_at(minute: u64, n: u8, topic: &str, language: &str) -> Offer {
    let founding = Founding {
        topic: topic.into(),
        title: format!("Circle {n}"),
        language: language.into(),
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
    };
    let now = Now {
        at: Duration::ZERO,
        minute,
    };
    let leader = PublicKey::from_bytes([9; 32]);
    let charter = founding.charter(&key(n), leader, now).unwrap();
    Offer {
        invite: Invite {
            circle: charter.founds().unwrap(),
            door: Secret::from_bytes([4; 32]),
            route: RouteKind::Relay,
            addresses: vec!["way".into()],
            token: None,
            members: 8,
            pace: Pace::Usual,
        },
        charter,
        next_meeting: None,
        seats: 5,
        takes_back: 0,
        effort: STAMP.zero_bits,
        number: 1,
        created: minute,
    }
}

fn signed(offer: &Offer, n: u8) -> Bytes {
    offer.sign(&key(n), || true).unwrap().unwrap().into()
}

/// The same, with no more work than a stamp needs: luck would take another one's place.
fn signed_poorly(mut offer: Offer, n: u8) -> Bytes {
    let least = 1 << STAMP.zero_bits;
    loop {
        let bytes = signed(&offer, n);
        let listing = Listing::read(&bytes, offer.created).unwrap();
        if listing.work().unwrap().tries == least {
            return bytes;
        }
        offer.number += 1;
    }
}

async fn announce(relay: &TestRelay, announcement: &Bytes) -> Result<(), Taken> {
    let paths = relay.relay.paths();
    match directory::announce(&paths, announcement.clone(), Wanted::One, udp_sockets()).await {
        Ok(()) => Ok(()),
        Err(DirectoryError::Untaken(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

async fn titles(relay: &TestRelay, language: &str) -> Vec<String> {
    let found = directory::find(&relay.relay.paths(), language, udp_sockets()).await;
    let read = |bytes: &Bytes| Listing::read(bytes, minute()).unwrap();
    let found = found.unwrap();
    let mut titles: Vec<_> = (found.iter().map(read))
        .map(|l| l.charter().title.clone())
        .collect();
    titles.sort();
    titles
}

async fn until_found(relay: &TestRelay, expected: &[&str]) {
    let begun = Instant::now();
    loop {
        let found = titles(relay, "").await;
        if found == expected {
            return;
        }
        assert!(
            begun.elapsed() < FOUND_WITHIN,
            "found {found:?}, not {expected:?}"
        );
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_is_told_what_leaders_announced_and_nothing_forged_or_old() {
    let relay = relay(|_| {});
    let (one, two) = (offer(1, "Grief", "en"), offer(2, "Duelo", "es"));
    let first = signed(&one, 1);
    assert_eq!(announce(&relay, &first).await, Ok(()));
    assert_eq!(announce(&relay, &signed(&two, 2)).await, Ok(()));
    assert_eq!(titles(&relay, "en").await, ["Circle 1"]);
    assert_eq!(titles(&relay, "ES").await, ["Circle 2"]);
    assert_eq!(titles(&relay, "").await, ["Circle 1", "Circle 2"]);
    assert_eq!(titles(&relay, "fi").await, [""; 0]);

    // Known already: it is shown, and nobody is told otherwise.
    assert_eq!(announce(&relay, &first).await, Ok(()));
    let mut changed = first.to_vec();
    changed[200] ^= 1;
    let old = offer_at(minute() - 200, 3, "Grief", "en");
    let unstamped = {
        // Its stamp is another one's.
        let other = offer(3, "Grief", "en");
        let bytes = signed(&other, 3);
        let listing = Listing::read(&bytes, minute()).unwrap();
        let undertone_protocol::record::Body::Announcement(body) =
            undertone_protocol::record::Record::verify(listing.envelope())
                .unwrap()
                .body()
                .clone()
        else {
            panic!("an announcement")
        };
        let unpaid = (2..).find_map(|number| {
            let draft = undertone_protocol::identity::Draft {
                circle: listing.circle(),
                seq: number,
                prev: None,
                lamport: 0,
                created: minute(),
                valid_minutes: 45,
                body: body.clone().into(),
            };
            let bytes = key(3).sign(draft).unwrap().envelope().to_vec();
            let listing = Listing::read(&bytes, minute()).unwrap();
            listing.work().is_none().then_some(bytes)
        });
        unpaid.unwrap()
    };
    for (wrong, why) in [
        (changed, Taken::Unacceptable),
        (b"nonsense".to_vec(), Taken::Unacceptable),
        (signed(&old, 3).to_vec(), Taken::Unacceptable),
        (unstamped, Taken::Unpaid),
    ] {
        assert_eq!(announce(&relay, &wrong.into()).await, Err(why));
    }
    // Taken back by the leader, and by nobody else.
    let taken_back = Offer {
        seats: 0,
        number: 2,
        ..one
    };
    assert_eq!(announce(&relay, &signed(&taken_back, 1)).await, Ok(()));
    let found = directory::find(&relay.relay.paths(), "en", udp_sockets()).await;
    let found = Listing::read(&found.unwrap()[0], minute()).unwrap();
    assert_eq!((found.number(), found.seats()), (2, 0));
    let stats = relay.relay.stats();
    assert_eq!((stats.listings, stats.announcements), (2, 4));
    assert_eq!(stats.announcements_refused, 4);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_says_how_many_and_which_are_not_shown() {
    let harmful = offer(9, "Grief", "en");
    let circle = harmful.invite.circle.to_hex();
    let relay = relay(|config| {
        config.limits = RelayLimits {
            listings: 2,
            listings_per_topic: 1,
            ..RelayLimits::default()
        };
        config.directory.refuse = vec![circle];
    });
    assert_eq!(
        announce(&relay, &signed(&harmful, 9)).await,
        Err(Taken::Refused)
    );
    let said = [
        (offer(1, "Grief", "en"), Ok(())),
        (offer(2, "grief", "en"), Err(Taken::TopicFull)),
        (offer(3, "Alcohol", "en"), Ok(())),
        (offer(4, "Illness", "en"), Err(Taken::Full)),
    ];
    for (n, (offer, expected)) in (1..).zip(said) {
        assert_eq!(announce(&relay, &signed_poorly(offer, n)).await, expected);
    }
    assert_eq!(titles(&relay, "").await, ["Circle 1", "Circle 3"]);
    // Four times the work takes the place of the least.
    let harder = Offer {
        effort: STAMP.zero_bits + 2,
        ..offer(5, "grief", "en")
    };
    assert_eq!(announce(&relay, &signed(&harder, 5)).await, Ok(()));
    assert_eq!(titles(&relay, "").await, ["Circle 3", "Circle 5"]);
    relay.stop().await;

    let none = self::relay(|config| {
        config.directory = DirectoryFile {
            carry: false,
            ..DirectoryFile::default()
        }
    });
    let announced = announce(&none, &signed(&offer(1, "Grief", "en"), 1)).await;
    assert_eq!(announced, Err(Taken::NoDirectory));
    let found = directory::find(&none.relay.paths(), "", udp_sockets()).await;
    let why = found.expect_err("it has no directory").to_string();
    assert_eq!(why, "the relay has no directory");
    none.stop().await;
}

/// The one in the middle is the only one that either of the others was told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_exchange_what_they_have_and_find_others_through_those_they_know() {
    let middle = relay(|_| {});
    let hub = middle.relay.hubs[0].clone();
    // Announced before anybody was linked.
    let before = signed(&offer(1, "Grief", "en"), 1);
    assert_eq!(announce(&middle, &before).await, Ok(()));
    let (one, other) = (with_peers(&[&hub]), with_peers(&[&hub]));
    until_found(&one, &["Circle 1"]).await;
    let news = signed(&offer(2, "Grief", "en"), 2);
    assert_eq!(announce(&one, &news).await, Ok(()));
    until_found(&other, &["Circle 1", "Circle 2"]).await;
    until_found(&middle, &["Circle 1", "Circle 2"]).await;

    // Found through the one in the middle, they need it no longer.
    for relay in [&one, &other] {
        relay
            .within(FOUND_WITHIN, "links to both others", |s| {
                s.directory_links >= 2
            })
            .await;
    }
    assert_eq!(middle.relay.stats().directory_links, 0, "it calls nobody");
    middle.stop().await;
    let last = signed(&offer(3, "Grief", "en"), 3);
    assert_eq!(announce(&other, &last).await, Ok(()));
    until_found(&one, &["Circle 1", "Circle 2", "Circle 3"]).await;
    one.stop().await;
    other.stop().await;
}

/// Both hubs are asked over one line, by the first one's entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_back_is_taken_back_at_every_relay_of_the_circle() {
    let other = relay(|_| {});
    let hub = other.relay.hubs[0].clone();
    let first = relay(|config| config.entry.hubs = vec![hub]);
    let ways: Vec<_> = [&first, &other]
        .into_iter()
        .flat_map(|relay| relay.relay.paths())
        .collect();
    let say = async |offer: &Offer, wanted| {
        directory::announce(&ways, signed(offer, 1), wanted, udp_sockets()).await
    };
    let shown = offer(1, "Grief", "en");
    say(&shown, Wanted::All).await.unwrap();
    for relay in [&first, &other] {
        assert_eq!(titles(relay, "").await, ["Circle 1"]);
    }
    let begun = Instant::now();
    let found = directory::find(&ways, "", udp_sockets()).await.unwrap();
    assert_eq!(found.len(), 2, "one from each");
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "neither waited for the other to give up"
    );

    other.stop().await;
    let taken_back = Offer {
        seats: 0,
        number: 2,
        ..shown
    };
    let silent = say(&taken_back, Wanted::All).await;
    assert!(
        matches!(silent, Err(DirectoryError::OneSilent)),
        "{silent:?}"
    );
    say(&taken_back, Wanted::One).await.unwrap();
    first.stop().await;
}

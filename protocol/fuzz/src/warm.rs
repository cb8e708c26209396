//! A circle once everybody is in it, as it lies on their disks: made once for each of 24 settings.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use undertone_protocol::id::{CircleId, Nonce, PublicKey};
use undertone_protocol::identity::Secret;
use undertone_protocol::invite::Token;
use undertone_protocol::memo;
use undertone_protocol::record::{AdmissionMode, FloorMode, Pace, PuzzleCost, RouteKind};
use undertone_protocol::session::{Act, Founding, Session, Stage};

use crate::cast::{LEADER, NEWCOMER, PEOPLE};
use crate::world::{Setting, World};

/// A circle with everybody in it, as it lies on their disks.
pub struct Warm {
    /// The circle.
    pub circle: CircleId,
    /// When everybody was in.
    pub now: Duration,
    /// Everybody's disk, and the token they came with.
    pub people: Vec<(Vec<Vec<u8>>, Option<Token>)>,
    /// The circle key as the insider knows it.
    pub circle_key: Option<Secret>,
    /// Whom the leader let in.
    pub admitted: BTreeSet<PublicKey>,
}

thread_local! {
    static WARM: RefCell<BTreeMap<Setting, Rc<Warm>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The circle with this setting.
pub fn of(setting: Setting) -> Rc<Warm> {
    memo::remember();
    let setting = setting % 24;
    let known = WARM.with(|known| known.borrow().get(&setting).cloned());
    known.unwrap_or_else(|| {
        let warm = Rc::new(warm_up(setting));
        WARM.with(|known| known.borrow_mut().insert(setting, warm.clone()));
        warm
    })
}

/// How the circle's traffic travels.
pub fn route(setting: Setting) -> RouteKind {
    [RouteKind::Relay, RouteKind::Direct][usize::from(setting / 6 % 2)]
}

fn warm_up(setting: Setting) -> Warm {
    let mut world = World::empty(setting, CircleId::UNBORN);
    let admission = [
        AdmissionMode::Approval,
        AdmissionMode::Invite,
        AdmissionMode::Open,
    ];
    let founding = Founding {
        topic: "loss".into(),
        title: "Evening circle".into(),
        language: "en".into(),
        admission: admission[usize::from(setting % 3)],
        max_members: if setting < 12 { 4 } else { 6 },
        turn_seconds: 60,
        floor: [FloorMode::Active, FloorMode::Passive][usize::from(setting / 3 % 2)],
        puzzle: PuzzleCost {
            memory_kib: 8,
            zero_bits: 3,
        },
        schedule: None,
        listener_welcome: setting.is_multiple_of(5),
        route: world.route,
        pace: Pace::Usual,
        recovery_key: world.cast.recovery.public_key(),
        name: "Leader".into(),
        nonce: Nonce::from_bytes([1; 16]),
    };
    let leader = world.cast.people[LEADER].public_key();
    let charter = founding
        .charter(&world.cast.group, leader, world.now())
        .unwrap();
    world.circle = charter.founds().unwrap();
    let (config, now) = (world.config(LEADER), world.now());
    world.people[LEADER].session =
        Some(Session::found(config, &charter, founding.name, now).unwrap());
    world.after(LEADER);
    world.act(LEADER, Act::AutoAdmit(true));
    for who in (0..PEOPLE).filter(|who| *who != LEADER) {
        let now = world.now();
        let leader = world.people[LEADER].session.as_mut().unwrap();
        world.people[who].token = leader.sponsor(now, 60).ok();
        if who == NEWCOMER {
            continue;
        }
        let config = world.config(who);
        world.people[who].session = Some(Session::seek(config, now).unwrap());
        world.after(who);
        world.run(Duration::from_secs(2));
        world.sign(who, "Somebody");
        world.run(Duration::from_secs(4));
        world.refuel();
        let inside = world.people[who].session.as_ref().map(Session::stage) == Some(&Stage::Inside);
        assert!(inside, "{who} does not get in with setting {setting}");
    }
    let _ = world.inside();
    let people = world.people.into_iter().map(|p| (p.stored, p.token));
    Warm {
        circle: world.circle,
        now: world.now,
        people: people.collect(),
        circle_key: world.circle_key,
        admitted: world.rules.admitted,
    }
}

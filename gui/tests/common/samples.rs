//! Snapshots as a node might show them.

use std::net::Ipv4Addr;
use std::time::Duration;

use undertone_dsp::{Character, CleanUp, Difference};
use undertone_node::api::{
    AdmissionMode, Announced, Announcing, Applicant, Circle, CircleId, Connecting, Connection,
    Device, DeviceId, Door, Farewell, FloorMode, Found, Heard, Listed, LogAct, LogEntry, Member,
    Notice, OperatorCard, Pace, Place, PublicKey, Relay, Role, RouteKind, Search, Snapshot, Sound,
    Turn,
};
use undertone_protocol::identity::Secret;
use undertone_protocol::invite::Invite;
use undertone_protocol::texts;

pub fn key(seed: u8) -> PublicKey {
    let mut state = u64::from(seed) + 1;
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *byte = (state >> 33) as u8;
    }
    PublicKey::from_bytes(bytes)
}

pub fn sound() -> Sound {
    let device = |id: &str, name: &str, is_default| Device {
        id: DeviceId(id.to_owned()),
        name: name.to_owned(),
        is_default,
    };
    Sound {
        inputs: vec![
            device("mic1", "Built-in microphone", true),
            device(
                "mic2",
                "USB headset with a rather long product name, mono",
                false,
            ),
        ],
        outputs: vec![device("out1", "Headphones", true)],
        input: None,
        output: Some(DeviceId("out1".to_owned())),
        input_level_db: -24.0,
        morphed_level_db: -27.0,
        difference: Some(Difference {
            pitch_semitones: -4.0,
            resonances_percent: 9.0,
            moved_percent: 13.0,
            colour_db: 5.0,
        }),
        checking: false,
        character: Character::default(),
        clean_up: CleanUp::default(),
        problem: None,
    }
}

pub fn at(place: Place) -> Snapshot {
    Snapshot {
        name: Some("Quiet Heron".to_owned()),
        sound: sound(),
        place,
        relays: String::new(),
        found: None,
        notice: None,
    }
}

/// An invite to a direct circle.
pub fn direct_link() -> String {
    let invite = Invite {
        circle: CircleId::from_bytes([5; 32]),
        door: Secret::from_bytes([6; 32]),
        route: RouteKind::Direct,
        addresses: vec!["/ip4/192.0.2.1/udp/4001/quic-v1".into()],
        token: None,
        members: 8,
        pace: Pace::Usual,
    };
    invite.to_link()
}

/// The ways to a relay.
pub const RELAYS: &str = "/ip4/192.0.2.7/udp/4434/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN/p2p-circuit/ip4/192.0.2.7/udp/4433/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

/// Somebody who looked for circles, at this minute.
pub fn searching(minute: u64) -> Snapshot {
    let listed = |n: u8, title: &str, topic: &str, next_meeting, seats| Listed {
        circle: CircleId::from_bytes([n; 32]),
        topic: topic.to_owned(),
        title: title.to_owned(),
        language: "en".to_owned(),
        admission: match n {
            2 => AdmissionMode::Open,
            _ => AdmissionMode::Approval,
        },
        seats,
        next_meeting,
        schedule: (n == 3).then(|| "Thursdays at 19:00, London time".to_owned()),
        listener_welcome: n == 1,
        route: RouteKind::TwoHop,
        link: format!("undertone:circle{n}"),
        strangers: match n {
            2 => vec![Ipv4Addr::new(203, 0, 113, 5).into()],
            _ => Vec::new(),
        },
    };
    let (hour, day) = (60, 24 * 60);
    Snapshot {
        relays: RELAYS.to_owned(),
        found: Some(Found {
            search: Search {
                relays: RELAYS.to_owned(),
                language: "en".to_owned(),
            },
            result: Some(Ok(vec![
                listed(1, "A quiet hour", "Grief after a long illness", None, 3),
                listed(2, "Open evening", "Drinking, and not drinking", None, 1),
                listed(
                    3,
                    "Thursday circle",
                    "Grief: losing a child",
                    Some(minute + 2 * day + 5 * hour + 10),
                    6,
                ),
            ])),
        }),
        ..at(Place::Lobby)
    }
}

pub fn newcomer() -> Snapshot {
    Snapshot {
        name: None,
        ..at(Place::Lobby)
    }
}

pub fn door() -> Door {
    Door {
        circle: CircleId::from_bytes([5; 32]),
        topic: "Living with a parent who drinks".to_owned(),
        title: "Tuesday evenings".to_owned(),
        language: "en".to_owned(),
        admission: AdmissionMode::Approval,
        max_members: 8,
        turn: Duration::from_secs(180),
        schedule: Some("Tuesdays at 20:00, London time".to_owned()),
        listener_welcome: true,
        route: RouteKind::Relay,
        pace: Pace::Usual,
        who_sees_address:
            "The relay at relay.example.org sees your internet address. Members do not.".to_owned(),
        relays: vec![Relay {
            is_entry: true,
            is_hub: true,
            card: Some(operator(
                "Riverside community network",
                "relay@riverside.example",
            )),
        }],
        practice: false,
        texts: texts::hash(),
        signed: None,
        can_recover: false,
    }
}

fn operator(name: &str, complain: &str) -> OperatorCard {
    OperatorCard {
        key: PublicKey::from_bytes([7; 32]),
        name: Some(name.to_owned()),
        sees: "The internet address of everybody who connects, when they do, and which connections share a circle. \
            Not what is said, not who speaks, not who anybody is in a circle, nor what it is about unless its leader announces it."
            .to_owned(),
        keeps: "No logs of people; what it knows of a connection is gone when that ends. In memory, for a week at most: sealed notices for people who are away, which it cannot read, and what leaders announce to everybody."
            .to_owned(),
        complain: Some(complain.to_owned()),
    }
}

/// The door of a circle that goes through two operators' relays.
pub fn two_hops() -> Door {
    Door {
        route: RouteKind::TwoHop,
        who_sees_address: "The relay that you come in by can see your internet address, but not which circle you are in. \
            The relay where the circle meets cannot see your address, nor can the other members."
            .to_owned(),
        relays: vec![
            Relay {
                is_entry: true,
                is_hub: false,
                card: Some(operator("Riverside community network", "relay@riverside.example")),
            },
            Relay {
                is_entry: false,
                is_hub: true,
                card: Some(operator("Lantern collective", "lantern@hill.example")),
            },
        ],
        ..door()
    }
}

/// The door of a circle that one founded, and whose leading key contradicts itself.
pub fn founded() -> Door {
    Door {
        can_recover: true,
        ..door()
    }
}

/// A door whose texts are in Spanish.
pub fn spanish() -> Door {
    Door {
        title: "Los martes".to_owned(),
        topic: "Vivir con un padre que bebe".to_owned(),
        schedule: None,
        language: "es".to_owned(),
        texts: texts::of_language("es").hash(),
        ..door()
    }
}

/// A door whose texts this program does not have.
pub fn unknown() -> Door {
    Door {
        texts: undertone_node::api::TextsHash::from_bytes([9; 32]),
        ..door()
    }
}

const NAMES: [&str; 16] = [
    "Quiet Heron",
    "Amber Fox",
    "Slow River",
    "Mossy Path",
    "Silver Reed",
    "Early Lark",
    "Kind Otter",
    "Patient Mountain",
    "Brave Wren",
    "Velvet Moth",
    "True North",
    "Sunny Dale",
    "Open Field",
    "Late Swallow",
    "Gentle Hedgehog",
    "Soft Rain",
];

pub fn member(index: u8) -> Member {
    Member {
        key: key(index),
        name: NAMES[usize::from(index) % 16].to_owned(),
        role: Role::Participant,
        level_db: -100.0,
        speaking: false,
        muted: true,
        silenced: false,
        connection: Connection::Good,
        volume: 1.0,
    }
}

/// `people` in a circle; I am Quiet Heron, Amber Fox leads, Slow River has the turn.
pub fn circle(people: u8) -> Circle {
    let mut members: Vec<Member> = (0..people).map(member).collect();
    if let Some(leader) = members.get_mut(1) {
        leader.role = Role::Leader;
        leader.muted = false;
    }
    if let Some(speaker) = members.get_mut(2) {
        speaker.muted = false;
        speaker.speaking = true;
        speaker.level_db = -18.0;
    }
    if let Some(listener) = members.get_mut(4) {
        listener.role = Role::Listener;
    }
    if let Some(unsteady) = members.get_mut(5) {
        unsteady.connection = Connection::Unsteady;
    }
    if let Some(away) = members.get_mut(6) {
        away.connection = Connection::Away;
    }
    if let Some(coming) = members.get_mut(7) {
        coming.connection = Connection::Coming;
    }
    Circle {
        door: door(),
        members,
        applicants: Vec::new(),
        turn: Some(Turn {
            holder: key(2),
            left: Duration::from_secs(121),
            of: Duration::from_secs(180),
        }),
        queue: vec![key(3), key(0)],
        me: key(0),
        muted: true,
        heard: Heard::NotYourTurn,
        leading: false,
        auto_admit: false,
        auto_turns: false,
        invite: "undertone:join/abcdef".to_owned(),
        log: Vec::new(),
        moderation_verified: true,
        connected: true,
        floor: FloorMode::Active,
        frozen: false,
        door_open: true,
        asked_to_cease: false,
        announced: None,
    }
}

/// The same circle, led by me.
pub fn led(people: u8) -> Circle {
    let mut circle = circle(people);
    circle.me = key(1);
    circle.leading = true;

    circle.applicants = vec![
        Applicant {
            key: key(40),
            name: "Coastal Curlew".to_owned(),
            refusals: 0,
        },
        Applicant {
            key: key(41),
            name: "Rosy Finch".to_owned(),
            refusals: 1,
        },
    ];
    circle.log = vec![
        LogEntry {
            at_minute: 29_000_000,
            act: LogAct::Admitted {
                name: "Slow River".to_owned(),
            },
        },
        LogEntry {
            at_minute: 29_000_011,
            act: LogAct::Removed {
                name: "Loud Gull".to_owned(),
                clause: "2".to_owned(),
                key: key(50),
                durable: true,
            },
        },
    ];
    circle
}

/// The same, which everybody can find.
pub fn announced() -> Circle {
    let mut circle = led(7);
    circle.applicants.clear();
    circle.log.clear();
    circle.announced = Some(Announced {
        wish: Announcing::Now,
        shown_until: Some(29_000_045),
        problem: None,
    });
    circle
}

pub fn inside(circle: Circle) -> Snapshot {
    at(Place::Circle(Box::new(circle)))
}

pub fn notice() -> Notice {
    Notice {
        what: "Your headset was unplugged.".to_owned(),
        advice: "Your microphone is closed now. Plug the headset in again, or choose another under “Change my voice”."
            .to_owned(),
    }
}

/// Every place, with a name for its picture.
pub fn places() -> Vec<(&'static str, Snapshot)> {
    let my_turn = {
        let mut circle = circle(7);
        circle.turn = Some(Turn {
            holder: key(0),
            left: Duration::from_secs(45),
            of: Duration::from_secs(180),
        });
        circle.queue = vec![key(3)];
        circle.muted = false;
        circle.heard = Heard::Yes;
        if let Some(me) = circle.members.first_mut() {
            me.muted = false;
            me.speaking = true;
            me.level_db = -22.0;
        }
        if let Some(other) = circle.members.get_mut(2) {
            other.speaking = false;
            other.level_db = -100.0;
        }
        circle
    };
    let quiet = {
        let mut circle = circle(4);
        circle.turn = None;
        circle.queue.clear();
        circle.connected = false;
        circle.door.practice = true;
        circle.members.iter_mut().for_each(|m| m.speaking = false);
        circle
    };
    let paused = {
        let mut circle = circle(7);
        circle.frozen = true;
        circle.door_open = false;
        circle.asked_to_cease = true;
        circle
    };
    let roles = {
        let mut circle = circle(9);
        circle.door.can_recover = true;
        circle.queue.clear();
        let roles = [
            Role::Newcomer,
            Role::CoLeader,
            Role::Participant,
            Role::Newcomer,
        ];
        for (member, role) in circle.members.iter_mut().zip(roles) {
            member.role = role;
        }
        if let Some(member) = circle.members.get_mut(7) {
            member.silenced = true;
        }
        circle
    };
    let open_door = Door {
        admission: AdmissionMode::Open,
        ..door()
    };
    vec![
        (
            "connecting",
            at(Place::Connecting(Connecting {
                awaiting: "Looking for somebody behind this invite.".to_owned(),
                since: Duration::from_secs(17),
            })),
        ),
        ("door", at(Place::Door(door()))),
        ("door-open", at(Place::Door(open_door.clone()))),
        ("door-spanish", at(Place::Door(spanish()))),
        ("door-unknown", at(Place::Door(unknown()))),
        ("waiting", at(Place::Waiting(door()))),
        ("waiting-open", at(Place::Waiting(open_door))),
        ("waiting-founder", at(Place::Waiting(founded()))),
        ("circle", inside(circle(7))),
        ("circle-full", inside(circle(16))),
        ("circle-my-turn", inside(my_turn)),
        ("circle-paused", inside(paused)),
        ("circle-roles", inside(roles)),
        ("circle-quiet", inside(quiet)),
        ("leader", inside(led(7))),
        ("leader-full", inside(led(12))),
        (
            "notice",
            Snapshot {
                notice: Some(notice()),
                ..inside(circle(7))
            },
        ),
        ("farewell-left", at(Place::Farewell(Farewell::Left))),
        (
            "farewell-removed",
            at(Place::Farewell(Farewell::Removed {
                title: "Tuesday evenings".to_owned(),
                clause: "2".to_owned(),
            })),
        ),
        (
            "farewell-refused",
            at(Place::Farewell(Farewell::Refused {
                may_knock_again: true,
            })),
        ),
        ("farewell-closed", at(Place::Farewell(Farewell::Closed))),
        (
            "farewell-nobody",
            at(Place::Farewell(Farewell::NobodyThere)),
        ),
        ("farewell-no-relay", at(Place::Farewell(Farewell::NoRelay))),
    ]
}

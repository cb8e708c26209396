//! Circles of real nodes in this process, with recordings for microphones.

use std::time::{Duration, Instant};

use undertone_dsp::{Character, CleanUp};
use undertone_node::api::{Command, Consent, Event, LogAct, Place};
use undertone_node::net::udp_sockets;
use undertone_protocol::texts;
use undertone_tests::person::{Home, Person, lock};
use undertone_tests::stage::{Play, RouteChoice, play_and_judge};
use undertone_tests::weather::Weather;

use crate::networks::alone;

const PATIENCE: Duration = Duration::from_secs(40);

fn play(route: RouteChoice, weather: Weather) {
    // Two circles at once are more than two cores carry in time.
    let _alone = alone();
    let what = Play {
        members: 4,
        seconds: 14,
        route,
        speech: None,
        weather,
        seed: 7,
    };
    let report = play_and_judge(&what, None, &mut |line| println!("{line}")).unwrap();
    println!("{}", report.summary());
    assert!(report.kept, "{:#?}", report.promises);
    let median = report.mouth_to_ear.median_ms.unwrap();
    // Not a speed: beyond what can be called a conversation, the measurement or the path is broken.
    assert!(
        median < Duration::from_millis(600).as_millis() as u64,
        "{median} ms"
    );
}

#[test]
fn a_direct_circle_hears_every_turn_and_nothing_of_the_removed_one() {
    play(RouteChoice::Direct, Weather::default());
}

#[test]
fn a_relayed_circle_with_loss_hears_every_turn_and_nothing_of_the_removed_one() {
    let weather = Weather {
        loss: 0.05,
        ..Weather::default()
    };
    play(RouteChoice::Relay, weather);
}

#[test]
fn a_two_hop_circle_on_bad_lines_hears_every_turn_and_nothing_of_the_removed_one() {
    let weather = Weather {
        loss: 0.02,
        twice: 0.02,
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(10),
    };
    play(RouteChoice::TwoHop, weather);
}

fn newcomer() -> Person {
    let hum = (0..48_000).map(|i| 0.2 * (i as f32 * 0.02).sin()).collect();
    Person::start(
        "Open Meadow",
        hum,
        Instant::now(),
        Home::here(udp_sockets()),
    )
    .unwrap()
}

#[test]
fn a_newcomer_learns_the_controls_in_the_practice_circle() {
    let _alone = alone();
    let mut me = newcomer();
    me.node.send(Command::Practice { lead: false });
    me.wait(
        PATIENCE,
        "for the door",
        |me| matches!(&me.node.snapshot().place, Place::Door(door) if door.practice),
    )
    .unwrap();
    // Not with a clause missing.
    let mut accepted: Vec<_> = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    let last = accepted.pop().unwrap();
    me.node.send(Command::SignPledge(Consent {
        accepted: accepted.clone(),
    }));
    me.wait(PATIENCE, "to be told", |me| {
        me.node.snapshot().notice.is_some()
    })
    .unwrap();
    assert!(matches!(me.node.snapshot().place, Place::Door(_)));
    accepted.push(last);
    me.node.send(Command::SignPledge(Consent { accepted }));
    me.wait(PATIENCE, "for the companions", |me| {
        me.circle().is_some_and(|c| c.members.len() == 5)
    })
    .unwrap();
    assert!(me.circle().unwrap().muted, "joined muted, always");

    me.wait(PATIENCE, "for a companion to be heard", |me| {
        me.circle().unwrap().members.iter().any(|m| m.speaking)
    })
    .unwrap();
    me.wait(PATIENCE, "for half a second of sound", |me| {
        let heard = lock(&me.heard).envelope();
        heard.sound(Duration::ZERO, me.now()) > Duration::from_millis(500)
    })
    .unwrap();

    me.node.send(Command::SetMuted(false));
    me.node.send(Command::RaiseHand);
    let key = me.key().unwrap();
    me.wait(PATIENCE, "for the turn", |me| {
        me.circle().unwrap().turn.is_some_and(|t| t.holder == key)
    })
    .unwrap();
    me.node.send(Command::Pass);
    me.wait(PATIENCE, "to have given it back", |me| {
        me.circle().unwrap().turn.is_none_or(|t| t.holder != key)
    })
    .unwrap();
    me.node.send(Command::Leave);
    me.wait(PATIENCE, "to be out", |me| {
        me.node.snapshot().place == Place::Lobby
    })
    .unwrap();
}

#[test]
fn what_was_chosen_for_the_voice_survives_a_restart() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let data = Some(folder.path().to_owned());
        let home = Home {
            data,
            ..Home::here(udp_sockets())
        };
        Person::start("", Vec::new(), Instant::now(), home).unwrap()
    };
    let mut me = start();
    let before = me.node.snapshot().sound.clean_up;
    assert_eq!(before, CleanUp::default());
    let chosen = CleanUp {
        noise: false,
        ..before
    };
    me.node.send(Command::SetCleanUp(chosen));
    me.node.send(Command::SetCharacter(Character::Warm));
    let is_chosen = |me: &mut Person| {
        let sound = &me.node.snapshot().sound;
        (sound.clean_up, sound.character) == (chosen, Character::Warm)
    };
    me.wait(PATIENCE, "for the choice", is_chosen).unwrap();
    me.node.stop();
    drop(me);
    let mut again = start();
    again.wait(PATIENCE, "for it again", is_chosen).unwrap();
}

#[test]
fn a_leader_practises_a_removal() {
    let _alone = alone();
    let mut me = newcomer();
    me.node.send(Command::Practice { lead: true });
    me.wait(PATIENCE, "to hear from the companions", |me| {
        me.circle().is_some_and(|c| {
            c.leading && c.members.len() == 4 && c.members.iter().all(|m| m.connection.is_heard())
        })
    })
    .unwrap();
    let circle = me.circle().unwrap();
    let companion = circle
        .members
        .iter()
        .find(|m| m.key != circle.me)
        .unwrap()
        .clone();
    let member = companion.key;
    me.node.send(Command::Remove {
        member,
        clause: "8".into(),
        minutes: None,
    });
    me.wait(PATIENCE, "for the removal", |me| {
        let circle = me.circle().unwrap();
        let logged = circle.log.iter().any(|entry| {
            matches!(&entry.act, LogAct::Removed { name, durable: true, .. } if *name == companion.name)
        });
        logged && circle.members.len() == 3
    })
    .unwrap();
    let durable = me.first(|e| matches!(e, Event::RemovalDurable { .. }));
    assert!(durable >= me.first(|e| matches!(e, Event::RemovalEnforced { .. })));
    assert!(durable.is_some());
}

//! Inside: what the ring says, what each control asks for, and how harm is stopped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{FakeNode, Window, samples, window};
use egui::accesskit::Role;
use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use undertone_node::api::{Farewell, Heard, Place};

const RIVER: &str = "Slow River, speaking, two minutes left";

fn inside(circle: undertone_node::api::Circle) -> (FakeNode, Window) {
    let node = FakeNode::showing(samples::inside(circle));
    let window = window(&node, 800.0, 600.0, None);
    (node, window)
}

#[test]
fn each_person_in_the_ring_reads_as_a_sentence() {
    let (_, window) = inside(samples::circle(7));
    for sentence in [
        "Quiet Heron, this is you, second in line, microphone off",
        "Amber Fox, leads",
        RIVER,
        "Mossy Path, first in line, microphone off",
        "Silver Reed, listener, microphone off",
        "Early Lark, connection unsteady, microphone off",
        "Kind Otter, away for a moment, seat kept",
    ] {
        let person = window.get_by_label(sentence);
        assert_eq!(person.accesskit_node().role(), Role::Button, "{sentence}");
    }
    let ring = window.get_by_label("The circle: 7 people");
    assert_eq!(ring.accesskit_node().role(), Role::Group);
    assert_eq!(
        ring.children_recursive()
            .filter(|n| n.accesskit_node().role() == Role::Button)
            .count(),
        7
    );
}

#[test]
fn too_small_for_a_ring_it_is_a_list_that_reads_the_same() {
    let node = FakeNode::showing(samples::inside(samples::circle(7)));
    let window = window(&node, 420.0, 360.0, None);
    window.get_by_label(RIVER);
    window.get_by_label("Kind Otter, away for a moment, seat kept");
}

#[test]
fn out_of_turn_one_is_told_kindly() {
    let (node, mut window) = inside(samples::circle(7));
    window.get_by_label("You are not heard now: Slow River is speaking, and you are listening.");
    window.get_by_label("Next to share: Mossy Path, you");
    node.change(|s| {
        if let Place::Circle(circle) = &mut s.place {
            circle.heard = Heard::Yes;
            circle.muted = false;
            circle.queue.clear();
        }
    });
    window.run_ok();
    window.get_by_label("You are heard.");
    window.get_by_label("Nobody is in line.");
}

#[test]
fn the_bar_asks_for_what_it_says() {
    let mut circle = samples::circle(7);
    circle.queue = vec![samples::key(3)];
    let (node, mut window) = inside(circle);
    let press = |window: &mut Window, label: &str| {
        window.get_by_label(label).click();
        window.run_ok();
        node.take_sent()
    };
    assert_eq!(
        press(&mut window, "Your microphone is off. Press to open it."),
        ["SetMuted(false)"]
    );
    assert_eq!(press(&mut window, "I'd like to share"), ["RaiseHand"]);
    // Not in line and not my turn: there is nothing to pass.
    assert!(press(&mut window, "Pass: leave the line, or give your turn back").is_empty());
    node.change(|s| {
        if let Place::Circle(circle) = &mut s.place {
            circle.muted = false;
            circle.queue.push(circle.me);
        }
    });
    window.run_ok();
    assert_eq!(
        press(&mut window, "Your microphone is on. Press to close it."),
        ["SetMuted(true)"]
    );
    assert_eq!(press(&mut window, "You are in line"), ["Pass"]);
    assert_eq!(
        press(&mut window, "Pass: leave the line, or give your turn back"),
        ["Pass"]
    );
    // Leaving asks how; nothing is sent before.
    assert!(press(&mut window, "Leave the circle").is_empty());
    assert_eq!(press(&mut window, "Leave now"), ["Leave"]);
}

#[test]
fn removal_takes_two_clicks_the_person_then_the_clause() {
    let (node, mut window) = inside(samples::led(7));
    window.get_by_label(RIVER).click();
    window.run_ok();
    assert!(node.take_sent().is_empty(), "one click removes nobody");
    window
        .get_by_label("Remove Slow River now, for 2: No harassment")
        .click();
    window.run_ok();
    let river = samples::key(2);
    assert_eq!(
        node.take_sent(),
        [format!(
            "Remove {{ member: {river:?}, clause: \"2\", minutes: None }}"
        )]
    );
    // The card is closed, so that a third click meets nobody.
    assert!(
        window
            .query_by_label("Remove Slow River now, for 2: No harassment")
            .is_none()
    );
}

#[test]
fn removal_works_by_keyboard_and_escape_steps_back() {
    let (node, mut window) = inside(samples::led(7));
    window.get_by_label(RIVER).focus();
    window.run_ok();
    window.key_press(Key::Enter);
    window.run_ok();
    window
        .get_by_label("Remove Slow River now, for a: I repeat nothing identifying")
        .focus();
    window.run_ok();
    window.key_press(Key::Escape);
    window.run_ok();
    assert!(
        window
            .query_by_label_contains("Remove Slow River now")
            .is_none()
    );
    assert!(node.take_sent().is_empty());
}

#[test]
fn nobody_but_a_leader_can_remove_and_no_leader_themselves() {
    let (_, mut window) = inside(samples::circle(7));
    window.get_by_label(RIVER).click();
    window.run_ok();
    assert!(window.query_by_label_contains("Remove").is_none());
    window.get_by_label("How loud for me: Slow River");

    let (_, mut window) = inside(samples::led(7));
    window.get_by_label("Amber Fox, this is you, leads").click();
    window.run_ok();
    assert!(window.query_by_label_contains("Remove").is_none());
}

#[test]
fn the_leader_admits_refuses_and_gives_turns() {
    let node = FakeNode::showing(samples::inside(samples::led(7)));
    let mut window = window(&node, 1920.0, 1080.0, None);
    for (label, command) in [
        (
            "Let Coastal Curlew in",
            format!("Admit({:?})", samples::key(40)),
        ),
        (
            "Refuse Rosy Finch",
            format!("Refuse({:?})", samples::key(41)),
        ),
        (
            "Let everybody with the invite in",
            "SetAutoAdmit(true)".to_owned(),
        ),
        (
            "Give the turn to Mossy Path",
            format!("GiveTurn({:?})", samples::key(3)),
        ),
        ("End this turn", "EndTurn".to_owned()),
        (
            "Let this turn last one minute longer",
            "ExtendTurn(240)".to_owned(),
        ),
        (
            "Turns pass on by themselves",
            "SetFloorMode(Passive)".to_owned(),
        ),
        ("Close the door", "SetDoor(false)".to_owned()),
        ("Pause the circle", "Freeze(true)".to_owned()),
        (
            "Take the removal of Loud Gull back, so that they may knock again",
            format!("Reinstate({:?})", samples::key(50)),
        ),
    ] {
        window.get_by_label(label).click();
        window.run_ok();
        assert_eq!(node.take_sent(), [command], "{label}");
    }
    window.get_by_label("Loud Gull was removed (2, no harassment)");
    window.get_by_label("Copy the link").click();
    window.run_ok();
    window.get_by_label("Copied");
}

#[test]
fn quick_exit_is_on_every_screen() {
    let mut screens = samples::places();
    screens.push(("welcome", samples::newcomer()));
    screens.push(("home", samples::at(Place::Lobby)));
    for (name, snapshot) in screens {
        let node = FakeNode::showing(snapshot);
        let mut window = window(&node, 800.0, 600.0, None);
        window.get_by_label("Quick exit").click();
        window.step();
        window.step();
        assert_eq!(node.quick_exits.get(), 1, "{name}");
        let commands = &window.output().viewport_output[&egui::ViewportId::ROOT].commands;
        assert!(
            commands.contains(&egui::ViewportCommand::Close),
            "{name}: {commands:?}"
        );
    }
}

#[test]
fn quick_exit_has_keys_even_while_typing() {
    for (modifiers, key) in [(Modifiers::COMMAND, Key::Q), (Modifiers::NONE, Key::F12)] {
        let node = FakeNode::showing(samples::at(Place::Lobby));
        let mut window = window(&node, 800.0, 600.0, None);
        window.get_by_label("Invite link").focus();
        window.run_ok();
        window.event_modifiers(
            egui::Event::Key {
                key,
                physical_key: None,
                pressed: true,
                repeat: false,
                modifiers,
            },
            modifiers,
        );
        window.step();
        assert_eq!(node.quick_exits.get(), 1, "{key:?}");
        let commands = &window.output().viewport_output[&egui::ViewportId::ROOT].commands;
        assert!(
            commands.contains(&egui::ViewportCommand::Close),
            "{key:?}: {commands:?}"
        );
        // Gone is gone: it draws nothing and asks for nothing any more.
        window.step();
        assert_eq!(node.quick_exits.get(), 1);
        assert!(node.take_sent().is_empty());
    }
}

#[test]
fn a_notice_says_what_happened_and_is_put_away() {
    let mut snapshot = samples::inside(samples::circle(7));
    snapshot.notice = Some(samples::notice());
    let node = FakeNode::showing(snapshot);
    let mut window = window(&node, 800.0, 600.0, None);
    window.get_by_label("Your headset was unplugged.");
    window.get_by_label("Understood").click();
    window.run_ok();
    assert_eq!(node.take_sent(), ["DismissNotice"]);
}

#[test]
fn a_removal_is_told_with_its_clause_and_leads_back() {
    let farewell = Farewell::Removed {
        title: "Tuesday evenings".to_owned(),
        clause: "2".to_owned(),
    };
    let node = FakeNode::showing(samples::at(Place::Farewell(farewell)));
    let mut window = window(&node, 800.0, 600.0, None);
    window.get_by_label(undertone_protocol::texts::clause("2").unwrap().full);
    window.get_by_label("Back to the start").click();
    window.run_ok();
    assert_eq!(node.take_sent(), ["Leave"]);
}

//! What people do for one another and what whoever leads can do about one member: each control asks for
//! what it says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{FakeNode, Window, samples, window};
use egui_kittest::kittest::{NodeT, Queryable};
use undertone_node::api::{AdmissionMode, Circle, Event, Gratitude, Notice, Place, Role};

const RIVER: &str = "Slow River, speaking, two minutes left";

fn inside(circle: Circle) -> (FakeNode, Window) {
    let node = FakeNode::showing(samples::inside(circle));
    let window = window(&node, 1920.0, 1080.0, None);
    (node, window)
}

/// Presses these controls one after the other, and says what was asked.
fn pressed(node: &FakeNode, window: &mut Window, path: &[&str]) -> Vec<String> {
    for label in path {
        // In sight or not.
        window.get_by_label(label).click_accesskit();
        window.run_ok();
    }
    node.take_sent()
}

fn change(node: &FakeNode, window: &mut Window, change: impl FnOnce(&mut Circle)) {
    node.change(|s| match &mut s.place {
        Place::Circle(circle) => change(circle),
        other => panic!("{other:?}"),
    });
    window.run_ok();
}

#[test]
fn thanks_are_a_small_choice() {
    let (node, mut window) = inside(samples::circle(7));
    let river = samples::key(2);
    for (label, what) in [
        ("Thank you for sharing", "ForSharing"),
        ("I hear you", "IHearYou"),
        ("You are not alone", "NotAlone"),
        ("Thank you for listening", "ForListening"),
    ] {
        let sent = pressed(&node, &mut window, &[RIVER, label]);
        assert_eq!(sent, [format!("Thank({river:?}, {what})")]);
    }
    // Whoever spoke last is one press away, also when the turn is over.
    change(&node, &mut window, |circle| circle.turn = None);
    let sent = pressed(&node, &mut window, &["Thank Slow River", "I hear you"]);
    assert_eq!(sent, [format!("Thank({river:?}, IHearYou)")]);
    change(&node, &mut window, |circle| {
        circle.members.retain(|m| m.key != river)
    });
    let nobody = window.get_by_label("Thank whoever spoke last");
    assert!(nobody.accesskit_node().is_disabled());
}

#[test]
fn thanks_are_shown_to_everybody_for_a_while() {
    let (node, mut window) = inside(samples::circle(7));
    node.happens(Event::Thanked {
        from: samples::key(3),
        subject: samples::key(0),
        gratitude: Gratitude::ForSharing,
    });
    window.step();
    window.get_by_label("Mossy Path to you: Thank you for sharing");
    for _ in 0..50 {
        window.step();
    }
    assert!(window.query_by_label_contains("Mossy Path to").is_none());
}

#[test]
fn whoever_is_asked_to_cease_says_that_they_heard_it() {
    let (node, mut window) = inside(samples::circle(7));
    let told = Notice {
        what: "The leader asks you to stop.".to_owned(),
        advice: String::new(),
    };
    node.change(|s| s.notice = Some(told.clone()));
    change(&node, &mut window, |circle| circle.asked_to_cease = true);
    // Told once, not twice.
    assert!(window.query_by_label("Understood").is_none());
    let sent = pressed(&node, &mut window, &["I have heard it"]);
    assert_eq!(sent, ["AcknowledgeCease", "DismissNotice"]);
    // Another notice is another matter.
    node.change(|s| s.notice = Some(samples::notice()));
    window.run_ok();
    window.get_by_label("Understood");
    assert_eq!(
        pressed(&node, &mut window, &["I have heard it"]),
        ["AcknowledgeCease", "DismissNotice"]
    );
}

#[test]
fn a_pause_and_a_closed_door_are_said() {
    let (node, mut window) = inside(samples::circle(7));
    assert!(window.query_by_label_contains("paused").is_none());
    change(&node, &mut window, |circle| {
        circle.frozen = true;
        circle.door_open = false;
    });
    window.get_by_label_contains("The leader has paused the circle");
    window.get_by_label_contains("The door is closed");
    let (node, mut window) = inside(samples::led(7));
    change(&node, &mut window, |circle| {
        circle.frozen = true;
        circle.door_open = false;
    });
    assert_eq!(
        pressed(
            &node,
            &mut window,
            &["Let the circle go on", "Open the door again"]
        ),
        ["Freeze(false)", "SetDoor(true)"]
    );
}

#[test]
fn roles_and_silence_are_said_on_the_ring() {
    let mut circle = samples::circle(7);
    circle.members[0].role = Role::Newcomer;
    circle.members[3].role = Role::CoLeader;
    circle.members[5].silenced = true;
    let (_, window) = inside(circle);
    for sentence in [
        "Quiet Heron, this is you, new here, second in line, microphone off",
        "Mossy Path, leads too, first in line, microphone off",
        "Silver Reed, listener, microphone off",
        "Early Lark, connection unsteady, silenced by the leader",
    ] {
        window.get_by_label(sentence);
    }
    window.get_by_label_contains("You are new here, and listen");
}

#[test]
fn there_are_three_ways_to_go_and_each_is_asked_about() {
    let (node, mut window) = inside(samples::circle(7));
    let erase = "Leave, and ask everybody to delete what they hold of me";
    let sent = pressed(&node, &mut window, &["Leave the circle", erase]);
    assert!(sent.is_empty());
    window.get_by_label("Leave and ask them");
    assert!(window.query_by_label("End the circle for good").is_none());
    assert_eq!(
        pressed(&node, &mut window, &["Leave and ask them"]),
        ["Erase"]
    );
    let stay = ["Leave the circle", "Stay"];
    assert!(pressed(&node, &mut window, &stay).is_empty());
    assert!(window.query_by_label("Leave now").is_none());

    let (node, mut window) = inside(samples::led(7));
    let sent = pressed(&node, &mut window, &["End the circle for good"]);
    assert!(sent.is_empty());
    assert_eq!(
        pressed(&node, &mut window, &["End it for everybody"]),
        ["CloseCircle"]
    );
}

#[test]
fn only_a_founder_who_does_not_lead_can_take_the_lead_again() {
    let mut circle = samples::circle(7);
    circle.door.can_recover = true;
    let (node, mut window) = inside(circle);
    assert!(pressed(&node, &mut window, &["Take the lead again"]).is_empty());
    assert_eq!(pressed(&node, &mut window, &["Take the lead"]), ["Recover"]);
    change(&node, &mut window, |circle| circle.leading = true);
    assert!(window.query_by_label("Take the lead again").is_none());
    // Outside too: where the leading key contradicts itself, the founder may be out.
    let path = ["Take the lead again", "Take the lead"];
    let node = FakeNode::showing(samples::at(Place::Waiting(samples::founded())));
    let mut window = common::window(&node, 1920.0, 1080.0, None);
    assert_eq!(pressed(&node, &mut window, &path), ["Recover"]);
    node.show(samples::at(Place::Waiting(samples::door())));
    window.run_ok();
    assert!(window.query_by_label("Take the lead again").is_none());
}

#[test]
fn personal_invites_are_passed_on_by_any_member() {
    let mut circle = samples::circle(7);
    let me = "Quiet Heron, this is you, second in line, microphone off";
    let (node, mut window) = inside(circle.clone());
    pressed(&node, &mut window, &[me]);
    assert!(window.query_by_label("Another invite").is_none());
    circle.door.admission = AdmissionMode::Invite;
    let (node, mut window) = inside(circle);
    let sent = pressed(&node, &mut window, &[me, "Copy the link", "Another invite"]);
    assert_eq!(sent, ["RenewInvite"]);
    window.get_by_label("Copied");
    change(&node, &mut window, |circle| circle.invite.push('x'));
    window.get_by_label("Copy the link");

    let mut circle = samples::led(7);
    circle.door.admission = AdmissionMode::Invite;
    let (node, mut window) = inside(circle);
    let sent = pressed(&node, &mut window, &["Another invite"]);
    assert_eq!(sent, ["RenewInvite"]);
    // Nobody is asked at this door.
    let tick = "Let everybody with the invite in";
    assert!(window.query_by_label(tick).is_none());
}

#[test]
fn care_for_one_member_goes_from_a_word_to_a_removal() {
    let (node, mut window) = inside(samples::led(7));
    let river = samples::key(2);
    let name = "Remove Slow River now, for 2: No harassment";
    for (path, command) in [
        (
            vec!["Let this turn last one minute longer"],
            "ExtendTurn(240)".to_owned(),
        ),
        (vec!["End this turn"], "EndTurn".to_owned()),
        (
            vec!["Thank", "I hear you"],
            format!("Thank({river:?}, IHearYou)"),
        ),
        (
            vec!["Ask to stop", "Ask Slow River to stop"],
            format!("AskToCease({river:?})"),
        ),
        (
            vec!["Silence", "Silence Slow River for 15 minutes"],
            format!("Silence({river:?}, 15)"),
        ),
        (
            vec!["Role", "Co-leader"],
            format!("SetRole({river:?}, CoLeader)"),
        ),
        (
            vec!["Role", "Listener"],
            format!("SetRole({river:?}, Listener)"),
        ),
        (
            vec!["For how long", "An hour", name],
            format!("Remove {{ member: {river:?}, clause: \"2\", minutes: Some(60) }}"),
        ),
        (
            vec!["For how long", "A day", name],
            format!("Remove {{ member: {river:?}, clause: \"2\", minutes: Some(1440) }}"),
        ),
        (
            vec!["For how long", "A week", "For how long", "For good", name],
            format!("Remove {{ member: {river:?}, clause: \"2\", minutes: None }}"),
        ),
    ] {
        if window.query_by_label("For how long").is_none() {
            pressed(&node, &mut window, &[RIVER]);
        }
        let sent = pressed(&node, &mut window, &path);
        assert_eq!(sent, [command]);
    }
}

#[test]
fn silence_is_taken_back_and_roles_too() {
    let mut circle = samples::led(7);
    circle.members[3].silenced = true;
    circle.members[3].role = Role::CoLeader;
    let (node, mut window) = inside(circle);
    let path = "Mossy Path, leads too, first in line, silenced by the leader";
    let key = samples::key(3);
    assert_eq!(
        pressed(
            &node,
            &mut window,
            &[
                path,
                "Silence",
                "Let them be heard again",
                "Role",
                "Participant"
            ]
        ),
        [
            format!("Silence({key:?}, 0)"),
            format!("SetRole({key:?}, Participant)")
        ]
    );
}

#[test]
fn words_to_one_alone_have_a_length_and_are_not_kept() {
    let (node, mut window) = inside(samples::led(7));
    pressed(&node, &mut window, &[RIVER, "Tell them alone"]);
    window.get_by_label_contains("kept nowhere");
    let disabled = |window: &Window| {
        window
            .get_by_label("Tell Slow River")
            .accesskit_node()
            .is_disabled()
    };
    assert!(disabled(&window));
    let typed = |window: &mut Window, text: &str| {
        window.get_by_label("To Slow River alone").focus();
        window.run_ok();
        window.event(egui::Event::Text(text.to_owned()));
        window.run_ok();
    };
    typed(&mut window, "116 123 is free to call");
    assert!(!disabled(&window));
    // 1,024 bytes, not letters.
    typed(&mut window, &"é".repeat(600));
    assert!(disabled(&window));
    window.get_by_label_contains("a little long");
    window.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::A);
    window.run_ok();
    typed(&mut window, "Please call 116 123");
    let sent = pressed(&node, &mut window, &["Tell Slow River"]);
    let river = samples::key(2);
    assert_eq!(sent, [format!("Refer({river:?}, \"Please call 116 123\")")]);
    pressed(&node, &mut window, &["Tell them alone"]);
    assert!(disabled(&window), "nothing of it is left");
}

#[test]
fn a_participant_asks_somebody_to_stay_in_touch() {
    let (node, mut window) = inside(samples::circle(7));
    pressed(&node, &mut window, &[RIVER, "Stay in touch"]);
    window.get_by_label_contains("They need not answer");
    window.get_by_label("Ask Slow River, or answer").focus();
    window.run_ok();
    window.event(egui::Event::Text("May I write to you?".to_owned()));
    window.run_ok();
    let sent = pressed(&node, &mut window, &["Send to Slow River"]);
    let river = samples::key(2);
    let expected = format!("StayInTouch({river:?}, \"May I write to you?\")");
    assert_eq!(sent, [expected]);
}

#[test]
fn nobody_silences_or_removes_the_leader() {
    let mut circle = samples::circle(7);
    circle.leading = true;
    circle.members[0].role = Role::CoLeader;
    let (node, mut window) = inside(circle);
    pressed(&node, &mut window, &["Amber Fox, leads"]);
    window.get_by_label("Tell them alone");
    for label in ["Silence", "Role", "Ask to stop", "For how long"] {
        assert!(window.query_by_label(label).is_none(), "{label}");
    }
}

#[test]
fn leaving_works_by_keyboard_and_escape_stays() {
    let (node, mut window) = inside(samples::circle(7));
    let open = |window: &mut Window| {
        window.get_by_label("Leave the circle").focus();
        window.run_ok();
        window.key_press(egui::Key::Enter);
        window.run_ok();
    };
    let tab_to = |window: &mut Window, label: &str| {
        for _ in 0..10 {
            if window.get_by_label(label).is_focused() {
                return;
            }
            window.key_press(egui::Key::Tab);
            window.run_ok();
        }
        panic!("Tab never reaches “{label}”");
    };
    pressed(&node, &mut window, &[RIVER]);
    open(&mut window);
    window.key_press(egui::Key::Escape);
    window.run_ok();
    assert!(window.query_by_label("Leave now").is_none());
    // What lay below the sheet is still open.
    window.get_by_label("How loud for me: Slow River");
    open(&mut window);
    let erase = "Leave, and ask everybody to delete what they hold of me";
    tab_to(&mut window, erase);
    window.key_press(egui::Key::Space);
    window.run_ok();
    tab_to(&mut window, "Leave and ask them");
    window.key_press(egui::Key::Enter);
    window.run_ok();
    assert_eq!(node.take_sent(), ["Erase"]);
}

//! From the welcome to the signature, with nothing but a keyboard.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{FakeNode, Window, samples, window};
use egui::Key;
use egui_kittest::kittest::{NodeT, Queryable};
use undertone_gui::Errand;
use undertone_node::api::{Announced, Announcing, Command, Place};
use undertone_protocol::texts;

const BEGIN: &str = "I am 18 or older, let's begin";

/// Presses Tab until this control has the focus.
fn tab_to(window: &mut Window, label: &str) {
    for _ in 0..60 {
        if window.get_by_label(label).is_focused() {
            return;
        }
        window.key_press(Key::Tab);
        window.run_ok();
    }
    panic!("Tab never reaches “{label}”");
}

fn press(window: &mut Window, label: &str, key: Key) {
    tab_to(window, label);
    window.key_press(key);
    window.run_ok();
}

fn enabled(window: &Window, label: &str) -> bool {
    !window.get_by_label(label).accesskit_node().is_disabled()
}

#[test]
fn the_keyboard_leads_from_the_welcome_to_the_signature() {
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(
        &node,
        800.0,
        600.0,
        Some(Errand::Invite("undertone:abc".to_owned())),
    );

    // What a circle is not is read before anything else.
    for line in texts::WHAT_A_CIRCLE_IS_NOT {
        window.get_by_label(line);
    }
    press(&mut window, BEGIN, Key::Enter);
    press(&mut window, "Another name", Key::Space);
    press(&mut window, "Keep this name", Key::Enter);
    let sent = node.take_sent();
    assert!(
        sent.len() == 1 && sent[0].starts_with("SetName(\""),
        "{sent:?}"
    );

    press(&mut window, "High", Key::Space);
    press(&mut window, "Hear yourself as others will", Key::Space);
    assert_eq!(node.take_sent(), ["SetCharacter(High)", "VoiceCheck(true)"]);
    node.change(|s| s.sound.checking = true);
    window.run_ok();
    press(&mut window, "I sound fine", Key::Enter);
    // Nobody goes on hearing themselves, and the invite one came with is opened.
    assert_eq!(
        node.take_sent(),
        ["VoiceCheck(false)", "OpenInvite(\"undertone:abc\")"]
    );

    node.show(samples::at(Place::Door(samples::door())));
    window.run_ok();
    press(&mut window, "Read on", Key::Enter);
    let screening = texts::SCREENING.iter().chain([&texts::ADULT]);
    tick_page(&mut window, screening, "Go on");
    tick_page(&mut window, texts::PLEDGE.iter(), "Go on");
    tick_page(&mut window, texts::TERMS.iter(), "Sign and knock");

    let sent = node.sent.borrow();
    let [Command::SignPledge(consent)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    let every: Vec<_> = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    assert_eq!(consent.accepted, every);
}

#[test]
fn each_part_of_the_clean_up_has_its_switch_and_the_difference_is_told() {
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, None);
    press(&mut window, BEGIN, Key::Enter);
    press(&mut window, "Keep this name", Key::Enter);
    node.take_sent();
    press(&mut window, "Noise in the room", Key::Space);
    assert_eq!(
        node.take_sent(),
        ["SetCleanUp(CleanUp { echo: true, noise: false, gain: true })"]
    );
    let told = "Pitch 4 semitones lower, resonances 9 % higher, colour 5 dB apart.";
    assert!(window.query_by_label_contains(told).is_none());
    node.change(|s| s.sound.checking = true);
    window.run_ok();
    window.get_by_label_contains(told);
    node.change(|s| s.sound.difference = None);
    window.run_ok();
    window.get_by_label("Say a few words to see it.");
}

/// Ticks every statement by keyboard; the way on opens with the last one and not before.
fn tick_page<'a>(
    window: &mut Window,
    clauses: impl Iterator<Item = &'a texts::ClauseText>,
    next: &str,
) {
    for clause in clauses {
        assert!(
            !enabled(window, next),
            "open before “{}” is ticked",
            clause.full
        );
        press(window, clause.full, Key::Space);
    }
    assert!(enabled(window, next));
    press(window, next, Key::Enter);
}

#[test]
fn a_statement_unticked_again_closes_the_way() {
    let node = FakeNode::showing(samples::at(Place::Door(samples::door())));
    let mut window = window(&node, 800.0, 600.0, None);
    press(&mut window, "Read on", Key::Enter);
    for clause in texts::SCREENING.iter().chain([&texts::ADULT]) {
        press(&mut window, clause.full, Key::Space);
    }
    assert!(enabled(&window, "Go on"));
    press(&mut window, texts::ADULT.full, Key::Space);
    assert!(!enabled(&window, "Go on"));
    window.get_by_label("Go on").click_accesskit();
    window.run_ok();
    window.get_by_label("Is this circle for you?");
}

#[test]
fn whoever_is_known_already_goes_where_they_wanted_to() {
    // The node reads its store after the window has opened.
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, Some(Errand::Practice));
    window.get_by_label(BEGIN);
    assert!(node.take_sent().is_empty());
    node.show(samples::at(Place::Lobby));
    window.run_ok();
    window.get_by_label("Welcome, Quiet Heron");
    assert_eq!(node.take_sent(), ["Practice { lead: false }"]);
    window.run_ok();
    assert!(node.take_sent().is_empty(), "only once");
}

#[test]
fn whoever_comes_back_to_a_door_ticks_again() {
    let door = samples::at(Place::Door(samples::door()));
    let node = FakeNode::showing(door.clone());
    let mut window = window(&node, 800.0, 600.0, None);
    press(&mut window, "Read on", Key::Enter);
    for clause in texts::SCREENING.iter().chain([&texts::ADULT]) {
        press(&mut window, clause.full, Key::Space);
    }
    node.show(samples::at(Place::Lobby));
    window.run_ok();
    node.show(door);
    window.run_ok();
    press(&mut window, "Read on", Key::Enter);
    assert!(!enabled(&window, "Go on"));
}

#[test]
fn a_name_must_be_there_and_not_too_long() {
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, None);
    press(&mut window, BEGIN, Key::Enter);
    assert!(enabled(&window, "Keep this name"));
    tab_to(&mut window, "Your name in circles");
    let all = egui::Modifiers::COMMAND;
    window.key_press_modifiers(all, Key::A);
    window.run_ok();
    window.key_press(Key::Backspace);
    window.run_ok();
    assert!(!enabled(&window, "Keep this name"));
    window.event(egui::Event::Text("x".repeat(41)));
    window.run_ok();
    assert!(!enabled(&window, "Keep this name"));
    window.key_press(Key::Backspace);
    window.run_ok();
    assert!(enabled(&window, "Keep this name"));
    press(&mut window, "Keep this name", Key::Enter);
    assert_eq!(node.take_sent(), [format!("SetName({:?})", "x".repeat(40))]);
}

#[test]
fn the_charter_says_who_could_see_ones_address() {
    let node = FakeNode::showing(samples::at(Place::Door(samples::door())));
    let mut window = window(&node, 800.0, 600.0, None);
    window.get_by_label(samples::door().who_sees_address.as_str());
    window.get_by_label("Living with a parent who drinks");
    press(&mut window, "Step back", Key::Enter);
    assert_eq!(node.take_sent(), ["Leave"]);
}

#[test]
fn the_texts_are_those_that_the_charter_names() {
    let node = FakeNode::showing(samples::at(Place::Door(samples::spanish())));
    let mut window = window(&node, 800.0, 600.0, None);
    let spanish = texts::of_language("es");
    for line in spanish.is_not {
        window.get_by_label(line);
    }
    press(&mut window, "Read on", Key::Enter);
    tick_page(
        &mut window,
        spanish.screening.iter().chain([&spanish.adult]),
        "Go on",
    );
    tick_page(&mut window, spanish.pledge.iter(), "Go on");
    tick_page(&mut window, spanish.terms.iter(), "Sign and knock");
    assert!(node.take_sent()[0].starts_with("SignPledge"));
    // Nobody signs what cannot be shown.
    let node = FakeNode::showing(samples::at(Place::Door(samples::unknown())));
    let window = crate::window(&node, 800.0, 600.0, None);
    window.get_by_label_contains("texts that this program does not have");
    assert!(!enabled(&window, "Read on"));
}

#[test]
fn a_circle_is_started_from_its_form() {
    let node = FakeNode::showing(samples::at(Place::Lobby));
    let mut window = window(&node, 800.0, 600.0, None);
    let role = egui::accesskit::Role::Button;
    window
        .get_by_role_and_label(role, "Start a circle")
        .click_accesskit();
    window.run_ok();
    assert!(!enabled(&window, "Open the circle"));
    tab_to(&mut window, "What it is about");
    window.event(egui::Event::Text("Grief".to_owned()));
    window.run_ok();
    tab_to(&mut window, "What the circle is called");
    window.event(egui::Event::Text("Tuesday".to_owned()));
    window.run_ok();
    tab_to(&mut window, "When it meets, if it meets again");
    window.event(egui::Event::Text("Tuesdays".to_owned()));
    window.run_ok();
    press(&mut window, "Anybody, the door is open", Key::Space);
    press(&mut window, "Whoever has a personal invite", Key::Space);
    press(&mut window, "Turns pass on by themselves", Key::Space);
    press(&mut window, "Open the circle", Key::Enter);
    let sent = node.sent.borrow();
    let [Command::StartCircle(draft)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    assert_eq!(
        (draft.topic.as_str(), draft.title.as_str()),
        ("Grief", "Tuesday")
    );
    assert_eq!(draft.admission, undertone_node::api::AdmissionMode::Invite);
    assert_eq!(draft.turn.as_secs(), 180);
    assert_eq!(draft.floor, undertone_node::api::FloorMode::Passive);
    assert_eq!(draft.schedule.as_deref(), Some("Tuesdays"));
}

#[test]
fn a_circle_is_found_by_its_topic_and_its_door_gone_to() {
    let node = FakeNode::showing(samples::searching(29_000_000));
    let mut window = window(&node, 800.0, 900.0, None);
    press(&mut window, "Look for a circle", Key::Enter);
    for title in ["A quiet hour", "Open evening", "Thursday circle"] {
        window.get_by_label(title);
    }
    tab_to(&mut window, "About");
    window.event(egui::Event::Text("grief".to_owned()));
    window.run_ok();
    window.get_by_label("2 of 3 circles.");
    assert!(window.query_by_label("Open evening").is_none());
    press(&mut window, "Look", Key::Enter);
    press(&mut window, "Go to the door of A quiet hour", Key::Enter);
    let sent = node.sent.borrow();
    let [Command::FindCircles(search), Command::OpenInvite(link)] = sent.as_slice() else {
        panic!("{sent:?}")
    };
    let asked = (search.relays.as_str(), search.language.as_str());
    assert_eq!(asked, (samples::RELAYS, "en"));
    assert_eq!(link, "undertone:circle1");
}

#[test]
fn whose_relay_or_members_would_see_ones_address_is_said_before_one_goes() {
    let node = FakeNode::showing(samples::searching(29_000_000));
    let mut window = window(&node, 800.0, 900.0, None);
    press(&mut window, "Look for a circle", Key::Enter);
    let elsewhere = "Go to the door of Open evening";
    press(&mut window, elsewhere, Key::Enter);
    assert!(node.sent.borrow().is_empty(), "first it is asked");
    press(&mut window, elsewhere, Key::Enter);
    assert!(node.sent.borrow().is_empty(), "pressing twice is no answer");
    press(&mut window, "Not now", Key::Enter);
    assert!(window.query_by_label("Go there all the same").is_none());
    press(&mut window, elsewhere, Key::Enter);
    press(&mut window, "Go there all the same", Key::Enter);
    let sent = node.take_sent();
    assert_eq!(sent, ["OpenInvite(\"undertone:circle2\")"]);

    let direct = samples::direct_link();
    let node = FakeNode::showing(samples::at(Place::Lobby));
    let errand = Some(Errand::Invite(direct.clone()));
    let mut window = self::window(&node, 800.0, 900.0, errand);
    window.run_ok();
    assert!(node.sent.borrow().is_empty(), "from a link too");
    window.get_by_label_contains("This circle uses no relay");
    press(&mut window, "Go there all the same", Key::Enter);
    let sent = node.take_sent();
    assert_eq!(sent, [format!("OpenInvite({direct:?})")]);
}

#[test]
fn a_leader_announces_the_circle_now_or_later() {
    let mut circle = samples::announced();
    circle.announced = Some(Announced::default());
    let node = FakeNode::showing(samples::inside(circle));
    let mut window = window(&node, 1_200.0, 1_400.0, None);
    press(&mut window, "Announce it: open now", Key::Space);
    press(&mut window, "Announce the next meeting", Key::Space);
    press(&mut window, "Announce it", Key::Enter);
    let sent = node.sent.borrow();
    let [
        Command::Announce(Announcing::Now),
        Command::Announce(Announcing::At(meeting)),
    ] = sent.as_slice()
    else {
        panic!("{sent:?}")
    };
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ahead = meeting - since.unwrap().as_secs() / 60;
    assert!((1_439..=1_445).contains(&ahead), "a day: {ahead}");
}

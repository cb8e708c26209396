//! Nothing is cut off: every control lies inside the window and none on top of another, at every text
//! size, on every screen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{FakeNode, Window, samples, window};
use egui::accesskit::Role;
use egui::{Key, Modifiers, Rect};
use egui_kittest::kittest::{NodeT, Queryable};
use undertone_node::api::{Place, Snapshot};
use undertone_protocol::texts;

const CONTROLS: [Role; 6] = [
    Role::Button,
    Role::CheckBox,
    Role::RadioButton,
    Role::ComboBox,
    Role::TextInput,
    Role::Slider,
];

fn screens() -> Vec<(&'static str, Snapshot)> {
    let mut screens = samples::places();
    screens.push(("welcome", samples::newcomer()));
    screens.push(("home", samples::at(Place::Lobby)));
    screens
}

/// Screens one walks to, with the way there from a fresh window on this snapshot.
fn walks() -> Vec<(&'static str, Snapshot, Vec<&'static str>)> {
    let begin = "I am 18 or older, let's begin";
    let door = samples::at(Place::Door(samples::door()));
    let mut pages = vec!["Read on"];
    let tick = |pages: &mut Vec<&'static str>, clauses: &[texts::ClauseText]| {
        pages.extend(clauses.iter().map(|c| c.full));
    };
    let screening = pages.clone();
    tick(&mut pages, &texts::SCREENING);
    tick(&mut pages, &[texts::ADULT]);
    pages.push("Go on");
    let pledge = pages.clone();
    tick(&mut pages, &texts::PLEDGE);
    pages.push("Go on");
    let mut unwell = samples::newcomer();
    unwell.sound.problem = Some("No microphone was found on this computer.".to_owned());
    unwell.sound.checking = true;
    vec![
        ("name", samples::newcomer(), vec![begin]),
        ("voice", samples::newcomer(), vec![begin, "Keep this name"]),
        ("voice in trouble", unwell, vec![begin, "Keep this name"]),
        ("start", samples::at(Place::Lobby), vec!["Start a circle"]),
        (
            "start by relay",
            samples::at(Place::Lobby),
            vec!["Start a circle", "Through community relays"],
        ),
        ("screening", door.clone(), screening),
        ("pledge", door.clone(), pledge),
        ("terms", door, pages),
        (
            "removal",
            samples::inside(samples::led(7)),
            vec!["Slow River, speaking, two minutes left"],
        ),
        (
            "words to one alone",
            samples::inside(samples::led(7)),
            vec!["Slow River, speaking, two minutes left", "Tell them alone"],
        ),
        (
            "role",
            samples::inside(samples::led(7)),
            vec!["Slow River, speaking, two minutes left", "Role"],
        ),
        (
            "thanks",
            samples::inside(samples::circle(7)),
            vec!["Slow River, speaking, two minutes left"],
        ),
    ]
}

/// A window of this size, walked through these controls.
fn walked(snapshot: Snapshot, path: &[&str], width: f32, height: f32) -> Window {
    let node = FakeNode::showing(snapshot);
    let mut window = window(&node, width, height, None);
    for label in path {
        let there: Vec<_> = window.query_all_by_label(label).collect();
        let control = there
            .iter()
            .find(|n| CONTROLS.contains(&n.accesskit_node().role()));
        control
            .unwrap_or_else(|| panic!("there is no “{label}”"))
            .click_accesskit();
        window.run_ok();
    }
    window
}

fn controls(window: &Window) -> Vec<(String, Rect)> {
    window
        .root()
        .children_recursive()
        .filter(|node| CONTROLS.contains(&node.accesskit_node().role()))
        .map(|node| {
            (
                node.accesskit_node().label().unwrap_or_default(),
                node.rect(),
            )
        })
        .collect()
}

fn all_named(name: &str, window: &Window) {
    for (label, rect) in controls(window) {
        assert!(
            !label.trim().is_empty(),
            "{name}: something at {rect:?} has no name"
        );
    }
}

#[test]
fn every_control_has_a_name_for_screen_readers() {
    for (name, snapshot) in screens() {
        let node = FakeNode::showing(snapshot);
        all_named(name, &window(&node, 1920.0, 1080.0, None));
    }
    for (name, snapshot, path) in walks() {
        all_named(name, &walked(snapshot, &path, 1920.0, 1080.0));
    }
}

#[test]
fn no_control_is_cut_off_or_covered_at_any_text_size() {
    for percent in [100.0_f32, 140.0, 200.0] {
        for (width, height) in [(800.0, 600.0), (1920.0, 1080.0)] {
            // Text at 200 % in 800 × 600 is text at 100 % in 400 × 300.
            let (across, down) = (width * 100.0 / percent, height * 100.0 / percent);
            let node = FakeNode::showing(samples::newcomer());
            let mut window = window(&node, across, down, None);
            check(&format!("welcome at {percent} %"), &window, across, down);
            for (name, snapshot, path) in walks() {
                let name = format!("{name} {width}×{height} at {percent} %");
                check(&name, &walked(snapshot, &path, across, down), across, down);
            }
            for (name, snapshot) in screens() {
                node.show(snapshot);
                window.run_ok();
                check(
                    &format!("{name} {width}×{height} at {percent} %"),
                    &window,
                    across,
                    down,
                );
            }
        }
    }
}

#[test]
fn a_screen_at_rest_asks_for_no_more_frames() {
    // A weak laptop has better things to do than to draw the same picture again.
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, None);
    for (name, mut snapshot) in screens() {
        if let Place::Circle(circle) = &mut snapshot.place {
            circle.members.iter_mut().for_each(|m| m.speaking = false);
        }
        node.show(snapshot);
        window
            .state_mut()
            .set_appearance(egui::ThemePreference::Light, 100, true);
        if !["connecting", "waiting"].contains(&name.split('-').next().unwrap()) {
            assert!(window.try_run().is_ok(), "{name} never comes to rest");
        }
    }
}

fn check(name: &str, window: &Window, width: f32, height: f32) {
    let controls = controls(window);
    for (label, rect) in &controls {
        // Pages scroll up and down, never sideways.
        assert!(
            rect.left() >= -0.5 && rect.right() <= width + 0.5,
            "{name}: “{label}” is cut off sideways: {rect:?}"
        );
    }
    // What is always in sight.
    for label in [
        "Quick exit",
        "Text size and colours",
        "Leave the circle",
        "Back to the start",
        "Read on",
        "Step back",
    ] {
        if let Some(node) = window.query_by_label(label) {
            let rect = node.rect();
            assert!(
                rect.top() >= 0.0 && rect.bottom() <= height + 0.5 && rect.width() > 20.0,
                "{name}: “{label}” is out of sight: {rect:?}"
            );
        }
    }
    for (i, (a, one)) in controls.iter().enumerate() {
        for (b, other) in controls.iter().skip(i + 1) {
            let overlap = one.shrink(1.0).intersect(other.shrink(1.0));
            // What has scrolled out of sight lies under the bars.
            let bars = |rect: &Rect| rect.bottom() > height - 150.0 || rect.top() < 60.0;
            assert!(
                !overlap.is_positive() || bars(one) || bars(other),
                "{name}: “{a}” {one:?} lies on “{b}” {other:?}"
            );
        }
    }
}

#[test]
fn text_grows_and_shrinks_by_keyboard_within_bounds() {
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, None);
    let press = |window: &mut Window, key, times| {
        for _ in 0..times {
            window.key_press_modifiers(Modifiers::COMMAND, key);
            window.run_ok();
        }
        window.ctx.zoom_factor()
    };
    assert_eq!(press(&mut window, Key::Plus, 1), 1.1);
    assert_eq!(press(&mut window, Key::Plus, 20), 2.0);
    assert_eq!(press(&mut window, Key::Minus, 30), 0.8);
    assert_eq!(press(&mut window, Key::Num0, 1), 1.0);
}

#[test]
fn colours_are_chosen_in_the_sheet_for_looks() {
    let node = FakeNode::showing(samples::newcomer());
    let mut window = window(&node, 800.0, 600.0, None);
    window.get_by_label("Text size and colours").click();
    window.run_ok();
    window.get_by_label("Dark").click();
    window.run_ok();
    assert_eq!(window.ctx.theme(), egui::Theme::Dark);
    window.get_by_label("Larger text").click();
    window.run_ok();
    assert_eq!(window.ctx.zoom_factor(), 1.1);
    window.key_press(Key::Escape);
    window.run_ok();
    assert!(window.query_by_label("Larger text").is_none());
}

//! Nothing is cut off: every control lies inside the window and none on top of another, at every text
//! size, on every screen.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use common::{FakeNode, Window, samples, window};
use egui::accesskit::Role;
use egui::{Key, Modifiers, Rect};
use egui_kittest::kittest::{NodeT, Queryable};
use undertone_node::api::{Place, Snapshot};

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

#[test]
fn every_control_has_a_name_for_screen_readers() {
    for (name, snapshot) in screens() {
        let node = FakeNode::showing(snapshot);
        let window = window(&node, 1920.0, 1080.0, None);
        for (label, rect) in controls(&window) {
            assert!(
                !label.trim().is_empty(),
                "{name}: something at {rect:?} has no name"
            );
        }
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
        if !["connecting", "waiting"].contains(&name) {
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

//! Waiting for something with a name.

use std::time::Duration;

use egui::accesskit::Live;
use egui::{Sense, Ui, vec2};
use undertone_node::api::{Command, Connecting};

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::theme::palette::mix;
use crate::theme::{COLUMN, Palette, space};
use crate::widgets::prose;

/// After this long, it is said that waiting takes unusually long.
const LONG: Duration = Duration::from_secs(15);

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, wait: &Connecting) {
    let words = &screen.words.connecting;
    let foot = Foot {
        back: Some(words.cancel),
        ..Foot::default()
    };
    let pressed = page(ui, "connecting", COLUMN, &foot, |ui| {
        ripples(ui);
        gap(ui, space::L);
        prose::title(ui, words.title);
        let line = prose::body(ui, &wait.awaiting);
        prose::announce(&line, Live::Polite);
        prose::soft(ui, &(words.so_far)(wait.since));
        if wait.since >= LONG {
            gap(ui, space::M);
            prose::body(ui, words.long);
        }
    });
    if pressed == Some(FootPress::Back) {
        screen.send(Command::Leave);
    }
}

/// Rings that widen slowly, as on water. Without motion they stand still.
pub(super) fn ripples(ui: &mut Ui) {
    let p = Palette::of(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(120.0, 120.0), Sense::hover());
    let moving = ui.style().animation_time > 0.0;
    let phase = if moving {
        // Slow enough that ten frames a second look smooth.
        ui.ctx().request_repaint_after(Duration::from_millis(50));
        (ui.input(|i| i.time) / 3.6).fract() as f32
    } else {
        0.35
    };
    for ring in 0..3 {
        let at = (phase + ring as f32 / 3.0).fract();
        let color = mix(p.voice, p.ground, 0.25 + 0.75 * at);
        ui.painter().circle_stroke(
            rect.center(),
            12.0 + 46.0 * at,
            egui::Stroke::new(3.0, color),
        );
    }
    ui.painter().circle_filled(rect.center(), 9.0, p.voice);
}

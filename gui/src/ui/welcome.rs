//! What this is, and what it is not.

use egui::{Ui, Vec2, pos2, vec2};
use undertone_protocol::texts;

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::theme::palette::mix;
use crate::theme::{COLUMN, Palette, space};
use crate::view_state::Lobby;
use crate::widgets::{Emblem, Icon, prose};

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.welcome;
    let foot = Foot {
        hint: Some(words.adults.to_owned()),
        next: Some((words.begin, true)),
        ..Foot::default()
    };
    let wide = ui.max_rect().width() >= 1080.0;
    let width = if wide { COLUMN + 400.0 } else { COLUMN };
    let pressed = page(ui, "welcome", width, &foot, |ui| {
        let text = |ui: &mut Ui| {
            prose::display(ui, words.title);
            gap(ui, space::S);
            prose::soft(ui, words.intro);
            gap(ui, space::M);
            prose::card(ui, |ui| {
                prose::heading(ui, words.is_not);
                gap(ui, space::XS);
                for line in texts::WHAT_A_CIRCLE_IS_NOT {
                    bullet(ui, line);
                }
            });
        };
        if !wide {
            return text(ui);
        }
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = 60.0;
            let column = ui.vertical(|ui| {
                ui.set_width(COLUMN);
                text(ui);
            });
            let (rect, _) = ui.allocate_exact_size(
                vec2(340.0, column.response.rect.height()),
                egui::Sense::hover(),
            );
            people(ui, rect.center(), 150.0);
        });
    });
    if pressed == Some(FootPress::Next) {
        screen.view.begun = true;
        screen.view.lobby = Lobby::Name;
    }
}

fn bullet(ui: &mut Ui, line: &str) {
    let soft = Palette::of(ui).ink_soft;
    prose::with_icon(ui, Icon::Dot, soft, |ui| {
        prose::body(ui, line);
    });
}

/// A picture of a circle: people around a voice.
fn people(ui: &Ui, center: egui::Pos2, radius: f32) {
    let p = Palette::of(ui);
    let painter = ui.painter();
    for (reach, opacity) in [(0.62, 0.10), (0.50, 0.16), (0.39, 0.26)] {
        painter.circle_filled(center, radius * reach, mix(p.ground, p.voice, opacity));
    }
    painter.circle_stroke(center, radius, egui::Stroke::new(2.0, p.line));
    Emblem::of_name("Warm Lantern").paint(painter, center, radius * 0.29, p);
    let names = [
        "Quiet Heron",
        "Amber Fox",
        "Slow River",
        "Mossy Path",
        "Silver Reed",
        "Early Lark",
        "Kind Otter",
    ];
    for (i, name) in names.iter().enumerate() {
        let angle =
            std::f32::consts::TAU * (i as f32 / names.len() as f32) - std::f32::consts::FRAC_PI_2;
        let at = center + Vec2::angled(angle) * radius;
        painter.circle_filled(pos2(at.x, at.y), radius * 0.23, p.ground);
        Emblem::of_name(name).paint(painter, at, radius * 0.19, p);
    }
}

//! A name that is nobody's.

use egui::{Ui, vec2};
use undertone_node::api::Command;

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::text;
use crate::theme::{COLUMN, Palette, TARGET, space};
use crate::view_state::Lobby;
use crate::widgets::{Emblem, Icon, Press, emblem, prose};

/// Longest name, in letters.
const LONGEST: usize = 40;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = screen.words;
    let name = screen.view.name.trim().to_owned();
    let trouble = if name.is_empty() {
        Some(words.name.empty)
    } else if name.chars().count() > LONGEST {
        Some(words.name.too_long)
    } else {
        None
    };
    let step = (!screen.view.revisiting).then(|| (words.app.step)(1, 2));
    let foot = Foot {
        back: Some(words.app.back),
        hint: trouble.map(str::to_owned).or(step),
        next: Some((words.name.keep, trouble.is_none())),
    };
    let mut entered = false;
    let pressed = page(ui, "name", COLUMN, &foot, |ui| {
        prose::title(ui, words.name.title);
        prose::soft(ui, words.name.intro);
        gap(ui, space::L);
        prose::card(ui, |ui| {
            let roomy = ui.available_width() > 420.0;
            let picture = Emblem::of_name(&name);
            let mut field = |ui: &mut Ui| {
                ui.spacing_mut().item_spacing.y = space::S;
                let response =
                    prose::field(ui, words.name.field, "", &mut screen.view.name, 2 * LONGEST);
                entered = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
                if ui
                    .add(Press::secondary(words.name.again).icon(Icon::Again))
                    .clicked()
                {
                    screen.view.name = text::suggest(&screen.view.name);
                }
            };
            if roomy {
                ui.horizontal_top(|ui| {
                    ui.spacing_mut().item_spacing.x = space::L;
                    emblem::show(ui, &picture, 62.0);
                    ui.vertical(|ui| field(ui));
                });
            } else {
                emblem::show(ui, &picture, 36.0);
                field(ui);
            }
        });
        gap(ui, space::M);
        let p = Palette::of(ui);
        prose::with_icon(ui, Icon::Note, p.ink_soft, |ui| {
            prose::body(ui, words.name.advice);
        });
        prose::with_icon(ui, Icon::Circle, p.ink_soft, |ui| {
            prose::body(ui, words.name.emblem);
        });
        ui.allocate_space(vec2(0.0, TARGET * 0.2));
    });
    match pressed {
        Some(FootPress::Back) => {
            screen.view.lobby = if screen.view.revisiting {
                Lobby::Home
            } else {
                Lobby::Welcome
            };
            screen.view.revisiting = false;
        }
        Some(FootPress::Next) => keep(screen, name),
        None if entered && trouble.is_none() => keep(screen, name),
        None => {}
    }
}

fn keep(screen: &mut Screen<'_>, name: String) {
    screen.view.name.clone_from(&name);
    screen.send(Command::SetName(name));
    if screen.view.revisiting {
        screen.view.lobby = Lobby::Home;
        screen.view.revisiting = false;
    } else {
        screen.view.lobby = Lobby::Voice;
    }
}

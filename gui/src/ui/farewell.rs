//! How it ended, and where to go from here.

use egui::Ui;
use undertone_node::api::{Command, Farewell};
use undertone_protocol::texts;

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::theme::{COLUMN, Palette, space};
use crate::view_state::Lobby;
use crate::widgets::prose;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, farewell: &Farewell) {
    let words = &screen.words.farewell;
    let was_removed = matches!(farewell, Farewell::Removed { .. });
    let foot = Foot {
        back: was_removed.then_some(words.ask_again),
        next: Some((words.home, true)),
        ..Foot::default()
    };
    let pressed = page(ui, "farewell", COLUMN, &foot, |ui| match farewell {
        Farewell::Left => plain(ui, words.left_title, words.left),
        Farewell::Removed { title, clause } => {
            plain(ui, words.removed_title, &(words.removed)(title));
            if let Some(clause) = texts::clause(clause) {
                gap(ui, space::M);
                prose::card(ui, |ui| {
                    prose::small(ui, &(words.removed_clause)(clause.mark));
                    prose::body(ui, clause.full);
                });
            }
            gap(ui, space::M);
            prose::body(ui, words.removed_after);
            gap(ui, space::S);
            prose::small(ui, words.ask_again_about);
        }
        Farewell::Refused { may_knock_again } => plain(
            ui,
            words.refused_title,
            if *may_knock_again {
                words.refused_again
            } else {
                words.refused_final
            },
        ),
        Farewell::Closed => plain(ui, words.closed_title, words.closed),
        Farewell::NobodyThere => plain(ui, words.nobody_title, words.nobody),
        Farewell::NoRelay => plain(ui, words.no_relay_title, words.no_relay),
    });
    match pressed {
        Some(FootPress::Next) => {
            screen.view.lobby = Lobby::Home;
            screen.send(Command::Leave);
        }
        Some(FootPress::Back) => screen.send(Command::AskAgain),
        None => {}
    }
}

fn plain(ui: &mut Ui, title: &str, text: &str) {
    let ink = Palette::of(ui).ink;
    prose::display(ui, title);
    gap(ui, space::S);
    ui.visuals_mut().override_text_color = Some(ink);
    prose::body(ui, text);
}

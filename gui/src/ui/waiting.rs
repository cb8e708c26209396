//! Knocked, not in yet.

use egui::Ui;
use egui::accesskit::Live;
use undertone_node::api::{AdmissionMode, Command, Door};

use super::Screen;
use super::connecting::ripples;
use super::shell::{Foot, FootPress, gap, page};
use crate::theme::{COLUMN, space};
use crate::widgets::prose;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, door: &Door) {
    let words = &screen.words.waiting;
    let foot = Foot {
        back: Some(words.step_back),
        ..Foot::default()
    };
    let pressed = page(ui, "waiting", COLUMN, &foot, |ui| {
        ripples(ui);
        gap(ui, space::L);
        prose::title(ui, words.title);
        let line = prose::body(
            ui,
            match door.admission {
                AdmissionMode::Approval => words.asked,
                AdmissionMode::Invite => words.open,
            },
        );
        prose::announce(&line, Live::Polite);
        gap(ui, space::M);
        prose::card(ui, |ui| {
            prose::heading(ui, &door.title);
            prose::soft(ui, &door.topic);
        });
    });
    if pressed == Some(FootPress::Back) {
        screen.send(Command::Leave);
    }
}

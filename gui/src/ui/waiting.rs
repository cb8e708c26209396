//! Knocked, not in yet.

use egui::Ui;
use egui::accesskit::Live;
use undertone_node::api::{AdmissionMode, Command, Door};

use super::connecting::ripples;
use super::shell::{Foot, FootPress, gap, page};
use super::{Screen, asking};
use crate::theme::{COLUMN, Palette, space};
use crate::view_state::Asking;
use crate::widgets::{Icon, Press, prose};

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
                AdmissionMode::Invite => words.invited,
                AdmissionMode::Open => words.open,
            },
        );
        prose::announce(&line, Live::Polite);
        gap(ui, space::M);
        if door.can_recover {
            prose::small(ui, screen.words.circle.lead_lost);
            let press = Press::secondary(screen.words.circle.lead_again).icon(Icon::Lantern);
            if ui.add(press.small()).clicked() {
                screen.view.inside.asking = Some(Asking::Recover);
            }
            gap(ui, space::M);
        }
        prose::card(ui, |ui| {
            prose::heading(ui, &door.title);
            prose::soft(ui, &door.topic);
            if let Some(schedule) = &door.schedule {
                gap(ui, space::S);
                let accent = Palette::of(ui).accent;
                prose::with_icon(ui, Icon::Calendar, accent, |ui| {
                    prose::body(ui, schedule);
                });
            }
        });
    });
    if screen.view.inside.asking == Some(Asking::Recover) {
        asking::recover(ui, screen);
    }
    if pressed == Some(FootPress::Back) {
        screen.send(Command::Leave);
    }
}

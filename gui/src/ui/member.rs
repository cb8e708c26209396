//! One member's card: thanks, how loud they are for me, and for whoever leads all that care takes.

use egui::{Slider, Ui};
use undertone_node::api::{AdmissionMode, Circle, Command, Gratitude, Member};

use super::circle::facts;
use super::shell::gap;
use super::{Screen, care, leader};
use crate::theme::{Palette, space};
use crate::widgets::{Emblem, Icon, Press, emblem, prose};

pub(super) fn card(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, member: &Member) {
    let words = &screen.words.circle;
    let mine = member.key == circle.me;
    ui.spacing_mut().item_spacing.y = 6.0;
    let marks = (words.marks)(&facts(&screen.view.inside, circle, member));
    let mut close = false;
    egui::Sides::new().height(52.0).shrink_left().show(
        ui,
        |ui| {
            emblem::show(ui, &Emblem::of(member.key.as_bytes()), 24.0);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                ui.add_space(if marks.is_empty() { 12.0 } else { 2.0 });
                prose::heading(ui, &member.name);
                prose::small(ui, &marks);
            });
        },
        |ui| {
            let press = Press::quiet("")
                .icon(Icon::Exit)
                .name(words.close_card)
                .small();
            close = ui.add(press).clicked();
        },
    );
    if close {
        screen.view.inside.select(None);
    }
    gap(ui, space::XS);
    if circle.leading {
        care::show(ui, screen, circle, member);
        gap(ui, space::M);
    } else if !mine {
        prose::heading(ui, screen.words.member.thank);
        thanks(ui, screen, member);
        gap(ui, space::M);
    } else if circle.door.admission == AdmissionMode::Invite {
        leader::invite(ui, screen, circle);
    }
    if !mine {
        volume(ui, screen, member);
    }
    gap(ui, space::M);
}

/// A small choice of thanks.
pub(super) fn thanks(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    for what in [
        Gratitude::ForSharing,
        Gratitude::IHearYou,
        Gratitude::NotAlone,
        Gratitude::ForListening,
    ] {
        let press = Press::secondary((screen.words.circle.gratitude)(what))
            .icon(Icon::Heart)
            .small()
            .left()
            .min_width(ui.available_width());
        if ui.add(press).clicked() {
            screen.send(Command::Thank(member.key, what));
            screen.view.inside.select(None);
        }
    }
}

fn volume(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.circle;
    let percent = |volume: f32| (volume.clamp(0.0, 2.0) * 100.0).round();
    let mut shown = percent(member.volume);
    egui::Sides::new().height(20.0).show(
        ui,
        |ui| prose::strong(ui, words.volume),
        |ui| prose::small(ui, &(words.volume_value)(shown as u32)),
    );
    let accent = Palette::of(ui).accent;
    let slider = ui
        .scope(|ui| {
            ui.spacing_mut().slider_width = ui.available_width();
            ui.spacing_mut().interact_size.y = 26.0;
            ui.visuals_mut().selection.bg_fill = accent;
            let slider = Slider::new(&mut shown, 0.0..=200.0)
                .step_by(5.0)
                .show_value(false);
            ui.add(slider.handle_shape(egui::style::HandleShape::Circle))
        })
        .inner;
    ui.ctx().accesskit_node_builder(slider.id, |node| {
        node.set_label(format!("{}: {}", words.volume, member.name));
    });
    if slider.changed() {
        screen.send(Command::SetVolume {
            member: member.key,
            volume: shown / 100.0,
        });
    }
}

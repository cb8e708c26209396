//! One member's card: how loud they are for me, and for a leader the turn and the removal.

use egui::{Slider, Ui};
use undertone_node::api::{Circle, Command, Member};
use undertone_protocol::texts;

use super::Screen;
use super::circle::facts;
use super::shell::gap;
use crate::theme::{Palette, space};
use crate::widgets::{Emblem, Icon, Press, emblem, prose};

pub(super) fn card(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, member: &Member) {
    let words = &screen.words.circle;
    let mine = member.key == circle.me;
    ui.spacing_mut().item_spacing.y = 6.0;
    let marks = (words.marks)(&facts(circle, member));
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
        screen.view.selected = None;
    }
    gap(ui, space::XS);
    if circle.leading {
        lead(ui, screen, circle, member, mine);
        gap(ui, space::M);
    }
    if !mine {
        volume(ui, screen, member);
    }
    gap(ui, space::M);
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

fn lead(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, member: &Member, mine: bool) {
    let words = &screen.words.leader;
    let holds = circle
        .turn
        .as_ref()
        .is_some_and(|turn| turn.holder == member.key);
    if holds {
        if ui
            .add(Press::secondary(words.end_turn).icon(Icon::Clock).small())
            .clicked()
        {
            screen.send(Command::EndTurn);
        }
    } else if ui
        .add(Press::secondary(words.give_turn).icon(Icon::Hand).small())
        .clicked()
    {
        screen.send(Command::GiveTurn(member.key));
    }
    if mine {
        return;
    }
    gap(ui, space::S);
    prose::heading(ui, words.remove);
    prose::small(ui, words.remove_about);
    gap(ui, space::XS);
    for clause in texts::TERMS.iter().chain(&texts::PLEDGE) {
        let label = format!("{}   {}", clause.mark, clause.short);
        let name = (words.remove_for)(&member.name, clause.mark, clause.short);
        let press = Press::danger(&label)
            .small()
            .left()
            .name(&name)
            .min_width(ui.available_width());
        if ui.add(press).on_hover_text(clause.full).clicked() {
            screen.send(Command::Remove {
                member: member.key,
                clause: clause.mark.to_owned(),
            });
            screen.view.selected = None;
        }
    }
}

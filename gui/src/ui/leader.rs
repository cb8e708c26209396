//! The leader's side: who knocks, whose turn, the invite, and what was decided.

use egui::Ui;
use egui::accesskit::Live;
use undertone_node::api::{Applicant, Circle, Command, LogAct, LogEntry};
use undertone_protocol::texts;

use super::Screen;
use super::shell::gap;
use crate::text::LeaderWords;
use crate::theme::{Palette, space};
use crate::widgets::{Choice, Emblem, Icon, Press, emblem, prose};

pub(super) fn panel(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    ui.spacing_mut().item_spacing.y = 6.0;
    let words = &screen.words.leader;
    knocking(ui, screen, circle);
    divider(ui);
    turns(ui, screen, circle);
    divider(ui);
    invite(ui, screen, circle);
    divider(ui);
    prose::heading(ui, words.log);
    if circle.log.is_empty() {
        prose::small(ui, words.log_empty);
    }
    for entry in circle.log.iter().rev() {
        log_entry(ui, words, entry);
    }
    gap(ui, space::M);
}

fn divider(ui: &mut Ui) {
    gap(ui, space::S);
    let p = Palette::of(ui);
    let (rect, _) =
        ui.allocate_exact_size(egui::vec2(ui.available_width(), 1.0), egui::Sense::hover());
    ui.painter().hline(
        rect.x_range(),
        rect.center().y,
        egui::Stroke::new(1.0, p.line),
    );
    gap(ui, space::S);
}

fn knocking(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let words = &screen.words.leader;
    prose::heading(ui, words.knocking);
    if circle.applicants.is_empty() {
        prose::small(ui, words.nobody_knocks);
    }
    for applicant in &circle.applicants {
        applicant_row(ui, screen, applicant);
    }
    if ui
        .add(Choice::tick(circle.auto_admit, words.auto_admit))
        .clicked()
    {
        screen.send(Command::SetAutoAdmit(!circle.auto_admit));
    }
}

fn applicant_row(ui: &mut Ui, screen: &mut Screen<'_>, applicant: &Applicant) {
    let p = Palette::of(ui);
    let words = &screen.words.leader;
    prose::tinted(ui, p.voice_soft, p.voice, |ui| {
        ui.horizontal(|ui| {
            emblem::show(ui, &Emblem::of(applicant.key.as_bytes()), 18.0);
            ui.vertical(|ui| {
                ui.spacing_mut().item_spacing.y = 0.0;
                let name = prose::strong(ui, &applicant.name);
                prose::announce(&name, Live::Polite);
                if applicant.refusals > 0 {
                    prose::small(ui, words.refused_before);
                }
            });
        });
        ui.horizontal_wrapped(|ui| {
            let name = (words.admit_name)(&applicant.name);
            if ui
                .add(Press::primary(words.admit).small().name(&name))
                .clicked()
            {
                screen.send(Command::Admit(applicant.key));
            }
            let name = (words.refuse_name)(&applicant.name);
            if ui
                .add(Press::secondary(words.refuse).small().name(&name))
                .clicked()
            {
                screen.send(Command::Refuse(applicant.key));
            }
        });
    });
}

fn turns(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let words = &screen.words.leader;
    prose::heading(ui, words.turns);
    let next = circle
        .queue
        .first()
        .and_then(|key| circle.members.iter().find(|m| m.key == *key));
    if let Some(next) = next {
        let label = (words.give_next)(&next.name);
        if ui
            .add(Press::secondary(&label).icon(Icon::Hand).small())
            .clicked()
        {
            screen.send(Command::GiveTurn(next.key));
        }
    } else {
        prose::small(ui, screen.words.circle.queue_empty);
    }
    if circle.turn.is_some()
        && ui
            .add(Press::secondary(words.end_turn).icon(Icon::Clock).small())
            .clicked()
    {
        screen.send(Command::EndTurn);
    }
    if ui
        .add(Choice::tick(circle.auto_turns, words.auto_turns))
        .clicked()
    {
        screen.send(Command::SetAutoTurns(!circle.auto_turns));
    }
}

fn invite(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let words = &screen.words.leader;
    prose::heading(ui, words.invite);
    prose::small(ui, words.invite_about);
    let copied = screen.view.copied;
    let (label, icon) = if copied {
        (words.copied, Icon::Check)
    } else {
        (words.copy, Icon::Copy)
    };
    let press = Press::secondary(label).icon(icon).small();
    if ui.add_enabled(!circle.invite.is_empty(), press).clicked() {
        ui.ctx().copy_text(circle.invite.clone());
        screen.view.copied = true;
    }
}

fn log_entry(ui: &mut Ui, words: &LeaderWords, entry: &LogEntry) {
    let p = Palette::of(ui);
    let at = (words.log_time)(entry.at_minute % (24 * 60));
    let (icon, ink, line, remark) = match &entry.act {
        LogAct::Admitted { name } => (Icon::Check, p.accent, (words.log_admitted)(name), at),
        LogAct::Removed {
            name,
            clause,
            durable,
        } => {
            let short = texts::clause(clause).map_or("", |c| c.short);
            let kept = if *durable {
                words.log_durable
            } else {
                words.log_writing
            };
            let line = (words.log_removed)(name, clause, short);
            (Icon::Exit, p.danger, line, format!("{at} · {kept}"))
        }
    };
    prose::with_icon(ui, icon, ink, |ui| {
        prose::body(ui, &line);
        prose::small(ui, &remark);
    });
}

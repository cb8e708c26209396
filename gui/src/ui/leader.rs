//! The leader's side: who knocks, whose turn, a pause, the invite, and what was decided.

use egui::Ui;
use egui::accesskit::Live;
use undertone_node::api::{
    AdmissionMode, Announced, Announcing, Applicant, Circle, Command, FloorMode, LogAct, LogEntry,
    Turn,
};
use undertone_node::clock::unix_minute;
use undertone_protocol::texts::Texts;

use super::shell::gap;
use super::start::picker;
use super::{Screen, texts_of};
use crate::theme::{Palette, space};
use crate::view_state::{Asking, PartingWay};
use crate::widgets::{Choice, Emblem, Icon, Press, emblem, prose};

/// Longest turn that can be given, in seconds.
const LONGEST_TURN: u16 = 3_600;

pub(super) fn panel(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    ui.spacing_mut().item_spacing.y = 6.0;
    let words = &screen.words.leader;
    pause(ui, screen, circle);
    gap(ui, space::M);
    knocking(ui, screen, circle);
    divider(ui);
    turns(ui, screen, circle);
    divider(ui);
    invite(ui, screen, circle);
    if let Some(announced) = &circle.announced {
        divider(ui);
        directory(ui, screen, announced);
    }
    divider(ui);
    prose::heading(ui, words.log);
    if circle.log.is_empty() {
        prose::small(ui, words.log_empty);
    }
    for entry in circle.log.iter().rev() {
        log_entry(ui, screen, texts_of(&circle.door), entry);
    }
    if circle.is_leader() {
        divider(ui);
        let end = Press::danger(words.end).icon(Icon::Leave).small();
        if ui.add(end).clicked() {
            screen.view.inside.asking = Some(Asking::Parting(PartingWay::End));
        }
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
    let label = if circle.door_open {
        words.close_door
    } else {
        words.open_door
    };
    if ui
        .add(Press::secondary(label).icon(Icon::Door).small())
        .clicked()
    {
        screen.send(Command::SetDoor(!circle.door_open));
    }
    // At the other doors nobody asks.
    if circle.door.admission == AdmissionMode::Approval
        && ui
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
    if let Some(turn) = &circle.turn {
        present_turn(ui, screen, turn);
    }
    ui.horizontal_wrapped(|ui| {
        let start = &screen.words.start;
        for (mode, label, name) in [
            (FloorMode::Active, words.floor_led, start.floor_led),
            (FloorMode::Passive, words.floor_passes, start.floor_passes),
        ] {
            let chosen = circle.floor == mode;
            let press = Press::secondary(label).small().on(chosen).name(name);
            if ui.add(press).on_hover_text(name).clicked() && !chosen {
                screen.send(Command::SetFloorMode(mode));
            }
        }
    });
}

/// Ending the present turn, or lengthening it.
pub(super) fn present_turn(ui: &mut Ui, screen: &mut Screen<'_>, turn: &Turn) {
    let words = &screen.words.leader;
    ui.horizontal_wrapped(|ui| {
        let end = Press::secondary(words.end_turn).icon(Icon::Clock).small();
        if ui.add(end).clicked() {
            screen.send(Command::EndTurn);
        }
        let longer = u16::try_from(turn.of.as_secs() + 60)
            .unwrap_or(u16::MAX)
            .min(LONGEST_TURN);
        let press = Press::secondary(words.extend)
            .small()
            .name(words.extend_name);
        let possible = u64::from(longer) > turn.of.as_secs();
        if ui.add_enabled(possible, press).clicked() {
            screen.send(Command::ExtendTurn(longer));
        }
    });
}

/// Nobody else is heard for a while: always the first thing here.
fn pause(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let words = &screen.words.leader;
    let press = if circle.frozen {
        Press::primary(words.go_on).icon(Icon::Play)
    } else {
        Press::secondary(words.pause).icon(Icon::Pause)
    };
    let press = press.small().min_width(ui.available_width());
    if ui.add(press).on_hover_text(words.pause_about).clicked() {
        screen.send(Command::Freeze(!circle.frozen));
    }
}

/// The link that leads here. Where each lets one person in, any member may pass one on.
pub(super) fn invite(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let words = &screen.words.leader;
    let say = &screen.words.circle;
    let once = circle.door.admission == AdmissionMode::Invite;
    prose::heading(ui, if once { say.invite } else { words.invite });
    prose::small(
        ui,
        if once {
            say.invite_once
        } else {
            words.invite_about
        },
    );
    let copied = screen.view.inside.copied.as_ref() == Some(&circle.invite);
    let (label, icon) = if copied {
        (words.copied, Icon::Check)
    } else {
        (words.copy, Icon::Copy)
    };
    ui.horizontal_wrapped(|ui| {
        let press = Press::secondary(label).icon(icon).small();
        if ui.add_enabled(!circle.invite.is_empty(), press).clicked() {
            ui.ctx().copy_text(circle.invite.clone());
            screen.view.inside.copied = Some(circle.invite.clone());
        }
        let again = Press::secondary(say.invite_again).icon(Icon::Again).small();
        if once && ui.add(again).clicked() {
            screen.send(Command::RenewInvite);
        }
    });
}

/// Whether everybody can find the circle.
fn directory(ui: &mut Ui, screen: &mut Screen<'_>, announced: &Announced) {
    let words = &screen.words.leader;
    prose::heading(ui, words.directory);
    prose::small(ui, words.directory_about);
    let planning = screen.view.inside.planning;
    let planned = matches!(announced.wish, Announcing::At(_));
    for (wish, chosen, text, remark) in [
        (
            Some(Announcing::No),
            Announcing::No == announced.wish,
            words.hidden,
            None,
        ),
        (
            Some(Announcing::Now),
            Announcing::Now == announced.wish,
            words.shown_now,
            Some(words.shown_now_remark),
        ),
        (None, planned, words.shown_for, Some(words.shown_for_remark)),
    ] {
        let chosen = match planning {
            Some(_) => wish.is_none(),
            None => chosen,
        };
        let choice = Choice::one_of(chosen, text);
        let choice = match remark {
            Some(remark) => choice.remark(remark),
            None => choice,
        };
        if !ui.add(choice).clicked() {
            continue;
        }
        match wish {
            Some(wish) => {
                screen.view.inside.planning = None;
                screen.send(Command::Announce(wish));
            }
            None => screen.view.inside.planning = Some(planning.unwrap_or((1, 0))),
        }
    }
    if let Some((mut days, mut hours)) = planning {
        prose::beside(
            ui,
            90.0,
            [
                &mut |ui: &mut Ui| {
                    let label = prose::strong(ui, words.in_days);
                    picker(ui, label.id, (words.days)(days), |ui| {
                        for ahead in 0..7 {
                            ui.selectable_value(&mut days, ahead, (words.days)(ahead));
                        }
                    });
                },
                &mut |ui: &mut Ui| {
                    let label = prose::strong(ui, words.in_hours);
                    picker(ui, label.id, (words.hours)(hours), |ui| {
                        for ahead in 0..24 {
                            ui.selectable_value(&mut hours, ahead, (words.hours)(ahead));
                        }
                    });
                },
            ],
        );
        screen.view.inside.planning = Some((days, hours));
        let ahead = (days * 24 + hours) * 60;
        let go = Press::secondary(words.show_it).icon(Icon::Clock).small();
        if ui.add_enabled(ahead > 0, go).clicked() {
            screen.view.inside.planning = None;
            // To the next five minutes.
            let meeting = (unix_minute() + ahead).next_multiple_of(5);
            screen.send(Command::Announce(Announcing::At(meeting)));
        }
        return;
    }
    let state = match (announced.wish, &announced.problem, announced.shown_until) {
        (Announcing::No, None, _) => return,
        (Announcing::No, Some(problem), _) => (words.not_taken_back)(problem),
        (_, Some(problem), _) => (words.not_shown)(problem),
        (_, None, None) => words.being_shown.to_owned(),
        (Announcing::Now, None, Some(_)) => words.is_shown.to_owned(),
        (Announcing::At(meeting), None, Some(_)) => {
            let ahead = (words.shown_at)(meeting.saturating_sub(unix_minute()));
            format!("{} {ahead}", words.is_shown)
        }
    };
    let line = prose::small(ui, &state);
    prose::announce(&line, Live::Polite);
}

fn log_entry(ui: &mut Ui, screen: &mut Screen<'_>, texts: &Texts, entry: &LogEntry) {
    let p = Palette::of(ui);
    let words = &screen.words.leader;
    let at = (words.log_time)(entry.at_minute % (24 * 60));
    match &entry.act {
        LogAct::Admitted { name } => prose::with_icon(ui, Icon::Check, p.accent, |ui| {
            prose::body(ui, &(words.log_admitted)(name));
            prose::small(ui, &at);
        }),
        LogAct::Removed {
            name,
            clause,
            key,
            durable,
        } => prose::with_icon(ui, Icon::Exit, p.danger, |ui| {
            let short = texts.clause(clause).map_or("", |c| c.short);
            let kept = if *durable {
                words.log_durable
            } else {
                words.log_writing
            };
            prose::body(ui, &(words.log_removed)(name, clause, short));
            prose::small(ui, &format!("{at} · {kept}"));
            let label = (words.reinstate_name)(name);
            let press = Press::secondary(words.reinstate).small().name(&label);
            if ui.add(press).clicked() {
                screen.send(Command::Reinstate(*key));
            }
        }),
    }
}

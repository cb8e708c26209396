//! Asked before what cannot be taken back: how to go, and taking the lead.

use egui::Ui;
use undertone_node::api::{Circle, Command};

use super::Screen;
use super::shell::{gap, sheet};
use crate::theme::space;
use crate::view_state::{Asking, PartingWay};
use crate::widgets::{Choice, Icon, Press, prose};

/// What was pressed at the foot of a sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    GoOn,
    PutAway,
}

pub(super) fn show(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    match screen.view.inside.asking {
        Some(Asking::Parting(way)) => parting(ui, screen, circle, way),
        Some(Asking::Recover) => recover(ui, screen),
        None => {}
    }
}

fn parting(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, way: PartingWay) {
    let words = &screen.words.asking;
    let mut ways = vec![
        (PartingWay::Leave, words.leave, words.leave_remark),
        (PartingWay::Erase, words.erase, words.erase_remark),
    ];
    if circle.is_leader() {
        ways.push((PartingWay::End, words.end, words.end_remark));
    }
    let (go, command) = match way {
        PartingWay::Leave => (words.leave_go, Command::Leave),
        PartingWay::Erase => (words.erase_go, Command::Erase),
        PartingWay::End => (words.end_go, Command::CloseCircle),
    };
    let mut chosen = way;
    let mut answer = None;
    let put_away = sheet(ui, "parting", |ui| {
        prose::heading(ui, words.leave_title);
        gap(ui, space::S);
        for (each, text, remark) in ways {
            let choice = Choice::one_of(each == way, text).remark(remark);
            if ui.add(choice).clicked() {
                chosen = each;
            }
        }
        gap(ui, space::M);
        answer = foot(ui, Press::danger(go).icon(Icon::Leave), words.stay);
    });
    screen.view.inside.asking = Some(Asking::Parting(chosen));
    settle(screen, answer, put_away, command);
}

/// Taking the lead with a new key.
pub(super) fn recover(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.asking;
    let mut answer = None;
    let put_away = sheet(ui, "recover", |ui| {
        prose::heading(ui, words.recover_title);
        gap(ui, space::S);
        prose::body(ui, words.recover_about);
        gap(ui, space::M);
        let go = Press::primary(words.recover_go).icon(Icon::Lantern);
        answer = foot(ui, go, words.not_now);
    });
    settle(screen, answer, put_away, Command::Recover);
}

fn foot(ui: &mut Ui, go: Press<'_>, stay: &str) -> Option<Answer> {
    let mut answer = None;
    ui.horizontal_wrapped(|ui| {
        if ui.add(go).clicked() {
            answer = Some(Answer::GoOn);
        }
        if ui.add(Press::quiet(stay)).clicked() {
            answer = Some(Answer::PutAway);
        }
    });
    answer
}

fn settle(screen: &mut Screen<'_>, answer: Option<Answer>, put_away: bool, command: Command) {
    if answer == Some(Answer::GoOn) {
        screen.send(command);
    }
    if answer.is_some() || put_away {
        screen.view.inside.asking = None;
    }
}

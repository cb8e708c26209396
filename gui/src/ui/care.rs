//! What whoever leads can do about one member: from a turn to a removal, the gentlest first.

use egui::{ComboBox, RichText, Ui};
use undertone_node::api::{Circle, Command, Member, Role};
use undertone_protocol::texts::Texts;

use super::shell::gap;
use super::{Screen, leader, member, texts_of};
use crate::text::MemberWords;
use crate::theme::{Palette, space, type_scale};
use crate::view_state::MemberMenu;
use crate::widgets::{Choice, Icon, Press, prose};

/// For how many minutes somebody can be silenced.
const SILENCES: [u64; 3] = [5, 15, 60];
/// For how many minutes somebody can be removed: for good, an hour, a day, a week.
const REMOVALS: [Option<u64>; 4] = [None, Some(60), Some(24 * 60), Some(7 * 24 * 60)];

pub(super) fn show(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, member: &Member) {
    turn(ui, screen, circle, member);
    if member.key == circle.me {
        return;
    }
    // Nobody silences or removes the leader.
    let led = member.role != Role::Leader;
    menus(ui, screen, led, circle.is_leader());
    if let Some(menu) = screen.view.inside.menu {
        let p = Palette::of(ui);
        prose::tinted(ui, p.sunken, p.line, |ui| {
            ui.spacing_mut().item_spacing.y = 6.0;
            match menu {
                MemberMenu::Thank => member::thanks(ui, screen, member),
                MemberMenu::Cease => cease(ui, screen, member),
                MemberMenu::Silence => silence(ui, screen, member),
                MemberMenu::Refer => member::refer(ui, screen, member),
                MemberMenu::Contact => member::contact(ui, screen, member),
                MemberMenu::Role => role(ui, screen, member),
            }
        });
    }
    if led {
        gap(ui, space::S);
        removal(ui, screen, texts_of(&circle.door), member);
    }
}

fn turn(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, member: &Member) {
    let words = &screen.words.leader;
    if let Some(turn) = circle.turn.as_ref().filter(|t| t.holder == member.key) {
        leader::present_turn(ui, screen, turn);
    } else if member.role.takes_turns() {
        let press = Press::secondary(words.give_turn).icon(Icon::Hand).small();
        if ui.add(press).clicked() {
            screen.send(Command::GiveTurn(member.key));
        }
    }
}

/// One button for each thing one can do; pressing it unfolds what it takes.
fn menus(ui: &mut Ui, screen: &mut Screen<'_>, led: bool, gives_roles: bool) {
    let words = &screen.words.member;
    let all = [
        (MemberMenu::Thank, words.thank),
        (MemberMenu::Refer, words.refer),
        (MemberMenu::Contact, words.contact),
        (MemberMenu::Cease, words.cease),
        (MemberMenu::Silence, words.silence),
        (MemberMenu::Role, words.role),
    ];
    let anybody = |menu| {
        use MemberMenu::{Contact, Refer, Thank};
        matches!(menu, Thank | Refer | Contact)
    };
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = egui::vec2(6.0, 6.0);
        for (menu, label) in all {
            if (!led && !anybody(menu)) || (menu == MemberMenu::Role && !gives_roles) {
                continue;
            }
            let open = screen.view.inside.menu == Some(menu);
            if ui
                .add(Press::secondary(label).small().on(open).one_line())
                .clicked()
            {
                screen.view.inside.menu = (!open).then_some(menu);
            }
        }
    });
}

fn cease(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.member;
    prose::small(ui, words.cease_about);
    let label = (words.cease_go)(&member.name);
    if ui.add(Press::primary(&label).small()).clicked() {
        screen.send(Command::AskToCease(member.key));
        screen.view.inside.menu = None;
    }
}

fn silence(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.member;
    prose::small(ui, words.silence_about);
    let mut minutes = None;
    if member.silenced && ui.add(Press::primary(words.silence_end).small()).clicked() {
        minutes = Some(0);
    }
    ui.horizontal_wrapped(|ui| {
        for each in SILENCES {
            let label = (screen.words.start.minutes)(each);
            let name = (words.silence_for)(&member.name, each);
            if ui
                .add(Press::secondary(&label).small().one_line().name(&name))
                .clicked()
            {
                minutes = Some(each);
            }
        }
    });
    if let Some(minutes) = minutes {
        screen.send(Command::Silence(member.key, minutes));
        screen.view.inside.menu = None;
    }
}

fn role(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.member;
    for role in [Role::Participant, Role::CoLeader, Role::Listener] {
        let now = member.role == role;
        let choice = Choice::one_of(now, (words.role_name)(role));
        if ui.add(choice.remark((words.role_remark)(role))).clicked() && !now {
            screen.send(Command::SetRole(member.key, role));
            screen.view.inside.menu = None;
        }
    }
}

fn how_long(ui: &mut Ui, words: &MemberWords, span: &mut Option<u64>) {
    let text = |span| RichText::new((words.remove_span)(span)).font(type_scale::small_strong());
    ui.spacing_mut().button_padding = egui::vec2(10.0, 6.0);
    let list = ComboBox::from_id_salt("how-long")
        .selected_text(text(*span))
        .width(104.0)
        .show_ui(ui, |ui| {
            for each in REMOVALS {
                if ui.selectable_value(span, each, text(each)).clicked() {
                    ui.close();
                }
            }
        });
    ui.ctx().accesskit_node_builder(list.response.id, |node| {
        node.set_label(words.remove_how_long);
    });
}

/// Two clicks: the person, then the clause. For how long is chosen between, where it is not for good.
fn removal(ui: &mut Ui, screen: &mut Screen<'_>, texts: &Texts, member: &Member) {
    let words = &screen.words.member;
    let minutes = screen.view.inside.removal_minutes;
    let mut span = minutes;
    egui::Sides::new().height(34.0).show(
        ui,
        |ui| prose::heading(ui, words.remove),
        |ui| how_long(ui, words, &mut span),
    );
    screen.view.inside.removal_minutes = span;
    prose::small(ui, words.remove_about);
    for clause in texts.terms.iter().chain(&texts.pledge) {
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
                minutes,
            });
            screen.view.inside.select(None);
        }
    }
}

//! One member's card: thanks, words to them alone, how loud they are for me, and for whoever leads all that care
//! takes.

use egui::{Margin, RichText, Slider, TextEdit, Ui};
use undertone_node::api::{AdmissionMode, Circle, Command, Gratitude, Member};
use undertone_protocol::session::MAX_WORDS_BYTES;

use super::circle::facts;
use super::shell::gap;
use super::{Screen, care, leader};
use crate::theme::{Palette, ROUND, space, type_scale};
use crate::view_state::MemberMenu;
use crate::widgets::press::focus_ring;
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
        gap(ui, space::S);
        let open = screen.view.inside.menu == Some(MemberMenu::Contact);
        let press = Press::secondary(screen.words.member.contact).small();
        if ui.add(press.on(open)).clicked() {
            screen.view.inside.menu = (!open).then_some(MemberMenu::Contact);
        }
        if open {
            let p = Palette::of(ui);
            prose::tinted(ui, p.sunken, p.line, |ui| contact(ui, screen, member));
        }
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

/// Words in need.
pub(super) fn refer(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.member;
    let (field, about, go) = (words.refer_field, words.refer_about, words.refer_go);
    if let Some(said) = alone(ui, screen, &field(&member.name), about, &go(&member.name)) {
        screen.send(Command::Refer(member.key, said));
    }
}

/// Whether they would like to stay in touch; or one's answer.
pub(super) fn contact(ui: &mut Ui, screen: &mut Screen<'_>, member: &Member) {
    let words = &screen.words.member;
    let (field, about, go) = (words.contact_field, words.contact_about, words.contact_go);
    if let Some(said) = alone(ui, screen, &field(&member.name), about, &go(&member.name)) {
        screen.send(Command::StayInTouch(member.key, said));
    }
}

/// A field for words to one person alone, and what was typed once it is sent.
fn alone(
    ui: &mut Ui,
    screen: &mut Screen<'_>,
    label: &str,
    about: &str,
    go: &str,
) -> Option<String> {
    let label = prose::strong(ui, label);
    let typed = &mut screen.view.inside.words;
    let field = ui
        .add(
            TextEdit::multiline(typed)
                .hint_text(RichText::new("…"))
                .font(type_scale::body())
                .margin(Margin::symmetric(12, 8))
                .char_limit(MAX_WORDS_BYTES)
                .desired_rows(3)
                .desired_width(ui.available_width()),
        )
        .labelled_by(label.id);
    focus_ring(ui, field.rect, ROUND, &field);
    let too_long = typed.len() > MAX_WORDS_BYTES;
    let possible = !too_long && !typed.trim().is_empty();
    prose::small(
        ui,
        if too_long {
            screen.words.member.words_long
        } else {
            about
        },
    );
    let sent = ui
        .add_enabled(possible, Press::primary(go).small())
        .clicked();
    sent.then(|| {
        screen.view.inside.menu = None;
        std::mem::take(&mut screen.view.inside.words)
            .trim()
            .to_owned()
    })
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

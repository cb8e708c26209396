//! Where to go: practise, find, join, or start.

use egui::{Align, Key, Layout, Ui, ViewportCommand, vec2};
use undertone_node::api::Command;

use super::shell::{Foot, gap, page};
use super::{Screen, find};
use crate::theme::{COLUMN, Palette, TARGET, space};
use crate::view_state::{Lobby, leads_straight};
use crate::widgets::{Icon, Press, prose};

/// Longest invite link, in letters.
const LONGEST_INVITE: usize = 4096;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.home;
    let name = screen
        .snapshot
        .name
        .clone()
        .unwrap_or_else(|| screen.view.name.clone());
    let _ = page(ui, "home", COLUMN + 80.0, &Foot::default(), |ui| {
        prose::title(ui, &(words.title)(&name));
        prose::soft(ui, words.intro);
        gap(ui, space::M);

        tile(
            ui,
            Icon::Sprout,
            words.practice,
            words.practice_about,
            |ui| {
                ui.horizontal_wrapped(|ui| {
                    if ui.add(Press::primary(words.practice_take_part)).clicked() {
                        screen.send(Command::Practice { lead: false });
                    }
                    if ui.add(Press::secondary(words.practice_lead)).clicked() {
                        screen.send(Command::Practice { lead: true });
                    }
                });
            },
        );
        gap(ui, space::S);
        tile(ui, Icon::People, words.find, words.find_about, |ui| {
            if ui.add(Press::secondary(words.find_go)).clicked() {
                screen.view.lobby = Lobby::Find;
            }
        });
        gap(ui, space::S);
        tile(ui, Icon::Link, words.join, words.join_about, |ui| {
            join(ui, screen)
        });
        gap(ui, space::S);
        tile(ui, Icon::Circle, words.start, words.start_about, |ui| {
            if ui.add(Press::secondary(words.start_go)).clicked() {
                screen.view.lobby = Lobby::Start;
            }
        });
        gap(ui, space::M);
        ui.horizontal_wrapped(|ui| {
            if ui.add(Press::quiet(words.change_name).small()).clicked() {
                screen.view.name.clone_from(&name);
                screen.view.revisiting = true;
                screen.view.lobby = Lobby::Name;
            }
            if ui.add(Press::quiet(words.change_voice).small()).clicked() {
                screen.view.revisiting = true;
                screen.view.lobby = Lobby::Voice;
            }
        });
    });
}

fn tile(ui: &mut Ui, icon: Icon, title: &str, about: &str, add: impl FnOnce(&mut Ui)) {
    let accent = Palette::of(ui).accent;
    prose::card(ui, |ui| {
        prose::with_icon(ui, icon, accent, |ui| {
            prose::heading(ui, title);
            prose::soft(ui, about);
            gap(ui, space::M);
            ui.spacing_mut().item_spacing.y = space::S;
            add(ui);
        });
    });
}

fn join(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.home;
    let label = prose::strong(ui, words.join_field);
    let link = screen.view.invite.trim().to_owned();
    let mut go = false;
    let roomy = ui.available_width() > 520.0;
    let size = vec2(ui.available_width(), TARGET);
    ui.allocate_ui_with_layout(
        size,
        Layout::left_to_right(Align::Min).with_main_wrap(true),
        |ui| {
            let width = if roomy {
                ui.available_width() - 278.0
            } else {
                ui.available_width()
            };
            let entry = prose::entry(ui, "", &mut screen.view.invite, LONGEST_INVITE, width)
                .labelled_by(label.id);
            go |= entry.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
            if ui
                .add(Press::secondary(words.paste).icon(Icon::Copy))
                .clicked()
            {
                screen.view.invite.clear();
                entry.request_focus();
                ui.ctx().send_viewport_cmd(ViewportCommand::RequestPaste);
            }
            go |= ui
                .add_enabled(!link.is_empty(), Press::secondary(words.join_go))
                .clicked();
        },
    );
    if go
        && !link.is_empty()
        && let Some(command) = screen.view.go_to_door(&link, leads_straight(&link))
    {
        screen.send(command);
    }
    find::all_the_same(ui, screen, &link, words.join_direct);
}

//! Text size, colours, motion: a small sheet over whatever screen one is on.

use egui::{ThemePreference, Ui};

use super::Screen;
use super::shell::{gap, sheet};
use crate::theme::space;
use crate::view_state::TEXT_SIZES;
use crate::widgets::{Choice, Icon, Press, prose};

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    if !screen.view.appearance_open {
        return;
    }
    let words = &screen.words.appearance;
    let mut done = false;
    let put_away = sheet(ui, "appearance", |ui| {
        prose::heading(ui, words.title);
        gap(ui, space::S);
        prose::strong(ui, words.theme);
        let look = &mut screen.view.appearance;
        let mut chosen = look.theme;
        let mut choose = |ui: &mut Ui, theme, label| {
            if ui.add(Choice::one_of(look.theme == theme, label)).clicked() {
                chosen = theme;
            }
        };
        choose(ui, ThemePreference::System, words.follow);
        choose(ui, ThemePreference::Light, words.light);
        choose(ui, ThemePreference::Dark, words.dark);
        look.theme = chosen;
        gap(ui, space::M);
        prose::strong(ui, words.size);
        ui.horizontal(|ui| {
            let smallest = TEXT_SIZES.first() == Some(&look.text_percent);
            let largest = TEXT_SIZES.last() == Some(&look.text_percent);
            if ui
                .add_enabled(!smallest, Press::secondary("–").name(words.smaller))
                .clicked()
            {
                look.smaller();
            }
            prose::strong(ui, &(words.size_value)(look.text_percent));
            if ui
                .add_enabled(!largest, Press::secondary("+").name(words.larger))
                .clicked()
            {
                look.larger();
            }
        });
        gap(ui, space::M);
        let motion = Choice::tick(look.motion, words.motion).remark(words.motion_remark);
        if ui.add(motion).clicked() {
            look.motion = !look.motion;
        }
        gap(ui, space::M);
        done = ui
            .add(Press::primary(screen.words.circle.close_card).icon(Icon::Check))
            .clicked();
    });
    if done || put_away {
        screen.view.appearance_open = false;
    }
}

//! Text size, colours, motion: a small sheet over whatever screen one is on.

use egui::{Frame, Id, Margin, Modal, ScrollArea, ThemePreference, Ui};

use super::Screen;
use super::shell::gap;
use crate::theme::{Palette, ROUND_CARD, space};
use crate::view_state::TEXT_SIZES;
use crate::widgets::{Choice, Icon, Press, prose};

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    if !screen.view.appearance_open {
        return;
    }
    let p = Palette::of(ui);
    let words = &screen.words.appearance;
    let frame = Frame::new()
        .fill(p.surface)
        .corner_radius(ROUND_CARD)
        .inner_margin(Margin::same(24));
    let room = ui.max_rect();
    let mut done = false;
    let modal = Modal::new(Id::new("appearance"))
        .frame(frame)
        .show(ui.ctx(), |ui| {
            ui.set_width((room.width() - 2.0 * space::XL - 20.0).min(440.0));
            ScrollArea::vertical()
                .min_scrolled_height(room.height() - 130.0)
                .max_height(room.height() - 130.0)
                .show(ui, |ui| {
                    ui.set_width(ui.available_width() - 12.0);
                    ui.spacing_mut().item_spacing.y = 6.0;
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
                    let motion =
                        Choice::tick(look.motion, words.motion).remark(words.motion_remark);
                    if ui.add(motion).clicked() {
                        look.motion = !look.motion;
                    }
                    gap(ui, space::M);
                    done = ui
                        .add(Press::primary(screen.words.circle.close_card).icon(Icon::Check))
                        .clicked();
                });
        });
    if done || modal.should_close() {
        screen.view.appearance_open = false;
    }
}

//! Lines of text by their part in a screen, cards, and labelled fields.

use egui::accesskit::{Live, Role};
use egui::{
    Align, Color32, CornerRadius, FontId, Frame, Label, Layout, Margin, Response, RichText, Stroke,
    TextEdit, Ui, vec2,
};

use super::icon::Icon;
use crate::theme::{Palette, ROUND, ROUND_CARD, space, type_scale};

fn say(ui: &mut Ui, text: &str, font: FontId, color: Color32) -> Response {
    ui.add(Label::new(RichText::new(text).font(font).color(color)).wrap())
}

/// One line, cut with an ellipsis where the room ends.
pub(crate) fn one_line(ui: &mut Ui, text: &str, font: FontId, color: Color32) -> Response {
    ui.add(Label::new(RichText::new(text).font(font).color(color)).truncate())
}

/// Marks a line as a heading of this level for screen readers.
fn as_heading(ui: &Ui, response: &Response, text: &str, level: usize) {
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_role(Role::Heading);
        // A label says its text as its value, a heading as its name.
        node.clear_value();
        node.set_label(text);
        node.set_level(level);
    });
}

/// What a screen is about.
pub(crate) fn title(ui: &mut Ui, text: &str) {
    let ink = Palette::of(ui).ink;
    let response = say(ui, text, type_scale::title(), ink);
    as_heading(ui, &response, text, 1);
}

/// What a screen with little else on it is about.
pub(crate) fn display(ui: &mut Ui, text: &str) {
    let ink = Palette::of(ui).ink;
    let response = say(ui, text, type_scale::display(), ink);
    as_heading(ui, &response, text, 1);
}

/// A part of a screen.
pub(crate) fn heading(ui: &mut Ui, text: &str) {
    let ink = Palette::of(ui).ink;
    let response = say(ui, text, type_scale::heading(), ink);
    as_heading(ui, &response, text, 2);
}

/// Running text.
pub(crate) fn body(ui: &mut Ui, text: &str) -> Response {
    let ink = Palette::of(ui).ink;
    say(ui, text, type_scale::body(), ink)
}

/// Running text of second rank.
pub(crate) fn soft(ui: &mut Ui, text: &str) -> Response {
    let ink = Palette::of(ui).ink_soft;
    say(ui, text, type_scale::body(), ink)
}

/// A label with weight.
pub(crate) fn strong(ui: &mut Ui, text: &str) -> Response {
    let ink = Palette::of(ui).ink;
    say(ui, text, type_scale::strong(), ink)
}

/// A remark.
pub(crate) fn small(ui: &mut Ui, text: &str) -> Response {
    let ink = Palette::of(ui).ink_soft;
    say(ui, text, type_scale::small(), ink)
}

/// Says the line to a screen reader whenever it changes.
pub(crate) fn announce(response: &Response, live: Live) {
    response
        .ctx
        .accesskit_node_builder(response.id, |node| node.set_live(live));
}

/// A raised sheet for things that belong together.
pub(crate) fn card<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    let p = Palette::of(ui);
    Frame::new()
        .fill(p.surface)
        .stroke(Stroke::new(1.0, p.line))
        .corner_radius(CornerRadius::same(ROUND_CARD))
        .inner_margin(Margin::same(20))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            add(ui)
        })
        .inner
}

/// A tinted sheet: something to be aware of.
pub(crate) fn tinted<R>(
    ui: &mut Ui,
    fill: Color32,
    edge: Color32,
    add: impl FnOnce(&mut Ui) -> R,
) -> R {
    Frame::new()
        .fill(fill)
        .stroke(Stroke::new(1.0, edge))
        .corner_radius(CornerRadius::same(ROUND))
        .inner_margin(Margin::symmetric(14, 12))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            add(ui)
        })
        .inner
}

/// A line that starts with an icon.
pub(crate) fn with_icon(ui: &mut Ui, icon: Icon, color: Color32, add: impl FnOnce(&mut Ui)) {
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = 12.0;
        let (rect, _) = ui.allocate_exact_size(vec2(20.0, 20.0), egui::Sense::hover());
        icon.paint(ui.painter(), rect, color);
        ui.with_layout(Layout::top_down(Align::Min), |ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            add(ui);
        });
    });
}

/// A line of text to type, under its label.
pub(crate) fn field(
    ui: &mut Ui,
    label: &str,
    hint: &str,
    text: &mut String,
    limit: usize,
) -> Response {
    let label = strong(ui, label);
    let width = ui.available_width();
    entry(ui, hint, text, limit, width).labelled_by(label.id)
}

/// A line of text to type.
pub(crate) fn entry(
    ui: &mut Ui,
    hint: &str,
    text: &mut String,
    limit: usize,
    width: f32,
) -> Response {
    let soft = Palette::of(ui).ink_soft;
    let response = ui.add(
        TextEdit::singleline(text)
            .hint_text(RichText::new(hint).color(soft))
            .font(type_scale::body())
            .margin(Margin::symmetric(16, 12))
            .char_limit(limit)
            .desired_width(width),
    );
    super::press::focus_ring(ui, response.rect, ROUND, &response);
    response
}

/// Several things side by side that share the width, or below each other where each would get less than
/// `least`.
pub(crate) fn beside<const N: usize>(ui: &mut Ui, least: f32, parts: [&mut dyn FnMut(&mut Ui); N]) {
    let gap = space::M;
    let each = (ui.available_width() - gap * (N as f32 - 1.0)) / N as f32;
    if each < least {
        for part in parts {
            part(ui);
        }
        return;
    }
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        ui.columns(N, |columns| {
            for (column, part) in columns.iter_mut().zip(parts) {
                column.spacing_mut().item_spacing.x = space::S;
                column.with_layout(Layout::top_down(Align::Min), |ui| part(ui));
            }
        });
    });
}

//! People in a ring: emblem, name, a halo that breathes with their voice, and marks with a shape and a
//! word each. Where there is no room for a ring, the same people in a list.

use egui::accesskit::Role;
use egui::{
    Align2, Color32, CornerRadius, Id, Painter, Pos2, Rect, Response, Sense, Shape, Stroke,
    StrokeKind, Ui, Vec2, WidgetInfo, WidgetType, pos2, vec2,
};

use super::emblem::Emblem;
use super::icon::Icon;
use super::meter;
use super::press::focus_ring;
use super::seating::{Seating, seat};
use crate::theme::palette::mix;
use crate::theme::{Palette, ROUND, space, type_scale};

/// One person as the ring shows them.
pub(crate) struct Seat {
    /// Tells people apart from frame to frame.
    pub(crate) id: Id,
    pub(crate) emblem: Emblem,
    pub(crate) name: String,
    /// A word or two under the name.
    pub(crate) marks: String,
    /// What a screen reader says.
    pub(crate) sentence: String,
    pub(crate) level_db: f32,
    pub(crate) speaking: bool,
    /// Whose turn it is.
    pub(crate) has_turn: bool,
    /// Their packets do not arrive.
    pub(crate) away: bool,
    /// A leader's or listener's mark.
    pub(crate) role: Option<Icon>,
    /// Muted, unsteady, away.
    pub(crate) state: Option<Icon>,
    /// Place in line, 1 is next.
    pub(crate) place: Option<usize>,
    pub(crate) selected: bool,
}

/// What the middle of the ring says.
pub(crate) struct Middle {
    /// Whose turn it is, if anybody's.
    pub(crate) speaker: Option<Speaker>,
    /// The line under the emblem, or alone.
    pub(crate) headline: String,
    /// The line below.
    pub(crate) remark: String,
}

/// Whoever has the turn.
pub(crate) struct Speaker {
    pub(crate) id: Id,
    pub(crate) emblem: Emblem,
    pub(crate) level_db: f32,
    pub(crate) speaking: bool,
    /// How much of the turn is left, 0–1.
    pub(crate) left: f32,
}

/// Draws everybody into `room`. Returns who was pressed.
pub(crate) fn show(
    ui: &mut Ui,
    room: Rect,
    name: &str,
    seats: &[Seat],
    middle: &Middle,
) -> Option<usize> {
    match seat(room.shrink2(vec2(0.0, space::XS)), seats.len()) {
        Some(seating) => ring(ui, name, seats, middle, &seating),
        None => list(ui, room, name, seats, middle),
    }
}

/// One group with a name, for screen readers.
fn as_group(ui: &Ui, name: &str) {
    ui.ctx().accesskit_node_builder(ui.unique_id(), |node| {
        node.set_role(Role::Group);
        node.set_label(name.to_owned());
    });
}

fn ring(
    ui: &mut Ui,
    name: &str,
    seats: &[Seat],
    middle: &Middle,
    seating: &Seating,
) -> Option<usize> {
    let p = Palette::of(ui);
    as_group(ui, name);
    ui.painter().add(Shape::closed_line(
        seating.path.clone(),
        Stroke::new(2.0, p.line),
    ));
    paint_middle(ui, middle, seating.middle);

    let mut pressed = None;
    for (index, (person, cell)) in seats.iter().zip(&seating.cells).enumerate() {
        let response = ui.interact(*cell, person.id, Sense::click());
        speak_name(ui, &response, person);
        let ground = match (person.selected, response.hovered()) {
            (true, _) => p.accent_soft,
            (false, true) => p.sunken,
            (false, false) => p.ground,
        };
        if ground != p.ground {
            ui.painter()
                .rect_filled(*cell, CornerRadius::same(ROUND), ground);
        }
        if person.selected {
            let edge = Stroke::new(1.5, p.accent);
            ui.painter()
                .rect_stroke(*cell, CornerRadius::same(ROUND), edge, StrokeKind::Inside);
        }
        focus_ring(ui, *cell, ROUND, &response);
        paint_seat(ui, person, *cell, seating.size.emblem, ground);
        if response.clicked() {
            pressed = Some(index);
        }
    }
    pressed
}

fn list(ui: &mut Ui, room: Rect, name: &str, seats: &[Seat], middle: &Middle) -> Option<usize> {
    let p = Palette::of(ui);
    let mut pressed = None;
    ui.scope_builder(egui::UiBuilder::new().max_rect(room), |ui| {
        egui::ScrollArea::vertical()
            .auto_shrink(false)
            .show(ui, |ui| {
                ui.set_width(ui.available_width() - space::S);
                as_group(ui, name);
                ui.spacing_mut().item_spacing.y = space::XS;
                ui.horizontal_wrapped(|ui| {
                    super::prose::strong(ui, &middle.headline);
                    super::prose::small(ui, &middle.remark);
                });
                for (index, person) in seats.iter().enumerate() {
                    let (rect, response) =
                        ui.allocate_exact_size(vec2(ui.available_width(), 52.0), Sense::click());
                    speak_name(ui, &response, person);
                    let fill = if person.selected {
                        p.accent_soft
                    } else if response.hovered() {
                        p.sunken
                    } else {
                        p.surface
                    };
                    ui.painter().rect(
                        rect.shrink(1.0),
                        CornerRadius::same(ROUND),
                        fill,
                        Stroke::new(1.0, p.line),
                        StrokeKind::Inside,
                    );
                    focus_ring(ui, rect.shrink(2.0), ROUND, &response);
                    let center = pos2(rect.left() + 32.0, rect.center().y);
                    paint_emblem(ui, person, center, 17.0, fill);
                    let left = rect.left() + 64.0;
                    let width = rect.right() - left - space::S;
                    let lines = [
                        (person.name.as_str(), type_scale::small_strong(), p.ink),
                        (person.marks.as_str(), type_scale::small(), p.ink_soft),
                    ];
                    let mut y = if person.marks.is_empty() {
                        rect.center().y
                    } else {
                        rect.center().y - 9.0
                    };
                    for (text, font, color) in lines {
                        let line = one_line(ui.painter(), text, font, color, width);
                        ui.painter()
                            .galley(pos2(left, y - line.size().y / 2.0), line, color);
                        y += 18.0;
                    }
                    if response.clicked() {
                        pressed = Some(index);
                    }
                }
            });
    });
    pressed
}

fn speak_name(ui: &Ui, response: &Response, person: &Seat) {
    response.widget_info(|| {
        WidgetInfo::selected(
            WidgetType::Button,
            ui.is_enabled(),
            person.selected,
            &person.sentence,
        )
    });
}

/// One line, cut with an ellipsis where it is too long.
fn one_line(
    painter: &Painter,
    text: &str,
    font: egui::FontId,
    color: Color32,
    width: f32,
) -> std::sync::Arc<egui::Galley> {
    let mut job = egui::text::LayoutJob::simple_singleline(text.to_owned(), font, color);
    job.wrap = egui::text::TextWrapping::truncate_at_width(width);
    painter.layout_job(job)
}

fn paint_seat(ui: &Ui, person: &Seat, cell: Rect, emblem: f32, ground: Color32) {
    let p = Palette::of(ui);
    let center = pos2(cell.center().x, cell.top() + emblem / 2.0 + 2.0);
    paint_emblem(ui, person, center, emblem / 2.0 - 8.0, ground);

    let small = emblem < 56.0;
    let font = if small {
        type_scale::small()
    } else {
        type_scale::small_strong()
    };
    let width = cell.width() - 6.0;
    let quiet = if person.speaking { p.ink } else { p.ink_soft };
    let mut top = cell.top() + emblem + 3.0;
    for (text, font, ink) in [
        (&person.name, font, p.ink),
        (&person.marks, type_scale::small(), quiet),
    ] {
        let line = one_line(ui.painter(), text, font, ink, width);
        let at = pos2(cell.center().x - line.size().x / 2.0, top);
        // The line people sit along does not run through their names.
        let behind = Rect::from_min_size(at, line.size()).expand2(vec2(4.0, 0.0));
        ui.painter()
            .rect_filled(behind, CornerRadius::same(4), ground);
        ui.painter().galley(at, line, ink);
        top += 18.0;
    }
}

/// Emblem, halo and badges.
fn paint_emblem(ui: &Ui, person: &Seat, center: Pos2, radius: f32, ground: Color32) {
    let p = Palette::of(ui);
    // So that the line people sit along does not show through.
    ui.painter().circle_filled(center, radius + 4.0, ground);
    halo(
        ui,
        person.id,
        center,
        radius,
        person.level_db,
        person.speaking,
    );
    let mut painter = ui.painter().clone();
    if person.away {
        painter.multiply_opacity(0.45);
    }
    person.emblem.paint(&painter, center, radius, p);
    if person.has_turn {
        ui.painter()
            .circle_stroke(center, radius + 3.5, Stroke::new(2.5, p.voice));
    } else if person.away {
        dashed_circle(ui.painter(), center, radius + 3.0, Stroke::new(1.5, p.edge));
    }

    let badge = (radius * 0.36).clamp(8.0, 12.0);
    let at = |x: f32, y: f32| center + vec2(x, y).normalized() * (radius + 2.0);
    if let Some(icon) = person.role {
        paint_badge(ui.painter(), p, at(-1.0, -0.8), badge, Some(icon), None);
    }
    if let Some(icon) = person.state {
        paint_badge(ui.painter(), p, at(1.0, 0.8), badge, Some(icon), None);
    }
    if let Some(place) = person.place {
        paint_badge(ui.painter(), p, at(1.0, -0.8), badge, None, Some(place));
    }
}

fn paint_badge(
    painter: &Painter,
    p: &Palette,
    at: Pos2,
    radius: f32,
    icon: Option<Icon>,
    number: Option<usize>,
) {
    let (fill, edge, ink) = if number.is_some() {
        (p.voice_soft, p.voice, p.ink)
    } else {
        (p.surface, p.edge, p.ink)
    };
    painter.circle(at, radius, fill, Stroke::new(1.0, edge));
    if let Some(icon) = icon {
        icon.paint(
            painter,
            Rect::from_center_size(at, Vec2::splat(radius * 1.4)),
            ink,
        );
    }
    if let Some(number) = number {
        let font = egui::FontId::new(radius * 1.3, type_scale::strong().family);
        painter.text(at, Align2::CENTER_CENTER, number, font, ink);
    }
}

fn dashed_circle(painter: &Painter, center: Pos2, radius: f32, stroke: Stroke) {
    let points: Vec<Pos2> = (0..=48)
        .map(|i| center + Vec2::angled(std::f32::consts::TAU * i as f32 / 48.0) * radius)
        .collect();
    painter.extend(Shape::dashed_line(&points, stroke, 4.0, 4.0));
}

/// Light around whoever speaks. With motion it breathes with the level; without, it is a steady ring.
fn halo(ui: &Ui, id: Id, center: Pos2, radius: f32, level_db: f32, speaking: bool) {
    let p = Palette::of(ui);
    let moving = ui.style().animation_time > 0.0;
    let target = match (speaking, moving) {
        (false, _) => 0.0,
        (true, false) => 0.5,
        (true, true) => 0.25 + 0.75 * meter::share(level_db),
    };
    let strength = if moving {
        ui.ctx()
            .animate_value_with_time(id.with("halo"), target, 0.14)
    } else {
        target
    };
    if strength < 0.02 {
        return;
    }
    for (reach, opacity) in [(0.42, 0.14), (0.27, 0.20), (0.14, 0.30)] {
        let glow = mix(p.ground, p.voice, opacity).gamma_multiply(strength.sqrt());
        ui.painter()
            .circle_filled(center, radius * (1.0 + reach * strength) + 2.0, glow);
    }
}

fn paint_middle(ui: &Ui, middle: &Middle, room: Rect) {
    let p = Palette::of(ui);
    let painter = ui.painter();
    let width = room.width() - 2.0 * space::S;
    let layout = |text: &str, font: egui::FontId, color: Color32| {
        let mut job = egui::text::LayoutJob::simple(text.to_owned(), font, color, width);
        job.halign = egui::Align::Center;
        painter.layout_job(job)
    };
    let headline = layout(&middle.headline, type_scale::heading(), p.ink);
    let remark = layout(&middle.remark, type_scale::body(), p.ink_soft);
    let lines = headline.size().y + 2.0 + remark.size().y;
    let gap = 6.0;
    // As large as the room allows; left out where there is hardly any.
    let radius = middle
        .speaker
        .as_ref()
        .map(|_| ((room.height() - lines - gap) / 2.0 - 16.0).min(74.0))
        .filter(|radius| *radius >= 20.0);
    let block = lines + radius.map_or(0.0, |r| 2.0 * (r + 10.0) + gap);
    let mut y = room.center().y - block / 2.0;
    if let (Some(speaker), Some(radius)) = (&middle.speaker, radius) {
        let center = pos2(room.center().x, y + radius + 10.0);
        halo(
            ui,
            speaker.id.with("middle"),
            center,
            radius,
            speaker.level_db,
            speaker.speaking,
        );
        speaker.emblem.paint(painter, center, radius, p);
        time_arc(painter, p, center, radius + 9.0, speaker.left);
        y += 2.0 * (radius + 10.0) + gap;
    }
    let headline_height = headline.size().y;
    painter.galley(pos2(room.center().x, y), headline, p.ink);
    painter.galley(
        pos2(room.center().x, y + headline_height + 2.0),
        remark,
        p.ink_soft,
    );
}

/// What is left of a turn: an arc that shrinks towards the top.
fn time_arc(painter: &Painter, p: &Palette, center: Pos2, radius: f32, left: f32) {
    let arc = |share: f32| -> Vec<Pos2> {
        let steps = (share * 96.0).ceil().max(1.0) as usize;
        (0..=steps)
            .map(|i| {
                let angle = -std::f32::consts::FRAC_PI_2
                    - std::f32::consts::TAU * share * i as f32 / steps as f32;
                center + Vec2::angled(angle) * radius
            })
            .collect()
    };
    painter.add(Shape::line(arc(1.0), Stroke::new(4.0, p.line)));
    let left = left.clamp(0.0, 1.0);
    if left > 0.004 {
        let points = arc(left);
        for end in points.first().into_iter().chain(points.last()) {
            painter.circle_filled(*end, 2.0, p.voice);
        }
        painter.add(Shape::line(points, Stroke::new(4.0, p.voice)));
    }
}

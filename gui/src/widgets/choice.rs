//! Ticks and choices that take a whole line, so that a long sentence is as easy to hit as a short one.

use egui::{
    Color32, CornerRadius, Rect, Response, Sense, Stroke, StrokeKind, Ui, Widget, WidgetInfo,
    WidgetType, pos2, vec2,
};

use super::icon::Icon;
use super::press::focus_ring;
use crate::theme::palette::mix;
use crate::theme::{Palette, ROUND, TARGET, type_scale};

/// Whether several can be chosen, or one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tick,
    OneOf,
}

/// One line with a box or a circle, a sentence, perhaps a remark below it.
#[must_use = "add it with `ui.add`"]
pub(crate) struct Choice<'a> {
    kind: Kind,
    chosen: bool,
    mark: Option<&'a str>,
    text: &'a str,
    remark: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// A statement to tick.
    pub(crate) fn tick(ticked: bool, text: &'a str) -> Self {
        Self {
            kind: Kind::Tick,
            chosen: ticked,
            mark: None,
            text,
            remark: None,
        }
    }
    /// One of several.
    pub(crate) fn one_of(chosen: bool, text: &'a str) -> Self {
        Self {
            kind: Kind::OneOf,
            chosen,
            mark: None,
            text,
            remark: None,
        }
    }
    /// The mark by which it is cited.
    pub(crate) fn mark(mut self, mark: &'a str) -> Self {
        self.mark = Some(mark);
        self
    }
    /// What it means, in smaller letters.
    pub(crate) fn remark(mut self, remark: &'a str) -> Self {
        self.remark = Some(remark);
        self
    }
}

const BOX: f32 = 22.0;

impl Widget for Choice<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let p = Palette::of(ui);
        let padding = vec2(14.0, 11.0);
        let width = ui.available_width();
        let mark_width = if self.mark.is_some() { 24.0 } else { 0.0 };
        let text_left = padding.x + BOX + 12.0 + mark_width;
        let room = (width - text_left - padding.x).max(60.0);
        let font = if self.remark.is_some() {
            type_scale::strong()
        } else {
            type_scale::body()
        };
        let text = ui.painter().layout(self.text.to_owned(), font, p.ink, room);
        let remark = self.remark.map(|r| {
            ui.painter()
                .layout(r.to_owned(), type_scale::small(), p.ink_soft, room)
        });
        let block = text.size().y + remark.as_ref().map_or(0.0, |r| r.size().y + 3.0);
        let size = vec2(width, (block + 2.0 * padding.y).max(TARGET));

        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        response.widget_info(|| {
            let kind = match self.kind {
                Kind::Tick => WidgetType::Checkbox,
                Kind::OneOf => WidgetType::RadioButton,
            };
            WidgetInfo::selected(kind, ui.is_enabled(), self.chosen, self.text)
        });
        if !ui.is_rect_visible(rect) {
            return response;
        }

        let (mut fill, edge) = if self.chosen {
            (p.accent_soft, Stroke::new(1.0, p.accent))
        } else {
            (p.surface, Stroke::new(1.0, p.line))
        };
        if response.hovered() {
            fill = mix(fill, p.ink, 0.05);
        }
        ui.painter().rect(
            rect,
            CornerRadius::same(ROUND),
            fill,
            edge,
            StrokeKind::Inside,
        );
        focus_ring(ui, rect, ROUND, &response);

        let first_line = text.rows.first().map_or(BOX, |row| row.size.y);
        let top = rect.center().y - block / 2.0;
        let boxed = Rect::from_center_size(
            pos2(rect.left() + padding.x + BOX / 2.0, top + first_line / 2.0),
            vec2(BOX, BOX),
        );
        self.paint_box(ui, boxed, p);
        if let Some(mark) = self.mark {
            let mark =
                ui.painter()
                    .layout_no_wrap(mark.to_owned(), type_scale::strong(), p.ink_soft);
            ui.painter()
                .galley(pos2(boxed.right() + 12.0, top), mark, p.ink_soft);
        }
        let text_height = text.size().y;
        ui.painter()
            .galley(pos2(rect.left() + text_left, top), text, p.ink);
        if let Some(remark) = remark {
            ui.painter().galley(
                pos2(rect.left() + text_left, top + text_height + 3.0),
                remark,
                p.ink_soft,
            );
        }
        response
    }
}

impl Choice<'_> {
    fn paint_box(&self, ui: &Ui, rect: Rect, p: &Palette) {
        let painter = ui.painter();
        let edge = Stroke::new(1.5, if self.chosen { p.accent } else { p.edge });
        match self.kind {
            Kind::Tick => {
                let fill = if self.chosen {
                    p.accent
                } else {
                    Color32::TRANSPARENT
                };
                painter.rect(rect, CornerRadius::same(6), fill, edge, StrokeKind::Inside);
                if self.chosen {
                    Icon::Check.paint(painter, rect.shrink(3.0), p.on_accent);
                }
            }
            Kind::OneOf => {
                painter.circle_stroke(rect.center(), BOX / 2.0 - 1.0, edge);
                if self.chosen {
                    painter.circle_filled(rect.center(), BOX / 2.0 - 5.5, p.accent);
                }
            }
        }
    }
}

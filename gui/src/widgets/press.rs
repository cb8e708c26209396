//! Buttons.

use egui::text::LayoutJob;
use egui::{
    Align, Color32, CornerRadius, Rect, Response, Sense, Stroke, StrokeKind, Ui, Widget,
    WidgetInfo, WidgetType, pos2, vec2,
};

use super::icon::Icon;
use crate::theme::palette::mix;
use crate::theme::{Palette, ROUND, TARGET, space, type_scale};

/// What pressing means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// The one obvious next step.
    Primary,
    /// Something else one may do.
    Secondary,
    /// Something at the edge of attention.
    Quiet,
    /// It ends something for somebody.
    Danger,
}

/// A button: a word or two, perhaps with an icon before or above it.
#[must_use = "add it with `ui.add`"]
pub(crate) struct Press<'a> {
    label: &'a str,
    name: Option<&'a str>,
    icon: Option<Icon>,
    tone: Tone,
    stacked: bool,
    small: bool,
    left_aligned: bool,
    one_line: bool,
    min_width: f32,
    /// `Some` makes it a switch that is on or off.
    on: Option<bool>,
    keys: Option<&'a str>,
}

impl<'a> Press<'a> {
    fn new(label: &'a str, tone: Tone) -> Self {
        Self {
            label,
            name: None,
            icon: None,
            tone,
            stacked: false,
            small: false,
            left_aligned: false,
            one_line: false,
            min_width: 0.0,
            on: None,
            keys: None,
        }
    }

    /// The one obvious next step.
    pub(crate) fn primary(label: &'a str) -> Self {
        Self::new(label, Tone::Primary)
    }
    /// Something else one may do.
    pub(crate) fn secondary(label: &'a str) -> Self {
        Self::new(label, Tone::Secondary)
    }
    /// Something at the edge of attention.
    pub(crate) fn quiet(label: &'a str) -> Self {
        Self::new(label, Tone::Quiet)
    }
    /// It ends something for somebody.
    pub(crate) fn danger(label: &'a str) -> Self {
        Self::new(label, Tone::Danger)
    }

    /// With an icon.
    pub(crate) fn icon(mut self, icon: Icon) -> Self {
        self.icon = Some(icon);
        self
    }
    /// How a screen reader calls it, where the label alone says too little.
    pub(crate) fn name(mut self, name: &'a str) -> Self {
        self.name = Some(name);
        self
    }
    /// The icon above the label.
    pub(crate) fn stacked(mut self) -> Self {
        self.stacked = true;
        self
    }
    /// Smaller letters and less room.
    pub(crate) fn small(mut self) -> Self {
        self.small = true;
        self
    }
    /// The label at the left end, for lists.
    pub(crate) fn left(mut self) -> Self {
        self.left_aligned = true;
        self
    }
    /// Never broken into lines, where the bar around it makes room.
    pub(crate) fn one_line(mut self) -> Self {
        self.one_line = true;
        self
    }
    /// At least this wide.
    pub(crate) fn min_width(mut self, width: f32) -> Self {
        self.min_width = width;
        self
    }
    /// A switch that is on or off.
    pub(crate) fn on(mut self, on: bool) -> Self {
        self.on = Some(on);
        self
    }
    /// The keys that do the same, shown beside the label.
    pub(crate) fn keys(mut self, keys: &'a str) -> Self {
        self.keys = Some(keys);
        self
    }
}

/// Colours of one button at one moment.
struct Look {
    fill: Color32,
    edge: Stroke,
    ink: Color32,
}

fn look(p: &Palette, tone: Tone, on: Option<bool>, response: &Response) -> Look {
    let near = response.hovered() && !response.is_pointer_button_down_on();
    let down = response.is_pointer_button_down_on();
    let touched = |fill: Color32| {
        if down {
            mix(fill, p.ink, 0.16)
        } else if near {
            mix(fill, p.ink, 0.08)
        } else {
            fill
        }
    };
    if on == Some(true) {
        return Look {
            fill: touched(p.accent_soft),
            edge: Stroke::new(1.5, p.accent),
            ink: p.ink,
        };
    }
    match tone {
        Tone::Primary => Look {
            fill: touched(p.accent),
            edge: Stroke::NONE,
            ink: p.on_accent,
        },
        Tone::Secondary => Look {
            fill: touched(p.surface),
            edge: Stroke::new(1.0, p.edge),
            ink: p.ink,
        },
        Tone::Quiet => Look {
            fill: if near || down {
                touched(p.sunken)
            } else {
                Color32::TRANSPARENT
            },
            edge: Stroke::NONE,
            ink: if near || down { p.ink } else { p.ink_soft },
        },
        Tone::Danger => Look {
            fill: if near || down {
                touched(p.danger_soft)
            } else {
                p.surface
            },
            edge: Stroke::new(1.0, p.danger),
            ink: p.danger,
        },
    }
}

/// The ring around what the keyboard is on.
pub(crate) fn focus_ring(ui: &Ui, rect: Rect, round: u8, response: &Response) {
    if response.has_focus() {
        let stroke = Stroke::new(2.5, Palette::of(ui).focus);
        ui.painter().rect_stroke(
            rect.expand(2.0),
            CornerRadius::same(round + 2),
            stroke,
            StrokeKind::Outside,
        );
    }
}

impl Widget for Press<'_> {
    fn ui(self, ui: &mut Ui) -> Response {
        let p = Palette::of(ui);
        let (font, padding, height, icon_side) = if self.small {
            (type_scale::small_strong(), vec2(10.0, 6.0), 34.0, 16.0)
        } else if self.stacked {
            (
                type_scale::small_strong(),
                vec2(space::S, space::S),
                60.0,
                24.0,
            )
        } else {
            (type_scale::strong(), vec2(18.0, 10.0), TARGET, 20.0)
        };
        let gap = if self.label.is_empty() { 0.0 } else { space::S };
        let beside = match self.icon {
            Some(_) if !self.stacked => icon_side + gap,
            _ => 0.0,
        };
        let keys = self.keys.map(|keys| {
            ui.painter()
                .layout_no_wrap(keys.to_owned(), type_scale::small(), Color32::PLACEHOLDER)
        });
        let keys_width = keys.as_ref().map_or(0.0, |k| k.size().x + space::S);

        let room = if self.one_line {
            f32::INFINITY
        } else {
            (ui.available_width() - 2.0 * padding.x - beside - keys_width).max(40.0)
        };
        let mut job = LayoutJob::simple(self.label.to_owned(), font, Color32::PLACEHOLDER, room);
        if self.stacked {
            job.halign = Align::Center;
        }
        let label = ui.painter().layout_job(job);
        let mut size = label.size() + vec2(beside + keys_width, 0.0);
        if self.stacked && self.icon.is_some() {
            size = vec2(size.x.max(icon_side), size.y + icon_side + space::XS);
        }
        size = (size + 2.0 * padding).max(vec2(self.min_width, height));

        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        response.widget_info(|| {
            let label = self.name.unwrap_or(self.label);
            match self.on {
                Some(on) => WidgetInfo::selected(WidgetType::Button, ui.is_enabled(), on, label),
                None => WidgetInfo::labeled(WidgetType::Button, ui.is_enabled(), label),
            }
        });
        if !ui.is_rect_visible(rect) {
            return response;
        }

        let look = look(p, self.tone, self.on, &response);
        ui.painter().rect(
            rect,
            CornerRadius::same(ROUND),
            look.fill,
            look.edge,
            StrokeKind::Inside,
        );
        focus_ring(ui, rect, ROUND, &response);

        if self.stacked {
            let block = label.size().y + self.icon.map_or(0.0, |_| icon_side + space::XS);
            let top = rect.center().y - block / 2.0;
            let mut text_top = top;
            if let Some(icon) = self.icon {
                let square = Rect::from_center_size(
                    pos2(rect.center().x, top + icon_side / 2.0),
                    vec2(icon_side, icon_side),
                );
                icon.paint(ui.painter(), square, look.ink);
                text_top += icon_side + space::XS;
            }
            ui.painter()
                .galley(pos2(rect.center().x, text_top), label, look.ink);
            return response;
        }

        let width = beside + label.size().x + keys_width;
        let mut x = if self.left_aligned {
            rect.left() + padding.x
        } else {
            rect.center().x - width / 2.0
        };
        if let Some(icon) = self.icon {
            let square = Rect::from_center_size(
                pos2(x + icon_side / 2.0, rect.center().y),
                vec2(icon_side, icon_side),
            );
            icon.paint(ui.painter(), square, look.ink);
            x += icon_side + gap;
        }
        let label_width = label.size().x;
        let label_top = rect.center().y - label.size().y / 2.0;
        ui.painter().galley(pos2(x, label_top), label, look.ink);
        if let Some(keys) = keys {
            let at = pos2(
                x + label_width + space::S,
                rect.center().y - keys.size().y / 2.0,
            );
            ui.painter()
                .galley(at, keys, mix(look.ink, look.fill, 0.25));
        }
        response
    }
}

//! The frame around every screen: the bar with quick exit, notices, and pages with their footer.

use egui::accesskit::Live;
use egui::{Frame, Id, Margin, Modal, Rect, ScrollArea, Sense, Sides, Ui, UiBuilder, pos2, vec2};
use undertone_node::api::{Command, Notice, Place};

use super::{Screen, key};
use crate::theme::{COLUMN, Palette, ROUND_CARD, TARGET, space, type_scale};
use crate::widgets::{Icon, Press, prose};

const BAR: f32 = 54.0;

/// Draws bar and notice around `content`. The bar comes last in the order of the keyboard, so that the
/// first thing Tab reaches is the screen's own.
pub(crate) fn show(
    ui: &mut Ui,
    screen: &mut Screen<'_>,
    content: impl FnOnce(&mut Ui, &mut Screen<'_>),
) {
    let p = Palette::of(ui);
    let whole = ui.max_rect();
    ui.painter().rect_filled(whole, 0.0, p.ground);
    let (bar, mut rest) = whole.split_top_bottom_at_y(whole.top() + BAR);

    let notice = screen.snapshot.notice.as_ref();
    if let Some(notice) = notice.filter(|n| screen.view.inside.cease_notice.as_ref() != Some(*n)) {
        rest.min.y += banner(ui, rest, notice, screen);
    }
    let salt = key(screen.snapshot, screen.view);
    ui.scope_builder(UiBuilder::new().id_salt(salt).max_rect(rest), |ui| {
        ui.set_clip_rect(rest.intersect(ui.clip_rect()));
        content(ui, screen);
    });
    ui.scope_builder(UiBuilder::new().id_salt("bar").max_rect(bar), |ui| {
        top_bar(ui, bar, screen)
    });
}

fn top_bar(ui: &mut Ui, bar: Rect, screen: &mut Screen<'_>) {
    let p = Palette::of(ui);
    let words = &screen.words.app;
    let painter = ui.painter();
    let logo = Rect::from_center_size(pos2(bar.left() + 34.0, bar.center().y), vec2(26.0, 26.0));
    Icon::Circle.paint(painter, logo, p.accent);
    let left = logo.right() + 10.0;
    let width = bar.width() - left - 236.0;
    match &screen.snapshot.place {
        Place::Circle(circle) => {
            let (door, about) = (&circle.door, &screen.words.circle);
            let topic = if door.practice && door.topic != about.practice {
                format!("{} · {}", about.practice, door.topic)
            } else {
                door.topic.clone()
            };
            let at =
                Rect::from_min_size(pos2(left, bar.top() + 5.0), vec2(width, bar.height() - 5.0));
            ui.scope_builder(UiBuilder::new().id_salt("about").max_rect(at), |ui| {
                ui.spacing_mut().item_spacing.y = -2.0;
                prose::one_line(ui, &door.title, type_scale::heading(), p.ink);
                prose::one_line(ui, &topic, type_scale::small(), p.ink_soft);
            });
        }
        _ => {
            let at = pos2(left, bar.center().y + 1.0);
            painter.text(
                at,
                egui::Align2::LEFT_CENTER,
                words.name,
                type_scale::heading(),
                p.ink,
            );
        }
    }

    let inner = bar.shrink2(vec2(space::M, 10.0));
    let width = remembered(ui, Id::new("bar-width"), 200.0);
    let inner = inner.with_min_x(inner.right() - width.value);
    ui.scope_builder(UiBuilder::new().max_rect(inner), |ui| {
        // Left to right, as the keyboard goes: quick exit is the last of all.
        let buttons = ui.horizontal(|ui| {
            let letters = Press::quiet(words.letters).name(words.appearance).small();
            if ui.add(letters).on_hover_text(words.appearance).clicked() {
                screen.view.appearance_open = true;
            }
            let exit = Press::secondary(words.quick_exit)
                .icon(Icon::Exit)
                .keys(words.quick_exit_keys)
                .small()
                .one_line();
            if ui.add(exit).on_hover_text(words.quick_exit_hint).clicked() {
                screen.quick_exit = true;
            }
        });
        width.store(ui, buttons.response.rect.width());
    });
}

/// Something the person should be told. Returns how high it is.
fn banner(ui: &mut Ui, rest: Rect, notice: &Notice, screen: &mut Screen<'_>) -> f32 {
    let p = Palette::of(ui);
    let words = &screen.words.app;
    let width = (rest.width() - 2.0 * space::M).min(COLUMN + 2.0 * space::XL);
    let at = Rect::from_min_size(
        pos2(rest.center().x - width / 2.0, rest.top()),
        vec2(width, rest.height()),
    );
    let inner = ui.scope_builder(UiBuilder::new().id_salt("notice").max_rect(at), |ui| {
        prose::tinted(ui, p.voice_soft, p.voice, |ui| {
            Sides::new().shrink_left().height(TARGET).show(
                ui,
                |ui| {
                    prose::with_icon(ui, Icon::Note, p.ink, |ui| {
                        let what = prose::strong(ui, &notice.what);
                        prose::announce(&what, Live::Assertive);
                        if !notice.advice.is_empty() {
                            prose::body(ui, &notice.advice);
                        }
                    });
                },
                |ui| {
                    if ui.add(Press::secondary(words.understood).small()).clicked() {
                        screen.send(Command::DismissNotice);
                    }
                },
            );
        });
    });
    inner.response.rect.height() + space::S
}

/// What stands at the foot of a page.
#[derive(Default)]
pub(crate) struct Foot<'a> {
    /// Leads back.
    pub(crate) back: Option<&'a str>,
    /// Why the next step is not possible yet, or what it means.
    pub(crate) hint: Option<String>,
    /// The one obvious next step, and whether it is possible.
    pub(crate) next: Option<(&'a str, bool)>,
}

/// What was pressed at the foot of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FootPress {
    Back,
    Next,
}

/// A page: a column of text that scrolls when it must, and its foot, which is always in sight.
pub(crate) fn page(
    ui: &mut Ui,
    salt: &str,
    width: f32,
    foot: &Foot<'_>,
    body: impl FnOnce(&mut Ui),
) -> Option<FootPress> {
    let whole = ui.max_rect();
    let footed = foot.back.is_some() || foot.next.is_some();
    let foot_height = remembered(ui, Id::new((salt, "foot")), if footed { 77.0 } else { 0.0 });
    let (above, below) = whole.split_top_bottom_at_y(whole.bottom() - foot_height.value);

    ui.scope_builder(UiBuilder::new().id_salt(salt).max_rect(above), |ui| {
        ScrollArea::vertical()
            .id_salt((salt, "scroll"))
            .auto_shrink(false)
            .show(ui, |ui| {
                column(ui, above, width, salt, body);
            });
    });
    if !footed {
        return None;
    }
    let mut pressed = None;
    let drawn = ui.scope_builder(
        UiBuilder::new().id_salt((salt, "foot")).max_rect(below),
        |ui| {
            pressed = show_foot(ui, below, width, foot);
        },
    );
    foot_height.store(ui, drawn.response.rect.height());
    pressed
}

/// The column of a page, in the middle of the window; a short one a little above the middle.
fn column(ui: &mut Ui, room: Rect, width: f32, salt: &str, body: impl FnOnce(&mut Ui)) {
    let margin = if room.width() < 560.0 {
        space::M
    } else {
        space::XL
    };
    let width = width.min(room.width() - 2.0 * margin);
    let height = remembered(ui, Id::new((salt, "height")), room.height());
    let spare = room.height() - height.value - 2.0 * space::L;
    let top = space::L + (spare * 0.40).max(0.0);
    ui.add_space(top - space::S);
    let corner = pos2(room.center().x - width / 2.0, ui.cursor().top());
    let at = Rect::from_min_size(corner, vec2(width, f32::INFINITY));
    let drawn = ui.scope_builder(UiBuilder::new().max_rect(at), |ui| {
        ui.set_width(width);
        body(ui);
    });
    height.store(ui, drawn.response.rect.height());
    ui.add_space(space::L);
}

fn show_foot(ui: &mut Ui, below: Rect, width: f32, foot: &Foot<'_>) -> Option<FootPress> {
    let p = Palette::of(ui);
    ui.painter()
        .hline(below.x_range(), below.top(), egui::Stroke::new(1.0, p.line));
    let margin = if below.width() < 560.0 {
        space::M
    } else {
        space::XL
    };
    let width = width.min(below.width() - 2.0 * margin);
    let roomy = width >= 520.0;
    // The label of the quiet button, not its edge, lines up with the column.
    let hang = if foot.back.is_some() { 14.0 } else { 0.0 };
    let corner = pos2(below.center().x - width / 2.0 - hang, below.top());
    let at = Rect::from_min_size(corner, vec2(width + hang, below.height()));
    let (mut went_back, mut went_on) = (false, false);
    ui.scope_builder(UiBuilder::new().max_rect(at), |ui| {
        ui.set_width(width + hang);
        ui.add_space(space::S);
        if let (false, Some(hint)) = (roomy, &foot.hint) {
            ui.horizontal(|ui| {
                ui.add_space(hang);
                hint_line(ui, hint);
            });
        }
        Sides::new().shrink_left().height(TARGET).show(
            ui,
            |ui| {
                if let Some(back) = foot.back {
                    went_back = ui.add(Press::quiet(back).icon(Icon::Back)).clicked();
                }
                if let (true, Some(hint)) = (roomy, &foot.hint) {
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        ui.add_space(space::S);
                        hint_line(ui, hint);
                    });
                }
            },
            |ui| {
                if let Some((next, possible)) = foot.next {
                    went_on = ui.add_enabled(possible, Press::primary(next)).clicked();
                }
            },
        );
        ui.add_space(space::S);
    });
    match (went_on, went_back) {
        (true, _) => Some(FootPress::Next),
        (false, true) => Some(FootPress::Back),
        (false, false) => None,
    }
}

fn hint_line(ui: &mut Ui, hint: &str) {
    let hint = prose::small(ui, hint);
    prose::announce(&hint, Live::Polite);
}

/// A small sheet over whatever screen one is on. Returns whether it is to be put away.
pub(crate) fn sheet(ui: &Ui, id: &str, add: impl FnOnce(&mut Ui)) -> bool {
    let frame = Frame::new()
        .fill(Palette::of(ui).surface)
        .corner_radius(ROUND_CARD)
        .inner_margin(Margin::same(24));
    let room = ui.ctx().content_rect();
    let modal = Modal::new(Id::new(id)).frame(frame).show(ui.ctx(), |ui| {
        ui.set_width((room.width() - 2.0 * space::XL - 20.0).min(440.0));
        ScrollArea::vertical()
            .min_scrolled_height(room.height() - 130.0)
            .max_height(room.height() - 130.0)
            .show(ui, |ui| {
                ui.set_width(ui.available_width() - 12.0);
                ui.spacing_mut().item_spacing.y = 6.0;
                add(ui);
            });
    });
    modal.should_close()
}

/// A length measured in the last frame and used in this one.
pub(crate) struct Remembered {
    id: Id,
    pub(crate) value: f32,
}

/// The length measured last under this id, or a first guess.
pub(crate) fn remembered(ui: &Ui, id: Id, guess: f32) -> Remembered {
    let value = ui.ctx().data(|d| d.get_temp(id)).unwrap_or(guess);
    Remembered { id, value }
}

impl Remembered {
    /// Keeps what was measured now. Where it differs, this frame is drawn again before anybody sees it.
    pub(crate) fn store(self, ui: &Ui, measured: f32) {
        if (measured - self.value).abs() > 0.5 {
            ui.ctx().data_mut(|d| d.insert_temp(self.id, measured));
            ui.ctx().request_discard("a length was measured");
        }
    }
}

/// Nothing to press, only room.
pub(crate) fn gap(ui: &mut Ui, height: f32) {
    ui.allocate_exact_size(
        vec2(0.0, (height - ui.spacing().item_spacing.y).max(0.0)),
        Sense::hover(),
    );
}

//! Inside: the ring, whose turn it is, and what stands at the side.

use egui::accesskit::Live;
use egui::{Id, Key, Margin, Rect, Ui, UiBuilder, vec2};
use undertone_node::api::{Circle, Command, Connection, Member, PublicKey, Role};

use super::shell::remembered;
use super::{Screen, asking, controls, leader, member};
use crate::text::{CircleWords, MemberFacts};
use crate::theme::{Palette, space};
use crate::view_state::{Asking, Inside};
use crate::widgets::ring::{self, Middle, Seat, Speaker};
use crate::widgets::{Emblem, Icon, Press, prose};

/// Width of the panel at the side: a fifth of the window, within these.
const SIDE: std::ops::RangeInclusive<f32> = 292.0..=380.0;
/// Below this width the panel takes the ring's place instead of standing beside it.
const NARROW: f32 = 700.0;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let selected = screen.view.inside.selected();
    // What lies on top is put away first.
    let covered = screen.view.inside.asking.is_some() || egui::Popup::is_any_open(ui.ctx());
    if selected.is_some() && !covered && ui.input(|i| i.key_pressed(Key::Escape)) {
        screen.view.inside.select(None);
    }
    let selected = screen.view.inside.selected();

    let whole = ui.max_rect();
    let narrow = whole.width() < NARROW;
    let bar_height = remembered(ui, Id::new("circle-bar"), 132.0);
    let (above, below) = whole.split_top_bottom_at_y(whole.bottom() - bar_height.value);
    let has_side = circle.leading || selected.is_some();
    let (room, side) = if !has_side {
        (Some(above), None)
    } else if narrow {
        let open = screen.view.inside.side_open || selected.is_some();
        if open {
            (None, Some(above))
        } else {
            (Some(above), None)
        }
    } else {
        let width = (whole.width() / 5.0).clamp(*SIDE.start(), *SIDE.end());
        let (room, side) = above.split_left_right_at_x(above.right() - width);
        (Some(room), Some(side))
    };

    if let Some(room) = room {
        ui.scope_builder(UiBuilder::new().id_salt("ring").max_rect(room), |ui| {
            people(ui, screen, circle, room)
        });
    }
    if let Some(side) = side {
        let p = Palette::of(ui);
        ui.painter().rect_filled(side, 0.0, p.surface);
        ui.painter()
            .vline(side.left(), side.y_range(), egui::Stroke::new(1.0, p.line));
        let inner = side
            - Margin {
                left: 16,
                right: 6,
                top: 12,
                bottom: 0,
            };
        ui.scope_builder(UiBuilder::new().id_salt("side").max_rect(inner), |ui| {
            egui::ScrollArea::vertical()
                .auto_shrink(false)
                .show(ui, |ui| {
                    ui.set_width(ui.available_width() - 12.0);
                    match circle.members.iter().find(|m| Some(m.key) == selected) {
                        Some(chosen) => member::card(ui, screen, circle, chosen),
                        None => leader::panel(ui, screen, circle),
                    }
                });
        });
    }
    let drawn = ui.scope_builder(UiBuilder::new().id_salt("controls").max_rect(below), |ui| {
        controls::show(ui, screen, circle, below, narrow && circle.leading);
    });
    bar_height.store(ui, drawn.response.rect.height());
    asking::show(ui, screen, circle);
}

/// What is said about one member.
pub(super) fn facts<'a>(view: &Inside, circle: &Circle, member: &'a Member) -> MemberFacts<'a> {
    let turn = circle
        .turn
        .as_ref()
        .filter(|turn| turn.holder == member.key);
    MemberFacts {
        name: &member.name,
        me: member.key == circle.me,
        role: member.role,
        speaking: member.speaking,
        muted: member.muted,
        silenced: member.silenced,
        thanked: view.is_thanked(member.key),
        connection: member.connection,
        place_in_line: place_in_line(circle, member.key),
        turn_left: turn.map(|turn| turn.left),
    }
}

/// 1 is next.
fn place_in_line(circle: &Circle, key: PublicKey) -> Option<usize> {
    circle
        .queue
        .iter()
        .position(|waiting| *waiting == key)
        .map(|i| i + 1)
}

/// Everybody, oneself first, the others in the circle's fixed order from there.
fn seated(circle: &Circle) -> impl Iterator<Item = &Member> {
    let mine = circle
        .members
        .iter()
        .position(|m| m.key == circle.me)
        .unwrap_or(0);
    let (before, from_me) = circle
        .members
        .split_at_checked(mine)
        .unwrap_or((&[], &circle.members));
    from_me.iter().chain(before)
}

fn people(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, room: Rect) {
    let words = &screen.words.circle;
    let head = ui.scope_builder(
        UiBuilder::new().max_rect(room.shrink2(vec2(space::M, 0.0))),
        |ui| strips(ui, screen, circle),
    );
    let mut room = room.shrink2(vec2(space::S, 0.0));
    room.min.y += head.response.rect.height();

    let seats: Vec<Seat> = seated(circle)
        .map(|member| seat(words, &screen.view.inside, circle, member))
        .collect();
    let name = (words.ring)(circle.members.len());
    let pressed = ring::show(ui, room, &name, &seats, &middle(words, circle));
    if let Some(member) = pressed.and_then(|i| seated(circle).nth(i)) {
        let again = screen.view.inside.selected() == Some(member.key);
        screen.view.inside.select((!again).then_some(member.key));
    }
}

/// What is the matter with the circle as a whole, if anything.
fn strips(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    let p = Palette::of(ui);
    let words = &screen.words.circle;
    if circle.asked_to_cease {
        cease(ui, screen);
    }
    let trouble = if !circle.connected {
        Some((Icon::Unsteady, words.disconnected))
    } else if !circle.moderation_verified {
        Some((Icon::Unsteady, words.unverified))
    } else {
        None
    };
    let paused = circle.frozen.then_some((Icon::Pause, words.frozen));
    for (icon, text) in trouble.into_iter().chain(paused) {
        prose::tinted(ui, p.voice_soft, p.voice, |ui| {
            prose::with_icon(ui, icon, p.ink, |ui| {
                let line = prose::body(ui, text);
                prose::announce(&line, Live::Polite);
            });
        });
    }
    if circle.door.can_recover && !circle.leading {
        let press = Press::secondary(words.lead_again)
            .icon(Icon::Lantern)
            .small();
        let pressed = with_press(ui, |ui| prose::small(ui, words.lead_lost), press);
        if pressed {
            screen.view.inside.asking = Some(Asking::Recover);
        }
    }
    if !circle.door_open {
        ui.horizontal(|ui| {
            let (at, _) = ui.allocate_exact_size(vec2(16.0, 18.0), egui::Sense::hover());
            Icon::Door.paint(ui.painter(), at, p.ink_soft);
            let line = prose::small(ui, words.door_closed);
            prose::announce(&line, Live::Polite);
        });
    }
}

/// One is asked to cease, and can say that one has heard it.
fn cease(ui: &mut Ui, screen: &mut Screen<'_>) {
    let p = Palette::of(ui);
    let words = &screen.words.circle;
    let pressed = prose::tinted(ui, p.danger_soft, p.danger, |ui| {
        let say = |ui: &mut Ui| {
            prose::with_icon(ui, Icon::Hand, p.danger, |ui| {
                let line = prose::body(ui, words.cease);
                prose::announce(&line, Live::Assertive);
            });
        };
        with_press(ui, say, Press::secondary(words.cease_heard).small())
    });
    if pressed {
        screen.send(Command::AcknowledgeCease);
        // The same was told as a notice, which is not shown twice.
        if screen.view.inside.cease_notice.is_some() {
            screen.send(Command::DismissNotice);
        }
    }
}

/// A line with something to press at its end. Returns whether it was.
fn with_press<R>(ui: &mut Ui, say: impl FnOnce(&mut Ui) -> R, press: Press<'_>) -> bool {
    let (_, pressed) = egui::Sides::new().height(34.0).shrink_left().show(
        ui,
        |ui| {
            say(ui);
        },
        |ui| ui.add(press).clicked(),
    );
    pressed
}

fn seat(words: &CircleWords, view: &Inside, circle: &Circle, member: &Member) -> Seat {
    let facts = facts(view, circle, member);
    Seat {
        id: Id::new(("seat", member.key.as_bytes())),
        emblem: Emblem::of(member.key.as_bytes()),
        name: member.name.clone(),
        marks: (words.marks)(&facts),
        sentence: (words.member)(&facts),
        level_db: member.level_db,
        speaking: member.speaking,
        has_turn: facts.turn_left.is_some(),
        away: member.connection == Connection::Away,
        role: match member.role {
            Role::Leader | Role::CoLeader => Some(Icon::Lantern),
            Role::Listener => Some(Icon::Ear),
            Role::Newcomer => Some(Icon::Sprout),
            Role::Participant => None,
        },
        state: match (member.connection, member.muted || member.silenced) {
            (Connection::Away, _) => Some(Icon::Moon),
            (Connection::Coming, _) => Some(Icon::Unsteady),
            _ if facts.thanked => Some(Icon::Heart),
            (Connection::Unsteady, _) => Some(Icon::Unsteady),
            (Connection::Good, true) => Some(Icon::MicOff),
            (Connection::Good, false) => None,
        },
        place: facts.place_in_line,
        selected: view.selected() == Some(member.key),
    }
}

fn middle(words: &CircleWords, circle: &Circle) -> Middle {
    let holder = circle
        .turn
        .as_ref()
        .and_then(|turn| Some((turn, circle.members.iter().find(|m| m.key == turn.holder)?)));
    let Some((turn, holder)) = holder else {
        return Middle {
            speaker: None,
            headline: words.nobody.to_owned(),
            remark: words.nobody_hint.to_owned(),
        };
    };
    let mine = holder.key == circle.me;
    Middle {
        speaker: Some(Speaker {
            id: Id::new(("speaker", holder.key.as_bytes())),
            emblem: Emblem::of(holder.key.as_bytes()),
            level_db: holder.level_db,
            speaking: holder.speaking,
            left: turn.left.as_secs_f32() / turn.of.as_secs_f32().max(1.0),
        }),
        headline: if mine {
            words.your_turn.to_owned()
        } else {
            holder.name.clone()
        },
        remark: (words.time_left)(turn.left),
    }
}

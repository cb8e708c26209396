//! Inside: the ring, whose turn it is, and what stands at the side.

use egui::accesskit::Live;
use egui::{Id, Key, Margin, Rect, Ui, UiBuilder, vec2};
use undertone_node::api::{Circle, Connection, Member, PublicKey, Role};

use super::shell::remembered;
use super::{Screen, controls, leader, member};
use crate::text::{CircleWords, MemberFacts};
use crate::theme::{Palette, space};
use crate::widgets::ring::{self, Middle, Seat, Speaker};
use crate::widgets::{Emblem, Icon, prose};

/// Width of the panel at the side.
const SIDE: f32 = 292.0;
/// Below this width the panel takes the ring's place instead of standing beside it.
const NARROW: f32 = 700.0;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle) {
    screen.view.stand_at(circle.door.circle);
    if let Some(selected) = screen.view.selected {
        let gone = !circle.members.iter().any(|m| m.key == selected);
        if gone || ui.input(|i| i.key_pressed(Key::Escape)) {
            screen.view.selected = None;
        }
    }

    let whole = ui.max_rect();
    let narrow = whole.width() < NARROW;
    let bar_height = remembered(ui, Id::new("circle-bar"), 132.0);
    let (above, below) = whole.split_top_bottom_at_y(whole.bottom() - bar_height.value);
    let has_side = circle.leading || screen.view.selected.is_some();
    let (room, side) = if !has_side {
        (Some(above), None)
    } else if narrow {
        let open = screen.view.side_open || screen.view.selected.is_some();
        if open {
            (None, Some(above))
        } else {
            (Some(above), None)
        }
    } else {
        let (room, side) = above.split_left_right_at_x(above.right() - SIDE);
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
                    let chosen = screen.view.selected;
                    match circle.members.iter().find(|m| Some(m.key) == chosen) {
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
}

/// What is said about one member.
pub(super) fn facts<'a>(circle: &Circle, member: &'a Member) -> MemberFacts<'a> {
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
        |ui| trouble(ui, words, circle),
    );
    let mut room = room.shrink2(vec2(space::S, 0.0));
    room.min.y += head.response.rect.height();

    let seats: Vec<Seat> = seated(circle)
        .map(|member| {
            seat(
                words,
                circle,
                member,
                screen.view.selected == Some(member.key),
            )
        })
        .collect();
    let name = (words.ring)(circle.members.len());
    let pressed = ring::show(ui, room, &name, &seats, &middle(words, circle));
    if let Some(member) = pressed.and_then(|i| seated(circle).nth(i)) {
        let again = screen.view.selected == Some(member.key);
        screen.view.selected = (!again).then_some(member.key);
    }
}

/// What is the matter with the circle as a whole, if anything.
fn trouble(ui: &mut Ui, words: &CircleWords, circle: &Circle) {
    let text = if !circle.connected {
        words.disconnected
    } else if !circle.moderation_verified {
        words.unverified
    } else {
        return;
    };
    let p = Palette::of(ui);
    prose::tinted(ui, p.voice_soft, p.voice, |ui| {
        prose::with_icon(ui, Icon::Unsteady, p.ink, |ui| {
            let line = prose::body(ui, text);
            prose::announce(&line, Live::Polite);
        });
    });
}

fn seat(words: &CircleWords, circle: &Circle, member: &Member, selected: bool) -> Seat {
    let facts = facts(circle, member);
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
            Role::Leader => Some(Icon::Lantern),
            Role::Listener => Some(Icon::Ear),
            Role::Participant => None,
        },
        state: match (member.connection, member.muted) {
            (Connection::Away, _) => Some(Icon::Moon),
            (Connection::Unsteady, _) => Some(Icon::Unsteady),
            (Connection::Good, true) => Some(Icon::MicOff),
            (Connection::Good, false) => None,
        },
        place: facts.place_in_line,
        selected,
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

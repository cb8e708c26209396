//! The bar inside a circle, always in the same place: whether one is heard, and what one can do.

use egui::accesskit::Live;
use egui::{Rect, Ui, UiBuilder, pos2, vec2};
use undertone_node::api::{Circle, Command, Heard, PublicKey, Role};

use super::Screen;
use crate::text::CircleWords;
use crate::theme::{Palette, space, type_scale};
use crate::view_state::{Asking, MemberMenu, PartingWay, Thanked};
use crate::widgets::{Icon, Press, prose};

/// A window lower than this has no line to spare.
const LOW: f32 = 420.0;
/// Narrower than this, the line on being heard is set small.
const TIGHT: f32 = 460.0;

fn name_of<'a>(words: &CircleWords, circle: &'a Circle, key: PublicKey) -> &'a str {
    if key == circle.me {
        return words.you;
    }
    circle
        .members
        .iter()
        .find(|m| m.key == key)
        .map_or("…", |m| m.name.as_str())
}

/// Draws the bar into `room`; `with_side` adds the way to the leader's panel, which has no room beside.
pub(super) fn show(
    ui: &mut Ui,
    screen: &mut Screen<'_>,
    circle: &Circle,
    room: Rect,
    with_side: bool,
) {
    let p = Palette::of(ui);
    ui.painter().rect_filled(room, 0.0, p.surface);
    ui.painter()
        .hline(room.x_range(), room.top(), egui::Stroke::new(1.0, p.line));
    let inner = room.shrink2(vec2(space::M, 10.0));
    ui.scope_builder(UiBuilder::new().max_rect(inner), |ui| {
        ui.spacing_mut().item_spacing.y = space::S;
        let thanked = screen.view.inside.thanked();
        said(ui, &screen.words.circle, circle, thanked);
        buttons(ui, screen, circle, with_side);
    });
    ui.add_space(10.0);
}

/// Why one is not heard, beyond not having the turn.
fn unheard(words: &CircleWords, circle: &Circle) -> Option<&'static str> {
    let me = circle.members.iter().find(|m| m.key == circle.me)?;
    match (circle.heard, me.role) {
        (Heard::Yes | Heard::NoVoice, _) => None,
        _ if me.silenced => Some(words.silenced),
        _ if circle.frozen && !circle.leading => Some(words.frozen_unheard),
        (_, Role::Newcomer) => Some(words.newcomer),
        (_, Role::Listener) => Some(words.listener),
        _ => None,
    }
}

/// Whether one is heard, and who is next or was just thanked: two lines in words.
fn said(ui: &mut Ui, words: &CircleWords, circle: &Circle, thanked: Option<&Thanked>) {
    let p = Palette::of(ui);
    let holder = circle
        .turn
        .as_ref()
        .map(|turn| name_of(words, circle, turn.holder));
    let my_turn = circle
        .turn
        .as_ref()
        .is_some_and(|turn| turn.holder == circle.me);
    let heard = if let Some(why) = unheard(words, circle) {
        why.to_owned()
    } else if my_turn && circle.heard == Heard::Muted {
        words.heard_leader_muted.to_owned()
    } else {
        (words.heard)(circle.heard, holder)
    };
    let (icon, ink) = match circle.heard {
        Heard::Yes => (Icon::Mic, p.accent),
        Heard::NoVoice => (Icon::MicOff, p.danger),
        Heard::Muted | Heard::NotYourTurn => (Icon::Ear, p.ink_soft),
    };
    let queue = if circle.queue.is_empty() {
        words.queue_empty.to_owned()
    } else {
        let names: Vec<&str> = circle
            .queue
            .iter()
            .map(|key| name_of(words, circle, *key))
            .collect();
        format!("{}: {}", words.queue, names.join(", "))
    };
    let queue = |ui: &mut Ui| match thanked {
        Some(thanked) => thanks(ui, words, circle, thanked),
        None => {
            prose::small(ui, &queue);
        }
    };
    let roomy = ui.available_width() > 720.0;
    if roomy {
        egui::Sides::new()
            .height(22.0)
            .shrink_right()
            .truncate()
            .show(ui, |ui| status(ui, icon, ink, &heard), queue);
    } else {
        status(ui, icon, ink, &heard);
        // The ring says by number who is next; in a small window that must do.
        if ui.ctx().content_rect().height() > LOW {
            ui.horizontal(queue);
        }
    }
}

/// Somebody has just thanked somebody. Read in full by a screen reader; for the eye, a heart marks whom.
fn thanks(ui: &mut Ui, words: &CircleWords, circle: &Circle, thanked: &Thanked) {
    let p = Palette::of(ui);
    let from = name_of(words, circle, thanked.from);
    let whom = name_of(words, circle, thanked.subject);
    let shown = (words.thanks)(from, thanked.gratitude);
    let sentence = (words.thanks_sentence)(from, whom, thanked.gratitude);
    let heart = |ui: &mut Ui| {
        let (at, _) = ui.allocate_exact_size(vec2(18.0, 18.0), egui::Sense::hover());
        Icon::Heart.paint(ui.painter(), at, p.accent);
    };
    let from_right = ui.layout().prefer_right_to_left();
    if !from_right {
        heart(ui);
    }
    let line = prose::one_line(ui, &shown, type_scale::small_strong(), p.ink);
    prose::announce(&line, Live::Polite);
    ui.ctx()
        .accesskit_node_builder(line.id, |node| node.set_value(sentence));
    if from_right {
        heart(ui);
    }
}

fn status(ui: &mut Ui, icon: Icon, ink: egui::Color32, heard: &str) {
    ui.horizontal_top(|ui| {
        let (rect, _) = ui.allocate_exact_size(vec2(18.0, 20.0), egui::Sense::hover());
        icon.paint(ui.painter(), rect, ink);
        let roomy = ui.available_width() > TIGHT;
        let line = if roomy {
            prose::strong(ui, heard)
        } else {
            prose::small(ui, heard)
        };
        prose::announce(&line, Live::Polite);
    });
}

/// Microphone, share and pass in the middle, leave at the right: always the same place.
fn buttons(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Circle, with_side: bool) {
    let words = &screen.words.circle;
    let lead = &screen.words.leader;
    let in_line = circle.queue.contains(&circle.me);
    let my_turn = circle
        .turn
        .as_ref()
        .is_some_and(|turn| turn.holder == circle.me);

    let row = ui.available_rect_before_wrap();
    // Where there is no room for it, thanks are on each person's card.
    let with_thanks = !with_side || row.width() > 430.0;
    let slots = 4.0 + f32::from(u8::from(with_side)) + f32::from(u8::from(with_thanks));
    let width = ((row.width() - (slots - 1.0) * space::S) / slots).clamp(60.0, 132.0);
    let step = width + space::S;
    let leave_at = row.right() - width;
    let group = step * (slots - 1.0) - space::S;
    let start = (row.center().x - group / 2.0)
        .min(leave_at - group - space::S)
        .max(row.left());
    let top = row.top();

    let mut slot = 0.0;
    let mut lowest = top;
    let mut put = |ui: &mut Ui, left: f32, enabled: bool, press: Press<'_>| {
        let at = Rect::from_min_size(pos2(left, top), vec2(width, 64.0));
        let inner = ui.scope_builder(UiBuilder::new().max_rect(at), |ui| {
            ui.add_enabled(enabled, press.stacked().min_width(width))
        });
        lowest = lowest.max(inner.response.rect.bottom());
        inner.inner
    };
    let mut next = || {
        let left = start + slot * step;
        slot += 1.0;
        left
    };

    let short = width < 112.0;
    let (mic, mic_name, icon) = match (circle.muted, short) {
        (true, false) => (words.open_mic, words.mic_is_closed, Icon::MicOff),
        (true, true) => (words.open_mic_short, words.mic_is_closed, Icon::MicOff),
        (false, false) => (words.close_mic, words.mic_is_open, Icon::Mic),
        (false, true) => (words.close_mic_short, words.mic_is_open, Icon::Mic),
    };
    let mic = Press::secondary(mic)
        .icon(icon)
        .on(!circle.muted)
        .name(mic_name);
    if put(ui, next(), true, mic).clicked() {
        screen.send(Command::SetMuted(!circle.muted));
    }

    let (share, share_name) = match (in_line, short) {
        (true, false) => (words.hand_is_up, words.hand_is_up),
        (true, true) => (words.hand_is_up_short, words.hand_is_up),
        (false, false) => (words.share, words.share),
        (false, true) => (words.share_short, words.share),
    };
    let share = Press::secondary(share)
        .icon(Icon::Hand)
        .on(in_line)
        .name(share_name);
    let takes_turns = circle
        .members
        .iter()
        .any(|m| m.key == circle.me && m.role.takes_turns());
    if put(ui, next(), takes_turns && !my_turn, share).clicked() {
        screen.send(if in_line {
            Command::Pass
        } else {
            Command::RaiseHand
        });
    }

    let pass = Press::secondary(words.pass)
        .icon(Icon::Pass)
        .name(words.pass_name);
    if put(ui, next(), in_line || my_turn, pass).clicked() {
        screen.send(Command::Pass);
    }

    if with_thanks {
        let whom = screen
            .view
            .inside
            .spoke_last
            .and_then(|key| circle.members.iter().find(|m| m.key == key));
        let name = whom.map_or_else(
            || words.thank_nobody.to_owned(),
            |m| (words.thank_name)(&m.name),
        );
        let press = Press::secondary(words.thank).icon(Icon::Heart).name(&name);
        if put(ui, next(), whom.is_some(), press).clicked() {
            screen.view.inside.select(whom.map(|m| m.key));
            screen.view.inside.menu = Some(MemberMenu::Thank);
        }
    }

    if with_side {
        let open = screen.view.inside.side_open || screen.view.inside.selected().is_some();
        let label = if open { lead.ring } else { lead.panel };
        let waiting = circle.applicants.len();
        let label = if waiting > 0 && !open {
            format!("{label} ({waiting})")
        } else {
            label.to_owned()
        };
        let icon = if open { Icon::Circle } else { Icon::Lantern };
        if put(ui, next(), true, Press::secondary(&label).icon(icon)).clicked() {
            screen.view.inside.side_open = !open;
            screen.view.inside.select(None);
        }
    }

    let leave = Press::danger(words.leave)
        .icon(Icon::Leave)
        .name(words.leave_name);
    if put(ui, leave_at, true, leave).clicked() {
        screen.view.inside.asking = Some(Asking::Parting(PartingWay::Leave));
    }
    ui.allocate_rect(
        Rect::from_min_max(row.left_top(), pos2(row.right(), lowest)),
        egui::Sense::hover(),
    );
}

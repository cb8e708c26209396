//! The door: the charter in plain words, then screening, pledge and terms, each statement ticked on its
//! own, then the signature.

use egui::Ui;
use undertone_node::api::{AdmissionMode, Command, Consent, Door, Pace, Relay};
use undertone_protocol::texts::{ClauseText, Texts};

use super::shell::{Foot, FootPress, gap, page};
use super::{Screen, changes, texts_of};
use crate::text::{DoorWords, Words};
use crate::theme::{COLUMN, Palette, space};
use crate::view_state::{AtDoor, DoorPage};
use crate::widgets::{Choice, Icon, prose};

/// A name for each page.
pub(super) fn key(page: DoorPage) -> &'static str {
    match page {
        DoorPage::Charter => "door-charter",
        DoorPage::Screening => "door-screening",
        DoorPage::Pledge => "door-pledge",
        DoorPage::Terms => "door-terms",
    }
}

/// What is ticked on a page.
fn clauses(texts: &'static Texts, page: DoorPage) -> Vec<&'static ClauseText> {
    match page {
        DoorPage::Charter => Vec::new(),
        DoorPage::Screening => texts
            .screening
            .iter()
            .chain(std::iter::once(&texts.adult))
            .collect(),
        DoorPage::Pledge => texts.pledge.iter().collect(),
        DoorPage::Terms => texts.terms.iter().collect(),
    }
}

/// How many statements of these are still to be ticked.
fn left_to_tick<'a>(door: &AtDoor, clauses: impl IntoIterator<Item = &'a ClauseText>) -> usize {
    clauses
        .into_iter()
        .filter(|c| !door.ticked.contains(c.mark))
        .count()
}

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>, door: &Door) {
    screen.view.stand_at(door.circle);
    let words = screen.words;
    let now = screen.view.door.page;
    let texts = texts_of(door);
    let known = texts.hash() == door.texts;
    let clauses = clauses(texts, now);
    let left = left_to_tick(&screen.view.door, clauses.iter().copied());
    let complete = left_to_tick(&screen.view.door, texts.clauses()) == 0;
    let foot = Foot {
        back: Some(if now == DoorPage::Charter {
            words.door.away
        } else {
            words.app.back
        }),
        hint: (now != DoorPage::Charter).then(|| (words.door.left_to_tick)(left)),
        next: Some(match now {
            DoorPage::Charter => (words.door.charter_next, known),
            DoorPage::Screening | DoorPage::Pledge => (words.app.next, left == 0),
            DoorPage::Terms => (words.door.sign, complete && known),
        }),
    };
    let pressed = page(ui, key(now), COLUMN, &foot, |ui| match now {
        DoorPage::Charter => charter(ui, words, door, texts, known),
        DoorPage::Screening => {
            heads(
                ui,
                words,
                1,
                words.door.screening_title,
                words.door.screening_intro,
            );
            ticks(ui, &mut screen.view.door, &clauses, false);
        }
        DoorPage::Pledge => {
            heads(
                ui,
                words,
                2,
                words.door.pledge_title,
                words.door.pledge_intro,
            );
            ticks(ui, &mut screen.view.door, &clauses, true);
        }
        DoorPage::Terms => {
            heads(ui, words, 3, words.door.terms_title, words.door.terms_intro);
            ticks(ui, &mut screen.view.door, &clauses, true);
            gap(ui, space::S);
            prose::small(ui, &(words.door.sign_about)(texts.version));
        }
    });
    match (pressed, now) {
        (None, _) => {}
        (Some(FootPress::Back), DoorPage::Charter) => screen.send(Command::Leave),
        (Some(FootPress::Back), DoorPage::Screening) => screen.view.door.page = DoorPage::Charter,
        (Some(FootPress::Back), DoorPage::Pledge) => screen.view.door.page = DoorPage::Screening,
        (Some(FootPress::Back), DoorPage::Terms) => screen.view.door.page = DoorPage::Pledge,
        (Some(FootPress::Next), DoorPage::Charter) => screen.view.door.page = DoorPage::Screening,
        (Some(FootPress::Next), DoorPage::Screening) => screen.view.door.page = DoorPage::Pledge,
        (Some(FootPress::Next), DoorPage::Pledge) => screen.view.door.page = DoorPage::Terms,
        (Some(FootPress::Next), DoorPage::Terms) => sign(screen, texts),
    }
}

fn sign(screen: &mut Screen<'_>, texts: &Texts) {
    let door = &screen.view.door;
    // In the order of reading, which is the order of the texts.
    let accepted: Vec<String> = texts
        .clauses()
        .filter(|clause| door.ticked.contains(clause.mark))
        .map(|clause| clause.mark.to_owned())
        .collect();
    screen.send(Command::SignPledge(Consent { accepted }));
}

fn heads(ui: &mut Ui, words: &Words, step: usize, title: &str, intro: &str) {
    prose::small(ui, &(words.app.step)(step, 3));
    prose::title(ui, title);
    prose::soft(ui, intro);
    gap(ui, space::M);
}

fn ticks(ui: &mut Ui, door: &mut AtDoor, clauses: &[&'static ClauseText], cited: bool) {
    for clause in clauses {
        let ticked = door.ticked.contains(clause.mark);
        let mut line = Choice::tick(ticked, clause.full);
        if cited {
            line = line.mark(clause.mark);
        }
        if ui.add(line).clicked() {
            if ticked {
                door.ticked.remove(clause.mark);
            } else {
                door.ticked.insert(clause.mark);
            }
        }
    }
}

fn charter(ui: &mut Ui, words: &Words, door: &Door, texts: &Texts, known: bool) {
    let p = Palette::of(ui);
    let say = &words.door;
    prose::small(ui, say.charter_kicker);
    prose::title(ui, &door.title);
    if door.practice {
        gap(ui, space::XS);
        prose::tinted(ui, p.accent_soft, p.accent, |ui| {
            prose::with_icon(ui, Icon::Sprout, p.accent, |ui| {
                prose::body(ui, say.charter_practice);
            });
        });
    }
    if !known {
        gap(ui, space::XS);
        prose::tinted(ui, p.voice_soft, p.voice, |ui| {
            prose::with_icon(ui, Icon::Note, p.ink, |ui| {
                prose::body(ui, say.unknown_texts);
            });
        });
    }
    gap(ui, space::M);
    if let Some(before) = changes::signed_before(door, texts) {
        changes::card(ui, say, before, texts);
        gap(ui, space::S);
    }
    prose::card(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 14.0;
        for (icon, label, value) in facts(say, door) {
            fact(ui, icon, label, &value);
        }
    });
    for through in &door.relays {
        gap(ui, space::S);
        relay(ui, say, through);
    }
    gap(ui, space::S);
    prose::card(ui, |ui| {
        prose::heading(ui, words.welcome.is_not);
        gap(ui, space::XS);
        for line in texts.is_not {
            prose::with_icon(ui, Icon::Dot, p.ink_soft, |ui| {
                prose::body(ui, line);
            });
        }
    });
}

/// Whoever runs a relay, by the card it has signed.
fn relay(ui: &mut Ui, say: &DoorWords, relay: &Relay) {
    prose::card(ui, |ui| {
        prose::heading(
            ui,
            match (relay.is_entry, relay.is_hub) {
                (true, false) => say.relay_in,
                (false, true) => say.relay_meet,
                _ => say.relay,
            },
        );
        let Some(card) = &relay.card else {
            prose::body(ui, say.relay_silent);
            return;
        };
        prose::small(ui, say.relay_own_words);
        gap(ui, space::XS);
        ui.spacing_mut().item_spacing.y = 14.0;
        let name = card.name.as_deref().unwrap_or(say.relay_unnamed);
        let complain = card.complain.as_deref().unwrap_or(say.relay_nowhere);
        fact(ui, Icon::People, say.relay_by, name);
        fact(ui, Icon::Eye, say.relay_sees, &card.sees);
        fact(ui, Icon::Note, say.relay_keeps, &card.keeps);
        fact(ui, Icon::Speech, say.relay_complain, complain);
    });
}

/// The charter, line by line.
fn facts(say: &DoorWords, door: &Door) -> Vec<(Icon, &'static str, String)> {
    let admission = match door.admission {
        AdmissionMode::Approval => say.admission_ask,
        AdmissionMode::Invite => say.admission_invite,
        AdmissionMode::Open => say.admission_open,
    };
    let listener = if door.listener_welcome {
        say.listener_yes
    } else {
        say.listener_no
    };
    let schedule = door
        .schedule
        .iter()
        .map(|when| (Icon::Calendar, say.schedule, when.clone()));
    let about = [(Icon::Circle, say.about, door.topic.clone())];
    let rest = [
        (
            Icon::Speech,
            say.language,
            (say.language_name)(&door.language),
        ),
        (Icon::People, say.size, (say.size_value)(door.max_members)),
        (Icon::Clock, say.turns, (say.turns_value)(door.turn)),
        (Icon::Door, say.admission, admission.to_owned()),
        (Icon::Ear, say.listener, listener.to_owned()),
        (
            Icon::Link,
            say.travel,
            match door.pace {
                Pace::Usual => (say.travel_value)(door.route).to_owned(),
                Pace::Thin => format!("{} {}", (say.travel_value)(door.route), say.thin),
            },
        ),
        (Icon::Eye, say.address, door.who_sees_address.clone()),
    ];
    about.into_iter().chain(schedule).chain(rest).collect()
}

fn fact(ui: &mut Ui, icon: Icon, label: &str, value: &str) {
    let accent = Palette::of(ui).accent;
    prose::with_icon(ui, icon, accent, |ui| {
        if ui.available_width() < 360.0 {
            prose::small(ui, label);
            prose::body(ui, value);
            return;
        }
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            ui.scope(|ui| {
                ui.set_width(120.0);
                prose::soft(ui, label);
            });
            ui.vertical(|ui| prose::body(ui, value));
        });
    });
}

#[cfg(test)]
mod tests {
    use undertone_protocol::texts;

    use super::*;

    #[test]
    fn the_pages_together_show_every_statement_once_and_in_order() {
        let texts = texts::of_language("es");
        let shown: Vec<_> = [DoorPage::Screening, DoorPage::Pledge, DoorPage::Terms]
            .into_iter()
            .flat_map(|page| clauses(texts, page))
            .map(|c| c.mark)
            .collect();
        let all: Vec<_> = texts.clauses().map(|c| c.mark).collect();
        assert_eq!(shown, all);
    }
}

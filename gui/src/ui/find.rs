//! Finding a circle: what leaders have announced in the directories of relays, by topic and language.

use egui::Ui;
use egui::accesskit::Live;
use undertone_node::api::{Command, Listed, Search};
use undertone_node::clock::unix_minute;
use undertone_protocol::directory::plain;

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use super::start::language_picker;
use crate::text::FindWords;
use crate::theme::{COLUMN, Palette, TARGET, space};
use crate::view_state::Lobby;
use crate::widgets::{Icon, Press, prose};

/// Longest topic that is looked for, in letters.
const LONGEST: usize = 60;
/// Longest list of ways to relays, in letters.
const LONGEST_RELAYS: usize = 2_048;

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.find;
    let foot = Foot {
        back: Some(screen.words.app.back),
        ..Foot::default()
    };
    if screen.view.find.relays.is_empty() {
        let known = &screen.snapshot.relays;
        screen.view.find.relays.clone_from(known);
    }
    let pressed = page(ui, "find", COLUMN + 80.0, &foot, |ui| {
        prose::title(ui, words.title);
        prose::soft(ui, words.intro);
        gap(ui, space::M);
        question(ui, screen);
        gap(ui, space::M);
        answer(ui, screen);
    });
    if pressed == Some(FootPress::Back) {
        screen.view.lobby = Lobby::Home;
        screen.view.warned_of = None;
    }
}

fn question(ui: &mut Ui, screen: &mut Screen<'_>) {
    let (words, languages) = (&screen.words.find, screen.words.start.languages);
    let form = &mut screen.view.find;
    prose::field(
        ui,
        words.relays,
        "/ip4/…/p2p/…/p2p-circuit/ip4/…/p2p/…",
        &mut form.relays,
        LONGEST_RELAYS,
    );
    prose::small(ui, words.relays_about);
    gap(ui, space::S);
    prose::beside(
        ui,
        170.0,
        [
            &mut |ui: &mut Ui| {
                language_picker(ui, words.language, languages, &mut form.language);
            },
            &mut |ui: &mut Ui| {
                prose::field(ui, words.topic, words.topic_hint, &mut form.topic, LONGEST);
            },
        ],
    );
    prose::small(ui, words.topic_about);
    gap(ui, space::S);
    let search = Search {
        relays: form.relays.trim().to_owned(),
        language: form.language.clone(),
    };
    let looking = (screen.snapshot.found.as_ref())
        .is_some_and(|found| found.result.is_none() && found.search == search);
    let go = Press::primary(words.go).icon(Icon::Circle);
    let possible = !search.relays.is_empty() && !looking;
    if ui.add_enabled(possible, go).clicked() {
        screen.send(Command::FindCircles(search));
    }
}

fn answer(ui: &mut Ui, screen: &mut Screen<'_>) {
    let (snapshot, words) = (screen.snapshot, &screen.words.find);
    let Some(found) = &snapshot.found else {
        return;
    };
    let say = |ui: &mut Ui, text: &str| {
        let line = prose::body(ui, text);
        prose::announce(&line, Live::Polite);
    };
    match &found.result {
        None => {
            say(ui, words.looking);
            // Something that changes shows that it goes on.
            ui.spinner();
        }
        Some(Err(problem)) => say(ui, &(words.failed)(problem)),
        Some(Ok(circles)) => {
            let topic = screen.view.find.topic.clone();
            let shown: Vec<_> = circles.iter().filter(|c| is_about(c, &topic)).collect();
            say(ui, &(words.how_many)(shown.len(), circles.len()));
            for circle in shown {
                gap(ui, space::S);
                card(ui, screen, circle);
            }
        }
    }
}

/// Whether a circle is about this, as far as its words say: each of the words stands in its topic or its name.
fn is_about(circle: &Listed, topic: &str) -> bool {
    let text = plain(&format!("{} {}", circle.topic, circle.title));
    plain(topic).split(' ').all(|word| text.contains(word))
}

fn card(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Listed) {
    let words = &screen.words.find;
    let accent = Palette::of(ui).accent;
    let icon = match circle.next_meeting {
        None => Icon::Door,
        Some(_) => Icon::Clock,
    };
    prose::card(ui, |ui| {
        prose::with_icon(ui, icon, accent, |ui| {
            prose::heading(ui, &circle.title);
            prose::body(ui, &circle.topic);
            prose::soft(ui, &when(words, circle, unix_minute()));
            if let Some(schedule) = &circle.schedule {
                prose::small(ui, schedule);
            }
            prose::small(ui, (words.coming_in)(circle.admission));
            if circle.listener_welcome {
                prose::small(ui, words.listener);
            }
            gap(ui, space::S);
            to_door(ui, screen, circle);
        });
    });
}

/// Where another relay would see one's address than those one asked, that is said first, and asked.
fn to_door(ui: &mut Ui, screen: &mut Screen<'_>, circle: &Listed) {
    let words = &screen.words.find;
    let name = (words.to_door_name)(&circle.title);
    let is_elsewhere = !circle.strangers.is_empty();
    if is_elsewhere {
        prose::small(ui, &(words.elsewhere)(&circle.strangers));
    }
    let go = Press::secondary(words.to_door)
        .icon(Icon::Door)
        .name(&name)
        .min_width(TARGET);
    if ui.add(go).clicked()
        && let Some(command) = screen.view.go_to_door(&circle.link, is_elsewhere)
    {
        screen.send(command);
    }
    all_the_same(ui, screen, &circle.link, words.sees_address);
}

/// Asks whether to go to this door, if one wanted to and was told what that shows. What answers is elsewhere than what
/// was pressed: pressing twice is no answer.
pub(super) fn all_the_same(ui: &mut Ui, screen: &mut Screen<'_>, link: &str, why: &str) {
    let words = &screen.words.find;
    if screen.view.warned_of.as_deref() != Some(link) {
        return;
    }
    gap(ui, space::S);
    prose::announce(&prose::body(ui, why), Live::Polite);
    let answers = ui.horizontal_wrapped(|ui| {
        if ui
            .add(Press::secondary(words.not_now).min_width(TARGET))
            .clicked()
        {
            screen.view.warned_of = None;
        }
        if ui
            .add(Press::secondary(words.to_door_all_the_same))
            .clicked()
            && let Some(command) = screen.view.go_all_the_same()
        {
            screen.send(command);
        }
    });
    if std::mem::take(&mut screen.view.just_warned) {
        answers.response.scroll_to_me(None);
    }
}

/// Whether people may come now, or when it meets; and how many may come.
fn when(words: &FindWords, circle: &Listed, minute: u64) -> String {
    let when = match circle.next_meeting {
        None => words.open_now.to_owned(),
        Some(meeting) if meeting <= minute => words.has_begun.to_owned(),
        Some(meeting) => (words.begins_in)(meeting - minute),
    };
    format!("{when} · {}", (words.seats)(circle.seats))
}

#[cfg(test)]
mod tests {
    use undertone_node::api::{AdmissionMode, CircleId, RouteKind};

    use super::*;
    use crate::text::Language;

    fn circle(topic: &str, next_meeting: Option<u64>) -> Listed {
        Listed {
            circle: CircleId::from_bytes([1; 32]),
            topic: topic.to_owned(),
            title: "Tuesday evenings".to_owned(),
            language: "en".to_owned(),
            admission: AdmissionMode::Approval,
            seats: 3,
            next_meeting,
            schedule: None,
            listener_welcome: false,
            route: RouteKind::Relay,
            link: String::new(),
            strangers: Vec::new(),
        }
    }

    #[test]
    fn topics_are_found_by_their_words_whatever_their_letters() {
        let circle = circle("Living with a parent who drinks", None);
        for about in ["", "  ", "PARENT", "drinks  living", "tuesday parent"] {
            assert!(is_about(&circle, about), "{about}");
        }
        for other in ["grief", "parent grief"] {
            assert!(!is_about(&circle, other), "{other}");
        }
    }

    #[test]
    fn it_is_said_when_one_may_come() {
        let words = &Language::English.words().find;
        let said = |meeting| when(words, &circle("x", meeting), 1_000);
        assert_eq!(said(None), "Open now · 3 seats");
        assert_eq!(said(Some(1_000)), "Has begun · 3 seats");
        assert_eq!(said(Some(1_090)), "Begins in 1 hour 30 minutes · 3 seats");
        assert_eq!(
            said(Some(1_000 + 3 * 24 * 60 + 5 * 60 + 12)),
            "Begins in 3 days 5 hours · 3 seats"
        );
    }
}

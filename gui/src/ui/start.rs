//! Founding a circle.

use egui::{ComboBox, Ui};
use undertone_node::api::{AdmissionMode, Command, FloorMode, RouteKind};

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::text::StartWords;
use crate::theme::{COLUMN, space, type_scale};
use crate::view_state::{DraftForm, Lobby};
use crate::widgets::{Choice, prose};

const LONGEST: usize = 60;
const TURNS: [u64; 6] = [1, 2, 3, 5, 8, 10];

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let words = &screen.words.start;
    if screen.view.draft.relay.is_empty() {
        let known = &screen.snapshot.relays;
        screen.view.draft.relay.clone_from(known);
    }
    let missing = missing(words, &screen.view.draft);
    let foot = Foot {
        back: Some(screen.words.app.back),
        hint: missing.map(str::to_owned),
        next: Some((words.go, missing.is_none())),
    };
    let draft = &mut screen.view.draft;
    let pressed = page(ui, "start", COLUMN, &foot, |ui| {
        prose::title(ui, words.title);
        prose::soft(ui, words.intro);
        gap(ui, space::M);
        prose::field(ui, words.topic, words.topic_hint, &mut draft.topic, LONGEST);
        gap(ui, space::S);
        prose::field(
            ui,
            words.circle_name,
            words.circle_name_hint,
            &mut draft.title,
            LONGEST,
        );
        gap(ui, space::S);
        prose::field(
            ui,
            words.schedule,
            words.schedule_hint,
            &mut draft.schedule,
            LONGEST,
        );
        gap(ui, space::M);
        numbers(ui, words, draft);
        gap(ui, space::M);
        admission(ui, words, draft);
        gap(ui, space::M);
        floor(ui, words, draft);
        gap(ui, space::M);
        travel(ui, words, screen.words.door.travel_value, draft);
        gap(ui, space::M);
        if ui
            .add(Choice::tick(draft.listener_welcome, words.listener))
            .clicked()
        {
            draft.listener_welcome = !draft.listener_welcome;
        }
    });
    match pressed {
        Some(FootPress::Back) => screen.view.lobby = Lobby::Home,
        Some(FootPress::Next) => {
            let draft = screen.view.draft.draft();
            screen.send(Command::StartCircle(draft));
        }
        None => {}
    }
}

/// What the form still lacks.
fn missing(words: &StartWords, draft: &DraftForm) -> Option<&'static str> {
    if draft.topic.trim().is_empty() {
        Some(words.missing_topic)
    } else if draft.title.trim().is_empty() {
        Some(words.missing_title)
    } else if draft.relayed && draft.relay.trim().is_empty() {
        Some(words.missing_relay)
    } else {
        None
    }
}

fn numbers(ui: &mut Ui, words: &StartWords, draft: &mut DraftForm) {
    let (mut language, mut turn, mut most) = (
        draft.language.clone(),
        draft.turn_minutes,
        draft.max_members,
    );
    prose::beside(
        ui,
        170.0,
        [
            &mut |ui: &mut Ui| {
                language_picker(ui, words.language, words.languages, &mut language);
            },
            &mut |ui: &mut Ui| {
                let label = prose::strong(ui, words.turn);
                picker(ui, label.id, (words.minutes)(turn), |ui| {
                    for minutes in TURNS {
                        ui.selectable_value(&mut turn, minutes, (words.minutes)(minutes));
                    }
                });
            },
            &mut |ui: &mut Ui| {
                let label = prose::strong(ui, words.most);
                picker(ui, label.id, most.to_string(), |ui| {
                    for people in 2..=16 {
                        ui.selectable_value(&mut most, people, people.to_string());
                    }
                });
            },
        ],
    );
    (draft.language, draft.turn_minutes, draft.max_members) = (language, turn, most);
}

/// One of the languages, by code and name.
pub(super) fn language_picker(
    ui: &mut Ui,
    label: &str,
    languages: &[(&str, &str)],
    chosen: &mut String,
) {
    let label = prose::strong(ui, label);
    let known = languages.iter().find(|(code, _)| code == chosen);
    let shown = known.map_or("", |(_, name)| *name).to_owned();
    picker(ui, label.id, shown, |ui| {
        for (code, name) in languages {
            ui.selectable_value(chosen, (*code).to_owned(), *name);
        }
    });
}

pub(super) fn picker(ui: &mut Ui, label: egui::Id, shown: String, add: impl FnOnce(&mut Ui)) {
    ComboBox::from_id_salt(label)
        .selected_text(egui::RichText::new(shown).font(type_scale::body()))
        .width(ui.available_width())
        .truncate()
        .show_ui(ui, add)
        .response
        .labelled_by(label);
}

fn admission(ui: &mut Ui, words: &StartWords, draft: &mut DraftForm) {
    prose::heading(ui, words.who);
    for (mode, text, remark) in [
        (AdmissionMode::Approval, words.ask_me, words.ask_me_remark),
        (
            AdmissionMode::Invite,
            words.by_invite,
            words.by_invite_remark,
        ),
        (AdmissionMode::Open, words.open_door, words.open_door_remark),
    ] {
        if ui
            .add(Choice::one_of(draft.admission == mode, text).remark(remark))
            .clicked()
        {
            draft.admission = mode;
        }
    }
}

fn floor(ui: &mut Ui, words: &StartWords, draft: &mut DraftForm) {
    prose::heading(ui, words.floor);
    for (mode, text, remark) in [
        (FloorMode::Active, words.floor_led, words.floor_led_remark),
        (
            FloorMode::Passive,
            words.floor_passes,
            words.floor_passes_remark,
        ),
    ] {
        if ui
            .add(Choice::one_of(draft.floor == mode, text).remark(remark))
            .clicked()
        {
            draft.floor = mode;
        }
    }
}

fn travel(
    ui: &mut Ui,
    words: &StartWords,
    says: fn(RouteKind) -> &'static str,
    draft: &mut DraftForm,
) {
    prose::heading(ui, words.travel);
    for (relayed, text, remark) in [
        (false, words.direct, words.direct_remark),
        (true, words.relay, words.relay_remark),
    ] {
        if ui
            .add(Choice::one_of(draft.relayed == relayed, text).remark(remark))
            .clicked()
        {
            draft.relayed = relayed;
        }
    }
    if draft.relayed {
        gap(ui, space::XS);
        prose::field(
            ui,
            words.relay_field,
            "/ip4/…/p2p/…/p2p-circuit/ip4/…/p2p/…",
            &mut draft.relay,
            2_048,
        );
        if let Some(kind) = draft.draft().route.kind() {
            gap(ui, space::XS);
            prose::small(ui, says(kind));
        }
        gap(ui, space::XS);
        let thin = Choice::tick(draft.thin, words.thin).remark(words.thin_remark);
        if ui.add(thin).clicked() {
            draft.thin = !draft.thin;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Language;

    #[test]
    fn a_circle_needs_a_topic_a_name_and_where_it_says_so_a_relay() {
        let words = &Language::English.words().start;
        let mut draft = DraftForm::default();
        assert_eq!(missing(words, &draft), Some(words.missing_topic));
        draft.topic = "grief".to_owned();
        draft.title = "   ".to_owned();
        assert_eq!(missing(words, &draft), Some(words.missing_title));
        draft.title = "Tuesday".to_owned();
        assert_eq!(missing(words, &draft), None);
        draft.relayed = true;
        assert_eq!(missing(words, &draft), Some(words.missing_relay));
    }
}

//! Whatever has a number or a name in it, in English.

use std::time::Duration;

use undertone_dsp::{Character, Difference};
use undertone_node::api::{Connection, Gratitude, Role};

use crate::text::MemberFacts;

pub(super) fn character_name(character: Character) -> &'static str {
    match character {
        Character::Free => "Any",
        Character::Low => "Low",
        Character::Middle => "Middle",
        Character::High => "High",
        Character::Warm => "Warm",
        Character::Bright => "Bright",
        Character::Soft => "Soft",
        Character::Clear => "Clear",
    }
}

pub(super) fn character_remark(character: Character) -> &'static str {
    match character {
        Character::Free => "The hardest to recognise",
        Character::Low => "A low voice",
        Character::Middle => "Neither low nor high",
        Character::High => "A high voice",
        Character::Warm => "A darker colour",
        Character::Bright => "A lighter colour",
        Character::Soft => "Gentle, with more breath",
        Character::Clear => "Distinct, with less breath",
    }
}

pub(super) fn difference_is(difference: &Difference) -> String {
    let way = |amount: f32| if amount < 0.0 { "lower" } else { "higher" };
    let pitch = difference.pitch_semitones;
    let semitones = if pitch.abs() == 1.0 {
        "semitone"
    } else {
        "semitones"
    };
    let moved = difference.resonances_percent;
    format!(
        "Pitch {:.0} {semitones} {}, resonances {:.0} % {}, colour {:.0} dB apart. It says how much is changed, not how \
         well that hides you.",
        pitch.abs(),
        way(pitch),
        moved.abs(),
        way(moved),
        difference.colour_db
    )
}

pub(super) fn language_name(code: &str) -> String {
    super::WORDS
        .start
        .languages
        .iter()
        .find(|(known, _)| *known == code)
        .map_or_else(|| code.to_owned(), |(_, name)| (*name).to_owned())
}

pub(super) fn gratitude(what: Gratitude) -> &'static str {
    match what {
        Gratitude::ForSharing => "Thank you for sharing",
        Gratitude::IHearYou => "I hear you",
        Gratitude::NotAlone => "You are not alone",
        Gratitude::ForListening => "Thank you for listening",
    }
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "Leader",
        Role::CoLeader => "Co-leader",
        Role::Participant => "Participant",
        Role::Listener => "Listener",
        Role::Newcomer => "Newcomer",
    }
}

pub(super) fn role_remark(role: Role) -> &'static str {
    match role {
        Role::Leader => "Founded the circle, or took it over.",
        Role::CoLeader => "Lets people in, removes and gives turns, as you do.",
        Role::Participant => "Takes turns.",
        Role::Listener => "Hears everybody, and is not heard.",
        Role::Newcomer => "Listens for the first two hours.",
    }
}

/// For how long somebody is removed, in a word or two.
pub(super) fn removal_span(minutes: Option<u64>) -> &'static str {
    match minutes {
        None => "For good",
        Some(0..=60) => "An hour",
        Some(61..=1_440) => "A day",
        Some(_) => "A week",
    }
}

/// "two minutes", "1 minute 30 seconds": exact, for rules.
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let part = |count: u64, unit: &str| match count {
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    match (seconds / 60, seconds % 60) {
        (0, seconds) => part(seconds, "second"),
        (minutes, 0) => part(minutes, "minute"),
        (minutes, seconds) => format!("{} {}", part(minutes, "minute"), part(seconds, "second")),
    }
}

/// "3 days 5 hours": a time ahead in its two largest units.
pub(super) fn long_span(minutes: u64) -> String {
    let part = |count: u64, unit: &str| match count {
        0 => String::new(),
        1 => format!("1 {unit}"),
        count => format!("{count} {unit}s"),
    };
    let (days, hours, minutes) = (minutes / 1_440, minutes / 60 % 24, minutes % 60);
    let parts = match (days, hours) {
        (0, 0) => return part(minutes.max(1), "minute"),
        (0, hours) => [part(hours, "hour"), part(minutes, "minute")],
        (days, hours) => [part(days, "day"), part(hours, "hour")],
    };
    parts.join(" ").trim_end().to_owned()
}

/// "two minutes left": rounded, for the ear and the eye.
pub(super) fn time_left(left: Duration) -> String {
    const SMALL: [&str; 11] = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    let seconds = left.as_secs();
    if seconds >= 55 {
        let minutes = (seconds + 30) / 60;
        let count = usize::try_from(minutes)
            .ok()
            .and_then(|m| SMALL.get(m))
            .map_or_else(|| minutes.to_string(), |word| (*word).to_owned());
        let unit = if minutes == 1 { "minute" } else { "minutes" };
        return format!("{count} {unit} left");
    }
    if seconds >= 10 {
        return format!("{} seconds left", (seconds + 5) / 10 * 10);
    }
    "a few seconds left".to_owned()
}

fn ordinal(place: usize) -> String {
    const WORDS: [&str; 10] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
        "tenth",
    ];
    place
        .checked_sub(1)
        .and_then(|i| WORDS.get(i))
        .map_or_else(|| format!("number {place}"), |word| (*word).to_owned())
}

/// "Quiet Heron, speaking, two minutes left".
pub(super) fn member_sentence(m: &MemberFacts<'_>) -> String {
    let mut parts = vec![m.name.to_owned()];
    let mut say = |part: &str| parts.push(part.to_owned());
    if m.me {
        say("this is you");
    }
    if let Some(role) = role_mark(m.role) {
        say(role);
    }
    match (m.speaking, m.turn_left) {
        (true, _) => say("speaking"),
        (false, Some(_)) => say("has the turn"),
        (false, None) => {}
    }
    if let Some(left) = m.turn_left {
        say(&time_left(left));
    }
    if let Some(place) = m.place_in_line {
        say(&format!("{} in line", ordinal(place)));
    }
    match m.connection {
        Connection::Good => {}
        Connection::Unsteady => say("connection unsteady"),
        Connection::Coming => say("connecting, not heard yet"),
        Connection::Away => say("away for a moment, seat kept"),
    }
    if m.silenced {
        say("silenced by the leader");
    } else if m.muted && m.connection.is_heard() {
        say("microphone off");
    }
    parts.join(", ")
}

/// A role that is said with the name.
fn role_mark(role: Role) -> Option<&'static str> {
    match role {
        Role::Leader => Some("leads"),
        Role::CoLeader => Some("leads too"),
        Role::Listener => Some("listener"),
        Role::Newcomer => Some("new here"),
        Role::Participant => None,
    }
}

/// A word or two under a name.
pub(super) fn member_marks(m: &MemberFacts<'_>) -> String {
    let mut marks = Vec::new();
    if m.me {
        marks.push("you");
    }
    marks.extend(role_mark(m.role));
    let listens = matches!(m.role, Role::Listener | Role::Newcomer);
    match (m.connection, m.speaking, m.muted) {
        (Connection::Away, _, _) => marks.push("away"),
        (Connection::Coming, _, _) => marks.push("connecting"),
        _ if m.thanked => marks.push("thanked"),
        _ if m.silenced => marks.push("silenced"),
        (_, true, _) => marks.push("speaking"),
        (Connection::Unsteady, false, _) => marks.push("unsteady"),
        (Connection::Good, false, true) if !listens => marks.push("muted"),
        (Connection::Good, false, _) => {}
    }
    marks.join(" · ")
}

pub(super) fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

pub(super) fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str) -> MemberFacts<'_> {
        MemberFacts {
            name,
            me: false,
            role: Role::Participant,
            speaking: false,
            muted: false,
            silenced: false,
            thanked: false,
            connection: Connection::Good,
            place_in_line: None,
            turn_left: None,
        }
    }

    #[test]
    fn a_member_reads_as_one_sentence() {
        let heron = MemberFacts {
            speaking: true,
            turn_left: Some(Duration::from_secs(121)),
            ..facts("Quiet Heron")
        };
        assert_eq!(
            member_sentence(&heron),
            "Quiet Heron, speaking, two minutes left"
        );
        let fox = MemberFacts {
            me: true,
            role: Role::Leader,
            muted: true,
            place_in_line: Some(2),
            ..facts("Amber Fox")
        };
        assert_eq!(
            member_sentence(&fox),
            "Amber Fox, this is you, leads, second in line, microphone off"
        );
        let coming = MemberFacts {
            muted: true,
            connection: Connection::Coming,
            ..facts("Soft Larch")
        };
        assert_eq!(member_marks(&coming), "connecting");
        let away = MemberFacts {
            muted: true,
            connection: Connection::Away,
            ..facts("Slow River")
        };
        assert_eq!(
            member_sentence(&away),
            "Slow River, away for a moment, seat kept"
        );
    }

    #[test]
    fn time_is_rounded_as_people_say_it() {
        let left = |s| time_left(Duration::from_secs(s));
        assert_eq!(left(180), "three minutes left");
        assert_eq!(left(89), "one minute left");
        assert_eq!(left(55), "one minute left");
        assert_eq!(left(54), "50 seconds left");
        assert_eq!(left(10), "10 seconds left");
        assert_eq!(left(3), "a few seconds left");
        assert_eq!(left(60 * 15), "15 minutes left");
    }

    #[test]
    fn spans_are_exact() {
        assert_eq!(span(Duration::from_secs(180)), "3 minutes");
        assert_eq!(span(Duration::from_secs(61)), "1 minute 1 second");
        assert_eq!(span(Duration::from_secs(45)), "45 seconds");
    }

    #[test]
    fn long_spans_say_two_units() {
        let spans = [0, 1, 59, 60, 61, 1_440, 1_500, 2_880 + 59].map(long_span);
        let said = [
            "1 minute",
            "1 minute",
            "59 minutes",
            "1 hour",
            "1 hour 1 minute",
            "1 day",
            "1 day 1 hour",
            "2 days",
        ];
        assert_eq!(spans, said);
    }

    #[test]
    fn nothing_promises_anonymity() {
        // The voice is "harder to recognise", never "anonymous".
        let words = &crate::text::en::WORDS;
        for text in [words.voice.honest, words.voice.intro, words.welcome.intro] {
            assert!(!text.to_lowercase().contains("anonym"), "{text}");
        }
    }
}

//! English.

use std::time::Duration;

use undertone_dsp::Character;
use undertone_node::api::{Connection, Heard, Role, RouteKind};

use super::{
    AppWords, AppearanceWords, CircleWords, ConnectingWords, DoorWords, FarewellWords, HomeWords,
    LeaderWords, MemberFacts, NameWords, StartWords, VoiceWords, WaitingWords, WelcomeWords, Words,
};

pub(super) const WORDS: Words = Words {
    app: AppWords {
        name: "Undertone",
        quick_exit: "Quick exit",
        quick_exit_keys: "Ctrl+Q",
        quick_exit_hint: "Ends sound and connection and closes this window, at once. Ctrl+Q or F12 do the same.",
        appearance: "Text size and colours",
        letters: "Aa",
        understood: "Understood",
        back: "Back",
        next: "Go on",
        step: |step, of| format!("Step {step} of {of}"),
        no_display: "There is no display here, so the window cannot open.\n\
            Start undertone from a desktop, or set DISPLAY or WAYLAND_DISPLAY to the one you want.\n\
            Without a desktop, `undertone-node` takes part from a terminal.",
        no_library: |library, package| {
            format!(
                "The window needs {library}, which is not installed here.\n\
                 On Debian and Ubuntu: sudo apt install {package}"
            )
        },
    },
    welcome: WelcomeWords {
        title: "A quiet place to talk, and to be heard",
        intro: "Undertone brings a few people together, by voice, around something they share. You come under a \
            name you make up, and your voice is changed before it leaves this computer, so that it is harder to recognise.",
        is_not: "What a circle is not",
        adults: "Undertone is for adults only.",
        begin: "I am 18 or older, let's begin",
    },
    name: NameWords {
        title: "Your name here",
        intro: "This is what others will call you. Take this one, ask for another, or make one up.",
        field: "Your name in circles",
        again: "Another name",
        advice: "Please no real name, and no nickname that people know you by.",
        emblem: "Each circle draws you a new emblem, so that nobody can follow you from one circle to the next.",
        too_long: "That is a little long: 40 letters are the most.",
        empty: "A name needs at least one letter.",
        keep: "Keep this name",
    },
    voice: VoiceWords {
        title: "Your voice",
        intro: "Put on headphones if you have some, and say a few words. Others only ever hear the changed voice.",
        microphone: "Microphone",
        headphones: "Headphones or speakers",
        system_choice: |device| match device {
            Some(device) => format!("The system's choice ({device})"),
            None => "The system's choice".to_owned(),
        },
        look_again: "Look for devices again",
        level_in: "What the microphone hears",
        level_out: "What others would hear",
        level_silent: "nothing yet",
        level_quiet: "quiet, come a little closer",
        level_good: "good",
        level_loud: "very loud, move back a little",
        hear: "Hear yourself as others will",
        stop_hearing: "Stop hearing yourself",
        hear_advice: "With loudspeakers you may hear an echo. Headphones end it.",
        character: "How you would like to sound",
        character_name,
        character_remark,
        new_setting: "Change how it is changed",
        new_setting_remark: "Takes a new secret setting. Each circle has its own in any case.",
        honest: "Your voice becomes harder to recognise. Your words, and the way you put them, stay your own: \
            somebody who knows you well may still guess.",
        done: "I sound fine",
        trouble: "There is no sound at the moment",
    },
    home: HomeWords {
        title: |name| format!("Welcome, {name}"),
        intro: "Where would you like to go?",
        practice: "Practice circle",
        practice_about: "A few made-up companions on this computer, who take turns. Nothing leaves it. \
            A safe place to try every button.",
        practice_take_part: "Practise taking part",
        practice_lead: "Practise leading",
        join: "Join with an invite",
        join_about: "Somebody gave you a link. You read its rules before anybody there sees you.",
        join_field: "Invite link",
        paste: "Paste",
        join_go: "Go to the door",
        start: "Start a circle",
        start_about: "You lead it, decide who comes in, and invite people with a link.",
        start_go: "Start a circle",
        change_name: "Change my name",
        change_voice: "Change my voice",
    },
    start: StartWords {
        title: "Start a circle",
        intro: "People read this at the door, before they come in.",
        topic: "What it is about",
        topic_hint: "for example: living with a parent who drinks",
        circle_name: "What the circle is called",
        circle_name_hint: "for example: Tuesday evenings",
        language: "Language",
        languages: &[
            ("en", "English"),
            ("es", "Español"),
            ("fr", "Français"),
            ("de", "Deutsch"),
            ("pt", "Português"),
            ("it", "Italiano"),
            ("nl", "Nederlands"),
            ("pl", "Polski"),
            ("uk", "Українська"),
            ("ru", "Русский"),
            ("tr", "Türkçe"),
            ("ar", "العربية"),
            ("hi", "हिन्दी"),
        ],
        who: "Who may come in",
        ask_me: "I am asked about each person",
        ask_me_remark: "You see a name and decide. The calmest choice for a circle of strangers.",
        by_invite: "Everybody with the invite",
        by_invite_remark: "Whoever has the link and signs the pledge is let in by itself.",
        most: "Most people at once",
        turn: "Longest turn",
        minutes: |minutes| {
            if minutes == 1 {
                "1 minute".to_owned()
            } else {
                format!("{minutes} minutes")
            }
        },
        listener: "A listener may attend (a social worker, say), always shown as such",
        travel: "How the sound travels",
        direct: "Straight between members",
        direct_remark: "The shortest way. Members' computers can see each other's internet address.",
        relay: "Through a community relay",
        relay_remark: "Members do not see each other's address; the relay sees addresses, but hears nothing.",
        relay_field: "Address of the relay",
        go: "Open the circle",
        missing_topic: "Say in a few words what it is about.",
        missing_title: "Give the circle a name.",
        missing_relay: "Paste the relay's address.",
    },
    connecting: ConnectingWords {
        title: "One moment",
        so_far: |since| match since.as_secs() {
            0..=2 => "just started".to_owned(),
            seconds => format!("for {seconds} seconds so far"),
        },
        long: "This takes longer than usual. You can go on waiting, or try again later.",
        cancel: "Stop waiting",
    },
    door: DoorWords {
        charter_kicker: "At the door",
        charter_practice: "This is practice: everybody you meet is made up and lives on this computer.",
        charter_next: "Read on",
        about: "It is about",
        language: "People speak",
        language_name,
        size: "How many",
        size_value: |max| format!("at most {max} people"),
        turns: "Turns",
        turns_value: |turn| {
            format!(
                "One person speaks at a time, for up to {}. Passing is as good as speaking.",
                span(turn)
            )
        },
        admission: "Coming in",
        admission_ask: "The leader is asked about each person.",
        admission_open: "Whoever has the invite and signs the pledge may come in.",
        listener: "Listeners",
        listener_yes: "A listener, a social worker for example, may attend, and is always shown as one.",
        listener_no: "No listeners. Everybody here takes part.",
        travel: "Sound travels",
        travel_value: |route| match route {
            RouteKind::Direct => "Straight between members, sealed.",
            RouteKind::Relay => "Through one relay, sealed: the relay cannot listen.",
        },
        address: "Your address",
        screening_title: "Is this circle for you?",
        screening_intro: "Three statements, and nothing more is asked. Tick each one that is true.",
        pledge_title: "The pledge",
        pledge_intro: "What everybody here promises everybody else. Tick each one you accept.",
        terms_title: "The terms",
        terms_intro: "How people treat each other here. Tick each one you accept.",
        left_to_tick: |left| match left {
            0 => "All ticked.".to_owned(),
            1 => "One more to tick.".to_owned(),
            left => format!("{left} more to tick."),
        },
        sign: "Sign and knock",
        sign_about: |version| {
            format!(
                "You sign these very words (version {version}) with a key made for this circle only. No real name is in it."
            )
        },
        away: "Step back",
    },
    waiting: WaitingWords {
        title: "You have knocked",
        asked: "The leader sees the name you chose, and nothing else, and will let you in when it fits. \
            That can take a little while.",
        open: "You are being let in.",
        step_back: "Step back from the door",
    },
    circle: CircleWords {
        ring: |people| match people {
            1 => "The circle: only you so far".to_owned(),
            people => format!("The circle: {people} people"),
        },
        member: member_sentence,
        marks: member_marks,
        time_left,
        your_turn: "It is your turn",
        nobody: "Nobody is speaking",
        nobody_hint: "Whoever would like to share can say so below.",
        open_mic: "Microphone off",
        close_mic: "Microphone on",
        open_mic_short: "Mic off",
        close_mic_short: "Mic on",
        mic_is_open: "Your microphone is on. Press to close it.",
        mic_is_closed: "Your microphone is off. Press to open it.",
        share: "I'd like to share",
        hand_is_up: "You are in line",
        share_short: "Share",
        hand_is_up_short: "In line",
        pass: "Pass",
        pass_name: "Pass: leave the line, or give your turn back",
        leave: "Leave",
        leave_name: "Leave the circle",
        heard: |heard, holder| {
            match (heard, holder) {
            (Heard::Yes, _) => "You are heard.".to_owned(),
            (Heard::Muted, _) => "Your microphone is off, so nobody hears you.".to_owned(),
            (Heard::NotYourTurn, Some(holder)) => {
                format!("You are not heard now: {holder} is speaking, and you are listening.")
            }
            (Heard::NotYourTurn, None) => {
                "You are not heard yet. Say that you'd like to share, and a turn will come.".to_owned()
            }
            (Heard::NoVoice, _) => {
                "You are not heard: your voice cannot be changed right now, so only silence is sent.".to_owned()
            }
        }
        },
        heard_leader_muted: "It is your turn. Open your microphone when you are ready.",
        queue: "Next to share",
        queue_empty: "Nobody is in line.",
        you: "you",
        disconnected: "The connection is gone. Your seat is kept, and the sound comes back by itself.",
        unverified: "It is not certain that the leader's latest decisions have arrived here.",
        volume: "How loud for me",
        volume_value: |percent| format!("{percent} %"),
        close_card: "Close",
        practice: "Practice",
    },
    leader: LeaderWords {
        panel: "Leading",
        ring: "The circle",
        knocking: "At the door",
        nobody_knocks: "Nobody is waiting.",
        admit: "Let in",
        admit_name: |name| format!("Let {name} in"),
        refuse: "Refuse",
        refuse_name: |name| format!("Refuse {name}"),
        refused_before: "refused once before",
        auto_admit: "Let everybody with the invite in",
        turns: "Turns",
        end_turn: "End this turn",
        give_turn: "Give the turn",
        give_next: |name| format!("Give the turn to {name}"),
        auto_turns: "Give turns by themselves, in order",
        invite: "Invite",
        invite_about: "Whoever has this link can come to the door.",
        copy: "Copy the link",
        copied: "Copied",
        remove: "Remove from the circle",
        remove_about: "Choosing a reason removes them at once: no more sound, and no way back in.",
        remove_for: |name, mark, short| format!("Remove {name} now, for {mark}: {short}"),
        log: "What was decided",
        log_empty: "Nothing so far.",
        log_admitted: |name| format!("{name} was let in"),
        log_removed: |name, mark, short| {
            format!("{name} was removed ({mark}, {})", lower_first(short))
        },
        log_durable: "kept for good",
        log_writing: "being written down",
        log_time: |minute| format!("{:02}:{:02} UTC", minute / 60, minute % 60),
    },
    farewell: FarewellWords {
        left_title: "You have left the circle",
        left: "The sound has ended and nothing of it was kept. Whatever you heard stays there; whatever you \
            carried there, you carried among people who know it too.",
        removed_title: "You are no longer in this circle",
        removed: |title| {
            format!(
                "The leader of “{title}” has asked you to go, and this circle will not let you in again."
            )
        },
        removed_clause: |mark| format!("The reason given, clause {mark}"),
        removed_after: "That can hurt, and it is not a judgement of who you are. Other circles stay open to you.",
        refused_title: "Not this time",
        refused_again: "The leader did not let you in just now. You may knock once more.",
        refused_final: "The leader did not let you in, and this circle's door stays closed for you. There are other circles.",
        nobody_title: "Nobody is there",
        nobody: "Nobody answered behind this invite. The circle may be over, not open yet, or the link may have \
            lost a piece on its way. You can try again, or ask whoever gave it to you.",
        home: "Back to the start",
    },
    appearance: AppearanceWords {
        title: "Text size and colours",
        theme: "Colours",
        follow: "As the system",
        light: "Light",
        dark: "Dark",
        size: "Text size",
        smaller: "Smaller text",
        larger: "Larger text",
        size_value: |percent| format!("{percent} %"),
        motion: "Let things move gently",
        motion_remark: "Without it, a steady ring shows who is speaking.",
    },
};

fn character_name(character: Character) -> &'static str {
    match character {
        Character::Free => "Any",
        Character::Low => "Low",
        Character::Middle => "Middle",
        Character::High => "High",
        Character::Warm => "Warm",
        Character::Bright => "Bright",
    }
}

fn character_remark(character: Character) -> &'static str {
    match character {
        Character::Free => "The hardest to recognise",
        Character::Low => "A low voice",
        Character::Middle => "Neither low nor high",
        Character::High => "A high voice",
        Character::Warm => "A darker colour",
        Character::Bright => "A lighter colour",
    }
}

fn language_name(code: &str) -> String {
    WORDS
        .start
        .languages
        .iter()
        .find(|(known, _)| *known == code)
        .map_or_else(|| code.to_owned(), |(_, name)| (*name).to_owned())
}

/// "two minutes", "1 minute 30 seconds": exact, for rules.
fn span(duration: Duration) -> String {
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

/// "two minutes left": rounded, for the ear and the eye.
fn time_left(left: Duration) -> String {
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
fn member_sentence(m: &MemberFacts<'_>) -> String {
    let mut parts = vec![m.name.to_owned()];
    let mut say = |part: &str| parts.push(part.to_owned());
    if m.me {
        say("this is you");
    }
    match m.role {
        Role::Leader => say("leads"),
        Role::Listener => say("listener"),
        Role::Participant => {}
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
        Connection::Away => say("away for a moment, seat kept"),
    }
    if m.muted && m.connection != Connection::Away {
        say("microphone off");
    }
    parts.join(", ")
}

/// A word or two under a name.
fn member_marks(m: &MemberFacts<'_>) -> String {
    let mut marks = Vec::new();
    if m.me {
        marks.push("you");
    }
    match m.role {
        Role::Leader => marks.push("leads"),
        Role::Listener => marks.push("listener"),
        Role::Participant => {}
    }
    match (m.connection, m.speaking, m.muted) {
        (Connection::Away, _, _) => marks.push("away"),
        (_, true, _) => marks.push("speaking"),
        (Connection::Unsteady, false, _) => marks.push("unsteady"),
        (Connection::Good, false, true) if m.role != Role::Listener => marks.push("muted"),
        (Connection::Good, false, _) => {}
    }
    marks.join(" · ")
}

fn lower_first(text: &str) -> String {
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
    fn nothing_promises_anonymity() {
        // The voice is "harder to recognise", never "anonymous".
        for text in [WORDS.voice.honest, WORDS.voice.intro, WORDS.welcome.intro] {
            assert!(!text.to_lowercase().contains("anonym"), "{text}");
        }
    }
}

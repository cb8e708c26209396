//! English.

mod sentences;

use undertone_node::api::{AdmissionMode, Heard, RouteKind};

use self::sentences::{
    character_name, character_remark, difference_is, gratitude, language_name, long_span,
    lower_first, member_marks, member_sentence, removal_span, role_name, role_remark, span,
    time_left, upper_first,
};
use super::{
    AppWords, AppearanceWords, AskingWords, CircleWords, ConnectingWords, DoorWords, FarewellWords,
    FindWords, HomeWords, LeaderWords, MemberWords, NameWords, StartWords, VoiceWords,
    WaitingWords, WelcomeWords, Words,
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
        difference: "How much of your own voice is changed",
        difference_is,
        difference_unknown: "Say a few words to see it.",
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
        clean_up: "What the microphone leaves out",
        clean_echo: "The echo of others",
        clean_echo_remark: "Needed with loudspeakers: nobody hears themselves come back",
        clean_noise: "Noise in the room",
        clean_noise_remark: "A fan or the street would say where you are",
        clean_gain: "Too low, too loud",
        clean_gain_remark: "Brings your voice slowly to a good level",
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
        find: "Find a circle",
        find_about: "What leaders have announced through community relays. No relay learns which topic you look for; the relay of a circle you go to sees that you come.",
        find_go: "Look for a circle",
        join: "Join with an invite",
        join_about: "Somebody gave you a link. You read its rules before anybody there sees you.",
        join_field: "Invite link",
        paste: "Paste",
        join_go: "Go to the door",
        join_direct: "This circle uses no relay: whoever made the link, and everybody in the circle, sees your internet address \
            as soon as you go to the door.",
        start: "Start a circle",
        start_about: "You lead it, decide who comes in, and invite people with a link.",
        start_go: "Start a circle",
        change_name: "Change my name",
        change_voice: "Change my voice",
    },
    find: FindWords {
        title: "Find a circle",
        intro: "Circles that are open now, and circles that meet soon, as their leaders have announced them.",
        relays: "A community relay, or several",
        relays_about: "Ask whoever runs one for its address. The relay sees that your computer asks, and in which language, but not about what.",
        language: "People speak",
        topic: "About",
        topic_hint: "for example: grief",
        topic_about: "All circles in the language are fetched, and looked through here: your topic stays on this computer. \
            The relay of a circle whose door you go to sees that somebody comes there.",
        go: "Look",
        looking: "Asking the relays …",
        failed: |problem| {
            format!("That did not work: {problem}. You can try again, or ask another relay.")
        },
        how_many: |shown, all| match (shown, all) {
            (_, 0) => {
                "No circle is announced in this language just now. Look again later, or start one."
                    .to_owned()
            }
            (0, all) => {
                format!("None of the {all} circles in this language says that it is about this.")
            }
            (1, 1) => "One circle.".to_owned(),
            (shown, all) if shown == all => format!("{all} circles."),
            (shown, all) => format!("{shown} of {all} circles."),
        },
        open_now: "Open now",
        has_begun: "Has begun",
        begins_in: |minutes| format!("Begins in {}", long_span(minutes)),
        seats: |seats| match seats {
            1 => "1 seat".to_owned(),
            seats => format!("{seats} seats"),
        },
        coming_in: |admission| match admission {
            AdmissionMode::Approval => "The leader is asked about each person.",
            AdmissionMode::Invite => "Each invite lets one person in.",
            AdmissionMode::Open => "Anybody may come in, and listens first.",
        },
        listener: "A listener, a social worker for example, may attend.",
        to_door: "Go to the door",
        to_door_name: |title| format!("Go to the door of {title}"),
        elsewhere: |relays| {
            let relays: Vec<_> = relays.iter().map(ToString::to_string).collect();
            format!(
                "Its door is at another relay than you asked: {}.",
                relays.join(", ")
            )
        },
        sees_address: "Its leader chose that relay. Whoever runs it sees your internet address when you go there. \
            Leaders you do not know may have chosen one of their own.",
        to_door_all_the_same: "Go there all the same",
        not_now: "Not now",
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
        by_invite: "Whoever has a personal invite",
        by_invite_remark: "Each invite lets one person in, once. Any member may pass one on to somebody they trust.",
        open_door: "Anybody, the door is open",
        open_door_remark: "A puzzle keeps a newcomer's computer busy for about ten seconds, and newcomers listen for two \
            hours first. This is no protection against somebody's return: whoever was removed can come back under a \
            new name.",
        floor: "How turns are given",
        floor_led: "I give the turns",
        floor_led_remark: "You decide who speaks next.",
        floor_passes: "Turns pass on by themselves",
        floor_passes_remark: "In the order of raised hands. You can change this at any time.",
        schedule: "When it meets, if it meets again",
        schedule_hint: "for example: Tuesdays at 20:00, London time",
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
        relay: "Through community relays",
        relay_remark: "Members do not see each other's address; a relay sees addresses, but hears nothing.",
        relay_field: "Address of the relay, or several",
        go: "Open the circle",
        missing_topic: "Say in a few words what it is about.",
        missing_title: "Give the circle a name.",
        thin: "For thin lines",
        thin_remark: "Less data for everybody, and sound a little later.",
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
        admission_invite: "Each invite lets one person in, once. Any member may pass one on.",
        admission_open: "Anybody, after a puzzle that keeps your computer busy for about ten seconds. You listen \
            for the first two hours. Nothing here keeps somebody from coming back under a new name.",
        schedule: "It meets",
        listener: "Listeners",
        listener_yes: "A listener, a social worker for example, may attend, and is always shown as one.",
        listener_no: "No listeners. Everybody here takes part.",
        travel: "Sound travels",
        travel_value: |route| match route {
            RouteKind::Direct => "Straight between members, sealed.",
            RouteKind::Relay => "Through relays, sealed: they cannot listen.",
            RouteKind::TwoHop => {
                "Through two operators' relays, sealed. One sees addresses, the other which connections share a circle; \
                 neither can listen."
            }
        },
        thin: "It is made for thin lines: less data, and sound a little later.",
        relay: "Who runs the relay",
        relay_in: "Who runs the relay you come in by",
        relay_meet: "Who runs the relay where the circle meets",
        relay_own_words: "In their own words, signed with the relay's key.",
        relay_silent: "The relay has not said who runs it.",
        relay_by: "Run by",
        relay_unnamed: "Somebody who gives no name.",
        relay_sees: "They see",
        relay_keeps: "They keep",
        relay_complain: "Complaints",
        relay_nowhere: "They name nowhere to complain.",
        address: "Your address",
        changed: "What has changed since you last signed",
        changed_about: |before, now| format!("The texts went from version {before} to {now}."),
        went: |words| format!("[was: {words}] "),
        came: |words| format!("[now: {words}] "),
        unknown_texts: "The members of this circle agreed on texts that this program does not have, so you cannot read \
            and sign them here. A newer Undertone may have them.",
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
        invited: "Your invite is being looked at, and then you are let in by itself.",
        open: "Your computer is solving a puzzle, about ten seconds. Then you are let in, to listen for the first \
            two hours.",
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
        thank: "Thank you",
        thank_name: |name| format!("Thank {name}"),
        thank_nobody: "Thank whoever spoke last",
        gratitude,
        thanks: |from, what| format!("{}: “{}”", upper_first(from), gratitude(what)),
        thanks_sentence: |from, whom, what| {
            format!("{} to {whom}: {}", upper_first(from), gratitude(what))
        },
        frozen: "The leader has paused the circle. Only whoever leads is heard until it goes on.",
        frozen_unheard: "You are not heard while the circle is paused.",
        door_closed: "The door is closed: nobody new comes in.",
        cease: "The leader asks you to stop what you are saying (term 6). Please stop, and say so.",
        cease_heard: "I have heard it",
        silenced: "You are not heard for a while: the leader has silenced you. You can go on listening.",
        newcomer: "You are new here, and listen for the first two hours. After that you can share.",
        listener: "You are here as a listener, and are not heard.",
        lead_lost: "You founded this circle, and you do not lead it now.",
        lead_again: "Take the lead again",
        invite: "Pass on an invite",
        invite_once: "This link lets one person in, once. Give it to somebody you trust.",
        invite_again: "Another invite",
    },
    asking: AskingWords {
        leave_title: "Leaving the circle",
        leave: "Leave",
        leave_remark: "The sound ends, and your seat is free for somebody else.",
        leave_go: "Leave now",
        erase: "Leave, and ask everybody to delete what they hold of me",
        erase_remark: "Your name, your pledge, and what you signed here. Honest programs delete it within 24 hours; \
            nobody can promise more.",
        erase_go: "Leave and ask them",
        end: "End the circle for good",
        end_remark: "For everybody, at once. It cannot be opened again.",
        end_go: "End it for everybody",
        stay: "Stay",
        recover_title: "Take the lead again?",
        recover_about: "The circle gets a new leading key, signed with the recovery key made when you founded it. \
            Whoever leads now no longer does, and everybody is told. What was decided so far still counts.",
        recover_go: "Take the lead",
        not_now: "Not now",
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
        close_door: "Close the door",
        open_door: "Open the door again",
        pause: "Pause the circle",
        pause_about: "Until it goes on, only you and those who lead with you are heard.",
        go_on: "Let the circle go on",
        end: "End the circle for good",
        turns: "Turns",
        end_turn: "End this turn",
        give_turn: "Give the turn",
        give_next: |name| format!("Give the turn to {name}"),
        floor_led: "I give them",
        floor_passes: "They pass on",
        extend: "+ 1 minute",
        extend_name: "Let this turn last one minute longer",
        invite: "Invite",
        invite_about: "Whoever has this link can come to the door.",
        copy: "Copy the link",
        copied: "Copied",
        directory: "Being found",
        directory_about: "Everybody can read what is announced, with the link to your door; the relay where you meet then knows what the circle is about.",
        hidden: "Only people with the link find it",
        shown_now: "Announce it: open now",
        shown_now_remark: "Until you leave, with the number of free seats.",
        shown_for: "Announce the next meeting",
        shown_for_remark: "At most a week ahead. It stays announced when you leave.",
        in_days: "In days",
        in_hours: "and hours",
        days: |days| match days {
            0 => "today".to_owned(),
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        },
        hours: |hours| match hours {
            1 => "1 hour".to_owned(),
            hours => format!("{hours} hours"),
        },
        shown_at: |minutes| match minutes {
            0 => "The meeting has begun.".to_owned(),
            minutes => format!("It begins in {}.", long_span(minutes)),
        },
        show_it: "Announce it",
        is_shown: "It is announced.",
        being_shown: "Telling the relays …",
        not_taken_back: |problem| {
            format!(
                "A relay may still show it: {problem}. It is tried again, and runs out by itself."
            )
        },
        not_shown: |problem| {
            format!("It is not announced yet: {problem}. It is tried again by itself.")
        },
        log: "What was decided",
        log_empty: "Nothing so far.",
        log_admitted: |name| format!("{name} was let in"),
        log_removed: |name, mark, short| {
            format!("{name} was removed ({mark}, {})", lower_first(short))
        },
        log_durable: "kept for good",
        log_writing: "being written down",
        log_time: |minute| format!("{:02}:{:02} UTC", minute / 60, minute % 60),
        reinstate: "Take it back",
        reinstate_name: |name| {
            format!("Take the removal of {name} back, so that they may knock again")
        },
    },
    member: MemberWords {
        thank: "Thank",
        cease: "Ask to stop",
        cease_about: "Only they are told, and asked to say that they have heard it (term 6).",
        cease_go: |name| format!("Ask {name} to stop"),
        silence: "Silence",
        silence_about: "Nobody hears them for a while. They stay, and go on hearing everybody.",
        silence_for: |name, minutes| format!("Silence {name} for {minutes} minutes"),
        silence_end: "Let them be heard again",
        refer: "Tell them alone",
        refer_about: "A number to call, for example. It is sealed so that only they can read it, and kept nowhere.",
        refer_field: |name| format!("To {name} alone"),
        refer_go: |name| format!("Tell {name}"),
        contact: "Stay in touch",
        contact_about: "Once a day, sealed so that only they can read it. They need not answer. Whatever you tell them, \
            they will know about you.",
        contact_field: |name| format!("Ask {name}, or answer"),
        contact_go: |name| format!("Send to {name}"),
        words_long: "That is a little long. Please say it shorter.",
        role: "Role",
        role_name,
        role_remark,
        remove: "Remove",
        remove_about: "A reason removes them at once.",
        remove_how_long: "For how long",
        remove_span: removal_span,
        remove_for: |name, mark, short| format!("Remove {name} now, for {mark}: {short}"),
    },
    farewell: FarewellWords {
        left_title: "You have left the circle",
        left: "The sound has ended and nothing of it was kept. Whatever you heard stays there; whatever you \
            carried there, you carried among people who know it too.",
        removed_title: "You are no longer in this circle",
        removed: |title| {
            format!(
                "The leader of “{title}” has asked you to go. Its door is closed to you, for good or for the time the leader has set."
            )
        },
        removed_clause: |mark| format!("The reason given, clause {mark}"),
        removed_after: "That can hurt, and it is not a judgement of who you are. Other circles stay open to you.",
        ask_again: "Ask at the door",
        ask_again_about: "If whoever leads has taken it back, ask at the door. Your name and key there stay the same.",
        refused_title: "Not this time",
        refused_again: "The leader did not let you in just now. You may knock once more.",
        refused_final: "The leader did not let you in, and this circle's door stays closed for you. There are other circles.",
        closed_title: "The circle has ended",
        closed: "Its leader has closed it for everybody, and for good. The sound has ended and nothing of it was kept. \
            What was said there stays among those who were there.",
        nobody_title: "Nobody is there",
        nobody: "Nobody answered behind this invite. The circle may be over, not open yet, or the link may have \
            lost a piece on its way. You can try again, or ask whoever gave it to you.",
        no_relay_title: "The relay could not be reached",
        no_relay: "So nothing is known of the circle, and the invite may be as good as before. The relay may be full, or \
            switched off for a while, or this computer is not on the internet. You can try again later.",
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

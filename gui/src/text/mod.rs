//! All words of the window, one file a language. A language is a [`Words`]: the compiler says what a new
//! one still lacks. Whatever has a number or a name in it is a function, because languages differ in how.
//!
//! The texts people sign are not here: their hash is signed, so they live in `undertone_protocol::texts`.

mod en;
mod pseudonyms;

use std::net::IpAddr;
use std::time::Duration;

use undertone_dsp::{Character, Difference};
use undertone_node::api::{AdmissionMode, Connection, Gratitude, Heard, Role, RouteKind};

pub(crate) use pseudonyms::suggest;

/// Languages the window speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Language {
    /// English.
    #[default]
    English,
}

impl Language {
    /// The words of this language.
    pub(crate) const fn words(self) -> &'static Words {
        match self {
            Self::English => &en::WORDS,
        }
    }
}

/// What is said about somebody in the circle, for the ring, the list and the screen reader.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberFacts<'a> {
    pub(crate) name: &'a str,
    pub(crate) me: bool,
    pub(crate) role: Role,
    pub(crate) speaking: bool,
    pub(crate) muted: bool,
    /// Somebody who leads lets nobody hear them.
    pub(crate) silenced: bool,
    /// Somebody has just thanked them.
    pub(crate) thanked: bool,
    pub(crate) connection: Connection,
    /// 1 is next.
    pub(crate) place_in_line: Option<usize>,
    /// It is their turn, and this long is left.
    pub(crate) turn_left: Option<Duration>,
}

/// Everything the window says.
pub(crate) struct Words {
    pub(crate) app: AppWords,
    pub(crate) welcome: WelcomeWords,
    pub(crate) name: NameWords,
    pub(crate) voice: VoiceWords,
    pub(crate) home: HomeWords,
    pub(crate) find: FindWords,
    pub(crate) start: StartWords,
    pub(crate) connecting: ConnectingWords,
    pub(crate) door: DoorWords,
    pub(crate) waiting: WaitingWords,
    pub(crate) circle: CircleWords,
    pub(crate) asking: AskingWords,
    pub(crate) leader: LeaderWords,
    pub(crate) member: MemberWords,
    pub(crate) farewell: FarewellWords,
    pub(crate) appearance: AppearanceWords,
}

/// The frame around every screen.
pub(crate) struct AppWords {
    pub(crate) name: &'static str,
    pub(crate) quick_exit: &'static str,
    pub(crate) quick_exit_keys: &'static str,
    pub(crate) quick_exit_hint: &'static str,
    pub(crate) appearance: &'static str,
    /// A large and a small letter, for the button that leads to text sizes.
    pub(crate) letters: &'static str,
    pub(crate) understood: &'static str,
    pub(crate) back: &'static str,
    pub(crate) next: &'static str,
    pub(crate) step: fn(step: usize, of: usize) -> String,
    pub(crate) no_display: &'static str,
    pub(crate) no_library: fn(library: &str, package: &str) -> String,
}

/// What this is, and what it is not.
pub(crate) struct WelcomeWords {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) is_not: &'static str,
    pub(crate) adults: &'static str,
    pub(crate) begin: &'static str,
}

/// Choosing a pseudonym.
pub(crate) struct NameWords {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) field: &'static str,
    pub(crate) again: &'static str,
    pub(crate) advice: &'static str,
    pub(crate) emblem: &'static str,
    pub(crate) too_long: &'static str,
    pub(crate) empty: &'static str,
    pub(crate) keep: &'static str,
}

/// Microphone, headphones, and how one sounds to others.
pub(crate) struct VoiceWords {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) microphone: &'static str,
    pub(crate) headphones: &'static str,
    pub(crate) system_choice: fn(device: Option<&str>) -> String,
    pub(crate) look_again: &'static str,
    pub(crate) level_in: &'static str,
    pub(crate) level_out: &'static str,
    pub(crate) difference: &'static str,
    pub(crate) difference_is: fn(&Difference) -> String,
    pub(crate) difference_unknown: &'static str,
    pub(crate) level_silent: &'static str,
    pub(crate) level_quiet: &'static str,
    pub(crate) level_good: &'static str,
    pub(crate) level_loud: &'static str,
    pub(crate) hear: &'static str,
    pub(crate) stop_hearing: &'static str,
    pub(crate) hear_advice: &'static str,
    pub(crate) character: &'static str,
    pub(crate) character_name: fn(Character) -> &'static str,
    pub(crate) character_remark: fn(Character) -> &'static str,
    pub(crate) clean_up: &'static str,
    pub(crate) clean_echo: &'static str,
    pub(crate) clean_echo_remark: &'static str,
    pub(crate) clean_noise: &'static str,
    pub(crate) clean_noise_remark: &'static str,
    pub(crate) clean_gain: &'static str,
    pub(crate) clean_gain_remark: &'static str,
    pub(crate) new_setting: &'static str,
    pub(crate) new_setting_remark: &'static str,
    pub(crate) honest: &'static str,
    pub(crate) done: &'static str,
    pub(crate) trouble: &'static str,
}

/// Where to go.
pub(crate) struct HomeWords {
    pub(crate) title: fn(name: &str) -> String,
    pub(crate) intro: &'static str,
    pub(crate) practice: &'static str,
    pub(crate) practice_about: &'static str,
    pub(crate) practice_take_part: &'static str,
    pub(crate) practice_lead: &'static str,
    pub(crate) find: &'static str,
    pub(crate) find_about: &'static str,
    pub(crate) find_go: &'static str,
    pub(crate) join: &'static str,
    pub(crate) join_about: &'static str,
    pub(crate) join_field: &'static str,
    pub(crate) paste: &'static str,
    pub(crate) join_go: &'static str,
    pub(crate) join_direct: &'static str,
    pub(crate) start: &'static str,
    pub(crate) start_about: &'static str,
    pub(crate) start_go: &'static str,
    pub(crate) change_name: &'static str,
    pub(crate) change_voice: &'static str,
}

/// Finding a circle by topic.
pub(crate) struct FindWords {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) relays: &'static str,
    pub(crate) relays_about: &'static str,
    pub(crate) language: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) topic_hint: &'static str,
    pub(crate) topic_about: &'static str,
    pub(crate) go: &'static str,
    pub(crate) looking: &'static str,
    pub(crate) failed: fn(problem: &str) -> String,
    pub(crate) how_many: fn(shown: usize, all: usize) -> String,
    pub(crate) open_now: &'static str,
    pub(crate) has_begun: &'static str,
    pub(crate) begins_in: fn(minutes: u64) -> String,
    pub(crate) seats: fn(seats: u8) -> String,
    pub(crate) coming_in: fn(AdmissionMode) -> &'static str,
    pub(crate) listener: &'static str,
    pub(crate) to_door: &'static str,
    pub(crate) to_door_name: fn(title: &str) -> String,
    pub(crate) elsewhere: fn(relays: &[IpAddr]) -> String,
    pub(crate) sees_address: &'static str,
    pub(crate) to_door_all_the_same: &'static str,
    pub(crate) not_now: &'static str,
}

/// Founding a circle.
pub(crate) struct StartWords {
    pub(crate) title: &'static str,
    pub(crate) intro: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) topic_hint: &'static str,
    pub(crate) circle_name: &'static str,
    pub(crate) circle_name_hint: &'static str,
    pub(crate) language: &'static str,
    pub(crate) languages: &'static [(&'static str, &'static str)],
    pub(crate) who: &'static str,
    pub(crate) ask_me: &'static str,
    pub(crate) ask_me_remark: &'static str,
    pub(crate) by_invite: &'static str,
    pub(crate) by_invite_remark: &'static str,
    pub(crate) open_door: &'static str,
    pub(crate) open_door_remark: &'static str,
    pub(crate) floor: &'static str,
    pub(crate) floor_led: &'static str,
    pub(crate) floor_led_remark: &'static str,
    pub(crate) floor_passes: &'static str,
    pub(crate) floor_passes_remark: &'static str,
    pub(crate) schedule: &'static str,
    pub(crate) schedule_hint: &'static str,
    pub(crate) most: &'static str,
    pub(crate) turn: &'static str,
    pub(crate) minutes: fn(minutes: u64) -> String,
    pub(crate) listener: &'static str,
    pub(crate) travel: &'static str,
    pub(crate) direct: &'static str,
    pub(crate) direct_remark: &'static str,
    pub(crate) relay: &'static str,
    pub(crate) relay_remark: &'static str,
    pub(crate) relay_field: &'static str,
    pub(crate) go: &'static str,
    pub(crate) missing_topic: &'static str,
    pub(crate) missing_title: &'static str,
    pub(crate) thin: &'static str,
    pub(crate) thin_remark: &'static str,
    pub(crate) missing_relay: &'static str,
}

/// Waiting for something with a name.
pub(crate) struct ConnectingWords {
    pub(crate) title: &'static str,
    pub(crate) so_far: fn(Duration) -> String,
    pub(crate) long: &'static str,
    pub(crate) cancel: &'static str,
}

/// The door: charter, screening, pledge, terms.
pub(crate) struct DoorWords {
    pub(crate) charter_kicker: &'static str,
    pub(crate) charter_practice: &'static str,
    pub(crate) charter_next: &'static str,
    pub(crate) about: &'static str,
    pub(crate) language: &'static str,
    pub(crate) language_name: fn(code: &str) -> String,
    pub(crate) size: &'static str,
    pub(crate) size_value: fn(max: u8) -> String,
    pub(crate) turns: &'static str,
    pub(crate) turns_value: fn(Duration) -> String,
    pub(crate) admission: &'static str,
    pub(crate) admission_ask: &'static str,
    pub(crate) admission_invite: &'static str,
    pub(crate) admission_open: &'static str,
    pub(crate) schedule: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) listener_yes: &'static str,
    pub(crate) listener_no: &'static str,
    pub(crate) travel: &'static str,
    pub(crate) travel_value: fn(RouteKind) -> &'static str,
    pub(crate) thin: &'static str,
    pub(crate) relay: &'static str,
    pub(crate) relay_in: &'static str,
    pub(crate) relay_meet: &'static str,
    pub(crate) relay_own_words: &'static str,
    pub(crate) relay_silent: &'static str,
    pub(crate) relay_by: &'static str,
    pub(crate) relay_unnamed: &'static str,
    pub(crate) relay_sees: &'static str,
    pub(crate) relay_keeps: &'static str,
    pub(crate) relay_complain: &'static str,
    pub(crate) relay_nowhere: &'static str,
    pub(crate) address: &'static str,
    pub(crate) changed: &'static str,
    pub(crate) changed_about: fn(before: &str, now: &str) -> String,
    pub(crate) went: fn(words: &str) -> String,
    pub(crate) came: fn(words: &str) -> String,
    pub(crate) unknown_texts: &'static str,
    pub(crate) screening_title: &'static str,
    pub(crate) screening_intro: &'static str,
    pub(crate) pledge_title: &'static str,
    pub(crate) pledge_intro: &'static str,
    pub(crate) terms_title: &'static str,
    pub(crate) terms_intro: &'static str,
    pub(crate) left_to_tick: fn(usize) -> String,
    pub(crate) sign: &'static str,
    pub(crate) sign_about: fn(version: &str) -> String,
    pub(crate) away: &'static str,
}

/// Knocked, not in yet.
pub(crate) struct WaitingWords {
    pub(crate) title: &'static str,
    pub(crate) asked: &'static str,
    pub(crate) invited: &'static str,
    pub(crate) open: &'static str,
    pub(crate) step_back: &'static str,
}

/// Inside.
pub(crate) struct CircleWords {
    pub(crate) ring: fn(people: usize) -> String,
    pub(crate) member: fn(&MemberFacts<'_>) -> String,
    pub(crate) marks: fn(&MemberFacts<'_>) -> String,
    pub(crate) time_left: fn(Duration) -> String,
    pub(crate) your_turn: &'static str,
    pub(crate) nobody: &'static str,
    pub(crate) nobody_hint: &'static str,
    pub(crate) open_mic: &'static str,
    pub(crate) close_mic: &'static str,
    pub(crate) open_mic_short: &'static str,
    pub(crate) close_mic_short: &'static str,
    pub(crate) mic_is_open: &'static str,
    pub(crate) mic_is_closed: &'static str,
    pub(crate) share: &'static str,
    pub(crate) hand_is_up: &'static str,
    pub(crate) share_short: &'static str,
    pub(crate) hand_is_up_short: &'static str,
    pub(crate) pass: &'static str,
    pub(crate) pass_name: &'static str,
    pub(crate) leave: &'static str,
    pub(crate) leave_name: &'static str,
    pub(crate) heard: fn(Heard, holder: Option<&str>) -> String,
    pub(crate) heard_leader_muted: &'static str,
    pub(crate) queue: &'static str,
    pub(crate) queue_empty: &'static str,
    pub(crate) you: &'static str,
    pub(crate) disconnected: &'static str,
    pub(crate) unverified: &'static str,
    pub(crate) volume: &'static str,
    pub(crate) volume_value: fn(percent: u32) -> String,
    pub(crate) close_card: &'static str,
    pub(crate) practice: &'static str,
    pub(crate) thank: &'static str,
    pub(crate) thank_name: fn(name: &str) -> String,
    pub(crate) thank_nobody: &'static str,
    pub(crate) gratitude: fn(Gratitude) -> &'static str,
    pub(crate) thanks: fn(from: &str, Gratitude) -> String,
    pub(crate) thanks_sentence: fn(from: &str, whom: &str, Gratitude) -> String,
    pub(crate) frozen: &'static str,
    pub(crate) frozen_unheard: &'static str,
    pub(crate) door_closed: &'static str,
    pub(crate) cease: &'static str,
    pub(crate) cease_heard: &'static str,
    pub(crate) silenced: &'static str,
    pub(crate) newcomer: &'static str,
    pub(crate) listener: &'static str,
    pub(crate) lead_lost: &'static str,
    pub(crate) lead_again: &'static str,
    pub(crate) invite: &'static str,
    pub(crate) invite_once: &'static str,
    pub(crate) invite_again: &'static str,
}

/// Asked before what cannot be taken back.
pub(crate) struct AskingWords {
    pub(crate) leave_title: &'static str,
    pub(crate) leave: &'static str,
    pub(crate) leave_remark: &'static str,
    pub(crate) leave_go: &'static str,
    pub(crate) erase: &'static str,
    pub(crate) erase_remark: &'static str,
    pub(crate) erase_go: &'static str,
    pub(crate) end: &'static str,
    pub(crate) end_remark: &'static str,
    pub(crate) end_go: &'static str,
    pub(crate) stay: &'static str,
    pub(crate) recover_title: &'static str,
    pub(crate) recover_about: &'static str,
    pub(crate) recover_go: &'static str,
    pub(crate) not_now: &'static str,
}

/// The leader's side.
pub(crate) struct LeaderWords {
    pub(crate) panel: &'static str,
    pub(crate) ring: &'static str,
    pub(crate) knocking: &'static str,
    pub(crate) nobody_knocks: &'static str,
    pub(crate) admit: &'static str,
    pub(crate) admit_name: fn(name: &str) -> String,
    pub(crate) refuse: &'static str,
    pub(crate) refuse_name: fn(name: &str) -> String,
    pub(crate) refused_before: &'static str,
    pub(crate) auto_admit: &'static str,
    pub(crate) close_door: &'static str,
    pub(crate) open_door: &'static str,
    pub(crate) pause: &'static str,
    pub(crate) pause_about: &'static str,
    pub(crate) go_on: &'static str,
    pub(crate) end: &'static str,
    pub(crate) turns: &'static str,
    pub(crate) end_turn: &'static str,
    pub(crate) give_turn: &'static str,
    pub(crate) give_next: fn(name: &str) -> String,
    pub(crate) floor_led: &'static str,
    pub(crate) floor_passes: &'static str,
    pub(crate) extend: &'static str,
    pub(crate) extend_name: &'static str,
    pub(crate) invite: &'static str,
    pub(crate) invite_about: &'static str,
    pub(crate) copy: &'static str,
    pub(crate) copied: &'static str,
    pub(crate) directory: &'static str,
    pub(crate) directory_about: &'static str,
    pub(crate) hidden: &'static str,
    pub(crate) shown_now: &'static str,
    pub(crate) shown_now_remark: &'static str,
    pub(crate) shown_for: &'static str,
    pub(crate) shown_for_remark: &'static str,
    pub(crate) in_days: &'static str,
    pub(crate) in_hours: &'static str,
    pub(crate) days: fn(days: u64) -> String,
    pub(crate) hours: fn(hours: u64) -> String,
    pub(crate) shown_at: fn(minutes: u64) -> String,
    pub(crate) show_it: &'static str,
    pub(crate) is_shown: &'static str,
    pub(crate) being_shown: &'static str,
    pub(crate) not_shown: fn(problem: &str) -> String,
    pub(crate) not_taken_back: fn(problem: &str) -> String,
    pub(crate) log: &'static str,
    pub(crate) log_empty: &'static str,
    pub(crate) log_admitted: fn(name: &str) -> String,
    pub(crate) log_removed: fn(name: &str, mark: &str, short: &str) -> String,
    pub(crate) log_durable: &'static str,
    pub(crate) log_writing: &'static str,
    pub(crate) log_time: fn(minute_of_day: u64) -> String,
    pub(crate) reinstate: &'static str,
    pub(crate) reinstate_name: fn(name: &str) -> String,
}

/// What can be done about one member.
pub(crate) struct MemberWords {
    pub(crate) thank: &'static str,
    pub(crate) cease: &'static str,
    pub(crate) cease_about: &'static str,
    pub(crate) cease_go: fn(name: &str) -> String,
    pub(crate) silence: &'static str,
    pub(crate) silence_about: &'static str,
    pub(crate) silence_for: fn(name: &str, minutes: u64) -> String,
    pub(crate) silence_end: &'static str,
    pub(crate) refer: &'static str,
    pub(crate) refer_about: &'static str,
    pub(crate) refer_field: fn(name: &str) -> String,
    pub(crate) refer_go: fn(name: &str) -> String,
    pub(crate) contact: &'static str,
    pub(crate) contact_about: &'static str,
    pub(crate) contact_field: fn(name: &str) -> String,
    pub(crate) contact_go: fn(name: &str) -> String,
    pub(crate) words_long: &'static str,
    pub(crate) role: &'static str,
    pub(crate) role_name: fn(Role) -> &'static str,
    pub(crate) role_remark: fn(Role) -> &'static str,
    pub(crate) remove: &'static str,
    pub(crate) remove_about: &'static str,
    pub(crate) remove_how_long: &'static str,
    pub(crate) remove_span: fn(minutes: Option<u64>) -> &'static str,
    pub(crate) remove_for: fn(name: &str, mark: &str, short: &str) -> String,
}

/// How it ended.
pub(crate) struct FarewellWords {
    pub(crate) left_title: &'static str,
    pub(crate) left: &'static str,
    pub(crate) removed_title: &'static str,
    pub(crate) removed: fn(title: &str) -> String,
    pub(crate) removed_clause: fn(mark: &str) -> String,
    pub(crate) removed_after: &'static str,
    pub(crate) ask_again: &'static str,
    pub(crate) ask_again_about: &'static str,
    pub(crate) refused_title: &'static str,
    pub(crate) refused_again: &'static str,
    pub(crate) refused_final: &'static str,
    pub(crate) closed_title: &'static str,
    pub(crate) closed: &'static str,
    pub(crate) nobody_title: &'static str,
    pub(crate) nobody: &'static str,
    pub(crate) no_relay_title: &'static str,
    pub(crate) no_relay: &'static str,
    pub(crate) home: &'static str,
}

/// Text size, colours, motion.
pub(crate) struct AppearanceWords {
    pub(crate) title: &'static str,
    pub(crate) theme: &'static str,
    pub(crate) follow: &'static str,
    pub(crate) light: &'static str,
    pub(crate) dark: &'static str,
    pub(crate) size: &'static str,
    pub(crate) smaller: &'static str,
    pub(crate) larger: &'static str,
    pub(crate) size_value: fn(percent: u16) -> String,
    pub(crate) motion: &'static str,
    pub(crate) motion_remark: &'static str,
}

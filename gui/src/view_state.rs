//! What the window itself remembers: selections and text being typed. Everything else is the node's.

mod inside;

use std::collections::BTreeSet;
use std::time::Duration;

use egui::ThemePreference;
use undertone_node::api::{
    AdmissionMode, CircleDraft, CircleId, Command, FloorMode, Pace, RouteDraft, RouteKind, Snapshot,
};
use undertone_protocol::invite::Invite;

use crate::text;

pub(crate) use inside::{Asking, Inside, MemberMenu, PartingWay, Thanked};

/// Where somebody is who is at no circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lobby {
    /// What this is, and what it is not.
    Welcome,
    /// Choosing a name.
    Name,
    /// Hearing oneself.
    Voice,
    /// Where to go.
    Home,
    /// Finding a circle by topic.
    Find,
    /// Founding a circle.
    Start,
}

/// Where somebody wants to go who has still to choose a name and a voice, or has just come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// To the door behind this invite link.
    Invite(String),
    /// To the practice circle.
    Practice,
}

/// Whether whoever made this link, and members, see one's address as soon as one goes there: before its door can say so.
pub(crate) fn leads_straight(link: &str) -> bool {
    Invite::from_link(link).is_ok_and(|invite| invite.route == RouteKind::Direct)
}

/// The pages of the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum DoorPage {
    #[default]
    Charter,
    Screening,
    Pledge,
    Terms,
}

/// What somebody at the door has turned to and ticked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AtDoor {
    /// Which door this is about.
    pub(crate) circle: Option<CircleId>,
    /// The page open now.
    pub(crate) page: DoorPage,
    /// Marks of the clauses ticked.
    pub(crate) ticked: BTreeSet<&'static str>,
}

/// What somebody looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FindForm {
    pub(crate) relays: String,
    pub(crate) language: String,
    pub(crate) topic: String,
}

impl Default for FindForm {
    fn default() -> Self {
        Self {
            relays: String::new(),
            language: "en".to_owned(),
            topic: String::new(),
        }
    }
}

/// The form of a new circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DraftForm {
    pub(crate) topic: String,
    pub(crate) title: String,
    pub(crate) language: String,
    pub(crate) admission: AdmissionMode,
    pub(crate) max_members: u8,
    pub(crate) turn_minutes: u64,
    pub(crate) floor: FloorMode,
    pub(crate) schedule: String,
    pub(crate) listener_welcome: bool,
    pub(crate) relayed: bool,
    pub(crate) relay: String,
    pub(crate) thin: bool,
}

impl Default for DraftForm {
    fn default() -> Self {
        Self {
            topic: String::new(),
            title: String::new(),
            language: "en".to_owned(),
            admission: AdmissionMode::Approval,
            max_members: 8,
            turn_minutes: 3,
            floor: FloorMode::Active,
            schedule: String::new(),
            listener_welcome: false,
            relayed: false,
            relay: String::new(),
            thin: false,
        }
    }
}

impl DraftForm {
    /// The form as the node takes it.
    pub(crate) fn draft(&self) -> CircleDraft {
        let schedule = self.schedule.trim();
        CircleDraft {
            topic: self.topic.trim().to_owned(),
            title: self.title.trim().to_owned(),
            language: self.language.clone(),
            admission: self.admission,
            max_members: self.max_members,
            turn: Duration::from_secs(60 * self.turn_minutes),
            floor: self.floor,
            schedule: (!schedule.is_empty()).then(|| schedule.to_owned()),
            listener_welcome: self.listener_welcome,
            route: if self.relayed {
                RouteDraft::Relayed(self.relay.clone())
            } else {
                RouteDraft::Direct
            },
            pace: if self.relayed && self.thin {
                Pace::Thin
            } else {
                Pace::Usual
            },
        }
    }
}

/// Text sizes on offer, in percent.
pub(crate) const TEXT_SIZES: [u16; 9] = [80, 90, 100, 110, 125, 140, 160, 180, 200];

/// How the window looks to this person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appearance {
    /// Light, dark, or as the system.
    pub(crate) theme: ThemePreference,
    /// One of [`TEXT_SIZES`].
    pub(crate) text_percent: u16,
    /// Whether things may move.
    pub(crate) motion: bool,
}

impl Default for Appearance {
    fn default() -> Self {
        Self {
            theme: ThemePreference::System,
            text_percent: 100,
            motion: true,
        }
    }
}

impl Appearance {
    /// The next text size up.
    pub(crate) fn larger(&mut self) {
        let next = TEXT_SIZES.iter().find(|size| **size > self.text_percent);
        self.text_percent = next.copied().unwrap_or(self.text_percent);
    }

    /// The next text size down.
    pub(crate) fn smaller(&mut self) {
        let next = TEXT_SIZES
            .iter()
            .rev()
            .find(|size| **size < self.text_percent);
        self.text_percent = next.copied().unwrap_or(self.text_percent);
    }
}

/// Everything the window remembers.
#[derive(Debug, Clone)]
pub(crate) struct ViewState {
    pub(crate) lobby: Lobby,
    /// The welcome has been read.
    pub(crate) begun: bool,
    /// Name and voice are being changed, not chosen for the first time: leads back home.
    pub(crate) revisiting: bool,
    pub(crate) errand: Option<Errand>,
    pub(crate) name: String,
    pub(crate) invite: String,
    /// The link to a door, of which it was said whom going there shows one's address.
    pub(crate) warned_of: Option<String>,
    /// That was a moment ago: it has to come into view.
    pub(crate) just_warned: bool,
    pub(crate) find: FindForm,
    pub(crate) draft: DraftForm,
    pub(crate) door: AtDoor,
    pub(crate) inside: Inside,
    pub(crate) appearance: Appearance,
    pub(crate) appearance_open: bool,
}

impl ViewState {
    /// A window that was just opened on this snapshot.
    pub(crate) fn new(snapshot: &Snapshot, errand: Option<Errand>) -> Self {
        let mut view = Self {
            lobby: Lobby::Welcome,
            begun: false,
            revisiting: false,
            errand,
            name: text::suggest(""),
            invite: String::new(),
            warned_of: None,
            just_warned: false,
            find: FindForm::default(),
            draft: DraftForm::default(),
            door: AtDoor::default(),
            inside: Inside::default(),
            appearance: Appearance::default(),
            appearance_open: false,
        };
        view.recognise(snapshot);
        view
    }

    /// What to ask of the node for an errand, now that name and voice are settled.
    pub(crate) fn run_errand(&mut self) -> Option<Command> {
        match self.errand.take()? {
            Errand::Practice => Some(Command::Practice { lead: false }),
            Errand::Invite(link) => {
                let shows_address = leads_straight(&link);
                if shows_address {
                    // Where it is asked about.
                    self.invite.clone_from(&link);
                }
                self.go_to_door(&link, shows_address)
            }
        }
    }

    /// What to ask of the node for the door behind a link; nothing yet where it has to be said whom that shows one's address.
    pub(crate) fn go_to_door(&mut self, link: &str, shows_address: bool) -> Option<Command> {
        self.warned_of = shows_address.then(|| link.to_owned());
        self.just_warned = shows_address;
        (!shows_address).then(|| Command::OpenInvite(link.to_owned()))
    }

    /// The same, when it was said.
    pub(crate) fn go_all_the_same(&mut self) -> Option<Command> {
        self.warned_of.take().map(Command::OpenInvite)
    }

    /// Who has a name already needs no welcome. The node may come to know it a moment after the window
    /// has opened.
    pub(crate) fn recognise(&mut self, snapshot: &Snapshot) {
        if let (Lobby::Welcome, false, Some(name)) = (self.lobby, self.begun, &snapshot.name) {
            self.name.clone_from(name);
            self.begun = true;
            self.lobby = Lobby::Home;
        }
    }

    /// Starts afresh at the door of `circle`, unless that is where one is already.
    pub(crate) fn stand_at(&mut self, circle: CircleId) {
        if self.door.circle != Some(circle) {
            self.door = AtDoor {
                circle: Some(circle),
                ..AtDoor::default()
            };
            self.inside = Inside::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_sizes_go_from_80_to_200_percent_and_stop() {
        let mut look = Appearance::default();
        for _ in 0..20 {
            look.larger();
        }
        assert_eq!(look.text_percent, 200);
        for _ in 0..20 {
            look.smaller();
        }
        assert_eq!(look.text_percent, 80);
    }

    #[test]
    fn another_door_is_read_from_its_first_page() {
        let mut view = ViewState::new(&Snapshot::default(), None);
        let (one, other) = (CircleId::from_bytes([1; 32]), CircleId::from_bytes([2; 32]));
        view.stand_at(one);
        view.door.page = DoorPage::Terms;
        view.door.ticked.insert("a");
        view.stand_at(one);
        assert!(view.door.page == DoorPage::Terms && view.door.ticked.contains("a"));
        view.stand_at(other);
        assert!(view.door.page == DoorPage::Charter && view.door.ticked.is_empty());
    }

    #[test]
    fn a_name_known_already_leads_home() {
        let known = Snapshot {
            name: Some("Quiet Heron".to_owned()),
            ..Snapshot::default()
        };
        assert_eq!(ViewState::new(&known, None).lobby, Lobby::Home);
        assert_eq!(
            ViewState::new(&Snapshot::default(), None).lobby,
            Lobby::Welcome
        );
    }
}

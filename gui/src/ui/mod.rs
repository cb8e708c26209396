//! One file a screen. A screen draws a snapshot, changes the view state, and collects commands.

mod appearance;
mod asking;
mod care;
mod changes;
mod circle;
mod connecting;
mod controls;
mod door;
mod farewell;
mod find;
mod home;
mod leader;
mod member;
mod name;
mod shell;
mod start;
mod voice;
mod waiting;
mod welcome;

use egui::Ui;
use undertone_node::api::{Command, Door, Place, Snapshot};
use undertone_protocol::texts::{self, Texts};

use crate::text::Words;
use crate::view_state::{Lobby, ViewState};

/// The texts of this circle, in its language. Where this program does not have them, nobody signs them; what
/// it has in that language cites the same clauses.
fn texts_of(door: &Door) -> &'static Texts {
    texts::by_hash(&door.texts).unwrap_or_else(|| texts::of_language(&door.language))
}

/// What a screen has in hand while it draws.
pub(crate) struct Screen<'a> {
    /// What there is.
    pub(crate) snapshot: &'a Snapshot,
    /// What the window remembers.
    pub(crate) view: &'a mut ViewState,
    /// How it is said.
    pub(crate) words: &'static Words,
    /// What is asked of the node, in order.
    pub(crate) commands: Vec<Command>,
    /// Away, at once.
    pub(crate) quick_exit: bool,
}

impl Screen<'_> {
    /// Asks the node for something.
    pub(crate) fn send(&mut self, command: Command) {
        self.commands.push(command);
    }
}

/// A name for the screen that is shown now: where it changes, one looks at the new screen from its top.
pub(crate) fn key(snapshot: &Snapshot, view: &ViewState) -> &'static str {
    match (&snapshot.place, view.lobby) {
        (Place::Lobby, Lobby::Welcome) => "welcome",
        (Place::Lobby, Lobby::Name) => "name",
        (Place::Lobby, Lobby::Voice) => "voice",
        (Place::Lobby, Lobby::Home) => "home",
        (Place::Lobby, Lobby::Find) => "find",
        (Place::Lobby, Lobby::Start) => "start",
        (Place::Connecting(_), _) => "connecting",
        (Place::Door(_), _) => door::key(view.door.page),
        (Place::Waiting(_), _) => "waiting",
        (Place::Circle(_), _) => "circle",
        (Place::Farewell(_), _) => "farewell",
    }
}

/// Draws the whole window.
pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    shell::show(ui, screen, |ui, screen| {
        let snapshot = screen.snapshot;
        match (&snapshot.place, screen.view.lobby) {
            (Place::Lobby, Lobby::Welcome) => welcome::show(ui, screen),
            (Place::Lobby, Lobby::Name) => name::show(ui, screen),
            (Place::Lobby, Lobby::Voice) => voice::show(ui, screen),
            (Place::Lobby, Lobby::Home) => home::show(ui, screen),
            (Place::Lobby, Lobby::Find) => find::show(ui, screen),
            (Place::Lobby, Lobby::Start) => start::show(ui, screen),
            (Place::Connecting(wait), _) => connecting::show(ui, screen, wait),
            (Place::Door(door), _) => door::show(ui, screen, door),
            (Place::Waiting(door), _) => waiting::show(ui, screen, door),
            (Place::Circle(circle), _) => circle::show(ui, screen, circle),
            (Place::Farewell(farewell), _) => farewell::show(ui, screen, farewell),
        }
    });
    appearance::show(ui, screen);
}

//! The window of Undertone: it draws a node's [`Snapshot`](undertone_node::api::Snapshot) and sends
//! [`Command`](undertone_node::api::Command)s.
//!
//! ```text
//! Snapshot ──► ui/ (one file a screen) ──► widgets/ ──► egui
//!    Event ──► view_state ◄──┘ └──► Command
//! ```
//!
//! It deliberately lacks rules, sockets, sound, files, locks and threads: it decides nothing, and
//! remembers only what is selected and typed. All its words are in `text/`, all its colours and
//! distances in `theme/`.

mod app;
mod backend;
mod badge;
pub mod launch;
mod news;
mod text;
mod theme;
mod ui;
mod view_state;
mod widgets;

pub use app::App;
pub use backend::Backend;
pub use badge::badge;
pub use news::Courier;
pub use view_state::Errand;

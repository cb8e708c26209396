//! A circle as what has been said in it: [`CircleState`] is a fold over verified records, and [`policy`] is
//! the only place that knows who may do what.

mod authority;
mod chains;
mod change;
pub mod floor;
mod knocks;
pub mod policy;
mod roster;
mod state;

pub use crate::record::Role;
pub use authority::{Power, Powers, Rank};
pub use change::{Applied, Change};
pub use floor::Turn;
pub use knocks::{Applicant, MAX_APPLICANTS};
pub use policy::Refused;
pub use roster::{Member, Removed};
pub use state::CircleState;

//! A circle as what has been said in it: [`CircleState`] is a fold over verified records, and [`policy`] is
//! the only place that knows who may do what.

pub mod floor;
pub mod policy;
mod state;

pub use crate::record::Role;
pub use policy::Refused;
pub use state::{Applicant, Applied, Change, CircleState, MAX_APPLICANTS, Member, Removed};

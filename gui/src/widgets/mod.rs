//! What screens are put together from. None of them knows a command or a snapshot.

pub(crate) mod choice;
pub(crate) mod emblem;
pub(crate) mod icon;
pub(crate) mod meter;
pub(crate) mod press;
pub(crate) mod prose;
pub(crate) mod ring;
pub(crate) mod seating;

pub(crate) use choice::Choice;
pub(crate) use emblem::Emblem;
pub(crate) use icon::Icon;
pub(crate) use press::Press;

//! What needs real sockets, processes and sound: the parts from which `circle-in-a-box` and the
//! integration tests are made.
//!
//! It may do what no shipped program can: write sound to files, and lose packets on purpose.

pub mod analysis;
pub mod lossy;
pub mod person;
pub mod report;
pub mod stage;

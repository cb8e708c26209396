//! What needs real sockets, processes and sound: the parts from which `circle-in-a-box`, `sound-check` and the
//! integration tests are made.
//!
//! It may do what no shipped program can: write sound to files, and lose packets on purpose.

pub mod analysis;
pub mod attack;
pub mod bearing;
pub mod capture;
pub mod dtx;
pub mod echo;
pub mod guest;
pub mod netns;
pub mod network;
pub mod onsets;
pub mod person;
pub mod probe;
pub mod relay;
pub mod report;
pub mod sound;
pub mod speech;
pub mod stage;
pub mod watch;
pub mod weather;
pub mod words;

use std::io::Write;

/// Says that something was left out. A test that passes keeps what it prints to itself, but not this.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

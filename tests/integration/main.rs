//! What needs real sockets, processes and sound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod circles;
mod pledges;
mod processes;

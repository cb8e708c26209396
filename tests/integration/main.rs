//! What needs real sockets, processes and sound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod circles;
mod neighbours;
mod networks;
mod pledges;
mod processes;
mod sleepers;

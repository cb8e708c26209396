//! Many [`Session`](undertone_protocol::session::Session)s on a virtual clock: the same rules as in the
//! program, with a network that delays and loses what it is told to.
//!
//! It deliberately lacks sockets, threads and real time: one seed gives one run, to the last byte.

pub mod adversary;
pub mod joining;
pub mod judge;
pub mod network;
pub mod people;
pub mod removal;
pub mod scenario;
pub mod world;

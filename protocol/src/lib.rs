//! The rules of Undertone: records, who may do what, turns, removal, keys, sealing.
//!
//! It deliberately lacks sockets, threads, a clock, files and global randomness. Time and randomness
//! arrive as arguments, and what should happen in the world leaves as [`session::Output`], so that the
//! same code runs under tokio and under a simulation's virtual clock. It knows nothing of sound either:
//! a voice frame is eighty bytes.

pub mod circle;
mod cose;
pub mod directory;
pub mod id;
pub mod identity;
pub mod invite;
#[cfg(feature = "attack")]
pub mod memo;
#[cfg(not(feature = "attack"))]
mod memo;
pub mod nearby;
pub mod operator;
pub mod pledge_file;
pub mod puzzle;
pub mod record;
pub mod seal;
pub mod session;
mod signature;
pub mod texts;
pub mod voice;
#[cfg(feature = "attack")]
pub mod weakness;
#[cfg(not(feature = "attack"))]
mod weakness;

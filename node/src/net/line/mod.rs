//! Lines: the way of a member's packets to their hubs, through an entry that somebody else may run.
//!
//! ```text
//!  member                              entry                        hub
//!  inner QUIC ─► LineSocket ─► cells ═ outer QUIC ═► cells ─► UDP ─► inner QUIC
//! ```
//! The outer connection carries *cells*, all of one size: one every 20 ms from the member, and a fixed number of them to the
//! member, from joining to leaving, with or without something in them. So the line shows neither who speaks, nor
//! when a record is sent, nor how large it is. The entry sees the member's address and which hub they go to; the hub sees
//! the entry's address. The inner connection is end to end between member and hub, and the entry can read nothing of it.

mod cell;
mod client;
mod socket;
mod wire;

use cell::NUMBER;
pub(crate) use cell::{CELL, Packer, Unpacker};
pub(crate) use client::{LineConfig, start};
use wire::MAX_PACE;
pub(crate) use wire::{Answer, Open, Opened, PROTOCOL, hear, say};

use std::time::Duration;

/// A cell goes out every so often; to a member several may, evenly spread.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// Bytes that may wait for cells where one goes a tick: 450 ms. What is older is of no use to voice.
const WAITING_BYTES: usize = 24 * 1024;

/// A packer for a line on which so many cells go a tick.
pub(crate) fn packer(pace: u8) -> Packer {
    Packer::new(usize::from(pace) * WAITING_BYTES)
}

/// A voice packet with the inner connection's packet around it, in a cell.
const VOICE_BYTES: usize = 208;
/// Room that is left each tick for everything else: 65 kB/s, so that whoever comes in is inside within a second or two.
const ROOM_BYTES: usize = 1_300;

/// Cells that an entry sends a tick, so that all the voices of a circle with so many members fit in, and from each hub some
/// more: records come from all of them.
pub(crate) fn pace(members: u8, hubs: usize) -> u8 {
    let voices = usize::from(members.saturating_sub(1)) * VOICE_BYTES;
    let cells = (voices + hubs * ROOM_BYTES).div_ceil(CELL - NUMBER);
    cells.clamp(1, MAX_PACE.into()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_circle_fits_a_line() {
        let paces = |hubs| [2, 4, 7, 8, 12, 16].map(|members| pace(members, hubs));
        assert_eq!(paces(1), [2, 2, 3, 3, 4, 5]);
        assert_eq!(paces(2), [3, 3, 4, 4, 5, 6]);
        assert_eq!(paces(3), [4, 5, 5, 5, 6, 7]);
        assert_eq!((pace(0, 0), pace(u8::MAX, 9)), (1, MAX_PACE));
    }
}

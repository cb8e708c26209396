//! Lines: the way of a member's packets to their hubs, through an entry that somebody else may run.
//!
//! ```text
//!  member                              entry                        hub
//!  inner QUIC ─► LineSocket ─► cells ═ outer QUIC ═► cells ─► UDP ─► inner QUIC
//! ```
//! The outer connection carries *cells*, all of one size: one every 20 ms (or 40) from the member, and a fixed number of them to the
//! member, from joining to leaving, with or without something in them. So the line shows neither who speaks, nor
//! when a record is sent, nor how large it is. The entry sees the member's address and which hub they go to; the hub sees
//! the entry's address. The inner connection is end to end between member and hub, and the entry can read nothing of it.

mod cell;
mod client;
mod metronome;
mod socket;
mod wire;

use cell::NUMBER;
pub(crate) use cell::{CELL, Packer, Unpacker};
pub(crate) use client::{LineConfig, start};
pub(crate) use metronome::{Going, Metronome};
use wire::MAX_CELLS;
pub(crate) use wire::{Answer, Open, Opened, PROTOCOL, hear, say};

use std::time::Duration;

use undertone_protocol::record::Pace;

/// A cell goes out every so often; to a member several may, evenly spread.
pub(crate) fn tick(pace: Pace) -> Duration {
    Duration::from_millis(match pace {
        Pace::Usual => 20,
        Pace::Thin => 40,
    })
}

/// Bytes that may wait for cells where one goes a tick: 450 ms. What is older is of no use to voice.
const WAITING_BYTES: usize = 24 * 1024;

/// A packer for a line on which so many cells go a tick.
pub(crate) fn packer(cells: u8) -> Packer {
    Packer::new(usize::from(cells) * WAITING_BYTES)
}

/// A voice packet with the inner connection's packet around it, in a cell. A voice has one every 20 ms.
const VOICE_BYTES: usize = 208;
const VOICE: Duration = Duration::from_millis(20);
/// Room that is left each tick for everything else: 65 kB/s, so that whoever comes in is inside within a second or two;
/// half of that on a thin line.
const ROOM_BYTES: usize = 1_300;

/// Cells that an entry sends a tick, so that all the voices of a circle with so many members fit in, and from each hub some
/// more: records come from all of them.
pub(crate) fn cells(members: u8, hubs: usize, pace: Pace) -> u8 {
    let of_each = tick(pace).div_duration_f32(VOICE) as usize;
    let voices = of_each * usize::from(members.saturating_sub(1)) * VOICE_BYTES;
    let cells = (voices + hubs * ROOM_BYTES).div_ceil(CELL - NUMBER);
    cells.clamp(1, MAX_CELLS.into()) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_circle_fits_a_line() {
        let all = |hubs, pace| [2, 4, 7, 8, 12, 16].map(|members| cells(members, hubs, pace));
        assert_eq!(all(1, Pace::Usual), [2, 2, 3, 3, 4, 5]);
        assert_eq!(all(2, Pace::Usual), [3, 3, 4, 4, 5, 6]);
        assert_eq!(all(3, Pace::Usual), [4, 5, 5, 5, 6, 7]);
        assert_eq!(all(1, Pace::Thin), [2, 3, 4, 4, 6, 7]);
        assert_eq!(all(2, Pace::Thin), [3, 4, 5, 6, 7, 9]);
        let most = cells(u8::MAX, 9, Pace::Thin);
        assert_eq!((cells(0, 0, Pace::Usual), most), (1, MAX_CELLS));
    }
}

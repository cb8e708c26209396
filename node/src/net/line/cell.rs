//! Cells: what travels on a line, one every tick, all of one size, whether there is something to carry or not.
//!
//! ```text
//! cell   = number (32) ‖ chunk … ‖ zeros, 1,100 bytes in all
//! chunk  = more (1) │ begun (1) │ channel (3) │ length (11) ‖ as many bytes
//! ```
//! A packet that does not fit into what is left of a cell goes on in the next one (*more*, then *begun*). A chunk of no
//! length ends what a cell carries. When a cell is lost, so is the packet that lay across it, and no other.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a cell.
pub(crate) const CELL: usize = 1_100;
/// Most channels of a line: one for each hub.
pub(crate) const CHANNELS: usize = 8;
/// Largest packet carried.
pub(crate) const MAX_PACKET: usize = 1_500;
/// Smallest: what is smaller is no packet of QUIC. One of a short header has a byte of flags, perhaps no connection id, and
/// at least the 20 bytes that its protection takes a sample of (RFC 9001 §5.4.2).
pub(crate) const MIN_PACKET: usize = 21;

/// Bytes of a cell's number.
pub(super) const NUMBER: usize = 4;
const HEAD: usize = 2;
const MORE: u16 = 1 << 15;
const BEGUN: u16 = 1 << 14;
const CHANNEL_SHIFT: u16 = 11;
const LENGTH: u16 = (1 << CHANNEL_SHIFT) - 1;
/// Parts that are kept until the others come: those of so many cells, 60 ms where four go a tick.
const PARTS: usize = 12;
/// Less room than this at the end of a cell is left empty.
const SMALLEST: usize = HEAD + 16;
/// Most chunks of a cell. The smallest packets to somebody with a connection id of eight bytes, as hubs and our programs have,
/// are of 30 (`quinn_proto`): what is left of one, and then nothing but those, fill a cell. In a full circle up to 11 were
/// seen, where a tick is 40 ms.
const CHUNKS: usize = 1 + (CELL - NUMBER) / (HEAD + 30);

/// Puts packets into cells, in the order in which they came: QUIC takes for lost what is overtaken for long. What is too
/// much pushes out the oldest.
#[derive(Debug)]
pub(crate) struct Packer {
    number: u32,
    /// Packets with their channels; of the first, what the last cell did not carry.
    packets: VecDeque<(u8, Bytes)>,
    /// Whether the last cell carried a part of the first.
    is_open: bool,
    bytes: usize,
    most_bytes: usize,
}

impl Packer {
    /// A packer that holds at most so many bytes.
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            number: 0,
            packets: VecDeque::new(),
            is_open: false,
            bytes: 0,
            most_bytes,
        }
    }

    /// Bytes that wait for cells.
    pub(crate) fn waiting(&self) -> usize {
        self.bytes
    }

    /// Whether so many more bytes push nothing out.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.most_bytes
    }

    /// Takes a packet in. Returns how many older ones were given up for it; one of no packet's size is given up itself.
    pub(crate) fn push(&mut self, channel: u8, packet: Bytes) -> usize {
        let is_packet = (MIN_PACKET..=MAX_PACKET).contains(&packet.len());
        if !is_packet || usize::from(channel) >= CHANNELS {
            return 1;
        }
        self.bytes += packet.len();
        self.packets.push_back((channel, packet));
        let mut given_up = 0;
        while !self.has_room(0)
            && let Some((_, oldest)) = self.packets.pop_front()
        {
            self.bytes -= oldest.len();
            self.is_open = false;
            given_up += 1;
        }
        given_up
    }

    /// The next cell.
    pub(crate) fn cell(&mut self) -> Bytes {
        let mut cell = BytesMut::with_capacity(CELL);
        cell.put_u32(self.number);
        self.number = self.number.wrapping_add(1);
        let mut chunks = 0;
        while CELL - cell.len() >= SMALLEST
            && chunks < CHUNKS
            && let Some((channel, packet)) = self.packets.front_mut()
        {
            let carried = packet.split_to(packet.len().min(CELL - cell.len() - HEAD));
            self.bytes -= carried.len();
            let more = if packet.is_empty() { 0 } else { MORE };
            let begun = if self.is_open { BEGUN } else { 0 };
            // At most a cell: eleven bits.
            let length = carried.len() as u16 & LENGTH;
            cell.put_u16(more | begun | u16::from(*channel) << CHANNEL_SHIFT | length);
            cell.put_slice(&carried);
            chunks += 1;
            self.is_open = more != 0;
            if !self.is_open {
                self.packets.pop_front();
            }
        }
        cell.resize(CELL, 0);
        cell.freeze()
    }
}

/// Takes packets out of cells again, also where cells have overtaken each other.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    /// Parts of packets whose other parts have not come yet, by the cell that they came in; the oldest first.
    begun: VecDeque<(u32, Part)>,
    later: VecDeque<(u32, Part)>,
}

/// What one cell has of a packet that lies across several.
#[derive(Debug)]
struct Part {
    channel: u8,
    more: bool,
    bytes: Bytes,
}

impl Unpacker {
    /// Hands every packet that this cell completes to `take`. Says whether the cell had the right form.
    pub(crate) fn cell(&mut self, cell: Bytes, mut take: impl FnMut(u8, Bytes)) -> bool {
        if cell.len() != CELL {
            return false;
        }
        let mut rest = cell;
        let head = rest.split_to(NUMBER);
        let number = head.iter().fold(0, |n, byte| n << 8 | u32::from(*byte));
        let mut chunks = 0;
        while rest.len() >= HEAD {
            let head = rest.split_to(HEAD);
            let head = head.iter().fold(0_u16, |n, byte| n << 8 | u16::from(*byte));
            let length = usize::from(head & LENGTH);
            if length == 0 {
                return rest.iter().all(|byte| *byte == 0);
            }
            chunks += 1;
            if length > rest.len() || chunks > CHUNKS {
                return false;
            }
            let part = Part {
                channel: (head >> CHANNEL_SHIFT) as u8 & (CHANNELS as u8 - 1),
                more: head & MORE != 0,
                bytes: rest.split_to(length),
            };
            let parts = match (head & BEGUN != 0, part.more) {
                (false, false) if length < MIN_PACKET => return false,
                (false, false) => None,
                (false, true) => Some(&mut self.begun),
                (true, _) if chunks == 1 => Some(&mut self.later),
                // Only a cell's first can go on.
                (true, _) => return false,
            };
            match parts {
                None => take(part.channel, part.bytes),
                Some(parts) => {
                    keep(parts, number, part);
                    self.join(&mut take);
                }
            }
        }
        true
    }

    /// Packets all parts of which are here.
    fn join(&mut self, take: &mut impl FnMut(u8, Bytes)) {
        let later = &self.later;
        self.begun.retain(|(number, first)| {
            let mut whole = BytesMut::from(&first.bytes[..]);
            for ahead in 1.. {
                let next = number.wrapping_add(ahead);
                let Some((_, part)) = later.iter().find(|(n, _)| *n == next) else {
                    return true;
                };
                whole.extend_from_slice(&part.bytes);
                if part.channel != first.channel || whole.len() > MAX_PACKET {
                    return false;
                }
                if !part.more {
                    break;
                }
            }
            if whole.len() >= MIN_PACKET {
                take(first.channel, whole.freeze());
            }
            false
        });
    }
}

fn keep(parts: &mut VecDeque<(u32, Part)>, number: u32, part: Part) {
    if parts.len() >= PARTS {
        parts.pop_front();
    }
    parts.push_back((number, part));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(seed: usize, length: usize) -> Bytes {
        (0..length).map(|i| (seed * 31 + i * 7) as u8).collect()
    }

    fn taken(unpacker: &mut Unpacker, cell: Bytes) -> Vec<(u8, Bytes)> {
        let mut packets = Vec::new();
        assert!(unpacker.cell(cell, |channel, packet| packets.push((channel, packet))));
        packets
    }

    #[test]
    fn an_idle_line_looks_like_a_busy_one() {
        let mut packer = Packer::new(10_000);
        let idle = packer.cell();
        packer.push(0, packet(1, 200));
        packer.push(1, packet(2, 1_200));
        let busy = packer.cell();
        assert_eq!((idle.len(), busy.len()), (CELL, CELL));
        assert!(taken(&mut Unpacker::default(), idle).is_empty());
    }

    #[test]
    fn packets_go_in_order_and_across_cells() {
        let mut packer = Packer::new(10_000);
        packer.push(2, packet(1, 1_300));
        packer.push(0, packet(2, 200));
        assert_eq!(packer.waiting(), 1_500);
        let mut unpacker = Unpacker::default();
        assert!(taken(&mut unpacker, packer.cell()).is_empty());
        packer.push(1, packet(3, 200));
        let second = taken(&mut unpacker, packer.cell());
        assert_eq!(
            second,
            [
                (2, packet(1, 1_300)),
                (0, packet(2, 200)),
                (1, packet(3, 200))
            ]
        );
        assert_eq!(packer.waiting(), 0);
    }

    #[test]
    fn a_lost_cell_takes_one_open_packet_with_it_and_a_late_one_none() {
        let mut packer = Packer::new(10_000);
        let mut unpacker = Unpacker::default();
        packer.push(0, packet(1, 1_300));
        drop(packer.cell());
        packer.push(0, packet(2, 100));
        assert_eq!(taken(&mut unpacker, packer.cell()), [(0, packet(2, 100))]);

        packer.push(0, packet(3, 100));
        let late = packer.cell();
        packer.push(0, packet(4, 1_300));
        let (begins, ends) = (packer.cell(), packer.cell());
        assert!(taken(&mut unpacker, begins).is_empty());
        assert_eq!(taken(&mut unpacker, late), [(0, packet(3, 100))]);
        assert_eq!(taken(&mut unpacker, ends), [(0, packet(4, 1_300))]);
    }

    #[test]
    fn cells_in_another_order_bring_all_packets_all_the_same() {
        let mut packer = Packer::new(100_000);
        let wanted: Vec<_> = (0..20).map(|i| (i as u8 % 3, packet(i, 1_450))).collect();
        for (channel, packet) in &wanted {
            packer.push(*channel, packet.clone());
        }
        let cells: Vec<_> = (0..28).map(|_| packer.cell()).collect();
        assert_eq!(packer.waiting(), 0);
        let mut unpacker = Unpacker::default();
        let mut came = Vec::new();
        for four in cells.chunks(4) {
            for i in [2, 1, 3, 0] {
                came.extend(taken(&mut unpacker, four[i].clone()));
            }
        }
        came.sort();
        let mut all = wanted;
        all.sort();
        assert_eq!(came, all);
    }

    /// A cell of chunks that are packets by themselves.
    fn cell_of(lengths: &[usize]) -> Bytes {
        let mut cell = BytesMut::new();
        cell.put_u32(0);
        for length in lengths {
            cell.put_u16(*length as u16);
            cell.put_bytes(1, *length);
        }
        cell.resize(CELL, 0);
        cell.freeze()
    }

    #[test]
    fn crumbs_are_no_packets() {
        let taken = |lengths: &[usize]| {
            let (mut unpacker, mut packets) = (Unpacker::default(), 0);
            (
                unpacker.cell(cell_of(lengths), |_, _| packets += 1),
                packets,
            )
        };
        assert_eq!(taken(&[1; 365]), (false, 0));
        assert_eq!(taken(&[MIN_PACKET, MIN_PACKET - 1, MIN_PACKET]), (false, 1));
        assert_eq!(taken(&[MIN_PACKET; CHUNKS]), (true, CHUNKS));
        assert_eq!(taken(&[MIN_PACKET; CHUNKS + 1]), (false, CHUNKS));
    }

    #[test]
    fn the_smallest_packets_go_on_in_the_next_cell() {
        let mut packer = Packer::new(10_000);
        assert_eq!(packer.push(0, packet(0, MIN_PACKET - 1)), 1);
        for i in 0..=CHUNKS {
            packer.push(0, packet(i, MIN_PACKET));
        }
        let mut unpacker = Unpacker::default();
        assert_eq!(taken(&mut unpacker, packer.cell()).len(), CHUNKS);
        assert_eq!(taken(&mut unpacker, packer.cell()).len(), 1);
    }

    #[test]
    fn what_is_too_much_pushes_out_the_oldest() {
        let mut packer = Packer::new(1_500);
        let mut unpacker = Unpacker::default();
        packer.push(0, packet(0, 1_400));
        assert!(taken(&mut unpacker, packer.cell()).is_empty());
        // It goes although it was begun: what comes of it is not taken for the end of another.
        let given_up: usize = (1..=10).map(|i| packer.push(0, packet(i, 200))).sum();
        assert_eq!(given_up, 4);
        assert_eq!(packer.push(0, packet(0, MAX_PACKET + 1)), 1);
        assert_eq!(packer.push(CHANNELS as u8, packet(0, 9)), 1);
        let first = taken(&mut unpacker, packer.cell());
        let wanted: Vec<_> = (4..=8).map(|i| (0, packet(i, 200))).collect();
        assert_eq!(first, wanted);
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(
            packets in proptest::collection::vec((0_u8..CHANNELS as u8, MIN_PACKET..=MAX_PACKET), 0..40),
        ) {
            let mut packer = Packer::new(usize::MAX);
            let mut unpacker = Unpacker::default();
            let mut wanted: Vec<_> = packets
                .iter()
                .enumerate()
                .map(|(i, (channel, length))| (*channel, packet(i, *length)))
                .collect();
            for (channel, packet) in &wanted {
                prop_assert_eq!(packer.push(*channel, packet.clone()), 0);
            }
            let mut came = Vec::new();
            for _ in 0..2 * packets.len() {
                came.extend(taken(&mut unpacker, packer.cell()));
            }
            wanted.sort();
            came.sort();
            prop_assert_eq!(came, wanted);
        }

        #[test]
        fn no_bytes_make_it_fall_over(
            cells in proptest::collection::vec(proptest::collection::vec(any::<u8>(), CELL), 1..6),
        ) {
            let mut unpacker = Unpacker::default();
            for cell in cells {
                unpacker.cell(cell.into(), |channel, packet| {
                    assert!(usize::from(channel) < CHANNELS);
                    assert!((MIN_PACKET..=MAX_PACKET).contains(&packet.len()));
                });
            }
        }
    }
}

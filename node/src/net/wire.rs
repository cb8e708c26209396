//! What Undertone adds to a libp2p QUIC connection: media datagrams, and a pair of streams about media routes.
//!
//! # Datagrams (RFC 9221)
//! ```text
//!  0               1
//!  0 1 2 3 4 5 6 7 0 1 2 3 4 …
//! +---------------+-----------------------------------+
//! |   Slot (8)    |  Sealed packet, 1 to 1,100 bytes  …
//! +---------------+-----------------------------------+
//! ```
//! Between members the slot is 0. Between a member and a relay it is the number (1 to 255) that *this* member chose for
//! the route; the relay rewrites it for each recipient.
//!
//! # Route streams
//! Each side opens at most one unidirectional QUIC stream. Stock libp2p opens none and allows none, and its
//! bidirectional streams all belong to protocol negotiation, so the two cannot be confused; and being on the very
//! connection whose datagrams they concern, they need no identifier to say which that is. Both streams are a sequence
//! of frames:
//! ```text
//! +---------------+---------------+------------------------+
//! |  Length (8)   |   Kind (8)    |  Body, Length - 1 bytes …
//! +---------------+---------------+------------------------+
//!
//!  direction        kind           body
//!  both, first      0x00 preface   "undertone/route/1"
//!  member → relay   0x01 attach    slot (8), route (256)
//!  member → relay   0x02 detach    slot (8)
//!  relay → member   0x81 attached  slot (8)
//!  relay → member   0x82 refused   slot (8), reason (8)
//! ```
//! Between the relay's preface and its first answer stands its operator's card: its length (16, big-endian), and as many
//! bytes, at most 2,048 (`undertone_protocol::operator`).
//!
//! Reasons: 1 the route is full, 2 too many routes on this connection, 3 the relay is full, 4 the slot is taken.
//! Closing the stream, or the connection, gives up every slot. Anything else on the stream ends it.

use bytes::{BufMut, Bytes, BytesMut};
use undertone_protocol::operator::MAX_CARD_BYTES;

use super::{
    MAX_PACKET_BYTES,
    types::{RouteKey, RouteRefusal},
};

/// The slot of datagrams between members.
pub(crate) const DIRECT_SLOT: u8 = 0;

const PREFACE: &[u8] = b"undertone/route/1";
const KIND_PREFACE: u8 = 0x00;
const KIND_ATTACH: u8 = 0x01;
const KIND_DETACH: u8 = 0x02;
const KIND_ATTACHED: u8 = 0x81;
const KIND_REFUSED: u8 = 0x82;

/// The datagram carrying `packet` on `slot`.
pub(crate) fn datagram(slot: u8, packet: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(1 + packet.len());
    out.put_u8(slot);
    out.put_slice(packet);
    out.freeze()
}

/// Slot and packet of a datagram; `None` if it is empty, has an empty packet or one over [`MAX_PACKET_BYTES`].
pub(crate) fn parse_datagram(mut datagram: Bytes) -> Option<(u8, Bytes)> {
    if datagram.len() < 2 || datagram.len() > 1 + MAX_PACKET_BYTES {
        return None;
    }
    let slot = *datagram.first()?;
    let packet = datagram.split_off(1);
    Some((slot, packet))
}

/// A frame on a route stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The first frame each way: the protocol and its version.
    Preface,
    /// A slot is asked for.
    Attach {
        /// The asker's number for the route.
        slot: u8,
        /// Which route.
        route: RouteKey,
    },
    /// A slot is given back.
    Detach {
        /// The asker's number for the route.
        slot: u8,
    },
    /// The slot was granted.
    Attached {
        /// The asker's number for the route.
        slot: u8,
    },
    /// The slot was not granted.
    Refused {
        /// The asker's number for the route.
        slot: u8,
        /// Why.
        reason: RouteRefusal,
    },
}

impl Frame {
    /// The frame with its length.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![0];
        match self {
            Self::Preface => {
                out.push(KIND_PREFACE);
                out.extend_from_slice(PREFACE);
            }
            Self::Attach { slot, route } => {
                out.extend_from_slice(&[KIND_ATTACH, *slot]);
                out.extend_from_slice(&route.0);
            }
            Self::Detach { slot } => out.extend_from_slice(&[KIND_DETACH, *slot]),
            Self::Attached { slot } => out.extend_from_slice(&[KIND_ATTACHED, *slot]),
            Self::Refused { slot, reason } => {
                out.extend_from_slice(&[KIND_REFUSED, *slot, reason.code()])
            }
        }
        // No frame is longer than 35 bytes.
        let length = u8::try_from(out.len() - 1).unwrap_or(u8::MAX);
        if let Some(first) = out.first_mut() {
            *first = length;
        }
        out
    }

    /// The frame whose kind and body these are; `None` for any other bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, body) = bytes.split_first()?;
        match (*kind, body) {
            (KIND_PREFACE, PREFACE) => Some(Self::Preface),
            (KIND_ATTACH, [slot, route @ ..]) => Some(Self::Attach {
                slot: *slot,
                route: RouteKey(route.try_into().ok()?),
            }),
            (KIND_DETACH, [slot]) => Some(Self::Detach { slot: *slot }),
            (KIND_ATTACHED, [slot]) => Some(Self::Attached { slot: *slot }),
            (KIND_REFUSED, [slot, code]) => Some(Self::Refused {
                slot: *slot,
                reason: RouteRefusal::from_code(*code),
            }),
            _ => None,
        }
    }
}

/// Writes the operator's card.
pub(crate) async fn write_card(
    stream: &mut quinn::SendStream,
    card: &[u8],
) -> Result<(), StreamEnd> {
    let length = u16::try_from(card.len()).map_err(|_| StreamEnd::Protocol)?;
    let bytes = [&length.to_be_bytes()[..], card].concat();
    (stream.write_all(&bytes).await).map_err(|_| StreamEnd::Gone)
}

/// Reads the operator's card, unverified.
pub(crate) async fn read_card(stream: &mut quinn::RecvStream) -> Result<Bytes, StreamEnd> {
    let mut length = [0; 2];
    (stream.read_exact(&mut length).await).map_err(|_| StreamEnd::Gone)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_CARD_BYTES {
        return Err(StreamEnd::Protocol);
    }
    let mut card = vec![0; length];
    (stream.read_exact(&mut card).await).map_err(|_| StreamEnd::Gone)?;
    Ok(card.into())
}

/// Why a route stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamEnd {
    /// The connection or the stream is gone.
    #[error("the stream ended")]
    Gone,
    /// The other side does not speak the protocol.
    #[error("not a route stream")]
    Protocol,
}

/// Reads the next frame. Not cancel-safe: half a frame is lost with the future.
pub(crate) async fn read_frame(stream: &mut quinn::RecvStream) -> Result<Frame, StreamEnd> {
    let mut length = [0];
    stream
        .read_exact(&mut length)
        .await
        .map_err(|_| StreamEnd::Gone)?;
    let mut buffer = [0; u8::MAX as usize];
    let [length] = length;
    let body = buffer
        .get_mut(..usize::from(length))
        .ok_or(StreamEnd::Protocol)?;
    stream.read_exact(body).await.map_err(|_| StreamEnd::Gone)?;
    Frame::decode(body).ok_or(StreamEnd::Protocol)
}

/// Reads the preface.
pub(crate) async fn read_preface(stream: &mut quinn::RecvStream) -> Result<(), StreamEnd> {
    match read_frame(stream).await? {
        Frame::Preface => Ok(()),
        _ => Err(StreamEnd::Protocol),
    }
}

/// Writes a frame.
pub(crate) async fn write_frame(
    stream: &mut quinn::SendStream,
    frame: Frame,
) -> Result<(), StreamEnd> {
    stream
        .write_all(&frame.encode())
        .await
        .map_err(|_| StreamEnd::Gone)
}

impl RouteRefusal {
    fn code(self) -> u8 {
        match self {
            Self::RouteFull => 1,
            Self::TooManyRoutes => 2,
            Self::RelayFull => 3,
            Self::SlotTaken => 4,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::RouteFull,
            2 => Self::TooManyRoutes,
            3 => Self::RelayFull,
            4 => Self::SlotTaken,
            other => Self::Other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_the_round_trip() {
        let frames = [
            Frame::Preface,
            Frame::Attach {
                slot: 7,
                route: RouteKey([9; 32]),
            },
            Frame::Detach { slot: 255 },
            Frame::Attached { slot: 1 },
            Frame::Refused {
                slot: 1,
                reason: RouteRefusal::RouteFull,
            },
            Frame::Refused {
                slot: 1,
                reason: RouteRefusal::Other(200),
            },
        ];
        for frame in frames {
            let bytes = frame.encode();
            assert_eq!(usize::from(bytes[0]), bytes.len() - 1);
            assert_eq!(Frame::decode(&bytes[1..]), Some(frame));
        }
    }

    #[test]
    fn other_bytes_are_no_frame() {
        for bytes in [
            &b""[..],
            b"\x00",
            b"\x00undertone/route/2",
            b"\x01",
            b"\x01\x01short",
            b"\x02",
            b"\x02\x01\x01",
            b"\xff\x01",
        ] {
            assert_eq!(Frame::decode(bytes), None, "{bytes:?}");
        }
        let mut long = Frame::Attach {
            slot: 1,
            route: RouteKey([0; 32]),
        }
        .encode();
        long.push(0);
        assert_eq!(Frame::decode(&long[1..]), None);
    }

    #[test]
    fn datagrams_have_a_slot_and_something_in_them() {
        assert_eq!(
            parse_datagram(datagram(3, b"voice")),
            Some((3, Bytes::from_static(b"voice")))
        );
        assert_eq!(parse_datagram(Bytes::new()), None);
        assert_eq!(parse_datagram(Bytes::from_static(&[1])), None);
        assert!(parse_datagram(datagram(1, &[0; MAX_PACKET_BYTES])).is_some());
        assert_eq!(
            parse_datagram(datagram(1, &[0; MAX_PACKET_BYTES + 1])),
            None
        );
    }
}

//! What Undertone adds to a libp2p QUIC connection: media datagrams, and a pair of streams between member and hub.
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
//! # Hub streams
//! Member and hub open one unidirectional QUIC stream each. Stock libp2p opens none and allows none, and its
//! bidirectional streams all belong to protocol negotiation, so the two cannot be confused; and being on the very
//! connection whose datagrams they concern, they need no identifier to say which that is. Both streams are a sequence
//! of frames:
//! ```text
//! +-------------------------------+---------------+------------------------+
//! |  Length (16, big-endian)      |   Kind (8)    |  Body, Length - 1 bytes …
//! +-------------------------------+---------------+------------------------+
//!
//!  direction        kind           body
//!  both, first      0x00 preface   "undertone/hub/1"
//!  member → hub     0x01 attach    slot (8), route (256)
//!  member → hub     0x02 detach    slot (8)
//!  member → hub     0x03 hear      topic (256)
//!  member → hub     0x04 ignore    topic (256)
//!  member → hub     0x05 say       topic (256), sealed message, at most 18 KiB
//!  member → hub     0x06 find      follow (8), language: at most 120 bytes of UTF-8, or none for all
//!  member → hub     0x07 announce  announcement, at most 4 KiB (`undertone_protocol::directory`)
//!  member → hub     0x08 leave     as say, and kept for those who ask to hear the topic later
//!  hub → member     0x80 card      the operator's, at most 2,048 bytes (`undertone_protocol::operator`)
//!  hub → member     0x81 attached  slot (8)
//!  hub → member     0x82 refused   slot (8), reason (8)
//!  hub → member     0x83 unheard   topic (256): it holds all the topics it may
//!  hub → member     0x84 kept      as said, and left there before one asked to hear the topic
//!  hub → member     0x85 said      topic (256), sealed message
//!  hub → member     0x86 listing   announcement
//!  hub → member     0x87 found     nothing: the listings before it are all there are
//!  hub → member     0x88 verdict   on an announcement (8)
//! ```
//! What a member says on a topic goes to everybody else who hears it; nobody is told of a topic they have not named.
//! The hub's card is its second frame. Reasons: 1 the route is full, 2 too many routes on this connection, 3 the hub is
//! full, 4 the slot is taken. What is found is told once, or, to those who follow, as long as the connection lasts.
//! Verdicts: 0 taken, 1 not acceptable, 2 a newer one is known, 3 full, 4 full of this topic, 5 refused by the operator,
//! 6 too busy just now, 7 the hub has no directory, which is also the answer to whoever asks for it, 8 its stamp is not paid for, which ends the
//! connection. Closing the stream, or the connection, gives up every slot and topic. Anything else on the stream ends it.

use bytes::{BufMut, Bytes, BytesMut};
use undertone_protocol::{
    directory::MAX_ANNOUNCEMENT_BYTES, operator::MAX_CARD_BYTES, record::MAX_NAME_BYTES,
};

use super::{
    MAX_CONTROL_BYTES, MAX_PACKET_BYTES,
    directory::Taken,
    types::{RouteKey, RouteRefusal, Topic},
};

/// The slot of datagrams between members.
pub(crate) const DIRECT_SLOT: u8 = 0;

const PREFACE: &[u8] = b"undertone/hub/1";
const KIND_PREFACE: u8 = 0x00;
const KIND_ATTACH: u8 = 0x01;
const KIND_DETACH: u8 = 0x02;
const KIND_HEAR: u8 = 0x03;
const KIND_IGNORE: u8 = 0x04;
const KIND_SAY: u8 = 0x05;
const KIND_FIND: u8 = 0x06;
const KIND_ANNOUNCE: u8 = 0x07;
const KIND_LEAVE: u8 = 0x08;
const KIND_CARD: u8 = 0x80;
const KIND_ATTACHED: u8 = 0x81;
const KIND_REFUSED: u8 = 0x82;
const KIND_UNHEARD: u8 = 0x83;
const KIND_KEPT: u8 = 0x84;
const KIND_SAID: u8 = 0x85;
const KIND_LISTING: u8 = 0x86;
const KIND_FOUND: u8 = 0x87;
const KIND_VERDICT: u8 = 0x88;

/// Longest frame, without its length: the longest message and its topic.
const MAX_FRAME_BYTES: usize = 1 + 32 + MAX_CONTROL_BYTES;

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

/// A frame on a hub stream.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What is said on a topic is wanted.
    Hear(Topic),
    /// It is wanted no longer.
    Ignore(Topic),
    /// Something to be told to all others who hear the topic.
    Say(Topic, Bytes),
    /// The same, to be kept too.
    Leave(Topic, Bytes),
    /// Asks for the directory.
    Find {
        /// Whether what comes later is wanted too.
        follow: bool,
        /// Of which circles; empty for all.
        language: String,
    },
    /// Something for the directory, unverified.
    Announce(Bytes),
    /// Who runs the hub, signed, unverified.
    Card(Bytes),
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
    /// The topic is not heard: there are too many.
    Unheard(Topic),
    /// Something that was left on a topic before one asked to hear it.
    Kept(Topic, Bytes),
    /// Something somebody said on a topic.
    Said(Topic, Bytes),
    /// Something of the directory, unverified.
    Listing(Bytes),
    /// There is no more in the directory.
    Found,
    /// What the hub does with an announcement.
    Verdict(Taken),
}

impl Frame {
    /// The frame with its length.
    pub(crate) fn encode(&self) -> Bytes {
        let (kind, head, tail): (u8, &[&[u8]], &[u8]) = match self {
            Self::Preface => (KIND_PREFACE, &[], PREFACE),
            Self::Attach { slot, route } => (KIND_ATTACH, &[&[*slot]], &route.0),
            Self::Detach { slot } => (KIND_DETACH, &[], &[*slot]),
            Self::Hear(topic) => (KIND_HEAR, &[], &topic.0),
            Self::Ignore(topic) => (KIND_IGNORE, &[], &topic.0),
            Self::Say(topic, message) => (KIND_SAY, &[&topic.0], message),
            Self::Leave(topic, message) => (KIND_LEAVE, &[&topic.0], message),
            Self::Find { follow, language } => {
                (KIND_FIND, &[&[u8::from(*follow)]], language.as_bytes())
            }
            Self::Announce(bytes) => (KIND_ANNOUNCE, &[], bytes),
            Self::Card(card) => (KIND_CARD, &[], card),
            Self::Attached { slot } => (KIND_ATTACHED, &[], &[*slot]),
            Self::Refused { slot, reason } => (KIND_REFUSED, &[&[*slot]], &[reason.code()]),
            Self::Unheard(topic) => (KIND_UNHEARD, &[], &topic.0),
            Self::Kept(topic, message) => (KIND_KEPT, &[&topic.0], message),
            Self::Said(topic, message) => (KIND_SAID, &[&topic.0], message),
            Self::Listing(bytes) => (KIND_LISTING, &[], bytes),
            Self::Found => (KIND_FOUND, &[], &[]),
            Self::Verdict(taken) => (KIND_VERDICT, &[], &[taken.code()]),
        };
        let length = 1 + head.iter().map(|part| part.len()).sum::<usize>() + tail.len();
        let mut out = BytesMut::with_capacity(2 + length);
        // No frame is longer than `MAX_FRAME_BYTES`.
        out.put_u16(u16::try_from(length).unwrap_or(u16::MAX));
        out.put_u8(kind);
        head.iter().for_each(|part| out.put_slice(part));
        out.put_slice(tail);
        out.freeze()
    }

    /// The frame whose kind and body these are; `None` for any other bytes.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let kind = bytes.split_to(1);
        match (*kind.first()?, bytes.as_ref()) {
            (KIND_PREFACE, PREFACE) => Some(Self::Preface),
            (KIND_ATTACH, [slot, route @ ..]) => Some(Self::Attach {
                slot: *slot,
                route: RouteKey(route.try_into().ok()?),
            }),
            (KIND_DETACH, [slot]) => Some(Self::Detach { slot: *slot }),
            (KIND_HEAR, topic) => Some(Self::Hear(Topic(topic.try_into().ok()?))),
            (KIND_IGNORE, topic) => Some(Self::Ignore(Topic(topic.try_into().ok()?))),
            (KIND_SAY, _) => message(bytes).map(|(topic, said)| Self::Say(topic, said)),
            (KIND_LEAVE, _) => message(bytes).map(|(topic, said)| Self::Leave(topic, said)),
            (KIND_FIND, [follow @ (0 | 1), language @ ..]) if language.len() <= MAX_NAME_BYTES => {
                Some(Self::Find {
                    follow: *follow == 1,
                    language: std::str::from_utf8(language).ok()?.to_owned(),
                })
            }
            (KIND_ANNOUNCE, listing) if listing.len() <= MAX_ANNOUNCEMENT_BYTES => {
                Some(Self::Announce(bytes))
            }
            (KIND_CARD, card) if card.len() <= MAX_CARD_BYTES => Some(Self::Card(bytes)),
            (KIND_ATTACHED, [slot]) => Some(Self::Attached { slot: *slot }),
            (KIND_REFUSED, [slot, reason]) => Some(Self::Refused {
                slot: *slot,
                reason: RouteRefusal::from_code(*reason),
            }),
            (KIND_UNHEARD, topic) => Some(Self::Unheard(Topic(topic.try_into().ok()?))),
            (KIND_KEPT, _) => message(bytes).map(|(topic, said)| Self::Kept(topic, said)),
            (KIND_SAID, _) => message(bytes).map(|(topic, said)| Self::Said(topic, said)),
            (KIND_LISTING, listing) if listing.len() <= MAX_ANNOUNCEMENT_BYTES => {
                Some(Self::Listing(bytes))
            }
            (KIND_FOUND, []) => Some(Self::Found),
            (KIND_VERDICT, [code]) => Some(Self::Verdict(Taken::from_code(*code))),
            _ => None,
        }
    }
}

/// A topic, and what is said on it.
fn message(mut body: Bytes) -> Option<(Topic, Bytes)> {
    let topic = Topic(body.get(..32)?.try_into().ok()?);
    let said = body.split_off(32);
    (!said.is_empty()).then_some((topic, said))
}

/// Why a hub stream ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamEnd {
    /// The connection or the stream is gone.
    #[error("the stream ended")]
    Gone,
    /// The other side does not speak the protocol.
    #[error("not a hub stream")]
    Protocol,
}

/// Reads the next frame. Not cancel-safe: half a frame is lost with the future.
pub(crate) async fn read_frame(stream: &mut quinn::RecvStream) -> Result<Frame, StreamEnd> {
    let mut length = [0; 2];
    (stream.read_exact(&mut length).await).map_err(|_| StreamEnd::Gone)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_FRAME_BYTES {
        return Err(StreamEnd::Protocol);
    }
    let mut frame = vec![0; length];
    (stream.read_exact(&mut frame).await).map_err(|_| StreamEnd::Gone)?;
    Frame::decode(frame.into()).ok_or(StreamEnd::Protocol)
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
    (stream.write_all(&frame.encode()).await).map_err(|_| StreamEnd::Gone)
}

impl Taken {
    fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::Unacceptable => 1,
            Self::Older => 2,
            Self::Full => 3,
            Self::TopicFull => 4,
            Self::Refused => 5,
            Self::Busy => 6,
            Self::NoDirectory => 7,
            Self::Unpaid => 8,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Yes,
            1 => Self::Unacceptable,
            2 => Self::Older,
            3 => Self::Full,
            4 => Self::TopicFull,
            5 => Self::Refused,
            6 => Self::Busy,
            7 => Self::NoDirectory,
            8 => Self::Unpaid,
            other => Self::Other(other),
        }
    }
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
        let topic = Topic([5; 32]);
        let frames = [
            Frame::Preface,
            Frame::Attach {
                slot: 7,
                route: RouteKey([9; 32]),
            },
            Frame::Detach { slot: 255 },
            Frame::Hear(topic),
            Frame::Ignore(topic),
            Frame::Say(topic, Bytes::from(vec![1; MAX_CONTROL_BYTES])),
            Frame::Card(Bytes::from_static(b"card")),
            Frame::Attached { slot: 1 },
            Frame::Refused {
                slot: 1,
                reason: RouteRefusal::RouteFull,
            },
            Frame::Refused {
                slot: 1,
                reason: RouteRefusal::Other(200),
            },
            Frame::Unheard(topic),
            Frame::Said(topic, Bytes::from_static(b"sealed")),
            Frame::Leave(topic, Bytes::from_static(b"sealed")),
            Frame::Find {
                follow: true,
                language: "en".into(),
            },
            Frame::Find {
                follow: false,
                language: String::new(),
            },
            Frame::Announce(Bytes::from(vec![1; MAX_ANNOUNCEMENT_BYTES])),
            Frame::Listing(Bytes::from_static(b"listing")),
            Frame::Found,
            Frame::Verdict(Taken::TopicFull),
            Frame::Verdict(Taken::Other(200)),
        ];
        for frame in frames {
            let mut bytes = frame.encode();
            let length = bytes.split_to(2);
            assert_eq!(
                usize::from(u16::from_be_bytes([length[0], length[1]])),
                bytes.len()
            );
            assert!(bytes.len() <= MAX_FRAME_BYTES);
            assert_eq!(Frame::decode(bytes), Some(frame));
        }
    }

    #[test]
    fn other_bytes_are_no_frame() {
        let long = |kind: u8, bytes: usize| [vec![kind], vec![0; bytes]].concat();
        for bytes in [
            b"".to_vec(),
            b"\x00".to_vec(),
            b"\x00undertone/hub/2".to_vec(),
            b"\x01".to_vec(),
            b"\x01\x01short".to_vec(),
            long(KIND_ATTACH, 34),
            b"\x02".to_vec(),
            b"\x02\x01\x01".to_vec(),
            long(KIND_HEAR, 31),
            long(KIND_HEAR, 33),
            long(KIND_SAY, 31),
            long(KIND_SAY, 32),
            long(KIND_SAID, 32),
            long(KIND_LEAVE, 32),
            long(KIND_CARD, MAX_CARD_BYTES + 1),
            long(KIND_FIND, 0),
            long(KIND_FIND, 2 + MAX_NAME_BYTES),
            b"\x06\x02en".to_vec(),
            b"\x06\x00\xff".to_vec(),
            long(KIND_ANNOUNCE, MAX_ANNOUNCEMENT_BYTES + 1),
            long(KIND_LISTING, MAX_ANNOUNCEMENT_BYTES + 1),
            long(KIND_FOUND, 1),
            long(KIND_VERDICT, 2),
            b"\xff\x01".to_vec(),
        ] {
            assert_eq!(Frame::decode(bytes.clone().into()), None, "{bytes:?}");
        }
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

//! The control channel's messages, written down a second time: `docs/protocol.md` is their source.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use undertone_protocol::id::{CircleId, Nonce, PublicKey, TransportId};
use undertone_protocol::identity::{Pseudonym, Secret};
use undertone_protocol::record::SealedTo;

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct CircleMessage {
    #[n(0)]
    pub records: Vec<ByteVec>,
    #[n(1)]
    pub voice_key: Option<Handout>,
}

#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Handout {
    #[n(0)]
    pub from: PublicKey,
    #[n(1)]
    pub sealed: Vec<SealedTo>,
}

#[derive(Debug, Clone, Encode, Decode)]
pub enum DoorMessage {
    #[n(0)]
    Ask(#[n(0)] Nonce),
    #[n(1)]
    Charter(#[n(0)] ByteVec),
    #[n(2)]
    Knock(#[n(0)] Vec<ByteVec>),
    #[n(3)]
    Welcome(#[n(0)] SealedTo),
    #[n(4)]
    Answer(#[n(0)] ByteVec),
}

/// Topic and key of a channel: `what` is "door" or "epoch".
pub fn channel(secret: &Secret, circle: &CircleId, what: &str) -> (Secret, Secret) {
    let derive = |part| secret.derive(circle.as_bytes(), &format!("undertone/1/{what}/{part}"));
    (derive("topic"), derive("key"))
}

pub fn voice_key_info(
    circle: &CircleId,
    from: &Pseudonym,
    via: &TransportId,
    to: &Pseudonym,
) -> Vec<u8> {
    let (from, to) = (from.public_key(), to.public_key());
    let parts = [
        circle.as_bytes(),
        from.as_bytes(),
        via.as_bytes(),
        to.as_bytes(),
    ];
    info("voice-key", &parts.map(|p| p.as_slice()))
}

/// What something sealed is bound to: its domain, then what it concerns.
pub fn info(what: &str, parts: &[&[u8]]) -> Vec<u8> {
    let domain = format!("undertone/1/{what}");
    [domain.as_bytes(), &parts.concat()].concat()
}

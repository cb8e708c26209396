//! What travels on the control channel, inside the encryption: inside a circle, and at its door.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use rand_core::CryptoRng;

use crate::id::{CircleId, Nonce, PublicKey};
use crate::identity::Secret;
use crate::record::{Record, SealedTo};
use crate::seal::{SealError, open_padded, seal_padded};

/// Most records in one message.
pub(super) const MAX_RECORDS: usize = 64;

/// To everybody in the circle.
#[derive(Debug, Clone, Default, Encode, Decode)]
#[cbor(map)]
pub(super) struct CircleMessage {
    /// Envelopes.
    #[n(0)]
    pub records: Vec<ByteVec>,
    /// The author's voice key.
    #[n(1)]
    pub voice_key: Option<VoiceKeyHandout>,
}

/// A sender's voice key, sealed to each member by HPKE in Auth mode, which also proves who sent it.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(super) struct VoiceKeyHandout {
    #[n(0)]
    pub from: PublicKey,
    #[n(1)]
    pub sealed: Vec<SealedTo>,
}

/// To everybody who holds the invite.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) enum DoorMessage {
    /// Is anybody there? What is this circle?
    #[n(0)]
    Ask(#[n(0)] Nonce),
    /// The charter's envelope.
    #[n(1)]
    Charter(#[n(0)] ByteVec),
    /// A pledge and a join record: lets one in, or back in.
    #[n(2)]
    Knock(#[n(0)] Vec<ByteVec>),
    /// The current epoch record's envelope, sealed to one person, who is or was just admitted.
    #[n(3)]
    Welcome(#[n(0)] SealedTo),
    /// A refusal or a removal that concerns whoever knocked.
    #[n(4)]
    Answer(#[n(0)] ByteVec),
}

/// A topic of the control channel and the key its messages are sealed with.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub topic: [u8; 32],
    key: Secret,
}

impl Channel {
    /// The door's, from the invite's secret.
    pub fn door(secret: &Secret, circle: &CircleId) -> Self {
        Self::derive(secret, circle, "door")
    }
    /// The circle's, from an epoch's key.
    pub fn epoch(secret: &Secret, circle: &CircleId) -> Self {
        Self::derive(secret, circle, "epoch")
    }
    fn derive(secret: &Secret, circle: &CircleId, what: &str) -> Self {
        let salt = circle.as_bytes();
        Self {
            topic: *secret
                .derive(salt, &format!("undertone/1/{what}/topic"))
                .as_bytes(),
            key: secret.derive(salt, &format!("undertone/1/{what}/key")),
        }
    }
    pub fn seal<M: Encode<()>>(
        &self,
        message: &M,
        rng: &mut impl CryptoRng,
    ) -> Result<Vec<u8>, SealError> {
        let mut bytes = Vec::new();
        // Writing into a Vec cannot fail (its error is `Infallible`).
        let _ = minicbor::encode(message, &mut bytes);
        seal_padded(&self.key, &self.topic, &bytes, rng)
    }
    /// `None` when it was not sealed with this channel's key, or is not such a message.
    pub fn open<M: for<'b> Decode<'b, ()>>(&self, payload: &[u8]) -> Option<M> {
        let bytes = open_padded(&self.key, &self.topic, payload).ok()?;
        minicbor::decode(&bytes).ok()
    }
}

/// Envelopes as they travel.
pub(super) fn envelopes<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<ByteVec> {
    records
        .into_iter()
        .map(|r| ByteVec::from(r.envelope().to_vec()))
        .collect()
}

//! Voice packets: SFrame (RFC 9605, AES-128-GCM with full tags), every frame signed inside the encryption.
//!
//! ```text
//!  0          1                  9              13                                   158            174
//!  +----------+------------------+--------------+-----------------------------------+---------------+
//!  | config   | KID 8 B          | CTR 4 B      | sealed { flags 1 | Opus 80 | signature 64 } | tag 16 |
//!  +----------+------------------+--------------+-----------------------------------+---------------+
//! ```
//!
//! Every packet is [`PACKET_BYTES`] long: key ids have their top bit set and counters start at 2²⁴, so that
//! SFrame's variable-length fields never change size. The counter is also the sequence number, and goes on
//! rising when the key changes. SFrame alone would let any member forge any other, since all hold the same
//! key; hence the Ed25519 signature by a media key that only its sender has.

use ed25519_dalek::{SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use sframe::{
    CipherSuite,
    frame::{
        EncryptedFrameView, MediaFrameView, MonotonicCounter,
        validation::{FrameValidation, ReplayAttackProtection, Tolerance, UnvalidatedFrame},
    },
    header::SframeHeader,
    key::{DecryptionKey, EncryptionKey},
};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::id::PublicKey;
use crate::identity::Secret;
use crate::signature;

/// One coded 20 ms voice frame: 32 kb/s.
pub const OPUS_BYTES: usize = 80;
/// A sealed frame on the wire.
pub const PACKET_BYTES: usize = HEADER_BYTES + PLAIN_BYTES + TAG_BYTES;
/// How far behind the newest packet one may arrive and still be accepted once.
pub const REPLAY_WINDOW: usize = 128;

const HEADER_BYTES: usize = 13;
const PLAIN_BYTES: usize = 1 + OPUS_BYTES + SIGNATURE_BYTES;
const SIGNATURE_BYTES: usize = 64;
const TAG_BYTES: usize = 16;
const FIRST_SEQUENCE: u64 = 1 << 24;
const LAST_SEQUENCE: u64 = u32::MAX as u64;
const MUTED: u8 = 1;

/// Why a packet is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VoiceError {
    /// Not the size or the header of a voice packet.
    #[error("not a voice packet")]
    Malformed,
    /// Seen before, or older than the replay window.
    #[error("replayed or too old")]
    Replayed,
    /// The key named does not open it.
    #[error("cannot be opened")]
    CannotOpen,
    /// Another member made it: it opens, but the sender did not sign it.
    #[error("not signed by its sender")]
    Forged,
    /// The key has sealed all it may; a new one is due.
    #[error("this key is used up")]
    Exhausted,
}

/// A coded frame as its sender meant it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoiceFrame {
    /// Position in the sender's stream, 20 ms each.
    pub sequence: u64,
    /// Whether the sender says their microphone is closed.
    pub muted: bool,
    /// The Opus packet.
    pub opus: [u8; OPUS_BYTES],
}

/// What a sender hands to each member: enough to open and to verify, not to forge.
#[derive(Clone)]
pub struct VoiceKeySecret {
    /// Names the key in each packet. A commitment to owner and keys, so that nobody can take another's.
    pub key_id: u64,
    /// Sequence number of its first packet: a later key has a higher one, so an old one cannot come back.
    pub first: u64,
    /// SFrame base key.
    pub base_key: Secret,
    /// Verifies the frames.
    pub media_key: [u8; 32],
}

impl VoiceKeySecret {
    /// 72 bytes: first sequence number ‖ base key ‖ media key.
    pub fn to_bytes(&self) -> [u8; 72] {
        let mut bytes = [0; 72];
        bytes[..8].copy_from_slice(&self.first.to_be_bytes());
        bytes[8..40].copy_from_slice(self.base_key.as_bytes());
        bytes[40..].copy_from_slice(&self.media_key);
        bytes
    }
    /// The reverse of [`to_bytes`](Self::to_bytes), for a key handed out by `owner`; `None` for any other
    /// length.
    pub fn from_bytes(owner: &PublicKey, bytes: &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk::<8>()?;
        let (base_key, rest) = rest.split_first_chunk::<32>()?;
        let first = u64::from_be_bytes(*first);
        let base_key = Secret::from_bytes(*base_key);
        Some(Self::new(owner, first, base_key, rest.try_into().ok()?))
    }

    /// The id is SHA-256("undertone/1/key-id" ‖ owner ‖ base key ‖ media key), its top bit set.
    fn new(owner: &PublicKey, first: u64, base_key: Secret, media_key: [u8; 32]) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"undertone/1/key-id");
        digest.update(owner.as_bytes());
        digest.update(base_key.as_bytes());
        digest.update(media_key);
        let digest: [u8; 32] = digest.finalize().into();
        let id = digest
            .first_chunk::<8>()
            .map_or(0, |b| u64::from_be_bytes(*b));
        Self {
            key_id: id | 1 << 63,
            first,
            base_key,
            media_key,
        }
    }
}

impl std::fmt::Debug for VoiceKeySecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VoiceKeySecret(…)")
    }
}

/// Seals one's own frames. Lives in memory only.
pub struct SendKey {
    secret: VoiceKeySecret,
    encryption: EncryptionKey,
    media: SigningKey,
    counter: MonotonicCounter,
}

impl SendKey {
    /// A fresh key of `owner`'s whose first packet has at least this sequence number (see
    /// [`SendKey::next_sequence`]).
    ///
    /// # Errors
    /// [`VoiceError::Exhausted`] when the sequence has run out (after 990 days of talk).
    pub fn generate(
        rng: &mut impl CryptoRng,
        owner: &PublicKey,
        from: u64,
    ) -> Result<Self, VoiceError> {
        let from = from.max(FIRST_SEQUENCE);
        let base_key = Secret::random(rng);
        let mut media_seed = [0; 32];
        rng.fill_bytes(&mut media_seed);
        let media = SigningKey::from_bytes(&media_seed);
        media_seed.zeroize();
        let secret = VoiceKeySecret::new(owner, from, base_key, media.verifying_key().to_bytes());
        let encryption = EncryptionKey::derive_from(
            CipherSuite::AesGcm128Sha256,
            secret.key_id,
            secret.base_key.as_bytes(),
        )
        .map_err(|_| VoiceError::Exhausted)?;
        Ok(Self {
            secret,
            encryption,
            media,
            counter: MonotonicCounter::with_start_value(from, LAST_SEQUENCE),
        })
    }

    /// What to hand to each member.
    pub fn secret(&self) -> &VoiceKeySecret {
        &self.secret
    }

    /// The sequence number of the next packet.
    pub fn next_sequence(&self) -> u64 {
        self.counter.current()
    }

    /// Seals and signs one frame into [`PACKET_BYTES`].
    ///
    /// # Errors
    /// [`VoiceError::Exhausted`].
    pub fn seal(&mut self, opus: &[u8; OPUS_BYTES], muted: bool) -> Result<Vec<u8>, VoiceError> {
        let sequence = self.counter.current();
        let mut plain = [0; PLAIN_BYTES];
        plain[0] = if muted { MUTED } else { 0 };
        plain[1..=OPUS_BYTES].copy_from_slice(opus);
        let signed = signed_message(self.secret.key_id, sequence, &plain[..=OPUS_BYTES]);
        plain[1 + OPUS_BYTES..].copy_from_slice(&signature::sign(&self.media, &signed));
        let frame = MediaFrameView::try_new(&mut self.counter, &plain)
            .map_err(|_| VoiceError::Exhausted)?;
        let mut packet = Vec::with_capacity(PACKET_BYTES);
        frame
            .encrypt_into(&self.encryption, &mut packet)
            .map_err(|_| VoiceError::Exhausted)?;
        Ok(packet)
    }
}

/// Opens one other member's frames. Lives in memory only.
pub struct ReceiveKey {
    key_id: u64,
    decryption: DecryptionKey,
    media: VerifyingKey,
    replay: ReplayAttackProtection,
    buffer: Vec<u8>,
}

impl ReceiveKey {
    /// From what the sender handed out; `None` when it cannot be a key.
    pub fn new(secret: &VoiceKeySecret) -> Option<Self> {
        let media = signature::key(&secret.media_key)?;
        let decryption = DecryptionKey::derive_from(
            CipherSuite::AesGcm128Sha256,
            secret.key_id,
            secret.base_key.as_bytes(),
        )
        .ok()?;
        Some(Self {
            key_id: secret.key_id,
            decryption,
            media,
            replay: ReplayAttackProtection::new(secret.key_id, Tolerance::new(REPLAY_WINDOW)),
            buffer: Vec::with_capacity(2 * PACKET_BYTES),
        })
    }

    /// Opens one packet that names this key.
    ///
    /// # Errors
    /// [`VoiceError`]; nothing but an authentic, signed packet moves the replay window.
    pub fn open(&mut self, packet: &[u8]) -> Result<VoiceFrame, VoiceError> {
        if packet.len() != PACKET_BYTES {
            return Err(VoiceError::Malformed);
        }
        let frame = EncryptedFrameView::try_new(&packet).map_err(|_| VoiceError::Malformed)?;
        let sequence = frame.header().counter();
        if frame.header().key_id() != self.key_id || sequence < FIRST_SEQUENCE {
            return Err(VoiceError::Malformed);
        }
        let token = self
            .replay
            .screen(UnvalidatedFrame::from(&frame))
            .map_err(|_| VoiceError::Replayed)?;
        let opened = frame
            .decrypt_into(&self.decryption, &mut self.buffer)
            .map_err(|_| VoiceError::CannotOpen)?;
        let (content, signed_by) = opened
            .payload()
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(VoiceError::Malformed)?;
        let signed = signed_message(self.key_id, sequence, content);
        if !signature::fits(&self.media, &signed, signed_by) {
            return Err(VoiceError::Forged);
        }
        let (flags, opus) = content.split_first().ok_or(VoiceError::Malformed)?;
        let frame = VoiceFrame {
            sequence,
            muted: flags & MUTED != 0,
            opus: opus.try_into().map_err(|_| VoiceError::Malformed)?,
        };
        self.replay.record(token);
        Ok(frame)
    }
}

/// The key a packet names, without opening it; `None` when it is no voice packet.
pub fn key_id(packet: &[u8]) -> Option<u64> {
    (packet.len() == PACKET_BYTES).then_some(())?;
    SframeHeader::deserialize(packet).ok().map(|h| h.key_id())
}

fn signed_message(key_id: u64, sequence: u64, content: &[u8]) -> Vec<u8> {
    [
        b"undertone/1/frame".as_slice(),
        &key_id.to_be_bytes(),
        &sequence.to_be_bytes(),
        content,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    const OWNER: PublicKey = PublicKey::from_bytes([1; 32]);

    fn pair() -> (SendKey, ReceiveKey) {
        let send = SendKey::generate(&mut ChaCha20Rng::from_seed([1; 32]), &OWNER, 0).unwrap();
        let secret = VoiceKeySecret::from_bytes(&OWNER, &send.secret().to_bytes()).unwrap();
        let receive = ReceiveKey::new(&secret).unwrap();
        (send, receive)
    }

    #[test]
    fn every_packet_is_the_same_size_and_opens_once() {
        let (mut send, mut receive) = pair();
        for i in 0..1000u64 {
            let opus = [i as u8; OPUS_BYTES];
            let packet = send.seal(&opus, i % 2 == 0).unwrap();
            assert_eq!(packet.len(), PACKET_BYTES);
            assert_eq!(key_id(&packet), Some(send.secret().key_id));
            let frame = receive.open(&packet).unwrap();
            assert_eq!((frame.opus, frame.muted), (opus, i % 2 == 0));
            assert_eq!(frame.sequence, FIRST_SEQUENCE + i);
            assert_eq!(receive.open(&packet), Err(VoiceError::Replayed));
        }
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let (mut send, mut receive) = pair();
        let packet = send.seal(&[7; OPUS_BYTES], false).unwrap();
        for byte in 0..PACKET_BYTES {
            let mut changed = packet.clone();
            changed[byte] ^= 1;
            assert!(receive.open(&changed).is_err(), "byte {byte}");
        }
        assert!(receive.open(&packet).is_ok());
        assert_eq!(receive.open(&packet[1..]), Err(VoiceError::Malformed));
    }

    #[test]
    fn a_member_who_holds_the_key_cannot_forge_its_sender() {
        let (mut send, mut receive) = pair();
        let mut forger =
            SendKey::generate(&mut ChaCha20Rng::from_seed([2; 32]), &OWNER, 0).unwrap();
        forger.secret.key_id = send.secret.key_id;
        forger.encryption = EncryptionKey::derive_from(
            CipherSuite::AesGcm128Sha256,
            send.secret.key_id,
            send.secret.base_key.as_bytes(),
        )
        .unwrap();
        let forged = forger.seal(&[1; OPUS_BYTES], false).unwrap();
        assert_eq!(receive.open(&forged), Err(VoiceError::Forged));
        // The forgery did not use up the sequence number either.
        let genuine = send.seal(&[2; OPUS_BYTES], false).unwrap();
        assert!(receive.open(&genuine).is_ok());
    }

    #[test]
    fn nobody_can_hand_out_a_key_under_anothers_id() {
        let (send, _) = pair();
        let bytes = send.secret().to_bytes();
        let other = PublicKey::from_bytes([2; 32]);
        let taken = VoiceKeySecret::from_bytes(&other, &bytes).unwrap();
        assert_ne!(taken.key_id, send.secret().key_id);
        assert!(VoiceKeySecret::from_bytes(&OWNER, &bytes[1..]).is_none());
    }

    #[test]
    fn late_packets_are_accepted_within_the_window_only() {
        let (mut send, mut receive) = pair();
        let packets: Vec<_> = (0..200)
            .map(|_| send.seal(&[0; OPUS_BYTES], false).unwrap())
            .collect();
        receive.open(&packets[199]).unwrap();
        assert!(receive.open(&packets[199 - 100]).is_ok());
        assert_eq!(receive.open(&packets[10]), Err(VoiceError::Replayed));
    }
}

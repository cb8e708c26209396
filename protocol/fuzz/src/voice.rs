//! Voice packets: garbled, replayed, out of order, and sealed by somebody who holds the key to open with.

use std::collections::BTreeSet;

use arbitrary::{Result, Unstructured};
use ed25519_dalek::{Signer, SigningKey};
use sframe::CipherSuite;
use sframe::frame::{MediaFrameView, MonotonicCounter};
use sframe::key::EncryptionKey;
use undertone_protocol::id::PublicKey;
use undertone_protocol::voice::{
    self, OPUS_BYTES, PACKET_BYTES, REPLAY_WINDOW, ReceiveKey, SendKey, VoiceError, VoiceFrame,
    VoiceKeySecret,
};

use crate::kit;

const FIRST: u64 = 1 << 24;

/// Packets one after another through one key.
pub fn packets(data: &[u8]) {
    let _ = Stream::new().run(&mut Unstructured::new(data));
}

struct Stream {
    owner: PublicKey,
    send: SendKey,
    receive: ReceiveKey,
    sent: Vec<Vec<u8>>,
    heard: BTreeSet<u64>,
}

impl Stream {
    /// The leader's key of the golden vectors.
    fn new() -> Self {
        let owner = kit::person(kit::LEADER).public_key();
        let send = SendKey::generate(&mut kit::rng(0x54), &owner, 0).unwrap();
        let receive = ReceiveKey::new(send.secret()).unwrap();
        Self {
            owner,
            send,
            receive,
            sent: Vec::new(),
            heard: BTreeSet::new(),
        }
    }

    fn run(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        while !u.is_empty() {
            match u.arbitrary::<u8>()? % 6 {
                0 => self.speak(u.arbitrary()?, usize::from(u.arbitrary::<u8>()?)),
                1 => self.deliver(usize::from(u.arbitrary::<u8>()?)),
                2 => self.garble(u)?,
                3 => {
                    let packet = u.bytes(PACKET_BYTES.min(u.len()))?;
                    let _ = voice::key_id(packet);
                    if let Ok(frame) = self.receive.open(packet) {
                        // A golden packet of this key.
                        self.note(&frame);
                    }
                }
                4 => self.forge(u)?,
                _ => self.hand_out(u.bytes(72.min(u.len()))?),
            }
        }
        Ok(())
    }

    fn speak(&mut self, muted: bool, times: usize) {
        for _ in 0..=times {
            let opus = [self.sent.len() as u8; OPUS_BYTES];
            let packet = self.send.seal(&opus, muted).unwrap();
            assert_eq!(packet.len(), PACKET_BYTES);
            assert_eq!(voice::key_id(&packet), Some(self.send.secret().key_id));
            self.sent.push(packet);
        }
    }

    /// One of the last packets sent.
    fn deliver(&mut self, back: usize) {
        let Some(at) = self.sent.len().checked_sub(1 + back) else {
            return;
        };
        let sequence = FIRST + at as u64;
        let newest = self.heard.last().copied();
        match self.receive.open(&self.sent[at]) {
            Ok(frame) => {
                assert_eq!(
                    (frame.sequence, frame.opus),
                    (sequence, [at as u8; OPUS_BYTES])
                );
                self.note(&frame);
            }
            Err(error) => {
                let late = newest.is_some_and(|n| n >= sequence + REPLAY_WINDOW as u64);
                assert!(
                    late || self.heard.contains(&sequence),
                    "{sequence} after {newest:?}: {error}"
                );
            }
        }
    }

    fn garble(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let (back, at, xor): (u8, u8, u8) = u.arbitrary()?;
        let from = self.sent.len().checked_sub(1 + usize::from(back));
        let Some(mut packet) = from.map(|from| self.sent[from].clone()) else {
            return Ok(());
        };
        let at = usize::from(at) % packet.len();
        packet[at] ^= xor.max(1);
        assert!(self.receive.open(&packet).is_err());
        Ok(())
    }

    /// Anybody in the circle holds the key to open with, and can seal with it; not sign.
    fn forge(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let secret = self.send.secret();
        let suite = CipherSuite::AesGcm128Sha256;
        let key_id = if u.arbitrary()? {
            secret.key_id
        } else {
            u.arbitrary()?
        };
        let counter: u64 = if u.arbitrary()? {
            FIRST + u64::from(u.arbitrary::<u32>()?)
        } else {
            u.arbitrary()?
        };
        let key = EncryptionKey::derive_from(suite, key_id, secret.base_key.as_bytes()).unwrap();
        let length = usize::from(u.arbitrary::<u8>()?).min(145);
        let mut plain = vec![u.arbitrary()?; length];
        if let Some((content, signature)) = plain.split_last_chunk_mut::<64>() {
            let message = [
                b"undertone/1/frame".as_slice(),
                &key_id.to_be_bytes(),
                &counter.to_be_bytes(),
                content,
            ];
            *signature = SigningKey::from_bytes(&[0x57; 32])
                .sign(&message.concat())
                .to_bytes();
        }
        let mut counter = MonotonicCounter::with_start_value(counter, u64::MAX);
        let mut packet = Vec::new();
        let sealed = MediaFrameView::try_new(&mut counter, &plain);
        if sealed.is_ok_and(|frame| frame.encrypt_into(&key, &mut packet).is_ok()) {
            let opened = self.receive.open(&packet);
            let refused = [
                VoiceError::Malformed,
                VoiceError::Replayed,
                VoiceError::CannotOpen,
                VoiceError::Forged,
            ];
            assert!(opened.is_err_and(|e| refused.contains(&e)));
        }
        Ok(())
    }

    /// A key as somebody hands it out.
    fn hand_out(&self, bytes: &[u8]) {
        if let Some(secret) = VoiceKeySecret::from_bytes(&self.owner, bytes) {
            assert_eq!(secret.to_bytes(), bytes);
            assert_ne!(secret.key_id & 1 << 63, 0);
            let _ = ReceiveKey::new(&secret);
        }
    }

    fn note(&mut self, frame: &VoiceFrame) {
        assert!(
            self.heard.insert(frame.sequence),
            "{} is heard twice",
            frame.sequence
        );
    }
}

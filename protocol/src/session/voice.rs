//! Voice keys in memory, and packets through them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand_core::CryptoRng;

use crate::id::{PublicKey, TransportId};
use crate::record::SealedTo;
use crate::seal::{open_sealed, seal_to};
use crate::voice::{
    OPUS_BYTES, PACKET_BYTES, ReceiveKey, SendKey, VoiceError, VoiceKeySecret, key_id,
};

use super::message::VoiceKeyHandout;
use super::timer::Timer;
use super::{Now, Output, Session, Stage};

/// How long a key of somebody else is still good after they replaced it.
const OLD_KEY_FOR: Duration = Duration::from_secs(2);
/// Packets that came before their key, kept for a moment.
const MAX_EARLY: usize = 48;
/// How long packets under an unknown key are bearable before one asks: a newcomer's key takes a round trip and a
/// half to come, once their packets do.
const ASK_FOR_KEY_AFTER: Duration = Duration::from_millis(400);
/// How often one's key is handed to the same people again.
const HANDOUT_EVERY: Duration = Duration::from_millis(600);

struct Held {
    member: PublicKey,
    key: ReceiveKey,
    /// Replaced: good until then.
    until: Option<Duration>,
}

/// One's own key, the others' keys, and what waits for a key.
pub(super) struct VoiceState {
    send: SendKey,
    held: BTreeMap<u64, Held>,
    early: VecDeque<(u64, [u8; PACKET_BYTES])>,
    /// Who lacks one's key, until the next hello hands it out.
    owed: BTreeSet<PublicKey>,
    handed_out: BTreeMap<PublicKey, Duration>,
    /// First sequence number of each member's newest key: none before it is taken again.
    newest: BTreeMap<PublicKey, u64>,
    pub may_speak: bool,
}

impl VoiceState {
    pub fn new(rng: &mut impl CryptoRng, me: &PublicKey) -> Result<Self, VoiceError> {
        Ok(Self {
            send: SendKey::generate(rng, me, 0)?,
            newest: BTreeMap::new(),
            held: BTreeMap::new(),
            early: VecDeque::new(),
            owed: BTreeSet::new(),
            handed_out: BTreeMap::new(),
            may_speak: false,
        })
    }
    pub fn own_key_id(&self) -> u64 {
        self.send.secret().key_id
    }
    pub fn key_ids(&self) -> Vec<u64> {
        let current = self.held.iter().filter(|(_, h)| h.until.is_none());
        current.map(|(id, _)| *id).take(16).collect()
    }
    /// Drops all keys of somebody, with no grace.
    pub fn forget(&mut self, member: &PublicKey) {
        self.held.retain(|_, held| held.member != *member);
        self.newest.remove(member);
    }
    #[cfg(feature = "attack")]
    pub fn audience(&self) -> impl Iterator<Item = &PublicKey> {
        self.handed_out.keys()
    }
    pub fn forget_old(&mut self, now: Duration) {
        self.held
            .retain(|_, held| held.until.is_none_or(|t| now < t));
    }
    pub fn forget_everything(&mut self) {
        self.held.clear();
        self.early.clear();
        self.may_speak = false;
    }
    /// Whether a key is later than any this member handed out before on the same connection.
    fn is_newer(&self, member: &PublicKey, secret: &VoiceKeySecret) -> bool {
        self.newest
            .get(member)
            .is_none_or(|first| secret.first > *first)
    }
    fn install(
        &mut self,
        now: Duration,
        member: PublicKey,
        secret: &VoiceKeySecret,
        key: ReceiveKey,
    ) {
        self.newest.insert(member, secret.first);
        for held in self.held.values_mut().filter(|h| h.member == member) {
            held.until.get_or_insert(now + OLD_KEY_FOR);
        }
        let until = None;
        self.held.insert(secret.key_id, Held { member, key, until });
    }
}

impl Session {
    /// Replaces one's key, and hands the new one to everybody who is still a member.
    pub(super) fn replace_voice_key(&mut self, now: Now) {
        let from = self.voice.send.next_sequence() + 1;
        match SendKey::generate(&mut self.rng, &self.me.public_key(), from) {
            Ok(key) => self.voice.send = key,
            Err(error) => {
                // The sequence has run out: silence is better than a key that others still hold.
                debug_assert_eq!(error, VoiceError::Exhausted);
                self.end(super::End::Left);
                return;
            }
        }
        self.voice.handed_out.clear();
        let members = self.state.iter().flat_map(|s| s.members());
        self.voice.owed = members.map(|(key, _)| *key).collect();
        self.broadcast_hello(now);
    }

    /// Somebody lacks one's key: they get it with one's next hello, unless it is on its way to them.
    pub(super) fn owe_voice_key(&mut self, now: Now, member: PublicKey) {
        let last = self.voice.handed_out.get(&member);
        if last.is_none_or(|at| now.at >= *at + HANDOUT_EVERY) {
            self.voice.owed.insert(member);
            self.say_hello_soon(now);
        }
    }

    /// One's key, sealed to those who lack it. None is owed afterwards: whoever still lacks it says so.
    pub(super) fn voice_key_handout(&mut self, now: Now) -> Option<VoiceKeyHandout> {
        let owed = std::mem::take(&mut self.voice.owed);
        if !self.is_moderation_verified(now) {
            return None; // Whoever was removed meanwhile would get it too.
        }
        let from = self.me.public_key();
        let secret = self.voice.send.secret().to_bytes();
        let transport = TransportId::from_bytes(self.transport.verifying_key().to_bytes());
        let state = self.inside().ok()?;
        let recipients: Vec<_> = owed
            .into_iter()
            .filter(|key| *key != from && state.is_admitted(key))
            .filter_map(|key| Some((key, state.member(&key)?.sealing_key)))
            .collect();
        let mut sealed = Vec::new();
        for (member, to) in recipients {
            let info = self.voice_key_info(&from, &transport, &member);
            if let Ok(secret) = seal_to(&to, Some(&self.me), &info, &secret, &mut self.rng) {
                sealed.push(SealedTo { member, secret });
                self.voice.handed_out.insert(member, now.at);
            }
        }
        (!sealed.is_empty()).then_some(VoiceKeyHandout { from, sealed })
    }

    pub(super) fn handle_voice_key(&mut self, now: Now, handout: &VoiceKeyHandout) {
        self.voice.forget_old(now.at);
        let me = self.me.public_key();
        let Some(mine) = handout.sealed.iter().find(|s| s.member == me) else {
            return;
        };
        let Ok(state) = self.inside() else {
            return;
        };
        let (true, Some(sender), Some(presence)) = (
            state.is_admitted(&handout.from) && handout.from != me,
            state.member(&handout.from),
            self.presence.of(&handout.from),
        ) else {
            return;
        };
        let info = self.voice_key_info(&handout.from, &presence.transport, &me);
        let opened = open_sealed(&self.me, Some(&sender.sealing_key), &info, &mine.secret);
        let Some(secret) = opened
            .ok()
            .and_then(|bytes| VoiceKeySecret::from_bytes(&handout.from, &bytes))
        else {
            return;
        };
        if !self.voice.is_newer(&handout.from, &secret) {
            return;
        }
        let Some(key) = ReceiveKey::new(&secret) else {
            return;
        };
        self.voice.install(now.at, handout.from, &secret, key);
        self.timers.set(Timer::OldVoiceKeys, now.at + OLD_KEY_FOR);
        let early = std::mem::take(&mut self.voice.early);
        for (id, packet) in early {
            match id == secret.key_id {
                true => self.handle_media(now, &packet),
                false => self.voice.early.push_back((id, packet)),
            }
        }
    }

    /// What a handed-out key is bound to: circle, sender, the sender's connection, recipient.
    fn voice_key_info(&self, from: &PublicKey, via: &TransportId, to: &PublicKey) -> Vec<u8> {
        [
            b"undertone/1/voice-key".as_slice(),
            self.circle.as_bytes(),
            from.as_bytes(),
            via.as_bytes(),
            to.as_bytes(),
        ]
        .concat()
    }

    /// Seals one's own frame. One goes out for each that comes in, so that traffic says nothing of speech.
    pub(super) fn handle_voice(&mut self, opus: &[u8; OPUS_BYTES], muted: bool) {
        if self.inside().is_err() {
            return;
        }
        if let Ok(packet) = self.voice.send.seal(opus, muted) {
            self.outputs.push_back(Output::SendMedia(packet));
        }
    }

    /// Opens somebody's packet and lets it be heard if they may be.
    pub(super) fn handle_media(&mut self, now: Now, packet: &[u8]) {
        let Some(id) = key_id(packet).filter(|_| self.stage == Stage::Inside) else {
            return;
        };
        let Some(held) = self.voice.held.get_mut(&id) else {
            self.keep_early(now, id, packet);
            return;
        };
        if held.until.is_some_and(|until| now.at >= until) {
            return;
        }
        let member = held.member;
        let Ok(frame) = held.key.open(packet) else {
            return;
        };
        if let Some(presence) = self.presence.of_mut(&member) {
            presence.heard = Some(now.at);
            presence.muted = frame.muted;
        }
        if self.is_heard(now, &member) {
            self.outputs.push_back(Output::Play {
                member,
                sequence: frame.sequence,
                opus: frame.opus,
            });
        }
    }

    fn keep_early(&mut self, now: Now, id: u64, packet: &[u8]) {
        let Ok(packet) = packet.try_into() else {
            return;
        };
        if self.voice.early.len() >= MAX_EARLY {
            self.voice.early.pop_front();
        }
        self.voice.early.push_back((id, packet));
        if !self.timers.is_set(Timer::Repair) {
            let at = now.at + ASK_FOR_KEY_AFTER;
            self.timers.set(Timer::Repair, at);
        }
    }
}

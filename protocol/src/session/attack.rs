//! For simulations: what somebody does who holds a member's keys and does not keep to the rules, and what a
//! judge must see who checks that nothing comes of it.

use crate::id::PublicKey;
use crate::identity::{GroupKey, Pseudonym};
use crate::record::{Body, Hello, Record};
use crate::weakness::Weakness;

use super::message::{CircleMessage, DoorMessage, envelopes};
use super::{Now, Session};

impl Session {
    /// Leaves one rule out.
    pub fn weaken(&mut self, weakness: Weakness) {
        if let Some(state) = &mut self.state {
            state.weaken(weakness);
        }
    }

    /// Broadcasts any records to the circle, unchecked.
    pub fn attack_circle(&mut self, records: &[Record]) {
        self.broadcast(&CircleMessage {
            records: envelopes(records),
            voice_key: None,
        });
    }

    /// Says hello with another digest than what came of the records.
    pub fn attack_hello(&mut self, now: Now, digest: u64) {
        let Some(hello) = self.hello(now) else {
            return;
        };
        if let Body::Hello(hello) = hello.body() {
            let lie = Hello {
                digest,
                ..hello.clone()
            };
            let lie = self.sign_own(now, super::LIVE_MINUTES, lie).ok();
            self.attack_circle(lie.as_slice());
        }
    }

    /// Knocks with any records, unchecked.
    pub fn attack_door(&mut self, records: &[Record]) {
        self.say_at_door(&DoorMessage::Knock(envelopes(records)));
    }

    /// The keys one signs with.
    pub fn attack_keys(&self) -> (&Pseudonym, Option<&GroupKey>) {
        (&self.me, self.group_key.as_ref())
    }

    /// What one knocked with.
    pub fn attack_knock(&self) -> Vec<Record> {
        self.knock.clone()
    }

    /// To whom one's present voice key was given.
    pub fn voice_audience(&self) -> impl Iterator<Item = &PublicKey> {
        self.voice.audience()
    }

    /// Who was given the circle key that one seals with now.
    pub fn epoch_audience(&self) -> Vec<PublicKey> {
        self.epochs.audience()
    }
}

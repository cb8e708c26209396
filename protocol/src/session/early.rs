//! Hellos of people of whom one has not read yet that they were let in: that takes a moment where one has just come in, and they
//! do not say hello again soon.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::PublicKey;
use crate::record::Record;

use super::message::{CircleMessage, VoiceKeyHandout, envelopes};

/// How long they are kept, and how many.
const KEPT_FOR: Duration = Duration::from_secs(5);
const MOST: usize = 16;

/// What they said, and when it came.
#[derive(Default)]
pub(super) struct EarlyHellos(BTreeMap<PublicKey, (Duration, CircleMessage)>);

impl EarlyHellos {
    /// Keeps somebody's hello, with their voice key if they hand it to `me` with it. Of several the first, or the first with a key.
    pub fn keep(
        &mut self,
        now: Duration,
        hello: &Record,
        handout: Option<VoiceKeyHandout>,
        me: &PublicKey,
    ) {
        let author = hello.author();
        let mine = handout.filter(|h| h.from == author).map(|mut handout| {
            handout.sealed.retain(|s| s.member == *me);
            handout
        });
        let voice_key = mine.filter(|h| !h.sealed.is_empty());
        self.0.retain(|_, (came, _)| now < *came + KEPT_FOR);
        let is_kept = match self.0.get(&author) {
            Some((_, before)) => before.voice_key.is_none() && voice_key.is_some(),
            None => self.0.len() < MOST,
        };
        if is_kept {
            let records = envelopes([hello]);
            self.0
                .insert(author, (now, CircleMessage { records, voice_key }));
        }
    }

    /// What somebody said who turns out to be a member.
    pub fn take(&mut self, now: Duration, author: &PublicKey) -> Option<CircleMessage> {
        let (came, hello) = self.0.remove(author)?;
        (now < came + KEPT_FOR).then_some(hello)
    }
}

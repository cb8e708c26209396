//! What people say to one another besides their turns: thanks, a promise to cease, words in need.

use crate::id::PublicKey;
use crate::record::{CeaseAcknowledgement, CrisisReferral, Gratitude, Record, SealedTo, Thanks};
use crate::seal::{open_sealed, seal_to};

use super::message::{CircleMessage, envelopes};
use super::{Event, LIVE_MINUTES, Now, Session, SessionError};

/// Longest words in need, in bytes.
pub const MAX_REFERRAL_BYTES: usize = 1_024;

impl Session {
    pub(super) fn acknowledge_cease(&mut self, now: Now) -> Result<(), SessionError> {
        let me = self.me.public_key();
        let request = self.inside()?.cease_of(&me).ok_or(SessionError::NotNow)?;
        let record = self.sign_own(now, LIVE_MINUTES, CeaseAcknowledgement { request })?;
        self.publish_own(now, record)
    }

    pub(super) fn thank(
        &mut self,
        now: Now,
        subject: PublicKey,
        gratitude: Gratitude,
    ) -> Result<(), SessionError> {
        let known = self.inside()?.is_admitted(&subject);
        known.then_some(()).ok_or(SessionError::NobodyByThatKey)?;
        let record = self.sign_own(now, LIVE_MINUTES, Thanks { subject, gratitude })?;
        self.publish_own(now, record)
    }

    /// Sealed to one person; signed, so that they know from whom. Never stored.
    pub(super) fn refer(
        &mut self,
        now: Now,
        member: PublicKey,
        words: &str,
    ) -> Result<(), SessionError> {
        let to = self.inside()?.member(&member).map(|m| m.sealing_key);
        let to = to.ok_or(SessionError::NobodyByThatKey)?;
        if words.trim().is_empty() || words.len() > MAX_REFERRAL_BYTES {
            return Err(SessionError::WordsTooLong);
        }
        let info = self.referral_info(&self.me.public_key(), &member);
        // Whatever was acceptable when they joined can be sealed to.
        let secret = seal_to(&to, Some(&self.me), &info, words.as_bytes(), &mut self.rng)
            .map_err(|_| SessionError::NobodyByThatKey)?;
        let sealed = SealedTo { member, secret };
        let record = self.sign_own(now, LIVE_MINUTES, CrisisReferral { sealed })?;
        self.broadcast(&CircleMessage {
            records: envelopes([&record]),
            voice_key: None,
        });
        Ok(())
    }

    pub(super) fn handle_referral(&mut self, record: &Record, referral: &CrisisReferral) {
        let me = self.me.public_key();
        let from = record.author();
        let Ok(state) = self.inside() else {
            return;
        };
        let Some(sender) = state.member(&from).filter(|_| referral.sealed.member == me) else {
            return;
        };
        let info = self.referral_info(&from, &me);
        let key = sender.sealing_key;
        let opened = open_sealed(&self.me, Some(&key), &info, &referral.sealed.secret);
        let words = opened.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // A copy is not told twice.
        if let Some(words) = words.filter(|_| self.referrals.insert(record.id())) {
            self.event(Event::Referred { from, words });
        }
    }

    fn referral_info(&self, from: &PublicKey, to: &PublicKey) -> Vec<u8> {
        [
            b"undertone/1/referral".as_slice(),
            self.circle.as_bytes(),
            from.as_bytes(),
            to.as_bytes(),
        ]
        .concat()
    }
}

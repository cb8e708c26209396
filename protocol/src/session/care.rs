//! What people say to one another besides their turns: thanks, a promise to cease, words to one alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{PublicKey, RecordId};
use crate::record::{
    Body, CeaseAcknowledgement, ContactAnswer, ContactRequest, CrisisReferral, Gratitude, Record,
    SealedTo, Thanks,
};
use crate::seal::{open_sealed, seal_to};

use super::message::{CircleMessage, envelopes};
use super::{Event, LIVE_MINUTES, Now, Session, SessionError};

/// Longest words to one alone, in bytes.
pub const MAX_WORDS_BYTES: usize = 1_024;
/// One asks the same person once a day whether they would like to stay in touch.
const ASK_AGAIN_MINUTES: u64 = 24 * 60;
/// How many things told are remembered.
const MAX_HEARD: usize = 1_024;

// What words are sealed for.
const REFERRAL: &str = "undertone/1/referral";
const CONTACT_REQUEST: &str = "undertone/1/contact-request";
const CONTACT_ANSWER: &str = "undertone/1/contact-answer";

/// What was said to one alone, while the program runs.
#[derive(Debug, Default)]
pub(super) struct Alone {
    /// What was told.
    heard: BTreeSet<RecordId>,
    /// Whom one asked to stay in touch, by the question, and in which minute.
    asked: BTreeMap<RecordId, (PublicKey, u64)>,
    /// Who asked oneself, and in which minute last.
    asked_by: BTreeMap<PublicKey, u64>,
    /// Questions not answered yet, by who asked.
    questions: BTreeMap<PublicKey, RecordId>,
}

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

    /// Words in need, for one person. Never stored.
    pub(super) fn refer(
        &mut self,
        now: Now,
        member: PublicKey,
        words: &str,
    ) -> Result<(), SessionError> {
        let sealed = self.seal_words(REFERRAL, member, words)?;
        self.say_alone(now, CrisisReferral { sealed }.into())?;
        Ok(())
    }

    /// Asks somebody whether they would like to stay in touch; if they have asked, answers.
    pub(super) fn stay_in_touch(
        &mut self,
        now: Now,
        member: PublicKey,
        words: &str,
    ) -> Result<(), SessionError> {
        if let Some(request) = self.alone.questions.get(&member).copied() {
            let sealed = self.seal_words(CONTACT_ANSWER, member, words)?;
            self.say_alone(now, ContactAnswer { request, sealed }.into())?;
            self.alone.questions.remove(&member);
            return Ok(());
        }
        let asked = self.alone.asked.values().find(|(key, _)| *key == member);
        if asked.is_some_and(|(_, at)| now.minute < at + ASK_AGAIN_MINUTES) {
            return Err(SessionError::AskedToday);
        }
        let sealed = self.seal_words(CONTACT_REQUEST, member, words)?;
        let request = self.say_alone(now, ContactRequest { sealed }.into())?;
        self.alone.asked.retain(|_, (key, _)| *key != member);
        self.alone.asked.insert(request, (member, now.minute));
        Ok(())
    }

    /// Sealed to one person, who will know from whom.
    fn seal_words(
        &mut self,
        purpose: &str,
        member: PublicKey,
        words: &str,
    ) -> Result<SealedTo, SessionError> {
        let to = self.inside()?.member(&member).map(|m| m.sealing_key);
        let to = to.ok_or(SessionError::NobodyByThatKey)?;
        if words.trim().is_empty() || words.len() > MAX_WORDS_BYTES {
            return Err(SessionError::WordsTooLong);
        }
        let info = self.words_info(purpose, &self.me.public_key(), &member);
        // Whatever was acceptable when they joined can be sealed to.
        let secret = seal_to(&to, Some(&self.me), &info, words.as_bytes(), &mut self.rng)
            .map_err(|_| SessionError::NobodyByThatKey)?;
        Ok(SealedTo { member, secret })
    }

    fn say_alone(&mut self, now: Now, body: Body) -> Result<RecordId, SessionError> {
        let record = self.sign_own(now, LIVE_MINUTES, body)?;
        self.broadcast(&CircleMessage {
            records: envelopes([&record]),
            voice_key: None,
        });
        Ok(record.id())
    }

    /// Tells what somebody says to oneself alone: each thing once, and an answer only to what was asked.
    pub(super) fn hear_alone(&mut self, now: Now, record: &Record) {
        let from = record.author();
        let (purpose, sealed) = match record.body() {
            Body::CrisisReferral(r) => (REFERRAL, &r.sealed),
            Body::ContactRequest(r) => (CONTACT_REQUEST, &r.sealed),
            Body::ContactAnswer(a) => (CONTACT_ANSWER, &a.sealed),
            _ => return,
        };
        let Some(words) = self.open_words(purpose, &from, sealed) else {
            return;
        };
        if self.alone.heard.len() == MAX_HEARD {
            self.alone.heard.clear();
        }
        if !self.alone.heard.insert(record.id()) {
            return; // A copy.
        }
        match record.body() {
            Body::ContactRequest(_) => {
                let last = self.alone.asked_by.get(&from).copied();
                if last.is_some_and(|at| now.minute < at + ASK_AGAIN_MINUTES) {
                    return;
                }
                self.alone.asked_by.insert(from, now.minute);
                self.alone.questions.insert(from, record.id());
                self.event(Event::ContactAsked { from, words });
            }
            Body::ContactAnswer(answer) => {
                let asked = self.alone.asked.get(&answer.request);
                if asked.is_some_and(|(key, _)| *key == from) {
                    self.event(Event::ContactAnswered { from, words });
                }
            }
            _ => self.event(Event::Referred { from, words }),
        }
    }

    fn open_words(&self, purpose: &str, from: &PublicKey, sealed: &SealedTo) -> Option<String> {
        let me = self.me.public_key();
        let sender = self.inside().ok()?.member(from)?.sealing_key;
        if sealed.member != me {
            return None;
        }
        let info = self.words_info(purpose, from, &me);
        let words = open_sealed(&self.me, Some(&sender), &info, &sealed.secret).ok()?;
        String::from_utf8(words).ok()
    }

    fn words_info(&self, purpose: &str, from: &PublicKey, to: &PublicKey) -> Vec<u8> {
        [
            purpose.as_bytes(),
            self.circle.as_bytes(),
            from.as_bytes(),
            to.as_bytes(),
        ]
        .concat()
    }
}

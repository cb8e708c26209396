//! The door: a conversation among those who hold the invite, apart from the circle's own.

use std::time::Duration;

use minicbor::bytes::ByteVec;
use rand_core::Rng;

use crate::circle::{Applicant, Applied, CircleState, Refused};
use crate::id::{Nonce, PublicKey, RecordId};
use crate::invite::{MAX_TOKEN_MINUTES, Token};
use crate::puzzle::Puzzle;
use crate::record::{AdmissionMode, Body, Erase, Join, Leave, Pledge, Record, SealedTo};
use crate::seal::{open_sealed, seal_to};

use super::message::{DoorMessage, envelopes};
use super::presence::DEAF_AFTER;
use super::timer::Timer;
use super::{
    Delivery, End, Event, LASTING_MINUTES, Now, Output, Session, SessionError, Stage, Topic,
};

const ASK_AGAIN: Duration = Duration::from_secs(1);
const KNOCK_AGAIN: Duration = Duration::from_secs(2);
/// Somebody inside knocks as well until they hear that they are up to date.
const KNOCK_AGAIN_INSIDE: Duration = Duration::from_secs(20);
/// How long the next in order waits for the one before.
const TURN_TO_ANSWER: Duration = Duration::from_millis(300);
/// The first so many in order answer at all.
const MAX_RANK: u32 = 4;
/// How long until the same is said at the door again.
const REPLY_AGAIN: Duration = Duration::from_millis(500);
/// Without the leader's hello for so long, one may have missed a circle key.
const LEADER_SILENT_FOR: Duration = Duration::from_secs(40);
/// Most answers planned at once.
const MAX_REPLIES: usize = 64;

/// Something to say at the door, unless somebody else says it first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DoorReply {
    /// What this circle is.
    Charter,
    /// The current circle key, for a member who knocked.
    Welcome(PublicKey),
    /// The notice, for somebody who was removed.
    Removal(PublicKey),
    /// Their own word that they left, for somebody whose disk it did not get to.
    Left(PublicKey, RecordId),
}

impl Session {
    pub(super) fn open_door(&mut self) {
        self.outputs.push_back(Output::Subscribe(self.door.topic));
    }

    /// The moment somebody can hear it, one asks or knocks again.
    pub(super) fn handle_listener(&mut self, now: Now, topic: Topic) {
        if topic == self.door.topic {
            self.ask_or_knock_now(now);
        } else if self.epochs.channel(&topic).is_some() {
            self.say_hello_soon(now);
        }
    }

    pub(super) fn ask_or_knock_now(&mut self, now: Now) {
        for timer in [Timer::Ask, Timer::Knock] {
            if self.timers.is_set(timer) {
                self.timers.set(timer, now.at);
            }
        }
    }

    pub(super) fn ask(&mut self, now: Now) {
        if self.stage == Stage::Seeking {
            let mut nonce = [0; 16];
            self.rng.fill_bytes(&mut nonce);
            self.say_at_door(&DoorMessage::Ask(Nonce::from_bytes(nonce)));
            self.timers.set(Timer::Ask, now.at + ASK_AGAIN);
        }
    }

    pub(super) fn knock_again(&mut self, now: Now) {
        if !matches!(self.stage, Stage::Knocking | Stage::Inside) || self.knock.len() != 2 {
            return;
        }
        let inside = self.stage == Stage::Inside;
        if !inside || self.is_out_of_touch(now) {
            let records = envelopes(&self.knock);
            self.say_at_door(&DoorMessage::Knock(records));
        }
        let after = match inside {
            true => KNOCK_AGAIN_INSIDE,
            false => KNOCK_AGAIN,
        };
        self.timers.set(Timer::Knock, now.at + after);
        if inside {
            self.timers.set(Timer::Listen, now.at + DEAF_AFTER);
        }
    }

    /// Whoever hears nobody knocks sooner.
    pub(super) fn knock_if_deaf(&mut self, now: Now) {
        if self.presence.hears_nobody(now.at) && self.authority().is_none() {
            return self.knock_again(now);
        }
        self.timers.set(Timer::Listen, now.at + DEAF_AFTER);
    }

    /// Whether one may have missed a circle key: not in the circle by one's own records, without word from the
    /// leader under the current one, or without anything from anybody.
    fn is_out_of_touch(&self, now: Now) -> bool {
        if self.authority().is_some() {
            return false;
        }
        let leader = self.state.as_ref().map(|s| s.leader());
        let heard = leader.and_then(|key| self.presence.of(&key));
        let silent = heard.is_none_or(|p| now.at.saturating_sub(p.seen) > LEADER_SILENT_FOR);
        silent || self.inside().is_err() || self.presence.hears_nobody(now.at)
    }

    /// Signs the pledge, stores it, and knocks once it is stored.
    pub(super) fn sign_and_knock(
        &mut self,
        now: Now,
        name: String,
        accepted: Vec<String>,
    ) -> Result<(), SessionError> {
        let state = match (&self.stage, &self.state) {
            (Stage::AtDoor, Some(state)) => state,
            _ => return Err(SessionError::NotNow),
        };
        let texts = state.charter().texts;
        if crate::texts::by_hash(&texts).is_none() {
            // Nobody signs what this program could not show them.
            return Err(SessionError::Refused(Refused::OtherTexts));
        }
        let cost = state.charter().puzzle;
        let invited = state.charter().admission == AdmissionMode::Invite;
        if invited && self.token.is_none() {
            return Err(SessionError::Refused(Refused::NeedsInvite));
        }
        let pledge = self.sign_own(now, LASTING_MINUTES, Pledge { texts, accepted })?;
        let puzzle = cost.map(|cost| Puzzle {
            cost,
            circle: self.circle,
            author: pledge.author(),
            purpose: pledge.id(),
        });
        self.knock = vec![pledge];
        self.stage = Stage::Knocking;
        match puzzle {
            Some(puzzle) => {
                self.solving = Some(name);
                self.outputs.push_back(Output::SolvePuzzle(puzzle));
                Ok(())
            }
            None => self.sign_join(now, name, None),
        }
    }

    pub(super) fn handle_solved(&mut self, now: Now, answer: u64) -> Result<(), SessionError> {
        match self.solving.take() {
            Some(name) => self.sign_join(now, name, Some(answer)),
            None => Ok(()),
        }
    }

    fn sign_join(
        &mut self,
        now: Now,
        name: String,
        puzzle: Option<u64>,
    ) -> Result<(), SessionError> {
        let pledge = self.pledge().cloned().ok_or(SessionError::NotNow)?;
        let founding = self.state.as_ref().map(|s| s.founding().clone());
        let join = Join {
            name,
            sealing_key: self.me.sealing_key(),
            pledge: pledge.id(),
            invite: self
                .token
                .as_ref()
                .map(|t| t.proof(&self.circle, &pledge.author())),
            puzzle,
        };
        let join = match self.sign_own(now, LASTING_MINUTES, join) {
            Ok(join) => join,
            Err(error) => {
                self.knock.clear();
                self.stage = Stage::AtDoor;
                return Err(error);
            }
        };
        self.knock = vec![pledge.clone(), join.clone()];
        let mut records = vec![pledge, join];
        if self.stored == 0 {
            records.splice(0..0, founding);
        }
        self.persist(records, Vec::new());
        self.timers.set(Timer::Knock, now.at);
        Ok(())
    }

    pub(super) fn handle_door(&mut self, now: Now, message: DoorMessage) {
        match message {
            DoorMessage::Ask(_) => self.plan_reply(now, DoorReply::Charter),
            DoorMessage::Charter(envelope) => self.handle_charter(now, &envelope),
            DoorMessage::Knock(envelopes) => self.handle_knock(now, &envelopes),
            DoorMessage::Welcome(sealed) => self.handle_welcome(now, &sealed),
            DoorMessage::Answer(envelope) => self.handle_answer(now, &envelope),
        }
    }

    fn handle_charter(&mut self, now: Now, envelope: &[u8]) {
        if self.stage != Stage::Seeking || self.state.is_some() {
            let own = self.state.as_ref().map(|s| s.founding().envelope());
            if own.is_some_and(|own| **own == *envelope) {
                self.door_replies.remove(&DoorReply::Charter);
            }
            return;
        }
        let charter = Record::verify_in(envelope, &self.circle)
            .ok()
            .filter(|record| record.check_time(now.minute).is_ok());
        if let Some(state) = charter.as_ref().and_then(CircleState::new) {
            // The link said how to travel before the charter could: they must agree.
            if state.charter().route == self.route {
                self.state = Some(state);
                self.stage = Stage::AtDoor;
                self.timers.stop(Timer::Ask);
                self.event(Event::AtDoor);
            }
        }
    }

    fn handle_knock(&mut self, now: Now, envelopes: &[ByteVec]) {
        let Some(state) = &self.state else {
            return;
        };
        let records: Vec<_> = envelopes
            .iter()
            .take(2)
            .filter_map(|bytes| Record::verify_in(bytes, &self.circle).ok())
            .filter(|record| record.check_time(now.minute).is_ok())
            .collect();
        let joins = |r: &&Record| matches!(r.body(), Body::Join(_));
        let Some((author, join)) = records
            .iter()
            .find(joins)
            .map(|join| (join.author(), join.id()))
        else {
            return;
        };
        if author == self.me.public_key() {
            return;
        }
        if state.is_removed(&author) && !state.may_return(&author, now.minute) {
            self.plan_reply(now, DoorReply::Removal(author));
        } else if state.is_admitted(&author) {
            if self.is_moderation_verified(now) {
                self.plan_reply(now, DoorReply::Welcome(author));
            }
        } else if state.leave_of(&author, &join).is_some() {
            self.plan_reply(now, DoorReply::Left(author, join));
        } else if state.was_let_in_with(&join) {
            // They were removed, it was taken back, and they know of neither: that join is used up.
            self.plan_reply(now, DoorReply::Removal(author));
        } else if self.stage == Stage::Inside && !state.is_door_crowded() {
            for record in &records {
                let applied = self.state.as_mut().map(|s| s.apply(record));
                if let Some(Ok(Applied::Changed(changes))) = applied {
                    self.save(&changes);
                    self.follow(now, &changes);
                }
            }
        }
    }

    /// The circle's key, sealed to oneself: one is in, or back in.
    fn handle_welcome(&mut self, now: Now, sealed: &SealedTo) {
        if sealed.member != self.me.public_key() {
            return; // Who could tell whether it is genuine? Nothing that one planned to say is dropped.
        }
        if !matches!(self.stage, Stage::Knocking | Stage::Inside) {
            return;
        }
        let info = self.welcome_info(&sealed.member);
        let Ok(bytes) = open_sealed(&self.me, None, &info, &sealed.secret) else {
            return;
        };
        let Ok(envelopes) = minicbor::decode::<Vec<ByteVec>>(&bytes) else {
            return;
        };
        let records: Vec<_> = envelopes
            .iter()
            .filter_map(|bytes| Record::verify_in(bytes, &self.circle).ok())
            .collect();
        let Some((epoch, credentials)) = records.split_first() else {
            return;
        };
        if self.is_authentic(epoch, credentials) && self.enter_epoch(now, epoch) {
            self.timers.set(Timer::Knock, now.at + KNOCK_AGAIN_INSIDE);
            self.timers.set(Timer::Listen, now.at + DEAF_AFTER);
        }
    }

    /// Whether an epoch was made by somebody who leads, as far as somebody can tell who may hold no more than
    /// the charter: their authority comes with it.
    fn is_authentic(&self, epoch: &Record, credentials: &[Record]) -> bool {
        let Some(state) = &self.state else {
            return false;
        };
        let author = epoch.author();
        let mut leading = vec![state.powers().leading_key()];
        for record in credentials {
            if let Body::Succession(succession) = record.body()
                && record.author() == state.charter().recovery_key
            {
                leading.push(succession.group_key);
            }
        }
        let delegated = credentials.iter().any(|record| match record.body() {
            Body::Delegation(d) => d.subject == author && leading.contains(&record.author()),
            _ => false,
        });
        state.leads(&author) || leading.contains(&author) || delegated
    }

    /// A refusal or a removal, signed by whoever leads; it counts only if it concerns oneself.
    fn handle_answer(&mut self, now: Now, envelope: &[u8]) {
        let Ok(record) = Record::verify_in(envelope, &self.circle) else {
            return;
        };
        let Some(state) = &self.state else {
            return;
        };
        let me = self.me.public_key();
        match record.body() {
            // Somebody at the door knows the leader only; co-leaders' refusals reach those inside.
            Body::Refusal(_) if !state.leads(&record.author()) => {}
            Body::Refusal(refusal) if refusal.subject != me => self.handle_record(now, &record),
            Body::Refusal(refusal) if self.stage == Stage::Knocking => {
                let mine = self.knock.iter().any(|r| r.id() == refusal.join);
                if mine && record.check_time(now.minute).is_ok() {
                    let may_knock_again = refusal.may_knock_again;
                    self.end(End::Refused { may_knock_again });
                }
            }
            Body::Removal(removal) => {
                self.door_replies
                    .remove(&DoorReply::Removal(removal.subject));
                self.handle_record(now, &record);
            }
            Body::Leave(Leave { join }) | Body::Erase(Erase { join }) => {
                let reply = DoorReply::Left(record.author(), *join);
                self.door_replies.remove(&reply);
                self.handle_record(now, &record);
            }
            _ => {}
        }
    }

    fn plan_reply(&mut self, now: Now, reply: DoorReply) {
        let Some(state) = &self.state else {
            return;
        };
        if self.stage != Stage::Inside || self.door_replies.len() >= MAX_REPLIES {
            return;
        }
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        if rank >= MAX_RANK {
            return; // Enough others will answer.
        }
        let last = self.replied.get(&reply).copied().unwrap_or_default();
        let due = (now.at + TURN_TO_ANSWER * rank).max(last + REPLY_AGAIN);
        self.door_replies.entry(reply).or_insert(due);
    }

    pub(super) fn answer_due_doors(&mut self, now: Now) {
        let due: Vec<_> = self
            .door_replies
            .iter()
            .filter(|(_, at)| **at <= now.at)
            .map(|(reply, _)| *reply)
            .collect();
        for reply in due {
            self.door_replies.remove(&reply);
            self.replied.retain(|_, at| now.at < *at + REPLY_AGAIN);
            self.replied.insert(reply, now.at);
            self.reply_at_door(reply);
        }
    }

    fn reply_at_door(&mut self, reply: DoorReply) {
        let Some(state) = &self.state else {
            return;
        };
        let message = match reply {
            DoorReply::Charter => {
                let charter = state.founding().envelope().to_vec();
                Some(DoorMessage::Charter(charter.into()))
            }
            DoorReply::Welcome(member) => self.welcome(&member).map(DoorMessage::Welcome),
            DoorReply::Removal(member) => state
                .notice_of(&member)
                .map(|notice| DoorMessage::Answer(notice.envelope().to_vec().into())),
            DoorReply::Left(member, join) => state
                .leave_of(&member, &join)
                .map(|leave| DoorMessage::Answer(leave.envelope().to_vec().into())),
        };
        if let Some(message) = message {
            self.say_at_door(&message);
        }
    }

    /// The current epoch record, sealed to a member: with it they have the circle's key.
    pub(super) fn welcome(&mut self, member: &PublicKey) -> Option<SealedTo> {
        let state = self.state.as_ref()?;
        let to = state
            .member(member)
            .filter(|_| state.is_admitted(member))?
            .sealing_key;
        let epoch = state.epoch()?;
        if self.authority() == Some(epoch.author()) && epoch.payload().seq > self.durable {
            return None; // Not on disk yet: it is sent when it is.
        }
        let credentials = state.credentials(&epoch.author());
        let records = envelopes(std::iter::once(epoch).chain(credentials));
        let bytes = minicbor::to_vec(records).ok()?;
        let info = self.welcome_info(member);
        let secret = seal_to(&to, None, &info, &bytes, &mut self.rng).ok()?;
        Some(SealedTo {
            member: *member,
            secret,
        })
    }

    fn welcome_info(&self, member: &PublicKey) -> Vec<u8> {
        [
            b"undertone/1/welcome".as_slice(),
            self.circle.as_bytes(),
            member.as_bytes(),
        ]
        .concat()
    }

    /// A token for one person, whom one answers for: void when one is removed.
    ///
    /// # Errors
    /// [`SessionError::NotNow`] outside the circle.
    pub fn sponsor(&mut self, now: Now, minutes: u64) -> Result<Token, SessionError> {
        self.inside()?;
        let until = now.minute + minutes.clamp(1, MAX_TOKEN_MINUTES);
        Ok(Token::issue(&self.me, &self.circle, until, &mut self.rng))
    }

    pub(super) fn say_at_door(&mut self, message: &DoorMessage) {
        let output = self.seal_for_door(message);
        self.outputs.extend(output);
    }

    pub(super) fn seal_for_door(&mut self, message: &DoorMessage) -> Option<Output> {
        let payload = self.door.seal(message, &mut self.rng).ok()?;
        let topic = self.door.topic;
        Some(Output::Publish {
            topic,
            payload,
            delivery: Delivery::Prompt,
        })
    }
}

/// What an applicant says solves the open door's puzzle.
pub(super) fn answer_of(
    state: &CircleState,
    applicant: &Applicant,
) -> Option<(RecordId, Puzzle, u64)> {
    let puzzle = Puzzle {
        cost: state.charter().puzzle?,
        circle: state.id(),
        author: applicant.join.author(),
        purpose: applicant.pledge.id(),
    };
    Some((applicant.join.id(), puzzle, applicant.puzzle()?))
}

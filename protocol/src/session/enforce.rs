//! What follows from a change of the circle: the one place where a rule becomes silence, a closed
//! connection or a new key.

use std::time::Duration;

use crate::circle::{Change, Removed, policy};
use crate::id::PublicKey;
use crate::record::{Equivocation, FloorMode, TurnSeen};

use crate::weakness::Weakness;

use super::message::{CircleMessage, envelopes};
use super::timer::Timer;
use super::{End, Event, LIVE_MINUTES, Now, Output, Session, Stage};

/// How long somebody is still heard after their turn, so that a last word is not cut.
const GRACE: Duration = Duration::from_millis(500);
/// A hand that nobody says is up any more, not even whose it is.
const HAND_FOR: Duration = Duration::from_secs(100);
/// For so long after a turn passed on, a hand that was up before takes it.
const UNSETTLED: Duration = Duration::from_secs(3);
/// How long the connection of somebody removed stays open, with nothing of theirs let through, so that the
/// notice itself can still reach them: they are told why.
const CLOSE_AFTER: Duration = Duration::from_millis(700);
/// How long one's own removal may turn out void, or taken back, before one goes.
const SETTLE_AFTER: Duration = Duration::from_secs(3);

impl Session {
    pub(super) fn follow(&mut self, now: Now, changes: &[Change]) {
        if !changes.is_empty() {
            self.in_vain.clear();
        }
        let digest = self.state.as_ref().map_or(0, super::presence::digest);
        if digest != self.changed.0 {
            self.changed = (digest, now.at);
        }
        for change in changes {
            match change {
                Change::Removed(member) => self.enforce_removal(now, member),
                Change::Left(member) => self.see_off(now, member),
                Change::Epoch(_) => self.enter_latest_epoch(now),
                Change::Admitted(member) if *member == self.me.public_key() => {
                    self.say_hello_soon(now);
                }
                Change::Admitted(member) => {
                    self.let_in_again(member);
                    self.take_early_hello(now, member);
                }
                Change::Reinstated(member) => self.let_in_again(member),
                Change::Closed => self.end(End::Closed),
                Change::Thanked {
                    from,
                    subject,
                    gratitude,
                } => self.event(Event::Thanked {
                    from: *from,
                    subject: *subject,
                    gratitude: *gratitude,
                }),
                Change::AskedToCease(member) if *member == self.me.public_key() => {
                    self.event(Event::AskedToCease);
                }
                Change::Ceased(member) => self.event(Event::Ceased(*member)),
                Change::Forked(key) => self.expose_fork(now, key),
                Change::Succeeded(leader) => self.event(Event::Succeeded(*leader)),
                Change::Erased(member) => self.outputs.push_back(Output::Delete(*member)),
                Change::Pledged(_)
                | Change::Knocked(_)
                | Change::TurnedAway(_)
                | Change::Role(..)
                | Change::Muted(_)
                | Change::AskedToCease(_)
                | Change::Frozen(_)
                | Change::Mode(_)
                | Change::Door(_)
                | Change::Floor => {}
            }
            if matches!(self.stage, Stage::Out(_)) {
                return;
            }
        }
        self.follow_floor(now);
    }

    /// A removal turned out to be void, or was taken back.
    fn let_in_again(&mut self, member: &PublicKey) {
        if let Some(transport) = self.blocked.remove(member) {
            self.closing.retain(|(_, t)| *t != transport);
            self.outputs.push_back(Output::Unblock(transport));
        }
    }

    /// Everybody is told, with the proof.
    fn expose_fork(&mut self, now: Now, key: &PublicKey) {
        self.event(Event::LeaderContradicts(*key));
        let forks = self.state.iter().flat_map(|s| s.forks());
        let proof = forks
            .filter(|(one, _)| one.author() == *key)
            .map(|(one, other)| Equivocation {
                first: one.envelope().to_vec().into(),
                second: other.envelope().to_vec().into(),
            })
            .next();
        if let Some(proof) = proof
            && self.inside().is_ok()
            && let Ok(record) = self.sign_own(now, LIVE_MINUTES, proof)
        {
            self.broadcast(&CircleMessage {
                records: envelopes([&record]),
                voice_key: None,
            });
        }
    }

    /// At every layer, at once: sound, keys, connection, and oneself if it is oneself.
    fn enforce_removal(&mut self, now: Now, member: &PublicKey) {
        self.event(Event::RemovalEnforced(*member));
        if *member == self.me.public_key() {
            return self.take_own_removal(now);
        }
        self.heard_until.remove(member);
        let transport = self.presence.of(member).map(|p| p.transport);
        self.see_off(now, member);
        if let Some(transport) = transport {
            let at = now.at + CLOSE_AFTER;
            self.closing.push((at, transport));
            self.blocked.insert(*member, transport);
            self.timers.set_sooner(Timer::Close, at);
        }
    }

    /// One is silent at once. One goes at once on the word of whoever leads; a co-leader's may turn out void,
    /// and any may be taken back further on in a history that one is still reading.
    fn take_own_removal(&mut self, now: Now) {
        let leader = self.state.as_ref().map(|s| s.powers().leading_key());
        let by_leader = self.own_removal().map(|r| r.notice.author()) == leader;
        if by_leader && !self.is_reading_history() {
            return self.end_if_removed();
        }
        let at = now.at + SETTLE_AFTER;
        self.timers.set_sooner(Timer::OwnRemoval, at);
    }

    pub(super) fn end_if_removed(&mut self) {
        if let Some(Removed { clause, .. }) = self.own_removal() {
            self.end(End::Removed { clause });
        }
    }

    fn own_removal(&self) -> Option<Removed> {
        self.state.as_ref()?.removal_of(&self.me.public_key())
    }

    /// Closes the connections of whoever was removed a moment ago.
    pub(super) fn close_removed(&mut self, now: Now) {
        let (due, later): (Vec<_>, Vec<_>) =
            self.closing.drain(..).partition(|(at, _)| *at <= now.at);
        self.closing = later;
        for (_, transport) in due {
            self.outputs.push_back(Output::Block(transport));
        }
        if let Some(next) = self.closing.iter().map(|(at, _)| *at).min() {
            self.timers.set(Timer::Close, next);
        }
    }

    /// Somebody is gone: their sound and keys are dropped, and one's own key is replaced without them.
    fn see_off(&mut self, now: Now, member: &PublicKey) {
        if *member == self.me.public_key() {
            // Somebody who comes back reads of their own leaving long ago, before being let in anew.
            let current = self.own_join();
            let left = self.state.as_ref().zip(current);
            if left.is_some_and(|(state, join)| state.has_left(member, &join)) {
                self.end(End::Left);
            }
            return;
        }
        self.outputs.push_back(Output::Silence(*member));
        if !self.lacks(Weakness::Silence) {
            self.voice.forget(member);
        }
        self.presence.remove(member);
        self.update_allowed();
        if self.stage == Stage::Inside && !self.lacks(Weakness::Rekey) {
            self.replace_voice_key(now);
        }
    }

    /// Whoever has a hand up says so every half minute. One that is only remembered here is down: its author
    /// was answered, and did not hear of it in time, or has started again and does not know of it.
    fn lower_forgotten_hands(&mut self, now: Now) {
        let Some(state) = &mut self.state else {
            return;
        };
        let me = self.me.public_key();
        let turn = state.turn().map(|t| t.id);
        let hands: Vec<_> = state.hands().filter(|h| h.0 != me).collect();
        self.hands
            .retain(|key, _| hands.iter().any(|h| h.0 == *key));
        for (key, hand, request) in hands {
            let (last, since) = self.hands.entry(key).or_insert((request, now.at));
            if *last != request {
                (*last, *since) = (request, now.at);
            }
            if now.at > *since + HAND_FOR && turn != Some(hand) {
                state.expire_turn(&hand);
            }
        }
    }

    /// Compares the turn with what it was: begins it, ends it, lengthens it.
    pub(super) fn follow_floor(&mut self, now: Now) {
        self.lower_forgotten_hands(now);
        let Some(state) = &self.state else {
            return;
        };
        let me = self.me.public_key();
        let here: Vec<_> = state
            .members()
            .map(|(key, _)| *key)
            .filter(|key| *key == me || self.presence.keeps_seat(key, now.at))
            .collect();
        let led = self.is_led(now);
        let passes_on = state.floor_mode() == FloorMode::Passive || !led;
        let just_begun = self.turn.filter(|_| !led).is_some_and(|(turn, ends)| {
            ends + UNSETTLED > now.at + Duration::from_secs(turn.seconds.into())
        });
        if let Some(state) = self.state.as_mut() {
            state.pass_turns_on(passes_on, just_begun, |key| here.contains(key));
        }
        let turn = self.state.as_ref().and_then(|s| s.turn());
        let before = self.turn.take();
        if let Some((old, _)) = before.filter(|(old, _)| turn.is_none_or(|t| t.id != old.id)) {
            self.allow_last_word(now, &old.holder);
        }
        if let Some(turn) = turn {
            let same = before.filter(|(old, _)| old.id == turn.id);
            let ends = match same {
                Some((old, ends)) => {
                    let longer = u64::from(turn.seconds.saturating_sub(old.seconds));
                    ends + Duration::from_secs(longer)
                }
                // Somebody who has been here longer may say that it began before.
                None => now.at + Duration::from_secs(turn.seconds.into()),
            };
            self.turn = Some((turn, ends));
            self.timers.set(Timer::TurnEnd, ends);
            if same.is_none() {
                self.event(Event::TurnBegan(turn.holder));
                // Where turns pass on in a led circle, the word of whoever leads counts.
                if passes_on && self.authority().is_some() {
                    self.say_hello_soon(now);
                }
            }
        }
        self.refresh_speaking(now);
    }

    /// Somebody says whose turn it is, and since when: one believes whoever acts as leader, and while one is new
    /// everybody.
    pub(super) fn take_over_turn(&mut self, now: Now, seen: &TurnSeen) {
        if let Some(state) = self.state.as_mut()
            && state.adopt_turn(&seen.turn)
        {
            self.follow_floor(now);
        }
        if let Some((turn, ends)) = &mut self.turn
            && turn.id == seen.turn
        {
            let left = Duration::from_secs(turn.seconds.saturating_sub(seen.seconds).into());
            *ends = (*ends).min(now.at + left);
            self.timers.set(Timer::TurnEnd, *ends);
        }
    }

    pub(super) fn end_turn_on_time(&mut self, now: Now) {
        match self.turn {
            Some((turn, ends)) if ends <= now.at => {
                if let Some(state) = &mut self.state {
                    state.expire_turn(&turn.id);
                }
            }
            Some((_, ends)) => self.timers.set(Timer::TurnEnd, ends),
            None => {}
        }
        self.follow_floor(now);
    }

    fn allow_last_word(&mut self, now: Now, member: &PublicKey) {
        self.heard_until.insert(*member, now.at + GRACE);
        self.timers.set(Timer::Grace, now.at + GRACE);
    }

    /// Whether somebody's sound is let through now.
    pub(super) fn is_heard(&self, now: Now, member: &PublicKey) -> bool {
        let Some(state) = &self.state else {
            return false;
        };
        if self.lacks(Weakness::Silence) {
            return true;
        }
        let grace = self.heard_until.get(member).is_some_and(|t| now.at < *t);
        state.is_admitted(member) && (grace || policy::may_be_heard(state, member, now.minute))
    }

    /// Tells the voice whether it may go out, and forgets graces that are over.
    pub(super) fn refresh_speaking(&mut self, now: Now) {
        self.heard_until.retain(|_, until| now.at < *until);
        let me = self.me.public_key();
        let may = self
            .state
            .as_ref()
            .is_some_and(|s| s.is_admitted(&me) && policy::may_be_heard(s, &me, now.minute));
        if self.voice.may_speak != may {
            self.voice.may_speak = may;
            self.outputs.push_back(Output::MaySpeak(may));
        }
    }
}

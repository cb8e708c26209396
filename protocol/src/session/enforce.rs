//! What follows from a change of the circle: the one place where a rule becomes silence, a closed
//! connection or a new key.

use std::time::Duration;

use crate::circle::{Change, policy};
use crate::id::PublicKey;

use super::timer::Timer;
use super::{End, Event, Now, Output, Session, Stage};

/// How long somebody is still heard after their turn, so that a last word is not cut.
const GRACE: Duration = Duration::from_millis(500);
/// How long the connection of somebody removed stays open, with nothing of theirs let through, so that the
/// notice itself can still reach them: they are told why.
const CLOSE_AFTER: Duration = Duration::from_millis(700);

impl Session {
    pub(super) fn follow(&mut self, now: Now, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Removed(member) => self.enforce_removal(now, member),
                Change::Left(member) => self.see_off(now, member),
                Change::Epoch(_) => self.enter_latest_epoch(now),
                Change::TurnBegan(member) => self.begin_turn(now, member),
                Change::TurnEnded(member) => self.allow_last_word(now, member),
                Change::Admitted(member) if *member == self.me.public_key() => {
                    self.say_hello_soon(now);
                }
                Change::Admitted(_)
                | Change::Pledged(_)
                | Change::Knocked(_)
                | Change::TurnedAway(_)
                | Change::Queue => {}
            }
            if matches!(self.stage, Stage::Out(_)) {
                return;
            }
        }
        let left = changes.iter().any(|c| matches!(c, Change::Left(_)));
        if left && !changes.iter().any(|c| matches!(c, Change::Epoch(_))) {
            self.renew_epoch_without(now);
        }
        self.refresh_speaking(now);
    }

    /// At every layer, at once: sound, keys, connection, and oneself if it is oneself.
    fn enforce_removal(&mut self, now: Now, member: &PublicKey) {
        self.event(Event::RemovalEnforced(*member));
        if *member == self.me.public_key() {
            let clause = self
                .state
                .as_ref()
                .and_then(|s| s.removal_of(member))
                .map(|r| r.clause.clone())
                .unwrap_or_default();
            self.end(End::Removed { clause });
            return;
        }
        self.heard_until.remove(member);
        let transport = self.presence.of(member).map(|p| p.transport);
        self.see_off(now, member);
        if let Some(transport) = transport {
            let at = now.at + CLOSE_AFTER;
            self.closing.push((at, transport));
            self.timers.set_sooner(Timer::Close, at);
        }
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
            let past = self
                .state
                .as_ref()
                .is_some_and(|s| s.is_admitted(member) || s.epoch_number() < self.epochs.number());
            if !past {
                self.end(End::Left);
            }
            return;
        }
        self.outputs.push_back(Output::Silence(*member));
        self.voice.forget(member);
        self.presence.remove(member);
        self.update_allowed();
        if self.stage == Stage::Inside {
            self.replace_voice_key(now);
        }
    }

    pub(super) fn begin_turn(&mut self, now: Now, member: &PublicKey) {
        let Some(turn) = self.state.as_ref().and_then(|s| s.floor().turn()).copied() else {
            return;
        };
        // Records know minutes only, so a turn heard of late may last up to one longer here.
        let seconds = u64::from(turn.seconds);
        let over = 60 * (turn.granted + 1) + seconds;
        let left = over.saturating_sub(60 * now.minute).min(seconds);
        let ends = now.at + Duration::from_secs(left);
        self.turn_ends = Some((turn.id, ends));
        self.timers.set(Timer::TurnEnd, ends);
        if *member == self.me.public_key() {
            self.hand = None;
        }
        self.event(Event::TurnBegan(*member));
    }

    pub(super) fn end_turn_on_time(&mut self, now: Now) {
        let Some((turn, _)) = self.turn_ends.take() else {
            return;
        };
        let Some(state) = &mut self.state else {
            return;
        };
        let holder = state.floor().turn().map(|t| t.holder);
        if state.expire_turn(&turn)
            && let Some(holder) = holder
        {
            self.allow_last_word(now, &holder);
            self.refresh_speaking(now);
        }
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
        let grace = self.heard_until.get(member).is_some_and(|t| now.at < *t);
        state.is_admitted(member) && (grace || policy::may_be_heard(state, member))
    }

    /// Tells the voice whether it may go out, and forgets graces that are over.
    pub(super) fn refresh_speaking(&mut self, now: Now) {
        self.heard_until.retain(|_, until| now.at < *until);
        let me = self.me.public_key();
        let may = self
            .state
            .as_ref()
            .is_some_and(|s| s.is_admitted(&me) && policy::may_be_heard(s, &me));
        if self.voice.may_speak != may {
            self.voice.may_speak = may;
            self.outputs.push_back(Output::MaySpeak(may));
        }
    }
}

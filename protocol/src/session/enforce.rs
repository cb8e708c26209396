//! What follows from a change of the circle: the one place where a rule becomes silence, a closed
//! connection or a new key.

use std::time::Duration;

use crate::circle::{Change, Removed};
use crate::id::PublicKey;
use crate::record::Equivocation;
use crate::weakness::Weakness;

use super::message::{CircleMessage, envelopes};
use super::timer::Timer;
use super::{End, Event, LIVE_MINUTES, Now, Output, Session, Stage};

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
                    if let Some(hello) = self.early_hellos.take(now.at, member) {
                        self.handle_circle_message(now, hello, false);
                    }
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
}

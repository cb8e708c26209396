//! The floor: hands and turns, whose sound is let through, and saying all that again to whoever may not know.

use std::time::Duration;

use minicbor::bytes::ByteVec;

use crate::circle::policy;
use crate::id::PublicKey;
use crate::record::{Body, FloorMode, Record, TurnRelease, TurnRequest, TurnSeen};
use crate::seal::{BUCKETS, SEALING_BYTES};
use crate::weakness::Weakness;

use super::message::{CircleMessage, envelopes};
use super::presence::HELLO_EVERY;
use super::timer::Timer;
use super::{Event, LIVE_MINUTES, Now, Output, Session, SessionError};

/// How long somebody is still heard after their turn, so that a last word is not cut.
const GRACE: Duration = Duration::from_millis(500);
/// A hand that nobody says is up any more, not even whose it is.
const HAND_FOR: Duration = Duration::from_secs(100);
/// For so long after a turn passed on, a hand that was up before takes it.
const UNSETTLED: Duration = Duration::from_secs(3);
/// What is up is repeated with a hello, but no more often.
pub(super) const FLOOR_GAP: Duration = Duration::from_secs(2);
/// Messages in which that is done, at most.
const FLOOR_MESSAGES: usize = 2;
/// Bytes of envelopes that fit into the smallest message.
const SMALL: usize = BUCKETS[0] - SEALING_BYTES - 8;

impl Session {
    /// Asks for a turn.
    pub(super) fn raise_hand(&mut self, now: Now) -> Result<(), SessionError> {
        let state = self.inside()?;
        let me = self.me.public_key();
        if state.hand_of(&me).is_some() {
            return Ok(());
        }
        let since = self.next_lamport();
        let first = self.next_seq;
        let request = self.sign_own(now, LIVE_MINUTES, TurnRequest { since, first })?;
        self.hand_said = Some(now.at);
        self.publish_own(now, request)
    }

    /// Says again that one's hand is up: whoever was out of reach may have been answered meanwhile, and does
    /// not know.
    pub(super) fn renew_hand(&mut self, now: Now) {
        let me = self.me.public_key();
        // Whoever was alone may have taken a turn that nobody knows of.
        let led = self.is_led(now);
        let waiting = self.state.as_ref().and_then(|s| s.request_of(&me, led));
        let Some(Body::TurnRequest(raised)) = waiting.map(Record::body) else {
            return;
        };
        let (since, first) = (raised.since, raised.first);
        if self
            .hand_said
            .is_some_and(|said| now.at < said + HELLO_EVERY)
        {
            return;
        }
        self.hand_said = Some(now.at);
        if let Ok(request) = self.sign_own(now, LIVE_MINUTES, TurnRequest { since, first })
            && let Some(state) = self.state.as_mut()
        {
            let _ = state.apply(&request);
        }
    }

    /// Gives the turn back, or takes the hand down.
    pub(super) fn pass(&mut self, now: Now) -> Result<(), SessionError> {
        let state = self.inside()?;
        let holder = self.me.public_key();
        let held = state.turn().filter(|t| t.holder == holder).map(|t| t.id);
        // Whose turn has just ended has what they want.
        let Some(turn) = held.or_else(|| state.hand_of(&holder)) else {
            return Ok(());
        };
        let release = self.sign_own(now, LIVE_MINUTES, TurnRelease { holder, turn })?;
        self.publish_own(now, release)
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

    /// Whether what is up was repeated so lately that it waits for another hello.
    pub(super) fn owes_floor(&self, now: Now) -> bool {
        let state = self.state.as_ref();
        state.is_some_and(|s| s.floor_records().next().is_some())
            && (self.floor_repeated).is_some_and(|when| now.at < when + FLOOR_GAP)
    }

    /// One's raised hand and the turn one gave or has; and of all that is up, if one comes first, for whoever has started again
    /// and does not know their own, some each time. In messages of the smallest size, like all that is said of the floor: in
    /// a larger one a relay would see who has the turn.
    pub(super) fn repeat_floor(&mut self, now: Now, time: u64) {
        let Some(state) = &self.state else {
            return;
        };
        let me = self.me.public_key();
        let holds = self.turn.is_some_and(|(turn, _)| turn.holder == me);
        let speaks_for_all = holds || self.presence.rank(state, &me, now.at) == 0;
        let authority = self.authority();
        let (mut floor, mut others): (Vec<_>, Vec<_>) = state
            .floor_records()
            .filter(|r| r.author() == me || Some(r.author()) == authority || speaks_for_all)
            .cloned()
            .partition(|r| r.author() == me || Some(r.author()) == authority);
        let first = time.checked_rem(others.len() as u64);
        others.rotate_left(first.unwrap_or_default() as usize);
        floor.append(&mut others);
        let mut messages = vec![Vec::new()];
        for envelope in envelopes(&floor) {
            let open = messages
                .last_mut()
                .filter(|m| weight(m.iter()) + weight([&envelope]) <= SMALL);
            match open {
                Some(message) => message.push(envelope),
                None => messages.push(vec![envelope]),
            }
        }
        messages.retain(|message| !message.is_empty());
        for records in messages.into_iter().take(FLOOR_MESSAGES) {
            self.broadcast(&CircleMessage {
                records,
                voice_key: None,
            });
        }
    }
}

/// Bytes that envelopes take in a message.
fn weight<'a>(envelopes: impl IntoIterator<Item = &'a ByteVec>) -> usize {
    let head = |length: usize| if length < 256 { 2 } else { 3 };
    let lengths = envelopes.into_iter().map(|e| e.len());
    lengths.map(|length| length + head(length)).sum()
}

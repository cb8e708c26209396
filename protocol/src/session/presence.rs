//! Who is here on which transport: hello records, which also say how far somebody has read and which
//! voice keys they hold, so that whatever is missing is sent again until it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;

use crate::circle::{CircleState, Turn};
use crate::id::{PublicKey, SignatureBytes, TransportId};
use crate::record::{Body, Head, Hello, Record, Role, RouteKind, TurnSeen};
use crate::signature;

use super::floor::FLOOR_GAP;
use super::message::{CircleMessage, envelopes};
use super::timer::Timer;
use super::{Delivery, LASTING_MINUTES, Now, Output, Session, Stage};

/// How often a hello is repeated.
pub(super) const HELLO_EVERY: Duration = Duration::from_secs(30);
/// How often at first, while people find each other; in relayed circles with each [beat](super::beat).
const HELLO_AT_FIRST: Duration = Duration::from_millis(500);
/// However often somebody is asked, no two hellos come closer than this.
const HELLO_GAP: Duration = Duration::from_millis(200);
/// Without a packet of theirs for so long, somebody present is looked for again.
const UNHEARD_FOR: Duration = Duration::from_secs(2);
/// For how long that is.
const AT_FIRST: Duration = Duration::from_secs(6);
/// Without a hello for so long, somebody is away.
pub(super) const PRESENT_FOR: Duration = Duration::from_secs(90);
/// Without the leader's hello for so long, moderation is not verified.
pub(super) const VERIFIED_FOR: Duration = Duration::from_secs(120);
/// Whoever was not heard of for so long has lost their place in the queue.
const SEAT_FOR: Duration = Duration::from_secs(60);
/// Without a hello of anybody who leads for so long, turns pass on by themselves.
const LED_FOR: Duration = Duration::from_secs(65);
/// Nothing from anybody for so long: one may be under a circle key that the others have left.
pub(super) const DEAF_AFTER: Duration = Duration::from_secs(5);
/// Whoever says the same for so long, and sees another circle, does not get on by reading: who is ahead may hang
/// on what only one of two has heard.
const STUCK_AFTER: Duration = Duration::from_secs(5);
/// Hellos that come sooner where somebody is behind, or at odds with somebody: an answer may be lost.
const UNSURE: u8 = 4;
/// What was decided takes so long to be everywhere.
const SETTLES_IN: Duration = Duration::from_secs(1);
/// How long a hello is valid, in minutes.
const HELLO_MINUTES: u64 = 2;

/// One member as they are here now.
#[derive(Debug, Clone)]
pub(super) struct Presence {
    pub transport: TransportId,
    pub seq: u64,
    pub seen: Duration,
    pub addresses: Vec<String>,
    /// How far they said they had read, and what came of it; since when they say so.
    reads: (Vec<Head>, u64),
    reads_since: Duration,
    /// When a packet of theirs was last opened.
    pub heard: Option<Duration>,
    pub muted: bool,
}

impl Presence {
    /// Whether their last hello is not long ago.
    pub(super) fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.seen) < 2 * HELLO_EVERY / 3
    }
    fn is_unheard(&self, now: Duration) -> bool {
        self.heard
            .is_none_or(|heard| now.saturating_sub(heard) > UNHEARD_FOR)
    }
}

#[derive(Debug, Default)]
pub(super) struct PresenceTable {
    present: BTreeMap<PublicKey, Presence>,
    fast_until: Duration,
}

impl PresenceTable {
    pub fn of(&self, member: &PublicKey) -> Option<&Presence> {
        self.present.get(member)
    }
    pub fn of_mut(&mut self, member: &PublicKey) -> Option<&mut Presence> {
        self.present.get_mut(member)
    }
    pub fn remove(&mut self, member: &PublicKey) -> Option<Presence> {
        self.present.remove(member)
    }
    /// Whether hellos should come often: one came in just now, or somebody says hello but is not heard.
    fn is_unsettled(&self, now: Duration) -> bool {
        let unheard = |p: &Presence| p.is_recent(now) && p.is_unheard(now);
        now < self.fast_until || self.present.values().any(unheard)
    }
    fn is_heard_of(&self, member: &PublicKey, within: Duration, now: Duration) -> bool {
        self.of(member).is_some_and(|p| {
            let last = p.heard.unwrap_or_default().max(p.seen);
            now.saturating_sub(last) < within
        })
    }
    /// Whether somebody is here, or was a moment ago.
    pub fn keeps_seat(&self, member: &PublicKey, now: Duration) -> bool {
        self.is_heard_of(member, SEAT_FOR, now)
    }
    /// Whether somebody said hello so lately that one who is not heard is looked for.
    fn has_heard_of_anybody(&self, now: Duration) -> bool {
        self.present.values().any(|p| p.is_recent(now))
    }
    /// Whether others were here a moment ago, and nothing of any of them has come for a while.
    pub fn hears_nobody(&self, now: Duration) -> bool {
        let lately = |p: &Presence| now.saturating_sub(p.seen) < PRESENT_FOR;
        self.present.values().any(lately)
            && !self
                .present
                .keys()
                .any(|key| self.is_heard_of(key, DEAF_AFTER, now))
    }
    fn transports(&self) -> Vec<TransportId> {
        self.present.values().map(|p| p.transport).collect()
    }

    /// One's place in the order in which members answer: the leader first, then co-leaders, then by key.
    /// Everybody who sees the same members gives the same order.
    pub fn rank(&self, state: &CircleState, me: &PublicKey, now: Duration) -> u32 {
        let class = |key: &PublicKey| match state.member(key).map(|m| m.role) {
            Some(Role::Leader) => 0,
            Some(Role::CoLeader) => 1,
            _ => 2,
        };
        let mine = (class(me), *me);
        let before = self
            .present
            .iter()
            .filter(|(_, p)| now.saturating_sub(p.seen) < PRESENT_FOR)
            .filter(|(key, _)| state.is_admitted(key) && (class(key), **key) < mine)
            .count();
        before as u32
    }
}

impl Session {
    pub(super) fn begin_presence(&mut self, now: Now) {
        self.presence.fast_until = now.at + AT_FIRST;
        self.timers.set(Timer::Hello, now.at);
    }

    /// Whoever was away for long is here as if new: the others may have given them up, and they the others.
    pub(super) fn handle_reconnected(&mut self, now: Now) {
        self.ask_or_knock_now(now);
        if self.stage == Stage::Inside && !self.presence.has_heard_of_anybody(now.at) {
            self.begin_presence(now);
        }
        self.say_hello_soon(now);
    }

    /// A hello within a tenth of a second, a little at random so that not all speak at once.
    pub(super) fn say_hello_soon(&mut self, now: Now) {
        if self.stage == Stage::Inside {
            let jitter = Duration::from_millis(10 + u64::from(self.rng.next_u32() % 70));
            let at = (now.at + jitter).max(self.hello_allowed);
            self.timers.set_sooner(Timer::Hello, at);
        }
    }

    pub(super) fn say_hello(&mut self, now: Now) {
        // Whoever had or gave turns may have gone without a word.
        self.follow_floor(now);
        self.renew_hand(now);
        let owes_floor = self.owes_floor(now);
        self.broadcast_hello(now);
        self.hello_allowed = now.at + HELLO_GAP;
        self.unsure = self.unsure.saturating_sub(1);
        let every = match self.presence.is_unsettled(now.at) {
            true => self.beat().unwrap_or(HELLO_AT_FIRST),
            false if owes_floor || self.unsure > 0 => FLOOR_GAP,
            false => HELLO_EVERY,
        };
        self.timers.set(Timer::Hello, now.at + every);
    }

    fn beat(&self) -> Option<Duration> {
        let state = self.state.as_ref().filter(|_| self.route.is_relayed())?;
        let charter = state.charter();
        Some(super::beat(
            charter.max_members,
            charter.pace.unwrap_or_default(),
        ))
    }

    /// Says hello, and hands one's voice key to whoever lacks it; and repeats of the floor what newcomers are to learn.
    pub(super) fn broadcast_hello(&mut self, now: Now) {
        let voice_key = self.voice_key_handout(now);
        let Some(hello) = self.hello(now) else {
            return;
        };
        // Where somebody comes, everybody can see it; at other times hellos may have to do with turns.
        let delivery = match voice_key.is_some() || self.presence.is_unsettled(now.at) {
            true => Delivery::Prompt,
            false => Delivery::Paced,
        };
        let records = envelopes([&hello]);
        self.deliver(&CircleMessage { records, voice_key }, delivery);
        if !self.owes_floor(now) {
            self.floor_repeated = Some(now.at);
            self.repeat_floor(now, hello.payload().seq);
        }
    }

    pub(super) fn hello(&mut self, now: Now) -> Option<Record> {
        let state = self.state.as_ref()?;
        let me = self.me.public_key();
        let binding = Hello::binding(&self.circle, &me);
        let elapsed = |(turn, ends): &(Turn, Duration)| TurnSeen {
            turn: turn.id,
            seconds: turn
                .seconds
                .saturating_sub(ends.saturating_sub(now.at).as_secs() as u16),
        };
        let hello = Hello {
            transport: TransportId::from_bytes(self.transport.verifying_key().to_bytes()),
            proof: SignatureBytes::from_bytes(signature::sign(&self.transport, &binding)),
            heads: state.heads(),
            voice_keys: self.voice.key_ids(),
            addresses: match self.route.is_relayed() {
                false => self.addresses.clone(),
                true => Vec::new(),
            },
            digest: digest(state),
            turn: self.turn.as_ref().map(elapsed),
        };
        self.sign_own(now, HELLO_MINUTES, hello).ok()
    }

    pub(super) fn handle_hello(&mut self, now: Now, record: &Record) {
        let Body::Hello(hello) = record.body() else {
            return;
        };
        let Some(state) = &self.state else {
            return;
        };
        let author = record.author();
        if author == self.me.public_key() || record.check_time(now.minute).is_err() {
            return;
        }
        let heads = state.heads();
        let is_behind = is_ahead(&hello.heads, &heads);
        let they_are_behind = is_ahead(&heads, &hello.heads);
        let differs = hello.digest != digest(state);
        if is_behind {
            // Behind, perhaps not even knowing its author yet: one's own hello says so, others answer.
            self.say_hello_soon(now);
            self.unsure = UNSURE;
        }
        let Some(state) = &self.state else {
            return;
        };
        if crate::circle::policy::check(state, record).is_err() || !self.binds(&author, hello) {
            return;
        }
        if let Some(state) = self.state.as_mut() {
            state.observe(record);
        }
        let seq = record.payload().seq;
        let before = self.presence.of(&author);
        if before.is_some_and(|p| p.seq >= seq) {
            return;
        }
        let moved = before.is_none_or(|p| p.transport != hello.transport);
        // They were out of reach, and so was one's own hello for them.
        let returned = before.is_some_and(|p| now.at >= p.seen + 2 * HELLO_EVERY);
        let heard = before.filter(|_| !moved).and_then(|p| p.heard);
        let muted = before.is_some_and(|p| p.muted);
        let reads = (hello.heads.clone(), hello.digest);
        let as_before = before.filter(|p| p.reads == reads);
        let reads_since = as_before.map_or(now.at, |p| p.reads_since);
        let gets_on = is_behind || they_are_behind;
        let is_at_odds = differs && (!gets_on || now.at >= reads_since + STUCK_AFTER);
        // What changed just now is not known to all yet.
        let settles_at = match is_at_odds {
            true => self.changed.1 + SETTLES_IN,
            false => now.at,
        };
        let presence = Presence {
            transport: hello.transport,
            seq,
            seen: now.at,
            addresses: hello.addresses.clone(),
            reads,
            reads_since,
            heard,
            muted,
        };
        let lost = presence.is_unheard(now.at);
        self.presence.present.insert(author, presence);
        if lost {
            self.dial(&author);
        }
        if moved {
            self.hand_said = None;
            self.voice.forget(&author);
            self.outputs.push_back(Output::Silence(author));
            self.update_allowed();
        }
        if moved || returned {
            self.say_hello_soon(now);
        }
        let is_told_all = is_at_odds && self.catch_up.heeds(&author, self.stored, now.at);
        if they_are_behind || is_told_all {
            let read = (&hello.heads[..], hello.digest);
            self.note_reader(now, author, read, is_told_all, settles_at);
        } else if !differs {
            self.note_up_to_date(&author);
        }
        if is_at_odds {
            self.unsure = UNSURE;
            let soon = (now.at + FLOOR_GAP).max(self.hello_allowed);
            self.timers.set_sooner(Timer::Hello, soon);
        }
        let is_new = now.at < self.presence.fast_until;
        if let Some(turn) = hello
            .turn
            .filter(|_| is_new || self.acts_as_leader(&author, now))
        {
            self.take_over_turn(now, &turn);
        }
        if !hello.voice_keys.contains(&self.voice.own_key_id()) {
            self.owe_voice_key(now, author);
        }
    }

    fn binds(&self, author: &PublicKey, hello: &Hello) -> bool {
        let binding = Hello::binding(&self.circle, author);
        let key = signature::key(hello.transport.as_bytes());
        key.is_some_and(|key| signature::fits(&key, &binding, hello.proof.as_bytes()))
    }

    /// In a direct circle, the one with the lower transport id connects.
    fn dial(&mut self, member: &PublicKey) {
        let own = self.transport.verifying_key().to_bytes();
        let Some(presence) = self.presence.of(member) else {
            return;
        };
        if self.route == RouteKind::Direct
            && own < *presence.transport.as_bytes()
            && !presence.addresses.is_empty()
        {
            self.outputs.push_back(Output::Dial {
                transport: presence.transport,
                addresses: presence.addresses.clone(),
            });
        }
    }

    pub(super) fn update_allowed(&mut self) {
        self.outputs
            .push_back(Output::Allow(self.presence.transports()));
    }

    /// Whether somebody who leads is here, so that turns are theirs to give.
    pub(super) fn is_led(&self, now: Now) -> bool {
        self.authority().is_some() || self.has_authority_within(LED_FOR, now)
    }

    /// Whether somebody else is the one who leads here now: the leader, else the co-leader who comes first.
    fn acts_as_leader(&self, member: &PublicKey, now: Now) -> bool {
        let leads = |s: &CircleState| *member == s.leader() || s.leads(member);
        self.state.as_ref().is_some_and(|s| {
            leads(s) && self.presence.rank(s, member, now.at) == 0 && !self.is_acting(now)
        })
    }

    /// Whether notices of those who lead arrive: otherwise nobody is let in, and no key is given out.
    pub(super) fn is_moderation_verified(&self, now: Now) -> bool {
        self.authority().is_some()
            || self.has_authority_within(VERIFIED_FOR, now)
            || self.lacks(crate::weakness::Weakness::Freshness)
    }

    fn has_authority_within(&self, time: Duration, now: Now) -> bool {
        let Some(state) = &self.state else {
            return false;
        };
        let leads = |key: &PublicKey| *key == state.leader() || state.leads(key);
        let mut leading = state.members().filter(|(key, _)| leads(key));
        leading.any(|(key, _)| {
            let seen = self.presence.of(key).map(|p| p.seen);
            seen.is_some_and(|seen| now.at.saturating_sub(seen) < time)
        })
    }

    /// Leaves for good; and asks, if so wished, that what others hold of one be deleted.
    pub(super) fn leave(&mut self, now: Now, erase: bool) -> Result<(), super::SessionError> {
        let me = self.me.public_key();
        let leader = self.state.as_ref().map(|s| s.leader());
        let join = self.own_join();
        // A leader stays a member while away, and can come back to lead.
        if let Some(join) = join.filter(|_| self.stage == Stage::Inside && leader != Some(me)) {
            let record = match erase {
                true => self.sign_own(now, LASTING_MINUTES, crate::record::Erase { join })?,
                false => self.sign_own(now, LASTING_MINUTES, crate::record::Leave { join })?,
            };
            if let Some(state) = self.state.as_mut() {
                let _ = state.apply(&record);
            }
            self.broadcast(&CircleMessage {
                records: envelopes([&record]),
                voice_key: None,
            });
            self.save(&[]);
        }
        self.end(super::End::Left);
        Ok(())
    }

    /// The state, if one is inside and known to be.
    pub(super) fn inside(&self) -> Result<&CircleState, super::SessionError> {
        let me = self.me.public_key();
        self.state
            .as_ref()
            .filter(|s| self.stage == Stage::Inside && s.is_admitted(&me))
            .ok_or(super::SessionError::NotNow)
    }

    /// Applies a record of one's own here, and sends it.
    pub(super) fn publish_own(
        &mut self,
        now: Now,
        record: Record,
    ) -> Result<(), super::SessionError> {
        let state = self.state.as_mut().ok_or(super::SessionError::NotNow)?;
        let applied = state.apply(&record)?;
        self.broadcast(&CircleMessage {
            records: envelopes([&record]),
            voice_key: None,
        });
        if let crate::circle::Applied::Changed(changes) = applied {
            self.save(&changes);
            self.follow(now, &changes);
        }
        Ok(())
    }
}

/// Whether somebody has read further than somebody else in any chain.
fn is_ahead(one: &[Head], other: &[Head]) -> bool {
    one.iter().any(|head| {
        let read = other.iter().find(|h| h.author == head.author);
        read.map_or(0, |h| h.seq) < head.seq
    })
}

/// The first 53 bits of the circle's digest: what an integer of a record holds.
pub(super) fn digest(state: &CircleState) -> u64 {
    let first: [u8; 8] = state.digest().first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first) >> 11
}

#[cfg(test)]
mod tests {
    use super::super::beat;
    use crate::record::Pace;

    #[test]
    fn a_full_circle_says_as_much_as_a_small_one() {
        let ms = |members, pace| beat(members, pace).as_millis();
        assert_eq!([2, 8, 16].map(|m| ms(m, Pace::Usual)), [500, 500, 992]);
        assert_eq!(ms(16, Pace::Thin), 1_984);
    }
}

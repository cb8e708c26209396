//! Circle keys: one per epoch, from an epoch record, with the topic and the route that follow from it.

use std::time::Duration;

use crate::id::{CircleId, PublicKey};
use crate::identity::Secret;
use crate::record::{Body, Epoch, Record, RouteKind};
use crate::seal::open_sealed;

use super::message::Channel;
use super::timer::Timer;
use super::{Event, Now, Output, RouteKey, Session, Stage, Topic};

/// How long one still listens on the epoch before.
const OVERLAP: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Keys {
    number: u32,
    record: Record,
    channel: Channel,
    route: RouteKey,
}

/// The current epoch's keys, and for a moment those of the one before.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    current: Option<Keys>,
    old: Option<Keys>,
}

impl Epochs {
    pub fn current(&self) -> Option<&Channel> {
        self.current.as_ref().map(|k| &k.channel)
    }
    pub fn channel(&self, topic: &Topic) -> Option<&Channel> {
        self.both().map(|k| &k.channel).find(|c| c.topic == *topic)
    }
    pub fn topics(&self) -> impl Iterator<Item = Topic> {
        let topics: Vec<_> = self.both().map(|k| k.channel.topic).collect();
        topics.into_iter()
    }
    pub fn routes(&self, kind: RouteKind) -> Vec<RouteKey> {
        let keys = self.both().filter(|_| kind.is_relayed());
        keys.map(|k| k.route).collect()
    }
    #[cfg(feature = "attack")]
    pub fn audience(&self) -> Vec<PublicKey> {
        match self.current.as_ref().map(|k| k.record.body()) {
            Some(Body::Epoch(epoch)) => epoch.sealed.iter().map(|s| s.member).collect(),
            _ => Vec::new(),
        }
    }
    fn both(&self) -> impl Iterator<Item = &Keys> {
        self.current.iter().chain(&self.old)
    }
}

/// What a circle key is bound to when it is sealed to a member.
pub(super) fn epoch_info(circle: &CircleId, number: u32, member: &PublicKey) -> Vec<u8> {
    [
        b"undertone/1/epoch".as_slice(),
        circle.as_bytes(),
        &number.to_be_bytes(),
        member.as_bytes(),
    ]
    .concat()
}

impl Session {
    /// Enters the newest epoch of one's own state.
    pub(super) fn enter_latest_epoch(&mut self, now: Now) {
        let latest = self.state.as_ref().and_then(|s| s.epoch().cloned());
        if let Some(record) = latest {
            self.enter_epoch(now, &record);
        }
    }

    /// Takes one's key out of a genuine epoch record and moves there. Whether one is named in it.
    pub(super) fn enter_epoch(&mut self, now: Now, record: &Record) -> bool {
        let Body::Epoch(epoch) = record.body() else {
            return false;
        };
        let Some(secret) = self.open_epoch(epoch) else {
            return false;
        };
        if matches!(self.stage, Stage::Out(_)) {
            return false;
        }
        if self
            .epochs
            .current
            .as_ref()
            .is_some_and(|k| self.stays_in(k, epoch, record))
        {
            return true;
        }
        let keys = Keys {
            number: epoch.number,
            record: record.clone(),
            channel: Channel::epoch(&secret, &self.circle),
            route: *secret
                .derive(self.circle.as_bytes(), "undertone/1/route")
                .as_bytes(),
        };
        self.leave_old_epoch();
        self.outputs
            .push_back(Output::Subscribe(keys.channel.topic));
        if self.route.is_relayed() {
            self.outputs.push_back(Output::AttachRoute {
                route: keys.route,
                topic: keys.channel.topic,
            });
        }
        self.epochs.old = self.epochs.current.replace(keys);
        if self.epochs.old.is_some() {
            self.timers.set(Timer::OldEpoch, now.at + OVERLAP);
        }
        if self.stage != Stage::Inside {
            self.stage = Stage::Inside;
            self.timers.stop(Timer::Ask);
            self.begin_presence(now);
            self.event(Event::Entered);
        }
        self.say_hello_soon(now);
        true
    }

    /// Whether another epoch changes nothing: it is the same or an earlier one, or one of two with the same
    /// number, and the state says the other. An epoch that turned out to be void is left for any.
    fn stays_in(&self, keys: &Keys, epoch: &Epoch, record: &Record) -> bool {
        let Some(state) = &self.state else {
            return epoch.number <= keys.number;
        };
        let chosen = state.epoch().map(Record::id);
        let is_void = chosen != Some(keys.record.id()) && state.has_judged(&keys.record);
        match keys.record.id() == record.id() {
            true => true,
            false if is_void => epoch.number < state.epoch_number(),
            false if epoch.number == keys.number => chosen != Some(record.id()),
            false => epoch.number < keys.number,
        }
    }

    /// Whether one was let in by an epoch that one's own reading has not come to yet.
    pub(super) fn is_reading_history(&self) -> bool {
        let current = self.epochs.current.as_ref().zip(self.state.as_ref());
        current.is_some_and(|(keys, state)| !state.has_judged(&keys.record))
    }

    fn open_epoch(&self, epoch: &Epoch) -> Option<Secret> {
        let me = self.me.public_key();
        let mine = epoch.sealed.iter().find(|s| s.member == me)?;
        let info = epoch_info(&self.circle, epoch.number, &me);
        let key = open_sealed(&self.me, None, &info, &mine.secret).ok()?;
        Some(Secret::from_bytes(key.try_into().ok()?))
    }

    pub(super) fn leave_old_epoch(&mut self) {
        let Some(old) = self.epochs.old.take() else {
            return;
        };
        self.timers.stop(Timer::OldEpoch);
        self.outputs
            .push_back(Output::Unsubscribe(old.channel.topic));
        if self.route.is_relayed() {
            self.outputs.push_back(Output::DetachRoute(old.route));
        }
    }
}

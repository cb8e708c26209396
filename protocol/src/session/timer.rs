//! Timers: one per purpose, the variant says what expiry means.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Ask for the charter again.
    Ask,
    /// Knock again.
    Knock,
    /// Look whether anybody is heard.
    Listen,
    /// Say hello again.
    Hello,
    /// The present turn's time is over.
    TurnEnd,
    /// Somebody's grace after a turn, or an admission, is over: look again at who may be heard.
    Grace,
    /// Send the new circle key again to members who have not arrived under it.
    Push,
    /// Close the connection of somebody who was removed.
    Close,
    /// One was removed, and it has stood for a moment: go.
    OwnRemoval,
    /// Stop listening on the epoch before.
    OldEpoch,
    /// Forget voice keys that were replaced.
    OldVoiceKeys,
    /// Packets under unknown keys arrived: say which keys one holds.
    Repair,
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeMap<Timer, Duration>);

impl Timers {
    pub fn set(&mut self, timer: Timer, at: Duration) {
        self.0.insert(timer, at);
    }
    /// Sets it unless it comes sooner already.
    pub fn set_sooner(&mut self, timer: Timer, at: Duration) {
        let due = self.0.entry(timer).or_insert(at);
        *due = (*due).min(at);
    }
    pub fn stop(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }
    pub fn clear(&mut self) {
        self.0.clear();
    }
    pub fn is_set(&self, timer: Timer) -> bool {
        self.0.contains_key(&timer)
    }
    pub fn next(&self) -> Option<Duration> {
        self.0.values().min().copied()
    }
    pub fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let due = self.0.iter().find(|(_, at)| **at <= now).map(|(t, _)| *t)?;
        self.0.remove(&due);
        Some(due)
    }
}

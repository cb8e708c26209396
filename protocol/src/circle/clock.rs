//! Lamport time, in a circle where somebody may lie about it. Whoever dates their words far ahead must neither
//! use the numbers up nor drive the others' clocks apart: the rest of the protocol never refuses a record
//! outside the chains for its date, and takes the date for no later than the clock that heard it.

use crate::id::PublicKey;

/// How far an entry of a chain may be ahead of all that stands, and how far a record moves the clock of whoever
/// hears it if its author leads, or if somebody else has said as much. More than a circle ever makes.
pub const MAX_LAMPORT_STEP: u64 = 1 << 20;
/// How far a single member can move it with one record.
const MEMBER_STEP: u64 = 1 << 10;

/// A Lamport clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    now: u64,
    /// The last date that the clock could not follow, and whose it was.
    ahead: Option<(PublicKey, u64)>,
}

impl Clock {
    /// The highest time that was heard and could be followed.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Hears a date. `chains`: the highest that stands in the chains.
    pub fn hear(&mut self, author: PublicKey, date: u64, leads: bool, chains: u64) {
        let heard = self.now.max(chains);
        let far = heard.saturating_add(MAX_LAMPORT_STEP);
        let witnessed = match self.ahead {
            _ if leads => far,
            Some((who, ahead)) if who != author => ahead.min(far),
            _ => 0,
        };
        let furthest = witnessed.max(heard.saturating_add(MEMBER_STEP));
        self.now = self.now.max(date.min(furthest));
        if date > self.now {
            self.ahead = Some((author, date));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(n: u8) -> PublicKey {
        PublicKey::from_bytes([n; 32])
    }

    #[test]
    fn one_member_alone_moves_it_little_however_far_ahead_they_are() {
        let mut clock = Clock::default();
        for n in 1..=100 {
            clock.hear(member(1), 1 << 52, false, 0);
            assert_eq!(clock.now(), n * MEMBER_STEP);
        }
        clock.hear(member(2), 50, false, 0);
        assert_eq!(clock.now(), 100 * MEMBER_STEP, "it never goes back");
    }

    #[test]
    fn whoever_was_away_follows_what_two_have_come_to() {
        let (mut away, there) = (Clock::default(), 300_000);
        away.hear(member(1), 1 << 52, false, 0);
        away.hear(member(2), there, false, 0);
        assert_eq!(away.now(), there);
        let mut away = Clock::default();
        away.hear(member(2), there, false, 0);
        away.hear(member(3), there + 1, false, 0);
        assert_eq!(away.now(), there, "the later of them too");
        let mut again = Clock::default();
        again.hear(member(3), there, true, 0);
        assert_eq!(again.now(), there, "one who leads is enough");
    }

    #[test]
    fn the_numbers_outlast_whoever_leads() {
        let mut clock = Clock::default();
        clock.hear(member(1), u64::MAX, true, 7);
        assert_eq!(clock.now(), 7 + MAX_LAMPORT_STEP);
    }
}

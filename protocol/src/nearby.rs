//! Names by which members of a direct circle find each other on one network. They follow from the invite and the day:
//! nobody without it can ask for the circle or answer for a member, and the names of two days have nothing in common.
//! What carries them, multicast DNS, is the node's.

use std::ops::RangeInclusive;

use crate::id::{CircleId, TransportId};
use crate::identity::Secret;
use crate::record::CLOCK_TOLERANCE_MINUTES;

const MINUTES_A_DAY: u64 = 24 * 60;
/// As long as DNS-SD lets the name of a service be (RFC 6763, section 7.2).
const CIRCLE_LETTERS: usize = 15;
const MEMBER_LETTERS: usize = 32;
/// RFC 4648, section 6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The names of one circle.
#[derive(Debug, Clone)]
pub struct Names {
    door: Secret,
    circle: CircleId,
}

/// The days, counted from 1970-01-01 UTC, that it may be for others whose clocks are wrong: one, or two around midnight.
pub fn days(minute: u64) -> RangeInclusive<u64> {
    let first = minute.saturating_sub(CLOCK_TOLERANCE_MINUTES);
    let last = minute.saturating_add(CLOCK_TOLERANCE_MINUTES);
    day(first)..=day(last)
}

/// The day that a minute is in.
pub fn day(minute: u64) -> u64 {
    minute / MINUTES_A_DAY
}

impl Names {
    /// Of the circle behind this invite's door.
    pub fn new(door: Secret, circle: CircleId) -> Self {
        Self { door, circle }
    }

    /// What is asked for: 15 letters and digits.
    pub fn circle(&self, day: u64) -> String {
        let secret = self.derive(&[&day.to_be_bytes()], "undertone/1/nearby/circle");
        letters(&secret, CIRCLE_LETTERS)
    }

    /// What a member answers with who is at this UDP port: 32 letters and digits, which only who holds the invite can
    /// make, and which fit no other transport.
    pub fn member(&self, day: u64, transport: &TransportId, port: u16) -> String {
        let whose = [
            &day.to_be_bytes()[..],
            transport.as_bytes(),
            &port.to_be_bytes(),
        ];
        letters(
            &self.derive(&whose, "undertone/1/nearby/member"),
            MEMBER_LETTERS,
        )
    }

    fn derive(&self, parts: &[&[u8]], info: &str) -> Secret {
        let salt = [self.circle.as_bytes(), parts.concat().as_slice()].concat();
        self.door.derive(&salt, info)
    }
}

/// The first bits, five a letter.
fn letters(secret: &Secret, count: usize) -> String {
    let bit = |at: usize| secret.as_bytes()[at / 8] >> (7 - at % 8) & 1;
    let letter = |at| (at * 5..at * 5 + 5).fold(0, |value, at| value << 1 | bit(at));
    (0..count)
        .map(|at| char::from(ALPHABET[usize::from(letter(at))]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(door: u8, circle: u8) -> Names {
        let door = Secret::from_bytes([door; 32]);
        Names::new(door, CircleId::from_bytes([circle; 32]))
    }

    #[test]
    fn letters_are_base32() {
        // RFC 4648, section 10: "foobar".
        let mut bytes = [0; 32];
        bytes[..6].copy_from_slice(b"foobar");
        assert_eq!(letters(&Secret::from_bytes(bytes), 10), "mzxw6ytboi");
    }

    #[test]
    fn another_door_circle_or_day_has_another_name() {
        let name = names(1, 1).circle(20_000);
        assert_eq!(name, names(1, 1).circle(20_000));
        assert_eq!(name.len(), CIRCLE_LETTERS);
        for other in [
            names(2, 1).circle(20_000),
            names(1, 2).circle(20_000),
            names(1, 1).circle(20_001),
        ] {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn a_members_name_is_good_for_nobody_else() {
        let [own, other] = [3, 4].map(|byte| TransportId::from_bytes([byte; 32]));
        let name = names(1, 1).member(20_000, &own, 4433);
        assert_eq!(name.len(), MEMBER_LETTERS);
        for wrong in [
            names(1, 1).member(20_000, &other, 4433),
            names(1, 1).member(20_000, &own, 4434),
            names(1, 1).member(20_001, &own, 4433),
            names(2, 1).member(20_000, &own, 4433),
            names(1, 2).member(20_000, &own, 4433),
        ] {
            assert_ne!(name, wrong);
        }
    }

    #[test]
    fn around_midnight_wrong_clocks_meet() {
        let midnight = 20_000 * MINUTES_A_DAY;
        assert_eq!(days(midnight + 720), 20_000..=20_000);
        assert_eq!(days(midnight + 21), 20_000..=20_000);
        assert_eq!(days(midnight + 20), 19_999..=20_000);
        assert_eq!(days(midnight - 21), 19_999..=20_000);
        assert_eq!(days(midnight - 22), 19_999..=19_999);
        // Ten minutes wrong, either way: each looks for the day that the other names.
        for now in midnight - 30..midnight + 30 {
            assert!(days(now - 10).contains(&day(now + 10)));
            assert!(days(now + 10).contains(&day(now - 10)));
        }
        assert_eq!(days(0), 0..=0);
        assert_eq!(days(u64::MAX), day(u64::MAX)..=day(u64::MAX));
    }
}

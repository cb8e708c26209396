//! Small control messages, one a beat whether there is one or not: a hub does not see who raises a hand, or who gives
//! whom the turn.
//!
//! What is said in a circle all the time is as large as the smallest sealed message. Such a one waits for the next
//! beat; where none waits, random bytes of the same size go out, which nobody who hears them can open, and nobody else can tell
//! from one that can be. Larger messages and decisions do not wait: they are sent when somebody comes or goes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::types::Topic;
use bytes::Bytes;

/// The smallest sealed message, bytes.
const SMALL: usize = undertone_protocol::seal::BUCKETS[0];
/// Messages that wait at most; with more, the oldest is given up.
const MOST: usize = 32;
/// How long one waits at most, where there is no hub.
const OLDEST: Duration = Duration::from_secs(60);

/// See the module. Time is an argument.
pub(crate) struct Cadence {
    every: Duration,
    /// Where something is said at each beat.
    topic: Option<Topic>,
    next: Option<Instant>,
    waiting: VecDeque<(Instant, Topic, Bytes)>,
}

impl Cadence {
    /// One that says nothing yet; later, something so often.
    pub(crate) fn new(every: Duration) -> Self {
        Self {
            every,
            topic: None,
            next: None,
            waiting: VecDeque::new(),
        }
    }

    /// From now on something is said there at each beat.
    pub(crate) fn keep_up(&mut self, topic: Topic) {
        self.topic = Some(topic);
    }

    /// Nothing more is said there.
    pub(crate) fn give_up(&mut self, topic: Topic) {
        self.waiting.retain(|(_, of, _)| *of != topic);
        if self.topic == Some(topic) {
            self.topic = None;
        }
    }

    /// Whether this is a message that waits for a beat.
    pub(crate) fn paces(&self, topic: Topic, message: &[u8]) -> bool {
        self.topic == Some(topic) && message.len() == SMALL
    }

    /// A message waits.
    pub(crate) fn push(&mut self, topic: Topic, message: Bytes, now: Instant) {
        if self.waiting.len() >= MOST {
            self.waiting.pop_front();
        }
        self.waiting.push_back((now, topic, message));
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What has waited longest, without a beat.
    pub(crate) fn hurry(&mut self) -> Option<(Topic, Bytes)> {
        let (_, topic, message) = self.waiting.pop_front()?;
        Some((topic, message))
    }

    /// Time until there is something to say.
    pub(crate) fn left(&self, now: Instant) -> Option<Duration> {
        self.topic?;
        Some(
            self.next
                .map_or(Duration::ZERO, |next| next.saturating_duration_since(now)),
        )
    }

    /// What is said now, if it is time: what waits, or what looks like it.
    pub(crate) fn strike(&mut self, now: Instant) -> Option<(Topic, Bytes)> {
        let here = self.topic?;
        let due = *self.next.get_or_insert(now);
        if now < due {
            return None;
        }
        // What was missed is not made up for.
        self.next = Some(match now < due + self.every {
            true => due + self.every,
            false => now + self.every,
        });
        while let Some((since, topic, message)) = self.waiting.pop_front() {
            if now.saturating_duration_since(since) < OLDEST {
                return Some((topic, message));
            }
        }
        let mut filler = vec![0; SMALL];
        getrandom::fill(&mut filler).ok()?;
        Some((here, filler.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Topic = Topic([1; 32]);
    const BEFORE: Topic = Topic([2; 32]);
    const EVERY: Duration = Duration::from_millis(500);

    fn words(byte: u8) -> Bytes {
        vec![byte; SMALL].into()
    }

    /// When something was said, and how much, in ten seconds; `says` tells what is said at a time.
    fn seen(says: impl Fn(u64) -> bool) -> Vec<(u64, usize)> {
        let (mut cadence, begun) = (Cadence::new(EVERY), Instant::now());
        cadence.keep_up(HERE);
        let mut seen = Vec::new();
        for ms in (0..10_000).step_by(10) {
            let now = begun + Duration::from_millis(ms);
            if says(ms) {
                cadence.push(HERE, words(1), now);
            }
            seen.extend(cadence.strike(now).map(|(_, said)| (ms, said.len())));
        }
        seen
    }

    #[test]
    fn who_says_much_looks_like_who_says_nothing() {
        let quiet = seen(|_| false);
        assert_eq!(quiet.len(), 20);
        assert_eq!(quiet, seen(|ms| ms % 700 == 0));
        assert_eq!(quiet, seen(|ms| (3_000..3_300).contains(&ms)));
    }

    #[test]
    fn everything_is_said_once_in_order_and_fillers_differ() {
        let (mut cadence, now) = (Cadence::new(EVERY), Instant::now());
        assert!(!cadence.paces(HERE, &words(1)), "not inside yet");
        assert_eq!((cadence.left(now), cadence.strike(now)), (None, None));
        cadence.keep_up(HERE);
        assert!(cadence.paces(HERE, &words(1)));
        assert!(!cadence.paces(BEFORE, &words(1)));
        assert!(!cadence.paces(HERE, &[0; SMALL + 1]));
        for byte in [1, 2] {
            cadence.push(HERE, words(byte), now);
        }
        let said: Vec<_> = (0..4)
            .filter_map(|beat| cadence.strike(now + EVERY * beat))
            .map(|(_, said)| said)
            .collect();
        assert_eq!(said[..2], [words(1), words(2)]);
        assert_ne!(said[2], said[3]);
        assert_eq!(cadence.left(now + EVERY * 3), Some(EVERY));
    }

    #[test]
    fn what_waits_goes_with_its_topic_and_with_time() {
        let (mut cadence, now) = (Cadence::new(EVERY), Instant::now());
        cadence.keep_up(BEFORE);
        cadence.push(BEFORE, words(1), now);
        cadence.keep_up(HERE);
        cadence.push(HERE, words(2), now);
        cadence.give_up(BEFORE);
        assert_eq!(cadence.strike(now), Some((HERE, words(2))));
        cadence.push(HERE, words(3), now);
        let (topic, said) = cadence.strike(now + OLDEST).unwrap();
        assert_eq!(topic, HERE);
        assert_ne!(said, words(3));
        assert!(cadence.is_empty());
        cadence.give_up(HERE);
        assert_eq!(cadence.strike(now + OLDEST * 2), None);
    }

    #[test]
    fn no_more_wait_than_may_and_they_can_hurry() {
        let (mut cadence, now) = (Cadence::new(EVERY), Instant::now());
        cadence.keep_up(HERE);
        for byte in 0..=MOST as u8 {
            cadence.push(HERE, words(byte), now);
        }
        let rest: Vec<_> = std::iter::from_fn(|| cadence.hurry()).collect();
        assert_eq!(rest.len(), MOST);
        assert_eq!(rest[0], (HERE, words(1)));
    }
}

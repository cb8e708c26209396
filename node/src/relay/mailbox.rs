//! What is kept for those who are away: sealed messages on opaque topics, in memory, for days.
//!
//! Nobody can say whose a message is, so whoever has left most loses first: a circle leaves a few kilobytes, and somebody
//! who wants its notices forgotten has to be many. Time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::net::Topic;

/// Whoever left something: an address, or one line of an entry (`net::gate`).
pub(crate) type Leaver = SocketAddr;

/// What a message takes beside its bytes, about.
const OVERHEAD: usize = 256;

struct Letter {
    topic: Topic,
    leaver: Leaver,
    message: Bytes,
    left: Instant,
}

/// See the module.
pub(crate) struct Mailbox {
    /// In the order they came.
    letters: BTreeMap<u64, Letter>,
    next: u64,
    /// On each topic, the same order.
    topics: HashMap<Topic, Vec<u64>>,
    /// Of each who left something, the same order, and how much it is.
    leavers: HashMap<Leaver, (usize, BTreeSet<u64>)>,
    /// Who has left how much, the most last.
    most_left: BTreeSet<(usize, Leaver)>,
    bytes: usize,
    most: Bounds,
}

/// How much is kept, and how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) bytes_per_topic: usize,
    pub(crate) age: Duration,
}

impl Letter {
    fn weight(&self) -> usize {
        self.message.len() + OVERHEAD
    }
}

impl Mailbox {
    pub(crate) fn new(most: Bounds) -> Self {
        Self {
            letters: BTreeMap::new(),
            next: 0,
            topics: HashMap::new(),
            leavers: HashMap::new(),
            most_left: BTreeSet::new(),
            bytes: 0,
            most,
        }
    }

    /// Keeps a message, unless it is kept already; says how many were forgotten for it, itself perhaps.
    pub(crate) fn leave(
        &mut self,
        topic: Topic,
        leaver: Leaver,
        message: Bytes,
        now: Instant,
    ) -> usize {
        self.expire(now);
        let mut known = self.topics.get(&topic).into_iter().flatten();
        if known.any(|n| (self.letters.get(n)).is_some_and(|letter| letter.message == message)) {
            return 0;
        }
        let letter = Letter {
            topic,
            leaver,
            message,
            left: now,
        };
        let number = self.next;
        self.next += 1;
        self.bytes += letter.weight();
        self.count(leaver, |held| {
            held.0 += letter.weight();
            held.1.insert(number);
        });
        self.letters.insert(number, letter);
        self.topics.entry(topic).or_default().push(number);
        let mut forgotten = 0;
        while let Some(newest) = self.too_much_on(&topic) {
            self.forget(newest);
            forgotten += 1;
        }
        while self.bytes > self.most.bytes {
            let most = self.most_left.last().and_then(|(_, l)| self.leavers.get(l));
            let Some(newest) = most.and_then(|(_, numbers)| numbers.last().copied()) else {
                break;
            };
            self.forget(newest);
            forgotten += 1;
        }
        forgotten
    }

    /// What is kept on a topic, the oldest first.
    pub(crate) fn held(&mut self, topic: &Topic, now: Instant) -> Vec<Bytes> {
        self.expire(now);
        let numbers = self.topics.get(topic).into_iter().flatten();
        let letters = numbers.filter_map(|number| self.letters.get(number));
        letters.map(|letter| letter.message.clone()).collect()
    }

    /// Messages, and how much room they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.letters.len(), self.bytes)
    }

    /// Forgets what has been here too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((&number, letter)) = self.letters.first_key_value() {
            if now.saturating_duration_since(letter.left) <= self.most.age {
                return;
            }
            self.forget(number);
        }
    }

    /// Where a topic has too much, the newest of whoever has left most there.
    fn too_much_on(&self, topic: &Topic) -> Option<u64> {
        let numbers = self.topics.get(topic).into_iter().flatten();
        let mut left: HashMap<Leaver, (usize, u64)> = HashMap::new();
        let mut all = 0;
        for number in numbers {
            let letter = self.letters.get(number)?;
            all += letter.weight();
            let (bytes, newest) = left.entry(letter.leaver).or_default();
            *bytes += letter.weight();
            *newest = *number;
        }
        let most = left.into_values().max().map(|(_, newest)| newest);
        most.filter(|_| all > self.most.bytes_per_topic)
    }

    /// Changes what somebody has left.
    fn count(&mut self, leaver: Leaver, change: impl FnOnce(&mut (usize, BTreeSet<u64>))) {
        let held = self.leavers.entry(leaver).or_default();
        self.most_left.remove(&(held.0, leaver));
        change(held);
        match held.1.is_empty() {
            true => {
                self.leavers.remove(&leaver);
            }
            false => {
                self.most_left.insert((held.0, leaver));
            }
        }
    }

    fn forget(&mut self, number: u64) {
        let Some(letter) = self.letters.remove(&number) else {
            return;
        };
        self.bytes -= letter.weight();
        self.count(letter.leaver, |held| {
            held.0 -= letter.weight();
            held.1.remove(&number);
        });
        if let Some(numbers) = self.topics.get_mut(&letter.topic) {
            numbers.retain(|known| *known != number);
            if numbers.is_empty() {
                self.topics.remove(&letter.topic);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(n: u16) -> Leaver {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    const A: Topic = Topic([1; 32]);
    const B: Topic = Topic([2; 32]);
    const DAY: Duration = Duration::from_secs(24 * 3_600);

    fn mailbox() -> Mailbox {
        Mailbox::new(Bounds {
            bytes: 100 + 10 * OVERHEAD,
            bytes_per_topic: 40 + 4 * OVERHEAD,
            age: 7 * DAY,
        })
    }

    fn words(length: usize, fill: u8) -> Bytes {
        Bytes::from(vec![fill; length])
    }

    #[test]
    fn what_is_left_is_there_in_order_on_its_topic_until_it_is_too_old() {
        let (mut mailbox, now) = (mailbox(), Instant::now());
        for (topic, fill, when) in [(A, 1, now), (B, 2, now), (A, 3, now + DAY)] {
            assert_eq!(mailbox.leave(topic, from(1), words(10, fill), when), 0);
        }
        assert_eq!(mailbox.held(&A, now + DAY), [words(10, 1), words(10, 3)]);
        assert_eq!(mailbox.held(&A, now + DAY), [words(10, 1), words(10, 3)]);
        assert_eq!(mailbox.size(), (3, 30 + 3 * OVERHEAD));
        let later = now + 7 * DAY + Duration::from_secs(1);
        assert_eq!(mailbox.held(&A, later), [words(10, 3)]);
        assert_eq!(mailbox.held(&B, later), Vec::<Bytes>::new());
        assert_eq!(mailbox.size(), (1, 10 + OVERHEAD));
        mailbox.expire(later + DAY);
        assert_eq!(mailbox.size(), (0, 0));
        assert!(mailbox.topics.is_empty() && mailbox.leavers.is_empty());
        assert!(mailbox.most_left.is_empty());
    }

    #[test]
    fn whoever_leaves_most_loses_it_on_a_topic_before_and_after_the_notice() {
        let now = Instant::now();
        for flood_first in [true, false] {
            let mut mailbox = mailbox();
            let flood = |mailbox: &mut Mailbox| {
                for fill in 0..=u8::MAX {
                    mailbox.leave(A, from(66), words(5, fill), now);
                }
            };
            if flood_first {
                flood(&mut mailbox);
            }
            mailbox.leave(A, from(1), words(10, 1), now);
            flood(&mut mailbox);
            assert!(mailbox.held(&A, now).contains(&words(10, 1)));
            assert!(mailbox.size().1 <= mailbox.most.bytes_per_topic);
        }
    }

    #[test]
    fn nobody_fills_it_for_the_others() {
        let (mut mailbox, now) = (mailbox(), Instant::now());
        mailbox.leave(A, from(1), words(10, 1), now);
        for topic in 3..200 {
            mailbox.leave(Topic([topic; 32]), from(66), words(20, 9), now);
        }
        assert!(mailbox.size().1 <= mailbox.most.bytes);
        mailbox.leave(B, from(2), words(10, 2), now);
        assert_eq!(mailbox.held(&A, now), [words(10, 1)]);
        assert_eq!(mailbox.held(&B, now), [words(10, 2)]);
    }

    #[test]
    fn the_same_message_is_kept_once() {
        let (mut mailbox, now) = (mailbox(), Instant::now());
        for leaver in [1, 1, 2] {
            mailbox.leave(A, from(leaver), words(10, 1), now);
        }
        mailbox.leave(B, from(1), words(10, 1), now);
        assert_eq!(mailbox.held(&A, now), [words(10, 1)]);
        assert_eq!(mailbox.held(&B, now), [words(10, 1)]);
    }

    #[test]
    fn it_can_be_none() {
        let mut mailbox = Mailbox::new(Bounds {
            bytes: 0,
            bytes_per_topic: 40,
            age: DAY,
        });
        assert_eq!(mailbox.leave(A, from(1), words(1, 1), Instant::now()), 1);
        assert_eq!(mailbox.size(), (0, 0));
    }
}

//! Control messages that nobody was there to hear yet. Bounded in number, bytes and age; nothing is lost in silence.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::types::Topic;

/// Messages held.
const MAX_MESSAGES: usize = 128;
/// Bytes held.
const MAX_BYTES: usize = 1024 * 1024;
/// How long a message waits.
const MAX_AGE: Duration = Duration::from_secs(60);
/// A connection that has swallowed something is known to be dead after this.
const ON_ITS_WAY: Duration = Duration::from_secs(15);
/// Decisions remembered that long, at most.
const MAX_WRITTEN: usize = 16;

struct Waiting {
    topic: Topic,
    payload: Bytes,
    lasting: bool,
    since: Instant,
}

/// Messages in the order they were to be published.
#[derive(Default)]
pub(crate) struct Outbox {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

impl Outbox {
    /// Keeps a message; returns those given up to make room: what is too old, then the oldest that is not to last.
    pub(crate) fn keep(
        &mut self,
        topic: Topic,
        payload: Bytes,
        lasting: bool,
        now: Instant,
    ) -> Vec<(Topic, Bytes, bool)> {
        self.bytes += payload.len();
        self.waiting.push_back(Waiting {
            topic,
            payload,
            lasting,
            since: now,
        });
        let mut given_up = Vec::new();
        while self.is_full() {
            if given_up.is_empty() {
                given_up = self.expired(now);
                if !self.is_full() {
                    break;
                }
            }
            let passing = self.waiting.iter().position(|w| !w.lasting);
            match self.waiting.remove(passing.unwrap_or_default()) {
                Some(Waiting {
                    topic,
                    payload,
                    lasting,
                    ..
                }) => {
                    self.bytes -= payload.len();
                    given_up.push((topic, payload, lasting));
                }
                None => break,
            }
        }
        given_up
    }

    fn is_full(&self) -> bool {
        self.waiting.len() > MAX_MESSAGES || self.bytes > MAX_BYTES
    }

    /// Messages that have waited too long, oldest first; what is to last waits on.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<(Topic, Bytes, bool)> {
        let is_old = |w: &Waiting| !w.lasting && now.saturating_duration_since(w.since) >= MAX_AGE;
        let old = self.take_out(is_old).into_iter();
        old.map(|w| (w.topic, w.payload, w.lasting)).collect()
    }

    /// Gives up what waits for `topic`, but for what is to last.
    pub(crate) fn give_up(&mut self, topic: Topic) {
        self.take_out(|w| w.topic == topic && !w.lasting);
    }

    fn take_out(&mut self, unwanted: impl Fn(&Waiting) -> bool) -> VecDeque<Waiting> {
        let (unwanted, rest): (VecDeque<_>, VecDeque<_>) =
            self.waiting.drain(..).partition(unwanted);
        self.waiting = rest;
        self.bytes = self.waiting.iter().map(|w| w.payload.len()).sum();
        unwanted
    }

    /// Takes out what waits for `topic`, in order.
    pub(crate) fn take(&mut self, topic: Topic) -> Vec<Bytes> {
        let wanted = self.take_out(|w| w.topic == topic).into_iter();
        wanted.map(|w| w.payload).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether something that is to last waits.
    pub(crate) fn holds_lasting(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.lasting)
    }

    /// Takes out what has waited longest, and whether it is to last.
    pub(crate) fn pop_front(&mut self) -> Option<(Topic, Bytes, bool)> {
        let waiting = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(waiting.payload.len());
        Some((waiting.topic, waiting.payload, waiting.lasting))
    }
}

/// Decisions written to a connection, which may have been dead by then. Time is an argument.
#[derive(Default)]
pub(crate) struct Written(VecDeque<(Instant, Topic, Bytes)>);

impl Written {
    /// One was written.
    pub(crate) fn push(&mut self, topic: Topic, payload: Bytes, now: Instant) {
        if self.0.len() >= MAX_WRITTEN {
            self.0.pop_front();
        }
        self.0.push_back((now, topic, payload));
    }

    /// Takes out those that may have been lost with the connection.
    pub(crate) fn take(&mut self, now: Instant) -> Vec<(Topic, Bytes)> {
        let lost = |when: &Instant| now.saturating_duration_since(*when) < ON_ITS_WAY;
        let written = self.0.drain(..).filter(|(when, ..)| lost(when));
        written
            .map(|(_, topic, payload)| (topic, payload))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Topic = Topic([1; 32]);
    const B: Topic = Topic([2; 32]);

    #[test]
    fn a_topic_is_taken_in_order_and_leaves_the_others() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for (topic, text) in [(A, "1"), (B, "2"), (A, "3")] {
            assert!(outbox.keep(topic, Bytes::from(text), false, now).is_empty());
        }
        assert_eq!(outbox.take(A), ["1", "3"]);
        assert_eq!(outbox.take(A), Vec::<Bytes>::new());
        assert_eq!(outbox.take(B), ["2"]);
        assert_eq!(outbox.bytes, 0);
    }

    #[test]
    fn the_oldest_is_given_up_and_named() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let given_up: Vec<_> = (0..=MAX_MESSAGES)
            .flat_map(|i| outbox.keep(A, Bytes::from(vec![i as u8]), true, now))
            .collect();
        assert_eq!(given_up, [(A, Bytes::from(vec![0]), true)]);
        let big = Bytes::from(vec![0; MAX_BYTES]);
        assert_eq!(outbox.keep(B, big, true, now).len(), MAX_MESSAGES);
    }

    #[test]
    fn what_passes_makes_room_for_what_is_to_last() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.keep(A, Bytes::from("removal"), true, now);
        for i in 0..MAX_MESSAGES {
            let given_up = outbox.keep(B, Bytes::from(vec![i as u8]), false, now);
            assert!(given_up.iter().all(|(_, _, lasting)| !lasting));
        }
        let later = now + MAX_AGE;
        let given_up = outbox.keep(B, Bytes::from("new"), false, later);
        assert_eq!(
            given_up.len(),
            MAX_MESSAGES - 1,
            "what was too old goes first"
        );
        assert!(
            outbox
                .keep(B, Bytes::from("newer"), false, later)
                .is_empty()
        );
        assert_eq!(outbox.take(A), ["removal"]);
        assert_eq!(outbox.take(B), ["new", "newer"]);
    }

    #[test]
    fn decisions_are_written_again_when_their_connection_ends_soon() {
        let (mut written, now) = (Written::default(), Instant::now());
        written.push(A, Bytes::from("old"), now);
        written.push(A, Bytes::from("new"), now + Duration::from_secs(1));
        assert_eq!(written.take(now + ON_ITS_WAY), [(A, Bytes::from("new"))]);
        assert!(written.take(now).is_empty(), "once");
        for i in 0..=MAX_WRITTEN {
            written.push(A, Bytes::from(vec![i as u8]), now);
        }
        assert_eq!(written.take(now).len(), MAX_WRITTEN);
    }

    #[test]
    fn age_ends_the_wait() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.keep(B, Bytes::from("lasting"), true, now);
        outbox.keep(A, Bytes::from("old"), false, now);
        outbox.keep(A, Bytes::from("new"), false, now + MAX_AGE);
        assert_eq!(
            outbox.expired(now + MAX_AGE),
            [(A, Bytes::from("old"), false)]
        );
        assert_eq!(outbox.take(A), ["new"]);
        assert_eq!(outbox.take(B), ["lasting"], "but of what is to last");
    }

    #[test]
    fn what_is_to_last_is_not_given_up_with_its_topic() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        for (topic, text, lasting) in [(A, "1", false), (A, "2", true), (B, "3", false)] {
            outbox.keep(topic, Bytes::from(text), lasting, now);
        }
        outbox.give_up(A);
        assert_eq!(outbox.take(A), ["2"]);
        assert_eq!(outbox.take(B), ["3"]);
        assert_eq!(outbox.bytes, 0);
    }
}

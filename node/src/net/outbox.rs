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
    /// Keeps a message; returns those given up to make room, oldest first.
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
        while self.waiting.len() > MAX_MESSAGES || self.bytes > MAX_BYTES {
            match self.pop_front() {
                Some(message) => given_up.push(message),
                None => break,
            }
        }
        given_up
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

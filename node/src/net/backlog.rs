//! What waits for somebody slow: bounded, and the oldest is forgotten first.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

struct State<T> {
    /// With their weights, oldest first.
    waiting: VecDeque<(T, usize)>,
    weight: usize,
}

/// See the module.
pub(crate) struct Backlog<T> {
    state: Mutex<State<T>>,
    filled: Notify,
    most: usize,
}

impl<T> Backlog<T> {
    /// Holds things of this weight together.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                weight: 0,
            }),
            filled: Notify::new(),
            most,
        }
    }

    /// Adds something; says how many older ones had to go for it.
    pub(crate) fn push(&self, thing: T, weight: usize) -> usize {
        let mut dropped = 0;
        {
            let mut state = self.lock();
            while state.weight + weight > self.most && state.pop().is_some() {
                dropped += 1;
            }
            state.weight += weight;
            state.waiting.push_back((thing, weight));
        }
        self.filled.notify_one();
        dropped
    }

    /// The oldest, as soon as there is one. For a single reader.
    pub(crate) async fn pop(&self) -> T {
        loop {
            if let Some(thing) = self.lock().pop() {
                return thing;
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<T> {
        let (thing, weight) = self.waiting.pop_front()?;
        self.weight -= weight;
        Some(thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_one_forgets_the_oldest() {
        let backlog = Backlog::new(10);
        for (thing, weight, dropped) in [("a", 4, 0), ("b", 6, 0), ("c", 1, 1), ("d", 9, 1)] {
            assert_eq!(backlog.push(thing, weight), dropped, "{thing}");
        }
        assert_eq!((backlog.pop().await, backlog.pop().await), ("c", "d"));
        assert_eq!(backlog.push("larger than all", 99), 0);
        assert_eq!(backlog.push("next", 1), 1);
        assert_eq!(backlog.pop().await, "next");
    }
}

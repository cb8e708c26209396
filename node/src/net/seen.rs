//! Control messages that have come already: from another hub, or again.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};

use super::types::Topic;

/// A message that comes again within this time is the same message.
const SPAN: Duration = Duration::from_secs(120);
/// Messages remembered: what a full circle says in that time, many times over.
const MAX: usize = 16 * 1024;

/// SHA-256 of topic and data.
type Id = [u8; 32];

#[derive(Default)]
struct State {
    known: HashSet<Id>,
    /// Oldest first.
    order: VecDeque<(Instant, Id)>,
}

/// See the module. Time is an argument.
#[derive(Default)]
pub(crate) struct Seen(Mutex<State>);

impl Seen {
    /// The message's name, if it has not come within two minutes. One that was kept is another: a hub cannot hide what
    /// is said now by saying that it had kept it.
    pub(crate) fn is_new(
        &self,
        topic: &Topic,
        data: &[u8],
        kept: bool,
        now: Instant,
    ) -> Option<Id> {
        let id: Id = Sha256::new()
            .chain_update([u8::from(kept)])
            .chain_update(topic.0)
            .chain_update(data)
            .finalize()
            .into();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((when, oldest)) = state.order.front().copied()
            && (now.saturating_duration_since(when) >= SPAN || state.order.len() >= MAX)
        {
            state.order.pop_front();
            state.known.remove(&oldest);
        }
        state.known.insert(id).then(|| {
            state.order.push_back((now, id));
            id
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_on_each_topic_and_again_later() {
        let (seen, now) = (Seen::default(), Instant::now());
        let [one, two] = [Topic([1; 32]), Topic([2; 32])];
        let is_new = |topic, kept, after| seen.is_new(topic, b"words", kept, now + after).is_some();
        assert!(is_new(&one, true, Duration::ZERO));
        assert!(is_new(&one, false, Duration::ZERO), "although one was kept");
        assert!(!is_new(&one, false, SPAN / 2));
        assert!(is_new(&two, false, Duration::ZERO));
        assert!(is_new(&one, false, SPAN));
    }

    #[test]
    fn no_more_are_remembered_than_may_be() {
        let (seen, now) = (Seen::default(), Instant::now());
        for i in 0..=MAX as u64 {
            seen.is_new(&Topic([0; 32]), &i.to_be_bytes(), false, now);
        }
        let state = seen.0.lock().unwrap();
        assert_eq!((state.known.len(), state.order.len()), (MAX, MAX));
    }
}

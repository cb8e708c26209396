//! Who hears which opaque topic.

use std::{collections::HashMap, sync::Arc};

use crate::net::Topic;

/// See the module.
pub(crate) struct Topics<T> {
    hearers: HashMap<Topic, Vec<Arc<T>>>,
    /// Most topics.
    most: usize,
}

impl<T> Topics<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            hearers: HashMap::new(),
            most,
        }
    }

    /// Topics heard by anybody.
    pub(crate) fn len(&self) -> usize {
        self.hearers.len()
    }

    /// Hearers of all topics.
    pub(crate) fn subscriptions(&self) -> usize {
        self.hearers.values().map(Vec::len).sum()
    }

    /// `who` hears `topic` from now on, unless there are too many topics.
    pub(crate) fn hear(&mut self, who: &Arc<T>, topic: Topic) -> bool {
        if !self.hearers.contains_key(&topic) && self.hearers.len() >= self.most {
            return false;
        }
        let hearers = self.hearers.entry(topic).or_default();
        if !hearers.iter().any(|known| Arc::ptr_eq(known, who)) {
            hearers.push(Arc::clone(who));
        }
        true
    }

    /// `who` hears `topic` no longer; it goes with the last.
    pub(crate) fn ignore(&mut self, who: &Arc<T>, topic: &Topic) {
        if let Some(hearers) = self.hearers.get_mut(topic) {
            hearers.retain(|known| !Arc::ptr_eq(known, who));
            if hearers.is_empty() {
                self.hearers.remove(topic);
            }
        }
    }

    /// All who hear `topic`, but for `who`.
    pub(crate) fn others<'a>(
        &'a self,
        who: &'a Arc<T>,
        topic: &Topic,
    ) -> impl Iterator<Item = &'a Arc<T>> {
        let hearers = self.hearers.get(topic).into_iter().flatten();
        hearers.filter(move |known| !Arc::ptr_eq(known, who))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Topic = Topic([1; 32]);
    const B: Topic = Topic([2; 32]);
    const C: Topic = Topic([3; 32]);

    #[test]
    fn what_is_said_goes_to_the_others_who_hear_it() {
        let (mut topics, one, two, three) = (Topics::new(2), Arc::new(1), Arc::new(2), Arc::new(3));
        for (who, topic) in [(&one, A), (&two, A), (&two, A), (&three, B)] {
            assert!(topics.hear(who, topic));
        }
        let told = |topics: &Topics<_>, who, topic| -> Vec<i32> {
            topics.others(who, &topic).map(|n| **n).collect()
        };
        assert_eq!((topics.len(), topics.subscriptions()), (2, 3));
        assert_eq!(told(&topics, &one, A), [2]);
        assert_eq!(
            told(&topics, &three, A),
            [1, 2],
            "who does not hear may say"
        );
        assert_eq!(told(&topics, &one, C), [0; 0]);
        topics.ignore(&two, &A);
        assert_eq!(told(&topics, &one, A), [0; 0]);
    }

    #[test]
    fn there_are_no_more_than_may_be_and_the_last_hearer_makes_room() {
        let (mut topics, one, two) = (Topics::new(2), Arc::new(1), Arc::new(2));
        assert!(topics.hear(&one, A) && topics.hear(&one, B));
        assert!(!topics.hear(&two, C));
        assert!(topics.hear(&two, A), "no new topic");
        topics.ignore(&one, &B);
        topics.ignore(&one, &B);
        assert!(topics.hear(&two, C));
        assert_eq!(topics.len(), 2);
    }
}

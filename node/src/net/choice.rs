//! Which of a circle's hubs to send on. Everybody hears all of them, so nobody has to agree with anybody.

use std::time::{Duration, Instant};

/// A hub acknowledges the voice that it gets, 50 packets a second: silent for this long, it is dead.
const DEAD_AFTER: Duration = Duration::from_millis(1_000);
/// An earlier hub is gone back to when it has been usable for this long, so that one that comes and goes disturbs once.
const STEADY: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Default)]
struct Seen {
    usable_since: Option<Instant>,
    /// Packets that have come from it on its present connection, and when the last came.
    packets: u64,
    heard: Option<Instant>,
}

/// See the module. Time is an argument.
pub(crate) struct Choice {
    hubs: Vec<Seen>,
    current: usize,
}

impl Choice {
    pub(crate) fn new(hubs: usize) -> Self {
        Self {
            hubs: vec![Seen::default(); hubs],
            current: 0,
        }
    }

    /// The hub to send on now, which is the first that works, unless an earlier one has just come back. `packets`
    /// tells how many have come from a hub so far, where it has granted a route.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        packets: impl Fn(usize) -> Option<u64>,
    ) -> Option<usize> {
        for (i, seen) in self.hubs.iter_mut().enumerate() {
            match packets(i) {
                None => *seen = Seen::default(),
                Some(count) => {
                    seen.usable_since.get_or_insert(now);
                    if count != seen.packets || seen.heard.is_none() {
                        (seen.packets, seen.heard) = (count, Some(now));
                    }
                }
            }
        }
        let next = match self.works(self.current, now) {
            true => (0..self.current).find(|i| self.is_steady(*i, now)),
            false => (0..self.hubs.len())
                .find(|i| *i != self.current && self.hubs[*i].usable_since.is_some()),
        };
        if let Some(next) = next {
            if let Some(left) = self.hubs.get_mut(self.current) {
                left.usable_since = left.usable_since.map(|_| now);
            }
            self.current = next;
            // What it has said before it was sent anything says nothing.
            self.hubs[next].heard = Some(now);
        }
        let current = self.hubs.get(self.current)?;
        current.usable_since.map(|_| self.current)
    }

    fn works(&self, hub: usize, now: Instant) -> bool {
        let seen = self.hubs.get(hub);
        let usable = seen.filter(|seen| seen.usable_since.is_some());
        let heard = usable.and_then(|seen| seen.heard);
        heard.is_some_and(|heard| now.saturating_duration_since(heard) < DEAD_AFTER)
    }

    fn is_steady(&self, hub: usize, now: Instant) -> bool {
        let since = self.hubs.get(hub).and_then(|seen| seen.usable_since);
        since.is_some_and(|since| now.saturating_duration_since(since) >= STEADY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(20);

    /// Hubs that answer, or only seem to be there, or are gone.
    #[derive(Clone, Copy, PartialEq)]
    enum Hub {
        Up,
        Silent,
        Gone,
    }
    use Hub::{Gone, Silent, Up};

    struct World {
        choice: Choice,
        now: Instant,
        ticks: u64,
    }

    impl World {
        fn new(hubs: usize) -> Self {
            Self {
                choice: Choice::new(hubs),
                now: Instant::now(),
                ticks: 0,
            }
        }

        /// What is sent on after so long in which the hubs were like this, and how often that changed meanwhile.
        fn after(&mut self, time: Duration, hubs: [Hub; 2]) -> (Option<usize>, usize) {
            let mut sent = Vec::new();
            for _ in 0..time.as_millis() / TICK.as_millis() {
                self.now += TICK;
                self.ticks += 1;
                sent.push(self.choice.pick(self.now, |i| match hubs[i] {
                    Up => Some(self.ticks),
                    Silent => Some(7),
                    Gone => None,
                }));
            }
            sent.dedup();
            (sent.last().copied().flatten(), sent.len() - 1)
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_that_works_is_sent_on_and_a_dead_one_is_left_within_a_second() {
        let mut world = World::new(2);
        assert_eq!(world.after(s(1), [Gone, Gone]), (None, 0));
        assert_eq!(world.after(s(1), [Gone, Up]), (Some(1), 0));
        assert_eq!(world.after(s(14), [Up, Up]), (Some(1), 0));
        assert_eq!(world.after(s(2), [Up, Up]), (Some(0), 1));
        // The packet that it takes to be silent counts as heard.
        assert_eq!(world.after(DEAD_AFTER, [Silent, Up]), (Some(0), 0));
        assert_eq!(world.after(TICK, [Silent, Up]), (Some(1), 0));
        assert_eq!(world.after(s(14), [Silent, Up]), (Some(1), 0));
        assert_eq!(world.after(s(60), [Gone, Up]), (Some(1), 0));
        assert_eq!(world.after(TICK, [Up, Gone]), (Some(0), 0));
    }

    #[test]
    fn a_hub_that_comes_and_goes_disturbs_once() {
        let mut world = World::new(2);
        world.after(s(1), [Up, Up]);
        assert_eq!(world.after(s(3), [Gone, Up]), (Some(1), 0));
        for _ in 0..10 {
            assert_eq!(world.after(s(5), [Up, Up]), (Some(1), 0));
            assert_eq!(world.after(s(3), [Gone, Up]), (Some(1), 0));
        }
    }

    #[test]
    fn the_only_hub_is_sent_on_even_when_it_is_silent() {
        assert_eq!(World::new(1).after(s(9), [Silent, Gone]), (Some(0), 0));
        assert_eq!(World::new(0).after(s(1), [Up, Up]), (None, 0));
    }
}

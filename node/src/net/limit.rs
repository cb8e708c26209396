//! Token buckets: so many a second, and a burst.

use std::time::{Duration, Instant};

/// A rate and the burst allowed above it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Tokens gained each second.
    pub per_second: f64,
    /// Tokens held at most.
    pub burst: f64,
}

/// A bucket filled at a [`Budget`]'s rate. Time is an argument.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    budget: Budget,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(budget: Budget, now: Instant) -> Self {
        Self {
            budget,
            tokens: budget.burst,
            filled: now,
        }
    }

    /// Takes `tokens` if they are there; says whether they were.
    pub fn take(&mut self, tokens: f64, now: Instant) -> bool {
        let there = self.holds(tokens, now);
        if there {
            self.tokens -= tokens;
        }
        there
    }

    /// Takes `tokens` whether they are there or not.
    pub(crate) fn owe(&mut self, tokens: f64, now: Instant) {
        self.fill(now);
        self.tokens -= tokens;
    }

    /// How long it takes until nothing is owed.
    pub(crate) fn owes_for(&mut self, now: Instant) -> Duration {
        self.fill(now);
        let owed = (-self.tokens).max(0.0) / self.budget.per_second;
        Duration::try_from_secs_f64(owed).unwrap_or(Duration::MAX)
    }

    /// Whether `tokens` are there.
    pub(crate) fn holds(&mut self, tokens: f64, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= tokens
    }

    fn fill(&mut self, now: Instant) {
        let gained =
            now.saturating_duration_since(self.filled).as_secs_f64() * self.budget.per_second;
        self.tokens = (self.tokens + gained).min(self.budget.burst);
        self.filled = self.filled.max(now);
    }
}

/// What one neighbour may say on gossip: messages, and bytes of them.
#[derive(Debug, Clone)]
pub(crate) struct Allowance {
    messages: TokenBucket,
    bytes: TokenBucket,
}

impl Allowance {
    pub(crate) fn new(messages: Budget, bytes: Budget, now: Instant) -> Self {
        Self {
            messages: TokenBucket::new(messages, now),
            bytes: TokenBucket::new(bytes, now),
        }
    }

    /// Whether a message of this many bytes is within both budgets; it is then taken from them.
    pub(crate) fn admits(&mut self, bytes: usize, now: Instant) -> bool {
        self.messages.take(1.0, now) && self.bytes.take(bytes as f64, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(per_second: f64, burst: f64, start: Instant) -> TokenBucket {
        TokenBucket::new(Budget { per_second, burst }, start)
    }

    #[test]
    fn a_burst_passes_then_the_rate() {
        let start = Instant::now();
        let mut bucket = bucket(100.0, 5.0, start);
        assert_eq!((0..20).filter(|_| bucket.take(1.0, start)).count(), 5);
        let later = (1..=1_000)
            .filter(|ms| bucket.take(1.0, start + Duration::from_millis(*ms)))
            .count();
        assert!((99..=100).contains(&later), "{later}");
    }

    #[test]
    fn what_is_owed_is_paid_in_time() {
        let start = Instant::now();
        let mut bucket = bucket(100.0, 5.0, start);
        assert_eq!(bucket.owes_for(start), Duration::ZERO);
        bucket.owe(55.0, start);
        assert_eq!(bucket.owes_for(start), Duration::from_millis(500));
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.owes_for(later), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing_away() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut bucket = bucket(1.0, 1.0, start);
        assert!(bucket.take(1.0, start));
        assert!(!bucket.take(1.0, start - Duration::from_secs(5)));
        assert!(!bucket.take(1.0, start));
    }
}

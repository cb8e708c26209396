//! The connection to a hub, as a state: up, or to be dialled at some time.

use std::time::{Duration, Instant};

use super::address::RelayAddress;

/// The first pause before dialling again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A connection that lasted this long forgives earlier failures.
const STEADY: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be dialled then.
    Waiting(Instant),
    /// Being dialled.
    Dialling,
    /// Connected since then.
    Up(Instant),
}

/// See the module. Time is an argument.
#[derive(Debug)]
pub(crate) struct RelayLink {
    address: RelayAddress,
    state: State,
    pause: Duration,
    /// Whether the driver has been told that it is down.
    told_down: bool,
}

impl RelayLink {
    /// A link to be dialled at once.
    pub(crate) fn new(address: RelayAddress, now: Instant) -> Self {
        Self {
            address,
            state: State::Waiting(now),
            pause: FIRST_PAUSE,
            told_down: false,
        }
    }

    pub(crate) fn address(&self) -> &RelayAddress {
        &self.address
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up(_))
    }

    /// Whether to dial now. Says so once.
    pub(crate) fn dial_is_due(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Waiting(when) if when <= now);
        if due {
            self.state = State::Dialling;
        }
        due
    }

    /// The connection is up.
    pub(crate) fn handle_up(&mut self, now: Instant) {
        self.state = State::Up(now);
        self.told_down = false;
    }

    /// The connection, or the attempt, failed. Says whether the driver is to be told.
    pub(crate) fn handle_lost(&mut self, now: Instant) -> bool {
        match self.state {
            State::Waiting(_) => return false,
            State::Up(since) if now.saturating_duration_since(since) >= STEADY => {
                self.pause = FIRST_PAUSE
            }
            State::Up(_) | State::Dialling => {}
        }
        self.state = State::Waiting(now + spread(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        !std::mem::replace(&mut self.told_down, true)
    }
}

/// `pause`, lengthened at random by up to a half, so that a relay's clients do not all return in the same moment.
fn spread(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause + pause.mul_f64(0.5 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    fn link(now: Instant) -> RelayLink {
        RelayLink::new(
            RelayAddress {
                peer: PeerId::random(),
                addr: ([192, 0, 2, 1], 1).into(),
            },
            now,
        )
    }

    #[test]
    fn it_dials_at_once_and_only_once() {
        let now = Instant::now();
        let mut link = link(now);
        assert!(link.dial_is_due(now));
        assert!(!link.dial_is_due(now));
    }

    #[test]
    fn pauses_grow_and_down_is_told_once() {
        let mut now = Instant::now();
        let mut link = link(now);
        let mut pauses = Vec::new();
        for round in 0..10 {
            assert!(link.dial_is_due(now));
            assert_eq!(link.handle_lost(now), round == 0);
            let State::Waiting(when) = link.state else {
                unreachable!()
            };
            pauses.push(when - now);
            now = when;
        }
        assert!(pauses[0] >= FIRST_PAUSE && pauses[0] <= FIRST_PAUSE * 2);
        assert!(pauses[9] >= LONGEST_PAUSE && pauses[9] <= LONGEST_PAUSE * 2);
        link.handle_up(now);
        assert!(
            link.handle_lost(now + STEADY),
            "down is told again after up"
        );
        assert_eq!(link.pause, FIRST_PAUSE * 2, "a steady connection forgives");
    }
}

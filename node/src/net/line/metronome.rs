//! The clock of lines. What goes out by it goes at times that do not hang on what else this machine is doing.
//!
//! A timer of the runtime wakes at whole milliseconds, behind whatever its threads have in hand, and a machine has more in
//! hand while its owner speaks: by tenths of a millisecond that shows on a line. So lines have a thread of their own, and
//! each cell goes out at a moment drawn at random, so that what is left of such delays is lost in it.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Weak,
        mpsc::{self, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// From the beginning of its time, a cell goes out within this, or within this part of its time.
const WITHIN: Duration = Duration::from_millis(4);
const PART: f64 = 0.6;

/// Does it once, told how many times were missed before it; says whether to go on.
type Act = Box<dyn FnMut(u64) -> bool + Send>;

struct Beat {
    due: Instant,
    /// When the time of this beat began.
    begun: Instant,
    period: Duration,
    missed: u64,
    going: Weak<()>,
    act: Act,
}

/// See the module. It ends with the last of these and the last [`Going`].
#[derive(Clone)]
pub(crate) struct Metronome {
    beats: mpsc::Sender<Beat>,
}

/// Something that goes on until this is dropped.
pub(crate) struct Going {
    _alive: Arc<()>,
    _metronome: Metronome,
}

impl Metronome {
    /// Starts its thread.
    ///
    /// # Errors
    /// If there can be no thread, or the system has no randomness.
    pub(crate) fn start() -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let (beats, new) = mpsc::channel();
        std::thread::Builder::new()
            .name("line-clock".into())
            .spawn(move || run(&new, ChaCha20Rng::from_seed(seed)))?;
        Ok(Self { beats })
    }

    /// Does something once in each period, at a random moment of its first part, until it says no. It is told how many times were
    /// missed before it, as the machine slept or had too much to do.
    pub(crate) fn every(
        &self,
        period: Duration,
        act: impl FnMut(u64) -> bool + Send + 'static,
    ) -> Going {
        let (now, alive) = (Instant::now(), Arc::new(()));
        let beat = Beat {
            due: now,
            begun: now,
            period,
            missed: 0,
            going: Arc::downgrade(&alive),
            act: Box::new(act),
        };
        // The thread goes on as long as this is here.
        let _ = self.beats.send(beat);
        Going {
            _alive: alive,
            _metronome: self.clone(),
        }
    }
}

fn run(new: &mpsc::Receiver<Beat>, mut rng: ChaCha20Rng) {
    let mut beats = BinaryHeap::new();
    loop {
        let next = beats.peek().map(|Reverse(beat): &Reverse<Beat>| beat.due);
        let left = next.map(|due| due.saturating_duration_since(Instant::now()));
        let more = match left {
            None => new.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(left) => new.recv_timeout(left),
        };
        match more {
            Ok(beat) => beats.push(Reverse(beat)),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                if let Some(Reverse(beat)) = beats.pop() {
                    beats.extend(beat.strike(Instant::now(), &mut rng).map(Reverse));
                }
            }
        }
    }
}

impl Beat {
    /// Does it; what comes next, if anything.
    fn strike(mut self, now: Instant, rng: &mut ChaCha20Rng) -> Option<Self> {
        self.going.upgrade()?;
        // Whatever becomes of one, the others go on.
        let goes_on = catch_unwind(AssertUnwindSafe(|| (self.act)(self.missed)));
        goes_on.unwrap_or(false).then_some(())?;
        self.begun += self.period;
        let late = now.saturating_duration_since(self.begun);
        self.missed = late.div_duration_f64(self.period) as u64;
        if self.missed > 0 {
            // What was missed is not made up for.
            self.begun = now;
        }
        let part = f64::from(rng.next_u32()) / f64::from(u32::MAX);
        self.due = self.begun + self.period.mul_f64(PART).min(WITHIN).mul_f64(part);
        Some(self)
    }
}

impl PartialEq for Beat {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Beat {}

impl PartialOrd for Beat {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Beat {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(period: Duration, going: &Arc<()>, now: Instant) -> Beat {
        Beat {
            due: now,
            begun: now,
            period,
            missed: 0,
            going: Arc::downgrade(going),
            act: Box::new(|_| true),
        }
    }

    #[test]
    fn there_is_one_in_each_period_and_nobody_knows_when() {
        let (going, begun) = (Arc::new(()), Instant::now());
        let period = Duration::from_millis(20);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let mut next = beat(period, &going, begun);
        let mut moments = Vec::new();
        for number in 1..=1_000 {
            let now = next.due;
            next = next.strike(now, &mut rng).unwrap();
            let moment = next.due - (begun + period * number);
            assert!(moment <= WITHIN);
            moments.push(moment);
        }
        moments.sort();
        for part in 1..10 {
            let there = moments[100 * part].div_duration_f64(WITHIN);
            assert!((there - part as f64 / 10.0).abs() < 0.06, "{part}: {there}");
        }
    }

    #[test]
    fn what_was_missed_is_not_made_up_for() {
        let (going, begun) = (Arc::new(()), Instant::now());
        let period = Duration::from_millis(20);
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let later = begun + Duration::from_secs(60);
        let next = beat(period, &going, begun).strike(later, &mut rng).unwrap();
        assert!(next.due >= later && next.due <= later + WITHIN);
        assert_eq!(next.missed, 2_999);
        let due = next.due;
        assert_eq!(next.strike(due, &mut rng).unwrap().missed, 0);
    }

    #[test]
    #[allow(clippy::panic)]
    fn one_that_breaks_stops_no_other() {
        let metronome = Metronome::start().unwrap();
        let (tell, told) = mpsc::channel();
        let period = Duration::from_millis(1);
        let _broken = metronome.every(period, |_| panic!("for the test"));
        let _well = metronome.every(period, move |_| tell.send(()).is_ok());
        for _ in 0..50 {
            assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(()));
        }
    }

    #[test]
    fn it_goes_on_until_it_says_no_or_nobody_wants_it() {
        let metronome = Metronome::start().unwrap();
        let (tell, told) = mpsc::channel();
        let period = Duration::from_millis(1);
        let count = |most: u32| {
            let (tell, mut done) = (tell.clone(), 0);
            move |_| {
                done += 1;
                tell.send(most).is_ok() && done < most
            }
        };
        let three = metronome.every(period, count(3));
        for _ in 0..3 {
            assert_eq!(told.recv(), Ok(3));
        }
        let many = metronome.every(period, count(1_000_000));
        assert_eq!(told.recv(), Ok(1_000_000), "three is over");
        drop(many);
        let last = metronome.every(period, count(1));
        while told.recv() != Ok(1) {}
        drop((three, last, metronome, tell));
        while told.recv().is_ok() {}
    }
}

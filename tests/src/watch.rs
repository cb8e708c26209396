//! Looks at what everybody receives while the others act.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use undertone_node::api::Event;
use undertone_protocol::id::PublicKey;

use crate::person::Person;
use crate::report::Frames;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Somebody who was as loud as this was heard, dBFS.
const HEARD_DB: f32 = -50.0;
/// Shorter ones are the network's usual ones.
const GAP: Duration = Duration::from_millis(400);

/// A listener (by place) and one of their streams.
type Ear = (usize, u32);

/// A time in which somebody heard nothing of whoever had the turn, and the times before it in which they heard nothing either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Who heard nothing.
    pub listener: usize,
    /// On the stage's clock, to 50 ms.
    pub from: Duration,
    /// As `from`.
    pub to: Duration,
}

/// Reception so far, looked at while streams are open.
#[derive(Default)]
pub struct Watch {
    last: BTreeMap<Ear, Frames>,
    turn: Option<Turn>,
    /// Who heard nothing when the last turn ended, and since when.
    silent_since: BTreeMap<usize, Duration>,
    /// Those over 400 ms, so far.
    pub gaps: Vec<Gap>,
}

/// The turn under way: packets of all others come too, and are not heard.
struct Turn {
    speaker: PublicKey,
    began: Duration,
    /// When it was asked for: whoever does not hear its beginning has heard nothing since then.
    asked: Duration,
    /// For each listener, when the last packet was heard, and how loud the loudest was.
    heard: Vec<(Duration, f32)>,
}

impl Turn {
    /// Since when somebody has heard nothing who heard nothing since then in this turn.
    fn silent_since(&self, since: Duration, before: Option<&Duration>) -> Duration {
        match since == self.began {
            true => before.map_or(self.asked, |before| self.asked.min(*before)),
            false => since,
        }
    }
}

impl Watch {
    /// Waits, looking.
    pub fn pause(&mut self, people: &[Person], time: Duration) {
        let until = Instant::now() + time;
        loop {
            for (listener, person) in people.iter().enumerate() {
                self.look(listener, person);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn look(&mut self, listener: usize, person: &Person) {
        let now = person.now();
        let speaking: Vec<_> = match &self.turn {
            Some(turn) => streams_of(person)
                .into_iter()
                .filter(|(member, _)| *member == turn.speaker)
                .collect(),
            None => Vec::new(),
        };
        for stream in person.node.voice().status().streams {
            let (ear, stats) = ((listener, stream.stream.0), stream.stats);
            let frames = Frames {
                received: stats.received,
                lost: stats.lost,
                concealed: stats.concealed,
                recovered: stats.recovered,
                late: stats.late,
                buffer_ms: stats.delay.as_millis() as u64,
            };
            let before = self.last.insert(ear, frames);
            if before.is_some_and(|before| before.received == stats.received) {
                continue;
            }
            let Some(turn) = &mut self.turn else { continue };
            if speaking.iter().any(|(_, id)| *id == stream.stream.0) {
                let (since, to) = (std::mem::replace(&mut turn.heard[listener].0, now), now);
                if to.saturating_sub(since) >= GAP {
                    let from = turn.silent_since(since, self.silent_since.get(&listener));
                    self.gaps.push(Gap { listener, from, to });
                }
                let loudest = &mut turn.heard[listener].1;
                *loudest = loudest.max(stream.level_db);
            }
        }
    }

    /// Somebody begins to speak, who asked for it then.
    pub fn begin_turn(&mut self, people: &[Person], speaker: PublicKey, asked: Duration) {
        let began = people.first().map_or(asked, Person::now);
        self.turn = Some(Turn {
            speaker,
            began,
            asked,
            heard: vec![(began, f32::MIN); people.len()],
        });
    }

    /// They have ended. Says who has heard them.
    pub fn end_turn(&mut self, people: &[Person]) -> Vec<usize> {
        let Some(turn) = self.turn.take() else {
            return Vec::new();
        };
        let before = std::mem::take(&mut self.silent_since);
        let mut ears = Vec::new();
        for (listener, (since, loudest)) in turn.heard.iter().enumerate() {
            let person = &people[listener];
            let to = person.now();
            let takes_part = person.circle().is_some_and(|c| c.me != turn.speaker);
            if takes_part && to.saturating_sub(*since) >= GAP {
                let from = turn.silent_since(*since, before.get(&listener));
                self.silent_since.insert(listener, from);
                self.gaps.push(Gap { listener, from, to });
            }
            if *loudest > HEARD_DB {
                ears.push(listener);
            }
        }
        ears
    }

    /// For each listener and speaker, the frames of all streams that were theirs.
    pub fn frames(
        &self,
        people: &[Person],
        keys: &[PublicKey],
    ) -> BTreeMap<(usize, usize), Frames> {
        let mut all: BTreeMap<(usize, usize), Frames> = BTreeMap::new();
        for (listener, person) in people.iter().enumerate() {
            for (member, stream) in streams_of(person) {
                let speaker = keys.iter().position(|key| *key == member);
                let counted = self.last.get(&(listener, stream));
                if let (Some(speaker), Some(counted)) = (speaker, counted) {
                    all.entry((listener, speaker)).or_default().add(counted);
                }
            }
        }
        all
    }
}

fn streams_of(person: &Person) -> Vec<(PublicKey, u32)> {
    person.seen(|event| match event {
        Event::StreamOpened { member, stream } => Some((*member, *stream)),
        _ => None,
    })
}

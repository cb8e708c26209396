//! What a take showed, and whether everything promised happened.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::analysis::{Envelope, Track, quantile};
use crate::stage::Play;

/// Of what was said in a turn, at least this must arrive as sound.
const LEAST_HEARD: f64 = 0.7;
/// After a removal is in force, sound already on its way to the ear may take this long to fade.
const FADE: Duration = Duration::from_millis(120);
/// Delay of the sound of a turn, allowed for when looking for it.
const LATE: Duration = Duration::from_millis(400);

/// Frames of one speaker at one listener.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Frames {
    /// Arrived.
    pub received: u64,
    /// Never arrived in time.
    pub lost: u64,
    /// Filled in by the decoder.
    pub concealed: u64,
    /// Rebuilt from the redundancy in the next packet.
    pub recovered: u64,
    /// Arrived too late.
    pub late: u64,
    /// Depth of the jitter buffer at the end.
    pub buffer_ms: u64,
}

impl Frames {
    /// Adds another stream of the same speaker.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.concealed += other.concealed;
        self.recovered += other.recovered;
        self.late += other.late;
        self.buffer_ms = other.buffer_ms;
    }
}

/// One turn as it was taken.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Whose.
    pub speaker: usize,
    /// First word.
    pub from: Duration,
    /// Last word.
    pub to: Duration,
    /// Who heard it live.
    pub ears: Vec<usize>,
    /// From raising the hand to having the turn.
    pub waited: Duration,
}

/// The removal as it was seen.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Who.
    pub subject: usize,
    /// When the leader said so.
    pub notice: Duration,
    /// When the next person may have begun to speak.
    pub hushed: Duration,
    /// When everything ended.
    pub ended: Duration,
    /// When each enforced it.
    pub enforced: Vec<Option<Duration>>,
    /// When each had it on disk.
    pub durable: Vec<Option<Duration>>,
    /// When the removed one was told.
    pub told: Option<Duration>,
}

/// Everything that was recorded.
pub struct Take {
    /// Turns in order.
    pub turns: Vec<Turn>,
    /// The removal.
    pub removal: Removal,
    /// Frames by (listener, speaker).
    pub frames: BTreeMap<(usize, usize), Frames>,
    /// Pseudonym, said, heard.
    pub tracks: Vec<(String, Track, Track)>,
    /// From opening the invite to being inside, and to hearing somebody; not of who founded it.
    pub came_in: Vec<(Option<Duration>, Option<Duration>)>,
    /// Totals of the relays, the entry's first.
    pub forwarded: Vec<String>,
}

/// The report, as it is written to a file.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// People in the circle at first.
    pub members: usize,
    /// "direct", "relay" or "two-hop".
    pub route: String,
    /// What happened to packets on purpose, on their way from each member.
    pub weather: String,
    /// Whether everything promised happened.
    pub kept: bool,
    /// Each promise.
    pub promises: Vec<Promise>,
    /// Mouth to ear over all listeners and turns, found in the recordings.
    pub mouth_to_ear: Delay,
    /// Each listener.
    pub listeners: Vec<Listener>,
    /// The removal at each peer, milliseconds after the leader's notice.
    pub removal: Vec<RemovalAt>,
    /// Totals of the relays, the entry's first.
    pub relays: Vec<String>,
}

/// Something promised.
#[derive(Debug, Clone, Serialize)]
pub struct Promise {
    /// In plain words.
    pub promise: String,
    /// Whether it happened.
    pub kept: bool,
    /// What did not.
    pub broken: Vec<String>,
}

/// A delay found by comparing recordings.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Delay {
    /// Half were shorter.
    pub median_ms: Option<u64>,
    /// One in a hundred was longer.
    pub p99_ms: Option<u64>,
    /// Windows of 1.5 s compared.
    pub windows: usize,
}

impl Delay {
    fn of(mut delays: Vec<Duration>) -> Self {
        delays.sort();
        let at = |q| quantile(&delays, q).map(|d| d.as_millis() as u64);
        Self {
            median_ms: at(0.5),
            p99_ms: at(0.99),
            windows: delays.len(),
        }
    }
}

/// What one person heard.
#[derive(Debug, Clone, Serialize)]
pub struct Listener {
    /// Who.
    pub name: String,
    /// Mouth to ear.
    pub mouth_to_ear: Delay,
    /// From opening the invite to being inside; not of who founded the circle.
    pub inside_ms: Option<u64>,
    /// From opening the invite to hearing somebody.
    pub hearing_ms: Option<u64>,
    /// Of each speaker.
    pub heard: Vec<Heard>,
}

/// What one person heard of another.
#[derive(Debug, Clone, Serialize)]
pub struct Heard {
    /// Of whom.
    pub from: String,
    /// Sound said, seconds.
    pub said_s: f64,
    /// Sound heard, seconds.
    pub heard_s: f64,
    /// Frames.
    pub frames: Frames,
}

/// The removal at one peer.
#[derive(Debug, Clone, Serialize)]
pub struct RemovalAt {
    /// Who.
    pub name: String,
    /// In force.
    pub enforced_ms: Option<u64>,
    /// On disk.
    pub durable_ms: Option<u64>,
    /// Last sound of the removed one.
    pub last_heard_ms: Option<u64>,
}

struct Ears {
    said: Vec<Envelope>,
    heard: Vec<Envelope>,
}

impl Report {
    /// Listens to a take.
    pub fn judge(play: &Play, take: &Take) -> Self {
        let ears = Ears {
            said: take.tracks.iter().map(|t| t.1.envelope()).collect(),
            heard: take.tracks.iter().map(|t| t.2.envelope()).collect(),
        };
        let name = |i: usize| take.tracks[i].0.clone();
        let mut all_delays = Vec::new();
        let mut unheard = Vec::new();
        let mut listeners = Vec::new();
        for listener in 0..take.tracks.len() {
            let mut delays = Vec::new();
            let mut heard: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
            for turn in turns_for(take, listener) {
                let said = ears.said[turn.speaker].sound(turn.from, turn.to);
                let arrived = ears.heard[listener].sound(turn.from, turn.to + LATE);
                let sums = heard.entry(turn.speaker).or_default();
                sums.0 += said.as_secs_f64();
                sums.1 += arrived.as_secs_f64();
                if arrived.as_secs_f64() < LEAST_HEARD * said.as_secs_f64() || said.is_zero() {
                    unheard.push(format!(
                        "{} heard {:.1} s of {:.1} s that {} said",
                        name(listener),
                        arrived.as_secs_f64(),
                        said.as_secs_f64(),
                        name(turn.speaker)
                    ));
                }
                let mouth = &ears.said[turn.speaker];
                delays.extend(mouth.delays(&ears.heard[listener], turn.from, turn.to));
            }
            all_delays.extend(delays.iter().copied());
            listeners.push(Listener {
                name: name(listener),
                mouth_to_ear: Delay::of(delays),
                inside_ms: take.came_in[listener].0.map(|t| t.as_millis() as u64),
                hearing_ms: take.came_in[listener].1.map(|t| t.as_millis() as u64),
                heard: heard
                    .into_iter()
                    .map(|(speaker, (said_s, heard_s))| Heard {
                        from: name(speaker),
                        said_s: tenths(said_s),
                        heard_s: tenths(heard_s),
                        frames: take
                            .frames
                            .get(&(listener, speaker))
                            .copied()
                            .unwrap_or_default(),
                    })
                    .collect(),
            });
        }
        let mouth_to_ear = Delay::of(all_delays);
        let mut promises = vec![
            promise("everybody heard every turn", unheard),
            promise(
                "the delay from mouth to ear was found in the recordings",
                match mouth_to_ear.windows {
                    0 => vec!["nothing heard matches what was said".into()],
                    _ => Vec::new(),
                },
            ),
        ];
        let removal = judge_removal(take, &ears, &mut promises);
        Self {
            members: play.members,
            route: play.route.to_string(),
            weather: play.weather.to_string(),
            kept: promises.iter().all(|p| p.kept),
            promises,
            mouth_to_ear,
            listeners,
            removal,
            relays: take.forwarded.clone(),
        }
    }

    /// For a person to read.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let ms = |t: Option<u64>| t.map_or("—".into(), |t| format!("{t} ms"));
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "\n  {} people, {} route, on purpose {}\n",
            self.members, self.route, self.weather
        );
        for promise in &self.promises {
            let mark = if promise.kept { "✔" } else { "✘" };
            let _ = writeln!(text, "  {mark} {}", promise.promise);
            for broken in &promise.broken {
                let _ = writeln!(text, "      {broken}");
            }
        }
        let _ = writeln!(
            text,
            "\n  Mouth to ear  median {}, p99 {} ({} windows of recordings compared)",
            ms(self.mouth_to_ear.median_ms),
            ms(self.mouth_to_ear.p99_ms),
            self.mouth_to_ear.windows
        );
        let slowest =
            |of: &dyn Fn(&Listener) -> Option<u64>| self.listeners.iter().filter_map(of).max();
        let _ = writeln!(
            text,
            "  Coming in     inside {} after the invite at most, hearing somebody {}",
            ms(slowest(&|l| l.inside_ms)),
            ms(slowest(&|l| l.hearing_ms))
        );
        let _ = writeln!(
            text,
            "\n  {:<16} {:>9} {:>9} {:>8} {:>8} {:>10}",
            "listener", "said", "heard", "lost", "filled", "delay"
        );
        for listener in &self.listeners {
            let sum = |f: &dyn Fn(&Heard) -> f64| listener.heard.iter().map(f).sum::<f64>();
            let lost = sum(&|h| h.frames.lost as f64);
            let all = lost + sum(&|h| h.frames.received as f64);
            let filled = sum(&|h| (h.frames.concealed + h.frames.recovered) as f64);
            let _ = writeln!(
                text,
                "  {:<16} {:>7.1} s {:>7.1} s {:>6.1} % {:>8.0} {:>10}",
                listener.name,
                sum(&|h| h.said_s),
                sum(&|h| h.heard_s),
                100.0 * lost / all.max(1.0),
                filled,
                ms(listener.mouth_to_ear.median_ms)
            );
        }
        let _ = writeln!(text, "\n  After the leader's notice, at each peer:");
        for at in &self.removal {
            let _ = writeln!(
                text,
                "  {:<16} in force {:>7}, on disk {:>7}, last sound {:>7}",
                at.name,
                ms(at.enforced_ms),
                ms(at.durable_ms),
                ms(at.last_heard_ms)
            );
        }
        text
    }
}

/// The turns of others that this listener was there for.
fn turns_for(take: &Take, listener: usize) -> impl Iterator<Item = &Turn> {
    let removed = take.removal.subject;
    take.turns.iter().filter(move |turn| {
        let there = listener != removed || turn.to <= take.removal.notice;
        turn.speaker != listener && there
    })
}

fn judge_removal(take: &Take, ears: &Ears, promises: &mut Vec<Promise>) -> Vec<RemovalAt> {
    let removal = &take.removal;
    let troll = removal.subject;
    let peers: Vec<_> = (0..take.tracks.len()).filter(|i| *i != troll).collect();
    let since = |at: Option<Duration>| at.map(|t| t.saturating_sub(removal.notice));
    let (mut unforced, mut heard_after, mut unstored) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows = Vec::new();
    for peer in peers {
        let name = &take.tracks[peer].0;
        let last = ears.heard[peer].last_sound(removal.notice, removal.hushed);
        match removal.enforced[peer] {
            None => unforced.push(format!("{name} did not")),
            Some(enforced) if last.is_some_and(|last| last > enforced + FADE) => {
                heard_after.push(format!("{name} heard them {:?} after", since(last)));
            }
            Some(_) => {}
        }
        if removal.durable[peer].is_none() {
            unstored.push(format!("{name} did not"));
        }
        let ms = |d: Option<Duration>| since(d).map(|d| d.as_millis() as u64);
        rows.push(RemovalAt {
            name: name.clone(),
            enforced_ms: ms(removal.enforced[peer]),
            durable_ms: ms(removal.durable[peer]),
            last_heard_ms: ms(last),
        });
    }
    let name = &take.tracks[troll].0;
    promises.push(promise("every peer enforced the removal", unforced));
    promises.push(promise("every peer has it on disk", unstored));
    promises.push(promise(
        "nobody heard the removed one once it was in force",
        heard_after,
    ));
    let told = removal.told;
    promises.push(promise(
        "the removed one was told",
        match told {
            Some(_) => Vec::new(),
            None => vec![format!("{name} was not")],
        },
    ));
    let quiet_from = told.unwrap_or(removal.notice) + FADE;
    let later = ears.heard[troll].last_sound(quiet_from, removal.ended);
    promises.push(promise(
        "the removed one heard nothing afterwards",
        later
            .map(|at| format!("{name} heard something at {at:?}"))
            .into_iter()
            .collect(),
    ));
    rows
}

fn promise(what: &str, broken: Vec<String>) -> Promise {
    Promise {
        promise: what.to_owned(),
        kept: broken.is_empty(),
        broken,
    }
}

fn tenths(seconds: f64) -> f64 {
    (seconds * 10.0).round() / 10.0
}

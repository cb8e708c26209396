//! What a relay bore, told in lines, and what of it is wrong.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attack::{ATTEMPTS, Attack, Outcome};
use crate::probe::{HEARD, Window};

/// How much later than before an attack sound may come.
const LATER: f64 = 50.0;
/// How late what members say may be while somebody talks at their door.
const NOTICE: f64 = 3_000.0;
/// How soon who floods is to be cut, seconds.
const CUT: f64 = 2.0;
/// How soon a circle comes in while somebody takes all the room, seconds.
pub const COME_IN: f64 = 20.0;
/// The most memory a relay may have had.
const PEAK_MIB: f64 = 256.0;

/// What circles cost.
#[derive(Serialize)]
pub struct Cost {
    /// So many of them.
    pub circles: u8,
    /// Part of a core.
    pub cores: f64,
    /// What the relay's process had then, MiB.
    pub memory_mib: f64,
    /// … and at most.
    pub peak_mib: f64,
    /// What members of one of them heard.
    pub heard: Window,
}

/// What many clients do.
#[derive(Serialize)]
pub struct Crowd {
    /// So many of them.
    pub clients: usize,
    /// … of whom so many were still there in the end.
    pub stayed: usize,
    /// For how long they were to stay.
    pub seconds: f64,
    /// What the relay's process had before they came, KiB.
    pub memory_before_kib: u64,
    /// … and with them.
    pub memory_kib: u64,
    /// The difference, for each.
    pub kib_a_client: f64,
    /// Part of a core.
    pub cores: f64,
    /// The most that the process had, MiB.
    pub peak_mib: f64,
    /// What a circle heard meanwhile.
    pub heard: Window,
}

/// What an attack does.
#[derive(Serialize)]
pub struct Attacked {
    /// Which.
    pub attack: Attack,
    /// What the attacker says of it.
    pub outcome: Outcome,
    /// What the circle heard before.
    pub before: Window,
    /// … and meanwhile.
    pub during: Window,
    /// A circle that came in meanwhile, where it is about that.
    pub newcomers: Option<Newcomers>,
    /// What the relay's process had in the end, MiB.
    pub memory_mib: f64,
    /// … and at most.
    pub peak_mib: f64,
    /// Part of a core.
    pub cores: f64,
}

/// A circle that comes in while there is an attack.
#[derive(Serialize)]
pub struct Newcomers {
    /// Seconds that took; nothing if it did not.
    pub came_in: Option<f64>,
    /// What it heard from then on.
    pub heard: Option<Window>,
}

/// What another libp2p does, which means no harm and talks nonsense.
#[derive(Serialize)]
pub struct Foreign {
    /// What it says of that.
    pub outcome: Babble,
    /// What the circle heard before.
    pub before: Window,
    /// … and meanwhile.
    pub during: Window,
    /// The most that the relay's process had, MiB.
    pub peak_mib: f64,
}

/// What another libp2p says of itself.
#[derive(Serialize, Deserialize)]
pub struct Babble {
    /// Connections it had.
    pub connected: u64,
    /// Pings that were answered.
    pub pings: u64,
    /// What it was told that the relay speaks.
    pub protocols: Vec<String>,
    /// Streams that it talked nonsense on.
    pub streams: u64,
    /// … that the relay did not take.
    pub refused: u64,
    /// Bytes of nonsense.
    pub bytes: u64,
    /// Topics and messages that it was told.
    pub told: u64,
}

/// All that was found.
#[derive(Default, Serialize)]
pub struct Findings {
    /// With one circle, and with more.
    pub costs: Vec<Cost>,
    /// With many clients.
    pub crowd: Option<Crowd>,
    /// With each attack.
    pub attacks: Vec<Attacked>,
    /// With another libp2p.
    pub foreign: Option<Foreign>,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {}: {:4.1} % of a core, {:.1} MiB; sound after {:.0} ms, p99 {:.0}, {:.2} % of it heard",
            self.circles,
            100.0 * self.cores,
            self.memory_mib,
            self.heard.sound.median,
            self.heard.sound.p99,
            100.0 * self.heard.sound.heard
        )
    }
}

impl fmt::Display for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  {} stayed; {:.1} KiB each (from {:.1} to {:.1} MiB), {:.1} % of a core; sound p99 {:.0} ms, {:.2} % of it heard",
            self.stayed,
            self.kib_a_client,
            self.memory_before_kib as f64 / 1024.0,
            self.memory_kib as f64 / 1024.0,
            100.0 * self.cores,
            self.heard.sound.p99,
            100.0 * self.heard.sound.heard
        )
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outcome,
            before,
            during,
            ..
        } = self;
        write!(
            f,
            "Another libp2p: {} connections, {} pings answered; it speaks {}; then {} streams of nonsense, {:.1} MB, and \
             {} refused; told {}; p99 {:.0} → {:.0} ms, {:.2} % heard",
            outcome.connected,
            outcome.pings,
            outcome.protocols.join(" "),
            outcome.streams,
            outcome.bytes as f64 / 1e6,
            outcome.refused,
            outcome.told,
            before.sound.p99,
            during.sound.p99,
            100.0 * during.sound.heard
        )
    }
}

impl Attacked {
    /// What is above the lines of several.
    #[must_use]
    pub fn heading() -> String {
        format!(
            "  {:<11} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>5} {:>4}  {:>11} {:>6}  {:>7} {:>6} {:>5} {:>5}",
            "attack",
            "tried",
            "a second",
            "let in",
            "failed",
            "cut",
            "cut in",
            "held",
            "told",
            "p99 ms",
            "heard",
            "notices",
            "heard",
            "MiB",
            "cores"
        )
    }
}

impl fmt::Display for Attacked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outcome,
            before,
            during,
            ..
        } = self;
        let or_none = |figure: Option<String>| figure.unwrap_or_else(|| "–".into());
        let rate = or_none(outcome.rate().map(|rate| format!("{rate:.0}")));
        let is_cut = (outcome.slowest_cut > 0.0).then_some(outcome.slowest_cut);
        let cut_in = or_none(is_cut.map(|seconds| format!("{seconds:.2} s")));
        write!(
            f,
            "  {:<11} {:>8} {rate:>8} {:>6} {:>6} {:>6} {cut_in:>6} {:>5} {:>4}  {:>4.0} → {:>4.0} {:>5.1}%  {:>7.0} {:>5.1}% {:>5.0} {:>5.2}",
            format!("{:?}", self.attack),
            outcome.tried,
            outcome.connected,
            outcome.failed,
            outcome.cut,
            outcome.held,
            outcome.told,
            before.sound.p99,
            during.sound.p99,
            100.0 * during.sound.heard,
            during.control.p99,
            100.0 * during.control.heard,
            self.peak_mib,
            self.cores,
        )?;
        let Some(Newcomers { came_in, heard }) = &self.newcomers else {
            return Ok(());
        };
        let came_in = or_none(came_in.map(|seconds| format!("{seconds:.1} s")));
        let heard =
            heard.map(|h| [h.sound, h.control].map(|a| format!("{:.1} %", 100.0 * a.heard)));
        let heard =
            or_none(heard.map(|[sound, notices]| format!("{sound}, of its notices {notices}")));
        write!(
            f,
            "\n  {:<11} another circle came in after {came_in}; of its sound it heard {heard}",
            ""
        )
    }
}

impl Findings {
    /// What was promised and did not happen.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for cost in &self.costs {
            let what = format!("{} circles", cost.circles);
            broken.extend(borne(&what, &[cost.heard], cost.peak_mib));
        }
        if let Some(crowd) = &self.crowd {
            broken.extend(borne("many clients", &[crowd.heard], crowd.peak_mib));
            if crowd.stayed < crowd.clients {
                let gone = crowd.clients - crowd.stayed;
                broken.push(format!("{gone} clients were lost"));
            }
        }
        for attacked in &self.attacks {
            let what = format!("{:?}", attacked.attack);
            let windows = [attacked.before, attacked.during];
            broken.extend(borne(&what, &windows, attacked.peak_mib));
            let wrong = attacked.wrong().into_iter();
            broken.extend(wrong.map(|wrong| format!("{what}: {wrong}")));
        }
        if let Some(foreign) = &self.foreign {
            let what = "another libp2p";
            let windows = [foreign.before, foreign.during];
            broken.extend(borne(what, &windows, foreign.peak_mib));
            if foreign.outcome.pings < 2 || foreign.outcome.told > 0 {
                broken.push(format!("{what} was not answered, or told too much"));
            }
            if foreign.during.sound.p99 > foreign.before.sound.p99 + LATER {
                broken.push(format!("{what}: sound came late"));
            }
        }
        broken
    }
}

/// What must never be: that a circle does not hear itself, or the relay grows.
fn borne(what: &str, windows: &[Window], peak_mib: f64) -> Vec<String> {
    let mut broken: Vec<_> = windows.iter().filter_map(Window::wrong).collect();
    if peak_mib > PEAK_MIB {
        broken.push(format!("the relay had {peak_mib:.0} MiB"));
    }
    let say = |wrong| format!("{what}: {wrong}");
    broken.into_iter().map(say).collect()
}

impl Attacked {
    /// What went wrong, beside that.
    fn wrong(&self) -> Vec<&'static str> {
        let Self {
            attack,
            outcome,
            before,
            during,
            ..
        } = self;
        let control = during.control;
        let newcomers = self.newcomers.as_ref();
        let is_in = |n: &Newcomers| {
            let heard = n.heard.map(|h| h.sound.heard.min(h.control.heard));
            n.came_in.is_some_and(|s| s <= COME_IN) && heard.is_some_and(|h| h >= HEARD)
        };
        let is_missing = match attack {
            Attack::Connections => outcome.connected == 0 || outcome.tried < ATTEMPTS as u64,
            Attack::Garbage => false,
            Attack::Places | Attack::Rooms => outcome.held == 0,
            Attack::Door => during.at_the_door == 0,
            _ => outcome.connected == 0 || attack.is_flood() && outcome.cut == 0,
        };
        let rules = [
            (outcome.tried == 0 || is_missing, "it did not happen"),
            (
                during.sound.p99 > before.sound.p99 + LATER,
                "sound came late",
            ),
            (outcome.slowest_cut > CUT, "cut too late"),
            (
                outcome.told > 0 || during.strange > 0,
                "somebody was told what was not for them",
            ),
            (
                *attack == Attack::Door && !(control.p99 <= NOTICE && control.heard >= HEARD),
                "what members said came late, or not",
            ),
            (
                !newcomers.is_none_or(is_in),
                "another circle did not come in",
            ),
        ];
        let wrong = rules.into_iter().filter(|(is_so, _)| *is_so);
        wrong.map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::probe::Arrived;

    use super::*;

    fn heard(heard: f64, p99: f64) -> Window {
        let sound = Arrived {
            median: p99,
            p99,
            heard,
        };
        Window {
            sound,
            control: sound,
            strange: 0,
            at_the_door: 1,
        }
    }

    fn attacked(attack: Attack, tried: u64, during: Window) -> Attacked {
        Attacked {
            attack,
            outcome: Outcome {
                tried,
                connected: 1,
                held: 1,
                ..Outcome::default()
            },
            before: heard(1.0, 30.0),
            during,
            newcomers: None,
            memory_mib: 20.0,
            peak_mib: 20.0,
            cores: 0.1,
        }
    }

    #[test]
    fn an_attack_that_did_not_happen_is_no_pass_nor_is_silence() {
        let wrong = |attack, tried, during| attacked(attack, tried, during).wrong();
        let well = heard(1.0, 30.0);
        assert!(wrong(Attack::Guesses, 1, well).is_empty());
        assert_eq!(wrong(Attack::Guesses, 0, well), ["it did not happen"]);
        assert_eq!(wrong(Attack::Cells, 1, well), ["it did not happen"]);
        assert_eq!(wrong(Attack::Connections, 9_999, well).len(), 1);
        assert!(wrong(Attack::Connections, 10_000, well).is_empty());
        assert!(wrong(Attack::Door, 1, well).is_empty());
        assert_eq!(wrong(Attack::Door, 1, heard(0.9, 30.0)).len(), 1);
        assert_eq!(wrong(Attack::Door, 1, heard(1.0, f64::NAN)).len(), 1);
        assert_eq!(borne("", &[well], PEAK_MIB), [""; 0]);
        for window in [heard(0.9, 30.0), heard(1.0, f64::NAN)] {
            assert_eq!(borne("", &[well, window], PEAK_MIB).len(), 1);
        }
        assert_eq!(borne("", &[well], PEAK_MIB + 1.0).len(), 1);
    }
}

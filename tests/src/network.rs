//! A circle on a small Internet with everything that goes wrong there: routers, bad lines, relays that die. Who hears whom,
//! for how long nobody does, and who can see whose address.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::Serialize;
use undertone_node::api::RouteDraft;

use crate::capture::{self, Captured};
use crate::dtx;
use crate::netns::{Host, Internet, Nat};
use crate::person::{Home, Person, lock};
use crate::relay::RelayProcess;
use crate::report::Turn;
use crate::speech::voices;
use crate::stage::{RouteChoice, cast, clock, gather, take_turn};
use crate::watch::{Gap, Watch};
use crate::weather::{self, Weather};

/// Relays that a two-hop circle has of each kind.
const OF_EACH: usize = 2;
/// Gaps that begin this long before a relay is said to be killed, or after, are its.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(15);
/// How long the line of somebody who moves is away.
const AWAY: Duration = Duration::from_secs(2);
/// Longest gap that a killed relay may leave, or a line that is back, or anything else.
const LONGEST_GAP: Duration = Duration::from_secs(3);
/// Longest from raising a hand to having the turn: just before, somebody gives it back. That and the grant each wait for a beat of
/// 0.75 s and go through two lines that lose one packet in twenty, and what is behind a lost one waits for it too.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Sound that has settled when everybody is there.
const SETTLE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// 2–16.
    pub members: usize,
    /// Direct, everybody has a public address; else everybody is behind a router of one kind or another.
    pub route: RouteChoice,
    /// From the first turn to the last.
    pub length: Duration,
    /// How long each speaks.
    pub turn: Duration,
    /// How often a relay is killed; it comes back half as much later.
    pub kill_every: Option<Duration>,
    /// How often somebody's line is gone, for two seconds, and back with another address.
    pub move_every: Option<Duration>,
    /// What happens to packets from mouth to ear: half of it on each line.
    pub weather: Weather,
    /// Seeds that.
    pub seed: u64,
    /// The node's program.
    pub program: PathBuf,
}

/// Something that was taken away.
#[derive(Debug, Clone, Serialize)]
pub struct Trouble {
    /// What: a relay, or somebody's line.
    pub what: String,
    /// On the stage's clock.
    pub at: Duration,
    /// For how long nothing else could take its place.
    pub away: Duration,
    /// The longest time in which somebody heard nothing of somebody.
    pub longest_gap: Duration,
    /// How many pairs of people had one over 400 ms.
    pub gaps: usize,
}

/// Who spoke when, beside the captures: seconds since 1970, as there.
#[derive(Serialize)]
struct Spoken {
    member: usize,
    from: f64,
    to: f64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// From opening the invite to being inside, longest.
    pub slowest_to_come_in: Duration,
    /// … to the first packet of somebody's voice, longest.
    pub slowest_to_hear: Duration,
    /// Turns taken.
    pub turns: usize,
    /// Turns that somebody did not hear, and who.
    pub unheard: Vec<String>,
    /// What was taken away.
    pub troubles: Vec<Trouble>,
    /// Longest gap at other times.
    pub longest_other_gap: Duration,
    /// How many of those there were, over 400 ms.
    pub other_gaps: usize,
    /// Times from raising a hand to having the turn, shortest first.
    pub waits: Vec<Duration>,
    /// Promises that the run did not put to the test.
    pub untried: Vec<String>,
    /// How often an address of another member was seen, at members.
    pub seen_by_members: usize,
    /// … of any member, at hubs.
    pub seen_by_hubs: usize,
    /// … of any member, at entries, which do see them.
    pub seen_by_entries: usize,
    /// Packets that were looked at.
    pub packets: usize,
}

impl Findings {
    /// What was promised and did not happen.
    pub fn broken(&self) -> Vec<String> {
        let mut broken = [self.unheard.clone(), self.untried.clone()].concat();
        let missed = |t: &&Trouble| t.longest_gap > t.away + LONGEST_GAP;
        for trouble in self.troubles.iter().filter(missed) {
            broken.push(format!(
                "{} was missed for {:.2?}",
                trouble.what, trouble.longest_gap
            ));
        }
        if self.longest_other_gap > LONGEST_GAP {
            broken.push(format!(
                "somebody heard nothing for {:.2?} although nothing was taken away",
                self.longest_other_gap
            ));
        }
        if let Some(wait) = self.waits.last().filter(|wait| **wait > LONGEST_WAIT) {
            broken.push(format!("a turn took {wait:.2?} to come"));
        }
        if self.seen_by_members + self.seen_by_hubs > 0 {
            broken.push("addresses were seen".into());
        }
        broken
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  from invite to inside         {:.1?} at most, to hearing somebody {:.1?}",
            self.slowest_to_come_in, self.slowest_to_hear
        )?;
        writeln!(
            f,
            "  turns                         {}, {} of them unheard by somebody; they came {:.2?} after being asked for, {:.2?} at most",
            self.turns,
            self.unheard.len(),
            self.waits
                .get(self.waits.len() / 2)
                .copied()
                .unwrap_or_default(),
            self.waits.last().copied().unwrap_or_default()
        )?;
        for trouble in &self.troubles {
            writeln!(
                f,
                "  {} {:<22} longest gap {:.2?}, {} of pairs",
                clock(trouble.at),
                trouble.what,
                trouble.longest_gap,
                trouble.gaps
            )?;
        }
        writeln!(
            f,
            "  otherwise                     longest gap {:.2?}, {} in all",
            self.longest_other_gap, self.other_gaps
        )?;
        writeln!(
            f,
            "  members' addresses            seen {} times by members, {} by hubs, {} by entries, in {} packets",
            self.seen_by_members, self.seen_by_hubs, self.seen_by_entries, self.packets
        )
    }
}

/// Runs it. `folder` is for captures (`m0.pcap` …), who spoke when (`turns.json`) and relays' settings, and is the caller's to
/// clear away.
///
/// # Errors
/// Without root or tools, or when the circle does not come about: then there is nothing to measure.
pub fn run(plan: &Plan, folder: &Path, say: &mut dyn FnMut(&str)) -> Result<Findings> {
    let mut internet = Internet::new()?;
    let (mut relays, route) = relays(plan, &mut internet, folder)?;
    let mut hosts = Vec::new();
    for member in 0..plan.members {
        let nat = match plan.route {
            RouteChoice::Direct => Nat::None,
            _ => Nat::HIDING[member % Nat::HIDING.len()],
        };
        let host = internet.host(&format!("m{member}"), 10 + member as u8, nat)?;
        internet.capture(&host, &folder.join(format!("m{member}.pcap")))?;
        hosts.push(host);
    }
    let (began, began_unix) = (
        Instant::now(),
        SystemTime::now().duration_since(UNIX_EPOCH)?,
    );
    let home = |member: usize| {
        let half = Weather {
            loss: plan.weather.loss / 2.0,
            twice: plan.weather.twice / 2.0,
            delay: plan.weather.delay / 2,
            jitter: plan.weather.jitter / 2,
        };
        let host: &Host = &hosts[member];
        Home {
            socket: weather::sockets(host.sockets(), half, half, plan.seed + member as u64),
            listen: (host.inside, 0).into(),
            data: None,
            // It may be hours.
            recorded: false,
        }
    };
    let people = gather(cast(plan.members, None, began, &home)?, route, say)?;
    let slowest = |of: fn(&Person) -> Option<Duration>| people.iter().filter_map(of).max();
    let slowest_to_come_in = slowest(|p| p.inside_after).unwrap_or_default();
    let slowest_to_hear = slowest(|p| p.hearing_after).unwrap_or_default();
    let mut watch = Watch::default();
    watch.pause(&people, SETTLE);
    let over = AtomicBool::new(false);
    let names: Vec<_> = people.iter().map(|p| p.name.clone()).collect();
    let taken = Taken {
        began,
        over: &over,
        so_far: Mutex::default(),
    };
    let turns = std::thread::scope(|scope| {
        let killer = scope.spawn(|| taken.kill_in_turn(plan, &mut relays));
        let mover = scope.spawn(|| taken.move_in_turn(plan, &hosts, &names));
        let turns = turns(plan, &people, &mut watch, say);
        over.store(true, Ordering::Release);
        for ended in [killer.join(), mover.join()] {
            ended.map_err(|_| anyhow::anyhow!("whoever takes things away panicked"))??;
        }
        turns
    })?;
    people.iter().rev().for_each(|person| person.node.stop());
    drop(people);
    internet.end_captures()?;
    let spoken = turns.iter().map(|turn| Spoken {
        member: turn.speaker,
        from: (began_unix + turn.from).as_secs_f64(),
        to: (began_unix + turn.to).as_secs_f64(),
    });
    write_turns(folder, spoken)?;
    let captured = |name: &str| capture::read(&folder.join(format!("{name}.pcap")));
    let mut waits: Vec<_> = turns.iter().map(|turn| turn.waited).collect();
    waits.sort_unstable();
    let mut findings = Findings {
        slowest_to_come_in,
        slowest_to_hear,
        turns: turns.len(),
        unheard: unheard(&turns, &names),
        troubles: Vec::new(),
        longest_other_gap: Duration::ZERO,
        other_gaps: 0,
        seen_by_members: 0,
        seen_by_hubs: 0,
        seen_by_entries: 0,
        packets: 0,
        waits,
        untried: Vec::new(),
    };
    findings.judge_gaps(&watch.gaps, &lock(&taken.so_far));
    let all: BTreeSet<Ipv4Addr> = hosts.iter().flat_map(Host::addresses).collect();
    for (member, host) in hosts.iter().enumerate() {
        let own = host.addresses();
        let others = all.iter().filter(|a| !own.contains(a));
        let packets = captured(&format!("m{member}"))?;
        if packets.is_empty() {
            findings.untried(format!("the line of {} was not captured", names[member]));
        }
        findings.packets += packets.len();
        findings.seen_by_members += sightings(&packets, others);
    }
    for relay in &relays {
        let packets = captured(&relay.name)?;
        findings.packets += packets.len();
        let seen = sightings(&packets, all.iter());
        match relay.is_hub {
            true => findings.seen_by_hubs += seen,
            false => findings.seen_by_entries += seen,
        }
    }
    if !relays.is_empty() && findings.seen_by_entries == 0 {
        findings.untried("entries, which see addresses, were not seen to: captures prove nothing");
    }
    for (every, what) in [(plan.kill_every, "killed"), (plan.move_every, "moved")] {
        let was = |t: &Trouble| t.what.starts_with(what);
        if every.is_some() && !findings.troubles.iter().any(was) {
            findings.untried(format!("nothing was {what}"));
        }
    }
    Ok(findings)
}

fn sightings<'a>(packets: &[Captured], of: impl Iterator<Item = &'a Ipv4Addr>) -> usize {
    of.map(|address| capture::sightings(packets, *address))
        .sum()
}

struct NamedRelay {
    name: String,
    is_hub: bool,
    process: RelayProcess,
}

/// Captures a program that is silent when its user is, who talks five seconds in ten: what a line shows that hides nothing.
///
/// # Errors
/// As [`run`].
pub fn run_control(length: Duration, folder: &Path) -> Result<()> {
    const TALKS: Duration = Duration::from_secs(5);
    let mut internet = Internet::new()?;
    let (here, far) = (
        internet.host("talker", 10, Nat::None)?,
        internet.host("far", 11, Nat::None)?,
    );
    internet.capture(&here, &folder.join("m0.pcap"))?;
    let listening = far.socket(4_000)?;
    let socket = here.socket(0)?;
    let (began, began_unix) = (
        Instant::now(),
        SystemTime::now().duration_since(UNIX_EPOCH)?,
    );
    let slot = |at: Duration| (at.as_secs() / TALKS.as_secs()) as u32;
    let voices = voices(None)?;
    let speech = voices.first().context("no voice")?;
    dtx::talk(
        &socket,
        listening.local_addr()?,
        speech,
        began,
        length,
        |at| slot(at).is_multiple_of(2),
    )?;
    internet.end_captures()?;
    let turns = (0..slot(length)).map(|number| Spoken {
        member: (number % 2) as usize,
        from: (began_unix + number * TALKS).as_secs_f64(),
        to: (began_unix + (number + 1) * TALKS).as_secs_f64(),
    });
    write_turns(folder, turns)
}

fn write_turns(folder: &Path, turns: impl Iterator<Item = Spoken>) -> Result<()> {
    let turns = serde_json::to_string_pretty(&turns.collect::<Vec<_>>())?;
    Ok(std::fs::write(folder.join("turns.json"), turns)?)
}

/// Starts what the route asks for: hubs first, as entries name them.
fn relays(
    plan: &Plan,
    internet: &mut Internet,
    folder: &Path,
) -> Result<(Vec<NamedRelay>, RouteDraft)> {
    let mut relays: Vec<NamedRelay> = Vec::new();
    let mut start = |name: String, number: u8, hubs: &[String], entries: &[Ipv4Addr]| {
        let host = internet.host(&name, number, Nat::None)?;
        internet.capture(&host, &folder.join(format!("{name}.pcap")))?;
        let (at, folder, program) = (host.outside, folder.join(&name), plan.program.clone());
        // The hub lets many come from each entry; the entry leads to these hubs too.
        let entries: Vec<_> = entries.iter().map(Ipv4Addr::to_string).collect();
        let settings = format!(
            "[hub]\nlisten = [\"{at}:4433\"]\nentries = {entries:?}\n[entry]\nlisten = [\"{at}:4434\"]\nhubs = {hubs:?}\n"
        );
        let process = RelayProcess::start(move || host.command(&program), folder, &settings)?;
        anyhow::Ok(NamedRelay {
            is_hub: name.starts_with("hub"),
            name,
            process,
        })
    };
    let ways = match plan.route {
        RouteChoice::Direct => return Ok((relays, RouteDraft::Direct)),
        RouteChoice::Relay => {
            relays.push(start("relay".into(), 200, &[], &[])?);
            relays[0].process.ways.clone()
        }
        RouteChoice::TwoHop => {
            let places: Vec<_> = (0..OF_EACH as u8)
                .map(|i| Ipv4Addr::new(100, 64, 0, 210 + i))
                .collect();
            for i in 0..OF_EACH {
                relays.push(start(format!("hub-{i}"), 200 + i as u8, &[], &places)?);
            }
            let hubs: Vec<_> = relays.iter().map(|r| r.process.hub.clone()).collect();
            for i in 0..OF_EACH {
                relays.push(start(format!("entry-{i}"), 210 + i as u8, &hubs, &[])?);
            }
            // Each way once is enough: all entries lead to all hubs.
            let mut ways = Vec::new();
            for (entry, hub) in relays[OF_EACH..].iter().zip(&hubs) {
                ways.extend(
                    entry
                        .process
                        .ways
                        .iter()
                        .filter(|way| way.ends_with(hub))
                        .cloned(),
                );
            }
            ways
        }
    };
    Ok((relays, RouteDraft::Relayed(ways.join(" "))))
}

/// Everybody's turn once in a round, in an order of its own: whatever else comes round is not to look like somebody's talking.
fn turns(
    plan: &Plan,
    people: &[Person],
    watch: &mut Watch,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Turn>> {
    let begun = Instant::now();
    let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
    let (mut round, mut turns) = (Vec::new(), Vec::new());
    while begun.elapsed() + plan.turn <= plan.length {
        if round.is_empty() {
            round.extend(0..people.len());
            round.sort_by_cached_key(|_| rng.next_u64());
        }
        let speaker = round.pop().context("nobody is there")?;
        turns.push(take_turn(people, speaker, plan.turn, watch, say)?);
    }
    Ok(turns)
}

/// What is taken away meanwhile, and when: name, when, for how long nothing takes its place.
struct Taken<'a> {
    began: Instant,
    over: &'a AtomicBool,
    so_far: Mutex<Vec<(String, Duration, Duration)>>,
}

impl Taken<'_> {
    /// Kills one relay after the other, and has each back before the next goes.
    fn kill_in_turn(&self, plan: &Plan, relays: &mut [NamedRelay]) -> Result<()> {
        let Some(every) = plan.kill_every.filter(|_| !relays.is_empty()) else {
            return Ok(());
        };
        for number in (0..relays.len()).cycle() {
            if self.wait(every / 2) {
                break;
            }
            let relay = &mut relays[number];
            self.note(format!("killed {}", relay.name), Duration::ZERO);
            relay.process.kill()?;
            self.wait(every / 2);
            relay.process.start_again().context("after it was killed")?;
        }
        Ok(())
    }

    /// Takes one line after the other away, and gives each back with another address.
    fn move_in_turn(&self, plan: &Plan, hosts: &[Host], names: &[String]) -> Result<()> {
        let Some(every) = plan.move_every else {
            return Ok(());
        };
        for (host, name) in hosts.iter().zip(names).cycle() {
            if self.wait(every.saturating_sub(AWAY)) {
                break;
            }
            self.note(format!("moved {name}"), AWAY);
            host.unplug()?;
            std::thread::sleep(AWAY);
            host.plug_elsewhere()?;
        }
        Ok(())
    }

    fn note(&self, what: String, away: Duration) {
        lock(&self.so_far).push((what, self.began.elapsed(), away));
    }

    /// Whether it is all over, after so long at most.
    fn wait(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.over.load(Ordering::Acquire) {
            std::thread::sleep(LOOK_EVERY);
        }
        self.over.load(Ordering::Acquire)
    }
}

fn unheard(turns: &[Turn], names: &[String]) -> Vec<String> {
    let missing = turns.iter().filter_map(|turn| {
        let deaf: Vec<_> = (0..names.len())
            .filter(|i| *i != turn.speaker && !turn.ears.contains(i))
            .map(|i| names[i].as_str())
            .collect();
        let speaker = &names[turn.speaker];
        (!deaf.is_empty()).then(|| {
            format!(
                "{} {speaker} was not heard by {}",
                clock(turn.from),
                deaf.join(", ")
            )
        })
    });
    missing.collect()
}

impl Findings {
    fn untried(&mut self, what: impl Into<String>) {
        self.untried.push(what.into());
    }

    fn judge_gaps(&mut self, gaps: &[Gap], taken: &[(String, Duration, Duration)]) {
        let of = |gap: &Gap, at: Duration| gap.from + BEFORE >= at && gap.from <= at + AFTER;
        let longest = |gaps: &[&Gap]| gaps.iter().map(|g| g.to - g.from).max().unwrap_or_default();
        for (what, at, away) in taken {
            let theirs: Vec<_> = gaps.iter().filter(|gap| of(gap, *at)).collect();
            self.troubles.push(Trouble {
                what: what.clone(),
                at: *at,
                away: *away,
                longest_gap: longest(&theirs),
                gaps: theirs.len(),
            });
        }
        let others: Vec<_> = (gaps.iter())
            .filter(|gap| !taken.iter().any(|(_, at, _)| of(gap, *at)))
            .collect();
        self.longest_other_gap = longest(&others);
        self.other_gaps = others.len();
    }
}

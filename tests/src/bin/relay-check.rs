//! What a relay bears: many clients, and clients that mean it harm, while an honest circle talks through it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use undertone_node::net::{RelayPath, RouteKey};
use undertone_tests::attack::{self, Attack, Outcome};
use undertone_tests::guest::{Gateway, Port, attach, hear, preface, say};
use undertone_tests::probe::{HEARD, Probe, ROUTE, Window};
use undertone_tests::relay::RelayProcess;

/// How much later than before an attack sound may come.
const LATER: f64 = 50.0;
/// How late what members say may be while somebody talks at their door.
const NOTICE: f64 = 3_000.0;
/// How soon who floods is to be cut, seconds.
const CUT: f64 = 2.0;
/// How soon a circle comes in while somebody takes all the room, seconds.
const COME_IN: f64 = 20.0;
/// The most memory a relay may have had.
const PEAK_MIB: f64 = 256.0;
/// Members of the circle that talks meanwhile.
const TALKING: u8 = 4;
/// Members of each circle whose cost is measured.
const CIRCLE: u8 = 8;
/// Clients of one route.
const OF_A_ROUTE: usize = 10;
/// Clients of one socket, which to the hub is a line of its own entry, and has a few connections.
const OF_A_LINE: usize = 2;
const BEFORE: Duration = Duration::from_secs(10);
/// Time for what an attack left to be cleared away.
const CALM: Duration = Duration::from_secs(3);
/// A client says something as often.
const SAYS: Duration = Duration::from_secs(10);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Starts undertone-node's relay, which is to lie beside this program, and tells what circles cost it, what many clients
/// do, and what each attack does to a circle that talks meanwhile.
///
/// Ends with 1 if, with circles, clients, attacks or another libp2p, less than 95 % of the circle's sound is heard, or nothing, or
/// the relay has ever more than 256 MiB of memory; if clients are lost; if under attack sound comes more than 50 ms later, who
/// floods is not cut within 2 s, or somebody is told what is not for them; if what members say is heard later than 3 s or less than
/// 95 % of it while somebody talks at their door; if a circle does not come in within 20 s and hear itself while somebody takes all the
/// room; or if an attack did not happen: nothing was tried, nobody let in, no flood ever cut, no place held, nothing said at the door.
#[derive(Parser)]
#[command(name = "relay-check", version)]
struct Args {
    #[command(subcommand)]
    attack: Option<Attacker>,
    /// Clients that are connected at a time
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// For how long, seconds
    #[arg(long, default_value_t = 300)]
    hold: u64,
    /// How long each attack lasts, seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// A js-libp2p peer (tests/foreign/foreign.mjs, beside its node_modules) that is to meet the relay too
    #[arg(long, value_name = "FILE.mjs")]
    foreign: Option<PathBuf>,
    /// Where to write the findings
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Attacker {
    /// One attack, as this program starts it beside itself
    #[command(hide = true)]
    Attack {
        what: Attack,
        way: RelayPath,
        seconds: u64,
    },
}

/// What circles cost.
#[derive(Serialize)]
struct Cost {
    circles: u8,
    /// Part of a core.
    cores: f64,
    memory_mib: f64,
    peak_mib: f64,
    heard: Window,
}

/// What many clients do.
#[derive(Serialize)]
struct Crowd {
    clients: usize,
    /// … of whom so many were still there in the end.
    stayed: usize,
    seconds: f64,
    memory_before_kib: u64,
    memory_kib: u64,
    kib_a_client: f64,
    cores: f64,
    peak_mib: f64,
    heard: Window,
}

/// What an attack does.
#[derive(Serialize)]
struct Attacked {
    attack: Attack,
    outcome: Outcome,
    before: Window,
    during: Window,
    newcomers: Option<Newcomers>,
    memory_mib: f64,
    peak_mib: f64,
    cores: f64,
}

/// A circle that comes in while there is an attack.
#[derive(Serialize)]
struct Newcomers {
    /// Seconds that took; nothing if it did not.
    came_in: Option<f64>,
    /// What it heard from then on.
    heard: Option<Window>,
}

/// What another libp2p does, which means no harm and talks nonsense.
#[derive(Serialize)]
struct Foreign {
    outcome: Babble,
    before: Window,
    during: Window,
    peak_mib: f64,
}

/// What it says of itself.
#[derive(Serialize, Deserialize)]
struct Babble {
    connected: u64,
    pings: u64,
    protocols: Vec<String>,
    streams: u64,
    refused: u64,
    bytes: u64,
    /// Topics and messages that it was told.
    told: u64,
}

#[derive(Serialize)]
struct Findings {
    costs: Vec<Cost>,
    crowd: Crowd,
    attacks: Vec<Attacked>,
    foreign: Option<Foreign>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().map_err(anyhow::Error::from);
    let done = runtime.and_then(|runtime| runtime.block_on(check(&args)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("relay-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn check(args: &Args) -> Result<bool> {
    if let Some(Attacker::Attack { what, way, seconds }) = &args.attack {
        let outcome = attack::run(*what, way.clone(), Duration::from_secs(*seconds)).await?;
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(true);
    }
    let folder = tempfile::tempdir()?;

    println!("Circles of {CIRCLE}, through its entry and its hub");
    let mut costs = Vec::new();
    for circles in [1, 2, 3] {
        let cost = cost(&folder.path().join(format!("cost-{circles}")), circles).await?;
        println!(
            "  {circles}: {:4.1} % of a core, {:.1} MiB; sound after {:.0} ms, p99 {:.0}, {:.2} % of it heard",
            100.0 * cost.cores,
            cost.memory_mib,
            cost.heard.sound.median,
            cost.heard.sound.p99,
            100.0 * cost.heard.sound.heard
        );
        costs.push(cost);
    }

    println!(
        "{} clients at the hub for {} s, and a circle of {TALKING}",
        args.clients, args.hold
    );
    let crowd = crowd(&folder.path().join("crowd"), args).await?;
    println!(
        "  {} stayed; {:.1} KiB each (from {:.1} to {:.1} MiB), {:.1} % of a core; sound p99 {:.0} ms, {:.2} % of it heard",
        crowd.stayed,
        crowd.kib_a_client,
        crowd.memory_before_kib as f64 / 1024.0,
        crowd.memory_kib as f64 / 1024.0,
        100.0 * crowd.cores,
        crowd.heard.sound.p99,
        100.0 * crowd.heard.sound.heard
    );

    println!(
        "Attacks of {} s each, from 50 addresses, on a circle of {TALKING}",
        args.seconds
    );
    println!(
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
    );
    let mut attacks = Vec::new();
    for attack in Attack::ALL {
        let attacked = attacked(folder.path(), attack, args.seconds).await?;
        println!("{attacked}");
        attacks.push(attacked);
    }
    let foreign = match &args.foreign {
        Some(script) => Some(foreign(&folder.path().join("foreign"), script, args.seconds).await?),
        None => None,
    };
    if let Some(Foreign {
        outcome,
        before,
        during,
        ..
    }) = &foreign
    {
        println!(
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
        );
    }
    let findings = Findings {
        costs,
        crowd,
        attacks,
        foreign,
    };
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&findings)?;
        std::fs::write(path, json).with_context(|| format!("the report {}", path.display()))?;
    }
    let broken = findings.broken();
    broken.iter().for_each(|line| println!("  ✘ {line}"));
    Ok(broken.is_empty())
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
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for cost in &self.costs {
            let what = format!("{} circles", cost.circles);
            broken.extend(borne(&what, &[cost.heard], cost.peak_mib));
        }
        let crowd = &self.crowd;
        broken.extend(borne("many clients", &[crowd.heard], crowd.peak_mib));
        if crowd.stayed < crowd.clients {
            let gone = crowd.clients - crowd.stayed;
            broken.push(format!("{gone} clients were lost"));
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

/// A relay with both ports on loopback.
fn relay(folder: &Path, limits: &str) -> Result<(RelayProcess, RelayPath)> {
    let program = std::env::current_exe()?.with_file_name("undertone-node");
    let settings = format!(
        "[hub]\nlisten = [\"127.0.0.1:0\"]\n[entry]\nlisten = [\"127.0.0.1:0\"]\n[limits]\n{limits}"
    );
    let command = move || Command::new(&program);
    let process = RelayProcess::start(command, folder.to_owned(), &settings)?;
    let way = process.ways.first().context("no way in")?.parse()?;
    Ok((process, way))
}

async fn cost(folder: &Path, circles: u8) -> Result<Cost> {
    let (relay, way) = relay(folder, "")?;
    let mut probes = Vec::new();
    for circle in 0..circles {
        probes.push(Probe::start(&way, CIRCLE, RouteKey([circle + 1; 32])).await?);
    }
    tokio::time::sleep(CALM).await;
    let (begun, before) = (Instant::now(), relay.usage()?);
    let heard = probes[0].listen(BEFORE).await;
    let after = relay.usage()?;
    Ok(Cost {
        circles,
        cores: (after.cpu - before.cpu).as_secs_f64() / begun.elapsed().as_secs_f64(),
        memory_mib: after.resident as f64 / 1024.0,
        peak_mib: after.peak as f64 / 1024.0,
        heard,
    })
}

async fn crowd(folder: &Path, args: &Args) -> Result<Crowd> {
    let (all, at_once) = (args.clients + 64, args.clients.max(512));
    let limits = format!(
        "connections = {all}\nroutes = {}\ntopics = {}\npending = {at_once}\n",
        2 * all,
        16 * all
    );
    let (relay, way) = relay(folder, &limits)?;
    let probe = Probe::start(&way, TALKING, ROUTE).await?;
    tokio::time::sleep(CALM).await;
    let before = relay.usage()?;
    let gateways: Vec<_> = (0..args.clients.div_ceil(OF_A_LINE))
        .map(|_| Gateway::at(LOCAL))
        .collect::<Result<_>>()?;
    let mut clients = Vec::new();
    for number in 0..args.clients {
        let call = gateways[number / OF_A_LINE].call(way.hub.addr, Port::Hub)?;
        let connection = call.await.context("a client does not get in")?;
        let mut place = [2; 32];
        place[..8].copy_from_slice(&((number / OF_A_ROUTE) as u64).to_be_bytes());
        let mut requests = connection.open_uni().await?;
        let ask = [preface(), hear(&place), attach(1, &place)].concat();
        requests.write_all(&ask).await?;
        clients.push((connection, requests, place));
    }
    let said = AtomicU64::new(0);
    let (begun, busy) = (Instant::now(), relay.usage()?);
    let hold = Duration::from_secs(args.hold);
    probe.begin();
    while begun.elapsed() < hold {
        // Everybody says something now and then, one after the other.
        for (connection, requests, place) in &mut clients {
            let words = say(place, &[3; 200]);
            if connection.close_reason().is_none() && requests.write_all(&words).await.is_ok() {
                said.fetch_add(1, Relaxed);
            }
            tokio::time::sleep(SAYS / args.clients.max(1) as u32).await;
        }
    }
    let (heard, after) = (probe.window(), relay.usage()?);
    ensure!(said.load(Relaxed) > 0, "nobody said anything");
    let stayed = (clients.iter())
        .filter(|(connection, ..)| connection.close_reason().is_none())
        .count();
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Crowd {
        clients: args.clients,
        stayed,
        seconds,
        memory_before_kib: before.resident,
        memory_kib: after.resident,
        kib_a_client: (after.resident.saturating_sub(before.resident)) as f64
            / args.clients.max(1) as f64,
        cores: (after.cpu - busy.cpu).as_secs_f64() / seconds,
        peak_mib: after.peak as f64 / 1024.0,
        heard,
    })
}

async fn attacked(folder: &Path, attack: Attack, seconds: u64) -> Result<Attacked> {
    let name = format!("{attack:?}");
    let (relay, way) = relay(&folder.join(&name), "")?;
    let probe = Probe::start(&way, TALKING, ROUTE).await?;
    tokio::time::sleep(CALM).await;
    let before = probe.listen(BEFORE).await;
    let (begun, used) = (Instant::now(), relay.usage()?);
    probe.begin();
    // What the attacker computes is to take nothing from the circle that is measured: both are on this machine.
    let attacker = Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .arg("attack")
        .arg(
            clap::ValueEnum::to_possible_value(&attack)
                .map_or(String::new(), |v| v.get_name().into()),
        )
        .args([way.to_string(), seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("nice does not start")?;
    let ended = tokio::task::spawn_blocking(|| attacker.wait_with_output());
    let newcomers = match attack {
        Attack::Rooms => Some(newcomers(&way, seconds).await),
        _ => None,
    };
    let ended = ended.await??;
    let (during, usage) = (probe.window(), relay.usage()?);
    ensure!(ended.status.success(), "the attack {name} did not run");
    Ok(Attacked {
        attack,
        outcome: serde_json::from_slice(&ended.stdout)?,
        before,
        during,
        newcomers,
        memory_mib: usage.resident as f64 / 1024.0,
        peak_mib: usage.peak as f64 / 1024.0,
        cores: (usage.cpu - used.cpu).as_secs_f64() / begun.elapsed().as_secs_f64(),
    })
}

/// Two more people, who come in when half of the time is over, and stay.
async fn newcomers(way: &RelayPath, seconds: u64) -> Newcomers {
    tokio::time::sleep(Duration::from_secs(seconds) / 2).await;
    let (begun, longest) = (Instant::now(), Duration::from_secs_f64(COME_IN));
    let coming = Probe::start(way, 2, RouteKey([66; 32]));
    let Ok(Ok(probe)) = tokio::time::timeout(longest, coming).await else {
        return Newcomers {
            came_in: None,
            heard: None,
        };
    };
    let came_in = Some(begun.elapsed().as_secs_f64());
    tokio::time::sleep(CALM).await;
    // Until the attack ends, unless that is too soon to tell.
    let left = (Duration::from_secs(seconds) / 2).saturating_sub(begun.elapsed());
    let heard = probe.listen(left.max(BEFORE)).await;
    Newcomers {
        came_in,
        heard: Some(heard),
    }
}

async fn foreign(folder: &Path, script: &Path, seconds: u64) -> Result<Foreign> {
    let (relay, way) = relay(folder, "")?;
    let probe = Probe::start(&way, TALKING, ROUTE).await?;
    tokio::time::sleep(CALM).await;
    let before = probe.listen(BEFORE).await;
    probe.begin();
    let peer = Command::new("nice")
        .args(["-n", "19", "node"])
        .arg(script)
        .args([&relay.hub, &seconds.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .context("nice does not start")?;
    let ended = tokio::task::spawn_blocking(|| peer.wait_with_output()).await??;
    let (during, usage) = (probe.window(), relay.usage()?);
    ensure!(ended.status.success(), "the other libp2p did not end well");
    Ok(Foreign {
        outcome: serde_json::from_slice(&ended.stdout).context("what the other libp2p says")?,
        before,
        during,
        peak_mib: usage.peak as f64 / 1024.0,
    })
}

#[cfg(test)]
mod tests {
    use undertone_tests::probe::Arrived;

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

//! What a relay bears: many clients, and clients that mean it harm, while an honest circle talks through it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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
use undertone_tests::probe::{Probe, Window};
use undertone_tests::relay::RelayProcess;

/// How much later than before an attack sound may come.
const LATER: f64 = 50.0;
/// How soon who floods is to be cut, seconds.
const CUT: f64 = 2.0;
/// Members of the circle that talks meanwhile.
const TALKING: u8 = 4;
/// Members of each circle whose cost is measured.
const CIRCLE: u8 = 8;
/// Clients of one route.
const OF_A_ROUTE: usize = 10;
const BEFORE: Duration = Duration::from_secs(10);
/// Time for what an attack left to be cleared away.
const CALM: Duration = Duration::from_secs(3);
/// A client says something as often.
const SAYS: Duration = Duration::from_secs(10);
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Starts undertone-node's relay, which is to lie beside this program, and tells what circles cost it, what many clients
/// do, and what each attack does to a circle that talks meanwhile. Ends with 1 if the circle's sound comes more than 50 ms
/// later under attack, or who floods is not cut within 2 s.
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
        hub: SocketAddr,
        entry: SocketAddr,
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
    sound: Window,
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
    sound: Window,
}

/// What an attack does.
#[derive(Serialize)]
struct Attacked {
    attack: String,
    outcome: Outcome,
    before: Window,
    during: Window,
    memory_mib: f64,
    peak_mib: f64,
    cores: f64,
}

/// What another libp2p does, which means no harm and talks nonsense.
#[derive(Serialize)]
struct Foreign {
    outcome: Babble,
    before: Window,
    during: Window,
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
    if let Some(Attacker::Attack {
        what,
        hub,
        entry,
        seconds,
    }) = args.attack
    {
        let outcome = attack::run(what, hub, entry, Duration::from_secs(seconds)).await?;
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
            cost.sound.median,
            cost.sound.p99,
            100.0 * cost.sound.heard
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
        crowd.sound.p99,
        100.0 * crowd.sound.heard
    );

    println!(
        "Attacks of {} s each, from 50 addresses, on a circle of {TALKING}",
        args.seconds
    );
    println!(
        "  {:<12} {:>9} {:>9} {:>7} {:>8} {:>5}  {:>15} {:>7} {:>10} {:>6}",
        "attack",
        "tried",
        "let in",
        "cut",
        "cut in",
        "told",
        "p99 ms",
        "heard",
        "peak MiB",
        "cores"
    );
    let mut attacks = Vec::new();
    for attack in Attack::ALL {
        let attacked = attacked(folder.path(), attack, args.seconds).await?;
        println!(
            "  {:<12} {:>9} {:>9} {:>7} {:>6.2} s {:>5}  {:>6.0} → {:>6.0} {:>6.2}% {:>10.1} {:>6.2}",
            attacked.attack,
            attacked.outcome.tried,
            attacked.outcome.connected,
            attacked.outcome.cut,
            attacked.outcome.slowest_cut,
            attacked.outcome.told,
            attacked.before.p99,
            attacked.during.p99,
            100.0 * attacked.during.heard,
            attacked.peak_mib,
            attacked.cores,
        );
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
            before.p99,
            during.p99,
            100.0 * during.heard
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

impl Findings {
    /// What was promised and did not happen.
    fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        if self.crowd.stayed < self.crowd.clients {
            let gone = self.crowd.clients - self.crowd.stayed;
            broken.push(format!("{gone} clients were lost"));
        }
        for attacked in &self.attacks {
            let name = &attacked.attack;
            if attacked.during.p99 > attacked.before.p99 + LATER || attacked.during.p99.is_nan() {
                broken.push(format!("{name}: sound came late"));
            }
            if attacked.outcome.slowest_cut > CUT {
                broken.push(format!("{name}: cut too late"));
            }
            if attacked.outcome.told > 0 || attacked.during.strange > 0 {
                broken.push(format!("{name}: somebody was told what was not for them"));
            }
        }
        if let Some(foreign) = &self.foreign {
            if foreign.outcome.pings < 2 || foreign.outcome.told > 0 {
                broken.push("another libp2p was not answered, or told too much".into());
            }
            if foreign.during.p99 > foreign.before.p99 + LATER {
                broken.push("another libp2p: sound came late".into());
            }
        }
        broken
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
    let sound = probes[0].listen(BEFORE).await;
    let after = relay.usage()?;
    Ok(Cost {
        circles,
        cores: (after.cpu - before.cpu).as_secs_f64() / begun.elapsed().as_secs_f64(),
        memory_mib: after.resident as f64 / 1024.0,
        sound,
    })
}

async fn crowd(folder: &Path, args: &Args) -> Result<Crowd> {
    let (all, at_once) = (args.clients + 64, args.clients.max(512));
    let limits = format!(
        "connections = {all}\nroutes = {all}\ntopics = {}\npending = {at_once}\n",
        all.max(1_024)
    );
    let (relay, way) = relay(folder, &limits)?;
    let probe = Probe::start(&way, TALKING, RouteKey([1; 32])).await?;
    tokio::time::sleep(CALM).await;
    let before = relay.usage()?;
    let gateways: Vec<_> = (0..8).map(|_| Gateway::at(LOCAL)).collect::<Result<_>>()?;
    let mut clients = Vec::new();
    for number in 0..args.clients {
        let call = gateways[number % gateways.len()].call(way.hub.addr, Port::Hub)?;
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
    let (sound, after) = (probe.window(), relay.usage()?);
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
        sound,
    })
}

async fn attacked(folder: &Path, attack: Attack, seconds: u64) -> Result<Attacked> {
    let name = format!("{attack:?}");
    let (relay, way) = relay(&folder.join(&name), "")?;
    let probe = Probe::start(&way, TALKING, RouteKey([1; 32])).await?;
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
        .args([way.hub.addr.to_string(), way.entry.addr.to_string()])
        .arg(seconds.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .context("nice does not start")?;
    let ended = tokio::task::spawn_blocking(|| attacker.wait_with_output()).await??;
    let (during, usage) = (probe.window(), relay.usage()?);
    ensure!(ended.status.success(), "the attack {name} did not run");
    Ok(Attacked {
        attack: name,
        outcome: serde_json::from_slice(&ended.stdout)?,
        before,
        during,
        memory_mib: usage.resident as f64 / 1024.0,
        peak_mib: usage.peak as f64 / 1024.0,
        cores: (usage.cpu - used.cpu).as_secs_f64() / begun.elapsed().as_secs_f64(),
    })
}

async fn foreign(folder: &Path, script: &Path, seconds: u64) -> Result<Foreign> {
    let (relay, way) = relay(folder, "")?;
    let probe = Probe::start(&way, TALKING, RouteKey([1; 32])).await?;
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
    let during = probe.window();
    ensure!(ended.status.success(), "the other libp2p did not end well");
    Ok(Foreign {
        outcome: serde_json::from_slice(&ended.stdout).context("what the other libp2p says")?,
        before,
        during,
    })
}

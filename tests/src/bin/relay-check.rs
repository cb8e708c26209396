//! What a relay bears: many clients, and clients that mean it harm, while an honest circle talks through it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use undertone_node::net::{RelayPath, RouteKey};
use undertone_tests::attack::{self, Attack};
use undertone_tests::bearing::{Attacked, COME_IN, Cost, Crowd, Findings, Foreign, Newcomers};
use undertone_tests::guest::{Gateway, Port, attach, hear, preface, say};
use undertone_tests::probe::{Probe, ROUTE};
use undertone_tests::relay::RelayProcess;

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
    /// Only this attack, and nothing else; may be said several times
    #[arg(long, value_name = "ATTACK")]
    only: Vec<Attack>,
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

    let mut findings = Findings::default();
    if args.only.is_empty() {
        println!("Circles of {CIRCLE}, through its entry and its hub");
        for circles in [1, 2, 3] {
            let cost = cost(&folder.path().join(format!("cost-{circles}")), circles).await?;
            println!("{cost}");
            findings.costs.push(cost);
        }
        println!(
            "{} clients at the hub for {} s, and a circle of {TALKING}",
            args.clients, args.hold
        );
        let crowd = crowd(&folder.path().join("crowd"), args).await?;
        println!("{crowd}");
        findings.crowd = Some(crowd);
    }
    println!(
        "Attacks of {} s each, from 50 addresses, on a circle of {TALKING}",
        args.seconds
    );
    println!("{}", Attacked::heading());
    let is_wanted = |attack: &Attack| args.only.is_empty() || args.only.contains(attack);
    for attack in Attack::ALL.into_iter().filter(is_wanted) {
        let attacked = attacked(folder.path(), attack, args.seconds).await?;
        println!("{attacked}");
        findings.attacks.push(attacked);
    }
    if let Some(script) = args.foreign.as_ref().filter(|_| args.only.is_empty()) {
        let foreign = foreign(&folder.path().join("foreign"), script, args.seconds).await?;
        println!("{foreign}");
        findings.foreign = Some(foreign);
    }
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&findings)?;
        std::fs::write(path, json).with_context(|| format!("the report {}", path.display()))?;
    }
    let broken = findings.broken();
    broken.iter().for_each(|line| println!("  ✘ {line}"));
    Ok(broken.is_empty())
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

//! A circle on a small Internet of network namespaces: routers, bad lines, relays that are killed, captures.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use undertone_tests::network::{Plan, run, run_control};
use undertone_tests::stage::RouteChoice;
use undertone_tests::weather::Weather;

/// Real nodes behind routers, relays as processes, bad lines, and a capture of everybody's. Says who heard whom, for how
/// long nobody did when a relay was killed, and who could see whose address. Then the same with a direct circle, where
/// addresses must be found. Needs root, `ip`, `nft` and `tcpdump`, and undertone-node beside this program.
#[derive(Parser)]
#[command(name = "network-check", version)]
struct Args {
    /// How many people
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u8).range(2..=16))]
    members: u8,
    /// How they reach each other
    #[arg(long, value_enum, default_value = "two-hop")]
    route: RouteChoice,
    /// How long the turns take altogether, seconds
    #[arg(long, default_value_t = 1_200)]
    seconds: u64,
    /// How long each speaks, seconds
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(3..=50))]
    turn: u64,
    /// A relay is killed every so many seconds, and is back after half of that; 0 for never
    #[arg(long, default_value_t = 240)]
    kill_every: u64,
    /// Somebody's line is gone every so many seconds, for two, and back with another address; 0 for never
    #[arg(long, default_value_t = 0)]
    move_every: u64,
    /// How late packets are from mouth to ear, milliseconds
    #[arg(long, default_value_t = 80)]
    delay: u64,
    /// How much earlier or later each, milliseconds
    #[arg(long, default_value_t = 20)]
    jitter: u64,
    /// Fraction of them that is lost
    #[arg(long, default_value_t = 0.05)]
    loss: f64,
    /// Fraction of them that comes twice
    #[arg(long, default_value_t = 0.01)]
    twice: f64,
    /// Which ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to keep the captures, and who spoke when
    #[arg(long, value_name = "FOLDER")]
    captures: Option<PathBuf>,
    /// Only capture the line of a program that is silent when its user is, into this folder: the control for who talks
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["captures", "report"])]
    control: Option<PathBuf>,
    /// Where to write the findings
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match check(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("network-check: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn check(args: &Args) -> Result<bool> {
    if let Some(folder) = &args.control {
        std::fs::create_dir_all(folder)?;
        run_control(Duration::from_secs(args.seconds), folder)?;
        return Ok(true);
    }
    let program = std::env::current_exe()?.with_file_name("undertone-node");
    let plan = Plan {
        members: args.members.into(),
        route: args.route,
        length: Duration::from_secs(args.seconds),
        turn: Duration::from_secs(args.turn),
        kill_every: (args.kill_every > 0).then(|| Duration::from_secs(args.kill_every)),
        move_every: (args.move_every > 0).then(|| Duration::from_secs(args.move_every)),
        weather: Weather {
            loss: args.loss,
            twice: args.twice,
            delay: Duration::from_millis(args.delay),
            jitter: Duration::from_millis(args.jitter),
        },
        seed: args.seed,
        program,
    };
    println!(
        "{} people, {} route, {}.",
        plan.members, plan.route, plan.weather
    );
    let folder = tempfile::tempdir()?;
    let kept = args.captures.as_deref().unwrap_or(folder.path());
    std::fs::create_dir_all(kept)?;
    let findings = run(&plan, kept, &mut |line| println!("{line}"))?;
    println!("\nThe control: four people who are connected directly, and see each other.");
    let control = Plan {
        members: 4,
        route: RouteChoice::Direct,
        length: Duration::from_secs(16),
        turn: Duration::from_secs(4),
        kill_every: None,
        move_every: None,
        ..plan
    };
    let folder = tempfile::tempdir()?;
    let control = run(&control, folder.path(), &mut |_| {})?;
    println!(
        "{findings}\n  the control's                 seen {} times by members, in {} packets",
        control.seen_by_members, control.packets
    );
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&findings)?;
        std::fs::write(path, json).with_context(|| format!("the report {}", path.display()))?;
    }
    let broken = findings.broken();
    broken.iter().for_each(|line| println!("  ✘ {line}"));
    if control.seen_by_members == 0 {
        println!("  ✘ the control found no address, so nothing is proved");
    }
    Ok(broken.is_empty() && control.seen_by_members > 0)
}

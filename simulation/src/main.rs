//! `undertone-simulation`: plays scenarios over many seeds and says what was seen, and plots what operators
//! want to know.

mod plot;

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use undertone_protocol::record::RouteKind;
use undertone_simulation::judge::Violation;
use undertone_simulation::network::Network;
use undertone_simulation::removal;
use undertone_simulation::scenario::{ALL, Outcome, Scenario};

/// Circles on a virtual clock.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Play scenarios; the rules are checked at every step.
    Run {
        /// A scenario's name, a file, or "all".
        #[arg(default_value = "all")]
        scenario: String,
        /// Seeds for each scenario, such as 0..100.
        #[arg(long, default_value = "0..10", value_parser = parse_range)]
        seeds: Range<u64>,
        /// Threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Say which scenarios there are.
    List,
    /// A member is removed in the middle of a turn, with every voice packet, followed closely.
    Removal {
        /// Seeds, such as 0..100.
        #[arg(long, default_value = "0..20", value_parser = parse_range)]
        seeds: Range<u64>,
        /// Members of the circle.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(3..=16))]
        members: u8,
        /// Through a relay instead of directly.
        #[arg(long)]
        relay: bool,
    },
    /// Draw what removal, agreement and control traffic cost, for circles of every size.
    Plot {
        /// Where the SVG files go.
        #[arg(long, default_value = "docs/scale")]
        out: PathBuf,
        /// Seeds for each size.
        #[arg(long, default_value_t = 12)]
        seeds: u64,
    },
}

fn parse_range(text: &str) -> Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("seeds are FROM..TO")?;
    let range = from.trim().parse()?..to.trim().parse()?;
    anyhow::ensure!(!range.is_empty(), "{text} holds no seed");
    Ok(range)
}

fn main() -> Result<ExitCode> {
    match Args::parse().command {
        Command::Run {
            scenario,
            seeds,
            threads,
        } => run(&scenario, &seeds, threads.max(1)),
        Command::List => {
            for (name, _) in ALL {
                println!("{name:<14} {}", Scenario::find(name)?.about);
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Removal {
            seeds,
            members,
            relay,
        } => one_removal(seeds, members, relay),
        Command::Plot { out, seeds } => plot::draw(&out, seeds).map(|()| ExitCode::SUCCESS),
    }
}

fn run(name: &str, seeds: &Range<u64>, threads: usize) -> Result<ExitCode> {
    let names: Vec<_> = match name {
        "all" => ALL.iter().map(|(name, _)| (*name).to_owned()).collect(),
        one => vec![one.to_owned()],
    };
    let begun = Instant::now();
    let mut failed = false;
    println!(
        "{:<14} {:>6} {:>10}  {:>24}  {:>20}  {:>8}",
        "scenario", "seeds", "violations", "notice to last honest peer", "agreement again", "wall"
    );
    for name in names {
        let scenario = Scenario::find(&name)?;
        let started = Instant::now();
        let (outcomes, violations) = play(&scenario, seeds, threads);
        let mut removals: Vec<_> = outcomes.iter().flat_map(|o| o.removals.clone()).collect();
        let mut agreed: Vec<_> = outcomes.iter().map(|o| o.converged).collect();
        println!(
            "{name:<14} {:>6} {:>10}  {:>24}  {:>20}  {:>6.0} s",
            seeds.end - seeds.start,
            violations.len(),
            describe(&mut removals),
            describe(&mut agreed),
            started.elapsed().as_secs_f64()
        );
        for (seed, violation) in violations.iter().take(4) {
            failed = true;
            println!("  seed {seed}: {violation}");
            if *seed != violations[0].0 {
                continue;
            }
            let small = shrink(&scenario, *seed, violation);
            println!(
                "    the same kind with nodes = {}, seconds = {}, churn_per_minute = {}: seed {seed}",
                small.nodes, small.seconds, small.churn_per_minute
            );
        }
    }
    println!("wall time {:.0} s", begun.elapsed().as_secs_f64());
    Ok(match failed {
        true => ExitCode::from(1),
        false => ExitCode::SUCCESS,
    })
}

/// All seeds of one scenario, on several threads. The order of seeds does not matter: each is a world.
fn play(
    scenario: &Scenario,
    seeds: &Range<u64>,
    threads: usize,
) -> (Vec<Outcome>, Vec<(u64, Violation)>) {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = scenario.run(seed);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    match outcome {
                        Ok(outcome) => found.0.push(outcome),
                        Err(violation) => found.1.push((seed, violation)),
                    }
                }
            });
        }
    });
    let (outcomes, mut violations) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    violations.sort_by_key(|(seed, _)| *seed);
    (outcomes, violations)
}

/// The smallest scenario found, by halving, that breaks the same rule with the same seed.
fn shrink(scenario: &Scenario, seed: u64, violation: &Violation) -> Scenario {
    let same =
        |other: &Violation| std::mem::discriminant(other) == std::mem::discriminant(violation);
    let mut small = scenario.clone();
    let smaller: [fn(&mut Scenario); 3] = [
        |s| s.nodes = (s.nodes / 2).max(5),
        |s| s.seconds = (s.seconds / 2).max(10),
        |s| s.churn_per_minute /= 2.0,
    ];
    for reduce in smaller {
        for _ in 0..4 {
            let mut candidate = small.clone();
            reduce(&mut candidate);
            if candidate.run(seed).is_err_and(|v| same(&v)) {
                small = candidate;
            } else {
                break;
            }
        }
    }
    small
}

fn one_removal(seeds: Range<u64>, members: u8, relay: bool) -> Result<ExitCode> {
    let route = match relay {
        true => RouteKind::Relay,
        false => RouteKind::Direct,
    };
    let begun = Instant::now();
    let mut enforced = Vec::new();
    let mut heard = Vec::new();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let outcome = removal::removal(seed, members, Network::WIDE, route)
            .with_context(|| format!("seed {seed} broke a promise"))?;
        enforced.push(outcome.removal_enforced);
        heard.push(outcome.last_heard);
    }
    println!("{count} seeds, {members} members, 80 ms ± 40 ms, 2 % loss: every promise held");
    println!(
        "  notice to last peer enforcing   {}",
        describe(&mut enforced)
    );
    println!("  notice to last frame heard      {}", describe(&mut heard));
    println!("  wall time {:.1} s", begun.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

fn describe(times: &mut [Duration]) -> String {
    if times.is_empty() {
        return "none".into();
    }
    format!(
        "median {} ms, p99 {} ms",
        quantile(times, 0.5).as_millis(),
        quantile(times, 0.99).as_millis()
    )
}

/// A quantile of some times, which are sorted on the way.
fn quantile(times: &mut [Duration], q: f64) -> Duration {
    times.sort();
    let last = times.len().saturating_sub(1);
    times
        .get((last as f64 * q).round() as usize)
        .copied()
        .unwrap_or_default()
}

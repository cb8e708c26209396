//! `undertone-simulation run`: plays a scenario over many seeds and says what was seen.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use undertone_protocol::record::RouteKind;
use undertone_simulation::{network::Network, scenario};

/// Circles on a virtual clock.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A member is removed in the middle of a turn, on a network of 80 ms ± 40 ms with 2 % loss.
    Run {
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
}

fn parse_range(text: &str) -> Result<Range<u64>> {
    let (from, to) = text.split_once("..").context("seeds are FROM..TO")?;
    let range = from.trim().parse()?..to.trim().parse()?;
    anyhow::ensure!(!range.is_empty(), "{text} holds no seed");
    Ok(range)
}

fn main() -> Result<()> {
    let Command::Run {
        seeds,
        members,
        relay,
    } = Args::parse().command;
    let route = match relay {
        true => RouteKind::Relay,
        false => RouteKind::Direct,
    };
    let begun = Instant::now();
    let mut enforced = Vec::new();
    let mut heard = Vec::new();
    let count = seeds.end - seeds.start;
    for seed in seeds {
        let outcome = scenario::removal(seed, members, Network::WIDE, route)
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
    Ok(())
}

fn describe(times: &mut [Duration]) -> String {
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q).round() as usize].as_millis();
    format!(
        "median {} ms, p99 {} ms, most {} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

//! A whole circle on one machine: real nodes, real sockets, real speech, one removal, and a report.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use undertone_tests::stage::{Play, RouteChoice, play_and_judge};
use undertone_tests::weather::Weather;

/// A whole circle on one machine: everybody takes a turn, one is removed at half-time in the middle of a
/// word, the others go on. Exit status 0 only when everything promised happened.
#[derive(Parser)]
#[command(name = "circle-in-a-box", version)]
struct Args {
    /// How many people
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(3..=16))]
    members: u8,
    /// How long the turns take altogether
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// How they reach each other
    #[arg(long, value_enum, default_value = "direct")]
    route: RouteChoice,
    /// WAV files to speak with [default: the bundled companions]
    #[arg(long, value_name = "FOLDER")]
    speech: Option<PathBuf>,
    /// Where to write what each one said and heard, as WAV files
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Fraction of the members' packets to lose on purpose, 0.0 to 0.9
    #[arg(long, default_value_t = 0.0, value_parser = parse_loss)]
    loss: f64,
    /// How late their packets come, milliseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000))]
    delay: u64,
    /// How much earlier or later each comes at most, milliseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000))]
    jitter: u64,
    /// Which packets are lost, and how late each is
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the report
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

fn parse_loss(text: &str) -> Result<f64, String> {
    let loss: f64 = text
        .parse()
        .map_err(|_| "a fraction such as 0.1".to_owned())?;
    (0.0..=0.9)
        .contains(&loss)
        .then_some(loss)
        .ok_or_else(|| "from 0.0 to 0.9".into())
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("UNDERTONE_LOG")
                .unwrap_or_else(|_| "error".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("circle-in-a-box: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool> {
    let play = Play {
        members: args.members.into(),
        seconds: args.seconds,
        route: args.route,
        speech: args.speech.clone(),
        weather: Weather {
            loss: args.loss,
            delay: Duration::from_millis(args.delay),
            jitter: Duration::from_millis(args.jitter),
            ..Weather::default()
        },
        seed: args.seed,
    };
    println!(
        "A circle in a box: {} people, {} seconds.",
        args.members, args.seconds
    );
    let report = play_and_judge(&play, args.out.as_deref(), &mut |line| println!("{line}"))?;
    println!("{}", report.summary());
    if let Some(path) = &args.report {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("the report {}", path.display()))?;
        println!("  The whole report: {}", path.display());
    }
    if let Some(out) = &args.out {
        println!("  What everybody said and heard: {}", out.display());
    }
    println!(
        "  {}",
        match report.kept {
            true => "Everything promised happened.",
            false => "Something promised did not happen: see ✘ above.",
        }
    );
    Ok(report.kept)
}

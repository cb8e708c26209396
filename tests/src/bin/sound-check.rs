//! What is left of a voice after a bad line: a report on delay, repair and likeness.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use undertone_dsp::{Morpher, Redundancy};
use undertone_tests::echo::{self, Loudspeaker};
use undertone_tests::sound::{Line, Outcome, Sent};
use undertone_tests::speech::{voices, write_wav};
use undertone_tests::words::{Clips, Words};

/// Speech through the send chain, over a simulated line, through the receive chain; all offline, and faster than
/// it sounds. Without a line of your own, the standard ones: loss, bursts, jitter, and half an hour of clocks
/// that disagree.
#[derive(Parser)]
#[command(name = "sound-check", version)]
struct Args {
    /// Percent of packets lost, each on its own
    #[arg(long, default_value_t = 0.0, value_parser = percent)]
    loss: f64,
    /// Length of bursts in which all packets are lost, milliseconds; one every 4 s on average
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=2000))]
    burst: u64,
    /// Most that a packet is delayed beyond the least, milliseconds
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1000))]
    jitter: u64,
    /// How much faster the sender's clock runs, parts per million
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true, value_parser = drift)]
    drift: f64,
    /// What packets carry about those before them
    #[arg(long, value_enum, default_value = "deep")]
    redundancy: Carried,
    /// Instead of a line, a room: a loudspeaker beside the microphone, and the clean-up
    #[arg(long, conflicts_with_all = ["loss", "burst", "jitter", "drift", "redundancy"])]
    echo: bool,
    /// How much of it
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(10..=7200))]
    seconds: u64,
    /// WAV files to speak with [default: the bundled companions]
    #[arg(long, value_name = "FOLDER")]
    speech: Option<PathBuf>,
    /// Which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write what was heard, a WAV file a line, and the same without a line
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder of the voice measuring kit: adds word errors and quality, and speaks the kit's clips
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["speech", "seconds"])]
    kit: Option<PathBuf>,
    /// The Python that runs the kit
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Where to write the report
    #[arg(long, value_name = "FILE.json")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Carried {
    /// A low-rate copy of the one frame before (in-band FEC)
    One,
    /// A neural description of many frames before (DRED)
    Deep,
}

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.parse().map_err(|_| "a number of percent".to_owned())?;
    let fine = (0.0..=90.0).contains(&percent);
    fine.then_some(percent).ok_or_else(|| "from 0 to 90".into())
}

fn drift(text: &str) -> Result<f64, String> {
    let ppm: f64 = text.parse().map_err(|_| "a number".to_owned())?;
    let fine = (-1_000.0..=1_000.0).contains(&ppm);
    fine.then_some(ppm)
        .ok_or_else(|| "from -1000 to 1000".into())
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sound-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let clips = match &args.kit {
        Some(kit) => Some(Clips::new(kit, &args.python)?),
        None => None,
    };
    let speech = match &clips {
        Some(clips) => vec![clips.speech.clone()],
        None => voices(args.speech.as_deref())?,
    };
    if args.echo {
        return room(args, &speech, clips.as_ref());
    }
    let lines = match &clips {
        Some(clips) => {
            let length = Duration::from_secs((clips.speech.len() / 48_000) as u64 + 1);
            let lines = args.lines().into_iter();
            lines.map(|(line, _)| (line, length)).collect()
        }
        None => args.lines(),
    };
    let longest = lines.iter().map(|(_, length)| *length).max();
    let redundancy = match args.redundancy {
        Carried::One => Redundancy::OneFrame,
        Carried::Deep => Redundancy::Deep,
    };
    let sent = Sent::new(&speech, longest.unwrap_or_default(), redundancy)?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("the folder {}", out.display()))?;
        write_wav(&out.join("in-order.wav"), &sent.in_order()?)?;
    }
    println!("{HEAD}");
    let (mut outcomes, mut cut) = (Vec::new(), Vec::new());
    for (number, (line, length)) in lines.into_iter().enumerate() {
        let mut heard = Vec::new();
        let outcome = sent.over(line, length, args.seed, |frame| {
            if args.out.is_some() || clips.is_some() {
                heard.extend_from_slice(frame.samples());
            }
        })?;
        print(&outcome);
        if let Some(out) = &args.out {
            write_wav(&out.join(format!("line-{number}.wav")), &heard)?;
        }
        if let Some(clips) = &clips {
            let late = Duration::from_secs_f64(outcome.delay.median_ms / 1e3) + Morpher::LATENCY;
            cut.push(clips.cut(&format!("line-{number}"), &heard, late)?);
        }
        outcomes.push(outcome);
    }
    if let Some(clips) = &clips {
        println!("\n{:<24} {:>12} {:>8}", "line", "word errors", "quality");
        for (outcome, words) in outcomes.iter_mut().zip(clips.score(&cut)?) {
            let Words {
                words: errors,
                quality,
            } = words;
            println!("{:<24} {errors:>10.2} % {quality:>8.2}", outcome.line);
            outcome.kit = Some(words);
        }
    }
    write_report(args, &outcomes)
}

/// The echo of the bundled voices in a room, while somebody speaks.
fn room(args: &Args, speech: &[Vec<f32>], clips: Option<&Clips>) -> Result<()> {
    let length = match clips {
        Some(clips) => clips.speech.len(),
        None => args.seconds as usize * 48_000,
    };
    let near: Vec<_> = speech
        .iter()
        .flatten()
        .copied()
        .cycle()
        .take(length)
        .collect();
    // Others than those who speak near the microphone, if these are the bundled ones.
    let mut far = voices(None)?;
    far.rotate_left(4);
    let mut rooms = Vec::new();
    for loudspeaker in [Loudspeaker::Clean, Loudspeaker::Distorting] {
        let echo = echo::measure(loudspeaker, &far, &near, clips)?;
        println!("{loudspeaker:?} loudspeaker");
        println!("  echo at the microphone     {:>7.1} dBFS", echo.echo_db);
        println!("  taken out (ERLE)           {:>7.1} dB", echo.taken_out_db);
        println!(
            "  … clocks 100 ppm apart     {:>7.1} dB",
            echo.taken_out_drifting_db
        );
        let (middle, slowest) = echo.learns_again_s;
        println!("  again after a stutter      {middle:>7.1} s, the slowest {slowest:.1} s");
        println!(
            "  level of speech beside it  {:>+7.1} dB",
            echo.speech_kept_db
        );
        for (name, words) in [("without", echo.without), ("with", Words::mean(&echo.with))] {
            if let Some(Words { words, quality }) = words {
                println!(
                    "  {name:<7} echo, after clean-up {words:>6.2} % words wrong, quality {quality:.2}"
                );
            }
        }
        rooms.push(echo);
    }
    write_report(args, &rooms)
}

fn write_report(args: &Args, what: &impl serde::Serialize) -> Result<()> {
    let Some(report) = &args.report else {
        return Ok(());
    };
    let text = serde_json::to_string_pretty(what)?;
    std::fs::write(report, text).with_context(|| format!("the file {}", report.display()))
}

/// Lengths in seconds and milliseconds, frames in percent.
const HEAD: &str = "line                          s   lost   late rebuilt   made scaled    delay    p99   first    last  spread   energy onsets";

impl Args {
    /// The line that was asked for, or all standard ones, each with its length.
    fn lines(&self) -> Vec<(Line, Duration)> {
        let length = Duration::from_secs(self.seconds);
        let own = Line {
            loss: self.loss / 100.0,
            burst_ms: self.burst,
            jitter_ms: self.jitter,
            drift_ppm: self.drift,
        };
        if own != Line::default() {
            return vec![(own, length)];
        }
        let with = |change: &dyn Fn(&mut Line)| {
            let mut line = Line::default();
            change(&mut line);
            line
        };
        let mut lines = vec![(own, length)];
        for percent in [5, 10, 20, 30] {
            lines.push((with(&|l| l.loss = f64::from(percent) / 100.0), length));
        }
        for burst_ms in [100, 400] {
            lines.push((with(&|l| l.burst_ms = burst_ms), length));
        }
        for jitter_ms in [20, 50, 100] {
            lines.push((with(&|l| l.jitter_ms = jitter_ms), length));
        }
        lines.push((
            Line {
                loss: 0.1,
                jitter_ms: 60,
                ..own
            },
            length,
        ));
        for drift_ppm in [-200.0, 200.0] {
            lines.push((with(&|l| l.drift_ppm = drift_ppm), DRIFT_FOR));
        }
        lines
    }
}

/// Long enough that uncorrected clocks would be 360 ms apart at 200 ppm.
const DRIFT_FOR: Duration = Duration::from_secs(30 * 60);

fn print(outcome: &Outcome) {
    let Outcome {
        frames,
        delay,
        likeness,
        ..
    } = outcome;
    println!(
        "{:<24} {:>6} {:>6.2} {:>6.2} {:>7.2} {:>6.2} {:>6.2}   {:>6.0} {:>6.0} {:>7.0} {:>7.0} {:>7.0}   {:>6.3} {:>6.3}",
        outcome.line,
        outcome.seconds,
        frames.lost,
        frames.late,
        frames.rebuilt,
        frames.concealed,
        frames.scaled,
        delay.median_ms,
        delay.p99_ms,
        delay.first_minute_ms,
        delay.last_minute_ms,
        delay.spread_ms,
        likeness.energy,
        likeness.onsets
    );
}

//! `undertone-node`: a participant or leader without a window, the relay that operators run, what is announced there,
//! and the verification of exported pledges.

mod console;
mod find;
mod relay;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use undertone_node::NodeConfig;
use undertone_node::api::{
    AdmissionMode, Announcing, CircleDraft, Command, FloorMode, Pace, RouteDraft,
};
use undertone_node::audio::{AudioHost, SilentHost, SystemHost};
use undertone_protocol::invite::Invite;

/// Undertone without a window: find a circle, take part, lead, run a relay, verify a pledge.
#[derive(Parser)]
#[command(name = "undertone-node", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a relay: it forwards what it cannot read, for circles whose members keep their addresses to themselves.
    Relay(relay::RelayArgs),
    /// Start a circle and lead it from this terminal.
    Lead(LeadArgs),
    /// Go to the door of a circle, or come back to it, from this terminal.
    Join(JoinArgs),
    /// List the circles that leaders have announced in a relay's directory. Exit status 1 when there is none.
    Find(find::FindArgs),
    /// Check an exported pledge and say what it is. Exit status 0 only when it is genuine.
    Verify(verify::VerifyArgs),
    /// List the microphones and headphones of this machine.
    Devices,
}

#[derive(Args)]
struct Common {
    /// Where keys and records are kept [default: the desktop program's folder]
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,
    /// The pseudonym others will see
    #[arg(long)]
    name: String,
    /// In a direct circle, where others can reach this node; may be given several times [default: any port of any
    /// address, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// In a direct circle, neither look for its members on this network nor be found there
    #[arg(long)]
    not_nearby: bool,
    /// Take no part in sound: no device is opened, and silence is sent
    #[arg(long)]
    no_sound: bool,
}

#[derive(Args)]
struct LeadArgs {
    #[command(flatten)]
    common: Common,
    /// What the circle is about
    #[arg(long)]
    topic: String,
    /// Its name
    #[arg(long)]
    title: String,
    /// Language of the conversation
    #[arg(long, default_value = "en")]
    language: String,
    /// Through this relay, as its operator gives it: /ip4/…/p2p-circuit/ip4/…; several times for others to fall back
    /// on. Where no relay is both entry and hub, the circle promises two hops [default: direct, members see each
    /// other's addresses]
    #[arg(long, value_name = "ADDRESS")]
    relay: Vec<String>,
    /// With a relay: a packet every 40 ms instead of 20: less data, and sound a little later
    #[arg(long, requires = "relay")]
    thin_lines: bool,
    /// Most members, 2 to 16
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(2..=16))]
    members: u8,
    /// Longest turn in seconds
    #[arg(long, default_value_t = 180, value_parser = clap::value_parser!(u16).range(1..=3600))]
    turn_seconds: u16,
    /// Who comes in: whom the leader admits, whoever holds a single-use invite, or whoever solves a puzzle
    #[arg(long, value_enum, default_value_t = DoorKind::Ask)]
    door: DoorKind,
    /// Let everybody with the invite in, once they have signed the pledge
    #[arg(long)]
    admit_all: bool,
    /// Let turns pass on by themselves, from one raised hand to the next
    #[arg(long)]
    passive: bool,
    /// A listener, such as a social worker, may attend
    #[arg(long)]
    listener: bool,
    /// When the circle meets, in words: "Tuesdays, 19:00 UTC"
    #[arg(long)]
    schedule: Option<String>,
    /// Give turns by themselves, in the order of raised hands
    #[arg(long)]
    auto_turns: bool,
    /// With a relay: show the circle in its directory, to everybody, as open now
    #[arg(long, requires = "relay")]
    announce: bool,
}

/// How a door opens.
#[derive(Clone, Copy, clap::ValueEnum)]
enum DoorKind {
    /// The leader is asked for each newcomer
    Ask,
    /// By single-use invites, which any member can pass on
    Invite,
    /// For everybody after a ten-second puzzle; newcomers listen for two hours first
    Open,
}

#[derive(Args)]
struct JoinArgs {
    #[command(flatten)]
    common: Common,
    /// The invite: undertone:…
    invite: String,
    /// Sign the pledge without being asked clause by clause, and go to the door of a direct circle without being asked:
    /// for those who have read both
    #[arg(long)]
    agree: bool,
    /// After a removal that was taken back: forget it here, and knock again
    #[arg(long)]
    again: bool,
}

impl Common {
    fn config(&self) -> Result<NodeConfig> {
        let audio: Arc<dyn AudioHost> = match self.no_sound {
            true => Arc::new(SilentHost),
            false => Arc::new(SystemHost::new()),
        };
        let mut config = NodeConfig::desktop()?;
        config.audio = audio;
        config.nearby = !self.not_nearby;
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        if let Some(data) = &self.data {
            config.data = Some(data.clone());
        }
        Ok(config)
    }
}

fn main() -> ExitCode {
    // How much is told, and of this program only: what libraries log may name peers and addresses.
    let level = std::env::var("UNDERTONE_LOG").unwrap_or_else(|_| "info".into());
    let Ok(level) = level.parse::<LevelFilter>() else {
        eprintln!("undertone-node: UNDERTONE_LOG is off, error, warn, info, debug or trace");
        return ExitCode::from(2);
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("off,undertone={level}")))
        .with_writer(std::io::stderr)
        .without_time()
        .with_target(false)
        .init();
    let result = match Cli::parse().command {
        Task::Relay(args) => relay::run(&args).map(|()| ExitCode::SUCCESS),
        Task::Lead(args) => lead(&args),
        Task::Join(args) => join(args),
        Task::Find(args) => find::run(&args),
        Task::Verify(args) => Ok(verify::run(&args)),
        Task::Devices => devices(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("undertone-node: {error:#}");
        ExitCode::from(2)
    })
}

fn lead(args: &LeadArgs) -> Result<ExitCode> {
    let node = undertone_node::start(args.common.config()?).context("the node cannot start")?;
    node.send(Command::SetName(args.common.name.clone()));
    node.send(Command::StartCircle(CircleDraft {
        topic: args.topic.clone(),
        title: args.title.clone(),
        language: args.language.clone(),
        admission: match args.door {
            DoorKind::Ask => AdmissionMode::Approval,
            DoorKind::Invite => AdmissionMode::Invite,
            DoorKind::Open => AdmissionMode::Open,
        },
        max_members: args.members,
        turn: Duration::from_secs(args.turn_seconds.into()),
        floor: match args.passive {
            true => FloorMode::Passive,
            false => FloorMode::Active,
        },
        schedule: args.schedule.clone(),
        listener_welcome: args.listener,
        route: match args.relay.as_slice() {
            [] => RouteDraft::Direct,
            relays => RouteDraft::Relayed(relays.join(" ")),
        },
        pace: match args.thin_lines {
            true => Pace::Thin,
            false => Pace::Usual,
        },
    }));
    if args.admit_all {
        node.send(Command::SetAutoAdmit(true));
    }
    if args.auto_turns {
        node.send(Command::SetAutoTurns(true));
    }
    if args.announce {
        node.send(Command::Announce(Announcing::Now));
    }
    console::run(&node, console::Answers::default())
}

fn join(args: JoinArgs) -> Result<ExitCode> {
    // A link that cannot be read is the node's to explain.
    let shows_address = Invite::from_link(&args.invite).is_ok_and(|i| !i.route.is_relayed());
    if shows_address && !args.agree && !console::may_show_address()? {
        return Ok(ExitCode::from(1));
    }
    let node = undertone_node::start(args.common.config()?).context("the node cannot start")?;
    node.send(Command::SetName(args.common.name));
    node.send(Command::OpenInvite(args.invite));
    let answers = console::Answers {
        agree: args.agree,
        again: args.again,
    };
    console::run(&node, answers)
}

fn devices() -> Result<ExitCode> {
    let host = SystemHost::new();
    for (what, list) in [
        ("Microphones", host.inputs()),
        ("Headphones and speakers", host.outputs()),
    ] {
        println!("{what}:");
        match list {
            Ok(list) if list.is_empty() => println!("  none found"),
            Ok(list) => {
                for device in list {
                    let default = if device.is_default { "  (default)" } else { "" };
                    println!("  {}{default}", device.name);
                }
            }
            Err(error) => println!("  cannot be listed: {error}"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

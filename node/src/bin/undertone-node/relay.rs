//! `undertone-node relay`: what community operators run.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use libp2p::identity::Keypair;
use tokio_util::sync::CancellationToken;
use undertone_node::entropy::os_bytes;
use undertone_node::relay::{Relay, RelayConfig, RelayFile};

const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct RelayArgs {
    /// The operator's settings (TOML); what it leaves out, or no file at all, means the defaults
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only check the settings and the identity, say what is wrong or strange, and end
    #[arg(long)]
    check: bool,
    /// Where the hub listens (UDP), in place of the file's, and the entry on the next port; may be given several times
    /// [default: 0.0.0.0:4433]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// The relay's identity, in place of the file's: made on first use, keep it, or leaders' circles no longer find
    /// the relay [default: undertone-relay.key]
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

impl RelayArgs {
    fn settings(&self) -> Result<RelayFile> {
        let mut settings = match &self.file {
            Some(path) => {
                RelayFile::read(path).with_context(|| format!("the settings {}", path.display()))?
            }
            None => RelayFile::default(),
        };
        if !self.listen.is_empty() {
            let next =
                |a: &SocketAddr| SocketAddr::new(a.ip(), a.port().checked_add(1).unwrap_or(0));
            let entry = |a: &SocketAddr| if a.port() == 0 { *a } else { next(a) };
            settings.entry.listen = self.listen.iter().map(entry).collect();
            settings.hub.listen.clone_from(&self.listen);
        }
        if let Some(identity) = &self.identity {
            settings.identity.clone_from(identity);
        }
        settings.check().context("the settings")?;
        Ok(settings)
    }
}

pub fn run(args: &RelayArgs) -> Result<()> {
    let settings = args.settings()?;
    let path = &settings.identity;
    let about_identity = || format!("the identity {}", path.display());
    if args.check {
        let identity = match read(path) {
            Ok(Some(identity)) => identity.public().to_peer_id().to_string(),
            Ok(None) => format!("will be made at the first start, in {}", path.display()),
            // Under systemd only the service can.
            Err(error) if is_denied(&error) => {
                format!("{}, which you may not read: not looked at", path.display())
            }
            Err(error) => return Err(error).with_context(about_identity),
        };
        check(&settings, &identity);
        return Ok(());
    }
    let identity = match read(path).with_context(about_identity)? {
        Some(identity) => identity,
        None => make(path).with_context(about_identity)?,
    };
    for remark in settings.remarks() {
        tracing::warn!("{remark}");
    }
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot start")?;
    runtime.block_on(serve(identity, settings))
}

fn is_denied(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied)
}

fn check(settings: &RelayFile, identity: &str) {
    println!("The settings can be used.");
    let listed = |list: &[SocketAddr]| {
        let list: Vec<_> = list.iter().map(ToString::to_string).collect();
        list.join(", ")
    };
    println!("  circles meet at {} (UDP)", listed(&settings.hub.listen));
    println!(
        "  members come in at {} (UDP)",
        listed(&settings.entry.listen)
    );
    println!("  identity    {identity}");
    match settings.metrics {
        Some(address) => println!("  metrics     http://{address}/metrics, and /healthz"),
        None => println!("  metrics     nowhere"),
    }
    for remark in settings.remarks() {
        println!("Is this meant? {remark}.");
    }
}

async fn serve(identity: Keypair, settings: RelayFile) -> Result<()> {
    let cancel = CancellationToken::new();
    let patience = Duration::from_secs(settings.drain_seconds);
    let relay = Relay::start(RelayConfig::from_file(identity, settings), cancel.clone())
        .context("the relay cannot start")?;
    println!("Relay running. Leaders start a circle through it with one of these addresses:");
    for path in relay.paths() {
        println!("  {path}");
    }
    let two_hops = relay.two_hop_paths();
    if !two_hops.is_empty() {
        println!("or, so that no operator sees both who comes and which circle they are in:");
        for path in two_hops {
            println!("  {path}");
        }
    }
    println!(
        "Operators whose entries are to lead here (hubs, under [entry] in their file) need one of these:"
    );
    for hub in &relay.hubs {
        println!("  {hub}");
    }
    if let Some(address) = relay.metrics {
        println!("Its sums are at http://{address}/metrics, and /healthz says how it is.");
    }
    println!(
        "It sees internet addresses and sealed packets; neither what is said nor who speaks. Ctrl-C ends it."
    );
    let mut report = tokio::time::interval(REPORT_EVERY);
    report.tick().await;
    {
        let mut shutdown = std::pin::pin!(shutdown_requested());
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = report.tick() => {
                    let stats = relay.stats();
                    tracing::info!(?stats, "totals");
                }
            }
        }
    }
    if relay.stats().is_in_use() && !patience.is_zero() {
        println!(
            "Ending: nobody new is let in, and circles under way have {} s. Once more ends it at once.",
            patience.as_secs()
        );
        tokio::select! {
            () = relay.drain(patience) => {}
            () = shutdown_requested() => {}
        }
    }
    println!("Ending: connections are being closed.");
    cancel.cancel();
    relay.closed().await;
    Ok(())
}

/// Ctrl-C, or what a service manager sends.
async fn shutdown_requested() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

/// The identity in this file; `None` if there is no such file.
fn read(path: &Path) -> Result<Option<Keypair>> {
    match fs::read(path) {
        Ok(bytes) => {
            let Ok(mut seed) = <[u8; 32]>::try_from(bytes) else {
                bail!(
                    "is damaged: it should hold 32 bytes. Restore it from a copy, or move it away to begin anew"
                );
            };
            Ok(Some(Keypair::ed25519_from_bytes(&mut seed)?))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("cannot be read"),
    }
}

/// Makes an identity and keeps it in this file, which only its owner can read.
fn make(path: &Path) -> Result<Keypair> {
    let mut seed = os_bytes()?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).context("cannot be made")?;
    file.write_all(&seed)?;
    file.sync_all()?;
    Ok(Keypair::ed25519_from_bytes(&mut seed)?)
}

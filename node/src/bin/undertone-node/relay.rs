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
use undertone_node::relay::{Relay, RelayConfig};

const REPORT_EVERY: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct RelayArgs {
    /// Where to listen (UDP); may be given several times
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4433")]
    listen: Vec<SocketAddr>,
    /// The relay's identity: made on first use, keep it, or leaders' circles no longer find the relay
    #[arg(long, value_name = "FILE", default_value = "undertone-relay.key")]
    identity: PathBuf,
}

pub fn run(args: &RelayArgs) -> Result<()> {
    let identity = load_or_make(&args.identity)
        .with_context(|| format!("the identity {}", args.identity.display()))?;
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot start")?;
    runtime.block_on(serve(identity, args.listen.clone()))
}

async fn serve(identity: Keypair, listen: Vec<SocketAddr>) -> Result<()> {
    let cancel = CancellationToken::new();
    let relay = Relay::start(RelayConfig::new(identity, listen), cancel.clone())
        .context("the relay cannot start")?;
    println!("Relay running. Leaders start a circle through it with one of these addresses:");
    for address in &relay.addresses {
        println!("  {address}");
    }
    println!(
        "It sees internet addresses and sealed packets; neither what is said nor who speaks. Ctrl-C ends it."
    );
    let mut report = tokio::time::interval(REPORT_EVERY);
    report.tick().await;
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

fn load_or_make(path: &Path) -> Result<Keypair> {
    match fs::read(path) {
        Ok(bytes) => {
            let Ok(mut seed) = <[u8; 32]>::try_from(bytes) else {
                bail!(
                    "is damaged: it should hold 32 bytes. Restore it from a copy, or move it away to begin anew"
                );
            };
            Ok(Keypair::ed25519_from_bytes(&mut seed)?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
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
        Err(error) => Err(error).context("cannot be read"),
    }
}

//! The member's end of a line: keeps it up, over one entry or the next.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::identity::Keypair;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use undertone_protocol::record::Pace;

use super::{
    cell::Unpacker,
    metronome::Metronome,
    packer,
    socket::Ends,
    tick,
    wire::{Answer, Open, Opened, Unsaid, hear, say},
};
use crate::net::{
    NetError,
    address::RelayAddress,
    quic::{QuicConfig, SocketFactory},
    tasks::Tasks,
    types::NetEvent,
    unspecified,
};

/// The entry sends all the time; silent for this long, it is dead, or the way to it is.
const DEAD_AFTER: Duration = Duration::from_millis(800);
/// Where there is another entry, one that brings nothing of any hub for this long leads nowhere.
const USELESS_AFTER: Duration = Duration::from_secs(20);
/// Time for handshake and answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause after every entry was tried in vain, and how far it grows.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A line that held this long forgives earlier failures.
const STEADY: Duration = Duration::from_secs(10);

/// What a line needs.
pub(crate) struct LineConfig {
    /// Where it may begin, the preferred first.
    pub(crate) entries: Vec<RelayAddress>,
    /// Where it leads.
    pub(crate) hubs: Vec<SocketAddr>,
    /// Cells a tick that are to come.
    pub(crate) cells: u8,
    /// How long a tick is.
    pub(crate) pace: Pace,
    /// What opens UDP sockets.
    pub(crate) socket: SocketFactory,
    /// Where to tell what the operator of the entry says.
    pub(crate) events: mpsc::Sender<NetEvent>,
}

/// Begins to keep a line up, until its network ends. Returns what opens sockets on it, for endpoints that talk to its hubs.
///
/// # Errors
/// If no socket can be opened or TLS cannot be set up.
pub(crate) fn start(config: LineConfig, tasks: &Tasks) -> Result<SocketFactory, NetError> {
    let ends = Ends::new(config.hubs, packer(1));
    // An identity of its own: what the entry sees is not what the hub sees.
    let quic = QuicConfig::line(&Keypair::generate_ed25519())?;
    let (mut entries, mut failed) = (Vec::new(), None);
    for entry in config.entries {
        let socket = (config.socket)(unspecified(&entry.addr));
        match socket.and_then(|socket| quic.endpoint(socket, false)) {
            Ok(endpoint) => entries.push((entry, endpoint)),
            // A machine without IPv6, for example, has the others.
            Err(error) => failed = Some(error),
        }
    }
    if let (true, Some(error)) = (entries.is_empty(), failed) {
        return Err(NetError::Socket(error));
    }
    let keeper = Keeper {
        ends: Arc::clone(&ends),
        quic,
        entries,
        cells: config.cells,
        pace: config.pace,
        metronome: Metronome::start().map_err(NetError::Clock)?,
        events: config.events,
    };
    tasks.spawn(keeper.run());
    Ok(Arc::new(move |bind| Ok(ends.socket(bind))))
}

struct Keeper {
    ends: Arc<Ends>,
    quic: QuicConfig,
    entries: Vec<(RelayAddress, quinn::Endpoint)>,
    cells: u8,
    pace: Pace,
    metronome: Metronome,
    events: mpsc::Sender<NetEvent>,
}

impl Keeper {
    /// Stays with an entry as long as it works, and goes on to the next when it does not; never back before that.
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut in_vain = 0;
        for (entry, endpoint) in self.entries.iter().cycle() {
            let opened = tokio::time::timeout(PATIENCE, self.open(entry, endpoint)).await;
            if let Ok(Ok(connection)) = opened {
                let since = Instant::now();
                self.carry(&connection).await;
                connection.close(0u32.into(), b"");
                if since.elapsed() >= STEADY {
                    (pause, in_vain) = (FIRST_PAUSE, 0);
                }
            }
            in_vain += 1;
            if in_vain % self.entries.len() == 0 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn open(
        &self,
        entry: &RelayAddress,
        endpoint: &quinn::Endpoint,
    ) -> Result<quinn::Connection, Unsaid> {
        let config = self.quic.client(Some(entry.peer)).map_err(|_| Unsaid)?;
        let connecting = endpoint.connect_with(config, entry.addr, "l");
        let connection = connecting.map_err(|_| Unsaid)?.await.map_err(|_| Unsaid)?;
        let (mut asks, mut answers) = connection.open_bi().await.map_err(|_| Unsaid)?;
        let open = Open {
            cells: self.cells,
            hubs: self.ends.hubs().iter().map(SocketAddr::to_string).collect(),
            pace: self.pace.named(),
        };
        say(&mut asks, &open).await?;
        let Answer { opened, card } = hear(&mut answers).await?;
        if opened != Opened::Yes {
            return Err(Unsaid);
        }
        let (relay, card) = (entry.peer, card.into());
        let told = self.events.send(NetEvent::OperatorCard { relay, card });
        told.await.map_err(|_| Unsaid)?;
        Ok(connection)
    }

    /// Carries cells both ways until the line is dead, or of no use.
    async fn carry(&self, connection: &quinn::Connection) {
        let (ends, line) = (Arc::clone(&self.ends), connection.clone());
        let stuck = CancellationToken::new();
        let is_stuck = stuck.clone();
        let send = move |_| {
            let sent = line.send_datagram(ends.cell()).is_ok();
            if !sent {
                is_stuck.cancel();
            }
            sent
        };
        let _sending = self.metronome.every(tick(self.pace), send);
        let mut unpacker = Unpacker::default();
        let mut heard = Instant::now();
        let cell = || tokio::time::timeout(DEAD_AFTER, connection.read_datagram());
        while let Some(Ok(Ok(cell))) = stuck.run_until_cancelled(cell()).await {
            unpacker.cell(cell, |channel, packet| {
                heard = Instant::now();
                self.ends.deliver(channel, packet);
            });
            if self.entries.len() > 1 && heard.elapsed() > USELESS_AFTER {
                break;
            }
        }
    }
}

//! An honest circle that only measures: the network of real members, through entry and hub, whose voices say when they left.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libp2p::identity::Keypair;
use serde::Serialize;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use undertone_node::net::{
    self, NetCommand, NetEvent, NetworkConfig, RelayPath, Relayed, RouteKey,
};
use undertone_protocol::record::Pace;

/// As often as a voice.
const TICK: Duration = Duration::from_millis(20);
/// As large as a sealed voice packet.
const PACKET: usize = 219;
const MARK: &[u8] = b"undertone probe";
const COME_IN: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Heard {
    /// Milliseconds on the way.
    delays: Mutex<Vec<f64>>,
    sent: AtomicU64,
    /// Packets that nobody of the circle sent.
    strange: AtomicU64,
}

/// What was heard in some time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Window {
    /// Milliseconds from member to member, the middle one.
    pub median: f64,
    /// … and the longest but for one in a hundred.
    pub p99: f64,
    /// Packets that came, of all that were to.
    pub heard: f64,
    /// Packets that nobody of the circle sent.
    pub strange: u64,
}

/// See the module.
pub struct Probe {
    heard: Arc<Heard>,
    members: u64,
    cancel: CancellationToken,
}

impl Probe {
    /// A circle of `members` comes together this way, and talks until it is dropped.
    ///
    /// # Errors
    /// When it does not come together.
    pub async fn start(way: &RelayPath, members: u8, route: RouteKey) -> Result<Self> {
        let this = Self {
            heard: Arc::default(),
            members: members.into(),
            cancel: CancellationToken::new(),
        };
        let base = Instant::now();
        for member in 0..members {
            let relayed =
                Relayed::by(std::slice::from_ref(way), members, Pace::Usual).context("no way")?;
            let config = NetworkConfig::relayed(Keypair::generate_ed25519(), relayed);
            let mut network = net::start(config, this.cancel.clone())?;
            let commands = network.commands.clone();
            commands.send(NetCommand::AttachRoute(route)).await?;
            let there = async {
                while let Some(event) = network.events.recv().await {
                    if matches!(event, NetEvent::RouteAttached(_)) {
                        return Ok(());
                    }
                }
                bail!("the network ended")
            };
            (tokio::time::timeout(COME_IN, there).await).context("nobody lets the probe in")??;
            let heard = Arc::clone(&this.heard);
            // Voices are not in step.
            let begin = base + TICK * u32::from(member) / u32::from(members);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval_at(begin.into(), TICK);
                tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
                loop {
                    tick.tick().await;
                    let now = base.elapsed().as_nanos() as u64;
                    let mut packet = [MARK, &now.to_be_bytes()].concat();
                    packet.resize(PACKET, 0x55);
                    if commands
                        .send(NetCommand::Media(packet.into()))
                        .await
                        .is_err()
                    {
                        break;
                    }
                    heard.sent.fetch_add(1, Relaxed);
                }
            });
            let heard = Arc::clone(&this.heard);
            tokio::spawn(async move {
                while let Some(event) = network.events.recv().await {
                    let NetEvent::Media { payload, .. } = event else {
                        continue;
                    };
                    let told = payload
                        .strip_prefix(MARK)
                        .and_then(|rest| rest.first_chunk());
                    let Some(sent) = told else {
                        heard.strange.fetch_add(1, Relaxed);
                        continue;
                    };
                    let sent = Duration::from_nanos(u64::from_be_bytes(*sent));
                    let late = base.elapsed().saturating_sub(sent);
                    lock(&heard.delays).push(late.as_secs_f64() * 1e3);
                }
            });
        }
        Ok(this)
    }

    /// Forgets what was heard so far.
    pub fn begin(&self) {
        lock(&self.heard.delays).clear();
        self.heard.sent.store(0, Relaxed);
        self.heard.strange.store(0, Relaxed);
    }

    /// What was heard since.
    #[must_use]
    pub fn window(&self) -> Window {
        let mut delays = lock(&self.heard.delays).clone();
        delays.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (delays.len() as f64 * part) as usize;
            delays.get(place).copied().unwrap_or(f64::NAN)
        };
        let owed = self.heard.sent.load(Relaxed) * (self.members - 1);
        Window {
            median: at(0.5),
            p99: at(0.99),
            heard: delays.len() as f64 / owed.max(1) as f64,
            strange: self.heard.strange.load(Relaxed),
        }
    }

    /// What is heard in the time to come.
    pub async fn listen(&self, time: Duration) -> Window {
        self.begin();
        tokio::time::sleep(time).await;
        self.window()
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

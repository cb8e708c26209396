//! An honest circle that only measures: the network of real members, through entry and hub, whose voices and notices say when
//! they left.

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
    self, Delivery, NetCommand, NetEvent, NetworkConfig, RelayPath, Relayed, RouteKey, Topic,
};
use undertone_protocol::record::Pace;

/// As often as a voice.
const TICK: Duration = Duration::from_millis(20);
/// As large as a sealed voice packet.
const PACKET: usize = 219;
/// A member gives notice every so many ticks.
const NOTICE_TICKS: u64 = 50;
/// Bytes of a notice.
const NOTICE: usize = 200;
/// What is sent so shortly before the end of a window is not judged: it may be on its way.
const VOICE_ON_ITS_WAY: Duration = Duration::from_secs(1);
const NOTICE_ON_ITS_WAY: Duration = Duration::from_secs(3);
const MARK: &[u8] = b"undertone probe";
const COME_IN: Duration = Duration::from_secs(20);

/// How much at least is to be heard of a circle's sound.
pub const HEARD: f64 = 0.95;

/// The route of the circle that is measured, which some attackers know.
pub const ROUTE: RouteKey = RouteKey([1; 32]);

/// The topic of a circle's door: members hear it, and say nothing on it.
#[must_use]
pub fn door(route: RouteKey) -> Topic {
    topic(route, b'd')
}

/// Where its members give notice.
fn members_only(route: RouteKey) -> Topic {
    topic(route, b'm')
}

fn topic(route: RouteKey, kind: u8) -> Topic {
    let RouteKey(mut bytes) = route;
    bytes[0] = kind;
    Topic(bytes)
}

/// One kind of thing that members send each other. Times are those since the circle began.
#[derive(Default)]
struct Tally {
    sent: Mutex<Vec<Duration>>,
    /// When it left, and how long it took.
    came: Mutex<Vec<(Duration, Duration)>>,
}

impl Tally {
    fn begin(&self) {
        lock(&self.sent).clear();
        lock(&self.came).clear();
    }

    /// What came to so many hearers of what left between two times.
    fn arrived(&self, from: Duration, to: Duration, hearers: usize) -> Arrived {
        let span = from..to;
        let sent = lock(&self.sent);
        let owed = hearers * sent.iter().filter(|at| span.contains(*at)).count();
        let came = lock(&self.came);
        let came = came.iter().filter(|(at, _)| span.contains(at));
        let mut delays: Vec<f64> = came.map(|(_, late)| late.as_secs_f64() * 1e3).collect();
        delays.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (delays.len() as f64 * part) as usize;
            delays.get(place).copied().unwrap_or(f64::NAN)
        };
        Arrived {
            median: at(0.5),
            p99: at(0.99),
            heard: delays.len() as f64 / owed.max(1) as f64,
        }
    }
}

#[derive(Default)]
struct Heard {
    voice: Tally,
    notices: Tally,
    /// What nobody of the circle sent.
    strange: AtomicU64,
    /// What others said at the door.
    at_the_door: AtomicU64,
    since: Mutex<Duration>,
}

impl Heard {
    /// Something that left when it says, or is strange.
    fn take(&self, tally: &Tally, payload: &[u8], now: Duration) {
        let told = payload.strip_prefix(MARK).and_then(|r| r.first_chunk());
        let Some(sent) = told else {
            self.strange.fetch_add(1, Relaxed);
            return;
        };
        let sent = Duration::from_nanos(u64::from_be_bytes(*sent));
        lock(&tally.came).push((sent, now.saturating_sub(sent)));
    }
}

/// What came from member to member.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Arrived {
    /// Milliseconds on the way, the middle one.
    pub median: f64,
    /// … and the longest but for one in a hundred. Not a number if nothing came.
    pub p99: f64,
    /// The part that came of what was to.
    pub heard: f64,
}

/// What was heard in some time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Window {
    /// Packets of voices.
    pub sound: Arrived,
    /// Small control messages, of which each member says one a second.
    pub control: Arrived,
    /// What came that nobody of the circle sent.
    pub strange: u64,
    /// … on the topic of its door, where anybody may say something who knows it.
    pub at_the_door: u64,
}

impl Window {
    /// Why nobody would call that a circle.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        if self.sound.p99.is_nan() || self.control.p99.is_nan() {
            return Some("nothing was heard".into());
        }
        let heard = self.sound.heard;
        (heard < HEARD).then(|| format!("{:.1} % of the sound was heard", 100.0 * heard))
    }
}

/// See the module.
pub struct Probe {
    heard: Arc<Heard>,
    members: usize,
    base: Instant,
    cancel: CancellationToken,
}

impl Probe {
    /// A circle of `members` comes together this way, and talks until it is dropped. Its topics follow from the route.
    ///
    /// # Errors
    /// When it does not come together.
    pub async fn start(way: &RelayPath, members: u8, route: RouteKey) -> Result<Self> {
        let base = Instant::now();
        let this = Self {
            heard: Arc::default(),
            members: members.into(),
            base,
            cancel: CancellationToken::new(),
        };
        let notices = members_only(route);
        for member in 0..members {
            let relayed =
                Relayed::by(std::slice::from_ref(way), members, Pace::Usual).context("no way")?;
            let config = NetworkConfig::relayed(Keypair::generate_ed25519(), relayed);
            let mut network = net::start(config, this.cancel.clone())?;
            let commands = network.commands.clone();
            for topic in [notices, door(route)] {
                commands.send(NetCommand::Subscribe(topic)).await?;
            }
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
            // Voices are not in step, and neither are notices.
            let begin = base + TICK * u32::from(member) / u32::from(members);
            let first_notice = NOTICE_TICKS * u64::from(member) / u64::from(members);
            tokio::spawn(async move {
                let mut tick = tokio::time::interval_at(begin.into(), TICK);
                tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
                for number in 0_u64.. {
                    tick.tick().await;
                    let now = base.elapsed();
                    let marked = |length| {
                        let mut bytes = [MARK, &(now.as_nanos() as u64).to_be_bytes()].concat();
                        bytes.resize(length, member);
                        bytes.into()
                    };
                    let voice = NetCommand::Media(marked(PACKET));
                    if commands.send(voice).await.is_err() {
                        break;
                    }
                    lock(&heard.voice.sent).push(now);
                    if number % NOTICE_TICKS != first_notice {
                        continue;
                    }
                    let notice = NetCommand::Publish {
                        topic: notices,
                        payload: marked(NOTICE),
                        // Every other one is left there too.
                        delivery: match (number / NOTICE_TICKS).is_multiple_of(2) {
                            true => Delivery::Lasting,
                            false => Delivery::Prompt,
                        },
                    };
                    if commands.send(notice).await.is_err() {
                        break;
                    }
                    lock(&heard.notices.sent).push(now);
                }
            });
            let heard = Arc::clone(&this.heard);
            tokio::spawn(async move {
                while let Some(event) = network.events.recv().await {
                    let now = base.elapsed();
                    match event {
                        NetEvent::Media { payload, .. } => {
                            heard.take(&heard.voice, &payload, now);
                        }
                        // What was left there is old.
                        NetEvent::Control { kept: true, .. } => {}
                        NetEvent::Control { topic, payload, .. } if topic == notices => {
                            heard.take(&heard.notices, &payload, now);
                        }
                        NetEvent::Control { .. } => {
                            heard.at_the_door.fetch_add(1, Relaxed);
                        }
                        _ => {}
                    }
                }
            });
        }
        Ok(this)
    }

    /// Forgets what was heard so far.
    pub fn begin(&self) {
        *lock(&self.heard.since) = self.base.elapsed();
        self.heard.voice.begin();
        self.heard.notices.begin();
        self.heard.strange.store(0, Relaxed);
        self.heard.at_the_door.store(0, Relaxed);
    }

    /// What was heard since.
    #[must_use]
    pub fn window(&self) -> Window {
        let (from, now) = (*lock(&self.heard.since), self.base.elapsed());
        let arrived = |tally: &Tally, on_its_way| {
            tally.arrived(from, now.saturating_sub(on_its_way), self.members - 1)
        };
        Window {
            sound: arrived(&self.heard.voice, VOICE_ON_ITS_WAY),
            control: arrived(&self.heard.notices, NOTICE_ON_ITS_WAY),
            strange: self.heard.strange.load(Relaxed),
            at_the_door: self.heard.at_the_door.load(Relaxed),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_left_in_time_is_owed_and_counted() {
        let tally = Tally::default();
        let at = Duration::from_secs;
        lock(&tally.sent).extend((0..10).map(at));
        let late = |ms| Duration::from_millis(ms);
        lock(&tally.came).extend([(at(1), late(5)), (at(4), late(900)), (at(9), late(1))]);
        let arrived = tally.arrived(at(1), at(5), 2);
        assert_eq!((arrived.heard, arrived.p99), (0.25, 900.0));
        assert!(tally.arrived(at(20), at(30), 2).p99.is_nan());
    }
}

//! What people do who want a relay gone, or a circle's sound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, timeout, timeout_at};
use undertone_node::net::RelayPath;

use crate::guest::{
    ATTACHED, CELL, Gateway, KEPT, Port, REFUSED, SAID, Told, UNHEARD, attach, carry, crumbs,
    frame, hear, open_line, preface, say,
};
use crate::probe::{ROUTE, door};

/// Addresses an attacker has, none of which is anybody else's.
const ADDRESSES: u8 = 50;
/// What they do at the same time.
const AT_ONCE: usize = 64;
/// Connection attempts.
pub(crate) const ATTEMPTS: usize = 10_000;
/// Connections that flood at a time, that want places, and that talk at the door.
const FLOODING: usize = 4;
const TAKING: usize = 64;
const TALKING: usize = 10;
/// Topics and routes guessed on one connection: as many as it may name at once.
const GUESSES: usize = 60;
/// Connections that want rooms from one address, and on one line; topics and routes that each wants.
const ROOMY: usize = 128;
const TOPICS: usize = 32;
const ROUTES: u8 = 3;
/// Slots under which members may hold the circle's route.
const SLOTS: [u8; 2] = [1, 2];
/// How long a place is held before another connection asks for it.
const HOLD: Duration = Duration::from_secs(5);
/// What is said at the door, bytes, and how often: 64 KiB/s, as much as a relay takes.
const SPEECH: usize = 16 * 1024;
const PERMITTED: Duration = Duration::from_millis(250);
/// As often as a voice, and as large.
const VOICE: Duration = Duration::from_millis(20);
const PACKET: usize = 220;
/// How long an answer that nobody should get is waited for.
const WAIT: Duration = Duration::from_millis(500);
/// Pause after being turned away.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

/// What they try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub enum Attack {
    /// Ten thousand connections to both ports, half of them given up in the handshake, the others kept.
    Connections,
    /// UDP packets that look like the beginning of QUIC connections.
    Garbage,
    /// Topics and routes guessed, and packets sent on slots nobody gave, while a circle talks and leaves notices.
    Guesses,
    /// Control messages as fast as they go, from several connections, again as soon as one is cut.
    Messages,
    /// Packets as fast as they go, likewise.
    Datagrams,
    /// Cells at the entry as fast as they go, likewise; every other one full of the smallest chunks.
    Cells,
    /// Frames of the largest length that never end, or of no length there is; streams that are opened and left, packets too large.
    HalfOpen,
    /// Somebody knows a circle's route. Many connections ask for it all the time, and listen, as whoever knows it may; others,
    /// that have not asked, send under the numbers that its members have there.
    Places,
    /// One address, and one line from it, ask to hear as many topics and for as many routes as they may on as many connections as
    /// they get, and hold them, while another circle comes in.
    Rooms,
    /// Somebody knows the topic of a circle's door, and says on it from ten connections as much as is permitted.
    Door,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Connections,
        Self::Garbage,
        Self::Guesses,
        Self::Messages,
        Self::Datagrams,
        Self::Cells,
        Self::HalfOpen,
        Self::Places,
        Self::Rooms,
        Self::Door,
    ];

    /// Whether it goes on until it is cut.
    #[must_use]
    pub fn is_flood(self) -> bool {
        matches!(self, Self::Messages | Self::Datagrams | Self::Cells)
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What was tried: attempts, guesses, requests, streams; packets, cells and messages that went out.
    pub tried: u64,
    /// Connections that came about.
    pub connected: u64,
    /// Of those, ones that ended before it was done.
    pub failed: u64,
    /// Connections that the relay ended.
    pub cut: u64,
    /// Longest time that somebody flooded before they were cut, or there was no time left, seconds.
    pub slowest_cut: f64,
    /// Time in which anybody flooded, seconds.
    pub flooding: f64,
    /// Places on the circle's route, on which it was heard; topics and routes of one's own.
    pub held: u64,
    /// Things that were told which nobody should have been told.
    pub told: u64,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.connected += other.connected;
        self.failed += other.failed;
        self.cut += other.cut;
        self.slowest_cut = self.slowest_cut.max(other.slowest_cut);
        self.held += other.held;
        self.told += other.told;
    }

    /// What was sent each second, by whoever flooded.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        (self.flooding > 0.0).then(|| self.tried as f64 / self.flooding)
    }
}

/// Does it to the relay at the end of `way`, for so long at most, inside a tokio runtime.
///
/// # Errors
/// When no socket can be opened.
pub async fn run(attack: Attack, way: RelayPath, time: Duration) -> Result<Outcome> {
    let gateways: Vec<Arc<Gateway>> = (1..=ADDRESSES)
        .map(|last| Gateway::at(IpAddr::V4(Ipv4Addr::new(127, 0, 9, last))).map(Arc::new))
        .collect::<Result<_>>()?;
    let until = Instant::now() + time;
    let route = ROUTE.at(&way.hub.peer).0;
    let topic = door(ROUTE).at(&way.hub.peer).0;
    let (hub, entry) = (way.hub.addr, way.entry.addr);
    let attacker = Attacker {
        gateways,
        way,
        until,
    };
    Ok(match attack {
        Attack::Connections => attacker.connections().await?,
        Attack::Garbage => tokio::task::spawn_blocking(move || garbage(entry, until)).await??,
        Attack::Guesses => attacker.repeat(FLOODING, Port::Hub, guess).await,
        Attack::Messages => {
            let flood = move |connection| flood_messages(connection, until);
            attacker.repeat(FLOODING, Port::Hub, flood).await
        }
        Attack::Datagrams => {
            let flood = move |connection| flood_datagrams(connection, until);
            attacker.repeat(FLOODING, Port::Hub, flood).await
        }
        Attack::Cells => {
            let flood = move |connection| flood_cells(connection, hub, until);
            attacker.repeat(FLOODING, Port::Entry, flood).await
        }
        Attack::HalfOpen => {
            let open = move |connection| half_open(connection, until);
            attacker.repeat(FLOODING, Port::Hub, open).await
        }
        Attack::Places => {
            let take = move |connection| take_place(connection, route, until);
            attacker.repeat(TAKING, Port::Hub, take).await
        }
        Attack::Rooms => attacker.rooms().await?,
        Attack::Door => {
            let talk = move |connection| talk(connection, topic, until);
            attacker.repeat(TALKING, Port::Hub, talk).await
        }
    })
}

/// Somebody with many addresses, and so much time.
struct Attacker {
    gateways: Vec<Arc<Gateway>>,
    way: RelayPath,
    until: Instant,
}

impl Attacker {
    async fn connections(&self) -> Result<Outcome> {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut attempts = JoinSet::new();
        let mut outcome = Outcome::default();
        for number in 0..ATTEMPTS {
            if Instant::now() >= self.until {
                break;
            }
            let permit = Arc::clone(&room).acquire_owned().await?;
            let gateway = Arc::clone(&self.gateways[number % self.gateways.len()]);
            let (to, port) = match number % 4 {
                0 | 1 => (self.way.hub.addr, Port::Hub),
                _ => (self.way.entry.addr, Port::Entry),
            };
            outcome.tried += 1;
            attempts.spawn(async move {
                let _permit = permit;
                let call = gateway.call(to, port).ok()?;
                // Half of them are given up before the handshake is over.
                let patience = match number % 2 {
                    0 => PATIENCE,
                    _ => Duration::from_micros(300),
                };
                timeout(patience, call).await.ok()?.ok()
            });
        }
        // Whoever got in stays.
        let kept: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
        outcome.connected = kept.len() as u64;
        tokio::time::sleep_until(self.until.into()).await;
        outcome.cut = (kept.iter())
            .filter(|connection| connection.close_reason().is_some())
            .count() as u64;
        Ok(outcome)
    }

    /// Does something on one connection after another, on so many at once, from one address after another.
    async fn repeat<F: Future<Output = Result<Outcome>> + Send>(
        &self,
        at_once: usize,
        port: Port,
        what: impl Fn(quinn::Connection) -> F + Clone + Send + 'static,
    ) -> Outcome {
        let to = match port {
            Port::Hub => self.way.hub.addr,
            Port::Entry => self.way.entry.addr,
        };
        let mut hands = JoinSet::new();
        for hand in 0..at_once {
            let (gateways, what, until) = (self.gateways.clone(), what.clone(), self.until);
            hands.spawn(async move {
                let (mut outcome, mut floods) = (Outcome::default(), Vec::new());
                for turn in 0.. {
                    if Instant::now() >= until {
                        break;
                    }
                    let gateway = &gateways[(hand + turn * at_once) % gateways.len()];
                    let Ok(call) = gateway.call(to, port) else {
                        continue;
                    };
                    let Ok(Ok(connection)) = timeout(PATIENCE, call).await else {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    };
                    outcome.connected += 1;
                    match what(connection.clone()).await {
                        Ok(done) => {
                            outcome.add(done);
                            floods.push((Instant::now(), done.slowest_cut));
                        }
                        Err(_) => outcome.failed += 1,
                    }
                    connection.close(0u32.into(), b"");
                }
                (outcome, floods)
            });
        }
        let (mut outcome, mut floods) = (Outcome::default(), Vec::new());
        for (done, flooded) in hands.join_all().await {
            outcome.add(done);
            let span = |(end, seconds)| (end - Duration::from_secs_f64(seconds), end);
            floods.extend(flooded.into_iter().map(span));
        }
        outcome.flooding = covered(floods).as_secs_f64();
        outcome
    }

    async fn rooms(&self) -> Result<Outcome> {
        let (gateway, way) = (&self.gateways[0], &self.way);
        let line = gateway.call(way.entry.addr, Port::Entry)?;
        let line = timeout(PATIENCE, line).await??;
        open_line(&line, 7, way.hub.addr).await?;
        let over_line = carry(line).await?;
        let gather = async |hub| {
            let mut outcome = Outcome::default();
            let mut rooms = JoinSet::new();
            while Instant::now() < self.until {
                while let Some(Ok(done)) = rooms.try_join_next() {
                    outcome.add(done);
                }
                if rooms.len() < ROOMY
                    && let Ok(Ok(guest)) = timeout(PATIENCE, gateway.call(hub, Port::Hub)?).await
                {
                    rooms.spawn(hold_rooms(guest, self.until));
                } else {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            let rest = rooms.join_all().await;
            rest.into_iter().for_each(|done| outcome.add(done));
            anyhow::Ok(outcome)
        };
        let (mut outcome, directly) = tokio::try_join!(gather(over_line), gather(way.hub.addr))?;
        outcome.add(directly);
        Ok(outcome)
    }
}

/// The time in which at least one of these spans was under way.
fn covered(mut spans: Vec<(Instant, Instant)>) -> Duration {
    spans.sort();
    let (mut covered, mut until) = (Duration::ZERO, None);
    for (from, to) in spans {
        let from = until.map_or(from, |until| from.max(until));
        covered += to.saturating_duration_since(from);
        until = until.max(Some(to));
    }
    covered
}

fn garbage(entry: SocketAddr, until: Instant) -> Result<Outcome> {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 9, 1), 0))?;
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let (mut outcome, begun) = (Outcome::default(), Instant::now());
    let mut packet = [0; 1_200];
    while Instant::now() < until {
        random.fill_bytes(&mut packet);
        // A long header, Initial, version 1, connection ids of 8 bytes (RFC 9000, 17.2.2).
        packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        packet[14] = 8;
        outcome.tried += u64::from(socket.send_to(&packet, entry).is_ok());
    }
    outcome.flooding = begun.elapsed().as_secs_f64();
    Ok(outcome)
}

async fn guess(connection: quinn::Connection) -> Result<Outcome> {
    let mut random = ChaCha20Rng::from_seed(undertone_node::entropy::os_bytes()?);
    let mut frames = preface();
    for number in 0..GUESSES {
        let mut guess = [0; 32];
        random.fill_bytes(&mut guess);
        frames.extend(match number % 2 {
            0 => hear(&guess),
            _ => attach(number as u8, &guess),
        });
    }
    let mut requests = connection.open_uni().await?;
    requests.write_all(&frames).await?;
    for slot in 0..=u8::MAX {
        connection.send_datagram(vec![slot; PACKET].into())?;
    }
    let mut told = Told::default();
    let ended = timeout(WAIT, told.take(&connection, &[KEPT, SAID])).await;
    Ok(Outcome {
        tried: GUESSES as u64 + 256,
        cut: u64::from(ended.is_ok()),
        told: told.frames + told.packets,
        ..Outcome::default()
    })
}

/// Floods until the connection is cut.
async fn flood_messages(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    const TOGETHER: usize = 64;
    let message = say(&[9; 32], &[1; 100]);
    let words = message.repeat(TOGETHER);
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    let (begun, before) = (Instant::now(), connection.stats().udp_tx.bytes);
    let mut taken = 0;
    // A relay that neither reads nor cuts has not cut.
    while Instant::now() < until
        && let Ok(Ok(())) = timeout_at(until.into(), requests.write_all(&words)).await
    {
        taken += TOGETHER as u64;
    }
    // QUIC has taken more than went out.
    let out = (connection.stats().udp_tx.bytes - before) / message.len() as u64;
    Ok(flooded(&connection, begun, taken.min(out)))
}

async fn flood_datagrams(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    requests.write_all(&attach(1, &[9; 32])).await?;
    let packet = vec![1; PACKET];
    Ok(flood(&connection, std::iter::repeat(packet), until).await)
}

async fn flood_cells(
    connection: quinn::Connection,
    hub: SocketAddr,
    until: Instant,
) -> Result<Outcome> {
    open_line(&connection, 1, hub).await?;
    let cells = [vec![0; CELL], crumbs()];
    Ok(flood(&connection, cells.into_iter().cycle(), until).await)
}

async fn flood(
    connection: &quinn::Connection,
    packets: impl Iterator<Item = Vec<u8>>,
    until: Instant,
) -> Outcome {
    let out = || connection.stats().frame_tx.datagram;
    let (begun, before) = (Instant::now(), out());
    for packet in packets {
        let sending = connection.send_datagram_wait(packet.into());
        let sent = timeout_at(until.into(), sending).await;
        if Instant::now() >= until || !matches!(sent, Ok(Ok(()))) {
            break;
        }
    }
    flooded(connection, begun, out() - before)
}

fn flooded(connection: &quinn::Connection, begun: Instant, tried: u64) -> Outcome {
    Outcome {
        tried,
        cut: u64::from(connection.close_reason().is_some()),
        slowest_cut: begun.elapsed().as_secs_f64(),
        ..Outcome::default()
    }
}

/// One of two, by chance.
fn coin() -> Result<bool> {
    Ok(undertone_node::entropy::os_bytes()?[0] & 1 == 0)
}

async fn half_open(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    let mut held = Vec::new();
    // As many of libp2p's streams as it may have, with half a negotiation on each.
    let open = async {
        while let Ok((mut send, recv)) = connection.open_bi().await {
            let _ = send.write_all(b"\x13/multistream/1.0.0\n\x7f").await;
            held.push((send, recv));
            if held.len() >= 200 {
                break;
            }
        }
    };
    let _ = timeout(WAIT, open).await;
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    let frame = match coin()? {
        // The largest there is, but for its last byte.
        true => {
            let mut frame = frame(0x05, &[&[7; 32], &vec![0; 18 * 1024]]);
            frame.pop();
            frame
        }
        false => vec![0xff; 20_000],
    };
    // Whoever is cut in the middle of it is cut.
    let _ = timeout(PATIENCE, requests.write_all(&frame)).await;
    let largest = connection.max_datagram_size().unwrap_or_default();
    let packets = (0..100).map_while(|_| connection.send_datagram(vec![1; largest].into()).ok());
    let tried = held.len() + 1 + packets.count();
    let left = until.saturating_duration_since(Instant::now());
    let ended = timeout(left.min(PATIENCE), connection.closed());
    Ok(Outcome {
        tried: tried as u64,
        cut: u64::from(ended.await.is_ok()),
        ..Outcome::default()
    })
}

/// Asks for a route, and listens; or, by chance, does not, and sends under every number.
async fn take_place(
    connection: quinn::Connection,
    route: [u8; 32],
    until: Instant,
) -> Result<Outcome> {
    let asks = coin()?;
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    let mut outcome = Outcome::default();
    if asks {
        let ask = SLOTS.map(|slot| attach(slot, &route)).concat();
        requests.write_all(&ask).await?;
        outcome.tried = SLOTS.len() as u64;
    }
    let send = async {
        let mut tick = tokio::time::interval(VOICE);
        for slot in (0..=u8::MAX).cycle() {
            tick.tick().await;
            if !asks {
                connection.send_datagram(vec![slot; PACKET].into())?;
                outcome.tried += 1;
            }
        }
        anyhow::Ok(())
    };
    let mut told = Told::default();
    let hold = async { tokio::try_join!(told.take(&connection, &[ATTACHED]), send) };
    let held = timeout_at((Instant::now() + HOLD).min(until).into(), hold).await;
    outcome.cut = u64::from(held.is_ok());
    match asks {
        true => outcome.held = told.frames.min(told.packets),
        false => outcome.told = told.packets,
    }
    Ok(outcome)
}

/// Asks for topics and routes that nobody else has, and holds them.
async fn hold_rooms(connection: quinn::Connection, until: Instant) -> Outcome {
    let mut outcome = Outcome {
        tried: u64::from(ROUTES) + TOPICS as u64,
        connected: 1,
        ..Outcome::default()
    };
    let mut told = Told::default();
    let hold = async {
        let mut random = ChaCha20Rng::from_seed(undertone_node::entropy::os_bytes()?);
        let mut name = || {
            let mut name = [0; 32];
            random.fill_bytes(&mut name);
            name
        };
        let mut ask = preface();
        (1..=ROUTES).for_each(|slot| ask.extend(attach(slot, &name())));
        (0..TOPICS).for_each(|_| ask.extend(hear(&name())));
        let mut requests = connection.open_uni().await?;
        requests.write_all(&ask).await?;
        told.take(&connection, &[REFUSED, UNHEARD]).await
    };
    match timeout_at(until.into(), hold).await {
        Ok(_) => outcome.cut = 1,
        Err(_) => outcome.held = outcome.tried - told.frames,
    }
    outcome
}

/// Says something new on a topic, as large as it may be and as often.
async fn talk(connection: quinn::Connection, topic: [u8; 32], until: Instant) -> Result<Outcome> {
    let mut random = ChaCha20Rng::from_seed(undertone_node::entropy::os_bytes()?);
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    let mut tick = tokio::time::interval(PERMITTED);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut words, mut tried) = (vec![0; SPEECH], 0);
    while Instant::now() < until {
        tick.tick().await;
        random.fill_bytes(&mut words);
        let said = say(&topic, &words);
        let said = timeout_at(until.into(), requests.write_all(&said)).await;
        if !matches!(said, Ok(Ok(()))) {
            break;
        }
        tried += 1;
    }
    Ok(Outcome {
        tried,
        cut: u64::from(connection.close_reason().is_some()),
        ..Outcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_once_however_many_flood() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let spans = vec![
            (at(5), at(7)),
            (at(0), at(3)),
            (at(1), at(2)),
            (at(2), at(4)),
        ];
        assert_eq!(covered(spans), Duration::from_secs(6));
        assert_eq!(covered(Vec::new()), Duration::ZERO);
    }
}

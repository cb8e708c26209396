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

use crate::guest::{Gateway, Port, attach, frame, hear, next_frame, preface, say};

/// Addresses an attacker has, none of which is anybody else's.
const ADDRESSES: u8 = 50;
/// What they do at the same time.
const AT_ONCE: usize = 64;
/// Connection attempts.
const ATTEMPTS: usize = 10_000;
/// Topics and routes guessed on one connection: as many as it may name at once.
const GUESSES: usize = 60;
/// How long an answer that nobody should get is waited for.
const WAIT: Duration = Duration::from_millis(500);
/// Pause after being turned away.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

/// What they try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Ten thousand connections to both ports, half of them given up in the handshake, the others kept.
    Connections,
    /// UDP packets that look like the beginning of QUIC connections.
    Garbage,
    /// Topics and routes guessed, and packets sent on slots nobody gave.
    Guesses,
    /// Control messages as fast as they go, from several connections, again as soon as one is cut.
    Messages,
    /// Packets as fast as they go, likewise.
    Datagrams,
    /// Frames of the largest length that never end, streams that are opened and left, packets too large.
    HalfOpen,
}

impl Attack {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Connections,
        Self::Garbage,
        Self::Guesses,
        Self::Messages,
        Self::Datagrams,
        Self::HalfOpen,
    ];
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// What was tried: attempts, packets, guesses, messages, streams.
    pub tried: u64,
    /// Connections that came about.
    pub connected: u64,
    /// Connections that the relay ended.
    pub cut: u64,
    /// Longest time that somebody flooded before they were cut, or there was no time left, seconds.
    pub slowest_cut: f64,
    /// Things that were told which nobody should have been told.
    pub told: u64,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.tried += other.tried;
        self.connected += other.connected;
        self.cut += other.cut;
        self.slowest_cut = self.slowest_cut.max(other.slowest_cut);
        self.told += other.told;
    }
}

/// Does it, for so long at most, inside a tokio runtime.
///
/// # Errors
/// When no socket can be opened.
pub async fn run(
    attack: Attack,
    hub: SocketAddr,
    entry: SocketAddr,
    time: Duration,
) -> Result<Outcome> {
    let gateways: Vec<Arc<Gateway>> = (1..=ADDRESSES)
        .map(|last| Gateway::at(IpAddr::V4(Ipv4Addr::new(127, 0, 9, last))).map(Arc::new))
        .collect::<Result<_>>()?;
    let until = Instant::now() + time;
    match attack {
        Attack::Connections => connections(gateways, hub, entry, until).await,
        Attack::Garbage => tokio::task::spawn_blocking(move || garbage(entry, until)).await?,
        Attack::Guesses => repeat(gateways, hub, until, guess).await,
        Attack::Messages => repeat(gateways, hub, until, flood_messages).await,
        Attack::Datagrams => repeat(gateways, hub, until, flood_datagrams).await,
        Attack::HalfOpen => repeat(gateways, hub, until, half_open).await,
    }
}

async fn connections(
    gateways: Vec<Arc<Gateway>>,
    hub: SocketAddr,
    entry: SocketAddr,
    until: Instant,
) -> Result<Outcome> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut attempts = JoinSet::new();
    let mut outcome = Outcome::default();
    for number in 0..ATTEMPTS {
        if Instant::now() >= until {
            break;
        }
        let permit = Arc::clone(&room).acquire_owned().await?;
        let gateway = Arc::clone(&gateways[number % gateways.len()]);
        let (to, port) = match number % 4 {
            0 | 1 => (hub, Port::Hub),
            _ => (entry, Port::Entry),
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
            tokio::time::timeout(patience, call).await.ok()?.ok()
        });
    }
    // Whoever got in stays.
    let kept: Vec<_> = attempts.join_all().await.into_iter().flatten().collect();
    outcome.connected = kept.len() as u64;
    tokio::time::sleep_until(until.into()).await;
    outcome.cut = (kept.iter())
        .filter(|connection| connection.close_reason().is_some())
        .count() as u64;
    Ok(outcome)
}

fn garbage(entry: SocketAddr, until: Instant) -> Result<Outcome> {
    let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 9, 1), 0))?;
    let mut random = ChaCha20Rng::seed_from_u64(1);
    let mut outcome = Outcome::default();
    let mut packet = [0; 1_200];
    while Instant::now() < until {
        random.fill_bytes(&mut packet);
        // A long header, Initial, version 1, connection ids of 8 bytes (RFC 9000, 17.2.2).
        packet[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        packet[14] = 8;
        outcome.tried += u64::from(socket.send_to(&packet, entry).is_ok());
    }
    Ok(outcome)
}

/// Does something on one connection after another, several at once, from one address after another.
async fn repeat<F: Future<Output = Result<Outcome>> + Send + 'static>(
    gateways: Vec<Arc<Gateway>>,
    hub: SocketAddr,
    until: Instant,
    what: fn(quinn::Connection, Instant) -> F,
) -> Result<Outcome> {
    const HANDS: usize = 4;
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let gateways: Vec<_> = gateways.iter().skip(hand).step_by(HANDS).cloned().collect();
        hands.spawn(async move {
            let mut outcome = Outcome::default();
            for gateway in gateways.iter().cycle() {
                if Instant::now() >= until {
                    break;
                }
                let Ok(call) = gateway.call(hub, Port::Hub) else {
                    continue;
                };
                match tokio::time::timeout(PATIENCE, call).await {
                    Ok(Ok(connection)) => {
                        outcome.connected += 1;
                        if let Ok(done) = what(connection.clone(), until).await {
                            outcome.add(done);
                        }
                        connection.close(0u32.into(), b"");
                    }
                    _ => tokio::time::sleep(PAUSE).await,
                }
            }
            outcome
        });
    }
    let mut outcome = Outcome::default();
    for done in hands.join_all().await {
        outcome.add(done);
    }
    Ok(outcome)
}

async fn guess(connection: quinn::Connection, _: Instant) -> Result<Outcome> {
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
        connection.send_datagram(vec![slot; 220].into())?;
    }
    let mut answers = connection.accept_uni().await?;
    let mut told = 0;
    let listen = async {
        loop {
            tokio::select! {
                frame = next_frame(&mut answers) => match frame {
                    // Something that somebody said.
                    Ok(frame) => told += u64::from(frame.first() == Some(&0x85)),
                    Err(_) => return,
                },
                packet = connection.read_datagram() => match packet {
                    Ok(_) => told += 1,
                    Err(_) => return,
                },
            }
        }
    };
    let ended = tokio::time::timeout(WAIT, listen).await.is_ok();
    Ok(Outcome {
        tried: GUESSES as u64 + 256,
        cut: u64::from(ended),
        told,
        ..Outcome::default()
    })
}

/// Floods until the connection is cut.
async fn flood_messages(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    let topic = [9; 32];
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    let words = say(&topic, &[1; 100]).repeat(64);
    let begun = Instant::now();
    let mut tried = 0;
    while Instant::now() < until && requests.write_all(&words).await.is_ok() {
        tried += 64;
    }
    Ok(cut(&connection, begun, tried))
}

async fn flood_datagrams(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    requests.write_all(&attach(1, &[9; 32])).await?;
    let begun = Instant::now();
    let mut tried = 0;
    while Instant::now() < until && connection.close_reason().is_none() {
        for _ in 0..64 {
            tried += u64::from(connection.send_datagram(vec![1; 220].into()).is_ok());
        }
        tokio::task::yield_now().await;
    }
    Ok(cut(&connection, begun, tried))
}

fn cut(connection: &quinn::Connection, begun: Instant, tried: u64) -> Outcome {
    Outcome {
        tried,
        cut: u64::from(connection.close_reason().is_some()),
        slowest_cut: begun.elapsed().as_secs_f64(),
        ..Outcome::default()
    }
}

async fn half_open(connection: quinn::Connection, until: Instant) -> Result<Outcome> {
    let mut held = Vec::new();
    let mut tried = 0;
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
    let _ = tokio::time::timeout(WAIT, open).await;
    tried += held.len() as u64;
    let mut requests = connection.open_uni().await?;
    requests.write_all(&preface()).await?;
    if tried.is_multiple_of(2) {
        // The largest frame there is, but for its last byte.
        let largest = frame(0x05, &[&[7; 32], &vec![0; 18 * 1024]]);
        let all_but_one = largest.len() - 1;
        requests.write_all(&largest[..all_but_one]).await?;
    } else {
        requests.write_all(&[0xff; 20_000]).await?;
    }
    if let Some(largest) = connection.max_datagram_size() {
        for _ in 0..100 {
            connection.send_datagram(vec![1; largest].into())?;
        }
    }
    let left = until.saturating_duration_since(Instant::now());
    let ended = tokio::time::timeout(left.min(PATIENCE), connection.closed());
    let cut = u64::from(ended.await.is_ok());
    Ok(Outcome {
        tried: tried + 101,
        cut,
        ..Outcome::default()
    })
}

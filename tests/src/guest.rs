//! A bare QUIC client with a libp2p certificate, which says to a relay whatever it is told to, at its hub or on a line.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use libp2p::identity::Keypair;
use quinn::crypto::rustls::QuicClientConfig;
use tokio::net::UdpSocket;

/// Bytes of a cell.
pub const CELL: usize = 1_100;
/// A line takes a cell as often.
const TICK: Duration = Duration::from_millis(20);
/// Bytes of a cell's number, and of a chunk's head.
const NUMBER: usize = 4;
const HEAD: usize = 2;
const MORE: u16 = 1 << 15;
const BEGUN: u16 = 1 << 14;
const LENGTH: u16 = (1 << 11) - 1;
/// Packets that may wait for cells.
const WAITING: usize = 1_024;
/// Larger packets are attempts to find out how large they may be, which cost a line more than they bring.
const LARGEST: usize = 1_200;

/// A protocol of a relay's ports, as the TLS handshake names it (ALPN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// The hub's: libp2p.
    Hub,
    /// The entry's: lines.
    Entry,
}

/// Where guests come from: one UDP socket for many.
pub struct Gateway(quinn::Endpoint);

impl Gateway {
    /// At any port of this address.
    ///
    /// # Errors
    /// When no socket can be opened. Inside a tokio runtime only.
    pub fn at(address: IpAddr) -> Result<Self> {
        Ok(Self(quinn::Endpoint::client((address, 0).into())?))
    }

    /// Begins a handshake under an identity of its own.
    ///
    /// # Errors
    /// When the handshake cannot even begin.
    pub fn call(&self, to: SocketAddr, port: Port) -> Result<quinn::Connecting> {
        let mut tls = libp2p_tls::make_client_config(&Keypair::generate_ed25519(), None)?;
        if port == Port::Entry {
            tls.alpn_protocols = vec![b"undertone/line/1".to_vec()];
        }
        let crypto = QuicClientConfig::try_from(tls)?;
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport
            .datagram_send_buffer_size(1 << 20)
            .keep_alive_interval(Some(std::time::Duration::from_secs(2)));
        config.transport_config(Arc::new(transport));
        Ok(self.0.connect_with(config, to, "l")?)
    }
}

/// Kinds of a hub's answers (`docs/protocol.md`, 16): the slot is granted.
pub const ATTACHED: u8 = 0x81;
/// The slot is not.
pub const REFUSED: u8 = 0x82;
/// The topic is not heard.
pub const UNHEARD: u8 = 0x83;
/// What was left on a topic.
pub const KEPT: u8 = 0x84;
/// What is said on it.
pub const SAID: u8 = 0x85;

/// A frame of a hub stream (`docs/protocol.md`, 16).
#[must_use]
pub fn frame(kind: u8, body: &[&[u8]]) -> Vec<u8> {
    let length = 1 + body.iter().map(|part| part.len()).sum::<usize>();
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [&length[..], &[kind], &body.concat()].concat()
}

/// The first frame.
#[must_use]
pub fn preface() -> Vec<u8> {
    frame(0x00, &[b"undertone/hub/1"])
}

/// Asks to hear a topic.
#[must_use]
pub fn hear(topic: &[u8; 32]) -> Vec<u8> {
    frame(0x03, &[topic])
}

/// Says something on a topic.
#[must_use]
pub fn say(topic: &[u8; 32], words: &[u8]) -> Vec<u8> {
    frame(0x05, &[topic, words])
}

/// Asks for a route.
#[must_use]
pub fn attach(slot: u8, route: &[u8; 32]) -> Vec<u8> {
    frame(0x01, &[&[slot], route])
}

/// The hub's next frame, kind and body; or an entry's answer.
///
/// # Errors
/// When the stream has ended.
pub async fn next_frame(stream: &mut quinn::RecvStream) -> Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut frame = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut frame).await?;
    Ok(frame)
}

/// What a connection is told until it ends.
#[derive(Debug, Default)]
pub struct Told {
    /// Frames of some kinds.
    pub frames: u64,
    /// Packets.
    pub packets: u64,
}

impl Told {
    /// Counts frames of these kinds, and packets.
    ///
    /// # Errors
    /// When the connection or its stream has ended, and not before.
    pub async fn take(&mut self, connection: &quinn::Connection, kinds: &[u8]) -> Result<()> {
        let mut answers = connection.accept_uni().await?;
        let frames = async {
            loop {
                let kind = next_frame(&mut answers).await?.first().copied();
                self.frames += u64::from(kind.is_some_and(|kind| kinds.contains(&kind)));
            }
        };
        let packets = async {
            loop {
                connection.read_datagram().await?;
                self.packets += 1;
            }
        };
        tokio::select! {
            ended = frames => ended,
            ended = packets => ended,
        }
    }
}

/// Asks an entry for a line to the hub at this IPv4 address, and so many cells a tick (`docs/protocol.md`, 16, *Lines*).
///
/// # Errors
/// When it says no, or nothing.
pub async fn open_line(line: &quinn::Connection, cells: u8, hub: SocketAddr) -> Result<()> {
    let (mut asks, mut answers) = line.open_bi().await?;
    let hub = hub.to_string();
    // CBOR: {0: cells, 1: [hub]}, where a text of less than 24 bytes has its length in its first.
    let open = [
        &[0xa2, 0, cells, 1, 0x81, 0x60 | hub.len() as u8],
        hub.as_bytes(),
    ]
    .concat();
    let length = (open.len() as u16).to_be_bytes();
    asks.write_all(&[&length[..], &open].concat()).await?;
    // {0: 0, …} is a yes.
    let answer = next_frame(&mut answers).await?;
    ensure!(answer.starts_with(&[0xa2, 0, 0]), "no line is opened");
    Ok(())
}

/// A cell as full of chunks as can be: each is a packet of one byte, which the entry hands to the hub.
#[must_use]
pub fn crumbs() -> Vec<u8> {
    let mut cell = vec![0; NUMBER];
    while cell.len() + HEAD < CELL {
        cell.extend([0, 1, 0x55]);
    }
    cell.resize(CELL, 0);
    cell
}

/// Carries over an open line, both ways, what one QUIC endpoint sends to the address that is returned: calling that is
/// calling the hub. As long as the line lasts.
///
/// # Errors
/// When no socket can be opened.
pub async fn carry(line: quinn::Connection) -> Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(TICK);
        let (mut waiting, mut number, mut part) = (VecDeque::new(), 0, Vec::new());
        let (mut packet, mut caller) = ([0; 1_500], None);
        loop {
            tokio::select! {
                received = socket.recv_from(&mut packet) => {
                    let Ok((length, from)) = received else { continue };
                    caller = Some(from);
                    if length <= LARGEST && waiting.len() < WAITING {
                        waiting.push_back((false, packet[..length].to_vec()));
                    }
                }
                _ = tick.tick() => {
                    if line.send_datagram(cell(number, &mut waiting).into()).is_err() {
                        return;
                    }
                    number += 1;
                }
                cell = line.read_datagram() => {
                    let Ok(cell) = cell else { return };
                    packets(&cell, &mut part, |packet| {
                        let _ = caller.map(|caller| socket.try_send_to(packet, caller));
                    });
                }
            }
        }
    });
    Ok(address)
}

/// The next cell, with as much as fits of the packets that wait; whether the first was begun in another goes with each.
fn cell(number: u32, waiting: &mut VecDeque<(bool, Vec<u8>)>) -> Vec<u8> {
    let mut cell = number.to_be_bytes().to_vec();
    while cell.len() + HEAD < CELL
        && let Some((begun, packet)) = waiting.front_mut()
    {
        let rest = packet.split_off(packet.len().min(CELL - cell.len() - HEAD));
        let more = if rest.is_empty() { 0 } else { MORE };
        let begins = if *begun { BEGUN } else { 0 };
        cell.extend((more | begins | packet.len() as u16).to_be_bytes());
        cell.append(packet);
        (*begun, *packet) = (true, rest);
        if more == 0 {
            waiting.pop_front();
        }
    }
    cell.resize(CELL, 0);
    cell
}

/// The packets that a cell completes; `part` is what earlier ones had of one. Of a cell that is lost QUIC makes the best.
fn packets(cell: &[u8], part: &mut Vec<u8>, mut take: impl FnMut(&[u8])) {
    let mut rest = cell.get(NUMBER..).unwrap_or_default();
    while let Some((head, more)) = rest.split_first_chunk() {
        let head = u16::from_be_bytes(*head);
        let length = usize::from(head & LENGTH);
        let Some((chunk, more)) = more.split_at_checked(length).filter(|_| length > 0) else {
            return;
        };
        if head & BEGUN == 0 {
            part.clear();
        }
        part.extend_from_slice(chunk);
        if head & MORE == 0 {
            take(part);
        }
        rest = more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_into_cells_and_come_out_again() {
        let all: Vec<Vec<u8>> = (1_u8..20).map(|n| vec![n; 60 * usize::from(n)]).collect();
        let mut waiting: VecDeque<_> = all.iter().map(|p| (false, p.clone())).collect();
        let (mut came, mut part) = (Vec::new(), Vec::new());
        for number in 0..12 {
            let cell = cell(number, &mut waiting);
            assert_eq!(cell.len(), CELL);
            packets(&cell, &mut part, |packet| came.push(packet.to_vec()));
        }
        assert_eq!(came, all);
    }

    #[test]
    fn crumbs_are_many_packets() {
        let mut many = 0;
        packets(&crumbs(), &mut Vec::new(), |packet| many += packet.len());
        assert_eq!((crumbs().len(), many), (CELL, 365));
    }
}

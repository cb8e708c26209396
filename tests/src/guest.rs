//! A bare QUIC client with a libp2p certificate, which says to a relay whatever it is told to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;
use libp2p::identity::Keypair;
use quinn::crypto::rustls::QuicClientConfig;

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

/// The hub's next frame: kind and body.
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

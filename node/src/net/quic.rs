//! How QUIC is configured: libp2p's handshake, quinn's datagrams.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hkdf::Hkdf;
use libp2p::{PeerId, identity::Keypair};
use quinn::{
    AckFrequencyConfig, AsyncUdpSocket, EndpointConfig, Runtime, TokioRuntime, TransportConfig,
    VarInt,
    crypto::{
        CryptoError, HmacKey,
        rustls::{QuicClientConfig, QuicServerConfig},
    },
};
use rustls::{NoKeyLog, client::Resumption};
use sha2::Sha256;
use socket2::{Domain, Protocol, Socket, Type};

use super::{congestion::FlooredCubic, line, transport::TransportError, twice::Twice};

/// Opens the UDP socket bound to the given local address. Called inside a tokio runtime.
pub type SocketFactory =
    Arc<dyn Fn(SocketAddr) -> io::Result<Arc<dyn AsyncUdpSocket>> + Send + Sync>;

/// A [`SocketFactory`] of plain UDP sockets. One of IPv6 takes nothing of IPv4, so that both can have the same port.
#[must_use]
pub fn udp_sockets() -> SocketFactory {
    Arc::new(|bind| {
        let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
        if bind.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&bind.into())?;
        TokioRuntime.wrap_udp_socket(socket.into())
    })
}

/// A connection without a packet for this long is gone. Voice sends fifty a second, and [`KEEP_ALIVE`] fills silences.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
/// Silence after which a keep-alive is sent.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Round trip assumed before the first measurement: a lost first packet is repeated after three of these.
const INITIAL_RTT: Duration = Duration::from_millis(100);
/// Packets that may overtake one before it is taken for lost, and for how many round trips: cells of a line overtake each other where
/// a network's delay varies, and what is repeated in vain takes the room of what is not.
const REORDERED: u32 = 24;
const LATE: f32 = 1.75;
/// libp2p streams a peer may have open towards us.
const MAX_BIDI_STREAMS: u32 = 64;
/// One stream each way for media routes (`wire`); stock libp2p peers open none.
const MAX_UNI_STREAMS: u32 = 1;
/// Handshakes that may be under way at a listening endpoint before new ones are refused.
const MAX_INCOMING: usize = 256;

/// What stock libp2p speaks (ALPN).
const LIBP2P: &[u8] = b"libp2p";
/// Cells that a line may leave unacknowledged, and for how long: its own cells carry acknowledgements before that.
const LINE_UNACKNOWLEDGED: u32 = 32;
const LINE_ACK_DELAY: Duration = Duration::from_millis(100);
/// Bytes in flight that never hold a line's cells back: a second of the fastest line.
const LINE_FLOOR: u64 = 256 * 1024;

/// Sizes, in bytes, that differ between a participant and a relay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Buffers {
    /// Unsent datagrams of one connection; the oldest is dropped for a new one.
    pub(crate) datagram_send: usize,
    /// Unread datagrams of one connection; the oldest is dropped for a new one.
    pub(crate) datagram_receive: usize,
    /// Unread bytes of one stream.
    pub(crate) stream_window: u32,
    /// Unread bytes of all streams of one connection.
    pub(crate) connection_window: u32,
    /// Congestion window floor.
    pub(crate) floor: u64,
}

impl Buffers {
    /// A participant sends one voice to each connection: about 160 ms of it may wait.
    pub(crate) const NODE: Self = Self {
        datagram_send: 4 * 1024,
        datagram_receive: 32 * 1024,
        stream_window: 256 * 1024,
        connection_window: 1024 * 1024,
        floor: 16 * 1024,
    };
    /// A relay sends up to fifteen voices to each connection: about 100 ms of them may wait. In flight at a round trip of 200 ms they are
    /// 31 kB, and records need as much again: voice goes first, so with less room streams stand still.
    pub(crate) const RELAY: Self = Self {
        datagram_send: 24 * 1024,
        datagram_receive: 16 * 1024,
        stream_window: 128 * 1024,
        connection_window: 256 * 1024,
        floor: 96 * 1024,
    };
}

/// Everything needed to open endpoints and to dial.
#[derive(Clone)]
pub(crate) struct QuicConfig {
    keypair: Keypair,
    protocol: &'static [u8],
    transport: Arc<TransportConfig>,
    server: quinn::ServerConfig,
    endpoint: EndpointConfig,
}

impl QuicConfig {
    /// Of connections that carry libp2p's streams, and voice on datagrams.
    pub(crate) fn new(keypair: &Keypair, buffers: Buffers) -> Result<Self, TransportError> {
        Self::with(keypair, LIBP2P, transport_config(buffers))
    }

    /// Of lines, which carry cells on datagrams and nothing else.
    pub(crate) fn line(keypair: &Keypair) -> Result<Self, TransportError> {
        Self::with(keypair, line::PROTOCOL, line_config())
    }

    fn with(
        keypair: &Keypair,
        protocol: &'static [u8],
        transport: TransportConfig,
    ) -> Result<Self, TransportError> {
        let transport = Arc::new(transport);

        let mut tls =
            libp2p_tls::make_server_config(keypair).map_err(|_| TransportError::Certificate)?;
        // libp2p-tls logs session secrets to the file named by SSLKEYLOGFILE; Undertone does not.
        tls.key_log = Arc::new(NoKeyLog {});
        tls.alpn_protocols = vec![protocol.to_vec()];
        // No resumption: a ticket would recognise a returning peer, and a fresh handshake is one round trip anyway.
        tls.send_tls13_tickets = 0;
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(
            QuicServerConfig::try_from(tls).map_err(|_| TransportError::Certificate)?,
        ));
        server.transport_config(Arc::clone(&transport));
        server.max_incoming(MAX_INCOMING);
        // A member whose NAT forgets its port, or who walks from one network to another, keeps the connection.
        server.migration(true);

        // A restarted relay of the same identity thus resets its clients' connections at once instead of letting
        // them time out (RFC 9000 §10.3.2).
        let endpoint = keypair
            .derive_secret(b"undertone/1/quic stateless reset")
            .map(|secret| EndpointConfig::new(Arc::new(ResetKey(secret))))
            .unwrap_or_default();

        Ok(Self {
            keypair: keypair.clone(),
            protocol,
            transport,
            server,
            endpoint,
        })
    }

    /// An endpoint over `socket`, inside a tokio runtime. With `listens` it also answers.
    pub(crate) fn endpoint(
        &self,
        socket: Arc<dyn AsyncUdpSocket>,
        listens: bool,
    ) -> io::Result<quinn::Endpoint> {
        let mut config = self.endpoint.clone();
        config.supported_versions(vec![1]);
        let (server, socket) = match listens {
            true => (Some(self.server.clone()), socket),
            false => (None, Arc::new(Twice(socket)) as Arc<dyn AsyncUdpSocket>),
        };
        quinn::Endpoint::new_with_abstract_socket(config, server, socket, Arc::new(TokioRuntime))
    }

    /// The configuration for one dial. With `peer`, anybody else fails the handshake, before seeing our certificate.
    pub(crate) fn client(
        &self,
        peer: Option<PeerId>,
    ) -> Result<quinn::ClientConfig, TransportError> {
        let mut tls = libp2p_tls::make_client_config(&self.keypair, peer)
            .map_err(|_| TransportError::Certificate)?;
        tls.key_log = Arc::new(NoKeyLog {});
        tls.alpn_protocols = vec![self.protocol.to_vec()];
        tls.resumption = Resumption::disabled();
        let crypto = QuicClientConfig::try_from(tls).map_err(|_| TransportError::Certificate)?;
        let mut client = quinn::ClientConfig::new(Arc::new(crypto));
        client.transport_config(Arc::clone(&self.transport));
        Ok(client)
    }
}

fn transport_config(buffers: Buffers) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(MAX_BIDI_STREAMS.into())
        .max_concurrent_uni_streams(MAX_UNI_STREAMS.into())
        .datagram_send_buffer_size(buffers.datagram_send)
        .datagram_receive_buffer_size(Some(buffers.datagram_receive))
        .stream_receive_window(buffers.stream_window.into())
        .receive_window(buffers.connection_window.into())
        .send_window(u64::from(buffers.connection_window))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(
            VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into(),
        ))
        .initial_rtt(INITIAL_RTT)
        .packet_threshold(REORDERED)
        .time_threshold(LATE)
        // The spin bit shows the round trip to whoever watches the wire.
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(FlooredCubic {
            floor_bytes: buffers.floor,
        }));
    config
}

/// Every packet of a line has one size, and nothing but the two clocks of its ends says when one goes out: each is filled up
/// to the size that all paths carry, none looks for a larger one, and what is to be acknowledged waits for the next cell.
fn line_config() -> TransportConfig {
    let mut rarely = AckFrequencyConfig::default();
    rarely
        .ack_eliciting_threshold(LINE_UNACKNOWLEDGED.into())
        .max_ack_delay(Some(LINE_ACK_DELAY))
        .reordering_threshold(0_u32.into());
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(1_u32.into())
        .max_concurrent_uni_streams(0_u32.into())
        .pad_to_mtu(true)
        .mtu_discovery_config(None)
        .ack_frequency_config(Some(rarely))
        .datagram_send_buffer_size(4 * line::CELL)
        .datagram_receive_buffer_size(Some(32 * line::CELL))
        .max_idle_timeout(Some(
            VarInt::from_u32(IDLE_TIMEOUT.as_millis() as u32).into(),
        ))
        .initial_rtt(INITIAL_RTT)
        .allow_spin(false)
        .congestion_controller_factory(Arc::new(FlooredCubic {
            floor_bytes: LINE_FLOOR,
        }));
    config
}

/// Stateless reset tokens: HMAC-SHA256 (HKDF-Extract is that, RFC 5869 §2.2) under a key derived from the identity.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn tag(&self, data: &[u8]) -> [u8; 32] {
        Hkdf::<Sha256>::extract(Some(&self.0), data).0.into()
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        for (out, byte) in signature_out.iter_mut().zip(self.tag(data)) {
            *out = byte;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = self.tag(data);
        let differs = tag
            .iter()
            .zip(signature)
            .fold(0u8, |acc, (a, b)| acc | (a ^ b));
        if signature.len() == tag.len() && differs == 0 {
            Ok(())
        } else {
            Err(CryptoError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_families_have_room_at_one_port() {
        let sockets = udp_sockets();
        let one = sockets(([0, 0, 0, 0], 0).into()).unwrap();
        let port = one.local_addr().unwrap().port();
        match std::net::UdpSocket::bind("[::1]:0") {
            Ok(_) => assert!(sockets((std::net::Ipv6Addr::UNSPECIFIED, port).into()).is_ok()),
            Err(error) => eprintln!("SKIPPED: no IPv6 here: {error}"),
        }
        assert!(sockets(([0, 0, 0, 0], port).into()).is_err(), "it is taken");
    }

    #[test]
    fn reset_tags_verify_and_differ_by_key() {
        let (a, b) = (ResetKey([1; 32]), ResetKey([2; 32]));
        let mut tag = [0; 32];
        a.sign(b"connection", &mut tag);
        assert!(a.verify(b"connection", &tag).is_ok());
        assert!(b.verify(b"connection", &tag).is_err());
        assert!(a.verify(b"connection", &tag[..31]).is_err());
    }
}

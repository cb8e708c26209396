//! A libp2p transport over quinn endpoints of our own.
//!
//! libp2p's QUIC transport binds its own socket, disables datagrams and hides the connection. This one speaks the same
//! handshake (TLS 1.3 with libp2p's certificate extension, ALPN `libp2p`), so stock libp2p peers connect to it and are
//! dialled by it, but leaves the connection visible to the media side through the [`Registry`].
//!
//! Endpoints are bound before the transport exists; listening only begins to answer on one of them. There is no hole
//! punching, no port reuse policy and no interface watching: a dial leaves from the endpoint of its address family.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        Endpoint as Side,
        transport::{DialOpts, ListenerId, TransportError as Refused, TransportEvent},
    },
};
use rustls::pki_types::CertificateDer;

use super::{
    address::{RelayAddress, is_dialable, parse_quic, quic_multiaddr},
    gate::{Answer, Gate, Place},
    muxer::Muxer,
    quic::QuicConfig,
    registry::Registry,
};

/// A handshake that takes longer is given up.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// What went wrong on a connection, or on the way to one.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The connection ended.
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
    /// The dial could not begin.
    #[error(transparent)]
    Connect(#[from] quinn::ConnectError),
    /// No handshake within five seconds.
    #[error("the handshake timed out")]
    HandshakeTimeout,
    /// The peer showed no libp2p certificate, or ours could not be made.
    #[error("no usable certificate")]
    Certificate,
    /// The peer is blocked.
    #[error("the peer is blocked")]
    Blocked,
    /// This node listens on no such address.
    #[error("no endpoint bound to that address")]
    NoSuchEndpoint,
    /// A relayed circle dials its relay and nothing else.
    #[error("dialling is limited to the circle's relay")]
    DialForbidden,
}

/// Whom this transport may dial. Held here, at the lowest layer, so that nothing above can fall back to less.
#[derive(Debug, Clone)]
pub(crate) enum DialPolicy {
    /// Anybody (direct circles, and relays that look for others).
    Anyone,
    /// The hubs of a relayed circle.
    Only(Vec<RelayAddress>),
    /// Nobody (relays by themselves).
    Nobody,
}

impl DialPolicy {
    fn permits(&self, addr: SocketAddr, peer: Option<PeerId>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Only(hubs) => (hubs.iter()).any(|hub| hub.addr == addr && peer == Some(hub.peer)),
            Self::Nobody => false,
        }
    }
}

type Established = (PeerId, Muxer);
type Upgrade = BoxFuture<'static, Result<Established, TransportError>>;
type Event = TransportEvent<Upgrade, TransportError>;

struct Listener {
    id: ListenerId,
    endpoint: quinn::Endpoint,
    local: Multiaddr,
    accept: BoxFuture<'static, Option<quinn::Incoming>>,
}

/// See the module.
pub(crate) struct QuicTransport {
    config: QuicConfig,
    endpoints: Vec<quinn::Endpoint>,
    policy: DialPolicy,
    registry: Arc<Registry>,
    gate: Arc<Gate>,
    listeners: Vec<Listener>,
    ready: VecDeque<Event>,
    waker: Option<Waker>,
}

impl QuicTransport {
    pub(crate) fn new(
        config: QuicConfig,
        endpoints: Vec<quinn::Endpoint>,
        policy: DialPolicy,
        registry: Arc<Registry>,
        gate: Arc<Gate>,
    ) -> Self {
        Self {
            config,
            endpoints,
            policy,
            registry,
            gate,
            listeners: Vec::new(),
            ready: VecDeque::new(),
            waker: None,
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Transport for QuicTransport {
    type Output = Established;
    type Error = TransportError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), Refused<TransportError>> {
        let Some((wanted, _)) = parse_quic(&addr) else {
            return Err(Refused::MultiaddrNotSupported(addr));
        };
        let endpoint = self
            .endpoints
            .iter()
            .find(|e| e.local_addr().is_ok_and(|bound| bound == wanted))
            .ok_or(Refused::Other(TransportError::NoSuchEndpoint))?
            .clone();
        let local = quic_multiaddr(wanted);
        self.ready.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: local.clone(),
        });
        let accept = accept(&endpoint);
        self.listeners.push(Listener {
            id,
            endpoint,
            local,
            accept,
        });
        self.wake();
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let Some(at) = self.listeners.iter().position(|l| l.id == id) else {
            return false;
        };
        let listener = self.listeners.swap_remove(at);
        listener.endpoint.set_server_config(None);
        self.ready.push_back(TransportEvent::ListenerClosed {
            listener_id: id,
            reason: Ok(()),
        });
        self.wake();
        true
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Upgrade, Refused<TransportError>> {
        let (remote, peer) = match parse_quic(&addr) {
            Some((remote, peer)) if is_dialable(&remote) && opts.role == Side::Dialer => {
                (remote, peer)
            }
            _ => return Err(Refused::MultiaddrNotSupported(addr)),
        };
        if !self.policy.permits(remote, peer) {
            return Err(Refused::Other(TransportError::DialForbidden));
        }
        if peer.is_some_and(|peer| self.registry.is_blocked(&peer)) {
            return Err(Refused::Other(TransportError::Blocked));
        }
        let endpoint = self
            .endpoints
            .iter()
            .find(|e| {
                e.local_addr()
                    .is_ok_and(|local| local.is_ipv4() == remote.is_ipv4())
            })
            .ok_or(Refused::MultiaddrNotSupported(addr))?
            .clone();
        let config = self.config.client(peer).map_err(Refused::Other)?;
        let registry = Arc::clone(&self.registry);
        Ok(async move {
            // libp2p authenticates by certificate, not by name; rustls wants some name, stock libp2p sends this one.
            handshake(endpoint.connect_with(config, remote, "l")?, registry, None).await
        }
        .boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        let this = &mut *self;
        if let Some(event) = this.ready.pop_front() {
            return Poll::Ready(event);
        }
        for at in 0..this.listeners.len() {
            let Some(listener) = this.listeners.get_mut(at) else {
                break;
            };
            while let Poll::Ready(incoming) = listener.accept.poll_unpin(cx) {
                let listener_id = listener.id;
                let Some(incoming) = incoming else {
                    this.listeners.swap_remove(at);
                    return Poll::Ready(TransportEvent::ListenerClosed {
                        listener_id,
                        reason: Ok(()),
                    });
                };
                listener.accept = accept(&listener.endpoint);
                let remote = incoming.remote_address();
                let Some((connecting, place)) = pass(&this.gate, incoming) else {
                    continue;
                };
                let registry = Arc::clone(&this.registry);
                return Poll::Ready(match connecting {
                    Ok(connecting) => TransportEvent::Incoming {
                        listener_id,
                        upgrade: handshake(connecting, registry, Some(place)).boxed(),
                        local_addr: listener.local.clone(),
                        send_back_addr: quic_multiaddr(remote),
                    },
                    Err(error) => TransportEvent::ListenerError {
                        listener_id,
                        error: error.into(),
                    },
                });
            }
        }
        this.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn accept(endpoint: &quinn::Endpoint) -> BoxFuture<'static, Option<quinn::Incoming>> {
    let endpoint = endpoint.clone();
    async move { endpoint.accept().await }.boxed()
}

/// Somebody at the gate: in, or answered already.
pub(crate) fn pass(
    gate: &Arc<Gate>,
    incoming: quinn::Incoming,
) -> Option<(Result<quinn::Connecting, quinn::ConnectionError>, Place)> {
    let (remote, proven) = (
        incoming.remote_address(),
        incoming.remote_address_validated(),
    );
    match gate.ask(remote, proven, Instant::now()) {
        Answer::Welcome(place) => return Some((incoming.accept(), place)),
        Answer::Prove => {
            // Whoever brought a token back is proven, and is not asked again.
            if let Err(error) = incoming.retry() {
                error.into_incoming().ignore();
            }
        }
        Answer::Refuse => incoming.refuse(),
    }
    None
}

async fn handshake(
    connecting: quinn::Connecting,
    registry: Arc<Registry>,
    mut place: Option<Place>,
) -> Result<Established, TransportError> {
    let connection = tokio::time::timeout(HANDSHAKE_TIMEOUT, connecting)
        .await
        .map_err(|_| TransportError::HandshakeTimeout)??;
    let peer = authenticated_peer(&connection)?;
    let registration = registry
        .admit(peer, &connection)
        .await
        .ok_or(TransportError::Blocked)?;
    if let Some(place) = &mut place {
        place.established(connection.clone());
    }
    Ok((peer, Muxer::new(connection, registration, place)))
}

/// Whose certificate the handshake verified.
fn authenticated_peer(connection: &quinn::Connection) -> Result<PeerId, TransportError> {
    let identity = connection
        .peer_identity()
        .ok_or(TransportError::Certificate)?;
    let certificates = identity
        .downcast::<Vec<CertificateDer<'static>>>()
        .map_err(|_| TransportError::Certificate)?;
    let certificate = certificates.first().ok_or(TransportError::Certificate)?;
    Ok(libp2p_tls::certificate::parse(certificate)
        .map_err(|_| TransportError::Certificate)?
        .peer_id())
}

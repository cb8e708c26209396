//! libp2p streams on a quinn connection: the half of the connection that libp2p sees.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, FutureExt, future::BoxFuture, ready};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::{
    address::quic_multiaddr, gate::Place, registry::Registration, transport::TransportError,
};

type OpenedStream = Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>;

/// Bidirectional streams of one connection. Dropping it closes the connection and forgets it in the registry, so
/// that a connection libp2p refuses or gives up carries no media either.
pub(crate) struct Muxer {
    connection: quinn::Connection,
    incoming: Option<BoxFuture<'static, OpenedStream>>,
    outgoing: Option<BoxFuture<'static, OpenedStream>>,
    closing: Option<BoxFuture<'static, quinn::ConnectionError>>,
    remote: SocketAddr,
    _registration: Registration,
    /// At our gate, of a connection that came from outside.
    _place: Option<Place>,
}

impl Muxer {
    pub(crate) fn new(
        connection: quinn::Connection,
        registration: Registration,
        place: Option<Place>,
    ) -> Self {
        let remote = connection.remote_address();
        Self {
            connection,
            incoming: None,
            outgoing: None,
            closing: None,
            remote,
            _registration: registration,
            _place: place,
        }
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        self.connection.close(0u32.into(), b"");
    }
}

impl StreamMuxer for Muxer {
    type Substream = Stream;
    type Error = TransportError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, TransportError>> {
        let this = self.get_mut();
        let incoming = this.incoming.get_or_insert_with(|| {
            let connection = this.connection.clone();
            async move { connection.accept_bi().await }.boxed()
        });
        let opened = ready!(incoming.poll_unpin(cx));
        this.incoming = None;
        Poll::Ready(Ok(Stream::new(opened?)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, TransportError>> {
        let this = self.get_mut();
        let outgoing = this.outgoing.get_or_insert_with(|| {
            let connection = this.connection.clone();
            async move { connection.open_bi().await }.boxed()
        });
        let opened = ready!(outgoing.poll_unpin(cx));
        this.outgoing = None;
        Poll::Ready(Ok(Stream::new(opened?)))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, TransportError>> {
        // quinn follows a peer to its new address by itself; libp2p only wants to know. Nothing wakes us for it, so
        // it is noticed at the next poll.
        let remote = self.connection.remote_address();
        if remote == self.remote {
            return Poll::Pending;
        }
        self.remote = remote;
        Poll::Ready(Ok(StreamMuxerEvent::AddressChange(quic_multiaddr(remote))))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let this = self.get_mut();
        let closing = this.closing.get_or_insert_with(|| {
            this.connection.close(0u32.into(), b"");
            let connection = this.connection.clone();
            async move { connection.closed().await }.boxed()
        });
        match ready!(closing.poll_unpin(cx)) {
            quinn::ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            error => Poll::Ready(Err(error.into())),
        }
    }
}

/// One libp2p stream.
pub(crate) struct Stream {
    send: quinn::SendStream,
    recv: quinn::RecvStream,
    /// How closing our side went; libp2p may ask again.
    closed: Option<Result<(), io::ErrorKind>>,
}

impl Stream {
    fn new((send, recv): (quinn::SendStream, quinn::RecvStream)) -> Self {
        Self {
            send,
            recv,
            closed: None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(Err(_)) = self.closed {
            return Poll::Ready(Ok(0));
        }
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.send), cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(result) = self.closed {
            return Poll::Ready(result.map_err(Into::into));
        }
        let result = ready!(AsyncWrite::poll_close(Pin::new(&mut self.send), cx));
        self.closed = Some(result.as_ref().copied().map_err(io::Error::kind));
        Poll::Ready(result)
    }
}

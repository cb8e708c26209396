//! A socket that says everything twice until a connection is there.
//!
//! What is lost of a handshake is repeated after 0.3 s at first, then after twice as long each time; and the last word of whoever
//! dials after one to three seconds, as QUIC's timer knows one round trip by then, one that a lost first packet made long (RFC
//! 9002 §6.2). Until then nothing comes through. A second copy, a little later, costs a packet, and keeps that to one time in four
//! hundred where one packet in twenty is lost.
//!
//! Only for endpoints that do not listen: who answers may send three times what came from an address that is not proven, and
//! no more (RFC 9000 §8.1).

use std::{
    fmt,
    io::{self, IoSliceMut},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit},
};
use tokio::runtime::Handle;

/// How much later the copy goes: not with what is lost together, and while an answer is waited for.
pub(crate) const LATER: Duration = Duration::from_millis(60);
/// How long it waits for room.
const LATEST: Duration = Duration::from_millis(500);

/// See the module.
pub(crate) struct Twice(pub(crate) Arc<dyn AsyncUdpSocket>);

impl Twice {
    fn again(&self, transmit: &Transmit<'_>) {
        if !is_of_handshake(transmit.contents) {
            return;
        }
        let copy = Copy {
            destination: transmit.destination,
            ecn: transmit.ecn,
            contents: transmit.contents.to_vec(),
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        if let Ok(runtime) = Handle::try_current() {
            let socket = Arc::clone(&self.0);
            runtime.spawn(async move {
                tokio::time::sleep(LATER).await;
                let _ = tokio::time::timeout(LATEST, copy.send(socket)).await;
            });
        }
    }
}

/// Whether a datagram is of a handshake: begins with a packet of a long header (RFC 9000 §17.2).
pub(crate) fn is_of_handshake(datagram: &[u8]) -> bool {
    const LONG_HEADER: u8 = 1 << 7;
    datagram
        .first()
        .is_some_and(|first| first & LONG_HEADER != 0)
}

struct Copy {
    destination: SocketAddr,
    ecn: Option<EcnCodepoint>,
    contents: Vec<u8>,
    segment_size: Option<usize>,
    src_ip: Option<IpAddr>,
}

impl Copy {
    async fn send(&self, socket: Arc<dyn AsyncUdpSocket>) {
        let mut room = Arc::clone(&socket).create_io_poller();
        let transmit = Transmit {
            destination: self.destination,
            ecn: self.ecn,
            contents: &self.contents,
            segment_size: self.segment_size,
            src_ip: self.src_ip,
        };
        while let Err(error) = socket.try_send(&transmit)
            && error.kind() == io::ErrorKind::WouldBlock
            && std::future::poll_fn(|cx| room.as_mut().poll_writable(cx))
                .await
                .is_ok()
        {}
    }
}

impl fmt::Debug for Twice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Twice")
    }
}

impl AsyncUdpSocket for Twice {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.0).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.0.try_send(transmit)?;
        self.again(transmit);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.0.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.0.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.0.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use quinn::Runtime;

    use super::*;

    /// A socket on which all that is sent is lost, and noted.
    #[derive(Debug, Default)]
    struct Noted(Mutex<Vec<Vec<u8>>>);

    impl AsyncUdpSocket for Noted {
        fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            quinn::TokioRuntime
                .wrap_udp_socket(socket)
                .unwrap()
                .create_io_poller()
        }

        fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
            self.0.lock().unwrap().push(transmit.contents.to_vec());
            Ok(())
        }

        fn poll_recv(
            &self,
            _: &mut Context<'_>,
            _: &mut [IoSliceMut<'_>],
            _: &mut [RecvMeta],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(([127, 0, 0, 1], 1).into())
        }
    }

    #[tokio::test]
    async fn a_handshake_is_said_twice_and_nothing_else_is() {
        let noted = Arc::new(Noted::default());
        let twice = Twice(Arc::clone(&noted) as Arc<dyn AsyncUdpSocket>);
        let say = |contents: &[u8]| {
            let transmit = Transmit {
                destination: ([127, 0, 0, 1], 2).into(),
                ecn: None,
                contents,
                segment_size: None,
                src_ip: None,
            };
            twice.try_send(&transmit).unwrap();
        };
        say(&[0xe3, 1]);
        say(&[0x43, 2]);
        assert_eq!(noted.0.lock().unwrap().len(), 2, "one now");
        while noted.0.lock().unwrap().len() < 3 {
            tokio::time::sleep(LATER).await;
        }
        let sent = noted.0.lock().unwrap().clone();
        assert_eq!(sent, [[0xe3, 1], [0x43, 2], [0xe3, 1]]);
    }
}

//! A UDP socket that loses a fraction of what is sent through it.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use undertone_node::net::{SocketFactory, udp_sockets};

/// Sockets that lose each datagram sent with this probability, 0.0–1.0, the same ones for the same seed.
pub fn lossy_sockets(loss: f64, seed: u64) -> SocketFactory {
    let plain = udp_sockets();
    if loss <= 0.0 {
        return plain;
    }
    let seeds = Mutex::new(ChaCha20Rng::seed_from_u64(seed));
    Arc::new(move |bind| {
        let seed = lock(&seeds).next_u64();
        Ok(Arc::new(LossySocket {
            inner: plain(bind)?,
            loss,
            rng: Mutex::new(ChaCha20Rng::seed_from_u64(seed)),
        }))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct LossySocket {
    inner: Arc<dyn AsyncUdpSocket>,
    loss: f64,
    rng: Mutex<ChaCha20Rng>,
}

impl fmt::Debug for LossySocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LossySocket({})", self.loss)
    }
}

impl AsyncUdpSocket for LossySocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let draw = (lock(&self.rng).next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        match draw < self.loss {
            true => Ok(()),
            false => self.inner.try_send(transmit),
        }
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    // One datagram a transmit, so that each is lost on its own.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

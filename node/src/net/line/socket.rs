//! The end of a line as a UDP socket: a QUIC endpoint on it thinks that it sends packets to its hub.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, IoSliceMut},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};

use super::cell::{CELL, Packer};

/// Packets that may wait for an endpoint; the oldest goes for a new one.
const WAITING: usize = 256;

/// What a line and the sockets on it share.
#[derive(Debug)]
pub(crate) struct Ends {
    /// Where each channel leads.
    hubs: Vec<SocketAddr>,
    out: Mutex<Outbound>,
    inbound: [Mutex<Inbound>; 2],
}

#[derive(Debug)]
struct Outbound {
    packer: Packer,
    /// Connections that wait for room.
    wakers: Vec<Waker>,
}

impl Outbound {
    /// No more than the next cell waits here: what waits in QUIC instead goes voice first, and is never too old.
    fn has_room(&self) -> bool {
        self.packer.waiting() < CELL
    }
}

#[derive(Debug, Default)]
struct Inbound {
    packets: VecDeque<(SocketAddr, Bytes)>,
    waker: Option<Waker>,
}

impl Ends {
    pub(crate) fn new(hubs: Vec<SocketAddr>, packer: Packer) -> Arc<Self> {
        Arc::new(Self {
            hubs,
            out: Mutex::new(Outbound {
                packer,
                wakers: Vec::new(),
            }),
            inbound: Default::default(),
        })
    }

    pub(crate) fn hubs(&self) -> &[SocketAddr] {
        &self.hubs
    }

    /// The next cell to send.
    pub(crate) fn cell(&self) -> Bytes {
        let mut out = lock(&self.out);
        let cell = out.packer.cell();
        if out.has_room() {
            out.wakers.drain(..).for_each(Waker::wake);
        }
        cell
    }

    /// A packet came from this channel.
    pub(crate) fn deliver(&self, channel: u8, packet: Bytes) {
        let Some(hub) = self.hubs.get(usize::from(channel)) else {
            return;
        };
        let mut inbound = lock(self.inbound(*hub));
        if inbound.packets.len() >= WAITING {
            inbound.packets.pop_front();
        }
        inbound.packets.push_back((*hub, packet));
        if let Some(waker) = inbound.waker.take() {
            waker.wake();
        }
    }

    /// A socket for the hubs of `bind`'s address family.
    pub(crate) fn socket(self: &Arc<Self>, bind: SocketAddr) -> Arc<dyn AsyncUdpSocket> {
        Arc::new(LineSocket {
            ends: Arc::clone(self),
            bind,
        })
    }

    fn inbound(&self, of: SocketAddr) -> &Mutex<Inbound> {
        let [four, six] = &self.inbound;
        if of.is_ipv4() { four } else { six }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct LineSocket {
    ends: Arc<Ends>,
    bind: SocketAddr,
}

impl fmt::Debug for LineSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LineSocket")
    }
}

impl AsyncUdpSocket for LineSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room {
            ends: Arc::clone(&self.ends),
            waker: None,
        })
    }

    /// What leads nowhere is lost, as on any network.
    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let hubs = self.ends.hubs.iter();
        let channel = hubs.zip(0_u8..).find(|(h, _)| **h == transmit.destination);
        if let Some((_, channel)) = channel {
            let mut out = lock(&self.ends.out);
            if !out.has_room() {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let packet = Bytes::copy_from_slice(transmit.contents);
            out.packer.push(channel, packet);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut inbound = lock(self.ends.inbound(self.bind));
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some((addr, packet)) = inbound.packets.pop_front() else {
                break;
            };
            let length = packet.len().min(buf.len());
            buf[..length].copy_from_slice(&packet[..length]);
            *meta = RecvMeta {
                addr,
                len: length,
                stride: length,
                ecn: None,
                dst_ip: None,
            };
            filled += 1;
        }
        if filled == 0 {
            inbound.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.bind)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

/// Tells a connection when there is room for its next packet.
struct Room {
    ends: Arc<Ends>,
    /// Whom it told last that it would.
    waker: Option<Waker>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Room")
    }
}

impl UdpPoller for Room {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { ends, waker } = self.get_mut();
        let mut out = lock(&ends.out);
        if out.has_room() {
            return Poll::Ready(Ok(()));
        }
        if !out.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            out.wakers.push(cx.waker().clone());
        }
        *waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(mine) = self.waker.take() {
            let mut out = lock(&self.ends.out);
            out.wakers.retain(|waker| !waker.will_wake(&mine));
        }
    }
}

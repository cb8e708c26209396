//! UDP sockets behind a bad line: packets come late, out of order, twice or never, on the way out and on the way in.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use quinn::udp::{EcnCodepoint, RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use undertone_node::net::SocketFactory;

use crate::person::lock;

/// Packets under way at most, in one direction; more are lost, as in a router.
const QUEUE: usize = 4_096;
/// Largest packet.
const PACKET: usize = 2_048;

/// What happens to packets in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Fraction that is lost, 0.0–1.0.
    pub loss: f64,
    /// Fraction that comes twice.
    pub twice: f64,
    /// How late they are in the middle.
    pub delay: Duration,
    /// How much earlier or later at most, each for itself: so they overtake each other.
    pub jitter: Duration,
}

impl Weather {
    fn is_fair(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} % of packets lost, {:.1} % doubled, {} ± {} ms late",
            100.0 * self.loss,
            100.0 * self.twice,
            self.delay.as_millis(),
            self.jitter.as_millis()
        )
    }
}

/// Sockets of `inner` behind such a line, the same one for the same seed. To be opened inside a tokio runtime.
pub fn sockets(inner: SocketFactory, out: Weather, back: Weather, seed: u64) -> SocketFactory {
    if out.is_fair() && back.is_fair() {
        return inner;
    }
    let seeds = Mutex::new(ChaCha20Rng::seed_from_u64(seed));
    Arc::new(move |bind| {
        let line = |weather| Line::new(weather, lock(&seeds).next_u64());
        let (out, back, inner) = (line(out), line(back), inner(bind)?);
        let arrived = Arc::<Mutex<Arrived>>::default();
        let tasks = [
            tokio::spawn(send(Arc::clone(&inner), Arc::clone(&out))),
            tokio::spawn(receive(Arc::clone(&inner), Arc::clone(&back))),
            tokio::spawn(arrive(back, Arc::clone(&arrived))),
        ];
        Ok(Arc::new(Socket {
            inner,
            out,
            arrived,
            tasks: tasks.map(|task| task.abort_handle()),
        }))
    })
}

#[derive(Clone)]
struct Packet {
    /// Where it goes, or where it came from.
    peer: SocketAddr,
    ecn: Option<EcnCodepoint>,
    bytes: Vec<u8>,
}

/// One direction: a queue by the time at which packets are due.
struct Line {
    weather: Weather,
    rng: Mutex<ChaCha20Rng>,
    under_way: Mutex<UnderWay>,
    changed: Notify,
}

#[derive(Default)]
struct UnderWay {
    number: u64,
    packets: BTreeMap<(Instant, u64), Packet>,
}

impl Line {
    fn new(weather: Weather, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            weather,
            rng: Mutex::new(ChaCha20Rng::seed_from_u64(seed)),
            under_way: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn enter(&self, packet: Packet) {
        let Weather {
            loss,
            twice,
            delay,
            jitter,
        } = self.weather;
        let mut rng = lock(&self.rng);
        let mut draw = || (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        if draw() < loss {
            return;
        }
        let times = 1 + usize::from(draw() < twice);
        let mut under_way = lock(&self.under_way);
        for _ in 0..times {
            if under_way.packets.len() >= QUEUE {
                return;
            }
            let due = Instant::now() + delay + jitter.mul_f64(2.0 * draw());
            let due = due.checked_sub(jitter).unwrap_or(due);
            under_way.number += 1;
            let key = (due, under_way.number);
            under_way.packets.insert(key, packet.clone());
        }
        self.changed.notify_one();
    }

    /// The next packet, when it is due.
    async fn next(&self) -> Packet {
        loop {
            let changed = self.changed.notified();
            let first = lock(&self.under_way).packets.keys().next().copied();
            let Some((due, _)) = first else {
                changed.await;
                continue;
            };
            if due <= Instant::now()
                && let Some((_, packet)) = lock(&self.under_way).packets.pop_first()
            {
                return packet;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = changed => {}
            }
        }
    }
}

async fn send(socket: Arc<dyn AsyncUdpSocket>, line: Arc<Line>) {
    let mut room = Arc::clone(&socket).create_io_poller();
    loop {
        let packet = line.next().await;
        let transmit = Transmit {
            destination: packet.peer,
            ecn: packet.ecn,
            contents: &packet.bytes,
            segment_size: None,
            src_ip: None,
        };
        while let Err(error) = socket.try_send(&transmit)
            && error.kind() == io::ErrorKind::WouldBlock
            && poll_fn(|cx| room.as_mut().poll_writable(cx)).await.is_ok()
        {}
    }
}

async fn receive(socket: Arc<dyn AsyncUdpSocket>, line: Arc<Line>) {
    let mut buffer = vec![0; PACKET * socket.max_receive_segments()];
    loop {
        let mut meta = [RecvMeta::default()];
        let received =
            poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        let [meta] = match received.await {
            Ok(_) => meta,
            // As where nobody listens at a port: the next one may come all the same.
            Err(_) => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        for bytes in buffer[..meta.len].chunks(meta.stride.max(1)) {
            line.enter(Packet {
                peer: meta.addr,
                ecn: meta.ecn,
                bytes: bytes.to_vec(),
            });
        }
    }
}

async fn arrive(line: Arc<Line>, arrived: Arc<Mutex<Arrived>>) {
    loop {
        let packet = line.next().await;
        let mut arrived = lock(&arrived);
        arrived.packets.push_back(packet);
        if let Some(waker) = arrived.waker.take() {
            waker.wake();
        }
    }
}

#[derive(Default)]
struct Arrived {
    packets: VecDeque<Packet>,
    waker: Option<Waker>,
}

struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    out: Arc<Line>,
    arrived: Arc<Mutex<Arrived>>,
    tasks: [AbortHandle; 3],
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Socket({:?})", self.out.weather)
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.out.enter(Packet {
            peer: transmit.destination,
            ecn: transmit.ecn,
            bytes: transmit.contents.to_vec(),
        });
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut arrived = lock(&self.arrived);
        let mut filled = 0;
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let Some(packet) = arrived.packets.pop_front() else {
                break;
            };
            let len = packet.bytes.len().min(buf.len());
            buf[..len].copy_from_slice(&packet.bytes[..len]);
            *meta = RecvMeta {
                addr: packet.peer,
                len,
                stride: len,
                ecn: packet.ecn,
                dst_ip: None,
            };
            filled += 1;
        }
        if filled == 0 {
            arrived.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(filled))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    // One packet at a time, so that each is lost on its own.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use undertone_node::net::udp_sockets;

    use super::*;

    #[tokio::test]
    async fn packets_come_late_and_in_another_order_and_some_twice_or_never() {
        let out = Weather {
            loss: 0.1,
            twice: 0.1,
            delay: Duration::from_millis(60),
            jitter: Duration::from_millis(20),
        };
        let back = Weather {
            delay: Duration::from_millis(30),
            ..Weather::default()
        };
        let here = SocketAddr::from(([127, 0, 0, 1], 0));
        let far = udp_sockets()(here).unwrap();
        let near = sockets(udp_sockets(), out, back, 7)(here).unwrap();
        let begun = Instant::now();
        let send = |from: &Arc<dyn AsyncUdpSocket>, to: &Arc<dyn AsyncUdpSocket>, number: u32| {
            let transmit = Transmit {
                destination: to.local_addr().unwrap(),
                ecn: None,
                contents: &number.to_be_bytes(),
                segment_size: None,
                src_ip: None,
            };
            from.try_send(&transmit).unwrap();
        };
        (0..1_000).for_each(|number| send(&near, &far, number));
        let mut room = Arc::clone(&far).create_io_poller();
        let has_room = poll_fn(|cx| room.as_mut().poll_writable(cx));
        has_room.await.unwrap();
        send(&far, &near, 1_000);
        assert!(
            begun.elapsed() < out.delay - out.jitter,
            "nothing waits to be sent"
        );
        let mut came = Vec::new();
        while let Some(number) = hear(&far, out.delay + out.jitter * 3).await {
            assert!(begun.elapsed() >= out.delay - out.jitter);
            came.push(number);
        }
        assert!(came.windows(2).any(|pair| pair[0] > pair[1]));
        let all = came.len();
        came.sort_unstable();
        came.dedup();
        assert!((850..950).contains(&came.len()), "{}", came.len());
        assert!((50..150).contains(&(all - came.len())), "{all}");
        assert_eq!(hear(&near, Duration::from_secs(2)).await, Some(1_000));
        assert!(begun.elapsed() >= back.delay);
    }

    async fn hear(socket: &Arc<dyn AsyncUdpSocket>, patience: Duration) -> Option<u32> {
        let (mut buffer, mut meta) = ([0; 4], [RecvMeta::default()]);
        let heard =
            poll_fn(|cx| socket.poll_recv(cx, &mut [IoSliceMut::new(&mut buffer)], &mut meta));
        tokio::time::timeout(patience, heard).await.ok()?.ok()?;
        Some(u32::from_be_bytes(buffer))
    }
}

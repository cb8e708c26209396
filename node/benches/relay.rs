//! Relay forwarding: sealed packets in, copies out, next to bare quinn doing the same work in the same run.
//!
//! Both servers run on one thread of their own and copy each voice-sized datagram to all *other* connections. The bare
//! one has no routes, slots, limits or libp2p. Two shapes:
//!
//! - *tick* (criterion's figures): every member sends one packet at the same moment, and all copies are awaited.
//!   Packets that meet share UDP datagrams, which flatters both.
//! - *spread* (the summary): one packet at a time, as voices that are not in step arrive. Nothing is shared; wall time
//!   is then mostly round trips, and the server thread's CPU time (Linux) is what an operator pays.
//!
//! Budget: a circle of n members, each sending fifty packets a second, costs a relay n × (n − 1) × 50 copies. No circle
//! up to twelve may take more than [`BUDGET`] of a core, and the relay is to do [`RATIO`] of what bare quinn does, in both
//! shapes; the bench ends with 1 otherwise. Other work on the machine moves the figures by half.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::{
    hint::black_box,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput};
use libp2p::identity::Keypair;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, oneshot},
};
use tokio_util::sync::CancellationToken;
use undertone_node::{
    net::Budget,
    relay::{Relay, RelayConfig, RelayLimits},
};

/// Part of one core that one circle may take of a relay.
const BUDGET: f64 = 0.1;
/// Part of what bare quinn does that the relay is to do at least.
const RATIO: f64 = 0.7;
/// Fresh servers and circles measured.
const SETUPS: usize = 7;
/// How long one side is measured before it is the other's turn.
const SLICE: Duration = Duration::from_millis(200);
/// A sealed 20 ms frame at 32 kb/s, signed, with its slot.
const DATAGRAM: usize = 220;
/// A copy not here by then is lost; longer than a busy machine keeps a thread waiting.
const LOST: Duration = Duration::from_secs(2);

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server on a thread of its own.
struct Server {
    addr: SocketAddr,
    thread: &'static str,
    cancel: CancellationToken,
    handle: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// `serve` is given the token that ends it and where to tell its address.
    fn start<F: Future<Output = ()>>(
        thread: &'static str,
        serve: impl FnOnce(CancellationToken, oneshot::Sender<SocketAddr>) -> F + Send + 'static,
    ) -> Self {
        let cancel = CancellationToken::new();
        let (tell, told) = oneshot::channel();
        let token = cancel.clone();
        let handle = std::thread::Builder::new()
            .name(thread.into())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(serve(token, tell));
            })
            .unwrap();
        Self {
            addr: told.blocking_recv().unwrap(),
            thread,
            cancel,
            handle: Some(handle),
        }
    }

    fn relay() -> Self {
        Self::start("bench-relay", |cancel, tell| async move {
            let plenty = Budget {
                per_second: 1e9,
                burst: 1e9,
            };
            let config = RelayConfig {
                limits: RelayLimits {
                    datagrams: plenty,
                    ..RelayLimits::default()
                },
                ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
            };
            let relay = Relay::start(config, cancel).unwrap();
            tell.send(relay.hubs[0].addr).unwrap();
            relay.closed().await;
        })
    }

    /// Bare quinn with the same handshake: every datagram to all other connections.
    fn bare() -> Self {
        Self::start("bench-bare", |cancel, tell| async move {
            let tls = libp2p_tls::make_server_config(&Keypair::generate_ed25519()).unwrap();
            let crypto = QuicServerConfig::try_from(tls).unwrap();
            let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
            config.transport_config(Arc::new(roomy()));
            let endpoint = quinn::Endpoint::server(config, LOCAL).unwrap();
            tell.send(endpoint.local_addr().unwrap()).unwrap();
            let all: Arc<RwLock<Vec<quinn::Connection>>> = Arc::default();
            let serve = async {
                while let Some(incoming) = endpoint.accept().await {
                    let (connection, all) = (incoming.await.unwrap(), Arc::clone(&all));
                    all.write().unwrap().push(connection.clone());
                    tokio::spawn(async move {
                        while let Ok(datagram) = connection.read_datagram().await {
                            for other in all.read().unwrap().iter() {
                                if other.stable_id() != connection.stable_id() {
                                    let _ = other.send_datagram(datagram.clone());
                                }
                            }
                        }
                    });
                }
            };
            cancel.run_until_cancelled(serve).await;
        })
    }

    /// CPU time the thread has used; `None` where the system does not say.
    fn cpu(&self) -> Option<Duration> {
        for task in std::fs::read_dir("/proc/self/task").ok()?.flatten() {
            if std::fs::read_to_string(task.path().join("comm"))
                .ok()?
                .trim()
                != self.thread
            {
                continue;
            }
            if let Ok(stat) = std::fs::read_to_string(task.path().join("schedstat"))
                && let Some(nanos) = stat.split_whitespace().next().and_then(|n| n.parse().ok())
                && nanos > 0
            {
                return Some(Duration::from_nanos(nanos));
            }
            // Coarser: user and system time in hundredths of a second.
            let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
            let fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).take(2);
            return Some(Duration::from_millis(
                10 * fields.flat_map(str::parse::<u64>).sum::<u64>(),
            ));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(handle) = self.handle.take() {
            let _ = handle.join();
        }
    }
}

fn roomy() -> quinn::TransportConfig {
    let mut config = quinn::TransportConfig::default();
    config
        .datagram_send_buffer_size(1 << 20)
        .datagram_receive_buffer_size(Some(1 << 20));
    config
}

async fn connect(addr: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let tls = libp2p_tls::make_client_config(&Keypair::generate_ed25519(), None).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    config.transport_config(Arc::new(roomy()));
    let endpoint = quinn::Endpoint::client(LOCAL).unwrap();
    let connection = endpoint
        .connect_with(config, addr, "l")
        .unwrap()
        .await
        .unwrap();
    (endpoint, connection)
}

/// Attaches to the bench's one route under slot 1 and waits for the relay's word.
async fn attach(connection: &quinn::Connection) -> (quinn::SendStream, quinn::RecvStream) {
    let mut send = connection.open_uni().await.unwrap();
    let attach = [&b"\0\x10\0undertone/hub/1\0\x22\x01\x01"[..], &[7; 32]].concat();
    send.write_all(&attach).await.unwrap();
    let mut recv = connection.accept_uni().await.unwrap();
    let mut frame = Vec::new();
    // The relay's preface, the card that says who runs it, and its answer.
    for _ in 0..3 {
        let mut length = [0; 2];
        recv.read_exact(&mut length).await.unwrap();
        frame = vec![0; u16::from_be_bytes(length).into()];
        recv.read_exact(&mut frame).await.unwrap();
    }
    assert_eq!(frame, [0x81, 1]);
    (send, recv)
}

/// A connection and what must outlive it.
type Member = (
    quinn::Connection,
    quinn::Endpoint,
    Option<(quinn::SendStream, quinn::RecvStream)>,
);

/// The members of one circle.
struct Circle {
    members: Vec<Member>,
    arrived: Arc<Semaphore>,
    received: Arc<AtomicU64>,
    /// Waits that ended without all copies.
    lost: AtomicU64,
}

impl Circle {
    async fn join(addr: SocketAddr, members: usize, through_relay: bool) -> Self {
        let mut joined = Vec::new();
        for _ in 0..members {
            let (endpoint, connection) = connect(addr).await;
            let streams = if through_relay {
                Some(attach(&connection).await)
            } else {
                None
            };
            joined.push((connection, endpoint, streams));
        }
        let (arrived, received) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
        for (hearer, _, _) in &joined {
            let (hearer, arrived, received) =
                (hearer.clone(), Arc::clone(&arrived), Arc::clone(&received));
            tokio::spawn(async move {
                while let Ok(datagram) = hearer.read_datagram().await {
                    black_box(datagram);
                    received.fetch_add(1, Relaxed);
                    arrived.add_permits(1);
                }
            });
        }
        // The bare server takes connections in as their handshakes end.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Self {
            members: joined,
            arrived,
            received,
            lost: AtomicU64::new(0),
        }
    }

    /// Every member sends one packet; then all copies are awaited.
    async fn tick(&self, datagram: &Bytes) {
        for (sender, _, _) in &self.members {
            sender.send_datagram(datagram.clone()).unwrap();
        }
        self.await_copies(self.members.len() * (self.members.len() - 1))
            .await;
    }

    /// Every member sends one packet, each after the copies of the one before are there.
    async fn spread(&self, datagram: &Bytes) {
        for (sender, _, _) in &self.members {
            sender.send_datagram(datagram.clone()).unwrap();
            self.await_copies(self.members.len() - 1).await;
        }
    }

    async fn await_copies(&self, owed: usize) {
        match tokio::time::timeout(
            LOST,
            self.arrived.acquire_many(u32::try_from(owed).unwrap()),
        )
        .await
        {
            Ok(permits) => permits.unwrap().forget(),
            Err(_) => {
                // Start afresh: a late copy must not count for a later packet.
                self.lost.fetch_add(1, Relaxed);
                self.arrived.forget_permits(usize::MAX >> 4);
            }
        }
    }
}

/// A server and the circle that uses it.
struct Side {
    server: Server,
    circle: Circle,
}

impl Side {
    fn start(runtime: &Runtime, members: usize, through_relay: bool) -> Self {
        let server = if through_relay {
            Server::relay()
        } else {
            Server::bare()
        };
        let circle = runtime.block_on(Circle::join(server.addr, members, through_relay));
        Self { server, circle }
    }

    /// Copies per second of one tick.
    fn in_step(&self, runtime: &Runtime, datagram: &Bytes) -> f64 {
        let start = Instant::now();
        runtime.block_on(self.circle.tick(datagram));
        let members = self.circle.members.len();
        (members * (members - 1)) as f64 / start.elapsed().as_secs_f64()
    }

    /// Copies per CPU-second of the server, one packet at a time, over a slice of time.
    fn spread(&self, runtime: &Runtime, datagram: &Bytes) -> Option<f64> {
        let (cpu, received, start) = (
            self.server.cpu()?,
            self.circle.received.load(Relaxed),
            Instant::now(),
        );
        runtime.block_on(async {
            while start.elapsed() < SLICE {
                self.circle.spread(datagram).await;
            }
        });
        let copies = (self.circle.received.load(Relaxed) - received) as f64;
        let used = self.server.cpu()?.saturating_sub(cpu).as_secs_f64();
        (used > 0.0).then(|| copies / used)
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// What became of a promise.
fn verdict(is_kept: bool, all: &mut bool) -> &'static str {
    *all &= is_kept;
    if is_kept { "kept" } else { "MISSED" }
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    // The relay reads a slot first; the bare server reads nothing.
    let datagram: Bytes = std::iter::once(1)
        .chain(std::iter::repeat_n(0x55, DATAGRAM - 1))
        .collect::<Vec<u8>>()
        .into();
    let (mut lines, mut all_kept) = (Vec::new(), true);
    for members in [6, 12] {
        let relay = Side::start(&runtime, members, true);
        let bare = Side::start(&runtime, members, false);
        let mut group = criterion.benchmark_group("relay forwarding, one tick");
        group.throughput(Throughput::Elements((members * (members - 1)) as u64));
        for (kind, side) in [("relay", &relay), ("bare quinn", &bare)] {
            group.bench_with_input(BenchmarkId::new(kind, members), &members, |bencher, _| {
                bencher.iter_custom(|rounds| {
                    let start = Instant::now();
                    runtime.block_on(async {
                        for _ in 0..rounds {
                            side.circle.tick(&datagram).await;
                        }
                    });
                    start.elapsed()
                });
            });
        }
        group.finish();
        // In turns, so that whatever else the machine does meets both alike; and on fresh connections each time,
        // because how threads and sockets fall on cores changes the cost by half and lasts as long as they do.
        let (mut ticks, mut slices, mut lost) = (Vec::new(), Vec::new(), [0, 0]);
        drop((relay, bare));
        for _ in 0..SETUPS {
            let sides =
                [true, false].map(|through_relay| Side::start(&runtime, members, through_relay));
            let [relay, bare] = &sides;
            for _ in 0..100 {
                ticks.push([relay, bare].map(|side| side.in_step(&runtime, &datagram)));
            }
            for _ in 0..4 {
                slices.push([relay, bare].map(|side| side.spread(&runtime, &datagram)));
            }
            for (lost, side) in lost.iter_mut().zip(&sides) {
                *lost += side.circle.lost.load(Relaxed);
            }
        }
        let of = |side: usize| median(ticks.iter().map(|pair| pair[side]).collect());
        if let (Some(relay), Some(bare)) = (of(0), of(1)) {
            let ratio = relay / bare;
            lines.push(format!(
                "route of {members:>2}, in step: relay {relay:>7.0} copies/s,     bare quinn {bare:>7.0}; ratio {ratio:.2}, at least {RATIO}: {}",
                verdict(ratio >= RATIO, &mut all_kept)
            ));
        }
        let of = |side: usize| median(slices.iter().filter_map(|pair| pair[side]).collect());
        if let (Some(relay), Some(bare)) = (of(0), of(1)) {
            let (ratio, share) = (relay / bare, (members * (members - 1) * 50) as f64 / relay);
            lines.push(format!(
                "route of {members:>2}, spread:  relay {relay:>7.0} copies/CPU-s, bare quinn {bare:>7.0}; ratio {ratio:.2}, at least {RATIO}: {}; \
                 a circle takes {:.1} % of a core, budget {:.0} %: {}",
                verdict(ratio >= RATIO, &mut all_kept),
                100.0 * share,
                100.0 * BUDGET,
                verdict(share <= BUDGET, &mut all_kept)
            ));
        }
        if lost != [0, 0] {
            lines.push(format!(
                "route of {members:>2}: waits that ended with copies missing: {lost:?}"
            ));
        }
    }
    criterion.final_summary();
    println!(
        "\nrelay forwarding, {DATAGRAM} B datagrams, server on one thread, loopback, clients in the same process"
    );
    for line in lines {
        println!("{line}");
    }
    match all_kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

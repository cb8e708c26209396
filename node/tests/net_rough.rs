//! Paths that lose packets, and peers that lose their connections.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::{
    fmt, io,
    io::IoSliceMut,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use libp2p::identity::Keypair;
use net_support::{LOCAL, ROUTE, TOPIC, TestNode, TestRelay, by, circle};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{RecvMeta, Transmit},
};
use undertone_node::{
    net::{NetCommand, NetworkConfig, SocketFactory, udp_sockets},
    relay::RelayConfig,
};

/// How long a packet is on its way, each way.
const DELAY: Duration = Duration::from_millis(40);

/// Loses every tenth packet sent, in no regular pattern, and delays the others.
struct Lossy {
    inner: Arc<dyn AsyncUdpSocket>,
    state: AtomicU64,
}

impl fmt::Debug for Lossy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lossy")
    }
}

impl AsyncUdpSocket for Lossy {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // Marsaglia's xorshift: the same losses each run, as far as scheduling lets them.
        let mut x = self.state.load(Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.state.store(x, Relaxed);
        if x.is_multiple_of(10) {
            return Ok(());
        }
        let (inner, destination, ecn) =
            (Arc::clone(&self.inner), transmit.destination, transmit.ecn);
        let contents = transmit.contents.to_vec();
        tokio::spawn(async move {
            tokio::time::sleep(DELAY).await;
            let _ = inner.try_send(&Transmit {
                destination,
                ecn,
                contents: &contents,
                segment_size: None,
                src_ip: None,
            });
        });
        Ok(())
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

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

fn lossy() -> SocketFactory {
    let plain = udp_sockets();
    let seed = AtomicU64::new(0x9e37_79b9_7f4a_7c15);
    Arc::new(move |addr| {
        let state = AtomicU64::new(seed.fetch_add(0x1234_5678_9abc, Relaxed) | 1);
        Ok(Arc::new(Lossy {
            inner: plain(addr)?,
            state,
        }) as Arc<dyn AsyncUdpSocket>)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loss_costs_what_is_lost_and_no_more() {
    const PACKETS: u64 = 300;
    let relay = TestRelay::start(RelayConfig {
        socket: lossy(),
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    });
    let address = relay.address();
    let mut nodes: Vec<TestNode> = (0..3)
        .map(|_| {
            TestNode::start(NetworkConfig {
                socket: lossy(),
                ..NetworkConfig::relayed(Keypair::generate_ed25519(), by(&relay.path()))
            })
        })
        .collect();
    for node in &mut nodes {
        node.command(NetCommand::Subscribe(TOPIC)).await;
        node.command(NetCommand::AttachRoute(ROUTE)).await;
    }
    for node in &mut nodes {
        node.up().await;
        node.subscribed(address.peer).await;
        node.attached(ROUTE).await;
    }
    relay
        .until("all subscriptions", |s| s.subscriptions == 3)
        .await;
    for i in 0..10 {
        nodes[0].publish(&format!("word {i}")).await;
    }
    let packet = "v".repeat(174);
    for _ in 0..PACKETS {
        nodes[0].media(&packet).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(8 * DELAY).await;
    for at in [1, 2] {
        // Gossip is on streams: all of it arrives.
        for i in 0..10 {
            nodes[at].hears(&format!("word {i}")).await;
        }
        // Media loses a tenth three times, to the entry, from the hub and from the entry: about 73 % arrive. Eight
        // packets are on their way at a time; a window that loss had shrunk to two would let through a quarter.
        let counters = nodes[at].network.counters();
        let arrived = counters.received.load(Relaxed);
        assert!(
            arrived * 100 >= PACKETS * 60,
            "{arrived} of {PACKETS} arrived"
        );
    }
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

/// Runs a node on a runtime of its own until `ready` has it set up, then makes the runtime vanish: no close frame leaves.
fn vanish<F>(ready: impl FnOnce() -> F + Send + 'static) -> TestNode
where
    F: Future<Output = TestNode>,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(ready());
        runtime.shutdown_background();
        node
    })
    .join()
    .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_back_before_the_relay_missed_it_is_heard_again() {
    let relay = TestRelay::new();
    let address = relay.address();
    let mut nodes = circle(&relay, 1).await;
    let keypair = Keypair::generate_ed25519();
    let config = NetworkConfig::relayed(keypair, by(&relay.path()));
    let (first, relay_peer) = (config.clone(), address.peer);
    let ghost = tokio::task::spawn_blocking(move || {
        vanish(move || async move {
            let mut node = TestNode::start(first);
            node.command(NetCommand::Subscribe(TOPIC)).await;
            node.command(NetCommand::AttachRoute(ROUTE)).await;
            node.subscribed(relay_peer).await;
            node.attached(ROUTE).await;
            // Longer than two sides dialling at once would take.
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            node
        })
    })
    .await
    .unwrap();
    let mut back = TestNode::start(config);
    back.command(NetCommand::Subscribe(TOPIC)).await;
    back.command(NetCommand::AttachRoute(ROUTE)).await;
    back.subscribed(address.peer).await;
    back.attached(ROUTE).await;
    relay
        .until("both subscriptions", |s| s.subscriptions == 2)
        .await;
    assert_eq!(relay.relay.stats().routes_refused, 0);
    back.publish("back").await;
    nodes[0].hears("back").await;
    nodes[0].publish("welcome").await;
    back.hears("welcome").await;
    nodes[0].hears_media(&back, "voice again").await;
    drop(ghost);
    back.stop().await;
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_back_before_others_missed_it_is_heard_again() {
    let mut stays = TestNode::direct();
    stays.command(NetCommand::Subscribe(TOPIC)).await;
    let keypair = Keypair::generate_ed25519();
    let peer = keypair.public().to_peer_id();
    stays.command(NetCommand::Allow(vec![peer])).await;
    let config = NetworkConfig::direct(keypair, vec![LOCAL]);
    let (there, addr) = (stays.peer(), stays.addr());
    let dial = move || NetCommand::Dial {
        peer: there,
        addrs: vec![addr],
    };
    let first = config.clone();
    let ghost = tokio::task::spawn_blocking(move || {
        vanish(move || async move {
            let mut node = TestNode::start(first);
            node.command(NetCommand::Subscribe(TOPIC)).await;
            node.command(dial()).await;
            node.subscribed(there).await;
            tokio::time::sleep(Duration::from_millis(2_100)).await;
            node
        })
    })
    .await
    .unwrap();
    let mut back = TestNode::start(config);
    back.command(NetCommand::Subscribe(TOPIC)).await;
    back.command(NetCommand::Allow(vec![there])).await;
    back.command(dial()).await;
    back.subscribed(there).await;
    back.publish("back").await;
    stays.hears("back").await;
    stays.publish("welcome").await;
    back.hears("welcome").await;
    stays.hears_media(&back, "voice again").await;
    back.hears_media(&stays, "and mine").await;
    drop(ghost);
    back.stop().await;
    stays.stop().await;
}

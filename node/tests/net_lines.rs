//! Lines between members and entries: what they show, and what they bear.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::{
    collections::BTreeSet,
    fmt, io,
    io::IoSliceMut,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::identity::Keypair;
use net_support::{
    LOCAL, PATIENCE, ROUTE, TOPIC, TestNode, TestRelay, WHILE, by, circle, heard_media,
};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    crypto::rustls::QuicClientConfig,
    udp::{RecvMeta, Transmit},
};
use undertone_node::{
    net::{NetCommand, NetEvent, NetworkConfig, RelayPath, Relayed, SocketFactory, udp_sockets},
    relay::RelayConfig,
};
use undertone_protocol::record::Pace;

/// Sizes of the packets that passed, each way.
#[derive(Default)]
struct Seen {
    sent: Mutex<Vec<usize>>,
    came: Mutex<Vec<usize>>,
}

impl Seen {
    fn take(&self) -> [Vec<usize>; 2] {
        [&self.sent, &self.came].map(|s| std::mem::take(&mut *s.lock().unwrap()))
    }
}

/// A socket that somebody watches.
struct Watched {
    inner: Arc<dyn AsyncUdpSocket>,
    seen: Arc<Seen>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl AsyncUdpSocket for Watched {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.inner.try_send(transmit)?;
        self.seen.sent.lock().unwrap().push(transmit.contents.len());
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.inner.poll_recv(cx, bufs, meta);
        if let Poll::Ready(Ok(count)) = received {
            let mut came = self.seen.came.lock().unwrap();
            for meta in &meta[..count] {
                came.extend((0..meta.len.div_ceil(meta.stride)).map(|_| meta.stride.min(meta.len)));
            }
        }
        received
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

fn watched(seen: &Arc<Seen>) -> SocketFactory {
    let (plain, seen) = (udp_sockets(), Arc::clone(seen));
    Arc::new(move |addr| {
        Ok(Arc::new(Watched {
            inner: plain(addr)?,
            seen: Arc::clone(&seen),
        }) as Arc<dyn AsyncUdpSocket>)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_shows_one_packet_size_and_one_pace_whatever_goes_on() {
    const WATCHED_FOR: Duration = Duration::from_secs(3);
    let relay = TestRelay::new();
    let seen = Arc::new(Seen::default());
    let mut node = TestNode::start(NetworkConfig {
        socket: watched(&seen),
        ..NetworkConfig::relayed(Keypair::generate_ed25519(), by(&relay.path()))
    });
    node.command(NetCommand::Subscribe(TOPIC)).await;
    node.command(NetCommand::AttachRoute(ROUTE)).await;
    node.up().await;
    node.attached(ROUTE).await;
    let others = circle(&relay, 1).await;
    tokio::time::sleep(WHILE).await;

    seen.take();
    tokio::time::sleep(WATCHED_FOR).await;
    let idle = seen.take();

    // Voices both ways, and records of all sizes.
    let until = Instant::now() + WATCHED_FOR;
    for n in 0.. {
        if Instant::now() > until {
            break;
        }
        let voice = Bytes::from(vec![n as u8; 174]);
        node.command(NetCommand::Media(voice.clone())).await;
        others[0].command(NetCommand::Media(voice)).await;
        if n % 10 == 0 {
            let words = format!("{n} {}", "word ".repeat(60 * (n % 50)));
            node.publish(&words).await;
            others[0].publish(&format!("and {words}")).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let busy = seen.take();
    node.hears("and 0 ").await;

    // A circle of sixteen: five cells a tick come, one goes.
    for (packets, a_second) in [(&idle, 50), (&busy, 50)]
        .into_iter()
        .flat_map(|(seen, pace)| {
            let [sent, came] = seen;
            [(sent, pace), (came, 5 * pace)]
        })
    {
        let sizes: BTreeSet<_> = packets.iter().collect();
        assert_eq!(sizes, BTreeSet::from([&1_200]), "of {}", packets.len());
        let most = a_second * WATCHED_FOR.as_secs() as usize * 11 / 10;
        assert!(packets.len() <= most, "{} of {most}", packets.len());
        // A busy machine may leave some out.
        assert!(packets.len() >= most / 3, "{} of {most}", packets.len());
    }
    node.stop().await;
    for other in others {
        other.stop().await;
    }
    relay.stop().await;
}

/// A hub at one operator, and entries to it at this and another.
fn two_operators() -> (TestRelay, TestRelay) {
    let hub = TestRelay::new();
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    config.entry.hubs = vec![hub.address()];
    (TestRelay::start(config), hub)
}

async fn member(relayed: Relayed) -> TestNode {
    let mut node = TestNode::start(NetworkConfig::relayed(Keypair::generate_ed25519(), relayed));
    node.command(NetCommand::AttachRoute(ROUTE)).await;
    node.attached(ROUTE).await;
    node
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thin_line_carries_every_voice_in_fewer_packets() {
    const WATCHED_FOR: Duration = Duration::from_secs(2);
    let relay = TestRelay::new();
    let seen = [Pace::Usual, Pace::Thin].map(|pace| (pace, Arc::new(Seen::default())));
    let mut nodes = Vec::new();
    for (pace, seen) in &seen {
        let relayed = Relayed::by(&[relay.path()], 4, *pace).unwrap();
        let mut node = TestNode::start(NetworkConfig {
            socket: watched(seen),
            ..NetworkConfig::relayed(Keypair::generate_ed25519(), relayed)
        });
        node.command(NetCommand::AttachRoute(ROUTE)).await;
        node.attached(ROUTE).await;
        nodes.push(node);
    }
    seen.iter().for_each(|(_, seen)| drop(seen.take()));
    let counters = nodes[0].network.counters();
    let heard = counters.received.load(Ordering::Relaxed);
    let begun = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut said = 0;
    while begun.elapsed() < WATCHED_FOR {
        tick.tick().await;
        nodes[1].media("a voice").await;
        said += 1;
    }
    tokio::time::sleep(WHILE).await;
    let heard = counters.received.load(Ordering::Relaxed) - heard;
    assert!(heard >= said - 5, "{heard} of {said} came");
    let [[up, down], [thin_up, thin_down]] =
        seen.map(|(_, seen)| seen.take().map(|packets| packets.len() as f64));
    // Three cells in 40 ms, and two in 20.
    let found = thin_down / down;
    assert!((found - 0.75).abs() < 0.1, "{found} as many down");
    // One in 40 ms; where the round trip is shorter than that, QUIC's acknowledgements do not wait for the next.
    let found = thin_up / up;
    assert!((0.4..1.05).contains(&found), "{found} as many up");
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_dies_is_replaced_and_the_hub_keeps_its_member() {
    let (other, hub) = two_operators();
    let own = hub.path();
    let mut moving = member(Relayed {
        hubs: vec![own.hub.clone()],
        entries: vec![other.relay.entries[0].clone(), own.entry.clone()],
        members: 16,
        pace: Pace::Usual,
    })
    .await;
    let mut staying = member(by(&own)).await;
    staying.hears_media(&moving, "by the other entry").await;
    assert_eq!((other.relay.stats().lines, hub.relay.stats().lines), (1, 1));

    other.stop().await;
    let gone = Instant::now();
    let again = async {
        loop {
            moving.media("by its own").await;
            let heard = staying.expect("sound", |e| heard_media(e, "by its own"));
            if tokio::time::timeout(Duration::from_millis(50), heard)
                .await
                .is_ok()
            {
                return gone.elapsed();
            }
        }
    };
    let again = tokio::time::timeout(PATIENCE, again)
        .await
        .expect("sound comes back");
    println!("heard again after {again:?}");
    assert_eq!(hub.relay.stats().lines, 2);
    // It moved as somebody does who walks from one network to another.
    moving
        .expect_none("a loss", |e| matches!(e, NetEvent::RelayDown).then_some(()))
        .await;
    moving.stop().await;
    staying.stop().await;
    hub.stop().await;
}

/// A socket through which nothing goes any more once it is cut, as when a machine loses its power.
#[derive(Debug)]
struct Cuttable {
    inner: Arc<dyn AsyncUdpSocket>,
    cut: Arc<AtomicBool>,
}

impl AsyncUdpSocket for Cuttable {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match self.cut.load(Ordering::Relaxed) {
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
        loop {
            let received = std::task::ready!(self.inner.poll_recv(cx, bufs, meta));
            if !self.cut.load(Ordering::Relaxed) {
                return Poll::Ready(received);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_dies_without_a_word_is_replaced_by_the_next() {
    let cut = Arc::new(AtomicBool::new(false));
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    let seen = Arc::clone(&cut);
    config.socket = Arc::new(move |bind| {
        Ok(Arc::new(Cuttable {
            inner: udp_sockets()(bind)?,
            cut: Arc::clone(&seen),
        }))
    });
    let (first, second) = (TestRelay::start(config), TestRelay::new());
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    config.entry.hubs = vec![first.address(), second.address()];
    let entry = TestRelay::start(config);
    let relayed = Relayed::by(&entry.relay.two_hop_paths(), 16, Pace::Usual).unwrap();
    assert_eq!((relayed.hubs.len(), relayed.entries.len()), (2, 1));
    let (speaker, mut listener) = (member(relayed.clone()).await, member(relayed).await);
    // Voice as it is: a packet every 20 ms, whoever hears it.
    let mut clock = tokio::time::interval(Duration::from_millis(20));
    let mut heard = Vec::new();
    let begun = Instant::now();
    let (dies, ends) = (100_u32, 800);
    for said in 0..ends {
        clock.tick().await;
        speaker.media(&said.to_string()).await;
        cut.store(said >= dies, Ordering::Relaxed);
        while let Ok(event) = listener.network.events.try_recv() {
            match event {
                NetEvent::Media { payload, .. } => {
                    let number: u32 = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                    heard.push((number, begun.elapsed()));
                }
                NetEvent::RelayDown => panic!("there is always a hub"),
                _ => {}
            }
        }
    }
    let numbers: BTreeSet<u32> = heard.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), heard.len(), "nothing is heard twice");
    let gaps = heard.windows(2).map(|pair| pair[1].1 - pair[0].1);
    let longest = gaps.max().unwrap();
    println!("longest gap {longest:?}, heard {} of {ends}", heard.len());
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(numbers.contains(&(ends - 50)), "sound goes on");
    for node in [speaker, listener] {
        node.stop().await;
    }
    for relay in [entry, first, second] {
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_leads_to_its_own_hubs_only() {
    let (hub, elsewhere) = (TestRelay::new(), TestRelay::new());
    let path = RelayPath {
        entry: elsewhere.relay.entries[0].clone(),
        hub: hub.address(),
    };
    let mut node = TestNode::relayed(&path);
    node.expect("the loss", |e| {
        matches!(e, NetEvent::RelayDown).then_some(())
    })
    .await;
    assert_eq!(hub.relay.stats().connections, 0);
    node.stop().await;
    hub.stop().await;
    elsewhere.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_bears_rude_clients() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let keypair = Keypair::generate_ed25519();
    let mut tls = libp2p_tls::make_client_config(&keypair, None).unwrap();
    tls.alpn_protocols = vec![b"undertone/line/1".to_vec()];
    let crypto = Arc::new(QuicClientConfig::try_from(tls).unwrap());
    let mut config = quinn::ClientConfig::new(crypto);
    let mut transport = quinn::TransportConfig::default();
    transport.datagram_send_buffer_size(1024 * 1024);
    config.transport_config(Arc::new(transport));
    let endpoint = quinn::Endpoint::client(LOCAL).unwrap();
    let hub = relay.address().addr.to_string();
    // {0: pace, 1: [hub]}
    let open = |pace: u8, hubs: usize| {
        let mut bytes = vec![0xa2, 0, pace, 1, 0x80 | hubs as u8];
        for _ in 0..hubs {
            bytes.push(0x60 | hub.len() as u8);
            bytes.extend_from_slice(hub.as_bytes());
        }
        [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat()
    };
    let entry = relay.path().entry.addr;
    let before = relay.relay.stats().clients_cut;
    for said in [
        vec![],
        vec![0xff; 3_000],
        vec![0, 1, 0xff],
        open(0, 1),
        open(9, 1),
        open(1, 0),
        open(1, 9),
        open(1, 1),
    ] {
        let connecting = endpoint.connect_with(config.clone(), entry, "l").unwrap();
        let connection = connecting.await.unwrap();
        let (mut asks, mut answers) = connection.open_bi().await.unwrap();
        let _ = asks.write_all(&said).await;
        let _ = asks.finish();
        // {0: yes, 1: card}
        let (mut answer, yes) = ([0; 5], [0xa2, 0, 0]);
        let answered = tokio::time::timeout(WHILE, answers.read_exact(&mut answer)).await;
        if answered.is_ok_and(|read| read.is_ok()) && answer[2..] == yes {
            assert_eq!(said, open(1, 1));
            // In: and now anything but cells, without end.
            while connection.close_reason().is_none() {
                for length in [0, 1, 300, 1_100] {
                    let _ = connection.send_datagram(vec![0xff; length].into());
                }
                tokio::task::yield_now().await;
            }
        }
        connection.close(0u32.into(), b"");
    }
    assert_eq!(relay.relay.stats().clients_cut, before + 1);
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    b.hears_media(a, "still here").await;
    relay.until("their lines' end", |s| s.lines == 2).await;
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

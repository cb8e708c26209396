//! Peers that shake hands properly and then send anything but what they should.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::{net::SocketAddr, sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use libp2p::{PeerId, identity::Keypair};
use net_support::{LOCAL, PATIENCE, ROUTE, TOPIC, TestNode, TestRelay, circle};
use quinn::crypto::rustls::QuicClientConfig;
use undertone_node::{
    net::{Delivery, MAX_PACKET_BYTES, NetCommand, NetEvent, Topic},
    relay::{RelayConfig, RelayLimits},
};

/// A bare QUIC client with a libp2p certificate and no manners.
struct Rude {
    peer: PeerId,
    connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

impl Rude {
    async fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).await.unwrap()
    }

    async fn try_connect(addr: SocketAddr) -> Result<Self, quinn::ConnectionError> {
        let keypair = Keypair::generate_ed25519();
        let tls = libp2p_tls::make_client_config(&keypair, None).unwrap();
        let mut config =
            quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
        let mut transport = quinn::TransportConfig::default();
        transport.datagram_send_buffer_size(1024 * 1024);
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::client(LOCAL).unwrap();
        let connection = endpoint.connect_with(config, addr, "l").unwrap().await?;
        Ok(Self {
            peer: keypair.public().to_peer_id(),
            connection,
            _endpoint: endpoint,
        })
    }

    /// Datagrams of every wrong form, and some of the right one that mean nothing.
    async fn send_datagrams(&self) {
        let largest = self.connection.max_datagram_size().unwrap();
        assert!(
            largest > 1 + MAX_PACKET_BYTES,
            "the largest reaches our limit: {largest}"
        );
        for round in 0..40u8 {
            for datagram in [
                Bytes::new(),
                Bytes::from(vec![0]),
                Bytes::from(vec![round]),
                Bytes::from(vec![round; largest]),
                Bytes::from(vec![0; 2 + MAX_PACKET_BYTES]),
                Bytes::from(vec![255, round]),
                Bytes::from(vec![round; 300]),
            ] {
                let _ = self.connection.send_datagram(datagram);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Opens a unidirectional stream and writes `bytes`; a refusal is as good.
    async fn send_uni(&self, bytes: &[u8]) {
        let attempt = async {
            let mut stream = self.connection.open_uni().await?;
            stream.write_all(bytes).await?;
            let _ = stream.finish();
            let _ = stream.stopped().await;
            Ok::<_, quinn::WriteError>(())
        };
        let _ = tokio::time::timeout(Duration::from_millis(300), attempt).await;
    }

    /// Nonsense on the streams where libp2p negotiates.
    async fn send_bi(&self) {
        for bytes in [
            &b""[..],
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x13/multistream/1.0.0\n\x0f/meshsub/1.1.0\n\xff\xff\x7f garbage",
            &[0x41; 100_000],
        ] {
            let attempt = async {
                let (mut send, _recv) = self.connection.open_bi().await?;
                send.write_all(bytes).await?;
                let _ = send.finish();
                Ok::<_, quinn::WriteError>(())
            };
            let _ = tokio::time::timeout(Duration::from_millis(300), attempt).await;
        }
        // And as many as it may, left open.
        let hoard = async {
            let mut held = Vec::new();
            while let Ok(stream) = self.connection.open_bi().await {
                held.push(stream);
                if held.len() >= 1_000 {
                    break;
                }
            }
            held.len()
        };
        let _ = tokio::time::timeout(Duration::from_millis(300), hoard).await;
    }
}

/// A frame of a hub stream.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(1 + body.len()).unwrap();
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

fn preface() -> Vec<u8> {
    frame(0x00, b"undertone/hub/1")
}

/// What no hub stream looks like.
fn broken_hub_streams() -> Vec<Vec<u8>> {
    let with = |tail: &[u8]| [&preface()[..], tail].concat();
    vec![
        vec![],
        vec![0],
        vec![0xff; 300],
        frame(0x00, b"undertone/hub/2"),
        with(&[0]),
        with(&[0, 0]),
        with(&[0, 1, 0x01]),
        with(&[0xff; 256]),
        with(&frame(0x81, &[1])),
        with(&frame(0x01, &[1, 2, 3])),
        with(&frame(0x05, &[7; 32])),
        with(&frame(
            0x85,
            b"what only a hub says, on a topic of thirty-two bytes",
        )),
        with(&[0x48, 0x22, 0x05, 1, 2, 3]),
        // The largest number of requests, all at once.
        with(&frame(0x01, &[1, 1]).repeat(5_000)),
        with(&frame(0x02, &[9]).repeat(5_000)),
        with(
            &(0..200)
                .flat_map(|i| frame(0x03, &[i; 32]))
                .collect::<Vec<_>>(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_bears_rude_clients() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    for bytes in broken_hub_streams() {
        let rude = Rude::connect(relay.address().addr).await;
        tokio::join!(rude.send_uni(&bytes), rude.send_bi());
        rude.connection.close(0u32.into(), b"");
    }
    let rude = Rude::connect(relay.address().addr).await;
    rude.send_datagrams().await;
    let stats = relay.relay.stats();
    assert!(stats.datagrams_refused > 0);
    assert_eq!((stats.routes, stats.datagrams_out), (1, 0));
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    a.publish("still here").await;
    b.hears("still here").await;
    b.hears_media(a, "still here").await;
    for node in nodes {
        node.stop().await;
    }
    rude.connection.close(0u32.into(), b"");
    relay
        .until("nobody left", |s| s.connections == 0 && s.routes == 0)
        .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_bears_rude_peers() {
    let (mut a, b) = (TestNode::direct(), TestNode::direct());
    for node in [&a, &b] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
    }
    let rude = Rude::connect(a.addr()).await;
    a.command(NetCommand::Allow(vec![rude.peer, b.peer()]))
        .await;
    b.command(NetCommand::Allow(vec![a.peer()])).await;
    tokio::join!(rude.send_datagrams(), rude.send_bi());
    let stream = [&preface()[..], &[0, 34, 1, 1], &ROUTE.0].concat();
    rude.send_uni(&stream).await;
    let counters = a.network.counters();
    assert!(counters.malformed.load(Relaxed) > 0);
    assert!(
        counters.unwanted.load(Relaxed) > 0,
        "slots mean nothing between members"
    );
    assert!(
        counters.excess.load(Relaxed) > 0,
        "one member has one member's rate"
    );
    // What has the form of a packet is the driver's to judge.
    a.expect("a packet", |e| {
        matches!(e, NetEvent::Media { from, .. } if *from == Some(rude.peer)).then_some(())
    })
    .await;
    b.dial(&a).await;
    b.publish("still here").await;
    a.hears("still here").await;
    a.hears_media(&b, "still here").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_attaches_twice_or_everywhere_is_refused() {
    let limits = RelayLimits {
        routes: 3,
        ..RelayLimits::default()
    };
    let relay = TestRelay::start(RelayConfig {
        limits,
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    });
    let attach = |slot: u8, route: u8| frame(0x01, &[&[slot][..], &[route; 32]].concat());
    let first = Rude::connect(relay.address().addr).await;
    let mut requests = first.connection.open_uni().await.unwrap();
    requests
        .write_all(
            &[
                preface(),
                attach(0, 1), // no slot for members
                attach(1, 1), // granted
                attach(1, 1), // the same again: granted
                attach(1, 2), // taken
                attach(2, 1), // the same route twice
                attach(2, 2), // granted
                attach(3, 3), // a third
            ]
            .concat(),
        )
        .await
        .unwrap();
    let answers = read_answers(&first, 7).await;
    assert_eq!(
        answers,
        [
            vec![0x82, 0, 4],
            vec![0x81, 1],
            vec![0x81, 1],
            vec![0x82, 1, 4],
            vec![0x82, 2, 4],
            vec![0x81, 2],
            vec![0x82, 3, 2],
        ]
    );
    let second = Rude::connect(relay.address().addr).await;
    let mut requests = second.connection.open_uni().await.unwrap();
    let frames = [preface(), attach(1, 8), attach(2, 9)].concat();
    requests.write_all(&frames).await.unwrap();
    assert_eq!(
        read_answers(&second, 2).await,
        [vec![0x81, 1], vec![0x82, 2, 3]]
    );
    assert_eq!(relay.relay.stats().routes, 3);
    first.connection.close(0u32.into(), b"");
    relay
        .until("the first's routes gone", |s| s.routes == 1)
        .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_on_flooding_is_cut_and_others_hear_each_other() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let rude = Rude::connect(relay.address().addr).await;
    let flood = async {
        while rude.connection.close_reason().is_none() {
            for _ in 0..64 {
                let _ = rude.connection.send_datagram(Bytes::from(vec![1; 200]));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("the connection is cut");
    assert_eq!(relay.relay.stats().clients_cut, 1);
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    b.hears_media(a, "still here").await;
    assert_eq!(relay.relay.stats().clients_cut, 1);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_floods_a_topic_is_cut_and_others_hear_each_other() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let rude = Rude::connect(relay.address().addr).await;
    let mut stream = rude.connection.open_uni().await.unwrap();
    stream.write_all(&preface()).await.unwrap();
    let topic = TOPIC.at(&relay.address().peer);
    let words = frame(0x05, &[&topic.0[..], &[1; 200]].concat());
    let flood = async { while stream.write_all(&words.repeat(64)).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, flood)
        .await
        .expect("the connection is cut");
    assert_eq!(relay.relay.stats().clients_cut, 1);
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    a.publish("still here").await;
    b.hears("still here").await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_told_of_no_topic_but_their_own() {
    const OTHER: [u8; 32] = [99; 32];
    let relay = TestRelay::new();
    let stranger = Rude::connect(relay.address().addr).await;
    let mut stream = stranger.connection.open_uni().await.unwrap();
    let name = Topic(OTHER).at(&relay.address().peer).0;
    let hear = [preface(), frame(0x03, &name)].concat();
    stream.write_all(&hear).await.unwrap();
    let mut nodes = circle(&relay, 2).await;
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    a.publish("among us").await;
    b.hears("among us").await;
    // The only thing said to the stranger is what is said on the topic they named.
    a.command(NetCommand::Publish {
        topic: Topic(OTHER),
        payload: Bytes::from_static(b"to the stranger"),
        delivery: Delivery::Paced,
    })
    .await;
    let said = [&[0x85][..], &name, b"to the stranger"].concat();
    assert_eq!(read_answers(&stranger, 1).await, [said]);
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_hears_so_many_topics_and_all_together_so_many() {
    let limits = RelayLimits {
        topics: 5,
        topics_per_client: 4,
        ..RelayLimits::default()
    };
    let relay = TestRelay::start(RelayConfig {
        limits,
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    });
    let hear = |topic: u8| frame(0x03, &[topic; 32]);
    let ask = async |client: &Rude, topics: &[u8]| {
        let mut stream = client.connection.open_uni().await.unwrap();
        let frames: Vec<_> = topics.iter().flat_map(|topic| hear(*topic)).collect();
        (stream.write_all(&[preface(), frames].concat()).await).unwrap();
        stream
    };
    let (first, second) = tokio::join!(
        Rude::connect(relay.address().addr),
        Rude::connect(relay.address().addr)
    );
    let unheard = |topic: u8| [vec![0x83], vec![topic; 32]].concat();
    let _first = ask(&first, &[1, 2, 3, 4, 4, 5]).await;
    assert_eq!(read_answers(&first, 1).await, [unheard(5)]);
    let _second = ask(&second, &[1, 5, 6]).await;
    assert_eq!(read_answers(&second, 1).await, [unheard(6)]);
    let stats = relay.relay.stats();
    assert_eq!((stats.topics, stats.subscriptions), (5, 6));
    first.connection.close(0u32.into(), b"");
    relay
        .until("the first's topics gone", |s| s.topics == 2)
        .await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_so_many_connections() {
    let limits = RelayLimits {
        connections_per_address: 3,
        ..RelayLimits::default()
    };
    // With an entry beside it, whoever comes from this machine comes by that, and may be many.
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    config.entry.listen.clear();
    config.limits = limits;
    let relay = TestRelay::start(config);
    let address = relay.address().addr;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Rude::connect(address).await);
    }
    assert!(Rude::try_connect(address).await.is_err());
    // As soon as one of them goes there is room.
    held.pop();
    relay.until("one gone", |s| s.connections == 2).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    while Rude::try_connect(address).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the place stays taken"
        );
    }
    relay.stop().await;
}

/// The relay's first answers after its preface and card, without their lengths.
async fn read_answers(client: &Rude, count: usize) -> Vec<Vec<u8>> {
    let read = async {
        let mut stream = client.connection.accept_uni().await.unwrap();
        let mut frames = Vec::new();
        while frames.len() < 2 + count {
            let mut length = [0; 2];
            stream.read_exact(&mut length).await.unwrap();
            let mut frame = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut frame).await.unwrap();
            frames.push(frame);
        }
        assert_eq!(frames[0], preface()[2..]);
        assert_eq!(frames[1][0], 0x80, "the card");
        frames.split_off(2)
    };
    tokio::time::timeout(PATIENCE, read)
        .await
        .expect("the answers")
}

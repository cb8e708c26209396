//! Circles behind a relay, over real sockets on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, identity::Keypair};
use net_support::{
    LOCAL, PATIENCE, ROUTE, TOPIC, TestNode, TestRelay, WHILE, by, circle, heard, heard_media,
};
use quinn::crypto::rustls::QuicClientConfig;
use undertone_node::{
    net::{Delivery, NetCommand, NetEvent, NetworkConfig, Refusal, RouteKey, RouteRefusal, Topic},
    relay::{RelayConfig, RelayLimits},
};

fn small(limits: RelayLimits) -> TestRelay {
    TestRelay::start(RelayConfig {
        limits,
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_says_nothing_is_heard_to_say_as_much_as_whoever_does() {
    const SMALL: usize = 640;
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let (speaker, hearer) = pair(&mut nodes, 0, 1);
    speaker.command(NetCommand::KeepUp(TOPIC)).await;
    let small = |e: &NetEvent| match e {
        NetEvent::Control { payload, .. } if payload.len() == SMALL => Some(payload.clone()),
        _ => None,
    };
    let first = hearer.expect("something small", small).await;
    assert_ne!(first, hearer.expect("something else", small).await);
    let words = Bytes::from(vec![7; SMALL]);
    let publish = NetCommand::Publish {
        topic: TOPIC,
        payload: words.clone(),
        delivery: Delivery::Paced,
    };
    speaker.command(publish).await;
    let said = |e: &NetEvent| small(e).filter(|payload| *payload == words);
    hearer.expect("what was to be said", said).await;
    hearer.expect("something after it", small).await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_reaches_all_and_media_all_but_the_sender() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 3).await;
    for (at, text) in ["zero", "one", "two"].into_iter().enumerate() {
        nodes[at].publish(text).await;
    }
    for (at, node) in nodes.iter_mut().enumerate() {
        for (by, text) in ["zero", "one", "two"].into_iter().enumerate() {
            if by == at {
                node.expect_none("one's own words", |e| heard(e, text))
                    .await;
            } else {
                node.hears(text).await;
            }
        }
    }
    for by in 0..3 {
        let text = format!("voice of {by}");
        for at in (0..3).filter(|at| *at != by) {
            let (sender, hearer) = pair(&mut nodes, by, at);
            assert_eq!(
                hearer.hears_media(sender, &text).await,
                None,
                "no member is named"
            );
        }
        nodes[by]
            .expect_none("one's own voice", |e| heard_media(e, &text))
            .await;
    }
    let stats = relay.relay.stats();
    assert_eq!((stats.connections, stats.routes, stats.topics), (3, 1, 1));
    assert!(stats.datagrams_out >= 6 && stats.messages == 3);
    // Members never learn of each other's existence from the network.
    for node in &mut nodes {
        node.expect_none("a member's connection", |e| {
            matches!(e, NetEvent::Connected { .. }).then_some(())
        })
        .await;
    }
    for node in nodes {
        node.stop().await;
    }
    relay
        .until("everybody gone", |s| {
            s.connections == 0 && s.routes == 0 && s.topics == 0
        })
        .await;
    relay.stop().await;
}

/// Two different nodes, mutably the second.
fn pair(nodes: &mut [TestNode], sender: usize, hearer: usize) -> (&TestNode, &mut TestNode) {
    let [sender, hearer] = nodes.get_disjoint_mut([sender, hearer]).unwrap();
    (sender, hearer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_later_hears_what_was_left_and_not_what_was_only_said() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    nodes[0].publish("said").await;
    nodes[0].leave("left first").await;
    nodes[0].leave("left second").await;
    for text in ["said", "left first", "left second"] {
        nodes[1].hears(text).await;
    }
    for node in nodes {
        node.stop().await;
    }
    relay.until("everybody gone", |s| s.connections == 0).await;

    let mut later = circle(&relay, 1).await.remove(0);
    let heard = |e: &NetEvent| match e {
        NetEvent::Control { payload, .. } => Some(payload.clone()),
        _ => None,
    };
    assert_eq!(later.expect("the first", heard).await, "left first");
    assert_eq!(later.expect("the second", heard).await, "left second");
    // Asking again brings nothing twice, and another topic nothing at all.
    later.command(NetCommand::Subscribe(TOPIC)).await;
    let other = NetCommand::Subscribe(Topic([77; 32]));
    later.command(other).await;
    later.expect_none("anything else", heard).await;
    let stats = relay.relay.stats();
    assert_eq!(stats.letters, 2);
    later.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_leaves_too_much_loses_their_own_and_a_hub_may_keep_none() {
    for (topic_kib, mib, kept) in [(20, 64, true), (20, 0, false)] {
        let relay = small(RelayLimits {
            mailbox_topic_kib: topic_kib,
            mailbox_mib: mib,
            ..RelayLimits::default()
        });
        let mut nodes = circle(&relay, 3).await;
        nodes[0].leave("the notice").await;
        nodes[1].hears("the notice").await;
        for number in 0..40 {
            let flood = format!("{number}{}", "x".repeat(2_000));
            nodes[2].leave(&flood).await;
            nodes[1].hears(&flood).await;
        }
        let bound = if kept { 20 << 10 } else { 0 };
        relay
            .until("no more than may be", |s| s.letter_bytes <= bound)
            .await;
        assert!(relay.relay.stats().letters_forgotten >= 30);
        for node in nodes {
            node.stop().await;
        }
        relay.until("everybody gone", |s| s.connections == 0).await;
        let mut later = circle(&relay, 1).await.remove(0);
        match kept {
            true => later.hears("the notice").await,
            false => {
                later
                    .expect_none("the notice", |e| heard(e, "the notice"))
                    .await;
            }
        }
        later.stop().await;
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn detaching_ends_it_both_ways() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 3).await;
    let (sender, hearer) = pair(&mut nodes, 0, 1);
    hearer.hears_media(sender, "before").await;
    nodes[1].command(NetCommand::DetachRoute(ROUTE)).await;
    let (sender, hearer) = pair(&mut nodes, 0, 2);
    hearer.hears_media(sender, "after").await;
    nodes[1].media("from outside").await;
    nodes[1]
        .expect_none("media after detaching", |e| heard_media(e, "after"))
        .await;
    for at in [0, 2] {
        nodes[at]
            .expect_none("media of one who detached", |e| {
                heard_media(e, "from outside")
            })
            .await;
    }
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_change_moves_to_the_new_route_without_the_one_left_behind() {
    const NEXT: RouteKey = RouteKey([9; 32]);
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 3).await;
    for at in [0, 1] {
        nodes[at].command(NetCommand::AttachRoute(NEXT)).await;
        nodes[at].attached(NEXT).await;
    }
    relay.until("both routes", |s| s.routes == 2).await;
    let (sender, hearer) = pair(&mut nodes, 0, 1);
    hearer.hears_media(sender, "new epoch").await;
    nodes[2]
        .expect_none("media of the new epoch", |e| heard_media(e, "new epoch"))
        .await;
    // The old route is still heard until it is given up.
    let (sender, hearer) = pair(&mut nodes, 2, 1);
    hearer.hears_media(sender, "old epoch").await;
    for at in [0, 1] {
        nodes[at].command(NetCommand::DetachRoute(ROUTE)).await;
    }
    nodes[2].command(NetCommand::DetachRoute(ROUTE)).await;
    relay.until("one route", |s| s.routes == 1).await;
    let (sender, hearer) = pair(&mut nodes, 1, 0);
    hearer.hears_media(sender, "still here").await;
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_returns_finds_its_circle_again() {
    let identity = Keypair::generate_ed25519();
    let relay = TestRelay::start(RelayConfig::new(identity.clone(), vec![LOCAL]));
    let (address, path) = (relay.address(), relay.path());
    let mut nodes = circle(&relay, 3).await;
    relay.stop().await;
    for node in &mut nodes {
        node.expect("the loss", |e| {
            matches!(e, NetEvent::RelayDown).then_some(())
        })
        .await;
    }
    // Said while nobody hears: kept.
    nodes[0].publish("said in between").await;
    nodes[0].media("lost").await;
    tokio::time::sleep(Duration::from_millis(500)).await;

    let relay = TestRelay::again(identity, &path);
    for node in &mut nodes {
        node.up().await;
        node.subscribed(address.peer).await;
        node.attached(ROUTE).await;
    }
    relay
        .until("all subscriptions", |s| s.subscriptions == 3)
        .await;
    for at in [1, 2] {
        let (sender, hearer) = pair(&mut nodes, 0, at);
        hearer.hears_media(sender, "back again").await;
    }
    nodes[1].publish("said afterwards").await;
    nodes[2].hears("said afterwards").await;
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_not_there_is_told_once_and_tried_again() {
    let identity = Keypair::generate_ed25519();
    let gone = TestRelay::start(RelayConfig::new(identity.clone(), vec![LOCAL]));
    let path = gone.path();
    gone.stop().await;
    let mut node = TestNode::relayed(&path);
    node.command(NetCommand::Subscribe(TOPIC)).await;
    node.command(NetCommand::AttachRoute(ROUTE)).await;
    node.expect("the loss", |e| {
        matches!(e, NetEvent::RelayDown).then_some(())
    })
    .await;
    let relay = TestRelay::again(identity, &path);
    node.up().await;
    node.attached(ROUTE).await;
    node.expect_none("a second loss", |e| {
        matches!(e, NetEvent::RelayDown).then_some(())
    })
    .await;
    node.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_route_refuses_and_lets_in_when_a_place_is_free() {
    let relay = small(RelayLimits {
        slots_per_route: 2,
        ..RelayLimits::default()
    });
    let mut nodes = circle(&relay, 2).await;
    let mut third = TestNode::relayed(&relay.path());
    third.command(NetCommand::AttachRoute(ROUTE)).await;
    let reason = third
        .expect("a refusal", |e| match e {
            NetEvent::Refused {
                reason: Refusal::Route { route, reason },
            } if *route == ROUTE => Some(*reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, RouteRefusal::RouteFull);
    third.media("from outside").await;
    nodes[0]
        .expect_none("media of one without a slot", |e| {
            heard_media(e, "from outside")
        })
        .await;
    nodes.pop().unwrap().stop().await;
    third.attached(ROUTE).await;
    let hearer = &mut nodes[0];
    hearer.hears_media(&third, "inside").await;
    for node in nodes.into_iter().chain([third]) {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_route_replaces_the_oldest() {
    let relay = TestRelay::new();
    let mut node = TestNode::relayed(&relay.path());
    for i in 1..=4 {
        let route = RouteKey([i; 32]);
        node.command(NetCommand::AttachRoute(route)).await;
        node.attached(route).await;
    }
    relay.until("two routes", |s| s.routes == 2).await;
    assert_eq!(relay.relay.stats().routes_refused, 0);
    node.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_circle_never_dials_a_member() {
    let relay = TestRelay::new();
    let mut member = TestNode::direct();
    // Even told to listen it does not.
    let mut node = TestNode::start(NetworkConfig {
        listen: vec![LOCAL],
        ..NetworkConfig::relayed(Keypair::generate_ed25519(), by(&relay.path()))
    });
    node.up().await;
    assert!(node.network.local_addrs.is_empty());
    node.command(NetCommand::Dial {
        peer: member.peer(),
        addrs: vec![member.addr()],
    })
    .await;
    node.expect("a refusal", |e| {
        matches!(
            e,
            NetEvent::Refused {
                reason: Refusal::DialInRelayedCircle
            }
        )
        .then_some(())
    })
    .await;
    member
        .expect_none("a connection", |e| {
            matches!(e, NetEvent::Connected { .. }).then_some(())
        })
        .await;
    member.stop().await;
    node.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_identity_at_the_relays_address_is_refused() {
    let relay = TestRelay::new();
    for at_entry in [true, false] {
        let mut impostor = relay.path();
        match at_entry {
            true => impostor.entry.peer = PeerId::random(),
            false => impostor.hub.peer = PeerId::random(),
        }
        let mut node = TestNode::relayed(&impostor);
        node.expect("the loss", |e| {
            matches!(e, NetEvent::RelayDown).then_some(())
        })
        .await;
        node.expect_none("a connection", |e| {
            matches!(e, NetEvent::RelayUp).then_some(())
        })
        .await;
        let stats = relay.relay.stats();
        assert_eq!(stats.connections, 0);
        assert_eq!(stats.lines > 0, !at_entry);
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejecting_member_stays_connected_to_the_relay() {
    use undertone_node::net::Verdict;
    let relay = TestRelay::new();
    let nodes = circle(&relay, 2).await;
    let mut strict = TestNode::relayed(&relay.path());
    strict.command(NetCommand::Subscribe(TOPIC)).await;
    strict.up().await;
    strict.subscribed(relay.address().peer).await;
    relay
        .until("all subscriptions", |s| s.subscriptions == 3)
        .await;
    for i in 0..30 {
        nodes[0].publish(&format!("nonsense {i}")).await;
        let message = strict
            .expect("a message", |e| match e {
                NetEvent::Control { message, .. } => Some(message.clone()),
                _ => None,
            })
            .await;
        strict
            .command(NetCommand::Verdict {
                message,
                verdict: Verdict::Reject,
            })
            .await;
    }
    nodes[1].publish("sense").await;
    strict.hears("sense").await;
    for node in nodes.into_iter().chain([strict]) {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_who_floods_is_held_to_the_rate() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let (sender, hearer) = pair(&mut nodes, 0, 1);
    hearer.hears_media(sender, "first").await;
    let before = relay.relay.stats();
    for i in 0..1_500 {
        nodes[0].media("flood").await;
        if i % 15 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    relay
        .until("the flood", |s| {
            s.datagrams_refused > before.datagrams_refused + 100
        })
        .await;
    // The hearer is well, and so is the sender once it has calmed down.
    let (sender, hearer) = pair(&mut nodes, 1, 0);
    hearer.hears_media(sender, "unharmed").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (sender, hearer) = pair(&mut nodes, 0, 1);
    hearer.hears_media(sender, "calm again").await;
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_vanishes_without_a_word_is_forgotten() {
    let relay = TestRelay::new();
    let path = relay.path();
    let mut nodes = circle(&relay, 2).await;
    // Its runtime is gone from one moment to the next: no close frame leaves.
    let lost = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let node = runtime.block_on(async {
            let mut node = TestNode::relayed(&path);
            node.command(NetCommand::AttachRoute(ROUTE)).await;
            node.attached(ROUTE).await;
            node
        });
        runtime.shutdown_background();
        node
    });
    let lost = tokio::task::spawn_blocking(|| lost.join().unwrap())
        .await
        .unwrap();
    relay
        .until("the connection's end", |s| s.connections == 2)
        .await;
    drop(lost);
    let (sender, hearer) = pair(&mut nodes, 0, 1);
    tokio::time::timeout(PATIENCE, hearer.hears_media(sender, "we go on"))
        .await
        .unwrap();
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

/// One HTTP request to the operator's pages: the whole answer.
async fn ask(address: std::net::SocketAddr, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer))
        .await
        .expect("an answer")
        .unwrap();
    answer
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: relay\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_is_told_sums_and_how_it_is() {
    let relay = TestRelay::start(RelayConfig {
        metrics: Some(LOCAL),
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    });
    let pages = relay.relay.metrics.unwrap();
    let mut nodes = circle(&relay, 2).await;
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    b.hears_media(a, "hello").await;

    let page = ask(pages, &get("/metrics")).await;
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for line in ["undertone_relay_connections 2", "undertone_relay_routes 1"] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }
    // Nothing about anybody: no address but none at all, no peer, no route.
    assert!(!page.contains("127.0.0.1") && !page.contains(&a.peer().to_string()));
    assert!(ask(pages, &get("/healthz")).await.ends_with("well\n"));
    assert!(
        ask(pages, &get("/routes"))
            .await
            .starts_with("HTTP/1.1 404")
    );
    for nonsense in ["\r\n\r\n", "GET /metrics\r\n\r\n", &"A".repeat(100_000)] {
        let _ = tokio::time::timeout(PATIENCE, async {
            use tokio::io::AsyncWriteExt;
            let mut stream = tokio::net::TcpStream::connect(pages).await.unwrap();
            let _ = stream.write_all(nonsense.as_bytes()).await;
        })
        .await;
    }
    assert!(ask(pages, &get("/healthz")).await.ends_with("well\n"));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_drains_lets_circles_finish_and_nobody_in() {
    let relay = TestRelay::start(RelayConfig {
        metrics: Some(LOCAL),
        ..RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL])
    });
    let pages = relay.relay.metrics.unwrap();
    let mut nodes = circle(&relay, 2).await;
    let drained = relay.relay.drain(PATIENCE);
    let meanwhile = async {
        let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
        b.hears_media(a, "one moment").await;
        assert!(ask(pages, &get("/healthz")).await.contains("503"));
        let mut late = TestNode::relayed(&relay.path());
        late.expect("the relay refuses", |e| {
            matches!(e, NetEvent::RelayDown).then_some(())
        })
        .await;
        late.stop().await;
        for node in nodes {
            node.stop().await;
        }
    };
    let begun = Instant::now();
    tokio::join!(drained, meanwhile);
    assert!(begun.elapsed() < PATIENCE, "it ends when all have gone");
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_drains_for_circles_at_another_operators_hub() {
    let hub = TestRelay::new();
    let mut config = RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]);
    config.entry.hubs = vec![hub.address()];
    let entry = TestRelay::start(config);
    let mut node = TestNode::relayed(&entry.relay.two_hop_paths()[0]);
    node.command(NetCommand::AttachRoute(ROUTE)).await;
    node.attached(ROUTE).await;
    assert_eq!(entry.relay.stats().connections, 0);
    let begun = Instant::now();
    {
        let mut drained = std::pin::pin!(entry.relay.drain(PATIENCE));
        let early = tokio::time::timeout(WHILE, &mut drained).await;
        assert!(early.is_err(), "somebody is in a circle");
        tokio::join!(drained, node.stop());
    }
    assert!(begun.elapsed() < PATIENCE, "it ends when they have gone");
    entry.stop().await;
    hub.stop().await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_short_of_memory_takes_no_lines() {
    let relay = small(RelayLimits {
        memory_mib: 1,
        ..RelayLimits::default()
    });
    tokio::time::sleep(WHILE).await;
    let mut node = TestNode::relayed(&relay.path());
    node.expect("a refusal", |e| {
        matches!(e, NetEvent::RelayDown).then_some(())
    })
    .await;
    assert_eq!(relay.relay.stats().cells_in, 0);
    node.stop().await;
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_line_has_few_connections_at_a_hub_and_its_neighbours_have_theirs() {
    let relay = TestRelay::new();
    // As an entry's lines: from this machine, each from a port of its own.
    let lines = [(); 2].map(|()| quinn::Endpoint::client(LOCAL).unwrap());
    let connect = async |line: &quinn::Endpoint| {
        let tls = libp2p_tls::make_client_config(&Keypair::generate_ed25519(), None).unwrap();
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let config = quinn::ClientConfig::new(Arc::new(crypto));
        let connecting = line.connect_with(config, relay.address().addr, "l");
        connecting.unwrap().await
    };
    let mut held = Vec::new();
    let refused = loop {
        match connect(&lines[0]).await {
            Ok(connection) => held.push(connection),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(
        refused,
        quinn::ConnectionError::ConnectionClosed(_)
    ));
    assert_eq!(held.len(), 4);
    held.push(connect(&lines[1]).await.unwrap());
    relay.stop().await;
}

//! Direct circles over real sockets on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::{
    collections::HashSet,
    io::Write,
    net::{Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use libp2p::{PeerId, identity::Keypair};
use net_support::{LOCAL, TOPIC, TestNode, heard, heard_media};
use tokio_util::sync::CancellationToken;
use undertone_node::net::{
    self, Delivery, MAX_CONTROL_BYTES, NetCommand, NetError, NetEvent, NetworkConfig, Refusal,
    RouteKey, SocketFactory, Topic, udp_sockets,
};

/// A socket factory that notes each local address it hands out.
fn noting(bound: &Arc<Mutex<Vec<SocketAddr>>>) -> SocketFactory {
    let (plain, bound) = (udp_sockets(), Arc::clone(bound));
    Arc::new(move |addr| {
        let socket = plain(addr)?;
        bound.lock().unwrap().push(socket.local_addr()?);
        Ok(socket)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_meet_over_ipv6_where_there_is_one() {
    let local6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if std::net::UdpSocket::bind(local6).is_err() {
        // What the macros print, a test that passes keeps to itself.
        let _ = writeln!(std::io::stderr(), "SKIPPED: no IPv6 on this machine");
        return;
    }
    let both = || NetworkConfig::direct(Keypair::generate_ed25519(), vec![LOCAL, local6]);
    let (mut a, mut b) = (TestNode::start(both()), TestNode::start(both()));
    for node in [&a, &b] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
    }
    let sixth = b.network.local_addrs.iter().find(|addr| addr.is_ipv6());
    a.command(NetCommand::Dial {
        peer: b.peer(),
        addrs: vec![*sixth.unwrap()],
    })
    .await;
    let remote = b
        .expect("a", |e| match e {
            NetEvent::Connected { remote, .. } => Some(*remote),
            _ => None,
        })
        .await;
    assert!(remote.is_ipv6());
    a.subscribed(b.peer()).await;
    a.publish("over IPv6").await;
    b.hears("over IPv6").await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_ipv6_listens_on_ipv4() {
    let plain = udp_sockets();
    let without: SocketFactory = Arc::new(move |addr| match addr.is_ipv6() {
        true => Err(std::io::ErrorKind::Unsupported.into()),
        false => plain(addr),
    });
    let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    let config = |listen| NetworkConfig {
        socket: without.clone(),
        ..NetworkConfig::direct(Keypair::generate_ed25519(), listen)
    };
    let node = TestNode::start(config(vec![LOCAL, any6]));
    assert!(node.network.local_addrs.iter().all(SocketAddr::is_ipv4));
    assert!(!node.network.local_addrs.is_empty());
    node.stop().await;
    let nowhere = net::start(config(vec![any6]), CancellationToken::new());
    assert!(matches!(nowhere, Err(NetError::Socket(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_and_media_share_one_port_and_one_connection() {
    let bound = Arc::new(Mutex::new(Vec::new()));
    let config = || NetworkConfig {
        socket: noting(&bound),
        ..NetworkConfig::direct(Keypair::generate_ed25519(), vec![LOCAL])
    };
    let (mut a, mut b) = (TestNode::start(config()), TestNode::start(config()));
    let listening = a
        .expect("an address", |e| match e {
            NetEvent::Listening(x) => Some(x.clone()),
            _ => None,
        })
        .await;
    assert_eq!(listening, [a.addr()]);
    for node in [&a, &b] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
    }
    a.command(NetCommand::Allow(vec![b.peer()])).await;
    b.command(NetCommand::Allow(vec![a.peer()])).await;
    a.dial(&b).await;
    assert_eq!(a.connected().await, b.peer());
    let (seen_by_b, remote) = b
        .expect("a", |e| match e {
            NetEvent::Connected { peer, remote } => Some((*peer, *remote)),
            _ => None,
        })
        .await;
    assert_eq!(
        (seen_by_b, remote),
        (a.peer(), a.addr()),
        "a dials from the port it listens on"
    );

    a.publish("from a").await;
    b.publish("from b").await;
    a.hears("from b").await;
    b.hears("from a").await;
    assert_eq!(b.hears_media(&a, "voice of a").await, Some(a.peer()));
    assert_eq!(a.hears_media(&b, "voice of b").await, Some(b.peer()));

    // Two nodes, two sockets, and each address belongs to one of them.
    let ports: HashSet<SocketAddr> = bound.lock().unwrap().iter().copied().collect();
    assert_eq!(ports, HashSet::from([a.addr(), b.addr()]));
    a.stop().await;
    b.expect("the end of a", |e| {
        matches!(e, NetEvent::Disconnected(p) if *p == seen_by_b).then_some(())
    })
    .await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_dialling_at_once_is_one_peer() {
    let (mut a, mut b) = (TestNode::direct(), TestNode::direct());
    for (node, other) in [(&a, &b), (&b, &a)] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
        node.command(NetCommand::Allow(vec![other.peer()])).await;
    }
    tokio::join!(a.dial(&b), b.dial(&a));
    assert_eq!(a.connected().await, b.peer());
    assert_eq!(b.connected().await, a.peer());
    a.subscribed(b.peer()).await;
    b.subscribed(a.peer()).await;
    for round in 0..3 {
        a.publish(&format!("a {round}")).await;
        b.publish(&format!("b {round}")).await;
        b.hears(&format!("a {round}")).await;
        a.hears(&format!("b {round}")).await;
        b.hears_media(&a, &format!("voice of a {round}")).await;
        a.hears_media(&b, &format!("voice of b {round}")).await;
    }
    for node in [&mut a, &mut b] {
        node.expect_none("a second connection is told", |e| {
            matches!(e, NetEvent::Connected { .. } | NetEvent::Disconnected(_)).then_some(())
        })
        .await;
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_hears_yet_is_kept_until_somebody_does() {
    let (a, mut b) = (TestNode::direct(), TestNode::direct());
    a.command(NetCommand::Subscribe(TOPIC)).await;
    for text in ["first", "second", "third"] {
        a.publish(text).await;
    }
    b.command(NetCommand::Subscribe(TOPIC)).await;
    b.dial(&a).await;
    let mut heard_in_order = Vec::new();
    for _ in 0..3 {
        heard_in_order.push(
            b.expect("a message", |e| match e {
                NetEvent::Control { payload, .. } => Some(payload.clone()),
                _ => None,
            })
            .await,
        );
    }
    heard_in_order.sort();
    assert_eq!(heard_in_order, ["first", "second", "third"]);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_reaches_who_is_not_connected_to_its_author() {
    let (mut a, mut hub, mut c) = (TestNode::direct(), TestNode::direct(), TestNode::direct());
    for node in [&a, &hub, &c] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
    }
    a.dial(&hub).await;
    c.dial(&hub).await;
    a.subscribed(hub.peer()).await;
    hub.subscribed(a.peer()).await;
    hub.subscribed(c.peer()).await;
    a.publish("across").await;
    // The one in the middle must give its verdict first.
    hub.hears("across").await;
    let verdict_given = hub.peer();
    c.hears("across").await;
    assert_ne!(verdict_given, c.peer());
    for node in [a, hub, c] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_goes_to_and_comes_from_allowed_peers_only() {
    let (mut a, mut b) = (TestNode::direct(), TestNode::direct());
    a.dial(&b).await;
    a.connected().await;
    b.connected().await;
    // Nobody allowed: nothing leaves.
    a.media("to nobody").await;
    // b does not allow a: nothing is taken.
    a.command(NetCommand::Allow(vec![b.peer()])).await;
    for _ in 0..10 {
        a.media("unwanted").await;
    }
    b.expect_none("media of a peer not allowed", |e| {
        matches!(e, NetEvent::Media { .. }).then_some(())
    })
    .await;
    assert!(b.network.counters().unwanted.load(Relaxed) > 0);
    b.command(NetCommand::Allow(vec![a.peer()])).await;
    b.hears_media(&a, "wanted").await;
    b.command(NetCommand::Allow(Vec::new())).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    a.media("too late").await;
    b.expect_none("media after the list changed", |e| {
        heard_media(e, "too late")
    })
    .await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_peer_is_cut_off_and_kept_out() {
    let (mut a, mut troll, c) = (TestNode::direct(), TestNode::direct(), TestNode::direct());
    for node in [&a, &troll, &c] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
        node.command(NetCommand::Allow(vec![a.peer(), troll.peer(), c.peer()]))
            .await;
    }
    troll.dial(&a).await;
    c.dial(&a).await;
    troll.connected().await;
    a.connected().await;
    a.connected().await;
    a.subscribed(troll.peer()).await;
    a.subscribed(c.peer()).await;
    a.hears_media(&troll, "noise").await;

    a.command(NetCommand::Block(troll.peer())).await;
    let gone = troll.peer();
    a.expect("the end", |e| {
        matches!(e, NetEvent::Disconnected(p) if *p == gone).then_some(())
    })
    .await;
    let left = a.peer();
    troll
        .expect("the end", |e| {
            matches!(e, NetEvent::Disconnected(p) if *p == left).then_some(())
        })
        .await;

    for _ in 0..3 {
        troll.dial(&a).await;
        troll.media("more noise").await;
        troll.publish("more words").await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    a.expect_none("a blocked peer returned", |e| match e {
        NetEvent::Connected { peer, .. } if *peer == gone => Some(()),
        _ => heard(e, "more words").or(heard_media(e, "more noise").map(|_| ())),
    })
    .await;
    // Nor does a dial it, and the others go on.
    a.dial(&troll).await;
    a.expect("a refusal", |e| {
        matches!(e, NetEvent::Refused { reason: Refusal::PeerBlocked(p) } if *p == gone)
            .then_some(())
    })
    .await;
    a.hears_media(&c, "voice of c").await;
    for node in [a, troll, c] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_must_be_who_was_dialled() {
    let (mut a, mut b) = (TestNode::direct(), TestNode::direct());
    let stranger = PeerId::random();
    a.command(NetCommand::Dial {
        peer: stranger,
        addrs: vec![b.addr()],
    })
    .await;
    a.expect("a failure", |e| {
        matches!(e, NetEvent::Unreachable(p) if *p == stranger).then_some(())
    })
    .await;
    b.expect_none("a connection", |e| {
        matches!(e, NetEvent::Connected { .. }).then_some(())
    })
    .await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_done_is_refused_in_words() {
    let mut a = TestNode::direct();
    let refused = |e: &NetEvent| match e {
        NetEvent::Refused { reason } => Some(reason.clone()),
        _ => None,
    };
    a.command(NetCommand::AttachRoute(RouteKey([1; 32]))).await;
    assert_eq!(
        a.expect("a refusal", refused).await,
        Refusal::RouteInDirectCircle
    );
    a.command(NetCommand::Publish {
        topic: TOPIC,
        payload: vec![0; MAX_CONTROL_BYTES + 1].into(),
        delivery: Delivery::Paced,
    })
    .await;
    assert_eq!(
        a.expect("a refusal", refused).await,
        Refusal::ControlTooLarge {
            bytes: MAX_CONTROL_BYTES + 1
        }
    );
    for i in 0..20 {
        a.command(NetCommand::Subscribe(Topic([i; 32]))).await;
    }
    assert_eq!(a.expect("a refusal", refused).await, Refusal::TooManyTopics);
    // The outbox is bounded, and says what it gives up.
    for i in 0..200u8 {
        a.command(NetCommand::Publish {
            topic: TOPIC,
            payload: Bytes::from(vec![i]),
            delivery: Delivery::Paced,
        })
        .await;
    }
    let given_up = a
        .expect("a message given up", |e| match e {
            NetEvent::Refused {
                reason: Refusal::NobodyListening { payload, .. },
            } => Some(payload.clone()),
            _ => None,
        })
        .await;
    assert_eq!(given_up, [0u8][..]);
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_control_payload_arrives() {
    let (a, mut b) = (TestNode::direct(), TestNode::direct());
    let payload: Bytes = (0..MAX_CONTROL_BYTES)
        .map(|i| i as u8)
        .collect::<Vec<_>>()
        .into();
    a.command(NetCommand::Publish {
        topic: TOPIC,
        payload: payload.clone(),
        delivery: Delivery::Paced,
    })
    .await;
    b.command(NetCommand::Subscribe(TOPIC)).await;
    a.dial(&b).await;
    let arrived = b
        .expect("the message", |e| match e {
            NetEvent::Control { payload, .. } => Some(payload.clone()),
            _ => None,
        })
        .await;
    assert!(arrived == payload);
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_words_are_sent_before_the_end() {
    let (mut a, mut b) = (TestNode::direct(), TestNode::direct());
    b.command(NetCommand::Subscribe(TOPIC)).await;
    a.dial(&b).await;
    a.subscribed(b.peer()).await;
    a.publish("goodbye").await;
    a.stop().await;
    b.hears("goodbye").await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_driver_that_does_not_listen_blocks_nothing() {
    let (a, mut b) = (TestNode::direct(), TestNode::direct());
    for (node, other) in [(&a, &b), (&b, &a)] {
        node.command(NetCommand::Subscribe(TOPIC)).await;
        node.command(NetCommand::Allow(vec![other.peer()])).await;
    }
    b.dial(&a).await;
    b.subscribed(a.peer()).await;
    // Nobody reads a's events; its commands must still be taken, and its voice still be sent.
    for i in 0..400 {
        b.publish(&format!("flood {i}")).await;
        b.media("voice").await;
        if i % 20 == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
    let commands = async {
        for _ in 0..1_000 {
            a.media("voice of a").await;
        }
    };
    tokio::time::timeout(net_support::PATIENCE, commands)
        .await
        .expect("commands are taken");
    b.expect("the voice of a", |e| heard_media(e, "voice of a"))
        .await;
    a.stop().await;
    b.stop().await;
}

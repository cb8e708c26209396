//! Our transport and stock libp2p QUIC, both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod net_support;

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder,
    gossipsub::{self, IdentTopic, MessageAuthenticity, ValidationMode},
    identify,
    multiaddr::Protocol,
    ping,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use net_support::{PATIENCE, TOPIC, TestNode, TestRelay, circle};
use undertone_node::net::NetCommand;

#[derive(NetworkBehaviour)]
struct Stock {
    gossip: gossipsub::Behaviour,
    ping: ping::Behaviour,
    identify: identify::Behaviour,
}

/// A peer as libp2p's own examples build it: `libp2p::quic`, default gossipsub, ping, identify.
fn stock() -> Swarm<Stock> {
    SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|keypair| {
            let config = gossipsub::ConfigBuilder::default()
                .validation_mode(ValidationMode::Anonymous)
                .message_id_fn(|m| gossipsub::MessageId::from(m.data.clone()))
                .build()
                .unwrap();
            Stock {
                gossip: gossipsub::Behaviour::new(MessageAuthenticity::Anonymous, config).unwrap(),
                ping: ping::Behaviour::new(
                    ping::Config::new().with_interval(Duration::from_millis(200)),
                ),
                identify: identify::Behaviour::new(identify::Config::new(
                    "/stock/1".into(),
                    keypair.public(),
                )),
            }
        })
        .unwrap()
        .with_swarm_config(|c| c.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

fn topic() -> IdentTopic {
    IdentTopic::new(TOPIC.0.map(|b| format!("{b:02x}")).concat())
}

async fn until<T>(
    swarm: &mut Swarm<Stock>,
    what: &str,
    mut pick: impl FnMut(&SwarmEvent<StockEvent>) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = pick(&swarm.select_next_some().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

fn pinged(event: &SwarmEvent<StockEvent>, who: PeerId) -> Option<()> {
    matches!(event, SwarmEvent::Behaviour(StockEvent::Ping(ping::Event { peer, result: Ok(_), .. })) if *peer == who)
        .then_some(())
}

fn identified(event: &SwarmEvent<StockEvent>) -> Option<identify::Info> {
    match event {
        SwarmEvent::Behaviour(StockEvent::Identify(identify::Event::Received { info, .. })) => {
            Some(info.clone())
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_peer_dials_us() {
    let (mut stock, mut ours) = (stock(), TestNode::direct());
    ours.command(NetCommand::Subscribe(TOPIC)).await;
    stock.behaviour_mut().gossip.subscribe(&topic()).unwrap();
    let addr = Multiaddr::from(ours.addr().ip())
        .with(Protocol::Udp(ours.addr().port()))
        .with(Protocol::QuicV1)
        .with(Protocol::P2p(ours.peer()));
    stock.dial(addr).unwrap();
    let info = until(&mut stock, "identify", identified).await;
    assert!(
        info.listen_addrs.is_empty(),
        "no listen address is told: {:?}",
        info.listen_addrs
    );
    assert_eq!(
        (info.agent_version.as_str(), info.protocol_version.as_str()),
        ("undertone", "/undertone/1")
    );
    until(&mut stock, "ping", |e| pinged(e, ours.peer())).await;
    assert_eq!(ours.connected().await, *stock.local_peer_id());
    gossip_both_ways(&mut stock, &mut ours).await;
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_dial_a_stock_peer() {
    let (mut stock, mut ours) = (stock(), TestNode::direct());
    ours.command(NetCommand::Subscribe(TOPIC)).await;
    stock.behaviour_mut().gossip.subscribe(&topic()).unwrap();
    stock
        .listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap())
        .unwrap();
    let port = until(&mut stock, "an address", |e| match e {
        SwarmEvent::NewListenAddr { address, .. } => address.iter().find_map(|p| match p {
            Protocol::Udp(port) => Some(port),
            _ => None,
        }),
        _ => None,
    })
    .await;
    let peer = *stock.local_peer_id();
    ours.command(NetCommand::Dial {
        peer,
        addrs: vec![([127, 0, 0, 1], port).into()],
    })
    .await;
    until(&mut stock, "ping", |e| pinged(e, ours.peer())).await;
    gossip_both_ways(&mut stock, &mut ours).await;
    // Media to a peer without datagrams is counted, and harms nothing.
    ours.command(NetCommand::Allow(vec![peer])).await;
    ours.media("voice").await;
    until(&mut stock, "ping", |e| pinged(e, ours.peer())).await;
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_peer_is_answered_by_the_relay_and_learns_nothing_of_its_circles() {
    let relay = TestRelay::new();
    let mut nodes = circle(&relay, 2).await;
    let mut stock = stock();
    stock.behaviour_mut().gossip.subscribe(&topic()).unwrap();
    stock
        .dial(relay.address().to_string().parse::<Multiaddr>().unwrap())
        .unwrap();
    let info = until(&mut stock, "identify", identified).await;
    assert!(info.listen_addrs.is_empty());
    assert!(
        !info
            .protocols
            .iter()
            .any(|p| p.as_ref().contains("meshsub")),
        "gossipsub would tell every client the topics of all: {:?}",
        info.protocols
    );
    let [a, b] = nodes.get_disjoint_mut([0, 1]).unwrap();
    a.publish("among us").await;
    b.hears("among us").await;
    let mut gossip = 0;
    until(&mut stock, "ping", |event| {
        gossip += usize::from(matches!(
            event,
            SwarmEvent::Behaviour(StockEvent::Gossip(
                gossipsub::Event::Message { .. } | gossipsub::Event::Subscribed { .. }
            ))
        ));
        pinged(event, relay.address().peer)
    })
    .await;
    assert_eq!(gossip, 0);
    for node in nodes {
        node.stop().await;
    }
    relay.stop().await;
}

async fn gossip_both_ways(stock: &mut Swarm<Stock>, ours: &mut TestNode) {
    // Until the stock peer knows of the subscription, it has nobody to publish to.
    let published = async {
        while stock
            .behaviour_mut()
            .gossip
            .publish(topic(), b"from stock".to_vec())
            .is_err()
        {
            let _ = tokio::time::timeout(Duration::from_millis(50), stock.select_next_some()).await;
        }
    };
    tokio::time::timeout(PATIENCE, published)
        .await
        .expect("published");
    ours.publish("from us").await;
    until(stock, "our message", |e| {
        matches!(e, SwarmEvent::Behaviour(StockEvent::Gossip(gossipsub::Event::Message { message, .. }))
            if message.data == b"from us")
        .then_some(())
    })
    .await;
    ours.hears("from stock").await;
}

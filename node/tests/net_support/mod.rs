//! What the network's tests share: nodes with an event log to wait on.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use libp2p::{PeerId, identity::Keypair};
use tokio_util::sync::CancellationToken;
use undertone_node::{
    net::{
        self, Delivery, NetCommand, NetEvent, Network, NetworkConfig, RelayAddress, RelayPath,
        Relayed, RouteKey, Topic, Verdict,
    },
    relay::{Relay, RelayConfig, RelayStats},
};
use undertone_protocol::record::Pace;

/// Everything here happens within milliseconds; a busy machine may take longer.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough that what is forbidden would have happened.
pub const WHILE: Duration = Duration::from_millis(600);

pub const LOCAL: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub const TOPIC: Topic = Topic([7; 32]);
pub const ROUTE: RouteKey = RouteKey([8; 32]);

/// A node whose events are kept until asked for. Control messages are accepted as they come.
pub struct TestNode {
    pub network: Network,
    pub cancel: CancellationToken,
    seen: Vec<NetEvent>,
}

impl TestNode {
    pub fn start(config: NetworkConfig) -> Self {
        let cancel = CancellationToken::new();
        let network = net::start(config, cancel.clone()).expect("the network starts");
        Self {
            network,
            cancel,
            seen: Vec::new(),
        }
    }

    pub fn direct() -> Self {
        Self::start(NetworkConfig::direct(
            Keypair::generate_ed25519(),
            vec![LOCAL],
        ))
    }

    pub fn relayed(relay: &RelayPath) -> Self {
        Self::start(NetworkConfig::relayed(
            Keypair::generate_ed25519(),
            by(relay),
        ))
    }

    pub fn peer(&self) -> PeerId {
        self.network.local_peer
    }

    pub fn addr(&self) -> SocketAddr {
        self.network.local_addrs[0]
    }

    pub async fn command(&self, command: NetCommand) {
        self.network
            .commands
            .send(command)
            .await
            .expect("the network runs");
    }

    pub async fn dial(&self, other: &Self) {
        self.command(NetCommand::Dial {
            peer: other.peer(),
            addrs: vec![other.addr()],
        })
        .await;
    }

    pub async fn publish(&self, text: &str) {
        self.command(NetCommand::Publish {
            topic: TOPIC,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            delivery: Delivery::Paced,
        })
        .await;
    }

    /// Says something that hubs are to keep.
    pub async fn leave(&self, text: &str) {
        self.command(NetCommand::Publish {
            topic: TOPIC,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            delivery: Delivery::Lasting,
        })
        .await;
    }

    pub async fn media(&self, text: &str) {
        self.command(NetCommand::Media(Bytes::copy_from_slice(text.as_bytes())))
            .await;
    }

    /// The first event, past or to come, for which `pick` answers; it is forgotten.
    pub async fn expect<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&NetEvent) -> Option<T>,
    ) -> T {
        let mut at = 0;
        let deadline = Instant::now() + PATIENCE;
        loop {
            while at < self.seen.len() {
                if let Some(found) = pick(&self.seen[at]) {
                    self.seen.remove(at);
                    return found;
                }
                at += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.network.events.recv()).await {
                Ok(Some(event)) => self.take(event).await,
                Ok(None) => panic!("the network ended while waiting for {what}"),
                Err(_) => panic!("waited in vain for {what}; saw {:?}", self.seen),
            }
        }
    }

    /// Asserts that no event, past or within [`WHILE`], is one for which `pick` answers.
    pub async fn expect_none<T>(
        &mut self,
        what: &str,
        mut pick: impl FnMut(&NetEvent) -> Option<T>,
    ) {
        let deadline = Instant::now() + WHILE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match tokio::time::timeout(left, self.network.events.recv()).await {
                Ok(Some(event)) => self.take(event).await,
                Ok(None) => break,
                Err(_) => break,
            }
        }
        for event in &self.seen {
            assert!(
                pick(event).is_none(),
                "{what}, although it must not: {event:?}"
            );
        }
    }

    async fn take(&mut self, event: NetEvent) {
        if let NetEvent::Control { message, .. } = &event {
            self.command(NetCommand::Verdict {
                message: message.clone(),
                verdict: Verdict::Accept,
            })
            .await;
        }
        self.seen.push(event);
    }

    pub async fn connected(&mut self) -> PeerId {
        self.expect("a connection", |e| match e {
            NetEvent::Connected { peer, .. } => Some(*peer),
            _ => None,
        })
        .await
    }

    pub async fn subscribed(&mut self, who: PeerId) {
        self.expect("a subscription", |e| {
            matches!(e, NetEvent::Subscribed { peer, topic } if *peer == who && *topic == TOPIC)
                .then_some(())
        })
        .await;
    }

    pub async fn hears(&mut self, text: &str) {
        self.expect(&format!("the message {text:?}"), |e| heard(e, text))
            .await;
    }

    /// Sends `text` from `from` until it arrives: datagrams may be lost.
    pub async fn hears_media(&mut self, from: &Self, text: &str) -> Option<PeerId> {
        let stop = CancellationToken::new();
        let (sender, packet) = (
            from.network.commands.clone(),
            Bytes::copy_from_slice(text.as_bytes()),
        );
        let repeat = tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while sender.send(NetCommand::Media(packet.clone())).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        let from = self
            .expect(&format!("the packet {text:?}"), |e| heard_media(e, text))
            .await;
        stop.cancel();
        let _ = repeat.await;
        from
    }

    pub async fn up(&mut self) {
        self.expect("the relay", |e| {
            matches!(e, NetEvent::RelayUp).then_some(())
        })
        .await;
    }

    pub async fn attached(&mut self, route: RouteKey) {
        self.expect("the route", |e| {
            matches!(e, NetEvent::RouteAttached(r) if *r == route).then_some(())
        })
        .await;
    }

    /// Ends the node and waits for all its tasks.
    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.network.closed())
            .await
            .expect("every task ends");
    }
}

pub fn heard(event: &NetEvent, text: &str) -> Option<()> {
    matches!(event, NetEvent::Control { payload, .. } if payload == text.as_bytes()).then_some(())
}

pub fn heard_media(event: &NetEvent, text: &str) -> Option<Option<PeerId>> {
    match event {
        NetEvent::Media { from, payload } if payload == text.as_bytes() => Some(*from),
        _ => None,
    }
}

/// A circle of at most sixteen, this way.
pub fn by(path: &RelayPath) -> Relayed {
    Relayed::by(std::slice::from_ref(path), 16, Pace::Usual).expect("there is a way")
}

/// A relay and its switch.
pub struct TestRelay {
    pub relay: Relay,
    pub cancel: CancellationToken,
}

impl TestRelay {
    pub fn start(config: RelayConfig) -> Self {
        let cancel = CancellationToken::new();
        let relay = Relay::start(config, cancel.clone()).expect("the relay starts");
        Self { relay, cancel }
    }

    pub fn new() -> Self {
        Self::start(RelayConfig::new(Keypair::generate_ed25519(), vec![LOCAL]))
    }

    /// As after a restart: with the identity and the addresses it had.
    pub fn again(identity: Keypair, path: &RelayPath) -> Self {
        let mut config = RelayConfig::new(identity, vec![path.hub.addr]);
        config.entry.listen = vec![path.entry.addr];
        Self::start(config)
    }

    /// Its hub.
    pub fn address(&self) -> RelayAddress {
        self.relay.hubs[0].clone()
    }

    /// The way to its hub by its entry.
    pub fn path(&self) -> RelayPath {
        self.relay.paths()[0].clone()
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.relay.closed())
            .await
            .expect("every task ends");
    }

    /// Waits until the relay's sums are as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&RelayStats) -> bool) {
        self.within(PATIENCE, what, wanted).await;
    }

    /// The same, with more patience or less.
    pub async fn within(
        &self,
        patience: Duration,
        what: &str,
        wanted: impl Fn(&RelayStats) -> bool,
    ) {
        let deadline = Instant::now() + patience;
        while !wanted(&self.relay.stats()) {
            assert!(
                Instant::now() < deadline,
                "waited in vain for {what}: {:?}",
                self.relay.stats()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Nodes behind one relay, subscribed to [`TOPIC`] and attached to [`ROUTE`]; the relay knows of all of them.
pub async fn circle(relay: &TestRelay, members: usize) -> Vec<TestNode> {
    let (address, path) = (relay.address(), relay.path());
    let before = relay.relay.stats().subscriptions;
    let mut nodes: Vec<TestNode> = (0..members).map(|_| TestNode::relayed(&path)).collect();
    for node in &mut nodes {
        node.command(NetCommand::Subscribe(TOPIC)).await;
        node.command(NetCommand::AttachRoute(ROUTE)).await;
    }
    for node in &mut nodes {
        node.up().await;
        node.subscribed(address.peer).await;
        node.attached(ROUTE).await;
    }
    let all = before + members as u64;
    relay
        .until("all subscriptions", |s| s.subscriptions >= all)
        .await;
    nodes
}

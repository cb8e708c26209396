//! The swarm task: libp2p's events to the driver's, the driver's commands to libp2p.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport,
    core::{ConnectedPoint, muxing::StreamMuxerBox},
    gossipsub::{self, MessageAcceptance, PublishError},
    swarm::{self, SwarmEvent, dial_opts::DialOpts},
};
use tokio::sync::mpsc;

use super::{
    MAX_CONTROL_BYTES, NetError,
    address::{RelayAddress, is_dialable, parse_quic, quic_multiaddr},
    behaviour::{Behaviour, BehaviourEvent},
    dialable,
    gossip::{Gossip, ident_topic, topic_of, topic_score_params},
    limit::{Allowance, Budget},
    outbox::Outbox,
    registry::Registry,
    relay_link::RelayLink,
    tasks::Tasks,
    transport::QuicTransport,
    types::{MessageRef, NetCommand, NetEvent, Refusal, Topic, Verdict},
};

/// Events waiting for the driver beyond the channel; with these full, libp2p is no longer polled and peers wait.
const MAX_BACKLOG: usize = 256;
/// Topics a node hears at a time: two epochs of the circle, its door, and room.
const MAX_TOPICS: usize = 16;
/// Messages and bytes taken from a neighbour; it may be the only one that several members reach us through.
const MESSAGES: Budget = Budget {
    per_second: 60.0,
    burst: 300.0,
};
const BYTES: Budget = Budget {
    per_second: 192.0 * 1024.0,
    burst: 1024.0 * 1024.0,
};
/// Addresses tried for one peer.
const MAX_DIAL_ADDRS: usize = 8;
/// How often waiting messages and the relay are looked after.
const TICK: Duration = Duration::from_millis(100);
/// How often it is looked whether one is on another network.
const LOOK_AROUND: Duration = Duration::from_secs(2);
/// Time given to gossip on its way when the network ends.
const LINGER: Duration = Duration::from_millis(200);
/// Gossip published longer ago than this is not on its way any more.
const RECENT: Duration = Duration::from_secs(1);
/// Time given to connections to say that they close.
const CLOSE: Duration = Duration::from_millis(300);
/// Connections live as long as QUIC keeps them; libp2p is not to close idle ones.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// libp2p's settings, shared with the relay.
pub(crate) fn swarm_config(tasks: Tasks) -> swarm::Config {
    swarm::Config::with_executor(tasks)
        .with_idle_connection_timeout(IDLE)
        .with_max_negotiating_inbound_streams(32)
        .with_per_connection_event_buffer_size(32)
}

/// What the swarm task is given beside its transport and behaviour.
pub(crate) struct Setup {
    pub(crate) local_peer: PeerId,
    /// Bound addresses to answer on.
    pub(crate) listen: Vec<SocketAddr>,
    /// Where a relayed circle meets; none in direct ones.
    pub(crate) hubs: Vec<RelayAddress>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) endpoints: Vec<quinn::Endpoint>,
    pub(crate) tasks: Tasks,
}

/// See the module.
pub(crate) struct NodeSwarm {
    swarm: Swarm<Behaviour>,
    setup: Setup,
    hubs: Vec<RelayLink>,
    outbox: Outbox,
    topics: HashSet<Topic>,
    backlog: VecDeque<NetEvent>,
    last_publish: Option<Instant>,
    allowances: HashMap<PeerId, Allowance>,
    /// Where one can be dialled, as the driver was told, and when to look again.
    reached: (Vec<SocketAddr>, Instant),
}

impl NodeSwarm {
    pub(crate) fn new(
        transport: QuicTransport,
        behaviour: Behaviour,
        setup: Setup,
    ) -> Result<Self, NetError> {
        let transport = transport
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed();
        let mut swarm = Swarm::new(
            transport,
            behaviour,
            setup.local_peer,
            swarm_config(setup.tasks.clone()),
        );
        for addr in &setup.listen {
            swarm
                .listen_on(quic_multiaddr(*addr))
                .map_err(|_| NetError::Transport(super::TransportError::NoSuchEndpoint))?;
        }
        let hubs = (setup.hubs.iter().cloned())
            .map(|hub| RelayLink::new(hub, Instant::now()))
            .collect();
        Ok(Self {
            swarm,
            setup,
            hubs,
            outbox: Outbox::default(),
            topics: HashSet::new(),
            backlog: VecDeque::new(),
            last_publish: None,
            allowances: HashMap::new(),
            reached: (Vec::new(), Instant::now()),
        })
    }

    /// Runs until no command can come, or nobody takes events; then closes everything and ends all tasks.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NetCommand>,
        events: mpsc::Sender<NetEvent>,
    ) {
        // However it ends, nothing goes on without it.
        let _ends = self.setup.tasks.ends_when_dropped();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => break,
                },
                room = events.reserve(), if !self.backlog.is_empty() => match room {
                    Ok(room) => if let Some(event) = self.backlog.pop_front() { room.send(event) },
                    Err(_) => break,
                },
                _ = tick.tick() => self.handle_tick(Instant::now()),
                event = self.swarm.select_next_some(), if self.backlog.len() < MAX_BACKLOG => self.handle_event(event),
            }
        }
        self.close().await;
    }

    async fn close(mut self) {
        if self
            .last_publish
            .is_some_and(|when| when.elapsed() < RECENT)
        {
            let flush = async {
                loop {
                    self.swarm.select_next_some().await;
                }
            };
            let _: Result<(), _> = tokio::time::timeout(LINGER, flush).await;
        }
        let Self { swarm, setup, .. } = self;
        drop(swarm);
        for endpoint in &setup.endpoints {
            endpoint.close(0u32.into(), b"");
        }
        let idle =
            futures::future::join_all(setup.endpoints.iter().map(quinn::Endpoint::wait_idle));
        let _ = tokio::time::timeout(CLOSE, idle).await;
        setup.tasks.stop();
    }

    fn emit(&mut self, event: NetEvent) {
        self.backlog.push_back(event);
    }

    fn refuse(&mut self, reason: Refusal) {
        self.emit(NetEvent::Refused { reason });
    }

    // ---- commands

    fn handle_command(&mut self, command: NetCommand) {
        match command {
            NetCommand::Subscribe(topic) => self.handle_subscribe(topic),
            NetCommand::Unsubscribe(topic) => {
                self.topics.remove(&topic);
                self.outbox.take(topic);
                if let Some(gossip) = self.gossip() {
                    gossip.unsubscribe(&ident_topic(&topic));
                }
            }
            NetCommand::Publish { payload, .. } if payload.len() > MAX_CONTROL_BYTES => {
                self.refuse(Refusal::ControlTooLarge {
                    bytes: payload.len(),
                });
            }
            NetCommand::Publish { topic, payload, .. } => self.publish(topic, payload),
            NetCommand::Verdict { message, verdict } => self.handle_verdict(&message, verdict),
            NetCommand::Dial { peer, addrs } => self.handle_dial(peer, &addrs),
            NetCommand::Block(peer) => {
                if let Some(gossip) = self.gossip() {
                    gossip.blacklist_peer(&peer);
                }
                let _ = self.swarm.disconnect_peer_id(peer);
            }
            NetCommand::Unblock(peer) => {
                if let Some(gossip) = self.gossip() {
                    gossip.remove_blacklisted_peer(&peer);
                }
            }
            NetCommand::AttachRoute(_) => self.refuse(Refusal::RouteInDirectCircle),
            // Carried out by the courier.
            NetCommand::DetachRoute(_)
            | NetCommand::KeepUp(_)
            | NetCommand::Allow(_)
            | NetCommand::Media(_) => {}
        }
    }

    fn handle_subscribe(&mut self, topic: Topic) {
        if !self.topics.contains(&topic) && self.topics.len() >= MAX_TOPICS {
            self.refuse(Refusal::TooManyTopics);
            return;
        }
        self.topics.insert(topic);
        if let Some(gossip) = self.gossip() {
            let ident = ident_topic(&topic);
            let _ = gossip.set_topic_params(ident.clone(), topic_score_params());
            if gossip.subscribe(&ident).is_err() {
                self.refuse(Refusal::TooManyTopics);
            }
        }
    }

    /// Gossip, in direct circles.
    fn gossip(&mut self) -> Option<&mut Gossip> {
        self.swarm.behaviour_mut().gossip.as_mut()
    }

    fn publish(&mut self, topic: Topic, payload: Bytes) {
        let Some(gossip) = self.gossip() else { return };
        match gossip.publish(ident_topic(&topic), payload.to_vec()) {
            Ok(_) => self.last_publish = Some(Instant::now()),
            // Said already.
            Err(PublishError::Duplicate) => {}
            Err(PublishError::NoPeersSubscribedToTopic) => {
                let given_up = self.outbox.keep(topic, payload, false, Instant::now());
                for (topic, payload, _) in given_up {
                    self.refuse(Refusal::NobodyListening { topic, payload });
                }
            }
            Err(PublishError::MessageTooLarge) => self.refuse(Refusal::ControlTooLarge {
                bytes: payload.len(),
            }),
            // Full queues, mostly; gossipsub has put the message among those seen, so a second try would do nothing.
            Err(_) => self.refuse(Refusal::NobodyListening { topic, payload }),
        }
    }

    fn handle_verdict(&mut self, message: &MessageRef, verdict: Verdict) {
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        if let Some(gossip) = self.gossip() {
            gossip.report_message_validation_result(&message.id, &message.source, acceptance);
        }
    }

    fn handle_dial(&mut self, peer: PeerId, addrs: &[SocketAddr]) {
        if self.is_relayed() {
            self.refuse(Refusal::DialInRelayedCircle);
            return;
        }
        if self.setup.registry.is_blocked(&peer) {
            self.refuse(Refusal::PeerBlocked(peer));
            return;
        }
        if peer == self.setup.local_peer {
            return;
        }
        let addrs: Vec<Multiaddr> = addrs
            .iter()
            .filter(|a| is_dialable(a))
            .take(MAX_DIAL_ADDRS)
            .map(|a| quic_multiaddr(*a))
            .collect();
        match self
            .swarm
            .dial(DialOpts::peer_id(peer).addresses(addrs).build())
        {
            Ok(()) | Err(swarm::DialError::DialPeerConditionFalse(_)) => {}
            Err(_) => self.emit(NetEvent::Unreachable(peer)),
        }
    }

    // ---- time

    fn handle_tick(&mut self, now: Instant) {
        if !self.is_relayed() && self.reached.1 <= now {
            self.look_around(now);
        }
        for (topic, payload, _) in self.outbox.expired(now) {
            self.refuse(Refusal::NobodyListening { topic, payload });
        }
        let due = self.hubs.iter_mut().filter_map(|hub| {
            let due = hub.dial_is_due(now);
            due.then(|| hub.address().clone())
        });
        for hub in due.collect::<Vec<_>>() {
            let opts = DialOpts::peer_id(hub.peer)
                .addresses(vec![quic_multiaddr(hub.addr)])
                .build();
            if self.swarm.dial(opts).is_err() {
                self.handle_hub_lost(&hub.peer, now);
            }
        }
    }

    /// A laptop goes from one network to the next.
    fn look_around(&mut self, now: Instant) {
        let listen = self.setup.listen.iter();
        let reached: Vec<_> = listen.flat_map(|bound| dialable(*bound)).collect();
        if reached != self.reached.0 {
            self.emit(NetEvent::Listening(reached.clone()));
        }
        self.reached = (reached, now + LOOK_AROUND);
    }

    fn handle_hub_lost(&mut self, peer: &PeerId, now: Instant) {
        let tell = self.hub(peer).is_some_and(|hub| hub.handle_lost(now));
        if tell && !self.hubs.iter().any(RelayLink::is_up) {
            self.emit(NetEvent::RelayDown);
        }
    }

    // ---- libp2p

    fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.handle_gossip(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                num_established,
                endpoint,
                ..
            } if num_established.get() == 1 => {
                self.handle_connected(peer_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                self.allowances.remove(&peer_id);
                if self.is_relayed() {
                    self.handle_hub_lost(&peer_id, Instant::now());
                } else {
                    self.emit(NetEvent::Disconnected(peer_id));
                }
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                ..
            } if !self.swarm.is_connected(&peer) => {
                if self.is_relayed() {
                    self.handle_hub_lost(&peer, Instant::now());
                } else {
                    self.emit(NetEvent::Unreachable(peer));
                }
            }
            SwarmEvent::ListenerError { .. } => {
                tracing::debug!("a connection could not be accepted")
            }
            _ => {}
        }
    }

    /// Whether what a neighbour says is within its budget.
    fn admits(&mut self, peer: PeerId, bytes: usize) -> bool {
        let now = Instant::now();
        self.allowances
            .entry(peer)
            .or_insert_with(|| Allowance::new(MESSAGES, BYTES, now))
            .admits(bytes, now)
    }

    fn is_relayed(&self) -> bool {
        !self.hubs.is_empty()
    }

    fn hub(&mut self, peer: &PeerId) -> Option<&mut RelayLink> {
        (self.hubs.iter_mut()).find(|hub| hub.address().peer == *peer)
    }

    fn handle_connected(&mut self, peer: PeerId, endpoint: &ConnectedPoint) {
        if self.is_relayed() {
            let first = !self.hubs.iter().any(RelayLink::is_up);
            if let Some(hub) = self.hub(&peer) {
                hub.handle_up(Instant::now());
            }
            if first {
                self.emit(NetEvent::RelayUp);
            }
        } else if let Some((remote, _)) = parse_quic(endpoint.get_remote_address()) {
            self.emit(NetEvent::Connected { peer, remote });
        }
    }

    fn handle_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message {
                propagation_source: from,
                message_id,
                message,
            } => {
                let message_ref = MessageRef {
                    id: message_id,
                    source: from,
                };
                let within = self.admits(from, message.data.len());
                match topic_of(&message.topic).filter(|topic| self.topics.contains(topic)) {
                    Some(topic) if within => {
                        let payload = Bytes::from(message.data);
                        self.emit(NetEvent::Control {
                            topic,
                            payload,
                            kept: false,
                            from,
                            message: message_ref,
                        });
                    }
                    // Too much, or on a topic given up a moment ago.
                    _ => self.handle_verdict(&message_ref, Verdict::Ignore),
                }
            }
            gossipsub::Event::Subscribed {
                peer_id: peer,
                topic,
            } => {
                if let Some(topic) = topic_of(&topic) {
                    for payload in self.outbox.take(topic) {
                        self.publish(topic, payload);
                    }
                    if self.admits(peer, 0) {
                        self.emit(NetEvent::Subscribed { peer, topic });
                    }
                }
            }
            gossipsub::Event::SlowPeer { .. } => tracing::debug!("a peer takes gossip too slowly"),
            _ => {}
        }
    }
}

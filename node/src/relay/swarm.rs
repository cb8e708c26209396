//! The gossip hub's task.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{
    PeerId, Swarm, Transport,
    core::muxing::StreamMuxerBox,
    gossipsub::{Event, MessageAcceptance},
    swarm::SwarmEvent,
};
use tokio_util::sync::CancellationToken;

use super::{
    RelayError, RelayLimits,
    hub::Hub,
    stats::count,
    topics::{Admission, Topics},
};
use crate::net::{
    Behaviour, BehaviourEvent, QuicTransport, Tasks, TransportError, ident_topic, quic_multiaddr,
    swarm_config, topic_of,
};

/// Time given to connections to say that they close.
const CLOSE: Duration = Duration::from_millis(300);

/// How often the loop shows that it goes round.
const PULSE: Duration = Duration::from_secs(1);

/// What the task is given beside its transport and behaviour.
pub(crate) struct Setup {
    pub(crate) peer: PeerId,
    pub(crate) bound: Vec<SocketAddr>,
    pub(crate) endpoints: Vec<quinn::Endpoint>,
    pub(crate) limits: RelayLimits,
    pub(crate) hub: Arc<Hub>,
    pub(crate) tasks: Tasks,
}

/// See the module.
pub(crate) struct RelaySwarm {
    swarm: Swarm<Behaviour>,
    setup: Setup,
    topics: Topics,
}

impl RelaySwarm {
    pub(crate) fn new(
        transport: QuicTransport,
        behaviour: Behaviour,
        setup: Setup,
    ) -> Result<Self, RelayError> {
        let transport = transport
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed();
        let mut swarm = Swarm::new(
            transport,
            behaviour,
            setup.peer,
            swarm_config(setup.tasks.clone()),
        );
        for addr in &setup.bound {
            swarm
                .listen_on(quic_multiaddr(*addr))
                .map_err(|_| TransportError::NoSuchEndpoint)?;
        }
        let topics = Topics::new(setup.limits);
        Ok(Self {
            swarm,
            setup,
            topics,
        })
    }

    /// Runs until `cancel`, then closes everything and ends all tasks.
    pub(crate) async fn run(mut self, cancel: CancellationToken) {
        let mut pulse = tokio::time::interval(PULSE);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = pulse.tick() => self.setup.hub.counters.alive(),
                event = self.swarm.select_next_some() => self.handle_event(event),
            }
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

    fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(event)) => self.handle_gossip(event),
            SwarmEvent::ConnectionEstablished { peer_id, .. } => {
                self.topics.handle_connected(peer_id, Instant::now());
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                ..
            } => {
                for topic in self.topics.handle_gone(&peer_id) {
                    self.swarm
                        .behaviour_mut()
                        .gossip
                        .unsubscribe(&ident_topic(&topic));
                }
                self.count_topics();
            }
            _ => {}
        }
    }

    fn handle_gossip(&mut self, event: Event) {
        match event {
            Event::Subscribed { peer_id, topic } => {
                let Some(topic) = topic_of(&topic) else {
                    return;
                };
                if self.topics.handle_subscribed(peer_id, topic) {
                    // Only the form of a topic could be wrong, and it was checked.
                    let _ = self
                        .swarm
                        .behaviour_mut()
                        .gossip
                        .subscribe(&ident_topic(&topic));
                }
                self.count_topics();
            }
            Event::Unsubscribed { peer_id, topic } => {
                let Some(topic) = topic_of(&topic) else {
                    return;
                };
                if self.topics.handle_unsubscribed(peer_id, topic) {
                    self.swarm
                        .behaviour_mut()
                        .gossip
                        .unsubscribe(&ident_topic(&topic));
                }
                self.count_topics();
            }
            Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                let counters = &self.setup.hub.counters;
                let now = Instant::now();
                let admission = (self.topics).admits(&propagation_source, message.data.len(), now);
                let acceptance = match admission {
                    Admission::Forward => {
                        count(&counters.messages);
                        MessageAcceptance::Accept
                    }
                    Admission::Drop | Admission::Cut => {
                        count(&counters.messages_dropped);
                        MessageAcceptance::Ignore
                    }
                };
                if admission == Admission::Cut
                    && self.swarm.disconnect_peer_id(propagation_source).is_ok()
                {
                    count(&counters.clients_cut);
                }
                self.swarm
                    .behaviour_mut()
                    .gossip
                    .report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            Event::SlowPeer { .. } | Event::GossipsubNotSupported { .. } => {}
        }
    }

    fn count_topics(&self) {
        let counters = &self.setup.hub.counters;
        counters.topics.store(self.topics.len() as u64, Relaxed);
        counters
            .subscriptions
            .store(self.topics.subscriptions() as u64, Relaxed);
    }
}

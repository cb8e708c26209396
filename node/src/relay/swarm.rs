//! The task that keeps libp2p going. Whatever the relay does for its clients it does beside it (`session`).

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{PeerId, Swarm, Transport, core::muxing::StreamMuxerBox};
use tokio_util::sync::CancellationToken;

use super::{RelayError, finder::Finder, hub::Hub};
use crate::net::{
    Behaviour, Gate, QuicTransport, Tasks, TransportError, quic_multiaddr, swarm_config,
};

/// Time given to connections to say that they close.
const CLOSE: Duration = Duration::from_millis(300);

/// How often the loop shows that it goes round, and looks after memory and gates.
const PULSE: Duration = Duration::from_millis(250);

/// What the task is given beside its transport and behaviour.
pub(crate) struct Setup {
    pub(crate) peer: PeerId,
    pub(crate) bound: Vec<SocketAddr>,
    /// The hub's and the entry's.
    pub(crate) endpoints: Vec<quinn::Endpoint>,
    pub(crate) gates: [Arc<Gate>; 2],
    pub(crate) hub: Arc<Hub>,
    /// Addresses that other relays are told, and what finds those, where there is a directory.
    pub(crate) finder: Option<(Vec<SocketAddr>, Finder)>,
    pub(crate) tasks: Tasks,
}

/// See the module.
pub(crate) struct RelaySwarm {
    swarm: Swarm<Behaviour>,
    setup: Setup,
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
        for addr in setup.finder.iter().flat_map(|(own, _)| own) {
            swarm.add_external_address(quic_multiaddr(*addr));
        }
        Ok(Self { swarm, setup })
    }

    /// Runs until `cancel`, then closes everything and ends all tasks.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let Self {
            mut swarm,
            mut setup,
        } = self;
        let mut pulse = tokio::time::interval(PULSE);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = pulse.tick() => {
                    let now = Instant::now();
                    setup.hub.counters.alive();
                    let is_full = setup.hub.limits.is_out_of_memory();
                    for gate in &setup.gates {
                        gate.pause(is_full);
                        gate.tend(now);
                    }
                    if let Some((_, finder)) = &mut setup.finder {
                        finder.handle_tick(&mut swarm, now);
                    }
                }
                event = swarm.select_next_some() => {
                    if let Some((_, finder)) = &mut setup.finder {
                        finder.handle_event(&mut swarm, event);
                    }
                }
            }
        }
        drop(swarm);
        for endpoint in &setup.endpoints {
            endpoint.close(0u32.into(), b"");
        }
        let idle =
            futures::future::join_all(setup.endpoints.iter().map(quinn::Endpoint::wait_idle));
        let _ = tokio::time::timeout(CLOSE, idle).await;
        setup.tasks.stop();
    }
}

//! The words the driver and the network exchange.

use std::{fmt, net::SocketAddr};

use bytes::Bytes;
use libp2p::{PeerId, gossipsub::MessageId};
use sha2::{Digest, Sha256};
use undertone_protocol::session::Delivery;

/// An opaque gossip topic. Whoever knows it can subscribe, so it is never printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(pub [u8; 32]);

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Topic(..)")
    }
}

impl Topic {
    /// What it is called at this hub: no hub learns what it is called at another, and can do nothing there.
    #[must_use]
    pub fn at(&self, hub: &PeerId) -> Self {
        Self(name_at(b"undertone/1/topic-at-hub", &self.0, hub))
    }
}

impl RouteKey {
    /// What it is called at this hub, as [`Topic::at`].
    #[must_use]
    pub fn at(&self, hub: &PeerId) -> Self {
        Self(name_at(b"undertone/1/route-at-hub", &self.0, hub))
    }
}

fn name_at(kind: &[u8], name: &[u8; 32], hub: &PeerId) -> [u8; 32] {
    Sha256::new()
        .chain_update(kind)
        .chain_update(name)
        .chain_update(hub.to_bytes())
        .finalize()
        .into()
}

/// A media route at a relay. Whoever knows it can attach, so it is never printed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteKey(pub [u8; 32]);

impl fmt::Debug for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RouteKey(..)")
    }
}

/// Names one received control message, for the verdict on it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MessageRef {
    pub(crate) id: MessageId,
    pub(crate) source: PeerId,
}

/// What is to happen to a received control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Do not forward it; nobody is to blame.
    Ignore,
    /// Do not forward it and hold it against whoever sent it.
    Reject,
}

/// What the driver asks of the network.
#[derive(Clone)]
pub enum NetCommand {
    /// Hear a topic; at a relay, have it forwarded.
    Subscribe(Topic),
    /// Stop hearing a topic. What still waits to be published on it is forgotten.
    Unsubscribe(Topic),
    /// Broadcast `payload`, at most [`MAX_CONTROL_BYTES`](super::MAX_CONTROL_BYTES). The same bytes on the same topic
    /// within two minutes are the same message, and are not heard again. Waits, bounded in number and time, for
    /// somebody to subscribe, and [`Refusal::NobodyListening`] follows if nobody does; in a relayed circle, for a hub
    /// to be there.
    Publish {
        /// Where.
        topic: Topic,
        /// Sealed bytes.
        payload: Bytes,
        /// How. In a direct circle it changes nothing.
        delivery: Delivery,
    },
    /// The decision on a message that arrived; until then it is not forwarded (and after about five seconds cannot be).
    /// In a relayed circle it changes nothing: the hub has told everybody, and blaming it for what it cannot read would
    /// let anybody cut this node off.
    Verdict {
        /// Which.
        message: MessageRef,
        /// What.
        verdict: Verdict,
    },
    /// Connect to a member (direct circles only). Nothing happens while connected to it.
    Dial {
        /// Who must answer; anybody else is refused in the handshake.
        peer: PeerId,
        /// Where, tried together.
        addrs: Vec<SocketAddr>,
    },
    /// Send media to, and accept media from, exactly these; replaces the previous list. Direct circles only.
    Allow(Vec<PeerId>),
    /// Close every connection of this peer, drop its gossip, refuse its return.
    Block(PeerId),
    /// Refuse this peer no longer.
    Unblock(PeerId),
    /// From now on something of the smallest size is said on this topic at a steady pace, whether there is something to
    /// say or not, so that hubs do not see who has (relayed circles only).
    KeepUp(Topic),
    /// Take a slot on a media route of the relay. With two attached already, the older is given up.
    AttachRoute(RouteKey),
    /// Give the slot back; nothing more is heard from that route, from this moment.
    DetachRoute(RouteKey),
    /// One sealed packet, at most [`MAX_PACKET_BYTES`](super::MAX_PACKET_BYTES): to every allowed peer, or once to the
    /// relay on the newest route it has confirmed.
    Media(Bytes),
}

/// What the network tells the driver.
#[derive(Clone)]
pub enum NetEvent {
    /// Peers may dial these addresses, and no others from now on (direct circles).
    Listening(Vec<SocketAddr>),
    /// The first connection to a peer is up.
    Connected {
        /// Who.
        peer: PeerId,
        /// The address it is seen at. Not to be logged or stored.
        remote: SocketAddr,
    },
    /// The last connection to a peer is gone.
    Disconnected(PeerId),
    /// A dial failed on every address.
    Unreachable(PeerId),
    /// A control message, unverified. Answer with [`NetCommand::Verdict`].
    Control {
        /// Where.
        topic: Topic,
        /// Sealed bytes.
        payload: Bytes,
        /// Whether it was left there before one asked to hear the topic.
        kept: bool,
        /// The neighbour that handed it on: not its author.
        from: PeerId,
        /// For the verdict.
        message: MessageRef,
    },
    /// A neighbour now hears this topic: publishing reaches somebody. In a relayed circle that is the relay, and whom
    /// it reaches beyond is not told; a member whose own subscription is still on its way misses what is said before.
    Subscribed {
        /// Who; the relay, in relayed circles.
        peer: PeerId,
        /// What.
        topic: Topic,
    },
    /// One sealed packet, unverified.
    Media {
        /// The connection it came on; `None` when a relay forwarded it.
        from: Option<PeerId>,
        /// Sealed bytes.
        payload: Bytes,
    },
    /// Connected to a hub. Topics and routes are being asked for again by themselves.
    RelayUp,
    /// Connected to no hub; all are being dialled again, with growing pauses.
    RelayDown,
    /// What a relay says of whoever runs it, unverified (`undertone_protocol::operator`).
    OperatorCard {
        /// Which relay.
        relay: PeerId,
        /// Its words.
        card: Bytes,
    },
    /// A hub confirmed a route: media sent now uses it.
    RouteAttached(RouteKey),
    /// A command was not carried out.
    Refused {
        /// Why.
        reason: Refusal,
    },
}

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A control payload over [`MAX_CONTROL_BYTES`](super::MAX_CONTROL_BYTES).
    #[error("a control payload of {bytes} bytes")]
    ControlTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A message was given up: nobody subscribed in time, or too many were waiting.
    #[error("nobody listens to the topic")]
    NobodyListening {
        /// Where it was to be published.
        topic: Topic,
        /// What was not said.
        payload: Bytes,
    },
    /// More topics than a node may hear at a time.
    #[error("too many topics")]
    TooManyTopics,
    /// A relayed circle never dials a member.
    #[error("members of a relayed circle are not dialled")]
    DialInRelayedCircle,
    /// A direct circle has no routes.
    #[error("a direct circle has no routes")]
    RouteInDirectCircle,
    /// The peer was blocked earlier.
    #[error("the peer is blocked")]
    PeerBlocked(PeerId),
    /// The relay did not grant a slot. Asked again every few seconds while the route is wanted.
    #[error("the relay refused a route: {reason}")]
    Route {
        /// Which.
        route: RouteKey,
        /// Its words.
        reason: RouteRefusal,
    },
}

/// Why a relay did not grant a slot on a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefusal {
    /// The route has all the slots it may have.
    #[error("the route is full")]
    RouteFull,
    /// This connection holds all the routes it may hold.
    #[error("too many routes on this connection")]
    TooManyRoutes,
    /// The relay holds all the routes it may hold.
    #[error("the relay is full")]
    RelayFull,
    /// The slot number is zero or already used for another route.
    #[error("the slot is taken")]
    SlotTaken,
    /// A reason this version does not know.
    #[error("reason {0}")]
    Other(u8),
}

// What people may end up logging with `{:?}` names the kind of a thing and its size: no address, peer or content.

impl fmt::Debug for MessageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageRef(..)")
    }
}

impl fmt::Debug for NetCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscribe(_) => f.write_str("Subscribe"),
            Self::Unsubscribe(_) => f.write_str("Unsubscribe"),
            Self::Publish { payload, .. } => write!(f, "Publish({} bytes)", payload.len()),
            Self::Verdict { verdict, .. } => write!(f, "Verdict({verdict:?})"),
            Self::Dial { addrs, .. } => write!(f, "Dial({} addresses)", addrs.len()),
            Self::Allow(peers) => write!(f, "Allow({} peers)", peers.len()),
            Self::Block(_) => f.write_str("Block"),
            Self::Unblock(_) => f.write_str("Unblock"),
            Self::KeepUp(_) => f.write_str("KeepUp"),
            Self::AttachRoute(_) => f.write_str("AttachRoute"),
            Self::DetachRoute(_) => f.write_str("DetachRoute"),
            Self::Media(packet) => write!(f, "Media({} bytes)", packet.len()),
        }
    }
}

impl fmt::Debug for NetEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening(_) => f.write_str("Listening"),
            Self::Connected { .. } => f.write_str("Connected"),
            Self::Disconnected(_) => f.write_str("Disconnected"),
            Self::Unreachable(_) => f.write_str("Unreachable"),
            Self::Control { payload, .. } => write!(f, "Control({} bytes)", payload.len()),
            Self::Subscribed { .. } => f.write_str("Subscribed"),
            Self::Media { payload, .. } => write!(f, "Media({} bytes)", payload.len()),
            Self::RelayUp => f.write_str("RelayUp"),
            Self::RelayDown => f.write_str("RelayDown"),
            Self::OperatorCard { card, .. } => write!(f, "OperatorCard({} bytes)", card.len()),
            Self::RouteAttached(_) => f.write_str("RouteAttached"),
            Self::Refused { reason } => write!(f, "Refused({reason})"),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_nothing_of_the_name_elsewhere() {
        let [one, two] = [1, 2].map(|seed| {
            let mut seed = [seed; 32];
            let keypair = libp2p::identity::Keypair::ed25519_from_bytes(&mut seed).unwrap();
            keypair.public().to_peer_id()
        });
        let (topic, route) = (Topic([7; 32]), RouteKey([7; 32]));
        assert_eq!(topic.at(&one), topic.at(&one));
        let names = [topic.at(&one).0, topic.at(&two).0, route.at(&one).0];
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert_eq!(names[0][..4], [0xf7, 0x92, 0x3d, 0xed], "docs/protocol.md");
    }

    #[test]
    fn debug_shows_no_address_peer_or_content() {
        let (peer, remote) = (PeerId::random(), SocketAddr::from(([203, 0, 113, 9], 4433)));
        let payload = Bytes::from_static(b"content");
        let route = RouteKey([0xab; 32]);
        let topic = Topic([0xcd; 32]);
        let shown = format!(
            "{:?}",
            (
                NetEvent::Connected { peer, remote },
                NetEvent::Listening(vec![remote]),
                NetEvent::Media {
                    from: Some(peer),
                    payload: payload.clone()
                },
                NetEvent::Refused {
                    reason: Refusal::PeerBlocked(peer)
                },
                NetEvent::Refused {
                    reason: Refusal::NobodyListening {
                        topic,
                        payload: payload.clone()
                    }
                },
                NetEvent::Refused {
                    reason: Refusal::Route {
                        route,
                        reason: RouteRefusal::RouteFull
                    }
                },
                NetCommand::Dial {
                    peer,
                    addrs: vec![remote]
                },
                NetCommand::Publish {
                    topic,
                    payload,
                    delivery: Delivery::Lasting
                },
                NetCommand::AttachRoute(route),
                crate::net::RelayAddress { peer, addr: remote },
            )
        );
        for secret in [
            peer.to_string().as_str(),
            "203.0.113",
            "content",
            "171",
            "205",
            "abab",
            "cdcd",
        ] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
}

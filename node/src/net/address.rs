//! Multiaddresses, as far as Undertone needs them: QUIC v1 over UDP at an IP address, optionally with a peer.

use std::{fmt, net::SocketAddr, str::FromStr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Where a relay is and who must answer there.
///
/// Written and read as a multiaddress: `/ip4/192.0.2.7/udp/4433/quic-v1/p2p/12D3Koo…`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelayAddress {
    /// Its transport identity, pinned in the handshake.
    pub peer: PeerId,
    /// Its UDP address.
    pub addr: SocketAddr,
}

/// Addresses are not for logs; [`fmt::Display`] shows it where a person asked for it.
impl fmt::Debug for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayAddress(..)")
    }
}

/// Why a text is not a relay's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a multiaddress.
    #[error("not a multiaddress")]
    Syntax,
    /// A multiaddress, but not `/ip4|ip6/…/udp/…/quic-v1/p2p/…`.
    #[error(
        "a relay's address looks like /ip4/192.0.2.7/udp/4433/quic-v1/p2p/12D3Koo…, and two of them with /p2p-circuit between make a way"
    )]
    Shape,
}

impl fmt::Display for RelayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}",
            quic_multiaddr(self.addr).with(Protocol::P2p(self.peer))
        )
    }
}

impl FromStr for RelayAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let multiaddr: Multiaddr = text.trim().parse().map_err(|_| AddressError::Syntax)?;
        match parse_quic(&multiaddr) {
            Some((addr, Some(peer))) if is_dialable(&addr) => Ok(Self { peer, addr }),
            _ => Err(AddressError::Shape),
        }
    }
}

impl<'de> serde::Deserialize<'de> for RelayAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A way to a hub: in through an entry, which may be another operator's, and on.
///
/// Written and read as libp2p writes the way through a relay: `ENTRY/p2p-circuit/HUB`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelayPath {
    /// Sees who comes, not which circle they go to.
    pub entry: RelayAddress,
    /// Sees which connections share a circle, not who they are.
    pub hub: RelayAddress,
}

impl From<(&RelayAddress, &RelayAddress)> for RelayPath {
    fn from((entry, hub): (&RelayAddress, &RelayAddress)) -> Self {
        Self {
            entry: entry.clone(),
            hub: hub.clone(),
        }
    }
}

impl fmt::Debug for RelayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RelayPath(..)")
    }
}

impl fmt::Display for RelayPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{ON}{}", self.entry, self.hub)
    }
}

impl FromStr for RelayPath {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (entry, hub) = text.trim().split_once(ON).ok_or(AddressError::Shape)?;
        Ok(Self {
            entry: entry.parse()?,
            hub: hub.parse()?,
        })
    }
}

/// What stands between entry and hub.
const ON: &str = "/p2p-circuit";

/// `/ip4|ip6/…/udp/…/quic-v1`.
pub(crate) fn quic_multiaddr(addr: SocketAddr) -> Multiaddr {
    Multiaddr::empty()
        .with(addr.ip().into())
        .with(Protocol::Udp(addr.port()))
        .with(Protocol::QuicV1)
}

/// The address and, where named, the peer of a QUIC v1 multiaddress; `None` for any other shape.
pub(crate) fn parse_quic(multiaddr: &Multiaddr) -> Option<(SocketAddr, Option<PeerId>)> {
    let mut parts = multiaddr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else {
        return None;
    };
    let Protocol::QuicV1 = parts.next()? else {
        return None;
    };
    let peer = match parts.next() {
        None => None,
        Some(Protocol::P2p(peer)) => Some(peer),
        Some(_) => return None,
    };
    parts
        .next()
        .is_none()
        .then_some((SocketAddr::new(ip, port), peer))
}

/// Whether packets can be addressed there at all.
pub(crate) fn is_dialable(addr: &SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "/ip4/192.0.2.7/udp/4433/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn a_relay_address_survives_the_round_trip() {
        let parsed: RelayAddress = TEXT.parse().unwrap();
        assert_eq!(parsed.addr, SocketAddr::from(([192, 0, 2, 7], 4433)));
        assert_eq!(parsed.to_string(), TEXT);
        let v6 = RelayAddress {
            addr: "[2001:db8::1]:9".parse().unwrap(),
            ..parsed
        };
        assert_eq!(v6.to_string().parse::<RelayAddress>().unwrap(), v6);
    }

    #[test]
    fn a_way_survives_the_round_trip() {
        let way = format!("{TEXT}/p2p-circuit{TEXT}");
        let parsed: RelayPath = way.parse().unwrap();
        assert_eq!(parsed.entry, parsed.hub);
        assert_eq!(parsed.to_string(), way);
        for text in [
            TEXT.to_owned(),
            format!("{way}/p2p-circuit{TEXT}"),
            format!("{TEXT}/p2p-circuit"),
        ] {
            assert!(text.parse::<RelayPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        assert_eq!("hello".parse::<RelayAddress>(), Err(AddressError::Syntax));
        for text in [
            "/ip4/192.0.2.7/udp/4433/quic-v1",
            "/ip4/192.0.2.7/tcp/4433",
            "/ip4/0.0.0.0/udp/4433/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            "/dns4/example.org/udp/4433/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN",
            &format!("{TEXT}/p2p-circuit"),
        ] {
            assert_eq!(
                text.parse::<RelayAddress>(),
                Err(AddressError::Shape),
                "{text}"
            );
        }
    }
}

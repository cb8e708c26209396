//! Who may connect: so many at a time and so many attempts from one address, and in a rush only who proves to be there.
//!
//! Anybody can write any address on a packet. While many handshakes hang, a newcomer is therefore first sent a token to
//! bring back (a QUIC Retry, RFC 9000 §8.1.2), which costs one round trip and keeps made-up addresses out. What is
//! remembered of addresses is in memory, bounded, and gone a minute after the last of their connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::limit::{Budget, TokenBucket};

/// Addresses remembered at a time.
const MOST_VISITORS: usize = 16_384;
/// An address without a connection is forgotten after this.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What one address may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GateLimits {
    /// Connections at a time.
    pub(crate) connections: u32,
    /// Attempts to connect.
    pub(crate) attempts: Budget,
    /// Connections at a time of all who are not trusted: beyond them nothing is spent on a handshake.
    pub(crate) strangers: u32,
    /// Handshakes under way, of all addresses, from which on addresses have to be proven.
    pub(crate) unproven: u32,
}

/// Addresses that many may come from, for which no limit holds: entries, our own and others'.
pub(crate) type Trusted = Vec<IpAddr>;

impl GateLimits {
    /// A participant: a circle's members may all be behind one address.
    pub(crate) const NODE: Self = Self {
        connections: 32,
        attempts: Budget {
            per_second: 4.0,
            burst: 64.0,
        },
        strangers: 64,
        unproven: 16,
    };
}

/// What is done with somebody who knocks.
pub(crate) enum Answer {
    /// The handshake goes on; the place is theirs until it is dropped.
    Welcome(Place),
    /// They are to prove their address first.
    Prove,
    /// The handshake is refused.
    Refuse,
}

struct Visitor {
    open: u32,
    attempts: TokenBucket,
    seen: Instant,
}

#[derive(Default)]
struct State {
    visitors: HashMap<IpAddr, Visitor>,
    strangers: u32,
    pending: u32,
    closed: bool,
}

/// See the module. Time is an argument.
pub(crate) struct Gate {
    limits: GateLimits,
    trusted: Trusted,
    state: Mutex<State>,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits, trusted: Trusted) -> Arc<Self> {
        Arc::new(Self {
            limits,
            trusted: trusted.into_iter().map(network).collect(),
            state: Mutex::default(),
        })
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Somebody knocks from this address, which QUIC has seen `proven` or not.
    pub(crate) fn ask(self: &Arc<Self>, address: IpAddr, proven: bool, now: Instant) -> Answer {
        let limits = self.limits;
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Answer::Refuse;
        }
        if !proven && state.pending >= limits.unproven {
            return Answer::Prove;
        }
        let network = network(address);
        if state.visitors.len() >= MOST_VISITORS && !state.visitors.contains_key(&network) {
            let recent =
                |v: &mut Visitor| v.open > 0 || now.saturating_duration_since(v.seen) < REMEMBERED;
            state.visitors.retain(|_, v| recent(v));
            if state.visitors.len() >= MOST_VISITORS {
                return Answer::Refuse;
            }
        }
        let visitor = state.visitors.entry(network).or_insert_with(|| Visitor {
            open: 0,
            attempts: TokenBucket::new(limits.attempts, now),
            seen: now,
        });
        visitor.seen = now;
        let is_stranger = !self.trusted.contains(&network);
        if is_stranger
            && (visitor.open >= limits.connections
                || !visitor.attempts.take(1.0, now)
                || state.strangers >= limits.strangers)
        {
            return Answer::Refuse;
        }
        visitor.open += 1;
        state.strangers += u32::from(is_stranger);
        state.pending += 1;
        Answer::Welcome(Place {
            gate: Arc::clone(self),
            network,
            is_stranger,
            pending: true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back when dropped.
pub(crate) struct Place {
    gate: Arc<Gate>,
    network: IpAddr,
    is_stranger: bool,
    pending: bool,
}

impl Place {
    /// The handshake is done.
    pub(crate) fn established(&mut self) {
        if std::mem::take(&mut self.pending) {
            self.gate.lock().pending -= 1;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.established();
        let mut state = self.gate.lock();
        state.strangers -= u32::from(self.is_stranger);
        if let Some(visitor) = state.visitors.get_mut(&self.network) {
            visitor.open -= 1;
        }
    }
}

/// Whom something is counted for: one address; where many come from it, by an entry, one of their lines.
pub(crate) fn source(remote: SocketAddr, trusted: &[IpAddr]) -> SocketAddr {
    let network = network(remote.ip());
    let is_shared = trusted.iter().any(|entry| self::network(*entry) == network);
    SocketAddr::new(network, if is_shared { remote.port() } else { 0 })
}

/// What counts as one address: of IPv6 the first 64 bits, which a single line is given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Arc<Gate> {
        Gate::new(
            GateLimits {
                connections: 2,
                attempts: Budget {
                    per_second: 1.0,
                    burst: 4.0,
                },
                strangers: 7,
                unproven: 3,
            },
            vec![address(9)],
        )
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn welcome(answer: Answer) -> Place {
        let Answer::Welcome(place) = answer else {
            unreachable!("not welcome")
        };
        place
    }

    #[test]
    fn one_address_has_so_many_connections_and_attempts() {
        let (gate, now) = (gate(), Instant::now());
        let ask = |last, now| gate.ask(address(last), true, now);
        let first = welcome(ask(1, now));
        let _second = welcome(ask(1, now));
        assert!(matches!(ask(1, now), Answer::Refuse), "two at a time");
        let _other = welcome(ask(2, now));
        drop(first);
        (0..2).for_each(|_| drop(welcome(ask(1, now))));
        assert!(matches!(ask(1, now), Answer::Refuse), "four attempts");
        drop(welcome(ask(1, now + Duration::from_secs(1))));
    }

    #[test]
    fn in_a_rush_addresses_are_to_be_proven() {
        let (gate, now) = (gate(), Instant::now());
        let mut places: Vec<_> = (1..=3)
            .map(|last| welcome(gate.ask(address(last), false, now)))
            .collect();
        assert!(matches!(gate.ask(address(4), false, now), Answer::Prove));
        welcome(gate.ask(address(4), true, now));
        if let Some(place) = places.first_mut() {
            place.established();
        }
        welcome(gate.ask(address(4), false, now));
    }

    #[test]
    fn a_line_is_one_address_and_its_neighbour_another() {
        let line = |n: u16, host: u16| -> IpAddr { [0x2001, 0xdb8, 0, n, 0, 0, 0, host].into() };
        assert_eq!(network(line(1, 1)), network(line(1, 2)));
        assert_ne!(network(line(1, 1)), network(line(2, 1)));
        let mapped = std::net::Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert_eq!(network(mapped.into()), address(1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (gate, now) = (gate(), Instant::now());
        let many = |n: u32| IpAddr::from((0x0a00_0000_u32 + n).to_be_bytes());
        for n in 0..MOST_VISITORS as u32 {
            drop(welcome(gate.ask(many(n), true, now)));
        }
        let one_more = |now| gate.ask(address(1), true, now);
        assert!(matches!(one_more(now), Answer::Refuse));
        assert_eq!(gate.lock().visitors.len(), MOST_VISITORS);
        drop(welcome(one_more(now + REMEMBERED)));
        assert_eq!(gate.lock().visitors.len(), 1);
    }

    #[test]
    fn strangers_have_so_much_room_together_and_entries_their_own() {
        let (gate, now) = (gate(), Instant::now());
        let mut strangers: Vec<_> = (1..=7)
            .map(|last| welcome(gate.ask(address(10 + last), true, now)))
            .collect();
        let one_more = || gate.ask(address(1), true, now);
        assert!(matches!(one_more(), Answer::Refuse));
        let _entry = welcome(gate.ask(address(9), true, now));
        strangers.pop();
        drop(welcome(one_more()));
    }

    #[test]
    fn an_entry_brings_as_many_as_it_has() {
        let (gate, now) = (gate(), Instant::now());
        let places: Vec<_> = (0..100)
            .map(|_| welcome(gate.ask(address(9), true, now)))
            .collect();
        assert_eq!(places.len(), 100);
    }

    #[test]
    fn a_closed_gate_lets_nobody_in() {
        let gate = gate();
        gate.close();
        let answer = gate.ask(address(1), true, Instant::now());
        assert!(matches!(answer, Answer::Refuse));
    }
}

//! Who may connect: so many at a time and so many attempts from one source, and in a rush only who proves to be there.
//!
//! A source is an address; where many come from one, by an entry, it is one of their lines. QUIC lets a connection move,
//! so each is counted where it is now: nobody gathers more of them by moving on.
//!
//! Anybody can write any address on a packet. While many handshakes hang, or half of what a source may take is taken, a
//! newcomer is therefore first sent a token to bring back (a QUIC Retry, RFC 9000 §8.1.2), which costs one round trip and
//! keeps made-up addresses out: they use up nobody's half. What is remembered of addresses is in memory, bounded, and at a
//! relay gone a minute after the last of their connections.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::{
    limit::{Budget, TokenBucket},
    registry::CLOSE_EXCESS,
};

/// Sources remembered at a time, beyond those that are connected.
const MOST_VISITORS: usize = 16_384;
/// A source without a connection is forgotten after this.
const REMEMBERED: Duration = Duration::from_secs(60);

/// What one source may take.
#[derive(Clone, Copy)]
struct Share {
    connections: u32,
    attempts: Budget,
}

/// One line of an entry: a member has one connection on it, while one that was lost may seem alive for eight
/// seconds, and a handshake in vain for five. An address with 64 lines thus takes no more than half of a hub.
const LINE: Share = Share {
    connections: 4,
    attempts: Budget {
        per_second: 0.5,
        burst: 16.0,
    },
};

/// What one address may take, and all together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct GateLimits {
    /// Connections at a time from an address that is not trusted.
    pub(crate) connections: u32,
    /// Attempts to connect from there.
    pub(crate) attempts: Budget,
    /// Connections at a time of all who are not trusted: beyond them nothing is spent on a handshake.
    pub(crate) strangers: u32,
    /// Handshakes under way, of all sources, from which on addresses have to be proven.
    pub(crate) unproven: u32,
}

/// Addresses that many may come from, so that each of their lines is a source of its own: entries, our own and others'.
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

    fn share(&self, source: SocketAddr) -> Share {
        match is_stranger(source) {
            true => Share {
                connections: self.connections,
                attempts: self.attempts,
            },
            false => LINE,
        }
    }
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

/// A connection, as the gate sees it.
pub(crate) trait Guest: Send {
    /// Where it is now.
    fn at(&self) -> SocketAddr;
    /// It has to go: there is no room for it where it is.
    fn turn_out(&self);
}

impl Guest for quinn::Connection {
    fn at(&self) -> SocketAddr {
        self.remote_address()
    }

    fn turn_out(&self) {
        self.close(CLOSE_EXCESS.into(), b"");
    }
}

struct Visitor {
    open: u32,
    attempts: TokenBucket,
    seen: Instant,
}

impl Visitor {
    fn new(share: Share, now: Instant) -> Self {
        Self {
            open: 0,
            attempts: TokenBucket::new(share.attempts, now),
            seen: now,
        }
    }

    /// Whether half of what they may take is left after one more.
    fn has_plenty(&mut self, share: Share, now: Instant) -> bool {
        self.open < share.connections / 2
            && self.attempts.holds(share.attempts.burst / 2.0 + 1.0, now)
    }

    fn is_remembered(&self, now: Instant) -> bool {
        self.open > 0 || now.saturating_duration_since(self.seen) < REMEMBERED
    }
}

/// Somebody who was let in.
struct Held {
    /// Whom it is counted for.
    source: SocketAddr,
    /// Since the handshake is done.
    guest: Option<Box<dyn Guest>>,
}

#[derive(Default)]
struct State {
    visitors: HashMap<SocketAddr, Visitor>,
    /// By the numbers of their places.
    held: BTreeMap<u64, Held>,
    next: u64,
    strangers: u32,
    pending: u32,
    paused: bool,
    closed: bool,
}

impl State {
    /// Makes room for another source, if need be: of those without a connection, the half goes that was not seen for longest,
    /// so that this is not done for each newcomer.
    fn make_room(&mut self, source: SocketAddr, now: Instant) -> bool {
        if self.visitors.len() < MOST_VISITORS || self.visitors.contains_key(&source) {
            return true;
        }
        self.visitors.retain(|_, v| v.is_remembered(now));
        if self.visitors.len() >= MOST_VISITORS {
            let idle = self.visitors.values().filter(|v| v.open == 0);
            let mut seen: Vec<_> = idle.map(|v| v.seen).collect();
            if seen.is_empty() {
                return false;
            }
            let half = seen.len() / 2;
            let (_, half, _) = seen.select_nth_unstable(half);
            self.visitors.retain(|_, v| v.open > 0 || v.seen > *half);
        }
        true
    }

    /// Counts a connection of this source. Says whether it is within the limits.
    fn enter(&mut self, source: SocketAddr, limits: &GateLimits, now: Instant) -> bool {
        let share = limits.share(source);
        let visitor = self.visitors.entry(source);
        let visitor = visitor.or_insert_with(|| Visitor::new(share, now));
        visitor.open += 1;
        visitor.seen = now;
        let stranger = is_stranger(source);
        self.strangers += u32::from(stranger);
        visitor.open <= share.connections && (!stranger || self.strangers <= limits.strangers)
    }

    fn leave(&mut self, source: SocketAddr) {
        self.strangers -= u32::from(is_stranger(source));
        if let Some(visitor) = self.visitors.get_mut(&source) {
            visitor.open -= 1;
        }
    }
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
            trusted,
            state: Mutex::default(),
        })
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Lets nobody in as long as this is so.
    pub(crate) fn pause(&self, paused: bool) {
        self.lock().paused = paused;
    }

    /// Somebody knocks from there, where QUIC has seen them `proven` to be or not.
    pub(crate) fn ask(self: &Arc<Self>, remote: SocketAddr, proven: bool, now: Instant) -> Answer {
        let limits = &self.limits;
        let source = source(remote, &self.trusted);
        let share = limits.share(source);
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed || state.paused {
            return Answer::Refuse;
        }
        if !proven && state.pending >= limits.unproven {
            return Answer::Prove;
        }
        if is_stranger(source) && state.strangers >= limits.strangers {
            return Answer::Refuse;
        }
        if !state.make_room(source, now) {
            return Answer::Refuse;
        }
        let visitor = state.visitors.entry(source);
        let visitor = visitor.or_insert_with(|| Visitor::new(share, now));
        if !proven && !visitor.has_plenty(share, now) {
            return Answer::Prove;
        }
        visitor.seen = now;
        if visitor.open >= share.connections || !visitor.attempts.take(1.0, now) {
            return Answer::Refuse;
        }
        state.enter(source, limits, now);
        state.pending += 1;
        let number = state.next;
        state.next += 1;
        let guest = None;
        state.held.insert(number, Held { source, guest });
        Answer::Welcome(Place {
            gate: Arc::clone(self),
            number,
            pending: true,
        })
    }

    /// To be called now and then: counts connections where they are now, turns out those for which there is no room there, and
    /// forgets who has long gone.
    pub(crate) fn tend(&self, now: Instant) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let mut moved = Vec::new();
        for (number, held) in &mut state.held {
            let Some(guest) = &held.guest else {
                continue;
            };
            let at = source(guest.at(), &self.trusted);
            let left = std::mem::replace(&mut held.source, at);
            if left != at {
                moved.push((*number, left, at));
            }
        }
        for (number, left, at) in moved {
            state.leave(left);
            if !state.enter(at, &self.limits, now)
                && let Some(guest) = state.held.get(&number).and_then(|h| h.guest.as_ref())
            {
                guest.turn_out();
            }
        }
        state.visitors.retain(|_, v| v.is_remembered(now));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back when dropped.
pub(crate) struct Place {
    gate: Arc<Gate>,
    number: u64,
    pending: bool,
}

impl Place {
    /// The handshake is done, and this is its connection.
    pub(crate) fn established(&mut self, guest: impl Guest + 'static) {
        let mut state = self.gate.lock();
        state.pending -= u32::from(std::mem::take(&mut self.pending));
        if let Some(held) = state.held.get_mut(&self.number) {
            held.guest = Some(Box::new(guest));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        state.pending -= u32::from(self.pending);
        let held = state.held.remove(&self.number);
        if let Some(held) = &held {
            state.leave(held.source);
        }
        // First the gate: nobody waits at it for a connection to be cleared away.
        drop(state);
        drop(held);
    }
}

/// Whom something is counted for: one address; where many come from it, by an entry, one of their lines.
pub(crate) fn source(remote: SocketAddr, trusted: &[IpAddr]) -> SocketAddr {
    let address = remote.ip().to_canonical();
    // Of IPv6 too only the very address: its neighbours may be anybody's.
    if trusted.iter().any(|entry| entry.to_canonical() == address) {
        SocketAddr::new(address, remote.port())
    } else {
        SocketAddr::new(network(address), 0)
    }
}

/// Whether a source is an address and not a line.
fn is_stranger(source: SocketAddr) -> bool {
    source.port() == 0
}

/// What counts as one address: of IPv6 the first 64 bits, which a single line is given.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    use super::*;

    const LIMITS: GateLimits = GateLimits {
        connections: 2,
        attempts: Budget {
            per_second: 1.0,
            burst: 4.0,
        },
        strangers: 7,
        unproven: 3,
    };

    fn gate() -> Arc<Gate> {
        Gate::new(LIMITS, vec![at(9, 0).ip()])
    }

    fn at(last: u8, port: u16) -> SocketAddr {
        ([192, 0, 2, last], port).into()
    }

    fn address(last: u8) -> SocketAddr {
        at(last, 4_000)
    }

    fn welcome(answer: Answer) -> Place {
        let Answer::Welcome(place) = answer else {
            unreachable!("not welcome")
        };
        place
    }

    /// Somebody whose address changes.
    struct Walker {
        at: Mutex<SocketAddr>,
        is_out: AtomicBool,
    }

    impl Walker {
        fn at(at: SocketAddr) -> Arc<Self> {
            Arc::new(Self {
                at: Mutex::new(at),
                is_out: AtomicBool::new(false),
            })
        }
    }

    impl Guest for Arc<Walker> {
        fn at(&self) -> SocketAddr {
            *self.at.lock().unwrap()
        }

        fn turn_out(&self) {
            self.is_out.store(true, Relaxed);
        }
    }

    #[test]
    fn one_address_has_so_many_connections_and_attempts() {
        let (gate, now) = (gate(), Instant::now());
        let ask = |last, now| gate.ask(address(last), true, now);
        let first = welcome(ask(1, now));
        let _second = welcome(gate.ask(at(1, 5_000), true, now));
        assert!(matches!(ask(1, now), Answer::Refuse), "two at a time");
        let _other = welcome(ask(2, now));
        drop(first);
        (0..2).for_each(|_| drop(welcome(ask(1, now))));
        assert!(matches!(ask(1, now), Answer::Refuse), "four attempts");
        drop(welcome(ask(1, now + Duration::from_secs(1))));
    }

    #[test]
    fn one_line_of_an_entry_has_so_many_and_the_entry_as_many_lines_as_come() {
        let (gate, now) = (gate(), Instant::now());
        let ask = |port, now| gate.ask(at(9, port), true, now);
        let mut places: Vec<_> = (0..LINE.connections)
            .map(|_| welcome(ask(1, now)))
            .collect();
        assert!(matches!(ask(1, now), Answer::Refuse), "so many at a time");
        places.extend((2..=100).map(|port| welcome(ask(port, now))));
        drop(places);
        for _ in LINE.connections..LINE.attempts.burst as u32 {
            drop(welcome(ask(1, now)));
        }
        assert!(matches!(ask(1, now), Answer::Refuse), "so many attempts");
        drop(welcome(ask(1, now + Duration::from_secs(2))));
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
            place.established(Walker::at(address(1)));
        }
        welcome(gate.ask(address(4), false, now));
    }

    #[test]
    fn made_up_addresses_use_up_nobodys_half() {
        let (gate, now) = (gate(), Instant::now());
        let ask = |proven| gate.ask(address(1), proven, now);
        let hanging = welcome(ask(false));
        for _ in 0..100 {
            assert!(matches!(ask(false), Answer::Prove), "half of the places");
        }
        drop(hanging);
        drop(welcome(ask(false)));
        for _ in 0..100 {
            assert!(matches!(ask(false), Answer::Prove), "half of the attempts");
        }
        drop(welcome(ask(true)));
        drop(welcome(ask(true)));
        assert!(matches!(ask(true), Answer::Refuse));
    }

    #[test]
    fn a_line_is_one_address_and_its_neighbour_another() {
        let line = |n: u16, host: u16| -> IpAddr { [0x2001, 0xdb8, 0, n, 0, 0, 0, host].into() };
        assert_eq!(network(line(1, 1)), network(line(1, 2)));
        assert_ne!(network(line(1, 1)), network(line(2, 1)));
        let mapped = |last| std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped();
        let source = |ip: IpAddr| super::source((ip, 5).into(), &[at(9, 0).ip(), line(1, 1)]);
        assert_eq!(source(mapped(1).into()), at(1, 0));
        assert_eq!(source(mapped(9).into()), at(9, 5), "an entry's line");
        assert_eq!(source(line(1, 1)).port(), 5);
        assert_eq!(source(line(1, 2)).port(), 0, "beside an entry");
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (gate, now) = (gate(), Instant::now());
        let many = |n: u32| SocketAddr::from(((0x0a00_0000_u32 + n).to_be_bytes(), 1));
        let _stays = welcome(gate.ask(many(0), true, now));
        for n in 1..=2 * MOST_VISITORS as u32 {
            let now = now + Duration::from_micros(n.into());
            drop(welcome(gate.ask(many(n), true, now)));
            assert!(gate.lock().visitors.len() <= MOST_VISITORS);
        }
        let known = |n| gate.lock().visitors.contains_key(&source(many(n), &[]));
        assert!(known(0), "they are connected");
        assert!(!known(1) && known(2 * MOST_VISITORS as u32));
        gate.tend(now + REMEMBERED + Duration::from_secs(1));
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
    fn whoever_moves_is_counted_where_they_are() {
        let (gate, now) = (gate(), Instant::now());
        let come = |from: SocketAddr| {
            let (mut place, walker) = (welcome(gate.ask(from, true, now)), Walker::at(from));
            place.established(Arc::clone(&walker));
            (place, walker)
        };
        let all: Vec<_> = (1..=3)
            .flat_map(|port| [port; 2])
            .map(|port| come(at(9, port)))
            .collect();
        for (_, walker) in &all {
            *walker.at.lock().unwrap() = at(9, 7);
        }
        gate.tend(now);
        let out = all.iter().filter(|(_, w)| w.is_out.load(Relaxed)).count();
        assert_eq!(out, all.len() - LINE.connections as usize);
        assert!(matches!(gate.ask(at(9, 7), true, now), Answer::Refuse));
        let _there = come(at(9, 1));

        // Out of the entry's lines, one is as any other stranger.
        for (_, walker) in &all {
            *walker.at.lock().unwrap() = at(1, 7);
        }
        gate.tend(now);
        assert_eq!(gate.lock().strangers, all.len() as u32);
        drop(all);
        assert_eq!(gate.lock().strangers, 0);
        drop(welcome(gate.ask(at(1, 7), true, now)));
    }

    #[test]
    fn a_closed_gate_lets_nobody_in() {
        let gate = gate();
        let ask = || gate.ask(address(1), true, Instant::now());
        gate.pause(true);
        assert!(matches!(ask(), Answer::Refuse));
        gate.pause(false);
        welcome(ask());
        gate.close();
        assert!(matches!(ask(), Answer::Refuse));
    }
}

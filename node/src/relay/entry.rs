//! The entry: where members' lines come in. It sees their addresses, and passes what it cannot read on to the hubs it
//! allows; those see its address only.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::net::UdpSocket;

use super::{
    RelayLimits,
    stats::{Counters, count},
};
use crate::net::{
    Budget, CLOSE_EXCESS, Gate, Tasks, TokenBucket,
    line::{Answer, Going, Metronome, Open, Opened, Packer, Unpacker, hear, packer, say, tick},
    pass, twice,
};

/// Time for handshake and for saying where a line is to lead.
const PATIENCE: Duration = Duration::from_secs(5);
/// A member sends all the time; silent for this long, they are gone.
const GONE_AFTER: Duration = Duration::from_secs(8);
/// Cells taken from a member: one a tick, and some room for clocks and bursts.
const CELLS: Budget = Budget {
    per_second: 60.0,
    burst: 60.0,
};
/// Packets of a member that are sent on: a voice has fifty a second, and those of fifteen others are acknowledged up to 375
/// times. Cells full of the smallest packets would have four times as many.
const PACKETS: Budget = Budget {
    per_second: 600.0,
    burst: 600.0,
};
/// Pause while a hub is away.
const AWAY: Duration = Duration::from_millis(20);
/// Largest packet of a hub.
const PACKET: usize = 1_500;

/// Packets of handshakes that wait to be said again.
const COPIES: usize = 8;

/// How often cells go to a member.
#[derive(Clone, Copy)]
struct Clock {
    /// So many, evenly spread,
    cells: u8,
    /// each of these.
    tick: Duration,
}

/// See the module.
pub(crate) struct Entry {
    /// Hubs that lines may lead to: as members name them, and where they are reached from here.
    pub(crate) hubs: Vec<(SocketAddr, SocketAddr)>,
    /// What members are told of whoever runs it.
    pub(crate) card: Vec<u8>,
    pub(crate) limits: RelayLimits,
    pub(crate) gate: Arc<Gate>,
    pub(crate) metronome: Metronome,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tasks: Tasks,
}

impl Entry {
    /// Takes lines in until the task is ended.
    pub(crate) async fn serve(self: Arc<Self>, endpoint: quinn::Endpoint) {
        while let Some(incoming) = endpoint.accept().await {
            let Some((Ok(connecting), mut place)) = pass(&self.gate, incoming) else {
                continue;
            };
            let entry = Arc::clone(&self);
            self.tasks.spawn(async move {
                let connection = tokio::time::timeout(PATIENCE, connecting).await;
                let Ok(Ok(connection)) = connection else {
                    return;
                };
                place.established(connection.clone());
                let room = entry.counters.lines.fetch_add(1, Relaxed);
                entry
                    .line(&connection, room < u64::from(entry.limits.lines))
                    .await;
                entry.counters.lines.fetch_sub(1, Relaxed);
                connection.close(0u32.into(), b"");
            });
        }
    }

    async fn line(&self, connection: &quinn::Connection, has_room: bool) {
        let Ok(Some((clock, sockets))) =
            tokio::time::timeout(PATIENCE, self.open(connection, has_room)).await
        else {
            return;
        };
        let packed = Arc::new(Mutex::new(packer(clock.cells)));
        let _sending = self.send(connection, clock, &packed);
        let from_hubs = futures::future::join_all((sockets.iter().zip(0_u8..)).filter_map(
            |(socket, channel)| {
                let lost = &self.counters.line_packets_dropped;
                Some(take(socket.as_ref()?, channel, &packed, lost))
            },
        ));
        tokio::select! {
            () = self.receive(connection, &sockets) => {}
            _ = from_hubs => {}
        }
    }

    /// Hears where the line is to lead, and opens a socket for each hub.
    async fn open(
        &self,
        connection: &quinn::Connection,
        has_room: bool,
    ) -> Option<(Clock, Vec<Option<UdpSocket>>)> {
        let (mut answers, mut asks) = connection.accept_bi().await.ok()?;
        let open: Open = hear(&mut asks).await.ok()?;
        let clock = Clock {
            cells: open.cells,
            tick: tick(open.pace.unwrap_or_default()),
        };
        let ways = match has_room && open.is_sound() {
            true => ways(&self.hubs, &open.hubs),
            false => Vec::new(),
        };
        let mut sockets = Vec::new();
        for way in ways {
            // The others may be reached all the same.
            sockets.push(match way {
                Some(at) => socket_to(at).await,
                None => None,
            });
        }
        let opened = match (has_room, sockets.iter().any(Option::is_some)) {
            (false, _) => Opened::Full,
            (true, false) => Opened::NotThere,
            (true, true) => Opened::Yes,
        };
        let card = self.card.clone();
        say(&mut answers, &Answer { opened, card }).await.ok()?;
        let _ = answers.finish();
        if opened != Opened::Yes {
            // The connection is closed next, which would throw the answer away.
            let _ = answers.stopped().await;
        }
        (opened == Opened::Yes).then_some((clock, sockets))
    }

    /// Cells to the member, on a clock of their own, as long as what is returned.
    fn send(
        &self,
        connection: &quinn::Connection,
        clock: Clock,
        packer: &Arc<Mutex<Packer>>,
    ) -> Going {
        let (line, packer) = (connection.clone(), Arc::clone(packer));
        let counters = Arc::clone(&self.counters);
        self.metronome
            .every(clock.tick / u32::from(clock.cells), move |missed| {
                counters.cells_missed.fetch_add(missed, Relaxed);
                let cell = packer.lock().unwrap_or_else(PoisonError::into_inner).cell();
                let sent = line.send_datagram(cell).is_ok();
                if sent {
                    count(&counters.cells_out);
                }
                sent
            })
    }

    /// Cells of the member, to the hubs.
    async fn receive(&self, connection: &quinn::Connection, sockets: &[Option<UdpSocket>]) {
        let mut intake = Intake::new(self.limits.excess, Instant::now());
        while let Ok(Ok(cell)) = tokio::time::timeout(GONE_AFTER, connection.read_datagram()).await
        {
            count(&self.counters.cells_in);
            let is_bearable = intake.take(cell, Instant::now(), |channel, packet| {
                if let Some(Some(socket)) = sockets.get(usize::from(channel)) {
                    let _ = socket.try_send(&packet);
                }
            });
            if !is_bearable {
                count(&self.counters.clients_cut);
                connection.close(CLOSE_EXCESS.into(), b"");
                return;
            }
        }
    }
}

/// What comes from one member, within bounds.
struct Intake {
    cells: TokenBucket,
    packets: TokenBucket,
    excess: TokenBucket,
    unpacker: Unpacker,
}

impl Intake {
    fn new(excess: Budget, now: Instant) -> Self {
        Self {
            cells: TokenBucket::new(CELLS, now),
            packets: TokenBucket::new(PACKETS, now),
            excess: TokenBucket::new(excess, now),
            unpacker: Unpacker::default(),
        }
    }

    /// Hands the packets that a cell completes to `on`. What is too much is lost, as what full buffers do not take: any network
    /// may do that. Says whether it can go on so.
    fn take(&mut self, cell: Bytes, now: Instant, mut on: impl FnMut(u8, Bytes)) -> bool {
        let is_sound = self.cells.take(1.0, now)
            && self.unpacker.cell(cell, |channel, packet| {
                if self.packets.take(1.0, now) {
                    on(channel, packet);
                }
            });
        is_sound || self.excess.take(1.0, now)
    }
}

/// Takes the packets of a hub, to wait for cells, and counts those that are given up. What is of a handshake is said a second time,
/// a little later: a hub repeats what was lost only after a third of a second or more, and must not say it twice itself ([`twice`]);
/// here the address is proven.
async fn take(socket: &UdpSocket, channel: u8, packer: &Mutex<Packer>, lost: &AtomicU64) {
    let packer = || packer.lock().unwrap_or_else(PoisonError::into_inner);
    let mut buffer = [0; PACKET];
    let mut copies = Copies::default();
    loop {
        let length = tokio::select! {
            length = socket.recv(&mut buffer) => length,
            copy = copies.next(), if !copies.0.is_empty() => {
                let mut packer = packer();
                // It pushes nothing out.
                if let Some(copy) = copy.filter(|copy| packer.has_room(copy.len())) {
                    packer.push(channel, copy);
                }
                continue;
            }
        };
        // A hub that is away for a moment answers with an error; that is no reason to end the line.
        let Ok(length) = length else {
            tokio::time::sleep(AWAY).await;
            continue;
        };
        let packet = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        copies.keep(&packet);
        let given_up = packer().push(channel, packet);
        lost.fetch_add(given_up as u64, Relaxed);
    }
}

/// Packets that are to be said again, and when.
#[derive(Default)]
struct Copies(VecDeque<(tokio::time::Instant, Bytes)>);

impl Copies {
    fn keep(&mut self, packet: &Bytes) {
        if self.0.len() < COPIES && twice::is_of_handshake(packet) {
            let then = tokio::time::Instant::now() + twice::LATER;
            self.0.push_back((then, packet.clone()));
        }
    }

    /// The next, when it is time.
    async fn next(&mut self) -> Option<Bytes> {
        let (then, _) = self.0.front()?;
        tokio::time::sleep_until(*then).await;
        let (_, packet) = self.0.pop_front()?;
        Some(packet)
    }
}

/// Where the hubs are reached that a member names; each by the first of its names only.
fn ways(known: &[(SocketAddr, SocketAddr)], named: &[String]) -> Vec<Option<SocketAddr>> {
    let mut ways = Vec::new();
    for hub in named.iter().map(|hub| hub.parse::<SocketAddr>()) {
        let way = known.iter().find(|(name, _)| hub.as_ref() == Ok(name));
        let way = way.map(|(_, at)| *at);
        ways.push(way.filter(|at| !ways.contains(&Some(*at))));
    }
    ways
}

async fn socket_to(hub: SocketAddr) -> Option<UdpSocket> {
    let any: SocketAddr = match hub {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect(hub).await.ok()?;
    Some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_with_two_names_is_reached_once() {
        let at = |last: u8| SocketAddr::from(([192, 0, 2, last], 4433));
        let known = [(at(1), at(9)), (at(2), at(9)), (at(3), at(8))];
        let named = [
            "192.0.2.1:4433",
            "192.0.2.2:4433",
            "nowhere",
            "192.0.2.3:4433",
            "192.0.2.4:4433",
        ];
        let found = ways(&known, &named.map(str::to_owned));
        assert_eq!(found, [Some(at(9)), None, None, Some(at(8)), None]);
    }

    /// Cells full of so many of the smallest packets.
    fn cells(packets: usize) -> Vec<Bytes> {
        let mut packer = Packer::new(usize::MAX);
        for _ in 0..packets {
            packer.push(0, Bytes::from_static(&[0x40; 30]));
        }
        std::iter::from_fn(|| (packer.waiting() > 0).then(|| packer.cell())).collect()
    }

    const EXCESS: Budget = Budget {
        per_second: 10.0,
        burst: 100.0,
    };

    #[test]
    fn small_packets_are_sent_on_no_faster_than_a_member_has_any() {
        let begun = Instant::now();
        let mut intake = Intake::new(EXCESS, begun);
        let mut sent = 0;
        // A cell a tick, each full, for ten seconds.
        for (tick, cell) in (0..500).zip(cells(500 * 35)) {
            let now = begun + tick * Duration::from_millis(20);
            assert!(intake.take(cell, now, |_, _| sent += 1));
        }
        let most = PACKETS.burst + 10.0 * PACKETS.per_second;
        assert!((0.9 * most..=most).contains(&f64::from(sent)), "{sent}");
    }

    #[test]
    fn whoever_sends_more_cells_than_ticks_is_cut() {
        let now = Instant::now();
        let mut intake = Intake::new(EXCESS, now);
        let taken = cells(500 * 35)
            .into_iter()
            .take_while(|cell| intake.take(cell.clone(), now, |_, _| ()));
        assert_eq!(taken.count() as f64, CELLS.burst + EXCESS.burst);
    }

    #[tokio::test]
    async fn a_handshake_is_said_to_a_member_twice_and_nothing_else_is() {
        let here: SocketAddr = (Ipv4Addr::LOCALHOST, 0).into();
        let (hub, socket) = (UdpSocket::bind(here).await, UdpSocket::bind(here).await);
        let (hub, socket) = (hub.unwrap(), socket.unwrap());
        hub.connect(socket.local_addr().unwrap()).await.unwrap();
        let (handshake, voice) = ([0xe3; 200], [0x43; 200]);
        hub.send(&handshake).await.unwrap();
        hub.send(&voice).await.unwrap();
        let (packed, lost) = (Mutex::new(packer(1)), AtomicU64::new(0));
        let waits = async {
            while packed.lock().unwrap().waiting() < 600 {
                tokio::time::sleep(twice::LATER / 4).await;
            }
        };
        tokio::select! {
            () = take(&socket, 3, &packed, &lost) => {}
            () = waits => {}
        }
        let mut heard = Vec::new();
        let cell = packed.lock().unwrap().cell();
        assert!(Unpacker::default().cell(cell, |channel, packet| heard.push((channel, packet))));
        let said = [handshake, voice, handshake];
        assert_eq!(heard, said.map(|p| (3, Bytes::from(p.to_vec()))));
    }
}

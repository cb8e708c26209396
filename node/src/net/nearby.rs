//! Finding members of a direct circle on one network: multicast DNS service discovery (RFC 6762, RFC 6763).
//!
//! The names asked for and answered with follow from the invite and the day (`undertone_protocol::nearby`), so that only
//! who holds the invite can look for the circle or be found under it, and no machine, person or program is named. An
//! answer counts if its name fits the transport id and port that it gives; whoever is found so is dialled like anybody
//! else, and has to be that transport. What an onlooker sees all the same: decision 0016.
//!
//! What goes over the network is `mdns-sd`'s, which has a thread of its own. It is built without logging: it would name
//! addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use mdns_sd::{IfKind, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use undertone_protocol::id::TransportId;
use undertone_protocol::nearby::{self, Names};

use super::address::is_dialable;
use super::limit::{Budget, TokenBucket};
use crate::clock::unix_minute;

/// The one property of an answer: 32 bytes, whose transport it is.
const TRANSPORT: &str = "t";
/// How often it is looked whether another day has begun.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// Time given to say that one is gone.
const GOODBYE: Duration = Duration::from_millis(500);
/// Addresses taken of one answer.
const MAX_ADDRESSES: usize = 8;
/// Answers of members that are passed on: a full circle's at once, each by two sockets, and then some.
const ANSWERS: Budget = Budget {
    per_second: 0.5,
    burst: 48.0,
};
const QUEUE: usize = 16;

/// A member who was found, by one of their sockets.
pub(crate) struct Neighbour {
    pub(crate) transport: TransportId,
    pub(crate) addrs: Vec<SocketAddr>,
}

/// Looks for members, and is found once told to, until dropped.
pub(crate) struct Nearby {
    found: mpsc::Receiver<Neighbour>,
    shown: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Nearby {
    /// Begins to look for members, where `bound`, one's own sockets, can be reached. Where no multicast is possible
    /// nobody is found, and nothing else happens.
    pub(crate) fn start(names: Names, own: TransportId, bound: Vec<SocketAddr>) -> Self {
        let (shown, is_shown) = watch::channel(false);
        let (tell, found) = mpsc::channel(QUEUE);
        let task = tokio::spawn(async move {
            match Search::new(names, own, bound) {
                Ok(search) => search.run(is_shown, tell).await,
                Err(_) => tracing::debug!("members cannot be looked for on this network"),
            }
        });
        Self { found, shown, task }
    }

    /// The next member found; none if nobody can be. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<Neighbour> {
        self.found.recv().await
    }

    /// Has others find this node, or not.
    pub(crate) fn show(&self, shown: bool) {
        self.shown
            .send_if_modified(|now| std::mem::replace(now, shown) != shown);
    }

    /// Ends it; resolves when others were told.
    pub(crate) async fn closed(self) {
        drop(self.found);
        let _ = self.task.await;
    }
}

/// What is asked and answered.
struct Search {
    daemon: ServiceDaemon,
    names: Names,
    own: TransportId,
    bound: Vec<SocketAddr>,
    /// By day, what comes of asking.
    answers: SelectAll<BoxStream<'static, ServiceEvent>>,
    asked: BTreeSet<u64>,
    /// The day whose names one is shown under, and these.
    shown: BTreeMap<u64, Vec<String>>,
}

impl Search {
    fn new(names: Names, own: TransportId, bound: Vec<SocketAddr>) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        // One is looked for where one listens, and not on the loopback unless one listens just there.
        daemon.disable_interface(IfKind::All)?;
        let (any, at): (Vec<_>, Vec<_>) = bound
            .iter()
            .map(SocketAddr::ip)
            .partition(IpAddr::is_unspecified);
        daemon.enable_interface(any.iter().map(interfaces).collect::<Vec<_>>())?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        daemon.enable_interface(at.iter().map(interfaces).collect::<Vec<_>>())?;
        Ok(Self {
            daemon,
            names,
            own,
            bound,
            answers: SelectAll::new(),
            asked: BTreeSet::new(),
            shown: BTreeMap::new(),
        })
    }

    async fn run(mut self, mut is_shown: watch::Receiver<bool>, found: mpsc::Sender<Neighbour>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut allowance = TokenBucket::new(ANSWERS, Instant::now());
        loop {
            tokio::select! {
                () = found.closed() => break,
                Some(event) = self.answers.next(), if !self.answers.is_empty() => {
                    if let Some(member) = self.read(&event)
                        && allowance.take(1.0, Instant::now())
                    {
                        // With that many waiting, one more does not matter.
                        let _ = found.try_send(member);
                    }
                    continue;
                }
                Ok(()) = is_shown.changed() => {}
                _ = look.tick() => {}
            }
            let shown = *is_shown.borrow_and_update();
            if self.keep_up(unix_minute(), shown).is_err() {
                // Its queue is full, or it has ended.
                tracing::debug!("looking for members on this network does not keep up");
            }
        }
        if let Ok(ended) = self.daemon.shutdown() {
            let _ = tokio::time::timeout(GOODBYE, ended.recv_async()).await;
        }
    }

    /// Asks, and answers if `shown`, under the names of the day.
    fn keep_up(&mut self, minute: u64, shown: bool) -> mdns_sd::Result<()> {
        let days = nearby::days(minute);
        while let Some(over) = self.asked.iter().find(|day| !days.contains(day)).copied() {
            self.daemon.stop_browse(&self.service(over))?;
            self.asked.remove(&over);
        }
        for day in days {
            if !self.asked.contains(&day) {
                let answers = self.daemon.browse(&self.service(day))?;
                self.answers.push(answers.into_stream().boxed());
                self.asked.insert(day);
            }
        }
        let today = nearby::day(minute);
        while let Some(over) = self
            .shown
            .keys()
            .find(|day| !shown || **day != today)
            .copied()
        {
            for name in self.shown.remove(&over).unwrap_or_default() {
                self.daemon.unregister(&name)?;
            }
        }
        if shown && !self.shown.contains_key(&today) {
            let mut names = Vec::new();
            for addr in &self.bound {
                let service = self.answer(today, *addr)?;
                names.push(service.get_fullname().to_owned());
                self.daemon.register(service)?;
            }
            self.shown.insert(today, names);
        }
        Ok(())
    }

    fn service(&self, day: u64) -> String {
        format!("_{}._udp.local.", self.names.circle(day))
    }

    /// How one of one's own sockets is found.
    fn answer(&self, day: u64, addr: SocketAddr) -> mdns_sd::Result<ServiceInfo> {
        let name = self.names.member(day, &self.own, addr.port());
        let (service, host) = (self.service(day), format!("{name}.local."));
        let whose = vec![(TRANSPORT, self.own.as_bytes()).into()];
        let mut answer = ServiceInfo::new(&service, &name, &host, (), addr.port(), whose)?;
        answer.set_interfaces(vec![interfaces(&addr.ip())]);
        // The name is nobody else's.
        answer.set_requires_probe(false);
        Ok(answer.enable_addr_auto())
    }

    fn read(&self, event: &ServiceEvent) -> Option<Neighbour> {
        match event {
            ServiceEvent::ServiceResolved(answer) => self.member(answer),
            // There is no better sign of it.
            ServiceEvent::SearchStarted(how) if how.contains(" on 0 interfaces") => {
                tracing::debug!("no network here to look for members on");
                None
            }
            _ => None,
        }
    }

    /// Who answered, if it is a member.
    fn member(&self, answer: &ResolvedService) -> Option<Neighbour> {
        let transport = answer.get_property_val(TRANSPORT)??;
        let transport = TransportId::from_bytes(transport.try_into().ok()?);
        let port = answer.get_port();
        let is_named = |day: &u64| {
            let name = self.names.member(*day, &transport, port);
            *answer.get_fullname() == format!("{name}.{}", self.service(*day))
        };
        if transport == self.own || !self.asked.iter().any(is_named) {
            return None;
        }
        let addrs = answer.get_addresses().iter().map(ScopedIp::to_ip_addr);
        let addrs = addrs.map(|ip| SocketAddr::new(ip, port));
        let addrs = addrs.filter(|addr| is_dialable(addr) && !needs_zone(&addr.ip()));
        Some(Neighbour {
            transport,
            addrs: addrs.take(MAX_ADDRESSES).collect(),
        })
    }
}

/// Where a socket at this address can be reached.
fn interfaces(ip: &IpAddr) -> IfKind {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => IfKind::IPv4,
        IpAddr::V6(ip) if ip.is_unspecified() => IfKind::IPv6,
        ip => IfKind::Addr(*ip),
    }
}

/// A link-local IPv6 address says nothing without its interface, which a multiaddress as used here does not hold.
fn needs_zone(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use undertone_protocol::id::CircleId;
    use undertone_protocol::identity::Secret;

    use super::*;

    const NOON: u64 = 20_000 * 1_440 + 720;
    const DAY: u64 = 20_000;

    fn search(door: u8, own: u8) -> Search {
        let names = Names::new(
            Secret::from_bytes([door; 32]),
            CircleId::from_bytes([1; 32]),
        );
        let own = TransportId::from_bytes([own; 32]);
        let bound = vec![SocketAddr::from(([127, 0, 0, 1], 4433))];
        let mut search = Search::new(names, own, bound).unwrap();
        // As if asked: what comes over the network is for the integration tests.
        search.asked.insert(DAY);
        search
    }

    /// What `of` answers, as it is read off the network, at these addresses.
    fn answer(of: &Search, addrs: &[&str]) -> ResolvedService {
        let answer = of.answer(DAY, of.bound[0]).unwrap();
        let mut answer = answer.as_resolved_service();
        let addrs = addrs.iter().map(|a| a.parse::<IpAddr>().unwrap().into());
        answer.addresses = addrs.collect();
        answer
    }

    #[test]
    fn a_member_is_known_by_the_name() {
        let (me, other) = (search(1, 1), search(1, 2));
        let found = me.member(&answer(&other, &["192.0.2.7"])).unwrap();
        assert_eq!(found.transport, other.own);
        assert_eq!(found.addrs, ["192.0.2.7:4433".parse().unwrap()]);
        assert!(other.member(&answer(&other, &["192.0.2.7"])).is_none());
    }

    #[test]
    fn answers_that_prove_nothing_are_passed_over() {
        let (me, other, stranger) = (search(1, 1), search(1, 2), search(2, 3));
        let good = answer(&other, &["192.0.2.7"]);
        assert!(me.member(&good).is_some());
        assert!(me.member(&answer(&stranger, &["192.0.2.7"])).is_none());
        // Heard on the network and said again, with something else in it.
        let mut another_port = good.clone();
        another_port.port = 4434;
        let mut another_transport = good.clone();
        another_transport.txt_properties = answer(&stranger, &[]).txt_properties;
        let mut nobody = good.clone();
        nobody.txt_properties = mdns_sd::TxtProperties::new();
        let mut renamed = good.clone();
        renamed.fullname = good.fullname.replacen('.', " (2).", 1);
        for wrong in [another_port, another_transport, nobody, renamed] {
            assert!(me.member(&wrong).is_none(), "{}", wrong.fullname);
        }
        // Yesterday's.
        let mut tomorrow = search(1, 1);
        tomorrow.asked = nearby::days(NOON + 1_440).collect();
        assert!(tomorrow.member(&good).is_none());
    }

    #[test]
    fn addresses_that_lead_nowhere_are_left_out_and_there_are_few() {
        let (me, other) = (search(1, 1), search(1, 2));
        let silly = ["0.0.0.0", "224.0.0.251", "::", "ff02::fb", "fe80::1"];
        let silly = me.member(&answer(&other, &silly)).unwrap();
        assert!(silly.addrs.is_empty());
        let many: Vec<_> = (0..200).map(|n| format!("192.0.2.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let many = me.member(&answer(&other, &many)).unwrap();
        assert_eq!(many.addrs.len(), MAX_ADDRESSES);
    }

    #[test]
    fn names_change_with_the_day_and_go_when_not_shown() {
        let mut me = search(1, 1);
        me.asked.clear();
        me.keep_up(NOON, true).unwrap();
        let today = me.shown.clone();
        assert_eq!(Vec::from_iter(today.keys().copied()), [DAY]);
        // Just before midnight both are asked for, and one answers under one's own day.
        me.keep_up(NOON + 710, true).unwrap();
        assert_eq!(me.asked, BTreeSet::from([DAY, DAY + 1]));
        assert_eq!(me.shown, today);
        me.keep_up(NOON + 1_440, true).unwrap();
        assert_eq!(me.asked, BTreeSet::from([DAY + 1]));
        assert_ne!(me.shown.values().next(), today.values().next());
        me.keep_up(NOON + 1_440, false).unwrap();
        assert!(me.shown.is_empty());
        assert_eq!(me.asked, BTreeSet::from([DAY + 1]));
    }
}

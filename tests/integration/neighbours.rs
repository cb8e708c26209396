//! Members of a direct circle who find each other on one network; and nobody else does.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use undertone_protocol::identity::Secret;
use undertone_protocol::invite::Invite;
use undertone_protocol::nearby::{self, Names};
use undertone_protocol::record::RouteKind;
use undertone_tests::netns::{Host, Internet, Nat};
use undertone_tests::skipped;

use crate::networks::alone;
use crate::processes::{Terminal, undertone_node};

const SOON: Duration = Duration::from_secs(20);
/// Somebody who is there and may answer does so well within this.
const SILENCE: Duration = Duration::from_secs(4);

/// The same invite, but for what is changed, to a place where nobody is.
fn changed(invite: &str, change: impl FnOnce(&mut Invite)) -> String {
    let mut invite = Invite::from_link(invite).unwrap();
    let nowhere =
        "/ip4/127.0.0.1/udp/9/quic-v1/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
    invite.addresses = vec![nowhere.to_owned()];
    change(&mut invite);
    invite.to_link()
}

/// Somebody on this machine's loopback.
struct Onlooker(ServiceDaemon);

impl Onlooker {
    fn new() -> Self {
        let daemon = ServiceDaemon::new().unwrap();
        let loopback = IfKind::Addr(IpAddr::from(Ipv4Addr::LOCALHOST));
        daemon.disable_interface(IfKind::All).unwrap();
        daemon.enable_interface(loopback).unwrap();
        Self(daemon)
    }

    /// Whether what one says here is heard here.
    fn is_heard(&self) -> bool {
        let service = "_undertone-probe._udp.local.";
        let at = IpAddr::from(Ipv4Addr::LOCALHOST);
        let own = ServiceInfo::new(service, "probe", "probe.local.", at, 9, None).unwrap();
        self.0.register(own).unwrap();
        let other = Self::new();
        let heard = resolved(&other.0.browse(service).unwrap(), SOON);
        other.0.shutdown().unwrap();
        heard
    }

    /// What holders of this invite are answered today.
    fn ask(&self, invite: &str) -> Receiver<ServiceEvent> {
        let Invite { circle, door, .. } = Invite::from_link(invite).unwrap();
        let since = std::time::UNIX_EPOCH.elapsed().unwrap();
        let today = nearby::day(since.as_secs() / 60);
        let name = Names::new(door, circle).circle(today);
        self.0.browse(&format!("_{name}._udp.local.")).unwrap()
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let _ = self.0.shutdown();
    }
}

fn within(
    events: &Receiver<ServiceEvent>,
    time: Duration,
    is: impl Fn(&ServiceEvent) -> bool,
) -> bool {
    let until = Instant::now() + time;
    while let Ok(event) = events.recv_deadline(until) {
        if is(&event) {
            return true;
        }
    }
    false
}

fn resolved(events: &Receiver<ServiceEvent>, time: Duration) -> bool {
    within(events, time, |e| {
        matches!(e, ServiceEvent::ServiceResolved(_))
    })
}

fn has_multicast() -> bool {
    let heard = Onlooker::new().is_heard();
    if !heard {
        skipped("no multicast on the loopback here");
    }
    heard
}

#[test]
fn an_old_invite_leads_to_a_direct_circle_on_the_same_network() {
    if !has_multicast() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (leader, invite) = Terminal::lead(folder.path(), &["--admit-all"]);
    let quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    quiet.wait("+ Gentle Oak is here");
    // Everybody starts again: with other ports and transport identities than the invite says.
    leader.kill();
    quiet.kill();
    let data = folder.path().join("leader");
    let mut leader = Terminal::start(&[
        "join",
        &invite,
        "--data",
        data.to_str().unwrap(),
        "--name",
        "Gentle Oak",
        "--listen",
        "127.0.0.1:0",
        "--no-sound",
        "--agree",
    ]);
    let mut quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    let fox = Terminal::join(folder.path(), "Amber Fox", &invite);
    leader.wait("? Amber Fox knocks");
    leader.say("admit Amber Fox");
    fox.wait("You are in");
    quiet.wait("You are in");
    quiet.say("hand");
    leader.wait("^ Quiet Heron would like to share");
    // Without looking around, or for an answer, there is no way in.
    let blind = Terminal::join_with(folder.path(), "Still Pond", &invite, &["--not-nearby"]);
    std::thread::sleep(SILENCE);
    assert!(blind.has_printed("The door of").is_none());
}

#[test]
fn only_who_holds_the_invite_finds_a_circle_and_only_a_direct_one_while_it_lasts() {
    if !has_multicast() {
        return;
    }
    let [direct, relayed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (mut leader, invite) = Terminal::lead(direct.path(), &["--admit-all"]);
    let (_relay, address) = Terminal::relay(relayed.path());
    let (_other, other) = Terminal::lead(relayed.path(), &["--relay", &address, "--admit-all"]);
    let another_door = changed(&invite, |i| i.door = Secret::from_bytes([7; 32]));
    let seeker = |name, invite: &str| Terminal::join(direct.path(), name, invite);
    let mut lost = [
        seeker("Amber Fox", &another_door),
        seeker(
            "Still Pond",
            &changed(&other, |i| i.route = RouteKind::Direct),
        ),
    ];
    let quiet = seeker("Quiet Heron", &changed(&invite, |_| ()));
    quiet.wait("+ Gentle Oak is here");

    let onlooker = Onlooker::new();
    let answers = onlooker.ask(&invite);
    assert!(resolved(&answers, SOON));
    assert!(!resolved(&onlooker.ask(&other), SILENCE));
    assert!(!resolved(&onlooker.ask(&another_door), SILENCE));
    quiet.kill();
    leader.say("quit");
    assert_eq!(leader.ended(), Some(0));
    let is_gone = |e: &ServiceEvent| matches!(e, ServiceEvent::ServiceRemoved(..));
    assert!(within(&answers, SOON, is_gone), "it was not taken back");

    for seeker in &mut lost {
        assert_eq!(seeker.ended(), Some(1));
        assert!(seeker.has_printed("Nobody answered").is_some());
        assert!(seeker.has_printed("The door of").is_none());
    }
}

#[test]
fn machines_of_one_network_find_each_other_by_ipv4_and_by_ipv6() {
    let _alone = alone();
    if let Err(reason) = Internet::probe() {
        skipped(&format!("no network namespaces here: {reason:#}"));
        return;
    }
    let mut internet = Internet::new().unwrap();
    let hosts = [10, 11].map(|number| {
        let host = internet
            .host(&format!("m{number}"), number, Nat::None)
            .unwrap();
        let address = format!("fd00::{number}/64");
        let added = host
            .command(Path::new("ip"))
            .args(["addr", "add", &address, "dev", "out", "nodad"])
            .status();
        assert!(added.unwrap().success());
        host
    });
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let folder = tempfile::tempdir().unwrap();
        let run = |host: &Host| host.command(&undertone_node());
        let listen = ["--listen", listen];
        let more = [&listen[..], &["--admit-all"]].concat();
        let (_leader, invite) = Terminal::lead_by(&mut run(&hosts[0]), &more, folder.path());
        let invite = changed(&invite, |_| ());
        let begun = Instant::now();
        let quiet = &mut run(&hosts[1]);
        let quiet = Terminal::join_by(quiet, &listen, folder.path(), "Quiet Heron", &invite);
        quiet.wait("+ Gentle Oak is here");
        println!("{}: in after {:.1?}", listen[1], begun.elapsed());
    }
}

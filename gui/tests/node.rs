//! The window's side of a real node: what happens there arrives.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use undertone_gui::Backend;
use undertone_node::api::{
    AdmissionMode, CircleDraft, Command, Consent, Event, FloorMode, Pace, Place, RouteDraft,
};
use undertone_node::audio::SilentHost;
use undertone_node::{NodeConfig, NodeHandle};
use undertone_protocol::texts;

fn node(name: &str) -> NodeHandle {
    let node = undertone_node::start(NodeConfig::in_memory(Arc::new(SilentHost))).unwrap();
    node.send(Command::SetName(name.to_owned()));
    node
}

/// Founds a circle in Spanish.
fn found(node: &NodeHandle) {
    node.send(Command::StartCircle(CircleDraft {
        topic: "Duelo".to_owned(),
        title: "Los martes".to_owned(),
        language: "es".to_owned(),
        admission: AdmissionMode::Approval,
        max_members: 8,
        turn: Duration::from_secs(180),
        floor: FloorMode::Active,
        schedule: None,
        listener_welcome: false,
        route: RouteDraft::Direct,
        pace: Pace::Usual,
    }));
}

/// Waits until `look` sees something.
fn wait<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "nothing comes");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_happens_in_a_node_is_passed_on() {
    let node = node("Quiet Heron");
    let (to, arrived) = channel();
    let mut courier = node.pass_on(to);
    let mut cx = Context::from_waker(Waker::noop());
    found(&node);
    let first = wait(|| {
        assert!(courier.as_mut().poll(&mut cx).is_pending());
        arrived.try_recv().ok()
    });
    assert_eq!(first, Event::Entered);
    // When the node has ended, so has its news.
    node.stop();
    drop(node);
    wait(|| courier.as_mut().poll(&mut cx).is_ready().then_some(()));
}

#[test]
fn a_circle_has_the_texts_of_its_language_and_what_one_signed_is_remembered() {
    let (leader, guest) = (node("Amber Fox"), node("Quiet Heron"));
    found(&leader);
    let spanish = texts::of_language("es").hash();
    let invite = wait(|| match &leader.snapshot().place {
        Place::Circle(c) if !c.invite.is_empty() => Some(c.invite.clone()),
        _ => None,
    });
    let door = || {
        guest.send(Command::OpenInvite(invite.clone()));
        wait(|| match &guest.snapshot().place {
            Place::Door(door) => Some(door.clone()),
            _ => None,
        })
    };
    let first = door();
    assert_eq!((first.texts, first.signed), (spanish, None));
    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
    guest.send(Command::SignPledge(Consent { accepted }));
    wait(|| matches!(guest.snapshot().place, Place::Waiting(_)).then_some(()));
    guest.send(Command::Leave);
    wait(|| matches!(guest.snapshot().place, Place::Farewell(_)).then_some(()));
    assert_eq!(door().signed, Some(spanish));
}

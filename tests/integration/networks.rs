//! The small Internet of `tests/network`, smaller and for half a minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use undertone_tests::netns::Internet;
use undertone_tests::network::{Plan, run};
use undertone_tests::skipped;
use undertone_tests::stage::RouteChoice;
use undertone_tests::weather::Weather;

use crate::processes::undertone_node;

/// There is one small Internet at a time, and one circle of many voices.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn behind_routers_everybody_is_heard_when_a_hub_is_killed_and_no_address_is_seen() {
    let _alone = alone();
    // Most people's own machines, and some containers.
    if let Err(reason) = Internet::probe() {
        skipped(&format!("no network namespaces here: {reason:#}"));
        return;
    }
    let plan = Plan {
        members: 4,
        route: RouteChoice::TwoHop,
        length: Duration::from_secs(24),
        turn: Duration::from_secs(4),
        kill_every: Some(Duration::from_secs(16)),
        move_every: None,
        weather: Weather {
            loss: 0.05,
            delay: Duration::from_millis(80),
            jitter: Duration::from_millis(20),
            ..Weather::default()
        },
        seed: 1,
        program: undertone_node(),
    };
    let folder = tempfile::tempdir().unwrap();
    let findings = run(&plan, folder.path(), &mut |line| println!("{line}")).unwrap();
    println!("{findings}");
    // Nor for the rest of the time. How long a gap may be, `tests/network` asks: it has the machine to itself.
    assert!(findings.unheard.is_empty(), "{:?}", findings.unheard);
    assert_eq!(
        findings.troubles.first().map(|t| t.what.as_str()),
        Some("killed hub-0")
    );
    let seen = (findings.seen_by_members, findings.seen_by_hubs);
    assert_eq!(seen, (0, 0));
    assert!(findings.seen_by_entries > 1_000, "entries do see them");

    let direct = Plan {
        route: RouteChoice::Direct,
        length: Duration::from_secs(10),
        kill_every: None,
        move_every: None,
        ..plan
    };
    let control = run(&direct, folder.path(), &mut |_| {}).unwrap();
    println!("{control}");
    assert!(
        control.seen_by_members > 1_000,
        "a direct circle's members see each other"
    );
}

//! Circles of real nodes in this process, with recordings for microphones.

use std::time::Duration;

use undertone_tests::stage::{Play, RouteChoice, play_and_judge};

fn play(route: RouteChoice, loss: f64) {
    let what = Play {
        members: 4,
        seconds: 14,
        route,
        speech: None,
        loss,
        seed: 7,
    };
    let report = play_and_judge(&what, None, &mut |line| println!("{line}")).unwrap();
    println!("{}", report.summary());
    assert!(report.kept, "{:#?}", report.promises);
    let median = report.mouth_to_ear.median_ms.unwrap();
    // Not a speed: beyond what can be called a conversation, the measurement or the path is broken.
    assert!(median < Duration::from_millis(600).as_millis() as u64, "{median} ms");
}

#[test]
fn a_direct_circle_hears_every_turn_and_nothing_of_the_removed_one() {
    play(RouteChoice::Direct, 0.0);
}

#[test]
fn a_relayed_circle_with_loss_hears_every_turn_and_nothing_of_the_removed_one() {
    play(RouteChoice::Relay, 0.05);
}

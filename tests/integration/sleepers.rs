//! Somebody's machine sleeps, and wakes up: they are back in their circle by themselves.

use std::time::{Duration, Instant};

use crate::processes::Terminal;

/// Longer than a connection lives without a packet.
const SLEEP: Duration = Duration::from_secs(12);
/// Whoever woke up hears the others, and they them.
const BACK_WITHIN: Duration = Duration::from_secs(8);
/// Longer than it takes until somebody silent is shown as away.
const LASTING: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whether, by what `terminal` says now, nobody is away, or these are.
fn sees_away(terminal: &mut Terminal, who: &[&str]) -> bool {
    terminal.clear();
    terminal.say("who");
    terminal.wait("  You are ");
    let away = terminal.printed(") away");
    away.len() == who.len() && (who.iter()).all(|name| away.iter().any(|line| line.contains(name)))
}

fn wait_until_away(terminal: &mut Terminal, who: &[&str], limit: Duration) {
    let begun = Instant::now();
    while !sees_away(terminal, who) {
        assert!(begun.elapsed() < limit, "{who:?} are not those away");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The leader and two others; each sleeps once.
fn sleep_in_turn(route: &str, more: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let more = [&["--admit-all", "--not-nearby"], more].concat();
    let (leader, invite) = Terminal::lead(folder.path(), &more);
    let join = |name| {
        let joined = Terminal::join_with(folder.path(), name, &invite, &["--not-nearby"]);
        joined.wait("+ Gentle Oak is here");
        joined
    };
    let (quiet, fox) = (join("Quiet Heron"), join("Amber Fox"));
    let names = ["Gentle Oak", "Quiet Heron", "Amber Fox"];
    let mut people = [leader, quiet, fox];
    for person in &mut people {
        wait_until_away(person, &[], SLEEP);
    }
    for sleeper in 0..people.len() {
        people[sleeper].stop();
        let begun = Instant::now();
        let awake = (sleeper + 1) % people.len();
        wait_until_away(&mut people[awake], &names[sleeper..=sleeper], SLEEP);
        std::thread::sleep(SLEEP.saturating_sub(begun.elapsed()));
        people[sleeper].go_on();
        let begun = Instant::now();
        // What it shows at first is from before.
        std::thread::sleep(2 * LOOK_EVERY);
        wait_until_away(&mut people[sleeper], &[], BACK_WITHIN);
        let hears = begun.elapsed();
        for person in &mut people {
            wait_until_away(person, &[], BACK_WITHIN);
        }
        let is_heard = begun.elapsed();
        println!(
            "{route}: {} hears all {hears:.1?} after waking, is heard by all after {is_heard:.1?}",
            names[sleeper]
        );
        // It was not only what had come meanwhile.
        std::thread::sleep(LASTING);
        assert!(people.iter_mut().all(|person| sees_away(person, &[])));
        people[0].clear();
        people[0].say(&format!("turn {}", names[sleeper]));
        people[awake].wait(&format!("> the turn is {}'s", names[sleeper]));
        people[sleeper].wait(&format!("> the turn is {}'s", names[sleeper]));
    }
}

#[test]
fn whoever_slept_is_back_in_a_direct_circle() {
    sleep_in_turn("direct", &[]);
}

#[test]
fn whoever_slept_is_back_in_a_relayed_circle() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Terminal::relay(folder.path());
    sleep_in_turn("relay", &["--relay", &address]);
}

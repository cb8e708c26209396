//! Starting and stopping leaves nothing behind. Alone in its program, because it counts threads.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::time::{Duration, Instant};

use audio_support::{Machine, until, wait};
use undertone_node::audio::{Direction, Mode};

fn threads() -> Option<Vec<String>> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    let names = tasks
        .flatten()
        .filter_map(name)
        .map(|n| n.trim().to_owned());
    Some(
        names
            .filter(|n| n.starts_with("voice-") || n.starts_with("memory-"))
            .collect(),
    )
}

#[test]
fn twenty_starts_and_stops_leave_no_thread_and_no_open_device() {
    let mut longest = Duration::ZERO;
    for round in 0..20 {
        let machine = Machine::speaking(120.0);
        let (handle, _frames) = machine.start(round);
        if round % 4 != 3 {
            handle.set_mode(if round % 2 == 0 {
                Mode::Circle
            } else {
                Mode::Check
            });
        }
        wait(0.02 * f32::from(round % 5));
        if round == 0 && threads().is_some() {
            // A thread takes its name after it has started.
            until("each thread has its name", || {
                let running = threads().unwrap_or_default();
                ["voice-send", "voice-receive", "voice-mic", "voice-speaker"]
                    .iter()
                    .all(|name| running.iter().any(|n| n == name))
            });
        }
        let began = Instant::now();
        if round % 5 == 4 {
            drop(handle);
        } else {
            handle.stop();
            handle.stop();
        }
        longest = longest.max(began.elapsed());
        assert!(
            !machine.host.is_open(Direction::Input) && !machine.host.is_open(Direction::Output)
        );
    }
    println!("longest stop: {longest:?}");
    if let Some(left) = threads() {
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

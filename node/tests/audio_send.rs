//! What goes out: a frame every 20 ms, one size, whatever the microphone does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use audio_support::{Frames, Machine, decode, rms, start, until_status, wait};
use undertone_node::audio::{Direction, MemoryHost, Mode, SILENCE_DB, SilentHost, VoiceHandle};

/// Frames belong to an absolute clock, so their number follows from time alone. A busy machine may hold back
/// the last few, and after 200 ms of standstill some are left out.
fn assert_steady(
    handle: &VoiceHandle,
    frames: Frames,
    began: Instant,
    why: &str,
) -> Vec<(Instant, [u8; 80])> {
    let elapsed = began.elapsed();
    handle.stop();
    let frames = frames.all();
    let due = (elapsed.as_millis() / 20) as i64;
    let made = frames.len() as i64;
    println!("{why}: {made} frames of {due} due");
    assert!(
        (made - due).abs() <= due / 5 + 2,
        "{why}: {made} frames, {due} were due"
    );
    frames
        .into_iter()
        .map(|(at, frame)| (at, frame.opus))
        .collect()
}

#[test]
fn speech_goes_out_steadily_and_changed() {
    let machine = Machine::speaking(120.0);
    let (handle, frames) = machine.start(1);
    let frames = Frames::take(frames, |_, _| ());
    let began = Instant::now();
    handle.set_may_speak(true);
    handle.set_mode(Mode::Circle);
    let status = until_status("a level", &handle, |s| {
        s.morphed_level_db > -50.0 && s.input_level_db > -50.0
    });
    assert!(status.input_open && status.problem.is_none(), "{status:?}");
    wait(2.0);
    println!("{:?}", handle.status().diagnostics);
    let elapsed = began.elapsed();
    handle.stop();
    let frames = frames.all();
    let due = (elapsed.as_millis() / 20) as usize;
    assert!(
        frames.len().abs_diff(due) <= due / 5 + 2,
        "{} frames, {due} were due",
        frames.len()
    );
    assert!(frames.iter().all(|(_, f)| !f.muted));
    assert!(rms(&decode(&frames)) > 0.005);
}

#[test]
fn muted_means_closed_and_silence_goes_on() {
    let machine = Machine::speaking(120.0);
    let (handle, frames) = machine.start(2);
    let frames = Frames::take(frames, |_, _| ());
    handle.set_may_speak(true);
    handle.set_muted(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    wait(1.0);
    assert!(!machine.host.is_open(Direction::Input));
    assert_eq!(machine.said.len(), 0, "nobody was listened to");
    handle.set_muted(false);
    until_status("the microphone opens", &handle, |s| {
        s.input_level_db > -50.0
    });
    handle.set_muted(true);
    audio_support::until("the microphone closes", || {
        !machine.host.is_open(Direction::Input)
    });
    let status = until_status("the level falls", &handle, |s| {
        s.input_level_db == SILENCE_DB
    });
    assert_eq!(status.problem, None);
    let elapsed = began.elapsed();
    handle.stop();
    let frames = frames.all();
    let due = (elapsed.as_millis() / 20) as usize;
    assert!(
        frames.len().abs_diff(due) <= due / 5 + 2,
        "{} frames, {due} were due",
        frames.len()
    );
    assert!(
        frames.iter().take(40).all(|(_, f)| f.muted),
        "each frame says it"
    );
    assert!(rms(&decode(&frames[..40])) < 1e-3, "and is silence");
    assert!(frames.last().unwrap().1.muted);
}

#[test]
fn not_ones_turn_is_silence_with_an_open_microphone() {
    let machine = Machine::speaking(120.0);
    let (handle, frames) = machine.start(3);
    let frames = Frames::take(frames, |_, _| ());
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    let status = until_status("a level", &handle, |s| s.input_level_db > -50.0);
    assert_eq!(status.morphed_level_db, SILENCE_DB);
    wait(1.0);
    let elapsed = began.elapsed();
    handle.stop();
    let frames = frames.all();
    assert!(frames.len() as u128 * 20 + 600 > elapsed.as_millis());
    assert!(frames.iter().all(|(_, f)| !f.muted));
    assert!(rms(&decode(&frames)) < 1e-3);
}

#[test]
fn a_stalled_microphone_is_noticed_and_silence_goes_on() {
    let machine = Machine::speaking(120.0);
    let (handle, frames) = machine.start(4);
    let frames = Frames::take(frames, |_, _| ());
    handle.set_may_speak(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    until_status("a level", &handle, |s| s.input_level_db > -50.0);
    machine.host.stall(Direction::Input, true);
    let status = until_status("the stall is noticed", &handle, |s| s.problem.is_some());
    assert!(
        status
            .problem
            .unwrap()
            .contains("microphone stopped working")
    );
    assert!(!status.input_open && status.input_level_db == SILENCE_DB);
    machine.host.stall(Direction::Input, false);
    wait(0.5);
    assert!(
        !machine.host.is_open(Direction::Input),
        "nothing is opened unasked"
    );
    handle.choose_input(None);
    let status = until_status("it is back", &handle, |s| s.input_level_db > -50.0);
    assert_eq!(status.problem, None);
    assert_steady(&handle, frames, began, "stalled");
}

#[test]
fn an_unplugged_microphone_is_told_and_choosing_again_recovers() {
    let machine = Machine::speaking(120.0);
    let (handle, frames) = machine.start(5);
    let frames = Frames::take(frames, |_, _| ());
    handle.set_may_speak(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    until_status("a level", &handle, |s| s.input_level_db > -50.0);
    machine.host.unplug(Direction::Input, true);
    let status = until_status("it is told", &handle, |s| s.problem.is_some());
    assert!(
        status
            .problem
            .unwrap()
            .contains("microphone got disconnected")
    );
    machine.host.unplug(Direction::Input, false);
    handle.set_muted(true);
    handle.set_muted(false);
    wait(0.5);
    assert!(
        !machine.host.is_open(Direction::Input),
        "another microphone may have become the default"
    );
    assert!(handle.status().problem.is_some(), "and it is still said");
    handle.choose_input(Some(MemoryHost::device(Direction::Input).id));
    until_status("it is back", &handle, |s| {
        s.input_level_db > -50.0 && s.problem.is_none()
    });
    // The very one that was chosen comes back: it may be taken again.
    machine.host.unplug(Direction::Input, true);
    until_status("it is told again", &handle, |s| s.problem.is_some());
    machine.host.unplug(Direction::Input, false);
    until_status("it is found again", &handle, |s| {
        s.input_level_db > -50.0 && s.problem.is_none()
    });
    assert_steady(&handle, frames, began, "unplugged");
}

#[test]
fn a_machine_without_devices_sends_silence_and_says_so() {
    let (handle, frames) = start(Arc::new(SilentHost), 6);
    let frames = Frames::take(frames, |_, _| ());
    handle.set_may_speak(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    // Headphones are missing too, and whichever was looked for first is told first.
    until_status("it is told", &handle, |s| {
        s.problem
            .as_deref()
            .is_some_and(|p| p.starts_with("No microphone found"))
    });
    wait(1.0);
    assert_steady(&handle, frames, began, "no devices");
}

#[test]
fn frames_nobody_takes_do_not_pile_up() {
    let machine = Machine::speaking(120.0);
    let (handle, mut frames) = machine.start(7);
    handle.set_mode(Mode::Circle);
    wait(0.6);
    handle.stop();
    let mut waiting = 0;
    while frames.try_recv().is_ok() {
        waiting += 1;
    }
    assert!(waiting <= 10, "{waiting} frames are {} ms", waiting * 20);
    assert!(handle.status().diagnostics.frames_dropped > 0);
}

#[test]
fn off_is_off() {
    let machine = Machine::speaking(120.0);
    let (handle, mut frames) = machine.start(8);
    handle.set_may_speak(true);
    wait(0.3);
    assert!(frames.try_recv().is_err());
    assert!(!machine.host.is_open(Direction::Input) && !machine.host.is_open(Direction::Output));
    handle.set_mode(Mode::Circle);
    until_status("open", &handle, |s| s.input_open && s.output_open);
    handle.set_mode(Mode::Off);
    audio_support::until("closed", || {
        !machine.host.is_open(Direction::Input) && !machine.host.is_open(Direction::Output)
    });
    let began = Instant::now();
    handle.stop();
    println!("stopped in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(2));
}

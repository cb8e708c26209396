//! What goes out: a frame every 20 ms, one size, whatever the microphone does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audio_support::{Frames, Machine, decode, rms, start, until_status, wait};
use undertone_dsp::{CleanUp, StreamId};
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

/// A loudspeaker and a microphone in one room: what is played comes back 60 ms later, at half its loudness.
fn small_room() -> Arc<MemoryHost> {
    const LATER: usize = 60 * 48;
    let air = Arc::new(Mutex::new(VecDeque::from(vec![0.0; LATER])));
    let back = air.clone();
    let output = Box::new(move |samples: &[f32], _| {
        let mut air = air.lock().unwrap();
        air.extend(samples.iter().map(|s| 0.5 * s));
        // Should the microphone stand still, the room forgets.
        let excess = air.len().saturating_sub(4 * LATER);
        air.drain(..excess);
    });
    let input = Box::new(move |out: &mut [f32]| {
        let mut back = back.lock().unwrap();
        for sample in out {
            *sample = match back.len() > LATER / 2 {
                true => back.pop_front().unwrap_or_default(),
                false => 0.0,
            };
        }
    });
    Arc::new(MemoryHost::new(input, output))
}

#[test]
fn the_echo_of_another_voice_does_not_go_out_again() {
    let other = Machine::speaking(150.0);
    let (other, from_other) = other.start(3);
    let (handle, frames) = start(small_room(), 4);
    let one = StreamId(1);
    handle.add_stream(one);
    let into = handle.clone();
    let other_frames = Frames::take(from_other, move |n, frame| into.push(one, n, frame.opus));
    let frames = Frames::take(frames, |_, _| ());
    for voice in [&handle, &other] {
        voice.set_may_speak(true);
        voice.set_mode(Mode::Circle);
    }
    wait(5.0);
    handle.set_clean_up(CleanUp {
        echo: true,
        ..CleanUp::NONE
    });
    wait(10.0);
    for voice in [&handle, &other] {
        voice.stop();
    }
    assert!(other_frames.count() > 300);
    let heard = decode(&frames.all());
    let second = |from: usize, to: usize| &heard[from * 48_000..(to * 48_000).min(heard.len())];
    // A busy machine interrupts both devices, which to the canceller is another room: the quietest second counts.
    let (before, after) = (
        rms(second(2, 5)),
        (10..14)
            .map(|s| rms(second(s, s + 1)))
            .fold(f32::MAX, f32::min),
    );
    println!("echo going out: {before:.4} before, {after:.5} after");
    assert!(before > 0.01, "the room echoes: {before}");
    assert!(after < 0.1 * before, "{after} of {before} still goes out");
}

//! What is heard: others through their packets, oneself through the voice check, the removed no more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audio_support::{
    Frames, Machine, Speech, Tape, likeness, rms, start, until, until_status, wait,
};
use undertone_dsp::StreamId;
use undertone_node::audio::{Direction, MemoryHost, Mode, SILENCE_DB, SilentHost};

/// Delay looked through when comparing waves: 0.4 s.
const MOST_DELAY: usize = 19_200;

#[test]
fn the_voice_check_plays_the_morph_and_nothing_leaves() {
    let machine = Machine::speaking(110.0);
    let (handle, mut frames) = machine.start(11);
    handle.set_mode(Mode::Check);
    until("oneself is heard", || {
        wait(0.1);
        machine.heard.rms() > 0.005
    });
    wait(1.5);
    let status = handle.status();
    assert!(
        status.streams.is_empty(),
        "one's own is nobody's stream: {status:?}"
    );
    handle.stop();
    assert!(frames.try_recv().is_err(), "nothing leaves");
    let (said, heard) = (machine.said.samples(), machine.heard.samples());
    assert!(
        likeness(&said[4_800..43_200], &said, 9_600) > 0.99,
        "the ruler measures"
    );
    let like = likeness(&said[9_600..48_000], &heard[9_600..], MOST_DELAY);
    println!("likeness to the raw voice: {like}");
    assert!(
        like < 0.7,
        "what is heard resembles what was said by {like}"
    );
}

#[test]
fn two_voices_pass_changed_speech() {
    let (here, there) = (Machine::speaking(110.0), Machine::speaking(210.0));
    let (a, from_a) = here.start(21);
    let (b, from_b) = there.start(22);
    let (to_a, to_b) = (a.clone(), b.clone());
    let from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(1), n, frame.opus)
    });
    let from_b = Frames::take(from_b, move |n, frame| {
        to_a.push(StreamId(2), n, frame.opus)
    });
    for (handle, stream) in [(&a, StreamId(2)), (&b, StreamId(1))] {
        handle.add_stream(stream);
        handle.set_may_speak(true);
        handle.set_mode(Mode::Circle);
    }
    wait(2.5);
    let status = until_status("a level", &b, |s| {
        s.streams.len() == 1 && s.streams[0].level_db > -50.0
    });
    println!("{status:?}");
    assert_eq!(status.problem, None);
    assert!(status.streams[0].stats.received > 60);
    a.stop();
    b.stop();
    for (frames, machine, other) in [(from_a, &there, &here), (from_b, &here, &there)] {
        assert!(frames.all().len() > 60);
        assert!(
            machine.heard.rms() > 0.005,
            "{} is silence",
            machine.heard.rms()
        );
        let like = likeness(
            &other.said.samples()[9_600..48_000],
            &machine.heard.samples()[9_600..],
            MOST_DELAY,
        );
        println!("likeness to the raw voice: {like}");
        assert!(
            like < 0.7,
            "what is heard resembles what was said by {like}"
        );
    }
}

/// Two streams from one speaker; one of them is removed. Measured at the loudspeaker.
#[test]
fn a_removed_stream_falls_silent_at_once() {
    let speaker = Machine::speaking(110.0);
    let (a, from_a) = speaker.start(31);
    // Loud samples, by when they leave the loudspeaker.
    let last_loud = Arc::new(AtomicU64::new(0));
    let (epoch, loud) = (Instant::now(), last_loud.clone());
    let output = move |samples: &[f32], leaves: Instant| {
        if let Some(at) = samples.iter().rposition(|s| s.abs() > 0.003) {
            let at = leaves - epoch + Duration::from_micros(at as u64 * 1_000 / 48);
            loud.store(at.as_micros() as u64, Ordering::Relaxed);
        }
    };
    let host = Arc::new(MemoryHost::new(
        Box::new(|out: &mut [f32]| out.fill(0.0)),
        Box::new(output),
    ));
    let (b, _from_b) = start(host, 32);
    let to_b = b.clone();
    let _from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(1), n, frame.opus)
    });
    b.set_mode(Mode::Circle);
    a.set_may_speak(true);
    a.set_mode(Mode::Circle);
    for round in 0..5 {
        b.add_stream(StreamId(1));
        // Removed in the middle of a syllable.
        until_status("a level", &b, |s| {
            s.streams.first().is_some_and(|s| s.level_db > -40.0)
        });
        wait(0.2);
        until_status("a loud moment", &b, |s| {
            s.streams.first().is_some_and(|s| s.level_db > -30.0)
        });
        let removed = epoch.elapsed();
        b.remove_stream(StreamId(1));
        wait(0.5);
        let loud = Duration::from_micros(last_loud.load(Ordering::Relaxed));
        println!(
            "round {round}: last sound {:?} after the removal",
            loud.saturating_sub(removed)
        );
        assert!(b.status().streams.is_empty());
        // 10 ms lie in the device and 10 ms go by until it asks again; more is patience with busy machines.
        assert!(
            loud < removed + Duration::from_millis(150),
            "heard long after removal"
        );
    }
    a.stop();
    b.stop();
}

#[test]
fn without_headphones_time_passes_all_the_same() {
    let speaker = Machine::speaking(110.0);
    let (a, from_a) = speaker.start(41);
    let (b, _from_b) = start(Arc::new(SilentHost), 42);
    let to_b = b.clone();
    let _from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(9), n, frame.opus)
    });
    b.add_stream(StreamId(9));
    b.set_mode(Mode::Circle);
    a.set_may_speak(true);
    a.set_mode(Mode::Circle);
    let status = until_status("packets pass through", &b, |s| {
        s.streams
            .first()
            .is_some_and(|s| s.stats.received > 100 && s.level_db > SILENCE_DB)
    });
    println!("{status:?}");
    assert!(
        status.streams[0].stats.delay <= Duration::from_millis(260),
        "the buffer has not grown"
    );
    assert!(status.problem.is_some());
    a.stop();
    b.stop();
}

#[test]
fn headphones_may_go_and_come_while_others_talk() {
    let (speaker, listener) = (Machine::speaking(110.0), Machine::speaking(200.0));
    let (a, from_a) = speaker.start(51);
    let (b, _from_b) = listener.start(52);
    let to_b = b.clone();
    let _from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(9), n, frame.opus)
    });
    b.add_stream(StreamId(9));
    b.set_mode(Mode::Circle);
    a.set_may_speak(true);
    a.set_mode(Mode::Circle);
    let hears = |tape: &Tape| {
        tape.clear();
        wait(0.5);
        tape.rms() > 0.005
    };
    until("the other is heard", || hears(&listener.heard));
    listener.host.unplug(Direction::Output, true);
    let status = until_status("it is told", &b, |s| s.problem.is_some());
    assert!(
        status
            .problem
            .unwrap()
            .contains("headphones got disconnected")
    );
    wait(0.5);
    assert!(!hears(&listener.heard));
    listener.host.unplug(Direction::Output, false);
    b.choose_output(None);
    until("the other is heard again", || hears(&listener.heard));
    let status = b.status();
    assert_eq!(status.problem, None);
    println!("{:?}", status.diagnostics);
    assert!(status.diagnostics.playback_delay <= Duration::from_millis(100));
    a.stop();
    b.stop();
}

#[test]
fn volume_is_each_listeners_own() {
    let speaker = Machine::speaking(110.0);
    let (a, from_a) = speaker.start(61);
    let listener = Machine::speaking(200.0);
    let (b, _from_b) = listener.start(62);
    let to_b = b.clone();
    let _from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(9), n, frame.opus)
    });
    b.add_stream(StreamId(9));
    b.set_volume(StreamId(9), 0.0);
    b.set_mode(Mode::Circle);
    a.set_may_speak(true);
    a.set_mode(Mode::Circle);
    until_status("the voice is there", &b, |s| {
        s.streams.first().is_some_and(|s| s.level_db > -40.0)
    });
    wait(0.5);
    let heard = listener.heard.samples();
    assert!(
        rms(&heard) < 1e-4,
        "turned down means down: {}",
        rms(&heard)
    );
    b.set_volume(StreamId(9), 1.0);
    listener.heard.clear();
    until("the voice is heard", || listener.heard.rms() > 0.005);
    a.stop();
    b.stop();
}

/// Speech begins every second; how long after does the other hear it? Printed, with what it is made of.
#[test]
fn mouth_to_ear() {
    let epoch = Instant::now();
    let (spoken, heard) = (
        Arc::new(Mutex::new(Vec::new())),
        Arc::new(Mutex::new(Vec::new())),
    );
    let (speaks, hears) = (spoken.clone(), heard.clone());
    let (mut speech, mut frame) = (Speech::new(120.0), 0);
    let input = move |out: &mut [f32]| {
        if frame % 50 < 25 {
            if frame % 50 == 0 {
                speech = Speech::new(120.0);
                speaks
                    .lock()
                    .unwrap()
                    .push(Instant::now() - Duration::from_millis(20) - epoch);
            }
            speech.fill(out);
        } else {
            out.fill(0.0);
        }
        frame += 1;
    };
    let mut quiet = 0;
    let output =
        move |samples: &[f32], leaves: Instant| match samples.iter().position(|s| s.abs() > 0.01) {
            Some(at) => {
                if quiet > 10 {
                    hears
                        .lock()
                        .unwrap()
                        .push(leaves - epoch + Duration::from_micros(at as u64 * 1_000 / 48));
                }
                quiet = 0;
            }
            None => quiet += 1,
        };
    let mouth = Arc::new(MemoryHost::new(
        Box::new(input),
        Box::new(|_: &[f32], _| ()),
    ));
    let ear = Arc::new(MemoryHost::new(
        Box::new(|out: &mut [f32]| out.fill(0.0)),
        Box::new(output),
    ));
    let ((a, from_a), (b, _from_b)) = (start(mouth, 81), start(ear, 82));
    let to_b = b.clone();
    let _from_a = Frames::take(from_a, move |n, frame| {
        to_b.push(StreamId(1), n, frame.opus)
    });
    b.add_stream(StreamId(1));
    b.set_mode(Mode::Circle);
    a.set_may_speak(true);
    a.set_mode(Mode::Circle);
    wait(6.3);
    let (sending, receiving) = (a.status().diagnostics, b.status());
    println!(
        "capture {:?}, morph {:?}, jitter buffer {:?}, playback ring up to {:?}, speaker 10ms",
        sending.capture_delay,
        undertone_dsp::Morpher::LATENCY,
        receiving.streams[0].stats.delay,
        receiving.diagnostics.playback_delay,
    );
    a.stop();
    b.stop();
    let (spoken, heard) = (
        spoken.lock().unwrap().clone(),
        heard.lock().unwrap().clone(),
    );
    let delays: Vec<_> = spoken
        .iter()
        .filter_map(|s| {
            heard
                .iter()
                .find(|h| **h > *s && **h < *s + Duration::from_millis(600))
                .map(|h| *h - *s)
        })
        .collect();
    println!("mouth to ear: {delays:?}");
    assert!(delays.len() >= 3, "speech arrived {} times", delays.len());
}

//! Clocks that disagree, and latency that does not grow.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::time::{Duration, Instant};

use audio_support::{Frames, Machine, wait};
use undertone_dsp::StreamId;
use undertone_node::audio::Mode;

/// Five times worse than any real device, both ways, both directions: nothing piles up and nothing runs dry
/// for good.
#[test]
fn devices_that_run_fast_or_slow_keep_their_rings_short() {
    let voices: Vec<_> = [(1_000.0, -1_000.0), (-1_000.0, 1_000.0)]
        .into_iter()
        .map(|(input, output)| {
            let machine = Machine::skewed(130.0, input, output);
            let (handle, frames) = machine.start(71);
            let own = handle.clone();
            let frames = Frames::take(frames, move |n, frame| own.push(StreamId(1), n, frame.opus));
            handle.add_stream(StreamId(1));
            handle.set_may_speak(true);
            handle.set_mode(Mode::Circle);
            (machine, handle, frames, input)
        })
        .collect();
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(20) {
        wait(0.25);
        for (_, handle, _, _) in &voices {
            let d = handle.status().diagnostics;
            longest = longest.max(d.capture_delay).max(d.playback_delay);
            assert!(d.capture_delay < Duration::from_millis(130), "{d:?}");
            assert!(d.playback_delay < Duration::from_millis(100), "{d:?}");
        }
    }
    println!("longest delay in a ring: {longest:?}");
    for (machine, handle, frames, ppm) in voices {
        let status = handle.status();
        println!("{ppm} ppm: {status:?}");
        handle.stop();
        let frames = frames.all().len();
        assert!(frames > 800, "{frames} frames in 20 s");
        assert!(machine.heard.rms() > 0.005);
        assert!(status.streams[0].stats.delay <= Duration::from_millis(260));
    }
}

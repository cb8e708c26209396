//! Real devices: a PulseAudio server of our own with imaginary ones. Skips, loudly, where none can be started.
//!
//! The server's address is an environment variable, so the part that talks to it runs in a child process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod audio_support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use audio_support::{Frames, RATE_HZ, Speech, Tape, start, until, until_status, wait};
use undertone_dsp::StreamId;
use undertone_node::audio::{AudioHost, Device, Mode, SystemHost};

/// Where the child finds the server's process id.
const SERVER_PID: &str = "UNDERTONE_TEST_SOUND_SERVER";

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_server(dir: &Path) -> Option<(Killed, PathBuf)> {
    let socket = dir.join("native");
    let child = Command::new("pulseaudio")
        .args([
            "-n",
            "--daemonize=no",
            "--exit-idle-time=-1",
            "--use-pid-file=no",
            "--log-level=error",
        ])
        .args([
            "-L",
            &format!(
                "module-native-protocol-unix auth-anonymous=1 socket={}",
                socket.display()
            ),
        ])
        .args([
            "-L",
            "module-null-sink sink_name=spk rate=44100 channels=2 format=s16le",
        ])
        .args([
            "-L",
            "module-null-sink sink_name=micfeed rate=48000 channels=1",
        ])
        .args([
            "-L",
            "module-remap-source source_name=vmic master=micfeed.monitor",
        ])
        .env("XDG_RUNTIME_DIR", dir)
        .env("HOME", dir)
        .stdin(Stdio::null())
        .spawn()
        .ok()?;
    let server = Killed(child);
    let began = Instant::now();
    while !socket.exists() {
        if began.elapsed() > Duration::from_secs(10) {
            return None;
        }
        wait(0.05);
    }
    Some((server, socket))
}

#[test]
fn system_devices_carry_a_voice() {
    let dir = tempfile::tempdir().unwrap();
    let Some((server, socket)) = start_server(dir.path()) else {
        // What the macros print, a test that passes keeps to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no PulseAudio server can be started here, so real devices were not tried"
        );
        return;
    };
    for part in ["through_the_server", "unplugged_at_the_server"] {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", part, "--nocapture"])
            .env("PULSE_SERVER", format!("unix:{}", socket.display()))
            .env("XDG_RUNTIME_DIR", dir.path())
            .env("HOME", dir.path())
            .env(SERVER_PID, server.0.id().to_string())
            .status()
            .unwrap();
        assert!(status.success(), "{part} failed");
        if part == "through_the_server" {
            through_alsa_in_a_child(dir.path(), &socket);
        }
    }
}

/// A server that cpal does not recognise, but ALSA's plug-in does: so ALSA is what is left.
fn through_alsa_in_a_child(dir: &Path, socket: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "through_alsa", "--nocapture"])
        .env("PULSE_SERVER", socket)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("PULSE_RUNTIME_PATH")
        .env("HOME", dir)
        .status()
        .unwrap();
    assert!(status.success(), "through_alsa failed");
}

fn pactl(arguments: &[&str]) -> String {
    let output = Command::new("pactl").args(arguments).output().unwrap();
    assert!(output.status.success(), "pactl {arguments:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn named<'a>(devices: &'a [Device], name: &str) -> Option<&'a Device> {
    devices
        .iter()
        .find(|device| device.id.0.ends_with(&format!(":{name}")))
}

/// Plays `fill` into the imaginary microphone until dropped.
struct Feed {
    ends: Arc<AtomicBool>,
    _player: Killed,
}

impl Feed {
    fn start(mut fill: impl FnMut(&mut [f32]) + Send + 'static) -> Self {
        let mut player = Command::new("pacat")
            .args([
                "--device=micfeed",
                "--raw",
                "--rate=48000",
                "--channels=1",
                "--format=float32le",
            ])
            .args(["--latency-msec=10"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = player.stdin.take().unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let over = ends.clone();
        std::thread::spawn(move || {
            // The pipe holds 64 kB, 340 ms: so the pace is kept here.
            let (mut samples, mut due) = ([0.0; 240], Instant::now());
            while !over.load(Ordering::Relaxed) {
                fill(&mut samples);
                let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
                if pipe.write_all(&bytes).is_err() {
                    return;
                }
                due += Duration::from_millis(5);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Self {
            ends,
            _player: Killed(player),
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

/// What goes through a monitor, and when sound begins there after a pause.
struct Recording {
    tape: Tape,
    onsets: Arc<Mutex<Vec<Instant>>>,
    _recorder: Killed,
}

impl Recording {
    fn start(device: &str) -> Self {
        let mut recorder = Command::new("parec")
            .args([&format!("--device={device}"), "--raw", "--rate=48000"])
            .args(["--channels=1", "--format=float32le", "--latency-msec=10"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = recorder.stdout.take().unwrap();
        let (tape, onsets) = (Tape::default(), Arc::new(Mutex::new(Vec::new())));
        let (into, begun) = (tape.clone(), onsets.clone());
        std::thread::spawn(move || {
            let (mut bytes, mut quiet) = ([0; 480], 0);
            while pipe.read_exact(&mut bytes).is_ok() {
                let samples: Vec<f32> = bytes
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                if samples.iter().any(|s| s.abs() > 0.01) {
                    if quiet > 200 {
                        begun.lock().unwrap().push(Instant::now());
                    }
                    quiet = 0;
                } else {
                    quiet += 1;
                }
                into.add(&samples);
            }
        });
        Self {
            tape,
            onsets,
            _recorder: Killed(recorder),
        }
    }

    fn onsets(&self) -> Vec<Instant> {
        self.onsets.lock().unwrap().clone()
    }
}

/// Speech for a second, then silence, and so on.
fn bursts() -> impl FnMut(&mut [f32]) + Send {
    let (mut speech, mut at) = (Speech::new(120.0), 0_u64);
    move |out| {
        let second = at / RATE_HZ as u64;
        if second.is_multiple_of(2) {
            if at.is_multiple_of(RATE_HZ as u64) {
                speech = Speech::new(120.0);
            }
            speech.fill(out);
        } else {
            out.fill(0.0);
        }
        at += out.len() as u64;
    }
}

#[test]
#[ignore = "run by system_devices_carry_a_voice, which starts a server for it"]
fn through_the_server() {
    let host = SystemHost::new();
    let (inputs, outputs) = (host.inputs().unwrap(), host.outputs().unwrap());
    println!("{inputs:?}\n{outputs:?}");
    assert!(
        inputs.iter().all(|d| !d.id.0.ends_with(".monitor")),
        "monitors are no microphones"
    );
    let microphone = named(&inputs, "vmic").expect("the imaginary microphone is listed");
    let speaker = named(&outputs, "spk").expect("the imaginary loudspeaker is listed");

    let _feed = Feed::start(bursts());
    let (spoken, heard) = (
        Recording::start("micfeed.monitor"),
        Recording::start("spk.monitor"),
    );

    let (handle, frames) = start(Arc::new(host), 91);
    handle.choose_input(Some(microphone.id.clone()));
    handle.choose_output(Some(speaker.id.clone()));
    let own = handle.clone();
    let frames = Frames::take(frames, move |n, frame| own.push(StreamId(1), n, frame.opus));
    handle.add_stream(StreamId(1));
    handle.set_may_speak(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    until_status("the voice comes back", &handle, |s| {
        s.input_level_db > -40.0 && s.streams.first().is_some_and(|s| s.level_db > -40.0)
    });
    until("the loudspeaker plays it", || {
        heard.tape.clear();
        wait(0.5);
        heard.tape.rms() > 0.005
    });
    for _ in 0..16 {
        wait(0.5);
        println!("{:?}", handle.status().diagnostics);
    }
    let status = handle.status();
    println!("{:?}", status.streams);
    assert_eq!(status.problem, None);
    assert!(
        status.diagnostics.capture_delay < Duration::from_millis(130),
        "{status:?}"
    );
    assert!(
        status.diagnostics.playback_delay < Duration::from_millis(100),
        "{status:?}"
    );
    let heard = heard.onsets();
    for spoken in spoken.onsets() {
        if let Some(heard) = heard
            .iter()
            .find(|h| **h > spoken && **h < spoken + Duration::from_secs(1))
        {
            println!("from microphone to loudspeaker: {:?}", *heard - spoken);
        }
    }
    let elapsed = began.elapsed();
    let began = Instant::now();
    handle.stop();
    println!("stopped in {:?}", began.elapsed());
    let (made, due) = (frames.all().len(), (elapsed.as_millis() / 20) as usize);
    assert!(
        made.abs_diff(due) < due / 5,
        "{made} frames, {due} were due"
    );
}

#[test]
#[ignore = "run by system_devices_carry_a_voice, which starts a server for it"]
fn unplugged_at_the_server() {
    let _feed = Feed::start({
        let mut speech = Speech::new(120.0);
        move |out| speech.fill(out)
    });
    let host = SystemHost::new();
    let microphone = named(&host.inputs().unwrap(), "vmic").unwrap().id.clone();
    let (handle, frames) = start(Arc::new(host), 92);
    let frames = Frames::take(frames, |_, _| ());
    pactl(&["set-default-source", "vmic"]);
    handle.set_may_speak(true);
    let began = Instant::now();
    handle.set_mode(Mode::Circle);
    let hears = |s: &undertone_node::audio::VoiceStatus| {
        s.input_open && s.input_level_db > -40.0 && s.problem.is_none()
    };
    until_status("the default microphone is heard", &handle, hears);

    // The server would now move the recording to a loudspeaker's monitor, without a word.
    let modules = pactl(&["list", "short", "modules"]);
    let module = modules
        .lines()
        .find(|l| l.contains("module-remap-source"))
        .unwrap();
    pactl(&["unload-module", module.split_whitespace().next().unwrap()]);
    let status = until_status("it is told", &handle, |s| s.problem.is_some());
    println!("{:?}", status.problem);
    assert!(!status.input_open);
    wait(2.5);
    assert!(!handle.status().input_open, "nothing else is listened to");

    pactl(&[
        "load-module",
        "module-remap-source",
        "source_name=vmic",
        "master=micfeed.monitor",
    ]);
    handle.choose_input(Some(microphone.clone()));
    until_status("the microphone is back", &handle, hears);

    for _ in 0..10 {
        handle.set_muted(true);
        until_status("closed", &handle, |s| !s.input_open);
        handle.set_muted(false);
        until_status("open", &handle, hears);
    }
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        let threads = tasks.count();
        println!("{threads} threads after ten mutes");
        assert!(threads < 25, "each opening left a thread behind");
    }

    let server = std::env::var(SERVER_PID).unwrap();
    assert!(
        Command::new("kill")
            .args(["-9", &server])
            .status()
            .unwrap()
            .success()
    );
    let status = until_status("the server's end is told", &handle, |s| s.problem.is_some());
    println!("{:?}", status.problem);
    wait(0.5);
    let elapsed = began.elapsed();
    let began = Instant::now();
    handle.stop();
    println!("stopped in {:?}", began.elapsed());
    let (made, due) = (frames.all().len(), (elapsed.as_millis() / 20) as usize);
    assert!(
        made.abs_diff(due) < due / 5,
        "{made} frames, {due} were due"
    );
}

#[test]
#[ignore = "run by system_devices_carry_a_voice, which starts a server for it"]
fn through_alsa() {
    let host = SystemHost::new();
    let inputs = host.inputs().unwrap();
    println!("{inputs:?}");
    let Some(device) = named(&inputs, "pulse").map(|d| d.id.clone()) else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: ALSA's plug-in for PulseAudio is not installed, so ALSA was not tried"
        );
        return;
    };
    pactl(&["set-default-source", "vmic"]);
    pactl(&["set-default-sink", "spk"]);
    let _feed = Feed::start(bursts());
    let (spoken, heard) = (
        Recording::start("micfeed.monitor"),
        Recording::start("spk.monitor"),
    );
    let (handle, frames) = start(Arc::new(host), 93);
    handle.choose_input(Some(device.clone()));
    handle.choose_output(Some(device));
    let own = handle.clone();
    let frames = Frames::take(frames, move |n, frame| own.push(StreamId(1), n, frame.opus));
    handle.add_stream(StreamId(1));
    handle.set_may_speak(true);
    handle.set_mode(Mode::Circle);
    until_status("the voice comes back", &handle, |s| {
        s.input_level_db > -40.0 && s.streams.first().is_some_and(|s| s.level_db > -40.0)
    });
    until("the loudspeaker plays it", || {
        heard.tape.clear();
        wait(0.5);
        heard.tape.rms() > 0.005
    });
    for _ in 0..6 {
        wait(1.0);
        println!("{:?}", handle.status().diagnostics);
    }
    let status = handle.status();
    println!("{:?}", status.streams);
    assert_eq!(status.problem, None);
    let heard = heard.onsets();
    for spoken in spoken.onsets() {
        if let Some(heard) = heard
            .iter()
            .find(|h| **h > spoken && **h < spoken + Duration::from_secs(1))
        {
            println!("from microphone to loudspeaker: {:?}", *heard - spoken);
        }
    }
    handle.stop();
    assert!(frames.all().len() > 200);
}

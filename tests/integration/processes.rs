//! Nodes as processes of their own, spoken to as a person at a terminal would: killed, restarted, removed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

const SOON: Duration = Duration::from_secs(40);
const LOOPBACK: &str = "127.0.0.1:0";

/// The headless program, built beside this test by `cargo test --workspace`, or now.
pub fn undertone_node() -> PathBuf {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    BUILT
        .get_or_init(|| {
            let test = std::env::current_exe().unwrap();
            let folder = test.parent().and_then(Path::parent).unwrap();
            let program = folder.join("undertone-node");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut build = Command::new(cargo);
            build.args([
                "build",
                "-q",
                "-p",
                "undertone-node",
                "--bin",
                "undertone-node",
            ]);
            if folder.ends_with("release") {
                build.arg("--release");
            }
            assert!(
                build.status().unwrap().success(),
                "the program does not build"
            );
            program
        })
        .clone()
}

/// A node in a process, and what it has printed.
pub struct Terminal {
    child: Child,
    typed: ChildStdin,
    printed: Arc<Mutex<Vec<String>>>,
}

impl Terminal {
    pub fn start(arguments: &[&str]) -> Self {
        Self::run(Command::new(undertone_node()).args(arguments))
    }

    pub fn run(command: &mut Command) -> Self {
        Self::run_with(command, Stdio::inherit())
    }

    /// The same, with somewhere for its log.
    fn run_with(command: &mut Command, log: Stdio) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let printed = Arc::<Mutex<Vec<String>>>::default();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let keep = Arc::clone(&printed);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                keep.lock().unwrap().push(line);
            }
        });
        let typed = child.stdin.take().unwrap();
        Self {
            child,
            typed,
            printed,
        }
    }

    pub fn relay(folder: &Path) -> (Self, String) {
        let identity = folder.join("relay.key");
        let relay = Self::start(&[
            "relay",
            "--listen",
            "127.0.0.1:0",
            "--identity",
            identity.to_str().unwrap(),
        ]);
        let line = relay.wait("/quic-v1/p2p/");
        let address = line.trim().to_owned();
        (relay, address)
    }

    pub fn lead(folder: &Path, more: &[&str]) -> (Self, String) {
        let program = &mut Command::new(undertone_node());
        Self::lead_by(program, &[&["--listen", LOOPBACK], more].concat(), folder)
    }

    pub fn lead_by(program: &mut Command, more: &[&str], folder: &Path) -> (Self, String) {
        let data = folder.join("leader");
        let arguments = [
            "lead",
            "--data",
            data.to_str().unwrap(),
            "--name",
            "Gentle Oak",
            "--topic",
            "Grief",
            "--title",
            "Evening circle",
            "--no-sound",
        ];
        let leader = Self::run(program.args(arguments).args(more));
        let line = leader.wait("invite: undertone:");
        let invite = line.trim_start_matches("invite: ").to_owned();
        (leader, invite)
    }

    /// Whoever led comes back.
    fn lead_again(folder: &Path, invite: &str) -> Self {
        let data = folder.join("leader");
        Self::start(&[
            "join",
            invite,
            "--data",
            data.to_str().unwrap(),
            "--name",
            "Gentle Oak",
            "--no-sound",
        ])
    }

    pub fn join(folder: &Path, name: &str, invite: &str) -> Self {
        Self::join_with(folder, name, invite, &[])
    }

    pub fn join_with(folder: &Path, name: &str, invite: &str, more: &[&str]) -> Self {
        let program = &mut Command::new(undertone_node());
        Self::join_by(
            program,
            &[&["--listen", LOOPBACK], more].concat(),
            folder,
            name,
            invite,
        )
    }

    pub fn join_by(
        program: &mut Command,
        more: &[&str],
        folder: &Path,
        name: &str,
        invite: &str,
    ) -> Self {
        let data = folder.join(name);
        let arguments = [
            "join",
            invite,
            "--data",
            data.to_str().unwrap(),
            "--name",
            name,
            "--no-sound",
            "--agree",
        ];
        Self::run(program.args(arguments).args(more))
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.typed, "{line}").unwrap();
        self.typed.flush().unwrap();
    }

    pub fn has_printed(&self, part: &str) -> Option<String> {
        self.printed(part).into_iter().next()
    }

    /// The lines that hold this.
    pub fn printed(&self, part: &str) -> Vec<String> {
        let printed = self.printed.lock().unwrap();
        let lines = printed.iter().filter(|line| line.contains(part));
        lines.cloned().collect()
    }

    /// Waits for a line, and gives it.
    pub fn wait(&self, part: &str) -> String {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.has_printed(part) {
                return line;
            }
            assert!(
                begun.elapsed() < SOON,
                "no line with {part:?} among {:#?}",
                self.printed.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Forgets what was printed so far.
    pub fn clear(&self) {
        self.printed.lock().unwrap().clear();
    }

    /// Does nothing any more, as on a machine that sleeps.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Goes on as if nothing had been.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// kill −9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the process to end by itself.
    pub fn ended(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < SOON, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_removed_node_that_comes_back_gets_nothing_and_is_told_why() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Terminal::relay(folder.path());
    let (mut leader, invite) = Terminal::lead(folder.path(), &["--relay", &address, "--admit-all"]);
    let quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    quiet.wait("run by      somebody who gives no name");
    quiet.wait("+ Gentle Oak is here");
    let mut crow = Terminal::join(folder.path(), "Restless Crow", &invite);
    crow.wait("+ Quiet Heron is here");
    leader.wait("+ Restless Crow is here");
    leader.say("remove Restless Crow 2");
    leader.wait("x Restless Crow was removed (clause 2)");
    quiet.wait("x Restless Crow was removed (clause 2)");
    crow.wait("You were removed from");
    assert_eq!(crow.ended(), Some(1));

    // Again, with the same invite and what is stored: told at once, from the disk.
    let mut again = Terminal::join(folder.path(), "Restless Crow", &invite);
    again.wait("You were removed from");
    again.wait("No harassment");
    assert_eq!(again.ended(), Some(1));
    assert!(again.has_printed("You are in").is_none());
    assert!(
        again.has_printed("Waiting for").is_none(),
        "it opened a connection"
    );
    assert!(leader.has_printed("? Restless Crow knocks").is_none());

    // Asking at the door: it still stands, until the leader takes it back.
    let mut asking = Terminal::join_with(folder.path(), "Restless Crow", &invite, &["--again"]);
    asking.wait("Asking at the door");
    asking.wait("The door of");
    asking.wait("You were removed from");
    assert_eq!(asking.ended(), Some(1));
    leader.say("reinstate Restless Crow");
    std::thread::sleep(Duration::from_secs(1));
    let back = Terminal::join_with(folder.path(), "Restless Crow", &invite, &["--again"]);
    back.wait("You are in");
    back.wait("+ Quiet Heron is here");
}

#[test]
fn a_killed_node_comes_back_with_its_state_while_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (leader, invite) = Terminal::lead(folder.path(), &["--admit-all", "--auto-turns"]);
    let mut quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    let fox = Terminal::join(folder.path(), "Amber Fox", &invite);
    fox.wait("+ Quiet Heron is here");
    quiet.wait("+ Amber Fox is here");
    fox.kill();

    quiet.say("hand");
    leader.wait("> the turn is Quiet Heron's");
    quiet.wait("> the turn is Quiet Heron's");
    quiet.say("pass");
    leader.wait("> nobody has the turn");

    let mut fox = Terminal::join(folder.path(), "Amber Fox", &invite);
    fox.wait("You are in");
    fox.wait("+ Quiet Heron is here");
    assert!(
        fox.has_printed("The door of").is_none(),
        "the pledge was signed before"
    );
    leader.clear();
    fox.say("hand");
    leader.wait("> the turn is Amber Fox's");
    fox.say("leave");
    assert_eq!(fox.ended(), Some(0));
    leader.wait("- Amber Fox is gone");

    // Whoever left knocks anew, as somebody who has nothing.
    std::thread::sleep(Duration::from_secs(8));
    let fox = Terminal::join(folder.path(), "Amber Fox", &invite);
    fox.wait("The door of");
    fox.wait("+ Quiet Heron is here");
}

#[test]
fn a_leader_decides_at_the_door_and_comes_back_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Terminal::relay(folder.path());
    let (mut leader, invite) = Terminal::lead(folder.path(), &["--relay", &address]);
    let quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    leader.wait("? Quiet Heron knocks");
    assert!(quiet.has_printed("You are in").is_none());
    leader.say("admit quiet");
    quiet.wait("You are in");
    let mut fox = Terminal::join(folder.path(), "Amber Fox", &invite);
    leader.wait("? Amber Fox knocks");
    leader.say("refuse Amber Fox");
    fox.wait("did not let you in");
    assert_eq!(fox.ended(), Some(1));

    leader.kill();
    let mut leader = Terminal::lead_again(folder.path(), &invite);
    leader.wait("+ Quiet Heron is here");
    leader.say("remove Quiet Heron d");
    quiet.wait("You were removed from");
}

#[test]
fn nobody_goes_to_the_door_of_a_direct_circle_before_they_were_told_who_sees_their_address() {
    let folder = tempfile::tempdir().unwrap();
    let (_leader, invite) = Terminal::lead(folder.path(), &[]);
    let data = folder.path().join("nobody");
    let data_name = data.to_str().unwrap();
    let who = ["--data", data_name, "--name", "Quiet Heron", "--no-sound"];
    let ask = || {
        let asked = Terminal::start(&[&["join", invite.as_str()], &who[..]].concat());
        asked.wait("sees your internet address");
        asked
    };
    let mut quiet = ask();
    quiet.say("no");
    assert_eq!(quiet.ended(), Some(1));
    assert!(!data.exists(), "nothing had begun");
    let mut quiet = ask();
    quiet.say("yes");
    quiet.wait("The door of \"Evening circle\"");
}

#[test]
fn whoever_was_away_learns_from_the_relay_alone_who_was_removed_and_that_the_circle_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Terminal::relay(folder.path());
    let (mut leader, invite) = Terminal::lead(folder.path(), &["--relay", &address, "--admit-all"]);
    let otter = Terminal::join(folder.path(), "Kind Otter", &invite);
    otter.wait("You are in");
    let mut gull = Terminal::join(folder.path(), "Loud Gull", &invite);
    otter.wait("+ Loud Gull is here");
    leader.wait("+ Loud Gull is here");
    otter.kill();
    leader.say("remove Loud Gull 2");
    leader.wait("x Loud Gull was removed");
    assert_eq!(gull.ended(), Some(1));
    leader.say("quit");
    assert_eq!(leader.ended(), Some(0));

    // Nobody is there who could tell.
    let otter = Terminal::join(folder.path(), "Kind Otter", &invite);
    otter.wait("x Loud Gull was removed (clause 2)");
    otter.kill();

    let mut leader = Terminal::lead_again(folder.path(), &invite);
    leader.wait("You are in");
    leader.say("close");
    assert_eq!(leader.ended(), Some(0));
    let mut otter = Terminal::join(folder.path(), "Kind Otter", &invite);
    otter.wait("has ended this circle for everybody");
    assert_eq!(otter.ended(), Some(0));
}

/// What `find` prints, and how it ends.
fn find(address: &str, topic: &str) -> (String, Option<i32>) {
    let language = ["--language", "en", "--topic", topic];
    let output = Command::new(undertone_node())
        .args(["find", "--relay", address])
        .args(language)
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    (printed, output.status.code())
}

#[test]
fn a_circle_that_is_announced_is_found_by_its_topic_entered_and_gone_with_its_leader() {
    let folder = tempfile::tempdir().unwrap();
    let (_relay, address) = Terminal::relay(folder.path());
    let more = ["--relay", &address, "--admit-all", "--announce"];
    let (mut leader, _) = Terminal::lead(folder.path(), &more);
    leader.wait("The circle is announced");
    assert_eq!(find(&address, "alcohol").1, Some(1));
    let (printed, code) = find(&address, "GRIEF");
    assert_eq!(code, Some(0), "{printed}");
    assert!(printed.contains("open now, 7 seats"), "{printed}");
    let link = printed.lines().find(|l| l.contains("undertone:")).unwrap();
    let guest = Terminal::join(folder.path(), "Quiet Heron", link.trim());
    guest.wait("You are in \"Evening circle\"");

    leader.clear();
    leader.say("announce in 30");
    leader.wait("The circle is announced");
    let printed = find(&address, "").0;
    assert!(
        printed.contains("begins in 29 h 59 min, 6 seats")
            || printed.contains("begins in 30 h 00 min, 6 seats"),
        "{printed}"
    );
    leader.clear();
    leader.say("announce now");
    leader.wait("The circle is announced");
    assert!(find(&address, "").0.contains("open now"));
    leader.say("leave");
    assert_eq!(leader.ended(), Some(0));
    assert_eq!(find(&address, "").1, Some(1), "it is taken back");
}

#[test]
fn bad_input_is_answered_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let mut bad = Terminal::join(folder.path(), "Quiet Heron", "undertone:not-an-invite");
    bad.wait("This invite cannot be read.");
    assert_eq!(bad.ended(), Some(1));

    std::fs::create_dir(folder.path().join("broken")).unwrap();
    std::fs::write(folder.path().join("broken/root"), b"short").unwrap();
    let data = folder.path().join("broken");
    let output = Command::new(undertone_node())
        .args(["join", "undertone:x", "--name", "A", "--no-sound", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains("damaged"), "{told}");
    assert_eq!(std::fs::read(data.join("root")).unwrap(), b"short");
}

/// UDP ports of this machine that nobody has just now.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| UdpSocket::bind(LOOPBACK).unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

/// What follows on each `mark` in a text, up to what is no letter and no digit.
fn after<'a>(text: &'a str, mark: &str) -> BTreeSet<&'a str> {
    let rests = text.split(mark).skip(1);
    let words = rests.map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next());
    words.flatten().collect()
}

#[test]
fn an_operator_checks_settings_and_runs_a_relay_that_drains_comes_back_and_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let [hub, entry] = free_ports();
    let key = folder.path().join("relay.key");
    let settings = format!(
        "identity = {key:?}\ndrain_seconds = 2\n[hub]\nlisten = [\"127.0.0.1:{hub}\"]\n[entry]\nlisten = [\"127.0.0.1:{entry}\"]\n"
    );
    let [good, bad] = ["relay.toml", "bad.toml"].map(|name| folder.path().join(name));
    std::fs::write(&good, &settings).unwrap();
    std::fs::write(&bad, settings + "[limits]\nconections = 3\n").unwrap();
    let check = |file: &Path| {
        let mut command = Command::new(undertone_node());
        let output = command.args(["relay", "--check"]).arg(file).output();
        let output = output.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let (code, text) = check(&good);
    assert_eq!(code, Some(0), "{text}");
    assert!(!key.exists(), "checking makes nothing");
    let (code, text) = check(&bad);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("line 8") && text.contains("conections"),
        "{text}"
    );
    std::fs::write(&key, b"short").unwrap();
    let (code, text) = check(&good);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("damaged"), "{text}");
    std::fs::remove_file(&key).unwrap();

    let log = folder.path().join("relay.log");
    let start = || {
        let log = File::options()
            .append(true)
            .create(true)
            .open(&log)
            .unwrap();
        let mut program = Command::new(undertone_node());
        // All that it would ever say of itself, and nothing of what libraries say.
        let program = program.env("UNDERTONE_LOG", "trace");
        let relay = Terminal::run_with(program.arg("relay").arg(&good), log.into());
        let address = relay.wait("/p2p-circuit/").trim().to_owned();
        (relay, address)
    };
    let (mut relay, address) = start();
    let (leader, invite) = Terminal::lead(folder.path(), &["--relay", &address, "--admit-all"]);
    let mut quiet = Terminal::join(folder.path(), "Quiet Heron", &invite);
    quiet.wait("+ Gentle Oak is here");
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    relay.wait("Ending: nobody new is let in, and circles under way have 2 s");
    assert_eq!(relay.ended(), Some(0));
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    relay.wait("Ending: connections are being closed");

    let (again, address_again) = start();
    assert_eq!(address_again, address);
    quiet.say("hand");
    leader.wait("^ Quiet Heron would like to share");
    let said = [relay.printed(""), again.printed("")].concat().join("\n");
    let text = said + &std::fs::read_to_string(&log).unwrap();
    let own = [hub, entry].map(|port| port.to_string());
    let own = BTreeSet::from(own.each_ref().map(String::as_str));
    assert_eq!(after(&text, "127.0.0.1/udp/"), own);
    assert!(after(&text, "127.0.0.1:").is_subset(&own), "{text}");
    let keys = after(&text, "12D3");
    assert_eq!(keys, after(&address, "12D3"), "{text}");
    assert_eq!(keys.len(), 1);
}

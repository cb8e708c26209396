//! A circle in a terminal: what happens is printed, what is typed is done.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Result;
use undertone_dsp::{Character, CleanUp};
use undertone_node::NodeHandle;
use undertone_node::api::{
    Announced, Announcing, Circle, Command, Connection, Consent, Door, Farewell, FloorMode,
    Gratitude, Heard, LogAct, Notice, Place, PublicKey, Relay, Role, Snapshot,
};
use undertone_node::clock::unix_minute;
use undertone_protocol::texts;

const LOOK_EVERY: Duration = Duration::from_millis(50);
const HELP: &str = "  who             everybody here          hand            I'd like to share
  mute / unmute   your microphone         pass            not now, or: I am done
  invite          the link to this circle pledge FILE     take your signed pledge along
  thank NAME      thank somebody          ceased          say that you heard a request to stop
  tell NAME WORDS   to one person alone   contact NAME WORDS   ask, or answer, to stay in touch
  log             what those who lead did
  character NAME  sound like another one: free, low, middle, high, warm, bright, soft, clear
  cleanup PART on|off   of what the microphone hears: echo, noise, gain
  leave           leave for good          erase           leave, and ask all to delete what they hold of you
  quit            stop the program, keep your seat
leaders also:
  admit NAME      refuse NAME             turn NAME       end             (the present turn)
  remove NAME CLAUSE [MINUTES]            reinstate NAME  extend SECONDS  (the present turn, in all)
  silence NAME MINUTES  (0: no longer)    cease NAME      ask somebody to stop
  pause / resume  only leaders are heard  door open / door closed
  active / passive      give turns yourself, or let them pass on
  colead NAME     listener NAME           participant NAME
  announce now    show the circle in its relays' directories; announce in HOURS (its next meeting); announce no
  close           end the circle for good new invite      another single-use invite
  recover         lead with a new key, by the recovery key (founder)";

/// What was answered on the command line already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers {
    /// To every clause of the pledge: yes.
    pub agree: bool,
    /// To a removal that is remembered here: ask at the door whether it still stands.
    pub again: bool,
}

/// Asks before anybody in a direct circle sees this machine's address; nobody there to answer means no.
pub fn may_show_address() -> Result<bool> {
    println!(
        "This circle uses no relay: whoever made the link, and everybody in the circle, sees your internet address as \
         soon as you go to the door. Type yes to go there."
    );
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

/// Runs until the circle ends, or the person quits. 0 when that was wished, 1 when one was turned away.
pub fn run(node: &NodeHandle, mut answers: Answers) -> Result<ExitCode> {
    let (typed, lines) = mpsc::channel();
    std::thread::Builder::new()
        .name("keyboard".into())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if typed.send(line).is_err() {
                    break;
                }
            }
        })?;
    let mut screen = Screen::default();
    loop {
        let snapshot = node.snapshot();
        screen.show(&snapshot);
        match &snapshot.place {
            Place::Farewell(Farewell::Removed { .. }) if answers.again => {
                answers.again = false;
                ask_again(node);
                continue;
            }
            Place::Farewell(farewell) => {
                let code = say_farewell(farewell);
                node.stop();
                return Ok(code);
            }
            Place::Lobby if screen.notice.is_some() => {
                node.stop();
                return Ok(ExitCode::from(1));
            }
            Place::Door(_) if answers.agree && !screen.signed => {
                screen.signed = true;
                let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
                node.send(Command::SignPledge(Consent { accepted }));
            }
            _ => {}
        }
        match lines.recv_timeout(LOOK_EVERY) {
            Ok(line) if line.trim() == "quit" => {
                node.stop();
                return Ok(ExitCode::SUCCESS);
            }
            Ok(line) => screen.obey(node, &snapshot, line.trim()),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            // Nobody types: it goes on by itself.
            Err(mpsc::RecvTimeoutError::Disconnected) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// What was printed last, so that only changes are.
#[derive(Default)]
struct Screen {
    place: &'static str,
    members: Vec<(PublicKey, String)>,
    applicants: Vec<PublicKey>,
    turn: Option<PublicKey>,
    queue: Vec<PublicKey>,
    removals: usize,
    notice: Option<Notice>,
    announced: Option<Announced>,
    signed: bool,
    accepted: Vec<String>,
}

impl Screen {
    fn show(&mut self, snapshot: &Snapshot) {
        if snapshot.notice != self.notice {
            self.notice.clone_from(&snapshot.notice);
            if let Some(notice) = &self.notice {
                println!("! {} {}", notice.what, notice.advice);
            }
        }
        let place = match &snapshot.place {
            Place::Lobby => "lobby",
            Place::Connecting(_) => "connecting",
            Place::Door(_) => "door",
            Place::Waiting(_) => "waiting",
            Place::Circle(_) => "circle",
            Place::Farewell(_) => "farewell",
        };
        let before = std::mem::replace(&mut self.place, place);
        if before != place {
            match &snapshot.place {
                Place::Connecting(connecting) => println!("Waiting for {} …", connecting.awaiting),
                Place::Door(door) => self.show_door(door),
                Place::Waiting(_) => {
                    println!(
                        "You signed the pledge and knocked. The leader decides; nobody hears you yet."
                    );
                }
                Place::Circle(circle) => {
                    println!(
                        "You are in \"{}\". Type help for what you can do.",
                        circle.door.title
                    );
                    // Founders, and who is back, have not come by the door.
                    if !["door", "waiting"].contains(&before) {
                        println!("{}", circle.door.who_sees_address);
                    }
                    println!("invite: {}", circle.invite);
                }
                Place::Lobby | Place::Farewell(_) => {}
            }
        }
        if let Place::Circle(circle) = &snapshot.place {
            self.show_circle(circle);
        }
    }

    fn show_door(&self, door: &Door) {
        println!("\nThe door of \"{}\" ({}).", door.title, door.topic);
        println!("{}", door.who_sees_address);
        door.relays.iter().for_each(show_relay);
        let Some(texts) = texts::by_hash(&door.texts) else {
            println!(
                "Its members agree to texts that this program does not have. A newer one may have them."
            );
            return;
        };
        for line in texts.is_not {
            println!("  - {line}");
        }
        println!("Before you come in, please accept each of these (type yes to each, or leave):");
        self.ask_next(door);
    }

    fn ask_next(&self, door: &Door) {
        let texts = texts::by_hash(&door.texts);
        match texts.and_then(|t| t.clauses().nth(self.accepted.len())) {
            Some(clause) if !self.signed => println!("  [{}] {}", clause.mark, clause.full),
            _ => {}
        }
    }

    fn show_circle(&mut self, circle: &Circle) {
        let now: Vec<_> = circle
            .members
            .iter()
            .map(|m| (m.key, m.name.clone()))
            .collect();
        for (key, name) in &now {
            if !self.members.iter().any(|(k, _)| k == key) {
                println!("+ {name} is here");
            }
        }
        for (key, name) in &self.members {
            if !now.iter().any(|(k, _)| k == key) {
                println!("- {name} is gone");
            }
        }
        self.members = now;
        for applicant in &circle.applicants {
            if !self.applicants.contains(&applicant.key) {
                println!("? {} knocks (admit or refuse)", applicant.name);
            }
        }
        self.applicants = circle.applicants.iter().map(|a| a.key).collect();
        let turn = circle.turn.as_ref().map(|t| t.holder);
        if turn != self.turn {
            match turn {
                Some(key) => println!("> the turn is {}'s", name_of(circle, &key)),
                None => println!("> nobody has the turn"),
            }
            self.turn = turn;
        }
        for key in circle.queue.iter().filter(|k| !self.queue.contains(k)) {
            println!("^ {} would like to share", name_of(circle, key));
        }
        self.queue.clone_from(&circle.queue);
        if circle.announced != self.announced {
            self.announced.clone_from(&circle.announced);
            show_announced(self.announced.as_ref());
        }
        let removals = circle.log.iter().filter_map(|entry| match &entry.act {
            LogAct::Removed {
                name,
                clause,
                durable: true,
                ..
            } => Some((name, clause)),
            _ => None,
        });
        let removals: Vec<_> = removals.collect();
        for (name, clause) in removals.iter().skip(self.removals) {
            println!("x {name} was removed (clause {clause})");
        }
        self.removals = removals.len();
    }

    fn obey(&mut self, node: &NodeHandle, snapshot: &Snapshot, line: &str) {
        node.send(Command::DismissNotice);
        match &snapshot.place {
            Place::Door(door) => self.answer(node, door, line),
            Place::Circle(circle) => obey_in_circle(node, circle, snapshot.sound.clean_up, line),
            _ if line == "leave" => node.send(Command::Leave),
            _ => println!("One moment …"),
        }
    }

    fn answer(&mut self, node: &NodeHandle, door: &Door, line: &str) {
        match line {
            "yes" => {
                if let Some(clause) = texts::all_clauses().nth(self.accepted.len()) {
                    self.accepted.push(clause.mark.to_owned());
                }
                if self.accepted.len() == texts::all_clauses().count() && !self.signed {
                    self.signed = true;
                    let accepted = self.accepted.clone();
                    node.send(Command::SignPledge(Consent { accepted }));
                }
            }
            "leave" | "no" => node.send(Command::Leave),
            _ => println!("Please type yes, or leave."),
        }
        self.ask_next(door);
    }
}

/// How a leader wants the circle to be found.
fn announcing(when: &str) -> Option<Announcing> {
    match when.split_once(' ') {
        None if when == "now" => Some(Announcing::Now),
        None if when == "no" => Some(Announcing::No),
        Some(("in", hours)) => {
            let hours: f64 = hours.trim().parse().ok()?;
            let ahead = (0.0..=7.0 * 24.0)
                .contains(&hours)
                .then_some(hours * 60.0)?;
            Some(Announcing::At(unix_minute() + ahead as u64))
        }
        _ => None,
    }
}

fn show_announced(announced: Option<&Announced>) {
    match announced {
        Some(Announced {
            wish: Announcing::No,
            problem: Some(problem),
            ..
        }) => println!("! A relay may still show the circle: {problem}. It is tried again."),
        Some(Announced {
            problem: Some(problem),
            ..
        }) => println!("! The circle is not announced: {problem}. It is tried again."),
        Some(Announced {
            shown_until: Some(_),
            ..
        }) => println!("The circle is announced: everybody can find it."),
        _ => {}
    }
}

/// What the relay says of itself.
fn show_relay(relay: &Relay) {
    let which = match (relay.is_entry, relay.is_hub) {
        (true, false) => "The relay you come in by",
        (false, true) => "The relay where the circle meets",
        _ => "The relay",
    };
    let Some(card) = &relay.card else {
        println!("{which} has not said who runs it.");
        return;
    };
    let name = card.name.as_deref().unwrap_or("somebody who gives no name");
    let complain = card.complain.as_deref().unwrap_or("they name nowhere");
    println!("{which}, in its operator's own words:");
    println!("  run by      {name}");
    println!("  sees        {}", card.sees);
    println!("  keeps       {}", card.keeps);
    println!("  to complain {complain}");
}

fn obey_in_circle(node: &NodeHandle, circle: &Circle, parts: CleanUp, line: &str) {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let command = match (verb, rest.trim()) {
        ("", _) => return,
        ("who", _) => return show_members(circle),
        ("invite", _) => return println!("{}", circle.invite),
        ("log", _) => return show_log(circle),
        ("hand", _) => Some(Command::RaiseHand),
        ("pass", _) => Some(Command::Pass),
        ("mute", _) => Some(Command::SetMuted(true)),
        ("unmute", _) => Some(Command::SetMuted(false)),
        ("character", name) => Character::ALL
            .into_iter()
            .find(|c| c.name() == name)
            .map(Command::SetCharacter),
        ("cleanup", rest) => clean_up(parts, rest).map(Command::SetCleanUp),
        ("leave", _) => Some(Command::Leave),
        ("end", _) => Some(Command::EndTurn),
        ("pledge", path) if !path.is_empty() => Some(Command::ExportPledge(path.into())),
        ("admit", name) => applicant(circle, name).map(Command::Admit),
        ("refuse", name) => applicant(circle, name).map(Command::Refuse),
        ("turn", name) => member(circle, name).map(Command::GiveTurn),
        ("remove", rest) => removal(circle, rest),
        ("reinstate", name) => removed(circle, name).map(Command::Reinstate),
        ("extend", seconds) => seconds.parse().ok().map(Command::ExtendTurn),
        ("silence", rest) => last_word(rest).and_then(|(name, minutes)| {
            let minutes = minutes.parse().ok()?;
            Some(Command::Silence(member(circle, name)?, minutes))
        }),
        ("cease", name) => member(circle, name).map(Command::AskToCease),
        ("ceased", _) => Some(Command::AcknowledgeCease),
        ("thank", name) => {
            member(circle, name).map(|key| Command::Thank(key, Gratitude::ForSharing))
        }
        ("tell", rest) => alone(circle, rest).map(|(key, words)| Command::Refer(key, words)),
        ("contact", rest) => {
            alone(circle, rest).map(|(key, words)| Command::StayInTouch(key, words))
        }
        ("pause", _) => Some(Command::Freeze(true)),
        ("resume", _) => Some(Command::Freeze(false)),
        ("door", "open") => Some(Command::SetDoor(true)),
        ("door", "closed") => Some(Command::SetDoor(false)),
        ("active", _) => Some(Command::SetFloorMode(FloorMode::Active)),
        ("passive", _) => Some(Command::SetFloorMode(FloorMode::Passive)),
        ("colead", name) => member(circle, name).map(|k| Command::SetRole(k, Role::CoLeader)),
        ("listener", name) => member(circle, name).map(|k| Command::SetRole(k, Role::Listener)),
        ("participant", name) => {
            member(circle, name).map(|k| Command::SetRole(k, Role::Participant))
        }
        ("announce", when) => announcing(when).map(Command::Announce),
        ("erase", _) => Some(Command::Erase),
        ("close", _) => Some(Command::CloseCircle),
        ("new", "invite") => Some(Command::RenewInvite),
        ("recover", _) => Some(Command::Recover),
        _ => None,
    };
    match command {
        Some(command) => node.send(command),
        None => println!("{HELP}"),
    }
}

/// PART on, or PART off.
fn clean_up(mut parts: CleanUp, text: &str) -> Option<CleanUp> {
    let (part, is_on) = match last_word(text)? {
        (part, "on") => (part, true),
        (part, "off") => (part, false),
        _ => return None,
    };
    match part {
        "echo" => parts.echo = is_on,
        "noise" => parts.noise = is_on,
        "gain" => parts.gain = is_on,
        _ => return None,
    }
    Some(parts)
}

fn last_word(text: &str) -> Option<(&str, &str)> {
    text.trim().rsplit_once(' ')
}

/// NAME CLAUSE, or NAME CLAUSE MINUTES.
fn removal(circle: &Circle, text: &str) -> Option<Command> {
    let (rest, last) = last_word(text)?;
    let timed = last_word(rest).filter(|(_, clause)| texts::clause(clause).is_some());
    let (name, clause, minutes) = match (timed, last.parse()) {
        (Some((name, clause)), Ok(minutes)) => (name, clause, Some(minutes)),
        _ => (rest, last, None),
    };
    Some(Command::Remove {
        member: member(circle, name)?,
        clause: clause.to_owned(),
        minutes,
    })
}

/// NAME WORDS: the longest beginning that names somebody here is the name.
fn alone(circle: &Circle, text: &str) -> Option<(PublicKey, String)> {
    let named = |m: &&undertone_node::api::Member| {
        let rest = text.get(m.name.len()..).unwrap_or_default();
        let fits = text
            .get(..m.name.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(&m.name));
        fits && rest.starts_with(' ')
    };
    let longest = circle
        .members
        .iter()
        .filter(named)
        .max_by_key(|m| m.name.len())?;
    let words = text.get(longest.name.len()..)?.trim();
    Some((longest.key, words.to_owned()))
}

fn removed(circle: &Circle, name: &str) -> Option<PublicKey> {
    let all = circle.log.iter().filter_map(|entry| match &entry.act {
        LogAct::Removed { name, key, .. } => Some((*key, name.as_str())),
        LogAct::Admitted { .. } => None,
    });
    the_one(all.collect(), name)
}

fn member(circle: &Circle, name: &str) -> Option<PublicKey> {
    let all = circle.members.iter().map(|m| (m.key, m.name.as_str()));
    the_one(all.collect(), name)
}

fn applicant(circle: &Circle, name: &str) -> Option<PublicKey> {
    let all = circle.applicants.iter().map(|a| (a.key, a.name.as_str()));
    the_one(all.collect(), name)
}

/// The only one whose name is this, or begins with it.
fn the_one(all: Vec<(PublicKey, &str)>, name: &str) -> Option<PublicKey> {
    let name = name.trim().to_lowercase();
    let exact = |n: &str| n.to_lowercase() == name;
    let begins = |n: &str| n.to_lowercase().starts_with(&name);
    let pick = |fits: &dyn Fn(&str) -> bool| {
        let mut found = all.iter().filter(|(_, n)| fits(n));
        let first = found.next();
        first
            .filter(|_| found.next().is_none())
            .map(|(key, _)| *key)
    };
    let found = pick(&exact).or_else(|| pick(&begins).filter(|_| !name.is_empty()));
    if found.is_none() {
        println!("Nobody, or more than one, is called \"{name}\" here.");
    }
    found
}

fn show_members(circle: &Circle) {
    for member in &circle.members {
        let you = if member.key == circle.me { ", you" } else { "" };
        let state = match (member.connection, member.speaking, member.muted) {
            (Connection::Away, ..) => "away",
            (Connection::Coming, ..) => "connecting, not heard yet",
            (_, true, _) => "speaking",
            (_, false, true) => "muted",
            (_, false, false) => "listening",
        };
        println!("  {} ({:?}{you}) {state}", member.name, member.role);
    }
    println!(
        "  You are {}.",
        match circle.heard {
            Heard::Yes => "heard",
            Heard::Muted => "muted: the microphone is closed",
            Heard::NotYourTurn => "not heard now: it is not your turn",
            Heard::NoVoice => "not heard: there is no voice to send",
        }
    );
}

fn show_log(circle: &Circle) {
    for entry in &circle.log {
        match &entry.act {
            LogAct::Admitted { name } => println!("  {name} was let in"),
            LogAct::Removed { name, clause, .. } => {
                println!("  {name} was removed (clause {clause})")
            }
        }
    }
}

fn name_of(circle: &Circle, key: &PublicKey) -> String {
    let member = circle.members.iter().find(|m| m.key == *key);
    member.map_or_else(|| key.short(), |m| m.name.clone())
}

/// Goes back to the door; a while, at most, until the node has moved there.
fn ask_again(node: &NodeHandle) {
    println!("You were removed before. Asking at the door whether that still stands …");
    node.send(Command::AskAgain);
    for _ in 0..100 {
        if !matches!(node.snapshot().place, Place::Farewell(_)) {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn say_farewell(farewell: &Farewell) -> ExitCode {
    match farewell {
        Farewell::Left => {
            println!("You left the circle. Take care.");
            ExitCode::SUCCESS
        }
        Farewell::Removed { title, clause } => {
            let clause = texts::clause(clause).map_or("", |c| c.full);
            println!("You were removed from \"{title}\" and cannot come back to it.");
            println!("The leader named this clause: {clause}");
            println!("Other circles are not told of it, and you are welcome there.");
            println!("If whoever leads takes it back: join with --again.");
            ExitCode::from(1)
        }
        Farewell::Closed => {
            println!("The leader has ended this circle for everybody. Take care.");
            ExitCode::SUCCESS
        }
        Farewell::Refused { may_knock_again } => {
            println!("The leader did not let you in this time.");
            if *may_knock_again {
                println!("You may knock once more.");
            }
            ExitCode::from(1)
        }
        Farewell::NoRelay => {
            println!(
                "No relay of this circle could be reached. It may be full or down, or this machine is not on the internet; the invite may be as good as before."
            );
            ExitCode::from(1)
        }
        Farewell::NobodyThere => {
            println!(
                "Nobody answered. The circle may be over, or not have begun; the invite may be an old one."
            );
            ExitCode::from(1)
        }
    }
}

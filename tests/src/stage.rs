//! The circle in a box: everybody takes a turn, one is removed in the middle of theirs, the others go on.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libp2p::identity::Keypair;
use tokio_util::sync::CancellationToken;
use undertone_node::api::{CircleDraft, Command, Event, Place, RouteDraft};
use undertone_node::net::{RelayAddress, udp_sockets};
use undertone_node::relay::{Relay, RelayConfig};
use undertone_protocol::id::PublicKey;
use undertone_protocol::record::{AdmissionMode, FloorMode, Pace};

use crate::person::{Home, Person, lock};
use crate::report::{Removal, Report, Take, Turn};
use crate::speech::{voices, write_wav};
use crate::watch::Watch;
use crate::weather::{self, Weather};

const NAMES: [&str; 16] = [
    "Gentle Oak",
    "Quiet Heron",
    "Amber Fox",
    "Patient Willow",
    "Silver Wren",
    "Calm Badger",
    "Bright Clover",
    "Mellow Owl",
    "Kind Juniper",
    "Steady Otter",
    "Soft Larch",
    "Brave Finch",
    "Warm Thistle",
    "Open Meadow",
    "Blue Sparrow",
    "Restless Crow",
];
/// How long anybody may take to come in.
const COME_IN: Duration = Duration::from_secs(30);
/// How long a turn may take to be given.
const TURN: Duration = Duration::from_secs(6);
/// Silence after the removal, in which nothing of the removed one may be heard.
pub const HUSH: Duration = Duration::from_millis(1_500);
/// The clause the removed one broke.
const CLAUSE: &str = "2";

/// How the members of a box reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RouteChoice {
    /// Straight.
    Direct,
    /// Through one relay.
    Relay,
    /// In by one relay, and on to another.
    TwoHop,
}

impl std::fmt::Display for RouteChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Relay => "relay",
            Self::TwoHop => "two-hop",
        })
    }
}

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Play {
    /// 3–16.
    pub members: usize,
    /// From the first turn to the last.
    pub seconds: u64,
    /// How they reach each other.
    pub route: RouteChoice,
    /// WAV files to speak with instead of the bundled voices.
    pub speech: Option<PathBuf>,
    /// What happens to packets on their way from a member.
    pub weather: Weather,
    /// Seeds that.
    pub seed: u64,
}

/// Plays it, telling `say` how it goes.
///
/// # Errors
/// When the circle does not come about, or a turn is not given: then there is nothing to measure.
pub fn play(play: &Play, say: &mut dyn FnMut(&str)) -> Result<Take> {
    let began = Instant::now();
    let relays = match play.route {
        RouteChoice::Direct => Vec::new(),
        RouteChoice::Relay => vec![RunningRelay::start(Vec::new())?],
        RouteChoice::TwoHop => {
            let hub = RunningRelay::start(Vec::new())?;
            let entry = RunningRelay::start(hub.relay.hubs.clone())?;
            vec![entry, hub]
        }
    };
    let route = match relays.first() {
        None => RouteDraft::Direct,
        Some(relay) => RouteDraft::Relayed(relay.way()?),
    };
    say(match play.route {
        RouteChoice::Direct => "They connect straight to each other, over QUIC on this machine.",
        RouteChoice::Relay => "They meet at a relay on this machine, which sees ciphertext only.",
        RouteChoice::TwoHop => {
            "They come in by one relay on this machine and meet at another: one sees addresses, one what shares a circle."
        }
    });
    let sockets = weather::sockets(udp_sockets(), play.weather, Weather::default(), play.seed);
    let home = |_| Home::here(sockets.clone());
    let people = cast(play.members, play.speech.as_deref(), began, &home)?;
    let people = gather(people, route, say)?;
    let keys = people.iter().map(Person::key).collect::<Result<Vec<_>>>()?;
    let mut watch = Watch::default();

    let half = Duration::from_secs(play.seconds) / 2;
    let troll = people.len() - 1;
    let mut turns = Vec::new();
    let first: Vec<_> = (1..troll).chain([0]).collect();
    let slot = half / (people.len() as u32);
    for speaker in &first {
        turns.push(take_turn(&people, *speaker, slot, &mut watch, say)?);
    }

    let name = people[troll].name.clone();
    let (from, waited) = begin_turn(&people, troll, &mut watch)?;
    say(&format!(
        "{} {name} shares, and goes too far …",
        clock(from)
    ));
    watch.pause(&people, slot.min(Duration::from_secs(4)));
    // In the middle of a word, as the leader hears it, and not in a breath.
    for _ in 0..200 {
        if loudness(&people[0], &keys[troll]) > -35.0 {
            break;
        }
        watch.pause(&people, Duration::from_millis(10));
    }
    let notice = began.elapsed();
    people[0].node.send(Command::Remove {
        member: keys[troll],
        clause: CLAUSE.to_owned(),
        minutes: None,
    });
    say(&format!(
        "{} the leader removes {name}, in the middle of a word",
        clock(notice)
    ));
    turns.push(Turn {
        speaker: troll,
        from,
        to: notice,
        ears: watch.end_turn(&people),
        waited,
    });
    watch.pause(&people, HUSH);
    let hushed = began.elapsed();

    let slot = half / first.len() as u32;
    for speaker in &first {
        turns.push(take_turn(&people, *speaker, slot, &mut watch, say)?);
    }
    watch.pause(&people, Duration::from_millis(700));
    let ended = began.elapsed();

    let removal = Removal {
        subject: troll,
        notice,
        hushed,
        ended,
        enforced: when(
            &people,
            |e| matches!(e, Event::RemovalEnforced { member } if *member == keys[troll]),
        ),
        durable: when(
            &people,
            |e| matches!(e, Event::RemovalDurable { member } if *member == keys[troll]),
        ),
        told: people[troll].first(|e| matches!(e, Event::Ended(_))),
    };
    say("The circle closes. Listening to what everybody heard …");
    let frames = watch.frames(&people, &keys);
    let tracks = people
        .iter()
        .map(|p| {
            (
                p.name.clone(),
                lock(&p.said).clone(),
                lock(&p.heard).clone(),
            )
        })
        .collect();
    let came_in = (people.iter())
        .map(|p| (p.inside_after, p.hearing_after))
        .collect();
    for person in people.iter().rev() {
        person.node.stop();
    }
    let forwarded: Vec<_> = relays.into_iter().map(RunningRelay::end).collect();
    Ok(Take {
        turns,
        removal,
        frames,
        tracks,
        came_in,
        forwarded,
    })
}

/// Real nodes with names and voices, who are not in a circle yet.
///
/// # Errors
/// When a node cannot start.
pub fn cast(
    members: usize,
    speech: Option<&Path>,
    began: Instant,
    home: &dyn Fn(usize) -> Home,
) -> Result<Vec<Person>> {
    let voices = voices(speech)?;
    let names = NAMES.iter().enumerate().take(members);
    names
        .map(|(index, name)| {
            let speech = voices[index % voices.len()].clone();
            Person::start(name, speech, began, home(index))
        })
        .collect()
}

/// Everybody comes in, opens their microphone, and sees everybody.
///
/// # Errors
/// When somebody does not in time.
pub fn gather(
    mut people: Vec<Person>,
    route: RouteDraft,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Person>> {
    let everybody = people.len();
    let leader = &mut people[0];
    leader.node.send(Command::StartCircle(CircleDraft {
        topic: "Trying things out".into(),
        title: "Circle in a box".into(),
        language: "en".into(),
        admission: AdmissionMode::Approval,
        max_members: everybody as u8,
        turn: Duration::from_secs(60),
        floor: FloorMode::Active,
        schedule: None,
        listener_welcome: false,
        route,
        pace: Pace::Usual,
    }));
    leader.node.send(Command::SetAutoAdmit(true));
    let mut invite = String::new();
    leader.wait(COME_IN, "for the circle to begin", |leader| {
        let reachable = |c: &undertone_node::api::Circle| c.connected || c.leading;
        match leader.circle().filter(reachable) {
            Some(circle) => {
                invite = circle.invite;
                true
            }
            None => false,
        }
    })?;
    say(&format!(
        "{} {} founds a circle and keeps its key.",
        clock(leader.now()),
        leader.name
    ));
    for person in people.iter_mut().skip(1) {
        person.come_in(&invite, COME_IN)?;
        let ms = |time: Option<Duration>| time.unwrap_or_default().as_millis();
        say(&format!(
            "{} {} signs the pledge and is let in (from invite to door {} ms, to inside {}, to hearing {}).",
            clock(person.now()),
            person.name,
            ms(person.door_after),
            ms(person.inside_after),
            ms(person.hearing_after)
        ));
    }
    for person in &people {
        person.node.send(Command::SetMuted(false));
    }
    people[0].node.send(Command::SetAutoTurns(true));
    for person in &mut people {
        person.wait(COME_IN, "to hear from everybody", |person| {
            person.circle().is_some_and(|c| {
                let heard = c.members.iter().filter(|m| m.connection.is_heard());
                heard.count() == everybody && !c.muted
            })
        })?;
    }
    say(&format!(
        "{} Everybody hears from everybody: the first turn.",
        clock(people[0].now())
    ));
    Ok(people)
}

/// Says when somebody has the turn whom it is given at once, and how long that took.
fn begin_turn(
    people: &[Person],
    speaker: usize,
    watch: &mut Watch,
) -> Result<(Duration, Duration)> {
    let me = people[speaker].key()?;
    let before = turns_of(&people[speaker], &me);
    people[speaker].node.send(Command::RaiseHand);
    let (begun, asked) = (Instant::now(), people[speaker].now());
    while turns_of(&people[speaker], &me) == before {
        watch.pause(people, Duration::from_millis(10));
        if begun.elapsed() > TURN {
            let place = &people[speaker].node.snapshot().place;
            let ended = matches!(place, Place::Farewell(_));
            bail!(
                "{} was not given the turn (ended: {ended})",
                people[speaker].name
            );
        }
    }
    people[speaker].speak(true);
    watch.begin_turn(people, me, asked);
    let from = people[speaker].now();
    Ok((from, from - asked))
}

fn turns_of(person: &Person, key: &PublicKey) -> usize {
    let mine = |e: &Event| matches!(e, Event::TurnBegan { member } if member == key);
    person.seen(|e| mine(e).then_some(())).len()
}

/// Raises a hand, speaks for so long, and gives the turn back.
///
/// # Errors
/// When the turn is not given.
pub fn take_turn(
    people: &[Person],
    speaker: usize,
    slot: Duration,
    watch: &mut Watch,
    say: &mut dyn FnMut(&str),
) -> Result<Turn> {
    let (from, waited) = begin_turn(people, speaker, watch)?;
    watch.pause(people, slot.saturating_sub(Duration::from_millis(250)));
    let key = people[speaker].key()?;
    let views: Vec<_> = people.iter().map(|person| view_of(person, &key)).collect();
    let ears = watch.end_turn(people);
    people[speaker].speak(false);
    let to = people[speaker].now();
    // A breath, so that the last word is not cut; then the turn is given back.
    watch.pause(people, Duration::from_millis(200));
    people[speaker].node.send(Command::Pass);
    let others = people.iter().filter(|p| p.circle().is_some()).count() - 1;
    say(&format!(
        "{} {} shares; heard by {} of {others}",
        clock(from),
        people[speaker].name,
        ears.len()
    ));
    if ears.len() < others {
        views.iter().for_each(|view| say(view));
    }
    Ok(Turn {
        speaker,
        from,
        to,
        ears,
        waited,
    })
}

/// How somebody sees a turn.
fn view_of(person: &Person, speaker: &PublicKey) -> String {
    let Some(circle) = person.circle() else {
        return format!("        {} is not in the circle", person.name);
    };
    let name = |key: &PublicKey| {
        let member = circle.members.iter().find(|m| m.key == *key);
        member.map_or("somebody", |m| m.name.as_str()).to_owned()
    };
    let turn = circle.turn.as_ref().map(|turn| name(&turn.holder));
    let member = circle.members.iter().find(|m| m.key == *speaker);
    format!(
        "        {} sees the turn of {}, them {:?} at {:.0} dB; {:?}, microphone {:.0} dB",
        person.name,
        turn.unwrap_or_else(|| "nobody".into()),
        member.map(|m| m.connection),
        loudness(person, speaker),
        circle.heard,
        person.node.snapshot().sound.input_level_db,
    )
}

/// The level at which somebody is heard now, dBFS.
fn loudness(listener: &Person, speaker: &PublicKey) -> f32 {
    let members = listener.circle().map(|c| c.members).unwrap_or_default();
    let speaker = members.iter().find(|m| m.key == *speaker);
    speaker.map_or(-100.0, |m| m.level_db)
}

fn when(people: &[Person], what: impl Fn(&Event) -> bool) -> Vec<Option<Duration>> {
    people.iter().map(|p| p.first(&what)).collect()
}

/// Minutes, seconds and tenths since the beginning.
pub fn clock(at: Duration) -> String {
    format!("{:02}:{:04.1}", at.as_secs() / 60, at.as_secs_f64() % 60.0)
}

/// A relay on this machine.
pub struct RunningRelay {
    runtime: tokio::runtime::Runtime,
    relay: Relay,
    cancel: CancellationToken,
}

impl RunningRelay {
    /// Starts one on free ports of the loopback, whose entry leads to other hubs too.
    ///
    /// # Errors
    /// When it cannot.
    pub fn start(others: Vec<RelayAddress>) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("relay")
            .enable_all()
            .build()?;
        let cancel = CancellationToken::new();
        let listen = vec![([127, 0, 0, 1], 0).into()];
        let mut config = RelayConfig::new(Keypair::generate_ed25519(), listen);
        config.entry.hubs = others;
        let guard = runtime.enter();
        let relay = Relay::start(config, cancel.clone())?;
        drop(guard);
        Ok(Self {
            runtime,
            relay,
            cancel,
        })
    }

    /// What leaders type: the way to another's hub, if it leads to one.
    ///
    /// # Errors
    /// When it has no address.
    pub fn way(&self) -> Result<String> {
        let ways = [self.relay.two_hop_paths(), self.relay.paths()].concat();
        let way = ways.first().context("the relay has no address")?;
        Ok(way.to_string())
    }

    /// Ends it; says what it forwarded.
    pub fn end(self) -> String {
        let stats = format!("{:?}", self.relay.stats());
        self.cancel.cancel();
        self.runtime.block_on(self.relay.closed());
        stats
    }
}

/// Plays, judges, and writes what was asked for.
///
/// # Errors
/// When it cannot be played or written. Broken promises are in the report.
pub fn play_and_judge(
    what: &Play,
    out: Option<&Path>,
    say: &mut dyn FnMut(&str),
) -> Result<Report> {
    let take = play(what, say)?;
    if let Some(out) = out {
        std::fs::create_dir_all(out)?;
        for (index, (_, said, heard)) in take.tracks.iter().enumerate() {
            write_wav(&out.join(format!("member-{index}-said.wav")), &said.samples)?;
            write_wav(
                &out.join(format!("member-{index}-heard.wav")),
                &heard.samples,
            )?;
        }
    }
    Ok(Report::judge(what, &take))
}

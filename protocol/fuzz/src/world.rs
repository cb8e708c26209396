//! A circle of real sessions on a virtual clock: a leader, two members, somebody who comes to the door, and a member
//! whose keys the fuzzer has. It checks the rules after everything that happens.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use minicbor::Encode;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{CircleId, PublicKey, RecordId};
use undertone_protocol::identity::Secret;
use undertone_protocol::invite::Token;
use undertone_protocol::record::{Body, Record, RouteKind};
use undertone_protocol::seal::{BUCKETS, open_sealed, seal_padded};
use undertone_protocol::session::{
    Act, Event, Input, Now, Output, Session, SessionConfig, SessionError, Stage, Topic,
};
use undertone_protocol::texts;
use undertone_protocol::voice::PACKET_BYTES;
use undertone_protocol::weakness::Weakness;

use crate::cast::{Cast, INSIDER, LEADER, PEOPLE};
use crate::messages::{channel, info};
use crate::rules::{Rules, Seen};
use crate::warm;

/// Minutes since 1970 UTC at the beginning of the world.
const EPOCH_MINUTE: u64 = 29_000_000;
/// Most events of one run: enough for a minute of a circle, too few to be slow.
const FUEL: usize = 1_500;
/// Messages on their way, and messages remembered by whoever copies them.
const MAX_FLIGHT: usize = 256;
/// Most things one event may lead to.
const MOST_OUTPUTS: usize = 512;

/// What a circle is founded as, out of a byte.
pub type Setting = u8;

/// On its way to somebody.
#[derive(Debug, Clone)]
pub enum Flight {
    /// A control message.
    Control(Topic, Rc<[u8]>),
    /// A voice packet.
    Media(Rc<[u8]>),
    /// Word that somebody listens.
    Listener(Topic),
    /// What one's own machine worked out.
    Worked(Worked),
}

/// The answer to a puzzle, or to whether it is one.
#[derive(Debug, Clone, Copy)]
pub enum Worked {
    /// Found.
    Solved(u64),
    /// Checked.
    Checked(RecordId, bool),
}

enum Write {
    Records(u64, Vec<Record>),
    Delete(PublicKey),
}

/// One person's machine.
#[derive(Default)]
pub struct Person {
    /// What runs on it, unless it is down.
    pub session: Option<Session>,
    /// What is on its disk.
    pub stored: Vec<Vec<u8>>,
    unwritten: VecDeque<Write>,
    topics: BTreeSet<Topic>,
    pub(crate) token: Option<Token>,
    pub(crate) runs: u64,
    /// Hears nothing.
    pub is_cut_off: bool,
    /// What the rules saw of it.
    pub seen: Seen,
}

/// The world.
pub struct World {
    /// Everybody's keys.
    pub cast: Cast,
    /// By their number in the cast.
    pub people: Vec<Person>,
    /// In the order in which it was sent.
    pub flight: VecDeque<(usize, Flight)>,
    /// Control messages as they were sent, for whoever copies them.
    pub wire: Vec<(Topic, Rc<[u8]>)>,
    /// The circle.
    pub circle: CircleId,
    pub(crate) now: Duration,
    door: Secret,
    pub(crate) route: RouteKind,
    fuel: usize,
    rng: ChaCha20Rng,
    /// The circle key as the insider knew it last.
    pub(crate) circle_key: Option<Secret>,
    /// What everybody really did.
    pub rules: Rules,
    /// A rule that everybody's program leaves out, to show that it is missed.
    pub weakness: Option<Weakness>,
}

impl World {
    /// The leader, two members and the insider are in; somebody new comes to the door.
    pub fn new(setting: Setting) -> Self {
        Self::without(None, setting)
    }

    /// The same with a rule left out, if any.
    pub fn without(weakness: Option<Weakness>, setting: Setting) -> Self {
        let mut world = Self::asleep(setting);
        world.weakness = weakness;
        for who in 0..PEOPLE {
            world.start(who);
        }
        world.act(LEADER, Act::AutoAdmit(setting.is_multiple_of(2)));
        world
    }

    /// The same with no machine running.
    pub fn asleep(setting: Setting) -> Self {
        let warm = warm::of(setting);
        let mut world = Self::empty(setting, warm.circle);
        world.now = warm.now;
        world.circle_key = warm.circle_key.clone();
        world.rules.admitted = warm.admitted.clone();
        for (person, (stored, token)) in world.people.iter_mut().zip(&warm.people) {
            person.stored = stored.clone();
            person.token = token.clone();
            person.runs = 1;
        }
        world
    }

    pub(crate) fn empty(setting: Setting, circle: CircleId) -> Self {
        Self {
            cast: Cast::new(),
            people: (0..PEOPLE).map(|_| Person::default()).collect(),
            flight: VecDeque::new(),
            wire: Vec::new(),
            circle,
            now: Duration::from_secs(1),
            door: Secret::from_bytes([0x52; 32]),
            route: warm::route(setting),
            fuel: FUEL,
            rng: ChaCha20Rng::seed_from_u64(u64::from(setting)),
            circle_key: None,
            rules: Rules::default(),
            weakness: None,
        }
    }

    /// The present.
    pub fn now(&self) -> Now {
        Now {
            at: self.now,
            minute: EPOCH_MINUTE + self.now.as_secs() / 60,
        }
    }
    /// What somebody takes the circle to be.
    pub fn state(&self, who: usize) -> Option<&CircleState> {
        self.people[who].session.as_ref()?.state()
    }
    /// The end takes longer.
    pub(crate) fn refuel(&mut self) {
        self.fuel = 8 * FUEL;
    }
    /// Whether nothing more should happen.
    pub fn is_over(&self) -> bool {
        self.fuel == 0
    }

    /// Topic and key of the door.
    pub fn door(&self) -> (Secret, Secret) {
        channel(&self.door, &self.circle, "door")
    }
    /// Topic and key of the circle, as the insider knew them last.
    pub fn inside(&mut self) -> Option<(Secret, Secret)> {
        let key = &self.cast.people[INSIDER];
        let epoch = self
            .people
            .iter()
            .filter_map(|p| p.session.as_ref()?.state()?.epoch());
        let latest = epoch.filter_map(|record| match record.body() {
            Body::Epoch(epoch) => {
                let mine = epoch.sealed.iter().find(|s| s.member == key.public_key())?;
                let number = epoch.number.to_be_bytes();
                let info = info(
                    "epoch",
                    &[self.circle.as_bytes(), &number, key.public_key().as_bytes()],
                );
                let opened = open_sealed(key, None, &info, &mine.secret).ok()?;
                Some((epoch.number, Secret::from_bytes(opened.try_into().ok()?)))
            }
            _ => None,
        });
        if let Some((_, secret)) = latest.max_by_key(|(number, _)| *number) {
            self.circle_key = Some(secret);
        }
        self.circle_key
            .as_ref()
            .map(|secret| channel(secret, &self.circle, "epoch"))
    }
    /// Seals a message as somebody does who holds the channel's key, and hands it to these people.
    pub fn whisper(
        &mut self,
        (topic, key): &(Secret, Secret),
        to: &[usize],
        message: &impl Encode<()>,
    ) {
        self.whisper_bytes((topic, key), to, &minicbor::to_vec(message).unwrap());
    }
    /// The same for any bytes.
    pub fn whisper_bytes(
        &mut self,
        (topic, key): (&Secret, &Secret),
        to: &[usize],
        message: &[u8],
    ) {
        let topic = *topic.as_bytes();
        if let Ok(payload) = seal_padded(key, &topic, message, &mut self.rng) {
            for who in to {
                self.arrive(*who, &Flight::Control(topic, payload.clone().into()));
            }
        }
    }
    /// Randomness of the fuzzer's own.
    pub fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    pub(crate) fn config(&mut self, who: usize) -> SessionConfig {
        let transport = Secret::random(&mut self.rng);
        let mut rng_seed = [0; 32];
        self.rng.fill_bytes(&mut rng_seed);
        SessionConfig {
            circle: self.circle,
            pseudonym: self.cast.people[who].clone(),
            transport,
            door: self.door.clone(),
            route: self.route,
            group_key: (who == LEADER).then(|| self.cast.group.clone()),
            token: self.people[who].token.clone(),
            first_seq: self.people[who].runs << 32,
            rng_seed,
        }
    }

    /// The session that begins from these stored records, or at the door from none.
    pub fn resume(&mut self, who: usize, stored: &[Vec<u8>]) -> Result<Session, SessionError> {
        let (config, now) = (self.config(who), self.now());
        match stored.is_empty() {
            true => Session::seek(config, now),
            false => Session::resume(config, stored, now),
        }
    }

    /// A machine starts from what is on its disk; whoever has nothing there comes to the door.
    pub fn start(&mut self, who: usize) {
        if self.people[who].session.is_some() || who == INSIDER {
            return;
        }
        let stored = self.people[who].stored.clone();
        let mut session = self
            .resume(who, &stored)
            .expect("what a session had stored opens again");
        self.people[who].seen.start(session.state());
        let is_out = matches!(session.stage(), Stage::Out(_));
        self.weakness
            .into_iter()
            .for_each(|weakness| session.weaken(weakness));
        self.people[who].session = Some(session);
        let outputs = self.drain(who);
        let says = |o: &Output| {
            matches!(
                o,
                Output::Publish { .. } | Output::SendMedia(_) | Output::Subscribe(_)
            )
        };
        assert!(
            !is_out || !outputs.iter().any(says),
            "whoever is out comes back"
        );
        self.perform(who, outputs);
    }

    /// A machine stops without a word: what was not written is lost.
    pub fn kill(&mut self, who: usize) {
        let digest = self.state(who).map(CircleState::digest);
        let person = &mut self.people[who];
        if person.session.take().is_some() {
            let is_written = person.unwritten.is_empty() && !person.stored.is_empty();
            person.seen.stop(digest.filter(|_| is_written));
        }
        person.unwritten.clear();
        person.topics.clear();
        person.runs += 1;
        self.flight.retain(|(to, _)| *to != who);
    }

    /// The oldest thing that somebody wants on disk gets there.
    pub fn write(&mut self, who: usize) -> bool {
        let Some(write) = self.people[who].unwritten.pop_front() else {
            return false;
        };
        let person = &mut self.people[who];
        match write {
            Write::Records(ticket, records) => {
                person
                    .stored
                    .extend(records.iter().map(|r| r.envelope().to_vec()));
                self.input(who, Input::Persisted(ticket));
            }
            Write::Delete(author) => person.stored.retain(|bytes| {
                let deleted = |r: Record| {
                    r.author() == author && matches!(r.body(), Body::Pledge(_) | Body::Join(_))
                };
                !Record::verify(bytes).is_ok_and(deleted)
            }),
        }
        true
    }

    /// Time passes with nobody looking, as when a lid is closed.
    pub fn jump(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets time pass: everything arrives, everything is written, every timer is met.
    pub fn run(&mut self, time: Duration) {
        self.pass(time, Self::settle);
    }

    /// The same, but nothing that anybody says gets anywhere.
    pub fn run_apart(&mut self, time: Duration) {
        self.pass(time, |world| {
            world
                .flight
                .retain(|(_, flight)| matches!(flight, Flight::Worked(_)));
            world.settle();
        });
    }

    fn pass(&mut self, time: Duration, settle: impl Fn(&mut Self)) {
        let end = self.now + time;
        loop {
            settle(self);
            let next = self
                .people
                .iter()
                .filter_map(|p| p.session.as_ref()?.next_timeout())
                .min();
            let Some(next) = next.filter(|at| *at <= end && !self.is_over()) else {
                break;
            };
            self.now = self.now.max(next);
            for who in 0..PEOPLE {
                let due = self.people[who]
                    .session
                    .as_ref()
                    .and_then(Session::next_timeout);
                if due.is_some_and(|at| at <= self.now) {
                    self.timeout(who);
                }
            }
        }
        self.now = self.now.max(end);
    }

    fn settle(&mut self) {
        while !self.is_over() {
            if let Some((to, flight)) = self.flight.pop_front() {
                self.arrive(to, &flight);
            } else if !(0..PEOPLE).any(|who| self.write(who)) {
                break;
            }
        }
    }

    /// Somebody looks at the clock.
    pub fn timeout(&mut self, who: usize) {
        let now = self.now();
        let Some(session) = self.people[who].session.as_mut() else {
            return;
        };
        session.handle_timeout(now);
        let next = session.next_timeout();
        assert!(
            next.is_none_or(|at| at > now.at),
            "a timer is due again at once: {next:?} at {:?}",
            now.at
        );
        self.after(who);
    }

    /// Something gets to somebody.
    pub fn arrive(&mut self, who: usize, flight: &Flight) {
        if self.people[who].is_cut_off && !matches!(flight, Flight::Worked(_)) {
            return;
        }
        match flight {
            Flight::Control(topic, payload) => self.control(who, *topic, payload),
            Flight::Media(packet) => self.input(who, Input::Media(packet)),
            Flight::Listener(topic) => self.input(who, Input::Listener(*topic)),
            Flight::Worked(Worked::Solved(answer)) => self.input(who, Input::PuzzleSolved(*answer)),
            Flight::Worked(Worked::Checked(join, fits)) => {
                self.input(
                    who,
                    Input::PuzzleChecked {
                        join: *join,
                        fits: *fits,
                    },
                );
            }
        }
    }

    /// Somebody acts.
    pub fn act(&mut self, who: usize, act: Act) {
        let now = self.now();
        self.note_act(who, &act);
        let Some(session) = self.people[who].session.as_mut() else {
            return;
        };
        if session.handle_input(now, Input::Act(act.clone())).is_ok() {
            self.check_act(who, &act);
        }
        self.after(who);
    }

    /// Somebody signs every clause at the door.
    pub fn sign(&mut self, who: usize, name: &str) {
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        self.act(
            who,
            Act::Sign {
                name: name.into(),
                accepted,
            },
        );
    }

    /// A control message gets to somebody, who says once whether it may travel on.
    fn control(&mut self, who: usize, topic: Topic, payload: &[u8]) {
        let now = self.now();
        let Some(session) = self.people[who].session.as_mut() else {
            return;
        };
        let message = 7;
        if session
            .handle_input(
                now,
                Input::Control {
                    topic,
                    payload,
                    message,
                },
            )
            .is_ok()
        {
            let outputs = self.drain(who);
            let verdict = |o: &&Output| matches!(o, Output::Verdict { message: 7, .. });
            assert_eq!(outputs.iter().filter(verdict).count(), 1);
            self.perform(who, outputs);
        }
        self.after(who);
    }

    /// Anything else happens to somebody.
    pub fn input(&mut self, who: usize, input: Input<'_>) {
        let now = self.now();
        let Some(session) = self.people[who].session.as_mut() else {
            return;
        };
        let result = session.handle_input(now, input);
        assert!(
            matches!(
                result,
                Ok(()) | Err(SessionError::NotNow | SessionError::Record(_))
            ),
            "{result:?}"
        );
        self.after(who);
    }

    pub(crate) fn after(&mut self, who: usize) {
        let outputs = self.drain(who);
        self.perform(who, outputs);
        self.check(who);
    }

    fn drain(&mut self, who: usize) -> Vec<Output> {
        self.fuel = self.fuel.saturating_sub(1);
        let session = self.people[who].session.as_mut();
        let outputs: Vec<_> = session
            .into_iter()
            .flat_map(|s| std::iter::from_fn(|| s.poll_output()))
            .collect();
        assert!(
            outputs.len() <= MOST_OUTPUTS,
            "one event leads to {} things",
            outputs.len()
        );
        outputs
    }

    fn perform(&mut self, who: usize, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Subscribe(topic) => {
                    self.people[who].topics.insert(topic);
                    for other in self.others(who) {
                        if self.people[other].topics.contains(&topic) {
                            self.send(other, Flight::Listener(topic));
                            self.send(who, Flight::Listener(topic));
                        }
                    }
                }
                Output::Unsubscribe(topic) => drop(self.people[who].topics.remove(&topic)),
                Output::Publish { topic, payload, .. } => {
                    assert!(BUCKETS.contains(&payload.len()));
                    let payload: Rc<[u8]> = payload.into();
                    if self.wire.len() < MAX_FLIGHT {
                        self.wire.push((topic, payload.clone()));
                    }
                    for other in self.others(who) {
                        if self.people[other].topics.contains(&topic) {
                            self.send(other, Flight::Control(topic, payload.clone()));
                        }
                    }
                }
                Output::SendMedia(packet) => {
                    assert_eq!(packet.len(), PACKET_BYTES);
                    self.check_voice_key(who);
                    let packet: Rc<[u8]> = packet.into();
                    for other in self.others(who) {
                        self.send(other, Flight::Media(packet.clone()));
                    }
                }
                Output::Play { member, opus, .. } => self.check_play(who, &member, &opus),
                Output::Persist { ticket, records } => {
                    self.note_records(&records);
                    self.people[who]
                        .unwritten
                        .push_back(Write::Records(ticket, records));
                }
                Output::Delete(author) => {
                    self.people[who].unwritten.push_back(Write::Delete(author))
                }
                Output::SolvePuzzle(puzzle) => {
                    let answer = puzzle.solve(|| true).unwrap_or_default();
                    self.send(who, Flight::Worked(Worked::Solved(answer)));
                }
                Output::CheckPuzzle {
                    join,
                    puzzle,
                    answer,
                } => {
                    let fits = puzzle.is_answer(answer);
                    self.send(who, Flight::Worked(Worked::Checked(join, fits)));
                }
                Output::Event(Event::RemovalDurable(member)) => self.note_removal(who, member),
                _ => {}
            }
        }
    }

    fn others(&self, than: usize) -> Vec<usize> {
        let is_cut_off = self.people[than].is_cut_off;
        (0..PEOPLE)
            .filter(|who| *who != than && !is_cut_off)
            .collect()
    }

    fn send(&mut self, to: usize, flight: Flight) {
        if self.flight.len() < MAX_FLIGHT && self.people[to].session.is_some() {
            self.flight.push_back((to, flight));
        }
    }
}

//! One person in one circle: [`Session`].
//!
//! Sans-IO: [`handle_input`](Session::handle_input) takes what happened, [`poll_output`](Session::poll_output)
//! gives what to do, [`next_timeout`](Session::next_timeout) says when to come back. It broadcasts control
//! messages and sends media packets; everything else is built on these two.

#[cfg(feature = "attack")]
mod attack;
mod care;
mod catch_up;
mod door;
mod early;
mod enforce;
mod epoch;
mod floor;
mod found;
mod io;
mod lead;
mod message;
mod presence;
mod timer;
mod view;
mod voice;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::circle::{Applied, Change, CircleState, Turn};
use crate::id::{CircleId, PublicKey, RecordId, TransportId};
use crate::identity::{Draft, GroupKey, Pseudonym};
use crate::invite::Token;
use crate::record::{Body, Kind, Pace, Record, RouteKind};
use crate::weakness::Weakness;

use door::DoorReply;
use message::{Channel, CircleMessage, DoorMessage};
use timer::{Timer, Timers};

pub use care::MAX_WORDS_BYTES;
pub use found::Founding;
pub use io::*;
pub use view::{MemberView, TurnView, View};

/// How often somebody in a relayed circle of so many at most says something small, whether there is anything to say or not, so
/// that relays do not see who speaks (`docs/protocol.md`, 16): all together 16 times a second, and nobody more often than twice.
#[must_use]
pub fn beat(members: u8, pace: Pace) -> Duration {
    const ALL: Duration = Duration::from_millis(1_000 / 16);
    const SHORTEST: Duration = Duration::from_millis(500);
    let usual = (ALL * u32::from(members)).max(SHORTEST);
    match pace {
        Pace::Usual => usual,
        Pace::Thin => 2 * usual,
    }
}

/// How long a pseudonym's records of the moment are valid.
const LIVE_MINUTES: u64 = 60;
/// How long a pledge, an admission or a removal is valid.
const LASTING_MINUTES: u64 = 180 * 24 * 60;

/// One person in one circle.
pub struct Session {
    circle: CircleId,
    me: Pseudonym,
    transport: SigningKey,
    route: RouteKind,
    group_key: Option<GroupKey>,
    rng: ChaCha20Rng,
    stage: Stage,
    state: Option<CircleState>,
    door: Channel,
    door_replies: BTreeMap<DoorReply, Duration>,
    token: Option<Token>,
    /// The pseudonym one will knock with when the open door's puzzle is solved.
    solving: Option<String>,
    /// Answers to puzzles, by join record: whether they fit; not yet, while they are checked.
    checked: BTreeMap<RecordId, bool>,
    /// What one knocks with: pledge and join, once signed.
    knock: Vec<Record>,
    epochs: epoch::Epochs,
    presence: presence::PresenceTable,
    voice: voice::VoiceState,
    catch_up: catch_up::CatchUp,
    /// The present turn, and when it ends.
    turn: Option<(Turn, Duration)>,
    heard_until: BTreeMap<PublicKey, Duration>,
    /// The last request of each person whose hand is up, and when it was noticed.
    hands: BTreeMap<PublicKey, (RecordId, Duration)>,
    /// Connections of people who were removed, and when to close them.
    closing: Vec<(Duration, TransportId)>,
    /// Whose connections were closed, so that they can be let in again.
    blocked: BTreeMap<PublicKey, TransportId>,
    auto_admit: bool,
    auto_turns: bool,
    addresses: Vec<String>,
    next_seq: u64,
    /// How many records were handed out for storing.
    stored: u64,
    /// One's own decisions are on disk up to here; none after it is told to anybody.
    durable: u64,
    /// Which ticket makes which own entry durable.
    tickets: BTreeMap<u64, u64>,
    /// The digest of what is in force, and since when.
    changed: (u64, Duration),
    hello_allowed: Duration,
    /// How many hellos come sooner.
    unsure: u8,
    early_hellos: early::EarlyHellos,
    /// When one last repeated what is up.
    floor_repeated: Option<Duration>,
    /// When one last said that one's hand is up; `None` to say it again soon.
    hand_said: Option<Duration>,
    renew_allowed: Duration,
    replied: BTreeMap<DoorReply, Duration>,
    /// Leader: who has said hello under the current epoch, and how often the others were sent its key.
    arrived: std::collections::BTreeSet<PublicKey>,
    pushes: u32,
    newcomers: Vec<PublicKey>,
    /// Joins that the rules let nobody in with, as things are.
    in_vain: BTreeSet<RecordId>,
    next_ticket: u64,
    after: BTreeMap<u64, Vec<Output>>,
    durable_removals: std::collections::BTreeSet<PublicKey>,
    alone: care::Alone,
    timers: Timers,
    outputs: VecDeque<Output>,
}

impl Session {
    fn new(config: SessionConfig) -> Result<Self, SessionError> {
        let mut rng = ChaCha20Rng::from_seed(config.rng_seed);
        let door = Channel::door(&config.door, &config.circle);
        let me = config.pseudonym.public_key();
        Ok(Self {
            circle: config.circle,
            me: config.pseudonym,
            transport: SigningKey::from_bytes(config.transport.as_bytes()),
            route: config.route,
            group_key: config.group_key,
            stage: Stage::Seeking,
            state: None,
            door,
            door_replies: BTreeMap::new(),
            token: config.token,
            solving: None,
            checked: BTreeMap::new(),
            knock: Vec::new(),
            epochs: epoch::Epochs::default(),
            presence: presence::PresenceTable::default(),
            voice: voice::VoiceState::new(&mut rng, &me)?,
            catch_up: catch_up::CatchUp::default(),
            turn: None,
            heard_until: BTreeMap::new(),
            hands: BTreeMap::new(),
            closing: Vec::new(),
            blocked: BTreeMap::new(),
            auto_admit: false,
            auto_turns: false,
            addresses: Vec::new(),
            next_seq: config.first_seq,
            stored: 0,
            durable: 0,
            tickets: BTreeMap::new(),
            changed: (0, Duration::ZERO),
            hello_allowed: Duration::ZERO,
            unsure: 0,
            early_hellos: early::EarlyHellos::default(),
            floor_repeated: None,
            hand_said: None,
            renew_allowed: Duration::ZERO,
            replied: BTreeMap::new(),
            arrived: Default::default(),
            pushes: 0,
            newcomers: Vec::new(),
            in_vain: BTreeSet::new(),
            next_ticket: 0,
            after: BTreeMap::new(),
            durable_removals: Default::default(),
            alone: care::Alone::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            rng,
        })
    }

    /// Goes to the door of a circle one was invited to.
    ///
    /// # Errors
    /// [`SessionError::Voice`] never in practice.
    pub fn seek(config: SessionConfig, now: Now) -> Result<Self, SessionError> {
        let mut session = Self::new(config)?;
        session.open_door();
        session.timers.set(Timer::Ask, now.at);
        Ok(session)
    }

    /// Comes back to a circle from its stored records, in the order in which they were stored. Somebody
    /// who was removed ends here, before anything is sent.
    ///
    /// # Errors
    /// [`SessionError::BadStore`] when any of them is not genuine: unreadable means closed, not open.
    pub fn resume(
        config: SessionConfig,
        stored: &[Vec<u8>],
        now: Now,
    ) -> Result<Self, SessionError> {
        let mut session = Self::new(config)?;
        let mut records = stored
            .iter()
            .map(|bytes| Record::verify_in(bytes, &session.circle));
        let charter = records
            .next()
            .and_then(Result::ok)
            .ok_or(SessionError::BadStore)?;
        let records = records
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| SessionError::BadStore)?;
        let state = CircleState::load(&charter, &records).ok_or(SessionError::BadStore)?;
        let me = session.me.public_key();
        for record in records.iter().filter(|r| r.author() == me) {
            if matches!(record.body(), Body::Pledge(_)) {
                session.knock.clear();
            }
            if matches!(record.body(), Body::Pledge(_) | Body::Join(_)) {
                session.knock.push(record.clone());
            }
        }
        session.stored = stored.len() as u64;
        session.durable_removals = state.removed().map(|(key, _)| key).collect();
        let end = match state.removal_of(&me) {
            Some(removed) if !state.may_return(&me, now.minute) => Some(End::Removed {
                clause: removed.clause,
            }),
            _ => state.is_closed().then_some(End::Closed),
        };
        if let Some(end) = end {
            session.stage = Stage::Out(end.clone());
            session.outputs.push_back(Output::Event(Event::Ended(end)));
            session.state = Some(state);
            return Ok(session);
        }
        let admitted = state.is_admitted(&me);
        let may_return = state.is_removed(&me);
        session.state = Some(state);
        session.durable = session.own_head();
        session.open_door();
        if admitted {
            // Inside only if the latest circle key stored here is for oneself.
            session.stage = Stage::Knocking;
            session.enter_latest_epoch(now);
            session.timers.set(Timer::Knock, now.at);
        } else if session.knock.is_empty() || may_return {
            session.stage = Stage::AtDoor;
        } else {
            session.stage = Stage::Knocking;
            session.timers.set(Timer::Knock, now.at);
        }
        session.follow_floor(now);
        Ok(session)
    }

    /// The circle's state, once the charter is known.
    pub fn state(&self) -> Option<&CircleState> {
        self.state.as_ref()
    }
    /// Whether this is where people knock. Nobody leaves anything there: whoever knocks is there to be answered, so what a
    /// relay kept of this topic is not to be brought in.
    pub fn is_door(&self, topic: &[u8; 32]) -> bool {
        self.door.topic == *topic
    }
    /// Where one is.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }
    /// One's pseudonym here.
    pub fn me(&self) -> PublicKey {
        self.me.public_key()
    }
    /// One's own signed pledge.
    pub fn pledge(&self) -> Option<&Record> {
        self.knock
            .iter()
            .find(|r| matches!(r.body(), Body::Pledge(_)))
    }

    /// The join record one knocked with last.
    fn own_join(&self) -> Option<RecordId> {
        let joins = |r: &&Record| matches!(r.body(), Body::Join(_));
        self.knock.iter().find(joins).map(Record::id)
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest.
    pub fn next_timeout(&self) -> Option<Duration> {
        let replies = self.door_replies.values().min().copied();
        [self.timers.next(), replies, self.catch_up.due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes what happened.
    ///
    /// # Errors
    /// Only for [`Input::Act`]: why it is not possible. Whatever comes from the network is dropped instead.
    pub fn handle_input(&mut self, now: Now, input: Input<'_>) -> Result<(), SessionError> {
        let out = matches!(self.stage, Stage::Out(_));
        match input {
            Input::Persisted(ticket) => self.handle_persisted(now, ticket),
            _ if out => return Err(SessionError::NotNow),
            Input::Control {
                topic,
                payload,
                message,
            } => {
                let accept = self.handle_control(now, topic, payload);
                self.outputs.push_back(Output::Verdict { message, accept });
            }
            Input::Media(packet) => self.handle_media(now, packet),
            Input::Voice { opus, muted } => self.handle_voice(opus, muted),
            Input::Listener(topic) => self.handle_listener(now, topic),
            Input::Reconnected => self.handle_reconnected(now),
            Input::Addresses(addresses) => {
                self.addresses = addresses;
                self.say_hello_soon(now);
            }
            Input::PuzzleSolved(answer) => self.handle_solved(now, answer)?,
            Input::PuzzleChecked { join, fits } => {
                self.checked.insert(join, fits);
            }
            Input::Act(act) => self.handle_act(now, act)?,
        }
        self.lead(now);
        Ok(())
    }

    /// Does what has come due.
    pub fn handle_timeout(&mut self, now: Now) {
        if matches!(self.stage, Stage::Out(_)) {
            self.timers.clear();
            self.door_replies.clear();
            self.catch_up.clear();
            return;
        }
        while let Some(timer) = self.timers.pop_due(now.at) {
            match timer {
                Timer::Ask => self.ask(now),
                Timer::Knock => self.knock_again(now),
                Timer::Listen => self.knock_if_deaf(now),
                Timer::Hello => self.say_hello(now),
                Timer::TurnEnd => self.end_turn_on_time(now),
                Timer::Grace => self.refresh_speaking(now),
                Timer::Push => self.push_epoch(now),
                Timer::Close => self.close_removed(now),
                Timer::OwnRemoval => self.end_if_removed(),
                Timer::OldEpoch => self.leave_old_epoch(),
                Timer::OldVoiceKeys => self.voice.forget_old(now.at),
                Timer::Repair => self.say_hello(now),
            }
        }
        self.answer_due_doors(now);
        self.answer_due_catch_up(now);
        self.lead(now);
    }

    fn handle_act(&mut self, now: Now, act: Act) -> Result<(), SessionError> {
        match act {
            Act::Sign { name, accepted } => self.sign_and_knock(now, name, accepted),
            Act::RaiseHand => self.raise_hand(now),
            Act::Pass => self.pass(now),
            Act::Leave => self.leave(now, false),
            Act::Erase => self.leave(now, true),
            Act::AcknowledgeCease => self.acknowledge_cease(now),
            Act::Thank(subject, gratitude) => self.thank(now, subject, gratitude),
            Act::Refer(subject, words) => self.refer(now, subject, &words),
            Act::StayInTouch(subject, words) => self.stay_in_touch(now, subject, &words),
            leading => self.handle_leading_act(now, leading),
        }
    }

    fn handle_control(&mut self, now: Now, topic: Topic, payload: &[u8]) -> bool {
        if topic == self.door.topic {
            let message = self.door.open::<DoorMessage>(payload);
            let genuine = message.is_some();
            if let Some(message) = message {
                self.handle_door(now, message);
            }
            return genuine;
        }
        let Some(channel) = self.epochs.channel(&topic) else {
            return false;
        };
        let Some(message) = channel.open::<CircleMessage>(payload) else {
            return false;
        };
        let current = self.epochs.current().is_some_and(|c| c.topic == topic);
        self.handle_circle_message(now, message, current);
        true
    }

    fn handle_circle_message(&mut self, now: Now, message: CircleMessage, current: bool) {
        let mut unknown = None;
        for envelope in message.records.iter().take(message::MAX_RECORDS) {
            let verified = match self.lacks(Weakness::Circle) {
                true => Record::verify(envelope),
                false => Record::verify_in(envelope, &self.circle),
            };
            let Ok(record) = verified else {
                continue;
            };
            match record.body() {
                Body::Hello(_) => {
                    if current {
                        self.arrived.insert(record.author());
                    }
                    self.handle_hello(now, &record);
                    let is_known = |s: &CircleState| s.is_admitted(&record.author());
                    if !self.state.as_ref().is_some_and(is_known) {
                        unknown = Some(record);
                    }
                }
                _ => {
                    if current {
                        self.note_progress(now, &record);
                    }
                    self.handle_record(now, &record);
                }
            }
        }
        match (unknown, message.voice_key) {
            (Some(hello), handout) => {
                let me = self.me.public_key();
                self.early_hellos.keep(now.at, &hello, handout, &me);
            }
            (None, Some(handout)) => self.handle_voice_key(now, &handout),
            (None, None) => {}
        }
    }

    /// Folds a record in, and does what follows from it; once one is out, nothing follows any more.
    fn handle_record(&mut self, now: Now, record: &Record) {
        if matches!(self.stage, Stage::Out(_)) {
            return;
        }
        // What stands in a chain stands, however long ago it was said, and what it rests on with it: a pledge
        // and a join were judged at the door. The rest must be of now.
        let kind = record.body().kind();
        let lasts = kind.is_chained()
            || matches!(kind, Kind::Pledge | Kind::Join | Kind::Leave | Kind::Erase);
        if !lasts && record.check_time(now.minute).is_err() {
            return;
        }
        self.hear_alone(now, record);
        let Some(state) = self.state.as_mut() else {
            return;
        };
        if let Ok(Applied::Changed(changes)) = state.apply(record) {
            self.save(&changes);
            self.follow(now, &changes);
        }
    }

    fn lacks(&self, weakness: Weakness) -> bool {
        self.state.as_ref().is_some_and(|s| s.lacks(weakness))
    }

    /// Signs a record of one's own.
    fn sign_own(
        &mut self,
        now: Now,
        valid_minutes: u64,
        body: impl Into<Body>,
    ) -> Result<Record, SessionError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        let draft = Draft {
            circle: self.circle,
            seq,
            prev: None,
            lamport: self.next_lamport(),
            created: now.minute,
            valid_minutes,
            body: body.into(),
        };
        Ok(self.me.sign(draft)?)
    }

    /// One more than any Lamport time seen.
    fn next_lamport(&self) -> u64 {
        self.state.as_ref().map_or(0, |s| s.lamport() + 1)
    }

    /// Stores what is new and lasts.
    fn save(&mut self, changes: &[Change]) {
        let records = self.state.as_mut().map(CircleState::take_unsaved);
        if let Some(records) = records.filter(|r| !r.is_empty()) {
            self.persist(records, durable_removals(changes));
        }
    }

    /// Has records stored, and does `then` when they are.
    fn persist(&mut self, records: Vec<Record>, then: Vec<Output>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.stored += records.len() as u64;
        self.after.insert(ticket, then);
        self.tickets.insert(ticket, self.own_head());
        self.outputs.push_back(Output::Persist { ticket, records });
        ticket
    }

    fn handle_persisted(&mut self, now: Now, ticket: u64) {
        let head = self.tickets.remove(&ticket).unwrap_or(0);
        self.durable = self.durable.max(head);
        for output in self.after.remove(&ticket).unwrap_or_default() {
            if let Output::Event(Event::RemovalDurable(key)) = &output {
                self.durable_removals.insert(*key);
            }
            self.outputs.push_back(output);
        }
        let epoch = self.state.as_ref().and_then(|s| s.epoch());
        let own = epoch.filter(|e| self.authority() == Some(e.author()));
        let fresh = own.is_some_and(|e| e.payload().seq <= self.durable);
        if fresh && self.pushes == 0 {
            self.welcome_newcomers();
            self.pushes = 1;
            self.timers.set(Timer::Push, now.at + lead::FIRST_PUSH);
        }
    }

    /// Broadcasts to the circle under the current epoch, so that it does not show.
    fn broadcast(&mut self, message: &CircleMessage) {
        self.deliver(message, Delivery::Paced);
    }

    fn deliver(&mut self, message: &CircleMessage, delivery: Delivery) {
        if let Some(output) = self.seal_for_circle(message, delivery) {
            self.outputs.push_back(output);
        }
    }

    fn seal_for_circle(&mut self, message: &CircleMessage, delivery: Delivery) -> Option<Output> {
        let channel = self.epochs.current()?;
        // Whatever does not fit a message is dropped by its maker, who bounds what it puts in.
        let payload = channel.seal(message, &mut self.rng).ok()?;
        Some(Output::Publish {
            topic: channel.topic,
            payload,
            delivery,
        })
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn end(&mut self, end: End) {
        self.stage = Stage::Out(end.clone());
        self.voice.forget_everything();
        for topic in self.epochs.topics().chain([self.door.topic]) {
            self.outputs.push_back(Output::Unsubscribe(topic));
        }
        for route in self.epochs.routes(self.route) {
            self.outputs.push_back(Output::DetachRoute(route));
        }
        self.outputs.push_back(Output::Allow(Vec::new()));
        self.outputs.push_back(Output::MaySpeak(false));
        self.epochs = epoch::Epochs::default();
        self.event(Event::Ended(end));
    }
}

fn durable_removals(changes: &[Change]) -> Vec<Output> {
    let removed = changes.iter().filter_map(|change| match change {
        Change::Removed(key) => Some(Output::Event(Event::RemovalDurable(*key))),
        _ => None,
    });
    removed.collect()
}

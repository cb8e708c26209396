//! The driver: the one task that owns a person's state. Commands, sound, network, disk and time come in;
//! a snapshot goes out.

mod circle;
mod commands;
mod directory;
mod events;
mod known;
mod snapshot;
mod ways;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use undertone_dsp::{Character, CleanUp, MorphSeed};
use undertone_protocol::id::Nonce;
use undertone_protocol::identity::{GroupKey, Secret};
use undertone_protocol::invite::Invite;
use undertone_protocol::record::{PuzzleCost, RouteKind};
use undertone_protocol::session::{self, Act, End, Founding};

use crate::api::{
    CircleDraft, Command, Device, DeviceId, Event, Farewell, Found, Notice, RouteDraft, Search,
    Snapshot,
};
use crate::audio::{AudioHost, LocalFrame, Mode, VoiceHandle};
use crate::clock::unix_minute;
use crate::entropy::{os_bytes, os_rng};
use crate::practice::Practice;
use crate::store::{CircleFile, Settings, Store};
use crate::{NodeConfig, NodeError};

pub use directory::find as find_circles;

use circle::{Beginning, Circle, Entry, Happening};

/// How often levels are drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(50);
/// How long one waits for somebody to answer behind an invite.
const NOBODY_AFTER: Duration = Duration::from_secs(25);
/// Time for last words to relays and members after a quick exit.
const LAST_MOMENT: Duration = Duration::from_millis(700);

/// What the driver tells itself from work it has handed away.
enum Internal {
    Devices(Result<(Vec<Device>, Vec<Device>), String>),
    PledgeWritten(Result<std::path::PathBuf, String>),
    /// What came of a search.
    Found(Found),
}

pub(crate) struct Driver {
    config: NodeConfig,
    store: Store,
    settings: Settings,
    voice: VoiceHandle,
    place: Where,
    practice: Option<Practice>,
    /// What one looked for last.
    found: Option<Found>,
    /// The circle one was removed from last.
    removed_from: Option<CircleFile>,
    inputs: Vec<Device>,
    outputs: Vec<Device>,
    checking: bool,
    notice: Option<Notice>,
    device_problem: Option<String>,
    internal: mpsc::Sender<Internal>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    events: broadcast::Sender<Event>,
    hurry: CancellationToken,
    /// Ends the last search.
    searching: CancellationToken,
    closing: JoinSet<()>,
}

/// Where the person is.
enum Where {
    Lobby,
    Circle(Box<Circle>),
    Farewell(Farewell),
}

/// The driver's ends of its channels.
pub(crate) struct Ends {
    pub commands: mpsc::Receiver<Command>,
    pub frames: mpsc::Receiver<LocalFrame>,
    pub snapshot: watch::Sender<Arc<Snapshot>>,
    pub events: broadcast::Sender<Event>,
    /// There is no time for anything but the end.
    pub hurry: CancellationToken,
}

/// The secret voice setting in a circle, or of the voice check when in none.
pub(crate) fn morph_seed(store: &Store, salt: Option<&Nonce>, settings: &Settings) -> MorphSeed {
    let nowhere = Nonce::from_bytes([0; 16]);
    let seed = store
        .root_seed()
        .voice_seed(salt.unwrap_or(&nowhere), settings.voice);
    MorphSeed::from_bytes(*seed.as_bytes())
}

/// The voice character chosen.
pub(crate) fn character(settings: &Settings) -> Character {
    let all = Character::ALL;
    all.get(usize::from(settings.character))
        .copied()
        .unwrap_or_default()
}

/// The clean-up chosen.
pub(crate) fn clean_up(settings: &Settings) -> CleanUp {
    settings
        .clean_up
        .map_or_else(CleanUp::default, |parts| CleanUp {
            echo: parts & 1 != 0,
            noise: parts & 2 != 0,
            gain: parts & 4 != 0,
        })
}

impl Driver {
    /// Runs until cancelled; everything it began has ended when this returns.
    pub async fn run(
        config: NodeConfig,
        store: Store,
        settings: Settings,
        voice: VoiceHandle,
        ends: Ends,
        cancel: CancellationToken,
    ) {
        let (internal, mut from_internal) = mpsc::channel(16);
        let Ends {
            mut commands,
            mut frames,
            snapshot,
            events,
            hurry,
        } = ends;
        let mut driver = Self {
            config,
            store,
            settings,
            voice,
            place: Where::Lobby,
            practice: None,
            found: None,
            removed_from: None,
            inputs: Vec::new(),
            outputs: Vec::new(),
            checking: false,
            notice: None,
            device_problem: None,
            internal,
            snapshot,
            events,
            hurry,
            searching: CancellationToken::new(),
            closing: JoinSet::new(),
        };
        driver.refresh_devices();
        let mut draw = tokio::time::interval(DRAW_EVERY);
        draw.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                command = commands.recv() => match command {
                    Some(command) => driver.handle_command(command).await,
                    None => break,
                },
                Some(internal) = from_internal.recv() => driver.handle_internal(internal),
                Some(frame) = frames.recv() => driver.send_voice(&frame).await,
                happening = next_happening(&mut driver.place) => {
                    driver.handle_happening(happening).await;
                }
                Some(_) = driver.closing.join_next() => {}
                _ = draw.tick() => driver.give_up_on_nobody().await,
            }
            driver.tell_events().await;
            driver.draw();
        }
        driver.go_to(Where::Lobby);
        driver.practice = None;
        driver.voice.stop();
        driver.searching.cancel();
        while driver.closing.join_next().await.is_some() {}
    }

    fn refresh_devices(&mut self) {
        let host: Arc<dyn AudioHost> = Arc::clone(&self.config.audio);
        let internal = self.internal.clone();
        self.closing.spawn_blocking(move || {
            let both = host
                .inputs()
                .and_then(|inputs| Ok((inputs, host.outputs()?)))
                .map_err(|error| error.to_string());
            // The driver may have ended meanwhile.
            let _ = internal.blocking_send(Internal::Devices(both));
        });
    }

    fn handle_internal(&mut self, internal: Internal) {
        match internal {
            Internal::Devices(Ok((inputs, outputs))) => {
                self.inputs = inputs;
                self.outputs = outputs;
                self.device_problem = words::missing_devices(&self.inputs, &self.outputs);
            }
            Internal::Devices(Err(problem)) => self.device_problem = Some(problem),
            Internal::PledgeWritten(Ok(path)) => self.notice = Some(words::pledge_written(&path)),
            Internal::PledgeWritten(Err(why)) => self.notice = Some(words::pledge_failed(&why)),
            // Another search may have begun meanwhile.
            Internal::Found(found) => {
                if (self.found.as_ref()).is_some_and(|asked| asked.search == found.search) {
                    self.found = Some(found);
                }
            }
        }
    }

    /// Looks for circles in the background; the last search counts.
    fn find_circles(&mut self, search: Search) {
        self.keep_relays(&search.relays);
        self.found = Some(Found {
            search: search.clone(),
            result: None,
        });
        let (internal, socket) = (self.internal.clone(), self.config.socket.clone());
        self.searching.cancel();
        self.searching = self.hurry.child_token();
        let searching = self.searching.clone();
        self.closing.spawn(async move {
            let found = async {
                let result = Some(directory::find(&search, socket).await);
                let found = Internal::Found(Found { search, result });
                let _ = internal.send(found).await;
            };
            searching.run_until_cancelled(found).await;
        });
    }

    /// Remembers the ways to relays, so that nobody has to paste them twice.
    fn keep_relays(&mut self, ways: &str) {
        let ways = ways.trim();
        if !ways.is_empty() && self.settings.relays.as_deref() != Some(ways) {
            self.settings.relays = Some(ways.to_owned());
            self.keep_settings();
        }
    }

    fn export_pledge(&mut self, path: std::path::PathBuf) -> Result<(), NodeError> {
        let Where::Circle(circle) = &self.place else {
            return Err(NodeError::NotInACircle);
        };
        let text = circle
            .session
            .pledge()
            .and_then(undertone_protocol::pledge_file::write)
            .ok_or(NodeError::NotInACircle)?;
        let internal = self.internal.clone();
        self.closing.spawn_blocking(move || {
            let written = std::fs::write(&path, text).map_err(|e| e.to_string());
            let _ = internal.blocking_send(Internal::PledgeWritten(written.map(|()| path)));
        });
        Ok(())
    }

    async fn start_circle(&mut self, draft: &CircleDraft, practice: bool) -> Result<(), NodeError> {
        let name = self.settings.name.clone().ok_or(NodeError::NoName)?;
        let mut rng = os_rng()?;
        let (group_key, recovery) = (Secret::random(&mut rng), Secret::random(&mut rng));
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&os_bytes()?[..16]);
        let salt = Nonce::from_bytes(nonce);
        let key = GroupKey::from_secret(&group_key);
        let (route, addresses) = match &draft.route {
            RouteDraft::Direct => (RouteKind::Direct, Vec::new()),
            RouteDraft::Relayed(relays) => {
                let drafted = ways::drafted(relays)?;
                self.keep_relays(relays);
                drafted
            }
        };
        let founding = Founding {
            topic: draft.topic.trim().to_owned(),
            title: draft.title.trim().to_owned(),
            language: draft.language.clone(),
            admission: draft.admission,
            max_members: draft.max_members,
            turn_seconds: u16::try_from(draft.turn.as_secs()).unwrap_or(u16::MAX),
            floor: draft.floor,
            puzzle: PuzzleCost::USUAL,
            schedule: draft.schedule.clone(),
            listener_welcome: draft.listener_welcome,
            route,
            pace: draft.pace,
            recovery_key: GroupKey::from_secret(&recovery).public_key(),
            name: name.clone(),
            nonce: salt,
        };
        let leader = self.store.root_seed().pseudonym(&salt, 0).public_key();
        let now = session::Now {
            at: Duration::ZERO,
            minute: unix_minute(),
        };
        let charter = founding.charter(&key, leader, now)?;
        let file = CircleFile {
            circle: charter.founds().ok_or(NodeError::BadInvite)?,
            salt,
            door: os_bytes()?,
            group_key: Some(*group_key.as_bytes()),
            route,
            addresses,
            title: founding.title.clone(),
            seq_ceiling: 0,
            recovery_key: Some(*recovery.as_bytes()),
            token: None,
            members: Some(founding.max_members),
            pace: founding.pace.named(),
            announced: None,
        };
        let charter = Box::new(charter);
        self.enter(file, Beginning::Found { charter, name }, practice)
            .await
    }

    async fn open_invite(&mut self, link: &str, practice: bool) -> Result<(), NodeError> {
        let invite = Invite::from_link(link)?;
        if invite.route.is_relayed() && self.settings.relays.is_none() {
            self.keep_relays(&invite.addresses.join(" "));
        }
        let known = self.store.circles()?;
        let known = known.into_iter().find(|f| f.circle == invite.circle);
        let (file, beginning) = match known {
            Some(mut file) => {
                let records = self.store.records(&file.circle)?;
                if file.group_key.is_none() {
                    file.addresses = invite.addresses;
                    file.token = invite.token.or(file.token);
                }
                let beginning = match records.is_empty() {
                    true => Beginning::Seek,
                    false => Beginning::Resume(records),
                };
                (file, beginning)
            }
            None => (new_file(&invite)?, Beginning::Seek),
        };
        self.enter(file, beginning, practice).await
    }

    async fn ask_again(&mut self) -> Result<(), NodeError> {
        let file = self.removed_from.take().ok_or(NodeError::NotInACircle)?;
        self.store.forget(file.circle).done().await?;
        self.enter(file, Beginning::Seek, false).await
    }

    async fn enter(
        &mut self,
        file: CircleFile,
        beginning: Beginning,
        practice: bool,
    ) -> Result<(), NodeError> {
        if matches!(self.place, Where::Circle(_)) {
            return Err(NodeError::AlreadyInACircle);
        }
        self.checking = false;
        self.voice.set_muted(true);
        self.voice.set_mode(Mode::Off);
        let (salt, title) = (file.salt, file.title.clone());
        let remembered = file.clone();
        let loopback = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let entry = Entry {
            file,
            listen: match practice {
                true => vec![loopback],
                false => self.config.listen.clone(),
            },
            socket: self.config.socket.clone(),
            nearby: self.config.nearby && !practice,
            practice,
        };
        let entered = Circle::enter(&self.store, self.voice.clone(), entry, beginning).await?;
        match entered {
            Ok(circle) => {
                let seed = morph_seed(&self.store, Some(&salt), &self.settings);
                self.voice.set_voice(seed, character(&self.settings));
                self.go_to(Where::Circle(Box::new(circle)));
            }
            Err(end) => {
                self.removed_from = matches!(end, End::Removed { .. }).then_some(remembered);
                let farewell = snapshot::farewell(&end, &title);
                self.tell(Event::Ended(farewell.clone()));
                self.go_to(Where::Farewell(farewell));
            }
        }
        Ok(())
    }

    async fn practise(&mut self, lead: bool) -> Result<(), NodeError> {
        if matches!(self.place, Where::Circle(_)) {
            return Err(NodeError::AlreadyInACircle);
        }
        if lead {
            self.start_circle(&Practice::draft(), true).await?;
            let Where::Circle(circle) = &mut self.place else {
                return Ok(());
            };
            circle.act(&self.store, Act::AutoAdmit(true)).await?;
            let link = circle.invite();
            self.practice = Some(Practice::join(link)?);
        } else {
            let practice = Practice::lead()?;
            let link = practice.invite().await.ok_or(NodeError::NetworkEnded)?;
            self.open_invite(&link, true).await?;
            self.practice = Some(practice);
        }
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), NodeError> {
        match &mut self.place {
            Where::Circle(circle) => {
                let result = circle.act(&self.store, Act::Leave).await;
                self.tell_events().await;
                result.or(Ok(()))
            }
            _ => {
                self.go_to(Where::Lobby);
                Ok(())
            }
        }
    }

    async fn send_voice(&mut self, frame: &LocalFrame) {
        if let Where::Circle(circle) = &mut self.place {
            circle.send_voice(&self.store, frame).await;
        }
    }

    async fn handle_happening(&mut self, happening: Happening) {
        let Where::Circle(circle) = &mut self.place else {
            return;
        };
        if let Err(error) = circle.handle(&self.store, happening).await {
            // What could not be stored or sent must not look as if it had been.
            self.notice = Some(words::notice(&error));
            self.go_to(Where::Lobby);
        }
    }

    async fn give_up_on_nobody(&mut self) {
        if let Where::Circle(circle) = &self.place
            && *circle.session.stage() == session::Stage::Seeking
            && circle.since.elapsed() > NOBODY_AFTER
        {
            let farewell = match circle.ways.is_some() && !circle.is_connected() {
                true => Farewell::NoRelay,
                false => Farewell::NobodyThere,
            };
            let id = circle.file.circle;
            if let Err(error) = self.store.forget(id).done().await {
                self.notice = Some(words::notice(&error.into()));
            }
            self.tell(Event::Ended(farewell.clone()));
            self.go_to(Where::Farewell(farewell));
        }
    }

    /// Moves on; a circle that is left closes its network in the background, joined at the end.
    fn go_to(&mut self, place: Where) {
        let entering = matches!(place, Where::Circle(_));
        if let Where::Circle(circle) = std::mem::replace(&mut self.place, place) {
            self.voice.set_mode(Mode::Off);
            if let Some(notice) = circle.last_notice() {
                self.closing.spawn(notice.take_back(self.hurry.clone()));
            }
            let (closed, hurry) = (circle.close(), self.hurry.clone());
            self.closing.spawn(async move {
                let hurried = async {
                    hurry.cancelled().await;
                    tokio::time::sleep(LAST_MOMENT).await;
                };
                tokio::select! {
                    () = closed => {}
                    () = hurried => {}
                }
            });
        }
        if !entering && let Some(practice) = self.practice.take() {
            self.closing.spawn_blocking(move || drop(practice));
        }
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn draw(&mut self) {
        let drawn = self.look();
        self.snapshot.send_if_modified(|shown| {
            let changed = **shown != drawn;
            if changed {
                *shown = Arc::new(drawn);
            }
            changed
        });
    }
}

/// What these ways make of a circle, if they can be read.
pub(crate) fn route_of(ways: &str) -> Option<RouteKind> {
    ways::drafted(ways).ok().map(|(kind, _)| kind)
}

fn new_file(invite: &Invite) -> Result<CircleFile, NodeError> {
    // Salted by the circle's id, so that the same person is the same pseudonym at the same door.
    let mut salt = [0; 16];
    salt.copy_from_slice(&invite.circle.as_bytes()[..16]);
    if invite.route.is_relayed() && invite.addresses.is_empty() {
        return Err(NodeError::BadInvite);
    }
    Ok(CircleFile {
        circle: invite.circle,
        salt: Nonce::from_bytes(salt),
        door: *invite.door.as_bytes(),
        group_key: None,
        route: invite.route,
        addresses: invite.addresses.clone(),
        title: String::new(),
        seq_ceiling: 0,
        recovery_key: None,
        token: invite.token.clone(),
        members: Some(invite.members),
        pace: invite.pace.named(),
        announced: None,
    })
}

async fn next_happening(place: &mut Where) -> Happening {
    match place {
        Where::Circle(circle) => circle.next().await,
        _ => std::future::pending().await,
    }
}

/// When something began, for the snapshot.
pub(crate) fn since(begun: Instant) -> Duration {
    Duration::from_secs(begun.elapsed().as_secs())
}

/// A device by its stored name.
pub(crate) fn device(name: &Option<String>) -> Option<DeviceId> {
    name.clone().map(DeviceId)
}

//! What a window, a command line or a test says to a node and sees of it: [`Command`]s in, a [`Snapshot`]
//! and [`Event`]s out. Plain data: whoever draws it needs no lock and decides nothing.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use undertone_dsp::{Character, CleanUp, Difference};
pub use undertone_protocol::circle::Role;
pub use undertone_protocol::id::{CircleId, PublicKey, TextsHash};
pub use undertone_protocol::operator::OperatorCard;
pub use undertone_protocol::record::{AdmissionMode, FloorMode, Gratitude, Pace, RouteKind};

/// Everything a person can ask of their node.
#[derive(Debug, Clone)]
pub enum Command {
    /// The pseudonym others will see, 1–40 characters.
    SetName(String),

    /// List the sound devices again.
    RefreshDevices,
    /// Use this microphone; `None` is the system's default.
    ChooseInput(Option<DeviceId>),
    /// Use these headphones; `None` is the system's default.
    ChooseOutput(Option<DeviceId>),
    /// Another voice character, heard from the next frame on.
    SetCharacter(Character),
    /// What comes off the microphone before the voice is changed.
    SetCleanUp(CleanUp),
    /// A fresh secret voice setting of the same character.
    RerollVoice,
    /// Hear oneself as others will: the morphed microphone on the headphones. Not inside a circle.
    VoiceCheck(bool),

    /// Look for circles that leaders have announced.
    FindCircles(Search),
    /// Found a circle and lead it.
    StartCircle(CircleDraft),
    /// Look at the door behind an invite link.
    OpenInvite(String),
    /// The practice circle: companions on this machine, loopback only.
    Practice {
        /// Lead it oneself instead of taking part.
        lead: bool,
    },
    /// Sign the pledge and ask to be let in. Every clause must have been accepted.
    SignPledge(Consent),
    /// After a removal: forget what is stored of that circle and go to its door again, in case it was taken
    /// back. If it still stands, one is told so there.
    AskAgain,
    /// Step back from the door, or out of the circle, to the lobby.
    Leave,
    /// Take one's signed pledge along as a file that anyone can verify.
    ExportPledge(PathBuf),

    /// Muted means that the microphone is closed.
    SetMuted(bool),
    /// I'd like to share.
    RaiseHand,
    /// Not now after all: take the hand down, or give the turn back.
    Pass,
    /// How loud one member is for me, 0.0–2.0.
    SetVolume {
        /// Whose sound.
        member: PublicKey,
        /// 1.0 is as sent.
        volume: f32,
    },

    /// Leader: let this applicant in.
    Admit(PublicKey),
    /// Leader: turn this applicant away; after two times they can knock no more.
    Refuse(PublicKey),
    /// Leader: let everybody with the invite in without asking.
    SetAutoAdmit(bool),
    /// Leader: give the turn to this member.
    GiveTurn(PublicKey),
    /// Leader: end the present turn.
    EndTurn,
    /// Leader: give turns by themselves, in the order of raised hands.
    SetAutoTurns(bool),
    /// Leader: remove this member now, for this clause ("a"–"d", "1"–"8").
    Remove {
        /// Who.
        member: PublicKey,
        /// The mark of the clause broken.
        clause: String,
        /// For so many minutes; for good when absent.
        minutes: Option<u64>,
    },
    /// Leader: take the removal of this person back. They may knock again.
    Reinstate(PublicKey),
    /// Leader: make this member co-leader, listener or participant.
    SetRole(PublicKey, Role),
    /// Leader: ask this member to cease (term 6).
    AskToCease(PublicKey),
    /// Say that one has heard it, and ceases.
    AcknowledgeCease,
    /// Leader: let nobody hear this member for so many minutes; 0 takes it back.
    Silence(PublicKey, u64),
    /// Leader: pause the circle, so that only those who lead are heard; or let it go on.
    Freeze(bool),
    /// Leader: give turns oneself, or let them pass on.
    SetFloorMode(FloorMode),
    /// Leader: open or close the door.
    SetDoor(bool),
    /// Leader: let the present turn last so many seconds in all.
    ExtendTurn(u16),
    /// Leader: end the circle for good.
    CloseCircle,
    /// Founder: take the lead with a new group key, by the recovery key that was made at founding.
    Recover,
    /// Thank this member.
    Thank(PublicKey, Gratitude),
    /// Say words in need to this member alone; nobody stores them.
    Refer(PublicKey, String),
    /// Ask a member whether they would like to stay in touch, once a day; or answer, if they have asked.
    StayInTouch(PublicKey, String),
    /// Leave, and ask everybody to delete what they hold of one.
    Erase,
    /// Leader: show the circle in its relays' directories, or no longer.
    Announce(Announcing),
    /// Make another single-use invite, for a circle that asks for one.
    RenewInvite,

    /// Put the present notice away.
    DismissNotice,
}

/// What a founder decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircleDraft {
    /// What the circle is about, 1–60 characters.
    pub topic: String,
    /// The circle's own name, 1–60 characters.
    pub title: String,
    /// Language of the conversation, such as "en".
    pub language: String,
    /// Whether the leader is asked for each newcomer.
    pub admission: AdmissionMode,
    /// Most members, 2–16.
    pub max_members: u8,
    /// Longest turn.
    pub turn: Duration,
    /// How turns are given at first.
    pub floor: FloorMode,
    /// When the circle meets, in the founder's words.
    pub schedule: Option<String>,
    /// Whether a listener (social worker) may attend.
    pub listener_welcome: bool,
    /// How the traffic travels.
    pub route: RouteDraft,
    /// How often something goes over each line of a relayed circle.
    pub pace: Pace,
}

/// Where, and for what, somebody looks for circles. Topics are looked through on one's own machine: nobody else learns
/// which one it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Relays whose directories are asked, as in [`RouteDraft::Relayed`].
    pub relays: String,
    /// Language of the conversation, such as "en"; empty for all.
    pub language: String,
}

/// How a circle is shown in its relays' directories, to everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Announcing {
    /// Not at all.
    #[default]
    No,
    /// People may come now; until the leader leaves.
    Now,
    /// It meets then, minutes since 1970 UTC.
    At(u64),
}

/// What has come of a [`Search`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What was looked for.
    pub search: Search,
    /// Circles, those that are open now first and then by time, or why there are none; nothing while it is looked for.
    pub result: Option<Result<Vec<Listed>, String>>,
}

/// A circle in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub circle: CircleId,
    /// What it is about.
    pub topic: String,
    /// Its own name.
    pub title: String,
    /// Language of the conversation.
    pub language: String,
    /// Whether the leader is asked for each newcomer.
    pub admission: AdmissionMode,
    /// How many may still come in.
    pub seats: u8,
    /// When it meets, minutes since 1970 UTC; now when absent.
    pub next_meeting: Option<u64>,
    /// When the circle meets, in the founder's words.
    pub schedule: Option<String>,
    /// Whether a listener may attend.
    pub listener_welcome: bool,
    /// How the traffic travels.
    pub route: RouteKind,
    /// Leads to its door.
    pub link: String,
    /// Relays that would see one's address at this door, and do not now: others than one asked.
    pub strangers: Vec<IpAddr>,
}

/// Whether and how a circle one leads is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    /// What one wants.
    pub wish: Announcing,
    /// Minutes since 1970 UTC until which it is shown now.
    pub shown_until: Option<u64>,
    /// Why it is not, in one plain sentence; it is tried again.
    pub problem: Option<String>,
}

/// How the traffic of a new circle travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteDraft {
    /// Straight between members, who see each other's addresses.
    Direct,
    /// Through community relays: one or more ways, `ENTRY/p2p-circuit/HUB`, with white space between. Where no relay is both
    /// entry and hub, the circle's charter promises two hops.
    Relayed(String),
}

impl RouteDraft {
    /// What the charter of such a circle would promise; nothing where the ways cannot be read.
    #[must_use]
    pub fn kind(&self) -> Option<RouteKind> {
        match self {
            Self::Direct => Some(RouteKind::Direct),
            Self::Relayed(ways) => crate::driver::route_of(ways),
        }
    }
}

/// What somebody at the door has ticked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// Marks of every accepted clause, as in `undertone_protocol::texts::all_clauses`.
    pub accepted: Vec<String>,
}

/// A sound device as the system names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceId(pub String);

/// A sound device one can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// To choose it by.
    pub id: DeviceId,
    /// To show it by.
    pub name: String,
    /// The system's own choice.
    pub is_default: bool,
}

/// All that can be seen of a node at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The pseudonym, once chosen.
    pub name: Option<String>,
    /// Sound.
    pub sound: Sound,
    /// Where the person is.
    pub place: Place,
    /// Relays used last, as in [`RouteDraft::Relayed`].
    pub relays: String,
    /// What one looked for last, and what was found.
    pub found: Option<Found>,
    /// Something to be told, until dismissed.
    pub notice: Option<Notice>,
}

/// Devices, levels and the voice.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sound {
    /// Microphones.
    pub inputs: Vec<Device>,
    /// Headphones and speakers.
    pub outputs: Vec<Device>,
    /// The chosen microphone, `None` for the system's default.
    pub input: Option<DeviceId>,
    /// The chosen headphones, `None` for the system's default.
    pub output: Option<DeviceId>,
    /// Level at the microphone, dBFS; −100 is silence.
    pub input_level_db: f32,
    /// Level of the morphed voice, dBFS.
    pub morphed_level_db: f32,
    /// How far that is from one's own voice, in whole units; none before enough was heard.
    pub difference: Option<Difference>,
    /// Whether one hears oneself now.
    pub checking: bool,
    /// The voice character.
    pub character: Character,
    /// What comes off the microphone before the voice is changed.
    pub clean_up: CleanUp,
    /// Why there is no sound, in one plain sentence.
    pub problem: Option<String>,
}

/// Where the person is.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Place {
    /// Not in or at any circle.
    #[default]
    Lobby,
    /// Looking for the circle behind an invite.
    Connecting(Connecting),
    /// Before the door, with the charter to read.
    Door(Door),
    /// Pledge signed, knocked, waiting to be let in.
    Waiting(Door),
    /// Inside.
    Circle(Box<Circle>),
    /// It ended, and why.
    Farewell(Farewell),
}

/// Waiting for something with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connecting {
    /// What is awaited, in plain words.
    pub awaiting: String,
    /// For how long already.
    pub since: Duration,
}

/// The door of a circle.
#[derive(Debug, Clone, PartialEq)]
pub struct Door {
    /// The circle.
    pub circle: CircleId,
    /// What it is about.
    pub topic: String,
    /// Its own name.
    pub title: String,
    /// Language of the conversation.
    pub language: String,
    /// Whether the leader is asked for each newcomer.
    pub admission: AdmissionMode,
    /// Most members.
    pub max_members: u8,
    /// Longest turn.
    pub turn: Duration,
    /// When the circle meets, in the founder's words.
    pub schedule: Option<String>,
    /// Whether a listener may attend.
    pub listener_welcome: bool,
    /// How the traffic travels.
    pub route: RouteKind,
    /// How often something goes over each line of a relayed circle.
    pub pace: Pace,
    /// Who could see the person's internet address, in one plain sentence.
    pub who_sees_address: String,
    /// The relays that one's packets go through; none in a direct circle.
    pub relays: Vec<Relay>,
    /// Whether this is a practice circle on this machine only.
    pub practice: bool,
    /// The texts that its members agree to, as `undertone_protocol::texts::by_hash` finds them.
    pub texts: TextsHash,
    /// The texts that one signed last, in whatever circle.
    pub signed: Option<TextsHash>,
    /// Whether one founded it, and could take the lead with a new group key now.
    pub can_recover: bool,
}

/// A relay that a circle goes through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relay {
    /// Whether one comes in there: it sees one's address.
    pub is_entry: bool,
    /// Whether members meet there: it sees which connections share a circle.
    pub is_hub: bool,
    /// What it says of whoever runs it, signed by it; none if it says nothing.
    pub card: Option<OperatorCard>,
}

/// The circle as its member sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Circle {
    /// The charter in plain words.
    pub door: Door,
    /// Everybody, oneself included, in a fixed order.
    pub members: Vec<Member>,
    /// Whoever knocks: leaders see them.
    pub applicants: Vec<Applicant>,
    /// Whose turn it is.
    pub turn: Option<Turn>,
    /// Raised hands, next first.
    pub queue: Vec<PublicKey>,
    /// Oneself.
    pub me: PublicKey,
    /// Whether one's microphone is closed.
    pub muted: bool,
    /// Whether others would hear one now.
    pub heard: Heard,
    /// Whether one holds the group key.
    pub leading: bool,
    /// Leader: newcomers are let in without asking.
    pub auto_admit: bool,
    /// Leader: turns are given by themselves.
    pub auto_turns: bool,
    /// The link that leads here.
    pub invite: String,
    /// Acts of the leader, newest last.
    pub log: Vec<LogEntry>,
    /// Whether the leader's latest notices are known to have arrived.
    pub moderation_verified: bool,
    /// Whether there is a connection to anybody.
    pub connected: bool,
    /// How turns are given.
    pub floor: FloorMode,
    /// Whether only those who lead are heard now.
    pub frozen: bool,
    /// Whether anybody may come in.
    pub door_open: bool,
    /// Whether one is asked to cease, and has not said that one heard it.
    pub asked_to_cease: bool,
    /// Leader: whether it is shown in directories; none where it cannot be.
    pub announced: Option<Announced>,
}

impl Circle {
    /// Whether one leads with the group key: gives roles, and can end the circle. Co-leaders can do the rest.
    pub fn is_leader(&self) -> bool {
        let me = self.members.iter().find(|m| m.key == self.me);
        self.leading && me.is_some_and(|m| m.role == Role::Leader)
    }
}

/// Whether others would hear one, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Yes.
    Yes,
    /// The microphone is closed.
    Muted,
    /// It is not one's turn.
    NotYourTurn,
    /// The voice cannot be morphed or the microphone is gone, so silence goes out.
    NoVoice,
}

/// Somebody in the circle.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Their pseudonym key in this circle; the emblem is drawn from it.
    pub key: PublicKey,
    /// Their pseudonym.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Level of their voice now, dBFS; −100 is silence.
    pub level_db: f32,
    /// Whether they are audible now.
    pub speaking: bool,
    /// Whether they say their microphone is closed.
    pub muted: bool,
    /// Whether somebody who leads has muted them.
    pub silenced: bool,
    /// Whether their packets arrive.
    pub connection: Connection,
    /// How loud for me, 0.0–2.0.
    pub volume: f32,
}

/// How somebody's packets arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// As they should.
    Good,
    /// More than one in twenty is lost.
    Unsteady,
    /// They are here, and none has come yet to which one has the key.
    Coming,
    /// None for a while; their seat is kept.
    Away,
}

impl Connection {
    /// Whether one would hear them if they spoke.
    #[must_use]
    pub fn is_heard(self) -> bool {
        matches!(self, Self::Good | Self::Unsteady)
    }
}

/// Somebody at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applicant {
    /// Their pseudonym key.
    pub key: PublicKey,
    /// Their pseudonym.
    pub name: String,
    /// How often they were refused already.
    pub refusals: u8,
}

/// The present turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Whose.
    pub holder: PublicKey,
    /// How long is left.
    pub left: Duration,
    /// How long it was given for.
    pub of: Duration,
}

/// One act of the leader, verifiable by anyone inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Minutes since 1970 UTC.
    pub at_minute: u64,
    /// What was done.
    pub act: LogAct,
}

/// What a leader did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAct {
    /// Somebody was let in.
    Admitted {
        /// Their pseudonym.
        name: String,
    },
    /// Somebody was removed.
    Removed {
        /// Their pseudonym.
        name: String,
        /// The mark of the clause broken.
        clause: String,
        /// Their pseudonym key.
        key: PublicKey,
        /// Written durably on this machine.
        durable: bool,
    },
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Farewell {
    /// One left.
    Left,
    /// One was removed, for this clause; remembered, so returning is refused.
    Removed {
        /// The circle's name.
        title: String,
        /// The mark of the clause cited.
        clause: String,
    },
    /// The leader did not let one in.
    Refused {
        /// Whether one may knock again.
        may_knock_again: bool,
    },
    /// The circle has ended for everybody.
    Closed,
    /// Nobody answered behind the invite.
    NobodyThere,
    /// None of the circle's relays took one in, so that nothing is known of the circle.
    NoRelay,
}

/// Something the person should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub what: String,
    /// What it means for the person, and what to do.
    pub advice: String,
}

/// What a test, a log or a report wants to know beyond the snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// One is inside.
    Entered,
    /// A removal was enforced here: no more sound of this member.
    RemovalEnforced {
        /// Who.
        member: PublicKey,
    },
    /// The removal is on disk.
    RemovalDurable {
        /// Who.
        member: PublicKey,
    },
    /// A turn began.
    TurnBegan {
        /// Whose.
        member: PublicKey,
    },
    /// Somebody thanked somebody.
    Thanked {
        /// Who.
        from: PublicKey,
        /// Whom.
        subject: PublicKey,
        /// For what.
        gratitude: Gratitude,
    },
    /// Somebody asks whether one would like to stay in touch.
    ContactAsked {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// Somebody answers one's own question whether they would like to stay in touch.
    ContactAnswered {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// Somebody said this to oneself alone. It is kept nowhere.
    Referred {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// One is asked to cease.
    AskedToCease,
    /// Somebody heard that they were asked to cease.
    Ceased {
        /// Who.
        member: PublicKey,
    },
    /// A key with authority contradicts itself and counts no more.
    LeaderContradicts,
    /// Somebody else leads now.
    Succeeded {
        /// Who.
        leader: PublicKey,
    },
    /// A member's sound arrives from now on as this stream of the voice's status.
    StreamOpened {
        /// Whose.
        member: PublicKey,
        /// Number of the stream.
        stream: u32,
    },
    /// The place ended.
    Ended(Farewell),
}

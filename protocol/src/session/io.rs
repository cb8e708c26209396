//! What goes into a [`Session`](super::Session) and what comes out of it: plain data.

use std::time::Duration;

use ed25519_dalek::SigningKey;

use crate::circle::Refused;
use crate::id::{CircleId, PublicKey, RecordId, TransportId};
use crate::identity::{GroupKey, Pseudonym, Secret};
use crate::invite::Token;
use crate::puzzle::Puzzle;
use crate::record::{FloorMode, Gratitude, Record, RecordError, Role, RouteKind};
use crate::voice::{OPUS_BYTES, VoiceError};

use super::care;

/// The time, as given by whoever runs the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Monotonic, from any origin.
    pub at: Duration,
    /// Minutes since 1970 UTC: for expiry only.
    pub minute: u64,
}

/// A topic of the control channel: 32 opaque bytes.
pub type Topic = [u8; 32];
/// The name under which a relay copies media among members: 32 secret bytes.
pub type RouteKey = [u8; 32];

/// How a control message is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// At once: it tells a relay no more than that somebody comes, goes or is let in.
    Prompt,
    /// Through relays with the next [beat](super::beat) if it is of the smallest size, so that they do not see that anything was said: hands,
    /// turns, whatever people do.
    Paced,
    /// At once, and whoever is away is to find it when they come back: decisions.
    Lasting,
}

/// What happened in the world.
#[derive(Debug)]
pub enum Input<'a> {
    /// A control message arrived.
    Control {
        /// On which topic.
        topic: Topic,
        /// The sealed message.
        payload: &'a [u8],
        /// To name it in [`Output::Verdict`].
        message: u64,
    },
    /// A voice packet arrived.
    Media(&'a [u8]),
    /// One's own 20 ms, coded; silence when muted or when one may not speak.
    Voice {
        /// The Opus packet.
        opus: &'a [u8; OPUS_BYTES],
        /// Whether the microphone is closed.
        muted: bool,
    },
    /// Somebody who could hear it is now on a topic.
    Listener(Topic),
    /// There is a way to others again: what was said while there was none was heard by nobody.
    Reconnected,
    /// What was handed out for storing under this ticket is on disk.
    Persisted(u64),
    /// The puzzle of [`Output::SolvePuzzle`] is solved.
    PuzzleSolved(u64),
    /// Whether the answer of [`Output::CheckPuzzle`] is one.
    PuzzleChecked {
        /// As named there.
        join: RecordId,
        /// It is.
        fits: bool,
    },
    /// Where others can reach one (direct circles).
    Addresses(Vec<String>),
    /// The person acts.
    Act(Act),
}

/// What a person does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Sign the pledge with these clauses accepted, and knock.
    Sign {
        /// The pseudonym to be known by.
        name: String,
        /// Marks of the clauses accepted.
        accepted: Vec<String>,
    },
    /// Ask for the turn.
    RaiseHand,
    /// Take the hand down or give the turn back.
    Pass,
    /// Leave for good.
    Leave,
    /// Leader: let an applicant in.
    Admit(PublicKey),
    /// Leader: turn an applicant away.
    Refuse(PublicKey),
    /// Leader: give the turn.
    GiveTurn(PublicKey),
    /// Leader: end the present turn.
    EndTurn,
    /// Leader: remove a member.
    Remove {
        /// Whom.
        member: PublicKey,
        /// For which clause.
        clause: String,
        /// For how many minutes; for good when absent.
        minutes: Option<u64>,
    },
    /// Leader: take a removal back. Whoever was removed may knock again.
    Reinstate(PublicKey),
    /// Leader: give a member another role: co-leader, listener or participant.
    SetRole(PublicKey, Role),
    /// Leader: ask somebody to cease.
    AskToCease(PublicKey),
    /// Acknowledge that one was asked to cease.
    AcknowledgeCease,
    /// Leader: let nobody hear somebody for so many minutes; 0 takes it back.
    Mute(PublicKey, u64),
    /// Leader: stop everybody, or go on.
    Freeze(bool),
    /// Leader: change how turns are given.
    SetFloorMode(FloorMode),
    /// Leader: open or close the door.
    SetDoor(bool),
    /// Leader: let the present turn last this long in all.
    Extend(u16),
    /// Leader: end the circle for good.
    Close,
    /// Thank somebody.
    Thank(PublicKey, Gratitude),
    /// Say words in need to one person alone, who sees them once.
    Refer(PublicKey, String),
    /// Ask somebody whether they would like to stay in touch, once a day; or answer, if they have asked.
    StayInTouch(PublicKey, String),
    /// Leave, and ask everybody to delete what they hold of one.
    Erase,
    /// Leader: let everybody with the invite in.
    AutoAdmit(bool),
    /// Leader: give turns by themselves.
    AutoTurns(bool),
}

/// What to do in the world.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Listen on a topic.
    Subscribe(Topic),
    /// Stop listening.
    Unsubscribe(Topic),
    /// Broadcast a control message.
    Publish {
        /// Where.
        topic: Topic,
        /// Sealed and padded.
        payload: Vec<u8>,
        /// How.
        delivery: Delivery,
    },
    /// Whether a control message may travel on.
    Verdict {
        /// The message, as named in [`Input::Control`].
        message: u64,
        /// Yes.
        accept: bool,
    },
    /// Connect (direct circles).
    Dial {
        /// To whom.
        transport: TransportId,
        /// Where.
        addresses: Vec<String>,
    },
    /// Exchange media with exactly these.
    Allow(Vec<TransportId>),
    /// Close all connections with this one and refuse it from now on.
    Block(TransportId),
    /// Refuse this one no longer: the removal was void, or was taken back.
    Unblock(TransportId),
    /// Take part in a relay's route; the newest is sent on.
    AttachRoute {
        /// The route.
        route: RouteKey,
        /// The topic that goes with it: what is small is said there at a steady pace.
        topic: Topic,
    },
    /// Leave a relay's route.
    DetachRoute(RouteKey),
    /// Send one voice packet.
    SendMedia(Vec<u8>),
    /// Let one frame be heard.
    Play {
        /// Whose.
        member: PublicKey,
        /// Position in their stream.
        sequence: u64,
        /// The Opus packet.
        opus: [u8; OPUS_BYTES],
    },
    /// Drop this member's sound at once, with whatever is buffered.
    Silence(PublicKey),
    /// Whether one's voice may go out now; otherwise silence must be sent.
    MaySpeak(bool),
    /// Store durably, then say [`Input::Persisted`].
    Persist {
        /// To be named there.
        ticket: u64,
        /// In this order, after what was stored before.
        records: Vec<Record>,
    },
    /// Delete the pledges and joins of this person from what is stored.
    Delete(PublicKey),
    /// Find an answer, somewhere where ten seconds of work disturb nothing.
    SolvePuzzle(Puzzle),
    /// Check an answer, somewhere where a tenth of a second disturbs nothing.
    CheckPuzzle {
        /// To be named in [`Input::PuzzleChecked`].
        join: RecordId,
        /// The puzzle.
        puzzle: Puzzle,
        /// What is said to solve it.
        answer: u64,
    },
    /// Something to tell.
    Event(Event),
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The charter has arrived: one stands at the door.
    AtDoor,
    /// One is inside.
    Entered,
    /// A removal is in force here.
    RemovalEnforced(PublicKey),
    /// A removal is on disk here.
    RemovalDurable(PublicKey),
    /// A turn began.
    TurnBegan(PublicKey),
    /// Somebody thanked somebody.
    Thanked {
        /// Who.
        from: PublicKey,
        /// Whom.
        subject: PublicKey,
        /// For what.
        gratitude: Gratitude,
    },
    /// Somebody said this to oneself alone. It is kept nowhere.
    Referred {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// Somebody asks whether one would like to stay in touch. Nobody has to answer.
    ContactAsked {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// Somebody answers one's own question.
    ContactAnswered {
        /// Who.
        from: PublicKey,
        /// The words.
        words: String,
    },
    /// One is asked to cease.
    AskedToCease,
    /// Somebody heard that they were asked to, and says so.
    Ceased(PublicKey),
    /// A key with authority signed contradictory records: the circle needs a new leader, or to be founded
    /// anew.
    LeaderContradicts(PublicKey),
    /// Another pseudonym leads.
    Succeeded(PublicKey),
    /// It ended, and why.
    Ended(End),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// One left.
    Left,
    /// The circle has ended.
    Closed,
    /// One was removed, for this clause.
    Removed {
        /// Mark of the clause broken.
        clause: String,
    },
    /// One was not let in.
    Refused {
        /// Whether one may knock again.
        may_knock_again: bool,
    },
}

/// Where one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Asking at the door for the charter.
    Seeking,
    /// Reading the charter.
    AtDoor,
    /// Waiting to be let in.
    Knocking,
    /// Inside.
    Inside,
    /// It ended.
    Out(End),
}

/// Why an act is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Not from here.
    #[error("this cannot be done now")]
    NotNow,
    /// Only the holder of the group key.
    #[error("only the leader can do this")]
    NotLeader,
    /// No such member or applicant.
    #[error("there is nobody by that key here")]
    NobodyByThatKey,
    /// Words are empty, or too long.
    #[error("say it in one to {} bytes", care::MAX_WORDS_BYTES)]
    WordsTooLong,
    /// One has asked this person today.
    #[error("you have asked them today; they answer if they wish to")]
    AskedToday,
    /// The record would not be acceptable.
    #[error("{0}")]
    Record(#[from] RecordError),
    /// The rules forbid it.
    #[error("{0}")]
    Refused(#[from] Refused),
    /// The voice key could not be made.
    #[error("{0}")]
    Voice(#[from] VoiceError),
    /// What was stored is not a circle's records.
    #[error("what was stored of this circle cannot be trusted, so it stays closed")]
    BadStore,
}

/// The transport identity that a secret half gives.
pub fn transport_id(secret: &Secret) -> TransportId {
    let key = SigningKey::from_bytes(secret.as_bytes());
    TransportId::from_bytes(key.verifying_key().to_bytes())
}

/// Who one is and which circle it is.
pub struct SessionConfig {
    /// The circle.
    pub circle: CircleId,
    /// One's keys in this circle.
    pub pseudonym: Pseudonym,
    /// The secret half of this run's transport identity.
    pub transport: Secret,
    /// The door's secret, from the invite.
    pub door: Secret,
    /// How the traffic travels.
    pub route: RouteKind,
    /// The group key, for its holder.
    pub group_key: Option<GroupKey>,
    /// What opens an invite door, from the invite.
    pub token: Option<Token>,
    /// Own records are numbered from here; higher than in any run before.
    pub first_seq: u64,
    /// Seeds every random choice.
    pub rng_seed: [u8; 32],
}

//! What each kind of record says. Every body is a CBOR map with small integer keys; the numbers here are
//! the wire format and never change meaning.

use minicbor::{Decode, Encode};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::id::{Nonce, PublicKey, RecordId, SealingKey, SignatureBytes, TextsHash, TransportId};
use crate::seal::seal_to;
use crate::texts;

use super::{MAX_INTEGER, RecordError};

/// Most members of a circle: what hand-out of keys by HPKE and a ring on a screen both carry well.
pub const MAX_MEMBERS: u8 = 16;
/// Longest topic, title or pseudonym, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 120;
/// Longest turn.
pub const MAX_TURN_SECONDS: u16 = 3_600;

/// How newcomers are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum AdmissionMode {
    /// The leader is asked for each newcomer.
    #[n(0)]
    Approval,
    /// Whoever holds an invite and signs the pledge is let in by the leader's program.
    #[n(1)]
    Invite,
}

/// How the traffic of a circle travels. A node never uses a weaker route than its charter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RouteKind {
    /// Straight between members, who see each other's addresses.
    #[n(0)]
    Direct,
    /// Through one relay, which sees addresses and ciphertext.
    #[n(1)]
    Relay,
}

/// How turns are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum FloorMode {
    /// The leader grants each turn.
    #[n(0)]
    Active,
    /// Turns rotate in the order of requests.
    #[n(1)]
    Passive,
}

/// What somebody is in a circle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Holds the group key's trust and can always be heard.
    #[n(0)]
    Leader,
    /// Takes turns.
    #[n(1)]
    Participant,
    /// A social worker or other licensed person: always shown, listens.
    #[n(2)]
    Listener,
}

/// The founding record: what the circle is, for as long as it is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Charter {
    /// What the circle is about.
    #[n(0)]
    pub topic: String,
    /// Its own name.
    #[n(1)]
    pub title: String,
    /// Language of the conversation ("en").
    #[n(2)]
    pub language: String,
    /// The key that admits, removes and gives turns.
    #[n(3)]
    pub group_key: PublicKey,
    /// The key that can replace the group key.
    #[n(4)]
    pub recovery_key: PublicKey,
    /// The leader's own pseudonym, a member like others but always audible.
    #[n(5)]
    pub leader: PublicKey,
    /// How newcomers are let in.
    #[n(6)]
    pub admission: AdmissionMode,
    /// Hash of the texts members agree to.
    #[n(7)]
    pub texts: TextsHash,
    /// Most members, 2–16.
    #[n(8)]
    pub max_members: u8,
    /// Longest turn in seconds.
    #[n(9)]
    pub turn_seconds: u16,
    /// How turns are given.
    #[n(10)]
    pub floor: FloorMode,
    /// Whether a listener may attend.
    #[n(11)]
    pub listener_welcome: bool,
    /// How the traffic travels.
    #[n(12)]
    pub route: RouteKind,
    /// Makes two otherwise equal charters differ.
    #[n(13)]
    pub nonce: Nonce,
}

/// "I have read this and agree": exportable, and verifiable by anyone offline.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pledge {
    /// Hash of the texts agreed to.
    #[n(0)]
    pub texts: TextsHash,
    /// Marks of every clause accepted, in the order of reading.
    #[n(1)]
    pub accepted: Vec<String>,
}

/// Asks to be let in, and says what to seal keys to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Join {
    /// The pseudonym shown to others.
    #[n(0)]
    pub name: String,
    /// The X25519 key others seal to.
    #[n(1)]
    pub sealing_key: SealingKey,
    /// The pledge this rests on.
    #[n(2)]
    pub pledge: RecordId,
}

/// Lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Admission {
    /// Who.
    #[n(0)]
    pub subject: PublicKey,
    /// As what.
    #[n(1)]
    pub role: Role,
    /// Their join record, which must be known before this takes effect.
    #[n(2)]
    pub join: RecordId,
}

/// Turns an applicant away, this time.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Refusal {
    /// Who.
    #[n(0)]
    pub subject: PublicKey,
    /// Whether they may knock again in this session.
    #[n(1)]
    pub may_knock_again: bool,
    /// The join record that is refused, so that a copy refuses no other.
    #[n(2)]
    pub join: RecordId,
}

/// Binds a pseudonym to this run's transport, and says how far the author has read.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Hello {
    /// This run's transport identity.
    #[n(0)]
    pub transport: TransportId,
    /// The transport key's signature over [`Hello::binding`]: nobody can claim another's connection.
    #[n(1)]
    pub proof: SignatureBytes,
    /// Last entry of the authority chain the author has applied.
    #[n(2)]
    pub authority_seq: u64,
    /// Key ids of the voice keys the author holds, so that whoever is missing can send theirs.
    #[n(3)]
    pub voice_keys: Vec<u64>,
    /// Where the author can be reached; empty unless the circle's route is direct.
    #[n(4)]
    pub addresses: Vec<String>,
}

impl Hello {
    /// What the transport key signs: "undertone/1/hello" ‖ circle ‖ pseudonym.
    pub fn binding(circle: &crate::id::CircleId, author: &PublicKey) -> Vec<u8> {
        [
            b"undertone/1/hello".as_slice(),
            circle.as_bytes(),
            author.as_bytes(),
        ]
        .concat()
    }
}

/// Removes somebody for breaking a clause. Beats everything concurrent with it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Removal {
    /// Who.
    #[n(0)]
    pub subject: PublicKey,
    /// Mark of the clause broken, "a"–"d" or "1"–"8".
    #[n(1)]
    pub clause: String,
}

/// Raises a hand.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnRequest {
    /// Lamport time: one more than any the author has seen. Orders the queue.
    #[n(0)]
    pub lamport: u64,
}

/// Gives the turn.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnGrant {
    /// To whom.
    #[n(0)]
    pub holder: PublicKey,
    /// For at most this long.
    #[n(1)]
    pub seconds: u16,
    /// Answers the holder's requests up to this Lamport time.
    #[n(2)]
    pub lamport: u64,
}

/// Takes a hand down, or gives a turn back (the holder), or ends it (the group key).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnRelease {
    /// Whose hand or turn.
    #[n(0)]
    pub holder: PublicKey,
    /// Takes back the holder's requests up to this Lamport time.
    #[n(1)]
    pub lamport: u64,
}

/// Leaves the circle for good; coming back means knocking again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Leave {}

/// A new circle key, sealed to each member that remains. Whoever is not named is no longer in the circle.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Epoch {
    /// One more than the last.
    #[n(0)]
    pub number: u32,
    /// The key for each member.
    #[n(1)]
    pub sealed: Vec<SealedTo>,
}

/// A secret sealed by HPKE (RFC 9180) to one member.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SealedTo {
    /// For whom.
    #[n(0)]
    pub member: PublicKey,
    /// Encapsulated key ‖ ciphertext.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub secret: Vec<u8>,
}

/// A text field that people will see: not empty, not long, no control characters.
fn plain_text(field: &'static str, text: &str) -> Result<(), RecordError> {
    let fine = !text.trim().is_empty()
        && text.len() <= MAX_NAME_BYTES
        && !text.chars().any(|c| c.is_control() || is_invisible(c));
    fine.then_some(()).ok_or(RecordError::BadField(field))
}

/// Characters that change how a name looks without being seen: zero width, and direction overrides.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn require(field: &'static str, fine: bool) -> Result<(), RecordError> {
    fine.then_some(()).ok_or(RecordError::BadField(field))
}

/// Checks what a body says on its own, without knowing any circle.
pub(super) fn validate(body: &super::Body) -> Result<(), RecordError> {
    use super::Body;
    match body {
        Body::Charter(c) => {
            plain_text("topic", &c.topic)?;
            plain_text("title", &c.title)?;
            plain_text("language", &c.language)?;
            require("max_members", (2..=MAX_MEMBERS).contains(&c.max_members))?;
            require(
                "turn_seconds",
                (1..=MAX_TURN_SECONDS).contains(&c.turn_seconds),
            )
        }
        Body::Pledge(p) => {
            let all = texts::all_clauses().map(|c| c.mark);
            require("accepted", p.accepted.iter().map(String::as_str).eq(all))
        }
        Body::Join(j) => {
            plain_text("name", &j.name)?;
            // A low-order point parses, and fails only when something is to be sealed to it.
            let mut rng = ChaCha20Rng::from_seed([0; 32]);
            let sealed = seal_to(&j.sealing_key, None, b"trial", b"", &mut rng);
            require("sealing_key", sealed.is_ok())
        }
        Body::Hello(h) => {
            let few = h.voice_keys.len() <= 2 * MAX_MEMBERS as usize && h.addresses.len() <= 8;
            require("hello", few && h.addresses.iter().all(|a| a.len() <= 64))
        }
        Body::Removal(r) => require("clause", texts::clause(&r.clause).is_some()),
        Body::TurnGrant(g) => {
            require("seconds", (1..=MAX_TURN_SECONDS).contains(&g.seconds))?;
            require("lamport", g.lamport <= MAX_INTEGER)
        }
        Body::TurnRequest(r) => require("lamport", r.lamport <= MAX_INTEGER),
        Body::TurnRelease(r) => require("lamport", r.lamport <= MAX_INTEGER),
        Body::Epoch(e) => {
            let distinct: std::collections::BTreeSet<_> =
                e.sealed.iter().map(|s| s.member).collect();
            let bounded = e.sealed.len() <= MAX_MEMBERS as usize
                && e.sealed.iter().all(|s| s.secret.len() <= 128);
            require("sealed", bounded && distinct.len() == e.sealed.len())
        }
        Body::Admission(_) | Body::Refusal(_) | Body::Leave(_) => Ok(()),
    }
}

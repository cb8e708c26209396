//! What each kind of record says. Every body is a CBOR map with small integer keys; the numbers here are
//! the wire format and never change meaning.

use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use crate::id::{
    CircleId, Nonce, PublicKey, RecordId, SealingKey, SignatureBytes, TextsHash, TransportId,
};

/// Most members of a circle: what hand-out of keys by HPKE and a ring on a screen both carry well.
pub const MAX_MEMBERS: u8 = 16;
/// Longest topic, title or pseudonym, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 120;
/// Most authority chains of a circle: leaders one after another, co-leaders, the recovery key.
pub const MAX_HEADS: usize = 24;
/// Longest sealed words, in bytes with what HPKE adds.
pub const MAX_SEALED_WORDS: usize = 2_048;
/// Longest turn.
pub const MAX_TURN_SECONDS: u16 = 3_600;

/// How newcomers are let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum AdmissionMode {
    /// The leader is asked for each newcomer.
    #[n(0)]
    Approval,
    /// Whoever holds a single-use token and signs the pledge is let in by the leader's program.
    #[n(1)]
    Invite,
    /// Whoever solves a puzzle and signs the pledge is let in, and listens the first time.
    #[n(2)]
    Open,
}

/// How the traffic of a circle travels. A node never uses a weaker route than its charter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum RouteKind {
    /// Straight between members, who see each other's addresses.
    #[n(0)]
    Direct,
    /// Through relays, one of which may see both addresses and which connections share a circle.
    #[n(1)]
    Relay,
    /// In through one operator's relay, which sees addresses, and on to another's, which sees what shares a circle.
    #[n(2)]
    TwoHop,
}

impl RouteKind {
    /// Whether members meet at relays, and see no address of each other.
    pub fn is_relayed(self) -> bool {
        self != Self::Direct
    }
}

/// How often something goes over each line of a relayed circle, whether or not anybody speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Pace {
    /// Every 20 ms: as often as a voice has a packet.
    #[default]
    #[n(0)]
    Usual,
    /// Every 40 ms, for thin lines: less data, and sound a little later.
    #[n(1)]
    Thin,
}

impl Pace {
    /// As it is written: only where it is not the usual one.
    pub fn named(self) -> Option<Self> {
        (self != Self::Usual).then_some(self)
    }
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
    /// Admits, removes and gives turns beside the leader.
    #[n(3)]
    CoLeader,
    /// Came through an open door: listens this first time.
    #[n(4)]
    Newcomer,
}

impl Role {
    /// Whether somebody in this role may ask for a turn.
    pub const fn takes_turns(self) -> bool {
        !matches!(self, Self::Listener | Self::Newcomer)
    }
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
    /// What an open door asks for; absent for other doors.
    #[n(14)]
    pub puzzle: Option<PuzzleCost>,
    /// When the circle meets, in the founder's words ("Tuesdays, 19:00 UTC").
    #[n(15)]
    pub schedule: Option<String>,
    /// How often something goes over each line; [`Pace::Usual`] when absent.
    #[n(16)]
    pub pace: Option<Pace>,
}

/// How hard the open door's puzzle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PuzzleCost {
    /// Memory of one try, in KiB, 8–262,144.
    #[n(0)]
    pub memory_kib: u32,
    /// How many zero bits the result begins with: doubles the tries with each, at most 20.
    #[n(1)]
    pub zero_bits: u8,
}

impl PuzzleCost {
    /// About ten seconds on a laptop: 128 tries of 64 MiB.
    pub const USUAL: Self = Self {
        memory_kib: 64 * 1024,
        zero_bits: 7,
    };
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
    /// What opens an invite door.
    #[n(3)]
    pub invite: Option<InviteProof>,
    /// What opens an open door: the answer to its puzzle.
    #[n(4)]
    pub puzzle: Option<u64>,
}

/// Shows that whoever joins holds a token, without showing the token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct InviteProof {
    /// The token's public half.
    #[n(0)]
    pub token: PublicKey,
    /// Who passed it on: a member, or the group key.
    #[n(1)]
    pub sponsor: PublicKey,
    /// Minutes since 1970 UTC until which it may be spent.
    #[n(2)]
    pub until: u64,
    /// The sponsor's signature over [`InviteProof::sponsored`].
    #[n(3)]
    pub sponsored_by: SignatureBytes,
    /// The token's signature over [`InviteProof::spent`].
    #[n(4)]
    pub spent_by: SignatureBytes,
}

impl InviteProof {
    /// What the sponsor signs: "undertone/1/token" ‖ circle ‖ token ‖ until (8 B, big-endian).
    pub fn sponsored(circle: &CircleId, token: &PublicKey, until: u64) -> Vec<u8> {
        [
            b"undertone/1/token".as_slice(),
            circle.as_bytes(),
            token.as_bytes(),
            &until.to_be_bytes(),
        ]
        .concat()
    }
    /// What the token signs: "undertone/1/spend" ‖ circle ‖ who joins.
    pub fn spent(circle: &CircleId, author: &PublicKey) -> Vec<u8> {
        [
            b"undertone/1/spend".as_slice(),
            circle.as_bytes(),
            author.as_bytes(),
        ]
        .concat()
    }
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
    /// Their join record, which must be known before this takes effect. If it shows a token, this spends it.
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
    /// How far the author has read each authority chain, in the order of keys.
    #[n(2)]
    pub heads: Vec<Head>,
    /// Key ids of the voice keys the author holds, so that whoever is missing can send theirs.
    #[n(3)]
    pub voice_keys: Vec<u64>,
    /// Where the author can be reached; empty unless the circle's route is direct.
    #[n(4)]
    pub addresses: Vec<String>,
    /// What the author takes the circle to be: first eight bytes of [`CircleState::digest`]. Two who have
    /// read equally far and differ here miss something that stands outside the chains.
    ///
    /// [`CircleState::digest`]: crate::circle::CircleState::digest
    #[n(5)]
    pub digest: u64,
    /// Whose turn the author takes it to be, and for how long it has been.
    #[n(6)]
    pub turn: Option<TurnSeen>,
}

/// A turn as somebody sees it who is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnSeen {
    /// The grant, or the hand that the turn passed on to.
    #[n(0)]
    pub turn: RecordId,
    /// For how long it has lasted.
    #[n(1)]
    pub seconds: u16,
}

/// How far one authority chain has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// Whose chain.
    #[n(0)]
    pub author: PublicKey,
    /// The last entry.
    #[n(1)]
    pub seq: u64,
}

/// The last entry of somebody's authority chain that stands; everything after it, and everything on another
/// branch, is void whatever date it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Cut {
    /// Its position; 0 and the id of what the chain begins from when nothing stands.
    #[n(0)]
    pub seq: u64,
    /// Its id.
    #[n(1)]
    pub id: RecordId,
}

impl Hello {
    /// What the transport key signs: "undertone/1/hello" ‖ circle ‖ pseudonym.
    pub fn binding(circle: &CircleId, author: &PublicKey) -> Vec<u8> {
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
    /// Minutes since 1970 UTC from which they may knock again; for good when absent.
    #[n(2)]
    pub until: Option<u64>,
    /// Removing a co-leader: what of theirs still stands.
    #[n(3)]
    pub cut: Option<Cut>,
}

/// Undoes one removal: its subject may knock again, with a new pledge, and be let in anew.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Reinstatement {
    /// Exactly this removal; another one of the same person stands.
    #[n(0)]
    pub removal: RecordId,
}

/// Gives a member another role: co-leader, listener, or participant.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Delegation {
    /// Who.
    #[n(0)]
    pub subject: PublicKey,
    /// As what, from here on.
    #[n(1)]
    pub role: Role,
}

/// Takes a co-leader's authority back; what they signed after the cut is void.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Revocation {
    /// Whose.
    #[n(0)]
    pub subject: PublicKey,
    /// What of theirs still stands.
    #[n(1)]
    pub cut: Cut,
}

/// Asks somebody to cease what they are saying (term 6).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CeaseRequest {
    /// Whom.
    #[n(0)]
    pub subject: PublicKey,
}

/// "I have heard it, and cease."
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CeaseAcknowledgement {
    /// The request.
    #[n(0)]
    pub request: RecordId,
}

/// Nobody hears somebody, whatever turn they hold.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mute {
    /// Whom.
    #[n(0)]
    pub subject: PublicKey,
    /// Minutes since 1970 UTC; a time that has passed takes an earlier mute back.
    #[n(1)]
    pub until: u64,
}

/// Stops everybody but those who lead, and the turn; or lets the circle go on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Freeze {
    /// Stopped.
    #[n(0)]
    pub on: bool,
}

/// Changes how turns are given.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mode {
    /// How, from here on.
    #[n(0)]
    pub floor: FloorMode,
}

/// Opens or closes the door.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Door {
    /// Whether anybody may come in.
    #[n(0)]
    pub open: bool,
}

/// Ends the circle for good.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Close {}

/// Raises a hand, or says that it is still up: whoever was out of reach may not know that they were answered.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnRequest {
    /// Lamport time at which it was raised first: the place in the queue.
    #[n(0)]
    pub since: u64,
    /// `seq` of the request that raised it first.
    #[n(1)]
    pub first: u64,
}

impl TurnRequest {
    /// The id of `author`'s hand: the same however often they say that it is up.
    pub fn hand(&self, author: &PublicKey) -> RecordId {
        let hash = Sha256::new()
            .chain_update(b"undertone/1/hand")
            .chain_update(author.as_bytes())
            .chain_update(self.first.to_be_bytes());
        RecordId::from_bytes(hash.finalize().into())
    }
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
    /// The holder's hand that it answers.
    #[n(2)]
    pub hand: Option<RecordId>,
}

/// Takes a hand down, or gives a turn back (the holder), or ends it (whoever leads).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnRelease {
    /// Whose hand or turn.
    #[n(0)]
    pub holder: PublicKey,
    /// The hand, or the grant that the turn began from.
    #[n(1)]
    pub turn: RecordId,
}

/// Lengthens a turn.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct TurnExtend {
    /// The grant, or in passive mode the hand, that it began from.
    #[n(0)]
    pub turn: RecordId,
    /// How long it may last in all.
    #[n(1)]
    pub seconds: u16,
}

/// Leaves the circle for good; coming back means knocking again.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Leave {
    /// The join record that is taken back.
    #[n(0)]
    pub join: RecordId,
}

/// Leaves, and asks everybody to delete what they hold of the author. Honest programs do within 24 hours.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Erase {
    /// The join record that is taken back.
    #[n(0)]
    pub join: RecordId,
}

/// A word of thanks, out of a fixed few: no free text that somebody else would have to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Gratitude {
    /// "Thank you for sharing."
    #[n(0)]
    ForSharing,
    /// "I hear you."
    #[n(1)]
    IHearYou,
    /// "You are not alone."
    #[n(2)]
    NotAlone,
    /// "Thank you for listening."
    #[n(3)]
    ForListening,
}

/// Thanks somebody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Thanks {
    /// Whom.
    #[n(0)]
    pub subject: PublicKey,
    /// For what.
    #[n(1)]
    pub gratitude: Gratitude,
}

/// Words for one person in need, sealed to them. Never stored, by anybody.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct CrisisReferral {
    /// For whom, and the sealed words.
    #[n(0)]
    pub sealed: SealedTo,
}

/// Asks somebody, after the circle, whether they would like to stay in touch.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactRequest {
    /// For whom, and the sealed words.
    #[n(0)]
    pub sealed: SealedTo,
}

/// Answers such a question; nobody has to.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ContactAnswer {
    /// The question.
    #[n(0)]
    pub request: RecordId,
    /// For whom, and the sealed words.
    #[n(1)]
    pub sealed: SealedTo,
}

/// Says in public that a circle is open, for a topic directory. Signed by the group key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Announcement {
    /// The charter's envelope.
    #[n(0)]
    pub charter: ByteVec,
    /// Minutes since 1970 UTC of the next meeting; open now when absent.
    #[n(1)]
    pub next_meeting: Option<u64>,
    /// How many may still come in; none takes an earlier announcement back.
    #[n(2)]
    pub seats: u8,
    /// The invite, without a token.
    #[n(3)]
    pub link: String,
    /// The answer to its puzzle, so that nobody fills a directory for nothing (`directory`).
    #[n(4)]
    pub stamp: u64,
}

/// Replaces the group key, by the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Succession {
    /// The new one; never one that led before.
    #[n(0)]
    pub group_key: PublicKey,
    /// The pseudonym of whoever leads now.
    #[n(1)]
    pub leader: PublicKey,
    /// What of the old key's chain still stands.
    #[n(2)]
    pub cut: Cut,
}

/// Shows that a key signed two different records for one place of its chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Equivocation {
    /// One envelope, the one with the lower id.
    #[n(0)]
    pub first: ByteVec,
    /// The other.
    #[n(1)]
    pub second: ByteVec,
}

/// A new circle key, sealed to each member that remains.
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

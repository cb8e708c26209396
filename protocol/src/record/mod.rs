//! Signed records: what people and leaders say in a form that anyone can verify.
//!
//! A record is a COSE_Sign1 (RFC 9052) over deterministic CBOR (RFC 8949 §4.2):
//!
//! ```text
//! [ protected: << {1: -19} >>, {}, payload: bstr, signature: 64 bytes ]      -19 = Ed25519 (RFC 9864)
//!
//! payload = { 0: version = 1, 1: kind, 2: circle (32 B), 3: author (32 B), 4: seq,
//!             ? 5: prev (32 B), 6: lamport, 7: created, 8: expires, 9: body map }         times in minutes
//! external_aad = "undertone/1/record" ‖ circle ‖ kind (1 byte)
//! id           = SHA-256("undertone/1/id" ‖ Sig_structure)
//! ```
//!
//! Accepted only if decoding and encoding again gives the same bytes, and only if
//! `verify_strict` accepts the signature.

mod bodies;
mod envelope;
mod validate;

use std::sync::Arc;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

pub use bodies::*;
pub use envelope::{MAX_CHARTER_BYTES, MAX_RECORD_BYTES};
pub(crate) use validate::is_plain;

use crate::id::{CircleId, PublicKey, RecordId};

/// Version of the record format.
pub const VERSION: u8 = 1;
/// Largest integer in a record: what JavaScript and JSON hold exactly.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// How far two clocks may be apart, in minutes: two people whose clocks are each ten minutes wrong can talk.
/// Copies of old records are kept out by their numbers, not by the clock.
pub const CLOCK_TOLERANCE_MINUTES: u64 = 21;

/// Why bytes are not an acceptable record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Larger than the limit of its kind.
    #[error("{0} bytes are more than a record may have")]
    TooLarge(usize),
    /// Not a COSE_Sign1 with an inline payload.
    #[error("not a signed record (COSE_Sign1)")]
    NotCose,
    /// Decoding and encoding again gives other bytes.
    #[error("not in the one canonical encoding")]
    NotCanonical,
    /// Another algorithm or further header fields.
    #[error("its headers are not exactly those of an Undertone record")]
    WrongHeaders,
    /// The payload is not the map it should be.
    #[error("its content cannot be read: {0}")]
    BadPayload(String),
    /// A field holds something it must not.
    #[error("its field '{0}' is out of bounds")]
    BadField(&'static str),
    /// The author's key is no acceptable Ed25519 key.
    #[error("its author's key is not acceptable")]
    BadKey,
    /// The signature does not fit.
    #[error("its signature does not fit: it was changed, or somebody else signed it")]
    BadSignature,
    /// It belongs to another circle.
    #[error("it belongs to another circle")]
    WrongCircle,
    /// It is no longer, or not yet, valid.
    #[error("it is not valid at this time")]
    Expired,
}

macro_rules! bodies {
    ($($number:literal $kind:ident),+ $(,)?) => {
        /// The kinds of records. The number is part of the signature's domain.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind { $(#[doc = concat!("See [`", stringify!($kind), "`](struct@", stringify!($kind), ").")] $kind = $number),+ }

        impl Kind {
            /// All kinds in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];
            fn from_number(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$kind),)+ _ => None }
            }
        }

        /// What a record says.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Body { $(#[doc = concat!("See [`", stringify!($kind), "`](struct@", stringify!($kind), ").")] $kind($kind)),+ }

        impl Body {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),+ }
            }
            fn encode_body<W: encode::Write>(&self, e: &mut Encoder<W>) -> Result<(), encode::Error<W::Error>> {
                match self { $(Self::$kind(body) => body.encode(e, &mut ())),+ }
            }
            fn decode_body(kind: Kind, d: &mut Decoder<'_>) -> Result<Self, decode::Error> {
                match kind { $(Kind::$kind => $kind::decode(d, &mut ()).map(Self::$kind)),+ }
            }
        }

        $(impl From<$kind> for Body { fn from(body: $kind) -> Self { Self::$kind(body) } })+
    };
}

bodies! {
    1 Charter, 2 Pledge, 3 Join, 4 Admission, 5 Refusal, 6 Hello, 7 Removal,
    8 TurnRequest, 9 TurnGrant, 10 TurnRelease, 11 Leave, 12 Epoch, 13 Announcement, 14 Reinstatement,
    15 Delegation, 16 Revocation, 17 CeaseRequest, 18 CeaseAcknowledgement, 19 Mute, 20 TurnExtend,
    21 Freeze, 22 Mode, 23 Door, 24 Close, 25 Thanks, 26 CrisisReferral, 27 ContactRequest,
    28 ContactAnswer, 29 Erase, 30 Succession, 31 Equivocation,
}

impl Kind {
    /// Whether it is an entry of its author's authority chain.
    pub const fn is_chained(self) -> bool {
        use Kind::*;
        matches!(
            self,
            Charter
                | Admission
                | Removal
                | Reinstatement
                | Delegation
                | Revocation
                | CeaseRequest
                | Mute
                | Freeze
                | Mode
                | Door
                | Close
                | Epoch
                | Succession
        )
    }
    /// Whether it may be as large as what it holds: a charter, or two other records.
    const fn holds_records(self) -> bool {
        matches!(
            self,
            Kind::Charter | Kind::Announcement | Kind::Equivocation
        )
    }
}

/// What is signed: the common fields and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// The circle; [`CircleId::UNBORN`] in a charter.
    pub circle: CircleId,
    /// Who says it: the key that signs.
    pub author: PublicKey,
    /// Position in the author's chain; of records outside it, a number that rises.
    pub seq: u64,
    /// What this follows in the author's chain. Present exactly in entries of a chain after the charter.
    pub prev: Option<RecordId>,
    /// Lamport time: one more than any the author had seen.
    pub lamport: u64,
    /// Minutes since 1970 UTC.
    pub created: u64,
    /// Minutes since 1970 UTC; not valid afterwards.
    pub expires: u64,
    /// What it says.
    pub body: Body,
}

impl Payload {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        // Writing into a Vec cannot fail (its error is `Infallible`).
        let _ = self.encode(&mut Encoder::new(&mut bytes), &mut ());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut d = Decoder::new(bytes);
        let payload =
            Self::decode(&mut d, &mut ()).map_err(|e| RecordError::BadPayload(e.to_string()))?;
        let whole = d.position() == bytes.len();
        (whole && payload.to_bytes() == bytes)
            .then_some(payload)
            .ok_or(RecordError::NotCanonical)
    }
}

impl<C> Encode<C> for Payload {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        e.map(9 + u64::from(self.prev.is_some()))?;
        e.u8(0)?.u8(VERSION)?;
        e.u8(1)?.u8(self.body.kind() as u8)?;
        e.u8(2)?.encode_with(self.circle, ctx)?;
        e.u8(3)?.encode_with(self.author, ctx)?;
        e.u8(4)?.u64(self.seq)?;
        if let Some(prev) = self.prev {
            e.u8(5)?.encode_with(prev, ctx)?;
        }
        e.u8(6)?.u64(self.lamport)?;
        e.u8(7)?.u64(self.created)?;
        e.u8(8)?.u64(self.expires)?;
        e.u8(9)?;
        self.body.encode_body(e)
    }
}

impl<'b, C> Decode<'b, C> for Payload {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let entries = d
            .map()?
            .ok_or_else(|| decode::Error::message("indefinite map"))?;
        let mut fields = Fields {
            left: entries,
            next: None,
        };
        fields.required(d, 0)?;
        if d.u8()? != VERSION {
            return Err(decode::Error::message("unknown version"));
        }
        fields.required(d, 1)?;
        let kind = Kind::from_number(d.u8()?)
            .ok_or_else(|| decode::Error::message("unknown kind of record"))?;
        fields.required(d, 2)?;
        let circle = d.decode()?;
        fields.required(d, 3)?;
        let author = d.decode()?;
        fields.required(d, 4)?;
        let seq = d.u64()?;
        let prev = fields.optional(d, 5)?.then(|| d.decode()).transpose()?;
        fields.required(d, 6)?;
        let lamport = d.u64()?;
        fields.required(d, 7)?;
        let created = d.u64()?;
        fields.required(d, 8)?;
        let expires = d.u64()?;
        fields.required(d, 9)?;
        let body = Body::decode_body(kind, d)?;
        fields.end()?;
        Ok(Self {
            circle,
            author,
            seq,
            prev,
            lamport,
            created,
            expires,
            body,
        })
    }
}

/// Reads map keys in ascending order, each at most once.
struct Fields {
    left: u64,
    next: Option<u8>,
}

impl Fields {
    fn optional(&mut self, d: &mut Decoder<'_>, key: u8) -> Result<bool, decode::Error> {
        if self.next.is_none() && self.left > 0 {
            self.next = Some(d.u8()?);
            self.left -= 1;
        }
        let found = self.next == Some(key);
        if found {
            self.next = None;
        }
        Ok(found)
    }
    fn required(&mut self, d: &mut Decoder<'_>, key: u8) -> Result<(), decode::Error> {
        self.optional(d, key)?
            .then_some(())
            .ok_or_else(|| decode::Error::message("a field is missing or out of order"))
    }
    fn end(&self) -> Result<(), decode::Error> {
        (self.left == 0 && self.next.is_none())
            .then_some(())
            .ok_or_else(|| decode::Error::message("unknown further fields"))
    }
}

/// A record whose form and signature have been verified. What it may bring about is for
/// [`policy`](crate::circle::policy) to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    id: RecordId,
    payload: Payload,
    envelope: Arc<[u8]>,
}

impl Record {
    /// SHA-256("undertone/1/id" ‖ Sig_structure).
    pub fn id(&self) -> RecordId {
        self.id
    }
    /// What was signed.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }
    /// What it says.
    pub fn body(&self) -> &Body {
        &self.payload.body
    }
    /// Who says it.
    pub fn author(&self) -> PublicKey {
        self.payload.author
    }
    /// The COSE_Sign1 bytes.
    pub fn envelope(&self) -> &Arc<[u8]> {
        &self.envelope
    }
    /// The circle a charter founds: SHA-256 of its envelope. `None` for other records.
    pub fn founds(&self) -> Option<CircleId> {
        use sha2::Digest;
        matches!(self.body(), Body::Charter(_))
            .then(|| CircleId::from_bytes(sha2::Sha256::digest(&self.envelope).into()))
    }
    /// Whether it is valid at this minute, with the tolerance for clocks.
    ///
    /// # Errors
    /// [`RecordError::Expired`] when it is too old, or from the future.
    pub fn check_time(&self, minute: u64) -> Result<(), RecordError> {
        let p = &self.payload;
        let begun = p.created <= minute.saturating_add(CLOCK_TOLERANCE_MINUTES);
        let ended = p.expires.saturating_add(CLOCK_TOLERANCE_MINUTES) < minute;
        (begun && !ended).then_some(()).ok_or(RecordError::Expired)
    }
}

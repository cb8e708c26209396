//! Fixed-size names of things: circles, records, people, transports, texts. Each is a CBOR byte string.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

macro_rules! fixed_bytes {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// Wraps the bytes as they are.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }
            /// The bytes themselves.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
            /// The first four bytes in hexadecimal: enough to tell two apart in a log or a list.
            pub fn short(&self) -> String {
                self.0.iter().take(4).map(|b| format!("{b:02x}")).collect()
            }
            /// All bytes in hexadecimal.
            pub fn to_hex(&self) -> String {
                self.0.iter().map(|b| format!("{b:02x}")).collect()
            }
            /// Reads what [`to_hex`](Self::to_hex) writes.
            pub fn from_hex(hex: &str) -> Option<Self> {
                let digits = hex.as_bytes();
                if digits.len() != 2 * $size || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return None;
                }
                let mut bytes = [0; $size];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
                    *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| {
                    decode::Error::message(concat!("expected ", $size, " bytes")).at(d.position())
                })
            }
        }
    };
}

fixed_bytes! {
    /// A circle: SHA-256 of its charter's envelope. All zeros inside the charter itself.
    CircleId, 32
}
fixed_bytes! {
    /// A record: SHA-256("undertone/1/id" ‖ Sig_structure).
    RecordId, 32
}
fixed_bytes! {
    /// An Ed25519 public key that signs records: a pseudonym's or a group's.
    PublicKey, 32
}
fixed_bytes! {
    /// An X25519 public key that secrets are sealed to (HPKE, RFC 9180).
    SealingKey, 32
}
fixed_bytes! {
    /// The Ed25519 public key of one run's transport identity; a libp2p PeerId is made from it.
    TransportId, 32
}
fixed_bytes! {
    /// A detached Ed25519 signature.
    SignatureBytes, 64
}
fixed_bytes! {
    /// SHA-256 of the texts people agree to.
    TextsHash, 32
}
fixed_bytes! {
    /// Sixteen random bytes that make two otherwise equal things differ.
    Nonce, 16
}

impl CircleId {
    /// The circle field of a charter, which cannot contain its own hash.
    pub const UNBORN: Self = Self([0; 32]);
}

//! Who one sounds like: the secret seed of a circle and the direction a person chose.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secret that a pseudo-voice is drawn from; one for each circle. Wiped when dropped, never shown.
///
/// It must come from the operating system's random generator and never from anything public: whoever
/// knows it knows every parameter of the morph.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MorphSeed([u8; 32]);

impl MorphSeed {
    /// A seed of 32 random bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for MorphSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MorphSeed(..)")
    }
}

/// The direction of the pseudo-voice. Each narrows what the seed may draw; none fixes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Character {
    /// Whatever the seed draws: the widest choice, and so the most private.
    #[default]
    Free,
    /// Low pitch.
    Low,
    /// Middle pitch.
    Middle,
    /// High pitch.
    High,
    /// Darker colour.
    Warm,
    /// Lighter colour.
    Bright,
}

impl Character {
    /// All characters, in the order to offer them.
    pub const ALL: [Self; 6] = [
        Self::Free,
        Self::Low,
        Self::Middle,
        Self::High,
        Self::Warm,
        Self::Bright,
    ];
}

//! The morph.
mod character;
use crate::{Morphed, RawPcm};
pub use character::{Character, MorphSeed};
use std::time::Duration;
/// Turns a voice into another one.
pub struct Morpher {}
impl Morpher {
    /// Algorithmic latency.
    pub const LATENCY: Duration = Duration::from_millis(28);
    /// A morpher.
    pub fn new(_seed: &MorphSeed, _character: Character) -> Self {
        Self {}
    }
    /// Morphs 20 ms; silence where it fails.
    pub fn process(&mut self, raw: &RawPcm) -> Morphed {
        self.try_process(raw).unwrap_or_default()
    }
    /// Morphs 20 ms, or none.
    pub fn try_process(&mut self, _raw: &RawPcm) -> Option<Morphed> {
        Some(Morphed::silence())
    }
    /// Forget.
    pub fn flush(&mut self) {}
}

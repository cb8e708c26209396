//! Who one sounds like: the secret seed of a circle, the direction a person chose, and the pseudo-voice
//! drawn from both.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
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
    /// Gentle: shallow resonances, more air.
    Soft,
    /// Distinct: deep resonances, little air.
    Clear,
}

impl Character {
    /// All characters, in the order to offer them.
    pub const ALL: [Self; 8] = [
        Self::Free,
        Self::Low,
        Self::Middle,
        Self::High,
        Self::Warm,
        Self::Bright,
        Self::Soft,
        Self::Clear,
    ];

    /// Its name, as commands take it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Low => "low",
            Self::Middle => "middle",
            Self::High => "high",
            Self::Warm => "warm",
            Self::Bright => "bright",
            Self::Soft => "soft",
            Self::Clear => "clear",
        }
    }

    /// Range of the target mean pitch, hertz.
    fn pitch_range_hz(self) -> (f32, f32) {
        match self {
            Self::Low => (95.0, 135.0),
            Self::Middle => (130.0, 185.0),
            Self::High => (180.0, 255.0),
            _ => (100.0, 250.0),
        }
    }

    /// Range of the spectral tilt, dB an octave.
    fn tilt_range_db(self) -> (f32, f32) {
        match self {
            Self::Warm => (-4.0, -1.0),
            Self::Bright => (1.0, 4.0),
            _ => (-4.0, 4.0),
        }
    }

    /// Range of the contrast of what is the sound's own in the spectrum.
    fn contrast_range(self) -> (f32, f32) {
        let (low, high) = CONTRAST;
        let middle = (low + high) / 2.0;
        match self {
            Self::Soft => (low, middle),
            Self::Clear => (middle, high),
            _ => (low, high),
        }
    }

    /// Range of the level of the band above 8 kHz against the speaker's own, dB.
    fn air_range_db(self) -> (f32, f32) {
        match self {
            Self::Soft => (-3.0, 3.0),
            Self::Clear => (-9.0, -3.0),
            _ => (-9.0, 3.0),
        }
    }
}

pub(super) const COSINES: usize = 6;

const MEAN_SHARE: f32 = 0.9;
const TRACT: f32 = 0.05;
const PIVOT: f32 = 0.4;
/// With less pivot than this, resonances would stay where they were.
const LEAST_PIVOT: f32 = 0.08;
const COSINE_DB: f32 = 6.0;
/// All-pole models are smoother than the sound they were fitted to; so the middle lies above 1.
const CONTRAST: (f32, f32) = (1.0, 1.3);

/// Everything a session's voice is made of. Ranges after the study that this morph follows: wide enough that
/// a trained attacker gains little, narrow enough that words survive.
pub(super) struct PseudoVoice {
    /// Share of the speaker's mean spectrum that is taken away.
    pub(super) mean_share: f32,
    /// Whether the pitch moves to the target.
    pub(super) moves_pitch: bool,
    /// Range of the target mean pitch, hertz, and where in it this voice lies (0–1).
    pub(super) pitch_range_hz: (f32, f32),
    pub(super) pitch_place: f32,
    /// Factor on the swing of log pitch about its mean.
    pub(super) pitch_swing: f32,
    /// Length of the vocal tract against what is typical for the pitch.
    pub(super) tract: f32,
    /// Exponent and pivot of the power warp of the frequency axis.
    pub(super) pivot: f32,
    pub(super) pivot_hz: f32,
    /// Contrast of what is the sound's own in the spectrum.
    pub(super) contrast: f32,
    pub(super) tilt_db: f32,
    /// Target spectrum: cosines over the mel axis, dB.
    pub(super) cosines_db: [f32; COSINES],
    /// Slow drift of the tract: rate in hertz and phase.
    pub(super) drift: (f32, f32),
    /// Level of the rebuilt band above 8 kHz, linear.
    pub(super) air: f32,
    /// Seed of the noise in the rebuilt parts.
    pub(super) noise: u32,
}

impl PseudoVoice {
    pub(super) fn draw(seed: &MorphSeed, character: Character) -> Self {
        let mut rng = Draw(ChaCha20Rng::from_seed(seed.0));
        // The order of the draws is part of what a seed means.
        let (tilt, contrast) = (character.tilt_range_db(), character.contrast_range());
        let air = character.air_range_db();
        Self {
            mean_share: MEAN_SHARE,
            moves_pitch: true,
            pitch_range_hz: character.pitch_range_hz(),
            pitch_place: rng.between(0.0, 1.0),
            pitch_swing: rng.between(0.85, 1.2),
            tract: rng.between(-TRACT, TRACT),
            pivot: rng.pivot(),
            pivot_hz: rng.between(1500.0_f32.ln(), 3000.0_f32.ln()).exp(),
            contrast: rng.between(contrast.0, contrast.1),
            tilt_db: rng.between(tilt.0, tilt.1),
            cosines_db: std::array::from_fn(|_| rng.between(-COSINE_DB, COSINE_DB)),
            drift: (
                rng.between(0.08, 0.25),
                rng.between(0.0, std::f32::consts::TAU),
            ),
            air: 10.0_f32.powf(rng.between(air.0, air.1) / 20.0),
            noise: rng.0.next_u32() | 1,
        }
    }
}

/// One part of the morph.
#[cfg(feature = "ablation")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Taking the speaker's mean spectrum away.
    Normalising,
    /// Moving the mean pitch.
    Pitch,
    /// The power warp of the frequency axis.
    Pivot,
    /// The target spectrum: tilt and cosines.
    Colour,
    /// The contrast of the spectrum.
    Contrast,
}

#[cfg(feature = "ablation")]
impl Part {
    /// All parts, with the names that commands take.
    pub const ALL: [(&str, Self); 5] = [
        ("normalising", Self::Normalising),
        ("pitch", Self::Pitch),
        ("pivot", Self::Pivot),
        ("colour", Self::Colour),
        ("contrast", Self::Contrast),
    ];
}

#[cfg(feature = "ablation")]
impl PseudoVoice {
    /// The same voice with one part left out.
    pub(super) fn without(mut self, part: Part) -> Self {
        match part {
            Part::Normalising => self.mean_share = 0.0,
            Part::Pitch => self.moves_pitch = false,
            Part::Pivot => self.pivot = 0.0,
            Part::Colour => (self.tilt_db, self.cosines_db) = Default::default(),
            Part::Contrast => self.contrast = 1.0,
        }
        self
    }
}

struct Draw(ChaCha20Rng);

impl Draw {
    fn between(&mut self, low: f32, high: f32) -> f32 {
        let unit = (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32;
        low + unit * (high - low)
    }

    /// A pivot far enough from none.
    fn pivot(&mut self) -> f32 {
        loop {
            let pivot = self.between(-PIVOT, PIVOT);
            if pivot.abs() >= LEAST_PIVOT {
                return pivot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(n: u8, character: Character) -> PseudoVoice {
        PseudoVoice::draw(&MorphSeed::from_bytes([n; 32]), character)
    }

    #[test]
    fn a_seed_means_one_voice_and_another_seed_another() {
        let (a, b, c) = (
            draw(1, Character::Free),
            draw(1, Character::Free),
            draw(2, Character::Free),
        );
        assert_eq!(
            (a.tract, a.pitch_place, a.noise),
            (b.tract, b.pitch_place, b.noise)
        );
        assert_ne!(a.tract, c.tract);
        assert_ne!(a.pitch_place, c.pitch_place);
    }

    #[test]
    fn no_draw_is_near_unchanged_and_all_are_in_range() {
        for n in 0..=255 {
            let v = draw(n, Character::ALL[n as usize % 8]);
            assert!(v.tract.abs() <= TRACT);
            assert!((LEAST_PIVOT..=PIVOT).contains(&v.pivot.abs()));
            assert!((0.85..=1.2).contains(&v.pitch_swing));
            assert!((1500.0..3000.1).contains(&v.pivot_hz));
        }
    }

    #[test]
    fn characters_narrow_the_draw() {
        for n in 0..50 {
            assert!(draw(n, Character::Warm).tilt_db < 0.0);
            assert!(draw(n, Character::Bright).tilt_db > 0.0);
            assert!(draw(n, Character::Soft).contrast < draw(n, Character::Clear).contrast);
            assert!(draw(n, Character::Soft).air > draw(n, Character::Clear).air);
            assert!(
                draw(n, Character::Low).pitch_range_hz.1
                    < draw(n, Character::High).pitch_range_hz.0
            );
        }
    }

    #[test]
    fn the_seed_is_not_shown() {
        assert_eq!(
            format!("{:?}", MorphSeed::from_bytes([7; 32])),
            "MorphSeed(..)"
        );
    }
}

//! Where the pitch goes: the speaker's own mean is taken away, the session's put there, the tune stays.

use super::character::PseudoVoice;

/// The target keeps at least this far from the speaker's mean, and at most the other, in octaves.
const LEAST_SHIFT: f32 = 2.0 / 12.0;
const MOST_SHIFT: f32 = 6.0 / 12.0;
/// Voiced hops after which the mean is trusted, and those it remembers at most (30 s).
const SETTLING_HOPS: f32 = 40.0;
const MEMORY_HOPS: f32 = 6_000.0;
/// Once heard, the target and the mean in force glide at most this fast, octaves a hop (0.6 semitones a
/// second of voice): slower than any tune, so that they do not bend it.
const GLIDE: f32 = 0.000_25;
/// Output pitch stays within these, hertz.
const LOWEST_HZ: f32 = 60.0;
const HIGHEST_HZ: f32 = 600.0;

pub(super) struct Melody {
    moves: bool,
    range_log2: (f32, f32),
    place: f32,
    swing: f32,
    /// Mean of all that was heard, and the mean in force, which follows it slowly.
    heard_mean_log2: f32,
    mean_log2: f32,
    heard_hops: f32,
    target_log2: Option<f32>,
    /// Whether the target lies above the speaker's mean; kept once chosen.
    is_above: Option<bool>,
}

impl Melody {
    pub(super) fn new(voice: &PseudoVoice) -> Self {
        Self {
            moves: voice.moves_pitch,
            range_log2: (voice.pitch_range_hz.0.log2(), voice.pitch_range_hz.1.log2()),
            place: voice.pitch_place,
            swing: voice.pitch_swing,
            heard_mean_log2: 150.0_f32.log2(),
            mean_log2: 150.0_f32.log2(),
            heard_hops: 0.0,
            target_log2: None,
            is_above: None,
        }
    }

    /// Takes in the pitch of a voiced hop, and returns the pitch to give it; both in hertz.
    pub(super) fn process(&mut self, hz: f32) -> f32 {
        let log2 = hz.log2();
        // The first hops are the prior: the very first syllable is already moved to the target.
        self.heard_hops = (self.heard_hops + 1.0).min(MEMORY_HOPS);
        self.heard_mean_log2 += (log2 - self.heard_mean_log2) / self.heard_hops;
        let is_settled = self.heard_hops > SETTLING_HOPS;
        let follow = |from: f32, to: f32| {
            if is_settled {
                from + (to - from).clamp(-GLIDE, GLIDE)
            } else {
                to
            }
        };
        self.mean_log2 = follow(self.mean_log2, self.heard_mean_log2);
        let wanted = self.wanted_target();
        let target = follow(self.target_log2.unwrap_or(wanted), wanted);
        self.target_log2 = Some(target);
        if !self.moves {
            return hz;
        }
        let out = target + self.swing * (log2 - self.mean_log2);
        out.exp2().clamp(LOWEST_HZ, HIGHEST_HZ)
    }

    /// Mean pitch of the outgoing voice over the speaker's own, semitones; none before the mean is trusted.
    pub(super) fn shift_semitones(&self) -> Option<f32> {
        let target = self
            .target_log2
            .filter(|_| self.heard_hops > SETTLING_HOPS)?;
        Some(12.0 * (target - self.mean_log2))
    }

    /// Tract lengths typical for the target pitch and for the speaker's: factors on formant frequencies.
    pub(super) fn tract_scale(&self) -> (f32, f32) {
        let typical = |log2: f32| 1.0 + 0.16 * ((log2.exp2() - 115.0) / 95.0).clamp(0.0, 1.0);
        let target = self
            .target_log2
            .unwrap_or(self.range_log2.0 + self.place * (self.range_log2.1 - self.range_log2.0));
        (typical(target), typical(self.mean_log2))
    }

    /// The target for the mean as it is known: the session's place among all that are far enough away and can be
    /// reached. From a range out of reach, its nearer end is gone towards.
    fn wanted_target(&mut self) -> f32 {
        let mean = self.mean_log2;
        let reach = |log2: f32| log2.clamp(mean - MOST_SHIFT, mean + MOST_SHIFT);
        let (low, high) = (reach(self.range_log2.0), reach(self.range_log2.1));
        let below = (low, high.min(mean - LEAST_SHIFT));
        let above = (low.max(mean + LEAST_SHIFT), high);
        // A side with less than no room is closed.
        let (room_below, room_above) = (below.1 - below.0, above.1 - above.0);
        let at = self.place * (room_below.max(0.0) + room_above.max(0.0));
        let is_above = match (room_below >= 0.0, room_above >= 0.0) {
            (true, false) => false,
            (false, true) => true,
            (false, false) => (low + high) / 2.0 >= mean,
            // Keep the side once chosen; the mean moves as it settles.
            (true, true) => self
                .is_above
                .filter(|_| self.heard_hops > SETTLING_HOPS)
                .unwrap_or(at >= room_below),
        };
        self.is_above = Some(is_above);
        if is_above {
            let into = (at - room_below.max(0.0)).max(0.0);
            (above.0 + into).min(above.1.max(above.0))
        } else {
            (below.0 + at).min(below.1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::morph::{Character, MorphSeed};

    fn melody(n: u8, character: Character) -> Melody {
        Melody::new(&PseudoVoice::draw(
            &MorphSeed::from_bytes([n; 32]),
            character,
        ))
    }

    #[test]
    fn the_mean_moves_at_least_two_semitones_and_the_tune_stays() {
        for n in 0..60 {
            for speaker in [85.0_f32, 120.0, 180.0, 240.0] {
                let mut m = melody(n, Character::ALL[n as usize % 8]);
                let tune = |i: usize| speaker * (0.15 * (i as f32 * 0.05).sin()).exp2();
                let out: Vec<f32> = (0..4_000).map(|i| m.process(tune(i)).log2()).collect();
                let mean = out[1_000..].iter().sum::<f32>() / 3_000.0;
                let shift = 12.0 * (mean - speaker.log2());
                assert!(
                    shift.abs() > 1.8 && shift.abs() < 7.0,
                    "seed {n}, {speaker} Hz: {shift} semitones"
                );
                let swing = |x: &[f32]| {
                    x.iter().fold(f32::MIN, |a, b| a.max(*b))
                        - x.iter().fold(f32::MAX, |a, b| a.min(*b))
                };
                let kept = swing(&out[3_000..]) / 0.3;
                assert!((0.8..1.25).contains(&kept), "{kept}");
            }
        }
    }

    #[test]
    fn the_first_hop_is_at_the_target_already() {
        for n in 0..40 {
            let first = melody(n, Character::Free).process(110.0);
            assert!(
                (12.0 * (first / 110.0).log2()).abs() > 1.9,
                "seed {n}: {first} Hz"
            );
        }
    }

    #[test]
    fn a_range_out_of_reach_is_gone_towards_as_far_as_may_be() {
        for n in 0..20 {
            let mut low = melody(n, Character::Low);
            let out = (0..2_000).map(|_| low.process(260.0)).last().unwrap();
            let shift = 12.0 * (out / 260.0_f32).log2();
            assert!((-6.1..-5.9).contains(&shift), "seed {n}: {shift} semitones");
        }
    }

    #[test]
    fn speakers_with_one_seed_come_out_at_similar_pitch_but_not_by_their_own_mean() {
        let settle = |hz: f32| {
            let mut m = melody(4, Character::Free);
            (0..2_000).map(|_| m.process(hz)).last().unwrap()
        };
        let (a, b) = (settle(105.0), settle(108.0));
        assert!((12.0 * (a / b).log2()).abs() < 1.0, "{a} {b}");
    }
}

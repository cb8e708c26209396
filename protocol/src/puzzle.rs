//! The open door's puzzle: a few seconds of a machine's work for each knock, so that nobody fills a circle
//! with hundreds of pseudonyms. It offers no protection against the return of one person, and the door
//! says so.
//!
//! The answer is a number for which Argon2id (RFC 9106, version 1.3, one pass, one lane, 32-byte tag) begins
//! with enough zero bits:
//!
//! ```text
//! password = answer (8 B, big-endian) ‖ who knocks (32 B)
//! salt     = SHA-256("undertone/1/puzzle" ‖ circle ‖ purpose), a pledge's id or an announcement's stamp
//! ```

use argon2::{Algorithm, Argon2, Params, Version};
use sha2::{Digest, Sha256};

use crate::id::{CircleId, PublicKey, RecordId};
use crate::record::{MAX_INTEGER, PuzzleCost};

/// What somebody has to find a number for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puzzle {
    /// How hard it is.
    pub cost: PuzzleCost,
    /// The circle.
    pub circle: CircleId,
    /// Who knocks.
    pub author: PublicKey,
    /// What for: their pledge, so that a new one is a new puzzle, or an announcement (`directory`).
    pub purpose: RecordId,
}

impl Puzzle {
    /// Whether this is an answer. Takes as long as one try: about 60 ms at 64 MiB.
    pub fn is_answer(&self, answer: u64) -> bool {
        self.zero_bits(answer).is_some()
    }

    /// With how many zero bits this answer begins, up to 32; none if they are not enough. Takes as long as one try.
    pub fn zero_bits(&self, answer: u64) -> Option<u32> {
        let memory = self.cost.memory_kib.max(8);
        let params = Params::new(memory, 1, 1, Some(32)).ok()?;
        let password = [&answer.to_be_bytes(), self.author.as_bytes().as_slice()].concat();
        let mut salt = Sha256::new();
        salt.update(b"undertone/1/puzzle");
        salt.update(self.circle.as_bytes());
        salt.update(self.purpose.as_bytes());
        let mut tag = [0; 32];
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon
            .hash_password_into(&password, &salt.finalize(), &mut tag)
            .ok()?;
        let bits = u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]).leading_zeros();
        (bits >= u32::from(self.cost.zero_bits)).then_some(bits)
    }

    /// Looks for an answer until it is found, or `go_on` says no.
    pub fn solve(&self, mut go_on: impl FnMut() -> bool) -> Option<u64> {
        (0..=MAX_INTEGER)
            .take_while(|_| go_on())
            .find(|answer| self.is_answer(*answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_one_person_one_pledge_and_one_circle() {
        let puzzle = Puzzle {
            cost: PuzzleCost {
                memory_kib: 16,
                zero_bits: 6,
            },
            circle: CircleId::from_bytes([1; 32]),
            author: PublicKey::from_bytes([2; 32]),
            purpose: RecordId::from_bytes([3; 32]),
        };
        let answer = puzzle.solve(|| true).unwrap();
        assert!(puzzle.is_answer(answer));
        assert_eq!(puzzle.solve(|| false), None);
        // Of many others, about one in 64 accepts the same number.
        let others = (0..64).filter(|n| {
            let author = PublicKey::from_bytes([10 + *n as u8; 32]);
            let elsewhere = Puzzle { author, ..puzzle };
            elsewhere.is_answer(answer)
        });
        assert!(others.count() < 8);
        let harder = PuzzleCost {
            zero_bits: 30,
            ..puzzle.cost
        };
        assert!(
            !Puzzle {
                cost: harder,
                ..puzzle
            }
            .is_answer(answer)
        );
    }
}

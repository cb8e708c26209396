//! The words people agree to: pledge, terms, screening, and what a circle is not.
//!
//! They live here and not in the window because their hash is signed: a charter names the hash of the
//! texts it was founded on, and a pledge repeats it. A changed word is a changed hash.

use sha2::{Digest, Sha256};

use crate::id::TextsHash;

/// One clause somebody accepts, cited by its mark ("a" … "d", "1" … "8") in a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClauseText {
    /// The mark by which it is cited.
    pub mark: &'static str,
    /// A few words for lists and buttons.
    pub short: &'static str,
    /// The clause in full.
    pub full: &'static str,
}

/// Version of the texts below, shown beside them.
pub const VERSION: &str = "2026-11";

/// What a circle is not; read before anything else.
pub const WHAT_A_CIRCLE_IS_NOT: [&str; 5] = [
    "A circle is not counselling. Nobody here gives licensed advice to you personally. A social worker or another licensed person may listen in, and is always shown as a listener.",
    "It is not a 12-step programme. You may attend one, or not.",
    "Nobody follows up on you, and nobody checks on you.",
    "Nobody makes a diagnosis.",
    "Nobody can promise you the support you wish for.",
];

/// The two screening statements; nothing else is asked.
pub const SCREENING: [ClauseText; 2] = [
    ClauseText {
        mark: "topic",
        short: "I identify with the topic",
        full: "I identify with the topic of this circle.",
    },
    ClauseText {
        mark: "harm",
        short: "I mean no harm",
        full: "I do not intend to commit a crime, or to hurt myself or others.",
    },
];

/// Adults only.
pub const ADULT: ClauseText = ClauseText {
    mark: "adult",
    short: "I am an adult",
    full: "I am 18 years old or older.",
};

/// The pledge, each clause accepted on its own.
pub const PLEDGE: [ClauseText; 4] = [
    ClauseText {
        mark: "a",
        short: "I repeat nothing identifying",
        full: "I repeat nothing outside this circle that could identify somebody I heard in it. That includes the names of people and of places.",
    },
    ClauseText {
        mark: "b",
        short: "If I recognise someone, I tell nobody",
        full: "If I recognise someone, I tell nobody, inside or outside the circle.",
    },
    ClauseText {
        mark: "c",
        short: "I ask before I stay in touch",
        full: "If I wish to reach someone from the circle, I ask afterwards through this program, and I accept that they may never answer.",
    },
    ClauseText {
        mark: "d",
        short: "Revealing others can end in removal",
        full: "I understand that whoever reveals another person's information may be removed.",
    },
];

/// The terms of participation, each citable in a removal.
pub const TERMS: [ClauseText; 8] = [
    ClauseText {
        mark: "1",
        short: "Confidentiality",
        full: "Everybody's confidentiality and anonymity is kept, inside the circle and outside it.",
    },
    ClauseText {
        mark: "2",
        short: "No harassment",
        full: "No harassment, no derogatory language, no incitement to violence. Removal for this may be immediate.",
    },
    ClauseText {
        mark: "3",
        short: "Wish to harm",
        full: "Somebody who says they wish to harm themselves or others may be referred to an emergency service or a crisis centre, or action may be taken, or none. The leader is not a licensed professional and has no duty to act.",
    },
    ClauseText {
        mark: "4",
        short: "One person at a time",
        full: "Besides thanking, nobody speaks directly to somebody else during that person's turn. In your own turn you may refer to what others shared, with respect and never insultingly.",
    },
    ClauseText {
        mark: "5",
        short: "No politics or religion",
        full: "No politics or religion, other than in passing or as part of a personal story.",
    },
    ClauseText {
        mark: "6",
        short: "Stopping when asked",
        full: "When the leader asks you to stop a conversation or a statement, you stop at once, or you may be removed. This is expected to be very rare.",
    },
    ClauseText {
        mark: "7",
        short: "The leader's role",
        full: "The leader may lead actively or keep in the background. Either way the role is respected.",
    },
    ClauseText {
        mark: "8",
        short: "Being supportive",
        full: "Be supportive. Treat others, and listen to them, as you would like to be treated and heard.",
    },
];

/// Everything somebody ticks before they sign, in order of reading.
pub fn all_clauses() -> impl Iterator<Item = &'static ClauseText> {
    SCREENING
        .iter()
        .chain(std::iter::once(&ADULT))
        .chain(PLEDGE.iter())
        .chain(TERMS.iter())
}

/// The clause with this mark, among the pledge ("a" … "d") and the terms ("1" … "8").
pub fn clause(mark: &str) -> Option<&'static ClauseText> {
    PLEDGE.iter().chain(TERMS.iter()).find(|c| c.mark == mark)
}

/// SHA-256 over every text above, each preceded by its length, so that no two different sets of texts
/// share a hash.
pub fn hash() -> TextsHash {
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text.as_bytes());
    };
    add("undertone/1/texts");
    add(VERSION);
    for text in WHAT_A_CIRCLE_IS_NOT {
        add(text);
    }
    for clause in all_clauses() {
        add(clause.mark);
        add(clause.full);
    }
    TextsHash::from_bytes(digest.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_citable_clause_is_found_by_its_mark() {
        let marks: Vec<_> = PLEDGE.iter().chain(TERMS.iter()).map(|c| c.mark).collect();
        assert_eq!(
            marks,
            ["a", "b", "c", "d", "1", "2", "3", "4", "5", "6", "7", "8"]
        );
        assert!(marks.iter().all(|m| clause(m).is_some()));
        assert!(clause("e").is_none() && clause("topic").is_none());
    }

    #[test]
    fn the_hash_is_stable_until_a_word_changes() {
        // A change here means that people are asked to sign again: bump VERSION on purpose.
        assert_eq!(hash(), hash());
        assert_eq!(VERSION, "2026-11");
    }
}

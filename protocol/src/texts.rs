//! The words people agree to: pledge, terms, screening, and what a circle is not.
//!
//! They live here and not in the window because their hash is signed: a charter names the hash of the
//! texts it was founded on, and a pledge repeats it. A changed word is a changed hash, and a new version
//! beside the old one.

mod changes;
mod en;
mod es;

use sha2::{Digest, Sha256};

use crate::id::TextsHash;

pub use changes::{Change, ChangedText, changes};

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

/// One version of the texts in one language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Texts {
    /// Code of the language, such as "en".
    pub language: &'static str,
    /// Version, shown beside the texts.
    pub version: &'static str,
    /// What a circle is not; read before anything else.
    pub is_not: [&'static str; 5],
    /// The two screening statements; nothing else is asked.
    pub screening: [ClauseText; 2],
    /// Adults only.
    pub adult: ClauseText,
    /// The pledge, each clause accepted on its own.
    pub pledge: [ClauseText; 4],
    /// The terms of participation, each citable in a removal.
    pub terms: [ClauseText; 8],
}

impl Texts {
    /// Everything somebody ticks before they sign, in order of reading. The marks and their order are the
    /// same in every language and version.
    pub fn clauses(&self) -> impl Iterator<Item = &ClauseText> {
        self.screening
            .iter()
            .chain(std::iter::once(&self.adult))
            .chain(self.pledge.iter())
            .chain(self.terms.iter())
    }

    /// The clause with this mark, among the pledge ("a" … "d") and the terms ("1" … "8").
    pub fn clause(&self, mark: &str) -> Option<&ClauseText> {
        let mut citable = self.pledge.iter().chain(self.terms.iter());
        citable.find(|c| c.mark == mark)
    }

    /// SHA-256 over every text, each preceded by its length, so that no two different sets of texts share a
    /// hash.
    pub fn hash(&self) -> TextsHash {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        };
        add("undertone/1/texts");
        add(self.version);
        for text in self.is_not {
            add(text);
        }
        for clause in self.clauses() {
            add(clause.mark);
            add(clause.full);
        }
        TextsHash::from_bytes(digest.finalize().into())
    }
}

const ENGLISH: &Texts = &en::TEXTS;

/// Every version in every language, the newest of a language first. What was signed once stays here, so that
/// it can be read and compared.
static ALL: [&Texts; 2] = [ENGLISH, &es::TEXTS];

/// The newest texts of this language ("es"), or in English where there are none.
pub fn of_language(code: &str) -> &'static Texts {
    let found = ALL.iter().find(|texts| texts.language == code);
    found.unwrap_or(&ENGLISH)
}

/// The texts that a charter or a pledge names, if this program has them.
pub fn by_hash(hash: &TextsHash) -> Option<&'static Texts> {
    ALL.iter().find(|texts| texts.hash() == *hash).copied()
}

/// Version of the English texts below.
pub const VERSION: &str = ENGLISH.version;
/// What a circle is not, in English.
pub const WHAT_A_CIRCLE_IS_NOT: [&str; 5] = ENGLISH.is_not;
/// The screening statements in English.
pub const SCREENING: [ClauseText; 2] = ENGLISH.screening;
/// Adults only, in English.
pub const ADULT: ClauseText = ENGLISH.adult;
/// The pledge in English.
pub const PLEDGE: [ClauseText; 4] = ENGLISH.pledge;
/// The terms in English.
pub const TERMS: [ClauseText; 8] = ENGLISH.terms;

/// Everything somebody ticks before they sign, in English.
pub fn all_clauses() -> impl Iterator<Item = &'static ClauseText> {
    ENGLISH.clauses()
}

/// The clause with this mark, in English.
pub fn clause(mark: &str) -> Option<&'static ClauseText> {
    ENGLISH.clause(mark)
}

/// Hash of the newest English texts.
pub fn hash() -> TextsHash {
    ENGLISH.hash()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_citable_clause_is_found_by_its_mark() {
        for texts in ALL {
            let citable = texts.pledge.iter().chain(texts.terms.iter());
            let marks: Vec<_> = citable.map(|c| c.mark).collect();
            assert_eq!(
                marks,
                ["a", "b", "c", "d", "1", "2", "3", "4", "5", "6", "7", "8"]
            );
            assert!(marks.iter().all(|m| texts.clause(m).is_some()));
            assert!(texts.clause("e").is_none() && texts.clause("topic").is_none());
        }
    }

    #[test]
    fn the_marks_are_the_same_in_every_language() {
        for texts in ALL {
            assert!(
                texts
                    .clauses()
                    .map(|c| c.mark)
                    .eq(all_clauses().map(|c| c.mark))
            );
            let whole = texts.clauses().flat_map(|c| [c.short, c.full]);
            assert!(
                whole
                    .chain(texts.is_not)
                    .all(|text| !text.trim().is_empty())
            );
        }
    }

    #[test]
    fn texts_are_found_by_their_language_and_by_their_hash() {
        assert_eq!(of_language("es").language, "es");
        assert_eq!(of_language("eo").language, "en");
        for texts in ALL {
            assert_eq!(by_hash(&texts.hash()), Some(texts));
        }
        let hashes: std::collections::BTreeSet<_> = ALL.iter().map(|t| t.hash()).collect();
        assert_eq!(hashes.len(), ALL.len());
        assert_eq!(by_hash(&TextsHash::from_bytes([0; 32])), None);
    }

    #[test]
    fn a_word_changes_only_with_the_version() {
        // A change here means that people are asked to sign again: keep the old texts, and add a version.
        let known = ALL.map(|texts| (texts.language, texts.version, texts.hash().to_hex()));
        let known = known.map(|(l, v, h)| format!("{l} {v} {}", h.get(..16).unwrap_or_default()));
        assert_eq!(
            known,
            ["en 2026-11 5da12206e214f190", "es 2026-11 d6a7363acd8f9d81"]
        );
    }
}

//! What changed between two versions of a text, word by word.

use similar::{ChangeTag, TextDiff};

use super::Texts;

/// A run of words that stayed, went or came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// In both.
    Same(String),
    /// Only in the older one.
    Gone(String),
    /// Only in the newer one.
    New(String),
}

/// The way from one text to the other, as runs of words: read without [`Change::New`] it is the older one,
/// read without [`Change::Gone`] the newer.
pub fn changes(old: &str, new: &str) -> Vec<Change> {
    let diff = TextDiff::from_words(old, new);
    let mut runs: Vec<(ChangeTag, String)> = Vec::new();
    for change in diff.iter_all_changes() {
        match runs.last_mut() {
            Some((tag, run)) if *tag == change.tag() => run.push_str(change.value()),
            _ => runs.push((change.tag(), change.value().to_owned())),
        }
    }
    join_over_spaces(&mut runs);
    let change = |(tag, run)| match tag {
        ChangeTag::Equal => Change::Same(run),
        ChangeTag::Delete => Change::Gone(run),
        ChangeTag::Insert => Change::New(run),
    };
    runs.into_iter().map(change).collect()
}

/// Replaced words in a row read as one: a lone space that stayed between them goes and comes with them.
fn join_over_spaces(runs: &mut Vec<(ChangeTag, String)>) {
    let mut joined: Vec<(ChangeTag, String)> = Vec::new();
    let mut put = |tag: ChangeTag, run: &str| {
        // The last two are one replacement: what went, then what came.
        let within = joined.iter().rposition(|(t, _)| *t == ChangeTag::Equal);
        let within = within.map_or(0, |at| at + 1);
        match joined.iter_mut().skip(within).find(|(t, _)| *t == tag) {
            Some((_, longer)) => longer.push_str(run),
            None => joined.push((tag, run.to_owned())),
        }
    };
    let last = runs.len().saturating_sub(1);
    for (i, (tag, run)) in runs.iter().enumerate() {
        let lone = *tag == ChangeTag::Equal && run.trim().is_empty() && i > 0 && i < last;
        if lone {
            put(ChangeTag::Delete, run);
            put(ChangeTag::Insert, run);
        } else {
            put(*tag, run);
        }
    }
    *runs = joined;
}

/// What changed in one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedText {
    /// The mark of the clause; absent for what a circle is not.
    pub mark: Option<&'static str>,
    /// The way from the older to the newer.
    pub changes: Vec<Change>,
}

impl Texts {
    /// Every statement that reads differently than in `old`, in order of reading.
    pub fn changed_since(&self, old: &Texts) -> Vec<ChangedText> {
        let is_not = old.is_not.iter().zip(&self.is_not);
        let is_not = is_not.map(|(old, new)| (None, *old, *new));
        let clauses = old.clauses().zip(self.clauses());
        let clauses = clauses.map(|(old, new)| (Some(new.mark), old.full, new.full));
        is_not
            .chain(clauses)
            .filter(|(_, old, new)| old != new)
            .map(|(mark, old, new)| ChangedText {
                mark,
                changes: changes(old, new),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ClauseText, of_language};
    use super::*;

    fn read(changes: &[Change], skip_new: bool) -> String {
        let words = changes.iter().filter_map(|change| match change {
            Change::Same(run) => Some(run.as_str()),
            Change::Gone(run) => skip_new.then_some(run),
            Change::New(run) => (!skip_new).then_some(run),
        });
        words.collect()
    }

    #[test]
    fn a_changed_sentence_reads_as_what_stayed_went_and_came() {
        let said = changes(
            "I tell nobody inside the circle.",
            "I tell not a soul inside the circle.",
        );
        assert_eq!(
            said,
            [
                Change::Same("I tell ".to_owned()),
                Change::Gone("nobody".to_owned()),
                Change::New("not a soul".to_owned()),
                Change::Same(" inside the circle.".to_owned()),
            ]
        );
    }

    #[test]
    fn only_what_changed_is_shown() {
        let new = of_language("en");
        let mut old = *new;
        old.terms[1] = ClauseText {
            full: "No harassment.",
            ..old.terms[1]
        };
        old.is_not[3] = "There is no diagnosis.";
        let changed = new.changed_since(&old);
        let marks: Vec<_> = changed.iter().map(|c| c.mark).collect();
        assert_eq!(marks, [None, Some("2")]);
        assert!(new.changed_since(new).is_empty());
    }

    proptest! {
        #[test]
        fn both_versions_can_be_read_from_the_changes(
            old in "([a-c]{1,2} ?){0,12}", new in "([a-c]{1,2} ?){0,12}"
        ) {
            let said = changes(&old, &new);
            prop_assert_eq!(read(&said, true), old);
            prop_assert_eq!(read(&said, false), new);
        }
    }
}

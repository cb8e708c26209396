//! What the window remembers inside a circle.

use std::time::Duration;

use undertone_node::api::{Circle, Event, Gratitude, Notice, PublicKey};

/// How long thanks are shown.
const SHOWN: Duration = Duration::from_secs(8);
/// Most thanks remembered at once.
const MAX_THANKS: usize = 16;

/// What of a member's card is unfolded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberMenu {
    Thank,
    Cease,
    Silence,
    Refer,
    Contact,
    Role,
}

/// How one goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PartingWay {
    /// Alone.
    Leave,
    /// And everybody deletes what they hold of one.
    Erase,
    /// And nobody stays.
    End,
}

/// What is asked before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asking {
    /// How to go.
    Parting(PartingWay),
    /// Whether to take the lead again.
    Recover,
}

/// Somebody thanked somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thanked {
    pub(crate) from: PublicKey,
    pub(crate) subject: PublicKey,
    pub(crate) gratitude: Gratitude,
    /// By the clock of the window.
    until: Duration,
}

/// What the window remembers inside a circle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inside {
    /// Whose card is open.
    selected: Option<PublicKey>,
    /// What of the card is unfolded.
    pub(crate) menu: Option<MemberMenu>,
    /// For how many minutes whoever is removed is removed; for good when absent.
    pub(crate) removal_minutes: Option<u64>,
    /// Words to one member alone, being typed.
    pub(crate) words: String,
    /// In a narrow window: the side panel is open instead of the ring.
    pub(crate) side_open: bool,
    /// The invite link copied last.
    pub(crate) copied: Option<String>,
    /// The next meeting is being planned: days and hours from now.
    pub(crate) planning: Option<(u64, u64)>,
    /// What is asked now.
    pub(crate) asking: Option<Asking>,
    /// Whoever else had the turn last.
    pub(crate) spoke_last: Option<PublicKey>,
    /// What one is told together with being asked to cease: shown by the circle itself.
    pub(crate) cease_notice: Option<Notice>,
    asked_to_cease: bool,
    thanks: Vec<Thanked>,
}

impl Inside {
    /// Whose card is open.
    pub(crate) fn selected(&self) -> Option<PublicKey> {
        self.selected
    }

    /// Opens somebody's card, or none. What was begun on another is put away.
    pub(crate) fn select(&mut self, member: Option<PublicKey>) {
        self.selected = member;
        self.menu = None;
        self.removal_minutes = None;
        self.words.clear();
    }

    /// Takes note of who had the turn, and of what one is told.
    pub(crate) fn follow(&mut self, circle: &Circle, notice: Option<&Notice>) {
        let others = circle.turn.as_ref().filter(|turn| turn.holder != circle.me);
        self.spoke_last = others.map(|turn| turn.holder).or(self.spoke_last);
        if circle.asked_to_cease && !self.asked_to_cease {
            self.cease_notice = notice.cloned();
        }
        if !circle.asked_to_cease {
            self.cease_notice = None;
        }
        self.asked_to_cease = circle.asked_to_cease;
        let gone = |key| !circle.members.iter().any(|m| m.key == key);
        if self.selected.is_some_and(gone) {
            self.select(None);
        }
    }

    /// Takes note of what happened at this time of the window's clock.
    pub(crate) fn note(&mut self, event: &Event, now: Duration) {
        if let Event::Thanked {
            from,
            subject,
            gratitude,
        } = event
        {
            if self.thanks.len() >= MAX_THANKS {
                self.thanks.remove(0);
            }
            self.thanks.push(Thanked {
                from: *from,
                subject: *subject,
                gratitude: *gratitude,
                until: now + SHOWN,
            });
        }
    }

    /// Forgets thanks whose time is over. Returns how long until the next is.
    pub(crate) fn fade(&mut self, now: Duration) -> Option<Duration> {
        self.thanks.retain(|thanked| thanked.until > now);
        let next = self.thanks.iter().map(|thanked| thanked.until).min();
        next.map(|until| until.saturating_sub(now))
    }

    /// The latest thanks.
    pub(crate) fn thanked(&self) -> Option<&Thanked> {
        self.thanks.last()
    }

    /// Whether somebody has just thanked this member.
    pub(crate) fn is_thanked(&self, member: PublicKey) -> bool {
        self.thanks.iter().any(|thanked| thanked.subject == member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thanks_are_shown_for_a_while_and_are_bounded() {
        let mut inside = Inside::default();
        let (from, subject) = (
            PublicKey::from_bytes([1; 32]),
            PublicKey::from_bytes([2; 32]),
        );
        let event = Event::Thanked {
            from,
            subject,
            gratitude: Gratitude::IHearYou,
        };
        for second in 0..100 {
            inside.note(&event, Duration::from_millis(second));
        }
        assert_eq!(inside.thanks.len(), MAX_THANKS);
        assert!(inside.is_thanked(subject) && !inside.is_thanked(from));
        let left = inside.fade(Duration::from_millis(99));
        assert!(left.is_some_and(|left| left < SHOWN));
        assert_eq!(inside.fade(Duration::from_secs(60)), None);
        assert!(inside.thanked().is_none());
    }

    #[test]
    fn what_was_begun_on_one_card_is_not_on_the_next() {
        let mut inside = Inside {
            menu: Some(MemberMenu::Refer),
            words: "Please call".to_owned(),
            removal_minutes: Some(60),
            ..Inside::default()
        };
        inside.select(Some(PublicKey::from_bytes([2; 32])));
        assert!(inside.menu.is_none() && inside.words.is_empty());
        assert_eq!(inside.removal_minutes, None);
    }
}

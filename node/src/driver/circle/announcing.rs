//! Showing a circle in its relays' directories, and what is said of it there.

use std::time::Instant;

use undertone_protocol::directory::Offer;
use undertone_protocol::identity::{GroupKey, Secret};
use undertone_protocol::record::AdmissionMode;
use undertone_protocol::session::{self, End};

use super::super::directory::{Announcer, Hidden, NotPosted, Notice};
use super::{Circle, Worked};
use crate::NodeError;
use crate::api::Announcing;
use crate::clock::unix_millis;
use crate::store::Store;

impl Circle {
    /// Shows the circle in its relays' directories, or no longer.
    ///
    /// # Errors
    /// When it cannot be shown.
    pub async fn announce(&mut self, store: &Store, wish: Announcing) -> Result<(), NodeError> {
        self.announcing_key().ok_or(NodeError::NotAnnounceable)?;
        self.file.announced = match wish {
            Announcing::At(meeting) => Some(meeting),
            Announcing::Now | Announcing::No => None,
        };
        store.put_circle(self.file.clone()).done().await?;
        self.announcer.wish(wish, Instant::now());
        Ok(())
    }

    /// The key to announce the circle with, where it can be shown: one leads it with the key that its charter names, and
    /// whoever finds it can come in, by relays only.
    pub fn announcing_key(&self) -> Option<GroupKey> {
        let state = self.session.state().filter(|_| self.ways.is_some())?;
        let charter = state.charter();
        let key = GroupKey::from_secret(&Secret::from_bytes(self.file.group_key?));
        let public = charter.admission != AdmissionMode::Invite && !self.practice;
        let leads = [charter.group_key, state.powers().leading_key()] == [key.public_key(); 2];
        (public && leads).then_some(key)
    }

    /// What can be said of the circle in directories.
    pub(super) fn notice(&self, next_meeting: Option<u64>) -> Option<Notice> {
        let (state, ways) = (self.session.state()?, self.ways.as_ref()?);
        let (key, charter) = (self.announcing_key()?, state.charter());
        let seats = usize::from(charter.max_members).saturating_sub(state.members().count());
        // A door that is closed tonight says nothing of a meeting to come.
        let is_door_open = state.is_door_open();
        Some(Notice {
            offer: Offer {
                charter: state.founding().clone(),
                invite: self.link(),
                next_meeting,
                seats: match is_door_open || next_meeting.is_some() {
                    true => u8::try_from(seats).unwrap_or(0),
                    false => 0,
                },
                takes_back: self.announcer.latest(),
                effort: self.announcer.effort(),
                // Above that of anything announced before.
                number: unix_millis(),
                created: self.now().minute,
            },
            is_door_open,
            key,
            ways: ways.paths.clone(),
            socket: self.socket.clone(),
        })
    }

    /// What takes back that people may come now, when one goes.
    pub fn last_notice(&self) -> Option<Notice> {
        let closed = matches!(self.session.stage(), session::Stage::Out(End::Closed));
        let untrue = self.announcer.leaves_traces() || closed && self.announcer.is_shown();
        self.notice(None).filter(|_| untrue)
    }

    /// Says in the directories what is due to be said.
    pub(super) fn post_notice(&mut self) {
        let due = self.announcer.due(Instant::now(), self.now().minute);
        let Some(wish) = due else { return };
        let meeting = match wish {
            Announcing::At(meeting) => Some(meeting),
            Announcing::Now | Announcing::No => None,
        };
        let Some(mut notice) = self.notice(meeting) else {
            // Whoever leads it by now, it is not this program with the key that announces it.
            self.announcer = Announcer::default();
            return;
        };
        let hidden = match (wish, notice.offer.seats) {
            (Announcing::Now, 0) if !notice.is_door_open => Some(Hidden::DoorClosed),
            (Announcing::Now | Announcing::At(_), 0) => Some(Hidden::Full),
            _ => None,
        };
        if wish == Announcing::No {
            notice.offer.seats = 0;
        }
        let posting = tokio::spawn(notice.post(self.cancel.clone()));
        self.working.push(Box::pin(async move {
            let posted = posting.await;
            Worked::Posted(
                wish,
                hidden,
                posted.unwrap_or_else(|_| Err(NotPosted::given_up())),
            )
        }));
    }
}

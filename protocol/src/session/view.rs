//! The circle as one sees it: plain data for whoever draws it.

use std::time::Duration;

use crate::circle::{CircleState, Role};
use crate::id::PublicKey;
use crate::record::{Charter, FloorMode};

use super::presence::PRESENT_FOR;
use super::{Now, Session, Stage};

/// Without a voice packet for so long, somebody is away.
const AWAY_AFTER: Duration = Duration::from_secs(2);

/// What can be seen of a circle at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Where one is.
    pub stage: Stage,
    /// The charter, once known.
    pub charter: Option<Charter>,
    /// Everybody admitted, in the order of their keys.
    pub members: Vec<MemberView>,
    /// Whoever knocks: key, pseudonym, refusals so far.
    pub applicants: Vec<(PublicKey, String, u8)>,
    /// Whose turn it is.
    pub turn: Option<TurnView>,
    /// Raised hands, next first.
    pub queue: Vec<PublicKey>,
    /// Whether one may be heard now.
    pub may_speak: bool,
    /// Whether one holds the group key.
    pub leading: bool,
    /// Newcomers are let in without asking.
    pub auto_admit: bool,
    /// Turns are given by themselves.
    pub auto_turns: bool,
    /// Somebody who leads was heard of lately, so their notices arrive.
    pub moderation_verified: bool,
    /// How turns are given, once known.
    pub floor_mode: Option<FloorMode>,
    /// Everybody but those who lead is stopped.
    pub is_frozen: bool,
    /// Whether anybody may come in.
    pub is_door_open: bool,
    /// Whether one is asked to cease, and has not said that one heard it.
    pub asked_to_cease: bool,
    /// Removals: key, pseudonym, clause, minute, whether stored here.
    pub removals: Vec<RemovalView>,
    /// Admissions: pseudonym, minute.
    pub admissions: Vec<(String, u64)>,
}

/// A member at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct MemberView {
    /// Their pseudonym key.
    pub key: PublicKey,
    /// Their pseudonym.
    pub name: String,
    /// Their role.
    pub role: Role,
    /// Whether they say their microphone is closed.
    pub muted: bool,
    /// Whether somebody who leads has muted them.
    pub silenced: bool,
    /// Whether packets of theirs arrive.
    pub present: bool,
    /// Whether a packet of theirs came to which one had the key, since they were last here.
    pub received: bool,
}

/// The present turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnView {
    /// Whose.
    pub holder: PublicKey,
    /// How long is left.
    pub left: Duration,
    /// How long it was given for.
    pub of: Duration,
}

/// One removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalView {
    /// Who.
    pub key: PublicKey,
    /// The pseudonym they had, where known.
    pub name: Option<String>,
    /// Mark of the clause broken.
    pub clause: String,
    /// Minutes since 1970 UTC.
    pub minute: u64,
    /// Whether it is on disk here.
    pub durable: bool,
}

impl Session {
    /// What can be seen now.
    pub fn view(&self, now: Now) -> View {
        let me = self.me.public_key();
        let state = self.state.as_ref();
        View {
            stage: self.stage.clone(),
            charter: state.map(|s| s.charter().clone()),
            members: self.member_views(now),
            applicants: state
                .into_iter()
                .flat_map(|s| {
                    s.applicants()
                        .map(|(k, a)| (*k, a.name.clone(), s.refusals(k)))
                })
                .collect(),
            turn: self.turn_view(now),
            queue: state.into_iter().flat_map(|s| s.queue()).collect(),
            may_speak: self.voice.may_speak,
            leading: self.authority().is_some(),
            auto_admit: self.auto_admit,
            auto_turns: self.auto_turns,
            moderation_verified: self.is_moderation_verified(now),
            floor_mode: state.map(|s| s.floor_mode()),
            is_frozen: state.is_some_and(CircleState::is_frozen),
            is_door_open: state.is_some_and(CircleState::is_door_open),
            asked_to_cease: state.is_some_and(|s| s.cease_of(&me).is_some()),
            removals: self.removal_views(),
            admissions: self.admission_views(),
        }
    }

    fn member_views(&self, now: Now) -> Vec<MemberView> {
        let me = self.me.public_key();
        let members = self.state.iter().flat_map(|s| s.members());
        members
            .map(|(key, member)| {
                let presence = self.presence.of(key);
                let present = presence.is_some_and(|p| {
                    let is_heard = |heard| now.at.saturating_sub(heard) < AWAY_AFTER;
                    now.at.saturating_sub(p.seen) < PRESENT_FOR
                        && p.heard.map_or(p.is_recent(now.at), is_heard)
                });
                MemberView {
                    key: *key,
                    name: member.name.clone(),
                    role: member.role,
                    muted: presence.is_some_and(|p| p.muted),
                    silenced: self
                        .state
                        .as_ref()
                        .and_then(|s| s.muted_until(key))
                        .is_some_and(|until| now.minute < until),
                    present: present || *key == me,
                    received: presence.is_some_and(|p| p.heard.is_some()),
                }
            })
            .collect()
    }

    fn turn_view(&self, now: Now) -> Option<TurnView> {
        let (turn, ends) = self.turn?;
        Some(TurnView {
            holder: turn.holder,
            left: ends.saturating_sub(now.at),
            of: Duration::from_secs(turn.seconds.into()),
        })
    }

    fn removal_views(&self) -> Vec<RemovalView> {
        let removed = self.state.iter().flat_map(|s| s.removed());
        removed
            .map(|(key, removed)| RemovalView {
                key,
                name: removed.name,
                clause: removed.clause,
                minute: removed.notice.payload().created,
                durable: self.durable_removals.contains(&key),
            })
            .collect()
    }

    fn admission_views(&self) -> Vec<(String, u64)> {
        let Some(state) = &self.state else {
            return Vec::new();
        };
        let mut last_join = None;
        let mut admissions = Vec::new();
        for record in state.after(&[]) {
            match record.body() {
                crate::record::Body::Join(join) => last_join = Some(join.name.clone()),
                crate::record::Body::Admission(_) => {
                    let name = last_join.take().unwrap_or_default();
                    admissions.push((name, record.payload().created));
                }
                _ => {}
            }
        }
        admissions
    }
}

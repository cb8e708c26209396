//! Founding a circle.

use crate::circle::CircleState;
use crate::id::{CircleId, Nonce, PublicKey};
use crate::identity::{Draft, GroupKey};
use crate::record::{
    Admission, AdmissionMode, Charter, FloorMode, Join, Pace, Pledge, PuzzleCost, Record, Role,
    RouteKind,
};
use crate::texts;

use super::{LASTING_MINUTES, Now, Session, SessionConfig, SessionError};

/// What a founder decides.
#[derive(Debug, Clone)]
pub struct Founding {
    /// What the circle is about.
    pub topic: String,
    /// Its own name.
    pub title: String,
    /// Language of the conversation.
    pub language: String,
    /// How newcomers are let in.
    pub admission: AdmissionMode,
    /// Most members.
    pub max_members: u8,
    /// Longest turn in seconds.
    pub turn_seconds: u16,
    /// How turns are given.
    pub floor: FloorMode,
    /// What an open door asks for.
    pub puzzle: PuzzleCost,
    /// When the circle meets, in words.
    pub schedule: Option<String>,
    /// Whether a listener may attend.
    pub listener_welcome: bool,
    /// How the traffic travels.
    pub route: RouteKind,
    /// How often something goes over each line.
    pub pace: Pace,
    /// Can replace the group key.
    pub recovery_key: PublicKey,
    /// The founder's pseudonym in the circle.
    pub name: String,
    /// Sixteen random bytes.
    pub nonce: Nonce,
}

impl Founding {
    /// Signs the charter: the circle exists from here on.
    ///
    /// # Errors
    /// When a field is out of bounds.
    pub fn charter(
        &self,
        group_key: &GroupKey,
        leader: PublicKey,
        now: Now,
    ) -> Result<Record, SessionError> {
        let charter = Charter {
            topic: self.topic.clone(),
            title: self.title.clone(),
            language: self.language.clone(),
            group_key: group_key.public_key(),
            recovery_key: self.recovery_key,
            leader,
            admission: self.admission,
            texts: texts::of_language(&self.language).hash(),
            max_members: self.max_members,
            turn_seconds: self.turn_seconds,
            floor: self.floor,
            listener_welcome: self.listener_welcome,
            route: self.route,
            nonce: self.nonce,
            puzzle: (self.admission == AdmissionMode::Open).then_some(self.puzzle),
            schedule: self.schedule.clone(),
            pace: self.pace.named(),
        };
        Ok(group_key.sign(Draft {
            circle: CircleId::UNBORN,
            seq: 0,
            prev: None,
            lamport: 0,
            created: now.minute,
            valid_minutes: LASTING_MINUTES,
            body: charter.into(),
        })?)
    }
}

impl Session {
    /// Founds a circle and enters it as its leader. `config.circle` must be what `charter` founds, and
    /// `config.group_key` its key.
    ///
    /// # Errors
    /// When the charter is not this group key's, or a field is out of bounds.
    pub fn found(
        config: SessionConfig,
        charter: &Record,
        name: String,
        now: Now,
    ) -> Result<Self, SessionError> {
        let mut session = Self::new(config)?;
        let state = CircleState::new(charter).filter(|s| s.id() == session.circle);
        session.state = Some(state.ok_or(SessionError::NotNow)?);
        session.open_door();

        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let texts = session
            .state
            .as_ref()
            .map_or_else(texts::hash, |s| s.charter().texts);
        let pledge = session.sign_own(now, LASTING_MINUTES, Pledge { texts, accepted })?;
        let join = Join {
            name,
            sealing_key: session.me.sealing_key(),
            pledge: pledge.id(),
            invite: None,
            puzzle: None,
        };
        let join = session.sign_own(now, LASTING_MINUTES, join)?;
        if let Some(state) = session.state.as_mut() {
            state.apply(&pledge)?;
            state.apply(&join)?;
        }
        session.knock = vec![pledge, join.clone()];
        session.persist(vec![charter.clone()], Vec::new());
        let admission = Admission {
            subject: session.me.public_key(),
            role: Role::Leader,
            join: join.id(),
        };
        session.decide(now, [admission.into()])?;
        Ok(session)
    }
}

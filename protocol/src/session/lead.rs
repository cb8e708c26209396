//! What the holder of the group key does: found, admit, refuse, give turns, remove, and renew the key.

use crate::circle::{Applied, Change, CircleState, policy};
use crate::id::{CircleId, Nonce, PublicKey};
use crate::identity::{Draft, GroupKey, Secret};
use crate::record::{
    Admission, AdmissionMode, Body, Charter, Epoch, FloorMode, Join, Pledge, Record, Refusal,
    Removal, Role, RouteKind, SealedTo, TurnGrant, TurnRelease,
};
use crate::seal::seal_to;
use crate::texts;

use super::epoch::epoch_info;
use super::message::{CircleMessage, DoorMessage, envelopes};
use super::timer::Timer;
use super::{Act, LASTING_MINUTES, Now, Output, Session, SessionConfig, SessionError, Stage};

/// How long members have to arrive in a new epoch before its key is sent to them at the door.
pub(super) const FIRST_PUSH: std::time::Duration = std::time::Duration::from_secs(1);
/// How often it is.
const MAX_PUSHES: u32 = 5;

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
    /// Whether a listener may attend.
    pub listener_welcome: bool,
    /// How the traffic travels.
    pub route: RouteKind,
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
            texts: texts::hash(),
            max_members: self.max_members,
            turn_seconds: self.turn_seconds,
            floor: FloorMode::Active,
            listener_welcome: self.listener_welcome,
            route: self.route,
            nonce: self.nonce,
        };
        Ok(group_key.sign(Draft {
            circle: CircleId::UNBORN,
            seq: 0,
            prev: None,
            head: None,
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
        let texts = texts::hash();
        let pledge = session.sign_own(now, LASTING_MINUTES, Pledge { texts, accepted })?;
        let join = Join {
            name,
            sealing_key: session.me.sealing_key(),
            pledge: pledge.id(),
        };
        let join = session.sign_own(now, LASTING_MINUTES, join)?;
        if let Some(state) = session.state.as_mut() {
            state.apply(&pledge)?;
            state.apply(&join)?;
        }
        session.knock = vec![pledge, join.clone()];
        session.persist(vec![charter.clone()], Vec::new());
        session.stored = Some(0);
        let admission = Admission {
            subject: session.me.public_key(),
            role: Role::Leader,
            join: join.id(),
        };
        session.decide(now, [admission.into()])?;
        Ok(session)
    }

    pub(super) fn handle_leading_act(&mut self, now: Now, act: Act) -> Result<(), SessionError> {
        if self.group_key.is_none() {
            return Err(SessionError::NotLeader);
        }
        let state = self.inside()?;
        match act {
            Act::Admit(subject) => self.admit(now, &[subject]),
            Act::Refuse(subject) => self.refuse(now, subject),
            Act::GiveTurn(holder) => {
                let grant = self.grant_to(holder)?;
                self.decide(now, [grant])
            }
            Act::EndTurn => {
                let lamport = state.floor().lamport();
                let holder = state.floor().turn().ok_or(SessionError::NotNow)?.holder;
                self.decide(now, [TurnRelease { holder, lamport }.into()])
            }
            Act::Remove { member, clause } => {
                let known = state.member(&member).is_some()
                    || state.applicants().any(|(key, _)| *key == member);
                known.then_some(()).ok_or(SessionError::NobodyByThatKey)?;
                let subject = member;
                self.decide(now, [Removal { subject, clause }.into()])
            }
            Act::AutoAdmit(on) => {
                self.auto_admit = on;
                Ok(())
            }
            Act::AutoTurns(on) => {
                self.auto_turns = on;
                Ok(())
            }
            Act::Sign { .. } | Act::RaiseHand | Act::Pass | Act::Leave => Err(SessionError::NotNow),
        }
    }

    /// Does by itself what the leader left to it.
    pub(super) fn lead(&mut self, now: Now) {
        if self.group_key.is_none() || self.stage != Stage::Inside {
            return;
        }
        let Ok(state) = self.inside() else {
            return;
        };
        let let_in = self.auto_admit || state.charter().admission == AdmissionMode::Invite;
        let room = usize::from(state.charter().max_members).saturating_sub(state.members().count());
        let waiting: Vec<_> = state.applicants().map(|(key, _)| *key).take(room).collect();
        let next = state.floor().queue().next();
        let idle = state.floor().turn().is_none();
        if let_in {
            // Refused by the rules (removed, full): they stay outside.
            if !waiting.is_empty() {
                let _ = self.admit(now, &waiting);
            }
        }
        if let Some(holder) = next.filter(|_| self.auto_turns && idle)
            && let Ok(grant) = self.grant_to(holder)
        {
            let _ = self.decide(now, [grant]);
        }
    }

    fn grant_to(&self, holder: PublicKey) -> Result<Body, SessionError> {
        let state = self.inside()?;
        state.member(&holder).ok_or(SessionError::NobodyByThatKey)?;
        let grant = TurnGrant {
            holder,
            seconds: state.charter().turn_seconds,
            lamport: state.floor().lamport(),
        };
        Ok(grant.into())
    }

    /// Lets people in, all under one new epoch.
    fn admit(&mut self, now: Now, subjects: &[PublicKey]) -> Result<(), SessionError> {
        let state = self.inside()?;
        let mut admissions = Vec::new();
        for subject in subjects {
            let applicant = state.applicants().find(|(key, _)| *key == subject);
            let (_, applicant) = applicant.ok_or(SessionError::NobodyByThatKey)?;
            applicant.join.check_time(now.minute)?;
            let admission = Admission {
                subject: *subject,
                role: Role::Participant,
                join: applicant.join.id(),
            };
            admissions.push(admission.into());
        }
        self.decide(now, admissions)?;
        self.newcomers.extend(subjects);
        Ok(())
    }

    /// Those let in by the last decision learn at the door that they are.
    pub(super) fn welcome_newcomers(&mut self) {
        for member in std::mem::take(&mut self.newcomers) {
            if let Some(welcome) = self.welcome(&member) {
                self.say_at_door(&DoorMessage::Welcome(welcome));
            }
        }
    }

    /// Sends the circle key to every member who has not said hello under it, a few times with growing
    /// pauses: an epoch record that was missed must not leave anybody behind in the epoch before.
    pub(super) fn push_epoch(&mut self, now: Now) {
        if self.group_key.is_none() || self.stage != Stage::Inside {
            return;
        }
        let me = self.me.public_key();
        let missing: Vec<_> = self
            .state
            .iter()
            .flat_map(|s| s.members().map(|(key, _)| *key))
            .filter(|key| *key != me && !self.arrived.contains(key))
            .collect();
        for member in &missing {
            if let Some(welcome) = self.welcome(member) {
                self.say_at_door(&DoorMessage::Welcome(welcome));
            }
        }
        self.pushes += 1;
        if !missing.is_empty() && self.pushes < MAX_PUSHES {
            self.timers
                .set(Timer::Push, now.at + FIRST_PUSH * (1 << self.pushes));
        }
    }

    fn refuse(&mut self, now: Now, subject: PublicKey) -> Result<(), SessionError> {
        let state = self.inside()?;
        let applicant = state.applicants().find(|(key, _)| **key == subject);
        let join = applicant.ok_or(SessionError::NobodyByThatKey)?.1.join.id();
        let may_knock_again = state.refusals(&subject) + 1 < policy::REFUSALS_UNTIL_FINAL;
        let refusal = Refusal {
            subject,
            may_knock_again,
            join,
        };
        let record = self.sign_authority(now, 0, None, Self::refusal_minutes(), refusal.into())?;
        let applied = self.state.as_mut().map(|s| s.apply(&record));
        let envelope = record.envelope().to_vec();
        self.say_at_door(&DoorMessage::Answer(envelope.into()));
        if let Some(Ok(Applied::Changed(changes))) = applied {
            self.follow(now, &changes);
        }
        Ok(())
    }

    /// Puts decisions on the authority chain. If they change who is in, a new epoch follows. What others
    /// are told waits until it is stored here; what must stop here stops at once.
    fn decide(
        &mut self,
        now: Now,
        decisions: impl IntoIterator<Item = Body>,
    ) -> Result<(), SessionError> {
        let mut changes = Vec::new();
        let mut signed = Vec::new();
        for body in decisions {
            let record = self.append(now, body, &mut changes)?;
            // An admission is told together with the pledge and join record that it rests on.
            if let (Body::Admission(a), Some(state)) = (record.body(), &self.state) {
                signed.extend(
                    state
                        .member(&a.subject)
                        .into_iter()
                        .flat_map(|m| [m.pledge.clone(), m.join.clone()]),
                );
            }
            signed.push(record);
        }
        if self.epoch_is_due(&changes) {
            let epoch = self.next_epoch()?;
            signed.push(self.append(now, epoch.into(), &mut changes)?);
        }
        self.publish_when_stored(signed, &changes);
        if changes.iter().any(|c| matches!(c, Change::Epoch(_))) {
            self.arrived.clear();
            self.pushes = 0;
        }
        self.follow(now, &changes);
        Ok(())
    }

    /// After somebody left on their own, the key is renewed without them.
    pub(super) fn renew_epoch_without(&mut self, now: Now) {
        if self.group_key.is_some() && self.stage == Stage::Inside {
            let mut changes = Vec::new();
            if let Ok(epoch) = self.next_epoch()
                && let Ok(record) = self.append(now, epoch.into(), &mut changes)
            {
                self.publish_when_stored(vec![record], &changes);
                self.arrived.clear();
                self.pushes = 0;
                self.follow(now, &changes);
            }
        }
    }

    fn epoch_is_due(&self, changes: &[Change]) -> bool {
        changes.iter().any(|c| {
            matches!(
                c,
                Change::Admitted(_) | Change::Removed(_) | Change::Left(_)
            )
        })
    }

    fn append(
        &mut self,
        now: Now,
        body: Body,
        changes: &mut Vec<Change>,
    ) -> Result<Record, SessionError> {
        let state = self.state.as_ref().ok_or(SessionError::NotNow)?;
        let (seq, id) = state.head();
        let record = self.sign_authority(now, seq + 1, Some(id), LASTING_MINUTES, body)?;
        let state = self.state.as_mut().ok_or(SessionError::NotNow)?;
        // Nothing goes on the chain that would stand there without effect.
        policy::check(state, &record)?;
        if let Applied::Changed(more) = state.apply(&record)? {
            changes.extend(more);
        }
        Ok(record)
    }

    fn sign_authority(
        &self,
        now: Now,
        seq: u64,
        prev: Option<crate::id::RecordId>,
        valid_minutes: u64,
        body: Body,
    ) -> Result<Record, SessionError> {
        let key = self.group_key.as_ref().ok_or(SessionError::NotLeader)?;
        Ok(key.sign(Draft {
            circle: self.circle,
            seq,
            prev,
            head: None,
            created: now.minute,
            valid_minutes,
            body,
        })?)
    }

    fn next_epoch(&mut self) -> Result<Epoch, SessionError> {
        let state = self.state.as_ref().ok_or(SessionError::NotNow)?;
        let number = state.epoch_number() + 1;
        let key = Secret::random(&mut self.rng);
        let members: Vec<_> = state.members().map(|(k, m)| (*k, m.sealing_key)).collect();
        let mut sealed = Vec::new();
        for (member, to) in members {
            let info = epoch_info(&self.circle, number, &member);
            // Whose key cannot be sealed to cannot take part; nobody else suffers for it.
            if let Ok(secret) = seal_to(&to, None, &info, key.as_bytes(), &mut self.rng) {
                sealed.push(SealedTo { member, secret });
            }
        }
        Ok(Epoch { number, sealed })
    }

    /// Sealed now, under the key the circle still has; sent once stored.
    fn publish_when_stored(&mut self, signed: Vec<Record>, changes: &[Change]) {
        let message = CircleMessage {
            records: envelopes(&signed),
            voice_key: None,
        };
        let mut then: Vec<_> = self.seal_for_circle(&message).into_iter().collect();
        then.extend(changes.iter().filter_map(|change| match change {
            Change::Removed(key) => Some(Output::Event(super::Event::RemovalDurable(*key))),
            _ => None,
        }));
        let stored = self.stored.unwrap_or(0);
        let records: Vec<_> = self
            .state
            .iter()
            .flat_map(|s| s.since(stored).cloned().collect::<Vec<_>>())
            .collect();
        self.stored = self.state.as_ref().map(|s| s.head().0);
        self.persist(records, then);
    }
}

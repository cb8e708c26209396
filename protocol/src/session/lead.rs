//! What whoever leads does: admit, refuse, give turns, remove, and renew the key.

use crate::circle::{Applied, Change, CircleState, Refused, Removed, policy};
use crate::id::PublicKey;
use crate::identity::{Draft, GroupKey, Secret};
use crate::record::{
    Admission, AdmissionMode, Body, CeaseRequest, Close, Cut, Delegation, Door, Epoch, FloorMode,
    Freeze, Mode, Mute, Record, Refusal, Reinstatement, Removal, Revocation, Role, SealedTo,
    Succession, TurnExtend, TurnGrant, TurnRelease,
};
use crate::seal::seal_to;

use crate::weakness::Weakness;

use super::epoch::epoch_info;
use super::message::{CircleMessage, DoorMessage, envelopes};
use super::timer::Timer;
use super::{
    Act, Delivery, LASTING_MINUTES, LIVE_MINUTES, Now, Output, Session, SessionError, Stage,
};

/// How long members have to arrive in a new epoch before its key is sent to them at the door.
pub(super) const FIRST_PUSH: std::time::Duration = std::time::Duration::from_secs(1);
/// How long until the key may be renewed again without a decision.
const RENEW_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// For how long whoever came through an open door listens, in minutes.
const FIRST_SESSION_MINUTES: u64 = 120;
/// Most answers to puzzles that are checked in one run.
const MAX_CHECKED: usize = 1_024;
/// The key is sent again one time less than this.
const MAX_PUSHES: u32 = 5;

impl Session {
    /// The key one leads with: the group key, or as a co-leader one's pseudonym.
    pub(super) fn authority(&self) -> Option<PublicKey> {
        let state = self.state.as_ref()?;
        let group_key = self.group_key.as_ref().map(GroupKey::public_key);
        let me = self.me.public_key();
        group_key
            .filter(|key| *key == state.powers().leading_key() && state.leads(key))
            .or_else(|| state.leads(&me).then_some(me))
    }

    /// Position of the last entry of one's own chain.
    pub(super) fn own_head(&self) -> u64 {
        let own = self.authority();
        let powers = self.state.as_ref().map(CircleState::powers);
        own.and_then(|key| powers?.of(&key))
            .map_or(0, |p| p.head().0)
    }

    pub(super) fn handle_leading_act(&mut self, now: Now, act: Act) -> Result<(), SessionError> {
        let state = self.inside()?;
        self.authority().ok_or(SessionError::NotLeader)?;
        let somebody = |key: &PublicKey| {
            let known = state.is_admitted(key) || state.applicants().any(|(k, _)| k == key);
            known.then_some(()).ok_or(SessionError::NobodyByThatKey)
        };
        let decision: Body = match act {
            Act::Admit(subject) => return self.admit(now, &[subject], Role::Participant),
            Act::Refuse(subject) => return self.refuse(now, subject),
            Act::GiveTurn(holder) => return self.give_turn(now, holder),
            Act::EndTurn => {
                let turn = state.turn().ok_or(SessionError::NotNow)?;
                let release = TurnRelease {
                    holder: turn.holder,
                    turn: turn.id,
                };
                return self.say_as_authority(now, release.into());
            }
            Act::Extend(seconds) => {
                let turn = state.turn().ok_or(SessionError::NotNow)?.id;
                let extend = TurnExtend { turn, seconds };
                return self.say_as_authority(now, extend.into());
            }
            Act::Remove {
                member,
                clause,
                minutes,
            } => {
                somebody(&member)?;
                Removal {
                    subject: member,
                    clause,
                    until: minutes.map(|m| now.minute.saturating_add(m)),
                    cut: state.cut_of(&member),
                }
                .into()
            }
            Act::Reinstate(subject) => {
                let removed = state.removal_of(&subject);
                return self.reinstate(now, &removed.ok_or(SessionError::NobodyByThatKey)?);
            }
            Act::SetRole(subject, Role::CoLeader) => Delegation {
                subject,
                role: Role::CoLeader,
            }
            .into(),
            Act::SetRole(subject, role) => match state.cut_of(&subject) {
                Some(cut) => Revocation { subject, cut }.into(),
                None => Delegation { subject, role }.into(),
            },
            Act::AskToCease(subject) => CeaseRequest { subject }.into(),
            Act::Mute(subject, minutes) => {
                let until = now.minute.saturating_add(minutes);
                Mute { subject, until }.into()
            }
            Act::Freeze(on) => Freeze { on }.into(),
            Act::SetFloorMode(floor) => Mode { floor }.into(),
            Act::SetDoor(open) => Door { open }.into(),
            Act::Close => Close {}.into(),
            Act::AutoAdmit(on) => {
                self.auto_admit = on;
                return Ok(());
            }
            Act::AutoTurns(on) => {
                self.auto_turns = on;
                return Ok(());
            }
            _ => return Err(SessionError::NotNow),
        };
        self.decide(now, [decision])
    }

    /// Takes the lead with a new group key, by the recovery key: when the old one is lost, or was used in two
    /// places and contradicts itself. What stands of its chain here goes on standing, and what stood here before
    /// it contradicted itself stands again: where that was all of it, nobody is a member in between.
    ///
    /// # Errors
    /// [`SessionError::NotLeader`] when `recovery` is not this circle's; [`SessionError::NotNow`] for somebody
    /// who is no member, but for a chain that contradicts itself, and where nothing of it is known.
    pub fn succeed(
        &mut self,
        now: Now,
        recovery: &GroupKey,
        new: GroupKey,
    ) -> Result<(), SessionError> {
        let (state, cut) = self.succession().ok_or(SessionError::NotNow)?;
        if recovery.public_key() != state.charter().recovery_key {
            return Err(SessionError::NotLeader);
        }
        let removed: Vec<_> = state.removed().collect();
        let (seq, id) = state.recovery_head();
        let succession = Succession {
            group_key: new.public_key(),
            leader: self.me.public_key(),
            cut,
        };
        let record = recovery.sign(Draft {
            circle: self.circle,
            seq: seq + 1,
            prev: Some(id),
            lamport: state.next_in_chain(&recovery.public_key()),
            created: now.minute,
            valid_minutes: LASTING_MINUTES,
            body: succession.into(),
        })?;
        let state = self.state.as_mut().ok_or(SessionError::NotNow)?;
        let applied = state.apply(&record)?;
        self.group_key = Some(new);
        self.durable = 0;
        self.enter_latest_epoch(now);
        if let Applied::Changed(changes) = applied {
            self.publish_when_stored(vec![record], &changes);
            self.follow(now, &changes);
        }
        // Removals beyond the cut go on standing, under the new key: of people who were here, not of whoever a
        // thief names.
        let me = self.me.public_key();
        let lost = removed.into_iter().filter(|(subject, before)| {
            let state = self.state.as_ref();
            let stands = state.is_some_and(|s| s.is_removed(subject));
            !stands && *subject != me && before.name.is_some()
        });
        let again: Vec<Body> = lost
            .filter_map(|(_, before)| match before.notice.body() {
                Body::Removal(removal) => Some(
                    Removal {
                        cut: None,
                        ..removal.clone()
                    }
                    .into(),
                ),
                _ => None,
            })
            .collect();
        for removal in again {
            // One that the rules refuse now does not stop the others.
            let _ = self.decide(now, [removal]);
        }
        if self.stage != Stage::Inside {
            // No circle key that is theirs: a thief made the last one without them.
            self.renew_epoch(now);
        }
        self.lead(now);
        Ok(())
    }

    /// Whether somebody who holds the recovery key could take the lead.
    pub fn may_succeed(&self) -> bool {
        self.succession().is_some()
    }

    /// What a succession would go on from, for a member, or where the leading key contradicts itself.
    fn succession(&self) -> Option<(&CircleState, Cut)> {
        let state = self.state.as_ref()?;
        let over = matches!(self.stage, Stage::Out(_));
        let old = state.powers().leading_key();
        let is_forked = state.powers().of(&old)?.fork().is_some();
        let known = !over && (is_forked || state.is_admitted(&self.me.public_key()));
        let cut = state.cut_of(&old).filter(|cut| known && cut.seq > 0)?;
        Some((state, cut))
    }

    /// Takes every removal of somebody back; each names the notice that it undoes.
    fn reinstate(&mut self, now: Now, removed: &Removed) -> Result<(), SessionError> {
        let all = removed
            .notices
            .iter()
            .map(|notice| Reinstatement { removal: *notice }.into());
        self.decide(now, all.collect::<Vec<Body>>())
    }

    /// Does by itself what is left to whoever leads.
    pub(super) fn lead(&mut self, now: Now) {
        if self.stage != Stage::Inside || !self.is_acting(now) {
            return;
        }
        let Ok(state) = self.inside() else {
            return;
        };
        if state.needs_epoch() && now.at >= self.renew_allowed {
            self.renew_allowed = now.at + RENEW_AGAIN;
            self.renew_epoch(now);
        }
        let Ok(state) = self.inside() else {
            return;
        };
        // An invite door opens by a token, which the state has checked; an open one by its puzzle.
        let admission = state.charter().admission;
        let let_in = self.auto_admit || admission != AdmissionMode::Approval;
        let role = match admission {
            AdmissionMode::Open => Role::Newcomer,
            _ => Role::Participant,
        };
        let room = usize::from(state.charter().max_members).saturating_sub(state.members().count());
        let mut waiting = Vec::new();
        let mut unchecked = Vec::new();
        for (key, applicant) in state.applicants() {
            let join = applicant.join.id();
            match self.checked.get(&join) {
                _ if self.in_vain.contains(&join) => {}
                _ if admission != AdmissionMode::Open => waiting.push((*key, join)),
                _ if state.lacks(Weakness::Puzzle) => waiting.push((*key, join)),
                Some(true) => waiting.push((*key, join)),
                Some(false) => {}
                None => unchecked.extend(super::door::answer_of(state, applicant)),
            }
        }
        waiting.truncate(room);
        let grown: Vec<_> = state
            .members()
            .filter(|(_, m)| m.role == Role::Newcomer)
            .filter(|(_, m)| m.admitted + FIRST_SESSION_MINUTES <= now.minute)
            .map(|(key, _)| *key)
            .collect();
        let next = state.queue().next();
        let idle = state.turn().is_none() && !state.is_frozen();
        let grants = state.floor_mode() == FloorMode::Active && self.auto_turns;
        for (join, puzzle, answer) in unchecked {
            if self.checked.len() < MAX_CHECKED {
                self.checked.insert(join, false);
                self.outputs.push_back(Output::CheckPuzzle {
                    join,
                    puzzle,
                    answer,
                });
            }
        }
        for subject in grown {
            let role = Role::Participant;
            let _ = self.decide(now, [Delegation { subject, role }.into()]);
        }
        if let_in {
            for (subject, join) in waiting {
                // Refused by the rules (removed, no token): they stay outside, until something changes.
                if self.admit(now, &[subject], role).is_err() {
                    self.in_vain.insert(join);
                }
            }
        }
        if let Some(holder) = next.filter(|_| grants && idle) {
            let _ = self.give_turn(now, holder);
        }
    }

    /// Of those who lead and are here, the leader acts, else the co-leader who comes first.
    pub(super) fn is_acting(&self, now: Now) -> bool {
        let (Some(_), Some(state)) = (self.authority(), &self.state) else {
            return false;
        };
        self.presence.rank(state, &self.me.public_key(), now.at) == 0
    }

    fn give_turn(&mut self, now: Now, holder: PublicKey) -> Result<(), SessionError> {
        let state = self.inside()?;
        state.member(&holder).ok_or(SessionError::NobodyByThatKey)?;
        if !policy::may_take_turn(state, &holder) {
            return Err(SessionError::Refused(Refused::Listener));
        }
        let grant = TurnGrant {
            holder,
            seconds: state.charter().turn_seconds,
            hand: state.hand_of(&holder),
        };
        self.say_as_authority(now, grant.into())
    }

    /// Says something of the moment, apart from the chain.
    fn say_as_authority(&mut self, now: Now, body: Body) -> Result<(), SessionError> {
        let record = self.sign_now(now, body)?;
        self.publish_own(now, record)
    }

    fn sign_now(&mut self, now: Now, body: Body) -> Result<Record, SessionError> {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.sign_authority(now, seq, None, LIVE_MINUTES, body)
    }

    /// Lets people in, all under one new epoch.
    fn admit(&mut self, now: Now, subjects: &[PublicKey], role: Role) -> Result<(), SessionError> {
        let state = self.inside()?;
        let mut admissions = Vec::new();
        for subject in subjects {
            let applicant = state.applicants().find(|(key, _)| *key == subject);
            let (_, applicant) = applicant.ok_or(SessionError::NobodyByThatKey)?;
            applicant.join.check_time(now.minute)?;
            let admission = Admission {
                subject: *subject,
                role,
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
        let made = self
            .state
            .as_ref()
            .and_then(|s| s.epoch())
            .map(Record::author);
        if self.stage != Stage::Inside || made.is_none() || made != self.authority() {
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
        let record = self.sign_now(now, refusal.into())?;
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
    pub(super) fn decide(
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
        if self.state.as_ref().is_some_and(CircleState::needs_epoch) {
            let epoch = self.next_epoch()?;
            signed.push(self.append(now, epoch.into(), &mut changes)?);
        }
        self.publish_when_stored(signed, &changes);
        self.follow(now, &changes);
        Ok(())
    }

    /// A new circle key for everybody who is in.
    fn renew_epoch(&mut self, now: Now) {
        let mut changes = Vec::new();
        if let Ok(epoch) = self.next_epoch()
            && let Ok(record) = self.append(now, epoch.into(), &mut changes)
        {
            self.publish_when_stored(vec![record], &changes);
            self.follow(now, &changes);
        }
    }

    fn append(
        &mut self,
        now: Now,
        body: Body,
        changes: &mut Vec<Change>,
    ) -> Result<Record, SessionError> {
        let state = self.state.as_ref().ok_or(SessionError::NotNow)?;
        let own = self.authority().ok_or(SessionError::NotLeader)?;
        let power = state.powers().of(&own).ok_or(SessionError::NotLeader)?;
        let (seq, id) = power.head();
        let record = self.sign_authority(now, seq + 1, Some(id), LASTING_MINUTES, body)?;
        let state = self.state.as_mut().ok_or(SessionError::NotNow)?;
        policy::check_decision(state, &record)?;
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
        let own = self.authority().ok_or(SessionError::NotLeader)?;
        let chained = self.state.as_ref().filter(|_| prev.is_some());
        let in_chain = chained.map(|s| s.next_in_chain(&own));
        let lamport = in_chain.unwrap_or_else(|| self.next_lamport());
        let draft = Draft {
            circle: self.circle,
            seq,
            prev,
            lamport,
            created: now.minute,
            valid_minutes,
            body,
        };
        let group_key = self.group_key.as_ref();
        Ok(match group_key.filter(|key| key.public_key() == own) {
            Some(key) => key.sign(draft)?,
            None => self.me.sign(draft)?,
        })
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
        let mut then: Vec<_> = self
            .seal_for_circle(&message, Delivery::Lasting)
            .into_iter()
            .collect();
        then.extend(super::durable_removals(changes));
        if changes.iter().any(|c| matches!(c, Change::Epoch(_))) {
            self.arrived.clear();
            self.pushes = 0;
        }
        let records = self.state.as_mut().map(CircleState::take_unsaved);
        self.persist(records.unwrap_or_default(), then);
    }
}

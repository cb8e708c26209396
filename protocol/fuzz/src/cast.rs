//! Everybody's keys, and any record that one of them could sign.

use arbitrary::{Result, Unstructured};
use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{PublicKey, RecordId, SealingKey, SignatureBytes, TransportId};
use undertone_protocol::identity::{Draft, GroupKey, Pseudonym};
use undertone_protocol::record::*;
use undertone_protocol::texts;

use crate::kit;

/// Leads.
pub const LEADER: usize = 0;
/// A member whose keys the fuzzer has.
pub const INSIDER: usize = 3;
/// Comes to the door.
pub const NEWCOMER: usize = 4;
/// Those with a machine: the stranger after them has none.
pub const PEOPLE: usize = 5;

/// Everybody.
pub struct Cast {
    /// The circle's first leading key.
    pub group: GroupKey,
    /// Names its successors.
    pub recovery: GroupKey,
    /// A key that may succeed it.
    pub heir: GroupKey,
    /// By number; the last is the stranger.
    pub people: Vec<Pseudonym>,
}

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// With the group key.
    Group,
    /// With the recovery key.
    Recovery,
    /// With the key that may succeed the group key.
    Heir,
    /// With their pseudonym.
    Person(usize),
}

impl Default for Cast {
    fn default() -> Self {
        Self::new()
    }
}

impl Cast {
    /// The people of the golden vectors, and one more.
    pub fn new() -> Self {
        Self {
            group: kit::group(),
            recovery: kit::recovery(),
            heir: kit::new_group(),
            people: (kit::LEADER..).take(PEOPLE + 1).map(kit::person).collect(),
        }
    }
    /// Knows the invite and nobody.
    pub fn stranger(&self) -> &Pseudonym {
        &self.people[PEOPLE]
    }
    /// Somebody, some key with authority, or no key at all.
    pub fn pick(&self, u: &mut Unstructured<'_>) -> Result<PublicKey> {
        let which = usize::from(u.arbitrary::<u8>()?) % (self.people.len() + 3);
        let person = self.people.get(which).map(Pseudonym::public_key);
        Ok(person.unwrap_or_else(|| match which - self.people.len() {
            0 => self.group.public_key(),
            1 => self.recovery.public_key(),
            _ => PublicKey::from_bytes([0; 32]),
        }))
    }
    /// The public half of a hand.
    pub fn key(&self, hand: Hand) -> PublicKey {
        match hand {
            Hand::Group => self.group.public_key(),
            Hand::Recovery => self.recovery.public_key(),
            Hand::Heir => self.heir.public_key(),
            Hand::Person(who) => self.people[who].public_key(),
        }
    }
    /// `None` when no such record is acceptable.
    pub fn sign(&self, hand: Hand, draft: Draft) -> Option<Record> {
        match hand {
            Hand::Group => self.group.sign(draft).ok(),
            Hand::Recovery => self.recovery.sign(draft).ok(),
            Hand::Heir => self.heir.sign(draft).ok(),
            Hand::Person(who) => self.people[who].sign(draft).ok(),
        }
    }

    /// What somebody signs who has seen `state`: mostly what fits there, now and then what does not. A join
    /// comes with its pledge.
    pub fn say(
        &self,
        u: &mut Unstructured<'_>,
        hand: Hand,
        state: &CircleState,
        minute: u64,
    ) -> Result<Vec<Record>> {
        let body = match u.arbitrary::<u8>()? {
            0..=127 => self.entry(u, state)?,
            128..=159 => return self.knock(u, hand, state, minute),
            _ => self.aside(u, state)?,
        };
        let draft = self.draft(u, hand, state, minute, body)?;
        Ok(self.sign(hand, draft).into_iter().collect())
    }

    fn knock(
        &self,
        u: &mut Unstructured<'_>,
        hand: Hand,
        state: &CircleState,
        minute: u64,
    ) -> Result<Vec<Record>> {
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let texts = state.charter().texts;
        let draft = self.draft(u, hand, state, minute, Pledge { texts, accepted }.into())?;
        let Some(pledge) = self.sign(hand, draft) else {
            return Ok(Vec::new());
        };
        let who = match hand {
            Hand::Person(who) => who,
            _ => PEOPLE,
        };
        let sealing_key = match u.arbitrary::<u8>()? {
            255 => SealingKey::from_bytes([u.arbitrary()?; 32]),
            _ => self.people[who].sealing_key(),
        };
        let puzzle = u.arbitrary()?;
        let join = Join {
            name: "Nobody".into(),
            sealing_key,
            pledge: pledge.id(),
            invite: None,
            puzzle,
        };
        let draft = self.draft(u, hand, state, minute, join.into())?;
        let join = self.sign(hand, draft);
        Ok(std::iter::once(pledge).chain(join).collect())
    }

    /// Numbers and times: those that follow, or others.
    fn draft(
        &self,
        u: &mut Unstructured<'_>,
        hand: Hand,
        state: &CircleState,
        minute: u64,
        body: Body,
    ) -> Result<Draft> {
        let odd: u8 = u.arbitrary()?;
        let is_chained = body.kind().is_chained();
        let begins = (0, state.founding().id());
        let head = match hand {
            Hand::Recovery => state.recovery_head(),
            _ => state
                .powers()
                .of(&self.key(hand))
                .map_or(begins, |p| p.head()),
        };
        let (seq, prev) = match odd & 7 {
            _ if !is_chained => (state.lamport() + u64::from(odd & 7), None),
            7 => (head.0 + 2, Some(head.1)),
            6 => (head.0 + 1, Some(self.pick_record(u, state)?)),
            // The same place once more.
            5 => {
                let last = state
                    .after(&[])
                    .into_iter()
                    .rfind(|r| r.author() == self.key(hand));
                last.map_or((1, Some(begins.1)), |r| (r.payload().seq, r.payload().prev))
            }
            _ => (head.0 + 1, Some(head.1)),
        };
        let lamport = match odd >> 3 & 7 {
            7 => state.lamport().saturating_sub(u.arbitrary::<u8>()?.into()),
            6 => {
                let odd = u.arbitrary::<u8>()?;
                state.lamport() + (u64::from(1 + (odd >> 1 & 1)) << 20) + u64::from(odd & 1)
            }
            5 => u.arbitrary()?,
            _ => state.lamport() + 1,
        };
        let created = match odd >> 6 {
            3 => minute.saturating_add_signed(u.arbitrary::<i16>()?.into()),
            _ => minute,
        };
        Ok(Draft {
            circle: state.id(),
            seq,
            prev,
            lamport,
            created,
            valid_minutes: 60,
            body,
        })
    }

    /// Any record that the state holds, or none.
    fn pick_record(&self, u: &mut Unstructured<'_>, state: &CircleState) -> Result<RecordId> {
        let held: Vec<_> = state
            .after(&[])
            .into_iter()
            .chain(state.aside())
            .map(Record::id)
            .collect();
        let which = usize::from(u.arbitrary::<u8>()?);
        Ok(held
            .get(which % (held.len() + 1))
            .copied()
            .unwrap_or(RecordId::from_bytes([0x33; 32])))
    }

    /// The join that somebody knocked or came with.
    fn pick_join(
        &self,
        u: &mut Unstructured<'_>,
        state: &CircleState,
        subject: &PublicKey,
    ) -> Result<RecordId> {
        let waiting = state
            .applicants()
            .find(|(key, _)| *key == subject)
            .map(|(_, a)| a.join.id());
        let joined = state.member(subject).map(|m| m.join.id());
        match waiting.or(joined) {
            Some(join) if u.arbitrary::<u8>()? < 224 => Ok(join),
            _ => self.pick_record(u, state),
        }
    }

    fn cut(&self, u: &mut Unstructured<'_>, state: &CircleState, of: &PublicKey) -> Result<Cut> {
        let head = state.powers().of(of).map(|p| p.head());
        match head {
            Some((seq, id)) if u.arbitrary::<u8>()? < 192 => Ok(Cut { seq, id }),
            _ => Ok(Cut {
                seq: u.arbitrary::<u8>()?.into(),
                id: self.pick_record(u, state)?,
            }),
        }
    }

    fn role(u: &mut Unstructured<'_>) -> Result<Role> {
        let roles = [
            Role::CoLeader,
            Role::Participant,
            Role::Listener,
            Role::Newcomer,
            Role::Leader,
        ];
        Ok(roles[usize::from(u.arbitrary::<u8>()?) % roles.len()])
    }

    fn sealed(u: &mut Unstructured<'_>, member: PublicKey) -> Result<SealedTo> {
        Ok(SealedTo {
            member,
            secret: vec![u.arbitrary()?; usize::from(u.arbitrary::<u8>()?)],
        })
    }

    /// What belongs on a chain.
    fn entry(&self, u: &mut Unstructured<'_>, state: &CircleState) -> Result<Body> {
        let kind: u8 = u.arbitrary()?;
        let subject = self.pick(u)?;
        let on = kind >= 128;
        Ok(match kind % 15 {
            0..=2 => {
                let join = self.pick_join(u, state, &subject)?;
                let role = if on {
                    Self::role(u)?
                } else {
                    Role::Participant
                };
                Admission {
                    subject,
                    role,
                    join,
                }
                .into()
            }
            3 | 4 => {
                let (clause, until) = ("2".to_owned(), on.then_some(u.arbitrary::<u32>()?.into()));
                let cut = u
                    .arbitrary::<bool>()?
                    .then(|| self.cut(u, state, &subject))
                    .transpose()?;
                Removal {
                    subject,
                    clause,
                    until,
                    cut,
                }
                .into()
            }
            5 => {
                let notices = state
                    .removal_of(&subject)
                    .map(|r| r.notices)
                    .unwrap_or_default();
                let other = self.pick_record(u, state)?;
                Reinstatement {
                    removal: notices.first().copied().unwrap_or(other),
                }
                .into()
            }
            6 | 7 => Delegation {
                subject,
                role: Self::role(u)?,
            }
            .into(),
            8 => Revocation {
                subject,
                cut: self.cut(u, state, &subject)?,
            }
            .into(),
            9 => Mute {
                subject,
                until: u.arbitrary::<u32>()?.into(),
            }
            .into(),
            10 => CeaseRequest { subject }.into(),
            11 => [Body::from(Freeze { on }), Door { open: on }.into()]
                [usize::from(u.arbitrary::<bool>()?)]
            .clone(),
            12 => Mode {
                floor: if on {
                    FloorMode::Passive
                } else {
                    FloorMode::Active
                },
            }
            .into(),
            13 => {
                let leading = state.powers().leading_key();
                let new = if on {
                    self.heir.public_key()
                } else {
                    self.pick(u)?
                };
                Succession {
                    group_key: new,
                    leader: subject,
                    cut: self.cut(u, state, &leading)?,
                }
                .into()
            }
            _ if u.arbitrary::<u8>()? == 255 => Close {}.into(),
            _ => {
                let number = state
                    .epoch_number()
                    .saturating_add(u.arbitrary::<u8>()?.into());
                let members = state
                    .members()
                    .map(|(key, _)| *key)
                    .chain(on.then_some(subject));
                let sealed = members
                    .map(|member| Self::sealed(u, member))
                    .collect::<Result<_>>()?;
                Epoch { number, sealed }.into()
            }
        })
    }

    /// What stands beside the chains.
    fn aside(&self, u: &mut Unstructured<'_>, state: &CircleState) -> Result<Body> {
        let kind: u8 = u.arbitrary()?;
        let subject = self.pick(u)?;
        Ok(match kind % 14 {
            0 => Leave {
                join: self.pick_join(u, state, &subject)?,
            }
            .into(),
            1 => Erase {
                join: self.pick_join(u, state, &subject)?,
            }
            .into(),
            2 => TurnRequest {
                since: u.arbitrary::<u8>()?.into(),
                first: u.arbitrary::<u8>()?.into(),
            }
            .into(),
            3 => TurnGrant {
                holder: subject,
                seconds: u.arbitrary()?,
                hand: state.hand_of(&subject),
            }
            .into(),
            4 => {
                let turn = state.turn().map(|t| t.id);
                let other = self.pick_record(u, state)?;
                TurnRelease {
                    holder: subject,
                    turn: state.hand_of(&subject).or(turn).unwrap_or(other),
                }
                .into()
            }
            5 => {
                let turn = state.turn().map(|t| t.id);
                let other = self.pick_record(u, state)?;
                TurnExtend {
                    turn: turn.unwrap_or(other),
                    seconds: u.arbitrary()?,
                }
                .into()
            }
            6 => Thanks {
                subject,
                gratitude: Gratitude::NotAlone,
            }
            .into(),
            7 => {
                let request = state.cease_of(&subject);
                let other = self.pick_record(u, state)?;
                CeaseAcknowledgement {
                    request: request.unwrap_or(other),
                }
                .into()
            }
            8 => {
                let join = self.pick_join(u, state, &subject)?;
                Refusal {
                    subject,
                    may_knock_again: u.arbitrary()?,
                    join,
                }
                .into()
            }
            9 => CrisisReferral {
                sealed: Self::sealed(u, subject)?,
            }
            .into(),
            10 => ContactRequest {
                sealed: Self::sealed(u, subject)?,
            }
            .into(),
            11 => {
                let request = self.pick_record(u, state)?;
                ContactAnswer {
                    request,
                    sealed: Self::sealed(u, subject)?,
                }
                .into()
            }
            12 => {
                let held: Vec<_> = state.after(&[]);
                let pick = |at: u8| {
                    held.get(usize::from(at))
                        .map_or(Vec::new(), |r| r.envelope().to_vec())
                };
                let [first, second] = u.arbitrary::<[u8; 2]>()?.map(pick);
                Equivocation {
                    first: first.into(),
                    second: second.into(),
                }
                .into()
            }
            _ => Hello {
                transport: TransportId::from_bytes([u.arbitrary()?; 32]),
                proof: SignatureBytes::from_bytes([0; 64]),
                heads: vec![Head {
                    author: subject,
                    seq: u.arbitrary::<u32>()?.into(),
                }],
                voice_keys: Vec::new(),
                addresses: Vec::new(),
                digest: u.arbitrary::<u32>()?.into(),
                turn: None,
            }
            .into(),
        })
    }
}

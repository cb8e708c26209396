//! Who may say what. The only such table: state, session, relay and window all ask here.

use crate::id::PublicKey;
use crate::record::{AdmissionMode, Body, Charter, Kind, Record, Role, TurnGrant, TurnRelease};

use super::CircleState;
use super::authority::{Powers, Rank};

/// Refusals after which somebody may not knock again in this session.
pub const REFUSALS_UNTIL_FINAL: u8 = 2;

/// Whose signature a kind of record needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The key that leads, on its chain.
    Leader,
    /// The key that leads, or a co-leader, each on their own chain.
    Authority,
    /// The same, apart from the chains: of the moment, never stored.
    AuthorityNow,
    /// The recovery key.
    Recovery,
    /// A member.
    Member,
    /// Whoever is, was or may become a member.
    Anybody,
    /// A member, for themselves; or whoever leads, for anybody.
    MemberOrAuthority,
}

/// The table.
pub const fn signer(kind: Kind) -> Signer {
    use Kind::*;
    match kind {
        Charter | Delegation | Revocation | Close | Announcement => Signer::Leader,
        Admission | Removal | Reinstatement | Epoch | CeaseRequest | Mute | Freeze | Mode
        | Door => Signer::Authority,
        Refusal | TurnGrant | TurnExtend => Signer::AuthorityNow,
        Succession => Signer::Recovery,
        Pledge | Join | Leave | Erase => Signer::Anybody,
        Hello | TurnRequest | Thanks | CeaseAcknowledgement | CrisisReferral | ContactRequest
        | ContactAnswer | Equivocation => Signer::Member,
        TurnRelease => Signer::MemberOrAuthority,
    }
}

/// Why a record has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only whoever leads may say this.
    #[error("only the leader may do this")]
    NotAuthority,
    /// Only a member may say this.
    #[error("only a member may do this")]
    NotMember,
    /// Its author, or its subject, was removed.
    #[error("they were removed from this circle")]
    Removed,
    /// Already said, or something later has been said since.
    #[error("it has been said before")]
    Replayed,
    /// The author may speak for themselves only.
    #[error("nobody can do this for somebody else")]
    NotOneself,
    /// The circle has as many members as its charter allows.
    #[error("the circle is full")]
    Full,
    /// Too many wait at the door already.
    #[error("too many people are waiting at the door")]
    DoorCrowded,
    /// The door was closed.
    #[error("the door is closed")]
    DoorClosed,
    /// The circle has ended.
    #[error("this circle has ended")]
    Closed,
    /// The pledge is for other texts than the charter's.
    #[error("the pledge is for another version of the texts")]
    OtherTexts,
    /// An invite door, and no token that fits.
    #[error("this circle takes people by personal invite only")]
    NeedsInvite,
    /// The token was used, or its time is over.
    #[error("the invite was used already, or is too old")]
    Spent,
    /// The leader cannot be removed or muted, nor the role given away by an admission.
    #[error("this cannot be done to or with the leader's role")]
    LeaderRole,
    /// Whoever listens takes no turns.
    #[error("a listener takes no turns")]
    Listener,
    /// The charter has no place for a listener.
    #[error("this circle has no place for a listener")]
    NoListeners,
    /// A key that lost its authority does not get it again.
    #[error("this key has led before and cannot again")]
    LedBefore,
    /// A removal leaves no authority to whoever had none then, not even later.
    #[error("whoever was removed once cannot lead under the same key")]
    RemovedBefore,
    /// The two records do not contradict each other.
    #[error("it shows no contradiction")]
    NoProof,
    /// There is no room for it where its number puts it.
    #[error("its number is out of order")]
    OutOfOrder,
    /// Its time is over, or has not come.
    #[error("it is not valid at this time")]
    Expired,
}

/// Whether `author` may sign this kind of record here. Of chain entries this says only that nobody else
/// could: whether an author has authority may become known later.
///
/// # Errors
/// The rule it breaks.
pub fn check_signer(state: &CircleState, record: &Record) -> Result<(), Refused> {
    let author = record.author();
    match signer(record.body().kind()) {
        // A co-leader's entry that only the leader may make has its place in the chain too, and no effect:
        // whether it came before its author's delegation must not matter.
        Signer::Leader | Signer::Authority => Ok(()),
        Signer::Recovery => (author == state.charter().recovery_key)
            .then_some(())
            .ok_or(Refused::NotAuthority),
        Signer::AuthorityNow => state
            .leads(&author)
            .then_some(())
            .ok_or(Refused::NotAuthority),
        Signer::Member => state
            .is_admitted(&author)
            .then_some(())
            .ok_or(Refused::NotMember),
        Signer::MemberOrAuthority => (state.leads(&author) || state.is_admitted(&author))
            .then_some(())
            .ok_or(Refused::NotMember),
        Signer::Anybody => Ok(()),
    }
}

/// Whether an entry of a chain may have effect, on its own merits: what comes before it is for the fold.
///
/// # Errors
/// The rule it breaks.
pub(super) fn check_entry(
    powers: &Powers,
    charter: &Charter,
    record: &Record,
) -> Result<(), Refused> {
    let rank = powers.rank(&record.author());
    match signer(record.body().kind()) {
        Signer::Leader if rank != Some(Rank::Leader) => return Err(Refused::NotAuthority),
        Signer::Authority if rank.is_none() => return Err(Refused::NotAuthority),
        _ => {}
    }
    let leader = powers.leader();
    match record.body() {
        // The other way round is no offence: a participant may come to lead by a succession.
        Body::Admission(a) if a.role == Role::Leader && !powers.ever_led(&a.subject) => {
            Err(Refused::LeaderRole)
        }
        Body::Admission(a) if a.role == Role::CoLeader => Err(Refused::NotAuthority),
        Body::Admission(a) if a.role == Role::Listener && !charter.listener_welcome => {
            Err(Refused::NoListeners)
        }
        Body::Delegation(d) if d.subject == leader => Err(Refused::LeaderRole),
        Body::Delegation(d) if d.role == Role::Listener && !charter.listener_welcome => {
            Err(Refused::NoListeners)
        }
        Body::Removal(r) if r.subject == leader => Err(Refused::LeaderRole),
        Body::Mute(m) if m.subject == leader => Err(Refused::LeaderRole),
        Body::CeaseRequest(c) if c.subject == leader => Err(Refused::LeaderRole),
        _ => Ok(()),
    }
}

/// What an honest author asks before signing an entry: nothing goes on a chain that would stand there
/// without effect.
///
/// # Errors
/// The rule it breaks.
pub fn check_decision(state: &CircleState, record: &Record) -> Result<(), Refused> {
    let author = record.author();
    state
        .leads(&author)
        .then_some(())
        .ok_or(Refused::NotAuthority)?;
    check_entry(state.powers(), state.charter(), record)?;
    if state.is_closed() {
        return Err(Refused::Closed);
    }
    let is_member = |key| {
        state
            .is_admitted(key)
            .then_some(())
            .ok_or(Refused::NotMember)
    };
    match record.body() {
        Body::Admission(_) => state.check_admission(record),
        Body::Delegation(d) => {
            is_member(&d.subject)?;
            let led = state.powers().rank(&d.subject).is_some();
            (!led).then_some(()).ok_or(Refused::LedBefore)?;
            let leads = d.role == Role::CoLeader;
            (!leads || !state.was_ever_removed(&d.subject))
                .then_some(())
                .ok_or(Refused::RemovedBefore)
        }
        Body::Revocation(r) => state
            .powers()
            .is_live_co_leader(&r.subject)
            .then_some(())
            .ok_or(Refused::NotMember),
        Body::Mute(m) => is_member(&m.subject),
        Body::CeaseRequest(c) => is_member(&c.subject),
        _ => Ok(()),
    }
}

/// Whether this record, which is no chain entry, may have effect now.
///
/// # Errors
/// The rule it breaks.
pub fn check(state: &CircleState, record: &Record) -> Result<(), Refused> {
    check_signer(state, record)?;
    let author = record.author();
    // What an earlier admission rests on may come after word of the end.
    if state.is_closed() && signer(record.body().kind()) != Signer::Anybody {
        return Err(Refused::Closed);
    }
    match record.body() {
        Body::Announcement(_) if author != state.powers().leading_key() => {
            Err(Refused::NotAuthority)
        }
        Body::Pledge(pledge) => (pledge.texts == state.charter().texts)
            .then_some(())
            .ok_or(Refused::OtherTexts),
        Body::TurnRequest(_) if !takes_turns(state, &author) => Err(Refused::Listener),
        Body::TurnGrant(TurnGrant { holder, .. })
        | Body::TurnRelease(TurnRelease { holder, .. })
            if !state.is_admitted(holder) =>
        {
            Err(Refused::NotMember)
        }
        Body::TurnRelease(r) if r.holder != author && !state.leads(&author) => {
            Err(Refused::NotOneself)
        }
        _ => Ok(()),
    }
}

/// Whether somebody may knock with this join record, as far as a signed record can tell.
///
/// # Errors
/// The rule that keeps them out.
pub(super) fn check_knock(state: &CircleState, record: &Record) -> Result<(), Refused> {
    let author = record.author();
    let Body::Join(join) = record.body() else {
        return Ok(());
    };
    if state.is_removed(&author) && !state.may_return(&author, record.payload().created) {
        return Err(Refused::Removed);
    }
    if !state.is_door_open() {
        return Err(Refused::DoorClosed);
    }
    if state.refusals(&author) >= REFUSALS_UNTIL_FINAL {
        return Err(Refused::Removed);
    }
    match state.charter().admission {
        AdmissionMode::Invite if author != state.leader() => match &join.invite {
            None => Err(Refused::NeedsInvite),
            Some(i) if state.is_spent(&i.token) || record.payload().created > i.until => {
                Err(Refused::Spent)
            }
            Some(i) if state.is_removed(&i.sponsor) => Err(Refused::Removed),
            Some(_) => Ok(()),
        },
        AdmissionMode::Open if author != state.leader() && join.puzzle.is_none() => {
            Err(Refused::NeedsInvite)
        }
        _ => Ok(()),
    }
}

fn takes_turns(state: &CircleState, key: &PublicKey) -> bool {
    state.member(key).is_some_and(|m| m.role.takes_turns())
}

/// Whether somebody may have a turn.
pub fn may_take_turn(state: &CircleState, key: &PublicKey) -> bool {
    takes_turns(state, key)
}

/// Whether somebody's sound may be heard now: the holder of the turn, and always whoever leads.
pub fn may_be_heard(state: &CircleState, member: &PublicKey, minute: u64) -> bool {
    let Some(role) = state.member(member).map(|m| m.role) else {
        return false;
    };
    let muted = state
        .muted_until(member)
        .is_some_and(|until| minute < until);
    match role {
        Role::Leader => true,
        _ if muted => false,
        Role::CoLeader => true,
        _ => state.turn().is_some_and(|t| t.holder == *member),
    }
}

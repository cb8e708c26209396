//! Who may say what. The only such table: state, session, relay and window all ask here.

use crate::id::PublicKey;
use crate::record::{Body, Kind, Record, Role};

use super::CircleState;

/// Refusals after which somebody may not knock again in this session.
pub const REFUSALS_UNTIL_FINAL: u8 = 2;

/// How far ahead of all others a request's Lamport time may be: more than a circle ever makes, too little
/// to exhaust the numbers.
pub const MAX_LAMPORT_STEP: u64 = 1 << 20;

/// Whose signature a kind of record needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// The group key, on its one chain.
    Authority,
    /// The group key, apart from the chain: of the moment, never stored.
    AuthorityNow,
    /// A member.
    Member,
    /// Anyone at the door who was not removed.
    Applicant,
    /// A member, or the group key on its chain.
    MemberOrAuthority,
}

/// The table.
pub const fn signer(kind: Kind) -> Signer {
    match kind {
        Kind::Charter | Kind::Admission | Kind::Removal | Kind::TurnGrant | Kind::Epoch => {
            Signer::Authority
        }
        Kind::Refusal => Signer::AuthorityNow,
        Kind::Pledge | Kind::Join => Signer::Applicant,
        Kind::Hello | Kind::TurnRequest | Kind::Leave => Signer::Member,
        Kind::TurnRelease => Signer::MemberOrAuthority,
    }
}

/// Why a record has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Only the group key may say this.
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
    /// The pledge is for other texts than the charter's.
    #[error("the pledge is for another version of the texts")]
    OtherTexts,
    /// The leader cannot be removed by their own key, nor the role given away by an admission.
    #[error("this cannot be done to or with the leader's role")]
    LeaderRole,
    /// Listeners take no turns.
    #[error("a listener takes no turns")]
    Listener,
    /// The charter has no place for a listener.
    #[error("this circle has no place for a listener")]
    NoListeners,
    /// Two different records at one place of the authority chain.
    #[error("the leader's records contradict each other")]
    Contradiction,
    /// Its number is far ahead of everybody else's.
    #[error("its number is out of order")]
    OutOfOrder,
    /// Its time is over, or has not come.
    #[error("it is not valid at this time")]
    Expired,
}

/// Whether `author` is the group key of this circle.
pub fn is_authority(state: &CircleState, author: &PublicKey) -> bool {
    *author == state.charter().group_key
}

/// Whether this record, on its own merits, may have effect now. Order and missing dependencies are the
/// state's concern.
///
/// # Errors
/// The rule it breaks.
pub fn check(state: &CircleState, record: &Record) -> Result<(), Refused> {
    let author = record.author();
    let authority = is_authority(state, &author);
    match signer(record.body().kind()) {
        Signer::Authority | Signer::AuthorityNow => {
            authority.then_some(()).ok_or(Refused::NotAuthority)?
        }
        Signer::Applicant => {}
        Signer::Member => state
            .member(&author)
            .map(|_| ())
            .ok_or(Refused::NotMember)?,
        Signer::MemberOrAuthority => {
            if !authority && state.member(&author).is_none() {
                return Err(Refused::NotMember);
            }
        }
    }
    if state.is_removed(&author) {
        return Err(Refused::Removed);
    }
    match record.body() {
        Body::Pledge(pledge) => (pledge.texts == state.charter().texts)
            .then_some(())
            .ok_or(Refused::OtherTexts),
        Body::Admission(admission) => check_admission(state, admission),
        Body::Removal(removal) => (removal.subject != state.charter().leader)
            .then_some(())
            .ok_or(Refused::LeaderRole),
        Body::TurnRequest(request) => match state.member(&author).map(|m| m.role) {
            Some(Role::Listener) => Err(Refused::Listener),
            _ => (request.lamport <= state.floor().lamport().saturating_add(MAX_LAMPORT_STEP))
                .then_some(())
                .ok_or(Refused::OutOfOrder),
        },
        // The leader stays a member while away: the role is bound to the charter.
        Body::Leave(_) if author == state.charter().leader => Err(Refused::LeaderRole),
        Body::TurnGrant(grant) => match state.member(&grant.holder).map(|m| m.role) {
            None => Err(Refused::NotMember),
            Some(Role::Listener) => Err(Refused::Listener),
            Some(_) => Ok(()),
        },
        Body::TurnRelease(release) => (authority || release.holder == author)
            .then_some(())
            .ok_or(Refused::NotOneself),
        _ => Ok(()),
    }
}

fn check_admission(
    state: &CircleState,
    admission: &crate::record::Admission,
) -> Result<(), Refused> {
    let leader = admission.subject == state.charter().leader;
    if state.is_removed(&admission.subject) {
        Err(Refused::Removed)
    } else if leader != (admission.role == Role::Leader) {
        Err(Refused::LeaderRole)
    } else if admission.role == Role::Listener && !state.charter().listener_welcome {
        Err(Refused::NoListeners)
    } else if state.member(&admission.subject).is_none()
        && state.members().count() >= usize::from(state.charter().max_members)
    {
        Err(Refused::Full)
    } else {
        Ok(())
    }
}

/// Whether somebody's sound may be heard now: the holder of the turn, and always the leader.
pub fn may_be_heard(state: &CircleState, member: &PublicKey) -> bool {
    state.member(member).is_some_and(|m| {
        m.role == Role::Leader || state.floor().turn().is_some_and(|t| t.holder == *member)
    })
}

//! What a person is told when something could not be done: what happened, what it means, what to do.

use std::path::Path;

use undertone_protocol::session::SessionError;

use crate::NodeError;
use crate::api::{Device, Notice};

fn say(what: impl Into<String>, advice: impl Into<String>) -> Notice {
    Notice {
        what: what.into(),
        advice: advice.into(),
    }
}

/// What is missing on this machine, if anything.
pub(super) fn missing_devices(inputs: &[Device], outputs: &[Device]) -> Option<String> {
    let missing = match (inputs.is_empty(), outputs.is_empty()) {
        (true, true) => "microphone and no headphones were",
        (true, false) => "microphone was",
        (false, true) => "headphones or speakers were",
        (false, false) => return None,
    };
    Some(format!(
        "No {missing} found on this computer. Plug them in, then look again."
    ))
}

pub(super) fn pledge_written(path: &Path) -> Notice {
    say(
        format!("Your signed pledge was written to {}.", path.display()),
        "Whoever holds that file can check that it is genuine. It shows your pseudonym in this circle, nothing else about you.",
    )
}

pub(super) fn pledge_failed(why: &str) -> Notice {
    say(
        format!("Your pledge could not be written: {why}."),
        "Choose another folder and try again. Nothing else is affected.",
    )
}

pub(super) fn referred(from: &str, words: &str) -> Notice {
    say(
        format!("{from} says to you alone: {words}"),
        "Nobody else can read this, and nobody's program keeps it. It is gone when you put it away.",
    )
}

pub(super) fn contact_asked(from: &str, words: &str) -> Notice {
    say(
        format!("{from} asks whether you would like to stay in touch: {words}"),
        "Only you can read this, and you need not answer: silence says nothing. If you wish to, choose them and \
            Stay in touch. Whatever you tell them, they will know about you.",
    )
}

pub(super) fn contact_answered(from: &str, words: &str) -> Notice {
    say(
        format!("{from} would like to stay in touch: {words}"),
        "Only you can read this, and nobody's program keeps it. It is gone when you put it away.",
    )
}

pub(super) fn asked_to_cease() -> Notice {
    say(
        "The leader asks you to stop what you are saying (term 6).",
        "Please stop, and say that you have heard it. Nothing else follows from it.",
    )
}

pub(super) fn leader_contradicts() -> Notice {
    say(
        "The leader's key has said two different things at once.",
        "It may have been copied or stolen. Removals stand; nothing else it says counts from now on. The founder can take the lead again, or found a new circle.",
    )
}

pub(super) fn succeeded(name: &str) -> Notice {
    say(
        format!("{name} leads this circle from now on, with a new key."),
        "The change was signed by the recovery key made when the circle was founded.",
    )
}

pub(super) fn notice(error: &NodeError) -> Notice {
    match error {
        NodeError::Invite(_) | NodeError::BadInvite => say(
            "This invite cannot be read.",
            "It may have been cut off when it was copied. Ask for it again, and paste all of it.",
        ),
        NodeError::BadRelay => say(
            "This is not the address of a relay.",
            "It looks like /ip4/192.0.2.7/udp/4434/quic-v1/p2p/12D3Koo…/p2p-circuit/ip4/192.0.2.7/… Whoever runs the relay can give it to you.",
        ),
        NodeError::NotAnnounceable => say(
            "This circle cannot be shown in a directory.",
            "Only the leader who founded it can, and only if it goes through relays and nobody needs an invite of their own.",
        ),
        NodeError::NotTwoHops => say(
            "This invite leads through one relay where the circle promises two.",
            "That relay would see your address and which circle you are in, so nothing was opened. Ask for a new invite.",
        ),
        NodeError::BadName => say(
            "This name cannot be used.",
            "Choose one of 1 to 40 characters.",
        ),
        NodeError::NoName => say(
            "You have no name here yet.",
            "Choose a pseudonym first; it need not have anything to do with you.",
        ),
        NodeError::NotInACircle => say(
            "You are not in a circle now.",
            "Join one, or start one, and try again.",
        ),
        NodeError::AlreadyInACircle => say(
            "You are in a circle already.",
            "Leave it first; you can be in one circle at a time.",
        ),
        NodeError::NoCheckInACircle => say(
            "You cannot hear yourself while you are in a circle.",
            "Leave the circle to check your voice.",
        ),
        NodeError::Session(SessionError::BadStore) => say(
            "What is stored of this circle cannot be trusted, so it stays closed.",
            "Nothing was deleted. If the disk is healthy, ask for a new invite.",
        ),
        NodeError::Session(error) => say(
            format!("That was not possible: {error}."),
            "Nothing has changed.",
        ),
        NodeError::Store(error) => say(
            format!("This could not be stored: {error}."),
            "To be safe you were taken out of the circle. Check that the disk is not full, then come back with the same invite.",
        ),
        NodeError::Network(error) => say(
            format!("No connection could be opened: {error}."),
            "Check that this computer has a network, then try again.",
        ),
        NodeError::NetworkEnded => say(
            "The connection ended unexpectedly.",
            "Come back with the same invite; your place is kept.",
        ),
        NodeError::Randomness(_) => say(
            "The operating system gives no randomness, so no key can be made safely.",
            "Restart the computer and try again.",
        ),
        NodeError::Audio(error) => say(
            format!("Sound could not be started: {error}."),
            "Choose another microphone or headphones.",
        ),
        NodeError::Runtime(error) => say(
            format!("The program could not start its work: {error}."),
            "Close other programs and try again.",
        ),
    }
}

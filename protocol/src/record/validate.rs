//! What a body must hold on its own, without knowing any circle.

use crate::id::SealingKey;
use crate::invite::MAX_LINK_CHARS;
use crate::texts;

use super::bodies::*;
use super::{MAX_INTEGER, RecordError};

/// A text field that people will see: not empty, not long, no control characters.
fn plain_text(field: &'static str, text: &str) -> Result<(), RecordError> {
    require(field, text.len() <= MAX_NAME_BYTES && is_plain(text))
}

/// Whether people see all there is of a text: not empty, no control characters, none that only change its looks.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(|c| c.is_control() || is_invisible(c))
}

/// Characters that change how a name looks without being seen: zero width, fillers, line separators, direction
/// overrides, tags.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The points of low order on Curve25519, in every encoding (RFC 7748 §5 ignores the top bit): the shared
/// secret with any of them is zero.
fn is_low_order(key: &SealingKey) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
            0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16,
            0x5f, 0x49, 0xb8, 0x00,
        ],
        [
            0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83,
            0xef, 0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd,
            0xd0, 0x9f, 0x11, 0x57,
        ],
    ];
    let mut u = *key.as_bytes();
    u[31] &= 0x7f;
    // 0 and 1; p − 1, p and p + 1, where p = 2²⁵⁵ − 19.
    let small = u[0] <= 1 && u[1..].iter().all(|b| *b == 0);
    let near_p =
        (0xec..=0xee).contains(&u[0]) && u[1..31].iter().all(|b| *b == 0xff) && u[31] == 0x7f;
    small || near_p || ORDER_8.contains(&u)
}

fn require(field: &'static str, fine: bool) -> Result<(), RecordError> {
    fine.then_some(()).ok_or(RecordError::BadField(field))
}

/// Checks what a body says on its own, without knowing any circle.
pub(super) fn validate(body: &super::Body) -> Result<(), RecordError> {
    use super::Body;
    match body {
        Body::Charter(c) => {
            plain_text("topic", &c.topic)?;
            plain_text("title", &c.title)?;
            plain_text("language", &c.language)?;
            if let Some(schedule) = &c.schedule {
                plain_text("schedule", schedule)?;
            }
            let open = c.admission == AdmissionMode::Open;
            let bounded = |p: PuzzleCost| (8..=1 << 18).contains(&p.memory_kib) && p.zero_bits <= 20;
            require("puzzle", c.puzzle.is_some() == open && c.puzzle.is_none_or(bounded))?;
            require("max_members", (2..=MAX_MEMBERS).contains(&c.max_members))?;
            require(
                "turn_seconds",
                (1..=MAX_TURN_SECONDS).contains(&c.turn_seconds),
            )
        }
        Body::Pledge(p) => {
            let all = texts::all_clauses().map(|c| c.mark);
            require("accepted", p.accepted.iter().map(String::as_str).eq(all))
        }
        Body::Join(j) => {
            plain_text("name", &j.name)?;
            require("invite", j.invite.as_ref().is_none_or(|i| i.until <= MAX_INTEGER))?;
            require("puzzle", j.puzzle.is_none_or(|p| p <= MAX_INTEGER))?;
            // A point of low order parses, and fails only when something is to be sealed to it.
            require("sealing_key", !is_low_order(&j.sealing_key))
        }
        Body::Hello(h) => {
            let few = h.voice_keys.len() <= 2 * MAX_MEMBERS as usize
                && h.addresses.len() <= 8
                && h.heads.len() <= MAX_HEADS;
            let numbers = h.heads.iter().map(|head| head.seq).chain([h.digest]);
            require("hello", few && numbers.max() <= Some(MAX_INTEGER))?;
            require("hello", h.addresses.iter().all(|a| a.len() <= 64))
        }
        Body::Removal(r) => {
            require("clause", texts::clause(&r.clause).is_some())?;
            require("until", r.until.is_none_or(|u| u <= MAX_INTEGER))?;
            require("cut", r.cut.is_none_or(|c| c.seq <= MAX_INTEGER))
        }
        Body::TurnRequest(r) => {
            require("since", r.since <= MAX_INTEGER)?;
            require("first", r.first <= MAX_INTEGER)
        }
        Body::Mute(m) => require("until", m.until <= MAX_INTEGER),
        Body::Revocation(r) => require("cut", r.cut.seq <= MAX_INTEGER),
        Body::Succession(s) => require("cut", s.cut.seq <= MAX_INTEGER),
        Body::Delegation(d) => require("role", !matches!(d.role, Role::Leader | Role::Newcomer)),
        Body::TurnGrant(TurnGrant { seconds, .. }) | Body::TurnExtend(TurnExtend { seconds, .. }) => {
            require("seconds", (1..=MAX_TURN_SECONDS).contains(seconds))
        }
        Body::Epoch(e) => {
            let distinct: std::collections::BTreeSet<_> =
                e.sealed.iter().map(|s| s.member).collect();
            let bounded = e.sealed.len() <= MAX_MEMBERS as usize
                && e.sealed.iter().all(|s| s.secret.len() <= 128);
            require("sealed", bounded && distinct.len() == e.sealed.len())
        }
        Body::CrisisReferral(CrisisReferral { sealed })
        | Body::ContactRequest(ContactRequest { sealed })
        | Body::ContactAnswer(ContactAnswer { sealed, .. }) => {
            require("sealed", sealed.secret.len() <= MAX_SEALED_WORDS)
        }
        Body::Announcement(a) => {
            require("seats", a.seats <= MAX_MEMBERS)?;
            require("next_meeting", a.next_meeting.is_none_or(|m| m <= MAX_INTEGER))?;
            require("link", a.link.len() <= MAX_LINK_CHARS)?;
            require("stamp", a.stamp <= MAX_INTEGER)
        }
        Body::Admission(_)
        | Body::Refusal(_)
        | Body::Reinstatement(_)
        | Body::CeaseRequest(_)
        | Body::CeaseAcknowledgement(_)
        | Body::Freeze(_)
        | Body::Mode(_)
        | Body::Door(_)
        | Body::Close(_)
        | Body::TurnRelease(_)
        | Body::Leave(_)
        | Body::Erase(_)
        | Body::Thanks(_)
        // Its two envelopes are verified where it is taken apart.
        | Body::Equivocation(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::seal_to;
    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    #[test]
    fn keys_of_low_order_are_exactly_those_that_nothing_can_be_sealed_to() {
        let mut rng = ChaCha20Rng::from_seed([0; 32]);
        let mut check = |bytes: [u8; 32]| {
            let key = SealingKey::from_bytes(bytes);
            let sealed = seal_to(&key, None, b"trial", b"", &mut rng);
            assert_eq!(is_low_order(&key), sealed.is_err(), "{key:?}");
            is_low_order(&key)
        };
        let mut low = 0;
        for first in 0..=255 {
            for (rest, last) in [(0, 0), (0, 0x80), (0xff, 0x7f), (0xff, 0xff)] {
                let mut bytes = [rest; 32];
                (bytes[0], bytes[31]) = (first, last);
                low += usize::from(check(bytes));
            }
        }
        assert_eq!(low, 10);
        let order_8 = [
            "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
            "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        ];
        for hex in order_8 {
            let byte = |i: usize| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap();
            assert!(check(std::array::from_fn(byte)));
        }
    }
}

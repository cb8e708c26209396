//! Histories of signed records, by everybody who could have authority and some who never do: the order in which
//! they come does not matter, nor does a restart.

use arbitrary::{Result, Unstructured};
use undertone_protocol::circle::CircleState;
use undertone_protocol::record::{AdmissionMode, Charter, Record};
use undertone_protocol::texts;

use crate::cast::{Cast, Hand, PEOPLE};
use crate::kit;

/// Fewer than any limit that makes the order matter.
const MOST: usize = 60;

/// What somebody says who has seen all of it so far, or only what came some time ago; again and again.
pub fn history(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let charter = Charter {
        texts: texts::hash(),
        ..kit::charter(AdmissionMode::Approval)
    };
    let founding = kit::found(charter);
    let said = tell(&mut u, &founding).unwrap_or_default();
    let told = || {
        said.iter()
            .map(|r| format!("\n{:?} {:?}", r.id(), r.payload()))
            .collect::<String>()
    };
    let in_order = fold(&founding, said.iter());
    let backwards = fold(&founding, said.iter().rev());
    assert_eq!(
        in_order.digest(),
        backwards.digest(),
        "the order of records matters:{}",
        told()
    );
    let stored = fold(&founding, said.iter()).take_unsaved();
    for loaded in [
        CircleState::load(&founding, &stored),
        CircleState::load(&founding, stored.iter().rev()),
    ] {
        let loaded = loaded.unwrap();
        assert_eq!(
            in_order.digest(),
            loaded.digest(),
            "a restart matters:{}",
            told()
        );
    }
}

fn tell(u: &mut Unstructured<'_>, founding: &Record) -> Result<Vec<Record>> {
    let cast = Cast::new();
    let mut now = CircleState::new(founding).unwrap();
    let mut then = now.clone();
    let mut said: Vec<Record> = Vec::new();
    while !u.is_empty() && said.len() < MOST {
        let hand: u8 = u.arbitrary()?;
        let by = match hand & 15 {
            0..=4 => Hand::Group,
            5 => Hand::Recovery,
            6 | 7 => Hand::Heir,
            n => Hand::Person(usize::from(n) % (PEOPLE + 1)),
        };
        if hand & 64 != 0 {
            then = now.clone();
        }
        let seen = if hand & 128 != 0 { &then } else { &now };
        for record in cast.say(u, by, seen, kit::MINUTE)? {
            let _ = now.apply(&record);
            said.push(record);
        }
    }
    Ok(said)
}

/// Everything until nothing waits any more.
fn fold<'a>(founding: &Record, said: impl Iterator<Item = &'a Record> + Clone) -> CircleState {
    let mut state = CircleState::new(founding).unwrap();
    for _ in 0..4 {
        for record in said.clone() {
            let _ = state.apply(record);
        }
    }
    state
}

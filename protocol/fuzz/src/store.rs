//! What is read from disk before any socket opens: records that were stored, with gaps, doubles and damage.

use arbitrary::{Result, Unstructured};
use undertone_protocol::circle::CircleState;
use undertone_protocol::record::Record;
use undertone_protocol::session::{SessionError, Stage};

use crate::cast::PEOPLE;
use crate::world::World;

/// Whose disk, then what is on it: a byte each for records that the circle stored, or [`RAW`], a length and bytes.
pub fn stored(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut world = World::asleep(u.arbitrary().unwrap_or_default());
    let who = usize::from(u.arbitrary::<u8>().unwrap_or_default()) % PEOPLE;
    let genuine: Vec<_> = world.people.iter().flat_map(|p| p.stored.clone()).collect();
    let mut stored = Vec::new();
    while let Some(envelope) = next(&mut u, &genuine).ok().flatten() {
        stored.push(envelope);
    }
    let session = match world.resume(who, &stored) {
        Ok(session) => session,
        Err(error) => return assert_eq!(error, SessionError::BadStore),
    };
    let records: Vec<_> = stored
        .iter()
        .map(|bytes| Record::verify_in(bytes, &world.circle).unwrap())
        .collect();
    let Some(state) = session.state() else {
        return assert!(stored.is_empty());
    };
    let backwards = CircleState::load(state.founding(), records.iter().rev()).unwrap();
    assert_eq!(
        state.digest(),
        backwards.digest(),
        "the order of what is stored matters"
    );
    let me = session.me();
    assert!(*session.stage() != Stage::Inside || state.is_admitted(&me));
    world.rules.is_disk_damaged = true;
    world.people[who].stored = stored;
    world.start(who);
    world.run(std::time::Duration::from_millis(500));
}

/// Stands for bytes instead of a genuine record.
pub const RAW: u8 = 255;

fn next(u: &mut Unstructured<'_>, genuine: &[Vec<u8>]) -> Result<Option<Vec<u8>>> {
    if u.is_empty() {
        return Ok(None);
    }
    Ok(Some(match u.arbitrary()? {
        RAW => {
            let length = usize::from(u.arbitrary::<u16>()?);
            u.bytes(length.min(u.len()))?.to_vec()
        }
        which => genuine[usize::from(which) % genuine.len()].clone(),
    }))
}

//! What is inside a sealed control message: at the door, where everybody with the invite can write it, and in the
//! circle, where every member can.

use std::time::Duration;

use crate::cast::{LEADER, NEWCOMER, PEOPLE};
use crate::world::World;

/// A message at the door, to those inside and to somebody who came: who has knocked already, if the first byte is
/// even.
pub fn door(data: &[u8]) {
    let Some((first, message)) = data.split_first() else {
        return;
    };
    let mut world = at_the_door(*first, first.is_multiple_of(2));
    world.start(1);
    let (topic, key) = world.door();
    world.whisper_bytes((&topic, &key), &everybody(), message);
    world.run_apart(Duration::from_secs(1));
}

/// A message in the circle.
pub fn circle(data: &[u8]) {
    let Some((first, message)) = data.split_first() else {
        return;
    };
    let mut world = World::asleep(*first);
    everybody().iter().for_each(|who| world.start(*who));
    if let Some((topic, key)) = world.inside() {
        world.whisper_bytes((&topic, &key), &everybody(), message);
    }
    world.run_apart(Duration::from_secs(1));
}

/// The leader inside, and somebody who reads the charter or has knocked.
pub fn at_the_door(setting: u8, has_knocked: bool) -> World {
    let mut world = World::asleep(setting);
    world.start(LEADER);
    world.start(NEWCOMER);
    if has_knocked {
        world.run(Duration::from_millis(300));
        world.sign(NEWCOMER, "Somebody new");
        world.run(Duration::from_millis(300));
    }
    world
}

fn everybody() -> Vec<usize> {
    (0..PEOPLE).collect()
}

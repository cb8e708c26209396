//! One person comes into a circle where people are, followed closely.

use std::time::Duration;

use anyhow::{Context, Result};
use undertone_protocol::record::RouteKind;
use undertone_protocol::session::Event;

use crate::network::Network;
use crate::world::World;

/// What the last one to come into a circle of this size saw.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// From the signature to the first frame of the leader's that they heard.
    pub hears: Duration,
    /// Sealed bytes of control messages that they received from the signature until all was said.
    pub received: u64,
}

/// Everybody comes, one after the other, through a relay; the last is measured.
///
/// # Errors
/// When somebody is not let in, or the last one does not hear the leader.
pub fn joining(seed: u64, members: u8, network: Network) -> Result<Outcome> {
    const SETTLED: Duration = Duration::from_secs(10);
    let mut world = World::new(seed, network, RouteKind::Relay, members)?;
    for _ in 2..members {
        world.join()?;
        world.run_for(SETTLED);
    }
    let last = world.arrive()?;
    world.wait_for(last, SETTLED, Event::AtDoor)?;
    let (signed, before) = (world.now().at, world.node(last).received);
    world.sign(last)?;
    let leader = world.node(0).key();
    let mut hears = None;
    while world.now().at < signed + SETTLED {
        world.run_for(Duration::from_millis(10));
        let heard = world.node(last).last_heard(&leader);
        hears = hears.or(heard.map(|at| at.saturating_sub(signed)));
    }
    Ok(Outcome {
        hears: hears.context("whoever came last does not hear the leader")?,
        received: world.node(last).received - before,
    })
}

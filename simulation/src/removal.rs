//! One removal in the middle of a turn, followed closely.

use std::time::Duration;

use anyhow::{Result, ensure};
use undertone_protocol::record::RouteKind;
use undertone_protocol::session::{Act, Event};

use crate::network::Network;
use crate::world::World;

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// From the leader's notice to the last peer that enforced it.
    pub removal_enforced: Duration,
    /// From the leader's notice to the last frame of the removed one that anybody heard.
    pub last_heard: Duration,
}

/// A circle of `members` in which somebody takes a turn and is removed in the middle of it.
///
/// # Errors
/// When anything promised does not hold: everybody heard the turn, everybody enforces the removal,
/// nothing is heard afterwards, the removed one hears nothing of the next turn, even after a return.
pub fn removal(seed: u64, members: u8, network: Network, route: RouteKind) -> Result<Outcome> {
    let mut world = World::new(seed, network, route, members)?;
    for _ in 1..members {
        world.join()?;
    }
    world.run_for(Duration::from_secs(6));
    let troll = usize::from(members) - 1;
    let key = world.node(troll).key();
    world.act(0, Act::AutoTurns(true))?;
    world.act(troll, Act::RaiseHand)?;
    world.run_for(Duration::from_secs(4));
    for listener in 0..troll {
        ensure!(
            world.node(listener).last_heard(&key).is_some(),
            "node {listener} did not hear the turn of node {troll}"
        );
    }

    let notice = world.now().at;
    let clause = "2".to_owned();
    world.act(
        0,
        Act::Remove {
            member: key,
            clause,
            minutes: None,
        },
    )?;
    world.run_for(Duration::from_secs(10));
    let mut removal_enforced = Duration::ZERO;
    let mut last_heard = Duration::ZERO;
    for listener in 0..troll {
        let node = world.node(listener);
        let enforced = node.first(&Event::RemovalEnforced(key));
        let Some(enforced) = enforced else {
            anyhow::bail!("node {listener} does not enforce the removal");
        };
        let durable = node.first(&Event::RemovalDurable(key));
        ensure!(
            durable.is_some(),
            "node {listener} did not store the removal"
        );
        let heard = node.last_heard(&key).unwrap_or_default();
        ensure!(
            heard <= enforced,
            "node {listener} heard them after the notice"
        );
        removal_enforced = removal_enforced.max(enforced.saturating_sub(notice));
        last_heard = last_heard.max(heard.saturating_sub(notice));
    }

    // The circle goes on without them.
    world.act(1, Act::RaiseHand)?;
    world.run_for(Duration::from_secs(4));
    let next = world.node(1).key();
    for listener in (0..troll).filter(|i| *i != 1) {
        ensure!(
            world.node(listener).last_heard(&next).is_some(),
            "node {listener} did not hear the turn after the removal"
        );
    }
    ensure!(
        world.node(troll).last_heard(&next).is_none(),
        "the removed one heard the turn after the removal"
    );
    world.wipe_and_return(troll)?;
    world.run_for(Duration::from_secs(5));
    world.sign(troll)?;
    world.run_for(Duration::from_secs(10));
    ensure!(
        world.node(troll).last_heard(&next).is_none(),
        "the removed one came back in"
    );
    let states: Vec<_> = (0..troll)
        .filter_map(|i| world.node(i).session()?.state().map(|s| s.heads()))
        .collect();
    ensure!(
        states.windows(2).all(|pair| pair[0] == pair[1]),
        "members have read the authority chain to different ends: {states:?}"
    );
    Ok(Outcome {
        removal_enforced,
        last_heard,
    })
}

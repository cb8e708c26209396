//! Keys in the wrong hands: what somebody can still do who once decided, or who stole what decides.

use undertone_protocol::circle::CircleState;
use undertone_protocol::id::{PublicKey, RecordId};
use undertone_protocol::record::{Body, Epoch, Freeze, Mute, Record, Removal};
use undertone_simulation::adversary::Hand;

use super::*;

fn state(world: &World, node: NodeIndex) -> &CircleState {
    world.node(node).session().unwrap().state().unwrap()
}

fn removal(subject: PublicKey) -> Body {
    Removal {
        subject,
        clause: "2".into(),
        until: None,
        cut: None,
    }
    .into()
}

/// Twenty removals and twenty other entries of strangers for one place of a chain.
fn crowd(world: &World, hand: &Hand, place: u64, lamport: u64) -> Vec<Record> {
    let after = RecordId::from_bytes([7; 32]);
    let strangers = (1..=20).map(|n| PublicKey::from_bytes([n; 32]));
    strangers
        .flat_map(|subject| [removal(subject), Mute { subject, until: 1 }.into()])
        .map(|body| world.entry(hand, (place, after), lamport, body).unwrap())
        .collect()
}

/// A co-leader, former or not, signs a removal.
pub fn remove_as(world: &mut World, former: NodeIndex, whom: NodeIndex) {
    let removal = removal(world.node(whom).key());
    let after = RecordId::from_bytes([7; 32]);
    let entry = world.entry(&Hand::Member(former), (1, after), 1, removal);
    world.tell(former, &[entry.unwrap()]);
}

/// A branch of a chain from its first place on.
fn branch(world: &World, hand: &Hand, begins: RecordId, length: u64) -> Vec<Record> {
    let mut records = Vec::<Record>::new();
    for seq in 1..=length {
        let after = records.last().map_or(begins, |r| r.id());
        let on = seq % 2 == 0;
        let entry = world.entry(hand, (seq, after), seq, Freeze { on }.into());
        records.push(entry.unwrap());
    }
    records
}

fn members(world: &World, node: NodeIndex) -> usize {
    state(world, node).members().count()
}

#[test]
fn a_former_co_leader_takes_nothing_back_and_removes_nobody() {
    let mut world = circle(81, 4);
    co_leader(&mut world, 1);
    world.act(0, Act::AutoAdmit(false)).unwrap();
    let new = world.arrive().unwrap();
    world.run_for(seconds(2));
    world.sign(new).unwrap();
    world.run_for(seconds(2));
    world.act(1, Act::Admit(world.node(new).key())).unwrap();
    world.run_for(seconds(4));
    let former = world.node(1).key();
    world
        .act(0, Act::SetRole(former, Role::Participant))
        .unwrap();
    world.run_for(seconds(3));
    let head = state(&world, 0).powers().of(&former).unwrap().head().0;
    assert!(head > 0);
    let hand = Hand::Member(1);
    for place in 1..=head {
        let after = RecordId::from_bytes([7; 32]);
        let victim = removal(world.node(2).key());
        let more = world.entry(&hand, (place, after), 1, victim).unwrap();
        let mut records = crowd(&world, &hand, place, 1);
        records.push(more);
        world.tell(1, &records);
    }
    world.run_for(seconds(5));
    world.kill(3);
    world.run_for(seconds(1));
    world.restart(3).unwrap();
    world.act(0, Act::AutoAdmit(true)).unwrap();
    let newcomer = world.join().unwrap();
    world.run_for(seconds(60));
    for node in [0, 2, 3, new, newcomer] {
        assert_eq!(stage(&world, node), Stage::Inside);
        for member in [2, new, newcomer] {
            let role = role(&world, node, member);
            assert_eq!(role, Some(Role::Participant), "{member} seen by {node}");
        }
    }
    agree(&world, &[0, 2, 3, new, newcomer]);
}

#[test]
fn a_stolen_group_key_takes_nothing_back_once_it_is_succeeded() {
    for (strikes_first, all_start_again) in [(false, false), (true, false), (true, true)] {
        let mut world = circle(82, 4);
        let thief = world.stolen_key().unwrap();
        let begins = state(&world, 0).founding().id();
        if !strikes_first {
            world.succeed(0);
            world.run_for(seconds(2));
        }
        for place in 1..=6 {
            world.tell(1, &crowd(&world, &thief, place, 1));
        }
        world.tell(1, &branch(&world, &thief, begins, 30));
        world.run_for(seconds(2));
        if strikes_first {
            assert_eq!(members(&world, 3), 0, "a fork at the first place");
            // Whoever only passed it on has not read it, and would welcome the others.
            world.cut_off(1, true);
            for node in [0, 2, 3, 4].into_iter().filter(|_| all_start_again) {
                world.kill(node);
                world.restart(node).unwrap();
                world.run_for(seconds(1));
                assert_eq!(stage(&world, node), Stage::Knocking);
            }
            world.cut_off(1, false);
            world.succeed(0);
            world.act(0, Act::AutoAdmit(true)).unwrap();
        }
        world.run_for(seconds(3));
        let victim = removal(world.node(2).key());
        let after = RecordId::from_bytes([7; 32]);
        let removal = world.entry(&thief, (1, after), 1, victim).unwrap();
        world.tell(1, &[removal]);
        world.run_for(seconds(3));
        world.kill(3);
        world.run_for(seconds(1));
        world.restart(3).unwrap();
        let newcomer = world.join().unwrap();
        world.run_for(seconds(60));
        for node in [0, 2, 3, newcomer] {
            assert_eq!(members(&world, node), 6, "seen by {node}");
            assert_eq!(stage(&world, node), Stage::Inside);
        }
        agree(&world, &[0, 2, 3, newcomer]);
    }
}

#[test]
fn a_former_leading_key_does_not_date_what_follows() {
    let mut world = circle(83, 4);
    let thief = world.stolen_key().unwrap();
    world.succeed(0);
    world.run_for(seconds(2));
    let leading = state(&world, 0).powers().leading_key();
    let next = state(&world, 0).next_in_chain(&leading);
    for (place, steps) in [(1, 1), (2, 3), (3, 5)] {
        world.tell(1, &crowd(&world, &thief, place, next + (steps << 20)));
    }
    world.run_for(seconds(2));
    assert_eq!(state(&world, 0).next_in_chain(&leading), next);
    remove(&mut world, 0, 2);
    world.run_for(seconds(4));
    for place in 1..=3 {
        world.tell(1, &crowd(&world, &thief, place, 1));
    }
    world.run_for(seconds(4));
    for node in [0, 3, 4] {
        assert!(state(&world, node).is_removed(&world.node(2).key()));
    }
    agree(&world, &[0, 3, 4]);
}

#[test]
fn a_former_co_leader_keeps_nobody_from_reading_what_was_decided() {
    let mut world = circle(84, 4);
    co_leader(&mut world, 1);
    let former = world.node(1).key();
    world
        .act(0, Act::SetRole(former, Role::Participant))
        .unwrap();
    world.run_for(seconds(3));
    // More than one answer holds, dated before everything else.
    let after = RecordId::from_bytes([7; 32]);
    let freeze = || Freeze { on: true }.into();
    let entry = |place| world.entry(&Hand::Member(1), (place, after), 1, freeze());
    let entries: Vec<_> = (10..1_110).map(|place| entry(place).unwrap()).collect();
    for part in entries.chunks(64) {
        world.tell(1, part);
        world.run_for(seconds(2));
    }
    let newcomer = world.join().unwrap();
    world.run_for(seconds(60));
    assert_eq!(members(&world, newcomer), 6);
    agree(&world, &[0, 2, 3, newcomer]);
}

#[test]
fn the_founder_signs_no_removal_of_strangers_again() {
    let mut world = circle(85, 4);
    let thief = world.stolen_key().unwrap();
    for place in 1..=6 {
        world.tell(1, &crowd(&world, &thief, place, 1));
    }
    world.run_for(seconds(3));
    assert!(state(&world, 0).removed().count() > 10);
    world.succeed(0);
    world.run_for(seconds(5));
    assert_eq!(state(&world, 0).removed().count(), 0);
    let leading = state(&world, 0).powers().leading_key();
    let signed = state(&world, 0).powers().of(&leading).unwrap().head().0;
    assert!(signed < 5, "{signed} entries");
}

#[test]
fn a_removal_that_is_signed_again_ends_when_the_first_would_have() {
    let mut world = circle(86, 4);
    let thief = world.stolen_key().unwrap();
    let leading = state(&world, 0).powers().leading_key();
    let (seq, id) = state(&world, 0).powers().of(&leading).unwrap().head();
    let lamport = state(&world, 0).next_in_chain(&leading);
    world.act(0, Act::Freeze(true)).unwrap();
    world.run_for(seconds(1));
    // The chain contradicts itself at a removal, which a succession cuts off.
    let member = world.node(3).key();
    let removal = Removal {
        subject: member,
        clause: "2".into(),
        until: Some(u64::from(u32::MAX)),
        cut: None,
    };
    let other = world.entry(&thief, (seq + 1, id), lamport, removal.into());
    world.tell(1, &[other.unwrap()]);
    world.run_for(seconds(3));
    let notice = |world: &World, node| state(world, node).removal_of(&member).unwrap().notice;
    let until = |notice: &Record| match notice.body() {
        Body::Removal(removal) => removal.until,
        _ => None,
    };
    let first = notice(&world, 2);
    assert!(until(&first).is_some());
    world.succeed(0);
    world.run_for(seconds(5));
    for node in [0, 2, 4] {
        let again = notice(&world, node);
        assert_ne!(again.id(), first.id());
        assert_eq!(until(&again), until(&first));
    }
}

#[test]
fn nobody_takes_the_lead_without_the_circles_history() {
    for knocks in [false, true] {
        let mut world = circle(87, 4);
        world.act(0, Act::AutoAdmit(false)).unwrap();
        let new = world.arrive().unwrap();
        world.run_for(seconds(3));
        if knocks {
            world.sign(new).unwrap();
            world.run_for(seconds(2));
        }
        world.succeed(new);
        world.act(0, Act::AutoAdmit(true)).unwrap();
        if !knocks {
            world.sign(new).unwrap();
        }
        world.run_for(seconds(10));
        for node in [0, 1, new] {
            assert_eq!(state(&world, node).leader(), world.node(0).key());
            assert_eq!(members(&world, node), 6);
        }
    }
}

#[test]
fn whoever_was_away_when_the_leading_key_contradicted_itself_is_told() {
    let mut world = circle(88, 4);
    let thief = world.stolen_key().unwrap();
    let leading = state(&world, 0).powers().leading_key();
    let (seq, id) = state(&world, 0).powers().of(&leading).unwrap().head();
    let lamport = state(&world, 0).next_in_chain(&leading);
    // From here on there is a chain that counts only for whoever does not know of the fork.
    co_leader(&mut world, 4);
    world.act(4, Act::Freeze(true)).unwrap();
    world.run_for(seconds(1));
    world.cut_off(3, true);
    let other = world.entry(&thief, (seq + 1, id), lamport, Freeze { on: true }.into());
    world.tell(1, &[other.unwrap()]);
    world.run_for(seconds(30));
    world.cut_off(3, false);
    let forks = |world: &World, node| state(world, node).forks().count();
    assert_eq!((forks(&world, 0), forks(&world, 3)), (1, 0));
    world.run_for(seconds(60));
    assert_eq!(forks(&world, 3), 1);
    agree(&world, &[0, 2, 3, 4]);
}

#[test]
fn the_founder_takes_the_lead_though_a_thief_made_a_circle_key_without_them() {
    let mut world = circle(89, 4);
    let thief = world.stolen_key().unwrap();
    let leading = state(&world, 0).powers().leading_key();
    world.lose_key(0);
    world.kill(0);
    world.run_for(seconds(2));
    // It goes on from the last entry, and names nobody.
    let (seq, id) = state(&world, 2).powers().of(&leading).unwrap().head();
    let lamport = state(&world, 2).next_in_chain(&leading);
    let number = state(&world, 2).epoch_number() + 1;
    let sealed = Vec::new();
    let epoch = world.entry(
        &thief,
        (seq + 1, id),
        lamport,
        Epoch { number, sealed }.into(),
    );
    let epoch = epoch.unwrap();
    world.store(0, &epoch);
    world.tell(1, &[epoch]);
    world.run_for(seconds(2));
    world.restart(0).unwrap();
    assert_eq!(stage(&world, 0), Stage::Knocking);
    world.succeed(0);
    world.run_for(seconds(60));
    for node in [0, 2, 3, 4] {
        assert_eq!(stage(&world, node), Stage::Inside);
        assert_ne!(state(&world, node).powers().leading_key(), leading);
    }
    agree(&world, &[0, 2, 3, 4]);
}

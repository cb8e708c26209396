//! Turns: whose it is, for how long, and what nobody can do to them.

use undertone_protocol::record::MAX_INTEGER;

use super::*;

fn holder(world: &World, seen_by: NodeIndex) -> Option<NodeIndex> {
    let state = world.node(seen_by).session().unwrap().state().unwrap();
    let holder = state.turn()?.holder;
    (0..10).find(|n| world.node(*n).key() == holder)
}

#[test]
fn a_hand_raised_far_ahead_is_answered_like_any_other() {
    let mut world = circle(64, 3);
    world.claim_hand(1, 0);
    world.act(2, Act::RaiseHand).unwrap();
    world.run_for(seconds(1));
    let (far, near) = (world.node(1).key(), world.node(2).key());
    let queue = |world: &World, node| {
        let state = world.node(node).session().unwrap().state().unwrap();
        state.queue().collect::<Vec<_>>()
    };
    for node in [0, 2, 3] {
        assert_eq!(queue(&world, node), [far, near]);
    }
    world.act(0, Act::GiveTurn(far)).unwrap();
    world.run_for(seconds(1));
    world.act(0, Act::EndTurn).unwrap();
    world.run_for(seconds(1));
    for node in [0, 2, 3] {
        assert_eq!(queue(&world, node), [near], "their hand is down");
    }
    world.act(0, Act::GiveTurn(near)).unwrap();
    world.run_for(seconds(1));
    assert!(hears(&mut world, 3, 2));
    world.act(2, Act::Pass).unwrap();
    assert!(!hears(&mut world, 3, 2));
}

#[test]
fn whatever_they_claim_about_their_hand_nobody_gets_more_turns_than_others() {
    claims(66, |second| second / 20);
    claims(67, |_| MAX_INTEGER);
}

fn claims(seed: u64, since: impl Fn(u64) -> u64) {
    let mut world = circle(seed, 3);
    world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap();
    world.run_for(seconds(1));
    let (mut held, mut apart) = ([0; 4], 0);
    for second in 0..900 {
        if second % 20 == 0 {
            world.claim_hand(1, since(second));
        }
        for node in [2, 3] {
            if holder(&world, node) != Some(node) {
                world.act(node, Act::RaiseHand).unwrap();
            }
        }
        world.run_for(seconds(1));
        // Each ends a turn by their own clock.
        let turn = holder(&world, 0);
        let agreed = turn.is_some() && [2, 3].iter().all(|n| holder(&world, *n) == turn);
        apart = if agreed { 0 } else { apart + 1 };
        assert!(
            apart < 2,
            "no common turn for two seconds, after {second} s"
        );
        held[turn.unwrap_or(0)] += 1;
    }
    assert!(held[1] <= held[2].min(held[3]), "{held:?} s");
}

#[test]
fn turns_pass_on_when_whoever_gave_them_vanishes() {
    let mut world = circle(68, 3);
    for node in [1, 2, 3] {
        world.act(node, Act::RaiseHand).unwrap();
    }
    world.run_for(seconds(2));
    world.kill(0);
    world.run_for(seconds(100));
    let turn = holder(&world, 1);
    assert!(turn.is_some());
    assert!(holder(&world, 2) == turn && holder(&world, 3) == turn);
}

#[test]
fn a_turn_of_somebody_who_may_no_longer_speak_stands_in_nobodys_way() {
    let mut world = circle(69, 3);
    world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap();
    let whom = world.node(1).key();
    world.act(0, Act::GiveTurn(whom)).unwrap();
    world.act(2, Act::RaiseHand).unwrap();
    world.run_for(seconds(1));
    assert_eq!(holder(&world, 3), Some(1));
    let state = world.node(3).session().unwrap().state().unwrap();
    assert!(
        state.queue().eq([world.node(2).key()]),
        "waits, seen by all"
    );
    remove(&mut world, 0, 1);
    world.run_for(seconds(1));
    assert_eq!(holder(&world, 3), Some(2));
}

#[test]
fn a_hand_that_nobody_says_is_up_any_more_comes_down() {
    let mut world = circle(71, 3);
    for node in [1, 2] {
        world.act(node, Act::RaiseHand).unwrap();
    }
    world.run_for(seconds(300));
    let up = |world: &World, seen_by, of| {
        let state = world.node(seen_by).session().unwrap().state().unwrap();
        state.hand_of(&world.node(of).key()).is_some()
    };
    assert!(
        up(&world, 0, 1) && up(&world, 3, 2),
        "as long as they say so"
    );
    world.kill(1);
    world.run_for(seconds(170));
    for node in [0, 2, 3] {
        assert!(!up(&world, node, 1) && up(&world, node, 2));
    }
}

#[test]
fn whoever_starts_again_during_their_turn_has_it_and_can_give_it_back() {
    let mut world = circle(70, 3);
    world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap();
    world.run_for(seconds(1));
    for node in [1, 2] {
        world.act(node, Act::RaiseHand).unwrap();
        world.run_for(seconds(1));
    }
    world.kill(1);
    world.run_for(seconds(2));
    world.restart(1).unwrap();
    world.run_for(seconds(10));
    assert_eq!(holder(&world, 1), Some(1));
    world.act(1, Act::Pass).unwrap();
    world.run_for(seconds(1));
    for node in 0..4 {
        assert_eq!(holder(&world, node), Some(2));
    }
}

#[test]
fn hands_raised_at_once_where_turns_pass_on_come_in_one_order() {
    for seed in 0..20 {
        let led = seed % 2 == 0;
        let mut world = World::new(seed, Network::WIDE, RouteKind::Direct, 6).unwrap();
        for _ in 0..4 {
            world.join().unwrap();
        }
        world.run_for(seconds(7));
        match led {
            true => world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap(),
            false => world.kill(0),
        }
        world.run_for(seconds(80));
        for node in [1, 2, 3, 4] {
            world.act(node, Act::RaiseHand).unwrap();
        }
        for _ in 0..3 {
            world.run_for(seconds(2));
            // Whoever lost a word on the way has it with the next hello.
            for second in 0.. {
                let turns = [1, 2, 3, 4].map(|node| holder(&world, node));
                if turns[0].is_some() && turns.iter().all(|turn| *turn == turns[0]) {
                    break;
                }
                assert!(second < 31, "seed {seed}, led: {led}: {turns:?}");
                world.run_for(seconds(1));
            }
            let turn = holder(&world, 1).unwrap();
            world.act(turn, Act::Pass).unwrap();
        }
    }
}

#[test]
fn whoever_starts_again_after_a_flood_of_far_dated_words_leads_at_once() {
    let mut world = circle(65, 4);
    co_leader(&mut world, 4);
    for _ in 0..300 {
        world.run_ahead(1);
        world.run_for(Duration::from_millis(100));
    }
    let whom = world.node(2).key();
    for by in [0, 4] {
        world.act(by, Act::GiveTurn(whom)).unwrap();
        world.run_for(seconds(1));
        world.act(2, Act::Pass).unwrap();
        world.run_for(seconds(1));
    }
    world.kill(0);
    world.run_for(seconds(2));
    world.restart(0).unwrap();
    world.run_for(seconds(8));
    world.act(0, Act::GiveTurn(whom)).unwrap();
    world.run_for(seconds(1));
    for node in [0, 2, 3, 4] {
        assert_eq!(holder(&world, node), Some(2));
    }
    world.act(2, Act::Pass).unwrap();
    world.run_for(seconds(1));
    world.kill(3);
    world.restart(3).unwrap();
    world.run_for(seconds(8));
    world.act(3, Act::RaiseHand).unwrap();
    world.run_for(seconds(1));
    let state = world.node(0).session().unwrap().state().unwrap();
    assert!(state.queue().eq([world.node(3).key()]));
}

#[test]
fn in_passive_mode_turns_pass_from_one_to_the_next() {
    let mut world = circle(13, 3);
    world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap();
    world.run_for(seconds(1));
    for node in [2, 3, 1] {
        world.act(node, Act::RaiseHand).unwrap();
        world.run_for(seconds(1));
    }
    assert!(hears(&mut world, 1, 2) && !hears(&mut world, 1, 3));
    world.act(2, Act::Pass).unwrap();
    assert!(hears(&mut world, 1, 3) && !hears(&mut world, 1, 2));
    // Nobody passes: after a minute the next one follows.
    world.run_for(seconds(60));
    assert!(hears(&mut world, 2, 1));
    assert!(hears(&mut world, 2, 0), "a leader can always be heard");
}

#[test]
fn without_anybody_who_leads_turns_pass_on() {
    let mut world = circle(14, 3);
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    world.run_for(seconds(1));
    world.kill(0);
    world.run_for(seconds(100));
    world.act(2, Act::RaiseHand).unwrap();
    world.act(3, Act::RaiseHand).unwrap();
    let first = hears(&mut world, 1, 2);
    let second = hears(&mut world, 1, 3);
    assert!(first != second, "one of them at a time");
    world.restart(0).unwrap();
    world.run_for(seconds(65));
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    assert!(hears(&mut world, 2, 1));
}

#[test]
fn a_seat_is_kept_for_a_minute() {
    let mut world = circle(15, 3);
    world.act(0, Act::SetFloorMode(FloorMode::Passive)).unwrap();
    world.run_for(seconds(1));
    world.act(1, Act::RaiseHand).unwrap();
    world.act(2, Act::RaiseHand).unwrap();
    world.run_for(seconds(2));
    world.kill(2);
    world.run_for(seconds(20));
    world.restart(2).unwrap();
    world.run_for(seconds(5));
    world.act(1, Act::Pass).unwrap();
    assert!(hears(&mut world, 3, 2), "back within a minute: their turn");
}

#[test]
fn a_turn_can_be_lengthened() {
    let mut world = circle(16, 2);
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    world.run_for(seconds(50));
    world.act(0, Act::Extend(120)).unwrap();
    world.run_for(seconds(40));
    assert!(hears(&mut world, 2, 1));
    world.run_for(seconds(30));
    assert!(!hears(&mut world, 2, 1));
}

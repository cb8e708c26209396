//! The circle's rules on a virtual clock: doors, roles, and what those who lead can do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use undertone_protocol::circle::Role;
use undertone_protocol::record::{AdmissionMode, FloorMode, Gratitude, RouteKind};
use undertone_protocol::session::{Act, End, Event, Stage};
use undertone_simulation::network::Network;
use undertone_simulation::world::{NodeIndex, World};

#[path = "rules/keys.rs"]
mod keys;
#[path = "rules/turns.rs"]
mod turns;

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// A leader and `others`, settled.
fn circle(seed: u64, others: u8) -> World {
    let mut world = World::new(seed, Network::LOCAL, RouteKind::Direct, others + 3).unwrap();
    for _ in 0..others {
        world.join().unwrap();
    }
    world.run_for(seconds(7));
    world
}

fn behind(seed: u64, door: AdmissionMode) -> World {
    World::with_admission(seed, Network::LOCAL, RouteKind::Direct, 8, door).unwrap()
}

fn stage(world: &World, node: NodeIndex) -> Stage {
    world.node(node).session().unwrap().stage().clone()
}

fn role(world: &World, seen_by: NodeIndex, node: NodeIndex) -> Option<Role> {
    let state = world.node(seen_by).session().unwrap().state().unwrap();
    state.member(&world.node(node).key()).map(|m| m.role)
}

fn agree(world: &World, nodes: &[NodeIndex]) {
    let digests: Vec<_> = nodes
        .iter()
        .map(|n| world.node(*n).session().unwrap().state().unwrap().digest())
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
}

/// Whether `listener` hears `speaker` in the next two seconds.
fn hears(world: &mut World, listener: NodeIndex, speaker: NodeIndex) -> bool {
    world.run_for(seconds(1));
    let from = world.now().at;
    world.run_for(seconds(2));
    let speaker = world.node(speaker).key();
    world
        .node(listener)
        .last_heard(&speaker)
        .is_some_and(|at| at > from)
}

fn told(world: &World, node: NodeIndex, event: &Event) -> bool {
    world.node(node).seen.iter().any(|(_, s)| s == event)
}

fn remove(world: &mut World, by: NodeIndex, whom: NodeIndex) {
    let act = Act::Remove {
        member: world.node(whom).key(),
        clause: "2".into(),
        minutes: None,
    };
    world.act(by, act).unwrap();
}

fn co_leader(world: &mut World, node: NodeIndex) {
    let key = world.node(node).key();
    world.act(0, Act::SetRole(key, Role::CoLeader)).unwrap();
    world.run_for(seconds(1));
}

#[test]
fn an_invite_is_good_for_one_person_once() {
    let mut world = behind(1, AdmissionMode::Invite);
    let token = world.sponsor(0, 60).unwrap();
    let uninvited = world.arrive().unwrap();
    world.run_for(seconds(2));
    assert!(world.sign(uninvited).is_err(), "no token, no knock");

    let invited = world.arrive_with(token.clone()).unwrap();
    world.run_for(seconds(2));
    world.sign(invited).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, invited), Stage::Inside);

    let second = world.arrive_with(token).unwrap();
    world.run_for(seconds(2));
    world.sign(second).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, second), Stage::Knocking);

    // A member sponsors too; when they are removed, what they passed on is void.
    let third = world.sponsor(invited, 60).unwrap();
    let fourth = world.sponsor(invited, 60).unwrap();
    let friend = world.arrive_with(third).unwrap();
    world.run_for(seconds(2));
    world.sign(friend).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, friend), Stage::Inside);
    remove(&mut world, 0, invited);
    world.run_for(seconds(2));
    let late = world.arrive_with(fourth).unwrap();
    world.run_for(seconds(2));
    world.sign(late).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, late), Stage::Knocking);
    assert_eq!(
        stage(&world, friend),
        Stage::Inside,
        "whoever is in stays in"
    );
    agree(&world, &[0, friend]);
}

#[test]
fn an_expired_invite_opens_nothing() {
    let mut world = behind(2, AdmissionMode::Invite);
    let token = world.sponsor(0, 1).unwrap();
    world.run_for(seconds(300));
    let late = world.arrive_with(token).unwrap();
    world.run_for(seconds(2));
    world.sign(late).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, late), Stage::Knocking);
}

#[test]
fn an_open_door_asks_for_work_and_lets_newcomers_listen_first() {
    let mut world = behind(3, AdmissionMode::Open);
    let newcomer = world.arrive().unwrap();
    world.run_for(seconds(2));
    world.sign(newcomer).unwrap();
    world.run_for(seconds(5));
    assert_eq!(
        stage(&world, newcomer),
        Stage::Knocking,
        "the puzzle takes its time"
    );
    world.run_for(seconds(10));
    assert_eq!(stage(&world, newcomer), Stage::Inside);
    assert_eq!(role(&world, 0, newcomer), Some(Role::Newcomer));
    assert!(world.act(newcomer, Act::RaiseHand).is_err());
    world.run_for(seconds(125 * 60));
    assert_eq!(role(&world, newcomer, newcomer), Some(Role::Participant));
    world.act(newcomer, Act::RaiseHand).unwrap();
}

#[test]
fn a_closed_door_lets_nobody_knock_and_an_open_one_does_again() {
    let mut world = circle(4, 1);
    world.act(0, Act::SetDoor(false)).unwrap();
    let late = world.arrive().unwrap();
    world.run_for(seconds(2));
    world.sign(late).unwrap();
    world.run_for(seconds(4));
    assert_eq!(stage(&world, late), Stage::Knocking);
    world.act(0, Act::SetDoor(true)).unwrap();
    world.run_for(seconds(5));
    assert_eq!(stage(&world, late), Stage::Inside);
}

#[test]
fn a_co_leader_leads_while_the_leader_is_away() {
    let mut world = circle(5, 4);
    co_leader(&mut world, 1);
    assert_eq!(role(&world, 3, 1), Some(Role::CoLeader));
    world.kill(0);
    world.run_for(seconds(3));
    remove(&mut world, 1, 4);
    world.run_for(seconds(4));
    for node in [1, 2, 3] {
        assert!(
            told(&world, node, &Event::RemovalEnforced(world.node(4).key())),
            "node {node}"
        );
    }
    assert_eq!(
        stage(&world, 4),
        Stage::Out(End::Removed { clause: "2".into() })
    );
    let turn = world.node(2).key();
    world.act(1, Act::GiveTurn(turn)).unwrap();
    assert!(hears(&mut world, 3, 2));
    // The leader comes back to the same circle, and leads on.
    world.restart(0).unwrap();
    world.run_for(seconds(8));
    agree(&world, &[0, 1, 2, 3]);
    world.act(0, Act::GiveTurn(world.node(3).key())).unwrap();
    assert!(hears(&mut world, 1, 3));
    assert!(!hears(&mut world, 1, 2));
}

#[test]
fn a_revoked_co_leader_can_do_nothing_more() {
    let mut world = circle(6, 3);
    co_leader(&mut world, 1);
    world
        .act(0, Act::SetRole(world.node(1).key(), Role::Participant))
        .unwrap();
    world.run_for(seconds(1));
    let whom = world.node(2).key();
    let clause = "2".to_owned();
    let act = Act::Remove {
        member: whom,
        clause,
        minutes: None,
    };
    assert!(world.act(1, act).is_err());
    assert_eq!(role(&world, 2, 1), Some(Role::Participant));
    agree(&world, &[0, 1, 2, 3]);
}

#[test]
fn nobody_goes_on_the_word_of_a_co_leader_who_was_deposed_before() {
    let mut world = circle(60, 3);
    co_leader(&mut world, 1);
    world.kill(2);
    world.kill(3);
    let former = world.node(1).key();
    world
        .act(0, Act::SetRole(former, Role::Participant))
        .unwrap();
    world.run_for(seconds(1));
    for node in [2, 3] {
        world.restart(node).unwrap();
        keys::remove_as(&mut world, 1, node);
    }
    world.run_for(seconds(8));
    // One of them at least hears of their removal first, and then reads that it is void.
    let was_out = |node: &usize| {
        let key = world.node(*node).key();
        told(&world, *node, &Event::RemovalEnforced(key))
    };
    assert!([2, 3].iter().any(was_out));
    for node in [2, 3] {
        assert_eq!(stage(&world, node), Stage::Inside);
    }
    agree(&world, &[0, 2, 3]);
}

#[test]
fn whoever_was_away_learns_from_the_mailbox_what_they_missed_with_nobody_there() {
    let mut world = World::new(61, Network::WIDE, RouteKind::Relay, 8).unwrap();
    world.mailbox = Some(Default::default());
    for _ in 0..4 {
        world.join().unwrap();
    }
    world.run_for(seconds(7));
    world.kill(1);
    // Two removals, a key each, somebody new, and then everybody goes home.
    for whom in [2, 3] {
        remove(&mut world, 0, whom);
        world.run_for(seconds(3));
    }
    let newcomer = world.join().unwrap();
    world.run_for(seconds(3));
    let digest = world.node(0).session().unwrap().state().unwrap().digest();
    for node in [0, 4, newcomer] {
        world.kill(node);
    }
    world.run_for(seconds(3600));
    world.restart(1).unwrap();
    world.run_for(seconds(10));
    let session = world.node(1).session().unwrap();
    assert_eq!(stage(&world, 1), Stage::Inside);
    assert!(session.state().unwrap().digest() == digest);
    for whom in [2, 3] {
        let key = world.node(whom).key();
        assert!(told(&world, 1, &Event::RemovalDurable(key)));
    }
    // What was said of the moment has passed: nobody seems to be there.
    let view = session.view(world.now());
    let here = view.members.iter().filter(|m| m.present);
    assert!(here.eq(view.members.iter().filter(|m| m.key == session.me())));
}

#[test]
fn a_member_whose_clock_runs_far_ahead_does_not_leave_the_leader_behind() {
    let mut world = circle(63, 3);
    for _ in 0..3 {
        world.run_ahead(1);
        world.run_for(seconds(1));
    }
    remove(&mut world, 0, 1);
    world.run_for(seconds(2));
    let key = world.node(1).key();
    for node in [0, 2, 3] {
        assert!(told(&world, node, &Event::RemovalEnforced(key)));
    }
    world.kill(2);
    world.restart(2).unwrap();
    world.run_for(seconds(6));
    agree(&world, &[0, 2, 3]);
}

#[test]
fn two_co_leaders_who_remove_each_other_are_both_removed() {
    let mut world = circle(7, 4);
    co_leader(&mut world, 1);
    co_leader(&mut world, 2);
    // At once: neither knows what the other does.
    let (one, other) = (world.node(1).key(), world.node(2).key());
    remove(&mut world, 1, 2);
    let clause = "2".to_owned();
    let _ = world.act(
        2,
        Act::Remove {
            member: one,
            clause,
            minutes: None,
        },
    );
    world.run_for(seconds(4));
    for node in [0, 3, 4] {
        let state = world.node(node).session().unwrap().state().unwrap();
        assert!(
            state.is_removed(&one) && state.is_removed(&other),
            "node {node}"
        );
    }
    agree(&world, &[0, 3, 4]);
    // The circle goes on, and the leader can bring one of them back.
    world.act(0, Act::Reinstate(one)).unwrap();
    world.act(0, Act::GiveTurn(world.node(3).key())).unwrap();
    assert!(hears(&mut world, 4, 3));
    let state = world.node(3).session().unwrap().state().unwrap();
    assert!(!state.is_removed(&one) && state.is_removed(&other));
}

#[test]
fn whoever_is_reinstated_knocks_again_and_is_heard() {
    let mut world = circle(8, 3);
    remove(&mut world, 0, 2);
    world.run_for(seconds(3));
    let key = world.node(2).key();
    world.act(0, Act::Reinstate(key)).unwrap();
    world.run_for(seconds(2));
    world.wipe_and_return(2).unwrap();
    world.run_for(seconds(3));
    world.sign(2).unwrap();
    world.run_for(seconds(6));
    assert_eq!(stage(&world, 2), Stage::Inside);
    world.act(0, Act::GiveTurn(key)).unwrap();
    assert!(hears(&mut world, 1, 2));
    agree(&world, &[0, 1, 2, 3]);
}

#[test]
fn whoever_was_removed_and_reinstated_while_away_learns_that_they_are_out() {
    let mut world = circle(85, 3);
    world.cut_off(2, true);
    remove(&mut world, 0, 2);
    world.run_for(seconds(3));
    let key = world.node(2).key();
    world.act(0, Act::Reinstate(key)).unwrap();
    world.run_for(seconds(2));
    world.cut_off(2, false);
    world.run_for(seconds(45));
    let clause = "2".into();
    assert_eq!(stage(&world, 2), Stage::Out(End::Removed { clause }));
    // With a new pledge they are welcome.
    world.wipe_and_return(2).unwrap();
    world.run_for(seconds(3));
    world.sign(2).unwrap();
    world.run_for(seconds(6));
    assert_eq!(stage(&world, 2), Stage::Inside);
    agree(&world, &[0, 1, 2, 3]);
}

#[test]
fn a_removal_for_a_time_ends() {
    let mut world = circle(9, 2);
    let member = world.node(2).key();
    let clause = "6".to_owned();
    world
        .act(
            0,
            Act::Remove {
                member,
                clause,
                minutes: Some(10),
            },
        )
        .unwrap();
    world.run_for(seconds(60));
    let try_again = |world: &mut World| {
        world.wipe_and_return(2).unwrap();
        world.run_for(seconds(3));
        let _ = world.sign(2);
        world.run_for(seconds(6));
        stage(world, 2)
    };
    assert!(matches!(
        try_again(&mut world),
        Stage::Out(End::Removed { .. })
    ));
    world.run_for(seconds(11 * 60));
    assert_eq!(try_again(&mut world), Stage::Inside);
    agree(&world, &[0, 1, 2]);
}

#[test]
fn a_freeze_stops_the_turn_and_everybody_but_the_leader() {
    let mut world = circle(10, 2);
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    assert!(hears(&mut world, 2, 1));
    world.act(0, Act::Freeze(true)).unwrap();
    assert!(!hears(&mut world, 2, 1));
    assert!(hears(&mut world, 2, 0), "a leader can always be heard");
    world.act(0, Act::Freeze(false)).unwrap();
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    assert!(hears(&mut world, 2, 1));
}

#[test]
fn a_mute_ends_by_itself_or_is_taken_back() {
    let mut world = circle(11, 2);
    let key = world.node(1).key();
    world.act(0, Act::GiveTurn(key)).unwrap();
    assert!(hears(&mut world, 2, 1));
    world.act(0, Act::Mute(key, 10)).unwrap();
    assert!(!hears(&mut world, 2, 1));
    world.act(0, Act::Mute(key, 0)).unwrap();
    world.act(0, Act::GiveTurn(key)).unwrap();
    assert!(hears(&mut world, 2, 1));
}

#[test]
fn whoever_is_asked_to_cease_says_that_they_heard_it() {
    let mut world = circle(12, 2);
    let key = world.node(1).key();
    world.act(0, Act::AskToCease(key)).unwrap();
    world.run_for(seconds(1));
    assert!(told(&world, 1, &Event::AskedToCease));
    world.act(1, Act::AcknowledgeCease).unwrap();
    world.run_for(seconds(1));
    assert!(told(&world, 0, &Event::Ceased(key)));
    assert!(world.act(1, Act::AcknowledgeCease).is_err());
}

#[test]
fn thanks_and_words_in_need_reach_whom_they_are_for() {
    let mut world = circle(17, 3);
    let (one, two) = (world.node(1).key(), world.node(2).key());
    world.act(1, Act::Thank(two, Gratitude::IHearYou)).unwrap();
    world
        .act(0, Act::Refer(one, "Call 988, any hour.".into()))
        .unwrap();
    world.run_for(seconds(2));
    let thanked = Event::Thanked {
        from: one,
        subject: two,
        gratitude: Gratitude::IHearYou,
    };
    assert!((0..4).all(|node| told(&world, node, &thanked)));
    let referred = Event::Referred {
        from: world.node(0).key(),
        words: "Call 988, any hour.".into(),
    };
    let told_to: Vec<_> = (0..4)
        .filter(|node| told(&world, *node, &referred))
        .collect();
    assert_eq!(told_to, [1]);
}

#[test]
fn one_asks_once_a_day_to_stay_in_touch_and_only_what_was_asked_is_answered() {
    let mut world = circle(62, 3);
    let (one, two) = (world.node(1).key(), world.node(2).key());
    let ask = |words: &str| Act::StayInTouch(two, words.into());
    world.act(1, ask("May I write to you?")).unwrap();
    world.run_for(seconds(2));
    let asked = Event::ContactAsked {
        from: one,
        words: "May I write to you?".into(),
    };
    let told_to = |world: &World, event: &Event| -> Vec<_> {
        (0..4).filter(|n| told(world, *n, event)).collect()
    };
    assert_eq!(told_to(&world, &asked), [2]);
    assert!(world.act(1, ask("Please?")).is_err(), "once a day");
    world.sleep(40);
    world.run_for(seconds(35));
    world
        .act(2, Act::StayInTouch(one, "heron at example.org".into()))
        .unwrap();
    world.run_for(seconds(2));
    let answered = Event::ContactAnswered {
        from: two,
        words: "heron at example.org".into(),
    };
    assert_eq!(told_to(&world, &answered), [1]);
    // The question is answered: what they say next is a question of their own.
    world
        .act(2, Act::StayInTouch(one, "And you?".into()))
        .unwrap();
    world.run_for(seconds(2));
    world.sleep(24 * 60);
    world.run_for(seconds(35));
    world
        .act(1, Act::StayInTouch(two, "crow at example.org".into()))
        .unwrap();
    // Another day.
    world.act(1, ask("May I write again?")).unwrap();
}

#[test]
fn a_closed_circle_ends_for_everybody_and_stays_closed() {
    let mut world = circle(18, 2);
    world.act(0, Act::Close).unwrap();
    world.run_for(seconds(2));
    for node in 0..3 {
        assert_eq!(stage(&world, node), Stage::Out(End::Closed), "node {node}");
    }
    world.kill(1);
    world.restart(1).unwrap();
    assert_eq!(stage(&world, 1), Stage::Out(End::Closed));
}

#[test]
fn notices_withheld_are_noticed_and_nobody_is_let_in_meanwhile() {
    let mut world = circle(19, 3);
    // A relay drops everything the leader says.
    world.cut_off(0, true);
    world.run_for(seconds(130));
    let view = world.node(1).session().unwrap().view(world.now());
    assert!(!view.moderation_verified);
    // Somebody who restarts now is given neither the circle key nor voice keys.
    world.kill(2);
    world.restart(2).unwrap();
    world.run_for(seconds(5));
    world.act(1, Act::RaiseHand).unwrap();
    assert!(!hears(&mut world, 2, 1));
    world.cut_off(0, false);
    world.run_for(seconds(40));
    let view = world.node(1).session().unwrap().view(world.now());
    assert!(view.moderation_verified);
    world.act(0, Act::GiveTurn(world.node(1).key())).unwrap();
    assert!(hears(&mut world, 2, 1));
}

#[test]
fn whoever_left_has_left_after_a_restart_too() {
    let mut world = circle(20, 3);
    let left = world.node(2).key();
    world.act(2, Act::Leave).unwrap();
    world.run_for(seconds(3));
    world.kill(1);
    world.restart(1).unwrap();
    let state = world.node(1).session().unwrap().state().unwrap();
    assert!(!state.is_admitted(&left));
    agree(&world, &[0, 1, 3]);
}

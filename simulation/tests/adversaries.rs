//! Whoever does not keep to the rules has no effect; and where a rule is left out, that is noticed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use undertone_protocol::weakness::Weakness;
use undertone_simulation::adversary::Adversary;
use undertone_simulation::scenario::{ALL, Scenario};

/// Seeds that once broke a rule, or in which the judge saw one broken that was not.
const REGRESSIONS: [(&str, u64); 18] = [
    ("withheld", 40_089),
    ("churn", 0),
    ("churn", 1009),
    ("partition", 135),
    ("partition", 0),
    ("partition", 1),
    ("forge", 3),
    ("flood", 3),
    ("equivocation", 1),
    ("equivocation", 2),
    ("equivocation", 4),
    ("backdating", 0),
    ("withheld", 2),
    ("backdating", 200),
    ("backdating", 221),
    ("partition", 10025),
    ("equivocation", 10037),
    ("backdating", 50_812),
];

#[test]
fn what_once_broke_a_rule_does_no_longer() {
    for (name, seed) in REGRESSIONS {
        let scenario = Scenario::find(name).unwrap();
        if let Err(violation) = scenario.run(seed) {
            panic!("{name}, seed {seed}: {violation}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = Scenario::find("churn").unwrap();
    let run = |seed| {
        let outcome = scenario.run(seed).unwrap();
        (
            outcome.removals,
            outcome.messages,
            outcome.bytes,
            outcome.lasted,
        )
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

/// The scenario in which an adversary appears.
fn scenario_of(adversary: Adversary) -> Scenario {
    let all = ALL.iter().map(|(name, _)| Scenario::find(name).unwrap());
    let mut found = all.filter(|s| s.adversary == Some(adversary));
    found.next().expect("every adversary has a scenario")
}

/// With the rule left out that meets this adversary, the judge notices within a few seeds.
fn is_noticed(adversary: Adversary, left_out: Weakness) {
    let scenario = scenario_of(adversary);
    let noticed = (0..4).any(|seed| scenario.run_without(seed, Some(left_out)).is_err());
    assert!(
        noticed,
        "without {left_out:?}, {adversary:?} goes unnoticed"
    );
}

macro_rules! controls {
    ($($name:ident: $adversary:ident),+ $(,)?) => {
        $(#[test] fn $name() { is_noticed(Adversary::$adversary, Adversary::$adversary.met_by()); })+
    };
}

controls! {
    forging_is_noticed_where_anybody_may_sign: Forge,
    replaying_is_noticed_where_joins_count_twice: Replay,
    foreign_records_are_noticed_where_they_count: CrossCircle,
    a_flood_is_noticed_where_nothing_is_bounded: Flood,
    a_contradicting_leader_is_noticed_where_forks_are_not_seen: EquivocatingLeader,
    a_deposed_co_leader_is_noticed_where_nothing_is_cut: BackdatingCoLeader,
    sybils_are_noticed_where_any_answer_opens_the_door: Sybils,
    the_removed_are_noticed_where_they_are_still_heard: Removed,
    withheld_notices_are_noticed_where_keys_are_given_out_all_the_same: Withhold,
}

#[test]
fn a_voice_key_that_stays_is_noticed() {
    is_noticed(Adversary::Removed, Weakness::Rekey);
}

#[test]
fn every_scenario_reads() {
    for (name, _) in ALL {
        let scenario = Scenario::find(name).unwrap();
        assert!(scenario.nodes >= usize::from(scenario.seats), "{name}");
    }
    assert_eq!(
        ALL.iter()
            .filter_map(|(name, _)| Scenario::find(name).unwrap().adversary)
            .count(),
        Adversary::ALL.len()
    );
}

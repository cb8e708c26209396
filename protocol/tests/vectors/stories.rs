//! The histories themselves.

use super::*;

pub struct Told {
    pub name: &'static str,
    pub story: Story,
    pub members: Vec<u8>,
    pub removed: Vec<u8>,
}

fn told(
    name: &'static str,
    people: &[u8],
    members: &[u8],
    removed: &[u8],
    tell: impl FnOnce(&mut Story),
) -> Told {
    told_of(
        AdmissionMode::Approval,
        6,
        name,
        people,
        members,
        removed,
        tell,
    )
}

fn told_of(
    admission: AdmissionMode,
    max_members: u8,
    name: &'static str,
    people: &[u8],
    members: &[u8],
    removed: &[u8],
    tell: impl FnOnce(&mut Story),
) -> Told {
    let mut story = Story::new(Charter {
        max_members,
        ..charter(admission)
    });
    story.let_in(people);
    tell(&mut story);
    Told {
        name,
        story,
        members: members.into(),
        removed: removed.into(),
    }
}

pub fn all() -> Vec<Told> {
    [
        removals(),
        authority(),
        quarrels(),
        forks(),
        doors(),
        rest(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn removals() -> Vec<Told> {
    vec![
        told("a circle is founded", &[], &[LEADER], &[], |s| {
            s.decide(Group, epoch(1, &[LEADER]));
        }),
        told(
            "two are let in",
            &[ANN, BEN],
            &[LEADER, ANN, BEN],
            &[],
            |s| {
                s.decide(Group, epoch(1, &[LEADER, ANN, BEN]));
            },
        ),
        told("a removal", &[ANN, BEN], &[LEADER, BEN], &[ANN], |s| {
            s.decide(Group, removal(ANN));
        }),
        told(
            "a removal beats a concurrent admission",
            &[BEN],
            &[LEADER, BEN],
            &[DAN],
            |s| {
                s.trust(BEN);
                s.knock(DAN);
                s.decide(Group, removal(DAN));
                s.admit_as(Person(BEN), DAN, Role::Participant);
            },
        ),
        told(
            "a removal for a time that is over lets a later admission stand",
            &[],
            &[LEADER, DAN],
            &[],
            |s| {
                s.knock(DAN);
                let until = Some(MINUTE);
                s.decide(
                    Group,
                    Removal {
                        until,
                        ..removal(DAN)
                    },
                );
                s.admit_as(Group, DAN, Role::Participant);
            },
        ),
        told(
            "a removal for a time beats an admission that did not know of it",
            &[BEN],
            &[LEADER, BEN],
            &[DAN],
            |s| {
                s.trust(BEN);
                s.knock(DAN);
                s.admit_as(Person(BEN), DAN, Role::Participant);
                s.lamport -= 1;
                let until = Some(MINUTE);
                s.decide(
                    Group,
                    Removal {
                        until,
                        ..removal(DAN)
                    },
                );
            },
        ),
        told(
            "a reinstatement names its removal, and lets in anew",
            &[ANN],
            &[LEADER, ANN],
            &[],
            |s| {
                let removal = s.decide(Group, removal(ANN)).id();
                s.decide(Group, Reinstatement { removal });
                s.let_in(&[ANN]);
            },
        ),
        told(
            "a reinstatement of one removal leaves the other",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[ANN],
            |s| {
                s.trust(BEN);
                let first = s.decide(Group, removal(ANN)).id();
                s.decide(Person(BEN), removal(ANN));
                s.decide(Group, Reinstatement { removal: first });
                s.let_in(&[ANN]);
            },
        ),
        told(
            "a co-leader does not undo the leader's removal",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[ANN],
            |s| {
                s.trust(BEN);
                let removal = s.decide(Group, removal(ANN)).id();
                s.decide(Person(BEN), Reinstatement { removal });
            },
        ),
        told(
            "a removal after a gap stands, an admission does not",
            &[ANN],
            &[LEADER],
            &[ANN],
            |s| {
                s.knock(DAN);
                let missing = s.decide(Group, Freeze { on: true });
                s.decide(Group, removal(ANN));
                s.admit_as(Group, DAN, Role::Participant);
                s.lose(&missing);
            },
        ),
    ]
}

fn authority() -> Vec<Told> {
    vec![
        told(
            "backdated entries after a revocation's cut are void",
            &[BEN],
            &[LEADER, BEN, CLEO],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(CLEO);
                s.knock(DAN);
                let last = s.admit_as(Person(BEN), CLEO, Role::Participant);
                let (subject, cut) = (person(BEN).public_key(), cut_at(&last));
                s.decide(Group, Revocation { subject, cut });
                s.lamport = last.payload().lamport;
                s.admit_as(Person(BEN), DAN, Role::Participant);
                s.decide(Person(BEN), removal(CLEO));
            },
        ),
        told(
            "a revocation names a branch",
            &[BEN],
            &[LEADER, BEN, DAN],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(CLEO);
                s.knock(DAN);
                let one = s.admit_as(Person(BEN), CLEO, Role::Participant);
                let other = s.admission(DAN);
                let other = s.instead(Person(BEN), &one, other);
                let (subject, cut) = (person(BEN).public_key(), cut_at(&other));
                s.decide(Group, Revocation { subject, cut });
            },
        ),
        told(
            "a removal beside the branch that a revocation names is void",
            &[ANN, BEN],
            &[LEADER, ANN, BEN, CLEO],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(CLEO);
                let last = s.admit_as(Person(BEN), CLEO, Role::Participant);
                let (subject, cut) = (person(BEN).public_key(), cut_at(&last));
                s.decide(Group, Revocation { subject, cut });
                s.instead(Person(BEN), &last, removal(ANN));
            },
        ),
        told(
            "where a revocation's branch is not known removals stand",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[ANN],
            |s| {
                s.trust(BEN);
                let removal = s.decide(Person(BEN), removal(ANN));
                let missing = s.decide(Person(BEN), Freeze { on: true });
                let (subject, cut) = (person(BEN).public_key(), cut_at(&missing));
                s.decide(Group, Revocation { subject, cut });
                s.instead(Person(BEN), &removal, Freeze { on: false });
                s.lose(&missing);
            },
        ),
        told(
            "many entries for one place push out nothing that a revocation left",
            &[ANN, BEN],
            &[LEADER, ANN, BEN, CLEO],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(CLEO);
                let first = s.admit_as(Person(BEN), CLEO, Role::Participant);
                let last = s.decide(Person(BEN), Freeze { on: false });
                let (subject, cut) = (person(BEN).public_key(), cut_at(&last));
                s.decide(Group, Revocation { subject, cut });
                s.crowd(Person(BEN), &first, 17);
                s.crowd(Person(BEN), &last, 17);
            },
        ),
        told(
            "whoever lost the authority does not get it again",
            &[BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(DAN);
                let (seq, id) = s.heads[&person(BEN).public_key()];
                let (subject, cut) = (person(BEN).public_key(), Cut { seq, id });
                s.decide(Group, Revocation { subject, cut });
                s.trust(BEN);
                s.admit_as(Person(BEN), DAN, Role::Participant);
            },
        ),
        told(
            "whoever has no authority decides nothing",
            &[ANN, BEN],
            &[LEADER, ANN, BEN],
            &[],
            |s| {
                let begins = s.founding.id();
                s.entry(Person(ANN), 1, begins, removal(BEN));
            },
        ),
        told(
            "a co-leader makes no co-leader",
            &[BEN, CLEO],
            &[LEADER, BEN, CLEO],
            &[],
            |s| {
                s.trust(BEN);
                let (subject, role) = (person(CLEO).public_key(), Role::CoLeader);
                let delegation = s.decide(Person(BEN), Delegation { subject, role });
                s.entry(Person(CLEO), 1, delegation.id(), removal(BEN));
            },
        ),
        told(
            "the leader is not removed",
            &[BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                s.trust(BEN);
                s.decide(Person(BEN), removal(LEADER));
            },
        ),
        told(
            "a listener, and a newcomer who grew",
            &[CLEO],
            &[LEADER, CLEO, DAN],
            &[],
            |s| {
                s.knock(DAN);
                s.admit_as(Group, DAN, Role::Newcomer);
                for (who, role) in [(DAN, Role::Participant), (CLEO, Role::Listener)] {
                    let subject = person(who).public_key();
                    s.decide(Group, Delegation { subject, role });
                }
            },
        ),
        told("a time far ahead is void", &[], &[LEADER, ANN], &[], |s| {
            s.knock(ANN);
            s.knock(DAN);
            s.admit_as(Group, ANN, Role::Participant);
            s.lamport += 2 << 20;
            s.admit_as(Group, DAN, Role::Participant);
        }),
        told(
            "for a co-leader half as far is too far",
            &[BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(DAN);
                s.lamport += 1 << 20;
                s.admit_as(Person(BEN), DAN, Role::Participant);
            },
        ),
        told(
            "no step of a co-leader's carries an entry of the leader's",
            &[ANN, BEN],
            &[LEADER],
            &[ANN, BEN],
            |s| {
                s.trust(BEN);
                for open in [false, true, false] {
                    s.lamport += (1 << 20) - 1;
                    s.decide(Person(BEN), Door { open });
                }
                // As near as it must be for the leader, who counts what stands.
                s.lamport -= 2 * ((1 << 20) - 1);
                s.decide(Group, removal(ANN));
                // No cut: nothing of theirs stands any more.
                s.decide(Person(BEN), removal(BEN));
            },
        ),
    ]
}

fn quarrels() -> Vec<Told> {
    let both = [BEN, CLEO];
    let trusted = |s: &mut Story| {
        s.trust(BEN);
        s.trust(CLEO);
    };
    vec![
        told(
            "co-leaders who remove one another are both removed",
            &both,
            &[LEADER],
            &both,
            |s| {
                trusted(s);
                s.decide(Person(BEN), removal(CLEO));
                s.decide(Person(CLEO), removal(BEN));
            },
        ),
        told(
            "after a quarrel nothing else of theirs stands",
            &[BEN, CLEO, ANN],
            &[LEADER, ANN],
            &both,
            |s| {
                trusted(s);
                s.knock(DAN);
                s.decide(Person(CLEO), removal(BEN));
                s.admit_as(Person(BEN), DAN, Role::Participant);
                s.decide(Person(BEN), removal(ANN));
                s.decide(Person(BEN), removal(CLEO));
            },
        ),
        told(
            "a removal of a co-leader leaves what its cut names",
            &[BEN, CLEO],
            &[LEADER, CLEO, ANN],
            &[BEN],
            |s| {
                trusted(s);
                s.knock(ANN);
                s.knock(DAN);
                let last = s.admit_as(Person(BEN), ANN, Role::Participant);
                let cut = Some(cut_at(&last));
                s.decide(
                    Person(CLEO),
                    Removal {
                        cut,
                        ..removal(BEN)
                    },
                );
                s.admit_as(Person(BEN), DAN, Role::Participant);
            },
        ),
        told(
            "the leader beats a co-leader",
            &both,
            &[LEADER, CLEO],
            &[BEN],
            |s| {
                trusted(s);
                let (seq, id) = s.heads[&person(BEN).public_key()];
                let cut = Some(Cut { seq, id });
                s.decide(
                    Group,
                    Removal {
                        cut,
                        ..removal(BEN)
                    },
                );
                s.decide(Person(BEN), removal(CLEO));
            },
        ),
    ]
}

fn forks() -> Vec<Told> {
    vec![
        told(
            "a fork freezes, and the removals of both branches stand",
            &[ANN, BEN, CLEO],
            &[LEADER],
            &[ANN, BEN, CLEO],
            |s| {
                s.knock(DAN);
                let one = s.decide(Group, removal(ANN));
                s.decide(Group, removal(BEN));
                s.instead(Group, &one, removal(CLEO));
                s.admit_as(Group, DAN, Role::Participant);
            },
        ),
        told(
            "a member shows a fork",
            &[ANN, BEN],
            &[LEADER, ANN],
            &[BEN],
            |s| {
                let one = s.decide(Group, Freeze { on: true });
                let other = s.instead(Group, &one, removal(BEN));
                s.lose(&other);
                let (first, second) = match one.id() < other.id() {
                    true => (&one, &other),
                    false => (&other, &one),
                };
                let (first, second) = (
                    first.envelope().to_vec().into(),
                    second.envelope().to_vec().into(),
                );
                s.say(ANN, Equivocation { first, second });
            },
        ),
        told(
            "a succession settles a fork, removals too",
            &[ANN, BEN],
            &[LEADER, ANN, BEN, CLEO, DAN],
            &[],
            |s| {
                s.knock(CLEO);
                s.knock(DAN);
                let one = s.decide(Group, removal(ANN));
                let other = s.admission(DAN);
                let other = s.instead(Group, &one, other);
                s.succeed(BEN, cut_at(&other));
                s.admit_as(NewGroup, CLEO, Role::Participant);
            },
        ),
        told(
            "many entries for one place push out nothing that a succession left",
            &[ANN, BEN],
            &[LEADER, ANN],
            &[BEN],
            |s| {
                let removal = s.decide(Group, removal(BEN));
                s.succeed(ANN, cut_at(&removal));
                s.crowd(Group, &removal, 17);
            },
        ),
        {
            let mut told = told(
                "of many removals for one place those with the lowest ids stand",
                &[ANN],
                &[LEADER, ANN],
                &[],
                |s| {
                    let first = s.decide(Group, Freeze { on: true });
                    for who in 100..120 {
                        s.instead(Group, &first, removal(who));
                    }
                },
            );
            let mut removals: Vec<_> = told.story.said.iter().rev().take(20).collect();
            removals.sort_by_key(|removal| removal.id());
            let subject = |removal: &&Record| match removal.body() {
                Body::Removal(r) => (100..120).find(|p| person(*p).public_key() == r.subject),
                _ => None,
            };
            told.removed = removals[..16].iter().filter_map(subject).collect();
            told
        },
        told(
            "a removal beside the path carries nothing",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[ANN],
            |s| {
                s.trust(BEN);
                s.knock(DAN);
                let missing = s.decide(Group, Freeze { on: true });
                s.lamport += (2 << 20) - 8;
                s.decide(Group, removal(ANN));
                s.admit_as(Person(BEN), DAN, Role::Participant);
                s.lose(&missing);
            },
        ),
        told(
            "after a succession the old key decides nothing",
            &[ANN, BEN],
            &[LEADER, ANN, BEN],
            &[],
            |s| {
                let (seq, id) = s.heads[&group().public_key()];
                s.succeed(BEN, Cut { seq, id });
                s.decide(Group, removal(ANN));
                s.decide(Group, Close {});
            },
        ),
        told(
            "what an old key's co-leader decided goes on standing",
            &[ANN, BEN],
            &[LEADER, ANN, BEN, CLEO],
            &[],
            |s| {
                s.trust(BEN);
                s.knock(CLEO);
                s.admit_as(Person(BEN), CLEO, Role::Participant);
                let (seq, id) = s.heads[&group().public_key()];
                s.succeed(ANN, Cut { seq, id });
            },
        ),
    ]
}

fn doors() -> Vec<Told> {
    let invite = AdmissionMode::Invite;
    vec![
        told_of(
            invite,
            6,
            "a token lets one person in",
            &[],
            &[LEADER, ANN],
            &[],
            |s| {
                let mut rng = rng(0x59);
                let token = Token::issue(&person(LEADER), &s.circle, MINUTE + 9, &mut rng);
                s.knock_with(ANN, Some(&token));
                s.knock_with(BEN, Some(&token));
                s.admit_as(Group, ANN, Role::Participant);
                s.admit_as(Group, BEN, Role::Participant);
            },
        ),
        told_of(
            invite,
            6,
            "a removed sponsor's token is void",
            &[],
            &[LEADER],
            &[ANN],
            |s| {
                let mut rng = rng(0x59);
                let token = Token::issue(&person(LEADER), &s.circle, MINUTE + 9, &mut rng);
                let more = Token::issue(&person(ANN), &s.circle, MINUTE + 9, &mut rng);
                s.knock_with(ANN, Some(&token));
                s.admit_as(Group, ANN, Role::Participant);
                s.knock_with(BEN, Some(&more));
                s.decide(Group, removal(ANN));
                s.admit_as(Group, BEN, Role::Participant);
            },
        ),
        told_of(
            AdmissionMode::Approval,
            2,
            "a full circle takes the next when somebody leaves",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                let join = s.joins[&ANN];
                s.say(ANN, Leave { join });
            },
        ),
        told(
            "an admission without its join record waits",
            &[ANN],
            &[LEADER, ANN],
            &[],
            |s| {
                s.knock(BEN);
                let join = s.said.pop().unwrap();
                s.admit_as(Group, BEN, Role::Participant);
                s.lose(&join);
            },
        ),
    ]
}

fn rest() -> Vec<Told> {
    vec![
        told("somebody leaves", &[ANN, BEN], &[LEADER, BEN], &[], |s| {
            let join = s.joins[&ANN];
            s.say(ANN, Leave { join });
        }),
        told(
            "somebody leaves and comes again",
            &[ANN],
            &[LEADER, ANN],
            &[],
            |s| {
                let join = s.joins[&ANN];
                s.say(ANN, Leave { join });
                s.let_in(&[ANN]);
            },
        ),
        told(
            "somebody wants to be forgotten",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                let join = s.joins[&ANN];
                s.say(ANN, Erase { join });
            },
        ),
        told(
            "of two epochs with one number the first stands",
            &[BEN],
            &[LEADER, BEN],
            &[],
            |s| {
                s.trust(BEN);
                s.decide(Group, epoch(1, &[LEADER]));
                s.decide(Person(BEN), epoch(2, &[LEADER, BEN]));
                s.decide(Group, epoch(2, &[LEADER, BEN]));
            },
        ),
        told(
            "an epoch that names somebody removed is not entered",
            &[ANN, BEN],
            &[LEADER, BEN],
            &[ANN],
            |s| {
                s.trust(BEN);
                s.decide(Person(BEN), epoch(1, &[LEADER, ANN, BEN]));
                s.decide(Group, removal(ANN));
                s.decide(Group, epoch(1, &[LEADER, BEN]));
            },
        ),
        told("how a circle is held", &[ANN], &[LEADER, ANN], &[], |s| {
            let subject = person(ANN).public_key();
            s.decide(Group, Freeze { on: true });
            let floor = FloorMode::Passive;
            s.decide(Group, Mode { floor });
            s.decide(Group, Door { open: false });
            let until = MINUTE + 30;
            s.decide(Group, Mute { subject, until });
        }),
        told(
            "nothing follows the end",
            &[ANN],
            &[LEADER, ANN],
            &[],
            |s| {
                s.knock(DAN);
                s.decide(Group, Close {});
                s.admit_as(Group, DAN, Role::Participant);
            },
        ),
    ]
}

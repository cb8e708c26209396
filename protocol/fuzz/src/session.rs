//! Sessions under anything: people act, messages are lost, doubled, held back, garbled and made up, machines stop
//! and start, an insider signs what they like.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use undertone_protocol::circle::Role;
use undertone_protocol::id::{PublicKey, RecordId};
use undertone_protocol::record::{FloorMode, Gratitude, MAX_INTEGER};
use undertone_protocol::session::{Act, Input};
use undertone_protocol::voice::OPUS_BYTES;
use undertone_protocol::weakness::Weakness;

use crate::cast::{Hand, INSIDER, PEOPLE};
use crate::insider::Voice;
use crate::messages::{CircleMessage, DoorMessage};
use crate::record::envelopes;
use crate::world::{Flight, Worked, World};

/// A circle, and one step after another, each of which begins with a byte of [`step`]. If the top bit of the first
/// byte is set, everybody is left in peace in the end, and must agree.
pub fn session(data: &[u8]) {
    session_without(None, data);
}

/// The same among programs that leave a rule out, if any.
pub fn session_without(weakness: Option<Weakness>, data: &[u8]) {
    let mut u = Unstructured::new(data);
    let mut world = World::without(weakness, u.arbitrary().unwrap_or_default());
    let mut voice = Voice::default();
    while !u.is_empty() && !world.is_over() {
        if take(&mut u, &mut world, &mut voice).is_err() {
            break;
        }
    }
    world.run(Duration::from_millis(600));
    if data.first().is_some_and(|setting| setting & 128 != 0) {
        world.come_to_rest();
    }
}

/// What a step's first byte means; any other is taken modulo their number.
#[allow(missing_docs)]
pub mod step {
    pub const RUN: u8 = 0;
    pub const JUMP: u8 = 1;
    pub const ARRIVE: u8 = 2;
    pub const LOSE: u8 = 3;
    pub const DOUBLE: u8 = 4;
    pub const HOLD_BACK: u8 = 5;
    pub const GARBLE: u8 = 6;
    pub const WRITE: u8 = 7;
    pub const LOOK: u8 = 8;
    pub const ACT: u8 = 9;
    pub const SPEAK: u8 = 10;
    pub const CONTROL: u8 = 11;
    pub const SEALED: u8 = 12;
    pub const FORGE: u8 = 13;
    pub const MEDIA: u8 = 14;
    pub const INSIDER_SPEAKS: u8 = 15;
    pub const ODD: u8 = 16;
    pub const KILL: u8 = 17;
    pub const START: u8 = 18;
    pub const CUT_OFF: u8 = 19;
    pub const COPY: u8 = 20;
    pub const SIGN: u8 = 21;
    pub const COUNT: u8 = 22;
}

fn take(u: &mut Unstructured<'_>, world: &mut World, voice: &mut Voice) -> Result<()> {
    let what = u.arbitrary::<u8>()? % step::COUNT;
    let who = match what {
        step::RUN..=step::GARBLE => 0,
        _ => usize::from(u.arbitrary::<u8>()?) % PEOPLE,
    };
    match what {
        step::RUN => world.run(time(u)?),
        step::JUMP => world.jump(time(u)? * 60),
        step::ARRIVE..=step::GARBLE => on_the_way(u, world, what)?,
        step::WRITE => drop(world.write(who)),
        step::LOOK => world.timeout(who),
        step::ACT => {
            let act = act(u, world)?;
            world.act(who, act);
        }
        step::SPEAK => {
            let muted = u.arbitrary()?;
            world.input(
                who,
                Input::Voice {
                    opus: &[who as u8; OPUS_BYTES],
                    muted,
                },
            );
        }
        step::CONTROL => {
            let topic = match u.arbitrary::<u8>()? % 3 {
                0 => world.door().0,
                1 => world.inside().unwrap_or(world.door()).0,
                _ => undertone_protocol::identity::Secret::from_bytes([u.arbitrary()?; 32]),
            };
            world.arrive(who, &Flight::Control(*topic.as_bytes(), bytes(u)?.into()));
        }
        step::SEALED => {
            let channel = if u.arbitrary()? {
                Some(world.door())
            } else {
                world.inside()
            };
            let message = bytes(u)?;
            if let Some((topic, key)) = channel {
                world.whisper_bytes((&topic, &key), &[who], message);
            }
        }
        step::FORGE => forge(u, world, who)?,
        step::MEDIA => world.input(who, Input::Media(bytes(u)?)),
        step::INSIDER_SPEAKS => voice.speak(u, world)?,
        step::ODD => odd(u, world, who)?,
        step::KILL => world.kill(who),
        step::START => world.start(who),
        step::CUT_OFF => world.people[who].is_cut_off ^= true,
        step::COPY => {
            let sent = world.wire.len();
            let which = usize::from(u.arbitrary::<u8>()?);
            if let Some((topic, payload)) = world.wire.get(which % sent.max(1)).cloned() {
                world.arrive(who, &Flight::Control(topic, payload));
            }
        }
        _ => world.sign(who, "Somebody new"),
    }
    Ok(())
}

fn time(u: &mut Unstructured<'_>) -> Result<Duration> {
    const MILLISECONDS: [u64; 8] = [10, 80, 300, 700, 1_500, 4_000, 15_000, 65_000];
    Ok(Duration::from_millis(
        MILLISECONDS[usize::from(u.arbitrary::<u8>()?) % MILLISECONDS.len()],
    ))
}

fn bytes<'a>(u: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = usize::from(u.arbitrary::<u8>()?);
    u.bytes(length.min(u.len()))
}

/// What happens to one message before it arrives.
fn on_the_way(u: &mut Unstructured<'_>, world: &mut World, what: u8) -> Result<()> {
    let at = usize::from(u.arbitrary::<u8>()?) % world.flight.len().max(1);
    let Some((to, flight)) = world.flight.get(at).cloned() else {
        return Ok(());
    };
    let garbled = |payload: &[u8], at: u8, xor: u8| {
        let mut payload = payload.to_vec();
        let at = usize::from(at) * payload.len() / 256;
        payload[at] ^= xor.max(1);
        payload
    };
    match (what, flight) {
        (step::DOUBLE, flight) => world.flight.push_back((to, flight)),
        (step::GARBLE, Flight::Control(topic, payload)) => {
            let payload = garbled(&payload, u.arbitrary()?, u.arbitrary()?);
            world.flight[at].1 = Flight::Control(topic, payload.into());
        }
        (step::GARBLE, Flight::Media(packet)) => {
            world.flight[at].1 =
                Flight::Media(garbled(&packet, u.arbitrary()?, u.arbitrary()?).into());
        }
        (step::GARBLE, Flight::Worked(Worked::Solved(answer))) => {
            world.flight[at].1 =
                Flight::Worked(Worked::Solved(answer ^ u64::from(u.arbitrary::<u8>()?)));
        }
        (step::GARBLE, _) => {}
        (what, flight) => {
            world.flight.remove(at);
            match what {
                step::ARRIVE => world.arrive(to, &flight),
                step::HOLD_BACK => world.flight.push_back((to, flight)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// What no machine would say to itself.
fn odd(u: &mut Unstructured<'_>, world: &mut World, who: usize) -> Result<()> {
    match u.arbitrary::<u8>()? % 5 {
        0 => world.input(who, Input::Persisted(u.arbitrary::<u8>()?.into())),
        1 => world.input(who, Input::PuzzleSolved(u.arbitrary()?)),
        2 => {
            let joins = world.state(who).into_iter().flat_map(|s| s.applicants());
            let join = joins.map(|(_, a)| a.join.id()).next();
            world.rules.is_door_lax = true;
            let join = join.unwrap_or(RecordId::from_bytes([u.arbitrary()?; 32]));
            world.input(
                who,
                Input::PuzzleChecked {
                    join,
                    fits: u.arbitrary()?,
                },
            );
        }
        3 => {
            let topic = world.inside().unwrap_or(world.door()).0;
            world.input(who, Input::Listener(*topic.as_bytes()));
        }
        _ => {
            let length = usize::from(u.arbitrary::<u8>()?);
            let count = usize::from(u.arbitrary::<u8>()?) % 12;
            // No hello can hold them: whoever has such addresses says nothing any more.
            world.rules.is_somebody_mute |= length > 64 || count > 8;
            world.input(who, Input::Addresses(vec!["a".repeat(length); count]));
        }
    }
    Ok(())
}

/// The insider or a stranger signs what they like, and says it in the circle or at the door.
fn forge(u: &mut Unstructured<'_>, world: &mut World, who: usize) -> Result<()> {
    let hand = Hand::Person(if u.arbitrary::<u8>()? < 192 {
        INSIDER
    } else {
        PEOPLE
    });
    let minute = world.now().minute;
    let Some(state) = world.state(who) else {
        return Ok(());
    };
    let records = envelopes(&world.cast.say(u, hand, state, minute)?);
    let to = if u.arbitrary()? {
        vec![who]
    } else {
        (0..PEOPLE).collect()
    };
    match u.arbitrary::<u8>()? % 4 {
        0 => {
            let door = world.door();
            let answer = records.first().filter(|_| records.len() == 1).cloned();
            let message = answer.map_or(DoorMessage::Knock(records), DoorMessage::Answer);
            world.whisper(&door, &to, &message);
        }
        _ => {
            if let Some(inside) = world.inside() {
                world.whisper(
                    &inside,
                    &to,
                    &CircleMessage {
                        records,
                        voice_key: None,
                    },
                );
            }
        }
    }
    Ok(())
}

/// Anything that a person can do.
fn act(u: &mut Unstructured<'_>, world: &World) -> Result<Act> {
    let what: u8 = u.arbitrary()?;
    let whom: PublicKey = match what % 26 {
        0..=4 => PublicKey::from_bytes([0; 32]),
        _ => world.cast.pick(u)?,
    };
    let on = what >= 128;
    let minutes = |u: &mut Unstructured<'_>| {
        let some = [0, 1, 5, 200, MAX_INTEGER, u64::MAX];
        u.arbitrary::<u8>()
            .map(|b| some[usize::from(b) % some.len()])
    };
    Ok(match what % 26 {
        0 => Act::RaiseHand,
        1 => Act::Pass,
        2 => Act::AcknowledgeCease,
        3 => Act::EndTurn,
        4 => [Act::Leave, Act::Erase][usize::from(on)].clone(),
        5 | 6 => Act::Admit(whom),
        7 => Act::Refuse(whom),
        8 | 9 => Act::GiveTurn(whom),
        10 | 11 => {
            let clause = if on {
                "2".into()
            } else {
                String::from_utf8_lossy(bytes(u)?).into_owned()
            };
            let minutes = u.arbitrary::<bool>()?.then(|| minutes(u)).transpose()?;
            Act::Remove {
                member: whom,
                clause,
                minutes,
            }
        }
        12 | 13 => Act::Reinstate(whom),
        14 | 15 => {
            let roles = [
                Role::CoLeader,
                Role::Participant,
                Role::Listener,
                Role::Leader,
                Role::Newcomer,
            ];
            Act::SetRole(whom, roles[usize::from(u.arbitrary::<u8>()?) % roles.len()])
        }
        16 => Act::AskToCease(whom),
        17 => Act::Mute(whom, minutes(u)?),
        18 => Act::Freeze(on),
        19 => Act::SetFloorMode(if on {
            FloorMode::Passive
        } else {
            FloorMode::Active
        }),
        20 => Act::SetDoor(on),
        21 => Act::Extend(u.arbitrary()?),
        22 if u.arbitrary::<u8>()? == 255 => Act::Close,
        22 => Act::Thank(whom, Gratitude::IHearYou),
        23 if on => Act::StayInTouch(whom, String::from_utf8_lossy(bytes(u)?).into_owned()),
        23 => Act::Refer(whom, String::from_utf8_lossy(bytes(u)?).into_owned()),
        24 if on => Act::AutoAdmit(u.arbitrary()?),
        24 => Act::AutoTurns(u.arbitrary()?),
        _ => {
            let name = String::from_utf8_lossy(bytes(u)?).into_owned();
            let accepted = std::iter::repeat_n("a".to_owned(), usize::from(on));
            Act::Sign {
                name,
                accepted: accepted.collect(),
            }
        }
    })
}

//! Sealed bytes: as they arrive, and what somebody finds who can open them.

use std::time::Duration;

use undertone_protocol::identity::Draft;
use undertone_protocol::record::{ContactRequest, CrisisReferral, Epoch, SealedTo};
use undertone_protocol::seal::{
    BUCKETS, MAX_MESSAGE_BYTES, SealError, open, open_padded, open_sealed, seal, seal_padded,
    seal_to,
};

use crate::cast::{INSIDER, LEADER, PEOPLE};
use crate::channel::at_the_door;
use crate::insider;
use crate::kit::{ANN, BEN, person, rng, secret};
use crate::messages::{CircleMessage, DoorMessage, Handout, info, voice_key_info};
use crate::record::envelopes;
use crate::world::World;

/// Bytes from anywhere, then the same as what was sealed, then as what is inside the padding.
pub fn sealed(data: &[u8]) {
    let key = secret(0x55);
    if let Ok(message) = open_padded(&key, b"context", data) {
        assert!(message.len() <= MAX_MESSAGE_BYTES && BUCKETS.contains(&data.len()));
        assert!(open(&key, b"context", data).is_ok());
    }
    let ben = person(BEN);
    for from in [None, Some(person(ANN).sealing_key())] {
        let _ = open_sealed(&ben, from.as_ref(), b"info", data);
    }
    match seal_padded(&key, b"context", data, &mut rng(1)) {
        Ok(sealed) => {
            assert!(BUCKETS.contains(&sealed.len()));
            assert_eq!(open_padded(&key, b"context", &sealed).as_deref(), Ok(data));
            assert_eq!(
                open_padded(&key, b"another", &sealed),
                Err(SealError::CannotOpen)
            );
        }
        Err(error) => assert_eq!(error, SealError::TooLarge(data.len())),
    }
    let mut inside = data.to_vec();
    inside.resize(BUCKETS[0] - 40, 0);
    let sealed = seal(&key, b"context", &inside, &mut rng(2)).unwrap();
    if let Ok(message) = open_padded(&key, b"context", &sealed) {
        assert_eq!((message.len() as u32).to_be_bytes(), inside[..4]);
        assert!(inside[4..].starts_with(&message));
    }
}

/// Bytes sealed to one person by somebody who may: a welcome, a voice key, words in need, a circle key.
pub fn sealed_to(data: &[u8]) {
    let [first, which, bytes @ ..] = data else {
        return;
    };
    let mut world = at_the_door(*first, which & 4 == 0);
    world.start(1);
    match which % 4 {
        0 => welcome(&mut world, bytes),
        1 => hand_out(&mut world, bytes),
        2 => words(&mut world, bytes, which & 8 == 0),
        _ => epoch(&mut world, bytes),
    }
    world.run_apart(Duration::from_secs(1));
}

fn welcome(world: &mut World, bytes: &[u8]) {
    let door = world.door();
    for who in 0..PEOPLE {
        let to = &world.cast.people[who];
        let info = info(
            "welcome",
            &[world.circle.as_bytes(), to.public_key().as_bytes()],
        );
        let secret = seal_to(&to.sealing_key(), None, &info, bytes, &mut rng(3)).unwrap();
        let sealed = SealedTo {
            member: to.public_key(),
            secret,
        };
        world.whisper(&door, &[who], &DoorMessage::Welcome(sealed));
    }
}

/// The insider hands these bytes out as their voice key.
pub fn hand_out(world: &mut World, bytes: &[u8]) {
    let hello = insider::hello(world);
    let me = world.cast.people[INSIDER].clone();
    let sealed = world.cast.people.iter().map(|to| {
        let info = voice_key_info(&world.circle, &me, &insider::transport_id(), to);
        let secret = seal_to(&to.sealing_key(), Some(&me), &info, bytes, &mut rng(4)).unwrap();
        SealedTo {
            member: to.public_key(),
            secret,
        }
    });
    let voice_key = Some(Handout {
        from: me.public_key(),
        sealed: sealed.collect(),
    });
    say(
        world,
        &CircleMessage {
            records: envelopes([&hello]),
            voice_key,
        },
    );
}

/// In need, or to stay in touch.
fn words(world: &mut World, bytes: &[u8], in_need: bool) {
    let me = world.cast.people[INSIDER].clone();
    let to = &world.cast.people[LEADER];
    let (from, member) = (me.public_key(), to.public_key());
    let info = info(
        "referral",
        &[world.circle.as_bytes(), from.as_bytes(), member.as_bytes()],
    );
    let secret = seal_to(&to.sealing_key(), Some(&me), &info, bytes, &mut rng(5)).unwrap();
    let sealed = SealedTo { member, secret };
    let body = match in_need {
        true => CrisisReferral { sealed }.into(),
        false => ContactRequest { sealed }.into(),
    };
    if let Ok(record) = me.sign(draft(world, body, false)) {
        say(
            world,
            &CircleMessage {
                records: envelopes([&record]),
                voice_key: None,
            },
        );
    }
}

/// By the leader's own key, as no program of theirs would.
fn epoch(world: &mut World, bytes: &[u8]) {
    let number = world.state(LEADER).map_or(1, |s| s.epoch_number() + 1);
    let sealed = world.cast.people.iter().map(|to| {
        let parts = [
            world.circle.as_bytes().as_slice(),
            &number.to_be_bytes(),
            to.public_key().as_bytes(),
        ]
        .concat();
        let secret = seal_to(
            &to.sealing_key(),
            None,
            &info("epoch", &[&parts]),
            bytes,
            &mut rng(6),
        )
        .unwrap();
        SealedTo {
            member: to.public_key(),
            secret,
        }
    });
    let epoch = Epoch {
        number,
        sealed: sealed.take(INSIDER + 1).collect(),
    };
    // The leader's own program is down: it would contradict this.
    let draft = draft(world, epoch.into(), true);
    world.kill(LEADER);
    if let Ok(record) = world.cast.group.sign(draft) {
        say(
            world,
            &CircleMessage {
                records: envelopes([&record]),
                voice_key: None,
            },
        );
    }
}

fn draft(world: &World, body: undertone_protocol::record::Body, is_chained: bool) -> Draft {
    let state = world.state(LEADER).unwrap();
    let head = state
        .powers()
        .of(&world.cast.group.public_key())
        .map(|p| p.head())
        .filter(|_| is_chained);
    Draft {
        circle: world.circle,
        seq: head.map_or(1, |(seq, _)| seq + 1),
        prev: head.map(|(_, id)| id),
        lamport: state.lamport() + 1,
        created: world.now().minute,
        valid_minutes: 60,
        body,
    }
}

fn say(world: &mut World, message: &CircleMessage) {
    if let Some(inside) = world.inside() {
        let everybody: Vec<_> = (0..PEOPLE).collect();
        world.whisper(&inside, &everybody, message);
    }
}

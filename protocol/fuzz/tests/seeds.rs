//! Every target takes its committed seeds; and where they come from: the golden vectors, the malformed corpus, and
//! a circle that is listened to.
//!
//! `cargo test --manifest-path protocol/fuzz/Cargo.toml --test seeds -- --ignored` writes them anew. What a target
//! found is put beside them by hand, as `found-…`, and stays.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand_core::Rng;
use undertone_protocol::invite::SCHEME;
use undertone_protocol::record::Record;
use undertone_protocol::seal::open_padded;
use undertone_protocol::voice::SendKey;
use undertone_protocol::weakness::Weakness;
use undertone_protocol::{pledge_file, session::Act};
use undertone_protocol_fuzz::cast::{LEADER, NEWCOMER};
use undertone_protocol_fuzz::session::{session_without, step::*};
use undertone_protocol_fuzz::world::World;
use undertone_protocol_fuzz::{TARGETS, kit, record, store};

/// Longer ones teach nothing that a mutation would not.
const MOST_BYTES: usize = 2_400;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(target)
}

#[test]
fn every_seed_passes() {
    for (name, target) in TARGETS {
        let mut seeds: Vec<_> = std::fs::read_dir(folder(name))
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            println!("{}", seed.display());
            target(&std::fs::read(&seed).unwrap());
        }
    }
}

/// What holds of sessions is looked at: where a rule is left out, some seed shows it.
#[test]
fn a_rule_left_out_is_missed() {
    use Weakness::*;
    let seeds: Vec<_> = std::fs::read_dir(folder("session")).unwrap().collect();
    let seeds: Vec<_> = seeds
        .into_iter()
        .map(|e| std::fs::read(e.unwrap().path()).unwrap())
        .collect();
    for weakness in [Authority, Puzzle, Silence, Rekey] {
        let fails = |seed: &Vec<u8>| {
            let run = || session_without(Some(weakness), seed);
            std::panic::catch_unwind(run).is_err()
        };
        assert!(seeds.iter().any(fails), "nobody misses {weakness:?}");
    }
}

#[test]
#[ignore = "writes the seeds anew"]
fn write_seeds() {
    let mut seeds: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    records(&mut seeds);
    let mut add = |target, more: Vec<Vec<u8>>| seeds.entry(target).or_default().extend(more);
    add("sealed", hex_fields("seals.json", "sealed"));
    add("voice", voices());
    let links = fields("invites.json", "link");
    let content = |link: &String| URL_SAFE_NO_PAD.decode(link.strip_prefix(SCHEME)?).ok();
    let contents = links
        .iter()
        .filter_map(content)
        .map(|bytes| bytes[..bytes.len() - 4].to_vec());
    add(
        "invite",
        contents
            .chain(
                links
                    .iter()
                    .map(|link| link.replace("\\u000a", "\n").into_bytes()),
            )
            .collect(),
    );
    let pledge = kit::sign(kit::pledge());
    add(
        "pledge_file",
        vec![
            pledge.envelope().to_vec(),
            pledge_file::write(&pledge).unwrap().into_bytes(),
        ],
    );
    for setting in 12..15 {
        listen(setting, &mut add);
    }
    add("stored", (0..6).map(|n| disk(n, &pledge)).collect());
    add("history", (0..12).map(|n| noise(n, 250)).collect());
    add(
        "session",
        stories()
            .into_iter()
            .chain((40..46).map(|n| noise(n, 200)))
            .collect(),
    );
    for (target, seeds) in seeds {
        let folder = folder(target);
        std::fs::create_dir_all(&folder).unwrap();
        for old in std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap()) {
            if !old.file_name().to_string_lossy().starts_with("found-") {
                std::fs::remove_file(old.path()).unwrap();
            }
        }
        let seeds: BTreeSet<_> = seeds
            .into_iter()
            .filter(|s| s.len() <= MOST_BYTES)
            .collect();
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("{n:03}")), seed).unwrap();
        }
    }
}

/// The values of one field of a file of golden vectors, one vector a line.
fn fields(file: &str, name: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let begin = format!("\"{name}\": \"");
    let value = |line: &str| Some(line.split_once(&begin)?.1.split_once('"')?.0.to_owned());
    text.lines().filter_map(value).collect()
}

fn hex_fields(file: &str, name: &str) -> Vec<Vec<u8>> {
    let byte = |hex: &[u8]| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap();
    fields(file, name)
        .iter()
        .map(|hex| hex.as_bytes().chunks(2).map(byte).collect())
        .collect()
}

/// Genuine ones, and of the malformed two for each reason.
fn records(seeds: &mut BTreeMap<&str, Vec<Vec<u8>>>) {
    let mut envelopes = hex_fields("records.json", "envelope");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/corpus.json");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case: Vec<_> = line
            .trim_matches(['[', ']', ',', '"'])
            .split("\", \"")
            .collect();
        let [_, verdict, bytes] = case[..] else {
            continue;
        };
        let count = seen.entry(verdict.to_owned()).or_default();
        *count += 1;
        if *count == 1 || *count == 30 {
            envelopes.push(STANDARD.decode(bytes).unwrap());
        }
    }
    let payloads = envelopes
        .iter()
        .filter_map(|e| Some(record::parts(e)?.0.to_vec()));
    seeds.insert("payload", payloads.collect());
    seeds.insert("envelope", envelopes);
}

/// Packets of the golden vectors, each as a step; and steps alone.
fn voices() -> Vec<Vec<u8>> {
    let packets = hex_fields("voices.json", "packet")
        .into_iter()
        .map(|p| [vec![3], p].concat());
    let keys = hex_fields("voices.json", "voice_key")
        .into_iter()
        .map(|k| [vec![5], k].concat());
    let steps: [&[u8]; 4] = [
        &[0, 0, 9, 1, 0, 1, 0, 1, 3, 1, 9],
        &[0, 1, 250, 1, 0, 1, 127, 1, 128, 1, 129, 1, 200],
        &[0, 0, 2, 2, 0, 40, 1, 2, 1, 12, 1, 1, 0],
        &[
            0, 0, 2, 4, 1, 1, 7, 0, 0, 0, 145, 9, 1, 0, 4, 1, 1, 0, 0, 0, 0, 145, 9, 1, 1,
        ],
    ];
    packets
        .chain(keys)
        .chain(steps.map(<[u8]>::to_vec))
        .collect()
}

/// What is said while somebody comes, is let in, speaks and is removed; opened, to be garbled inside the seal.
fn listen(setting: u8, add: &mut impl FnMut(&'static str, Vec<Vec<u8>>)) {
    let mut world = World::new(setting);
    let mut heard: BTreeSet<(bool, usize)> = BTreeSet::new();
    let (mut door, mut circle) = (Vec::new(), Vec::new());
    let [ann, ben] = [1, 2].map(|who| world.cast.people[who].public_key());
    let remove = Act::Remove {
        member: ben,
        clause: "2".into(),
        minutes: None,
    };
    let acts = [
        (1, Act::RaiseHand),
        (LEADER, Act::GiveTurn(ann)),
        (2, Act::Refer(ann, "Please ring me.".into())),
        (1, Act::StayInTouch(ben, "Tea?".into())),
        (2, Act::StayInTouch(ann, "Gladly.".into())),
        (LEADER, remove),
    ];
    world.run(Duration::from_secs(1));
    world.sign(NEWCOMER, "Somebody new");
    for (who, act) in acts {
        world.act(who, act);
        world.run(Duration::from_millis(700));
        world.run(Duration::from_millis(700));
        let sent = std::mem::take(&mut world.wire);
        let inside = world.inside().unwrap();
        for (topic, payload) in sent {
            for ((named, key), is_door) in [(world.door(), true), (inside.clone(), false)] {
                let opened = open_padded(&key, &topic, &payload)
                    .ok()
                    .filter(|_| *named.as_bytes() == topic);
                let new = |message: &Vec<u8>| heard.insert((is_door, message.len() / 40));
                if let Some(message) = opened.filter(new) {
                    let seed = [vec![setting], message].concat();
                    if is_door {
                        door.push(seed)
                    } else {
                        circle.push(seed)
                    }
                }
            }
        }
    }
    let epoch = world.state(LEADER).unwrap().epoch().unwrap().clone();
    let welcome = minicbor::to_vec(record::envelopes([&epoch])).unwrap();
    let key = SendKey::generate(&mut kit::rng(9), &kit::person(kit::CLEO).public_key(), 0).unwrap();
    let inside: [(u8, &[u8]); 5] = [
        (0, &welcome),
        (1, &key.secret().to_bytes()),
        (2, b"Please ring me."),
        (10, b"Tea?"),
        (3, &[5; 32]),
    ];
    let sealed_to = inside.map(|(which, bytes)| [&[setting, which], bytes].concat());
    add("sealed_to", sealed_to.into());
    add("door", door);
    add("circle", circle);
}

/// Everything in order, backwards, with gaps, with doubles, with bytes between.
fn disk(who: u8, pledge: &Record) -> Vec<u8> {
    let all = 0..40;
    let which: Vec<u8> = match who {
        0..=2 => all.collect(),
        3 => all.rev().collect(),
        4 => all.step_by(2).collect(),
        _ => all.flat_map(|n| [n, n / 2]).collect(),
    };
    let mut seed = [vec![who, who], which].concat();
    if who == 5 {
        let envelope = pledge.envelope();
        seed.push(store::RAW);
        seed.extend((envelope.len() as u16).to_le_bytes());
        seed.extend(&**envelope);
    }
    seed
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    kit::rng(seed).fill_bytes(&mut bytes);
    bytes
}

/// Steps as `session` reads them; the first byte is what the circle was founded as.
fn stories() -> Vec<Vec<u8>> {
    // Acts: 5 admit, 8 give the turn, 140 remove for clause 2, 12 reinstate, 14 a role.
    let enter: &[u8] = &[RUN, 3, SIGN, NEWCOMER as u8, RUN, 5];
    let speak: &[u8] = &[
        ACT, 1, 0, RUN, 2, ACT, 0, 8, 1, RUN, 2, SPEAK, 1, 0, SPEAK, 2, 0, RUN, 1,
    ];
    let remove: &[u8] = &[
        ACT, 0, 140, 2, 0, WRITE, 0, RUN, 3, SPEAK, 2, 0, SPEAK, 0, 0,
    ];
    let restart: &[u8] = &[KILL, 0, KILL, 2, START, 0, START, 2, RUN, 5];
    let insider: &[u8] = &[
        INSIDER_SPEAKS,
        0,
        INSIDER_SPEAKS,
        0,
        99,
        ACT,
        0,
        8,
        3,
        RUN,
        2,
        INSIDER_SPEAKS,
        0,
        99,
    ];
    let out: &[u8] = &[
        ACT,
        0,
        140,
        3,
        0,
        INSIDER_SPEAKS,
        0,
        99,
        RUN,
        3,
        INSIDER_SPEAKS,
        0,
        9,
    ];
    let quarrel: &[u8] = &[
        ACT, 0, 14, 3, 0, RUN, 4, FORGE, 1, 0, 0, 3, 1, 0, 1, 0, 1, RUN, 3, ACT, 0, 14, 3, 1, RUN,
        4,
    ];
    let back: &[u8] = &[ACT, 0, 12, 2, RUN, 4, KILL, 2, START, 2, SIGN, 2, RUN, 5];
    let bumpy: &[u8] = &[
        ACT, 1, 0, DOUBLE, 0, GARBLE, 0, 9, 1, HOLD_BACK, 1, LOSE, 0, ARRIVE, 0, COPY, 2, 3, LOOK,
        1, JUMP, 4,
    ];
    let copies: Vec<u8> = (0..80).flat_map(|n| [COPY, 0, n]).collect();
    let leave: &[u8] = &[ACT, NEWCOMER as u8, 4, RUN, 5];
    let forger: &[u8] = &[
        FORGE, 0, 0, 0, 3, 1, 0, 1, 0, 1, FORGE, 0, 0, 0, 3, 2, 0, 1, 0, 1, RUN, 3,
    ];
    let fast_clock: &[u8] = &[FORGE, 0, 0, 160, 6, 0, 48, 0, 0, 1, RUN, 1];
    let guess: &[u8] = &[RUN, 3, SIGN, NEWCOMER as u8, GARBLE, 0, 77, RUN, 6, RUN, 6];
    let apart: &[u8] = &[CUT_OFF, 2, ACT, 0, 140, 1, 0, RUN, 5, CUT_OFF, 2, RUN, 6];
    // By 3: approval, invite, open door; from 12 on there is a free seat.
    let stories: [(u8, &[&[u8]]); 14] = [
        (12, &[enter, speak]),
        (13, &[speak, remove, restart]),
        (14, &[insider, out]),
        (16, &[quarrel, restart]),
        (23, &[remove, back]),
        (20, &[enter, bumpy, speak]),
        (0, &[apart, speak]),
        (12, &[enter, leave, &copies, &[RUN, 5]]),
        (18, &[forger, speak]),
        (14, &[guess, speak]),
        (12, &[fast_clock, enter, remove, restart]),
        (
            13,
            &[enter, speak, leave, &[START, NEWCOMER as u8], restart],
        ),
        (15, &[enter, restart, insider, remove]),
        (8, &[&[JUMP, 7, LOOK, 0, LOOK, 1], speak, remove, back]),
    ];
    // 24 settings and the top bit: 144 is the first of them again, with peace in the end.
    let story = |(setting, parts): (u8, &[&[u8]])| [vec![144 + setting], parts.concat()].concat();
    stories.into_iter().map(story).collect()
}

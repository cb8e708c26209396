//! An exported pledge in the hands of a stranger: our own program, and a foreign COSE library.

use std::path::Path;
use std::process::{Command, Output};

use undertone_protocol::id::{CircleId, Nonce};
use undertone_protocol::identity::{Draft, RootSeed, Secret};
use undertone_protocol::pledge_file;
use undertone_protocol::record::{Pledge, Record};
use undertone_protocol::texts;
use undertone_tests::skipped;

use crate::processes::undertone_node;

fn pledge(circle: u8) -> Record {
    let me =
        RootSeed::new(Secret::from_bytes([1; 32])).pseudonym(&Nonce::from_bytes([circle; 16]), 0);
    me.sign(Draft {
        circle: CircleId::from_bytes([circle; 32]),
        seq: 0,
        prev: None,
        lamport: 0,
        created: 29_000_000,
        valid_minutes: 1_000,
        body: Pledge {
            texts: texts::hash(),
            accepted: texts::all_clauses().map(|c| c.mark.to_owned()).collect(),
        }
        .into(),
    })
    .unwrap()
}

/// The file with one bit of its signed part changed.
fn flipped(file: &str) -> String {
    let at = file.find("PLEDGE-----\n").unwrap() + 200;
    let mut bytes = file.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

fn verify(file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(undertone_node())
        .arg("verify")
        .arg(file)
        .args(more)
        .output();
    told(output.unwrap())
}

fn told(output: Output) -> (Option<i32>, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (
        output.status.code(),
        text + &String::from_utf8_lossy(&output.stderr),
    )
}

#[test]
fn a_stranger_can_tell_a_genuine_pledge_from_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let file = pledge_file::write(&pledge(5)).unwrap();
    let genuine = write("genuine.txt", &file);
    let changed = write("changed.txt", &flipped(&file));
    let own = CircleId::from_bytes([5; 32]).to_hex();
    let other = CircleId::from_bytes([6; 32]).to_hex();

    let (code, text) = verify(&genuine, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("GENUINE") && text.contains(&own), "{text}");
    assert!(text.contains(texts::PLEDGE[0].full), "{text}");
    assert_eq!(verify(&genuine, &["--circle", &own]).0, Some(0));

    let (code, text) = verify(&changed, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("NOT GENUINE"), "{text}");

    let (code, text) = verify(&genuine, &["--circle", &other]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.starts_with("NOT FOR THIS CIRCLE"), "{text}");

    assert_eq!(verify(&folder.path().join("missing.txt"), &[]).0, Some(2));
    assert_eq!(verify(&write("empty.txt", ""), &[]).0, Some(1));
}

#[test]
fn a_foreign_cose_library_agrees() {
    let python = std::env::var_os("UNDERTONE_PYTHON").filter(|p| !p.is_empty());
    let Some(python) = python else {
        skipped("Python's cwt is not set up; tests/run does that, and sets UNDERTONE_PYTHON.");
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/verify_pledge.py");
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, text: &str, more: &[&str]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let output = Command::new(&python)
            .arg(&script)
            .arg(&path)
            .args(more)
            .output();
        told(output.unwrap())
    };
    let file = pledge_file::write(&pledge(5)).unwrap();
    let (code, text) = check("genuine.txt", &file, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&pledge(5).author().to_hex()), "{text}");
    let (code, text) = check("changed.txt", &flipped(&file), &[]);
    assert_eq!(code, Some(1), "{text}");

    for (circle, expected) in [(5, 0), (6, 1)] {
        let circle = CircleId::from_bytes([circle; 32]).to_hex();
        let (code, text) = check("genuine.txt", &file, &["--circle", &circle]);
        assert_eq!(code, Some(expected), "{text}");
    }
}

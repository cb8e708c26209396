//! What must hold of the protocol whatever arrives: one function a target, each fed bytes that a stranger, a member
//! or a damaged disk could have written.
//!
//! It deliberately lacks a fuzzer: the two lines in `fuzz_targets/` bring one, so that `cargo test` runs the same
//! functions over the committed seeds without. Signatures and seals are made here where the bytes come from
//! somebody who holds a key, since no fuzzer finds one.

// A target fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod cast;
pub mod channel;
pub mod history;
pub mod insider;
#[path = "../../tests/vectors/kit.rs"]
#[allow(missing_docs)]
pub mod kit;
#[path = "../../tests/vectors/messages.rs"]
#[allow(missing_docs)]
pub mod messages;
pub mod record;
pub mod rules;
pub mod sealing;
pub mod session;
pub mod store;
pub mod text;
pub mod voice;
pub mod warm;
pub mod world;

/// What one target does with its bytes.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 12] = [
    ("envelope", record::envelope),
    ("payload", record::payload),
    ("sealed", sealing::sealed),
    ("sealed_to", sealing::sealed_to),
    ("door", channel::door),
    ("circle", channel::circle),
    ("voice", voice::packets),
    ("invite", text::invite),
    ("pledge_file", text::pledge_file),
    ("stored", store::stored),
    ("history", history::history),
    ("session", session::session),
];

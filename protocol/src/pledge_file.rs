//! A signed pledge as a text file: readable at the top, verifiable below, by this program or by any COSE
//! library, offline.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::record::{Body, MAX_RECORD_BYTES, Record, RecordError};
use crate::texts;

const BEGIN: &str = "-----BEGIN UNDERTONE PLEDGE-----";
const END: &str = "-----END UNDERTONE PLEDGE-----";

/// Why a file is not a genuine pledge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PledgeFileError {
    /// The block is missing or cut.
    #[error("this file holds no complete Undertone pledge")]
    NoBlock,
    /// The block is not base64.
    #[error("the signed part of this file was damaged")]
    Damaged,
    /// The record inside is not acceptable.
    #[error("the signed part is not genuine: {0}")]
    Record(#[from] RecordError),
    /// A genuine record of another kind.
    #[error("the signed part is a genuine record, but not a pledge")]
    NotAPledge,
}

/// The file for this pledge, or `None` when the record is of another kind.
pub fn write(pledge: &Record) -> Option<String> {
    let Body::Pledge(body) = pledge.body() else {
        return None;
    };
    let mut text = String::from(
        "A pledge signed with Undertone.\n\n\
         Whoever holds this file can check that it is genuine, with no connection to anything:\n\
         \n    undertone-node verify THIS-FILE\n\n\
         Only the signed part between the two marked lines counts; these lines are for reading.\n\n",
    );
    text.push_str(&format!(
        "Circle     {}\nPseudonym  {}\n\nAccepted:\n",
        pledge.payload().circle.to_hex(),
        pledge.author().to_hex()
    ));
    let signed = texts::by_hash(&body.texts);
    for mark in &body.accepted {
        let clause = signed.and_then(|t| t.clauses().find(|c| c.mark == mark));
        let full = clause.map_or("(in texts that this program does not have)", |c| c.full);
        text.push_str(&format!("  [{mark}] {full}\n"));
    }
    text.push_str(&format!("\n{BEGIN}\n"));
    let encoded = STANDARD.encode(pledge.envelope());
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(END);
    text.push('\n');
    Some(text)
}

/// Reads and verifies such a file. The readable part is not looked at.
///
/// # Errors
/// [`PledgeFileError`], one variant per way in which it is not genuine.
pub fn read(text: &str) -> Result<Record, PledgeFileError> {
    let block = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(block, _)| block)
        .ok_or(PledgeFileError::NoBlock)?;
    let encoded: String = block.chars().filter(|c| !c.is_whitespace()).collect();
    if encoded.len() > 2 * MAX_RECORD_BYTES {
        return Err(RecordError::TooLarge(encoded.len()).into());
    }
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| PledgeFileError::Damaged)?;
    let record = Record::verify(&bytes)?;
    matches!(record.body(), Body::Pledge(_))
        .then_some(record)
        .ok_or(PledgeFileError::NotAPledge)
}

//! What people paste and pass on: invite links and pledge files.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use sha2::{Digest, Sha256};
use undertone_protocol::invite::{Invite, MAX_LINK_CHARS, SCHEME};
use undertone_protocol::record::Body;
use undertone_protocol::{pledge_file, texts};

use crate::kit;

/// A link as pasted, and the same bytes as the content of a link that is whole.
pub fn invite(data: &[u8]) {
    if let Ok(link) = std::str::from_utf8(data) {
        follow(link);
    }
    let sum: [u8; 32] = Sha256::digest(data).into();
    let whole = URL_SAFE_NO_PAD.encode([data, &sum[..4]].concat());
    follow(&format!("{SCHEME}{whole}"));
}

fn follow(link: &str) {
    let Ok(invite) = Invite::from_link(link) else {
        return;
    };
    assert!(invite.addresses.len() <= 8);
    let again = invite.to_link();
    assert!(again.len() <= MAX_LINK_CHARS);
    assert_eq!(
        Invite::from_link(&again).as_ref(),
        Ok(&invite),
        "it cannot be passed on"
    );
    if let Some(token) = &invite.token {
        let author = kit::person(kit::ANN).public_key();
        assert_eq!(token.proof(&invite.circle, &author).token, token.public());
    }
}

/// A pledge file as opened, and the same bytes as the signed part of one.
pub fn pledge_file(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        open(text);
    }
    let block = STANDARD.encode(data);
    open(&format!(
        "-----BEGIN UNDERTONE PLEDGE-----\n{block}\n-----END UNDERTONE PLEDGE-----"
    ));
}

fn open(text: &str) {
    let Ok(pledge) = pledge_file::read(text) else {
        return;
    };
    let Body::Pledge(body) = pledge.body() else {
        panic!("not a pledge");
    };
    assert_eq!(body.accepted.len(), texts::all_clauses().count());
    let file = pledge_file::write(&pledge).unwrap();
    assert_eq!(
        pledge_file::read(&file),
        Ok(pledge),
        "it cannot be passed on"
    );
}

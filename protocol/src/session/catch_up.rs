//! Catching up: a hello says how far its author has read; whoever is next in a fixed order answers with
//! what follows. Nobody answers what somebody else already has.

use std::time::Duration;

use crate::record::Record;
use crate::seal::MAX_MESSAGE_BYTES;

use super::message::{CircleMessage, MAX_RECORDS, envelopes};
use super::{Now, Session};

/// How long the next in order waits for the one before.
const TURN_TO_ANSWER: Duration = Duration::from_millis(250);
/// How long until the next answer may be given: the chain is long, and asking for it is cheap.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
/// Messages in one answer; whoever needs more says hello again.
const MAX_MESSAGES: usize = 16;
/// Room for the CBOR around the records of one message.
const OVERHEAD_BYTES: usize = 512;

/// An answer one may have to give.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    pub due: Duration,
    /// Somebody has read up to here.
    from: u64,
}

impl Session {
    pub(super) fn plan_catch_up(&mut self, now: Now, from: u64) {
        let Some(state) = &self.state else {
            return;
        };
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let due = (now.at + TURN_TO_ANSWER * rank).max(self.catch_up_allowed);
        match &mut self.catch_up {
            Some(answer) => answer.from = answer.from.min(from),
            None => self.catch_up = Some(Answer { due, from }),
        }
    }

    /// Somebody else sent this entry: it need not be sent again.
    pub(super) fn note_progress(&mut self, record: &Record) {
        let (Some(answer), Some(state)) = (&mut self.catch_up, &self.state) else {
            return;
        };
        let authority = record.author() == state.charter().group_key;
        if authority && record.payload().seq == answer.from + 1 {
            answer.from += 1;
        }
        if answer.from >= state.head().0 {
            self.catch_up = None;
        }
    }

    pub(super) fn answer_due_catch_up(&mut self, now: Now) {
        let Some(answer) = self.catch_up.filter(|a| a.due <= now.at) else {
            return;
        };
        self.catch_up = None;
        self.catch_up_allowed = now.at + ANSWER_AGAIN;
        let Some(state) = &self.state else {
            return;
        };
        // What a leader has not on disk yet is not told: after a crash it would be said differently.
        let leading = self.group_key.is_some();
        let group_key = state.charter().group_key;
        let told =
            |r: &&Record| !leading || r.author() != group_key || r.payload().seq <= self.durable;
        let mut messages = vec![Vec::new()];
        let mut size = 0;
        for record in state.since(answer.from).take_while(told) {
            let bytes = record.envelope().len() + 8;
            let last = messages.len() - 1;
            let full = size + bytes > MAX_MESSAGE_BYTES - OVERHEAD_BYTES
                || messages[last].len() >= MAX_RECORDS;
            if full {
                if messages.len() == MAX_MESSAGES {
                    break;
                }
                messages.push(Vec::new());
                size = 0;
            }
            size += bytes;
            let last = messages.len() - 1;
            messages[last].extend(envelopes([record]));
        }
        for records in messages {
            self.broadcast(&CircleMessage {
                records,
                voice_key: None,
            });
        }
    }
}

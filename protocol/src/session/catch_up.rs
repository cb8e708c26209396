//! Catching up: a hello says how far its author has read; whoever is next in a fixed order answers with
//! what follows. Nobody answers what somebody else already has.

use std::time::Duration;

use rand_core::Rng;

use crate::record::{Head, Record};
use crate::seal::MAX_MESSAGE_BYTES;

use super::message::{CircleMessage, MAX_RECORDS, envelopes};
use super::{Delivery, Now, Session};

/// How long the next in order waits for the one before.
const TURN_TO_ANSWER: Duration = Duration::from_millis(250);
/// How long until the next answer may be given: the chain is long, and asking for it is cheap.
const ANSWER_AGAIN: Duration = Duration::from_secs(1);
/// Messages in one answer; whoever needs more says hello again.
const MAX_MESSAGES: usize = 16;
/// Room for the CBOR around the records of one message.
const OVERHEAD_BYTES: usize = 512;

/// An answer one may have to give.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub due: Duration,
    /// Somebody has read up to here.
    heads: Vec<Head>,
    /// What stands beside the chains is wanted too.
    aside: bool,
}

impl Session {
    /// Somebody has read up to `heads`, and differs in what stands `aside`.
    pub(super) fn plan_catch_up(&mut self, now: Now, heads: &[Head], aside: bool) {
        let Some(state) = &self.state else {
            return;
        };
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let due = (now.at + TURN_TO_ANSWER * rank).max(self.catch_up_allowed);
        match &mut self.catch_up {
            Some(answer) => {
                // For both: from the lower of the two, and from the start where one has nothing.
                answer.aside |= aside;
                answer.heads.retain_mut(|head| {
                    let theirs = heads.iter().find(|h| h.author == head.author);
                    head.seq = head.seq.min(theirs.map_or(0, |h| h.seq));
                    head.seq > 0
                });
            }
            None => {
                self.catch_up = Some(Answer {
                    due,
                    heads: heads.to_vec(),
                    aside,
                });
            }
        }
    }

    /// Somebody else sent this entry: it need not be sent again.
    pub(super) fn note_progress(&mut self, record: &Record) {
        let (Some(answer), Some(state)) = (&mut self.catch_up, &self.state) else {
            return;
        };
        if !record.body().kind().is_chained() {
            return;
        }
        let author = record.author();
        let seq = record.payload().seq;
        match answer.heads.iter_mut().find(|h| h.author == author) {
            Some(head) if head.seq + 1 == seq => head.seq = seq,
            None if seq == 1 => answer.heads.push(Head { author, seq }),
            _ => return,
        }
        let rest = |own: &Head| {
            let read = answer.heads.iter().find(|h| h.author == own.author);
            read.is_none_or(|h| h.seq < own.seq)
        };
        if !answer.aside && !state.heads().iter().any(rest) {
            self.catch_up = None;
        }
    }

    pub(super) fn answer_due_catch_up(&mut self, now: Now) {
        let due = |a: &mut Answer| a.due <= now.at;
        let Some(answer) = self.catch_up.take_if(due) else {
            return;
        };
        self.catch_up_allowed = now.at + ANSWER_AGAIN;
        let Some(state) = &self.state else {
            return;
        };
        // What one decided and has not on disk yet is not told: after a crash it would be said differently.
        let own = self.authority();
        let told = |r: &&Record| {
            Some(r.author()) != own
                || !r.body().kind().is_chained()
                || r.payload().seq <= self.durable
        };
        // It may be more than one answer holds: each begins somewhere else.
        let mut aside: Vec<_> = state.aside().filter(|_| answer.aside).collect();
        let begin = self.rng.next_u64() as usize % aside.len().max(1);
        aside.rotate_left(begin);
        let records = state.after(&answer.heads);
        let mut messages = vec![Vec::new()];
        let mut size = 0;
        for record in records.into_iter().chain(aside).filter(told) {
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
            if !records.is_empty() {
                let voice_key = None;
                self.deliver(&CircleMessage { records, voice_key }, Delivery::Prompt);
            }
        }
    }
}

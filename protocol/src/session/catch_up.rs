//! Catching up: a hello says how far its author has read; whoever is next in a fixed order answers with
//! what follows. Nobody answers what somebody else answers: an answer takes its time on a line, and hellos said before it has come
//! are old.

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::Rng;

use crate::id::PublicKey;
use crate::record::{Head, Kind, Record};
use crate::seal::MAX_MESSAGE_BYTES;

use super::message::{CircleMessage, MAX_RECORDS, envelopes};
use super::{Delivery, Now, Session};

/// How long the next in order waits for the one before, and after what that one says.
const TURN_TO_ANSWER: Duration = Duration::from_millis(400);
/// … but no longer than this: somebody who says a little again and again is not to keep an answer back.
const LONGEST_WAIT: Duration = Duration::from_secs(4);
/// How long what the same person then says of how far they have read is taken for old.
const ANSWER_AGAIN: Duration = Duration::from_millis(1_500);
/// Bytes a second that one's answers come to at most: the chain is long, and asking for it is cheap.
const ANSWERS: usize = 64 * 1024;
/// Messages in one answer; whoever needs more says hello again.
const MAX_MESSAGES: usize = 16;
/// Room for the CBOR around the records of one message.
const OVERHEAD_BYTES: usize = 512;

/// Whoever has not read all that one holds oneself, and the answer to them.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// How far, as they said last.
    behind: BTreeMap<PublicKey, Reader>,
    /// Who was answered lately, by whomever.
    answered: BTreeMap<PublicKey, Duration>,
    /// When it is one's turn to answer, and when at the latest.
    due: Duration,
    latest: Duration,
    /// Not before.
    allowed: Duration,
}

#[derive(Debug)]
struct Reader {
    heads: Vec<Head>,
    /// What stands beside the chains is wanted too.
    aside: bool,
}

impl Reader {
    fn read(&self, author: &PublicKey) -> u64 {
        let head = self.heads.iter().find(|h| h.author == *author);
        head.map_or(0, |h| h.seq)
    }

    /// Takes a step on a chain, if this is the next.
    fn step(&mut self, author: PublicKey, seq: u64) -> bool {
        let next = self.read(&author) + 1 == seq;
        if next {
            self.heads.retain(|h| h.author != author);
            self.heads.push(Head { author, seq });
        }
        next
    }

    fn lacks_any_of(&self, heads: &[Head]) -> bool {
        self.aside || heads.iter().any(|h| self.read(&h.author) < h.seq)
    }
}

impl CatchUp {
    /// When an answer is due, if one is.
    pub fn due(&self) -> Option<Duration> {
        (!self.behind.is_empty()).then_some(self.due)
    }

    pub fn clear(&mut self) {
        self.behind.clear();
    }

    /// Somebody has been told all.
    fn is_answered(&mut self, reader: PublicKey, now: Duration) {
        self.behind.remove(&reader);
        self.answered.insert(reader, now);
    }
}

impl Session {
    /// Somebody has read up to `heads`, which is or is not all, and differs in what stands `aside`.
    pub(super) fn note_reader(
        &mut self,
        now: Now,
        reader: PublicKey,
        heads: &[Head],
        is_behind: bool,
        aside: bool,
    ) {
        let Some(state) = &self.state else {
            return;
        };
        let catch_up = &mut self.catch_up;
        catch_up
            .answered
            .retain(|_, at| now.at < *at + ANSWER_AGAIN);
        if !(is_behind || aside) || catch_up.answered.contains_key(&reader) {
            catch_up.behind.remove(&reader);
            return;
        }
        if catch_up.behind.is_empty() {
            let rank = self.presence.rank(state, &self.me.public_key(), now.at);
            catch_up.due = (now.at + TURN_TO_ANSWER * rank).max(catch_up.allowed);
            catch_up.latest = catch_up.due + LONGEST_WAIT;
        }
        let heads = heads.to_vec();
        catch_up.behind.insert(reader, Reader { heads, aside });
    }

    /// Somebody else sent this: it need not be sent again, and they may go on.
    pub(super) fn note_progress(&mut self, now: Now, record: &Record) {
        let Some(state) = &self.state else {
            return;
        };
        let (author, seq) = (record.author(), record.payload().seq);
        let kind = record.body().kind();
        let catch_up = &mut self.catch_up;
        let mut gets_on = false;
        for reader in catch_up.behind.values_mut() {
            gets_on |= match kind.is_chained() {
                true => reader.step(author, seq),
                false => reader.aside && matches!(kind, Kind::Pledge | Kind::Join),
            };
        }
        if !gets_on {
            return;
        }
        let heads = state.heads();
        let done = catch_up.behind.iter();
        let done: Vec<_> = done
            .filter(|(_, reader)| !reader.lacks_any_of(&heads))
            .map(|(reader, _)| *reader)
            .collect();
        for reader in done {
            catch_up.is_answered(reader, now.at);
        }
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let later = (now.at + TURN_TO_ANSWER * (rank + 1)).min(catch_up.latest);
        catch_up.due = catch_up.due.max(later);
    }

    pub(super) fn answer_due_catch_up(&mut self, now: Now) {
        if self.catch_up.due().is_none_or(|due| now.at < due) {
            return;
        }
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
        // For all at once: from the lowest of them.
        let readers = || self.catch_up.behind.values();
        let lowest = |own: Head| Head {
            seq: readers().map(|r| r.read(&own.author)).min().unwrap_or(0),
            ..own
        };
        let heads = state.heads().into_iter().map(lowest);
        let heads: Vec<_> = heads.filter(|h| h.seq > 0).collect();
        let is_aside = readers().any(|r| r.aside);
        // It may be more than one answer holds: each begins somewhere else.
        let mut aside: Vec<_> = state.aside().filter(|_| is_aside).collect();
        let begin = self.rng.next_u64() as usize % aside.len().max(1);
        aside.rotate_left(begin);
        let records = state.after(&heads);
        let mut messages = vec![Vec::new()];
        let (mut size, mut all) = (0, 0);
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
            all += bytes;
            let last = messages.len() - 1;
            messages[last].extend(envelopes([record]));
        }
        let readers: Vec<_> = self.catch_up.behind.keys().copied().collect();
        for reader in readers {
            self.catch_up.is_answered(reader, now.at);
        }
        let pause = Duration::from_secs_f64(all as f64 / ANSWERS as f64);
        self.catch_up.allowed = now.at + pause;
        for records in messages {
            if !records.is_empty() {
                let voice_key = None;
                self.deliver(&CircleMessage { records, voice_key }, Delivery::Prompt);
            }
        }
    }
}

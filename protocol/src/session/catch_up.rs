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
use super::presence::digest;
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

/// Whoever has not read all that one holds oneself, and the answers to them.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// What they said last.
    behind: BTreeMap<PublicKey, Reader>,
    /// Who was answered lately, by whomever.
    answered: BTreeMap<PublicKey, Duration>,
    /// No answer before.
    allowed: Duration,
}

#[derive(Debug)]
struct Reader {
    heads: Vec<Head>,
    /// If what stands beside the chains is wanted too: what they made of it all.
    aside: Option<u64>,
    /// When it is one's turn to answer, and when at the latest.
    due: Duration,
    latest: Duration,
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

    /// Whether they do not know all of this.
    fn lacks(&self, heads: &[Head], digest: u64) -> bool {
        self.aside.is_some_and(|theirs| theirs != digest)
            || heads.iter().any(|h| self.read(&h.author) < h.seq)
    }
}

impl CatchUp {
    /// When an answer is due, if one is.
    pub fn due(&self) -> Option<Duration> {
        self.behind.values().map(|r| r.due).min()
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
    /// Somebody has read all, as far as one can tell.
    pub(super) fn note_up_to_date(&mut self, reader: &PublicKey) {
        self.catch_up.behind.remove(reader);
    }

    /// Somebody has read up to `heads`, and if that comes to something else with them, what stands `aside` is wanted too. They are
    /// answered when it is one's turn; if nobody has by then, and not before a time.
    pub(super) fn note_reader(
        &mut self,
        now: Now,
        reader: PublicKey,
        heads: &[Head],
        aside: Option<u64>,
        not_before: Duration,
    ) {
        let Some(state) = &self.state else {
            return;
        };
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let catch_up = &mut self.catch_up;
        (catch_up.answered).retain(|_, at| now.at < *at + ANSWER_AGAIN);
        let answered = catch_up.answered.get(&reader);
        let begin = (now.at.max(not_before))
            .max(catch_up.allowed)
            .max(answered.map_or(Duration::ZERO, |at| *at + ANSWER_AGAIN));
        let planned = catch_up.behind.get(&reader).map(|r| (r.due, r.latest));
        let due = begin + TURN_TO_ANSWER * rank;
        let (due, latest) = planned.unwrap_or((due, due + LONGEST_WAIT));
        let heads = heads.to_vec();
        let reading = Reader {
            heads,
            aside,
            due,
            latest,
        };
        catch_up.behind.insert(reader, reading);
    }

    /// Somebody else sent this: it need not be sent again, and they may go on.
    pub(super) fn note_progress(&mut self, now: Now, record: &Record) {
        let Some(state) = &self.state else {
            return;
        };
        let (author, seq) = (record.author(), record.payload().seq);
        let kind = record.body().kind();
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let (heads, digest) = (state.heads(), digest(state));
        let mut done = Vec::new();
        for (key, reader) in &mut self.catch_up.behind {
            let gets_on = match kind.is_chained() {
                true => reader.step(author, seq),
                false => reader.aside.is_some() && matches!(kind, Kind::Pledge | Kind::Join),
            };
            if gets_on {
                let later = now.at + TURN_TO_ANSWER * (rank + 1);
                reader.due = reader.due.max(later.min(reader.latest));
                if !reader.lacks(&heads, digest) {
                    done.push(*key);
                }
            }
        }
        for reader in done {
            self.catch_up.is_answered(reader, now.at);
        }
    }

    pub(super) fn answer_due_catch_up(&mut self, now: Now) {
        let Some(state) = &self.state else {
            return;
        };
        let due = |(key, r): (&PublicKey, &Reader)| (r.due <= now.at).then_some(*key);
        let due: Vec<_> = self.catch_up.behind.iter().filter_map(due).collect();
        if due.is_empty() {
            return;
        }
        // What one decided and has not on disk yet is not told: after a crash it would be said differently.
        let own = self.authority();
        let told = |r: &&Record| {
            Some(r.author()) != own
                || !r.body().kind().is_chained()
                || r.payload().seq <= self.durable
        };
        // For all at once who still need it: from the lowest of them.
        let (held, digest) = (state.heads(), digest(state));
        let readers = || due.iter().filter_map(|key| self.catch_up.behind.get(key));
        let readers = || readers().filter(|r| r.lacks(&held, digest));
        let lowest = |own: &Head| Head {
            seq: readers().map(|r| r.read(&own.author)).min().unwrap_or(0),
            ..*own
        };
        let heads = held.iter().map(lowest).filter(|h| h.seq > 0);
        let heads: Vec<_> = heads.collect();
        let is_wanted = readers().next().is_some();
        let is_aside = readers().any(|r| r.aside.is_some_and(|theirs| theirs != digest));
        // It may be more than one answer holds: each begins somewhere else.
        let mut aside: Vec<_> = state.aside().filter(|_| is_aside).collect();
        let begin = self.rng.next_u64() as usize % aside.len().max(1);
        aside.rotate_left(begin);
        let records = match is_wanted {
            true => state.after(&heads),
            false => Vec::new(),
        };
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
        if is_aside {
            // They may hold what one lacks oneself.
            self.say_hello_soon(now);
        }
        for reader in due {
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

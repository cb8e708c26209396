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
/// Whoever is at odds is told all there is so many times, …
const PATIENCE: u32 = 2;
/// … and then half as often each time, down to this, until there is more to tell: somebody who lies about what came of the
/// records is told by everybody.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
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
    /// Who was told all there is lately, by oneself.
    told_all: BTreeMap<PublicKey, Told>,
    /// No answer before.
    allowed: Duration,
}

#[derive(Debug)]
struct Told {
    at: Duration,
    /// How many records one had then.
    stored: u64,
    /// How often they were told those.
    times: u32,
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
        let due = self.behind.values().map(|r| r.due).min()?;
        Some(due.max(self.allowed))
    }

    /// Whether somebody at odds is to be told all there is, by somebody who has stored so many records.
    pub fn heeds(&self, reader: &PublicKey, stored: u64, now: Duration) -> bool {
        self.told_all.get(reader).is_none_or(|told| {
            let doublings = told.times.saturating_sub(PATIENCE).min(6);
            let pause = (ANSWER_AGAIN * (1 << doublings)).min(LONGEST_PAUSE);
            stored != told.stored || now >= told.at + pause
        })
    }

    fn tell_all(&mut self, reader: PublicKey, stored: u64, now: Duration) {
        let is_kept = |told: &Told| now < told.at + 2 * LONGEST_PAUSE;
        self.told_all.retain(|_, told| is_kept(told));
        let before = self.told_all.get(&reader).filter(|t| t.stored == stored);
        let times = before.map_or(1, |told| told.times + 1);
        let at = now;
        self.told_all.insert(reader, Told { at, stored, times });
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
    /// Somebody has read up to `heads`, and made `digest` of it; if they are at odds, what stands aside is wanted too. They are
    /// answered when it is one's turn, if nobody has by then, and not before a time.
    pub(super) fn note_reader(
        &mut self,
        now: Now,
        reader: PublicKey,
        (heads, digest): (&[Head], u64),
        is_at_odds: bool,
        not_before: Duration,
    ) {
        let Some(state) = &self.state else {
            return;
        };
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let catch_up = &mut self.catch_up;
        (catch_up.answered).retain(|_, at| now.at < *at + ANSWER_AGAIN);
        let planned = catch_up.behind.get(&reader);
        let was_at_odds = planned.is_some_and(|r| r.aside.is_some());
        let (due, latest) = planned.map_or_else(
            || {
                let answered = catch_up.answered.get(&reader);
                let again = answered.map_or(Duration::ZERO, |at| *at + ANSWER_AGAIN);
                let due = now.at.max(not_before).max(again) + TURN_TO_ANSWER * rank;
                (due, due + LONGEST_WAIT)
            },
            |r| (r.due, r.latest),
        );
        let reading = Reader {
            heads: heads.to_vec(),
            aside: (is_at_odds || was_at_odds).then_some(digest),
            due,
            latest,
        };
        catch_up.behind.insert(reader, reading);
    }

    /// Somebody has read all that one has oneself.
    pub(super) fn note_up_to_date(&mut self, reader: &PublicKey) {
        self.catch_up.behind.remove(reader);
    }

    /// Somebody else sent this: it need not be sent again, and they may go on.
    pub(super) fn note_progress(&mut self, now: Now, record: &Record) {
        let Some(state) = self
            .state
            .as_ref()
            .filter(|_| self.catch_up.due().is_some())
        else {
            return;
        };
        let (author, seq) = (record.author(), record.payload().seq);
        let kind = record.body().kind();
        let (held, digest) = (state.heads(), digest(state));
        // What one knows, or comes next.
        let is_sound = (held.iter()).any(|h| h.author == author && seq <= h.seq + 1);
        let rank = self.presence.rank(state, &self.me.public_key(), now.at);
        let mut done = Vec::new();
        for (key, reader) in &mut self.catch_up.behind {
            let gets_on = match kind.is_chained() {
                true => is_sound && reader.step(author, seq),
                false => reader.aside.is_some() && matches!(kind, Kind::Pledge | Kind::Join),
            };
            if gets_on {
                let later = now.at + TURN_TO_ANSWER * (rank + 1);
                reader.due = reader.due.max(later.min(reader.latest));
                if !reader.lacks(&held, digest) {
                    done.push(*key);
                }
            }
        }
        for reader in done {
            self.catch_up.is_answered(reader, now.at);
        }
    }

    /// Answers whoever has waited longest; what others need of it they need no more.
    pub(super) fn answer_due_catch_up(&mut self, now: Now) {
        let Some(state) = &self.state else {
            return;
        };
        if self.catch_up.due().is_none_or(|due| now.at < due) {
            return;
        }
        let (held, digest) = (state.heads(), digest(state));
        let behind = &mut self.catch_up.behind;
        behind.retain(|_, r| r.due > now.at || r.lacks(&held, digest));
        let first = behind.iter().filter(|(_, r)| r.due <= now.at);
        let Some((reader, reading)) = first.min_by_key(|(_, r)| r.due) else {
            return;
        };
        let (reader, heads) = (*reader, reading.heads.clone());
        let is_at_odds = reading.aside.is_some_and(|theirs| theirs != digest);
        // What one decided and has not on disk yet is not told: after a crash it would be said differently.
        let own = self.authority();
        let told = |r: &&Record| {
            Some(r.author()) != own
                || !r.body().kind().is_chained()
                || r.payload().seq <= self.durable
        };
        // It may be more than one answer holds: each begins somewhere else.
        let mut aside: Vec<_> = state.aside().filter(|_| is_at_odds).collect();
        let begin = self.rng.next_u64() as usize % aside.len().max(1);
        aside.rotate_left(begin);
        let records = state.after(&heads);
        let mut messages = vec![Vec::new()];
        let (mut size, mut all) = (0, 0);
        let mut entries = Vec::new();
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
            if record.body().kind().is_chained() {
                entries.push((record.author(), record.payload().seq));
            }
        }
        if is_at_odds {
            // They may hold what one lacks oneself.
            self.say_hello_soon(now);
            self.catch_up.tell_all(reader, self.stored, now.at);
        }
        let catch_up = &mut self.catch_up;
        catch_up.is_answered(reader, now.at);
        for other in catch_up.behind.values_mut() {
            for (author, seq) in &entries {
                other.step(*author, *seq);
            }
        }
        let done = catch_up.behind.iter();
        let done = done.filter(|(_, other)| !other.lacks(&held, digest));
        let done: Vec<_> = done.map(|(other, _)| *other).collect();
        for other in done {
            catch_up.is_answered(other, now.at);
        }
        let pause = Duration::from_secs_f64(all as f64 / ANSWERS as f64);
        catch_up.allowed = catch_up.allowed.max(now.at) + pause;
        for records in messages {
            if !records.is_empty() {
                let voice_key = None;
                self.deliver(&CircleMessage { records, voice_key }, Delivery::Prompt);
            }
        }
    }
}

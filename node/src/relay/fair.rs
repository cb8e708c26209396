//! What waits for one client of what others say: whoever says much waits behind whoever says little.
//!
//! Start-time fair queueing (Goyal, Vin and Cheng, 1996), by bytes, over *flows*: one for each topic and each of those who say something
//! there. Somebody who knows one of a circle's topics, its door's for example, may say there what they will, from as
//! many connections as they get: a removal said on another topic, or by somebody else, overtakes all of it. Where too
//! much waits, the flow with most in it loses its oldest.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::net::Topic;

/// What is told in turn: a topic, and who speaks there.
pub(crate) type Flow = (Topic, SocketAddr);

#[derive(Default)]
struct Waiting {
    /// Frames with the virtual times at which they end, oldest first.
    frames: VecDeque<(u64, Bytes)>,
    bytes: usize,
}

#[derive(Default)]
struct State {
    /// Flows in which something waits.
    flows: BTreeMap<Flow, Waiting>,
    /// When flows ended that may begin again before their time.
    ended: BTreeMap<Flow, u64>,
    /// Virtual time: bytes told to each flow that had something to tell.
    now: u64,
    bytes: usize,
}

/// See the module.
pub(crate) struct Fair {
    state: Mutex<State>,
    filled: Notify,
    most: usize,
}

impl Fair {
    /// Holds so many bytes.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            most,
        }
    }

    /// Adds a frame; says how many older ones had to go for it.
    pub(crate) fn push(&self, flow: Flow, frame: Bytes) -> usize {
        let dropped = {
            let mut state = self.lock();
            state.push(flow, frame);
            let mut dropped = 0;
            while state.bytes > self.most && state.drop_one() {
                dropped += 1;
            }
            dropped
        };
        self.filled.notify_one();
        dropped
    }

    /// The next frame, as soon as there is one. For a single reader.
    pub(crate) async fn pop(&self) -> Bytes {
        loop {
            if let Some(frame) = self.lock().pop() {
                return frame;
            }
            self.filled.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, flow: Flow, frame: Bytes) {
        let ended = self.ended.remove(&flow).unwrap_or_default();
        let waiting = self.flows.entry(flow).or_default();
        let last = waiting.frames.back().map_or(ended, |(ends, _)| *ends);
        let ends = last.max(self.now) + frame.len() as u64;
        self.bytes += frame.len();
        waiting.bytes += frame.len();
        waiting.frames.push_back((ends, frame));
    }

    fn pop(&mut self) -> Option<Bytes> {
        let ends = |(flow, w): (&Flow, &Waiting)| Some((w.frames.front()?.0, *flow));
        let (ends, flow) = self.flows.iter().filter_map(ends).min()?;
        let frame = self.take(flow)?;
        self.now = self.now.max(ends.saturating_sub(frame.len() as u64));
        let now = self.now;
        self.ended.retain(|_, ended| *ended > now);
        Some(frame)
    }

    /// The oldest of the flow in which most waits.
    fn drop_one(&mut self) -> bool {
        let most = (self.flows.iter()).max_by_key(|(_, waiting)| waiting.bytes);
        let flow = most.map(|(flow, _)| *flow);
        flow.and_then(|flow| self.take(flow)).is_some()
    }

    fn take(&mut self, flow: Flow) -> Option<Bytes> {
        let waiting = self.flows.get_mut(&flow)?;
        let (ends, frame) = waiting.frames.pop_front()?;
        waiting.bytes -= frame.len();
        self.bytes -= frame.len();
        if waiting.frames.is_empty() {
            self.flows.remove(&flow);
            self.ended.insert(flow, ends);
        }
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(topic: u8, port: u16) -> Flow {
        (Topic([topic; 32]), ([192, 0, 2, 1], port).into())
    }

    fn frame(byte: u8, length: usize) -> Bytes {
        vec![byte; length].into()
    }

    fn order(fair: &Fair) -> Vec<u8> {
        let mut state = fair.lock();
        let frames = std::iter::from_fn(|| state.pop());
        frames.map(|frame| frame[0]).collect()
    }

    #[test]
    fn one_who_says_little_overtakes_many_who_say_much() {
        let fair = Fair::new(1 << 20);
        for round in 0..3 {
            for port in 0..10 {
                fair.push(flow(1, port), frame(round, 18_000));
            }
        }
        fair.push(flow(2, 77), frame(99, 2_000));
        fair.push(flow(1, 78), frame(98, 2_000));
        let order = order(&fair);
        assert_eq!(order[..2], [98, 99]);
        assert_eq!(order.len(), 32);
        assert!(order[2..].is_sorted(), "{order:?}");
    }

    #[test]
    fn what_one_says_comes_in_order_and_nobody_gains_by_being_silent_in_between() {
        let fair = Fair::new(1 << 20);
        for byte in 0..4 {
            fair.push(flow(1, 1), frame(byte, 10_000));
        }
        // What was told of the other flow so far counts against it, until the first has caught up.
        for byte in 10..13 {
            fair.push(flow(1, 2), frame(byte, 3_000));
            let next = fair.lock().pop().unwrap();
            assert_eq!(next[0], byte);
        }
        fair.push(flow(1, 2), frame(13, 3_000));
        assert_eq!(order(&fair), [0, 13, 1, 2, 3]);
        let state = fair.lock();
        assert!(state.flows.is_empty() && state.bytes == 0);
        assert!(state.ended.len() <= 2);
    }

    #[test]
    fn where_too_much_waits_whoever_said_most_loses() {
        let fair = Fair::new(50_000);
        assert_eq!(fair.push(flow(2, 1), frame(1, 4_000)), 0);
        let dropped: usize = (0..40)
            .map(|byte| fair.push(flow(1, 5), frame(100 + byte, 9_000)))
            .sum();
        assert_eq!(dropped, 35);
        assert_eq!(order(&fair), [1, 135, 136, 137, 138, 139]);
    }

    #[tokio::test]
    async fn a_reader_is_woken() {
        let fair = std::sync::Arc::new(Fair::new(100));
        let reader = tokio::spawn({
            let fair = std::sync::Arc::clone(&fair);
            async move { fair.pop().await }
        });
        tokio::task::yield_now().await;
        fair.push(flow(1, 1), frame(5, 10));
        assert_eq!(reader.await.unwrap(), frame(5, 10));
    }
}

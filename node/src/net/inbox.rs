//! Packets that have arrived and wait for the driver: a short ring that forgets the oldest.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use libp2p::PeerId;
use tokio::sync::Notify;

/// Packets held: about 170 ms of a full circle.
pub(crate) const CAPACITY: usize = 128;

/// A packet and, on direct connections, whose connection it came on.
pub(crate) type Arrival = (Option<PeerId>, Bytes);

/// See the module.
#[derive(Default)]
pub(crate) struct Inbox {
    ring: Mutex<VecDeque<Arrival>>,
    filled: Notify,
}

impl Inbox {
    /// Adds a packet; says whether an older one had to go.
    pub(crate) fn push(&self, arrival: Arrival) -> bool {
        let dropped = {
            let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
            let dropped = ring.len() >= CAPACITY && ring.pop_front().is_some();
            ring.push_back(arrival);
            dropped
        };
        self.filled.notify_one();
        dropped
    }

    /// The oldest packet, as soon as there is one. For a single reader.
    pub(crate) async fn pop(&self) -> Arrival {
        loop {
            if let Some(arrival) = self
                .ring
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front()
            {
                return arrival;
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_ring_forgets_the_oldest() {
        let inbox = Inbox::default();
        for i in 0..=CAPACITY {
            assert_eq!(
                inbox.push((None, Bytes::from(vec![i as u8]))),
                i == CAPACITY
            );
        }
        assert_eq!(inbox.pop().await.1[0], 1);
    }
}

//! CUBIC with a floor.
//!
//! Voice is inelastic: a sender offers the same few tens of kilobits each second whatever the path does, so a window
//! below one round trip's worth of voice does not relieve the path, it only turns loss into silence and queueing. On a
//! path that loses one packet in ten at random, plain CUBIC collapses to two packets in flight. The floor keeps as much
//! in flight as a full circle's voice needs at a 200 ms round trip; above it CUBIC decides, so that gossip stays fair.
//!
//! Measured by `tests/net_rough.rs` (a packet in ten lost on each of two hops, 80 ms round trip each, 100 kB/s): two
//! fifths of the packets arrive without the floor, four fifths with it, which is all that the paths let through.

use std::{any::Any, sync::Arc, time::Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Builds [`Floored`] controllers.
#[derive(Debug)]
pub(crate) struct FlooredCubic {
    /// Bytes that may always be in flight.
    pub(crate) floor_bytes: u64,
}

impl ControllerFactory for FlooredCubic {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::new(CubicConfig::default()).build(now, current_mtu);
        Box::new(Floored {
            inner,
            floor_bytes: self.floor_bytes,
        })
    }
}

struct Floored {
    inner: Box<dyn Controller>,
    floor_bytes: u64,
}

impl Controller for Floored {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window().max(self.floor_bytes)
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            floor_bytes: self.floor_bytes,
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window().max(self.floor_bytes)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_never_takes_the_window_below_the_floor() {
        let start = Instant::now();
        let mut controller = Arc::new(FlooredCubic {
            floor_bytes: 24_000,
        })
        .build(start, 1_200);
        for i in 1..50u64 {
            let now = start + Duration::from_millis(i * 100);
            controller.on_congestion_event(now, now, true, 1_200);
            assert!(controller.window() >= 24_000);
        }
        assert!(controller.clone_box().window() >= 24_000);
    }
}

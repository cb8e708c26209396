//! What the virtual network does to a message.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// Delay and loss between any two nodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Network {
    /// Mean one-way delay.
    pub delay: Duration,
    /// Evenly spread around the mean by up to this much.
    pub jitter: Duration,
    /// Fraction of voice packets lost. Control messages are sent again until they arrive, as QUIC
    /// streams do: a loss costs them a round trip.
    pub loss: f64,
    /// Every so often, all voice packets of a node are lost for a moment. Zero: never.
    pub burst_every: Duration,
    /// For so long.
    pub burst: Duration,
    /// One delay in fifty is this much longer, as when a queue fills up.
    pub tail: Duration,
}

impl Network {
    /// A wide-area network: 80 ms ± 40 ms, 2 % loss.
    pub const WIDE: Self = Self {
        delay: Duration::from_millis(80),
        jitter: Duration::from_millis(40),
        loss: 0.02,
        ..Self::LOCAL
    };
    /// A local network.
    pub const LOCAL: Self = Self {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        loss: 0.0,
        burst_every: Duration::ZERO,
        burst: Duration::ZERO,
        tail: Duration::ZERO,
    };

    /// When a voice packet that node `from` sends now arrives, or `None` if it is lost.
    pub fn media_delay(
        &self,
        from: usize,
        now: Duration,
        rng: &mut ChaCha20Rng,
    ) -> Option<Duration> {
        (uniform(rng) >= self.loss && !self.is_burst(from, now)).then(|| self.one_way(rng))
    }

    /// Each node at its own time.
    fn is_burst(&self, from: usize, now: Duration) -> bool {
        let every = self.burst_every.as_millis();
        let phase = now.as_millis() + 977 * from as u128;
        every > 0 && phase % every < self.burst.as_millis()
    }

    /// When a control message arrives.
    pub fn control_delay(&self, rng: &mut ChaCha20Rng) -> Duration {
        let mut delay = self.one_way(rng);
        while uniform(rng) < self.loss {
            delay += 2 * self.one_way(rng);
        }
        delay
    }

    fn one_way(&self, rng: &mut ChaCha20Rng) -> Duration {
        let spread = self.jitter.mul_f64(2.0 * uniform(rng));
        let tail = match !self.tail.is_zero() && uniform(rng) < 0.02 {
            true => self.tail,
            false => Duration::ZERO,
        };
        (self.delay + spread + tail).saturating_sub(self.jitter)
    }
}

/// Uniform in 0..1.
pub fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

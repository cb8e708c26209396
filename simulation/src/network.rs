//! What the virtual network does to a message.

use std::time::Duration;

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// Delay and loss between any two nodes.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    /// Mean one-way delay.
    pub delay: Duration,
    /// Evenly spread around the mean by up to this much.
    pub jitter: Duration,
    /// Fraction of voice packets lost. Control messages are sent again until they arrive, as QUIC
    /// streams do: a loss costs them a round trip.
    pub loss: f64,
}

impl Network {
    /// A wide-area network: 80 ms ± 40 ms, 2 % loss.
    pub const WIDE: Self = Self {
        delay: Duration::from_millis(80),
        jitter: Duration::from_millis(40),
        loss: 0.02,
    };
    /// A local network.
    pub const LOCAL: Self = Self {
        delay: Duration::from_millis(2),
        jitter: Duration::from_millis(1),
        loss: 0.0,
    };

    /// When a voice packet arrives, or `None` if it is lost.
    pub fn media_delay(&self, rng: &mut ChaCha20Rng) -> Option<Duration> {
        (uniform(rng) >= self.loss).then(|| self.one_way(rng))
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
        (self.delay + spread).saturating_sub(self.jitter)
    }
}

/// Uniform in 0..1.
pub fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

//! Clocks, at the edges only: inside, time is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 UTC.
pub fn unix_millis() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(0))
}

/// Seconds since 1970 UTC.
pub fn unix_seconds() -> u64 {
    unix_millis() / 1_000
}

/// Whole minutes since 1970 UTC.
pub fn unix_minute() -> u64 {
    unix_seconds() / 60
}

/// Time since the machine was started, the time it slept included: what was waited for while it did is over when it wakes.
/// `Instant` leaves that out.
#[cfg(target_os = "linux")]
pub(crate) fn uptime() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    // Neither is ever negative.
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(
        now.tv_sec.max(0) as u64,
        now.tv_nsec.clamp(0, 999_999_999) as u32,
    )
}

/// Time since this was asked first; other systems' sleep is not counted.
#[cfg(not(target_os = "linux"))]
pub(crate) fn uptime() -> Duration {
    static BEGUN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    BEGUN.get_or_init(std::time::Instant::now).elapsed()
}

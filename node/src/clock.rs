//! The wall clock, at the edges only: inside, time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

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

//! The wall clock, at the edges only: inside, time is an argument.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970 UTC.
pub(crate) fn unix_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |d| d.as_secs())
}

/// Whole minutes since 1970 UTC.
pub(crate) fn unix_minute() -> u64 {
    unix_seconds() / 60
}

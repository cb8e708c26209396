//! What one client, and all clients together, may take of a relay.

use serde::{Deserialize, Serialize};

use crate::net::{Budget, MAX_CONTROL_BYTES, REQUESTS, directory::MOST_LISTINGS};

/// See the module. In the operator's file the names are these, and what is not named keeps its default.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayLimits {
    /// Connections in all.
    pub connections: u32,
    /// Connections from one address (of IPv6, from one /64): a shelter's whole circle may be behind one.
    pub connections_per_address: u32,
    /// Attempts to connect from one address.
    pub attempts: Budget,
    /// Handshakes under way. From a quarter of them on, newcomers have to prove their address first.
    pub pending: u32,
    /// Resident memory beyond which neither a line nor a connection is taken, MiB.
    pub memory_mib: u32,
    /// Members' lines in all, at an entry.
    pub lines: u32,
    /// Media routes in all: as many at least as all connections may be attached to, so that nobody uses them up.
    pub routes: usize,
    /// Connections on one route: the members of a circle.
    pub slots_per_route: usize,
    /// Routes one connection is attached to: this epoch's and the last one's.
    pub routes_per_connection: usize,
    /// Datagrams taken from one connection.
    pub datagrams: Budget,
    /// Requests about routes and topics taken from one connection.
    pub requests: Budget,
    /// Topics in all: as many at least as all connections may hear, so that nobody uses them up.
    pub topics: usize,
    /// Topics one connection may hear.
    pub topics_per_client: usize,
    /// Announcements in the topic directory; a client is told at most 300 at once.
    pub listings: usize,
    /// … and of one topic in one language.
    pub listings_per_topic: usize,
    /// Sealed messages kept for those who are away, MiB in all; 0 keeps none.
    pub mailbox_mib: u32,
    /// … and on one topic, KiB.
    pub mailbox_topic_kib: u32,
    /// How long they are kept, days: 7 at most.
    pub mailbox_days: u32,
    /// Control messages taken from one connection.
    pub messages: Budget,
    /// Bytes of control messages taken from one connection; the burst lets one catch-up answer (256 KiB) through.
    pub message_bytes: Budget,
    /// What one connection may send beyond all this, to be dropped, before it is cut.
    pub excess: Budget,
}

impl Default for RelayLimits {
    fn default() -> Self {
        let budget = |per_second: f64, burst: f64| Budget { per_second, burst };
        Self {
            connections: 512,
            connections_per_address: 64,
            attempts: budget(2.0, 128.0),
            pending: 128,
            memory_mib: 1024,
            lines: 512,
            routes: 1_024,
            slots_per_route: 16,
            routes_per_connection: 2,
            datagrams: budget(150.0, 75.0),
            requests: budget(4.0, 64.0),
            topics: 8_192,
            topics_per_client: 16,
            listings: 256,
            listings_per_topic: 32,
            mailbox_mib: 64,
            mailbox_topic_kib: 64,
            mailbox_days: 7,
            messages: budget(20.0, 100.0),
            message_bytes: budget(64.0 * 1024.0, 512.0 * 1024.0),
            excess: budget(50.0, 500.0),
        }
    }
}

impl RelayLimits {
    /// The first limit with which a relay would be of no use, and why.
    pub(crate) fn mistake(&self) -> Option<(&'static str, &'static str)> {
        let budgets = [
            ("attempts", self.attempts),
            ("datagrams", self.datagrams),
            ("requests", self.requests),
            ("messages", self.messages),
            ("message_bytes", self.message_bytes),
            ("excess", self.excess),
        ];
        for (name, Budget { per_second, burst }) in budgets {
            if !(per_second.is_finite() && per_second > 0.0 && burst.is_finite() && burst >= 1.0) {
                return Some((name, "needs a rate above 0 and a burst of at least 1"));
            }
        }
        let counts = [
            ("connections", u64::from(self.connections), 2),
            (
                "connections_per_address",
                u64::from(self.connections_per_address),
                1,
            ),
            ("pending", u64::from(self.pending), 4),
            ("memory_mib", u64::from(self.memory_mib), 64),
            ("lines", u64::from(self.lines), 2),
            ("routes", self.routes as u64, 1),
            ("slots_per_route", self.slots_per_route as u64, 2),
            (
                "routes_per_connection",
                self.routes_per_connection as u64,
                2,
            ),
            ("topics", self.topics as u64, 2),
            ("topics_per_client", self.topics_per_client as u64, 4),
            ("listings", self.listings as u64, 1),
            ("listings_per_topic", self.listings_per_topic as u64, 1),
        ];
        let small = counts.into_iter().find(|(_, count, least)| count < least);
        if let Some((name, _, _)) = small {
            return Some((name, "is too small for a circle of two"));
        }
        if !(1..=7).contains(&self.mailbox_days) {
            return Some(("mailbox_days", "is between 1 and 7"));
        }
        if !(20..=256).contains(&self.mailbox_topic_kib) {
            return Some(("mailbox_topic_kib", "is between 20, one message, and 256"));
        }
        if self.listings > MOST_LISTINGS {
            return Some(("listings", "is more than a client is told at once"));
        }
        if self.datagrams.per_second < 50.0 {
            return Some(("datagrams", "is less than the fifty a second of one voice"));
        }
        let has = |given: Budget, needed: Budget| {
            given.per_second >= needed.per_second && given.burst >= needed.burst
        };
        if !has(self.requests, REQUESTS) {
            return Some(("requests", "is less than what members' programs use"));
        }
        if self.message_bytes.burst < MAX_CONTROL_BYTES as f64 {
            return Some(("message_bytes", "has no room for the largest message"));
        }
        let all = |each: usize| each.saturating_mul(self.connections as usize);
        if self.routes < all(self.routes_per_connection) {
            let mistake = "is less than connections times routes_per_connection: a few could take them all, and keep circles out";
            return Some(("routes", mistake));
        }
        if self.topics < all(self.topics_per_client) {
            let mistake = "is less than connections times topics_per_client: a few could take them all, and keep circles out";
            return Some(("topics", mistake));
        }
        None
    }

    /// Whether the process has more memory than it should; no, where the system does not say.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        resident_kib().is_some_and(|kib| kib >> 10 >= u64::from(self.memory_mib))
    }
}

/// Resident memory of this process, as Linux tells it (proc_pid_status(5)).
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_take_all_routes_or_topics() {
        let limits = RelayLimits::default();
        assert_eq!(limits.mistake(), None);
        let too_few = |limits: RelayLimits| limits.mistake().map(|(name, _)| name);
        let (routes, topics) = (limits.routes - 1, limits.topics - 1);
        assert_eq!(too_few(RelayLimits { routes, ..limits }), Some("routes"));
        assert_eq!(too_few(RelayLimits { topics, ..limits }), Some("topics"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_known() {
        let is_out = |memory_mib| {
            let limits = RelayLimits {
                memory_mib,
                ..RelayLimits::default()
            };
            limits.is_out_of_memory()
        };
        assert!(is_out(1) && !is_out(1 << 20));
    }
}

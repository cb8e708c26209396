//! Sums over all clients. Nothing here can be traced to a connection, a route or a topic.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// A relay that has not looked at its clock for this long is stuck.
const STUCK: Duration = Duration::from_secs(5);

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// How it is now.
    Gauge,
}

/// How a relay is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// It was asked to end, and lets nobody in.
    Draining,
    /// Its loop does not go round.
    Stuck,
}

/// Writes the sums down once: as what is told, as what is counted, and as rows for metrics.
macro_rules! sums {
    ($($kind:ident $name:ident: $help:literal,)*) => {
        /// What a relay has done and holds, in sum.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct RelayStats {
            $(#[doc = $help] pub $name: u64,)*
        }

        impl RelayStats {
            /// Name, meaning, kind and value of each.
            pub(crate) fn rows(&self) -> Vec<(&'static str, &'static str, Kind, u64)> {
                vec![$((stringify!($name), $help, Kind::$kind, self.$name),)*]
            }
        }

        /// The counters behind [`RelayStats`].
        #[derive(Debug)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
            began: Instant,
            /// When the loop last went round, milliseconds after it began.
            alive_ms: AtomicU64,
            draining: AtomicBool,
        }

        impl Default for Counters {
            fn default() -> Self {
                Self {
                    $($name: AtomicU64::new(0),)*
                    began: Instant::now(),
                    alive_ms: AtomicU64::new(0),
                    draining: AtomicBool::new(false),
                }
            }
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> RelayStats {
                RelayStats { $($name: self.$name.load(Relaxed),)* }
            }
        }
    };
}

sums! {
    Gauge connections: "Connections open now",
    Gauge routes: "Media routes alive now",
    Gauge topics: "Topics heard by anybody now",
    Gauge subscriptions: "Subscriptions of clients to topics now",
    Counter datagrams_in: "Datagrams taken in",
    Counter datagrams_out: "Copies handed to QUIC",
    Counter datagrams_refused: "Datagrams dropped on arrival, of the wrong form, on no route, or over the rate",
    Counter datagrams_dropped: "Copies dropped on departure, as the path or queue could not take them",
    Counter messages: "Control messages handed on",
    Counter messages_dropped: "Control messages dropped for being over the rate",
    Counter messages_untaken: "Copies of control messages forgotten as their client did not take them",
    Counter routes_refused: "Route requests refused",
    Gauge lines: "Members' lines open now",
    Counter cells_in: "Cells taken in from members",
    Counter cells_out: "Cells sent to members",
    Counter cells_missed: "Cells to members that were left out, as the machine could not keep up",
    Counter line_packets_dropped: "Packets that pushed each other out waiting for cells",
    Gauge letters: "Sealed messages kept for those who are away now",
    Gauge letter_bytes: "Room that they take, bytes",
    Counter letters_forgotten: "Messages forgotten before their time, as there were too many",
    Gauge listings: "Announcements in the topic directory now",
    Gauge directory_links: "Links to other relays' directories now",
    Counter announcements: "Announcements taken",
    Counter announcements_refused: "Announcements refused, for whatever reason",
    Counter clients_cut: "Connections cut because their client went on sending too much",
}

impl RelayStats {
    /// Whether somebody is in a circle here, or on a line to one elsewhere. Other relays' links stay, and wait for nothing.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.routes > 0 || self.lines > 0
    }
}

impl Counters {
    /// The loop goes round.
    pub(crate) fn alive(&self) {
        let ms = self.began.elapsed().as_millis();
        self.alive_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Relaxed);
    }

    /// Nobody new is let in from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    pub(crate) fn health(&self) -> Health {
        let alive = Duration::from_millis(self.alive_ms.load(Relaxed));
        if self.began.elapsed().saturating_sub(alive) > STUCK {
            Health::Stuck
        } else if self.draining.load(Relaxed) {
            Health::Draining
        } else {
            Health::Well
        }
    }
}

/// One more of what there is now, until dropped.
pub(crate) struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    pub(crate) fn new(gauge: &'a AtomicU64) -> Self {
        gauge.fetch_add(1, Relaxed);
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_up_half_way_is_counted_no_longer() {
        let gauge = AtomicU64::new(0);
        let link = async {
            let _counted = Counted::new(&gauge);
            std::future::pending::<()>().await;
        };
        let over = tokio::time::timeout(Duration::from_millis(1), link);
        assert!(over.await.is_err());
        assert_eq!(gauge.load(Relaxed), 0);
    }

    #[test]
    fn circles_and_lines_are_use_and_links_of_other_relays_are_not() {
        let mut stats = RelayStats {
            connections: 3,
            directory_links: 3,
            ..RelayStats::default()
        };
        assert!(!stats.is_in_use());
        stats.lines = 1;
        assert!(stats.is_in_use());
        (stats.lines, stats.routes) = (0, 1);
        assert!(stats.is_in_use());
    }
}

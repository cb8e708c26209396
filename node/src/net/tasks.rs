//! Every task of a network or a relay, so that all can be ended and joined.

use std::{future::Future, pin::Pin};

use libp2p::swarm::Executor;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// A handle on one network's tasks. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
        }
    }

    /// Runs `task` until it ends or [`Tasks::stop`] is called.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            stop.run_until_cancelled_owned(task).await;
        });
    }

    /// Runs `task` to its end: it is the one that calls [`Tasks::stop`].
    pub(crate) fn spawn_to_the_end(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Ends every task started by [`Tasks::spawn`].
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Ends every task when this is dropped.
    pub(crate) fn ends_when_dropped(&self) -> DropGuard {
        self.stop.clone().drop_guard()
    }

    /// Returns when every task has ended.
    pub(crate) async fn joined(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// libp2p runs one task a connection on this.
impl Executor for Tasks {
    fn exec(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }
}

//! What the window needs of a node.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use undertone_node::api::{Command, Event, Snapshot};

use crate::news::Courier;

/// A node, or in tests something that looks like one.
pub trait Backend {
    /// Asks for something. Never blocks.
    fn send(&self, command: Command);
    /// All that can be seen now. Cheap.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// Calls back, from any thread, whenever there is a new snapshot.
    fn on_change(&self, callback: Box<dyn Fn() + Send + Sync>);
    /// Passes on, while it is polled, what happens from now on.
    fn pass_on(&self, to: Sender<Event>) -> Courier;
    /// Ends sound and connections at once.
    fn quick_exit(&self);
}

impl Backend for undertone_node::NodeHandle {
    fn send(&self, command: Command) {
        self.send(command);
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot()
    }
    fn on_change(&self, callback: Box<dyn Fn() + Send + Sync>) {
        self.on_change(callback);
    }
    fn pass_on(&self, to: Sender<Event>) -> Courier {
        let mut events = self.events();
        Box::pin(async move {
            let mut missed = false;
            loop {
                match events.recv().await {
                    Ok(event) => {
                        missed = false;
                        if to.send(event).is_err() {
                            // The window is gone.
                            return;
                        }
                    }
                    // Once: some were missed. Again, with none between: the node has ended.
                    Err(_) if missed => return,
                    Err(_) => missed = true,
                }
            }
        })
    }
    fn quick_exit(&self) {
        self.quick_exit();
    }
}

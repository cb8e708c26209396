//! What the window needs of a node.

use std::sync::Arc;

use undertone_node::api::{Command, Snapshot};

/// A node, or in tests something that looks like one.
pub trait Backend {
    /// Asks for something. Never blocks.
    fn send(&self, command: Command);
    /// All that can be seen now. Cheap.
    fn snapshot(&self) -> Arc<Snapshot>;
    /// Calls back, from any thread, whenever there is a new snapshot.
    fn on_change(&self, callback: Box<dyn Fn() + Send + Sync>);
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
    fn quick_exit(&self) {
        self.quick_exit();
    }
}

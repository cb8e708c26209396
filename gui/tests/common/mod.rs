//! A node that is not there: it shows what a test tells it to, and remembers what it was asked.

#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

pub mod samples;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use egui::vec2;
use egui_kittest::Harness;
use undertone_gui::{App, Backend, Courier, Errand};
use undertone_node::api::{Command, Event, Snapshot};

#[derive(Clone, Default)]
pub struct FakeNode {
    snapshot: Rc<RefCell<Arc<Snapshot>>>,
    pub sent: Rc<RefCell<Vec<Command>>>,
    pub quick_exits: Rc<Cell<u32>>,
    events: Rc<RefCell<Option<Sender<Event>>>>,
}

impl FakeNode {
    pub fn showing(snapshot: Snapshot) -> Self {
        let node = Self::default();
        node.show(snapshot);
        node
    }

    /// What the window sees from now on.
    pub fn show(&self, snapshot: Snapshot) {
        *self.snapshot.borrow_mut() = Arc::new(snapshot);
    }

    /// Changes what the window sees.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.snapshot.borrow());
        change(&mut snapshot);
        self.show(snapshot);
    }

    /// Tells the window what happens.
    pub fn happens(&self, event: Event) {
        let events = self.events.borrow();
        events.as_ref().unwrap().send(event).unwrap();
    }

    /// What was asked since the last time, as text.
    pub fn take_sent(&self) -> Vec<String> {
        self.sent
            .borrow_mut()
            .drain(..)
            .map(|c| format!("{c:?}"))
            .collect()
    }
}

impl Backend for FakeNode {
    fn send(&self, command: Command) {
        self.sent.borrow_mut().push(command);
    }
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.borrow().clone()
    }
    fn on_change(&self, _callback: Box<dyn Fn() + Send + Sync>) {}
    fn pass_on(&self, to: Sender<Event>) -> Courier {
        *self.events.borrow_mut() = Some(to);
        Box::pin(std::future::pending())
    }
    fn quick_exit(&self) {
        self.quick_exits.set(self.quick_exits.get() + 1);
    }
}

pub type Window = Harness<'static, App<FakeNode>>;

/// A window of this size on a node that shows `snapshot`, without motion.
pub fn window(node: &FakeNode, width: f32, height: f32, errand: Option<Errand>) -> Window {
    let node = node.clone();
    let mut window = Harness::builder()
        .with_size(vec2(width, height))
        .with_max_steps(30)
        .build_eframe(move |cc| {
            let mut app = App::new(&cc.egui_ctx, node, errand);
            app.set_appearance(egui::ThemePreference::Light, 100, false);
            app
        });
    window.run_ok();
    window
}

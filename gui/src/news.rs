//! What happens in a node, as it happens.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context, Poll, Wake, Waker};

use undertone_node::api::Event;

/// Passes on what happens, in order, for as long as it is polled.
pub type Courier = Pin<Box<dyn Future<Output = ()>>>;

/// Has the window drawn again.
struct Redraw(egui::Context);

impl Wake for Redraw {
    fn wake(self: Arc<Self>) {
        self.0.request_repaint();
    }
}

/// What has happened and was not looked at yet. No thread waits for it: the window is woken instead.
pub(crate) struct News {
    courier: Option<Courier>,
    arrived: Receiver<Event>,
    waker: Waker,
}

impl News {
    /// News by way of what `courier` makes, for the window of `ctx`.
    pub(crate) fn new(ctx: &egui::Context, courier: impl FnOnce(Sender<Event>) -> Courier) -> Self {
        let (to, arrived) = channel();
        Self {
            courier: Some(courier(to)),
            arrived,
            waker: Waker::from(Arc::new(Redraw(ctx.clone()))),
        }
    }

    /// What happened since the last time.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut cx = Context::from_waker(&self.waker);
        let ended = self.courier.as_mut().map(|c| c.as_mut().poll(&mut cx));
        if ended == Some(Poll::Ready(())) {
            self.courier = None;
        }
        self.arrived.try_iter().collect()
    }
}

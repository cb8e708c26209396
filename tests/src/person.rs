//! A person in a test: a real node whose microphone is a recording and whose headphones are recorded.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::broadcast::error::RecvError;
use undertone_node::api::{Circle, Command, Consent, Event, Place};
use undertone_node::audio::MemoryHost;
use undertone_node::net::SocketFactory;
use undertone_node::{NodeConfig, NodeHandle};
use undertone_protocol::id::PublicKey;
use undertone_protocol::texts;

use crate::analysis::Track;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Where somebody's node is.
pub struct Home {
    /// What opens its sockets.
    pub socket: SocketFactory,
    /// Where it listens in direct circles.
    pub listen: SocketAddr,
    /// Its data folder; none if it is to keep nothing.
    pub data: Option<PathBuf>,
    /// Whether sound is kept, said and heard.
    pub recorded: bool,
}

impl Home {
    /// On this machine's loopback, with nothing kept.
    pub fn here(socket: SocketFactory) -> Self {
        Self {
            socket,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            data: None,
            recorded: true,
        }
    }
}

/// A real node, its ears and its mouth.
pub struct Person {
    /// The pseudonym.
    pub name: String,
    /// The node.
    pub node: NodeHandle,
    /// What the microphone took, on the stage's clock.
    pub said: Arc<Mutex<Track>>,
    /// What the headphones played, on the stage's clock.
    pub heard: Arc<Mutex<Track>>,
    /// From the invite to its door.
    pub door_after: Option<Duration>,
    /// … to being inside.
    pub inside_after: Option<Duration>,
    /// … to the first packet of somebody's voice.
    pub hearing_after: Option<Duration>,
    speaks: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<(Duration, Event)>>>,
    began: Instant,
}

impl Person {
    /// Starts a node; `speech` is said over and over while [`speak`](Self::speak) is on.
    ///
    /// # Errors
    /// When the node cannot start.
    pub fn start(name: &str, speech: Vec<f32>, began: Instant, home: Home) -> Result<Self> {
        let speaks = Arc::new(AtomicBool::new(false));
        let (said, heard) = (
            Arc::<Mutex<Track>>::default(),
            Arc::<Mutex<Track>>::default(),
        );
        let microphone = {
            let (speaks, said) = (Arc::clone(&speaks), Arc::clone(&said));
            let mut at = 0;
            move |frame: &mut [f32]| {
                frame.fill(0.0);
                if speaks.load(Ordering::Acquire) && !speech.is_empty() {
                    for sample in frame.iter_mut() {
                        *sample = speech[at];
                        at = (at + 1) % speech.len();
                    }
                }
                // Called when the last of these samples has been spoken.
                let length = Duration::from_secs_f64(frame.len() as f64 / 48_000.0);
                if home.recorded {
                    lock(&said).write(began.elapsed().saturating_sub(length), frame);
                }
            }
        };
        let headphones = {
            let heard = Arc::clone(&heard);
            move |samples: &[f32], at: Instant| {
                if home.recorded {
                    lock(&heard).write(at.saturating_duration_since(began), samples);
                }
            }
        };
        let host = MemoryHost::new(Box::new(microphone), Box::new(headphones));
        let mut config = NodeConfig::in_memory(Arc::new(host));
        config.socket = home.socket;
        config.listen = vec![home.listen];
        config.data = home.data;
        let node = undertone_node::start(config).context("the node cannot start")?;
        node.send(Command::SetName(name.to_owned()));
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let (mut events, keep) = (node.events(), Arc::clone(&seen));
        // Ends with the node, which is the sender.
        std::thread::spawn(move || {
            loop {
                match events.blocking_recv() {
                    Ok(event) => lock(&keep).push((began.elapsed(), event)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            node,
            said,
            heard,
            door_after: None,
            inside_after: None,
            hearing_after: None,
            speaks,
            seen,
            began,
        })
    }

    /// Begins or ends to say what the recording holds.
    pub fn speak(&self, on: bool) {
        self.speaks.store(on, Ordering::Release);
    }

    /// The circle as this person sees it, if inside.
    pub fn circle(&self) -> Option<Circle> {
        match &self.node.snapshot().place {
            Place::Circle(circle) => Some(circle.as_ref().clone()),
            _ => None,
        }
    }

    /// One's pseudonym key in the circle.
    ///
    /// # Errors
    /// When not inside.
    pub fn key(&self) -> Result<PublicKey> {
        let circle = self.circle();
        let circle = circle.with_context(|| format!("{} is not in the circle", self.name))?;
        Ok(circle.me)
    }

    /// The stage's clock.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Of what happened so far, whatever is asked for, in order.
    pub fn seen<T>(&self, what: impl Fn(&Event) -> Option<T>) -> Vec<T> {
        lock(&self.seen)
            .iter()
            .filter_map(|(_, e)| what(e))
            .collect()
    }

    /// When something first happened.
    pub fn first(&self, what: impl Fn(&Event) -> bool) -> Option<Duration> {
        let seen = lock(&self.seen);
        seen.iter().find(|(_, e)| what(e)).map(|(at, _)| *at)
    }

    /// Goes through the door with every clause accepted, and in.
    ///
    /// # Errors
    /// When not inside, or not hearing anybody, in time.
    pub fn come_in(&mut self, invite: &str, limit: Duration) -> Result<()> {
        self.node.send(Command::OpenInvite(invite.to_owned()));
        let begun = Instant::now();
        let mut door_after = None;
        self.wait(limit, "to be in the circle", |person| {
            match &person.node.snapshot().place {
                Place::Door(_) if door_after.is_none() => {
                    door_after = Some(begun.elapsed());
                    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
                    person.node.send(Command::SignPledge(Consent { accepted }));
                    false
                }
                Place::Circle(circle) => circle.members.iter().any(|m| m.key == circle.me),
                _ => false,
            }
        })?;
        self.door_after = door_after;
        self.inside_after = Some(begun.elapsed());
        // Voice packets come of everybody, all the time.
        self.wait(limit, "to receive somebody's voice", |person| {
            let circle = person.circle();
            circle.is_some_and(|c| {
                let mut others = c.members.iter().filter(|m| m.key != c.me);
                others.any(|m| m.connection.is_heard())
            })
        })?;
        self.hearing_after = Some(begun.elapsed());
        Ok(())
    }

    /// Waits until something holds.
    ///
    /// # Errors
    /// When it does not in time, with what this person saw then.
    pub fn wait(
        &mut self,
        limit: Duration,
        what: &str,
        mut holds: impl FnMut(&mut Self) -> bool,
    ) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if holds(self) {
                return Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        let snapshot = self.node.snapshot();
        bail!(
            "{} waited {limit:?} in vain {what}; notice {:?}, place {:?}",
            self.name,
            snapshot.notice,
            snapshot.place
        )
    }
}

/// A lock that a panicking test does not spoil for the others.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

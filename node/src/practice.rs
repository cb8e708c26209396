//! The practice circle: companions on this machine, real nodes over loopback, who speak, take turns and
//! answer the controls, so that every control can be learnt where nothing can go wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::api::{CircleDraft, Command, Consent, Place, RouteDraft, Snapshot};
use crate::audio::MemoryHost;
use crate::speech::CLIPS;
use crate::{NodeConfig, NodeError, NodeHandle};
use undertone_protocol::record::{AdmissionMode, FloorMode, Pace};
use undertone_protocol::texts;

const LEADER: &str = "Gentle Oak";
const COMPANIONS: [&str; 3] = ["Quiet Heron", "Amber Fox", "Patient Willow"];
/// How long a companion waits before raising a hand, each a little longer than the one before.
const PAUSE: Duration = Duration::from_secs(7);
/// A companion speaks no longer than this at a time.
const SPEECH: Duration = Duration::from_secs(12);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const INVITE_WITHIN: Duration = Duration::from_secs(10);

/// A running practice circle's companions. They leave when it is dropped.
pub struct Practice {
    ended: Arc<AtomicBool>,
    minds: Vec<JoinHandle<()>>,
    leader: Option<Arc<NodeHandle>>,
}

impl Practice {
    /// What a practice circle is.
    pub fn draft() -> CircleDraft {
        CircleDraft {
            topic: "Practice".into(),
            title: "Practice circle".into(),
            language: "en".into(),
            admission: AdmissionMode::Approval,
            max_members: 8,
            turn: Duration::from_secs(60),
            floor: FloorMode::Active,
            schedule: None,
            listener_welcome: false,
            route: RouteDraft::Direct,
            pace: Pace::Usual,
        }
    }

    /// A circle led by a companion; the person takes part.
    ///
    /// # Errors
    /// When a companion cannot be started.
    pub fn lead() -> Result<Self, NodeError> {
        let (leader, speaks) = companion(LEADER, 0)?;
        leader.send(Command::StartCircle(Self::draft()));
        let leader = Arc::new(leader);
        let mut practice = Self {
            ended: Arc::new(AtomicBool::new(false)),
            minds: Vec::new(),
            leader: Some(Arc::clone(&leader)),
        };
        practice.think(leader, speaks, 0, None)?;
        practice.invite_companions(None)?;
        Ok(practice)
    }

    /// Companions who join the person's own circle.
    ///
    /// # Errors
    /// When a companion cannot be started.
    pub fn join(link: String) -> Result<Self, NodeError> {
        let mut practice = Self {
            ended: Arc::new(AtomicBool::new(false)),
            minds: Vec::new(),
            leader: None,
        };
        practice.invite_companions(Some(link))?;
        Ok(practice)
    }

    /// The link to a circle that a companion leads, once it is founded.
    pub async fn invite(&self) -> Option<String> {
        let begun = Instant::now();
        while begun.elapsed() < INVITE_WITHIN {
            if let Some(link) = self.leader.as_ref().and_then(|l| invite_of(&l.snapshot())) {
                return Some(link);
            }
            tokio::time::sleep(LOOK_EVERY / 4).await;
        }
        None
    }

    fn invite_companions(&mut self, link: Option<String>) -> Result<(), NodeError> {
        for (index, name) in COMPANIONS.iter().enumerate() {
            let (node, speaks) = companion(name, index + 1)?;
            self.think(Arc::new(node), speaks, index + 1, link.clone())?;
        }
        Ok(())
    }

    /// Gives a companion a mind of its own.
    fn think(
        &mut self,
        node: Arc<NodeHandle>,
        speaks: Arc<AtomicBool>,
        index: usize,
        link: Option<String>,
    ) -> Result<(), NodeError> {
        let ended = Arc::clone(&self.ended);
        let leader = self.leader.clone();
        let mind = Mind {
            node,
            speaks,
            index: index as u32,
            link,
            leader,
            knocked: false,
            quiet_since: Instant::now(),
            speaking_since: None,
        };
        let thread = std::thread::Builder::new()
            .name(format!("companion-{index}"))
            .spawn(move || mind.live(&ended))
            .map_err(NodeError::Runtime)?;
        self.minds.push(thread);
        Ok(())
    }
}

impl Drop for Practice {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        self.leader = None;
        for mind in self.minds.drain(..) {
            let _ = mind.join();
        }
    }
}

fn invite_of(snapshot: &Snapshot) -> Option<String> {
    match &snapshot.place {
        Place::Circle(circle) if !circle.invite.is_empty() => Some(circle.invite.clone()),
        _ => None,
    }
}

/// A node without a store, whose microphone is a clip of speech, heard while `speaks`.
fn companion(name: &str, index: usize) -> Result<(NodeHandle, Arc<AtomicBool>), NodeError> {
    let clip = &CLIPS[index % CLIPS.len()];
    let samples = clip.samples().unwrap_or_default();
    let speaks = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&speaks);
    let mut at = 0;
    let microphone = move |frame: &mut [f32]| {
        frame.fill(0.0);
        if !samples.is_empty() && flag.load(Ordering::Acquire) {
            for sample in frame {
                *sample = samples[at];
                at = (at + 1) % samples.len();
            }
        }
    };
    let host = MemoryHost::new(Box::new(microphone), Box::new(|_: &[f32], _: Instant| ()));
    let node = crate::start(NodeConfig::in_memory(Arc::new(host)))?;
    node.send(Command::SetName(name.into()));
    Ok((node, speaks))
}

/// What a companion does: comes in, raises a hand after a while, speaks in its turn, gives it back.
struct Mind {
    node: Arc<NodeHandle>,
    speaks: Arc<AtomicBool>,
    index: u32,
    link: Option<String>,
    leader: Option<Arc<NodeHandle>>,
    knocked: bool,
    quiet_since: Instant,
    speaking_since: Option<Instant>,
}

impl Mind {
    fn live(mut self, ended: &AtomicBool) {
        while !ended.load(Ordering::Acquire) {
            let snapshot = self.node.snapshot();
            match &snapshot.place {
                Place::Lobby => self.knock(),
                Place::Door(_) => {
                    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
                    self.node.send(Command::SignPledge(Consent { accepted }));
                }
                Place::Circle(circle) => self.take_part(circle),
                // Removed, or left alone: that is that.
                Place::Farewell(_) => break,
                Place::Connecting(_) | Place::Waiting(_) => {}
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.speaks.store(false, Ordering::Release);
        self.node.stop();
    }

    fn knock(&mut self) {
        if self.knocked {
            return;
        }
        let link = self.link.clone();
        let leader = self.leader.as_ref().filter(|_| self.index > 0);
        let link = link.or_else(|| leader.and_then(|l| invite_of(&l.snapshot())));
        if let Some(link) = link {
            self.node.send(Command::OpenInvite(link));
            self.knocked = true;
        }
    }

    fn take_part(&mut self, circle: &crate::api::Circle) {
        if circle.muted {
            self.node.send(Command::SetMuted(false));
        }
        if circle.leading {
            if !circle.auto_admit {
                self.node.send(Command::SetAutoAdmit(true));
            }
            if !circle.auto_turns {
                self.node.send(Command::SetAutoTurns(true));
            }
            return; // A passive leader: listens, and lets the turns go round.
        }
        let mine = circle.turn.as_ref().is_some_and(|t| t.holder == circle.me);
        self.speaks.store(mine, Ordering::Release);
        match (mine, self.speaking_since) {
            (true, None) => self.speaking_since = Some(Instant::now()),
            (true, Some(since)) if since.elapsed() > SPEECH => {
                self.node.send(Command::Pass);
                self.quiet_since = Instant::now();
            }
            (true, Some(_)) => {}
            (false, _) => {
                if self.speaking_since.take().is_some() {
                    self.quiet_since = Instant::now();
                }
                let waits = circle.queue.contains(&circle.me);
                if !waits && self.quiet_since.elapsed() > PAUSE * self.index {
                    self.node.send(Command::RaiseHand);
                    self.quiet_since = Instant::now();
                }
            }
        }
    }
}

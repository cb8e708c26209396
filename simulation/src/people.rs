//! What people do: come, sign, sponsor, act, fall silent, come back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use undertone_protocol::id::TransportId;
use undertone_protocol::identity::{GroupKey, Secret};
use undertone_protocol::invite::Token;
use undertone_protocol::record::Record;
use undertone_protocol::session::{Act, Event, Input, Session};
use undertone_protocol::texts;

use crate::world::{NodeIndex, World};

impl World {
    /// Somebody with the invite comes to the door.
    ///
    /// # Errors
    /// Never in practice.
    pub fn arrive(&mut self) -> Result<NodeIndex> {
        let index = self.new_node(None);
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(index)
    }

    /// A member passes a token on.
    ///
    /// # Errors
    /// What the session says.
    pub fn sponsor(&mut self, index: NodeIndex, minutes: u64) -> Result<Token> {
        let now = self.now();
        let session = self.nodes[index].session.as_mut();
        Ok(session.context("the node is down")?.sponsor(now, minutes)?)
    }

    /// Somebody comes to the door with this token.
    ///
    /// # Errors
    /// Never in practice.
    pub fn arrive_with(&mut self, token: Token) -> Result<NodeIndex> {
        let index = self.new_node(None);
        self.nodes[index].token = Some(token);
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(index)
    }

    /// Somebody comes, signs and is let in; runs until they are inside.
    ///
    /// # Errors
    /// When they are not inside after 30 seconds.
    pub fn join(&mut self) -> Result<NodeIndex> {
        let index = self.arrive()?;
        self.wait_for(index, Duration::from_secs(30), Event::AtDoor)?;
        self.sign(index)?;
        self.wait_for(index, Duration::from_secs(30), Event::Entered)?;
        Ok(index)
    }

    /// Signs every clause at the door.
    ///
    /// # Errors
    /// When the session refuses.
    pub fn sign(&mut self, index: NodeIndex) -> Result<()> {
        let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
        let name = format!("Person {index}");
        self.act(index, Act::Sign { name, accepted })
    }

    /// The founder takes the lead with a new key.
    pub fn succeed(&mut self, index: NodeIndex) {
        let new = GroupKey::from_secret(&Secret::random(&mut self.rng));
        let recovery = self.recovery.clone();
        let now = self.now_at(index);
        if let Some(session) = self.nodes[index].session.as_mut() {
            let _ = session.succeed(now, &recovery, new.clone());
            self.nodes[index].group_key = Some(new);
        }
        self.drain(index);
    }

    /// Whoever leads loses the group key, at the next start.
    pub fn lose_key(&mut self, index: NodeIndex) {
        self.nodes[index].group_key = None;
    }

    /// A record is on somebody's disk.
    pub fn store(&mut self, index: NodeIndex, record: &Record) {
        self.nodes[index].stored.push(record.envelope().to_vec());
    }

    /// The process dies without a word: only what was stored remains.
    pub fn kill(&mut self, index: NodeIndex) {
        let node = &mut self.nodes[index];
        node.session = None;
        node.topics.clear();
        node.routes.clear();
        node.allowed.clear();
        node.runs += 1;
    }

    /// Takes a node off the network, or puts it back: what is sent meanwhile is lost to it for good.
    pub fn cut_off(&mut self, index: NodeIndex, cut: bool) {
        self.nodes[index].cut_off = cut;
    }
    /// Puts a node back on the network, as `cut_off`, and its program notices.
    pub fn reconnect(&mut self, index: NodeIndex) {
        self.cut_off(index, false);
        let now = self.now_at(index);
        if let Some(session) = self.nodes[index].session.as_mut() {
            // Only acts are answered.
            let _ = session.handle_input(now, Input::Reconnected);
            self.drain(index);
        }
    }
    /// A node's machine goes to sleep, or wakes up.
    pub fn put_to_sleep(&mut self, index: NodeIndex, asleep: bool) {
        self.nodes[index].asleep = asleep;
        self.cut_off(index, asleep);
    }

    /// It starts again from what it has stored, with a fresh transport.
    ///
    /// # Errors
    /// When the store is refused.
    pub fn restart(&mut self, index: NodeIndex) -> Result<()> {
        self.nodes[index].transport = TransportId::from_bytes([0; 32]);
        let config = self.config(index);
        let stored = std::mem::take(&mut self.nodes[index].stored);
        let session = Session::resume(config, &stored, self.now());
        self.nodes[index].stored = stored;
        self.nodes[index].session = Some(session?);
        self.drain(index);
        Ok(())
    }

    /// It forgets everything and comes to the door with the same keys.
    ///
    /// # Errors
    /// Never in practice.
    pub fn wipe_and_return(&mut self, index: NodeIndex) -> Result<()> {
        self.kill(index);
        self.nodes[index].stored.clear();
        let config = self.config(index);
        self.nodes[index].session = Some(Session::seek(config, self.now())?);
        self.drain(index);
        Ok(())
    }

    /// A person acts.
    ///
    /// # Errors
    /// What the session says.
    pub fn act(&mut self, index: NodeIndex, act: Act) -> Result<()> {
        let now = self.now_at(index);
        self.judge_act(index, &act);
        let session = self.nodes[index].session.as_mut();
        let result = session
            .context("the node is down")?
            .handle_input(now, Input::Act(act));
        self.drain(index);
        Ok(result?)
    }

    /// Lets time pass until a node has been told this.
    ///
    /// # Errors
    /// When it has not been within `limit`.
    pub fn wait_for(
        &mut self,
        index: NodeIndex,
        limit: Duration,
        event: Event,
    ) -> Result<Duration> {
        let end = self.now + limit;
        loop {
            if let Some(at) = self.nodes[index].first(&event) {
                return Ok(at);
            }
            ensure!(
                self.now < end,
                "node {index} was not told {event:?} in {limit:?}"
            );
            self.run_for(Duration::from_millis(5));
        }
    }
}

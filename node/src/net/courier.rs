//! Takes the driver's commands: what is for the hubs, and media, at once; all else to the swarm in order.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{MAX_CONTROL_BYTES, media::MediaPlane, types::NetCommand};

/// Commands on their way to the swarm.
pub(crate) const SWARM_QUEUE: usize = 64;
/// Commands held while the swarm is busy. With these full the courier stops taking commands, media included; the
/// driver would have to be hundreds of control messages ahead of the network.
const MAX_HELD: usize = 512;
/// Time given to the hubs to take what was said last.
const LINGER: Duration = Duration::from_millis(600);
/// The same, where a decision was taken before there was a connection.
const LINGER_FOR_DECISIONS: Duration = Duration::from_secs(4);

/// Runs until `cancel`, or until no command can come any more; then hands on what was sent before, and ends. The
/// swarm ends when this does.
pub(crate) async fn run(
    mut commands: mpsc::Receiver<NetCommand>,
    swarm: mpsc::Sender<NetCommand>,
    plane: Arc<MediaPlane>,
    cancel: CancellationToken,
) {
    let mut held = VecDeque::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            room = swarm.reserve(), if !held.is_empty() => match (room, held.pop_front()) {
                (Ok(room), Some(command)) => room.send(command),
                _ => return,
            },
            command = commands.recv(), if held.len() < MAX_HELD => match command {
                Some(command) => held.extend(handle(&plane, command)),
                None => break,
            },
        }
    }
    // What was asked for before the end is still done: the last words are often a leave or a removal.
    commands.close();
    while let Ok(command) = commands.try_recv() {
        held.extend(handle(&plane, command));
    }
    for command in held {
        if swarm.send(command).await.is_err() {
            return;
        }
    }
    let linger = match plane.holds_lasting() {
        true => LINGER_FOR_DECISIONS,
        false => LINGER,
    };
    let _ = tokio::time::timeout(linger, plane.finish()).await;
}

/// Carries a command out as far as it concerns hubs or media; returns it if the swarm has a part in it.
fn handle(plane: &MediaPlane, command: NetCommand) -> Option<NetCommand> {
    match command {
        NetCommand::Media(packet) => plane.send(&packet),
        NetCommand::Allow(peers) => plane.allow(peers),
        NetCommand::AttachRoute(route) if plane.is_relayed() => plane.attach(route),
        NetCommand::DetachRoute(route) if plane.is_relayed() => plane.detach(route),
        NetCommand::KeepUp(topic) if plane.is_relayed() => plane.keep_up(topic),
        NetCommand::Subscribe(topic) if plane.is_relayed() => plane.subscribe(topic),
        NetCommand::Unsubscribe(topic) if plane.is_relayed() => plane.unsubscribe(topic),
        NetCommand::Publish {
            topic,
            payload,
            delivery,
        } if plane.is_relayed() && payload.len() <= MAX_CONTROL_BYTES => {
            plane.publish(topic, &payload, delivery);
        }
        // Hubs hand on to everybody: nothing waits for a verdict.
        NetCommand::Verdict { .. } if plane.is_relayed() => {}
        NetCommand::Block(peer) => {
            plane.block(peer);
            return Some(NetCommand::Block(peer));
        }
        NetCommand::Unblock(peer) => {
            plane.unblock(&peer);
            return Some(NetCommand::Unblock(peer));
        }
        other => return Some(other),
    }
    None
}

//! Doing what the session wants done.

use bytes::Bytes;
use undertone_dsp::StreamId;
use undertone_protocol::id::PublicKey;
use undertone_protocol::session::Output;

use super::{Circle, Worked, peer_id};
use crate::net::{NetCommand, RouteKey, Topic, Verdict};
use crate::store::Store;

impl Circle {
    /// Does what the session wants done.
    pub(super) async fn perform(&mut self, store: &Store) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::SendMedia(packet) => {
                    self.command(NetCommand::Media(Bytes::from(packet)));
                }
                Output::Play {
                    member,
                    sequence,
                    opus,
                } => {
                    let stream = self.stream(member);
                    self.voice.push(stream, sequence, opus);
                }
                Output::Silence(member) => {
                    if let Some(stream) = self.streams.remove(&member) {
                        self.voice.remove_stream(stream);
                    }
                }
                Output::MaySpeak(may) => self.voice.set_may_speak(may),
                Output::Persist { ticket, records } => {
                    let envelopes = records.iter().map(|r| r.envelope().to_vec()).collect();
                    let pending = store.append(self.file.circle, envelopes);
                    let wait = async move { (ticket, pending.done().await) };
                    self.stored.push(Box::pin(wait));
                }
                Output::Verdict { message, accept } => {
                    if let Some(message) = self.verdicts.remove(&message) {
                        let verdict = match accept {
                            true => Verdict::Accept,
                            false => Verdict::Ignore,
                        };
                        self.command(NetCommand::Verdict { message, verdict });
                    }
                }
                Output::Event(event) => self.events.push_back(event),
                Output::Delete(author) => {
                    let pending = store.delete(self.file.circle, author);
                    self.working.push(Box::pin(async move {
                        if let Err(error) = pending.done().await {
                            tracing::warn!(%error, "what somebody asked to be deleted is still there");
                        }
                        Worked::Given
                    }));
                }
                Output::SolvePuzzle(puzzle) => {
                    let cancel = self.cancel.clone();
                    let solve = move || puzzle.solve(|| !cancel.is_cancelled());
                    self.work(move || solve().map_or(Worked::Given, Worked::Solved));
                }
                Output::CheckPuzzle {
                    join,
                    puzzle,
                    answer,
                } => self.work(move || Worked::Checked(join, puzzle.is_answer(answer))),
                network => self.command_network(network).await,
            }
        }
    }

    /// Does what takes long where it disturbs nothing.
    fn work(&self, work: impl FnOnce() -> Worked + Send + 'static) {
        let done = tokio::task::spawn_blocking(work);
        self.working
            .push(Box::pin(async move { done.await.unwrap_or(Worked::Given) }));
    }

    async fn command_network(&mut self, output: Output) {
        if let Output::AttachRoute { topic, .. } = &output {
            self.command(NetCommand::KeepUp(Topic(*topic)));
        }
        let command = match output {
            Output::Subscribe(topic) => NetCommand::Subscribe(Topic(topic)),
            Output::Unsubscribe(topic) => NetCommand::Unsubscribe(Topic(topic)),
            Output::Publish {
                topic,
                payload,
                delivery,
            } => NetCommand::Publish {
                topic: Topic(topic),
                payload: payload.into(),
                delivery,
            },
            Output::Dial {
                transport,
                addresses,
            } => match peer_id(&transport) {
                Some(peer) => NetCommand::Dial {
                    peer,
                    addrs: addresses.iter().filter_map(|a| a.parse().ok()).collect(),
                },
                None => return,
            },
            Output::Allow(transports) => {
                let members: Vec<_> = transports.iter().filter_map(peer_id).collect();
                self.known.set_members(&members);
                NetCommand::Allow(members)
            }
            Output::Block(transport) => match peer_id(&transport) {
                Some(peer) => NetCommand::Block(peer),
                None => return,
            },
            Output::Unblock(transport) => match peer_id(&transport) {
                Some(peer) => NetCommand::Unblock(peer),
                None => return,
            },
            Output::AttachRoute { route, .. } => NetCommand::AttachRoute(RouteKey(route)),
            Output::DetachRoute(route) => NetCommand::DetachRoute(RouteKey(route)),
            _ => return,
        };
        // These must not be lost: the courier takes them at once unless it has stopped.
        if self.net.commands.send(command).await.is_err() {
            tracing::debug!("the network has stopped");
        }
    }

    fn stream(&mut self, member: PublicKey) -> StreamId {
        if let Some(stream) = self.streams.get(&member) {
            return *stream;
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        self.streams.insert(member, stream);
        self.opened.push((member, stream));
        self.voice.add_stream(stream);
        if let Some(volume) = self.volumes.get(&member) {
            self.voice.set_volume(stream, *volume);
        }
        stream
    }

    pub(super) fn command(&self, command: NetCommand) {
        // A courier that is hundreds of commands behind has stopped: the session repeats what matters.
        if self.net.commands.try_send(command).is_err() {
            tracing::debug!("the network is not keeping up");
        }
    }
}

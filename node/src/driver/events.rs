//! What the session told: to the person, and to whoever listens.

use undertone_protocol::id::{CircleId, PublicKey};
use undertone_protocol::session::{self, End};

use super::{Driver, Where, snapshot, words};
use crate::api::Event;
use crate::audio::Mode;

impl Driver {
    /// Passes on what the session told, and leaves when it is over.
    pub(super) async fn tell_events(&mut self) {
        let Where::Circle(circle) = &mut self.place else {
            return;
        };
        let events = std::mem::take(&mut circle.events);
        for (member, stream) in std::mem::take(&mut circle.opened) {
            let stream = stream.0;
            // Nobody may be listening.
            let _ = self.events.send(Event::StreamOpened { member, stream });
        }
        let title = snapshot::title(circle);
        let id = circle.file.circle;
        let leading = circle.file.group_key.is_some();
        let state = circle.session.state();
        let names: std::collections::BTreeMap<PublicKey, String> = state
            .into_iter()
            .flat_map(|s| s.members().map(|(key, m)| (*key, m.name.clone())))
            .collect();
        let name_of = |key: &PublicKey| names.get(key).cloned().unwrap_or_else(|| key.short());
        for event in events {
            match event {
                session::Event::AtDoor => {}
                session::Event::Entered => {
                    self.voice.set_mode(Mode::Circle);
                    self.note_title(&title).await;
                    self.tell(Event::Entered);
                }
                session::Event::RemovalEnforced(member) => {
                    self.tell(Event::RemovalEnforced { member });
                }
                session::Event::RemovalDurable(member) => {
                    self.tell(Event::RemovalDurable { member });
                }
                session::Event::TurnBegan(member) => self.tell(Event::TurnBegan { member }),
                session::Event::Thanked {
                    from,
                    subject,
                    gratitude,
                } => self.tell(Event::Thanked {
                    from,
                    subject,
                    gratitude,
                }),
                session::Event::Referred { from, words } => {
                    self.notice = Some(words::referred(&name_of(&from), &words));
                    self.tell(Event::Referred { from, words });
                }
                session::Event::ContactAsked { from, words } => {
                    self.notice = Some(words::contact_asked(&name_of(&from), &words));
                    self.tell(Event::ContactAsked { from, words });
                }
                session::Event::ContactAnswered { from, words } => {
                    self.notice = Some(words::contact_answered(&name_of(&from), &words));
                    self.tell(Event::ContactAnswered { from, words });
                }
                session::Event::AskedToCease => {
                    self.notice = Some(words::asked_to_cease());
                    self.tell(Event::AskedToCease);
                }
                session::Event::Ceased(member) => self.tell(Event::Ceased { member }),
                session::Event::LeaderContradicts(_) => {
                    self.notice = Some(words::leader_contradicts());
                    self.tell(Event::LeaderContradicts);
                }
                session::Event::Succeeded(leader) => {
                    self.notice = Some(words::succeeded(&name_of(&leader)));
                    self.tell(Event::Succeeded { leader });
                }
                session::Event::Ended(end) => {
                    let farewell = snapshot::farewell(&end, &title);
                    self.tell(Event::Ended(farewell.clone()));
                    self.settle(id, &end, leading).await;
                    self.go_to(match end {
                        End::Left if self.practice.is_some() => Where::Lobby,
                        _ => Where::Farewell(farewell),
                    });
                    return;
                }
            }
        }
    }

    /// Whoever left is forgotten here; whoever was removed is remembered; a leader can come back.
    async fn settle(&mut self, circle: CircleId, end: &End, leading: bool) {
        let practice = matches!(&self.place, Where::Circle(c) if c.practice);
        let forget = match end {
            End::Left => practice || !leading,
            End::Refused { .. } => true,
            // Remembered, so that nobody is let back in by their own program.
            End::Removed { .. } | End::Closed => false,
        };
        if let (Where::Circle(c), End::Removed { .. }) = (&self.place, end) {
            self.removed_from = (!practice).then(|| c.file.clone());
        }
        let done = match (forget, end) {
            (true, _) => self.store.forget(circle).done().await,
            // The notice was handed out for storing just before: wait until it is there.
            (false, End::Removed { .. } | End::Closed) => match &mut self.place {
                Where::Circle(c) => c.wait_until_stored(&self.store).await,
                _ => Ok(()),
            },
            (false, _) => Ok(()),
        };
        if let Err(error) = done {
            self.notice = Some(words::notice(&error.into()));
        }
    }

    /// Remembers what the circle is called, for the list of circles.
    async fn note_title(&mut self, title: &str) {
        if let Where::Circle(circle) = &mut self.place
            && circle.file.title != title
        {
            circle.file.title = title.to_owned();
            if let Err(error) = self.store.put_circle(circle.file.clone()).done().await {
                self.notice = Some(words::notice(&error.into()));
            }
        }
    }
}

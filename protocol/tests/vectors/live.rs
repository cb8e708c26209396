//! That sessions really speak as the vectors say: their messages are opened with nothing but what the
//! specification derives.

use std::collections::BTreeSet;
use std::time::Duration;

use undertone_protocol::id::CircleId;
use undertone_protocol::identity::Secret;
use undertone_protocol::record::{AdmissionMode, Body, Charter, Record, RouteKind};
use undertone_protocol::seal::{open_padded, open_sealed};
use undertone_protocol::session::{
    Act, Event, Input, Now, Output, Session, SessionConfig, Stage, Topic, transport_id,
};
use undertone_protocol::texts;
use undertone_protocol::voice::VoiceKeySecret;

use crate::kit::{ANN, LEADER, MINUTE, charter, found, group, person, secret};
use crate::messages::{CircleMessage, DoorMessage, channel, info, voice_key_info};

/// People sign texts that they can read.
fn founding() -> Record {
    found(Charter {
        texts: texts::hash(),
        ..charter(AdmissionMode::Approval)
    })
}

fn circle() -> CircleId {
    founding().founds().unwrap()
}

struct Site {
    session: Session,
    topics: BTreeSet<Topic>,
    said: Vec<(Topic, Vec<u8>)>,
    routes: Vec<[u8; 32]>,
}

fn config(person_byte: u8) -> SessionConfig {
    SessionConfig {
        circle: circle(),
        pseudonym: person(person_byte),
        transport: secret(person_byte + 100),
        door: secret(0x52),
        route: RouteKind::Relay,
        group_key: (person_byte == LEADER).then(group),
        token: None,
        first_seq: 1,
        rng_seed: [person_byte; 32],
    }
}

impl Site {
    fn new(session: Session) -> Self {
        Self {
            session,
            topics: BTreeSet::new(),
            said: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// Does what the session asks for; what it says goes to `sent`.
    fn drain(&mut self, now: Now, sent: &mut Vec<(Topic, Vec<u8>)>) {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Subscribe(topic) => {
                    self.topics.insert(topic);
                }
                Output::Publish { topic, payload, .. } => {
                    self.said.push((topic, payload.clone()));
                    sent.push((topic, payload));
                }
                Output::AttachRoute { route, .. } => self.routes.push(route),
                Output::Persist { ticket, .. } => {
                    let _ = self.session.handle_input(now, Input::Persisted(ticket));
                }
                Output::Event(Event::AtDoor) => {
                    let accepted = texts::all_clauses().map(|c| c.mark.to_owned()).collect();
                    let name = "Quiet Heron".into();
                    let act = Act::Sign { name, accepted };
                    let _ = self.session.handle_input(now, Input::Act(act));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn sessions_speak_as_the_vectors_say() {
    let at = |millis| Now {
        at: Duration::from_millis(millis),
        minute: MINUTE,
    };
    let leader = Session::found(config(LEADER), &founding(), "Gentle Oak".into(), at(0)).unwrap();
    let ann = Session::seek(config(ANN), at(0)).unwrap();
    let mut sites = [Site::new(leader), Site::new(ann)];
    for step in 0..400 {
        let now = at(step * 20);
        let mut sent = Vec::new();
        for site in &mut sites {
            if site.session.next_timeout().is_some_and(|t| t <= now.at) {
                site.session.handle_timeout(now);
            }
            site.drain(now, &mut sent);
        }
        let knocks = sites[0].session.state().unwrap().applicants().count() > 0;
        if knocks {
            let act = Act::Admit(person(ANN).public_key());
            let _ = sites[0].session.handle_input(now, Input::Act(act));
        }
        for (topic, payload) in sent {
            for site in sites.iter_mut().filter(|s| s.topics.contains(&topic)) {
                let (payload, message) = (payload.as_slice(), 0);
                let input = Input::Control {
                    topic,
                    payload,
                    message,
                };
                let _ = site.session.handle_input(now, input);
            }
        }
    }
    assert_eq!(*sites[1].session.stage(), Stage::Inside);
    check_door(&sites);
    check_epoch(&sites);
}

/// Everything said at the door opens with the invite's secret, and means one of five things.
fn check_door(sites: &[Site]) {
    let (topic, key) = channel(&secret(0x52), &circle(), "door");
    let mut heard = BTreeSet::new();
    for (_, payload) in said(sites, &topic) {
        let bytes = open_padded(&key, topic.as_bytes(), &payload).unwrap();
        let message: DoorMessage = minicbor::decode(&bytes).unwrap();
        assert_eq!(minicbor::to_vec(&message).unwrap(), bytes);
        heard.insert(match message {
            DoorMessage::Ask(_) => "ask",
            DoorMessage::Charter(charter) => {
                assert_eq!(charter.as_slice(), &founding().envelope()[..]);
                "charter"
            }
            DoorMessage::Knock(_) => "knock",
            DoorMessage::Welcome(sealed) => {
                let info = info("welcome", &[circle().as_bytes(), sealed.member.as_bytes()]);
                assert!(open_sealed(&person(ANN), None, &info, &sealed.secret).is_ok());
                "welcome"
            }
            DoorMessage::Answer(_) => "answer",
        });
    }
    assert_eq!(heard, ["ask", "charter", "knock", "welcome"].into());
}

/// Everything said inside opens with the epoch's key, which opens with the member's.
fn check_epoch(sites: &[Site]) {
    let state = sites[1].session.state().unwrap();
    let record = state.epoch().unwrap();
    let Body::Epoch(epoch) = record.body() else {
        panic!("an epoch is an epoch");
    };
    let me = person(ANN).public_key();
    let mine = epoch.sealed.iter().find(|s| s.member == me).unwrap();
    let number = epoch.number.to_be_bytes();
    let info = info("epoch", &[circle().as_bytes(), &number, me.as_bytes()]);
    let key = open_sealed(&person(ANN), None, &info, &mine.secret).unwrap();
    let own = Secret::from_bytes(key.try_into().unwrap());
    let route = own.derive(circle().as_bytes(), "undertone/1/route");
    assert!(sites[1].routes.contains(route.as_bytes()));
    let (topic, key) = channel(&own, &circle(), "epoch");
    let mut handouts = 0;
    for (_, payload) in said(sites, &topic) {
        let bytes = open_padded(&key, topic.as_bytes(), &payload).unwrap();
        let message: CircleMessage = minicbor::decode(&bytes).unwrap();
        assert_eq!(minicbor::to_vec(&message).unwrap(), bytes);
        for envelope in &message.records {
            Record::verify_in(envelope, &circle()).unwrap();
        }
        let handout = message
            .voice_key
            .filter(|h| h.from == sites[0].session.me());
        if let Some(handout) = handout {
            let via = transport_id(&secret(LEADER + 100));
            let info = voice_key_info(&circle(), &person(LEADER), &via, &person(ANN));
            let from = person(LEADER).sealing_key();
            let sealed = &handout.sealed[0].secret;
            let bytes = open_sealed(&person(ANN), Some(&from), &info, sealed).unwrap();
            assert!(VoiceKeySecret::from_bytes(&handout.from, &bytes).is_some());
            handouts += 1;
        }
    }
    assert!(handouts > 0);
}

fn said(sites: &[Site], topic: &Secret) -> Vec<(Topic, Vec<u8>)> {
    let all = sites.iter().flat_map(|s| s.said.iter().cloned());
    all.filter(|(on, _)| on == topic.as_bytes()).collect()
}

//! The snapshot: everything that can be seen of a node at one moment.

use undertone_dsp::Difference;
use undertone_protocol::id::TextsHash;
use undertone_protocol::record::{Charter, FloorMode, RouteKind};
use undertone_protocol::session::{End, MemberView, Stage, View};

use super::circle::Circle;
use super::ways::Ways;
use super::{Driver, Where, character, clean_up, device, since};
use crate::api::{
    self, Applicant, Connecting, Connection, Door, Farewell, Heard, LogAct, LogEntry, Member,
    Place, Snapshot, Sound, Turn,
};
use crate::audio::VoiceStatus;

/// A voice above this is speaking, dBFS.
const SPEAKING_DB: f32 = -50.0;
/// More lost than this is unsteady.
const UNSTEADY_LOSS: f64 = 0.05;

pub(super) fn title(circle: &Circle) -> String {
    let state = circle.session.state();
    state.map_or_else(|| circle.file.title.clone(), |s| s.charter().title.clone())
}

pub(super) fn farewell(end: &End, title: &str) -> Farewell {
    match end {
        End::Left => Farewell::Left,
        End::Removed { clause } => Farewell::Removed {
            title: title.to_owned(),
            clause: clause.clone(),
        },
        End::Closed => Farewell::Closed,
        End::Refused { may_knock_again } => Farewell::Refused {
            may_knock_again: *may_knock_again,
        },
    }
}

impl Driver {
    pub(super) fn look(&self) -> Snapshot {
        let status = self.voice.status();
        let place = match &self.place {
            Where::Lobby => Place::Lobby,
            Where::Farewell(farewell) => Place::Farewell(farewell.clone()),
            Where::Circle(circle) => look_at_circle(circle, &status, self.settings.signed),
        };
        Snapshot {
            name: self.settings.name.clone(),
            sound: Sound {
                inputs: self.inputs.clone(),
                outputs: self.outputs.clone(),
                input: device(&self.settings.input),
                output: device(&self.settings.output),
                input_level_db: status.input_level_db.round(),
                morphed_level_db: status.morphed_level_db.round(),
                difference: status.difference.map(Difference::rounded),
                checking: self.checking,
                character: character(&self.settings),
                clean_up: clean_up(&self.settings),
                problem: status.problem.or_else(|| self.device_problem.clone()),
            },
            place,
            relays: self.settings.relays.clone().unwrap_or_default(),
            found: self.found.clone(),
            notice: self.notice.clone(),
        }
    }
}

fn look_at_circle(circle: &Circle, status: &VoiceStatus, signed: Option<TextsHash>) -> Place {
    let view = circle.session.view(circle.now());
    let door = view.charter.as_ref().map(|c| door(circle, c, signed));
    match (&view.stage, door) {
        (Stage::AtDoor, Some(door)) => Place::Door(door),
        (Stage::Knocking, Some(door)) => Place::Waiting(door),
        (Stage::Inside, Some(door)) => Place::Circle(Box::new(inside(circle, &view, door, status))),
        _ => Place::Connecting(Connecting {
            awaiting: match circle.is_connected() {
                true => "somebody of the circle to answer".into(),
                false if circle.file.route.is_relayed() => "the relay".into(),
                false => "a connection to the circle".into(),
            },
            since: since(circle.since),
        }),
    }
}

fn door(circle: &Circle, charter: &Charter, signed: Option<TextsHash>) -> Door {
    let who_sees_address = match (charter.route, circle.practice) {
        (_, true) => "Nobody: this circle is on this computer only.",
        (RouteKind::Direct, _) if circle.is_looked_for() => {
            "The other members of this circle can see your internet address. Others on your network can see that your computer looks for a circle, but not for which."
        }
        (RouteKind::Direct, _) => "The other members of this circle can see your internet address.",
        (RouteKind::Relay, _) => {
            "The relay can see your internet address, but neither what is said nor who speaks. The other members cannot see it."
        }
        (RouteKind::TwoHop, _) => {
            "The relay that you come in by can see your internet address, but not which circle you are in. The relay where the circle meets cannot see your address, nor can the other members. Neither hears what is said or knows who speaks."
        }
    };
    Door {
        circle: circle.file.circle,
        topic: charter.topic.clone(),
        title: charter.title.clone(),
        language: charter.language.clone(),
        admission: charter.admission,
        max_members: charter.max_members,
        turn: std::time::Duration::from_secs(charter.turn_seconds.into()),
        schedule: charter.schedule.clone(),
        listener_welcome: charter.listener_welcome,
        route: charter.route,
        pace: charter.pace.unwrap_or_default(),
        who_sees_address: who_sees_address.to_owned(),
        relays: circle.ways.as_ref().map(Ways::relays).unwrap_or_default(),
        practice: circle.practice,
        texts: charter.texts,
        signed,
        can_recover: circle.file.recovery_key.is_some() && circle.session.may_succeed(),
    }
}

fn inside(circle: &Circle, view: &View, door: Door, status: &VoiceStatus) -> api::Circle {
    let me = circle.session.me();
    let members = view.members.iter();
    let heard = if circle.muted {
        Heard::Muted
    } else if !view.may_speak {
        Heard::NotYourTurn
    } else if status.problem.is_some() {
        Heard::NoVoice
    } else {
        Heard::Yes
    };
    api::Circle {
        door,
        members: members
            .map(|m| match m.key == me {
                true => myself(circle, m, heard, status),
                false => member(circle, m, status),
            })
            .collect(),
        applicants: view
            .applicants
            .iter()
            .map(|(key, name, refusals)| Applicant {
                key: *key,
                name: name.clone(),
                refusals: *refusals,
            })
            .collect(),
        turn: view.turn.as_ref().map(|turn| Turn {
            holder: turn.holder,
            left: std::time::Duration::from_secs(turn.left.as_secs_f32().ceil() as u64),
            of: turn.of,
        }),
        queue: view.queue.clone(),
        me,
        muted: circle.muted,
        heard,
        leading: view.leading,
        auto_admit: view.auto_admit,
        auto_turns: view.auto_turns,
        invite: circle.invite(),
        log: log(view),
        moderation_verified: view.moderation_verified,
        connected: circle.is_connected(),
        floor: view.floor_mode.unwrap_or(FloorMode::Active),
        frozen: view.is_frozen,
        door_open: view.is_door_open,
        asked_to_cease: view.asked_to_cease,
        announced: (circle.announcing_key()).map(|_| circle.announcer.look()),
    }
}

fn myself(circle: &Circle, me: &MemberView, heard: Heard, status: &VoiceStatus) -> Member {
    let level_db = match heard {
        Heard::Yes => status.morphed_level_db.round(),
        _ => -100.0,
    };
    Member {
        key: me.key,
        name: me.name.clone(),
        role: me.role,
        level_db,
        speaking: level_db > SPEAKING_DB,
        muted: circle.muted,
        silenced: me.silenced,
        connection: match circle.is_connected() || circle.file.group_key.is_some() {
            true => Connection::Good,
            false => Connection::Away,
        },
        volume: 1.0,
    }
}

fn member(circle: &Circle, member: &MemberView, status: &VoiceStatus) -> Member {
    let stream = circle.streams.get(&member.key);
    let stream = stream.and_then(|id| status.streams.iter().find(|s| s.stream == *id));
    let level_db = stream.map_or(-100.0, |s| s.level_db).round();
    let loss = stream.map_or(0.0, |s| {
        let all = s.stats.received + s.stats.lost;
        s.stats.lost as f64 / all.max(1) as f64
    });
    Member {
        key: member.key,
        name: member.name.clone(),
        role: member.role,
        level_db,
        speaking: level_db > SPEAKING_DB,
        muted: member.muted,
        silenced: member.silenced,
        connection: match (member.present, member.received) {
            (false, _) => Connection::Away,
            (true, false) => Connection::Coming,
            (true, true) if loss > UNSTEADY_LOSS => Connection::Unsteady,
            (true, true) => Connection::Good,
        },
        volume: circle.volumes.get(&member.key).copied().unwrap_or(1.0),
    }
}

fn log(view: &View) -> Vec<LogEntry> {
    let admitted = view.admissions.iter().map(|(name, at)| LogEntry {
        at_minute: *at,
        act: LogAct::Admitted { name: name.clone() },
    });
    let removed = view.removals.iter().map(|r| LogEntry {
        at_minute: r.minute,
        act: LogAct::Removed {
            name: r.name.clone().unwrap_or_else(|| r.key.short()),
            clause: r.clause.clone(),
            key: r.key,
            durable: r.durable,
        },
    });
    let mut log: Vec<_> = admitted.chain(removed).collect();
    log.sort_by_key(|entry| entry.at_minute);
    log
}

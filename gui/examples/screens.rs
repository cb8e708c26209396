//! Writes pictures of every screen, to look at: `cargo run -p undertone-gui --example screens -- DIR`.
//! A second argument keeps to the pictures whose name contains it, a third sets the text size in percent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::{Path, PathBuf};

use common::{FakeNode, Window, samples};
use egui::{ThemePreference, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use undertone_gui::App;
use undertone_node::api::{Place, Snapshot};

struct Studio {
    folder: PathBuf,
    only: String,
    percent: u16,
}

impl Studio {
    /// Somebody thanks somebody.
    fn thanks(&self) {
        self.take_of("thanks", &samples::inside(samples::circle(7)), |node, _| {
            node.happens(undertone_node::api::Event::Thanked {
                from: samples::key(3),
                subject: samples::key(2),
                gratitude: undertone_node::api::Gratitude::ForSharing,
            });
        });
    }

    /// Takes pictures of what `snapshot` looks like once `go` has been there.
    fn take(&self, name: &str, snapshot: &Snapshot, go: impl Fn(&mut Window)) {
        self.take_of(name, snapshot, |_, window| go(window));
    }

    /// Takes pictures of what `snapshot` looks like once `go` has been there, and had things happen.
    fn take_of(&self, name: &str, snapshot: &Snapshot, go: impl Fn(&FakeNode, &mut Window)) {
        for (size, (width, height)) in [("small", (800.0, 600.0)), ("large", (1920.0, 1080.0))] {
            for (theme, preference) in [
                ("light", ThemePreference::Light),
                ("dark", ThemePreference::Dark),
            ] {
                let file = format!("{name}-{size}-{theme}.png");
                if !file.contains(&self.only) {
                    continue;
                }
                // A large text is a small window, enlarged.
                let scale = f32::from(self.percent) / 100.0;
                let node = FakeNode::showing(snapshot.clone());
                let seen = node.clone();
                let mut window = Harness::builder()
                    .with_size(vec2(width, height) / scale)
                    .with_pixels_per_point(scale)
                    .with_max_steps(30)
                    .wgpu()
                    .build_eframe(|cc| {
                        let mut app = App::new(&cc.egui_ctx, seen, None);
                        app.set_appearance(preference, 100, true);
                        app
                    });
                window.run_steps(3);
                go(&node, &mut window);
                window.run_steps(4);
                let picture = window.render().expect("a picture");
                picture
                    .save(self.folder.join(&file))
                    .expect("to write the picture");
                println!("{file}");
            }
        }
    }
}

fn press(window: &mut Window, label: &str) {
    window.get_by_label(label).click_accesskit();
    window.run_steps(2);
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().expect("a folder to write to");
    let studio = Studio {
        folder: Path::new(&folder).to_owned(),
        only: arguments.next().unwrap_or_default(),
        percent: arguments.next().and_then(|p| p.parse().ok()).unwrap_or(100),
    };
    std::fs::create_dir_all(&studio.folder).expect("a folder to write to");

    let newcomer = samples::newcomer();
    let begin = "I am 18 or older, let's begin";
    studio.take("welcome", &newcomer, |_| {});
    studio.take("name", &newcomer, |w| press(w, begin));
    let mut hearing = samples::newcomer();
    hearing.sound.checking = true;
    for (name, snapshot) in [("voice", &newcomer), ("voice-heard", &hearing)] {
        studio.take(name, snapshot, |w| {
            press(w, begin);
            press(w, "Keep this name");
        });
    }
    let home = samples::at(Place::Lobby);
    studio.take("home", &home, |_| {});
    studio.take("start", &home, |w| {
        w.get_by_role_and_label(egui::accesskit::Role::Button, "Start a circle")
            .click_accesskit()
    });
    let minute = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / 60);
    studio.take("find", &samples::searching(minute), |w| {
        press(w, "Look for a circle");
    });
    studio.take("find-elsewhere", &samples::searching(minute), |w| {
        press(w, "Look for a circle");
        press(w, "Go to the door of Open evening");
    });
    studio.take("home-direct", &home, |w| {
        w.get_by_label("Invite link").focus();
        w.run_ok();
        w.event(egui::Event::Text(samples::direct_link()));
        w.run_ok();
        press(w, "Go to the door");
    });
    studio.take("appearance", &home, |w| press(w, "Text size and colours"));
    for (name, snapshot) in samples::places() {
        studio.take(name, &snapshot, |_| {});
    }
    let two_hops = samples::at(Place::Door(samples::two_hops()));
    studio.take("two-hops", &two_hops, |_| ());
    let door = samples::at(Place::Door(samples::door()));
    studio.take("screening", &door, |w| press(w, "Read on"));
    let spanish = samples::at(Place::Door(samples::spanish()));
    studio.take("screening-spanish", &spanish, |w| press(w, "Read on"));
    let tick = |w: &mut Window, texts: &[undertone_protocol::texts::ClauseText]| {
        for clause in texts {
            press(w, clause.full);
        }
    };
    let to_pledge = |w: &mut Window| {
        press(w, "Read on");
        tick(w, &undertone_protocol::texts::SCREENING);
        tick(w, &[undertone_protocol::texts::ADULT]);
        press(w, "Go on");
    };
    studio.take("pledge", &door, |w| {
        to_pledge(w);
        tick(w, &undertone_protocol::texts::PLEDGE[..2]);
    });
    studio.take("terms", &door, |w| {
        to_pledge(w);
        tick(w, &undertone_protocol::texts::PLEDGE);
        press(w, "Go on");
    });
    studio.take("removal", &samples::inside(samples::led(7)), |w| {
        press(w, "Slow River, speaking, two minutes left");
    });
    let announced = samples::inside(samples::announced());
    studio.take("announced", &announced, |_| ());
    studio.take("announced-later", &announced, |w| {
        press(w, "Announce the next meeting");
    });
    let led = samples::inside(samples::led(7));
    studio.take("contact", &samples::inside(samples::circle(7)), |w| {
        press(w, "Slow River, speaking, two minutes left");
        press(w, "Stay in touch");
    });
    for (name, menu) in [
        ("care-thank", "Thank"),
        ("care-refer", "Tell them alone"),
        ("care-silence", "Silence"),
        ("care-role", "Role"),
    ] {
        studio.take(name, &led, |w| {
            press(w, "Slow River, speaking, two minutes left");
            press(w, menu);
        });
    }
    // Where there is no room beside the ring, the panel is behind a button.
    let panel = |w: &mut Window| {
        if w.query_by_label("Leading (2)").is_some() {
            press(w, "Leading (2)");
        }
    };
    studio.take("leader-end", &led, |w| {
        panel(w);
        press(w, "End the circle for good");
    });
    studio.take("leader-log", &led, |w| {
        panel(w);
        w.get_by_label("End the circle for good").scroll_to_me()
    });
    studio.take("parting", &samples::inside(samples::circle(7)), |w| {
        press(w, "Leave the circle");
    });
    studio.take("start-more", &home, |w| {
        w.get_by_role_and_label(egui::accesskit::Role::Button, "Start a circle")
            .click_accesskit();
        w.run_steps(2);
        w.get_by_label("Turns pass on by themselves").scroll_to_me();
    });
    studio.take("start-relayed", &home, |w| {
        w.get_by_role_and_label(egui::accesskit::Role::Button, "Start a circle")
            .click_accesskit();
        w.run_steps(2);
        press(w, "Through community relays");
        press(w, "For thin lines");
        w.get_by_label("For thin lines").scroll_to_me();
    });
    studio.thanks();
    studio.take("member", &samples::inside(samples::circle(7)), |w| {
        press(w, "Slow River, speaking, two minutes left");
    });
}

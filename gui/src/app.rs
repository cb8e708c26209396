//! The window's loop: take the snapshot, draw it, send what was asked.

use std::sync::Arc;
use std::time::Duration;

use egui::{Context, Key, KeyboardShortcut, Modifiers, Ui, ViewportCommand};
use undertone_node::api::{Place, Snapshot};

use crate::backend::Backend;
use crate::news::News;
use crate::text::Language;
use crate::theme;
use crate::ui::{self, Screen};
use crate::view_state::{Appearance, AtDoor, Errand, Lobby, ViewState};

const EXIT_KEYS: [KeyboardShortcut; 2] = [
    KeyboardShortcut::new(Modifiers::COMMAND, Key::Q),
    KeyboardShortcut::new(Modifiers::NONE, Key::F12),
];
const LARGER_KEYS: [KeyboardShortcut; 2] = [
    KeyboardShortcut::new(Modifiers::COMMAND, Key::Plus),
    KeyboardShortcut::new(Modifiers::COMMAND, Key::Equals),
];
const SMALLER_KEY: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Minus);
const USUAL_SIZE_KEY: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Num0);

/// The window of one node.
pub struct App<B> {
    backend: B,
    news: News,
    view: ViewState,
    language: Language,
    /// The screen drawn last.
    shown: &'static str,
    /// The appearance in force.
    dressed: Option<Appearance>,
    gone: bool,
}

impl<B: Backend> App<B> {
    /// A window on this node, which redraws itself whenever the node has something new. `errand` is where
    /// the person wants to go once name and voice are settled.
    pub fn new(ctx: &Context, backend: B, errand: Option<Errand>) -> Self {
        theme::install(ctx);
        let waker = ctx.clone();
        backend.on_change(Box::new(move || waker.request_repaint()));
        let view = ViewState::new(&backend.snapshot(), errand);
        let news = News::new(ctx, |to| backend.pass_on(to));
        Self {
            backend,
            news,
            view,
            language: Language::default(),
            shown: "",
            dressed: None,
            gone: false,
        }
    }

    /// Sets the text size in percent, light or dark, and whether things move.
    pub fn set_appearance(
        &mut self,
        theme: egui::ThemePreference,
        text_percent: u16,
        motion: bool,
    ) {
        self.view.appearance = Appearance {
            theme,
            text_percent,
            motion,
        };
    }

    /// Draws one frame over all of `ui`.
    pub fn draw(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        if ctx.input(|i| i.viewport().close_requested()) {
            self.leave_at_once(&ctx);
        }
        if self.gone {
            return self.leave_at_once(&ctx);
        }
        let exit_key = ctx.input_mut(|i| EXIT_KEYS.iter().any(|keys| i.consume_shortcut(keys)));
        if exit_key {
            return self.leave_at_once(&ctx);
        }
        self.zoom_keys(&ctx);
        self.dress(&ctx);

        let snapshot: Arc<_> = self.backend.snapshot();
        self.view.recognise(&snapshot);
        if self.view.lobby == Lobby::Home {
            // Name and voice are settled: on to where one wanted to go.
            if let Some(command) = self.view.run_errand() {
                self.backend.send(command);
            }
        }
        if snapshot.place == Place::Lobby {
            // Whoever comes to a door again reads it again.
            self.view.door = AtDoor::default();
        }
        self.hear(&ctx, &snapshot);
        let shown = ui::key(&snapshot, &self.view);
        if shown != self.shown {
            self.shown = shown;
            // The keyboard starts at the top of a new screen.
            ctx.memory_mut(|m| {
                if let Some(focused) = m.focused() {
                    m.surrender_focus(focused);
                }
            });
        }

        let mut screen = Screen {
            snapshot: &snapshot,
            view: &mut self.view,
            words: self.language.words(),
            commands: Vec::new(),
            quick_exit: false,
        };
        ui::show(ui, &mut screen);
        let Screen {
            commands,
            quick_exit,
            ..
        } = screen;
        if quick_exit {
            return self.leave_at_once(&ctx);
        }
        if ui::key(&snapshot, &self.view) != self.shown {
            ctx.request_repaint();
        }
        for command in commands {
            self.backend.send(command);
        }
    }

    /// Takes note of what happened in the circle, and draws again when some of it has been shown long enough.
    fn hear(&mut self, ctx: &Context, snapshot: &Snapshot) {
        if let Place::Circle(circle) = &snapshot.place {
            self.view.stand_at(circle.door.circle);
            self.view.inside.follow(circle, snapshot.notice.as_ref());
        }
        let now = Duration::try_from_secs_f64(ctx.input(|i| i.time)).unwrap_or_default();
        let inside = &mut self.view.inside;
        for event in self.news.take() {
            inside.note(&event, now);
        }
        if let Some(left) = inside.fade(now) {
            ctx.request_repaint_after(left);
        }
    }

    /// Sound and connection end, the window is gone.
    fn leave_at_once(&mut self, ctx: &Context) {
        if !self.gone {
            self.gone = true;
            self.backend.quick_exit();
        }
        ctx.send_viewport_cmd(ViewportCommand::Visible(false));
        ctx.send_viewport_cmd(ViewportCommand::Close);
    }

    fn zoom_keys(&mut self, ctx: &Context) {
        let look = &mut self.view.appearance;
        ctx.input_mut(|i| {
            if LARGER_KEYS.iter().any(|keys| i.consume_shortcut(keys)) {
                look.larger();
            }
            if i.consume_shortcut(&SMALLER_KEY) {
                look.smaller();
            }
            if i.consume_shortcut(&USUAL_SIZE_KEY) {
                look.text_percent = 100;
            }
        });
    }

    /// Puts a changed appearance in force.
    fn dress(&mut self, ctx: &Context) {
        let look = self.view.appearance;
        if self.dressed == Some(look) {
            return;
        }
        self.dressed = Some(look);
        ctx.set_theme(look.theme);
        ctx.set_zoom_factor(f32::from(look.text_percent) / 100.0);
        ctx.all_styles_mut(|style| {
            style.animation_time = if look.motion { 1.0 / 12.0 } else { 0.0 };
        });
    }
}

impl<B: Backend> eframe::App for App<B> {
    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.draw(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        if !self.gone {
            self.gone = true;
            self.backend.quick_exit();
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }
}

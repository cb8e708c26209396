//! Microphone, headphones, and hearing oneself as others will, before anybody else does.

use egui::accesskit::Live;
use egui::{ComboBox, Ui};
use undertone_dsp::{Character, Difference};
use undertone_node::api::{Command, Device, DeviceId, Sound};

use super::Screen;
use super::shell::{Foot, FootPress, gap, page};
use crate::text::VoiceWords;
use crate::theme::{COLUMN, Palette, space, type_scale};
use crate::view_state::Lobby;
use crate::widgets::meter::{self, Loudness};
use crate::widgets::{Choice, Icon, Press, prose};

pub(crate) fn show(ui: &mut Ui, screen: &mut Screen<'_>) {
    let app = &screen.words.app;
    let words = &screen.words.voice;
    let sound = &screen.snapshot.sound;
    let mut commands = Vec::new();
    let foot = Foot {
        back: Some(app.back),
        hint: (!screen.view.revisiting).then(|| (app.step)(2, 2)),
        next: Some((words.done, true)),
    };
    let pressed = page(ui, "voice", COLUMN, &foot, |ui| {
        prose::title(ui, words.title);
        prose::soft(ui, words.intro);
        gap(ui, space::M);
        if let Some(problem) = &sound.problem {
            trouble(ui, words, problem);
            gap(ui, space::S);
        }
        devices(ui, words, sound, &mut commands);
        gap(ui, space::M);
        hearing(ui, words, sound, &mut commands);
        gap(ui, space::M);
        characters(ui, words, sound, &mut commands);
        gap(ui, space::M);
        clean_up(ui, words, sound, &mut commands);
        gap(ui, space::M);
        prose::with_icon(ui, Icon::Note, Palette::of(ui).ink_soft, |ui| {
            prose::soft(ui, words.honest);
        });
    });
    commands
        .into_iter()
        .for_each(|command| screen.send(command));
    if pressed.is_some() && sound.checking {
        screen.send(Command::VoiceCheck(false));
    }
    match pressed {
        Some(FootPress::Back) if !screen.view.revisiting => screen.view.lobby = Lobby::Name,
        Some(_) => {
            screen.view.lobby = Lobby::Home;
            screen.view.revisiting = false;
        }
        None => {}
    }
}

fn trouble(ui: &mut Ui, words: &VoiceWords, problem: &str) {
    let p = Palette::of(ui);
    prose::tinted(ui, p.danger_soft, p.danger, |ui| {
        prose::with_icon(ui, Icon::MicOff, p.danger, |ui| {
            prose::strong(ui, words.trouble);
            let line = prose::body(ui, problem);
            prose::announce(&line, Live::Assertive);
        });
    });
}

fn devices(ui: &mut Ui, words: &VoiceWords, sound: &Sound, commands: &mut Vec<Command>) {
    let pick = |ui: &mut Ui, label: &str, devices: &[Device], chosen: &Option<DeviceId>| {
        let label = prose::strong(ui, label);
        let mut choice = chosen.clone();
        let default = devices
            .iter()
            .find(|d| d.is_default)
            .map(|d| d.name.as_str());
        let system = (words.system_choice)(default);
        let shown = match chosen {
            None => system.clone(),
            Some(id) => devices
                .iter()
                .find(|d| d.id == *id)
                .map_or_else(|| id.0.clone(), |d| d.name.clone()),
        };
        ComboBox::from_id_salt(label.id)
            .selected_text(egui::RichText::new(shown).font(type_scale::body()))
            .width(ui.available_width())
            .truncate()
            .show_ui(ui, |ui| {
                ui.selectable_value(&mut choice, None, system);
                for device in devices {
                    ui.selectable_value(&mut choice, Some(device.id.clone()), &device.name);
                }
            })
            .response
            .labelled_by(label.id);
        (choice != *chosen).then_some(choice)
    };
    let (mut input, mut output) = (None, None);
    prose::beside(
        ui,
        240.0,
        [
            &mut |ui: &mut Ui| input = pick(ui, words.microphone, &sound.inputs, &sound.input),
            &mut |ui: &mut Ui| output = pick(ui, words.headphones, &sound.outputs, &sound.output),
        ],
    );
    commands.extend(input.map(Command::ChooseInput));
    commands.extend(output.map(Command::ChooseOutput));
    if ui
        .add(Press::quiet(words.look_again).icon(Icon::Again).small())
        .clicked()
    {
        commands.push(Command::RefreshDevices);
    }
}

fn hearing(ui: &mut Ui, words: &VoiceWords, sound: &Sound, commands: &mut Vec<Command>) {
    prose::card(ui, |ui| {
        level(ui, words, words.level_in, sound.input_level_db);
        gap(ui, space::M);
        let label = if sound.checking {
            words.stop_hearing
        } else {
            words.hear
        };
        let press = Press::secondary(label)
            .icon(Icon::Headphones)
            .on(sound.checking);
        if ui.add(press).clicked() {
            commands.push(Command::VoiceCheck(!sound.checking));
        }
        prose::small(ui, words.hear_advice);
        if sound.checking {
            gap(ui, space::S);
            level(ui, words, words.level_out, sound.morphed_level_db);
            gap(ui, space::S);
            difference(ui, words, sound.difference.as_ref());
        }
    });
}

/// How much of one's own voice was changed: what was measured, and that it is no promise.
fn difference(ui: &mut Ui, words: &VoiceWords, difference: Option<&Difference>) {
    prose::strong(ui, words.difference);
    meter::amount(
        ui,
        words.difference,
        difference.map_or(0.0, Difference::share),
    );
    match difference {
        Some(difference) => prose::small(ui, &(words.difference_is)(difference)),
        None => prose::small(ui, words.difference_unknown),
    };
}

fn level(ui: &mut Ui, words: &VoiceWords, name: &str, level_db: f32) {
    let said = match meter::loudness(level_db) {
        Loudness::Silent => words.level_silent,
        Loudness::Quiet => words.level_quiet,
        Loudness::Good => words.level_good,
        Loudness::Loud => words.level_loud,
    };
    egui::Sides::new().height(20.0).show(
        ui,
        |ui| prose::strong(ui, name),
        |ui| prose::small(ui, said),
    );
    meter::show(ui, name, level_db);
}

/// What comes off the microphone before the voice is changed.
fn clean_up(ui: &mut Ui, words: &VoiceWords, sound: &Sound, commands: &mut Vec<Command>) {
    prose::heading(ui, words.clean_up);
    let mut wanted = sound.clean_up;
    for (on, name, remark) in [
        (&mut wanted.echo, words.clean_echo, words.clean_echo_remark),
        (
            &mut wanted.noise,
            words.clean_noise,
            words.clean_noise_remark,
        ),
        (&mut wanted.gain, words.clean_gain, words.clean_gain_remark),
    ] {
        if ui.add(Choice::tick(*on, name).remark(remark)).clicked() {
            *on = !*on;
        }
    }
    if wanted != sound.clean_up {
        commands.push(Command::SetCleanUp(wanted));
    }
}

fn characters(ui: &mut Ui, words: &VoiceWords, sound: &Sound, commands: &mut Vec<Command>) {
    prose::heading(ui, words.character);
    let columns = if ui.available_width() > 460.0 { 2 } else { 1 };
    ui.columns(columns, |columns| {
        let count = columns.len();
        for (i, character) in Character::ALL.into_iter().enumerate() {
            if let Some(ui) = columns.get_mut(i % count) {
                let choice = Choice::one_of(
                    sound.character == character,
                    (words.character_name)(character),
                )
                .remark((words.character_remark)(character));
                if ui.add(choice).clicked() && sound.character != character {
                    commands.push(Command::SetCharacter(character));
                }
            }
        }
    });
    gap(ui, space::XS);
    let again = Press::secondary(words.new_setting).icon(Icon::Again);
    if ui.add(again).clicked() {
        commands.push(Command::RerollVoice);
    }
    prose::small(ui, words.new_setting_remark);
}

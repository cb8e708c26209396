//! What the person wants.

use undertone_dsp::Character;
use undertone_protocol::record::MAX_NAME_BYTES;
use undertone_protocol::session::Act;

use super::{Driver, Where, character, morph_seed, words};
use crate::NodeError;
use crate::api::Command;
use crate::audio::Mode;

impl Driver {
    pub(super) async fn handle_command(&mut self, command: Command) {
        let result = match command {
            Command::SetName(name) => self.set_name(name),
            Command::RefreshDevices => {
                self.refresh_devices();
                Ok(())
            }
            Command::ChooseInput(device) => {
                self.settings.input = device.as_ref().map(|d| d.0.clone());
                self.voice.choose_input(device);
                self.keep_settings();
                Ok(())
            }
            Command::ChooseOutput(device) => {
                self.settings.output = device.as_ref().map(|d| d.0.clone());
                self.voice.choose_output(device);
                self.keep_settings();
                Ok(())
            }
            Command::SetCharacter(character) => {
                let index = Character::ALL.iter().position(|c| *c == character);
                self.settings.character = index.unwrap_or(0) as u8;
                self.take_voice();
                Ok(())
            }
            Command::SetCleanUp(wanted) => {
                let parts = [(wanted.echo, 1), (wanted.noise, 2), (wanted.gain, 4)];
                let chosen = parts.iter().filter(|(on, _)| *on).map(|(_, part)| part);
                self.settings.clean_up = Some(chosen.sum());
                self.voice.set_clean_up(wanted);
                self.keep_settings();
                Ok(())
            }
            Command::RerollVoice => {
                self.settings.voice = self.settings.voice.wrapping_add(1);
                self.take_voice();
                Ok(())
            }
            Command::VoiceCheck(on) => self.check_voice(on),
            Command::FindCircles(search) => {
                self.find_circles(search);
                Ok(())
            }
            Command::StartCircle(draft) => self.start_circle(&draft, false).await,
            Command::OpenInvite(link) => self.open_invite(&link, false).await,
            Command::AskAgain => self.ask_again().await,
            Command::Practice { lead } => self.practise(lead).await,
            Command::ExportPledge(path) => self.export_pledge(path),
            Command::DismissNotice => {
                self.notice = None;
                Ok(())
            }
            Command::Leave => self.leave().await,
            Command::SetMuted(muted) => self.set_muted(muted),
            Command::SetVolume { member, volume } => match &mut self.place {
                Where::Circle(circle) => {
                    circle.set_volume(member, volume.clamp(0.0, 2.0));
                    Ok(())
                }
                _ => Err(NodeError::NotInACircle),
            },
            Command::Recover => match &mut self.place {
                Where::Circle(circle) => circle.recover(&self.store).await,
                _ => Err(NodeError::NotInACircle),
            },
            Command::Announce(wish) => match &mut self.place {
                Where::Circle(circle) => circle.announce(&self.store, wish).await,
                _ => Err(NodeError::NotInACircle),
            },
            Command::RenewInvite => match &mut self.place {
                Where::Circle(circle) => circle.renew_token(),
                _ => Err(NodeError::NotInACircle),
            },
            acting => match self.as_act(acting) {
                Some(act) => self.act(act).await,
                None => Err(NodeError::NotInACircle),
            },
        };
        if let Err(error) = result {
            self.notice = Some(words::notice(&error));
        }
    }

    /// The command as something a person does in a circle.
    fn as_act(&self, command: Command) -> Option<Act> {
        Some(match command {
            Command::SignPledge(consent) => Act::Sign {
                name: self.settings.name.clone()?,
                accepted: consent.accepted,
            },
            Command::RaiseHand => Act::RaiseHand,
            Command::Pass => Act::Pass,
            Command::Admit(key) => Act::Admit(key),
            Command::Refuse(key) => Act::Refuse(key),
            Command::SetAutoAdmit(on) => Act::AutoAdmit(on),
            Command::GiveTurn(key) => Act::GiveTurn(key),
            Command::EndTurn => Act::EndTurn,
            Command::SetAutoTurns(on) => Act::AutoTurns(on),
            Command::Remove {
                member,
                clause,
                minutes,
            } => Act::Remove {
                member,
                clause,
                minutes,
            },
            Command::Reinstate(key) => Act::Reinstate(key),
            Command::SetRole(key, role) => Act::SetRole(key, role),
            Command::AskToCease(key) => Act::AskToCease(key),
            Command::AcknowledgeCease => Act::AcknowledgeCease,
            Command::Silence(key, minutes) => Act::Mute(key, minutes),
            Command::Freeze(on) => Act::Freeze(on),
            Command::SetFloorMode(mode) => Act::SetFloorMode(mode),
            Command::SetDoor(open) => Act::SetDoor(open),
            Command::ExtendTurn(seconds) => Act::Extend(seconds),
            Command::CloseCircle => Act::Close,
            Command::Thank(key, gratitude) => Act::Thank(key, gratitude),
            Command::Refer(key, words) => Act::Refer(key, words),
            Command::StayInTouch(key, words) => Act::StayInTouch(key, words),
            Command::Erase => Act::Erase,
            _ => return None,
        })
    }

    async fn act(&mut self, act: Act) -> Result<(), NodeError> {
        let Where::Circle(circle) = &mut self.place else {
            return Err(NodeError::NotInACircle);
        };
        let signs = matches!(act, Act::Sign { .. }) && !circle.practice;
        circle.act(&self.store, act).await?;
        if let Some(state) = circle.session.state().filter(|_| signs) {
            // So that the next door shows what has changed since.
            self.settings.signed = Some(state.charter().texts);
            self.keep_settings();
        }
        Ok(())
    }

    fn set_name(&mut self, name: String) -> Result<(), NodeError> {
        let name = name.trim().to_owned();
        let fits = !name.is_empty()
            && name.chars().count() <= 40
            && name.len() <= MAX_NAME_BYTES
            && !name.chars().any(char::is_control);
        fits.then_some(()).ok_or(NodeError::BadName)?;
        self.settings.name = Some(name);
        self.keep_settings();
        Ok(())
    }

    pub(super) fn keep_settings(&mut self) {
        let pending = self.store.put_settings(self.settings.clone());
        self.closing.spawn(async move {
            if let Err(error) = pending.done().await {
                tracing::warn!(%error, "the settings could not be written");
            }
        });
    }

    fn take_voice(&mut self) {
        let salt = match &self.place {
            Where::Circle(circle) => Some(circle.file.salt),
            _ => None,
        };
        let seed = morph_seed(&self.store, salt.as_ref(), &self.settings);
        self.voice.set_voice(seed, character(&self.settings));
        self.keep_settings();
    }

    fn check_voice(&mut self, on: bool) -> Result<(), NodeError> {
        if on && matches!(self.place, Where::Circle(_)) {
            return Err(NodeError::NoCheckInACircle);
        }
        self.checking = on;
        self.voice.set_mode(match on {
            true => Mode::Check,
            false => Mode::Off,
        });
        Ok(())
    }

    fn set_muted(&mut self, muted: bool) -> Result<(), NodeError> {
        let Where::Circle(circle) = &mut self.place else {
            return Err(NodeError::NotInACircle);
        };
        circle.muted = muted;
        self.voice.set_muted(muted);
        Ok(())
    }
}

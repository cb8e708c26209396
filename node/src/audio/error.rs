//! What can be wrong with sound, each as one plain sentence: what happened, what to do.

/// Into the program or out of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// A microphone.
    Input,
    /// Headphones or a loudspeaker.
    Output,
}

impl std::fmt::Display for Direction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Input => "microphone",
            Self::Output => "headphones",
        })
    }
}

/// Why there is no sound. `Display` is one sentence for the person; technical detail shows in `Debug` only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    /// The system could not list its devices.
    #[error(
        "The system could not list the {direction} you have: check that its sound is running, then look again."
    )]
    Listing {
        /// Which list.
        direction: Direction,
        /// The system's own words.
        detail: String,
    },
    /// There is no such device at all.
    #[error("No {0} found: connect what you use, or choose a device under Sound.")]
    NoDevice(Direction),
    /// The chosen device is not there.
    #[error("The {0} you chose cannot be found: reconnect, or choose another device under Sound.")]
    NotThere(Direction),
    /// A device that was in use went away.
    #[error("Your {0} got disconnected: reconnect, or choose a device under Sound.")]
    Unplugged(Direction),
    /// The device is there and gives no sign of life.
    #[error("Your {0} stopped working: reconnect, or choose a device under Sound.")]
    Stalled(Direction),
    /// The microphone works and gives nothing but zeros.
    #[error(
        "No sound at all comes from your microphone: perhaps a switch on it is off, or choose another under Sound."
    )]
    Quiet,
    /// Another program holds the device.
    #[error(
        "Another program is using your {0}: close it, then choose the device again under Sound."
    )]
    Busy(Direction),
    /// The system does not allow it.
    #[error(
        "This program is not allowed to use your {0}: allow it in the system's privacy settings, then choose the device again."
    )]
    Denied(Direction),
    /// No format in common.
    #[error("Your {0} works in a way this program cannot use: choose another device under Sound.")]
    Unsupported(Direction),
    /// Anything else.
    #[error("Your {direction} could not be opened: choose a device under Sound to try again.")]
    Failed {
        /// Which.
        direction: Direction,
        /// The system's own words.
        detail: String,
    },
    /// The voice cannot be changed, so silence goes out.
    #[error(
        "Your voice cannot be disguised just now, so others hear silence: choose another voice, or start the program again."
    )]
    Morph,
    /// The threads that carry sound could not be started, or ended.
    #[error(
        "The sound of this program stopped working: close other programs, then start this one again."
    )]
    Threads,
}

impl AudioError {
    /// Whether the device must be closed. A device that is only quiet stays open.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, Self::Quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_one_sentence_without_technical_words() {
        let detail = || "ENODEV -19".to_owned();
        for direction in [Direction::Input, Direction::Output] {
            for error in [
                AudioError::Listing {
                    direction,
                    detail: detail(),
                },
                AudioError::NoDevice(direction),
                AudioError::NotThere(direction),
                AudioError::Unplugged(direction),
                AudioError::Stalled(direction),
                AudioError::Quiet,
                AudioError::Busy(direction),
                AudioError::Denied(direction),
                AudioError::Unsupported(direction),
                AudioError::Failed {
                    direction,
                    detail: detail(),
                },
                AudioError::Morph,
                AudioError::Threads,
            ] {
                let said = error.to_string();
                assert!(
                    said.ends_with('.') && said.matches('.').count() == 1,
                    "{said}"
                );
                assert!(!said.contains("ENODEV"), "{said}");
            }
        }
    }
}

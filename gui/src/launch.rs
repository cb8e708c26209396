//! Before the window opens: what was asked on the command line, and whether a window can open here.

use std::ffi::OsString;
use std::path::Path;

use crate::text::Language;
use crate::view_state::Errand;

/// What `undertone` was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Open the window, perhaps on the way somewhere.
    Window(Option<Errand>),
    /// Say how it is used.
    Help,
    /// Say which version it is.
    Version,
    /// Something it does not understand, with the reason.
    Unknown(String),
}

/// How `undertone` is used.
pub const HELP: &str = "\
undertone opens the window of Undertone: voice circles for people who would rather not be recognised.

    undertone                 open the window
    undertone INVITE_LINK     go to the door behind this invite
    undertone --practice      go to the practice circle, which needs no network
    undertone --help          this text
    undertone --version       which version this is

Without a display, `undertone-node` takes part from a terminal.
";

/// Understands the command line, without the program's own name.
pub fn understand(arguments: impl IntoIterator<Item = OsString>) -> Asked {
    let mut errand = None;
    for argument in arguments {
        let Ok(argument) = argument.into_string() else {
            return Asked::Unknown("that is not text".to_owned());
        };
        let wanted = match argument.as_str() {
            "--help" | "-h" => return Asked::Help,
            "--version" | "-V" => return Asked::Version,
            "--practice" => Errand::Practice,
            option if option.starts_with('-') => {
                return Asked::Unknown(format!("there is no option {option}"));
            }
            link => Errand::Invite(link.to_owned()),
        };
        if errand.replace(wanted).is_some() {
            return Asked::Unknown("one invite link or --practice is enough".to_owned());
        }
    }
    Asked::Window(errand)
}

/// Why no window can open here, in plain words, or `None` where one can.
///
/// winit panics where there is no display or where libxkbcommon-x11 is missing, so this is asked before.
pub fn obstacle(
    environment: impl Fn(&str) -> Option<OsString>,
    has_library: impl Fn(&str) -> bool,
) -> Option<String> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let words = &Language::default().words().app;
    let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
    let wayland = set("WAYLAND_DISPLAY") || set("WAYLAND_SOCKET");
    if !wayland && !set("DISPLAY") {
        return Some(words.no_display.to_owned());
    }
    let needed: &[(&str, &str)] = if wayland {
        &[
            ("libwayland-client.so.0", "libwayland-client0"),
            ("libxkbcommon.so.0", "libxkbcommon0"),
            ("libEGL.so.1", "libegl1"),
        ]
    } else {
        &[
            ("libX11.so.6", "libx11-6"),
            ("libX11-xcb.so.1", "libx11-xcb1"),
            ("libXcursor.so.1", "libxcursor1"),
            ("libXi.so.6", "libxi6"),
            ("libxkbcommon.so.0", "libxkbcommon0"),
            ("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
            ("libGL.so.1", "libgl1"),
        ]
    };
    needed
        .iter()
        .find(|(library, _)| !has_library(library))
        .map(|(library, package)| (words.no_library)(library, package))
}

/// Whether the loader would find this shared library: in its cache, or in the usual folders.
pub fn has_library(name: &str) -> bool {
    const FOLDERS: [&str; 8] = [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
    ];
    let in_cache = || {
        // The cache is a table of zero-terminated names.
        let wanted: Vec<u8> = name.bytes().chain([0]).collect();
        std::fs::read("/etc/ld.so.cache")
            .is_ok_and(|cache| cache.windows(wanted.len()).any(|window| window == wanted))
    };
    let on_path =
        |path: OsString| std::env::split_paths(&path).any(|folder| folder.join(name).exists());
    FOLDERS
        .iter()
        .any(|folder| Path::new(folder).join(name).exists())
        || std::env::var_os("LD_LIBRARY_PATH").is_some_and(on_path)
        || in_cache()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> Asked {
        understand(arguments.iter().map(OsString::from))
    }

    #[test]
    fn the_command_line_is_an_invite_or_practice_or_nothing() {
        assert_eq!(asked(&[]), Asked::Window(None));
        assert_eq!(
            asked(&["--practice"]),
            Asked::Window(Some(Errand::Practice))
        );
        assert_eq!(
            asked(&["undertone:abc"]),
            Asked::Window(Some(Errand::Invite("undertone:abc".to_owned())))
        );
        assert_eq!(asked(&["--practice", "--help"]), Asked::Help);
        assert!(matches!(asked(&["--practise"]), Asked::Unknown(_)));
        assert!(matches!(asked(&["one", "two"]), Asked::Unknown(_)));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_display_or_a_library_it_is_said() {
        let on_x11 = |name: &str| (name == "DISPLAY").then(|| OsString::from(":0"));
        assert!(obstacle(|_| None, |_| true).is_some_and(|why| why.contains("no display")));
        assert_eq!(obstacle(on_x11, |_| true), None);
        let why = obstacle(on_x11, |library| library != "libxkbcommon-x11.so.0");
        assert!(why.is_some_and(|why| why.contains("apt install libxkbcommon-x11-0")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_that_is_not_there_is_not_found() {
        assert!(!has_library("libundertone-no-such-thing.so.9"));
    }
}

//! `undertone`: the desktop window.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use eframe::egui::ViewportBuilder;
use undertone_gui::launch::{self, Asked};
use undertone_gui::{App, Errand, badge};
use undertone_node::NodeConfig;

fn main() -> ExitCode {
    match launch::understand(std::env::args_os().skip(1)) {
        Asked::Help => {
            print!("{}", launch::HELP);
            ExitCode::SUCCESS
        }
        Asked::Version => {
            println!("undertone {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        Asked::Unknown(why) => {
            eprintln!("undertone: {why}. See undertone --help.");
            ExitCode::from(2)
        }
        Asked::Window(errand) => {
            if let Some(obstacle) =
                launch::obstacle(|name| std::env::var_os(name), launch::has_library)
            {
                eprintln!("{obstacle}");
                return ExitCode::from(2);
            }
            match open(errand) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("Undertone could not start: {error:#}");
                    ExitCode::FAILURE
                }
            }
        }
    }
}

/// Opens the window and stays until it is closed. The node ends with it, every task joined.
fn open(errand: Option<Errand>) -> anyhow::Result<()> {
    let config = NodeConfig::desktop().context("no place to keep data")?;
    let node = undertone_node::start(config)?;
    let options = eframe::NativeOptions {
        viewport: ViewportBuilder::default()
            .with_title("Undertone")
            .with_app_id("undertone")
            .with_icon(badge())
            .with_inner_size([1060.0, 740.0])
            .with_min_inner_size([400.0, 300.0]),
        renderer: eframe::Renderer::Glow,
        ..eframe::NativeOptions::default()
    };
    eframe::run_native(
        "Undertone",
        options,
        Box::new(move |cc| Ok(Box::new(App::new(&cc.egui_ctx, node, errand)))),
    )
    .map_err(|error| anyhow!("{error}"))
}

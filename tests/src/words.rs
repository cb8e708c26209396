//! Word errors and quality of what was heard, by the models of the voice measuring kit, where it is at hand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::speech::{read_wav, write_wav};

const SCRIPT: &str = include_str!("../sound/words.py");
/// Silence between clips: longer than any line is late.
const PAUSE_SAMPLES: usize = 48_000;
/// A clip is cut out a little before it begins, and after it ends.
const MARGIN_SAMPLES: usize = 9_600;

/// What the kit says of a set of clips.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Words {
    /// Word errors, percent.
    pub words: f64,
    /// DNSMOS P.835 overall, 1 to 5.
    pub quality: f64,
}

impl Words {
    /// The mean of several; of none, nothing.
    pub fn mean(of: &[Self]) -> Option<Self> {
        let mean = |part: fn(&Self) -> f64| of.iter().map(part).sum::<f64>() / of.len() as f64;
        (!of.is_empty()).then(|| Self {
            words: mean(|w| w.words),
            quality: mean(|w| w.quality),
        })
    }
}

/// The kit's clips with a true transcript, one after the other.
pub struct Clips {
    kit: PathBuf,
    python: PathBuf,
    folder: tempfile::TempDir,
    /// Names, beginnings and ends, in samples.
    places: Vec<(String, usize, usize)>,
    /// All of them, with pauses between.
    pub speech: Vec<f32>,
}

impl Clips {
    /// Asks the kit for its clips.
    ///
    /// # Errors
    /// If the kit cannot be run.
    pub fn new(kit: &Path, python: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut this = Self {
            kit: kit.to_owned(),
            python: python.to_owned(),
            folder,
            places: Vec::new(),
            speech: vec![0.0; PAUSE_SAMPLES],
        };
        let clips = this.folder.path().join("clips");
        this.run("extract", [clips.as_path()])?;
        let mut files = std::fs::read_dir(&clips)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        files.sort();
        for file in &files {
            let samples = read_wav(file)?;
            let name = file.file_name().context("a file has a name")?;
            let from = this.speech.len();
            this.speech.extend_from_slice(&samples);
            let name = name.to_string_lossy().into_owned();
            this.places.push((name, from, this.speech.len()));
            this.speech.resize(this.speech.len() + PAUSE_SAMPLES, 0.0);
        }
        Ok(this)
    }

    /// Cuts what was heard, so much later, into clips again; returns their folder.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub fn cut(&self, name: &str, heard: &[f32], late: Duration) -> Result<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        let late = (late.as_secs_f64() * 48_000.0) as usize;
        for (name, from, to) in &self.places {
            let from = (from + late - MARGIN_SAMPLES).min(heard.len());
            let to = (to + late + MARGIN_SAMPLES).min(heard.len());
            write_wav(&folder.join(name), &heard[from..to])?;
        }
        Ok(folder)
    }

    /// Has the kit listen to the clips of several folders.
    ///
    /// # Errors
    /// If the kit cannot be run, or says nothing.
    pub fn score(&self, folders: &[PathBuf]) -> Result<Vec<Words>> {
        let said = self.run("score", folders.iter().map(PathBuf::as_path))?;
        let scores = said.lines().map(serde_json::from_str);
        let scores = scores.collect::<Result<Vec<Words>, _>>()?;
        ensure!(scores.len() == folders.len(), "the kit left something out");
        Ok(scores)
    }

    fn run<'a>(
        &self,
        command: &str,
        folders: impl IntoIterator<Item = &'a Path>,
    ) -> Result<String> {
        let output = Command::new(&self.python)
            .args(["-c", SCRIPT])
            .arg(&self.kit)
            .arg(command)
            .args(folders)
            .output()
            .with_context(|| format!("{} does not run", self.python.display()))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the kit cannot {command}: {error}");
        Ok(String::from_utf8(output.stdout)?)
    }
}

//! Speech from files, and sound to files.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use undertone_node::speech::CLIPS;

/// Speech to speak with, mono at 48 kHz: the WAV files of a folder in the order of their names, or the bundled
/// companions.
///
/// # Errors
/// If a file cannot be read, or the folder holds none.
pub fn voices(folder: Option<&Path>) -> Result<Vec<Vec<f32>>> {
    let Some(folder) = folder else {
        return CLIPS.iter().map(|clip| Ok(clip.samples()?)).collect();
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| format!("the folder {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("wav"))
        })
        .collect();
    files.sort();
    ensure!(!files.is_empty(), "{} holds no WAV files", folder.display());
    files.iter().map(|path| read_wav(path)).collect()
}

/// Mono at 48 kHz from any WAV; other rates are brought there by linear interpolation, which is enough
/// for a test's microphone.
///
/// # Errors
/// If the file cannot be read, or is shorter than a word.
pub fn read_wav(path: &Path) -> Result<Vec<f32>> {
    let mut reader =
        hound::WavReader::open(path).with_context(|| format!("the file {}", path.display()))?;
    let spec = reader.spec();
    let samples: Vec<f32> = match spec.sample_format {
        hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>()?,
        hound::SampleFormat::Int => {
            let full = (1i64 << (spec.bits_per_sample - 1)) as f32;
            let ints = reader.samples::<i32>().map(|s| s.map(|s| s as f32 / full));
            ints.collect::<Result<_, _>>()?
        }
    };
    let channels = usize::from(spec.channels);
    let mono: Vec<_> = samples
        .chunks(channels)
        .map(|c| c.iter().sum::<f32>() / channels as f32)
        .collect();
    ensure!(
        mono.len() > 4_800,
        "{} is shorter than a word",
        path.display()
    );
    let ratio = f64::from(spec.sample_rate) / 48_000.0;
    let count = (mono.len() as f64 / ratio) as usize;
    Ok((0..count)
        .map(|i| {
            let at = i as f64 * ratio;
            let (left, part) = (at as usize, at.fract() as f32);
            let right = mono.get(left + 1).copied().unwrap_or(mono[left]);
            mono[left] * (1.0 - part) + right * part
        })
        .collect())
}

/// Writes mono samples at 48 kHz as 16-bit WAV.
///
/// # Errors
/// If the file cannot be written.
pub fn write_wav(path: &Path, samples: &[f32]) -> Result<()> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec)
        .with_context(|| format!("the file {}", path.display()))?;
    for sample in samples {
        writer.write_sample((sample.clamp(-1.0, 1.0) * 32_767.0) as i16)?;
    }
    Ok(writer.finalize()?)
}

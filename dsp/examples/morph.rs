//! Morphs WAV files with the product's block code, for listening and for measuring.
//!
//! ```text
//! morph --in A.wav --out B.wav --seed N [--character NAME]
//! morph --list FILE        # lines of IN, OUT and SEED, separated by tabs
//! morph --without PART …   # with the feature `ablation`: one part left out
//! ```
//!
//! Input and output are mono 16-bit WAV at 48 kHz. The output is as long as the input and late by
//! [`Morpher::LATENCY`] less the hop: samples are written as they are made.

use std::error::Error;
use std::path::Path;

#[cfg(feature = "ablation")]
use undertone_dsp::morph::Part;
use undertone_dsp::{
    AudioFrame, Character, FRAME_SAMPLES, MorphSeed, Morpher, RawPcm, SAMPLE_RATE_HZ,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|at| arguments.get(at + 1))
    };
    let character = match value("--character") {
        None => Character::Free,
        Some(name) => Character::ALL
            .into_iter()
            .find(|c| c.name() == name)
            .ok_or_else(|| format!("unknown character {name}"))?,
    };
    #[cfg(feature = "ablation")]
    let part = match value("--without") {
        None => None,
        Some(name) => Some(
            Part::ALL
                .into_iter()
                .find_map(|(n, part)| (n == name).then_some(part))
                .ok_or_else(|| format!("unknown part {name}"))?,
        ),
    };
    let morpher = |seed: &MorphSeed| {
        #[cfg(feature = "ablation")]
        if let Some(part) = part {
            return Morpher::without(part, seed, character);
        }
        Morpher::new(seed, character)
    };
    if let Some(list) = value("--list") {
        for line in std::fs::read_to_string(list)?.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [input, output, seed] = fields[..] else {
                return Err(format!("not IN, OUT and SEED: {line}").into());
            };
            morph_file(Path::new(input), Path::new(output), seed.parse()?, &morpher)?;
        }
        return Ok(());
    }
    match (value("--in"), value("--out"), value("--seed")) {
        (Some(input), Some(output), Some(seed)) => {
            morph_file(Path::new(input), Path::new(output), seed.parse()?, &morpher)
        }
        _ => Err("usage: morph --in A.wav --out B.wav --seed N | --list FILE".into()),
    }
}

fn morph_file(
    input: &Path,
    output: &Path,
    seed: u64,
    new_morpher: &impl Fn(&MorphSeed) -> Morpher,
) -> Result<(), Box<dyn Error>> {
    let mut reader = hound::WavReader::open(input)?;
    let spec = reader.spec();
    if spec.channels != 1 || spec.sample_rate != SAMPLE_RATE_HZ || spec.bits_per_sample != 16 {
        return Err(format!("{}: not mono 16-bit at 48 kHz", input.display()).into());
    }
    let samples = reader
        .samples::<i16>()
        .map(|s| s.map(|s| f32::from(s) / 32_768.0))
        .collect::<Result<Vec<_>, _>>()?;

    // A number stands for a session here; the product draws all 32 bytes from the system.
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut morpher = new_morpher(&MorphSeed::from_bytes(bytes));

    let mut writer = hound::WavWriter::create(output, spec)?;
    let mut raw = RawPcm(AudioFrame::SILENCE);
    for chunk in samples.chunks(FRAME_SAMPLES) {
        raw.0.0.fill(0.0);
        raw.0.0[..chunk.len()].copy_from_slice(chunk);
        let morphed = morpher.try_process(&raw).ok_or("the morph failed")?;
        for sample in &morphed.as_frame().0[..chunk.len()] {
            writer.write_sample((sample * 32_767.0).round() as i16)?;
        }
    }
    writer.finalize()?;
    Ok(())
}

//! The companions' voices: Ogg/Opus files of eight people reading, bundled with the program. See
//! `node/speech/README.md` for who reads what, and under which licence.

use std::io::Cursor;

/// One voice by the name of its file.
pub struct Clip {
    /// Name of a tree.
    pub name: &'static str,
    bytes: &'static [u8],
}

macro_rules! clips {
    ($($name:literal),+ $(,)?) => {
        /// All voices: four women, four men.
        pub const CLIPS: &[Clip] = &[$(Clip {
            name: $name,
            bytes: include_bytes!(concat!("../speech/", $name, ".opus")),
        }),+];
    };
}

clips![
    "willow", "alder", "linden", "birch", "hazel", "cedar", "rowan", "maple"
];

/// Why a file of speech cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpeechError {
    /// Not an Ogg container.
    #[error("not an Ogg file: {0}")]
    Ogg(#[from] ogg::OggReadError),
    /// Not Opus, or damaged.
    #[error("not Opus: {0}")]
    Opus(#[from] opus::Error),
    /// The Opus header is missing, or it is not mono.
    #[error("not a mono Opus file")]
    Header,
}

impl Clip {
    /// Decodes the whole clip.
    ///
    /// # Errors
    /// Never for the bundled clips, as a test shows.
    pub fn samples(&self) -> Result<Vec<f32>, SpeechError> {
        decode(self.bytes)
    }
}

/// Decodes a mono Ogg/Opus file (RFC 7845) to samples at 48 kHz, ±1.0.
///
/// # Errors
/// [`SpeechError`].
pub fn decode(bytes: &[u8]) -> Result<Vec<f32>, SpeechError> {
    /// Longest Opus packet: 120 ms.
    const MOST_SAMPLES: usize = 5_760;
    let mut packets = ogg::PacketReader::new(Cursor::new(bytes));
    let head = packets.read_packet()?.ok_or(SpeechError::Header)?.data;
    let mono = head.starts_with(b"OpusHead") && head.get(9) == Some(&1);
    let skip = head
        .get(10..12)
        .filter(|_| mono)
        .ok_or(SpeechError::Header)?;
    let skip = usize::from(u16::from_le_bytes([skip[0], skip[1]]));
    packets.read_packet()?.ok_or(SpeechError::Header)?; // Tags.
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Mono)?;
    let mut samples = Vec::new();
    let mut frame = vec![0.0; MOST_SAMPLES];
    while let Some(packet) = packets.read_packet()? {
        let decoded = decoder.decode_float(&packet.data, &mut frame, false)?;
        samples.extend_from_slice(&frame[..decoded]);
    }
    samples.drain(..skip.min(samples.len()));
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_voice_is_speech_of_some_seconds() {
        for clip in CLIPS {
            let samples = clip.samples().unwrap();
            let seconds = samples.len() as f32 / 48_000.0;
            let power = samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32;
            assert!((8.0..30.0).contains(&seconds), "{}: {seconds} s", clip.name);
            assert!(10.0 * power.log10() > -35.0, "{} is silent", clip.name);
            assert!(
                samples.iter().all(|s| s.abs() <= 1.0),
                "{} clips",
                clip.name
            );
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        assert!(decode(b"not an Ogg file at all").is_err());
        let whole = CLIPS[0].bytes;
        let mut changed = whole[..2000].to_vec();
        changed[1500] ^= 0xff;
        assert!(decode(&changed).is_err());
        assert!(decode(&[]).is_err());
    }
}

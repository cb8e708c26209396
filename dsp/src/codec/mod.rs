//! Opus as Undertone uses it: 48 kHz mono, 20 ms, 32 kb/s hard CBR, DTX off, deep redundancy.
//!
//! Hard CBR without DTX makes every packet [`OPUS_FRAME_BYTES`] long, speech or silence, so that the
//! size of a sealed packet says nothing about who is talking (RFC 6716 §2.1.8; RFC 6562 on why
//! variable rates leak). Redundancy costs no extra bytes under CBR, only some of the voice's own.

mod libopus;

use crate::{AudioFrame, DspError, FRAME_SAMPLES, Morphed, OPUS_FRAME_BYTES, SAMPLE_RATE_HZ};
use libopus::{Decoder, Encoder, Settings};

const BITRATE_BPS: i32 = (OPUS_FRAME_BYTES * 8 * 50) as i32;
/// Loss the encoder prepares for, in percent; it decides how many bits redundancy gets.
const EXPECTED_LOSS_PERCENT: i32 = 25;
const COMPLEXITY: i32 = 9;
/// From 5 on, lost frames are made up by a neural vocoder.
const DECODER_COMPLEXITY: i32 = 5;
/// Frames that a packet may describe, half a second: more would take bits from each.
const MOST_DESCRIBED: u8 = 25;

/// What packets carry about the frames before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redundancy {
    /// In-band FEC (RFC 6716 §2.1.7): a low-rate copy of the one frame before.
    OneFrame,
    /// DRED (libopus 1.5 and later): a neural description of as many frames before as there is room for.
    #[default]
    Deep,
}

/// One coded frame: always [`OPUS_FRAME_BYTES`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpusFrame([u8; OPUS_FRAME_BYTES]);

impl OpusFrame {
    /// The packet as it is sealed and sent.
    pub fn as_bytes(&self) -> &[u8; OPUS_FRAME_BYTES] {
        &self.0
    }

    /// Whether the packet carries a low-rate copy of the frame before it (RFC 6716 §4.2.3, LBRR flag).
    ///
    /// Safe counterpart of `opus_packet_has_lbrr` for mono 20 ms packets; false for anything else.
    pub fn carries_previous(&self) -> bool {
        let toc = self.0[0];
        let is_silk_or_hybrid = toc & 0x80 == 0;
        let is_mono = toc & 0x04 == 0;
        let is_20_ms = is_silk_or_hybrid
            && (if toc >= 0x60 {
                toc & 0x08 != 0
            } else {
                toc & 0x18 == 0x08
            });
        if !is_mono || !is_20_ms {
            return false;
        }
        let first_byte = match toc & 0x03 {
            0 => self.0.get(1),
            3 => self.first_byte_of_padded(),
            _ => None,
        };
        // Header bits of the first SILK frame: one voice-activity flag, then the LBRR flag.
        first_byte.is_some_and(|byte| byte & 0x40 != 0)
    }

    fn check_length(&self) -> Result<(), DspError> {
        match opus::packet::get_nb_samples(&self.0, SAMPLE_RATE_HZ)? {
            FRAME_SAMPLES => Ok(()),
            _ => Err(DspError::NotOneFrame),
        }
    }

    /// First payload byte of a code 3 packet with one frame (RFC 6716 §3.2.5).
    fn first_byte_of_padded(&self) -> Option<&u8> {
        let count = self.0[1];
        if count & 0x3f != 1 {
            return None;
        }
        let mut at = 2;
        if count & 0x40 != 0 {
            while self.0.get(at).is_some_and(|b| *b == 255) {
                at += 1;
            }
            at += 1;
        }
        self.0.get(at)
    }
}

impl TryFrom<&[u8]> for OpusFrame {
    type Error = DspError;

    /// Takes any 80 bytes; whether they decode shows when they are played.
    ///
    /// # Errors
    /// [`DspError::FrameLength`] for any other length.
    fn try_from(bytes: &[u8]) -> Result<Self, DspError> {
        let array = bytes
            .try_into()
            .map_err(|_| DspError::FrameLength { found: bytes.len() })?;
        Ok(Self(array))
    }
}

/// Encoder of one outgoing voice. Takes [`Morphed`] and nothing else.
pub struct VoiceEncoder {
    inner: Encoder,
}

impl VoiceEncoder {
    /// An encoder with the settings of this module.
    ///
    /// # Errors
    /// [`DspError::Libopus`] if libopus refuses a setting.
    pub fn new(redundancy: Redundancy) -> Result<Self, DspError> {
        Ok(Self {
            inner: Encoder::new(Settings {
                bitrate_bps: BITRATE_BPS,
                complexity: COMPLEXITY,
                expected_loss_percent: EXPECTED_LOSS_PERCENT,
                one_frame: redundancy == Redundancy::OneFrame,
                described: match redundancy {
                    Redundancy::OneFrame => 0,
                    Redundancy::Deep => MOST_DESCRIBED,
                },
            })?,
        })
    }

    /// Encodes 20 ms.
    ///
    /// # Errors
    /// [`DspError::Libopus`], or [`DspError::FrameLength`] if a packet had another size.
    pub fn encode(&mut self, morphed: &Morphed) -> Result<OpusFrame, DspError> {
        let mut bytes = [0; OPUS_FRAME_BYTES];
        let found = self
            .inner
            .encode(morphed.as_frame().samples(), &mut bytes)?;
        if found != OPUS_FRAME_BYTES {
            return Err(DspError::FrameLength { found });
        }
        Ok(OpusFrame(bytes))
    }
}

/// Decoder of one incoming voice.
pub struct VoiceDecoder {
    inner: Decoder,
    /// The packet whose deep redundancy was last read, and how many frames it describes.
    read: Option<(OpusFrame, usize)>,
}

impl VoiceDecoder {
    /// A decoder at 48 kHz mono.
    ///
    /// # Errors
    /// [`DspError::Libopus`] if libopus cannot make one.
    pub fn new() -> Result<Self, DspError> {
        Ok(Self {
            inner: Decoder::new(DECODER_COMPLEXITY)?,
            read: None,
        })
    }

    /// Decodes a packet into 960 samples.
    ///
    /// # Errors
    /// [`DspError::Libopus`] or [`DspError::NotOneFrame`]; `out` is then unspecified but finite.
    pub fn decode(&mut self, frame: &OpusFrame, out: &mut AudioFrame) -> Result<(), DspError> {
        frame.check_length()?;
        let samples = self.inner.decode(Some(&frame.0), false, &mut out.0);
        finish(samples, out)
    }

    /// Rebuilds the frame that lies `before` frames (1 is the one just before) ahead of a later packet, from what
    /// that packet carries about it. The frames of one gap in their order, please.
    ///
    /// # Errors
    /// [`DspError::NotDescribed`] if it carries nothing about that frame, else as [`Self::decode`].
    pub fn recover(
        &mut self,
        later: &OpusFrame,
        before: usize,
        out: &mut AudioFrame,
    ) -> Result<(), DspError> {
        later.check_length()?;
        if before == 1 && later.carries_previous() {
            let samples = self.inner.decode(Some(&later.0), true, &mut out.0);
            return finish(samples, out);
        }
        let described = match self.read {
            Some((read, described)) if read == *later => described,
            _ => {
                let described = self.inner.read(&later.0, usize::from(MOST_DESCRIBED))?;
                self.read = Some((*later, described));
                described
            }
        };
        if before > described {
            return Err(DspError::NotDescribed);
        }
        let samples = self.inner.rebuild(before, &mut out.0);
        finish(samples, out)
    }

    /// Makes up 20 ms that sound like what came before (libopus packet loss concealment).
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn conceal(&mut self, out: &mut AudioFrame) -> Result<(), DspError> {
        let samples = self.inner.decode(None, false, &mut out.0);
        finish(samples, out)
    }
}

/// What leaves a decoder is bounded, whatever a hostile packet may decode to.
fn finish(samples: Result<usize, DspError>, out: &mut AudioFrame) -> Result<(), DspError> {
    for sample in &mut out.0 {
        *sample = if sample.is_finite() {
            sample.clamp(-2.0, 2.0)
        } else {
            0.0
        };
    }
    match samples? {
        FRAME_SAMPLES => Ok(()),
        _ => Err(DspError::NotOneFrame),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Noise, speech_like};

    fn morphed(samples: &[f32]) -> Morphed {
        let mut frame = AudioFrame::SILENCE;
        frame.0[..samples.len()].copy_from_slice(samples);
        Morphed::from_morpher(frame)
    }

    #[test]
    fn every_packet_has_one_size_whatever_is_said() {
        let mut encoder = VoiceEncoder::new(Redundancy::default()).unwrap();
        let mut noise = Noise::new(3);
        let speech = speech_like(2.0, 140.0);
        let mut frames: Vec<Morphed> = speech.chunks_exact(FRAME_SAMPLES).map(morphed).collect();
        frames.extend((0..100).map(|_| Morphed::silence()));
        frames.extend((0..20).map(|_| morphed(&[1.0; FRAME_SAMPLES])));
        frames.extend((0..20).map(|_| {
            morphed(&std::array::from_fn::<f32, FRAME_SAMPLES, _>(|_| {
                noise.next()
            }))
        }));
        for frame in &frames {
            assert_eq!(
                encoder.encode(frame).unwrap().as_bytes().len(),
                OPUS_FRAME_BYTES
            );
        }
    }

    #[test]
    fn speech_survives_the_codec() {
        let mut encoder = VoiceEncoder::new(Redundancy::default()).unwrap();
        let mut decoder = VoiceDecoder::new().unwrap();
        let speech = speech_like(1.0, 140.0);
        let mut out = AudioFrame::SILENCE;
        let (mut power_in, mut power_out) = (0.0, 0.0);
        for chunk in speech.chunks_exact(FRAME_SAMPLES) {
            let packet = encoder.encode(&morphed(chunk)).unwrap();
            decoder.decode(&packet, &mut out).unwrap();
            power_in += chunk.iter().map(|s| s * s).sum::<f32>();
            power_out += out.0.iter().map(|s| s * s).sum::<f32>();
        }
        let change_db = 10.0 * (power_out / power_in).log10();
        assert!(change_db.abs() < 2.0, "level changed by {change_db} dB");
    }

    /// Speech in packets, each of the given gap lost once in eight; the error of repaired levels, dB in all.
    fn error_of_repair(redundancy: Redundancy, gap: usize, is_repaired: bool) -> f32 {
        let mut encoder = VoiceEncoder::new(redundancy).unwrap();
        let speech = speech_like(4.0, 140.0);
        let packets: Vec<_> = speech
            .chunks_exact(FRAME_SAMPLES)
            .map(|c| encoder.encode(&morphed(c)).unwrap())
            .collect();
        let (mut whole, mut lossy) = (VoiceDecoder::new().unwrap(), VoiceDecoder::new().unwrap());
        let (mut a, mut b) = (AudioFrame::SILENCE, AudioFrame::SILENCE);
        let mut error = 0.0;
        // The first second is left alone: there is nothing before it that could be described.
        for i in 0..packets.len() - 8 {
            whole.decode(&packets[i], &mut a).unwrap();
            let place = i % 8;
            if i < 50 || place >= gap {
                lossy.decode(&packets[i], &mut b).unwrap();
                continue;
            }
            let before = gap - place;
            let later = &packets[i + before];
            if !is_repaired || lossy.recover(later, before, &mut b).is_err() {
                lossy.conceal(&mut b).unwrap();
            }
            error += (a.rms_db().max(-60.0) - b.rms_db().max(-60.0)).abs();
        }
        error
    }

    #[test]
    fn what_packets_carry_about_lost_ones_beats_making_them_up() {
        for (redundancy, gap) in [
            (Redundancy::OneFrame, 1),
            (Redundancy::Deep, 1),
            (Redundancy::Deep, 3),
        ] {
            let repaired = error_of_repair(redundancy, gap, true);
            let made_up = error_of_repair(redundancy, gap, false);
            assert!(
                repaired < made_up,
                "{redundancy:?}, gap of {gap}: {repaired} dB against {made_up} dB"
            );
        }
    }

    #[test]
    fn a_packet_without_redundancy_describes_nothing() {
        let mut encoder = VoiceEncoder::new(Redundancy::OneFrame).unwrap();
        let packet = encoder.encode(&Morphed::silence()).unwrap();
        let mut decoder = VoiceDecoder::new().unwrap();
        let answer = decoder.recover(&packet, 2, &mut AudioFrame::default());
        assert!(matches!(answer, Err(DspError::NotDescribed)), "{answer:?}");
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic_nor_produce_wild_samples(
            packets in prop::collection::vec(prop::array::uniform32(any::<u8>()), 1..8)
        ) {
            let mut decoder = VoiceDecoder::new().unwrap();
            let mut out = AudioFrame::SILENCE;
            for head in packets {
                let mut bytes = [0; OPUS_FRAME_BYTES];
                for (i, b) in bytes.iter_mut().enumerate() {
                    *b = head[i % 32].wrapping_add(i as u8 / 32);
                }
                let packet = OpusFrame(bytes);
                let _ = decoder.decode(&packet, &mut out);
                for before in 1..4 {
                    let _ = decoder.recover(&packet, before, &mut out);
                }
                prop_assert!(out.is_finite() && out.peak() <= 2.0);
            }
        }

        #[test]
        fn lbrr_flag_agrees_with_the_parsed_packet(mut bytes in prop::collection::vec(any::<u8>(), OPUS_FRAME_BYTES)) {
            // Mono hybrid 20 ms (config 13 or 15), one frame, plain or padded: what our encoder makes.
            bytes[0] = 0x68 | (bytes[0] & 0x10) | if bytes[0] & 1 == 0 { 0 } else { 3 };
            if bytes[0] & 3 == 3 { bytes[1] = (bytes[1] & 0x40) | 1; }
            let packet = OpusFrame::try_from(&bytes[..]).unwrap();
            if let Ok(parsed) = opus::packet::parse(&bytes) && let Some(first) = parsed.frames[0].first() {
                prop_assert_eq!(packet.carries_previous(), first & 0x40 != 0);
            }
        }
    }

    #[test]
    fn only_eighty_bytes_are_a_frame() {
        assert!(matches!(
            OpusFrame::try_from(&[0u8; 79][..]),
            Err(DspError::FrameLength { found: 79 })
        ));
        assert!(OpusFrame::try_from(&[0u8; 80][..]).is_ok());
    }
}

//! Opus as Undertone uses it: 48 kHz mono, 20 ms, 32 kb/s hard CBR, DTX off, in-band FEC.
//!
//! Hard CBR without DTX makes every packet [`OPUS_FRAME_BYTES`] long, speech or silence, so that the
//! size of a sealed packet says nothing about who is talking (RFC 6716 §2.1.8; RFC 6562 on why
//! variable rates leak). In-band FEC (RFC 6716 §2.1.7) costs no extra bytes under CBR.

use opus::{Application, Bitrate, Channels, Decoder, Encoder, Signal};

use crate::{AudioFrame, DspError, FRAME_SAMPLES, Morphed, OPUS_FRAME_BYTES, SAMPLE_RATE_HZ};

const BITRATE_BPS: i32 = (OPUS_FRAME_BYTES * 8 * 50) as i32;
/// Loss the encoder prepares for, in percent; it decides how many bits FEC gets.
const EXPECTED_LOSS_PERCENT: i32 = 10;
const COMPLEXITY: i32 = 9;

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
    /// [`DspError::Codec`] if libopus refuses a setting.
    pub fn new() -> Result<Self, DspError> {
        let mut inner = Encoder::new(SAMPLE_RATE_HZ, Channels::Mono, Application::Voip)?;
        inner.set_bitrate(Bitrate::Bits(BITRATE_BPS))?;
        inner.set_vbr(false)?;
        inner.set_dtx(false)?;
        inner.set_signal(Signal::Voice)?;
        inner.set_complexity(COMPLEXITY)?;
        inner.set_inband_fec(true)?;
        inner.set_packet_loss_perc(EXPECTED_LOSS_PERCENT)?;
        Ok(Self { inner })
    }

    /// Encodes 20 ms.
    ///
    /// # Errors
    /// [`DspError::Codec`] from libopus, [`DspError::FrameLength`] if a packet had another size.
    pub fn encode(&mut self, morphed: &Morphed) -> Result<OpusFrame, DspError> {
        let mut bytes = [0; OPUS_FRAME_BYTES];
        let found = self.inner.encode_float(&morphed.as_frame().0, &mut bytes)?;
        if found != OPUS_FRAME_BYTES {
            return Err(DspError::FrameLength { found });
        }
        Ok(OpusFrame(bytes))
    }
}

/// Decoder of one incoming voice.
pub struct VoiceDecoder {
    inner: Decoder,
}

impl VoiceDecoder {
    /// A decoder at 48 kHz mono.
    ///
    /// # Errors
    /// [`DspError::Codec`] if libopus cannot make one.
    pub fn new() -> Result<Self, DspError> {
        Ok(Self {
            inner: Decoder::new(SAMPLE_RATE_HZ, Channels::Mono)?,
        })
    }

    /// Decodes a packet into 960 samples.
    ///
    /// # Errors
    /// [`DspError::Codec`] or [`DspError::NotOneFrame`]; `out` is then unspecified but finite.
    pub fn decode(&mut self, frame: &OpusFrame, out: &mut AudioFrame) -> Result<(), DspError> {
        self.run(&frame.0, out, false)
    }

    /// Rebuilds the frame *before* `next` from the low-rate copy that `next` carries.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn recover(&mut self, next: &OpusFrame, out: &mut AudioFrame) -> Result<(), DspError> {
        self.run(&next.0, out, true)
    }

    /// Makes up 20 ms that sound like what came before (libopus packet loss concealment).
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn conceal(&mut self, out: &mut AudioFrame) -> Result<(), DspError> {
        self.run(&[], out, false)
    }

    fn run(&mut self, packet: &[u8], out: &mut AudioFrame, fec: bool) -> Result<(), DspError> {
        if !packet.is_empty()
            && opus::packet::get_nb_samples(packet, SAMPLE_RATE_HZ)? != FRAME_SAMPLES
        {
            return Err(DspError::NotOneFrame);
        }
        let samples = self.inner.decode_float(packet, &mut out.0, fec)?;
        if samples != FRAME_SAMPLES {
            return Err(DspError::NotOneFrame);
        }
        for sample in &mut out.0 {
            // A hostile packet may decode to anything; what leaves here is bounded.
            *sample = if sample.is_finite() {
                sample.clamp(-2.0, 2.0)
            } else {
                0.0
            };
        }
        Ok(())
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
        let mut encoder = VoiceEncoder::new().unwrap();
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
        let mut encoder = VoiceEncoder::new().unwrap();
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

    #[test]
    fn packets_of_speech_carry_the_previous_frame_and_it_helps() {
        let mut encoder = VoiceEncoder::new().unwrap();
        let speech = speech_like(2.0, 140.0);
        let packets: Vec<_> = speech
            .chunks_exact(FRAME_SAMPLES)
            .map(|c| encoder.encode(&morphed(c)).unwrap())
            .collect();
        let carrying = packets.iter().filter(|p| p.carries_previous()).count();
        assert!(
            carrying * 2 > packets.len(),
            "only {carrying} of {} packets carry FEC",
            packets.len()
        );

        // Lose every fifth packet; compare both repairs with what would have been decoded.
        let mut error = [0.0_f32; 2];
        for (repair, error) in error.iter_mut().enumerate() {
            let (mut whole, mut lossy) =
                (VoiceDecoder::new().unwrap(), VoiceDecoder::new().unwrap());
            let (mut a, mut b) = (AudioFrame::SILENCE, AudioFrame::SILENCE);
            for i in 0..packets.len() - 1 {
                whole.decode(&packets[i], &mut a).unwrap();
                if i % 5 != 4 {
                    lossy.decode(&packets[i], &mut b).unwrap();
                    continue;
                }
                match repair {
                    0 => lossy.conceal(&mut b).unwrap(),
                    _ => lossy.recover(&packets[i + 1], &mut b).unwrap(),
                }
                *error += (a.rms_db() - b.rms_db()).abs();
            }
        }
        assert!(
            error[1] < error[0],
            "recovery {} dB should beat concealment {} dB",
            error[1],
            error[0]
        );
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
                let _ = decoder.recover(&packet, &mut out);
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

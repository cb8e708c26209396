//! libopus, as far as the `opus` crate does not reach: deep redundancy (DRED, since libopus 1.5), which lets
//! every packet describe the second before it.
//!
//! The only unsafe code of Undertone. Every pointer is made, owned and freed by one type here, is used through
//! `&mut`, and libopus writes nothing but buffers of ours whose lengths it is given.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::ptr::{self, NonNull};

use opusic_sys as sys;

use crate::{DspError, FRAME_SAMPLES, SAMPLE_RATE_HZ};

const RATE: i32 = SAMPLE_RATE_HZ as i32;
const MONO: c_int = 1;
const FRAME: c_int = FRAME_SAMPLES as c_int;

/// What an encoder is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) bitrate_bps: i32,
    pub(super) complexity: i32,
    pub(super) expected_loss_percent: i32,
    /// Whether each packet holds a low-rate copy of the frame before.
    pub(super) one_frame: bool,
    /// Frames before that each packet may describe.
    pub(super) described: u8,
}

fn checked(answer: c_int) -> Result<usize, DspError> {
    usize::try_from(answer).map_err(|_| {
        // SAFETY: libopus answers any code with a static string.
        let text = unsafe { CStr::from_ptr(sys::opus_strerror(answer)) };
        DspError::Libopus(text.to_string_lossy().into_owned())
    })
}

fn made<T>(pointer: *mut T, error: c_int) -> Result<NonNull<T>, DspError> {
    checked(error)?;
    NonNull::new(pointer).ok_or_else(|| DspError::Libopus("out of memory".into()))
}

/// A mono encoder of voice at 48 kHz, hard CBR.
pub(super) struct Encoder(NonNull<sys::OpusEncoder>);

// SAFETY: libopus keeps no thread-local state; an encoder may be used from any one thread at a time.
unsafe impl Send for Encoder {}

impl Encoder {
    pub(super) fn new(settings: Settings) -> Result<Self, DspError> {
        let mut error = 0;
        // SAFETY: `error` outlives the call; the encoder is owned from here on.
        let pointer = unsafe {
            sys::opus_encoder_create(RATE, MONO, sys::OPUS_APPLICATION_VOIP, &raw mut error)
        };
        let mut this = Self(made(pointer, error)?);
        // DRED counts in 10 ms.
        let dred = 2 * c_int::from(settings.described);
        for (request, value) in [
            (sys::OPUS_SET_BITRATE_REQUEST, settings.bitrate_bps),
            (sys::OPUS_SET_VBR_REQUEST, 0),
            (sys::OPUS_SET_DTX_REQUEST, 0),
            (sys::OPUS_SET_SIGNAL_REQUEST, sys::OPUS_SIGNAL_VOICE),
            (sys::OPUS_SET_COMPLEXITY_REQUEST, settings.complexity),
            (
                sys::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
                settings.expected_loss_percent,
            ),
            (sys::OPUS_SET_INBAND_FEC_REQUEST, settings.one_frame.into()),
            (sys::OPUS_SET_DRED_DURATION_REQUEST, dred),
        ] {
            // SAFETY: each of these requests takes one int by value.
            checked(unsafe { sys::opus_encoder_ctl(this.0.as_mut(), request, value) })?;
        }
        Ok(this)
    }

    /// Encodes 20 ms; returns the packet's length.
    pub(super) fn encode(
        &mut self,
        samples: &[f32; FRAME_SAMPLES],
        packet: &mut [u8],
    ) -> Result<usize, DspError> {
        // SAFETY: reads one frame of samples, writes at most the packet's length.
        checked(unsafe {
            sys::opus_encode_float(
                self.0.as_mut(),
                samples.as_ptr(),
                FRAME,
                packet.as_mut_ptr(),
                packet.len() as i32,
            )
        })
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create`, freed once.
        unsafe { sys::opus_encoder_destroy(self.0.as_mut()) }
    }
}

/// A mono decoder at 48 kHz, with what it needs to read deep redundancy.
pub(super) struct Decoder {
    decoder: NonNull<sys::OpusDecoder>,
    reader: NonNull<sys::OpusDREDDecoder>,
    redundancy: NonNull<sys::OpusDRED>,
    /// Frames before its packet that `redundancy` describes.
    described: usize,
}

// SAFETY: as for `Encoder`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// `complexity` 5 and more conceals with a neural vocoder.
    pub(super) fn new(complexity: i32) -> Result<Self, DspError> {
        let mut error = 0;
        // SAFETY: `error` outlives each call; what is made is owned from there on, and freed by `Drop`, or by
        // nobody where a later one fails for want of memory.
        let mut this = unsafe {
            Self {
                decoder: made(sys::opus_decoder_create(RATE, MONO, &raw mut error), error)?,
                reader: made(sys::opus_dred_decoder_create(&raw mut error), error)?,
                redundancy: made(sys::opus_dred_alloc(&raw mut error), error)?,
                described: 0,
            }
        };
        // SAFETY: this request takes one int by value.
        checked(unsafe {
            sys::opus_decoder_ctl(
                this.decoder.as_mut(),
                sys::OPUS_SET_COMPLEXITY_REQUEST,
                complexity,
            )
        })?;
        Ok(this)
    }

    /// Decodes a packet of 20 ms; the frame before it, if `before`; without a packet, makes up 20 ms.
    pub(super) fn decode(
        &mut self,
        packet: Option<&[u8]>,
        before: bool,
        out: &mut [f32; FRAME_SAMPLES],
    ) -> Result<usize, DspError> {
        let (data, length) =
            packet.map_or((ptr::null(), 0), |packet| (packet.as_ptr(), packet.len()));
        // SAFETY: reads the packet's length, writes at most one frame of samples.
        checked(unsafe {
            sys::opus_decode_float(
                self.decoder.as_mut(),
                data,
                length as i32,
                out.as_mut_ptr(),
                FRAME,
                c_int::from(before),
            )
        })
    }

    /// Reads a packet's deep redundancy, at most so many frames; returns how many frames before it are described.
    pub(super) fn read(&mut self, packet: &[u8], frames: usize) -> Result<usize, DspError> {
        self.described = 0;
        let mut silent_end = 0;
        // SAFETY: reads the packet's length; writes to the redundancy it owns and to `silent_end`.
        let samples = checked(unsafe {
            sys::opus_dred_parse(
                self.reader.as_mut(),
                self.redundancy.as_mut(),
                packet.as_ptr(),
                packet.len() as i32,
                (frames * FRAME_SAMPLES) as i32,
                RATE,
                &raw mut silent_end,
                0,
            )
        })?;
        // What is described in part is rebuilt in part, and made up for the rest.
        let frames = (samples + FRAME_SAMPLES / 2) / FRAME_SAMPLES;
        self.described = frames;
        Ok(frames)
    }

    /// Rebuilds the frame that begins so many frames before the packet that was last read.
    pub(super) fn rebuild(
        &mut self,
        frames_before: usize,
        out: &mut [f32; FRAME_SAMPLES],
    ) -> Result<usize, DspError> {
        if frames_before > self.described {
            return Err(DspError::NotDescribed);
        }
        let offset = frames_before * FRAME_SAMPLES;
        // SAFETY: reads the redundancy that `read` filled, writes one frame of samples.
        checked(unsafe {
            sys::opus_decoder_dred_decode_float(
                self.decoder.as_mut(),
                self.redundancy.as_ptr(),
                offset as i32,
                out.as_mut_ptr(),
                FRAME,
            )
        })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: each was made by its own maker, and is freed once.
        unsafe {
            sys::opus_decoder_destroy(self.decoder.as_mut());
            sys::opus_dred_decoder_destroy(self.reader.as_mut());
            sys::opus_dred_free(self.redundancy.as_mut());
        }
    }
}

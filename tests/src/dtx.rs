//! A voice program as most are: a variable rate, and nothing in silence (Opus DTX). The control for what our lines show.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Result;
use opus::{Application, Channels, Encoder};

const FRAME: usize = 960;
const FRAME_TIME: Duration = Duration::from_millis(20);
const RATE_HZ: u32 = 48_000;
/// Largest packet of a frame.
const PACKET: usize = 1_275;

/// Says `speech` over and over while `talks` holds, until `end`, on the clock that began at `began`.
///
/// # Errors
/// When nothing can be encoded or sent.
pub fn talk(
    socket: &UdpSocket,
    to: SocketAddr,
    speech: &[f32],
    began: Instant,
    end: Duration,
    talks: impl Fn(Duration) -> bool,
) -> Result<()> {
    let mut encoder = Encoder::new(RATE_HZ, Channels::Mono, Application::Voip)?;
    encoder.set_dtx(true)?;
    let (mut frame, mut packet) = ([0.0; FRAME], [0; PACKET]);
    let mut speech = speech.iter().cycle();
    let mut due = began;
    while due < began + end {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        match talks(due - began) {
            true => frame
                .iter_mut()
                .zip(&mut speech)
                .for_each(|(to, from)| *to = *from),
            false => frame.fill(0.0),
        }
        let length = encoder.encode_float(&frame, &mut packet)?;
        if !encoder.get_in_dtx()? {
            socket.send_to(&packet[..length], to)?;
        }
        due += FRAME_TIME;
    }
    Ok(())
}

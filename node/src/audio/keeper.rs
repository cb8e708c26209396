//! `voice-mic` and `voice-speaker`: each keeps one device open as wished, and notices when it fails.
//!
//! Opening and closing may take the system seconds, so it happens here and never on a thread that must be on
//! time. A device that fails is closed and said to have failed. It is looked for again only under the very name
//! that the person chose: another one, least of all another microphone, is never taken in its place. Where the
//! person left the choice to the system, a first device may appear later; a lost one must be chosen anew.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::ring::{CaptureSink, Meter, PlaybackSource};
use super::shared::{Shared, Wish};
use super::{AudioError, AudioHost, Direction, OpenDevice, monotonic};

/// How often a device is asked whether it is well.
const WATCH: Duration = Duration::from_millis(100);
/// Silent callbacks for this long mean that a device stopped working; Bluetooth gives no other sign.
const STALLED: Duration = Duration::from_millis(1_500);
/// A device that was just opened may take this long to run steadily: an idle PulseAudio sink first plays the
/// two seconds of silence it has prepared.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
/// Time between attempts to open.
const RETRY: Duration = Duration::from_secs(2);
/// What the resamplers serve.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=192_000;

struct Kept {
    device: Box<dyn OpenDevice>,
    meter: Arc<Meter>,
    wish: Wish,
    opened: Duration,
}

impl Kept {
    fn failure(&self, direction: Direction) -> Option<AudioError> {
        self.device
            .failure()
            .filter(AudioError::is_fatal)
            .or_else(|| {
                let alive = self.meter.touched().unwrap_or(self.opened);
                let silent = monotonic().saturating_sub(alive.max(self.opened + WARM_UP - STALLED));
                (silent > STALLED).then_some(AudioError::Stalled(direction))
            })
    }
}

/// The thread's body.
pub(crate) fn run(shared: &Shared, host: &dyn AudioHost, direction: Direction) {
    let mut wish = Wish::default();
    let mut kept: Option<Kept> = None;
    // Choices under which a device had been open and was lost.
    let mut lost: Option<u64> = None;
    let mut tried: Option<(u64, Duration)> = None;
    while let Some(wished) = shared.wait_wish(direction, &wish, WATCH) {
        wish = wished;
        if kept.as_ref().is_some_and(|k| k.wish.epoch != wish.epoch) {
            kept = None;
            note(shared, direction, None, false);
        }
        if !wish.open {
            if lost != Some(wish.choice) {
                note(shared, direction, None, false);
            }
            continue;
        }
        if let Some(open) = &kept {
            if let Some(failure) = open.failure(direction) {
                tracing::warn!(%direction, ?failure, "device lost");
                lost = Some(wish.choice);
                tried = Some((wish.epoch, monotonic()));
                kept = None;
                note(shared, direction, Some(failure), false);
            } else {
                note(shared, direction, open.device.failure(), true);
            }
            continue;
        }
        let waits =
            tried.is_some_and(|(epoch, at)| epoch == wish.epoch && monotonic() < at + RETRY);
        let must_be_chosen = lost == Some(wish.choice) && wish.device.is_none();
        if waits || must_be_chosen {
            continue;
        }
        let again = tried.is_some_and(|(epoch, _)| epoch == wish.epoch);
        tried = Some((wish.epoch, monotonic()));
        match open(shared, host, direction, &wish) {
            Ok(opened) => {
                tracing::info!(%direction, format = ?opened.device.format(), "device opened");
                note(shared, direction, None, true);
                kept = Some(opened);
                lost = None;
            }
            Err(error) => {
                if !again {
                    tracing::warn!(%direction, ?error, "device not opened");
                }
                // That it was lost says more than that it is still not there.
                if lost != Some(wish.choice) {
                    note(shared, direction, Some(error), false);
                }
            }
        }
    }
    drop(kept);
    note(shared, direction, None, false);
}

fn open(
    shared: &Shared,
    host: &dyn AudioHost,
    direction: Direction,
    wish: &Wish,
) -> Result<Kept, AudioError> {
    let meter = Arc::new(Meter::default());
    let (epoch, name) = (wish.epoch, wish.device.as_ref());
    let device = match direction {
        Direction::Input => host.open_input(
            name,
            CaptureSink {
                epoch,
                meter: meter.clone(),
                to: shared.capture.clone(),
            },
        )?,
        Direction::Output => host.open_output(
            name,
            PlaybackSource {
                epoch,
                meter: meter.clone(),
                to: shared.playback.clone(),
            },
        )?,
    };
    if !RATES_HZ.contains(&device.format().rate_hz) {
        return Err(AudioError::Unsupported(direction));
    }
    Ok(Kept {
        device,
        meter,
        wish: wish.clone(),
        opened: monotonic(),
    })
}

fn note(shared: &Shared, direction: Direction, problem: Option<AudioError>, is_open: bool) {
    let open = match direction {
        Direction::Input => &shared.input_open,
        Direction::Output => &shared.output_open,
    };
    open.store(is_open, Ordering::Relaxed);
    shared.report(|problems| match direction {
        Direction::Input => problems.input = problem,
        Direction::Output => problems.output = problem,
    });
}

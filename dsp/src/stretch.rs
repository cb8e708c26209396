//! Gentle time-scaling: a pitch period (or, in silence, any stretch) is taken out or put in with a
//! cross-fade, so that the listener's delay can shrink or grow without a click and without changing pitch
//! (WSOLA: Verhelst and Roelands, ICASSP 1993).

use crate::FRAME_SAMPLES;

/// Cross-fade, 5 ms.
const FADE: usize = 240;
const MIN_PERIOD: usize = 120;
const MAX_PERIOD: usize = 720;
/// Below this RMS a stretch is taken for silence, where any splice is inaudible.
const SILENCE_RMS: f32 = 0.002;
/// Spliced out of, or into, silence: 10 ms.
const SILENT_STEP: usize = 480;

/// Where a stretch may be spliced: `period` samples apart it resembles itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Splice {
    period: usize,
    pub(crate) is_silent: bool,
}

/// Looks for a splice of at most `most` samples in one decoded frame. None if nothing resembles itself by
/// `least_likeness` (0–1).
pub(crate) fn find_splice(
    frame: &[f32; FRAME_SAMPLES],
    least_likeness: f32,
    most: usize,
) -> Option<Splice> {
    let longest = most.min(MAX_PERIOD);
    if longest < MIN_PERIOD {
        return None;
    }
    let power = frame.iter().map(|s| s * s).sum::<f32>() / FRAME_SAMPLES as f32;
    if power.sqrt() < SILENCE_RMS {
        return Some(Splice {
            period: longest.min(SILENT_STEP),
            is_silent: true,
        });
    }
    let coarse = (MIN_PERIOD..=longest)
        .step_by(4)
        .map(|period| (period, likeness(frame, period, 4)))
        .fold(
            (0, 0.0_f32),
            |best, it| if it.1 > best.1 { it } else { best },
        );
    if coarse.1 < least_likeness * 0.9 {
        return None;
    }
    let near = coarse.0.saturating_sub(3).max(MIN_PERIOD)..=(coarse.0 + 3).min(longest);
    let (period, best) = near
        .map(|period| (period, likeness(frame, period, 1)))
        .fold(
            (0, 0.0_f32),
            |best, it| if it.1 > best.1 { it } else { best },
        );
    (best >= least_likeness).then_some(Splice {
        period,
        is_silent: false,
    })
}

/// Normalised correlation of the cross-faded parts, looking at every `stride`-th sample.
fn likeness(frame: &[f32; FRAME_SAMPLES], period: usize, stride: usize) -> f32 {
    let (mut cross, mut a2, mut b2) = (1e-9, 1e-9, 1e-9);
    for i in (0..FADE).step_by(stride) {
        let (a, b) = (frame[i], frame[i + period]);
        cross += a * b;
        a2 += a * a;
        b2 += b * b;
    }
    cross / (a2 * b2).sqrt()
}

/// The frame with one period left out. Returns how many samples of `out` hold it.
pub(crate) fn shorten(
    frame: &[f32; FRAME_SAMPLES],
    splice: Splice,
    out: &mut [f32; 2 * FRAME_SAMPLES],
) -> usize {
    let p = splice.period;
    for (i, sample) in out[..FADE].iter_mut().enumerate() {
        let w = (i as f32 + 0.5) / FADE as f32;
        *sample = frame[i] * (1.0 - w) + frame[i + p] * w;
    }
    out[FADE..FRAME_SAMPLES - p].copy_from_slice(&frame[FADE + p..]);
    FRAME_SAMPLES - p
}

/// The frame with one period repeated. Returns how many samples of `out` hold it.
pub(crate) fn lengthen(
    frame: &[f32; FRAME_SAMPLES],
    splice: Splice,
    out: &mut [f32; 2 * FRAME_SAMPLES],
) -> usize {
    let p = splice.period;
    out[..p].copy_from_slice(&frame[..p]);
    for i in 0..FADE {
        let w = (i as f32 + 0.5) / FADE as f32;
        out[p + i] = frame[p + i] * (1.0 - w) + frame[i] * w;
    }
    out[p + FADE..p + FRAME_SAMPLES].copy_from_slice(&frame[FADE..]);
    p + FRAME_SAMPLES
}

#[cfg(test)]
impl Splice {
    /// Length that the splice takes out or puts in, in samples.
    pub(crate) fn samples(self) -> usize {
        self.period
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Noise, vowel};

    fn steps(samples: &[f32]) -> f32 {
        samples
            .windows(2)
            .map(|w| (w[1] - w[0]).abs())
            .fold(0.0, f32::max)
    }

    #[test]
    fn a_vowel_is_spliced_by_its_period_without_a_step() {
        let sound = vowel(0.2, 150.0, &[700.0, 1200.0, 2500.0]);
        let frame: &[f32; FRAME_SAMPLES] = sound[4800..5760].try_into().unwrap();
        let splice = find_splice(frame, 0.8, 960).unwrap();
        let remainder = splice.samples() % 320;
        assert!(
            remainder.min(320 - remainder) <= 4,
            "{splice:?} should be a multiple of 320 samples"
        );
        let mut out = [0.0; 2 * FRAME_SAMPLES];
        let n = shorten(frame, splice, &mut out);
        assert_eq!(n, FRAME_SAMPLES - splice.samples());
        assert!(steps(&out[..n]) <= 1.1 * steps(frame));
        let n = lengthen(frame, splice, &mut out);
        assert_eq!(n, FRAME_SAMPLES + splice.samples());
        assert!(steps(&out[..n]) <= 1.1 * steps(frame));
    }

    #[test]
    fn ends_are_kept_so_that_frames_still_join() {
        let sound = vowel(0.2, 110.0, &[300.0, 2200.0]);
        let frame: &[f32; FRAME_SAMPLES] = sound[4800..5760].try_into().unwrap();
        let splice = find_splice(frame, 0.5, 960).unwrap();
        let mut out = [0.0; 2 * FRAME_SAMPLES];
        for scale in [shorten, lengthen] {
            let n = scale(frame, splice, &mut out);
            assert!((out[0] - frame[0]).abs() < 0.02);
            assert_eq!(out[n - 1], frame[FRAME_SAMPLES - 1]);
        }
    }

    #[test]
    fn noise_is_left_alone_and_silence_is_always_fine() {
        let mut noise = Noise::new(1);
        assert_eq!(
            find_splice(&std::array::from_fn(|_| noise.next()), 0.8, 960),
            None
        );
        assert_eq!(
            find_splice(&[0.0; FRAME_SAMPLES], 0.8, 200)
                .unwrap()
                .samples(),
            200
        );
        assert!(
            find_splice(&[0.0; FRAME_SAMPLES], 0.8, 960)
                .unwrap()
                .is_silent
        );
    }
}

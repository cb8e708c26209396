//! The spectral envelope: what the mouth does, minus whose mouth it is.
//!
//! Every hop an all-pole model is fitted to the last 20 ms and 5 ms ahead. Its log spectrum, minus the
//! speaker's own running mean, is read along a warped frequency axis, and the session's target spectrum is
//! added; the result is made into an all-pole filter again. Subtracting a running mean takes away what is
//! constant about a speaker, many to one, so that it cannot be put back (as cepstral mean
//! normalisation does for recognisers: B. Atal, JASA 55, 1974). What is left, the sounds of speech against the
//! speaker's average, still tells speakers apart, and is kept: it is what is said.

use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use super::character::PseudoVoice;
use super::{CORE_HOP, CORE_RATE_HZ};

pub(super) const ANALYSIS_ORDER: usize = 18;
pub(super) const SYNTHESIS_ORDER: usize = 22;
const FFT: usize = 512;
const BINS: usize = FFT / 2 + 1;
const WINDOW: usize = 400;
/// Samples of the window after its peak: the look-ahead of the analysis.
pub(super) const AHEAD: usize = 80;
/// The lag window is wide enough that the envelope does not follow single harmonics of a high voice, which
/// would stay where they were while the pitch moves; with the white-noise correction it keeps poles off the
/// unit circle.
const LAG_WINDOW_HZ: f64 = 150.0;
const WHITE_NOISE: f64 = 1e-4;
const SILENCE_ENERGY: f64 = 1e-7;
const MAX_REFLECTION: f64 = 0.995;
/// The prior counts as one second of speech; the mean remembers thirty.
const PRIOR_HOPS: f32 = 200.0;
const MEMORY_HOPS: f32 = 6_000.0;
const DRIFT: f32 = 0.02;
/// The warp is drawn anew this often, as the tract drifts.
const WARP_EVERY_HOPS: u32 = 8;
/// Below this the tilt goes on level: a fundamental that is 15 dB weaker makes a voice thin, not different.
const TILT_FROM_HZ: f32 = 435.0;
/// Average speech, log spectrum of an all-pole model, dB at Hz.
const PRIOR_DB: [(f32, f32); 11] = [
    (0.0, 8.0),
    (80.0, 14.0),
    (200.0, 20.0),
    (500.0, 20.0),
    (1_000.0, 11.0),
    (2_000.0, 2.0),
    (3_000.0, -3.0),
    (4_000.0, -8.0),
    (5_500.0, -13.0),
    (7_000.0, -17.0),
    (8_000.0, -24.0),
];

/// Reflection coefficients of one hop: of the voice as it came, and of the voice to make.
#[derive(Clone, Copy)]
pub(super) struct Envelopes {
    pub(super) analysis: [f32; ANALYSIS_ORDER],
    pub(super) synthesis: [f32; SYNTHESIS_ORDER],
    /// Factor on the excitation that keeps the level.
    pub(super) gain: f32,
}

impl Envelopes {
    /// What silence has: filters that do nothing.
    pub(super) const FLAT: Self = Self {
        analysis: [0.0; ANALYSIS_ORDER],
        synthesis: [0.0; SYNTHESIS_ORDER],
        gain: 1.0,
    };
}

pub(super) struct EnvelopeMorph {
    history: [f32; WINDOW],
    window: [f32; WINDOW],
    lag_window: [f64; SYNTHESIS_ORDER + 1],
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    time: Vec<f32>,
    spectrum: Vec<Complex<f32>>,
    forward_scratch: Vec<Complex<f32>>,
    inverse_scratch: Vec<Complex<f32>>,
    mean_db: [f32; BINS],
    mean_hops: f32,
    own_db: [f32; BINS],
    /// The session's spectrum, dB.
    target_db: [f32; BINS],
    /// Bin to read for each bin to make.
    source_bin: [f32; BINS],
    mean_share: f32,
    contrast: f32,
    warp: Warp,
    hops: u32,
}

/// How far resonances are moved.
pub(super) struct Warped {
    pub(super) mean_percent: f32,
    pub(super) moved_percent: f32,
}

/// The warped frequency axis.
struct Warp {
    tract: f32,
    pivot: f32,
    pivot_hz: f32,
    drift: (f32, f32),
}

impl EnvelopeMorph {
    pub(super) fn new(voice: &PseudoVoice) -> Self {
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(FFT), planner.plan_fft_inverse(FFT));
        let prior = prior_db();
        let mut target_db = prior;
        for bin in 0..BINS {
            let hz = hz_of(bin);
            let colour: f32 = voice
                .cosines_db
                .iter()
                .enumerate()
                .map(|(j, db)| db * mel_cosine(j + 1, hz))
                .sum();
            target_db[bin] = voice.mean_share * prior[bin]
                + voice.tilt_db * (hz.max(TILT_FROM_HZ) / 1_000.0).log2()
                + colour;
        }
        Self {
            history: [0.0; WINDOW],
            window: std::array::from_fn(asymmetric_window),
            lag_window: std::array::from_fn(|lag| {
                let x =
                    std::f64::consts::TAU * LAG_WINDOW_HZ / f64::from(CORE_RATE_HZ) * lag as f64;
                (-0.5 * x * x).exp()
            }),
            time: forward.make_input_vec(),
            spectrum: forward.make_output_vec(),
            forward_scratch: forward.make_scratch_vec(),
            inverse_scratch: inverse.make_scratch_vec(),
            forward,
            inverse,
            mean_db: prior,
            mean_hops: PRIOR_HOPS,
            own_db: [0.0; BINS],
            target_db,
            source_bin: [0.0; BINS],
            mean_share: voice.mean_share,
            contrast: voice.contrast,
            warp: Warp {
                tract: voice.tract,
                pivot: voice.pivot,
                pivot_hz: voice.pivot_hz,
                drift: voice.drift,
            },
            hops: 0,
        }
    }

    /// Takes in 5 ms of core samples. `tract_scale` is the tract typical for the target pitch over the one
    /// typical for the speaker's; `is_speech` where the mean may learn.
    pub(super) fn process(
        &mut self,
        core: &[f32; CORE_HOP],
        tract_scale: (f32, f32),
        is_speech: bool,
    ) -> Envelopes {
        self.history.copy_within(CORE_HOP.., 0);
        self.history[WINDOW - CORE_HOP..].copy_from_slice(core);
        if self.hops.is_multiple_of(WARP_EVERY_HOPS) {
            self.draw_warp(tract_scale);
        }
        self.hops = self.hops.wrapping_add(1);

        let (coefficients, reflections) = self.fit();
        self.log_spectrum(&coefficients);
        if is_speech {
            self.learn();
        }
        let synthesis = self.target_filter();
        let power = |k: &[f64]| k.iter().map(|k| (1.0 - k * k).ln()).sum::<f64>();
        let gain = (0.5 * (power(&synthesis) - power(&reflections)))
            .clamp(-4.0, 4.0)
            .exp();
        Envelopes {
            analysis: reflections.map(|k| k as f32),
            synthesis: synthesis.map(|k| k as f32),
            gain: gain as f32,
        }
    }

    /// Forgets the sound, keeps what was learnt of the speaker.
    pub(super) fn flush(&mut self) {
        self.history.fill(0.0);
    }

    /// Where resonances of 300 to 4,000 Hz come out.
    pub(super) fn warped(&self) -> Warped {
        let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
        for (bin, source) in self.source_bin.iter().enumerate().skip(1) {
            if (300.0..4_000.0).contains(&(source * CORE_RATE_HZ / FFT as f32)) {
                let moved = 100.0 * (bin as f32 / source - 1.0);
                sum += moved;
                squares += moved * moved;
                count += 1.0;
            }
        }
        let count: f32 = f32::max(count, 1.0);
        Warped {
            mean_percent: sum / count,
            moved_percent: (squares / count).sqrt(),
        }
    }

    /// Mean spectrum of the outgoing voice against the speaker's own, dB (root mean square over mel).
    pub(super) fn colour_db(&self) -> f32 {
        let (mut squares, mut weights) = (0.0, 0.0);
        for bin in 1..BINS {
            let difference = self.target_db[bin] - self.mean_share * self.mean_db[bin];
            let weight = mel_share(hz_of(bin)) - mel_share(hz_of(bin - 1));
            squares += weight * difference * difference;
            weights += weight;
        }
        (squares / weights).sqrt()
    }

    fn draw_warp(&mut self, (target, own): (f32, f32)) {
        let seconds = self.hops as f32 * 0.005;
        let drift = 1.0
            + DRIFT
                * (std::f32::consts::TAU * self.warp.drift.0 * seconds + self.warp.drift.1).sin();
        let tract = (target + self.warp.tract) / own * drift;
        let exponent = 1.0 / (1.0 + self.warp.pivot);
        for (bin, source) in self.source_bin.iter_mut().enumerate() {
            let straight = hz_of(bin) / tract;
            let hz = self.warp.pivot_hz * (straight.max(1.0) / self.warp.pivot_hz).powf(exponent);
            *source =
                (hz / (CORE_RATE_HZ / 2.0) * (BINS - 1) as f32).clamp(0.0, BINS as f32 - 1.001);
        }
    }

    /// Linear prediction of the window: polynomial and reflection coefficients.
    fn fit(&self) -> ([f64; ANALYSIS_ORDER + 1], [f64; ANALYSIS_ORDER]) {
        let mut x = [0.0_f32; WINDOW];
        for ((x, h), w) in x.iter_mut().zip(&self.history).zip(&self.window) {
            *x = h * w;
        }
        let mut r = [0.0_f64; ANALYSIS_ORDER + 1];
        for (lag, r) in r.iter_mut().enumerate() {
            let sum: f32 = x[..WINDOW - lag]
                .iter()
                .zip(&x[lag..])
                .map(|(a, b)| a * b)
                .sum();
            *r = f64::from(sum) * self.lag_window[lag];
        }
        r[0] = r[0] * (1.0 + WHITE_NOISE) + SILENCE_ENERGY;
        levinson(&r)
    }

    /// Log spectrum of 1/A in dB about its mean, into `own_db`.
    fn log_spectrum(&mut self, coefficients: &[f64; ANALYSIS_ORDER + 1]) {
        self.time.fill(0.0);
        for (t, c) in self.time.iter_mut().zip(coefficients) {
            *t = *c as f32;
        }
        let transformed = self.forward.process_with_scratch(
            &mut self.time,
            &mut self.spectrum,
            &mut self.forward_scratch,
        );
        debug_assert!(transformed.is_ok(), "buffers were made by the plan");
        for (own, bin) in self.own_db.iter_mut().zip(&self.spectrum) {
            *own = -10.0 * (bin.norm_sqr() + 1e-9).log10();
        }
        let mean = self.own_db.iter().sum::<f32>() / BINS as f32;
        self.own_db.iter_mut().for_each(|db| *db -= mean);
    }

    fn learn(&mut self) {
        self.mean_hops = (self.mean_hops + 1.0).min(MEMORY_HOPS);
        for (mean, own) in self.mean_db.iter_mut().zip(&self.own_db) {
            *mean += (own - *mean) / self.mean_hops;
        }
    }

    /// Reflection coefficients of the envelope to make.
    fn target_filter(&mut self) -> [f64; SYNTHESIS_ORDER] {
        for bin in 0..BINS {
            let at = self.source_bin[bin];
            let (low, share) = (at as usize, at.fract());
            let own = |i: usize| self.own_db[i] - self.mean_share * self.mean_db[i];
            let difference = own(low) * (1.0 - share) + own(low + 1) * share;
            let db = self.contrast * difference + self.target_db[bin];
            let db = db.clamp(-60.0, 60.0);
            self.spectrum[bin] = Complex::new((db * (std::f32::consts::LN_10 / 10.0)).exp(), 0.0);
        }
        let transformed = self.inverse.process_with_scratch(
            &mut self.spectrum,
            &mut self.time,
            &mut self.inverse_scratch,
        );
        debug_assert!(transformed.is_ok(), "buffers were made by the plan");
        let mut r = [0.0; SYNTHESIS_ORDER + 1];
        for (lag, r) in r.iter_mut().enumerate() {
            *r = f64::from(self.time[lag]);
        }
        r[0] *= 1.0 + WHITE_NOISE;
        levinson::<{ SYNTHESIS_ORDER + 1 }, SYNTHESIS_ORDER>(&r).1
    }
}

/// Durbin's recursion: autocorrelation to polynomial and reflection coefficients, the latter held within
/// ±[`MAX_REFLECTION`], so that the filter is stable whatever came in.
fn levinson<const N: usize, const ORDER: usize>(r: &[f64; N]) -> ([f64; N], [f64; ORDER]) {
    let mut a = [0.0; N];
    let mut reflections = [0.0; ORDER];
    a[0] = 1.0;
    let mut error = r[0];
    for i in 1..N {
        let acc: f64 = r[i] + (1..i).map(|j| a[j] * r[i - j]).sum::<f64>();
        let mut k = if error > 0.0 { -acc / error } else { 0.0 };
        k = if k.is_finite() {
            k.clamp(-MAX_REFLECTION, MAX_REFLECTION)
        } else {
            0.0
        };
        let before = a;
        for j in 1..i {
            a[j] += k * before[i - j];
        }
        a[i] = k;
        reflections[i - 1] = k;
        error *= 1.0 - k * k;
    }
    (a, reflections)
}

/// Half a Hann window up over 20 ms, half a one down over 5 ms.
fn asymmetric_window(i: usize) -> f32 {
    let rise = WINDOW - AHEAD;
    let angle = if i < rise {
        (i as f32 + 0.5) / rise as f32
    } else {
        (WINDOW as f32 - i as f32 - 0.5) / AHEAD as f32
    };
    0.5 - 0.5 * (std::f32::consts::PI * angle).cos()
}

fn hz_of(bin: usize) -> f32 {
    bin as f32 * CORE_RATE_HZ / FFT as f32
}

/// Place on the mel scale, 0 at 0 Hz and 1 at 8 kHz.
fn mel_share(hz: f32) -> f32 {
    (1.0 + hz / 700.0).ln() / (1.0 + CORE_RATE_HZ / 2.0 / 700.0).ln()
}

/// Cosine number `k` over the mel axis: `k` half turns from 0 Hz to 8 kHz.
fn mel_cosine(k: usize, hz: f32) -> f32 {
    (std::f32::consts::PI * k as f32 * mel_share(hz)).cos()
}

fn prior_db() -> [f32; BINS] {
    let mut prior: [f32; BINS] = std::array::from_fn(|bin| {
        let hz = hz_of(bin);
        let after = PRIOR_DB
            .iter()
            .position(|p| p.0 >= hz)
            .unwrap_or(PRIOR_DB.len() - 1)
            .max(1);
        let ((x0, y0), (x1, y1)) = (PRIOR_DB[after - 1], PRIOR_DB[after]);
        y0 + (y1 - y0) * (hz - x0) / (x1 - x0)
    });
    let mean = prior.iter().sum::<f32>() / BINS as f32;
    prior.iter_mut().for_each(|db| *db -= mean);
    prior
}

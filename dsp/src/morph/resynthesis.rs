//! From residual to sound: taken out by one lattice, re-pitched grain by grain, shaped by another.
//!
//! The residual of the analysis filter is cut at its own pulses (epochs), and the pieces are laid down at the
//! output's period, each fading into the next (pitch-synchronous overlap-add: E. Moulines, F. Charpentier,
//! Speech Communication 9, 1990). Stretches without pitch pass at their own pace and are never repeated, so
//! that hiss does not buzz. Both filters are lattices whose reflection coefficients move from sample to
//! sample: stable at every moment, and no step at a frame's edge.

use super::envelope::{AHEAD, ANALYSIS_ORDER, Envelopes, SYNTHESIS_ORDER};
use super::{CORE_DELAY, CORE_HOP, CORE_RATE_HZ};
use crate::filters::bessel_i0;

/// Residual kept: 256 ms.
const RING: usize = 4_096;
const EPOCHS: usize = 64;
const GRAINS: usize = 6;
/// Longest fade from one grain to the next, 4 ms.
const LONGEST_FADE: f32 = 64.0;
/// The next pulse is sought this far about where it is expected, in periods, and costs as much at the edge.
const SEARCH: f32 = 0.2;
const OFF_COST: f32 = 0.15;
/// Samples after an epoch that its score looks at.
const EPOCH_AHEAD: usize = 24;

const TAPS: usize = 8;
const PHASES: usize = 64;

/// What one hop should sound like.
#[derive(Clone, Copy, Debug)]
pub(super) struct HopPitch {
    pub(super) is_voiced: bool,
    /// Period of the residual and period to make, in core samples.
    pub(super) period: f32,
    pub(super) new_period: f32,
}

/// The residual: what is left of the voice without its envelope.
pub(super) struct Residual {
    ring: Box<[f32; RING]>,
    /// The voice that it is the residual of, sample for sample.
    voice: Box<[f32; RING]>,
    /// Absolute index of the next sample to be written.
    end: i64,
    back: [f32; ANALYSIS_ORDER + 1],
    reflections: [f32; ANALYSIS_ORDER],
}

impl Residual {
    fn new() -> Self {
        Self {
            ring: Box::new([0.0; RING]),
            voice: Box::new([0.0; RING]),
            // The first hop to come in is the one before the first input: the envelope looks ahead.
            end: -(AHEAD as i64),
            back: [0.0; ANALYSIS_ORDER + 1],
            reflections: [0.0; ANALYSIS_ORDER],
        }
    }

    /// Filters a hop with coefficients that move to `reflections` by its end.
    fn append(&mut self, core: &[f32; CORE_HOP], reflections: &[f32; ANALYSIS_ORDER]) {
        let mut step = [0.0; ANALYSIS_ORDER];
        for (step, (to, from)) in step
            .iter_mut()
            .zip(reflections.iter().zip(&self.reflections))
        {
            *step = (to - from) / CORE_HOP as f32;
        }
        for x in core {
            let mut forward = *x;
            let mut delayed = self.back[0];
            self.back[0] = *x;
            let stages = self
                .reflections
                .iter_mut()
                .zip(&step)
                .zip(&mut self.back[1..]);
            for ((k, step), back) in stages {
                *k += step;
                let backward = delayed + *k * forward;
                forward += *k * delayed;
                delayed = *back;
                *back = backward;
            }
            self.ring[index(self.end)] = forward;
            self.voice[index(self.end)] = *x;
            self.end += 1;
        }
        self.reflections = *reflections;
    }

    fn at(&self, n: i64) -> f32 {
        if n >= self.end {
            0.0
        } else {
            self.ring[index(n)]
        }
    }
}

fn index(n: i64) -> usize {
    (n & (RING as i64 - 1)) as usize
}

/// One piece of residual in the output.
#[derive(Clone, Copy)]
struct Grain {
    /// Output place minus source place.
    shift: f64,
    /// Fully heard from here, silent before `from - rise`.
    from: f64,
    rise: f64,
    /// Silent from here, fully heard until `to - fall`.
    to: f64,
    fall: f64,
}

impl Grain {
    fn weight(&self, n: f64) -> f32 {
        let up = if n >= self.from {
            1.0
        } else {
            1.0 - (self.from - n) / self.rise
        };
        let down = if n <= self.to - self.fall {
            1.0
        } else {
            (self.to - n) / self.fall
        };
        let ramp = |x: f64| {
            if x >= 1.0 {
                1.0
            } else if x <= 0.0 {
                0.0
            } else {
                smooth(x as f32)
            }
        };
        ramp(up) * ramp(down)
    }
}

fn smooth(x: f32) -> f32 {
    // Cubic with the same end slopes as half a Hann window.
    x * x * (3.0 - 2.0 * x)
}

/// Everything between the core's input and its output.
pub(super) struct Resynthesis {
    residual: Residual,
    /// Places of pulses in the residual, oldest first.
    epochs: [i64; EPOCHS],
    epoch_count: usize,
    polarity: f32,
    grains: [Option<Grain>; GRAINS],
    /// Whether the output is on grains (else it passes straight).
    is_on_grains: bool,
    next_place: f64,
    /// Next output sample.
    now: i64,
    kernel: Box<[[f32; TAPS]; PHASES]>,
    shape: Shape,
}

impl Resynthesis {
    pub(super) fn new() -> Self {
        let mut this = Self {
            residual: Residual::new(),
            epochs: [0; EPOCHS],
            epoch_count: 0,
            polarity: 0.0,
            grains: [None; GRAINS],
            is_on_grains: false,
            next_place: 0.0,
            now: 0,
            kernel: Box::new(std::array::from_fn(|phase| {
                kernel(phase as f64 / PHASES as f64)
            })),
            shape: Shape::new(),
        };
        this.pass_straight(0.0, 1.0);
        this
    }

    /// Takes in the core samples that the newest envelope is centred on, and writes 5 ms of output that lies
    /// [`CORE_DELAY`] samples behind the newest input.
    pub(super) fn process(
        &mut self,
        core: &[f32; CORE_HOP],
        analysis: &[f32; ANALYSIS_ORDER],
        shape: &Envelopes,
        pitch: HopPitch,
        out: &mut [f32; CORE_HOP],
    ) {
        self.residual.append(core, analysis);
        self.find_epochs(pitch);
        let mut excitation = [0.0; CORE_HOP];
        for sample in &mut excitation {
            self.lay_grains(pitch);
            *sample = self.mix_grains();
            self.now += 1;
        }
        self.shape.process(&excitation, shape, out);
    }

    pub(super) fn flush(&mut self) {
        self.residual.ring.fill(0.0);
        self.residual.voice.fill(0.0);
        self.residual.back.fill(0.0);
        self.epoch_count = 0;
        self.grains = [None; GRAINS];
        self.is_on_grains = false;
        self.pass_straight(self.now as f64, 1.0);
        self.shape.flush();
    }

    /// Follows the pulses of the residual as far as it is known.
    fn find_epochs(&mut self, pitch: HopPitch) {
        if !pitch.is_voiced {
            self.epoch_count = 0;
            return;
        }
        let end = self.residual.end - EPOCH_AHEAD as i64;
        if self.epoch_count == 0 {
            // The strongest pulse among the samples that come out next.
            let from = self.now - CORE_DELAY as i64;
            let to = (from + pitch.period as i64).min(end);
            self.learn_polarity(from, to);
            if let Some(first) = (from..to).max_by(|a, b| self.pulse(*a).total_cmp(&self.pulse(*b)))
            {
                self.push_epoch(first);
            }
        }
        while self.epoch_count > 0 {
            let last = self.epochs[self.epoch_count - 1];
            let expected = last as f32 + pitch.period;
            let reach = SEARCH * pitch.period;
            let (from, to) = ((expected - reach) as i64, (expected + reach) as i64);
            if to >= end {
                break;
            }
            // The voice itself says better than its residual where it repeats: pulses of breathy or nasal
            // voices are weak, and of high ones hardly there.
            let next = (from..=to)
                .map(|n| {
                    let off = (n as f32 - expected) / reach;
                    (
                        n,
                        self.likeness(last, n, pitch.period) - OFF_COST * off * off,
                    )
                })
                .fold((expected as i64, f32::MIN), |best, it| {
                    if it.1 > best.1 { it } else { best }
                });
            self.push_epoch(next.0);
        }
    }

    fn push_epoch(&mut self, place: i64) {
        if self.epoch_count == EPOCHS {
            self.epochs.copy_within(1.., 0);
            self.epoch_count -= 1;
        }
        self.epochs[self.epoch_count] = place;
        self.epoch_count += 1;
    }

    /// Pulses point one way, by the microphone's wiring.
    fn learn_polarity(&mut self, from: i64, to: i64) {
        let (mut cube, mut power) = (0.0, 1e-12);
        for n in from..to {
            let e = self.residual.at(n);
            cube += e * e * e;
            power += e * e;
        }
        let count = (to - from).max(1) as f32;
        let skew = cube / count / (power / count).powf(1.5);
        self.polarity += 0.2 * (skew.clamp(-4.0, 4.0) - self.polarity);
    }

    /// How much of a pulse there is: smoothed residual in the pulses' direction.
    fn pulse(&self, n: i64) -> f32 {
        let e = 0.25 * self.residual.at(n - 1)
            + 0.5 * self.residual.at(n)
            + 0.25 * self.residual.at(n + 1);
        if self.polarity < 0.0 { -e } else { e }
    }

    /// Correlation of the voice about two places.
    fn likeness(&self, a: i64, b: i64, period: f32) -> f32 {
        let before = (0.8 * period) as i64;
        let (mut cross, mut aa, mut bb) = (0.0, 1e-9, 1e-9);
        for i in -before..EPOCH_AHEAD as i64 {
            let (x, y) = (
                self.residual.voice[index(a + i)],
                self.residual.voice[index(b + i)],
            );
            cross += x * y;
            aa += x * x;
            bb += y * y;
        }
        cross / (aa * bb).sqrt()
    }

    /// The pulse nearest to a place; where none is known yet, where it should be.
    fn epoch_near(&self, place: f64, period: f32) -> f64 {
        let known = &self.epochs[..self.epoch_count];
        let Some(last) = known.last() else {
            return place;
        };
        let last = *last as f64;
        if place > last + 0.5 * f64::from(period) {
            let periods = ((place - last) / f64::from(period)).round();
            return last + periods * f64::from(period);
        }
        known
            .iter()
            .map(|e| *e as f64)
            .min_by(|a, b| (a - place).abs().total_cmp(&(b - place).abs()))
            .unwrap_or(place)
    }

    /// Starts the grain whose turn it is, if any.
    fn lay_grains(&mut self, pitch: HopPitch) {
        let now = self.now as f64;
        if !pitch.is_voiced {
            if self.is_on_grains {
                self.is_on_grains = false;
                let last = self.latest().map_or(now, |g| g.to);
                let fade = self.latest().map_or(1.0, |g| g.fall);
                self.pass_straight(last.max(now + fade), fade);
            }
            return;
        }
        let piece = pitch.period.min(pitch.new_period);
        let fade = f64::from((0.5 * piece).min(LONGEST_FADE));
        if !self.is_on_grains {
            // Join where a pulse leaves anyway, so that the first grain lies over its own source.
            let source = self.epoch_near(now + fade - CORE_DELAY as f64, pitch.period);
            let mut place = source + CORE_DELAY as f64;
            while place - fade < now {
                place += f64::from(pitch.period);
            }
            self.next_place = place;
            self.is_on_grains = true;
            for grain in self.grains.iter_mut().flatten() {
                if grain.to > place {
                    grain.to = place;
                    grain.fall = fade;
                }
            }
        }
        while now >= (self.next_place - fade).floor() {
            let place = self.next_place;
            let source = self.epoch_near(place - CORE_DELAY as f64, pitch.period);
            let piece = f64::from(piece);
            self.start(Grain {
                shift: place - source,
                from: place,
                rise: fade,
                to: place + piece,
                fall: fade,
            });
            self.next_place = place + f64::from(pitch.new_period);
        }
    }

    fn pass_straight(&mut self, from: f64, rise: f64) {
        self.start(Grain {
            shift: CORE_DELAY as f64,
            from,
            rise,
            to: f64::INFINITY,
            fall: 1.0,
        });
    }

    fn start(&mut self, grain: Grain) {
        let now = self.now as f64;
        let free = self
            .grains
            .iter()
            .position(|g| g.is_none_or(|g| g.to <= now));
        // With fades of half a period no more than three overlap.
        self.grains[free.unwrap_or(0)] = Some(grain);
    }

    fn latest(&self) -> Option<Grain> {
        self.grains
            .iter()
            .flatten()
            .copied()
            .max_by(|a, b| a.to.total_cmp(&b.to))
    }

    fn mix_grains(&self) -> f32 {
        let now = self.now as f64;
        let mut sum = 0.0;
        for grain in self.grains.iter().flatten() {
            let weight = grain.weight(now);
            if weight > 0.0 {
                sum += weight * self.read(now - grain.shift);
            }
        }
        sum
    }

    /// The residual between its samples.
    fn read(&self, place: f64) -> f32 {
        let whole = place.floor();
        let phase = ((place - whole) * PHASES as f64) as usize;
        let first = whole as i64 - (TAPS as i64 / 2 - 1);
        let kernel = &self.kernel[phase.min(PHASES - 1)];
        kernel
            .iter()
            .enumerate()
            .map(|(i, k)| k * self.residual.at(first + i as i64))
            .sum()
    }
}

/// Windowed sinc that reads `fraction` of a sample after the fourth of eight.
fn kernel(fraction: f64) -> [f32; TAPS] {
    let mut taps = [0.0; TAPS];
    for (i, tap) in taps.iter_mut().enumerate() {
        let t = i as f64 - (TAPS / 2 - 1) as f64 - fraction;
        let x = std::f64::consts::PI * t;
        let sinc = if t.abs() < 1e-9 { 1.0 } else { x.sin() / x };
        let edge = (t / (TAPS as f64 / 2.0)).clamp(-1.0, 1.0);
        *tap = sinc * bessel_i0(4.0 * (1.0 - edge * edge).sqrt()) / bessel_i0(4.0);
    }
    let sum: f64 = taps.iter().sum();
    taps.map(|t| (t / sum) as f32)
}

/// The all-pole lattice that gives the excitation its new envelope.
struct Shape {
    back: [f32; SYNTHESIS_ORDER + 1],
    now: Envelopes,
}

impl Shape {
    fn new() -> Self {
        Self {
            back: [0.0; SYNTHESIS_ORDER + 1],
            now: Envelopes::FLAT,
        }
    }

    fn flush(&mut self) {
        self.back.fill(0.0);
    }

    /// Filters a hop with coefficients and gain that move to `to` by its end.
    fn process(&mut self, excitation: &[f32; CORE_HOP], to: &Envelopes, out: &mut [f32; CORE_HOP]) {
        let mut step = [0.0; SYNTHESIS_ORDER];
        for (step, (to, from)) in step
            .iter_mut()
            .zip(to.synthesis.iter().zip(&self.now.synthesis))
        {
            *step = (to - from) / CORE_HOP as f32;
        }
        let gain_step = (to.gain - self.now.gain) / CORE_HOP as f32;
        for (x, y) in excitation.iter().zip(out.iter_mut()) {
            self.now.gain += gain_step;
            let mut forward = x * self.now.gain;
            for m in (0..SYNTHESIS_ORDER).rev() {
                self.now.synthesis[m] += step[m];
                let k = self.now.synthesis[m];
                forward -= k * self.back[m];
                self.back[m + 1] = self.back[m] + k * forward;
            }
            self.back[0] = forward;
            *y = forward;
        }
        self.now = *to;
        for b in &mut self.back {
            if b.abs() < 1e-15 {
                *b = 0.0;
            }
        }
    }
}

/// Hertz to core samples.
pub(super) fn period_of(hz: f32) -> f32 {
    CORE_RATE_HZ / hz
}

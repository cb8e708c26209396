//! Fixed filters: rumble out, 48 kHz to the 16 kHz core and back.

/// Samples of one hop at 48 kHz, and in the core at 16 kHz: 5 ms.
pub(crate) const HOP: usize = 240;
pub(crate) const CORE_HOP: usize = 80;

/// Taps of the band-splitting filter: linear phase, 0.99 ms each way.
pub(crate) const TAPS: usize = 96;
const RATIO: usize = 3;
const PHASE_TAPS: usize = TAPS / RATIO;
/// Middle of the transition of the band-splitting filter, in cycles a 48 kHz sample.
const CUTOFF: f64 = 7_600.0 / 48_000.0;
const KAISER_BETA: f64 = 6.0;

/// Modified Bessel function of the first kind, order 0 (its series).
pub(crate) fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..30 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

fn low_pass() -> [f32; TAPS] {
    let middle = (TAPS - 1) as f64 / 2.0;
    let mut taps = [0.0; TAPS];
    for (i, tap) in taps.iter_mut().enumerate() {
        let t = i as f64 - middle;
        let sinc = (std::f64::consts::TAU * CUTOFF * t).sin() / (std::f64::consts::PI * t);
        let edge = t / (middle + 0.5);
        *tap = sinc * bessel_i0(KAISER_BETA * (1.0 - edge * edge).sqrt()) / bessel_i0(KAISER_BETA);
    }
    let sum: f64 = taps.iter().sum();
    std::array::from_fn(|i| (taps[i] / sum) as f32)
}

/// 48 kHz to 16 kHz, one hop at a time.
pub(crate) struct Decimator {
    taps: [f32; TAPS],
    line: [f32; TAPS - RATIO + HOP],
}

impl Decimator {
    pub(crate) fn new() -> Self {
        Self {
            taps: low_pass(),
            line: [0.0; TAPS - RATIO + HOP],
        }
    }

    pub(crate) fn process(&mut self, input: &[f32; HOP], out: &mut [f32; CORE_HOP]) {
        self.line.copy_within(HOP.., 0);
        self.line[TAPS - RATIO..].copy_from_slice(input);
        for (i, sample) in out.iter_mut().enumerate() {
            let from = &self.line[i * RATIO..i * RATIO + TAPS];
            *sample = from.iter().zip(&self.taps).map(|(x, t)| x * t).sum();
        }
    }
}

/// 16 kHz to 48 kHz, one hop at a time.
pub(crate) struct Interpolator {
    /// By phase, latest input last.
    taps: [[f32; PHASE_TAPS]; RATIO],
    line: [f32; PHASE_TAPS - 1 + CORE_HOP],
}

impl Interpolator {
    pub(crate) fn new() -> Self {
        let prototype = low_pass();
        let taps = std::array::from_fn(|phase| {
            std::array::from_fn(|k| RATIO as f32 * prototype[(PHASE_TAPS - 1 - k) * RATIO + phase])
        });
        Self {
            taps,
            line: [0.0; PHASE_TAPS - 1 + CORE_HOP],
        }
    }

    pub(crate) fn process(&mut self, input: &[f32; CORE_HOP], out: &mut [f32; HOP]) {
        self.line.copy_within(CORE_HOP.., 0);
        self.line[PHASE_TAPS - 1..].copy_from_slice(input);
        for (i, group) in out.as_chunks_mut::<RATIO>().0.iter_mut().enumerate() {
            let from = &self.line[i..i + PHASE_TAPS];
            for (sample, taps) in group.iter_mut().zip(&self.taps) {
                *sample = from.iter().zip(taps).map(|(x, t)| x * t).sum();
            }
        }
    }
}

/// Second-order section (R. Bristow-Johnson's audio EQ cookbook), transposed direct form II.
#[derive(Clone)]
pub(crate) struct Biquad {
    b: [f32; 3],
    a: [f32; 2],
    z: [f32; 2],
}

impl Biquad {
    /// High-pass at `hz` for samples at 48 kHz, Butterworth.
    pub(crate) fn high_pass(hz: f32) -> Self {
        let (cos, alpha) = Self::angle(hz, std::f32::consts::FRAC_1_SQRT_2);
        let half = (1.0 + cos) / 2.0;
        Self::normalised(
            [half, -(1.0 + cos), half],
            [1.0 + alpha, -2.0 * cos, 1.0 - alpha],
        )
    }

    /// Band-pass about `hz` for samples at 48 kHz, 0 dB at the peak.
    pub(crate) fn band_pass(hz: f32, q: f32) -> Self {
        let (cos, alpha) = Self::angle(hz, q);
        Self::normalised([alpha, 0.0, -alpha], [1.0 + alpha, -2.0 * cos, 1.0 - alpha])
    }

    pub(crate) fn step(&mut self, x: f32) -> f32 {
        let y = self.b[0] * x + self.z[0];
        self.z[0] = self.b[1] * x - self.a[0] * y + self.z[1];
        self.z[1] = self.b[2] * x - self.a[1] * y;
        y
    }

    pub(crate) fn reset(&mut self) {
        self.z = [0.0; 2];
    }

    /// Takes tiny leftovers out of the state, so that silence costs no denormal arithmetic.
    pub(crate) fn flush_denormals(&mut self) {
        for z in &mut self.z {
            if z.abs() < 1e-15 {
                *z = 0.0;
            }
        }
    }

    /// Cosine of the angle, and the cookbook's alpha.
    fn angle(hz: f32, q: f32) -> (f32, f32) {
        let (sin, cos) = (std::f32::consts::TAU * hz / crate::SAMPLE_RATE_HZ as f32).sin_cos();
        (cos, sin / (2.0 * q))
    }

    fn normalised(b: [f32; 3], a: [f32; 3]) -> Self {
        Self {
            b: b.map(|b| b / a[0]),
            a: [a[1] / a[0], a[2] / a[0]],
            z: [0.0; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(hz: f32) -> (f32, f32) {
        let (mut down, mut up) = (Decimator::new(), Interpolator::new());
        let (mut power_in, mut power_out) = (0.0, 0.0);
        for hop in 0..40 {
            let input: [f32; HOP] = std::array::from_fn(|i| {
                (std::f32::consts::TAU * hz * (hop * HOP + i) as f32 / 48_000.0).sin()
            });
            let (mut core, mut out) = ([0.0; CORE_HOP], [0.0; HOP]);
            down.process(&input, &mut core);
            up.process(&core, &mut out);
            if hop >= 10 {
                power_in += input.iter().map(|x| x * x).sum::<f32>();
                power_out += out.iter().map(|x| x * x).sum::<f32>();
            }
        }
        (power_in, power_out)
    }

    #[test]
    fn the_core_band_passes_and_the_rest_does_not() {
        for hz in [100.0, 1_000.0, 4_000.0, 6_400.0] {
            let (a, b) = there_and_back(hz);
            assert!(
                (10.0 * (b / a).log10()).abs() < 0.5,
                "{hz} Hz: {}",
                10.0 * (b / a).log10()
            );
        }
        for hz in [9_000.0, 12_000.0, 20_000.0] {
            let (a, b) = there_and_back(hz);
            assert!(
                10.0 * (b / a).log10() < -45.0,
                "{hz} Hz: {}",
                10.0 * (b / a).log10()
            );
        }
    }

    #[test]
    fn delay_of_both_filters_is_as_stated() {
        let (mut down, mut up) = (Decimator::new(), Interpolator::new());
        let mut input = [0.0; HOP];
        input[0] = 1.0;
        let (mut core, mut out) = ([0.0; CORE_HOP], [0.0; HOP]);
        down.process(&input, &mut core);
        up.process(&core, &mut out);
        let peak = (0..HOP)
            .max_by(|a, b| out[*a].abs().total_cmp(&out[*b].abs()))
            .unwrap();
        assert!(peak.abs_diff(TAPS - 1 - 2) <= 2, "{peak}");
    }

    #[test]
    fn rumble_is_taken_out() {
        let mut filter = Biquad::high_pass(70.0);
        let out: Vec<f32> = (0..48_000)
            .map(|i| filter.step(1.0 + (std::f32::consts::TAU * 20.0 * i as f32 / 48_000.0).sin()))
            .collect();
        assert!(out[24_000..].iter().all(|s| s.abs() < 0.1));
    }
}

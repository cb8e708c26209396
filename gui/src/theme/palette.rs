//! Colours, each with one meaning. Screens name the meaning, never a colour.

use egui::{Color32, Theme, Ui};

/// One set of colours. Every text colour reaches a contrast of 4.5 : 1 on every ground it is used on, and
/// every edge and mark 3 : 1 (WCAG 2.2, 1.4.3 and 1.4.11); the tests below compute it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    /// Whether light text lies on dark ground.
    pub(crate) dark: bool,
    /// Behind everything.
    pub(crate) ground: Color32,
    /// Cards, panels and fields lie on this.
    pub(crate) surface: Color32,
    /// Tracks, wells and hovered quiet things.
    pub(crate) sunken: Color32,
    /// Hairlines that divide.
    pub(crate) line: Color32,
    /// Borders of what can be pressed or typed into.
    pub(crate) edge: Color32,
    /// Text.
    pub(crate) ink: Color32,
    /// Text of second rank.
    pub(crate) ink_soft: Color32,
    /// The one obvious next step, and whatever is chosen.
    pub(crate) accent: Color32,
    /// Text on [`Self::accent`].
    pub(crate) on_accent: Color32,
    /// Ground of something chosen.
    pub(crate) accent_soft: Color32,
    /// A voice: halo, turn, time left.
    pub(crate) voice: Color32,
    /// Ground of something about a voice.
    pub(crate) voice_soft: Color32,
    /// Harm and its end: removal, refusal, trouble.
    pub(crate) danger: Color32,
    /// Text on [`Self::danger`].
    pub(crate) on_danger: Color32,
    /// Ground of a warning.
    pub(crate) danger_soft: Color32,
    /// The ring around what the keyboard is on.
    pub(crate) focus: Color32,
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// Ink on warm paper.
pub(crate) const LIGHT: Palette = Palette {
    dark: false,
    ground: rgb(0xFAF6F0),
    surface: rgb(0xFFFDFA),
    sunken: rgb(0xF1EAE0),
    line: rgb(0xE4DACD),
    edge: rgb(0x8A7F73),
    ink: rgb(0x2B2723),
    ink_soft: rgb(0x635A51),
    accent: rgb(0x2A6A66),
    on_accent: rgb(0xFFFFFF),
    accent_soft: rgb(0xDCEBE6),
    voice: rgb(0xB26A12),
    voice_soft: rgb(0xF9E9CF),
    danger: rgb(0x9B382B),
    on_danger: rgb(0xFFFFFF),
    danger_soft: rgb(0xF7E2DC),
    focus: rgb(0x2459A8),
};

/// A room in the evening.
pub(crate) const DARK: Palette = Palette {
    dark: true,
    ground: rgb(0x1D1A18),
    surface: rgb(0x272321),
    sunken: rgb(0x151311),
    line: rgb(0x3B3531),
    edge: rgb(0x887D72),
    ink: rgb(0xF0E8DD),
    ink_soft: rgb(0xBDB2A5),
    accent: rgb(0x8CCBBB),
    on_accent: rgb(0x10211D),
    accent_soft: rgb(0x263B36),
    voice: rgb(0xE9B063),
    voice_soft: rgb(0x40331F),
    danger: rgb(0xF29C88),
    on_danger: rgb(0x2B0F08),
    danger_soft: rgb(0x44261F),
    focus: rgb(0x9CC2FF),
};

impl Palette {
    /// The colours of this theme.
    pub(crate) const fn of_theme(theme: Theme) -> &'static Self {
        match theme {
            Theme::Light => &LIGHT,
            Theme::Dark => &DARK,
        }
    }

    /// The colours in force where this `ui` draws.
    pub(crate) fn of(ui: &Ui) -> &'static Self {
        if ui.visuals().dark_mode {
            &DARK
        } else {
            &LIGHT
        }
    }
}

/// `from` moved towards `to` by `share` (0–1), in gamma space.
pub(crate) fn mix(from: Color32, to: Color32, share: f32) -> Color32 {
    from.lerp_to_gamma(to, share.clamp(0.0, 1.0))
}

/// A colour of this lightness (0–1), chroma (0–0.3) and hue in degrees, in OKLCH (Ottosson 2020), so that
/// colours of equal lightness look equally light whatever their hue.
pub(crate) fn oklch(lightness: f32, chroma: f32, hue_degrees: f32) -> Color32 {
    let (sin, cos) = hue_degrees.to_radians().sin_cos();
    let (a, b) = (chroma * cos, chroma * sin);
    let l = (lightness + 0.396_337_78 * a + 0.215_803_76 * b).powi(3);
    let m = (lightness - 0.105_561_346 * a - 0.063_854_17 * b).powi(3);
    let s = (lightness - 0.089_484_18 * a - 1.291_485_5 * b).powi(3);
    let channel = |linear: f32| {
        let gamma = if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (gamma.clamp(0.0, 1.0) * 255.0).round() as u8
    };
    Color32::from_rgb(
        channel(4.076_741_7 * l - 3.307_711_6 * m + 0.230_969_94 * s),
        channel(-1.268_438 * l + 2.609_757_4 * m - 0.341_319_4 * s),
        channel(-0.004_196_086_3 * l - 0.703_418_6 * m + 1.707_614_7 * s),
    )
}

/// Contrast ratio of two opaque colours, 1–21 (WCAG 2.2, "contrast ratio").
#[cfg(test)]
pub(crate) fn contrast(a: Color32, b: Color32) -> f32 {
    let luminance = |c: Color32| {
        let linear = |v: u8| {
            let v = f32::from(v) / 255.0;
            if v <= 0.040_45 {
                v / 12.92
            } else {
                ((v + 0.055) / 1.055).powf(2.4)
            }
        };
        0.2126 * linear(c.r()) + 0.7152 * linear(c.g()) + 0.0722 * linear(c.b())
    };
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_be_read_on_every_ground_it_lies_on() {
        for p in [LIGHT, DARK] {
            for (name, text, ground) in [
                ("ink on ground", p.ink, p.ground),
                ("ink on surface", p.ink, p.surface),
                ("ink on sunken", p.ink, p.sunken),
                ("ink on accent_soft", p.ink, p.accent_soft),
                ("ink on voice_soft", p.ink, p.voice_soft),
                ("ink on danger_soft", p.ink, p.danger_soft),
                ("ink_soft on ground", p.ink_soft, p.ground),
                ("ink_soft on surface", p.ink_soft, p.surface),
                ("ink_soft on sunken", p.ink_soft, p.sunken),
                ("ink_soft on accent_soft", p.ink_soft, p.accent_soft),
                ("ink_soft on voice_soft", p.ink_soft, p.voice_soft),
                ("accent on ground", p.accent, p.ground),
                ("accent on surface", p.accent, p.surface),
                ("on_accent", p.on_accent, p.accent),
                ("danger on surface", p.danger, p.surface),
                ("danger on ground", p.danger, p.ground),
                ("danger on danger_soft", p.danger, p.danger_soft),
                ("on_danger", p.on_danger, p.danger),
            ] {
                let ratio = contrast(text, ground);
                assert!(ratio >= 4.5, "{name} (dark: {}): {ratio:.2}", p.dark);
            }
        }
    }

    #[test]
    fn edges_and_marks_can_be_seen() {
        for p in [LIGHT, DARK] {
            for (name, mark, ground) in [
                ("edge on surface", p.edge, p.surface),
                ("edge on ground", p.edge, p.ground),
                ("focus on ground", p.focus, p.ground),
                ("focus on surface", p.focus, p.surface),
                ("voice on ground", p.voice, p.ground),
                ("voice on sunken", p.voice, p.sunken),
            ] {
                let ratio = contrast(mark, ground);
                assert!(ratio >= 3.0, "{name} (dark: {}): {ratio:.2}", p.dark);
            }
        }
    }

    #[test]
    fn black_and_white_are_as_far_apart_as_colours_get() {
        assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 0.01);
    }

    #[test]
    fn oklch_knows_white_black_and_red() {
        assert_eq!(oklch(1.0, 0.0, 0.0), Color32::WHITE);
        assert_eq!(oklch(0.0, 0.0, 0.0), Color32::BLACK);
        let red = oklch(0.628, 0.2577, 29.23);
        assert!(red.r() > 250 && red.g() < 12 && red.b() < 12, "{red:?}");
    }
}

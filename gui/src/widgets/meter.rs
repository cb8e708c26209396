//! Levels: a bar that follows the sound, and words for what it means.

use egui::{CornerRadius, Rect, Sense, StrokeKind, Ui, WidgetInfo, WidgetType, pos2, vec2};

use crate::theme::Palette;
use crate::theme::palette::mix;

/// What a level means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// Nothing.
    Silent,
    /// Too little.
    Quiet,
    /// As it should be.
    Good,
    /// Too much.
    Loud,
}

/// What this level, in dBFS, means for speech.
pub(crate) fn loudness(level_db: f32) -> Loudness {
    if level_db < -58.0 {
        Loudness::Silent
    } else if level_db < -42.0 {
        Loudness::Quiet
    } else if level_db < -8.0 {
        Loudness::Good
    } else {
        Loudness::Loud
    }
}

/// A level in dBFS as a share of the bar: −64 dB is 0, −4 dB is 1.
pub(crate) fn share(level_db: f32) -> f32 {
    if level_db.is_finite() {
        ((level_db + 64.0) / 60.0).clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// A bar that follows `level_db`, over the whole width, named for screen readers.
pub(crate) fn show(ui: &mut Ui, name: &str, level_db: f32) {
    bar(ui, name, share(level_db), share(-9.0));
}

/// A bar for a share of 0 to 1.
pub(crate) fn amount(ui: &mut Ui, name: &str, share: f32) {
    bar(ui, name, share, 1.0);
}

/// Beyond `too_much` the ticks warn.
fn bar(ui: &mut Ui, name: &str, share: f32, too_much: f32) {
    let p = Palette::of(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 14.0), Sense::hover());
    let quick = if ui.style().animation_time > 0.0 {
        0.09
    } else {
        0.0
    };
    let shown = ui
        .ctx()
        .animate_value_with_time(response.id.with("level"), share, quick);
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(WidgetType::ProgressIndicator, true, name);
        info.value = Some(f64::from((share * 100.0).round()));
        info
    });

    // One tick for each 3 dB: their number is the level, their colour only repeats it.
    let ticks = (rect.width() / 11.0).floor().max(8.0);
    let step = rect.width() / ticks;
    let count = ticks as usize;
    for i in 0..count {
        let at = i as f32 / ticks;
        let tick = Rect::from_min_size(
            pos2(rect.left() + i as f32 * step, rect.top()),
            vec2(step - 4.0, rect.height()),
        );
        let lit = at < shown && shown > 0.01;
        let color = if lit {
            if at > too_much {
                p.danger
            } else {
                mix(p.voice, p.accent, 0.15)
            }
        } else {
            mix(p.line, p.ground, 0.1)
        };
        ui.painter().rect(
            tick,
            CornerRadius::same(3),
            color,
            egui::Stroke::NONE,
            StrokeKind::Inside,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_nothing_and_speech_is_in_the_middle() {
        assert_eq!(share(-100.0), 0.0);
        assert_eq!(share(f32::NEG_INFINITY), 0.0);
        assert_eq!(share(f32::NAN), 0.0);
        assert_eq!(share(0.0), 1.0);
        assert!((0.4..0.9).contains(&share(-25.0)));
    }

    #[test]
    fn words_follow_the_level() {
        assert_eq!(loudness(-100.0), Loudness::Silent);
        assert_eq!(loudness(-50.0), Loudness::Quiet);
        assert_eq!(loudness(-22.0), Loudness::Good);
        assert_eq!(loudness(-3.0), Loudness::Loud);
    }
}

//! The window's own picture for task bars: seven people around a voice.

use egui::IconData;

const SIDE: u32 = 64;

/// The badge, 64 × 64.
pub fn badge() -> IconData {
    let middle = (SIDE as f32 - 1.0) / 2.0;
    let seats = (0..7).map(|i| {
        let (sin, cos) = (i as f32 / 7.0 * std::f32::consts::TAU).sin_cos();
        (middle + 24.0 * sin, middle - 24.0 * cos, 6.2)
    });
    let dots: Vec<(f32, f32, f32)> = seats.chain([(middle, middle, 8.6)]).collect();
    let rgba = (0..SIDE * SIDE)
        .flat_map(|i| {
            let (x, y) = ((i % SIDE) as f32, (i / SIDE) as f32);
            let cover = dots
                .iter()
                .map(|(cx, cy, r)| (r + 0.5 - (x - cx).hypot(y - cy)).clamp(0.0, 1.0))
                .fold(0.0, f32::max);
            [0x3F, 0x8F, 0x88, (cover * 255.0) as u8]
        })
        .collect();
    IconData {
        rgba,
        width: SIDE,
        height: SIDE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_badge_is_whole_and_not_empty() {
        let badge = badge();
        assert_eq!(badge.rgba.len(), 64 * 64 * 4);
        let covered = badge.rgba.chunks(4).filter(|pixel| pixel[3] > 128).count();
        assert!((500..3000).contains(&covered), "{covered}");
    }
}

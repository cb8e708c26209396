//! A small picture for every pseudonym, drawn from the bytes of its key: the same key always gives the
//! same flower, shell, snowflake or ripple, and different keys seldom look alike. It tells people apart
//! beside the name, never instead of it.

use std::f32::consts::TAU;

use egui::{Color32, Painter, Pos2, Shape, Stroke, Vec2, vec2};

use crate::theme::palette::{Palette, oklch};

/// Shapes an emblem is put together from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Petal {
    Oval,
    Bead,
    Leaf,
    Ray,
    Ripple,
}

/// What an emblem looks like; all of it follows from the key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Emblem {
    hue_degrees: f32,
    second_hue_degrees: f32,
    outer: Petal,
    inner: Petal,
    count: usize,
    turn: f32,
    heart: bool,
}

impl Emblem {
    /// The emblem of these bytes. Uniformly random bytes, such as a key's, use every look equally often.
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let [hue, second, outer, inner, count, turn, heart, ..] = *bytes;
        let petal = |byte: u8| match byte % 5 {
            0 => Petal::Oval,
            1 => Petal::Bead,
            2 => Petal::Leaf,
            3 => Petal::Ray,
            _ => Petal::Ripple,
        };
        let hue_degrees = f32::from(hue % 12) * 30.0 + 10.0;
        Self {
            hue_degrees,
            second_hue_degrees: hue_degrees + [40.0, 150.0, -40.0, 210.0][usize::from(second % 4)],
            outer: petal(outer),
            inner: petal(inner.wrapping_add(1)),
            count: usize::from(count % 5) + 4,
            turn: f32::from(turn % 4) / 8.0,
            heart: heart % 2 == 0,
        }
    }

    /// The emblem of a name, for where no key exists yet.
    pub(crate) fn of_name(name: &str) -> Self {
        // FNV-1a, spread over 32 bytes: only looks depend on it.
        let mut state = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            state ^= state >> 29;
            state = state.wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (state >> 48) as u8;
        }
        Self::of(&bytes)
    }

    /// Draws the emblem as a disc of this radius.
    pub(crate) fn paint(&self, painter: &Painter, center: Pos2, radius: f32, palette: &Palette) {
        let tone = |light: (f32, f32), dark: (f32, f32), hue: f32| {
            let (lightness, chroma) = if palette.dark { dark } else { light };
            oklch(lightness, chroma, hue)
        };
        let ground = tone((0.91, 0.045), (0.34, 0.045), self.hue_degrees);
        let main = tone((0.60, 0.10), (0.74, 0.095), self.hue_degrees);
        let second = tone((0.74, 0.105), (0.60, 0.10), self.second_hue_degrees);
        let deep = tone((0.42, 0.085), (0.88, 0.06), self.hue_degrees);

        painter.circle_filled(center, radius, ground);
        let layer = Layer { painter, center };
        layer.paint(
            self.outer,
            self.count,
            self.turn,
            radius * 0.50,
            radius * 0.30,
            main,
        );
        layer.paint(
            self.inner,
            self.count,
            self.turn + 0.5,
            radius * 0.27,
            radius * 0.17,
            second,
        );
        if self.heart {
            painter.circle_filled(center, radius * 0.13, deep);
        } else {
            painter.circle(
                center,
                radius * 0.15,
                ground,
                Stroke::new((radius * 0.055).max(1.0), deep),
            );
        }
    }
}

struct Layer<'a> {
    painter: &'a Painter,
    center: Pos2,
}

impl Layer<'_> {
    /// `count` petals whose middles are `distance` from the centre, each reaching `reach` to both sides.
    fn paint(
        &self,
        petal: Petal,
        count: usize,
        turn: f32,
        distance: f32,
        reach: f32,
        color: Color32,
    ) {
        if petal == Petal::Ripple {
            return self.ripples(count, turn, distance, reach, color);
        }
        // As wide as its place on the circle allows.
        let room = distance * (TAU / 2.0 / count as f32).sin() * 0.92;
        for i in 0..count {
            let angle = TAU * (i as f32 + turn) / count as f32 - TAU / 4.0;
            let along = Vec2::angled(angle);
            let middle = self.center + along * distance;
            match petal {
                Petal::Bead => {
                    self.painter
                        .circle_filled(middle, room.min(reach * 0.8), color);
                }
                Petal::Oval => self.blade(middle, along, reach, room.min(reach * 0.72), 1.0, color),
                Petal::Leaf => self.blade(
                    middle,
                    along,
                    reach * 1.12,
                    room.min(reach * 0.8),
                    1.7,
                    color,
                ),
                Petal::Ray => self.blade(
                    middle,
                    along,
                    reach,
                    (room * 0.5).min(reach * 0.3),
                    0.55,
                    color,
                ),
                Petal::Ripple => {}
            }
        }
    }

    /// A convex blade: an ellipse for `point` 1, sharper above, blunter below.
    fn blade(
        &self,
        middle: Pos2,
        along: Vec2,
        length: f32,
        width: f32,
        point: f32,
        color: Color32,
    ) {
        let across = along.rot90();
        let points = (0..28)
            .map(|i| {
                let (sin, cos) = (TAU * i as f32 / 28.0).sin_cos();
                let side = sin.signum() * sin.abs().powf(point);
                middle + along * (length * cos) + across * (width * side)
            })
            .collect();
        self.painter
            .add(Shape::convex_polygon(points, color, Stroke::NONE));
    }

    /// A ring of `count` arcs with gaps between them.
    fn ripples(&self, count: usize, turn: f32, distance: f32, reach: f32, color: Color32) {
        let pieces = count.clamp(3, 6);
        let stroke = Stroke::new((reach * 0.62).max(1.0), color);
        for piece in 0..pieces {
            let start = TAU * (piece as f32 + turn) / pieces as f32;
            let points: Vec<Pos2> = (0..=12)
                .map(|i| {
                    let angle = start + TAU / pieces as f32 * 0.68 * i as f32 / 12.0;
                    self.center + Vec2::angled(angle) * distance
                })
                .collect();
            for end in points.first().into_iter().chain(points.last()) {
                self.painter.circle_filled(*end, stroke.width / 2.0, color);
            }
            self.painter.add(Shape::line(points, stroke));
        }
    }
}

/// Room for an emblem of this radius, drawn into it.
pub(crate) fn show(ui: &mut egui::Ui, emblem: &Emblem, radius: f32) {
    let (rect, _) = ui.allocate_exact_size(vec2(2.0 * radius, 2.0 * radius), egui::Sense::hover());
    emblem.paint(ui.painter(), rect.center(), radius, Palette::of(ui));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emblem_follows_from_its_bytes_and_nothing_else() {
        assert_eq!(Emblem::of(&[7; 32]), Emblem::of(&[7; 32]));
        assert_eq!(
            Emblem::of_name("Quiet Heron"),
            Emblem::of_name("Quiet Heron")
        );
        assert_ne!(Emblem::of(&[7; 32]), Emblem::of(&[8; 32]));
    }

    #[test]
    fn names_use_many_looks() {
        let mut looks: Vec<Emblem> = Vec::new();
        for i in 0..200 {
            let emblem = Emblem::of_name(&format!("name {i}"));
            if !looks.contains(&emblem) {
                looks.push(emblem);
            }
        }
        assert!(looks.len() > 180, "{} looks of 200 names", looks.len());
    }
}

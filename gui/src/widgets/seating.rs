//! Where people sit: equal distances along a rounded ring, as large as the room allows, nobody on top of
//! anybody else. Pure geometry.

use egui::{Pos2, Rect, Vec2, pos2, vec2};

/// How large one seat is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SeatSize {
    /// Across the emblem.
    pub(crate) emblem: f32,
    /// Emblem, name and marks together.
    pub(crate) cell: Vec2,
}

/// A whole ring.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seating {
    /// Size of every seat.
    pub(crate) size: SeatSize,
    /// One cell for each person, the first at the bottom, then clockwise.
    pub(crate) cells: Vec<Rect>,
    /// Room in the middle.
    pub(crate) middle: Rect,
    /// The line people sit along, closed.
    pub(crate) path: Vec<Pos2>,
}

/// Room for name and marks under an emblem.
const LABEL: f32 = 44.0;
/// Emblem across, cell wide: largest first.
const SIZES: [(f32, f32); 8] = [
    (112.0, 168.0),
    (92.0, 144.0),
    (80.0, 136.0),
    (68.0, 124.0),
    (58.0, 112.0),
    (50.0, 100.0),
    (44.0, 88.0),
    (38.0, 76.0),
];
/// The middle at least, so that whoever speaks there is not smaller than the others; and in small windows.
const LEAST_MIDDLE: Vec2 = vec2(190.0, 168.0);
const LEAST_MIDDLE_SMALL: Vec2 = vec2(170.0, 118.0);
/// Emblems smaller than this do with the small middle.
const SMALL: f32 = 56.0;
/// How much wider than high a ring may be: roundest first.
const STRETCH: [f32; 3] = [1.55, 2.0, 2.6];
/// How much rounder than a circle the ring's corners may be.
const SQUARENESS: f32 = 2.5;

/// Seats for `people` in `room`, or `None` where it is too small for a ring.
pub(crate) fn seat(room: Rect, people: usize) -> Option<Seating> {
    SIZES.iter().find_map(|&(emblem, width)| {
        let size = SeatSize {
            emblem,
            cell: vec2(width, emblem + LABEL),
        };
        STRETCH
            .iter()
            .find_map(|stretch| seat_of_size(room, people, size, *stretch))
    })
}

fn seat_of_size(room: Rect, people: usize, size: SeatSize, stretch: f32) -> Option<Seating> {
    let half = (room.size() - size.cell) / 2.0;
    if half.x < 60.0 || half.y < 40.0 {
        return None;
    }
    // Not further apart than one can overlook, and not flatter than a table.
    let down = half.y.min(330.0);
    let across = half.x.min(down * stretch).min(520.0);
    let radii = vec2(across, down.min(across));
    // The emblems, not the cells, sit on the line; the ring as a whole is centred.
    let path = outline(room.center(), radii);
    let cells: Vec<Rect> = along(&path, people)
        .into_iter()
        .map(|at| Rect::from_center_size(at, size.cell))
        .collect();

    let apart = |a: &Rect, b: &Rect| !a.shrink(1.0).intersects(b.shrink(1.0));
    let mut others = cells.as_slice();
    while let Some((first, rest)) = others.split_first() {
        if rest.iter().any(|other| !apart(first, other)) {
            return None;
        }
        others = rest;
    }
    let middle = middle(room.center(), &cells);
    let least = if size.emblem < SMALL {
        LEAST_MIDDLE_SMALL
    } else {
        LEAST_MIDDLE
    };
    (middle.width() >= least.x && middle.height() >= least.y).then_some(Seating {
        size,
        cells,
        middle,
        // Its last point is its first.
        path: path
            .iter()
            .skip(1)
            .map(|p| *p - vec2(0.0, LABEL / 2.0))
            .collect(),
    })
}

/// The largest room around `center`, of the least middle's shape or wider, that no cell reaches into.
fn middle(center: Pos2, cells: &[Rect]) -> Rect {
    let mut best = Rect::from_center_size(center, Vec2::ZERO);
    for shape in [1.25, 1.5, 1.0] {
        let mut scale = 520.0_f32;
        for _ in 0..60 {
            let candidate =
                Rect::from_center_size(center, vec2(scale * shape, scale).min(vec2(420.0, 360.0)));
            if !cells.iter().any(|cell| cell.intersects(candidate)) {
                if candidate.area() > best.area() {
                    best = candidate;
                }
                break;
            }
            scale *= 0.965;
        }
    }
    best
}

/// A superellipse around `center`, clockwise on the screen from its lowest point, closed.
fn outline(center: Pos2, radii: Vec2) -> Vec<Pos2> {
    const STEPS: usize = 240;
    (0..=STEPS)
        .map(|i| {
            let (sin, cos) = (std::f32::consts::TAU * i as f32 / STEPS as f32).sin_cos();
            let curve = |v: f32| v.signum() * v.abs().powf(2.0 / SQUARENESS);
            pos2(
                center.x - radii.x * curve(sin),
                center.y + radii.y * curve(cos),
            )
        })
        .collect()
}

/// `count` points at equal distances along a closed line, the first at its start.
fn along(path: &[Pos2], count: usize) -> Vec<Pos2> {
    let length: f32 = path.windows(2).map(|w| segment(w).1).sum();
    let mut points = Vec::with_capacity(count);
    let mut walked = 0.0;
    let mut next = 0.0;
    for w in path.windows(2) {
        let (start, long, step) = {
            let (step, long) = segment(w);
            (w.first().copied().unwrap_or_default(), long, step)
        };
        while points.len() < count && next <= walked + long {
            let share = if long > 0.0 {
                (next - walked) / long
            } else {
                0.0
            };
            points.push(start + step * share);
            next += length / count as f32;
        }
        walked += long;
    }
    points
}

fn segment(w: &[Pos2]) -> (Vec2, f32) {
    match w {
        [a, b] => (*b - *a, (*b - *a).length()),
        _ => (Vec2::ZERO, 0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(width: f32, height: f32) -> Rect {
        Rect::from_min_size(pos2(10.0, 60.0), vec2(width, height))
    }

    #[test]
    fn nobody_sits_on_anybody_or_outside() {
        for people in 1..=16 {
            for (w, h) in [
                (540.0, 400.0),
                (760.0, 410.0),
                (1600.0, 860.0),
                (700.0, 900.0),
            ] {
                let Some(seating) = seat(room(w, h), people) else {
                    continue;
                };
                assert_eq!(seating.cells.len(), people);
                for (i, a) in seating.cells.iter().enumerate() {
                    assert!(
                        room(w, h).expand(0.5).contains_rect(*a),
                        "{people} in {w}×{h}"
                    );
                    assert!(!a.intersects(seating.middle), "{people} in {w}×{h}");
                    for b in seating.cells.iter().skip(i + 1) {
                        assert!(
                            !a.shrink(1.0).intersects(b.shrink(1.0)),
                            "{people} in {w}×{h}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_circle_fits_the_smallest_window() {
        // 800 × 600 less bars: with and without the leader's panel.
        assert!(seat(room(760.0, 400.0), 16).is_some());
        assert!(seat(room(500.0, 400.0), 12).is_some());
    }

    #[test]
    fn one_sits_at_the_bottom_and_others_follow_clockwise() {
        let seating = seat(room(900.0, 600.0), 4).expect("room enough");
        let [bottom, left, top, right] = seating.cells.as_slice() else {
            panic!("four seats")
        };
        assert!(bottom.center().y > left.center().y && left.center().y > top.center().y);
        assert!(left.center().x < bottom.center().x && right.center().x > bottom.center().x);
    }

    #[test]
    fn where_there_is_no_room_there_is_no_ring() {
        assert_eq!(seat(room(380.0, 150.0), 6), None);
        assert_eq!(seat(room(100.0, 600.0), 3), None);
    }
}

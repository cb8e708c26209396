//! Icons that match: strokes of one weight on a 24 × 24 grid, drawn by the painter so that they are
//! sharp at every text size and take the colour of their label.

use egui::{Color32, Painter, Pos2, Rect, Shape, Stroke, vec2};

/// What an icon says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    /// A microphone that is open.
    Mic,
    /// A microphone that is closed.
    MicOff,
    /// I'd like to share.
    Hand,
    /// Not now, after all.
    Pass,
    /// Out of the circle.
    Leave,
    /// Away, at once.
    Exit,
    /// Done, chosen.
    Check,
    /// One step back.
    Back,
    /// Another one.
    Again,
    /// The leader: a lantern.
    Lantern,
    /// A listener: an ear.
    Ear,
    /// A connection that comes and goes.
    Unsteady,
    /// Away for a while: a moon.
    Moon,
    /// To the clipboard.
    Copy,
    /// From an invite.
    Link,
    /// Try it out: a sprout.
    Sprout,
    /// A new circle.
    Circle,
    /// Headphones.
    Headphones,
    /// Who could see.
    Eye,
    /// How long.
    Clock,
    /// How many.
    People,
    /// Something happened.
    Note,
    /// One of several points.
    Dot,
    /// What is spoken.
    Speech,
    /// Thanks.
    Heart,
    /// Nobody is heard for a while.
    Pause,
    /// It goes on.
    Play,
    /// When.
    Calendar,
    /// In or out.
    Door,
}

/// Draws on the 24 × 24 grid of one icon.
struct Pen<'a> {
    painter: &'a Painter,
    rect: Rect,
    stroke: Stroke,
}

impl Pen<'_> {
    fn at(&self, x: f32, y: f32) -> Pos2 {
        self.rect.min + vec2(x, y) * self.unit()
    }

    fn unit(&self) -> f32 {
        self.rect.width() / 24.0
    }

    /// A line with round ends and joints.
    fn line(&self, points: &[(f32, f32)]) {
        self.round(points.iter().map(|&(x, y)| self.at(x, y)).collect());
    }

    fn round(&self, points: Vec<Pos2>) {
        for end in points.first().into_iter().chain(points.last()) {
            self.painter
                .circle_filled(*end, self.stroke.width * 0.5, self.stroke.color);
        }
        self.painter.add(Shape::line(points, self.stroke));
    }

    /// Part of a circle, in degrees clockwise from the right.
    fn arc(&self, (x, y): (f32, f32), radius: f32, from: f32, to: f32) {
        let steps = 20;
        let points = (0..=steps)
            .map(|i| {
                let angle = (from + (to - from) * i as f32 / steps as f32).to_radians();
                self.at(x + radius * angle.cos(), y + radius * angle.sin())
            })
            .collect();
        self.round(points);
    }

    fn frame(&self, left: f32, top: f32, right: f32, bottom: f32, corner: f32) {
        self.painter.rect_stroke(
            Rect::from_min_max(self.at(left, top), self.at(right, bottom)),
            corner * self.unit(),
            self.stroke,
            egui::StrokeKind::Middle,
        );
    }

    fn circle(&self, x: f32, y: f32, radius: f32) {
        self.painter
            .circle_stroke(self.at(x, y), radius * self.unit(), self.stroke);
    }

    fn dot(&self, x: f32, y: f32, radius: f32) {
        self.painter
            .circle_filled(self.at(x, y), radius * self.unit(), self.stroke.color);
    }
}

impl Icon {
    /// Draws the icon into the square around the centre of `rect`.
    pub(crate) fn paint(self, painter: &Painter, rect: Rect, color: Color32) {
        let side = rect.width().min(rect.height());
        let rect = Rect::from_center_size(rect.center(), vec2(side, side));
        let pen = Pen {
            painter,
            rect,
            stroke: Stroke::new((side / 24.0 * 2.0).max(1.25), color),
        };
        match self {
            Self::Mic => microphone(&pen),
            Self::MicOff => {
                microphone(&pen);
                pen.line(&[(4.0, 3.5), (20.0, 20.5)]);
            }
            Self::Hand => hand(&pen),
            Self::Pass => {
                pen.line(&[(5.0, 6.0), (11.0, 12.0), (5.0, 18.0)]);
                pen.line(&[(12.5, 6.0), (18.5, 12.0), (12.5, 18.0)]);
            }
            Self::Leave => {
                pen.line(&[(12.0, 4.0), (5.0, 4.0), (5.0, 20.0), (12.0, 20.0)]);
                pen.line(&[(10.0, 12.0), (20.5, 12.0)]);
                pen.line(&[(16.5, 8.0), (20.5, 12.0), (16.5, 16.0)]);
            }
            Self::Exit => {
                pen.line(&[(6.0, 6.0), (18.0, 18.0)]);
                pen.line(&[(18.0, 6.0), (6.0, 18.0)]);
            }
            Self::Check => pen.line(&[(5.0, 12.5), (10.0, 17.5), (19.5, 6.5)]),
            Self::Back => pen.line(&[(14.5, 5.0), (7.5, 12.0), (14.5, 19.0)]),
            Self::Again => {
                pen.arc((12.0, 12.5), 7.5, -30.0, 270.0);
                pen.line(&[(8.6, 1.9), (12.4, 5.0), (9.2, 8.7)]);
            }
            Self::Lantern => lantern(&pen),
            Self::Ear => {
                pen.arc((12.0, 9.5), 6.2, -205.0, 25.0);
                pen.line(&[
                    (17.6, 12.1),
                    (15.6, 15.4),
                    (14.6, 18.4),
                    (12.6, 20.6),
                    (10.2, 20.6),
                    (8.4, 18.6),
                ]);
                pen.arc((12.0, 9.8), 2.6, -190.0, 80.0);
            }
            Self::Unsteady => {
                pen.line(&[(5.0, 19.0), (5.0, 15.5)]);
                pen.line(&[(10.0, 19.0), (10.0, 11.5)]);
                pen.line(&[(16.0, 5.0), (16.0, 13.5)]);
                pen.dot(16.0, 18.3, 1.5);
            }
            Self::Moon => {
                pen.arc((12.0, 12.0), 8.0, 20.0, 250.0);
                pen.arc((15.6, 8.6), 6.6, 62.0, 206.0);
            }
            Self::Copy => {
                pen.frame(8.5, 8.5, 19.5, 20.0, 2.5);
                pen.line(&[
                    (5.0, 15.5),
                    (4.5, 15.0),
                    (4.5, 5.5),
                    (6.0, 4.0),
                    (14.5, 4.0),
                    (15.2, 4.8),
                ]);
            }
            Self::Link => {
                pen.arc((8.0, 12.0), 4.0, 60.0, 300.0);
                pen.arc((16.0, 12.0), 4.0, -120.0, 120.0);
                pen.line(&[(9.0, 12.0), (15.0, 12.0)]);
            }
            Self::Sprout => {
                pen.line(&[(12.0, 21.0), (12.0, 11.0)]);
                pen.arc((12.0, 4.5), 6.5, 90.0, 180.0);
                pen.arc((5.5, 11.0), 6.5, -90.0, 0.0);
                pen.arc((12.0, 8.5), 5.5, 0.0, 90.0);
                pen.arc((17.5, 14.0), 5.5, 180.0, 270.0);
            }
            Self::Circle => {
                for i in 0..7 {
                    let angle = (i as f32 * 360.0 / 7.0 - 90.0).to_radians();
                    pen.dot(12.0 + 8.0 * angle.cos(), 12.0 + 8.0 * angle.sin(), 1.9);
                }
                pen.dot(12.0, 12.0, 2.6);
            }
            Self::Headphones => {
                pen.arc((12.0, 12.5), 8.0, 180.0, 360.0);
                pen.frame(3.6, 12.6, 7.6, 19.5, 1.8);
                pen.frame(16.4, 12.6, 20.4, 19.5, 1.8);
            }
            Self::Eye => {
                pen.arc((12.0, 17.0), 10.5, 208.0, 332.0);
                pen.arc((12.0, 7.0), 10.5, 28.0, 152.0);
                pen.circle(12.0, 12.0, 2.6);
            }
            Self::Clock => {
                pen.circle(12.0, 12.0, 8.5);
                pen.line(&[(12.0, 7.0), (12.0, 12.0), (15.5, 14.0)]);
            }
            Self::People => {
                pen.circle(8.5, 8.0, 3.2);
                pen.arc((8.5, 19.5), 5.8, 180.0, 360.0);
                pen.arc((15.5, 8.0), 3.2, -110.0, 110.0);
                pen.arc((15.6, 19.5), 5.8, -62.0, 0.0);
            }
            Self::Speech => {
                pen.line(&[
                    (8.0, 17.5),
                    (6.0, 17.5),
                    (3.5, 15.0),
                    (3.5, 7.0),
                    (6.0, 4.5),
                    (18.0, 4.5),
                    (20.5, 7.0),
                    (20.5, 15.0),
                    (18.0, 17.5),
                    (12.5, 17.5),
                    (8.0, 21.0),
                    (8.0, 17.5),
                ]);
                pen.line(&[(8.0, 9.2), (16.0, 9.2)]);
                pen.line(&[(8.0, 13.0), (13.0, 13.0)]);
            }
            Self::Heart => {
                pen.arc((8.0, 9.0), 4.4, 140.0, 325.0);
                pen.arc((16.0, 9.0), 4.4, 215.0, 400.0);
                pen.line(&[(4.6, 11.8), (12.0, 20.0), (19.4, 11.8)]);
            }
            Self::Pause => {
                pen.line(&[(8.5, 6.0), (8.5, 18.0)]);
                pen.line(&[(15.5, 6.0), (15.5, 18.0)]);
            }
            Self::Play => pen.line(&[(8.0, 5.5), (18.0, 12.0), (8.0, 18.5), (8.0, 5.5)]),
            Self::Calendar => {
                pen.frame(4.0, 5.5, 20.0, 20.0, 2.5);
                pen.line(&[(4.5, 10.5), (19.5, 10.5)]);
                pen.line(&[(8.5, 3.5), (8.5, 7.0)]);
                pen.line(&[(15.5, 3.5), (15.5, 7.0)]);
            }
            Self::Door => {
                pen.line(&[(6.0, 20.0), (6.0, 4.0), (18.0, 4.0), (18.0, 20.0)]);
                pen.line(&[(3.5, 20.0), (20.5, 20.0)]);
                pen.dot(14.6, 12.5, 1.3);
            }
            Self::Dot => pen.dot(12.0, 12.0, 3.6),
            Self::Note => {
                pen.circle(12.0, 12.0, 8.5);
                pen.dot(12.0, 7.8, 1.4);
                pen.line(&[(12.0, 11.5), (12.0, 16.5)]);
            }
        }
    }
}

fn microphone(pen: &Pen<'_>) {
    pen.frame(8.8, 3.0, 15.2, 14.0, 3.2);
    pen.arc((12.0, 11.0), 6.6, 0.0, 180.0);
    pen.line(&[(12.0, 17.6), (12.0, 21.0)]);
    pen.line(&[(8.5, 21.0), (15.5, 21.0)]);
}

fn hand(pen: &Pen<'_>) {
    pen.line(&[(8.2, 12.0), (8.2, 5.6)]);
    pen.line(&[(11.4, 11.5), (11.4, 3.6)]);
    pen.line(&[(14.6, 11.8), (14.6, 4.8)]);
    pen.line(&[
        (8.2, 14.6),
        (5.9, 12.0),
        (4.6, 11.6),
        (3.9, 12.6),
        (4.4, 14.0),
        (6.4, 17.2),
        (8.2, 19.6),
        (10.4, 20.9),
        (13.2, 21.0),
        (15.8, 20.0),
        (17.3, 17.9),
        (17.8, 15.0),
        (17.8, 7.6),
    ]);
}

fn lantern(pen: &Pen<'_>) {
    pen.arc((12.0, 6.0), 3.0, 180.0, 360.0);
    pen.line(&[(7.0, 7.0), (17.0, 7.0)]);
    pen.line(&[(8.0, 7.5), (6.5, 18.5)]);
    pen.line(&[(16.0, 7.5), (17.5, 18.5)]);
    pen.line(&[(6.0, 19.5), (18.0, 19.5)]);
    pen.dot(12.0, 13.6, 2.4);
}

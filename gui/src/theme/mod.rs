//! How the window looks: one type scale, one spacing scale, a small palette with meaning.

pub(crate) mod fonts;
pub(crate) mod palette;

use egui::style::{ScrollStyle, WidgetVisuals, Widgets};
use egui::{Context, CornerRadius, Shadow, Stroke, Style, TextStyle, Theme, Visuals, vec2};

pub(crate) use fonts::type_scale;
pub(crate) use palette::Palette;

/// Distances, in points. Whatever has a distance uses one of these.
pub(crate) mod space {
    /// Between an icon and its word.
    pub(crate) const XS: f32 = 4.0;
    /// Between lines that belong together.
    pub(crate) const S: f32 = 8.0;
    /// Inside cards, between controls.
    pub(crate) const M: f32 = 16.0;
    /// Between parts of a screen.
    pub(crate) const L: f32 = 24.0;
    /// Around a screen.
    pub(crate) const XL: f32 = 40.0;
}

/// Least height of whatever can be pressed, in points (WCAG 2.2, 2.5.5).
pub(crate) const TARGET: f32 = 44.0;
/// Widest column of text, in points: about 75 letters a line.
pub(crate) const COLUMN: f32 = 620.0;
/// Corners of controls.
pub(crate) const ROUND: u8 = 10;
/// Corners of cards.
pub(crate) const ROUND_CARD: u8 = 16;

/// Gives `ctx` the fonts and both themes.
pub(crate) fn install(ctx: &Context) {
    ctx.set_fonts(fonts::definitions());
    for theme in [Theme::Light, Theme::Dark] {
        let mut style = Style::clone(&ctx.style_of(theme));
        dress(&mut style, Palette::of_theme(theme));
        ctx.set_style_of(theme, style);
    }
    // The window has its own steps of 80–200 %, see `ViewState::appearance`.
    ctx.options_mut(|o| {
        o.zoom_with_keyboard = false;
        // Where the system says nothing about light or dark.
        o.fallback_theme = Theme::Light;
    });
}

fn dress(style: &mut Style, p: &Palette) {
    style.text_styles = [
        (TextStyle::Heading, type_scale::heading()),
        (TextStyle::Body, type_scale::body()),
        (TextStyle::Button, type_scale::strong()),
        (TextStyle::Small, type_scale::small()),
        (TextStyle::Monospace, egui::FontId::monospace(14.0)),
    ]
    .into();
    style.interaction.selectable_labels = false;
    style.spacing.item_spacing = vec2(space::S, space::S);
    style.spacing.button_padding = vec2(space::M, 12.0);
    // Our own controls are at least `TARGET` high; this is the least height of a row of text.
    style.spacing.interact_size = vec2(TARGET, 22.0);
    style.spacing.combo_height = 320.0;
    style.spacing.icon_width = 22.0;
    style.spacing.slider_width = 180.0;
    style.spacing.scroll = ScrollStyle {
        bar_width: 8.0,
        floating_width: 6.0,
        dormant_handle_opacity: 0.35,
        ..ScrollStyle::floating()
    };
    style.visuals = visuals(p);
}

fn visuals(p: &Palette) -> Visuals {
    let base = if p.dark {
        Visuals::dark()
    } else {
        Visuals::light()
    };
    let round = CornerRadius::same(ROUND);
    let state = |fill, edge, ink| WidgetVisuals {
        bg_fill: fill,
        weak_bg_fill: fill,
        bg_stroke: edge,
        corner_radius: round,
        fg_stroke: Stroke::new(1.5, ink),
        expansion: 0.0,
    };
    let focus = Stroke::new(2.5, p.focus);
    let shadow = Shadow {
        offset: [0, 6],
        blur: 24,
        spread: 0,
        color: egui::Color32::from_black_alpha(if p.dark { 110 } else { 28 }),
    };
    Visuals {
        override_text_color: None,
        weak_text_color: Some(p.ink_soft),
        widgets: Widgets {
            noninteractive: state(p.surface, Stroke::new(1.0, p.line), p.ink),
            inactive: state(p.surface, Stroke::new(1.0, p.edge), p.ink),
            hovered: state(p.sunken, Stroke::new(1.0, p.ink_soft), p.ink),
            // What the keyboard is on is drawn as "active" too.
            active: state(p.surface, focus, p.ink),
            open: state(p.sunken, Stroke::new(1.0, p.edge), p.ink),
        },
        selection: egui::style::Selection {
            bg_fill: p.accent_soft,
            stroke: focus,
        },
        hyperlink_color: p.accent,
        faint_bg_color: p.sunken,
        extreme_bg_color: p.sunken,
        text_edit_bg_color: Some(p.surface),
        code_bg_color: p.sunken,
        warn_fg_color: p.voice,
        error_fg_color: p.danger,
        window_corner_radius: CornerRadius::same(ROUND_CARD),
        window_shadow: shadow,
        window_fill: p.surface,
        window_stroke: Stroke::new(1.0, p.line),
        menu_corner_radius: round,
        panel_fill: p.ground,
        popup_shadow: shadow,
        slider_trailing_fill: true,
        disabled_alpha: 0.55,
        ..base
    }
}

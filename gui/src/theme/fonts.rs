//! The letters: a quiet serif for titles, a warm sans for everything else, and fallbacks for names in
//! other scripts. All are bundled (SIL Open Font License, `assets/fonts/OFL.txt`), so that the window
//! looks the same everywhere and nothing is asked of the system or the network.

use std::sync::Arc;

use egui::{FontData, FontDefinitions, FontFamily, FontId};

/// Family of titles.
const TITLE: &str = "title";
/// Family of labels that carry weight.
const STRONG: &str = "strong";

/// The type scale. Every text on every screen is one of these.
pub(crate) mod type_scale {
    use super::{FontFamily, FontId, STRONG, TITLE};

    /// The one large line of a screen without much else on it.
    pub(crate) fn display() -> FontId {
        FontId::new(36.0, FontFamily::Name(TITLE.into()))
    }
    /// What a screen is about.
    pub(crate) fn title() -> FontId {
        FontId::new(28.0, FontFamily::Name(TITLE.into()))
    }
    /// A part of a screen.
    pub(crate) fn heading() -> FontId {
        FontId::new(20.0, FontFamily::Name(TITLE.into()))
    }
    /// Running text.
    pub(crate) fn body() -> FontId {
        FontId::proportional(16.0)
    }
    /// Buttons and labels.
    pub(crate) fn strong() -> FontId {
        FontId::new(16.0, FontFamily::Name(STRONG.into()))
    }
    /// Remarks.
    pub(crate) fn small() -> FontId {
        FontId::proportional(14.0)
    }
    /// Labels of small things.
    pub(crate) fn small_strong() -> FontId {
        FontId::new(14.0, FontFamily::Name(STRONG.into()))
    }
}

/// Fallbacks, in the order they are tried.
const FALLBACKS: [(&str, &[u8]); 8] = [
    (
        "arabic",
        include_bytes!("../../assets/fonts/NotoSansArabic-Regular.ttf"),
    ),
    (
        "hebrew",
        include_bytes!("../../assets/fonts/NotoSansHebrew-Regular.ttf"),
    ),
    (
        "devanagari",
        include_bytes!("../../assets/fonts/NotoSansDevanagari-Regular.ttf"),
    ),
    (
        "bengali",
        include_bytes!("../../assets/fonts/NotoSansBengali-Regular.ttf"),
    ),
    (
        "tamil",
        include_bytes!("../../assets/fonts/NotoSansTamil-Regular.ttf"),
    ),
    (
        "thai",
        include_bytes!("../../assets/fonts/NotoSansThai-Regular.ttf"),
    ),
    (
        "georgian",
        include_bytes!("../../assets/fonts/NotoSansGeorgian-Regular.ttf"),
    ),
    (
        "armenian",
        include_bytes!("../../assets/fonts/NotoSansArmenian-Regular.ttf"),
    ),
];

/// All fonts of the window. egui's own come last: they have the emoji.
pub(crate) fn definitions() -> FontDefinitions {
    let mut fonts = FontDefinitions::default();
    let mut add = |name: &str, bytes: &'static [u8]| {
        fonts
            .font_data
            .insert(name.to_owned(), Arc::new(FontData::from_static(bytes)));
    };
    add(
        "lato",
        include_bytes!("../../assets/fonts/Lato-Regular.ttf"),
    );
    add(
        "lato-bold",
        include_bytes!("../../assets/fonts/Lato-Bold.ttf"),
    );
    add(
        "vollkorn",
        include_bytes!("../../assets/fonts/Vollkorn-Medium.ttf"),
    );
    for (name, bytes) in FALLBACKS {
        add(name, bytes);
    }

    let built_in = fonts
        .families
        .get(&FontFamily::Proportional)
        .cloned()
        .unwrap_or_default();
    let family = |first: &[&str]| -> Vec<String> {
        first
            .iter()
            .copied()
            .chain(FALLBACKS.iter().map(|(name, _)| *name))
            .map(str::to_owned)
            .chain(built_in.iter().cloned())
            .collect()
    };
    fonts
        .families
        .insert(FontFamily::Proportional, family(&["lato"]));
    fonts.families.insert(
        FontFamily::Name(STRONG.into()),
        family(&["lato-bold", "lato"]),
    );
    fonts.families.insert(
        FontFamily::Name(TITLE.into()),
        family(&["vollkorn", "lato"]),
    );
    fonts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_many_scripts_have_letters() {
        let ctx = egui::Context::default();
        ctx.set_fonts(definitions());
        let _ = ctx.run_ui(egui::RawInput::default(), |_| {});
        for font in [
            type_scale::body(),
            type_scale::strong(),
            type_scale::heading(),
        ] {
            for name in [
                "Quiet Heron",
                "Ña Žluťoučký ő",
                "Тихая цапля",
                "Ἥσυχος ἐρωδιός",
                "مالك الحزين",
                "אנפה שקטה",
                "शांत बगुला",
                "শান্ত বক",
                "நாரை",
                "นกกระสา",
                "წყნარი ყანჩა",
                "Հանգիստ",
            ] {
                let has = ctx.fonts_mut(|f| f.has_glyphs(&font, &name.replace(' ', "")));
                assert!(has, "{name} in {font:?}");
            }
        }
    }
}

//! What has changed in the texts since one signed them last: what went is struck out, what came underlined.

use egui::text::LayoutJob;
use egui::{Color32, Label, Stroke, TextFormat, Ui};
use undertone_node::api::Door;
use undertone_protocol::texts::{self, Change, Texts};

use super::shell::gap;
use crate::text::DoorWords;
use crate::theme::{Palette, space, type_scale};
use crate::widgets::prose;

/// The texts that one signed last, where they read differently than this door's and in the same language.
pub(super) fn signed_before(door: &Door, texts: &Texts) -> Option<&'static Texts> {
    let before = door.signed.filter(|hash| *hash != door.texts)?;
    texts::by_hash(&before).filter(|before| before.language == texts.language)
}

/// A card with every statement that reads differently now.
pub(super) fn card(ui: &mut Ui, words: &DoorWords, before: &Texts, now: &Texts) {
    prose::card(ui, |ui| {
        prose::heading(ui, words.changed);
        prose::soft(ui, &(words.changed_about)(before.version, now.version));
        for changed in now.changed_since(before) {
            gap(ui, space::S);
            statement(ui, words, changed.mark, &changed.changes);
        }
    });
}

fn statement(ui: &mut Ui, words: &DoorWords, mark: Option<&str>, changes: &[Change]) {
    let p = Palette::of(ui);
    let mut job = LayoutJob::default();
    let mut read = String::new();
    let plain = |ink: Color32| TextFormat::simple(type_scale::body(), ink);
    if let Some(mark) = mark {
        let format = TextFormat::simple(type_scale::strong(), p.ink_soft);
        job.append(&format!("{mark}   "), 0.0, format);
        read.push_str(&format!("{mark}: "));
    }
    for (i, change) in changes.iter().enumerate() {
        let replaced = matches!(changes.get(i + 1), Some(Change::New(_)));
        match change {
            Change::Same(run) => {
                job.append(run, 0.0, plain(p.ink));
                read.push_str(run);
            }
            Change::Gone(run) => {
                let strikethrough = Stroke::new(1.5, p.danger);
                let format = TextFormat {
                    strikethrough,
                    ..plain(p.danger)
                };
                job.append(run.trim(), 0.0, format);
                if replaced {
                    job.append(" ", 0.0, plain(p.ink));
                }
                read.push_str(&(words.went)(run.trim()));
            }
            Change::New(run) => {
                let underline = Stroke::new(1.5, p.accent);
                let format = TextFormat {
                    underline,
                    ..plain(p.accent)
                };
                let end = run.trim_end();
                job.append(end, 0.0, format);
                job.append(&run[end.len()..], 0.0, plain(p.ink));
                read.push_str(&(words.came)(run.trim()));
            }
        }
    }
    let line = ui.add(Label::new(job).wrap());
    ui.ctx()
        .accesskit_node_builder(line.id, |node| node.set_value(read));
}

#[cfg(test)]
mod tests {
    use egui_kittest::Harness;
    use egui_kittest::kittest::Queryable;
    use undertone_protocol::texts::ClauseText;

    use super::*;
    use crate::text::Language;

    fn older() -> Texts {
        let now = texts::of_language("en");
        let mut before = Texts {
            version: "2025-01",
            ..*now
        };
        before.terms[1] = ClauseText {
            full: "No harassment and no incitement to violence. Removal for this may be immediate.",
            ..before.terms[1]
        };
        before
    }

    struct Page;

    impl eframe::App for Page {
        fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
            let words = &Language::English.words().door;
            card(ui, words, &older(), texts::of_language("en"));
        }
    }

    #[test]
    fn a_changed_clause_is_read_with_what_went_and_what_came() {
        let page = Harness::builder()
            .with_size(egui::vec2(620.0, 300.0))
            .build_eframe(|cc| {
                crate::theme::install(&cc.egui_ctx);
                Page
            });
        page.get_by_label_contains("from version 2025-01 to 2026-11");
        let read = page.get_by_label_contains("2: No [was: harassment and]");
        let read = format!("{read:?}");
        assert!(read.contains("[now: harassment, no derogatory"), "{read}");
        assert!(page.query_by_label_contains("1: ").is_none());
    }
}

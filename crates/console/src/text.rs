//! Untrusted text in a page: escaped, and with every character visible.

pub(crate) use config_audit_text::is_printable;
use maud::{Markup, Render, html};

/// An untrusted text, such as a key: all of it is visible, and it does not affect the text around it. Characters that
/// are invisible or change the text's direction are shown as code points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visible<'a>(pub &'a str);

impl Render for Visible<'_> {
    fn render(&self) -> Markup {
        html! {
            bdi {
                @for (run, is_printable) in runs(self.0) {
                    @if is_printable {
                        (run)
                    } @else {
                        @for character in run.chars() {
                            span.invisible title="an invisible character" { (format!("U+{:04X}", u32::from(character))) }
                        }
                    }
                }
            }
        }
    }
}

/// The text in runs of characters that are all printable or all unprintable.
fn runs(text: &str) -> Vec<(&str, bool)> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let kind = is_printable(first);
        let end = rest.find(|character| is_printable(character) != kind).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push((run, kind));
        rest = after;
    }
    runs
}

/// The text, truncated to this many characters.
#[must_use]
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A time for people and for machines.
#[must_use]
pub(crate) fn time(at: chrono::DateTime<chrono::Utc>) -> Markup {
    let machine = config_audit::clock::timestamp(at);
    html! { time datetime=(machine) title=(machine) { (at.format("%H:%M:%S")) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_become_markup_or_change_the_direction_of_the_page() {
        let hostile = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[31m\n\u{200b}é";
        let shown = Visible(hostile).render().into_string();
        assert!(shown.starts_with("<bdi>&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;<span"), "{shown}");
        for code in ["U+202E", "U+001B", "U+000A", "U+200B"] {
            assert!(shown.contains(code), "{shown}");
        }
        assert!(shown.ends_with("é</bdi>"), "{shown}");
        assert!(!shown.contains(['\u{202e}', '\u{1b}', '\n', '\u{200b}']), "{shown}");
    }

    #[test]
    fn a_long_text_is_truncated_between_characters() {
        assert_eq!((cut("häuser", 2), cut("ab", 2)), ("hä…".to_owned(), "ab".to_owned()));
    }
}

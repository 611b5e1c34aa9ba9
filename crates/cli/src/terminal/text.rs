//! Untrusted text made safe for a terminal.
//!
//! Unprintable characters could hide or forge output: control characters move the cursor, direction marks reverse the
//! text, others are invisible. Each is shown as its escape, such as `\u{1b}` for people, and `\u001b` in JSON.

use std::borrow::Cow;
use std::fmt;
use std::ops::Add;

use config_audit_text::{escape_as_json, is_printable};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The meaning of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A heading.
    Heading,
    /// Something that succeeded.
    Good,
    /// Something that failed.
    Bad,
    /// Something less important.
    Quiet,
}

impl Tone {
    /// Text in this tone.
    #[must_use]
    pub fn paint(self, text: impl Into<String>) -> Text {
        Text(vec![(Some(self), text.into())])
    }

    /// The code of its colour (ECMA-48, "SGR").
    fn code(self) -> &'static str {
        match self {
            Self::Heading => "1",
            Self::Good => "32",
            Self::Bad => "31",
            Self::Quiet => "2",
        }
    }
}

/// One line for people. It has pieces with a tone, and pieces without.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(Vec<(Option<Tone>, String)>);

impl Text {
    /// The text with colours.
    pub(super) fn render(&self, colours: bool) -> String {
        let piece = |(tone, text): &(Option<Tone>, String)| match tone {
            Some(tone) if colours => format!("\u{1b}[{}m{}\u{1b}[0m", tone.code(), escape(text)),
            _ => escape(text).into_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

/// Without colours.
impl fmt::Display for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(false))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(vec![(None, text)])
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// The text with another appended.
impl<T: Into<Text>> Add<T> for Text {
    type Output = Self;

    fn add(mut self, other: T) -> Self {
        self.0.extend(other.into().0);
        self
    }
}

/// The text with an escape for each character that is not printable, such as `\n` or `\u{202e}`.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if is_printable(character) { escaped.push(character) } else { escaped.extend(character.escape_debug()) }
    }
    Cow::Owned(escaped)
}

/// An equivalent JSON document without such characters. Line breaks stay.
pub(super) fn escape_document(json: &str) -> String {
    // In a string, a control character would already be escaped, so this is whitespace.
    let lines: Vec<String> = json.replace(['\r', '\t'], " ").split('\n').map(escape_as_json).collect();
    lines.join("\n")
}

/// The width of a text in columns.
#[must_use]
pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most this many columns; a longer one ends with an ellipsis.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let mut kept: String = text
        .chars()
        .take_while(|character| {
            let wanted = character.width().unwrap_or_default();
            let fits = wanted <= left;
            left = left.saturating_sub(wanted);
            fits
        })
        .collect();
    kept.push('…');
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Characters that a terminal acts on, or that are invisible.
    const HOSTILE: &str = "\u{0}\u{7}\u{8}\t\n\u{b}\r\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9d}\u{ad}\u{61c}\u{200b}\u{200e}\u{200f}\
                           \u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}\
                           \u{e0041}";

    fn is_hostile(character: char) -> bool {
        character.is_control() || HOSTILE.contains(character)
    }

    #[test]
    fn ordinary_text_is_kept_and_control_characters_are_escaped() {
        for text in ["a \"b\" 'c' \\d", "naïve", "nai\u{308}ve", "हिन्दी", "日本語", "🦀", "{\"a\":[1]}"]
        {
            assert_eq!(escape(text), text);
            assert_eq!(escape_as_json(text), text);
        }
        for character in HOSTILE.chars() {
            let text = format!("a{character}b");
            assert!(!escape(&text).contains(is_hostile), "{text:?}");
            let json = escape_document(&serde_json::to_string(&text).unwrap());
            assert!(!json.contains(is_hostile), "{json:?}");
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
        assert_eq!(escape("x\n\u{1b}[2K\u{202e}"), "x\\n\\u{1b}[2K\\u{202e}");
        assert_eq!(escape_as_json("x\n\u{1b}[2K\u{202e}"), "x\\u000a\\u001b[2K\\u202e");
    }

    #[test]
    fn only_a_tone_can_colour_a_piece() {
        let text = Tone::Bad.paint("evil\u{1b}[32m") + ": " + Tone::Good.paint("ok");
        assert_eq!(text.render(true), "\u{1b}[31mevil\\u{1b}[32m\u{1b}[0m: \u{1b}[32mok\u{1b}[0m");
        assert_eq!(text.to_string(), "evil\\u{1b}[32m: ok");
    }

    #[test]
    fn a_truncated_text_shows_it_and_fits() {
        for (text, columns, expected) in [
            ("four", 4, "four"),
            ("fives", 4, "fiv…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
        ] {
            assert_eq!(cut(text, columns), expected);
        }
    }

    proptest! {
        #[test]
        fn escaping_gives_one_harmless_line_and_is_idempotent(text in any::<String>()) {
            let escaped = escape(&text).into_owned();
            prop_assert!(!escaped.contains(is_hostile), "{escaped:?}");
            prop_assert_eq!(escape(&escaped), escaped.as_str());
        }

        #[test]
        fn escaped_json_is_equivalent(text in any::<String>()) {
            let json = escape_document(&serde_json::to_string_pretty(&[&text]).unwrap());
            prop_assert!(!json.replace('\n', "").contains(is_hostile), "{json:?}");
            prop_assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), [text]);
        }

        #[test]
        fn a_truncated_text_is_never_too_wide(text in "\\PC{0,30}", columns in 1_usize..40) {
            prop_assert!(width(&cut(&escape(&text), columns)) <= columns);
        }
    }
}

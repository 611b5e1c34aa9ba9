//! Where two texts differ.

use maud::{Markup, html};

use crate::text::Visible;

/// The number of common characters shown on each side of the difference.
const CONTEXT: usize = 60;
/// The maximum number of characters shown of the difference.
const MAX_CHANGED: usize = 400;

/// A text in three parts: a common beginning, what differs, and a common end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked<'a> {
    before: &'a str,
    changed: &'a str,
    after: &'a str,
}

/// Both texts, with the difference marked.
pub(super) fn difference<'a>(one: &'a str, other: &'a str) -> (Marked<'a>, Marked<'a>) {
    // Two numbers share no digits: 1800 does not become 900 by changing its beginning.
    if [one, other].into_iter().all(|text| text.parse::<f64>().is_ok()) && one != other {
        return (Marked::new(one, 0, 0), Marked::new(other, 0, 0));
    }
    let pairs = one.chars().zip(other.chars());
    let start: usize = pairs.take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum();
    let pairs = one[start..].chars().rev().zip(other[start..].chars().rev());
    let end: usize = pairs.take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum();
    (Marked::new(one, start, end), Marked::new(other, start, end))
}

impl<'a> Marked<'a> {
    fn new(text: &'a str, start: usize, end: usize) -> Self {
        let (before, rest) = text.split_at(start);
        let (changed, after) = rest.split_at(rest.len() - end);
        Self { before, changed, after }
    }

    /// Puts the difference into an `ins` or `del` element, which is visible without colours too. A long text is
    /// truncated around the difference, unless the caller wants all of it.
    pub(super) fn render(self, is_new: bool, is_whole: bool) -> Markup {
        let (context, changed) = if is_whole { (usize::MAX, usize::MAX) } else { (CONTEXT, MAX_CHANGED) };
        let before = last(self.before, context);
        let (shown, after) = (first(self.changed, changed), first(self.after, context));
        html! {
            code {
                @if before.len() < self.before.len() { "…" }
                (Visible(before))
                @if is_new { ins { (Visible(shown)) } } @else if !shown.is_empty() { del { (Visible(shown)) } }
                @if shown.len() < self.changed.len() { "…" }
                (Visible(after))
                @if after.len() < self.after.len() { "…" }
            }
        }
    }
}

fn first(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

fn last(text: &str, characters: usize) -> &str {
    let start = characters.checked_sub(1).and_then(|back| text.char_indices().rev().nth(back));
    start.map_or(text, |(start, _)| &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(one: &str, other: &str) -> [String; 2] {
        let (one, other) = difference(one, other);
        [one, other].map(|text| format!("{}[{}]{}", text.before, text.changed, text.after))
    }

    #[test]
    fn the_difference_is_marked_in_both_texts() {
        for (one, other, marked) in [
            ("3600", "1800", ["[3600]", "[1800]"]),
            ("\"a1\"", "\"a2\"", ["\"a[1]\"", "\"a[2]\""]),
            ("on", "on", ["on[]", "on[]"]),
            ("", "new", ["[]", "[new]"]),
            ("aa", "aaa", ["aa[]", "aa[a]"]),
            ("häuser", "höuser", ["h[ä]user", "h[ö]user"]),
        ] {
            assert_eq!(parts(one, other), marked.map(str::to_owned), "{one} {other}");
        }
    }

    #[test]
    fn a_long_text_is_truncated_around_the_difference() {
        let [one, other] = ["x", "y"].map(|middle| format!("{0}{middle}{0}", "a".repeat(1000)));
        let shown = difference(&one, &other).1.render(true, false).into_string();
        assert!(shown.contains("<ins><bdi>y</bdi></ins>") && shown.matches('…').count() == 2, "{shown}");
        assert!(shown.len() < 300, "{shown}");
        assert!(difference(&one, &other).1.render(true, true).into_string().contains(&"a".repeat(1000)));
    }
}

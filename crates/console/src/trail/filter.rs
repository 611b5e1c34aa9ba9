//! Which entries a page shows, according to its address.

use serde::Deserialize;

use super::index::{Head, Kind};
use crate::address::Address;

/// Selects entries. An empty field matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// A part of the item's key, case-insensitive.
    pub(crate) key: String,
    /// A part of the attribute's name, case-insensitive.
    pub(crate) attribute: String,
    /// The kind, by its name.
    pub(crate) kind: String,
    /// The first time or a prefix of it, such as `2026-03-03` or `2026-03-03T10:00`. UTC.
    pub(crate) from: String,
    /// The last time or a prefix of it: `2026-03-03` includes the whole day.
    pub(crate) to: String,
}

impl Filter {
    /// Matches many entries.
    #[must_use]
    pub(crate) fn matcher(&self) -> Matcher<'_> {
        Matcher {
            key: Part::new(&self.key),
            attribute: Part::new(&self.attribute),
            kind: &self.kind,
            from: time(&self.from),
            to: time(&self.to),
        }
    }

    /// Whether it matches all entries.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Why it is not valid, if it is not.
    #[must_use]
    pub(crate) fn mistake(&self) -> Option<String> {
        let mistake = time_mistake("from", &self.from).or_else(|| time_mistake("to", &self.to));
        if mistake.is_some() {
            return mistake;
        }
        let is_kind = self.kind.is_empty() || Kind::ALL.iter().any(|kind| kind.name() == self.kind);
        (!is_kind).then(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            format!("there is no such `kind`; the kinds are {names}")
        })
    }

    /// Adds it to an address.
    pub(crate) fn add_to(&self, address: Address) -> Address {
        let fields = [
            ("key", &self.key),
            ("attribute", &self.attribute),
            ("kind", &self.kind),
            ("from", &self.from),
            ("to", &self.to),
        ];
        fields.into_iter().fold(address, |address, (name, value)| address.with(name, value))
    }
}

/// Why this field of an address is neither a time nor empty, if it is not.
pub(super) fn time_mistake(name: &str, text: &str) -> Option<String> {
    let mistake = || format!("`{name}` is not a time; write it like 2026-03-03 or 2026-03-03T10:00:00Z");
    (!is_time(time(text))).then(mistake)
}

/// Without the zone, because only UTC is accepted.
pub(super) fn time(text: &str) -> &str {
    text.trim().trim_end_matches(['Z', 'z'])
}

/// Whether this is a time or a prefix of one.
pub(super) fn is_time(text: &str) -> bool {
    const FORM: &str = "0000-00-00T00:00:00.000";
    text.len() <= FORM.len()
        && text.len() != 1
        && text.chars().zip(FORM.chars()).all(|(character, form)| match form {
            '0' => character.is_ascii_digit(),
            _ => character == form,
        })
}

/// Times of a fixed width compare as text, and so do their prefixes.
fn is_within(time: &str, from: &str, to: &str) -> bool {
    time >= from && (to.is_empty() || time.starts_with(to) || time < to)
}

/// A filter, prepared to match many entries.
#[derive(Debug)]
pub(crate) struct Matcher<'a> {
    key: Part<'a>,
    attribute: Part<'a>,
    kind: &'a str,
    from: &'a str,
    to: &'a str,
}

impl Matcher<'_> {
    /// Whether an entry matches.
    #[must_use]
    pub(crate) fn accepts(&mut self, head: &Head) -> bool {
        (self.kind.is_empty() || self.kind == head.kind.name())
            && is_within(&head.modification_time, self.from, self.to)
            && self.key.is_in(&head.item_key)
            && self.attribute.is_in(head.updated_attribute.as_deref().unwrap_or_default())
    }
}

/// A part of a name, case-insensitive.
#[derive(Debug)]
struct Part<'a> {
    text: &'a str,
    lower: String,
    /// A name in lower case, to allocate once for all of them.
    name: String,
}

impl<'a> Part<'a> {
    fn new(part: &'a str) -> Self {
        Self { text: part, lower: part.to_lowercase(), name: String::new() }
    }

    fn is_in(&mut self, name: &str) -> bool {
        if self.text.is_empty() || name.contains(self.text) {
            return true;
        }
        self.name.clear();
        if name.is_ascii() {
            self.name.push_str(name);
            self.name.make_ascii_lowercase();
        } else {
            self.name.push_str(&name.to_lowercase());
        }
        self.name.contains(&self.lower)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head() -> Head {
        Head {
            id: "i".into(),
            item_key: "CACHE_TTL_SEC".into(),
            modification_time: "2024-09-11T09:02:28.000Z".into(),
            updated_attribute: Some("value".into()),
            kind: Kind::Changed,
        }
    }

    #[test]
    fn each_field_filters_out_what_does_not_match() {
        let filter = |name: &str, value: &str| {
            let mut filter = Filter::default();
            let field = match name {
                "key" => &mut filter.key,
                "attribute" => &mut filter.attribute,
                "kind" => &mut filter.kind,
                "from" => &mut filter.from,
                _ => &mut filter.to,
            };
            value.clone_into(field);
            filter
        };
        for (name, value, is_accepted) in [
            ("key", "", true),
            ("key", "ttl", true),
            ("key", "CACHE", true),
            ("key", "Ä", false),
            ("key", "CACHE_TTL_SECS", false),
            ("attribute", "val", true),
            ("attribute", "owner", false),
            ("kind", "changed", true),
            ("kind", "created", false),
            ("from", "2024-09-11", true),
            ("from", "2024-09-11T09:02:28Z", true),
            ("from", "2024-09-11T09:02:29", false),
            ("to", "2024-09-11", true),
            ("to", "2024-09-11T09:02", true),
            ("to", "2024-09-11T09:01", false),
            ("to", "2024-09-10", false),
        ] {
            let filter = filter(name, value);
            assert_eq!((filter.mistake(), filter.matcher().accepts(&head())), (None, is_accepted), "{name}={value}");
        }
        for (name, value) in [("from", "yesterday"), ("to", "2024-9-1"), ("from", "2"), ("kind", "renamed")] {
            assert!(filter(name, value).mistake().is_some(), "{name}={value}");
        }
    }
}

//! An entry on a page: when, what, and the old value next to the new one.

use config_audit_local::aws::entry::Entry;
use config_audit_tables::{AuditTable, AwsError};
use maud::{Markup, html};
use serde::Serialize;

use super::Trail;
use super::difference::difference;
use super::index::{Head, Kind};
use crate::address::Address;
use crate::text::{Visible, cut};

/// The longest name shown in full, in characters.
const MAX_NAME: usize = 80;

/// An entry, with its values if they are shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    #[serde(flatten)]
    content: Content,
    pub(super) kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<String>,
    #[serde(skip)]
    pub(super) head: Head,
}

/// What is known of an entry.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Content {
    /// All of it.
    Entry(Entry),
    /// Everything but the values.
    Head(Head),
}

impl Row {
    /// The row of an entry that was read.
    pub(super) fn of(trail: &Trail, head: Head, entry: Option<Entry>) -> Self {
        let request_id = trail.request_id(&head.id);
        let content = entry.map_or_else(|| Content::Head(head.clone()), Content::Entry);
        Self { content, kind: head.kind, request_id, head }
    }

    /// The rows of these entries. Reads their values if they are shown.
    pub(super) async fn read(trail: &Trail, heads: Vec<Head>, with_values: bool) -> Result<Vec<Self>, AwsError> {
        if !with_values {
            return Ok(heads.into_iter().map(|head| Self::of(trail, head, None)).collect());
        }
        let ids: Vec<&str> = heads.iter().map(|head| &*head.id).collect();
        let mut entries = trail.audit.entries_by_id(&ids).await?;
        let row = |head: Head| {
            let entry = entries.remove(&*head.id).map(Entry::from_item);
            Self::of(trail, head, entry)
        };
        Ok(heads.into_iter().map(row).collect())
    }

    /// The entry, if its values are shown.
    pub(super) fn entry(&self) -> Option<&Entry> {
        match &self.content {
            Content::Entry(entry) => Some(entry),
            Content::Head(_) => None,
        }
    }

    /// An old or new value as JSON, if there is one and it is shown.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        // Maps with string keys, numbers and strings cannot fail.
        self.entry()?.value(name).map(|value| serde_json::to_string(&value).unwrap_or_default())
    }

    /// An entry of a list. `values` is the address's parameter that shows or hides values; `links` are more links next
    /// to it.
    pub(super) fn render(&self, values: &str, links: &Markup) -> Markup {
        let Head { id, item_key, updated_attribute, .. } = &self.head;
        html! {
            li.entry {
                div.when { a href=(Address::below("/trail/entry", id).with("values", values)) { (self.time()) } }
                div.what {
                    (badge(self.kind)) " "
                    a.key href=(item_address(item_key).with("values", values)) { (Visible(&cut(item_key, MAX_NAME))) }
                    @if let Some(name) = updated_attribute { " " code { (Visible(&cut(name, MAX_NAME))) } }
                    @if let Some(request_id) = &self.request_id {
                        " " a.quiet href=(Address::below("/invocations", request_id)) { "invocation" }
                    }
                    (links)
                }
                (self.sides(false))
            }
        }
    }

    /// The time, as untrusted text.
    pub(super) fn time(&self) -> Markup {
        moment(&self.head.modification_time)
    }

    /// The old value and the new one.
    pub(super) fn sides(&self, is_whole: bool) -> Markup {
        if self.entry().is_none() {
            return html! { div.old { p.quiet { "values are hidden" } } };
        }
        let (old, new) = (self.value("oldValue"), self.value("newValue"));
        let texts = (old.as_deref().unwrap_or_default(), new.as_deref().unwrap_or_default());
        // A whole item that was created or deleted has no other side to compare with.
        let (one, other) = difference(texts.0, texts.1);
        let is_changed = self.kind == Kind::Changed;
        let side = |class: &str, name: &str, value: Option<&String>, marked: Markup| {
            html! {
                div class=(class) {
                    span.side { (name) }
                    @if let Some(value) = value {
                        @if is_changed { (marked) }
                        @else if is_whole { code { (Visible(value)) } }
                        @else { code { (Visible(&cut(value, 400))) } }
                    } @else { span.quiet { "none" } }
                }
            }
        };
        html! {
            (side("old", "old", old.as_ref(), one.render(false, is_whole)))
            (side("new", "new", new.as_ref(), other.render(true, is_whole)))
        }
    }
}

/// The entry with this ID.
pub(super) async fn entry(audit: &AuditTable, id: &str) -> Result<Option<Entry>, AwsError> {
    Ok(audit.entry(id).await?.map(Entry::from_item))
}

/// The address of an item's page.
pub(super) fn item_address(key: &str) -> Address {
    Address::new("/trail/item").with("key", key)
}

/// The badge of an entry's kind.
pub(super) fn badge(kind: Kind) -> Markup {
    let (class, sign) = match kind {
        Kind::Created => ("good", "+"),
        Kind::Changed => ("busy", "~"),
        Kind::Deleted => ("waiting", "−"),
        Kind::Backfilled => ("idle", "="),
        Kind::Unreadable => ("bad", "!"),
    };
    html! { span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) " " } (kind.name()) } }
}

/// An entry's time, for people. An entry's time may be any text.
pub(super) fn moment(text: &str) -> Markup {
    match text.split_once('T') {
        Some((day, time)) if text.len() == 24 && text.is_ascii() => {
            html! { time datetime=(text) { (Visible(day)) " " (Visible(time.trim_end_matches(".000Z"))) } }
        }
        _ => html! { (Visible(&cut(text, MAX_NAME))) },
    }
}

//! One entry of the Audit table, as a step in the life of its item.

use chrono::{DateTime, Timelike};
use config_audit::audit::{MAX_ITEM_BYTES, Note, Omission, omitted_hash};
use config_audit::clock::timestamp;
use config_audit::value::{equal, size};
use config_audit_mapping::SequenceNumber;
use serde_dynamo::AttributeValue;

use super::backfill::{backfill_id, is_backfill_note};
use super::value::{Attributes, Item, Value, attributes};

/// Values of this size in total never make an entry too large: its key has at most 2 KB, the name of an attribute at
/// most 64 KB, and the rest far less. It is also far from the limit, so that it does not matter how sizes are counted.
pub(super) const SMALL: usize = MAX_ITEM_BYTES / 4;

/// One entry, as a step in the life of its item.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The entry's ID.
    pub id: String,
    /// When the change was made, according to the entry: fixed in width, so that times compare as text.
    pub time: String,
    /// The change's position in the stream, if entries carry their provenance.
    pub sequence: Option<SequenceNumber>,
    /// The ID of the stream record, if entries carry their provenance.
    pub event: Option<String>,
    /// Why the whole item is omitted, if it is.
    pub omission: Option<Omission>,
    /// What was done.
    pub change: Change,
}

/// What an entry says was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The item was created.
    Insert(WholeItem),
    /// One attribute was changed. `None` means that the attribute does not exist.
    Modify {
        /// Its name.
        attribute: String,
        /// Its value before.
        old: Option<Value>,
        /// Its value after.
        new: Option<Value>,
    },
    /// The item was deleted.
    Remove(WholeItem),
    /// Nothing was done: backfilling recorded the existing item.
    Snapshot(WholeItem),
    /// Neither the function nor backfilling writes an entry like this.
    Unreadable,
}

/// A whole item in an entry.
#[derive(Debug, Clone, PartialEq)]
pub enum WholeItem {
    /// Its attributes.
    Known(Attributes),
    /// The hash of an item that was too large for the entry.
    Omitted(String),
}

/// The kind of a [`Change`], which can be determined without its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// [`Change::Insert`].
    Insert,
    /// [`Change::Modify`].
    Modify,
    /// [`Change::Remove`].
    Remove,
    /// [`Change::Snapshot`].
    Snapshot,
    /// [`Change::Unreadable`].
    Unreadable,
}

impl ChangeKind {
    /// The kind of change that this item of the Audit table records.
    #[must_use]
    pub fn of(entry: &Item) -> Self {
        if !is_time(text(entry, "modificationTime").unwrap_or_default()) || is_unchanged(entry) {
            return Self::Unreadable;
        }
        match Self::of_attributes(entry) {
            kind if has_needless_note(kind, entry) => Self::Unreadable,
            kind => kind,
        }
    }

    fn of_attributes(entry: &Item) -> Self {
        let is_item = |value: &AttributeValue| matches!(value, AttributeValue::M(_));
        match (entry.get("updatedAttribute"), entry.get("oldValue"), entry.get("newValue")) {
            (Some(AttributeValue::S(_)), None, None) => Self::Unreadable,
            (Some(AttributeValue::S(_)), _, _) => Self::Modify,
            (None, None, Some(new)) if is_item(new) => {
                let key = text(entry, "itemKey").unwrap_or_default();
                let is_backfilled = text(entry, "id").is_some_and(|id| backfill_id(key).to_string() == id);
                if is_backfilled { Self::Snapshot } else { Self::Insert }
            }
            (None, Some(old), None) if is_item(old) => Self::Remove,
            _ => Self::Unreadable,
        }
    }
}

/// Whether the function writes a time like this. It writes one form only, and no leap seconds.
fn is_time(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text)
        .is_ok_and(|time| time.nanosecond() < 1_000_000_000 && timestamp(time.to_utc()) == text)
}

/// Whether the entry records a change that changes nothing. The function never writes one.
fn is_unchanged(entry: &Item) -> bool {
    entry.get("oldValue").zip(entry.get("newValue")).is_some_and(|(old, new)| equal(old, new))
}

/// Whether a value was omitted because of its size, although the values are small according to the entry itself.
fn has_needless_note(kind: ChangeKind, entry: &Item) -> bool {
    let key = text(entry, "itemKey").unwrap_or_default();
    let mut values = ["oldValue", "newValue"].into_iter().filter_map(|name| entry.get(name));
    if kind == ChangeKind::Snapshot && !values.clone().all(|value| is_backfill_note(value, key)) {
        return false;
    }
    let bytes = |value: &AttributeValue| Note::read(value).map_or_else(|| size(value), |note| note.bytes);
    let total = values.clone().map(bytes).fold(0, usize::saturating_add);
    total <= SMALL && values.any(|value| Note::read(value).is_some_and(|note| note.why == Omission::TooLarge))
}

fn text<'a>(entry: &'a Item, name: &str) -> Option<&'a str> {
    if let Some(AttributeValue::S(text)) = entry.get(name) { Some(text) } else { None }
}

impl Step {
    /// Reads an item of the Audit table. If it is not an entry, returns a [`Change::Unreadable`].
    #[must_use]
    pub fn read(mut entry: Item) -> Self {
        let kind = ChangeKind::of(&entry);
        let provenance = |name: &str| match entry.get("provenance") {
            Some(AttributeValue::M(provenance)) => text(provenance, name),
            _ => None,
        };
        let (sequence, event) =
            (provenance("sequenceNumber").map(SequenceNumber::new), provenance("eventId").map(str::to_owned));
        let mut text = |name: &str| match entry.remove(name) {
            Some(AttributeValue::S(text)) => text,
            _ => String::new(),
        };
        let (id, time, key) = (text("id"), text("modificationTime"), text("itemKey"));
        let attribute = text("updatedAttribute");
        let (old, new) = (entry.remove("oldValue"), entry.remove("newValue"));
        let why = old.as_ref().or(new.as_ref()).and_then(Note::read).map(|note| note.why);
        let change = match kind {
            ChangeKind::Insert => new.and_then(WholeItem::read).map(Change::Insert),
            ChangeKind::Modify => {
                Some(Change::Modify { attribute, old: old.map(Value::from), new: new.map(Value::from) })
            }
            ChangeKind::Remove => old.and_then(WholeItem::read).map(Change::Remove),
            ChangeKind::Snapshot => new.and_then(|new| WholeItem::read_backfilled(new, &key)).map(Change::Snapshot),
            ChangeKind::Unreadable => None,
        };
        let change = change.unwrap_or(Change::Unreadable);
        Self { id, time, sequence, event, omission: why.filter(|_| change.is_omitted()), change }
    }

    /// Whether backfilling wrote this entry.
    #[must_use]
    pub fn is_backfilled(&self) -> bool {
        matches!(self.change, Change::Snapshot(_))
    }
}

impl Change {
    /// The attribute that was changed; `None` for a change of the whole item.
    pub(super) fn attribute(&self) -> Option<&str> {
        if let Self::Modify { attribute, .. } = self { Some(attribute) } else { None }
    }

    /// Whether it is a change of a whole item that is omitted.
    fn is_omitted(&self) -> bool {
        matches!(
            self,
            Self::Insert(WholeItem::Omitted(_))
                | Self::Remove(WholeItem::Omitted(_))
                | Self::Snapshot(WholeItem::Omitted(_))
        )
    }

    /// The item, for a change of the whole item that records it.
    pub(super) fn item(&self) -> Option<&Attributes> {
        match self {
            Self::Insert(WholeItem::Known(item))
            | Self::Remove(WholeItem::Known(item))
            | Self::Snapshot(WholeItem::Known(item)) => Some(item),
            _ => None,
        }
    }

    /// How many attributes it affects; at least one.
    pub(super) fn attributes(&self) -> usize {
        self.item().map_or(1, |item| item.len().max(1))
    }

    /// The size of all its values in bytes, as DynamoDB counts them.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Modify { old, new, .. } => old.iter().chain(new).map(Value::size).sum(),
            change => change.item().into_iter().flat_map(Attributes::values).map(Value::size).sum(),
        }
    }
}

impl WholeItem {
    fn read(value: AttributeValue) -> Option<Self> {
        if let Some(hash) = omitted_hash(&value) {
            return Some(Self::Omitted(hash.to_owned()));
        }
        Self::known(value)
    }

    fn read_backfilled(value: AttributeValue, key: &str) -> Option<Self> {
        if is_backfill_note(&value, key) { Self::read(value) } else { Self::known(value) }
    }

    fn known(value: AttributeValue) -> Option<Self> {
        if let AttributeValue::M(item) = value { Some(Self::Known(attributes(item))) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backfill_plan;
    use config_audit::audit::EntryValue;
    use config_audit::value::canonical_hash;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    fn step(entry: serde_json::Value) -> Step {
        let entry: Item = serde_json::from_value(entry).unwrap();
        let kind = ChangeKind::of(&entry);
        let step = Step::read(entry);
        assert_eq!(kind, kind_of(&step.change));
        step
    }

    fn kind_of(change: &Change) -> ChangeKind {
        match change {
            Change::Insert(_) => ChangeKind::Insert,
            Change::Modify { .. } => ChangeKind::Modify,
            Change::Remove(_) => ChangeKind::Remove,
            Change::Snapshot(_) => ChangeKind::Snapshot,
            Change::Unreadable => ChangeKind::Unreadable,
        }
    }

    fn with(mut entry: serde_json::Value, more: &serde_json::Value) -> serde_json::Value {
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    }

    fn bare() -> serde_json::Value {
        json!({ "id": {"S": "i"}, "itemKey": {"S": "K"}, "modificationTime": {"S": "2024-09-11T09:02:28.000Z"} })
    }

    #[test]
    fn an_entry_is_read_as_what_was_done() {
        let image = json!({ "M": { "key": {"S": "K"} } });
        let item: Item = serde_json::from_value(image["M"].clone()).unwrap();
        let one = || Some(Value::from(AttributeValue::N("1".to_owned())));
        let modify = |old, new| Change::Modify { attribute: "a".to_owned(), old, new };
        for (more, change) in [
            (json!({ "newValue": image }), Change::Insert(WholeItem::Known(attributes(item.clone())))),
            (json!({ "oldValue": image }), Change::Remove(WholeItem::Known(attributes(item.clone())))),
            (json!({ "updatedAttribute": {"S": "a"}, "newValue": {"N": "1"} }), modify(None, one())),
            (json!({ "updatedAttribute": {"S": "a"}, "oldValue": {"N": "1"} }), modify(one(), None)),
            (
                json!({ "id": {"S": backfill_id("K").to_string()}, "newValue": image }),
                Change::Snapshot(WholeItem::Known(attributes(item))),
            ),
        ] {
            assert_eq!(step(with(bare(), &more)).change, change, "{more}");
        }
    }

    #[test]
    fn a_backfilled_item_too_large_for_an_entry_is_known_by_its_hash() {
        let item: Item = [("x".to_owned(), AttributeValue::S("x".repeat(410_000)))].into();
        let json = to_raw_value(&item).unwrap();
        let plan = backfill_plan("Configuration", "K", serde_json::from_str(json.get()).unwrap(), DateTime::UNIX_EPOCH);
        let [entry] = &plan.entries[..] else { panic!("{} entries", plan.entries.len()) };
        assert_eq!((plan.values_omitted, entry.id), (1, backfill_id("K")));
        let Some(EntryValue::Note(AttributeValue::M(note))) = &entry.new_value else { panic!("no note") };
        assert_eq!(note["record"], AttributeValue::S("dynamodb:Configuration/K".to_owned()));
        let step = Step::read(entry.item().into_inner());
        assert_eq!(step.change, Change::Snapshot(WholeItem::Omitted(canonical_hash(&AttributeValue::M(item)))));
        // An item with attributes of the same names as a note's members is not a note.
        let members = [("omitted", "w"), ("bytes", "1"), ("sha256", &*"0".repeat(64)), ("record", "K")];
        let alike: Item =
            members.into_iter().map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned()))).collect();
        let json = to_raw_value(&alike).unwrap();
        let plan = backfill_plan("Configuration", "K", serde_json::from_str(json.get()).unwrap(), DateTime::UNIX_EPOCH);
        let step = Step::read(plan.entries[0].item().into_inner());
        assert_eq!(step.change, Change::Snapshot(WholeItem::Known(attributes(alike))));
    }

    fn note(bytes: &str) -> serde_json::Value {
        json!({ "M": {
            "omitted": {"S": "the entry would be larger than 400 KB"}, "bytes": {"N": bytes},
            "sha256": {"S": "0".repeat(64)}, "record": {"S": "s3://b/k"},
        } })
    }

    #[test]
    fn any_time_of_the_clock_and_any_note_of_the_function_is_read() {
        for millis in [0, 1_726_045_348_007, 1_726_045_348_000, 253_402_300_799_999] {
            let time = timestamp(DateTime::from_timestamp_millis(millis).unwrap());
            assert!(is_time(&time), "{time}");
        }
        for (old, new) in [(json!({"N": "1"}), note("410000")), (note("210000"), note("250000"))] {
            let more = json!({ "updatedAttribute": {"S": "a"}, "oldValue": old, "newValue": new });
            assert!(matches!(step(with(bare(), &more)).change, Change::Modify { .. }));
        }
        let mut rejected = note("1");
        rejected["M"]["omitted"] = json!({"S": "DynamoDB rejects the entry with this value"});
        let step = step(with(bare(), &json!({ "newValue": rejected })));
        assert_eq!(
            (step.change, step.omission),
            (Change::Insert(WholeItem::Omitted("0".repeat(64))), Some(Omission::Rejected))
        );
    }

    #[test]
    fn what_is_not_an_entry_is_unreadable() {
        let image = json!({ "M": {} });
        for more in [
            json!({}),
            json!({ "newValue": {"N": "1"} }),
            json!({ "oldValue": image, "newValue": image }),
            json!({ "updatedAttribute": {"S": "a"} }),
            json!({ "updatedAttribute": {"N": "1"}, "newValue": image }),
            json!({ "newValue": image, "modificationTime": {"S": "yesterday"} }),
            json!({ "newValue": image, "modificationTime": {"S": "2024-09-11T09:02:28Z"} }),
            // Times in another notation, or a leap second.
            json!({ "newValue": image, "modificationTime": {"S": "2024-09-11t09:02:28.000Z"} }),
            json!({ "newValue": image, "modificationTime": {"S": "2024-09-11T09:02:28.000z"} }),
            json!({ "newValue": image, "modificationTime": {"S": "2024-09-11 09:02:28.000Z"} }),
            json!({ "newValue": image, "modificationTime": {"S": "2016-12-31T23:59:60.000Z"} }),
            json!({ "updatedAttribute": {"S": "a"}, "oldValue": {"N": "1"}, "newValue": {"N": "1.0"} }),
            // Notes in place of values that are small, according to the notes themselves.
            json!({ "updatedAttribute": {"S": "a"}, "oldValue": {"N": "1"}, "newValue": note("102000") }),
            json!({ "newValue": note("300") }),
            json!({ "oldValue": note("300") }),
        ] {
            assert_eq!(step(with(bare(), &more)).change, Change::Unreadable, "{more}");
        }
    }
}

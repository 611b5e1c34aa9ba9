//! What is written to the Audit table.

use config_audit::audit::EncodedEntry;
use config_audit::store::MAX_BATCH;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

use crate::expected::{VALUES, note};
use crate::ledger::Ledger;

/// A request has as many entries as DynamoDB accepts, and a change requires each of them.
pub(crate) fn of_a_request(ledger: &Ledger, entries: &[&EncodedEntry]) -> Vec<String> {
    let mut violations = Vec::new();
    if entries.is_empty() || entries.len() > MAX_BATCH {
        violations.push(format!("a request has {} entries", entries.len()));
    }
    for entry in entries.iter().filter(|entry| !ledger.asks_for(entry.id)) {
        violations.push(format!("an entry that no change asked for: {}", entry.id));
    }
    violations
}

/// An entry has the contract's attributes and no others, and an ID in the form of a version 4 UUID. If it omits a
/// value, the full record is already in the failure bucket, under the key that the entry gives.
pub(crate) fn of_an_entry(ledger: &Ledger, provenance: bool, id: Uuid, item: &serde_dynamo::Item) -> Vec<String> {
    const ATTRIBUTES: [&str; 6] = ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue"];
    let mut violations = Vec::new();
    let is_known = |name: &str| ATTRIBUTES.contains(&name) || name == "provenance" && provenance;
    if let Some(other) = item.keys().find(|name| !is_known(name)) {
        violations.push(format!("an entry has the attribute {other}"));
    }
    let names_its_event = |value: &AttributeValue| matches!(value, AttributeValue::M(of) if of.contains_key("eventId"));
    if provenance && !item.get("provenance").is_some_and(names_its_event) {
        violations.push("an entry does not tell where it comes from".to_owned());
    }
    let text = id.to_string();
    if text.as_bytes()[14] != b'4' || !b"89ab".contains(&text.as_bytes()[19]) {
        violations.push(format!("the ID {text} is not v4 in form"));
    }
    if item.get("id") != Some(&AttributeValue::S(text)) {
        violations.push("an entry has another ID than its item".to_owned());
    }
    for note in VALUES.into_iter().filter_map(|name| item.get(name).and_then(note)) {
        let Some(AttributeValue::S(url)) = note.get("record") else {
            violations.push("a note does not say where the full record is".to_owned());
            continue;
        };
        let key = url.strip_prefix("s3://failures/").unwrap_or_default();
        if !ledger.objects().values().flatten().any(|object| object.key == key) {
            violations.push(format!("an entry says that its record is in {key:?}, and nothing is"));
        }
    }
    violations
}

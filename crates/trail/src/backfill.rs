//! The entry that backfilling writes for an item: its ID, its content, and how to recognise it.

use chrono::{DateTime, Utc};
use config_audit::audit::{Context, Plan, entry_id, plan};
use config_audit::aws::arn::StreamArn;
use config_audit::stream::{Change, Images};
use config_audit::value::JsonItem;
use serde_dynamo::AttributeValue;
use uuid::Uuid;

/// Takes the place of the stream in the ID of a backfilled entry. It must never change: the ID identifies such entries.
const BACKFILL: &str = "config-audit backfill";

/// The prefix of the record in a backfilled entry's note, before the names of the table and the item.
const RECORD: &str = "dynamodb:";

/// The ID of an item's backfilled entry: the same in every run, and different from that of any stream record.
#[must_use]
pub fn backfill_id(item_key: &str) -> Uuid {
    entry_id(Some(&StreamArn::new(BACKFILL)), item_key, None)
}

/// The backfilled entry of an item that was read at this time, in the form of a creation.
///
/// An entry that would exceed DynamoDB's limits has a note in place of the item. The item itself is the only full
/// record, so the note refers to it (`dynamodb:<table>/<item key>`); once the item changes, only the note's hash
/// remains.
#[must_use]
pub fn backfill_plan<'a>(table: &str, item_key: &'a str, item: JsonItem<'a>, time: DateTime<Utc>) -> Plan<'a> {
    let change = Change {
        stream_arn: Some(StreamArn::new(BACKFILL)),
        event_id: item_key.into(),
        sequence_number: None,
        item_key: item_key.into(),
        created: None,
        principal: None,
        images: Images::Insert { new: item },
    };
    plan(change, time, &Context::default(), || record(table, item_key))
}

/// Puts a note in place of the item, for when DynamoDB rejects an entry within the documented limits.
pub fn omit_item(plan: &mut Plan<'_>, table: &str) {
    let omitted = plan.entries.iter_mut().map(|entry| entry.omit_values(&record(table, &entry.item_key)));
    plan.values_omitted += omitted.sum::<usize>();
}

fn record(table: &str, item_key: &str) -> String {
    format!("{RECORD}{table}/{item_key}")
}

/// Whether the value of a backfilled entry is a note in place of the item with this key. An item may have attributes
/// with the names of a note's members; the record that a note names distinguishes the two.
pub(super) fn is_backfill_note(value: &AttributeValue, item_key: &str) -> bool {
    let AttributeValue::M(members) = value else { return false };
    let Some(AttributeValue::S(record)) = members.get("record") else { return false };
    let table = record.strip_prefix(RECORD).and_then(|rest| rest.strip_suffix(item_key));
    table.is_some_and(|table| table.ends_with('/'))
}

//! The canary: an item that a schedule puts into the Configuration table, to show that the path to here works even when
//! nothing changes.
//!
//! It is not configuration, so it has no audit entries. Only exactly this item is left out, and it can carry only a
//! time, so nobody who writes to the table can hide a change behind it. See `docs/security.md`.
//!
//! **Invariant:** nothing here does I/O, reads a clock or the environment, or prints.

use std::collections::HashMap;
use std::hash::BuildHasher;

use chrono::NaiveDateTime;
use serde_dynamo::AttributeValue;

use crate::stream::{Change, Images};
use crate::value::JsonItem;

/// The canary's key. `serverless/canary.yml` puts it into the table.
pub const KEY: &str = "config-audit:canary";
/// Its value, a number so that programs that read all items as numbers can read it too.
const VALUE: (&str, &str) = ("value", "0");
/// The attribute that changes each time, because a write that changes nothing has no stream record.
const TIME: &str = "scheduledTime";
/// The schedule's time format.
const FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Whether an item is the canary: it has the canary's key, and exactly its attributes.
#[must_use]
pub fn is_canary(item: &HashMap<String, AttributeValue, impl BuildHasher>, key_attribute: &str) -> bool {
    let text = |name: &str| match item.get(name) {
        Some(AttributeValue::S(text)) => Some(text.as_str()),
        _ => None,
    };
    let (name, number) = VALUE;
    item.len() == 3
        && text(key_attribute) == Some(KEY)
        && item.get(name) == Some(&AttributeValue::N(number.to_owned()))
        && text(TIME).is_some_and(is_time)
}

/// Whether a change concerns only the canary, both before and after, as far as both images exist.
pub(crate) fn is_of_canary(change: &Change<'_>, key_attribute: &str) -> bool {
    let is = |item: &JsonItem<'_>| match item.tree() {
        Ok(AttributeValue::M(item)) => is_canary(&item, key_attribute),
        _ => false,
    };
    // All other items cost only this comparison.
    change.item_key == KEY
        && match &change.images {
            Images::Insert { new: item } | Images::Remove { old: item } => is(item),
            Images::Modify { old, new } => is(old) && is(new),
        }
}

/// Whether a text is a time in exactly this format: another way to write the same time could carry data.
fn is_time(text: &str) -> bool {
    NaiveDateTime::parse_from_str(text, FORMAT).is_ok_and(|time| time.format(FORMAT).to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const CANARY: &str =
        r#"{"key": {"S": "config-audit:canary"}, "value": {"N": "0"}, "scheduledTime": {"S": "2026-03-03T10:15:00Z"}}"#;

    fn is(item: &Value) -> bool {
        let AttributeValue::M(item) = crate::value::tests::value(json!({ "M": item })) else { unreachable!() };
        is_canary(&item, "key")
    }

    fn with(name: &str, value: &Value) -> Value {
        let mut item: Value = serde_json::from_str(CANARY).unwrap();
        item[name] = value.clone();
        item
    }

    #[test]
    fn the_scheduled_item_is_the_canary() {
        assert!(is(&serde_json::from_str(CANARY).unwrap()));
    }

    #[test]
    fn an_item_that_could_carry_anything_else_is_not() {
        for (name, value) in [
            ("key", json!({"S": "CACHE_TTL_SEC"})),
            ("key", json!({"B": "Y29uZmlnLWF1ZGl0OmNhbmFyeQ=="})),
            ("value", json!({"N": "1"})),
            ("value", json!({"N": "0.0"})),
            ("value", json!({"S": "0"})),
            ("scheduledTime", json!({"S": "a password"})),
            ("scheduledTime", json!({"S": "2026-03-03T10:15:00.1234567Z"})),
            ("scheduledTime", json!({"S": "+2026-03-03T10:15:00Z"})),
            ("scheduledTime", json!({"S": "2026-3-3T10:15:00Z"})),
            ("scheduledTime", json!({"S": " 2026-03-03T10:15:00Z"})),
            ("scheduledTime", json!({"N": "20260303"})),
            ("another", json!({"S": "attribute"})),
        ] {
            assert!(!is(&with(name, &value)), "{name}: {value}");
        }
        for name in ["key", "value", "scheduledTime"] {
            let mut item: Value = serde_json::from_str(CANARY).unwrap();
            item.as_object_mut().unwrap().remove(name);
            assert!(!is(&item), "without {name}");
        }
    }

    #[test]
    fn the_schedule_writes_the_recognised_item() {
        let template = include_str!("../serverless/canary.yml");
        for part in
            [KEY, "\"value\": { \"N\": \"0\" }", "\"scheduledTime\": { \"S\": \"<aws.scheduler.scheduled-time>\" }"]
        {
            assert!(template.contains(part), "{part}");
        }
    }
}

//! Properties that hold for any event and any answers.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{MARKER, event, handler, insert, invoke, modify, nonsense};
use crate::aws::arn::StreamArn;
use crate::invocation::InvocationError;
use crate::report::Outcome;
use crate::telemetry::{Telemetry, logs, records};
use crate::testing::{MemoryBucket, any_reply};

/// A record whose value is nested too deep for an entry.
fn too_deep(number: usize) -> Value {
    let mut record = insert(number);
    record["dynamodb"]["NewImage"]["value"] = (0..40).fold(json!({"S": MARKER}), |inner, _| json!({"L": [inner]}));
    record
}

fn any_record() -> impl Strategy<Value = Value> {
    let text = any::<String>().prop_map(Value::from);
    prop_oneof![
        4 => (0_usize..40).prop_map(insert),
        2 => (40_usize..60).prop_map(modify),
        1 => (60_usize..80).prop_map(too_deep),
        1 => Just(nonsense()),
        1 => text,
        1 => (0_usize..40, prop::sample::select(vec!["eventName", "dynamodb"])).prop_map(|(number, member)| {
            let mut record = insert(number);
            record[member] = json!(format!("{MARKER}-{number}"));
            record
        }),
        // An ID is not a value: the key of an omitted value's object contains it, and is logged.
        1 => (0_usize..40, any::<String>()).prop_map(|(number, event_id)| {
            let mut record = insert(number);
            record["eventID"] = json!(event_id);
            record
        }),
    ]
}

proptest! {
    /// Whatever the event and the failures: the counts balance, the answer is on time, every acknowledged record is
    /// stored or in the failure bucket, and the invocation's output contains no value.
    #[test]
    fn nothing_is_acknowledged_that_is_not_kept(
        records in prop::collection::vec(any_record(), 0..60),
        replies in prop::collection::vec(any_reply(), 0..12),
        bucket in prop::sample::select(vec![0, 1, 2, 3]),
        takes in 0_u64..40_000,
    ) {
        let mut handler = handler(replies);
        handler.quarantine = match bucket {
            0 => None,
            1 => Some(MemoryBucket { refuses: true, ..MemoryBucket::default() }),
            2 => Some(MemoryBucket { takes: Duration::from_millis(takes), ..MemoryBucket::default() }),
            _ => Some(MemoryBucket::default()),
        };
        let event = event(records);
        let report = invoke(&mut handler, &event);
        prop_assert_ne!(report.error.as_ref(), Some(&InvocationError::Panicked), "nothing asked for a panic");
        // All of its output: log lines, the wide line, the answer.
        let telemetry = Telemetry::start(&crate::settings::tests::settings()).unwrap();
        let level = tracing::level_filters::LevelFilter::TRACE;
        let mut said = logs::tests::logged(level, crate::settings::LogFormat::Json, || records::log(&report));
        prop_assert!(said.len() >= report.records.len(), "each record has a line at this level");
        said.extend(telemetry.wide_line(&report).lines());
        said.push(format!("{report:?} {:?}", report.answer()));
        prop_assert!(said.iter().all(|line| !line.contains(MARKER)), "a value was printed");
        let kept = handler.quarantine.map(|bucket| bucket.objects.into_inner().into_values().collect::<String>()).unwrap_or_default();
        for (record, raw) in report.records.iter().zip(event["Records"].as_array().unwrap()) {
            match &record.outcome {
                Outcome::Audited => {
                    for id in entry_ids(raw) {
                        prop_assert!(handler.store.contains(id), "{raw} has an entry that is not stored");
                    }
                    prop_assert!(record.values_omitted == 0 || kept.contains(&raw.to_string()), "the full record is not kept");
                }
                Outcome::Quarantined(_) => prop_assert!(kept.contains(&raw.to_string())),
                Outcome::Failed(_) => prop_assert!(report.error.is_some() || record.sequence_number.is_some()),
                Outcome::Witnessed | Outcome::Unchanged => prop_assert!(false, "these records all change something"),
            }
        }
    }
}

/// The IDs of the entries that a record must have.
fn entry_ids(record: &Value) -> Vec<uuid::Uuid> {
    let arn = record["eventSourceARN"].as_str().map(|arn| StreamArn::new(arn.to_owned()));
    let attributes = if record["eventName"] == "MODIFY" { vec![Some("one"), Some("two")] } else { vec![None] };
    let event_id = record["eventID"].as_str().unwrap();
    attributes.into_iter().map(|attribute| crate::audit::entry_id(arn.as_ref(), event_id, attribute)).collect()
}

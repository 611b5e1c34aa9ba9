//! An object from the failure bucket, as the operator's `redrive` reads it: it is refused without being quoted, or its
//! records are read byte for byte.

#![no_main]

use std::collections::HashMap;

use config_audit::quarantine::StoredRecord;
use config_audit::stream::records;
use config_audit_fuzz::{MARKER, mutate};
use config_audit_mapping::object::{FailedRecords, ObjectError, read};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;
use serde_json::value::RawValue;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, 0, size, max_size, seed) });

fuzz_target!(|input: &[u8]| {
    match read(input) {
        Ok(held) => check_held(input, &held),
        Err(error) => assert!(!format!("{error} {error:?}").contains(MARKER), "the error quotes the object"),
    }
    if let Ok(record) = serde_json::from_slice::<&RawValue>(input) {
        check_kept(record);
    }
    check_given_up(input);
});

fn texts(held: &FailedRecords) -> Vec<&str> {
    let events = held.events.iter();
    events.flat_map(|event| records(event).expect("what is held is an event")).map(RawValue::get).collect()
}

/// What was read is in the object, byte for byte.
fn check_held(object: &[u8], held: &FailedRecords) {
    let is_code = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    assert!((1..=40).contains(&held.reason.len()) && held.reason.bytes().all(is_code), "the reason quotes the object");
    // Raw, because the JSON may be nested too deeply for serde_json's values; lossy, because the unread parts may not
    // be UTF-8. It may not be an object, because serde also accepts a list of a type's members in order, which nothing
    // writes.
    let text = String::from_utf8_lossy(object);
    let Ok(members) = serde_json::from_str::<HashMap<String, &RawValue>>(&text) else { return };
    // A record may be null; a payload that is null does not count.
    match (members.get("record"), members.get("payload").filter(|payload| payload.get() != "null")) {
        (Some(record), None) => assert_eq!(texts(held), [record.get()]),
        (None, Some(payload)) => {
            let text: String = serde_json::from_str(payload.get()).unwrap_or_else(|_| payload.get().to_owned());
            let mut rest = text.as_str();
            for record in texts(held) {
                let at = rest.find(record).expect("a record is not the same byte for byte");
                rest = &rest[at + record.len()..];
            }
        }
        _ => panic!("what has both or neither is not guessed at"),
    }
}

/// Whatever the function keeps can be read back.
fn check_kept(record: &RawValue) {
    let kept = StoredRecord { reason: "no_key", detail: "no key", request_id: "r", function_arn: "f", record };
    let held = read(&kept.body()).expect("what the function keeps can be read");
    assert_eq!(texts(&held), [record.get()]);
    assert_eq!((&*held.reason, &*held.request_id, &*held.function_arn), ("no_key", "r", "f"));
}

/// Whatever Lambda gives up on can be read back: its payload is the event, as a string.
fn check_given_up(event: &[u8]) {
    let Ok(text) = str::from_utf8(event) else { return };
    let context = r#"{"requestId":"r","functionArn":"f","condition":"RecordAgeExceeded"}"#;
    let payload = Value::from(text);
    let held = read(format!(r#"{{"requestContext":{context},"payload":{payload}}}"#).as_bytes());
    match records(event) {
        Err(_) => assert_eq!(held, Err(ObjectError::NotAnEvent)),
        Ok(raw) => {
            let held = held.expect("what Lambda gives up can be read");
            assert_eq!(texts(&held), raw.iter().map(|record| record.get()).collect::<Vec<_>>());
            assert_eq!(held.reason, "RecordAgeExceeded");
        }
    }
}

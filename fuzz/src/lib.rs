//! What the targets share: words with a meaning in inputs, and how JSON is mutated as JSON.
//!
//! By itself, libFuzzer changes bytes, which almost never leaves JSON valid. [`mutate`] changes the document.

use std::borrow::Cow;

use fastrand::Rng;
use libfuzzer_sys::fuzzer_mutate;
use serde_json::{Value, json};

/// The configuration value in inputs. No error may ever contain it.
pub const MARKER: &str = "s3cr3t";

/// In an input, this stands for [`LARGE_BYTES`] letters, so that small inputs can exceed DynamoDB's limits.
const LARGE: &str = "@LARGE@";
/// Three of them are more than fits into an item.
const LARGE_BYTES: usize = 150_000;
/// Any more of them in an input are left as they are.
const MOST_LARGE: usize = 8;

/// The names that mean something to a target.
const NAMES: &[&str] = &[
    "S",
    "N",
    "B",
    "SS",
    "NS",
    "BS",
    "L",
    "M",
    "BOOL",
    "NULL",
    "key",
    "value",
    "eventID",
    "eventName",
    "eventSourceARN",
    "userIdentity",
    "principalId",
    "dynamodb",
    "Keys",
    "NewImage",
    "OldImage",
    "SequenceNumber",
    "ApproximateCreationDateTime",
    "StreamViewType",
    "Records",
    "record",
    "reason",
    "payload",
    "requestContext",
    "condition",
];

/// The strings that mean something to a target, or are at the edge of what it accepts.
const TEXTS: &[&str] = &[
    "",
    "INSERT",
    "MODIFY",
    "REMOVE",
    "NEW_AND_OLD_IMAGES",
    "KEYS_ONLY",
    "0",
    "-0.0",
    "1",
    "1.0",
    "1E0",
    "10E-1",
    "1E125",
    "1E-130",
    "1E-131",
    "99999999999999999999999999999999999999",
    "0E99999999999999999999",
    "YQ==",
    MARKER,
    LARGE,
];

/// The input with each `@LARGE@` expanded.
#[must_use]
pub fn enlarged(input: &str) -> Cow<'_, str> {
    if input.contains(LARGE) {
        input.replacen(LARGE, &"x".repeat(LARGE_BYTES), MOST_LARGE).into()
    } else {
        input.into()
    }
}

/// Mutates an input that should be JSON from `start` on: as JSON if it is valid, otherwise as bytes, and sometimes as
/// bytes anyway. For `fuzz_mutator!`, which documents the other parameters and the result.
pub fn mutate(data: &mut [u8], start: usize, size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Rng::with_seed(seed.into());
    if random.u8(..4) > 0
        && let Some(json) = reshaped(&data[start..size], &mut random)
        && start + json.len() <= max_size
    {
        data[start..start + json.len()].copy_from_slice(&json);
        return start + json.len();
    }
    fuzzer_mutate(data, size, max_size)
}

fn reshaped(text: &[u8], random: &mut Rng) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(text).ok()?;
    for _ in 0..random.usize(1..=3) {
        let count = nodes(&document);
        let donor = nth(&mut document, &mut random.usize(..count))?.clone();
        change(nth(&mut document, &mut random.usize(..count))?, donor, random);
    }
    serde_json::to_vec(&document).ok()
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(members) => members.iter().map(nodes).sum(),
        Value::Object(members) => members.values().map(nodes).sum(),
        _ => 0,
    }
}

/// The node that comes `n` nodes after this one.
fn nth<'a>(value: &'a mut Value, n: &mut usize) -> Option<&'a mut Value> {
    if *n == 0 {
        return Some(value);
    }
    *n -= 1;
    match value {
        Value::Array(members) => members.iter_mut().find_map(|member| nth(member, n)),
        Value::Object(members) => members.values_mut().find_map(|member| nth(member, n)),
        _ => None,
    }
}

fn change(value: &mut Value, donor: Value, random: &mut Rng) {
    match (random.u8(..8), &mut *value) {
        (0 | 1, Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(random.usize(..members.len())).cloned().unwrap_or_default();
            let member = members.remove(&name).unwrap_or_default();
            if random.bool() {
                members.insert(one_of(NAMES, random), member);
            }
        }
        (0, Value::Array(members)) if !members.is_empty() => drop(members.remove(random.usize(..members.len()))),
        (1..4, Value::Array(members)) => members.insert(random.usize(..=members.len()), donor),
        (2 | 3, Value::Object(members)) => drop(members.insert(one_of(NAMES, random), donor)),
        (0..4, Value::String(text)) => match random.u8(..4) {
            0 => text.push_str(&one_of(TEXTS, random)),
            1 => text.truncate(text.char_indices().last().map_or(0, |(at, _)| at)),
            2 => text.insert(0, random.char(..)),
            _ => *text = random.i32(..).to_string(),
        },
        (4, _) => {
            for _ in 0..[1, 2, 33][random.usize(..3)] {
                *value =
                    if random.bool() { json!({ "L": [value.take()] }) } else { json!({ "M": { "a": value.take() } }) };
            }
        }
        (5, _) => *value = donor,
        (6, _) => *value = json!(one_of(TEXTS, random)),
        _ => {
            let others =
                [json!(null), json!(true), json!(false), json!(0), json!(-1.5), json!(1e300), json!([]), json!({})];
            value.clone_from(&others[random.usize(..others.len())]);
        }
    }
}

fn one_of(texts: &[&str], random: &mut Rng) -> String {
    texts[random.usize(..texts.len())].to_owned()
}

use super::*;
use crate::reason::Reason;
use proptest::prelude::*;
use serde_json::{Value, json};

fn raw(record: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(record).unwrap()
}

/// A complete record, as a table's stream delivers it.
fn insert() -> Value {
    json!({
        "eventID": "97f346f54443196d55233e83d8b8f944",
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-central-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_726_045_348.0,
            "Keys": {"key": {"S": "CACHE_TTL_SEC"}},
            "NewImage": {"key": {"S": "CACHE_TTL_SEC"}, "value": {"N": "3600"}},
            "SequenceNumber": "9700002673137973216305",
            "StreamViewType": "NEW_AND_OLD_IMAGES"
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:905418349556:table/Configuration/stream/2024-09-11T09:00:17.927"
    })
}

/// The same record with one member replaced, or removed if the value is null; the path is a JSON pointer.
fn with(path: &str, value: Value) -> Value {
    let mut record = insert();
    let (parent, name) = path.rsplit_once('/').unwrap();
    let parent = record.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(name)
    } else {
        parent.insert(name.to_owned(), value)
    };
    record
}

#[test]
fn an_insert_is_decoded_whole() {
    let record = raw(&insert());
    let change = decode(&record, "key").unwrap();
    assert_eq!(change.event_id, "97f346f54443196d55233e83d8b8f944");
    assert_eq!(change.sequence_number.as_deref(), Some("9700002673137973216305"));
    assert_eq!(change.item_key, "CACHE_TTL_SEC");
    assert_eq!(change.created.unwrap().to_rfc3339(), "2024-09-11T09:02:28+00:00");
    assert_eq!(change.images.event_name(), EventName::Insert);
    assert_eq!(change.principal, None);
}

/// The crate of event types requires all of these, but an audit entry does not need them.
#[test]
fn members_that_no_entry_needs_may_be_missing() {
    for path in ["/awsRegion", "/eventSource", "/eventSourceARN", "/dynamodb/StreamViewType", "/dynamodb/Keys"] {
        assert!(decode(&raw(&with(path, Value::Null)), "key").is_ok(), "{path}");
    }
}

/// The time of processing in its place would differ at each delivery.
#[test]
fn an_invalid_time_is_rejected_and_a_missing_one_is_none() {
    let decoded = |time: &Value| {
        let record = with("/dynamodb/ApproximateCreationDateTime", time.clone());
        decode(&raw(&record), "key").map(|change| change.created.map(|time| time.to_rfc3339()))
    };
    assert_eq!(decoded(&Value::Null), Ok(None));
    let last_of_1970 = json!(31_535_999.999);
    let year_10000 = json!(253_402_300_800.0);
    let milliseconds = json!(1_726_045_348_000_i64);
    for time in [json!(0), json!(-5.0), json!(-1e300), json!(1e300), last_of_1970, year_10000, milliseconds] {
        assert_eq!(decoded(&time), Err(NotAChange::InvalidTime.into()), "{time}");
    }
    for (time, text) in [
        (json!(31_536_000), "1971-01-01T00:00:00+00:00"),
        (json!(253_402_300_799.999), "9999-12-31T23:59:59.999+00:00"),
    ] {
        assert_eq!(decoded(&time), Ok(Some(text.to_owned())));
    }
}

/// DynamoDB allows partition keys of this length.
#[test]
fn the_longest_key_is_accepted() {
    let record = with("/dynamodb/Keys/key", json!({"S": "x".repeat(MAX_KEY_BYTES)}));
    assert_eq!(decode(&raw(&record), "key").unwrap().item_key.len(), 2_048);
}

#[test]
fn keys_become_text() {
    for (key, text) in [(json!({"S": "a b"}), "a b"), (json!({"N": "1.50"}), "1.50"), (json!({"B": "AAE="}), "AAE=")] {
        let record = with("/dynamodb/Keys", json!({ "id": key }));
        assert_eq!(decode(&raw(&record), "id").unwrap().item_key, text);
    }
}

#[test]
fn a_time_to_live_expiry_names_its_principal() {
    let mut record = with("/eventName", json!("REMOVE"));
    record["dynamodb"]["OldImage"] = record["dynamodb"]["NewImage"].take();
    record["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    let record = raw(&record);
    let change = decode(&record, "key").unwrap();
    assert_eq!(change.images.event_name(), EventName::Remove);
    assert_eq!(change.principal.as_deref(), Some("dynamodb.amazonaws.com"));
}

#[test]
fn a_rejected_record_has_a_reason_and_its_sequence_number() {
    for (record, code) in [
        (with("/eventName", json!("UPSERT")), "unknown_event_name"),
        (with("/eventName", Value::Null), "incomplete"),
        (with("/eventName", json!(5)), "undecodable"),
        (with("/dynamodb/Keys/key", json!({"N": "NaN"})), "invalid_value"),
        (with("/dynamodb/ApproximateCreationDateTime", json!(0)), "invalid_time"),
        (with("/eventID", Value::Null), "incomplete"),
        (with("/eventID", json!("")), "incomplete"),
        (with("/dynamodb/NewImage", Value::Null), "incomplete"),
        (with("/dynamodb/NewImage", json!("secret")), "undecodable"),
        (with("/dynamodb/NewImage/value", json!({"N": "secret"})), "invalid_value"),
        (with("/dynamodb/NewImage/value", json!({"X": "secret"})), "undecodable"),
        (with("/dynamodb/NewImage/value", json!({"N": "1", "S": "secret"})), "undecodable"),
        (with("/dynamodb/NewImage/value", json!({"B": "secret!"})), "undecodable"),
        (with("/dynamodb/Keys/key", json!({"BOOL": true})), "no_key"),
        (with("/dynamodb/Keys/key", json!({"S": ""})), "no_key"),
        (with("/dynamodb/Keys", json!({"other": {"S": "x"}})), "no_key"),
        (with("/dynamodb/Keys/key", json!({"S": "x".repeat(2049)})), "key_too_long"),
        (with("/dynamodb/Keys/key", json!({"B": "AAAA".repeat(513)})), "key_too_long"),
        (with("/eventName", json!("MODIFY")), "incomplete"),
        (with("/eventName", json!("REMOVE")), "incomplete"),
    ] {
        let Err(Refusal::Record(reason)) = decode(&raw(&record), "key") else { panic!("{code} was decoded") };
        assert_eq!(Reason::from(reason).code(), code);
        assert_eq!(identify(&raw(&record)).sequence_number.as_deref(), Some("9700002673137973216305"), "{code}");
        assert!(!reason.to_string().contains("secret"), "{reason}");
    }
    for record in [json!("secret"), json!(null), json!([]), json!({}), json!({"dynamodb": {"SequenceNumber": 7}})] {
        assert!(matches!(decode(&raw(&record), "key"), Err(Refusal::Record(_))));
        assert_eq!(identify(&raw(&record)), Identity::default(), "{record}");
    }
}

/// A member that cannot be decoded must not hide the others.
#[test]
fn a_record_is_identified_whatever_else_it_contains() {
    let deep = "[".repeat(5_000) + &"]".repeat(5_000);
    for odd in [r#""\ud800""#, "1e999", &deep] {
        let record =
            format!(r#"{{"eventName":"INSERT","x":{odd},"dynamodb":{{"NewImage":{odd},"SequenceNumber":"7"}}}}"#);
        let record = RawValue::from_string(record).unwrap();
        let identity = identify(&record);
        assert_eq!(
            (identity.sequence_number.as_deref(), identity.event_name),
            (Some("7"), Some(EventName::Insert)),
            "{odd:.20}"
        );
    }
}

#[test]
fn a_stream_without_both_images_is_rejected_as_a_whole() {
    for (view, named) in
        [("KEYS_ONLY", "KEYS_ONLY"), ("NEW_IMAGE", "NEW_IMAGE"), ("OLD_IMAGE", "OLD_IMAGE"), ("secret", "unknown")]
    {
        let refusal = decode(&raw(&with("/dynamodb/StreamViewType", json!(view))), "key").unwrap_err();
        assert_eq!(refusal, Refusal::ViewType(named.to_owned()));
    }
}

/// The result of decoding a record that has this text as one of its members; `record` is the record without it.
fn expected<'a>(record: &'a RawValue, path: &str, text: &'a str) -> Result<Change<'a>, NotAChange> {
    let change = decode(record, "key").unwrap();
    match path {
        "/eventID" => Ok(Change { event_id: text.into(), ..change }),
        "/eventSourceARN" => Ok(Change { stream_arn: Some(StreamArn::new(text)), ..change }),
        "/dynamodb/SequenceNumber" => Ok(Change { sequence_number: Some(text.into()), ..change }),
        "/eventName" => Err(NotAChange::UnknownEventName),
        _ => Err(NotAChange::Undecodable { line: 1, column: 0 }),
    }
}

/// The position is just after the value.
#[test]
fn a_malformed_value_is_reported_with_its_position() {
    let record = "{\"eventID\":\"x\",\"eventName\":\"INSERT\",\n\"dynamodb\":{\"NewImage\":\n{\"a\":{\"S\":\"é\"},\n \"b\":{\"X\":\"\"}}}}";
    let error = decode(serde_json::from_str(record).unwrap(), "key").unwrap_err();
    assert_eq!(error, NotAChange::Undecodable { line: 4, column: 14 }.into());
    let record = r#"{"eventID":"x","eventName":"INSERT","dynamodb":{"NewImage":{"a":{"S":1}}}}"#;
    let error = decode(serde_json::from_str(record).unwrap(), "key").unwrap_err();
    assert_eq!(error, NotAChange::Undecodable { line: 1, column: 72 }.into());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "secret.*".prop_map(Value::from),
        prop::sample::select(vec!["INSERT", "MODIFY", "REMOVE", "7", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let name = prop::sample::select(vec!["key", "value", "S", "N", "M", "L", "SS", "principalId", "type"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..3)
                .prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// The members of a record, as JSON pointers.
const PATHS: [&str; 11] = [
    "/eventID",
    "/eventName",
    "/eventSourceARN",
    "/userIdentity",
    "/dynamodb",
    "/dynamodb/NewImage",
    "/dynamodb/NewImage/value",
    "/dynamodb/Keys",
    "/dynamodb/Keys/key",
    "/dynamodb/SequenceNumber",
    "/dynamodb/ApproximateCreationDateTime",
];

proptest! {
    #[test]
    fn a_text_is_accepted_where_it_belongs_and_rejected_elsewhere(
        text in "secret.*", path in prop::sample::select(PATHS.to_vec()),
    ) {
        let (record, without) = (raw(&with(path, json!(text))), raw(&insert()));
        match (decode(&record, "key"), expected(&without, path, &text)) {
            (Ok(change), Ok(expected)) => prop_assert_eq!(change, expected),
            (Err(Refusal::Record(reason)), Err(expected)) => {
                prop_assert_eq!(Reason::from(reason), Reason::from(expected));
                prop_assert!(!reason.to_string().contains("secret"), "{}", reason);
            }
            (decoded, expected) => prop_assert!(false, "{}: {:?}, not {:?}", path, decoded, expected),
        }
    }

    /// A record is either a change, and then it is identified as that change, or it is refused without being quoted.
    #[test]
    fn any_json_is_a_change_or_is_rejected_unquoted(json in any_json(), path in prop::sample::select(PATHS.to_vec())) {
        for record in [raw(&json), raw(&with(path, json.clone()))] {
            match decode(&record, "key") {
                Ok(change) => prop_assert_eq!(identify(&record), Identity {
                    event_name: Some(change.images.event_name()),
                    stream_arn: change.stream_arn,
                    sequence_number: change.sequence_number,
                }),
                Err(Refusal::Record(reason)) => prop_assert!(!reason.to_string().contains("secret"), "{}", reason),
                Err(Refusal::ViewType(view)) => prop_assert!(false, "{} is not the record's view type", view),
            }
        }
    }
}

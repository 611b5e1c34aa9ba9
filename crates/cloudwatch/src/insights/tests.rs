use proptest::prelude::*;
use serde_json::json;

use super::*;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_496_000 + second, 0).unwrap()
}

fn event(second: i64, document: &serde_json::Value) -> LogEvent {
    LogEvent::new(at(second), document.to_string())
}

/// The columns, and the rows as text.
fn result(query: &str, events: &[LogEvent]) -> (String, Vec<String>) {
    let table = Query::parse(query).unwrap().run(events);
    let line = |row: Vec<Value>| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    (table.columns.join(" "), table.rows.into_iter().map(line).collect())
}

/// Two invocations, an error, a report from Lambda, and a line that is not JSON.
fn events() -> Vec<LogEvent> {
    vec![
        event(0, &json!({ "message": "invocation", "durationMs": 9, "failed": ["100", "101"], "requestId": "a" })),
        event(60, &json!({ "message": "invocation", "durationMs": 11.5, "failed": [], "requestId": "b" })),
        event(61, &json!({ "level": "ERROR", "message": "not audited", "reason": "Throttled", "itemKey": "FLAG" })),
        event(3_700, &json!({ "type": "platform.report", "record": { "metrics": { "initDurationMs": 80 } } })),
        LogEvent::new(at(3_701), "panicked".to_owned()),
    ]
}

#[test]
fn lines_are_shown_newest_first_and_a_line_that_is_not_json_has_a_message() {
    let (columns, rows) = result("SOURCE 'group' | fields @timestamp, message | limit 4", &events());
    assert_eq!(columns, "@timestamp message");
    assert_eq!(
        rows,
        [
            "2026-03-03T01:01:41.000Z ",
            "2026-03-03T01:01:40.000Z ",
            "2026-03-03T00:01:01.000Z not audited",
            "2026-03-03T00:01:00.000Z invocation"
        ]
    );
    let (columns, rows) = result("filter ispresent(@message) | limit 1", &events());
    assert_eq!((columns.as_str(), rows[0].as_str()), ("@timestamp @message", "2026-03-03T01:01:41.000Z panicked"));
}

#[test]
fn a_line_of_a_function_was_logged_when_it_says() {
    for (line, second) in [
        (r#"{ "timestamp": "2026-03-03T00:00:07.000Z" }"#, 7),
        (r#"{ "timestamp": 5 }"#, 1),
        (r#"{ "timestamp": "soon" }"#, 1),
        ("panicked", 1),
        ("[1]", 1),
    ] {
        assert_eq!(LogEvent::of_function(line.to_owned(), at(1)).at(), at(second), "{line}");
    }
}

#[test]
fn filters_compare_numbers_by_size_and_nothing_is_true_of_a_missing_field() {
    for (condition, requests) in [
        ("durationMs > 9", "b"),
        ("durationMs >= 9", "b a"),
        ("durationMs < 11.5", "a"),
        ("durationMs <= 11.5 and durationMs != 9", "b"),
        ("requestId in [\"a\", \"c\"]", "a"),
        ("requestId = 'b' or durationMs = 9", "b a"),
        ("message = \"invocation\" and (requestId = \"a\" or requestId = \"x\")", "a"),
        ("ispresent(failed.0)", "a"),
        ("failed.1 = 101", "a"),
        ("missing != 1", ""),
    ] {
        let (_, rows) = result(&format!("fields requestId | filter {condition}"), &events());
        assert_eq!(rows.join(" "), requests, "{condition}");
    }
}

#[test]
fn rows_are_grouped_counted_and_sorted() {
    let (columns, rows) = result(
        "stats count(*) as lines, sum(durationMs) as sum, avg(durationMs), max(durationMs) as longest \
         by coalesce(message, type) as kind | sort lines desc",
        &events(),
    );
    assert_eq!(columns, "kind lines sum avg(durationMs) longest");
    assert_eq!(rows[0], "invocation 2 20.5 10.25 11.5");
    assert_eq!(rows.len(), 4);
    let (_, rows) = result("stats count_distinct(message) as messages, count(reason) as reasons", &events());
    assert_eq!(rows, ["2 1"]);
    // Without `by`, there is always one row.
    assert_eq!(result("stats count(*) as lines", &[]).1, ["0"]);
    assert_eq!(result("stats count(*) as lines by reason", &[]).1, [""; 0]);
}

#[test]
fn times_are_times_and_periods_begin_at_multiples_of_their_length() {
    let query = "stats count(*) as lines, fromMillis(min(@timestamp)) as first, strlen(\"abc\") as three by bin(1h) as hour \
                 | sort hour desc";
    let (columns, rows) = result(query, &events());
    assert_eq!(columns, "hour lines first three");
    assert_eq!(
        rows,
        [
            "2026-03-03T01:00:00.000Z 2 2026-03-03T01:01:40.000Z 3",
            "2026-03-03T00:00:00.000Z 3 2026-03-03T00:00:00.000Z 3"
        ]
    );
}

#[test]
fn a_missing_value_sorts_before_all_others() {
    let (_, rows) = result("fields requestId, durationMs | sort durationMs asc", &events());
    assert_eq!(rows[3..], ["a 9", "b 11.5"]);
    let (_, rows) = result("fields requestId, durationMs | sort durationMs desc", &events());
    assert_eq!(rows[..2], ["b 11.5", "a 9"]);
}

#[test]
fn what_is_not_supported_is_named_with_its_place() {
    for (query, problem, rest) in [
        ("fields a | parse b", "it needs a command: fields, filter, stats, sort or limit", "parse b"),
        ("stats pct(a, 99)", "there is no function pct here", "a, 99)"),
        ("filter a like /b/", "it needs `|` here", "like /b/"),
        ("limit many", "limit needs a number", ""),
        ("fields strlen(a, b)", "strlen does not take so many arguments", ""),
        ("stats count(*) by bin(5)", "bin needs a period, such as 5m or 1h", ")"),
        ("filter a = \"b", "it needs a field, a value or a function", "\"b"),
        ("", "it needs a command: fields, filter, stats, sort or limit", ""),
    ] {
        let error = Query::parse(query).unwrap_err();
        assert_eq!((error.problem.as_str(), error.rest.as_str()), (problem, rest), "{query}");
    }
    assert!(Query::parse(&format!("filter {}a", "(".repeat(10_000))).unwrap_err().problem.contains("too deep"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(fields|filter|stats|sort|limit|by|as|in|and|bin|count|[a-z@.0-9]|[|,()=<>!'\"\\[\\]*é ]){0,12}") {
        if let Ok(query) = Query::parse(&text) {
            let _ = query.run(&events());
        }
    }
}

use chrono::{DateTime, TimeDelta, Utc};
use config_audit_cloudwatch::alarms::State;
use config_audit_cloudwatch::dashboard::Dashboard;
use config_audit_cloudwatch::insights::LogEvent;
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use serde_json::json;

use super::*;

struct NoLinks;

impl Links for NoLinks {
    fn dashboard(&self, name: &str) -> String {
        format!("{name}.html")
    }

    fn alarm<'a>(&self, name: &'a str) -> (&'a str, Option<String>) {
        (name, None)
    }
}

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_772_496_000 + 60 * minute, 0).unwrap()
}

fn dashboard(kind: &str, properties: &serde_json::Value) -> Dashboard {
    let widget = json!({ "type": kind, "x": 0, "y": 0, "width": 6, "height": 4, "properties": properties });
    let body = json!({ "start": "-PT1H", "widgets": [widget] });
    Dashboard::read("d.json", &body.to_string(), &|_| None).unwrap()
}

/// The samples of the metric `A`: each minute's values. `B` has one, in the third minute.
fn metrics() -> Metrics {
    let mut metrics = Metrics::default();
    for (minute, values) in [(0, &[1.0, 2.0, 3.0, 10.0][..]), (1, &[4.0]), (3, &[5.0, 7.0])] {
        for value in values {
            metrics.add(&Metric::new("N", "A", &[]), at(minute), at(minute), *value);
        }
    }
    metrics.add(&Metric::new("N", "B", &[]), at(2), at(2), 100.0);
    metrics
}

/// What the only widget shows after an hour.
fn shown(dashboard: &Dashboard, metrics: &Metrics, log: Option<&[LogEvent]>) -> Values {
    let alarms = [("Down", State::Alarm), ("New", State::InsufficientData), ("Up", State::Ok)];
    let alarms = alarms.map(|(name, state)| (name.to_owned(), state));
    let left_out = ["LeftOut".to_owned()];
    let data = Data { now: at(5), first: at(0), metrics, alarms: &alarms, left_out: &left_out, log };
    values(dashboard, &data).remove(0)
}

fn drawn(dashboard: &Dashboard, metrics: &Metrics, log: Option<&[LogEvent]>) -> String {
    draw(dashboard, &[shown(dashboard, metrics, log)], &[], &NoLinks).unwrap().into_string()
}

#[test]
fn the_values_of_a_graph_are_those_worked_out_by_hand() {
    let metric = |options: serde_json::Value| json!(["N", "A", options]);
    for (line, values) in [
        (vec![metric(json!({ "stat": "Sum" }))], [Some(16.0), Some(4.0), None, Some(12.0), None]),
        (vec![metric(json!({ "stat": "Average" }))], [Some(4.0), Some(4.0), None, Some(6.0), None]),
        (vec![metric(json!({ "stat": "Maximum" }))], [Some(10.0), Some(4.0), None, Some(7.0), None]),
        (vec![metric(json!({ "stat": "SampleCount" }))], [Some(4.0), Some(1.0), None, Some(2.0), None]),
        (
            vec![
                metric(json!({ "id": "a", "stat": "Sum", "visible": false })),
                json!(["N", "B", { "id": "b", "stat": "Sum", "visible": false }]),
                json!([{ "expression": "FILL(a, 0) / 4 + FILL(b, 0)", "label": "sum" }]),
            ],
            [Some(4.0), Some(1.0), Some(100.0), Some(3.0), Some(0.0)],
        ),
        (
            vec![
                metric(json!({ "id": "a", "stat": "Sum", "visible": false })),
                json!([{ "expression": "a * 2", "label": "twice" }]),
            ],
            [Some(32.0), Some(8.0), None, Some(24.0), None],
        ),
    ] {
        let properties =
            json!({ "title": "T", "region": "r", "view": "timeSeries", "stat": "Sum", "period": 60, "metrics": line });
        let Values::Graph { lines, .. } = shown(&dashboard("metric", &properties), &metrics(), None) else { panic!() };
        let points: Vec<_> = lines[0].points.iter().map(|(_, value)| *value).collect();
        assert_eq!(points, values, "{properties}");
        assert_eq!(lines[0].points[3].0, at(3));
    }
}

#[test]
fn a_longer_period_takes_the_minutes_together() {
    let properties = json!({ "title": "T", "region": "r", "view": "timeSeries", "stat": "Sum", "period": 60, "metrics": [["N", "A"]] });
    let mut dashboard = dashboard("metric", &properties);
    dashboard.set_period(5);
    let Values::Graph { lines, .. } = shown(&dashboard, &metrics(), None) else { panic!() };
    assert_eq!(lines[0].points, [(at(0), Some(32.0))]);
}

#[test]
fn a_number_is_of_the_last_period_with_data_or_of_the_whole_time() {
    let number = |options: serde_json::Value| {
        let mut properties = json!({ "title": "T", "region": "r", "view": "singleValue", "stat": "Sum", "period": 60,
            "metrics": [["N", "A", { "label": "<a>" }], ["N", "C", { "label": "c" }]] });
        properties.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        dashboard("metric", &properties)
    };
    let last = drawn(&number(json!({})), &metrics(), None);
    assert!(last.contains("<p><b>12</b><span>&lt;a&gt;</span></p>"), "{last}");
    assert!(last.contains("<p><b>--</b><span>c</span></p>"), "{last}");
    let whole = drawn(&number(json!({ "setPeriodToTimeRange": true, "sparkline": true })), &metrics(), None);
    assert!(whole.contains("<b>32</b>") && whole.contains("<polyline"), "{whole}");
}

#[test]
fn alarms_in_alarm_come_first() {
    let properties = json!({ "title": "A", "alarms": ["arn:Up", "arn:New", "arn:Gone", "arn:LeftOut", "arn:Down"] });
    let page = drawn(&dashboard("alarm", &properties), &Metrics::default(), None);
    let order: Vec<_> = ["Down", "New", "Gone", "Up"].iter().map(|name| page.find(&format!(">{name}</li>"))).collect();
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{page}");
    assert!(!page.contains("LeftOut"), "{page}");
}

#[test]
fn a_query_is_run_on_the_log_and_what_it_finds_stays_text() {
    let hostile = "<script>alert(1)</script>\u{202e}";
    let log = [json!({ "reason": hostile, "n": 1 }), json!({ "n": 2 }), json!({ "reason": "Throttled" })];
    let mut log: Vec<_> = log.iter().map(|line| LogEvent::new(at(1), line.to_string())).collect();
    // Before the time shown.
    log.push(LogEvent::new(at(0) - TimeDelta::hours(2), json!({ "reason": "old" }).to_string()));
    let query = "SOURCE 'g' | filter ispresent(reason) | stats count(*) as lines by reason | sort lines desc";
    let found = dashboard("log", &json!({ "title": "L", "query": query }));
    let page = drawn(&found, &Metrics::default(), Some(&log));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("U+202E"), "{page}");
    assert!(page.contains("Throttled") && !page.contains("old"), "{page}");
    let json = serde_json::to_value(shown(&found, &Metrics::default(), Some(&log))).unwrap();
    assert_eq!(json["result"]["table"][1], json!({ "reason": "Throttled", "lines": 1.0 }));
    // If there is no log, or the query cannot be run, the query itself is shown.
    assert!(drawn(&found, &Metrics::default(), None).contains(">SOURCE"));
    let unsupported = dashboard("log", &json!({ "title": "L", "query": "parse x" }));
    let page = drawn(&unsupported, &Metrics::default(), Some(&log));
    assert!(page.contains("the query is not supported from") && page.contains(">parse x</pre>"), "{page}");
}

#[test]
fn texts_link_to_dashboards_and_to_the_web_and_nowhere_else() {
    let markdown = "# T\n\n[a](#dashboards:name=deep) [b](https://c) [d](javascript:e) ![f](file:///g) <img src=x>";
    let page = drawn(&dashboard("text", &json!({ "markdown": markdown })), &Metrics::default(), None);
    assert!(page.contains("<a href=\"deep.html\">a</a> <a href=\"https://c\">b</a> d f"), "{page}");
    assert!(!page.contains("javascript:") && !page.contains("file:") && !page.contains("<img"), "{page}");
}

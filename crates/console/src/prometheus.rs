//! The world's metrics in Prometheus's text format.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use config_audit::clock::Clock;

use crate::activity::State as Known;
use crate::site::Site;

/// The page that Prometheus scrapes.
pub(crate) async fn page(State(site): State<Arc<Site>>) -> Response {
    let now = Clock::System.now();
    let mut text = site.activity.read(|known| {
        let age = known.oldest().map_or(0.0, |oldest| (now - oldest).num_milliseconds().max(0) as f64 / 1000.0);
        exposition(known, age)
    });
    text += &metric("alarms_on", "Bundled alarms in ALARM.", "gauge", site.alarms.on(&site.activity, now) as f64);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

fn exposition(known: &Known, oldest_seconds: f64) -> String {
    let counts = &known.counts;
    let counters = [
        ("changes_total", "Changes that the mapping read from the stream.", counts.changes),
        ("invocations_total", "Invocations that ended.", counts.invocations),
        (
            "invocations_failed_total",
            "Invocations that failed, or reported a record as failed.",
            counts.failed_invocations,
        ),
        ("processes_started_total", "Function processes started.", counts.processes),
        ("entries_total", "Entries that were stored.", counts.entries),
        ("retries_total", "Batches scheduled for redelivery.", counts.retries),
        ("records_quarantined_total", "Records that the function put into the failure bucket.", counts.quarantined),
        ("records_given_up_total", "Records that Lambda put into the failure bucket.", counts.given_up),
        ("console_events_missed_total", "Events that the console missed because it was too slow.", known.missed),
    ];
    let mut text: String =
        counters.iter().map(|(name, help, value)| metric(name, help, "counter", *value as f64)).collect();
    let gauges = [
        ("records_waiting", "Records that were read but are not done yet.", known.waiting() as f64),
        ("oldest_record_seconds", "The age of the oldest pending record.", oldest_seconds),
        ("last_lag_seconds", "The latest change-to-entry lag.", known.last_lag_ms.unwrap_or_default() / 1000.0),
        ("function_running", "Whether the function has a process.", if known.process.is_some() { 1.0 } else { 0.0 }),
        ("metric_samples", "Metric samples that the console keeps.", known.metrics.metrics().samples() as f64),
    ];
    text.extend(gauges.iter().map(|(name, help, value)| metric(name, help, "gauge", *value)));
    text
}

fn metric(name: &str, help: &str, kind: &str, value: f64) -> String {
    let mut text = String::new();
    let name = format!("config_audit_world_{name}");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::Activity;

    #[test]
    fn each_metric_has_a_help_text_a_type_and_one_value() {
        let text = Activity::new(None).read(|known| exposition(known, 1.5));
        let lines: Vec<&str> = text.lines().collect();
        for group in lines.chunks(3) {
            let name = group[2].split(' ').next().unwrap();
            assert!(group[0].starts_with(&format!("# HELP {name} ")), "{group:?}");
            assert!(
                [format!("# TYPE {name} counter"), format!("# TYPE {name} gauge")].contains(&group[1].to_owned()),
                "{group:?}"
            );
            assert_eq!(name.ends_with("_total"), group[1].ends_with("counter"), "{group:?}");
            assert!(group[2].split(' ').nth(1).unwrap().parse::<f64>().is_ok(), "{group:?}");
        }
        assert!(text.contains("config_audit_world_oldest_record_seconds 1.5"), "{text}");
    }
}

//! The body of a dashboard, as `config-audit dashboards` reads it: it is refused, or it is within the grid and its
//! lines have a point for each period.

#![no_main]

use chrono::DateTime;
use config_audit_cloudwatch::dashboard::{COLUMNS, Content, Dashboard};
use config_audit_cloudwatch::metrics::{Metric, Metrics};
use config_audit_fuzz::mutate;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, 0, size, max_size, seed) });

fuzz_target!(|input: &str| {
    let resolve = |name: &str| (name != "unknown").then(|| name.to_owned());
    let Ok(dashboard) = Dashboard::read("dashboard.json", input, &resolve) else { return };
    let at = |minute: i64| DateTime::from_timestamp(1_772_496_000 + minute * 60, 0).expect("a time");
    let mut metrics = Metrics::default();
    for minute in 0..30 {
        metrics.add(&Metric::new("N", "A", &[]), at(minute), at(minute + 2), 1e9 - 1e8 * minute as f64);
    }
    for widget in dashboard.widgets {
        assert!(widget.x + widget.width <= COLUMNS && widget.height > 0, "{widget:?} is not within the grid");
        let lines = match widget.content {
            Content::Graph(graph) => graph.lines,
            Content::Numbers(numbers) => numbers.lines,
            _ => continue,
        };
        for line in &lines {
            let _ = line.over(&metrics, at(0), at(60));
            let points = line.points(&metrics, at(0), at(60));
            assert!(points.len() <= 60 && points.is_sorted_by(|one, next| one.0 < next.0), "{points:?}");
        }
    }
});

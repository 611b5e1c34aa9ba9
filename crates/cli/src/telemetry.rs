//! The function's telemetry, as lines for people.

use config_audit_cloudwatch::line::EmfMetric;
use config_audit_cloudwatch::span::Span;
use config_audit_cloudwatch::units::duration;

use crate::terminal::{Text, Tone};

/// Metrics as a table: name, samples.
#[must_use]
pub fn metric_lines(metrics: &[&EmfMetric]) -> Vec<Text> {
    let width = metrics.iter().map(|metric| metric.name.len()).max().unwrap_or_default();
    metrics.iter().map(|metric| format!("  {:width$}  {}", metric.name, metric.summary()).into()).collect()
}

/// Spans as a tree: name, duration, and whether it failed.
#[must_use]
pub fn span_lines(spans: &[Span]) -> Vec<Text> {
    let mut lines = Vec::new();
    add_spans(&mut lines, spans, 1);
    lines
}

fn add_spans(lines: &mut Vec<Text>, spans: &[Span], depth: usize) {
    for span in spans {
        let took = span.milliseconds.map_or_else(|| "in progress".to_owned(), duration);
        let line = Text::from(format!("{}{}  ", "  ".repeat(depth), span.name)) + Tone::Quiet.paint(took);
        lines.push(if span.failed { line + Tone::Bad.paint(" failed") } else { line });
        add_spans(lines, &span.children, depth + 1);
    }
}

//! The spans of an invocation as a waterfall.

use config_audit_cloudwatch::span::Span;
use config_audit_cloudwatch::units::{duration, thousands};
use maud::{Markup, html};

use crate::text::{Visible, cut};

/// The maximum number of spans drawn; a batch of 10,000 records has that many.
const MAX_SPANS: usize = 300;
/// The width of the drawing, in its own units.
const WIDTH: f64 = 1000.0;

/// A span as drawn.
struct Bar<'a> {
    span: &'a Span,
    depth: usize,
}

/// The spans, each with its bar and, on demand, its attributes.
pub(super) fn waterfall(spans: &[Span]) -> Markup {
    let mut bars = Vec::new();
    for span in spans {
        flatten(span, 0, &mut bars);
    }
    if bars.is_empty() {
        return html! {
            p.empty { "The X-Ray daemon received no document of this invocation. Its trace is not sampled, it was killed before it
                could send them, or they were dropped here to save memory." }
        };
    }
    let start = bars.iter().map(|bar| bar.span.start).fold(f64::INFINITY, f64::min);
    let end = bars.iter().map(|bar| bar.span.start + bar.span.milliseconds.unwrap_or_default() / 1000.0);
    // At least a microsecond, so that it is never zero as a divisor.
    let total = (end.fold(start, f64::max) - start).max(1e-6);
    html! {
        ol.waterfall {
            @for Bar { span, depth } in bars.iter().take(MAX_SPANS) {
                li.failed[span.failed] {
                    details {
                        summary {
                            span class=(format!("name depth-{}", depth.min(&5))) {
                                @if span.failed { span.badge.bad { "✗ failed" } " " }
                                (Visible(&cut(&span.name, 60)))
                            }
                            (bar((span.start - start) / total, span.milliseconds.unwrap_or_default() / 1000.0 / total))
                            span.took { @match span.milliseconds { Some(took) => (duration(took)), None => "in progress" } }
                        }
                        @if span.attributes.is_empty() { p.quiet { "No attributes." } }
                        @else {
                            dl.facts {
                                @for (name, value) in &span.attributes { dt { (Visible(name)) } dd { code { (Visible(&cut(value, 2000))) } } }
                            }
                        }
                    }
                }
            }
        }
        @if bars.len() > MAX_SPANS {
            p.quiet { (thousands(bars.len() - MAX_SPANS)) " more spans are in the JSON of this page." }
        }
    }
}

fn flatten<'a>(span: &'a Span, depth: usize, bars: &mut Vec<Bar<'a>>) {
    bars.push(Bar { span, depth });
    for child in &span.children {
        flatten(child, depth + 1, bars);
    }
}

/// A bar that starts at this fraction of the whole and has this fraction of its length.
fn bar(from: f64, length: f64) -> Markup {
    let x = from * WIDTH;
    let width = (length * WIDTH).max(3.0).min(WIDTH - x.min(WIDTH - 3.0));
    html! {
        svg.bar viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false" {
            rect x=(format!("{:.1}", x.min(WIDTH - 3.0))) y="1" height="8" width=(format!("{width:.1}")) {}
        }
    }
}

#[cfg(test)]
mod tests {
    use config_audit_cloudwatch::span::spans;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_bar_shows_when_its_span_ran_and_failures_are_marked() {
        let documents = [json!({ "id": "a", "name": "audit", "start_time": 1.0, "end_time": 3.0, "subsegments": [
            { "id": "b", "name": "<write>", "start_time": 2.0, "end_time": 2.5, "fault": true, "metadata": { "n": "<b>" } },
        ] })];
        let drawn = waterfall(&spans(&documents)).into_string();
        assert!(drawn.contains(r#"<rect x="0.0" y="1" height="8" width="1000.0">"#), "{drawn}");
        assert!(drawn.contains(r#"<rect x="500.0" y="1" height="8" width="250.0">"#), "{drawn}");
        assert!(
            drawn.contains("✗ failed") && drawn.contains("&lt;write&gt;") && drawn.contains("&lt;b&gt;"),
            "{drawn}"
        );
        assert!(waterfall(&[]).into_string().contains("received no document"));
    }
}

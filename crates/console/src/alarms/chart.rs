//! The points behind an alarm, with its threshold.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use config_audit_cloudwatch::units::number;
use maud::{Markup, html};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 180.0;

/// A line through the points, with gaps where there is no data, and the threshold. A table lists all values.
pub(super) fn chart(points: &[(DateTime<Utc>, Option<f64>)], threshold: f64) -> Markup {
    let values = points.iter().filter_map(|(_, value)| *value);
    // Leave room at the top, so that the threshold is never on the frame.
    let top = values.fold(threshold.max(0.0), f64::max).max(f64::MIN_POSITIVE) * 1.15;
    let top = if top < 1e-9 { 1.0 } else { top };
    let step = WIDTH / points.len().saturating_sub(1).max(1) as f64;
    let height = |value: f64| HEIGHT - (value.max(0.0) / top * HEIGHT).min(HEIGHT);
    let limit = height(threshold);
    html! {
        svg.chart viewBox="0 0 1000 180" preserveAspectRatio="none" role="img"
            aria-label=(format!("The last {} points, and the threshold {}", points.len(), number(threshold))) {
            path.base d=(format!("M0 {HEIGHT}H{WIDTH}")) {}
            path.line d=(line(points, step, &height)) {}
            @for (index, (_, value)) in points.iter().enumerate() {
                @if let Some(value) = value {
                    rect.point x=(format!("{:.1}", index as f64 * step - 2.0)) y=(format!("{:.1}", height(*value) - 2.0)) width="4" height="4" {}
                }
            }
            path.threshold d=(format!("M0 {limit:.1}H{WIDTH}")) {}
        }
        @if points.iter().all(|(_, value)| value.is_none()) { p { "There is no data in these periods yet." } }
        p.quiet { "Solid: the value of each period, 0 to " (number(top)) ". Dashed: the threshold, " (number(threshold)) ". A gap is a period without data." }
        details {
            summary { "The values" }
            table {
                thead { tr { th scope="col" { "Period ends (UTC)" } th.number scope="col" { "Value" } } }
                tbody {
                    @for (at, value) in points.iter().rev() {
                        tr { td { (at.format("%H:%M")) } td.number { @match value { Some(value) => (number(*value)), None => "no data" } } }
                    }
                }
            }
        }
    }
}

fn line(points: &[(DateTime<Utc>, Option<f64>)], step: f64, height: &impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    for (index, (_, value)) in points.iter().enumerate() {
        if let Some(value) = value {
            let command = if is_drawing { "L" } else { "M" };
            // Writing to a string cannot fail.
            let _ = write!(path, "{command}{:.1} {:.1}", index as f64 * step, height(*value));
        }
        is_drawing = value.is_some();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_breaks_at_gaps_and_the_threshold_is_drawn() {
        let points: Vec<_> =
            [Some(0.0), Some(10.0), None, Some(5.0)].map(|value| (DateTime::UNIX_EPOCH, value)).to_vec();
        let drawn = chart(&points, 8.0).into_string();
        assert!(drawn.contains(r#"class="line" d="M0.0 180.0L333.3 23.5M1000.0 101.7""#), "{drawn}");
        assert!(drawn.contains(r#"class="threshold" d="M0 54.8H1000""#), "{drawn}");
        assert!(drawn.contains("no data"), "{drawn}");
    }
}

//! The figures as a bar chart; shorter is better.

use std::fmt::Write;

use super::table::number;
use crate::measure::{Figures, StartMode};

const WIDTH: usize = 900;
const PANEL: usize = 440;
const NAMES: usize = 60;
const BAR: usize = 16;
const STEP: usize = 22;
/// The longest bar, which leaves room for its figure.
const LONGEST: f64 = 310.0;
/// Without `item`, which would shrink all other bars to dots.
const SHOWN: [&str; 5] = ["ours", "sampled", "bare", "node", "python"];

/// The figures as SVG.
pub(crate) fn svg(figures: &Figures) -> String {
    let batch = |records, name| figures.batches.get(&(name, records));
    let start = |mode, name| figures.first_answers.get(&(name, mode)).and_then(crate::stats::Samples::median);
    let panels: [(&str, Vec<(&str, f64)>); 6] = [
        ("CPU of a batch of 100, ms", bars(|name| batch(100, name)?.processor.median())),
        ("time of a batch of 100, DynamoDB answers after 5 ms, ms", bars(|name| batch(100, name)?.wall.median())),
        ("CPU of a batch of 1,000, ms", bars(|name| batch(1_000, name)?.processor.median())),
        ("time of a batch of 1,000, ms", bars(|name| batch(1_000, name)?.wall.median())),
        (
            "start to first answer, TLS, the CPU of 256 MB after init, ms",
            bars(|name| start(StartMode::Throttled, name)),
        ),
        ("peak memory, batches of 100, MB", bars(|name| Some(batch(100, name)?.peak_memory as f64 / 1e6))),
    ];
    let height_of = |bars: &[(&str, f64)]| 34 + bars.len() * STEP + 16;
    let mut body = String::new();
    let mut top = 10;
    for row in panels.chunks(2) {
        for (column, (title, bars)) in row.iter().enumerate() {
            panel(&mut body, 10 + column * (PANEL + 10), top, title, bars);
        }
        top += row.iter().map(|(_, bars)| height_of(bars)).max().unwrap_or_default();
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{top}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn bars(figure: impl Fn(&'static str) -> Option<f64>) -> Vec<(&'static str, f64)> {
    SHOWN.into_iter().filter_map(|name| Some((name, figure(name)?))).collect()
}

fn panel(body: &mut String, left: usize, top: usize, title: &str, bars: &[(&str, f64)]) {
    let largest = bars.iter().map(|(_, value)| *value).fold(f64::MIN_POSITIVE, f64::max);
    let _ = writeln!(body, "<text x=\"{left}\" y=\"{}\" font-weight=\"600\" fill=\"#1f2328\">{title}</text>", top + 16);
    for (place, (name, value)) in bars.iter().enumerate() {
        let y = top + 28 + place * STEP;
        let base = y + 12;
        let start = left + NAMES;
        let length = (value / largest * LONGEST).max(1.0);
        let colour = if matches!(*name, "ours" | "sampled") { "#0969da" } else { "#afb8c1" };
        let end = start as f64 + length + 6.0;
        let _ = writeln!(
            body,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\" fill=\"#1f2328\">{name}</text>\
             <rect x=\"{start}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\
             <text x=\"{end:.1}\" y=\"{base}\" fill=\"#1f2328\">{}</text>",
            start - 6,
            number(*value)
        );
    }
}

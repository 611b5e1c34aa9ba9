//! The table of all figures.

use super::table::{Table, number};
use crate::measure::{BatchFigures, COUNTED, Figures, Plan, StartMode};
use crate::stats::Samples;

/// The median, with the quartiles.
pub(crate) fn spread(samples: &Samples) -> String {
    samples.spread().map_or_else(String::new, |spread| {
        if number(spread.low) == number(spread.high) {
            number(spread.median)
        } else {
            format!("{} ({}–{})", number(spread.median), number(spread.low), number(spread.high))
        }
    })
}

fn median(samples: &Samples) -> String {
    samples.median().map_or_else(String::new, |median| number(median).trim_end_matches(".00").to_owned())
}

/// All figures: a row for each measurement, a column for each subject.
pub(crate) fn table(plan: &Plan, figures: &Figures) -> Table {
    let names: Vec<&'static str> = plan.subjects.iter().map(|subject| subject.name).collect();
    let mut table = Table::new(std::iter::once("").chain(names.iter().copied()));
    let mut row = |title: String, cell: &dyn Fn(&'static str) -> String| {
        let cells: Vec<String> = names.iter().map(|name| cell(name)).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            table.push(std::iter::once(title).chain(cells));
        }
    };
    for &(records, _) in &plan.batches {
        let of = |show: fn(&BatchFigures) -> String| {
            move |name| figures.batches.get(&(name, records)).map_or_else(String::new, show)
        };
        row(format!("batch of {records}: wall, ms"), &of(|figures| spread(&figures.wall)));
        row(format!("batch of {records}: CPU, ms"), &of(|figures| spread(&figures.processor)));
        row("… of what stands in for AWS meanwhile".to_owned(), &of(|figures| spread(&figures.harness)));
    }
    for &(records, _) in &plan.batches {
        let of = |show: fn(&BatchFigures) -> String| {
            move |name| figures.batches.get(&(name, records)).map_or_else(String::new, show)
        };
        let peak = of(|figures| number(figures.peak_memory as f64 / 1e6));
        row(format!("peak memory, batches of {records}, MB"), &peak);
    }
    for (mode, title) in [
        (StartMode::Plain, "start to first answer, plain HTTP, ms"),
        (StartMode::Secure, "… over TLS, at full speed, ms"),
        (StartMode::Throttled, "… over TLS, init at full speed, then the CPU of 256 MB, ms"),
    ] {
        row(title.to_owned(), &|name| figures.first_answers.get(&(name, mode)).map_or_else(String::new, spread));
    }
    row("zip, MB".to_owned(), &|name| {
        figures.zips.get(name).map_or_else(String::new, |bytes| number(*bytes as f64 / 1e6))
    });
    let hundred = |show: fn(&BatchFigures) -> String| {
        move |name| figures.batches.get(&(name, 100)).map_or_else(String::new, show)
    };
    row("batch of 100: requests to DynamoDB".to_owned(), &hundred(|figures| median(&figures.requests)));
    row("… their bodies, bytes".to_owned(), &hundred(|figures| median(&figures.request_bytes)));
    row("… bytes logged".to_owned(), &hundred(|figures| median(&figures.log_bytes)));
    row("… allocations a record".to_owned(), &|name| {
        let count = figures.allocations.get(name).and_then(Samples::median);
        count.map_or_else(String::new, |count| number(count / COUNTED as f64))
    });
    row("… datagrams to the X-Ray daemon".to_owned(), &hundred(|figures| median(&figures.datagrams)));
    row("… their bytes".to_owned(), &hundred(|figures| median(&figures.datagram_bytes)));
    table
}

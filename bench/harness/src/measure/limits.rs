//! How the limit of requests in flight affects a large batch (`bench/limits`).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Bench, MeasureError, StartMode};
use crate::event;
use crate::function::Function;
use crate::report::table::{Table, number};
use crate::stats::Samples;
use crate::subjects::{Endpoint, SUBJECTS};

/// The size of the batch: 40 requests.
const RECORDS: usize = 1_000;
const ROUNDS: usize = 9;
/// The throttling table's write units a second. A request consumes 50.
const CAPACITY: f64 = 2_000.0;

/// A row for each build in `directory`, where each build's directory is named after its limit.
///
/// # Errors
/// When one of them misbehaves.
pub(crate) async fn table(directory: &Path, amazon_roots: &Path, latency: Duration) -> Result<Table, MeasureError> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().parse::<usize>().ok()));
    let mut limits: Vec<usize> = names.filter_map(io::Result::transpose).collect::<Result<_, _>>()?;
    limits.sort_unstable();
    let mut table = Table::new([
        "most requests in flight",
        "warm, ms",
        "first, over TLS, with the CPU of 256 MB, ms",
        "table of 2,000 units a second, ms",
        "… requests refused",
    ]);
    for limit in limits {
        let bench = Bench::start(&directory.join(limit.to_string()), amazon_roots, latency).await?;
        let row = bench.large_batches().await?;
        table.push([limit.to_string()].into_iter().chain(row.map(number)));
    }
    Ok(table)
}

impl Bench {
    /// The medians for the last four columns.
    async fn large_batches(&self) -> Result<[f64; 4], MeasureError> {
        let ours = &SUBJECTS[0];
        let wrong = |source| MeasureError::Function { subject: ours.name, records: RECORDS, source };
        let [mut warm, mut first, mut throttled, mut refused] = <[Samples; 4]>::default();
        let start = self.built.start(ours, &Endpoint::Secure(self.dynamodb.secure_url()));
        for round in 0..ROUNDS {
            let event = event::batch(round, RECORDS);
            let took = self.first_answer(&start, event, StartMode::Throttled).await.map_err(wrong)?;
            first.push(round, took.as_secs_f64() * 1e3);
        }
        let start = self.built.start(ours, &Endpoint::Plain(self.dynamodb.plain_url()));
        let mut function = Function::start(&start, &self.processors).await.map_err(wrong)?;
        for (capacity, samples) in [(None, &mut warm), (Some(CAPACITY), &mut throttled)] {
            self.dynamodb.throttle(capacity);
            for round in 0..ROUNDS {
                let invoked = function.invoke(event::batch(round, RECORDS), false).await.map_err(wrong)?;
                samples.push(round, invoked.wall.as_secs_f64() * 1e3);
                refused.push(round, self.dynamodb.take_refused() as f64);
                self.dynamodb.take_kept();
            }
        }
        function.end().await;
        Ok([warm, first, throttled, refused].map(|samples| samples.median().unwrap_or(f64::NAN)))
    }
}

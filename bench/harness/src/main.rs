//! Measures the function and its peers (`make bench`).

mod aws;
mod clock;
mod entries;
mod event;
mod function;
mod guard;
mod measure;
mod processor;
mod report;
mod stats;
mod subjects;
mod terminal;
mod throttle;
mod timer;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use guard::Recorded;
use measure::{Bench, MeasureError, Plan};
use report::Report;
use report::cost::{Prices, Stack};
use report::verdict::{self, LocalWorld};

/// Measures the function and its peers: time, CPU, memory, start-up, size, cost. `make bench` builds what it needs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the subjects are (bench/build)
    #[arg(long, default_value = "target/bench")]
    subjects: PathBuf,
    /// The certificates that the function trusts when deployed
    #[arg(long, default_value = "src/aws/amazon-roots.pem")]
    amazon_roots: PathBuf,
    /// The service's packaged template
    #[arg(long, default_value = ".serverless/cloudformation-template-update-stack.json")]
    template: PathBuf,
    /// Prices and assumptions
    #[arg(long, default_value = "bench/prices.json")]
    prices: PathBuf,
    /// What the local world's command measured: the last line that crates/local/examples/rate.rs prints
    #[arg(long)]
    local_world: Option<PathBuf>,
    /// Only take the guarded counts, and compare them with those in this file
    #[arg(long)]
    guard: Option<PathBuf>,
    /// Only measure large batches, with each build in this directory; the builds differ in their limit of requests in
    /// flight (bench/limits)
    #[arg(long)]
    limits: Option<PathBuf>,
    /// Write the figures into docs/performance.md, docs/cost.md and docs/images/performance.svg below this directory
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only these subjects, such as `ours,bare`
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these batch sizes, such as `1,100`
    #[arg(long, value_delimiter = ',')]
    batches: Vec<usize>,
    /// DynamoDB's latency in milliseconds
    #[arg(long, default_value_t = 5)]
    latency: u64,
    /// The number of rounds, instead of the default for each batch size
    #[arg(long)]
    rounds: Option<usize>,
    /// The number of starts of each process; 0 skips the starts and the costs
    #[arg(long)]
    starts: Option<usize>,
    /// Fewer rounds
    #[arg(long)]
    quick: bool,
}

/// Why the bench failed.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Document(#[from] report::DocumentError),
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path} is not what it should be: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            terminal::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<ExitCode, BenchError> {
    let latency = Duration::from_millis(arguments.latency);
    if let Some(builds) = &arguments.limits {
        let table = measure::limits::table(builds, &arguments.amazon_roots, latency).await?;
        write!(io::stdout(), "{}", table.terminal())?;
        return Ok(ExitCode::SUCCESS);
    }
    let start = Bench::start(&arguments.subjects, &arguments.amazon_roots, latency);
    if let Some(recorded) = &arguments.guard {
        let recorded: Recorded = read(recorded)?;
        let (report, is_held) = guard::report(&guard::guard(&start.await?, &recorded).await?);
        write!(io::stdout(), "{report}")?;
        return Ok(if is_held { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut plan = Plan::new(arguments.quick);
    if !arguments.only.is_empty() {
        plan.subjects.retain(|subject| arguments.only.iter().any(|name| name == subject.name));
    }
    if !arguments.batches.is_empty() {
        plan.batches.retain(|(records, _)| arguments.batches.contains(records));
    }
    if let Some(rounds) = arguments.rounds {
        plan.batches.iter_mut().for_each(|(_, usual)| *usual = rounds);
    }
    if let Some(starts) = arguments.starts {
        plan.starts = starts;
        plan.billed = plan.billed.min(starts);
    }
    let prices: Prices = read(&arguments.prices)?;
    let stack = Stack::read(&read(&arguments.template)?);
    let world: Option<LocalWorld> = arguments.local_world.as_deref().map(read).transpose()?;

    let bench = start.await?;
    let figures = bench.run(&plan).await?;
    let verdicts = verdict::verdicts(&figures, world.as_ref());
    let report = Report { plan: &plan, figures: &figures, verdicts: &verdicts, prices: &prices, stack: &stack };
    write!(io::stdout(), "{}", report.terminal())?;
    if let Some(root) = &arguments.write {
        report.write(root)?;
    }
    // The documents must come from one run of everything.
    let is_missed =
        verdicts.iter().any(|verdict| verdict.is_missed() || arguments.write.is_some() && !verdict.is_measured());
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BenchError> {
    let text = fs::read(path).map_err(|source| BenchError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| BenchError::Json { path: path.to_owned(), source })
}

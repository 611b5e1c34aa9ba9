//! Measures the function beside its peers (`make bench`).

mod aws;
mod clock;
mod entries;
mod event;
mod function;
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
use measure::{Bench, Figures, MeasureError, Plan};
use report::cost::{Prices, Stack};
use report::verdict::{LocalWorld, Verdict};
use report::{document, picture, table, verdict};

/// Measures the function beside its peers: time, CPU, memory, start-up, size, cost. `make bench` builds what it needs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the subjects are (bench/build)
    #[arg(long, default_value = "target/bench")]
    subjects: PathBuf,
    /// The certificates that the function trusts when it is deployed
    #[arg(long, default_value = "src/aws/amazon-roots.pem")]
    amazon_roots: PathBuf,
    /// What the service creates, as it was packaged
    #[arg(long, default_value = ".serverless/cloudformation-template-update-stack.json")]
    template: PathBuf,
    /// Prices and assumptions
    #[arg(long, default_value = "bench/prices.json")]
    prices: PathBuf,
    /// What the local world's command measured: the last line of crates/local/examples/rate.rs
    #[arg(long)]
    local_world: Option<PathBuf>,
    /// Write the figures into docs/performance.md, docs/cost.md and docs/images/performance.svg below this directory
    #[arg(long)]
    write: Option<PathBuf>,
    /// Only these subjects, such as `ours,bare`
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only these sizes of batches, such as `1,100`
    #[arg(long, value_delimiter = ',')]
    batches: Vec<usize>,
    /// After how many milliseconds DynamoDB answers
    #[arg(long, default_value_t = 5)]
    latency: u64,
    /// How many rounds, instead of what is usual for each size
    #[arg(long)]
    rounds: Option<usize>,
    /// How many starts of each process; 0 for none, and no costs
    #[arg(long)]
    starts: Option<usize>,
    /// Fewer rounds
    #[arg(long)]
    quick: bool,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error(transparent)]
    Io(#[from] io::Error),
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

    let latency = Duration::from_millis(arguments.latency);
    let bench = Bench::start(&arguments.subjects, &arguments.amazon_roots, latency).await?;
    let figures = bench.run(&plan).await?;
    let verdicts = verdict::verdicts(&figures, world.as_ref());
    let report = Report { plan: &plan, figures: &figures, verdicts: &verdicts, prices: &prices, stack: &stack };
    write!(io::stdout(), "{}", report.terminal())?;
    if let Some(root) = &arguments.write {
        report.write(root)?;
    }
    let is_missed = verdicts.iter().any(Verdict::is_missed);
    Ok(if is_missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, BenchError> {
    let text = fs::read(path).map_err(|source| BenchError::File { path: path.to_owned(), source })?;
    serde_json::from_slice(&text).map_err(|source| BenchError::Json { path: path.to_owned(), source })
}

/// All that a run says.
struct Report<'a> {
    plan: &'a Plan,
    figures: &'a Figures,
    verdicts: &'a [Verdict],
    prices: &'a Prices,
    stack: &'a Stack,
}

impl Report<'_> {
    fn terminal(&self) -> String {
        let mut text = report::figures::table(self.plan, self.figures).terminal();
        if !self.figures.own_processors {
            text.push_str("There is one processor: what stands in for AWS shares it with what is measured.\n");
        }
        text.push('\n');
        text.push_str(&verdict::table(self.verdicts).terminal());
        if !self.figures.billed.is_empty() {
            for records in [1, 100] {
                text.extend([&*format!("\na million changes, batches of {records}\n")]);
                text.push_str(&self.changes(records).terminal());
            }
            text.push('\n');
            text.push_str(&self.prices.fixed(self.stack, self.figures).terminal());
        }
        for verdict in self.verdicts.iter().filter(|verdict| verdict.is_missed()) {
            text.extend([&*format!("\nMISSED: {}", verdict.sentence())]);
        }
        text.push('\n');
        text
    }

    fn changes(&self, records: usize) -> table::Table {
        self.prices.changes(self.plan, self.stack, self.figures, records)
    }

    fn write(&self, root: &Path) -> Result<(), BenchError> {
        let mut subjects = table::Table::new(["column", "what it is"]);
        for subject in &self.plan.subjects {
            subjects.push([subject.name, subject.what]);
        }
        let figures = report::figures::table(self.plan, self.figures).markdown();
        let verdicts = verdict::table(self.verdicts).markdown();
        put(
            root,
            "docs/performance.md",
            &[("figures", figures), ("verdicts", verdicts), ("subjects", subjects.markdown())],
        )?;
        let svg = root.join("docs/images/performance.svg");
        fs::write(&svg, picture::svg(self.figures)).map_err(|source| BenchError::File { path: svg, source })?;
        let storage = self.prices.storage(self.stack, self.figures).unwrap_or_default();
        let parts = [
            ("fixed", self.prices.fixed(self.stack, self.figures).markdown()),
            ("quiet", self.changes(1).markdown()),
            ("bulk", self.changes(100).markdown()),
            ("storage", storage),
            ("assumptions", self.prices.assumptions()),
            ("prices", format!("{}\n\n{}", self.prices.origin(), self.prices.table().markdown())),
        ];
        put(root, "docs/cost.md", &parts)
    }
}

/// Puts parts into a document.
fn put(root: &Path, name: &str, parts: &[(&str, String)]) -> Result<(), BenchError> {
    let path = root.join(name);
    let file = |source| BenchError::File { path: path.clone(), source };
    let mut text = fs::read_to_string(&path).map_err(file)?;
    for (part, content) in parts {
        text = document::replace(&text, part, content).map_err(file)?;
    }
    fs::write(&path, text).map_err(file)
}

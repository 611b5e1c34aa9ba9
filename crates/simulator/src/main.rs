//! `simulate`: runs campaigns, and replays the run of one seed.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use config_audit_simulator::campaign::campaign;
use config_audit_simulator::fault::Fault;
use config_audit_simulator::scenario::Scenario;
use config_audit_simulator::shrink::shrink;
use config_audit_simulator::tampering::tampering;
use config_audit_simulator::world::{Capture, run};

/// Simulates the whole path of an audit, with every fault, and checks that nothing is lost or duplicated
#[derive(Debug, Parser)]
struct Arguments {
    /// How many runs to make
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// The first run's seed
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Replay the run of this seed instead, and show what happened; a failing run is made smaller first
    #[arg(long, value_name = "SEED", conflicts_with_all = ["runs", "first_seed"])]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = std::io::stdout().lock();
    // It is not an error if the reader has gone away.
    let mut print = |text: String| drop(writeln!(output, "{text}"));
    if let Some(seed) = arguments.replay {
        return replay(seed, &mut print);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let summary = campaign(arguments.first_seed, arguments.runs, threads);
    print(summary.to_string());
    for (seed, violations) in &summary.failures {
        print(format!("seed {seed} fails:\n  {}", violations.join("\n  ")));
    }
    if let Some((seed, _)) = summary.failures.first() {
        print(format!("\nTo see how: make simulate REPLAY={seed}"));
        return ExitCode::FAILURE;
    }
    let unseen = summary.unseen();
    if unseen.is_empty() {
        return ExitCode::SUCCESS;
    }
    let words: Vec<String> = unseen.into_iter().map(Fault::words).collect();
    print(format!("no run has seen: {}. Nothing is proved of these; make more runs.", words.join(", ")));
    ExitCode::FAILURE
}

fn replay(seed: u64, print: &mut impl FnMut(String)) -> ExitCode {
    let mut scenario = Scenario::from_seed(seed);
    let fails = !run(&scenario, Capture::Nothing).violations.is_empty();
    if fails {
        scenario = shrink(&scenario);
    }
    let outcome = run(&scenario, Capture::Timeline);
    print(scenario.to_string());
    // What follows the first broken promise does not explain it.
    let shown =
        outcome.timeline.iter().position(|line| line.contains("VIOLATION")).map_or(usize::MAX, |first| first + 1);
    outcome.timeline.into_iter().take(shown).for_each(&mut *print);
    let tampered = tampering(seed);
    if !tampered.is_empty() {
        print(format!("\nseed {seed}, where somebody tampers with the entries, fails:\n  {}", tampered.join("\n  ")));
        ExitCode::FAILURE
    } else if fails {
        print(format!("\nseed {seed}, made smaller, fails:\n  {}", outcome.violations.join("\n  ")));
        ExitCode::FAILURE
    } else {
        print(format!("\nseed {seed} breaks no promise"));
        ExitCode::SUCCESS
    }
}

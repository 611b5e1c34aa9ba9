//! What the function costs: start-up, time, CPU and memory for batches, bytes logged. `make figures` builds what it
//! compares, and runs it.
//!
//! Times are those of this machine; what can be told from them are the ratios, taken in turn in one run.

#![allow(clippy::print_stdout, reason = "figures are for the terminal")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config_audit::clock::Clock;
use config_audit_local::{EventBus, Trace, World, WorldEvent, WorldSettings};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc::UnboundedReceiver;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How often each thing is measured; medians are printed.
const ROUNDS: usize = 21;

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(bootstrap), Some(silent), Some(hello)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: figures BOOTSTRAP SILENT HELLO".into());
    };
    start_up(&bootstrap, &hello).await?;
    telemetry(&bootstrap, &silent).await?;
    for (records, rounds) in [(100, 10), (1_000, 5), (10_000, 3)] {
        memory(&bootstrap, records, rounds).await?;
    }
    Ok(())
}

/// From the start of the process to its first poll, against the least Lambda there can be.
async fn start_up(bootstrap: &Path, hello: &Path) -> Result<()> {
    let world = World::start(WorldSettings::new(bootstrap), EventBus::new()).await?;
    let dynamodb = world.database().ok_or("no database")?.url().to_owned();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(first_poll(bootstrap, &dynamodb).await?);
        theirs.push(first_poll(hello, &dynamodb).await?);
    }
    world.stop().await;
    let (ours, theirs) = (median(ours), median(theirs));
    println!("start to first poll, connection open   {:6.1} ms", ours * 1e3);
    println!("  hello world                          {:6.1} ms", theirs * 1e3);
    println!("  ratio                                {:6.2}", ours / theirs);
    Ok(())
}

async fn first_poll(binary: &Path, dynamodb: &str) -> Result<f64> {
    let api = TcpListener::bind("127.0.0.1:0").await?;
    let start = Clock::System.instant();
    let mut process = Command::new(binary)
        .env_clear()
        .envs([
            ("AUDIT_TABLE", "Audit-local"),
            ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_LAMBDA_FUNCTION_NAME", "figures"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "figures"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "figures"),
        ])
        .env("AWS_LAMBDA_RUNTIME_API", api.local_addr()?.to_string())
        .kill_on_drop(true)
        .spawn()?;
    let (connection, _) = api.accept().await?;
    connection.readable().await?;
    let took = (Clock::System.instant() - start).as_secs_f64();
    process.kill().await?;
    Ok(took)
}

/// A batch of 100 whose trace is not sampled, with all telemetry and with none.
async fn telemetry(bootstrap: &Path, silent: &Path) -> Result<()> {
    let (mut with, mut without) = (Subject::start(bootstrap).await?, Subject::start(silent).await?);
    let (mut walls, mut cpus, mut silent_cpus, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS * 5 {
        let event = event(round, 100);
        let of_with = with.invoke(&event).await?;
        let of_without = without.invoke(&event).await?;
        walls.push(of_with.wall.as_secs_f64());
        cpus.push(of_with.cpu);
        silent_cpus.push(of_without.cpu);
        bytes.push(of_with.logged_besides_samples as f64);
    }
    let (cpu, silent_cpu) = (median(cpus), median(silent_cpus));
    println!("batch of 100                           {:6.1} ms", median(walls) * 1e3);
    println!("  CPU                                  {:6.2} ms", cpu * 1e3);
    println!("  CPU without telemetry                {:6.2} ms", silent_cpu * 1e3);
    println!("  ratio                                {:6.2}", cpu / silent_cpu);
    println!("  logged besides samples               {:6.0} bytes", median(bytes));
    with.world.stop().await;
    without.world.stop().await;
    Ok(())
}

/// The most memory that a new process has had after some batches of this size.
async fn memory(bootstrap: &Path, records: usize, rounds: usize) -> Result<()> {
    let mut subject = Subject::start(bootstrap).await?;
    let mut cpus = Vec::new();
    for round in 0..rounds {
        cpus.push(subject.invoke(&event(round, records)).await?.cpu);
    }
    println!("{records:6} records a batch, CPU           {:6.1} ms", median(cpus) * 1e3);
    println!("  peak memory                          {:6.1} MB", subject.peak_memory()? / 1e6);
    subject.world.stop().await;
    Ok(())
}

/// A function that is measured while it works.
struct Subject {
    world: World,
    events: UnboundedReceiver<Arc<WorldEvent>>,
    pid: u32,
}

struct Measured {
    wall: Duration,
    /// Seconds on a processor.
    cpu: f64,
    logged_besides_samples: usize,
}

impl Subject {
    async fn start(bootstrap: &Path) -> Result<Self> {
        let mut settings = WorldSettings::new(bootstrap);
        settings.function.trace = Trace::NotSampled;
        // The embedded database is slower than DynamoDB, above all in a debug build.
        settings.function.timeout = Duration::from_mins(10);
        let bus = EventBus::new();
        let events = bus.subscribe();
        let mut subject = Self { world: World::start(settings, bus).await?, events, pid: 0 };
        // The first invocations start the process and warm it up.
        for round in 0..3 {
            subject.invoke(&event(1_000_000 + round, 1)).await?;
        }
        Ok(subject)
    }

    async fn invoke(&mut self, event: &Value) -> Result<Measured> {
        let before = if self.pid == 0 { 0.0 } else { self.cpu()? };
        let invoked = self.world.invoke(serde_json::to_vec(event)?).await?;
        if let Some(failure) = invoked.outcome.err() {
            return Err(failure.into());
        }
        let mut logged_besides_samples = 0;
        while let Ok(event) = self.events.try_recv() {
            match &*event {
                WorldEvent::ProcessStarted { pid } => self.pid = *pid,
                WorldEvent::LogLine { line, .. } => logged_besides_samples += besides_samples(line)?,
                _ => {}
            }
        }
        Ok(Measured { wall: invoked.duration, cpu: self.cpu()? - before, logged_besides_samples })
    }

    /// The time on a processor of all threads, in seconds.
    fn cpu(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.pid))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            nanoseconds += text.split(' ').next().ok_or("schedstat is empty")?.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e9)
    }

    /// The largest resident set so far, in bytes.
    fn peak_memory(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in the status")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0)
    }
}

/// The bytes of a line, its end included, without the members that are arrays of samples.
fn besides_samples(line: &str) -> Result<usize> {
    let members: serde_json::Map<String, Value> = serde_json::from_str(line)?;
    let samples = ["AuditLag", "WriteLatency"].iter().filter_map(|name| members.get(*name));
    Ok(line.len() + 1 - samples.map(|values| values.to_string().len()).sum::<usize>())
}

/// An event of so many changes, all different, and different from those of other rounds.
fn event(round: usize, records: usize) -> Value {
    let record = |index: usize| {
        json!({
            "eventID": format!("{round:016x}{index:016x}"),
            "eventName": "MODIFY",
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_726_045_348.0,
                "Keys": {"key": {"S": format!("SETTING_{index}")}},
                "NewImage": {"key": {"S": format!("SETTING_{index}")}, "value": {"N": "1800"}},
                "OldImage": {"key": {"S": format!("SETTING_{index}")}, "value": {"N": "3600"}},
                "SequenceNumber": format!("97{round:010}{index:010}"),
                "SizeBytes": 78,
                "StreamViewType": "NEW_AND_OLD_IMAGES"
            },
            "eventSourceARN":
                "arn:aws:dynamodb:eu-central-1:123456789012:table/Configuration-dev/stream/2024-09-11T09:00:17.927"
        })
    };
    json!({ "Records": (0..records).map(record).collect::<Vec<_>>() })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

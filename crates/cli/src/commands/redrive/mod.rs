//! `config-audit redrive`: replays the objects of the failure bucket through the function's own handler.
//!
//! A record produces the same entries each time, with the same IDs, and its object has the same key each time. So
//! replaying a stored record changes nothing (except the `traceId` of entries with provenance, which belongs to the
//! last delivery). A run may be interrupted at any point, repeated, and run at the same time as the function or another
//! run.
//!
//! An object whose records are all done moves to the archive, `redriven/`. If the Audit table was restored from a
//! backup, it lacks the entries of records replayed since then, so a run that names the archive replays it, and leaves
//! it as it is.
//!
//! [`place`] is where the objects are, [`config_audit_mapping::object`] parses them, [`replay`] replays them, and
//! [`summary`] is the result of a run.

pub mod error;
pub mod replay;
pub mod summary;

use std::future::Future;
use std::pin::pin;

use clap::Args;
use config_audit::clock::Clock;
use config_audit::store::dynamodb::DynamoDbStore;
use futures_util::stream::StreamExt;
use tokio::signal::unix::{SignalKind, signal};

pub use self::error::RedriveError;
pub use self::replay::Redrive;
use self::summary::{Summary, describe};
use crate::aws::{Aws, AwsArguments, url};
use crate::place::{Location, Place};
use crate::progress::Progress;
use crate::terminal::{Output, Terminal};

/// What to replay into which table.
#[derive(Debug, Args)]
pub struct RedriveArguments {
    /// The failure bucket, `s3://BUCKET` or `s3://BUCKET/PREFIX`, or a directory with a copy of it
    ///
    /// Objects under redriven/ were replayed before, and are replayed again only if you name them:
    /// `s3://BUCKET/redriven/`, or a directory called redriven.
    #[arg(value_name = "PLACE")]
    location: Location,
    /// The Audit table, by name or ARN
    #[arg(long, value_name = "NAME", required_unless_present = "dry_run")]
    audit_table: Option<String>,
    /// The Configuration table's key: the function's `KEY_ATTRIBUTE`
    #[arg(long, value_name = "NAME", default_value = "key")]
    key_attribute: String,
    /// Write the provenance of entries, as the function does with `AUDIT_PROVENANCE=on`; use it if the function has
    /// that set
    ///
    /// An entry that is stored already is written again. Without this option it would lose its `provenance`; with it, it loses
    /// only `provenance.traceId`: that is the trace of the last delivery, and a replay has none.
    #[arg(long)]
    provenance: bool,
    /// For a directory: the bucket that it is a copy of, because entries with omitted values refer to it
    ///
    /// The command writes their full records to omitted/ in the directory; copy them to the bucket.
    #[arg(long, value_name = "BUCKET")]
    failure_bucket: Option<String>,
    /// Print the objects and what a replay would do, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to print the summary
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// The account
    #[command(flatten)]
    aws: AwsArguments,
    /// Use the S3 behind this URL [default: `AWS_ENDPOINT_URL_S3`, or --endpoint-url]
    #[arg(long, value_name = "URL", value_parser = url, help_heading = "AWS")]
    s3_endpoint_url: Option<String>,
}

/// Runs the command. Returns 0 if everything was replayed, or there was nothing to do; otherwise 1.
///
/// # Errors
/// If the command cannot replay anything, or cannot continue; it has printed what it did until then. Or if standard
/// output cannot be written.
pub async fn run(arguments: RedriveArguments, terminal: Terminal) -> Result<u8, RedriveError> {
    let is_text = arguments.output == Output::Text;
    let dry_run = arguments.dry_run;
    let aws = arguments.aws.load(terminal).await?;
    let redrive = redrive(arguments, &aws)?;
    if redrive.table.is_some() {
        aws.check_credentials().await?;
    }
    let mut summary = Summary { dry_run, ..Summary::default() };
    let mut stop = pin!(interrupted()?);
    let whose = aws.whose().await;
    terminal.note(match &redrive.table {
        Some(table) => {
            format!("Replaying into table {} {whose}. Press Ctrl-C to stop; the next run continues.", table.table())
        }
        None => format!("A dry run {whose}: nothing is written."),
    });
    redrive.probe().await?;
    let mut progress = Progress::new(terminal);
    let mut seen = 0_usize;
    let mut objects = pin!(redrive.objects());
    let ended = loop {
        let object = tokio::select! {
            biased;
            () = &mut stop => {
                summary.interrupted = true;
                break Ok(());
            }
            object = objects.next() => match object {
                Some(Ok(object)) => object,
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
        };
        if dry_run && is_text {
            terminal.lines(describe(&object, Clock::System.now()))?;
        }
        summary.add(object);
        seen += 1;
        progress.show(|| summary.progress());
    };
    if seen == 0 && ended.is_err() {
        return ended.map(|()| 1);
    }
    summary.interrupted |= ended.is_err();
    if is_text {
        terminal.lines(summary.lines())?;
    } else {
        terminal.json(&summary)?;
    }
    ended.map(|()| u8::from(!summary.is_complete()))
}

fn redrive(arguments: RedriveArguments, aws: &Aws) -> Result<Redrive, RedriveError> {
    let place = match (arguments.location, arguments.failure_bucket) {
        (Location::Bucket { bucket, .. }, Some(_)) => return Err(RedriveError::FailureBucket(bucket)),
        (Location::Bucket { bucket, prefix }, None) => {
            let address = aws.place_of_s3(arguments.s3_endpoint_url.as_deref());
            Place::Bucket { client: aws.s3(arguments.s3_endpoint_url), bucket, prefix, address }
        }
        (Location::Directory(path), _) if !path.is_dir() => return Err(RedriveError::NoDirectory(path)),
        (Location::Directory(path), bucket) => Place::Directory { path, bucket },
    };
    let table = arguments.audit_table.filter(|_| !arguments.dry_run);
    let table = table.map(|table| DynamoDbStore::new(aws.dynamodb_without_retries(), &table));
    let mut redrive = Redrive::new(place, table);
    redrive.key_attribute = arguments.key_attribute;
    redrive.provenance = arguments.provenance;
    redrive.account = Some(aws.clone());
    Ok(redrive)
}

/// Waits for Ctrl-C or SIGTERM, from now on.
fn interrupted() -> Result<impl Future<Output = ()>, RedriveError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RedriveError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RedriveError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

//! `config-audit tail`: shows new entries as they are written, and warns about changes to old ones.
//!
//! An entry is written once. The function may write it again with the same content when Lambda redelivers a record.
//! Changing or deleting an entry is tampering, unless DynamoDB's time to live does it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodbstreams::types::{OperationType, Record};
use chrono::{DateTime, Utc};
use clap::Args;
use clap::builder::UnknownArgumentValueParser;
use config_audit::clock::timestamp;
use config_audit::witness::Fingerprint;
use serde::Serialize;
use serde_dynamo::AttributeValue;
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::AwsArguments;
use crate::entry::values;
use crate::tables::CommandError;
use crate::terminal::text::{escape, width};
use crate::terminal::{Output, Terminal, Text, Tone, WriteError};
use config_audit_local::aws::entry::{Entry, Plain};
use config_audit_local::aws::item;
use config_audit_local::aws::stream::{Page, StreamError, StreamReader};
use config_audit_tables::AwsError;
use config_audit_trail::{Item, backfill_id};

/// The time between two polls; a stream allows five requests per second from all its readers in total.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of polls between two searches for new shards and for a new stream.
const POLLS_PER_REFRESH: u32 = 5;
/// How many polls in a row may fail.
const MAX_FAILURES: u32 = 10;

/// New entries, from the Audit table's stream.
#[derive(Debug, Args)]
pub struct TailArguments {
    /// The Audit table; it must have a stream with both images
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    #[arg(long = "table", hide = true, value_parser = UnknownArgumentValueParser::suggest_arg("--audit-table"))]
    _former_name: Option<String>,
    /// Start with the oldest entry in the stream, up to 24 hours old, instead of the next new one
    #[arg(long)]
    since_start: bool,
    /// Show the values of the configuration, not just the names of attributes
    #[arg(long)]
    values: bool,
    /// Do not truncate long values in the lines for people
    #[arg(long, requires = "values")]
    wide: bool,
    /// How to print each entry: a line for people, or a JSON object
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    aws: AwsArguments,
}

/// Why the stream cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// The table cannot be read, or is not an Audit table.
    #[error(transparent)]
    Table(#[from] CommandError),
    /// The table has no stream to follow.
    #[error(
        "table {table} has no stream with NEW_AND_OLD_IMAGES; enable one: aws dynamodb update-table --table-name {table} \
         --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
    )]
    NoStream {
        /// The Audit table.
        table: String,
    },
    /// AWS denied access to the stream.
    #[error(transparent)]
    Refused(AwsError),
    /// The stream cannot be read.
    #[error("{0}; check the network and proxies, or run the command again")]
    Stream(StreamError),
    /// The command cannot wait for signals.
    #[error("cannot wait for Ctrl-C")]
    Signal(#[source] std::io::Error),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

/// Runs the command until Ctrl-C or SIGTERM.
///
/// # Errors
/// If AWS returns an error, the table is not an Audit table or has no stream, or standard output cannot be written.
pub async fn run(arguments: TailArguments, terminal: Terminal) -> Result<u8, TailError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(TailError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(TailError::Signal)?;
    tokio::select! {
        outcome = follow(&arguments, terminal) => outcome.map(|()| 0),
        _ = interrupt.recv() => Ok(0),
        _ = terminate.recv() => Ok(0),
    }
}

async fn follow(arguments: &TailArguments, terminal: Terminal) -> Result<(), TailError> {
    let aws = arguments.aws.load(terminal).await.map_err(CommandError::from)?;
    let table = &arguments.audit_table;
    let audit = aws.audit_table(table);
    let stream = audit.stream().await.map_err(CommandError::from)?;
    let mut stream = stream.ok_or_else(|| TailError::NoStream { table: table.clone() })?;
    let refused = |error: StreamError| match error.code() {
        Some(code) => {
            let action = format!("reading the stream of table {table} {}", aws.place());
            let actions = "dynamodb:DescribeStream, dynamodb:GetShardIterator and dynamodb:GetRecords";
            TailError::Refused(AwsError::of_code(action, &format!("{actions} on the stream of table {table}"), code))
        }
        None => TailError::Stream(error),
    };
    let mut reader = StreamReader::new(aws.streams(), stream.clone(), BTreeMap::new());
    reader.refresh().await.map_err(refused)?;
    if !arguments.since_start {
        reader.skip_to_now().await.map_err(refused)?;
    }
    terminal.note(format!("Following table {table}. Press Ctrl-C to stop."));
    let (mut polls, mut failures) = (0_u32, 0);
    let mut is_disabled = false;
    // The stream that follows this one, once it has been read.
    let mut successor: Option<String> = None;
    loop {
        let mut seen = 0;
        let print = |page: Page| {
            seen += page.records.len();
            if let Some(notice) = page.notice {
                terminal.note(notice);
            }
            let mut notices = page.records.iter().filter_map(EntryNotice::of);
            notices.try_for_each(|notice| notice.print(arguments, terminal))
        };
        let is_refresh = polls.is_multiple_of(POLLS_PER_REFRESH);
        let polled = poll(&mut reader, is_refresh, print).await;
        let has_ended = matches!(&polled, Err(PollError::Stream(error)) if error.is_final());
        if (has_ended || seen == 0)
            && let Some(next) = successor.take()
        {
            reader = StreamReader::new(aws.streams(), next.clone(), BTreeMap::new());
            (stream, is_disabled, polls) = (next, false, 0);
            continue;
        }
        // Whoever wants to alter an entry unnoticed disables the stream first.
        if is_refresh || has_ended {
            match audit.stream().await {
                Ok(Some(current)) if current != stream => {
                    if successor.is_none() {
                        print_stream_event(StreamEvent::Replaced, table, arguments.output, terminal)?;
                    }
                    successor = Some(current);
                }
                Ok(None) => {
                    if !std::mem::replace(&mut is_disabled, true) {
                        print_stream_event(StreamEvent::Disabled, table, arguments.output, terminal)?;
                    }
                }
                // The next look may succeed.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        match polled {
            Ok(()) => failures = 0,
            // The stream is gone, and the table has no other yet.
            Err(PollError::Stream(error)) if error.is_final() && (is_disabled || successor.is_some()) => {}
            Err(PollError::Stream(error)) if failures < MAX_FAILURES && !error.is_final() => failures += 1,
            Err(PollError::Stream(error)) => return Err(refused(error)),
            Err(PollError::Output(error)) => return Err(error.into()),
        }
        polls = polls.wrapping_add(1);
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What happened to the stream itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum StreamEvent {
    /// Somebody disabled it.
    #[serde(rename = "streamDisabled")]
    Disabled,
    /// Somebody enabled another one.
    #[serde(rename = "streamReplaced")]
    Replaced,
}

fn print_stream_event(event: StreamEvent, table: &str, output: Output, terminal: Terminal) -> Result<(), WriteError> {
    let (loud, text) = match event {
        StreamEvent::Disabled => (
            "STREAM DISABLED",
            "somebody disabled the stream; nothing that happens to entries is shown until there is one again",
        ),
        StreamEvent::Replaced => (
            "STREAM REPLACED",
            "somebody disabled the stream and enabled a new one; what happened to entries in between is not shown, but \
             `config-audit verify --witness` finds it",
        ),
    };
    match output {
        Output::Text => terminal.line(Tone::Bad.paint(format!("{loud} of table {table}")) + ": " + text),
        Output::Json => terminal.json_line(&serde_json::json!({ "event": event, "table": table })),
    }
}

/// Why a poll ended early.
#[derive(Debug)]
enum PollError {
    Stream(StreamError),
    Output(WriteError),
}

/// Prints new records of all shards; a shard's records come after those of its parent.
///
/// The reader does not return a page twice, so each page is printed before the next shard is read. A shard that cannot
/// be read does not block the others; the first error is returned at the end.
async fn poll(
    reader: &mut StreamReader,
    refresh: bool,
    mut print: impl FnMut(Page) -> Result<(), WriteError>,
) -> Result<(), PollError> {
    if refresh || reader.is_outdated() {
        reader.refresh().await.map_err(PollError::Stream)?;
    }
    let shards: Vec<(String, Option<String>)> =
        reader.shards().map(|(id, parent)| (id.to_owned(), parent.map(str::to_owned))).collect();
    let known: HashSet<&String> = shards.iter().map(|(id, _)| id).collect();
    let mut failed = Ok(());
    for (id, parent) in &shards {
        let is_parent_unread =
            parent.as_ref().is_some_and(|parent| known.contains(parent) && !reader.is_exhausted(parent));
        if is_parent_unread {
            continue;
        }
        match reader.read(id, 1000).await {
            Ok(page) => print(page).map_err(PollError::Output)?,
            Err(error) => failed = failed.and(Err(PollError::Stream(error))),
        }
    }
    failed
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Event {
    Written,
    Backfilled,
    /// Tampering.
    Altered,
    /// Tampering.
    Deleted,
    /// By DynamoDB's time to live.
    Expired,
}

/// What one record of the stream says about an entry.
#[derive(Debug)]
struct EntryNotice {
    event: Event,
    /// The entry as it is now, or before it was deleted.
    entry: Entry,
    /// The entry's attributes that were altered.
    altered: Vec<String>,
    /// When it happened, if that is not the time of the entry.
    time: Option<DateTime<Utc>>,
}

impl EntryNotice {
    /// `None` for a record of an entry that was rewritten with the same content.
    fn of(record: &Record) -> Option<Self> {
        let change = record.dynamodb.as_ref()?;
        let time = change.approximate_creation_date_time.and_then(|time| DateTime::from_timestamp(time.secs(), 0));
        let (old, new) = (change.old_image.clone().map(item), change.new_image.clone().map(item));
        let (event, entry, altered) = match (old, new) {
            (None, Some(new)) => (written(&new), new, Vec::new()),
            (Some(old), Some(new)) => {
                if Fingerprint::of(old.clone()).agrees_with(&Fingerprint::of(new.clone())) {
                    return None;
                }
                let altered = altered(&old, &new);
                (Event::Altered, new, altered)
            }
            (Some(old), None) => {
                let principal = record.user_identity.as_ref().and_then(|identity| identity.principal_id.as_deref());
                let is_expiry = principal == Some("dynamodb.amazonaws.com");
                (if is_expiry { Event::Expired } else { Event::Deleted }, old, Vec::new())
            }
            (None, None) if record.event_name == Some(OperationType::Remove) => {
                let keys = change.keys.clone().map(item).unwrap_or_default();
                (Event::Deleted, keys, Vec::new())
            }
            (None, None) => return None,
        };
        let is_written = matches!(event, Event::Written | Event::Backfilled);
        Some(Self { event, entry: Entry::from_item(entry), altered, time: time.filter(|_| !is_written) })
    }

    fn print(&self, arguments: &TailArguments, terminal: Terminal) -> Result<(), WriteError> {
        match arguments.output {
            Output::Text => {
                let limit = if arguments.wide { usize::MAX } else { terminal.width() };
                terminal.line(self.text(arguments.values.then_some(limit)))
            }
            Output::Json => self.json(arguments.values, terminal),
        }
    }

    /// For people. Includes values only if a line width is given.
    fn text(&self, limit: Option<usize>) -> Text {
        let entry = &self.entry;
        let what = match (entry.text("updatedAttribute"), entry.value("oldValue"), entry.value("newValue")) {
            ("", None, Some(_)) if self.event == Event::Backfilled => "backfilled".to_owned(),
            ("", None, _) => "created".to_owned(),
            ("", Some(_), _) => "removed".to_owned(),
            (name, None, _) => format!("{name} added"),
            (name, Some(_), None) => format!("{name} removed"),
            (name, Some(_), Some(_)) => format!("{name} changed"),
        };
        // Escaped text is wider.
        let line = format!("{}  {}  {what}", entry.text("modificationTime"), entry.text("itemKey"));
        let mut line = escape(&line).into_owned();
        if let Some(limit) = limit {
            let left = limit.saturating_sub(width(&line) + 2);
            line = format!("{line}  {}", values(entry, left));
        }
        let loud = match self.event {
            Event::Written | Event::Backfilled => return line.into(),
            Event::Altered => format!("ALTERED ({})", self.altered.join(", ")),
            Event::Deleted => "DELETED".to_owned(),
            Event::Expired => "expired".to_owned(),
        };
        let when = self.time.map(|time| format!(" at {}", timestamp(time))).unwrap_or_default();
        let tone = if self.event == Event::Expired { Tone::Quiet } else { Tone::Bad };
        tone.paint(format!("{loud} entry {}{when}:", entry.text("id"))) + format!(" {line}")
    }

    fn json(&self, values: bool, terminal: Terminal) -> Result<(), WriteError> {
        #[derive(Serialize)]
        struct Line<'a> {
            event: Event,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            altered: &'a [String],
            #[serde(skip_serializing_if = "Option::is_none")]
            time: Option<String>,
            entry: &'a Entry,
        }
        let without = self.entry.without_values();
        let entry = if values { &self.entry } else { &without };
        let time = self.time.map(timestamp);
        terminal.json_line(&Line { event: self.event, altered: &self.altered, time, entry })
    }
}

fn written(entry: &Item) -> Event {
    let text = |name: &str| match entry.get(name) {
        Some(AttributeValue::S(text)) => Some(text),
        _ => None,
    };
    let is_backfilled = text("itemKey").is_some_and(|key| text("id") == Some(&backfill_id(key).to_string()));
    if is_backfilled { Event::Backfilled } else { Event::Written }
}

/// The entry's attributes that differ, except for the trace, which changes with each redelivery.
fn altered(old: &Item, new: &Item) -> Vec<String> {
    let plain = |item: &Item, name: &str| {
        let mut value = item.get(name).cloned()?;
        if let (AttributeValue::M(members), "provenance") = (&mut value, name) {
            members.remove("traceId");
        }
        serde_json::to_string(&Plain(&value)).ok()
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter(|name| plain(old, name) != plain(new, name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodbstreams::Client;
    use config_audit_fake_aws::{refusal, service};
    use serde_json::json;

    use super::*;

    #[test]
    fn no_text_of_an_entry_hides_or_forges_a_line() {
        let evil = "x\n\u{1b}[2K\u{9b}2K\u{202e}";
        let names = ["id", "itemKey", "modificationTime", "updatedAttribute", "oldValue", "newValue"];
        let entry: Item = names.into_iter().map(|name| (name.to_owned(), AttributeValue::S(evil.to_owned()))).collect();
        let altered = vec![evil.to_owned()];
        let notice = EntryNotice { event: Event::Altered, entry: Entry::from_item(entry), altered, time: None };
        let line = notice.text(Some(usize::MAX)).to_string();
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
    }

    #[tokio::test]
    async fn a_shards_records_are_printed_even_if_another_shard_fails() {
        let config = service(|operation, input| match operation {
            "DescribeStream" => {
                (200, json!({ "StreamDescription": { "Shards": [{ "ShardId": "a-refused" }, { "ShardId": "good" }] } }))
            }
            "GetShardIterator" => (200, json!({ "ShardIterator": input["ShardId"] })),
            "GetRecords" if input["ShardIterator"] == "good" => (200, json!({ "Records": [{}] })),
            _ => refusal("InternalServerError"),
        });
        let client = Client::new(&config);
        let mut reader = StreamReader::new(client, "arn".to_owned(), BTreeMap::new());
        let mut printed = 0;
        let polled = poll(&mut reader, true, |page| {
            printed += page.records.len();
            Ok(())
        });
        assert!(polled.await.is_err());
        assert_eq!(printed, 1);
    }
}

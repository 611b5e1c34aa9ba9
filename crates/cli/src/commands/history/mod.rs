//! `config-audit history`: what happened to an item, and what it was at any time.
//!
//! The command always folds all entries of the item, also where it shows only some: a change is in order, and a backfilled
//! entry fits, only with those around it.

mod lines;

use std::collections::BTreeSet;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta};
use clap::builder::UnknownArgumentValueParser;
use clap::{Args, ValueEnum};
use config_audit::clock::timestamp;
use config_audit_local::aws::entry::Plain;
use config_audit_local::aws::item;
use serde_dynamo::AttributeValue;

use self::lines::{Line, csv, json, lines, show_table};
use crate::aws::AwsArguments;
use crate::tables::{AuditTable, TableError};
use crate::terminal::Terminal;
use crate::trail::{Fold, Gap, GapKind, Image, Step, fold};

/// The history of one item, from the Audit table's index.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// The item's key, as entries write it: a number as its digits, binary as base64
    key: String,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    #[arg(long = "table", hide = true, value_parser = UnknownArgumentValueParser::suggest_arg("--audit-table"))]
    _former_name: Option<String>,
    /// Only changes from this time on: 2026-03-03T10:00:00Z, or 2026-03-03, a day in UTC
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "at")]
    since: Option<Moment>,
    /// Only changes up to and including this time; a day is included whole
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "at")]
    until: Option<Moment>,
    /// Show the item as it was at this time, or at the end of this day, as JSON
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Moment>,
    /// How to print the changes
    #[arg(long, value_enum, default_value_t = Output::Table, conflicts_with = "at")]
    output: Output,
    /// Leave values out: only the names of attributes
    #[arg(long)]
    names_only: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; long values are cut
    Table,
    /// One entry a line, complete
    Json,
    /// With a header line; values as JSON
    Csv,
}

/// A time or a day on the command line: the first and the last text that an entry of that time can have.
#[derive(Debug, Clone)]
struct Moment {
    first: String,
    last: String,
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(day) = text.parse::<NaiveDate>() {
        let begin = day.and_time(NaiveTime::MIN).and_utc();
        let last =
            begin.checked_add_days(Days::new(1)).and_then(|next| next.checked_sub_signed(TimeDelta::milliseconds(1)));
        return Ok(Moment { first: timestamp(begin), last: timestamp(last.unwrap_or(begin)) });
    }
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| "expected a time such as 2026-03-03T10:00:00Z, or a day such as 2026-03-03".to_owned())?;
    let time = timestamp(time.to_utc());
    Ok(Moment { first: time.clone(), last: time })
}

impl HistoryArguments {
    /// Whether the user asks for changes of this time.
    fn includes(&self, time: &str) -> bool {
        self.since.as_ref().is_none_or(|since| *since.first <= *time)
            && self.until.as_ref().is_none_or(|until| *time <= *until.last)
    }
}

/// Runs the command. Returns 0, or 1 where there is nothing to show.
///
/// # Errors
/// When AWS refuses.
pub async fn run(arguments: HistoryArguments, terminal: Terminal) -> Result<u8, TableError> {
    let audit = AuditTable::new(&arguments.aws.load().await, &arguments.audit_table);
    let entries = audit.entries(&arguments.key).await?;
    let fold = fold(entries.iter().map(|entry| Step::read(item(entry.clone()))).collect(), None);
    if let (Some(at), false) = (&arguments.at, entries.is_empty()) {
        warn(&fold.gaps, terminal);
        return Ok(show_item(&fold, &at.last, arguments.names_only, terminal));
    }
    let is_included = |gap: &Gap| gap.before.as_ref().is_none_or(|time| arguments.includes(time));
    let gaps: Vec<Gap> = fold.gaps.into_iter().filter(is_included).collect();
    let lines: Vec<Line> =
        lines(&fold.steps, entries).into_iter().filter(|line| arguments.includes(line.time())).collect();
    if lines.is_empty() {
        let key = arguments.key.escape_debug();
        let when = if arguments.since.is_some() || arguments.until.is_some() { " of that time" } else { "" };
        terminal.progress(&format!("Table {} has no entries of {key}{when}.", arguments.audit_table));
        return Ok(1);
    }
    warn(&gaps, terminal);
    show(lines, &arguments, terminal);
    Ok(0)
}

fn show(mut lines: Vec<Line>, arguments: &HistoryArguments, terminal: Terminal) {
    if arguments.names_only {
        lines.iter_mut().for_each(Line::remove_values);
    }
    match arguments.output {
        Output::Table => show_table(&lines, terminal),
        Output::Json => lines.iter().for_each(|line| terminal.result(&json(line))),
        Output::Csv => terminal.result(csv(&lines).trim_end()),
    }
}

fn warn(gaps: &[Gap], terminal: Terminal) {
    for gap in gaps {
        let doubt = if gap.kind == GapKind::Undecided { "may not be" } else { "is not" };
        terminal.progress(&format!("The trail {doubt} intact: {gap}."));
    }
}

fn show_item(fold: &Fold, time: &str, names_only: bool, terminal: Terminal) -> u8 {
    let Some(image) = fold.at(time) else {
        terminal.progress(&format!("The item did not exist at {time}."));
        return 1;
    };
    if fold.steps.first().is_some_and(|first| *first.time > *time) {
        terminal.progress(&format!("The trail begins after {time}; this is the item before its first entry."));
    }
    for doubt in doubts(&image) {
        terminal.progress(&doubt);
    }
    let item = image.item();
    if names_only {
        let names: BTreeSet<&String> = item.keys().collect();
        terminal.result(&json(&names));
    } else {
        let value = AttributeValue::M(item);
        terminal.result(&serde_json::to_string_pretty(&Plain(&value)).unwrap_or_default());
    }
    0
}

/// What is not known of an item, for the person who reads it.
fn doubts(image: &Image) -> Vec<String> {
    let mut doubts = Vec::new();
    if image.is_open {
        let known: Vec<String> = image.known.keys().map(|name| name.escape_debug().to_string()).collect();
        let known = if known.is_empty() { "of none".to_owned() } else { format!("only of {}", known.join(", ")) };
        doubts.push(format!(
            "The item is older than the trail, or was too large for an entry: the trail tells {known} of its attributes; \
             it may have had others."
        ));
    }
    let omitted: Vec<String> = image.omitted().map(|name| name.escape_debug().to_string()).collect();
    if !omitted.is_empty() {
        doubts.push(format!(
            "These attributes were too large for an entry. A note in place of each value says where the full record is: {}.",
            omitted.join(", ")
        ));
    }
    doubts
}

//! `config-audit history`: what happened to an item, and what it was at any time.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta};
use clap::{Args, ValueEnum};
use config_audit::audit::omitted_hash;
use config_audit::clock::timestamp;
use serde::Serialize;
use serde_dynamo::AttributeValue;

use crate::aws::AwsArguments;
use crate::tables::{Trail, TrailError};
use crate::terminal::{Terminal, Tone, harmless};
use crate::trail::fold::{Fold, fold};
use crate::trail::{Change, Image, Step};
use config_audit_local::aws::entry::{Entry, Plain};
use config_audit_local::aws::item;

/// How wide a value may be in the table.
const VALUE_WIDTH: usize = 40;

/// The history of one item, from the Audit table's index.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// The item's key, as entries write it: a number as its digits, binary as base64
    key: String,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    table: String,
    /// Only changes from this time on: 2026-03-03T10:00:00Z, or 2026-03-03, a day in UTC
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "at")]
    since: Option<Moment>,
    /// Only changes up to this time, which is included; a day is included whole
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
    /// An entry a line, without loss
    Json,
    /// With a head line; values as JSON
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

/// Runs the command. 0, or 1 where there is nothing to show.
///
/// # Errors
/// When AWS refuses.
pub async fn run(arguments: HistoryArguments, terminal: Terminal) -> Result<u8, TrailError> {
    let trail = Trail::new(&arguments.aws.load().await, &arguments.table);
    let since = arguments.since.as_ref().map(|moment| moment.first.as_str());
    let until = arguments.until.as_ref().map(|moment| moment.last.as_str());
    let entries = trail.entries(&arguments.key, since, until).await?;
    if entries.is_empty() {
        terminal.progress(&format!(
            "there are no entries of {} in table {}",
            arguments.key.escape_debug(),
            arguments.table
        ));
        return Ok(1);
    }
    let steps = entries.iter().map(|entry| Step::read(item(entry.clone()))).collect();
    let fold = fold(steps, None);
    for gap in &fold.gaps {
        terminal.progress(&format!("The trail is not intact: {gap}."));
    }
    if let Some(at) = &arguments.at {
        return Ok(show_item(&fold, &at.last, arguments.names_only, terminal));
    }
    let mut by_id: HashMap<String, Entry> = entries
        .into_iter()
        .map(|item| {
            let entry = Entry::from_item(item);
            (entry.text("id").to_owned(), entry)
        })
        .collect();
    // What cannot be read has no place in the order; it is shown last.
    let mut lines: Vec<Line> =
        fold.steps.iter().filter_map(|step| Some(Line::new(by_id.remove(&step.id)?, &step.change))).collect();
    let mut rest: Vec<Entry> = by_id.into_values().collect();
    rest.sort_by(|one, other| one.order().cmp(&other.order()));
    lines.extend(rest.into_iter().map(|entry| Line::new(entry, &Change::Unreadable)));
    if arguments.names_only {
        for line in &mut lines {
            line.entry = line.entry.without_values();
        }
    }
    match arguments.output {
        Output::Table => show_table(&lines, terminal),
        Output::Json => lines.iter().for_each(|line| terminal.result(&json(line))),
        Output::Csv => terminal.result(csv(&lines).trim_end()),
    }
    Ok(0)
}

/// An entry, and what it says was done.
#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    entry: Entry,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    backfilled: bool,
    #[serde(skip)]
    what: String,
}

impl Line {
    fn new(entry: Entry, change: &Change) -> Self {
        let what = match change {
            Change::Insert(_) => "(created)",
            Change::Modify { attribute, .. } => attribute,
            Change::Remove(_) => "(removed)",
            Change::Snapshot(_) => "(backfilled)",
            Change::Unreadable => "(unreadable)",
        };
        Self { entry, backfilled: matches!(change, Change::Snapshot(_)), what: what.to_owned() }
    }
}

fn json(value: &impl Serialize) -> String {
    // Maps with string keys, numbers and strings: there is nothing in it that could fail.
    serde_json::to_string(value).unwrap_or_default()
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
    let omitted = |value: &&Option<_>| value.as_ref().is_some_and(|value| omitted_hash(value).is_some());
    let left_out =
        image.known.iter().filter(|(_, value)| omitted(value)).map(|(name, _)| name.escape_debug().to_string());
    let left_out: Vec<String> = left_out.collect();
    if !left_out.is_empty() {
        doubts.push(format!(
            "Too large for an entry, so only a note of it is here, which says where the full record is: {}.",
            left_out.join(", ")
        ));
    }
    doubts
}

fn show_table(lines: &[Line], terminal: Terminal) {
    let head = ["time", "attribute", "old", "new"].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(lines.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths = [width(0), width(1), width(2)];
    for (index, [time, attribute, old, new]) in rows.iter().enumerate() {
        let [first, second, third] = widths;
        let line = format!("{time:first$}  {attribute:second$}  {old:third$}  {new}");
        let line = line.trim_end();
        terminal.result(&if index == 0 { terminal.paint(Tone::Heading, line) } else { line.to_owned() });
    }
}

fn row(line: &Line) -> [String; 4] {
    let entry = &line.entry;
    let value = |name: &str| entry.value(name).map_or_else(String::new, |value| shortened(&harmless(&json(&value))));
    let text = |text: &str| text.escape_debug().to_string();
    [text(entry.text("modificationTime")), text(&line.what), value("oldValue"), value("newValue")]
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= VALUE_WIDTH {
        return text.to_owned();
    }
    let cut: String = text.chars().take(VALUE_WIDTH - 1).collect();
    format!("{cut}…")
}

fn csv(lines: &[Line]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // Writing to memory does not fail.
    let _ = writer.write_record([
        "modificationTime",
        "itemKey",
        "updatedAttribute",
        "oldValue",
        "newValue",
        "backfilled",
        "id",
    ]);
    for line in lines {
        let entry = &line.entry;
        let value = |name: &str| entry.value(name).map_or_else(String::new, |value| json(&value));
        let _ = writer.write_record([
            entry.text("modificationTime"),
            entry.text("itemKey"),
            entry.text("updatedAttribute"),
            &value("oldValue"),
            &value("newValue"),
            if line.backfilled { "true" } else { "false" },
            entry.text("id"),
        ]);
    }
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

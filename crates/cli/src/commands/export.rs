//! `config-audit export`: the whole trail, or a part of it, by time.
//!
//! Within one second, only the entries themselves show their order. So the command folds the entries that one item has
//! in one second, as `history` folds all entries of an item.

use clap::{Args, ValueEnum};
use config_audit_cloudwatch::units::{count, thousands};
use config_audit_local::aws::item;
use config_audit_tables::export::{COLUMNS, Head, entries, heads};
use config_audit_tables::{AuditTable, AwsError, SdkItem};
use config_audit_trail::{Step, fold};
use futures_util::stream::TryStreamExt;

use crate::aws::AwsArguments;
use crate::lines::lines;
use crate::moment::{Position, RangeArguments, RangeError};
use crate::progress::Progress;
use crate::tables::CommandError;
use crate::terminal::csv::csv_row;
use crate::terminal::{Terminal, WriteError};

/// The maximum number of entries of one item and second that are put in order together, because they are in memory with
/// their values. DynamoDB allows 1,000 changes of an item per second.
const MAX_FOLDED: usize = 1_000;

/// The whole trail, or a part of it.
#[derive(Debug, Args)]
pub struct ExportArguments {
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    #[command(flatten)]
    range: RangeArguments,
    /// Only items whose key begins with this
    #[arg(long, value_name = "PREFIX")]
    key_prefix: Option<String>,
    /// Only changes of this attribute, without the creations and removals of whole items
    #[arg(long, value_name = "NAME")]
    attribute: Option<String>,
    /// How to print the entries
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    output: Format,
    /// For machines: in CSV, leave cells that a spreadsheet would take for formulas as they are
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With a header line; values as JSON
    Csv,
    /// One array of all entries
    Json,
    /// One complete entry per line
    Jsonl,
}

/// Why the trail cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The times are not valid.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// Only CSV has cells.
    #[error("--raw is only for --output csv")]
    Raw,
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] CommandError),
    /// The table could be read at first.
    #[error("the output is incomplete, because the export failed after {}", count(*.exported, "entry", "entries"))]
    Incomplete {
        /// How many entries were printed.
        exported: usize,
        /// Why.
        #[source]
        error: AwsError,
    },
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl ExportArguments {
    /// Whether the entry with this head is part of the export.
    fn includes(&self, head: &Head, attribute: Option<&str>) -> bool {
        self.range.position(&head.time) == Position::Within
            && self.key_prefix.as_ref().is_none_or(|prefix| head.item_key.starts_with(prefix.as_str()))
            && self.attribute.as_deref().is_none_or(|wanted| attribute == Some(wanted))
    }
}

/// Runs the command. Returns 0, or 1 if entries were altered or deleted meanwhile.
///
/// # Errors
/// If the arguments are not valid, AWS returns an error, or standard output cannot be written.
pub async fn run(arguments: ExportArguments, terminal: Terminal) -> Result<u8, ExportError> {
    arguments.range.check()?;
    if arguments.raw && arguments.output != Format::Csv {
        return Err(ExportError::Raw);
    }
    let aws = arguments.aws.load(terminal).await.map_err(CommandError::from)?;
    let audit = aws.audit_table(&arguments.audit_table);
    let mut progress = Progress::new(terminal);
    let heads = heads(
        &audit,
        |head, attribute| arguments.includes(head, attribute),
        |read, wanted| {
            progress.show(|| format!("{} read, {} to export", count(read, "entry", "entries"), thousands(wanted)));
        },
    );
    let heads = heads.await.map_err(CommandError::from)?;
    let printer = Printer { format: arguments.output, is_raw: arguments.raw, terminal, printed: 0 };
    export(&audit, &heads, printer, progress).await
}

async fn export(
    audit: &AuditTable,
    heads: &[Head],
    mut printer: Printer,
    mut progress: Progress,
) -> Result<u8, ExportError> {
    let terminal = printer.terminal;
    let mut changed = 0;
    // The entries of one item and second, and their head.
    let mut second: Option<&Head> = None;
    let mut together: Vec<SdkItem> = Vec::new();
    printer.begin()?;
    let mut batches = std::pin::pin!(entries(audit, heads));
    while let Some(batch) =
        batches.try_next().await.map_err(|error| ExportError::Incomplete { exported: printer.printed, error })?
    {
        for (head, entry) in batch {
            let is_same = second.is_some_and(|second| (&second.time, &second.item_key) == (&head.time, &head.item_key));
            if !is_same || together.len() >= MAX_FOLDED {
                printer.print(std::mem::take(&mut together))?;
            }
            second = Some(head);
            if let Some(what) = change(head, entry.as_ref()) {
                changed += 1;
                terminal
                    .note(format!("Entry {} of {} was {what} while the trail was exported.", head.id, head.item_key));
            }
            together.extend(entry);
        }
        progress
            .show(|| format!("{} of {} exported", thousands(printer.printed), count(heads.len(), "entry", "entries")));
    }
    printer.print(together)?;
    printer.end()?;
    terminal.note(format!("{} exported.", count(printer.printed, "entry", "entries")));
    Ok(u8::from(changed > 0))
}

/// What happened to the entry since its head was read.
fn change(head: &Head, entry: Option<&SdkItem>) -> Option<&'static str> {
    match entry {
        None => Some("deleted"),
        Some(entry) if Head::of(entry) != *head => Some("altered"),
        Some(_) => None,
    }
}

/// Prints entries.
struct Printer {
    format: Format,
    is_raw: bool,
    terminal: Terminal,
    printed: usize,
}

impl Printer {
    fn begin(&self) -> Result<(), WriteError> {
        match self.format {
            Format::Csv => self.terminal.line(csv_row(COLUMNS, self.is_raw)),
            Format::Json => self.terminal.line("["),
            Format::Jsonl => Ok(()),
        }
    }

    /// Prints the entries of one item and second, in the order of the fold.
    fn print(&mut self, entries: Vec<SdkItem>) -> Result<(), WriteError> {
        let steps = entries.iter().map(|entry| Step::read(item(entry.clone()))).collect();
        for line in lines(&fold(steps, None).steps, entries) {
            match self.format {
                Format::Csv => self.terminal.line(csv_row(line.csv_row(), self.is_raw))?,
                Format::Json => self.terminal.json_element(&line, self.printed == 0)?,
                Format::Jsonl => self.terminal.json_line(&line)?,
            }
            self.printed += 1;
        }
        Ok(())
    }

    fn end(&self) -> Result<(), WriteError> {
        if self.format == Format::Json { self.terminal.line("]") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn entry(time: &str, key: &str) -> SdkItem {
        let text = |(name, text): (&str, &str)| (name.to_owned(), AttributeValue::S(text.to_owned()));
        [("id", "i"), ("modificationTime", time), ("itemKey", key)].map(text).into()
    }

    #[test]
    fn an_export_has_what_all_options_include() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            arguments: ExportArguments,
        }
        let includes = |options: &[&str], time: &str, key: &str, attribute: Option<&str>| {
            let line = [&["export", "--audit-table", "Audit"], options].concat();
            let Line { arguments } = clap::Parser::try_parse_from(line).unwrap();
            arguments.includes(&Head::of(&entry(time, key)), attribute)
        };
        let (time, week) = ("2024-09-11T09:02:28.000Z", ["--since", "2024-09-11", "--until", "2024-09-17"]);
        assert!(includes(&[], time, "K", Some("a")) && includes(&[], "", "", None));
        assert!(includes(&week, time, "K", None) && includes(&week, "2024-09-17T23:59:59.999Z", "K", None));
        assert!(!includes(&week, "2024-09-18T00:00:00.000Z", "K", None) && !includes(&week, "", "K", None));
        let part = ["--key-prefix", "CACHE_", "--attribute", "value"];
        assert!(includes(&part, time, "CACHE_TTL", Some("value")));
        assert!(!includes(&part, time, "MY_CACHE_TTL", Some("value")));
        assert!(!includes(&part, time, "CACHE_TTL", Some("values")) && !includes(&part, time, "CACHE_TTL", None));
    }

    #[test]
    fn an_entry_that_is_no_longer_the_same_is_noticed() {
        let head = Head::of(&entry("t", "K"));
        assert_eq!(change(&head, Some(&entry("t", "K"))), None);
        assert_eq!(change(&head, Some(&entry("u", "K"))), Some("altered"));
        assert_eq!(change(&head, None), Some("deleted"));
    }
}

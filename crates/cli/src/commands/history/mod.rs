//! `config-audit history`: the changes of an item, and the item at any time.
//!
//! The command always folds all entries of the item, even if it shows only some, because the order of a change, and
//! whether a backfilled entry fits, depend on the entries around it.

mod item_at_time;

use clap::builder::UnknownArgumentValueParser;
use clap::{Args, ValueEnum};
use config_audit_cloudwatch::units::thousands;
use config_audit_local::aws::item;
use config_audit_tables::export::COLUMNS;

use self::item_at_time::ItemAtTime;
use crate::aws::AwsArguments;
use crate::lines::{Line, lines, rows};
use crate::moment::{Moment, Position, RangeArguments, RangeError};
use crate::tables::CommandError;
use crate::terminal::csv::csv;
use crate::terminal::table::table;
use crate::terminal::{Terminal, Tone, WriteError};
use config_audit_trail::{Fold, Gap, GapKind, Image, Step, fold};

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
    #[command(flatten)]
    range: RangeArguments,
    /// Show the item as it was at this time, in the format of --since, or at the end of this day
    #[arg(long, value_name = "TIME", value_parser = Moment::parse, conflicts_with_all = ["since", "until"])]
    at: Option<Moment>,
    /// How to print the changes, or with --at the item
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// Omit values; show only attribute names
    #[arg(long)]
    names_only: bool,
    /// Do not truncate long values in the table
    #[arg(long)]
    wide: bool,
    #[command(flatten)]
    aws: AwsArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people; truncated to the width of the terminal
    Table,
    /// One complete entry per line; the item in one line
    Json,
    /// With a header line; values as JSON
    Csv,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The times are not valid.
    #[error(transparent)]
    Range(#[from] RangeError),
    /// The table cannot be read.
    #[error(transparent)]
    Table(#[from] CommandError),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl HistoryArguments {
    /// The maximum width of a table.
    fn width(&self, terminal: Terminal) -> Option<usize> {
        (!self.wide).then(|| terminal.width())
    }
}

/// The exit code if the trail is not intact, or that cannot be determined.
const NOT_INTACT: u8 = 3;

/// Runs the command. Returns 0, 1 if there is nothing to show, or 3 if the trail is not intact.
///
/// # Errors
/// If the times are not valid, AWS returns an error, or standard output cannot be written.
pub async fn run(arguments: HistoryArguments, terminal: Terminal) -> Result<u8, HistoryError> {
    arguments.range.check()?;
    arguments.at.as_ref().map_or(Ok(()), |at| at.check_past("--at"))?;
    let aws = arguments.aws.load(terminal).await.map_err(CommandError::from)?;
    let audit = aws.audit_table(&arguments.audit_table);
    let entries = audit.entries(&arguments.key).await.map_err(CommandError::from)?;
    let key = &arguments.key;
    if entries.is_empty() {
        terminal.note(format!("Table {} has no entries of {key}.", arguments.audit_table));
        return Ok(1);
    }
    let fold = fold(entries.iter().map(|entry| Step::read(item(entry.clone()))).collect(), None);
    if let Some(at) = &arguments.at {
        return Ok(show_item(&fold, &at.last(), &arguments, terminal)?);
    }
    let is_included = |time: &str| arguments.range.position(time) == Position::Within;
    let lines = lines(&fold.steps, entries);
    let count =
        |position: Position| lines.iter().filter(|line| arguments.range.position(line.time()) == position).count();
    if count(Position::Within) == 0 {
        let others = [(count(Position::Before), "before"), (count(Position::After), "after")];
        let others = others.into_iter().filter(|(number, _)| *number > 0);
        let others: Vec<_> = others.map(|(number, place)| format!("{} {place} it", thousands(number))).collect();
        let verb = if lines.len() == 1 { "is" } else { "are" };
        terminal.note(format!("{key} has no entries in this range; there {verb} {}.", others.join(" and ")));
        return Ok(1);
    }
    // A trail that is undecided anywhere proves nothing about gaps elsewhere in it.
    let concerns = |gap: &Gap| gap.kind == GapKind::Undecided || gap.before.as_deref().is_none_or(is_included);
    let gaps: Vec<Gap> = fold.gaps.into_iter().filter(concerns).collect();
    let mut lines: Vec<Line> = lines.into_iter().filter(|line| is_included(line.time())).collect();
    for line in &mut lines {
        line.add_findings(&gaps);
    }
    show(lines, &arguments, terminal)?;
    Ok(report(&gaps, arguments.output, terminal)?)
}

fn show(mut lines: Vec<Line>, arguments: &HistoryArguments, terminal: Terminal) -> Result<(), WriteError> {
    if arguments.names_only {
        lines.iter_mut().for_each(Line::remove_values);
    }
    match arguments.output {
        Output::Table => terminal.lines(table(&rows(&lines), arguments.width(terminal))),
        Output::Json => lines.iter().try_for_each(|line| terminal.json_line(line)),
        Output::Csv => {
            let header = COLUMNS.map(str::to_owned).to_vec();
            terminal.lines(csv(std::iter::once(header).chain(lines.iter().map(Line::csv_row))))
        }
    }
}

/// Says what is wrong with the trail: to people below the table, and to tools on standard error. Returns the exit code.
fn report(gaps: &[Gap], output: Output, terminal: Terminal) -> Result<u8, WriteError> {
    for gap in gaps {
        let doubt = if gap.kind == GapKind::Undecided { "may not be" } else { "is not" };
        let text = Tone::Bad.paint(format!("The trail {doubt} intact: {gap}."));
        match output {
            Output::Table => terminal.line(text)?,
            Output::Json | Output::Csv => terminal.note(text),
        }
    }
    Ok(if gaps.is_empty() { 0 } else { NOT_INTACT })
}

fn show_item(fold: &Fold, time: &str, arguments: &HistoryArguments, terminal: Terminal) -> Result<u8, WriteError> {
    let Some(image) = fold.at(time) else {
        terminal.note(format!("The item did not exist at {time}."));
        // A broken trail does not prove that.
        return Ok(report(&fold.gaps, arguments.output, terminal)?.max(1));
    };
    if fold.steps.first().is_some_and(|first| *first.time > *time) {
        terminal.note(format!("The trail begins after {time}; this is the item before its first entry."));
    }
    for doubt in doubts(&image) {
        terminal.note(doubt);
    }
    let item = ItemAtTime::new(image.item(), arguments.names_only);
    match arguments.output {
        Output::Table => terminal.lines(table(&item.rows(), arguments.width(terminal)))?,
        Output::Json => item.print_json(terminal)?,
        Output::Csv => terminal.lines(csv(item.rows()))?,
    }
    report(&fold.gaps, arguments.output, terminal)
}

/// What is not known about an item, for the user.
fn doubts(image: &Image) -> Vec<String> {
    let mut doubts = Vec::new();
    if image.is_open {
        let known: Vec<String> = image.known.keys().cloned().collect();
        let known = if known.is_empty() { "none".to_owned() } else { format!("only these: {}", known.join(", ")) };
        doubts.push(format!(
            "The item is older than the trail, or was too large for an entry. Of its attributes the trail records {known}; \
             it may have had others."
        ));
    }
    let omitted: Vec<String> = image.omitted().map(ToString::to_string).collect();
    if !omitted.is_empty() {
        doubts.push(format!(
            "These attributes were too large for an entry. A note in place of each value says where the full record is: {}.",
            omitted.join(", ")
        ));
    }
    doubts
}

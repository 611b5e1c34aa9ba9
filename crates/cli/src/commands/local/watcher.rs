//! Shows the world's events in `local`: a line for each change, and errors; with `--verbose` also each invocation.

use std::sync::Arc;

use chrono::DateTime;
use config_audit::clock::Clock;
use config_audit_cloudwatch::line::{EmfMetric, Line};
use config_audit_cloudwatch::span::spans;
use config_audit_cloudwatch::units::{count, duration};
use config_audit_local::aws::entry::Entry;
use config_audit_local::{BoundedEvents, CompletedInvocation, Received, WorldEvent};
use serde_json::Value;

use super::{EXAMPLE_WAIT, LocalError};
use crate::commands::invoke::describe;
use crate::entry::values;
use crate::telemetry::{metric_lines, span_lines};
use crate::terminal::text::{cut, escape, width};
use crate::terminal::{Terminal, Text, Tone, WriteError};

/// The maximum width of a key or an attribute name in the line of a change.
const MAX_NAME_WIDTH: usize = 40;

/// Subscribes to the world's events and prints those of interest to people.
pub(super) struct Watcher {
    events: BoundedEvents,
    terminal: Terminal,
    /// Whether invocations are shown too.
    verbose: bool,
    /// Records that were delivered since the last invocation began.
    delivered: usize,
    invocation: InvocationSeen,
}

/// The events so far of the running invocation.
#[derive(Default)]
struct InvocationSeen {
    records: usize,
    lines: Vec<String>,
    segments: Vec<Value>,
    cold: bool,
}

impl Watcher {
    /// Prints these events.
    pub(super) fn new(events: BoundedEvents, terminal: Terminal, verbose: bool) -> Self {
        Self { events, terminal, verbose, delivered: 0, invocation: InvocationSeen::default() }
    }

    pub(super) fn announce(&self, example: &str) -> Result<(), WriteError> {
        self.terminal.line(Tone::Heading.paint(format!("Example: {example}")))
    }

    /// Prints events until this item's entry is stored and its invocation has ended.
    pub(super) async fn entry_of(&mut self, item_key: &str, example: &str) -> Result<(), LocalError> {
        let both = async {
            let (mut stored, mut answered) = (false, false);
            while !(stored && answered) {
                match self.next().await?.as_deref() {
                    Some(WorldEvent::EntryStored { entry }) => stored |= entry.text("itemKey") == item_key,
                    Some(WorldEvent::InvocationEnded(invocation)) => answered |= invocation.outcome.is_ok(),
                    Some(_) => {}
                    None => break,
                }
            }
            Ok(())
        };
        let no_entry = |_| LocalError::NoEntry { example: example.to_owned() };
        tokio::time::timeout(EXAMPLE_WAIT, both).await.map_err(no_entry)?
    }

    /// Prints and returns the next event.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<WorldEvent>>, WriteError> {
        loop {
            match self.events.recv().await {
                None => return Ok(None),
                Some(Received::Event(event)) => {
                    self.show(&event)?;
                    return Ok(Some(event));
                }
                Some(Received::Missed(events)) => {
                    let missed = count(events, "event is", "events are");
                    self.terminal.line(Tone::Bad.paint(format!("{missed} not shown: the terminal was too slow")))?;
                }
            }
        }
    }

    fn show(&mut self, event: &WorldEvent) -> Result<(), WriteError> {
        let terminal = self.terminal;
        let bad = |text: String| terminal.line(Tone::Bad.paint(text));
        match event {
            WorldEvent::RecordDelivered { .. } => self.delivered += 1,
            // An invocation that fails to start has no end event, and its records are redelivered.
            WorldEvent::InvocationStarted { .. } => self.invocation.records = std::mem::take(&mut self.delivered),
            WorldEvent::ProcessStarted { .. } => self.invocation.cold = true,
            WorldEvent::LogLine { line, .. } if self.verbose => self.invocation.lines.push(line.clone()),
            WorldEvent::LogLine { line, .. } => {
                let line = Line::parse(line);
                if line.is_trouble() {
                    return bad(line.readable());
                }
            }
            WorldEvent::Witness(event) => match &**event {
                WorldEvent::LogLine { line, .. } => {
                    let line = Line::parse(line);
                    if line.is_trouble() {
                        return bad(format!("the witness: {}", line.readable()));
                    }
                }
                WorldEvent::Warning { message } => return bad(format!("the witness: {message}")),
                _ => {}
            },
            WorldEvent::SegmentReceived { document } if self.verbose => self.invocation.segments.push(document.clone()),
            WorldEvent::SegmentRejected { reason } => {
                return bad(format!("X-Ray: not a valid segment document: {reason}"));
            }
            WorldEvent::InvocationEnded(invocation) => {
                let seen = std::mem::take(&mut self.invocation);
                if self.verbose {
                    return terminal.lines(seen.lines(invocation));
                }
            }
            WorldEvent::EntryStored { entry } => return terminal.line(change(entry, terminal.width())),
            WorldEvent::RetryScheduled { records, retry, delay, reason, .. } => {
                let delay = duration(delay.as_secs_f64() * 1000.0);
                return bad(format!("retry {retry} of {} in {delay}: {reason}", count(*records, "record", "records")));
            }
            WorldEvent::BatchBisected { at, .. } => return bad(format!("batch split before record {at}")),
            WorldEvent::SentToDestination { key, condition, records } => {
                let records = count(*records, "record", "records");
                return bad(format!("Lambda gave up on {records} ({}), stored as {key}", condition.as_str()));
            }
            WorldEvent::DestinationFailed { message } => {
                return bad(format!("the failure bucket failed; Lambda will resend the records: {message}"));
            }
            WorldEvent::Warning { message } => return bad(message.clone()),
            WorldEvent::Recovered { message } => return terminal.line(Tone::Good.paint(message)),
            WorldEvent::StreamPolled { .. }
            | WorldEvent::TableWritten { .. }
            | WorldEvent::TableRefused { .. }
            | WorldEvent::RecordRead { .. }
            | WorldEvent::ProcessExited { .. }
            | WorldEvent::SegmentReceived { .. }
            | WorldEvent::CheckpointAdvanced { .. } => {}
        }
        Ok(())
    }
}

/// A change whose entry is stored, in one line: time, item, attribute, values, lag.
fn change(entry: &Entry, columns: usize) -> Text {
    let attribute = match (entry.text("updatedAttribute"), entry.value("newValue")) {
        ("", Some(_)) => "(created)",
        ("", None) => "(removed)",
        (name, _) => name,
    };
    let short = |text: &str| cut(&escape(text), MAX_NAME_WIDTH).into_owned();
    let time = entry.text("modificationTime");
    let what = format!("{time}  {}  {}  ", short(entry.text("itemKey")), short(attribute));
    // The writer of an entry can give it any time.
    let lag = DateTime::parse_from_rfc3339(time).map(|changed| Clock::System.now() - changed.to_utc()).ok();
    let lag = lag.map_or_else(String::new, |lag| format!("  lag {}", duration(lag.num_milliseconds().max(0) as f64)));
    let ok = "  ok";
    let values = values(entry, columns.saturating_sub(width(&what) + width(&lag) + width(ok)));
    Text::from(what) + values + Tone::Quiet.paint(lag) + Tone::Good.paint(ok)
}

impl InvocationSeen {
    fn lines(&self, invocation: &CompletedInvocation) -> Vec<Text> {
        let cold = if self.cold { ", process started" } else { "" };
        let took = duration(invocation.duration.as_secs_f64() * 1000.0);
        let tone = if invocation.outcome.is_ok() { Tone::Good } else { Tone::Bad };
        let mut text = vec![
            Tone::Heading.paint("Invocation")
                + format!(" {} -> ", count(self.records, "record", "records"))
                + tone.paint(describe(&invocation.outcome))
                + "  "
                + Tone::Quiet.paint(format!("{took}{cold}")),
        ];
        let lines: Vec<Line> = self.lines.iter().map(|line| Line::parse(line)).collect();
        // Zero counts are omitted here; `invoke` shows them.
        let has_samples = |metric: &&EmfMetric| metric.values.iter().any(|value| *value != 0.0);
        let metrics: Vec<&EmfMetric> = lines.iter().flat_map(Line::metrics).filter(has_samples).collect();
        text.extend(metric_lines(&metrics));
        let logs = lines.iter().filter(|line| line.metrics().is_empty());
        text.extend(logs.map(|line| format!("  {}", line.readable()).into()));
        text.extend(span_lines(&spans(&self.segments)));
        text
    }
}

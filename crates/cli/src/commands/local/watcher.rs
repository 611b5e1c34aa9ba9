//! What `local` shows of the world's events.

use std::sync::Arc;

use config_audit_cloudwatch::line::{EmfMetric, Line};
use config_audit_cloudwatch::span::spans;
use config_audit_cloudwatch::units::{count, duration};
use config_audit_local::{CompletedInvocation, WorldEvent};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{EXAMPLE_WAIT, LocalError};
use crate::commands::invoke::describe;
use crate::telemetry::{metric_lines, span_lines};
use crate::terminal::{Terminal, Text, Tone, WriteError};

/// Subscribes to the world's events and prints what a person wants to know.
pub(super) struct Watcher {
    events: UnboundedReceiver<Arc<WorldEvent>>,
    terminal: Terminal,
    invocation: InvocationSeen,
}

/// What has been published of the invocation that is running.
#[derive(Default)]
struct InvocationSeen {
    records: usize,
    lines: Vec<String>,
    segments: Vec<Value>,
    cold: bool,
}

impl Watcher {
    /// Prints these events.
    pub(super) fn new(events: UnboundedReceiver<Arc<WorldEvent>>, terminal: Terminal) -> Self {
        Self { events, terminal, invocation: InvocationSeen::default() }
    }

    pub(super) fn announce(&self, example: &str) -> Result<(), WriteError> {
        self.terminal.line(Tone::Heading.paint(format!("Example: {example}")))
    }

    /// Prints what happens until this item's entry is stored and its invocation has ended.
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

    /// The next thing that happens, printed.
    pub(super) async fn next(&mut self) -> Result<Option<Arc<WorldEvent>>, WriteError> {
        let Some(event) = self.events.recv().await else { return Ok(None) };
        self.show(&event)?;
        Ok(Some(event))
    }

    fn show(&mut self, event: &WorldEvent) -> Result<(), WriteError> {
        let terminal = self.terminal;
        let bad = |text: String| terminal.line(Tone::Bad.paint(text));
        match event {
            WorldEvent::RecordDelivered { .. } => self.invocation.records += 1,
            WorldEvent::ProcessStarted { .. } => self.invocation.cold = true,
            WorldEvent::LogLine { line, .. } => self.invocation.lines.push(line.clone()),
            WorldEvent::SegmentReceived { document } => self.invocation.segments.push(document.clone()),
            WorldEvent::SegmentRejected { reason } => return bad(format!("X-Ray: not a segment document: {reason}")),
            WorldEvent::InvocationEnded(invocation) => {
                let seen = std::mem::take(&mut self.invocation);
                return terminal.lines(seen.lines(invocation));
            }
            WorldEvent::EntryStored { entry } => {
                terminal.line(Tone::Good.paint("Audit entry"))?;
                let json = entry.to_pretty_json();
                terminal.lines(json.lines().map(|line| format!("  {line}").into()))?;
                return terminal.line("");
            }
            WorldEvent::RetryScheduled { records, retry, delay, reason, .. } => {
                let delay = duration(delay.as_secs_f64() * 1000.0);
                return bad(format!("retry {retry} of {} in {delay}: {reason}", count(*records, "record", "records")));
            }
            WorldEvent::BatchBisected { at, .. } => return bad(format!("batch split before record {at}")),
            WorldEvent::SentToDestination { key, condition, records } => {
                let records = count(*records, "record", "records");
                return bad(format!("{records} given up ({}), stored as {key}", condition.as_str()));
            }
            WorldEvent::DestinationFailed { message } => {
                return bad(format!("the failure bucket failed; the records are kept and sent again: {message}"));
            }
            WorldEvent::Warning { message } => return bad(message.clone()),
            WorldEvent::Recovered { message } => return terminal.line(Tone::Good.paint(message)),
            WorldEvent::ProcessExited { .. }
            | WorldEvent::InvocationStarted { .. }
            | WorldEvent::CheckpointAdvanced { .. } => {}
        }
        Ok(())
    }
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
        // Counts of zero are left out here; `invoke` shows them.
        let has_samples = |metric: &&EmfMetric| metric.values.iter().any(|value| *value != 0.0);
        let metrics: Vec<&EmfMetric> = lines.iter().flat_map(Line::metrics).filter(has_samples).collect();
        text.extend(metric_lines(&metrics));
        let logs = lines.iter().filter(|line| line.metrics().is_empty());
        text.extend(logs.map(|line| format!("  {}", line.readable()).into()));
        text.extend(span_lines(&spans(&self.segments)));
        text
    }
}

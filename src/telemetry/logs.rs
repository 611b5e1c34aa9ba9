//! Logs: `tracing` events as Lambda's JSON lines, or as text for people.
//!
//! Only this crate's own events are logged at the configured level. Those of other crates are logged only from WARN up:
//! at debug and trace levels the SDK and the runtime log whole requests and events, and configuration may be secret.

use std::fmt::Write;
use std::panic::PanicHookInfo;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use super::output;
use crate::clock::{Clock, timestamp};
use crate::settings::LogFormat;

/// The name of the span whose `requestId` is on every line that is logged within it.
pub const INVOCATION_SPAN: &str = "invocation";

/// A layer that writes each event as one line.
#[derive(Debug)]
struct LineLayer<W> {
    level: LevelFilter,
    format: LogFormat,
    clock: Clock,
    write: W,
}

/// Sends all events of this process to the log, and panics too.
pub fn start(level: LevelFilter, format: LogFormat, clock: Clock) {
    let write = match format {
        LogFormat::Json => output::line,
        LogFormat::Text => output::text_line,
    };
    let subscriber = tracing_subscriber::registry().with(LineLayer { level, format, clock, write });
    // Fails only if one is already set, which then stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(log_panic));
}

/// Logs the location of a panic. Logs its message only if it is a literal in the program: a formatted one could quote
/// configuration.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(String::new, ToString::to_string);
    let literal = info.payload().downcast_ref::<&'static str>().copied();
    tracing::error!(place, panic = literal.unwrap_or("(message withheld)"), "the function panicked; this is a bug");
}

impl<W> LineLayer<W> {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        if metadata.target().starts_with(env!("CARGO_CRATE_NAME")) || metadata.target().starts_with("bootstrap") {
            return *metadata.level() <= self.level;
        }
        // The runtime repeats each error that the handler returns; it is in the report's lines already.
        *metadata.level() <= Level::WARN
            && *metadata.level() <= self.level
            && metadata.target() != "lambda_runtime::layers::panic"
    }
}

impl<S, W> Layer<S> for LineLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // The invocation's span is wanted at every level, because it carries the request's ID. Anything else is an
        // event, or `tracing::enabled!` asking about one.
        if metadata.is_span() { metadata.name() == INVOCATION_SPAN } else { self.wants(metadata) }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let now = self.clock.now();
        (self.write)(&match self.format {
            LogFormat::Json => json_line(event.metadata(), fields.0, now),
            LogFormat::Text => text_line(event.metadata(), &fields.0, now),
        });
    }
}

/// Members that Lambda reads come first, then the request's ID and all others, flat.
fn json_line(metadata: &Metadata<'_>, mut fields: Map<String, Value>, now: DateTime<Utc>) -> String {
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), Value::from(timestamp(now)));
    line.insert("level".to_owned(), Value::from(metadata.level().as_str()));
    line.insert("message".to_owned(), fields.remove("message").unwrap_or_default());
    line.insert("target".to_owned(), Value::from(metadata.target()));
    for (name, value) in fields {
        line.entry(name).or_insert(value);
    }
    Value::from(line).to_string()
}

fn text_line(metadata: &Metadata<'_>, fields: &Map<String, Value>, now: DateTime<Utc>) -> String {
    let message = fields.get("message").and_then(Value::as_str).unwrap_or_default();
    let mut line = format!("{} {:5} {message}", timestamp(now), metadata.level().as_str());
    for (name, value) in fields.iter().filter(|(name, _)| *name != "message") {
        // Writing to a string cannot fail.
        let _ = write!(line, " {name}={value}");
    }
    line
}

/// The fields of an event or a span. Fields without a value are left out.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), Value::from(value));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// The lines logged while `work` runs.
    pub(crate) fn logged(level: LevelFilter, format: LogFormat, work: impl FnOnce()) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let clock = Clock::starting_at(DateTime::from_timestamp(1_726_045_348, 0).unwrap());
        let write = move |line: &str| sink.lock().unwrap().push(line.to_owned());
        let subscriber = tracing_subscriber::registry().with(LineLayer { level, format, clock, write });
        tracing::subscriber::with_default(subscriber, work);
        lines.lock().unwrap().clone()
    }

    fn one_of_each() {
        let span = tracing::info_span!("invocation", requestId = "r-1");
        let _in = span.enter();
        tracing::error!(code = "x", count = 3_u64, "it \"broke\"");
        tracing::warn!("hm");
        tracing::info!("so");
        tracing::debug!(absent = Option::<&str>::None, "detail");
        tracing::trace!("more");
    }

    #[test]
    fn a_line_is_lambdas_json_with_the_request_id() {
        let lines = logged(LevelFilter::ERROR, LogFormat::Json, one_of_each);
        assert_eq!(lines.len(), 1);
        let line: Value = serde_json::from_str(&lines[0]).unwrap();
        assert!(line["timestamp"].as_str().unwrap().starts_with("2024-09-11T09:02:28."));
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["message"], "it \"broke\"");
        assert_eq!(line["requestId"], "r-1");
        assert_eq!((&line["code"], &line["count"]), (&Value::from("x"), &Value::from(3)));
    }

    #[test]
    fn the_level_decides_what_is_logged() {
        for (level, count) in [
            (LevelFilter::ERROR, 1),
            (LevelFilter::WARN, 2),
            (LevelFilter::INFO, 3),
            (LevelFilter::DEBUG, 4),
            (LevelFilter::TRACE, 5),
        ] {
            assert_eq!(logged(level, LogFormat::Json, one_of_each).len(), count, "{level}");
        }
    }

    #[test]
    fn other_crates_are_logged_only_from_warn_on() {
        let lines = logged(LevelFilter::TRACE, LogFormat::Json, || {
            tracing::trace!(target: "lambda_runtime::runtime", body = "secret", "event");
            tracing::debug!(target: "aws_smithy_runtime", "secret");
            tracing::info!(target: "hyper", "secret");
            tracing::warn!(target: "opentelemetry_aws", "dropped");
            tracing::error!(target: "lambda_runtime::layers::panic", "secret");
        });
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("dropped"));
    }

    #[test]
    fn text_is_for_people() {
        let lines = logged(LevelFilter::WARN, LogFormat::Text, one_of_each);
        assert!(lines[0].contains("ERROR it \"broke\"") && lines[0].contains("requestId=\"r-1\""), "{}", lines[0]);
    }
}

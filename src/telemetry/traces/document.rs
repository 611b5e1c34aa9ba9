//! X-Ray's documents: what a span looks like, and how many fit into one (AWS X-Ray Developer Guide, "AWS X-Ray segment
//! documents").

use opentelemetry::trace::SpanId;
use serde::{Serialize, Serializer};

/// What precedes a document in a datagram (AWS X-Ray Developer Guide, "Sending segment documents to the X-Ray daemon").
const HEADER: &[u8] = b"{\"format\": \"json\", \"version\": 1}\n";
/// The largest datagram of UDP over IPv4, in bytes: header and document together stay below the 64 KB that X-Ray
/// accepts for a document.
const MAX_DATAGRAM: usize = 65_507;
/// What precedes the first nested span.
const SUBSEGMENTS: &[u8] = b",\"subsegments\":[";
/// What ends a span with nested spans.
const END: &[u8] = b"]}";
/// The longest name that X-Ray accepts, in characters.
const MAX_NAME: usize = 200;
/// The longest error message, in characters, so that each span fits into a document.
const MAX_MESSAGE: usize = 2_000;

/// The ID of a span or of an exception.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(pub(super) SpanId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A span. `M` has the attributes that have no place of their own in X-Ray, under their OpenTelemetry names.
#[derive(Debug, Serialize)]
pub(super) struct Span<'a, M> {
    /// `subsegment` for a document. A span within another has no type, trace ID or parent ID.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parent_id: Option<Id>,
    pub(super) id: Id,
    #[serde(serialize_with = "name")]
    pub(super) name: &'a str,
    /// In seconds since 1970.
    pub(super) start_time: f64,
    /// In seconds since 1970.
    pub(super) end_time: f64,
    /// `aws` for a request to an AWS service, which X-Ray then shows on its map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cause: Option<Cause<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) aws: Option<Aws<'a>>,
    /// What X-Ray makes searchable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Annotations<'a>>,
    pub(super) metadata: M,
}

/// Why it failed.
#[derive(Debug, Serialize)]
pub(super) struct Cause<'a> {
    pub(super) exceptions: [Exception<'a>; 1],
}

#[derive(Debug, Serialize)]
pub(super) struct Exception<'a> {
    pub(super) id: Id,
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(serialize_with = "message")]
    pub(super) message: &'a str,
}

/// The request to an AWS service, or where the function runs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Aws<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cloudwatch_logs: Option<[LogGroup<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) table_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
pub(super) struct LogGroup<'a> {
    pub(super) log_group: &'a str,
}

/// OpenTelemetry's names, in the characters that X-Ray accepts.
#[derive(Debug, Serialize)]
pub(super) struct Annotations<'a> {
    pub(super) faas_invocation_id: &'a str,
    pub(super) faas_coldstart: bool,
    pub(super) config_audit_outcome: &'static str,
}

/// A datagram being built: a span, and those within it.
#[derive(Debug)]
pub(super) struct Document {
    /// The header and the first span, left open for the spans within it.
    datagram: Vec<u8>,
    has_others: bool,
}

impl Document {
    /// A document of this span.
    ///
    /// # Errors
    ///
    /// None known: a span can be written as JSON.
    pub(super) fn of<M: Serialize>(span: &Span<'_, M>) -> serde_json::Result<Self> {
        let mut datagram = Vec::with_capacity(MAX_DATAGRAM);
        datagram.extend_from_slice(HEADER);
        serde_json::to_writer(&mut datagram, span)?;
        datagram.pop();
        Ok(Self { datagram, has_others: false })
    }

    /// Adds a span within the first one. Returns `false` if there is no room for it.
    pub(super) fn add<M: Serialize>(&mut self, span: &Span<'_, M>) -> bool {
        let length = self.datagram.len();
        self.datagram.extend_from_slice(if self.has_others { b"," } else { SUBSEGMENTS });
        let is_written = serde_json::to_writer(&mut self.datagram, span).is_ok();
        let fits = is_written && self.datagram.len() + END.len() <= MAX_DATAGRAM;
        if fits {
            self.has_others = true;
        } else {
            self.datagram.truncate(length);
        }
        fits
    }

    /// The datagram.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.datagram.extend_from_slice(if self.has_others { END } else { b"}" });
        self.datagram
    }
}

fn name<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(truncated(name, MAX_NAME))
}

fn message<S: Serializer>(message: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(truncated(message, MAX_MESSAGE))
}

/// The first characters of the text.
fn truncated(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or(text, |(end, _)| &text[..end])
}

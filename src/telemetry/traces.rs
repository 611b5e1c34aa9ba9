//! Spans: from a report to AWS X-Ray, by way of the daemon that Lambda runs.
//!
//! Spans are made after the work, from the report, and only for a trace that is sampled: an invocation whose trace is
//! not sampled pays nothing for them. They are exported by `opentelemetry-aws`. The invocation's span is of kind
//! INTERNAL, since the exporter would make a segment, a second node on the map, of one of kind SERVER; so all of them
//! are subsegments that hang under the segment that Lambda itself makes of the function.
//!
//! A large batch is bounded: all records that were not audited as they should be, and the [`MAX_HEALTHY`] slowest of the
//! others; the same for requests and objects. Those that there is no time to send before the deadline are counted as lost.
//! What UDP loses after it was sent, nobody can count.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_aws::detector::LambdaResourceDetector;
use opentelemetry_aws::trace::XrayIdGenerator;
use opentelemetry_aws::xray_exporter::{SegmentDocument, SegmentDocumentExporter, SegmentTranslator, XrayExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, SpanData, SpanEvents, SpanExporter, SpanLinks};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::aws::arn::{account_id, table, with_version};
use crate::clock::{Clock, timestamp};
use crate::report::{Object, Outcome, Record, Report};
use crate::settings::Settings;
use crate::writer::Request;

/// The most spans of healthy records, of healthy requests, and of healthy objects, for one invocation.
pub const MAX_HEALTHY: usize = 100;
/// Attributes that X-Ray makes searchable. Only the invocation's span has them: X-Ray takes 50 for a whole trace.
const INDEXED: [&str; 3] = ["faas.invocation_id", "faas.coldstart", "config_audit.outcome"];
/// Spans are sent in bursts of this many, with a pause between them for the daemon to catch up.
const BURST: usize = 100;
const PAUSE: Duration = Duration::from_millis(1);

/// Sends spans to the X-Ray daemon.
#[derive(Debug)]
pub struct Traces {
    exporter: XrayExporter<Daemon>,
    sent: Arc<AtomicU64>,
    names: Names,
}

/// What spans are named after.
#[derive(Debug, Clone)]
struct Names {
    function: String,
    version: String,
    table: String,
}

impl Traces {
    /// Sends to the daemon at `address`, spans that are named as the settings have it.
    #[must_use]
    pub fn new(address: SocketAddr, settings: &Settings) -> Self {
        let translator = SegmentTranslator::new().with_indexed_attrs(INDEXED.map(str::to_owned)).metadata_all_attrs();
        let sent = Arc::new(AtomicU64::new(0));
        let mut exporter = XrayExporter::new(Daemon { address, sent: sent.clone() }).with_translator(translator);
        exporter.set_resource(
            &Resource::builder_empty()
                .with_service_name(settings.service.clone())
                .with_detector(Box::new(LambdaResourceDetector))
                .build(),
        );
        let names = Names {
            function: settings.function_name.clone(),
            version: settings.function_version.clone(),
            table: settings.audit_table.clone(),
        };
        Self { exporter, sent, names }
    }

    /// Sends the spans of an invocation, if its trace is sampled, until it is `until`. Returns how many were not sent.
    pub async fn export(&self, report: &Report, clock: Clock, until: Instant) -> u64 {
        if !report.trace.is_valid() || !report.trace.is_sampled() {
            return 0;
        }
        let maker = Maker::new(report, &self.names);
        let planned = maker.plan();
        let sent = self.sent.load(Ordering::Relaxed);
        for (index, burst) in planned.chunks(BURST).enumerate() {
            if index > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            if clock.instant() >= until {
                break;
            }
            // The exporter's error says no more than the count does.
            let _ = self.exporter.export(burst.iter().map(|subject| maker.make(subject)).collect()).await;
        }
        (planned.len() as u64).saturating_sub(self.sent.load(Ordering::Relaxed) - sent)
    }
}

/// The UDP client of the X-Ray daemon. Unlike the exporter's own it waits while the socket is full, goes on after a
/// document that could not be sent, and counts.
#[derive(Debug)]
struct Daemon {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
}

impl SegmentDocumentExporter for Daemon {
    type Error = std::io::Error;

    async fn export_segment_documents(&self, batch: Vec<SegmentDocument<'_>>) -> Result<(), Self::Error> {
        // Turned to text first: a document is not to be held while the task waits.
        let datagrams: Vec<String> =
            batch.into_iter().map(|document| format!("{HEADER}{}", document.to_string())).collect();
        let any: SocketAddr = if self.address.is_ipv4() {
            (std::net::Ipv4Addr::UNSPECIFIED, 0).into()
        } else {
            (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
        };
        // A new socket for each invocation: after Lambda has frozen and thawed the process, an old one may be dead.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        for datagram in datagrams {
            if socket.send(datagram.as_bytes()).await.is_ok() {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// What stands before each document in a datagram (AWS X-Ray Developer Guide, "Sending segment documents to the X-Ray
/// daemon").
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// All that are not healthy, and the slowest [`MAX_HEALTHY`] of the others, in their order.
fn bounded<T>(
    all: &[T],
    span: impl Fn(&T) -> (Instant, Instant),
    is_healthy: impl Fn(&T) -> bool,
) -> impl Iterator<Item = &T> {
    let mut healthy: Vec<usize> = (0..all.len()).filter(|index| is_healthy(&all[*index])).collect();
    let mut kept: Vec<usize> = (0..all.len()).filter(|index| !is_healthy(&all[*index])).collect();
    healthy.sort_by_key(|index| {
        let (started, ended) = span(&all[*index]);
        std::cmp::Reverse(ended.saturating_duration_since(started))
    });
    kept.extend(healthy.into_iter().take(MAX_HEALTHY));
    kept.sort_unstable();
    kept.into_iter().map(|index| &all[index])
}

/// What a span is of.
enum Subject<'a> {
    Invocation,
    Record(&'a Record),
    Request(&'a Request),
    Object(&'a Object),
}

/// Makes the spans of one report.
struct Maker<'a> {
    report: &'a Report,
    names: &'a Names,
    ids: XrayIdGenerator,
    /// The ID of the invocation's span, the parent of all others.
    invocation: SpanId,
    scope: InstrumentationScope,
    has_failed: bool,
}

impl<'a> Maker<'a> {
    fn new(report: &'a Report, names: &'a Names) -> Self {
        let ids = XrayIdGenerator::default();
        let invocation = ids.new_span_id();
        let scope = InstrumentationScope::builder("config-audit").build();
        Self { report, names, ids, invocation, scope, has_failed: report.failed().next().is_some() }
    }

    /// What there are spans of: the invocation, then its records, its requests and its objects.
    fn plan(&self) -> Vec<Subject<'a>> {
        let report = self.report;
        let records = bounded(
            &report.records,
            |record| record.span,
            |record| matches!(record.outcome, Outcome::Audited | Outcome::Unchanged),
        );
        let requests =
            bounded(&report.requests, |request| (request.started, request.ended), |request| request.result.is_ok());
        let objects = bounded(&report.objects, |object| object.span, |object| object.error.is_none());
        std::iter::once(Subject::Invocation)
            .chain(records.map(Subject::Record))
            .chain(requests.map(Subject::Request))
            .chain(objects.map(Subject::Object))
            .collect()
    }

    fn make(&self, subject: &Subject<'_>) -> SpanData {
        match subject {
            Subject::Invocation => self.of_invocation(),
            Subject::Record(record) => self.of_record(record),
            Subject::Request(request) => self.of_request(request),
            Subject::Object(object) => self.of_object(object),
        }
    }

    fn span(
        &self,
        (id, parent): (SpanId, SpanId),
        kind: SpanKind,
        name: String,
        (started, ended): (Instant, Instant),
        attributes: Vec<KeyValue>,
        error: Option<(&str, &str)>,
    ) -> SpanData {
        let mut attributes = attributes;
        let status = error.map_or(Status::Unset, |(code, message)| {
            attributes.push(KeyValue::new("error.type", code.to_owned()));
            Status::error(message.to_owned())
        });
        let trace = &self.report.trace;
        SpanData {
            span_context: SpanContext::new(trace.trace_id(), id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: parent == trace.span_id(),
            span_kind: kind,
            name: name.into(),
            start_time: self.report.time_of(started).into(),
            end_time: self.report.time_of(ended.max(started)).into(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// The IDs of a new span below the invocation's, and of its parent.
    fn child(&self) -> (SpanId, SpanId) {
        (self.ids.new_span_id(), self.invocation)
    }

    /// OpenTelemetry semantic conventions, "`FaaS` spans" and "AWS Lambda".
    fn of_invocation(&self) -> SpanData {
        let report = self.report;
        let arn = report.function_arn.as_str();
        let mut attributes = vec![
            KeyValue::new("faas.invocation_id", report.request_id.clone()),
            KeyValue::new("faas.trigger", "datasource"),
            KeyValue::new("faas.coldstart", report.cold_start),
            KeyValue::new("aws.lambda.invoked_arn", arn.to_owned()),
            KeyValue::new("cloud.resource_id", with_version(arn, &self.names.version)),
            KeyValue::new("config_audit.outcome", report.outcome()),
        ];
        attributes.extend(account_id(arn).map(|account| KeyValue::new("cloud.account.id", account.to_owned())));
        let counts = report.counts();
        for (name, count) in [
            ("config_audit.records.received", report.received),
            ("config_audit.records.audited", counts.audited),
            ("config_audit.records.unchanged", counts.unchanged),
            ("config_audit.records.quarantined", counts.quarantined),
            ("config_audit.records.failed", counts.failed),
        ] {
            attributes.push(KeyValue::new(name, i64::try_from(count).unwrap_or(i64::MAX)));
        }
        let message = report.error.as_ref().map(ToString::to_string);
        let failures = (counts.failed > 0).then(|| format!("{} records failed", counts.failed));
        let error = match (&report.error, &message, &failures) {
            (Some(error), Some(message), _) => Some((error.code(), message.as_str())),
            (None, _, Some(failures)) => Some(("records_failed", failures.as_str())),
            _ => None,
        };
        let name = self.names.function.clone();
        self.span((self.invocation, report.trace.span_id()), SpanKind::Internal, name, report.span, attributes, error)
    }

    /// OpenTelemetry semantic conventions, "`FaaS` spans", Datasource.
    fn of_record(&self, record: &Record) -> SpanData {
        let operation = match record.event_name {
            Some("INSERT") => "insert",
            Some("MODIFY") => "edit",
            Some("REMOVE") => "delete",
            _ => "unknown",
        };
        let collection = table(self.report.stream_arn.as_ref());
        let text =
            |name: &'static str, value: &Option<String>| value.as_ref().map(|value| KeyValue::new(name, value.clone()));
        let mut attributes = vec![
            KeyValue::new("faas.document.collection", collection.to_owned()),
            KeyValue::new("faas.document.operation", operation),
            KeyValue::new("config_audit.record.outcome", record.outcome.name()),
            KeyValue::new(
                "config_audit.record.audits_written",
                i64::try_from(record.audits_written).unwrap_or(i64::MAX),
            ),
        ];
        attributes.extend(text("faas.document.name", &record.item_key));
        attributes.extend(text("config_audit.record.sequence_number", &record.sequence_number));
        let time = record.created.map(timestamp);
        attributes.extend(text("faas.document.time", &time));
        let error = record.outcome.cause().map(|cause| (cause.code.as_ref(), cause.message.as_ref()));
        let name = format!("{operation} {collection}");
        self.span(self.child(), SpanKind::Internal, name, record.span, attributes, error)
    }

    /// OpenTelemetry semantic conventions, "Database spans" and "DynamoDB"; `aws.service` and `aws.operation` are what
    /// X-Ray makes a node of the map from. A request that failed is no error where its entries were stored in the end.
    fn of_request(&self, request: &Request) -> SpanData {
        let table = &self.names.table;
        let operation = "BatchWriteItem";
        let mut attributes = vec![
            KeyValue::new("aws.service", "DynamoDB"),
            KeyValue::new("aws.operation", operation),
            KeyValue::new("aws.dynamodb.table_names", strings(table.clone())),
            KeyValue::new("db.system.name", "aws.dynamodb"),
            KeyValue::new("db.operation.name", operation),
            KeyValue::new("db.collection.name", table.to_owned()),
            KeyValue::new("db.operation.batch.size", i64::try_from(request.entries).unwrap_or(i64::MAX)),
            KeyValue::new("config_audit.request.retries", i64::from(request.retries)),
        ];
        let id = |id: &Option<String>| id.as_ref().map(|id| KeyValue::new("aws.request_id", id.clone()));
        let mut error = None;
        match &request.result {
            Ok(put) => {
                attributes.extend(id(&put.request_id));
                attributes.extend(put.consumed_capacity.map(|units| {
                    let consumed = serde_json::json!({ "TableName": table, "CapacityUnits": units }).to_string();
                    KeyValue::new("aws.dynamodb.consumed_capacity", strings(consumed))
                }));
                let unprocessed = i64::try_from(put.unprocessed.len()).unwrap_or(i64::MAX);
                attributes.push(KeyValue::new("config_audit.request.unprocessed", unprocessed));
            }
            Err(cause) => {
                attributes.extend(id(&cause.request_id));
                attributes.push(KeyValue::new("db.response.status_code", cause.code.clone()));
                error = Some((cause.code.as_str(), cause.message.as_str())).filter(|_| self.has_failed);
            }
        }
        let name = format!("{operation} {table}");
        self.span(self.child(), SpanKind::Client, name, (request.started, request.ended), attributes, error)
    }

    /// One object put into the failure bucket.
    fn of_object(&self, object: &Object) -> SpanData {
        let attributes = vec![
            KeyValue::new("aws.service", "S3"),
            KeyValue::new("aws.operation", "PutObject"),
            KeyValue::new("config_audit.object.url", object.url.clone()),
        ];
        let error = object.error.as_deref().map(|code| (code, "the failure bucket did not take a record"));
        self.span(self.child(), SpanKind::Client, "PutObject".to_owned(), object.span, attributes, error)
    }
}

/// A list of one text, as attributes have it that may have more.
fn strings(one: String) -> Value {
    Value::Array(vec![StringValue::from(one)].into())
}

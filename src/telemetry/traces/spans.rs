//! The spans of one report, in OpenTelemetry's terms.

use std::collections::BTreeMap;

use opentelemetry_aws::detector::LambdaResourceDetector;
use opentelemetry_aws::trace::XrayIdGenerator;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::IdGenerator;
use serde::Serialize;
use serde_json::Value;

use super::document::{Annotations, Aws, Cause, Document, Exception, Id, LogGroup, Span};
use crate::aws::arn::{account_id, table, with_version};
use crate::clock::{Interval, timestamp};
use crate::invocation::xray_trace_id;
use crate::report::{Object, Outcome, Record, Report, Request};
use crate::settings::Settings;
use crate::stream::EventName;

/// The maximum number of spans of healthy records, of healthy requests, and of healthy objects, for one invocation.
pub(super) const MAX_HEALTHY: usize = 100;

/// The name of the span that groups those for which the document of the invocation's span had no room.
const MORE: &str = "more of the invocation";

/// What all invocations of the process share.
#[derive(Debug)]
pub(super) struct Function {
    name: String,
    version: String,
    audit_table: String,
    region: Option<String>,
    log_group: Option<String>,
    /// What else is known about the process, under OpenTelemetry's resource attribute names.
    resource: BTreeMap<String, Value>,
}

impl Function {
    pub(super) fn new(settings: &Settings) -> Self {
        let resource = Resource::builder_empty()
            .with_service_name(settings.service.clone())
            .with_detector(Box::new(LambdaResourceDetector))
            .build();
        let mut resource: BTreeMap<String, Value> =
            resource.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
        // X-Ray has its own members for these.
        let region = resource.remove("cloud.region").as_ref().and_then(Value::as_str).map(str::to_owned);
        let log_group = resource.remove("aws.log.group.names");
        let log_group = log_group.as_ref().and_then(|names| names[0].as_str()).map(str::to_owned);
        Self {
            name: settings.function_name.clone(),
            version: settings.function_version.clone(),
            audit_table: settings.audit_table.clone(),
            region,
            log_group,
            resource,
        }
    }
}

fn json(value: &opentelemetry::Value) -> Value {
    use opentelemetry::{Array, StringValue, Value as Otel};
    match value {
        Otel::Bool(value) => (*value).into(),
        Otel::I64(value) => (*value).into(),
        Otel::F64(value) => (*value).into(),
        Otel::Array(Array::String(texts)) => texts.iter().map(StringValue::as_str).collect(),
        value => value.as_str().into(),
    }
}

/// All items that are not healthy, and the slowest [`MAX_HEALTHY`] of the others, in their original order.
fn bounded<T>(
    all: &[T],
    interval: impl Fn(&T) -> Interval,
    is_healthy: impl Fn(&T) -> bool,
) -> impl Iterator<Item = &T> {
    let mut healthy: Vec<usize> = (0..all.len()).filter(|index| is_healthy(&all[*index])).collect();
    let mut kept: Vec<usize> = (0..all.len()).filter(|index| !is_healthy(&all[*index])).collect();
    healthy.sort_by_key(|index| std::cmp::Reverse(interval(&all[*index]).duration()));
    kept.extend(healthy.into_iter().take(MAX_HEALTHY));
    kept.sort_unstable();
    kept.into_iter().map(|index| &all[index])
}

/// The subject of a span other than the invocation's.
pub(super) enum Subject<'a> {
    Record(&'a Record),
    Request(&'a Request),
    Object(&'a Object),
}

/// Why a span failed: its `error.type`, and a sentence.
type Failure<'a> = (&'a str, &'a str);

/// Makes the spans of one report.
pub(super) struct Maker<'a> {
    report: &'a Report,
    function: &'a Function,
    ids: XrayIdGenerator,
    trace_id: String,
    /// The ID of the invocation's span, the parent of all others.
    invocation: Id,
    /// The Configuration table's name.
    collection: &'a str,
    has_failed: bool,
}

impl<'a> Maker<'a> {
    pub(super) fn new(report: &'a Report, function: &'a Function) -> Self {
        let ids = XrayIdGenerator::default();
        let invocation = Id(ids.new_span_id());
        Self {
            report,
            function,
            ids,
            trace_id: xray_trace_id(&report.trace).unwrap_or_default(),
            invocation,
            collection: table(report.stream_arn.as_ref()),
            has_failed: report.failed().next().is_some(),
        }
    }

    /// The subjects of the spans: records, requests and objects.
    pub(super) fn plan(&self) -> Vec<Subject<'a>> {
        let report = self.report;
        let records = bounded(
            &report.records,
            |record| record.interval,
            |record| matches!(record.outcome, Outcome::Audited | Outcome::Witnessed | Outcome::Unchanged),
        );
        let requests = bounded(&report.requests, |request| request.interval, |request| request.result.is_ok());
        let objects = bounded(&report.objects, |object| object.interval, |object| object.error.is_none());
        let (records, requests) = (records.map(Subject::Record), requests.map(Subject::Request));
        records.chain(requests).chain(objects.map(Subject::Object)).collect()
    }

    /// Adds the span of this subject. Returns `false` if the document has no room for it.
    pub(super) fn add(&self, subject: &Subject<'_>, document: &mut Document) -> bool {
        match subject {
            Subject::Record(record) => self.add_record(record, document),
            Subject::Request(request) => self.add_request(request, document),
            Subject::Object(object) => self.add_object(object, document),
        }
    }

    fn new_id(&self) -> Id {
        Id(self.ids.new_span_id())
    }

    /// A span within another one.
    fn span<'s, M>(&self, name: &'s str, interval: Interval, failure: Option<Failure<'s>>, metadata: M) -> Span<'s, M> {
        let seconds = |instant| self.report.time_of(instant).timestamp_micros() as f64 / 1e6;
        let exception = |(kind, message)| Exception { id: self.new_id(), kind, message };
        Span {
            kind: None,
            trace_id: None,
            parent_id: None,
            id: self.new_id(),
            name,
            start_time: seconds(interval.started),
            end_time: seconds(interval.ended.max(interval.started)),
            namespace: None,
            fault: failure.map(|_| true),
            cause: failure.map(|failure| Cause { exceptions: [exception(failure)] }),
            aws: None,
            annotations: None,
            metadata,
        }
    }

    /// A document with this span.
    fn document<'s, M: Serialize>(&'s self, parent: Id, span: Span<'s, M>) -> serde_json::Result<Document> {
        let kind = Some("subsegment");
        Document::of(&Span { kind, trace_id: Some(&self.trace_id), parent_id: Some(parent), ..span })
    }

    /// A later document, below the invocation's span.
    pub(super) fn more(&self) -> serde_json::Result<Document> {
        self.document(self.invocation, self.span(MORE, self.report.interval, None, Empty {}))
    }

    /// OpenTelemetry semantic conventions, "`FaaS` spans" and "AWS Lambda".
    pub(super) fn invocation(&self) -> serde_json::Result<Document> {
        #[derive(Serialize)]
        struct Attributes<'a> {
            #[serde(rename = "faas.trigger")]
            trigger: &'static str,
            #[serde(rename = "aws.lambda.invoked_arn")]
            invoked_arn: &'a str,
            #[serde(rename = "cloud.resource_id")]
            resource_id: String,
            #[serde(rename = "config_audit.records.received")]
            received: usize,
            #[serde(rename = "config_audit.records.audited")]
            audited: usize,
            #[serde(rename = "config_audit.records.unchanged")]
            unchanged: usize,
            #[serde(rename = "config_audit.records.quarantined")]
            quarantined: usize,
            #[serde(rename = "config_audit.records.failed")]
            failed: usize,
            #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
            error_type: Option<&'a str>,
            #[serde(flatten)]
            resource: &'a BTreeMap<String, Value>,
        }

        let (report, function) = (self.report, self.function);
        let arn = report.function_arn.as_str();
        let counts = report.counts();
        let message = report.error.as_ref().map(ToString::to_string);
        let failures = (counts.failed > 0).then(|| format!("{} records failed", counts.failed));
        let failure = match (&report.error, &message, &failures) {
            (Some(error), Some(message), _) => Some((error.code(), message.as_str())),
            (None, _, Some(failures)) => Some(("records_failed", failures.as_str())),
            _ => None,
        };
        let attributes = Attributes {
            trigger: "datasource",
            invoked_arn: arn,
            resource_id: with_version(arn, &function.version),
            received: report.received,
            audited: counts.audited,
            unchanged: counts.unchanged,
            quarantined: counts.quarantined,
            failed: counts.failed,
            error_type: failure.map(|(kind, _)| kind),
            resource: &function.resource,
        };
        let span = Span {
            id: self.invocation,
            aws: Some(Aws {
                account_id: account_id(arn),
                region: function.region.as_deref(),
                cloudwatch_logs: function.log_group.as_deref().map(|log_group| [LogGroup { log_group }]),
                ..Aws::default()
            }),
            annotations: Some(Annotations {
                faas_invocation_id: &report.request_id,
                faas_coldstart: report.cold_start,
                config_audit_outcome: report.outcome(),
            }),
            ..self.span(&function.name, report.interval, failure, attributes)
        };
        self.document(Id(report.trace.span_id()), span)
    }

    /// OpenTelemetry semantic conventions, "`FaaS` spans", Datasource.
    fn add_record(&self, record: &Record, document: &mut Document) -> bool {
        #[derive(Serialize)]
        struct Attributes<'a> {
            #[serde(rename = "faas.document.collection")]
            collection: &'a str,
            #[serde(rename = "faas.document.operation")]
            operation: &'static str,
            #[serde(rename = "faas.document.name", skip_serializing_if = "Option::is_none")]
            name: Option<&'a str>,
            #[serde(rename = "faas.document.time", skip_serializing_if = "Option::is_none")]
            time: Option<String>,
            #[serde(rename = "config_audit.record.sequence_number", skip_serializing_if = "Option::is_none")]
            sequence_number: Option<&'a str>,
            #[serde(rename = "config_audit.record.outcome")]
            outcome: &'static str,
            #[serde(rename = "config_audit.record.audits_written")]
            audits_written: usize,
            #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
            error_type: Option<&'a str>,
        }

        let operation = match record.event_name {
            Some(EventName::Insert) => "insert",
            Some(EventName::Modify) => "edit",
            Some(EventName::Remove) => "delete",
            None => "unknown",
        };
        let failure = record.outcome.cause().map(|cause| (cause.reason.code(), cause.message.as_ref()));
        let attributes = Attributes {
            collection: self.collection,
            operation,
            name: record.item_key.as_deref(),
            time: record.created.map(timestamp),
            sequence_number: record.sequence_number.as_deref(),
            outcome: record.outcome.name(),
            audits_written: record.audits_written,
            error_type: failure.map(|(kind, _)| kind),
        };
        let name = format!("{operation} {}", self.collection);
        document.add(&self.span(&name, record.interval, failure, attributes))
    }

    /// OpenTelemetry semantic conventions, "Database spans" and "DynamoDB". A request that failed is not an error if its entries
    /// were stored in the end.
    fn add_request(&self, request: &Request, document: &mut Document) -> bool {
        #[derive(Serialize)]
        struct Attributes<'a> {
            #[serde(rename = "db.system.name")]
            system: &'static str,
            #[serde(rename = "db.operation.name")]
            operation: &'static str,
            #[serde(rename = "db.collection.name")]
            collection: &'a str,
            #[serde(rename = "db.operation.batch.size")]
            batch_size: usize,
            #[serde(rename = "db.response.status_code", skip_serializing_if = "Option::is_none")]
            status_code: Option<&'a str>,
            #[serde(rename = "aws.dynamodb.consumed_capacity", skip_serializing_if = "Option::is_none")]
            consumed_capacity: Option<[String; 1]>,
            #[serde(rename = "config_audit.request.retries")]
            retries: u32,
            #[serde(rename = "config_audit.request.unprocessed", skip_serializing_if = "Option::is_none")]
            unprocessed: Option<usize>,
            #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
            error_type: Option<&'a str>,
        }

        let operation = "BatchWriteItem";
        let table = self.function.audit_table.as_str();
        let (put, error) = (request.result.as_ref().ok(), request.result.as_ref().err());
        let failure = error.filter(|_| self.has_failed).map(|error| (error.code.as_str(), error.message.as_str()));
        let capacity = put.and_then(|put| put.consumed_capacity);
        let attributes = Attributes {
            system: "aws.dynamodb",
            operation,
            collection: table,
            batch_size: request.entries,
            status_code: error.map(|error| error.code.as_str()),
            consumed_capacity: capacity
                .map(|units| [serde_json::json!({ "TableName": table, "CapacityUnits": units }).to_string()]),
            retries: request.retries,
            unprocessed: put.map(|put| put.unprocessed.len()),
            error_type: failure.map(|(kind, _)| kind),
        };
        let request_id =
            put.map_or_else(|| error.and_then(|error| error.request_id.as_deref()), |put| put.request_id.as_deref());
        document.add(&Span {
            namespace: Some("aws"),
            aws: Some(Aws { operation: Some(operation), table_name: Some(table), request_id, ..Aws::default() }),
            ..self.span("DynamoDB", request.interval, failure, attributes)
        })
    }

    /// One object put into the failure bucket.
    fn add_object(&self, object: &Object, document: &mut Document) -> bool {
        #[derive(Serialize)]
        struct Attributes<'a> {
            #[serde(rename = "config_audit.object.url")]
            url: &'a str,
            #[serde(rename = "error.type", skip_serializing_if = "Option::is_none")]
            error_type: Option<&'a str>,
        }

        let error_type = object.error.as_deref();
        let failure = error_type.map(|code| (code, "the failure bucket did not accept a record"));
        document.add(&Span {
            namespace: Some("aws"),
            aws: Some(Aws { operation: Some("PutObject"), ..Aws::default() }),
            ..self.span("S3", object.interval, failure, Attributes { url: &object.url, error_type })
        })
    }
}

/// No attributes.
#[derive(Serialize)]
struct Empty {}

//! The spans of one report.

use std::sync::Arc;

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_aws::trace::XrayIdGenerator;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, SpanData, SpanEvents, SpanLinks};

use crate::aws::arn::{account_id, table, with_version};
use crate::clock::{Interval, timestamp};
use crate::report::{Object, Outcome, Record, Report, Request};
use crate::stream::EventName;

/// The most spans of healthy records, of healthy requests, and of healthy objects, for one invocation.
pub(super) const MAX_HEALTHY: usize = 100;
/// The longest name that X-Ray takes, in characters.
const MAX_NAME: usize = 200;

/// The name of the span that holds what did not fit the document of the invocation's span.
const MORE: &str = "more of the invocation";

/// What spans are named after.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) function: String,
    pub(super) version: String,
    pub(super) table: String,
}

/// All that are not healthy, and the slowest [`MAX_HEALTHY`] of the others, in their order.
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

/// What a span is of.
pub(super) enum Subject<'a> {
    Record(&'a Record),
    Request(&'a Request),
    Object(&'a Object),
}

/// Makes the spans of one report.
pub(super) struct Maker<'a> {
    report: &'a Report,
    names: &'a Names,
    resource: &'a Resource,
    ids: XrayIdGenerator,
    /// The ID of the invocation's span, the parent of all others.
    invocation: SpanId,
    /// The Configuration table's name.
    collection: Arc<str>,
    scope: InstrumentationScope,
    has_failed: bool,
}

impl<'a> Maker<'a> {
    pub(super) fn new(report: &'a Report, names: &'a Names, resource: &'a Resource) -> Self {
        let ids = XrayIdGenerator::default();
        let invocation = ids.new_span_id();
        let scope = InstrumentationScope::builder("config-audit").build();
        let collection = table(report.stream_arn.as_ref()).into();
        Self {
            report,
            names,
            resource,
            ids,
            invocation,
            collection,
            scope,
            has_failed: report.failed().next().is_some(),
        }
    }

    /// What there are spans of besides the invocation: its records, its requests and its objects.
    pub(super) fn plan(&self) -> Vec<Subject<'a>> {
        let report = self.report;
        let records = bounded(
            &report.records,
            |record| record.interval,
            |record| matches!(record.outcome, Outcome::Audited | Outcome::Unchanged),
        );
        let requests = bounded(&report.requests, |request| request.interval, |request| request.result.is_ok());
        let objects = bounded(&report.objects, |object| object.interval, |object| object.error.is_none());
        let (records, requests) = (records.map(Subject::Record), requests.map(Subject::Request));
        records.chain(requests).chain(objects.map(Subject::Object)).collect()
    }

    /// The spans of one document: the invocation's, or in later documents one in its place, and these below it.
    pub(super) fn document(&self, is_first: bool, subjects: &[Subject<'_>]) -> impl Iterator<Item = SpanData> {
        let root = if is_first { self.of_invocation() } else { self.of_more() };
        let parent = root.span_context.span_id();
        let below = subjects.iter().map(move |subject| match subject {
            Subject::Record(record) => self.of_record(parent, record),
            Subject::Request(request) => self.of_request(parent, request),
            Subject::Object(object) => self.of_object(parent, object),
        });
        std::iter::once(root).chain(below)
    }

    fn span(
        &self,
        (id, parent): (SpanId, SpanId),
        kind: SpanKind,
        name: String,
        interval: Interval,
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
            name: truncated(name).into(),
            start_time: self.report.time_of(interval.started).into(),
            end_time: self.report.time_of(interval.ended.max(interval.started)).into(),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status,
            instrumentation_scope: self.scope.clone(),
        }
    }

    /// The span of a later document, below the invocation's.
    fn of_more(&self) -> SpanData {
        let ids = (self.ids.new_span_id(), self.invocation);
        self.span(ids, SpanKind::Internal, MORE.to_owned(), self.report.interval, Vec::new(), None)
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
        attributes.extend(self.resource.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())));
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
        self.span(
            (self.invocation, report.trace.span_id()),
            SpanKind::Internal,
            name,
            report.interval,
            attributes,
            error,
        )
    }

    /// OpenTelemetry semantic conventions, "`FaaS` spans", Datasource.
    fn of_record(&self, parent: SpanId, record: &Record) -> SpanData {
        let operation = match record.event_name {
            Some(EventName::Insert) => "insert",
            Some(EventName::Modify) => "edit",
            Some(EventName::Remove) => "delete",
            None => "unknown",
        };
        // With room for all, and for the type of an error.
        let mut attributes = Vec::with_capacity(8);
        attributes.extend([
            KeyValue::new("faas.document.collection", Arc::clone(&self.collection)),
            KeyValue::new("faas.document.operation", operation),
            KeyValue::new("config_audit.record.outcome", record.outcome.name()),
            KeyValue::new(
                "config_audit.record.audits_written",
                i64::try_from(record.audits_written).unwrap_or(i64::MAX),
            ),
        ]);
        let mut add = |name: &'static str, value: Option<String>| {
            attributes.extend(value.map(|value| KeyValue::new(name, value)));
        };
        add("faas.document.name", record.item_key.clone());
        add("config_audit.record.sequence_number", record.sequence_number.clone());
        add("faas.document.time", record.created.map(timestamp));
        let error = record.outcome.cause().map(|cause| (cause.reason.code(), cause.message.as_ref()));
        let name = format!("{operation} {}", self.collection);
        self.span((self.ids.new_span_id(), parent), SpanKind::Internal, name, record.interval, attributes, error)
    }

    /// OpenTelemetry semantic conventions, "Database spans" and "DynamoDB"; `aws.service` and `aws.operation` are what
    /// X-Ray makes a node of the map from. A request that failed is not an error if its entries were stored in the end.
    fn of_request(&self, parent: SpanId, request: &Request) -> SpanData {
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
        self.span((self.ids.new_span_id(), parent), SpanKind::Client, name, request.interval, attributes, error)
    }

    /// One object put into the failure bucket.
    fn of_object(&self, parent: SpanId, object: &Object) -> SpanData {
        let attributes = vec![
            KeyValue::new("aws.service", "S3"),
            KeyValue::new("aws.operation", "PutObject"),
            KeyValue::new("config_audit.object.url", object.url.clone()),
        ];
        let error = object.error.as_deref().map(|code| (code, "the failure bucket did not take a record"));
        self.span(
            (self.ids.new_span_id(), parent),
            SpanKind::Client,
            "PutObject".to_owned(),
            object.interval,
            attributes,
            error,
        )
    }
}

/// A name that X-Ray takes: of 200 characters at most (AWS X-Ray Developer Guide, "AWS X-Ray segment documents").
fn truncated(name: String) -> String {
    if name.len() <= MAX_NAME { name } else { name.chars().take(MAX_NAME).collect() }
}

/// A list of one text, as attributes have it that may have more.
fn strings(one: String) -> Value {
    Value::Array(vec![StringValue::from(one)].into())
}

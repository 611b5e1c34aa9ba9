//! The function's lifecycle: clients, the first connection, then one invocation after another.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use bytes::Bytes;
use lambda_runtime::{LambdaEvent, LambdaInvocation, service_fn};
use opentelemetry::trace::SpanContext;
use opentelemetry_aws::trace::xray_propagator::span_context_from_str;
use serde::de::IgnoredAny;
use tower::util::MapRequestLayer;
use tracing::Instrument;

use crate::aws::root_cause;
use crate::aws::tls::http_client;
use crate::bucket::Purpose;
use crate::bucket::s3::S3Bucket;
use crate::clock::Clock;
use crate::handler::Handler;
use crate::invocation::Invocation;
use crate::report::Report;
use crate::settings::{Function, Settings};
use crate::store::Failure;
use crate::store::dynamodb::DynamoDbStore;
use crate::telemetry::{Telemetry, logs};
use crate::witness::WitnessHandler;

/// How long a connection may take to open.
const CONNECT: Duration = Duration::from_secs(1);
/// How long init waits for the connection to DynamoDB. If it is not open by then, the first invocation tries again.
const INIT: Duration = Duration::from_secs(3);

/// Handles invocations until Lambda ends the process. Without `telemetry` it publishes nothing about them, to measure
/// the cost of telemetry.
///
/// # Errors
///
/// If the Runtime API cannot be used.
pub async fn run(
    settings: &Settings,
    telemetry: Option<&Telemetry>,
    clock: Clock,
) -> Result<(), lambda_runtime::Error> {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client(settings.trust)?)
        .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT).build())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .load()
        .await;
    let bucket = |name: &Option<String>, purpose| {
        let name = name.as_deref()?;
        Some(S3Bucket::new(config.clone(), settings.s3_endpoint.as_deref(), name, purpose, clock))
    };
    let quarantine = bucket(&settings.failure_bucket, Purpose::Failures);
    match settings.function {
        Function::Audit => {
            // The writer retries until the deadline, and counts the retries.
            let dynamodb =
                aws_sdk_dynamodb::config::Builder::from(&config).retry_config(RetryConfig::disabled()).build();
            let store = DynamoDbStore::new(aws_sdk_dynamodb::Client::from_conf(dynamodb), &settings.audit_table);
            connect(&store).await;
            let (key_attribute, provenance) = (settings.key_attribute.clone(), settings.provenance);
            let handler = Handler { store, quarantine, clock, key_attribute, provenance };
            serve(async |invocation| handler.handle(invocation).await, telemetry, clock).await
        }
        Function::Witness => {
            let bucket = bucket(&settings.witness_bucket, Purpose::Witness);
            let handler = WitnessHandler { bucket, quarantine, clock };
            serve(async |invocation| handler.handle(invocation).await, telemetry, clock).await
        }
    }
}

/// Passes each invocation to `handle`, and its report to telemetry and to Lambda.
async fn serve(
    handle: impl AsyncFn(&Invocation<'_>) -> Report,
    telemetry: Option<&Telemetry>,
    clock: Clock,
) -> Result<(), lambda_runtime::Error> {
    let cold = Cell::new(true);
    let event = RefCell::new(Bytes::new());
    let (handle, cold, event) = (&handle, &cold, &event);
    let service = service_fn(|LambdaEvent { context, .. }: LambdaEvent<IgnoredAny>| async move {
        let event = event.take();
        let span = tracing::error_span!(logs::INVOCATION_SPAN, requestId = context.request_id);
        let invocation = Invocation {
            trace: trace(context.xray_trace_id.as_deref()),
            cold_start: cold.replace(false),
            deadline: context.deadline().into(),
            function_arn: context.invoked_function_arn,
            request_id: context.request_id,
            event: &event,
        };
        async {
            // In a box, so that the futures are nested less deeply.
            let mut report = Box::pin(handle(&invocation)).await;
            if let Some(telemetry) = telemetry {
                telemetry.publish(&mut report, clock).await;
            }
            report.answer()
        }
        .instrument(span)
        .await
    });
    // The event bypasses the runtime, which would copy it, log it at trace level, and answer on its own, without any
    // telemetry, if it is not valid JSON.
    let past_the_runtime = MapRequestLayer::new(|mut invocation: LambdaInvocation| {
        event.replace(std::mem::replace(&mut invocation.body, Bytes::from_static(b"null")));
        invocation
    });
    let run = lambda_runtime::Runtime::new(service).layer(past_the_runtime).run();
    run.await.map_err(|error| RuntimeApiError(root_cause(&*error)).into())
}

/// There are no invocations without the Runtime API.
#[derive(Debug, thiserror::Error)]
#[error("Lambda's Runtime API (AWS_LAMBDA_RUNTIME_API) cannot be used: {0}")]
struct RuntimeApiError(String);

/// Opens the connection while init runs at full speed. Start-up continues after an error: the invocation finds the
/// problem, and fails with it, unless it is gone by then.
async fn connect(store: &DynamoDbStore) {
    match tokio::time::timeout(INIT, store.connect()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) if error.failure == Failure::Misconfigured => {
            tracing::error!(error = error.code, "no audit can be written: {error}");
        }
        Ok(Err(error)) => tracing::warn!(error = error.code, "DynamoDB is not ready yet: {error}"),
        Err(_) => tracing::warn!(error = "timeout", "DynamoDB is not ready yet: the connection was not open in time"),
    }
}

/// The invocation's position in its trace; not valid if Lambda sent none.
fn trace(header: Option<&str>) -> SpanContext {
    header.and_then(span_context_from_str).unwrap_or(SpanContext::NONE)
}

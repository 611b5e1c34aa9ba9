//! Lambda's Runtime API, version 2018-06-01, for one process of a function.
//!
//! Every process gets its own server, as every execution environment does in Lambda. So a poll left behind by a killed
//! process never takes the event of the next process.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::invocation::ErrorReport;
use crate::server::{Callers, Server};

/// The largest answer that Lambda accepts, in bytes.
pub(super) const MAX_RESPONSE: usize = 6 * 1024 * 1024 + 100;

/// An event for the process, and the headers that `invocation/next` sends with it.
#[derive(Debug, Clone)]
pub(super) struct NextInvocation {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub(super) request_id: String,
    /// `Lambda-Runtime-Deadline-Ms`: when the process will be killed.
    pub(super) deadline: SystemTime,
    /// `Lambda-Runtime-Invoked-Function-Arn`.
    pub(super) function_arn: String,
    /// `Lambda-Runtime-Trace-Id`; not sent if it is empty.
    pub(super) trace_header: String,
    /// The event.
    pub(super) event: Bytes,
}

/// A call by the process to the Runtime API.
#[derive(Debug)]
pub(super) enum Call {
    /// `GET invocation/next`: the process waits for the event that is sent on the channel.
    Next(oneshot::Sender<NextInvocation>),
    /// `POST invocation/{id}/response`: what the function returned.
    Response(Bytes),
    /// `POST invocation/{id}/error`: the function failed.
    Error(ErrorReport),
    /// `POST init/error`: the process cannot serve at all.
    InitError(ErrorReport),
}

/// A running Runtime API. It stops when dropped; a poll that is still open is closed.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    server: Server,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl RuntimeApi {
    /// Starts on 127.0.0.1, at a port that the system picks.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(super) async fn start() -> io::Result<Self> {
        let (sender, calls) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared { calls: sender, current: Mutex::new(None) });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            // `response` checks the limit itself, to answer as Lambda does.
            .layer(DefaultBodyLimit::disable())
            .with_state(shared);
        Ok(Self { server: Server::start(0, router, Callers::Programs).await?, calls })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`: host and port.
    #[must_use]
    pub(super) fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Waits for the process's next call. Cancel safe.
    pub(super) async fn call(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// A call that the process has already made, without waiting.
    pub(super) fn try_call(&mut self) -> Option<Call> {
        self.calls.try_recv().ok()
    }
}

/// The state that the handlers share.
struct Shared {
    calls: mpsc::UnboundedSender<Call>,
    /// The request ID of the invocation that is waiting for its answer.
    current: Mutex<Option<String>>,
}

impl Shared {
    /// Returns true, once, for the invocation that is waiting for its answer.
    fn finish(&self, id: &str) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take_if(|current| current == id).is_some()
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let (sender, receiver) = oneshot::channel();
    let gone = || error_response(StatusCode::INTERNAL_SERVER_ERROR, "Container", "the local world is shutting down");
    if shared.calls.send(Call::Next(sender)).is_err() {
        return gone();
    }
    let Ok(invocation) = receiver.await else { return gone() };
    let deadline = invocation.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    *shared.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(invocation.request_id.clone());
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", invocation.request_id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", invocation.function_arn);
    if !invocation.trace_header.is_empty() {
        response = response.header("lambda-runtime-trace-id", invocation.trace_header);
    }
    response.body(Body::from(invocation.event)).unwrap_or_else(|_| {
        error_response(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Container",
            "a header of the invocation is not valid in HTTP",
        )
    })
}

async fn response(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    if !shared.finish(&id) {
        return unknown_request(&id);
    }
    if body.len() > MAX_RESPONSE {
        let message = format!(
            "Response payload size ({} bytes) exceeded maximum allowed payload size ({MAX_RESPONSE} bytes).",
            body.len()
        );
        let error_type = "Function.ResponseSizeTooLarge";
        let _ = shared.calls.send(Call::Error(ErrorReport::new(error_type, message.clone())));
        return error_response(StatusCode::PAYLOAD_TOO_LARGE, error_type, &message);
    }
    let _ = shared.calls.send(Call::Response(body));
    accepted()
}

async fn error(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    if !shared.finish(&id) {
        return unknown_request(&id);
    }
    let _ = shared.calls.send(Call::Error(report(&body)));
    accepted()
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> Response<Body> {
    let _ = shared.calls.send(Call::InitError(report(&body)));
    accepted()
}

/// Reads an error in the format of the Runtime API's documentation; anything else is taken as the message.
fn report(body: &[u8]) -> ErrorReport {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Posted {
        #[serde(default)]
        error_type: String,
        #[serde(default)]
        error_message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Posted { error_type, error_message }) => ErrorReport::new(error_type, error_message),
        Err(_) => ErrorReport::new("Unknown", String::from_utf8_lossy(body)),
    }
}

fn accepted() -> Response<Body> {
    json_response(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn unknown_request(id: &str) -> Response<Body> {
    let message = format!("{id} is not the invocation that is waiting for an answer");
    error_response(StatusCode::BAD_REQUEST, "InvalidRequestID", &message)
}

fn error_response(status: StatusCode, error_type: &str, message: &str) -> Response<Body> {
    json_response(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    response
}

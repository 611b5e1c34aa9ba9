//! Lambda's Runtime API, version 2018-06-01, for one process of a function.
//!
//! Every process gets a server of its own, as every execution environment does in Lambda: a poll left over from a
//! process that was killed can then never swallow the event of the next one.

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

use super::function::ErrorReport;
use super::server::Server;

/// The largest answer that Lambda takes, in bytes.
pub const RESPONSE_LIMIT: usize = 6 * 1024 * 1024 + 100;

/// One event, and what Lambda says about it in the headers of `invocation/next`.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// `Lambda-Runtime-Aws-Request-Id`.
    pub request_id: String,
    /// `Lambda-Runtime-Deadline-Ms`: when the process will be killed.
    pub deadline: SystemTime,
    /// `Lambda-Runtime-Invoked-Function-Arn`.
    pub function_arn: String,
    /// `Lambda-Runtime-Trace-Id`; not sent where it is empty.
    pub trace_header: String,
    /// The event.
    pub event: Bytes,
}

/// What the process told the Runtime API.
#[derive(Debug)]
pub enum Call {
    /// `GET invocation/next`: it waits for an event, which goes into the channel.
    Next(oneshot::Sender<Invocation>),
    /// `POST invocation/{id}/response`: what the function returned.
    Response(Bytes),
    /// `POST invocation/{id}/error`: the function failed.
    Error(ErrorReport),
    /// `POST init/error`: the process can't serve at all.
    InitError(ErrorReport),
}

/// A running Runtime API. It ends when dropped; a process that still polls it sees its poll break off.
#[derive(Debug)]
pub struct RuntimeApi {
    server: Server,
    calls: mpsc::UnboundedReceiver<Call>,
}

impl RuntimeApi {
    /// Starts one on 127.0.0.1, at a port that the system picks.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let (sender, calls) = mpsc::unbounded_channel();
        let process = Arc::new(Process { calls: sender, current: Mutex::new(None) });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            // The limit is checked by hand, to answer as Lambda does.
            .layer(DefaultBodyLimit::disable())
            .with_state(process);
        Ok(Self { server: Server::start_router(0, router).await?, calls })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`: host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address().to_string()
    }

    /// Waits for the process's next call. Cancel safe.
    pub async fn call(&mut self) -> Option<Call> {
        self.calls.recv().await
    }

    /// A call that was made already, without waiting. A process that reports and exits is heard first this way.
    pub fn call_made(&mut self) -> Option<Call> {
        self.calls.try_recv().ok()
    }
}

/// What the handlers share.
struct Process {
    calls: mpsc::UnboundedSender<Call>,
    /// The request ID of the invocation that has no answer yet.
    current: Mutex<Option<String>>,
}

impl Process {
    /// True, once, for the invocation that has no answer yet.
    fn finish(&self, id: &str) -> bool {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).take_if(|current| current == id).is_some()
    }
}

async fn next(State(process): State<Arc<Process>>) -> Response<Body> {
    let (sender, receiver) = oneshot::channel();
    let gone = || refuse(StatusCode::INTERNAL_SERVER_ERROR, "Container", "the local world is shutting down");
    if process.calls.send(Call::Next(sender)).is_err() {
        return gone();
    }
    let Ok(invocation) = receiver.await else { return gone() };
    let deadline = invocation.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    *process.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(invocation.request_id.clone());
    let mut response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", invocation.request_id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", invocation.function_arn);
    if !invocation.trace_header.is_empty() {
        response = response.header("lambda-runtime-trace-id", invocation.trace_header);
    }
    response.body(Body::from(invocation.event)).unwrap_or_else(|_| {
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "Container", "the invocation's headers are no HTTP headers")
    })
}

async fn response(State(process): State<Arc<Process>>, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    if !process.finish(&id) {
        return unknown_request(&id);
    }
    if body.len() > RESPONSE_LIMIT {
        let message = format!(
            "Response payload size ({} bytes) exceeded maximum allowed payload size ({RESPONSE_LIMIT} bytes).",
            body.len()
        );
        let error_type = "Function.ResponseSizeTooLarge";
        let _ = process
            .calls
            .send(Call::Error(ErrorReport { error_type: error_type.to_owned(), message: message.clone() }));
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, error_type, &message);
    }
    let _ = process.calls.send(Call::Response(body));
    accepted()
}

async fn error(State(process): State<Arc<Process>>, Path(id): Path<String>, body: Bytes) -> Response<Body> {
    if !process.finish(&id) {
        return unknown_request(&id);
    }
    let _ = process.calls.send(Call::Error(report(&body)));
    accepted()
}

async fn init_error(State(process): State<Arc<Process>>, body: Bytes) -> Response<Body> {
    let _ = process.calls.send(Call::InitError(report(&body)));
    accepted()
}

/// Reads an error as the Runtime API's documentation writes it; anything else is taken as the message.
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
        Ok(Posted { error_type, error_message }) => ErrorReport { error_type, message: error_message },
        Err(_) => ErrorReport { error_type: "Unknown".to_owned(), message: String::from_utf8_lossy(body).into_owned() },
    }
}

fn accepted() -> Response<Body> {
    json_response(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn unknown_request(id: &str) -> Response<Body> {
    refuse(StatusCode::BAD_REQUEST, "InvalidRequestID", &format!("{id} is not the invocation that waits for an answer"))
}

fn refuse(status: StatusCode, error_type: &str, message: &str) -> Response<Body> {
    json_response(status, &json!({ "errorType": error_type, "errorMessage": message }))
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", axum::http::HeaderValue::from_static("application/json"));
    response
}

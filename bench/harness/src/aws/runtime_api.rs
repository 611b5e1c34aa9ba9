//! Lambda's Runtime API, for one process.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::http::Server;
use crate::clock;

/// How long an invocation may take.
const TIMEOUT: Duration = Duration::from_mins(5);
const PREFIX: &str = "/2018-06-01/runtime/";
const FUNCTION: &str = "arn:aws:lambda:eu-central-1:123456789012:function:config-audit-bench";

/// A running API. [`RuntimeApi::call`] returns the calls that the process makes.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    server: Server,
    calls: mpsc::UnboundedReceiver<Call>,
}

/// A call that a process made.
#[derive(Debug)]
pub(crate) enum Call {
    /// It asks for an event.
    Next(Poll),
    /// It answers an event.
    Answer {
        /// When the answer arrived.
        at: Instant,
        /// The answer.
        body: Bytes,
    },
    /// It says that it failed.
    Error(Bytes),
}

/// A process that waits for an event.
#[derive(Debug)]
pub(crate) struct Poll(oneshot::Sender<Response<Full<Bytes>>>);

impl Poll {
    /// Delivers the event, and returns the time of delivery.
    pub(crate) fn deliver(self, event: Bytes, is_sampled: bool) -> Instant {
        let deadline = clock::unix_milliseconds() + TIMEOUT.as_millis();
        let random = Uuid::new_v4().simple().to_string();
        let trace = format!(
            "Root=1-{:08x}-{};Parent={};Sampled={}",
            clock::unix_milliseconds() / 1_000,
            &random[..24],
            &random[8..24],
            u8::from(is_sampled)
        );
        let response = Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", Uuid::new_v4().to_string())
            .header("lambda-runtime-deadline-ms", deadline.to_string())
            .header("lambda-runtime-invoked-function-arn", FUNCTION)
            .header("lambda-runtime-trace-id", trace);
        let response = response.body(Full::new(event)).unwrap_or_default();
        let delivered = clock::now();
        // If the process is gone, its next call never comes, and the harness reports that.
        let _ = self.0.send(response);
        delivered
    }
}

impl RuntimeApi {
    /// Listens on 127.0.0.1, on a port that the system picks.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) async fn start() -> io::Result<Self> {
        let (sender, calls) = mpsc::unbounded_channel();
        let sender = Arc::new(sender);
        let server = Server::start(None, move |request| answer(request, sender.clone())).await?;
        Ok(Self { server, calls })
    }

    /// The value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Waits for the next call; `None` if no more can come.
    pub(crate) async fn call(&mut self) -> Option<Call> {
        self.calls.recv().await
    }
}

async fn answer(request: Request<Bytes>, calls: Arc<mpsc::UnboundedSender<Call>>) -> Response<Full<Bytes>> {
    let at = clock::now();
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default().to_owned();
    if *request.method() == Method::GET && path == "invocation/next" {
        let (sender, event) = oneshot::channel();
        let _ = calls.send(Call::Next(Poll(sender)));
        return event.await.unwrap_or_default();
    }
    let body = request.into_body();
    let is_answer = path.starts_with("invocation/") && path.ends_with("/response");
    let _ = calls.send(if is_answer { Call::Answer { at, body } } else { Call::Error(body) });
    let accepted = Response::builder().status(202).header("content-type", "application/json");
    accepted.body(Full::new(Bytes::from_static(br#"{"status":"OK"}"#))).unwrap_or_default()
}

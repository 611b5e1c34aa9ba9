//! A stand-in for DynamoDB: it accepts every write unless told to throttle, answers after a given delay, and keeps the
//! request bodies. It parses nothing while the clock runs.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode};

use super::http::Server;
use super::tls::Tls;
use crate::{clock, timer};

/// The write units that a request with 25 entries consumes.
const UNITS: f64 = 50.0;
/// How long a throttling table accumulates unused write units.
const BURST: Duration = Duration::from_millis(100);

/// A running stand-in, over plain HTTP and over TLS.
pub(crate) struct DynamoDb {
    plain: Server,
    secure: Server,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// The bodies of the accepted writes.
    kept: Vec<Bytes>,
    capacity: Option<Capacity>,
    refused: usize,
}

/// The rate of a throttling table in write units a second, and the units left.
struct Capacity {
    rate: f64,
    left: f64,
    at: Instant,
}

impl Capacity {
    /// Consumes a request's units if enough are left, and returns whether they were.
    fn takes_a_request(&mut self) -> bool {
        let now = clock::now();
        let earned = self.rate * (now - self.at).as_secs_f64();
        self.left = (self.left + earned).min(self.rate * BURST.as_secs_f64());
        self.at = now;
        let is_enough = self.left >= UNITS;
        if is_enough {
            self.left -= UNITS;
        }
        is_enough
    }
}

impl State {
    fn of(state: &Mutex<Self>) -> MutexGuard<'_, Self> {
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a write, unless it is throttled.
    fn takes(&mut self, body: Bytes) -> bool {
        let takes = self.capacity.as_mut().is_none_or(Capacity::takes_a_request);
        if takes {
            self.kept.push(body);
        } else {
            self.refused += 1;
        }
        takes
    }
}

impl DynamoDb {
    /// Starts the stand-in, which answers each request after `latency`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) async fn start(latency: Duration, tls: &Tls) -> io::Result<Self> {
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let answer = move |request| {
            let state = Arc::clone(&shared);
            async move { answer(request, latency, &state).await }
        };
        let plain = Server::start(None, answer.clone()).await?;
        let secure = Server::start(Some(tls.acceptor.clone()), answer).await?;
        Ok(Self { plain, secure, state })
    }

    /// Its URL over plain HTTP.
    pub(crate) fn plain_url(&self) -> String {
        format!("http://{}", self.plain.address)
    }

    /// Its URL over TLS.
    pub(crate) fn secure_url(&self) -> String {
        format!("https://localhost:{}", self.secure.address.port())
    }

    /// The bodies of all writes since the last call, as received.
    pub(crate) fn take_kept(&self) -> Vec<Bytes> {
        std::mem::take(&mut State::of(&self.state).kept)
    }

    /// Limits the table to `rate` write units a second from now on; `None` lifts the limit.
    pub(crate) fn throttle(&self, rate: Option<f64>) {
        State::of(&self.state).capacity = rate.map(|rate| Capacity { rate, left: 0.0, at: clock::now() });
    }

    /// How many requests were throttled since the last call.
    pub(crate) fn take_refused(&self) -> usize {
        std::mem::take(&mut State::of(&self.state).refused)
    }
}

async fn answer(request: Request<Bytes>, latency: Duration, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let is_health_check = request.method() == Method::GET;
    let puts_one_item =
        request.headers().get("x-amz-target").is_some_and(|target| target.as_bytes().ends_with(b".PutItem"));
    let body = request.into_body();
    let wants_capacity = memchr::memmem::find(&body, br#""ReturnConsumedCapacity""#).is_some();
    let answer: &[u8] = match (puts_one_item, wants_capacity) {
        _ if is_health_check => b"healthy",
        (true, false) => b"{}",
        (true, true) => br#"{"ConsumedCapacity":{"CapacityUnits":2.0,"TableName":"Audit"}}"#,
        (false, false) => br#"{"UnprocessedItems":{}}"#,
        (false, true) => br#"{"ConsumedCapacity":[{"CapacityUnits":50.0,"TableName":"Audit"}],"UnprocessedItems":{}}"#,
    };
    let is_taken = is_health_check || State::of(state).takes(body);
    // If the timer fails, the answer comes at once, which every figure shows.
    let _ = timer::wait(latency).await;
    if is_taken {
        respond(Bytes::from_static(answer))
    } else {
        let mut refusal = respond(Bytes::from_static(br#"{"__type":"ProvisionedThroughputExceededException"}"#));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        refusal
    }
}

/// A response with DynamoDB's headers.
fn respond(body: Bytes) -> Response<Full<Bytes>> {
    let id: String = std::iter::repeat_with(fastrand::alphanumeric).take(52).collect();
    let response = Response::builder()
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", id.to_uppercase())
        .header("x-amz-crc32", crc32fast::hash(&body).to_string())
        .header("server", "Server");
    response.body(Full::new(body)).unwrap_or_default()
}

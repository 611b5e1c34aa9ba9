//! A proxy between the function and the engine, which fails as networks and DynamoDB fail. The engine is a real one,
//! and does what the proxy lets through.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

/// What happens to one request that writes.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is refused with this status and error code; nothing is written. Its message quotes the request.
    Refuse(u16, &'static str),
    /// It is answered with this status and body; nothing is written.
    Answer(u16, &'static str),
    /// The connection is closed; nothing is written.
    Drop,
    /// It is done, and the answer is lost with the connection.
    LoseAnswer,
    /// The last items, this many, are returned unprocessed; the others are written.
    GiveBack(usize),
    /// There is never an answer; nothing is written.
    Silence,
    /// It is done, and the answer breaks off in the middle.
    CutAnswer,
    /// It is done, and the answer is delayed by this much.
    Delay(Duration),
    /// The function's process is killed before anything is done.
    Kill,
    /// It is done, and the function's process is killed before it has the answer.
    KillAfterWriting,
    /// No fault: it is let through.
    LetThrough,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
    /// Bound but not listening, so connections are refused.
    down: Option<TcpSocket>,
}

#[derive(Debug)]
struct Shared {
    engine: Uri,
    client: Client<HttpConnector, Body>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What happens to the next writes.
    next: VecDeque<Fault>,
    /// What happens to every `BatchWriteItem` after that.
    then: Option<Fault>,
    /// How many requests to write entries have arrived.
    writes: usize,
    /// The function's process, if it must be killed.
    process: Option<u32>,
}

impl Proxy {
    /// A proxy for this engine that refuses connections until [`Proxy::up`].
    pub(crate) fn down(engine: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let address = socket.local_addr().unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let shared = Arc::new(Shared { engine: engine.parse().unwrap(), client, state: Mutex::default() });
        Self { address, shared, task: None, down: Some(socket) }
    }

    pub(crate) fn up(&mut self) {
        let listener = self.down.take().unwrap().listen(1024).unwrap();
        self.task = Some(tokio::spawn(serve(listener, Arc::clone(&self.shared))));
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets what happens to the next requests that write entries; those after them are let through.
    pub(crate) fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.state.lock().unwrap().next.extend(faults);
    }

    /// Sets what happens to every request that writes, from now on.
    pub(crate) fn always(&self, fault: Fault) {
        self.shared.state.lock().unwrap().then = Some(fault);
    }

    /// Sets the process that [`Fault::Kill`] kills.
    pub(crate) fn aim_at(&self, process: u32) {
        self.shared.state.lock().unwrap().process = Some(process);
    }

    /// How many of the faults for the next requests are still to come.
    pub(crate) fn to_come(&self) -> usize {
        self.shared.state.lock().unwrap().next.len()
    }

    /// How many requests to write entries have arrived so far.
    pub(crate) fn writes(&self) -> usize {
        self.shared.state.lock().unwrap().writes
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it all connections.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| Arc::clone(&shared).answer(request));
        connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

impl Shared {
    /// An error closes the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, &'static str> {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), usize::MAX).await.map_err(|_| "the function went away")?;
        let is_batch =
            head.headers.get("x-amz-target").is_some_and(|target| target == "DynamoDB_20120810.BatchWriteItem");
        let fault = if is_batch { self.fault(&body) } else { Fault::LetThrough };
        let forward = |body| {
            let mut request = Request::from_parts(head, Body::from(body));
            *request.uri_mut() = self.engine.clone();
            request.headers_mut().remove(header::CONTENT_LENGTH);
            // The function uses the proxy's address; the engine expects its own.
            request.headers_mut().remove(header::HOST);
            async { self.client.request(request).await.map_err(|_| "the engine went away") }
        };
        match fault {
            Fault::LetThrough => Ok(forward(body).await?.map(Body::new)),
            Fault::Refuse(status, code) => Ok(refusal(status, code, &body)),
            Fault::Answer(status, body) => Ok(Response::builder().status(status).body(body.into()).unwrap()),
            Fault::Drop => Err("dropped"),
            Fault::LoseAnswer => {
                let answer = forward(body).await?;
                to_bytes(Body::new(answer.into_body()), usize::MAX).await.map_err(|_| "the engine went away")?;
                Err("the answer is lost")
            }
            Fault::GiveBack(count) => {
                let (kept, table, mut given_back) = split(&body, count);
                if let Some(kept) = kept {
                    let answer = forward(kept).await?;
                    assert!(answer.status().is_success(), "{answer:?}");
                    let answer = to_bytes(Body::new(answer.into_body()), usize::MAX).await;
                    let mut answer: Value =
                        serde_json::from_slice(&answer.map_err(|_| "the engine went away")?).unwrap();
                    // The engine may return some unprocessed on its own.
                    given_back.extend(
                        answer["UnprocessedItems"][&table].as_array_mut().map(std::mem::take).unwrap_or_default(),
                    );
                }
                Ok(Response::new(json!({ "UnprocessedItems": { table: given_back } }).to_string().into()))
            }
            Fault::Silence => std::future::pending().await,
            Fault::CutAnswer => {
                let answer = forward(body).await?;
                let whole = to_bytes(Body::new(answer.into_body()), usize::MAX);
                let whole = whole.await.map_err(|_| "the engine went away")?;
                let half = whole.slice(..whole.len() / 2);
                let parts = futures_util::stream::iter([Ok(half), Err("cut")]);
                Ok(Response::new(Body::from_stream(parts)))
            }
            Fault::Delay(by) => {
                let answer = forward(body).await?;
                tokio::time::sleep(by).await;
                Ok(answer.map(Body::new))
            }
            Fault::Kill => {
                self.kill();
                Err("the function was killed")
            }
            Fault::KillAfterWriting => {
                let answer = forward(body).await?;
                to_bytes(Body::new(answer.into_body()), usize::MAX).await.map_err(|_| "the engine went away")?;
                self.kill();
                Err("the function was killed")
            }
        }
    }

    /// As `kill -9` does.
    fn kill(&self) {
        let process = self.state.lock().unwrap().process.take();
        let process = process.and_then(|process| rustix::process::Pid::from_raw(process.try_into().ok()?));
        if let Some(process) = process {
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        }
    }

    /// What happens to this request.
    fn fault(&self, body: &[u8]) -> Fault {
        let mut state = self.state.lock().unwrap();
        let writes_entries = requests(&serde_json::from_slice(body).unwrap())
            .1
            .iter()
            .any(|request| request["PutRequest"]["Item"].as_object().is_some_and(|item| !item.is_empty()));
        state.writes += usize::from(writes_entries);
        let next = if writes_entries { state.next.pop_front() } else { None };
        next.or_else(|| state.then.clone()).unwrap_or(Fault::LetThrough)
    }
}

/// The only table of a `BatchWriteItem`, and the requests for it.
fn requests(body: &Value) -> (&String, &Vec<Value>) {
    let (table, requests) = body["RequestItems"].as_object().unwrap().iter().next().unwrap();
    (table, requests.as_array().unwrap())
}

/// The request without its last `count` items, if any are left; its table; and those items.
fn split(body: &Bytes, count: usize) -> (Option<Bytes>, String, Vec<Value>) {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    let (table, all) = requests(&body);
    let at = all.len().saturating_sub(count);
    let (table, kept, given_back) = (table.clone(), json!({ table: all[..at] }), all[at..].to_vec());
    body["RequestItems"] = kept;
    ((at > 0).then(|| body.to_string().into()), table, given_back)
}

/// DynamoDB quotes values in some messages; here every message does, so every log line that contains one is a leak.
fn refusal(status: u16, code: &str, body: &[u8]) -> Response<Body> {
    let refusal = json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": String::from_utf8_lossy(body),
    });
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
    response.body(refusal.to_string().into()).unwrap()
}

//! A stand-in for DynamoDB: it takes every write, answers after a given time, and keeps what was sent. It parses nothing
//! while the clock runs.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response};

use super::http::Server;
use super::tls::Tls;
use crate::timer;

/// A running stand-in, over plain HTTP and over TLS.
pub(crate) struct DynamoDb {
    plain: Server,
    secure: Server,
    kept: Kept,
}

type Kept = Arc<Mutex<Vec<Bytes>>>;

impl DynamoDb {
    /// Starts it; each request is answered after `latency`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) async fn start(latency: Duration, tls: &Tls) -> io::Result<Self> {
        let kept = Kept::default();
        let keep = kept.clone();
        let answer = move |request| {
            let keep = keep.clone();
            async move { answer(request, latency, &keep).await }
        };
        let plain = Server::start(None, answer.clone()).await?;
        let secure = Server::start(Some(tls.acceptor.clone()), answer).await?;
        Ok(Self { plain, secure, kept })
    }

    /// Its URL over plain HTTP.
    pub(crate) fn plain_url(&self) -> String {
        format!("http://{}", self.plain.address)
    }

    /// Its URL over TLS.
    pub(crate) fn secure_url(&self) -> String {
        format!("https://localhost:{}", self.secure.address.port())
    }

    /// The bodies of all writes since the last call, as they came.
    pub(crate) fn take_kept(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn answer(request: Request<Bytes>, latency: Duration, keep: &Mutex<Vec<Bytes>>) -> Response<Full<Bytes>> {
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
    if !is_health_check {
        keep.lock().unwrap_or_else(PoisonError::into_inner).push(body);
    }
    // Without a timer there is nothing to measure, and the answer that comes at once shows in every figure.
    let _ = timer::wait(latency).await;
    respond(Bytes::from_static(answer))
}

/// An answer with the headers that DynamoDB's have.
fn respond(body: Bytes) -> Response<Full<Bytes>> {
    let id: String = std::iter::repeat_with(fastrand::alphanumeric).take(52).collect();
    let response = Response::builder()
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", id.to_uppercase())
        .header("x-amz-crc32", crc32fast::hash(&body).to_string())
        .header("server", "Server");
    response.body(Full::new(body)).unwrap_or_default()
}

//! Answers in forms that DynamoDB does not use, or not today, and that proxies on the way turn its answers into: only
//! complete ones count.

use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures_util::future::{FutureExt, join_all};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::engine::Engine;
use super::records::{inserts, key, sequence_number};
use super::scene::Scene;

/// More than fit in one request.
const RECORDS: usize = 30;

/// How long an invocation may take if its answers cannot be read.
const LIMIT: Duration = Duration::from_secs(4);

/// What is sent over the wire for the engine's answer, given its status and reason, and its body.
type Write = fn(&str, &[u8]) -> Vec<u8>;

/// The same as a closure of a test.
type Form = Arc<dyn Fn(&str, &[u8]) -> Vec<u8> + Send + Sync>;

/// A server that passes each request on to the engine, and writes the answer to the socket in its own form.
struct Wire {
    url: String,
    /// Known only once the scene has started.
    engine: Arc<OnceLock<String>>,
    task: JoinHandle<()>,
}

impl Wire {
    async fn start(form: Form) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let engine: Arc<OnceLock<String>> = Arc::default();
        let target = Arc::clone(&engine);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&target), Arc::clone(&form)));
            }
        });
        Self { url, engine, task }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves one request. `None` if the client has disconnected.
async fn serve(stream: TcpStream, engine: Arc<OnceLock<String>>, form: Form) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut request = Request::post(engine.get()?);
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await.ok()?;
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "host" => {}
            _ => request = request.header(name, value),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request.body(Body::from(body)).ok()?).await.ok()?;
    let status = answer.status().to_string();
    let body = to_bytes(Body::new(answer.into_body()), usize::MAX).await.ok()?;
    stream.write_all(&form(&status, &body)).await.ok()?;
    stream.shutdown().await.ok()
}

fn joined(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), body].concat()
}

/// A body in chunks of a few bytes.
fn chunks(body: &[u8]) -> Vec<u8> {
    let mut chunked: Vec<u8> = body
        .chunks(7)
        .flat_map(|chunk| [format!("{:x};extension=1\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat())
        .collect();
    chunked.extend(b"0\r\nX-Trailer: 1\r\n\r\n");
    chunked
}

/// `{"UnprocessedItems":{}}`, compressed by `gzip`: says that everything is stored, to whoever unpacks it.
const GZIP: &[u8] = &[
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x0a, 0xcd, 0x2b, 0x28, 0xca, 0x4f, 0x4e,
    0x2d, 0x2e, 0x4e, 0x4d, 0xf1, 0x2c, 0x49, 0xcd, 0x2d, 0x56, 0xb2, 0xaa, 0xae, 0xad, 0x05, 0x00, 0xfb, 0xde, 0x77,
    0xf9, 0x17, 0x00, 0x00, 0x00,
];

#[tokio::test]
async fn a_whole_answer_counts_in_every_form_of_http() {
    let forms: [(&str, Write); 6] = [
        ("HTTP/1.0", |status, body| {
            joined(&format!("HTTP/1.0 {status}\r\nContent-Length: {}\r\n\r\n", body.len()), body)
        }),
        ("HTTP/1.0 without a length", |status, body| joined(&format!("HTTP/1.0 {status}\r\n\r\n"), body)),
        ("without a length", |status, body| joined(&format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n"), body)),
        ("chunked", |status, body| {
            joined(&format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n"), &chunks(body))
        }),
        ("after an interim answer", |status, body| {
            let head =
                format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            joined(&head, body)
        }),
        ("with bytes after it", |status, body| {
            joined(
                &format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len()),
                &[body, b"HTTP/1.1 500"].concat(),
            )
        }),
    ];
    join_all(forms.map(async |(form, write)| {
        let wire = Wire::start(Arc::new(write)).await;
        let mut play = Scene::on(Engine::Embedded).with("AWS_ENDPOINT_URL_DYNAMODB", &wire.url).start().await;
        wire.engine.set(play.proxy.url()).unwrap();
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        assert_eq!(observed.failed(), [""; 0], "{form}");
        let mut keys = play.item_keys().await;
        keys.sort();
        let mut expected: Vec<String> = (0..RECORDS).map(key).collect();
        expected.sort();
        assert_eq!(keys, expected, "{form}");
        play.stop().await;
    }))
    .await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_acknowledges_nothing() {
    let forms: [(&str, Write); 8] = [
        ("gzip", |_, _| {
            let length = GZIP.len();
            joined(&format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n"), GZIP)
        }),
        ("a longer length than the body", |status, body| {
            joined(&format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len() + 1), body)
        }),
        ("a shorter length than the body", |status, body| {
            joined(&format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len() - 1), body)
        }),
        ("chunks without an end", |status, body| {
            let chunked = chunks(body);
            let end = b"0\r\nX-Trailer: 1\r\n\r\n".len();
            joined(&format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n"), &chunked[..chunked.len() - end])
        }),
        ("two lengths", |status, body| {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Length: 1\r\n\r\n", body.len());
            joined(&head, body)
        }),
        ("a head of a megabyte", |status, body| {
            joined(&format!("HTTP/1.1 {status}\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20)), body)
        }),
        ("a status that nobody knows", |_, body| {
            joined(&format!("HTTP/1.1 999 ?\r\nContent-Length: {}\r\n\r\n", body.len()), body)
        }),
        ("what is not HTTP", |_, _| b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
    ];
    join_all(forms.map(async |(form, write)| {
        let wire = Wire::start(Arc::new(write)).await;
        let scene = Scene::on(Engine::Embedded).with("AWS_ENDPOINT_URL_DYNAMODB", &wire.url);
        let mut play = scene.allowing(LIMIT).start().await;
        wire.engine.set(play.proxy.url()).unwrap();
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        assert_eq!(observed.failed(), (0..RECORDS).map(sequence_number).collect::<Vec<_>>(), "{form}");
        assert_eq!((observed.count("AuditsWritten"), observed.has_exited), (0, false), "{form}");
        play.stop().await;
    }))
    .await;
}

/// Following a redirect would send the signature and the items to another host.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let statuses =
        ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"];
    join_all(statuses.map(async |status| {
        let answer = format!("HTTP/1.1 {status}\r\nLocation: http://{target}/\r\nContent-Length: 0\r\n\r\n");
        let wire = Wire::start(Arc::new(move |_, _| answer.clone().into_bytes())).await;
        let scene = Scene::on(Engine::Embedded).with("AWS_ENDPOINT_URL_DYNAMODB", &wire.url);
        let mut play = scene.allowing(LIMIT).start().await;
        wire.engine.set(play.proxy.url()).unwrap();
        let observed = play.invoke(&inserts(0..RECORDS)).await;
        assert_eq!(observed.failed().len(), RECORDS, "{status}");
        play.stop().await;
    }))
    .await;
    // A connection would wait here to be accepted.
    assert!(elsewhere.accept().now_or_never().is_none());
}

//! The minimum cost of an audit. It reads the event once, to count its records, and sends bodies of the right size,
//! built at start-up, in parallel over persistent connections. There is no JSON and no signature.
//!
//! With `FLOOR_WORK=on` it also does the work that every audit must do: it parses the event, hashes the ID of each
//! entry, and writes each entry once.

mod work;

use std::error::Error;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use work::{ENTRIES_IN_A_BODY, bodies};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let dynamodb = std::env::var("AWS_ENDPOINT_URL_DYNAMODB")?;
    let dynamodb = dynamodb.strip_prefix("http://").ok_or("DynamoDB's URL must start with http://")?.to_owned();
    let works = std::env::var("FLOOR_WORK").is_ok_and(|value| value == "on");
    tokio::task::LocalSet::new().run_until(run(&api, &dynamodb, works)).await
}

async fn run(api: &str, dynamodb: &str, works: bool) -> Result<()> {
    let mut lambda = connect(api).await?;
    let mut connections: Vec<SendRequest<Full<Bytes>>> = Vec::new();
    let prebuilt: Rc<[Bytes]> = (1..=ENTRIES_IN_A_BODY).map(work::sample).collect();
    loop {
        let request = Request::get("/2018-06-01/runtime/invocation/next").header("host", api);
        let (response, event) = send(&mut lambda, request.body(Full::default())?).await?;
        let id = response.headers().get("lambda-runtime-aws-request-id").ok_or("an event has no ID")?.to_str()?;
        let bodies = if works { bodies(&event)? } else { like(&event, &prebuilt) };
        while connections.len() < bodies.len() {
            connections.push(connect(dynamodb).await?);
        }
        try_join_all(connections.iter_mut().zip(bodies).map(async |(connection, body)| {
            let request = Request::post("/")
                .header("host", dynamodb)
                .header("content-type", "application/x-amz-json-1.0")
                .header("x-amz-target", "DynamoDB_20120810.BatchWriteItem");
            let (response, _) = send(connection, request.body(Full::new(body))?).await?;
            if response.status().is_success() { Ok(()) } else { Err("a write failed".into()) as Result<()> }
        }))
        .await?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("/2018-06-01/runtime/invocation/{id}/response"))
            .header("host", api);
        send(&mut lambda, request.body(Full::new(Bytes::from_static(br#"{"batchItemFailures":[]}"#)))?).await?;
    }
}

/// As many bodies as the event needs with one entry per record.
fn like(event: &[u8], prebuilt: &[Bytes]) -> Vec<Bytes> {
    let mut records = memchr::memmem::find_iter(event, br#""eventID""#).count();
    let mut bodies = Vec::with_capacity(records.div_ceil(ENTRIES_IN_A_BODY));
    while records > 0 {
        let entries = records.min(ENTRIES_IN_A_BODY);
        bodies.push(prebuilt[entries - 1].clone());
        records -= entries;
    }
    bodies
}

async fn connect(address: &str) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn send(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(Response<()>, Bytes)> {
    connection.ready().await?;
    let (parts, body) = connection.send_request(request).await?.into_parts();
    Ok((Response::from_parts(parts, ()), body.collect().await?.to_bytes()))
}

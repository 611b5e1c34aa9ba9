//! The console of a real world, over HTTP: a change that is made with its form is seen arriving in the trail.

use std::process::Stdio;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::support::{GENEROUS, bootstrap, config_audit};

/// A running world with its console.
struct Visit {
    client: Client<HttpConnector, Body>,
    console: String,
    _world: Child,
}

/// What was answered.
struct Answer {
    status: u16,
    location: String,
    text: String,
}

impl Visit {
    async fn start() -> Self {
        let mut command = config_audit();
        command.args(["local", "--port", "0", "--console-port", "0", "--bootstrap"]).arg(bootstrap());
        let mut world = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap();
        let console = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        // Somebody must read the rest, or the world would wait for them.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { client: Client::builder(TokioExecutor::new()).build_http(), console, _world: world }
    }

    async fn send(&self, method: Method, address: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("{}{address}", self.console));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = self.client.request(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let location = parts.headers.get("location").map(|value| value.to_str().unwrap().to_owned());
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), location: location.unwrap_or_default(), text }
    }

    async fn page(&self, address: &str) -> String {
        let answer = self.send(Method::GET, address, &[("accept", "text/html")], "").await;
        assert_eq!(answer.status, 200, "{address}: {}", answer.text);
        answer.text
    }

    async fn json(&self, address: &str) -> Value {
        let answer = self.send(Method::GET, address, &[("accept", "application/json")], "").await;
        serde_json::from_str(&answer.text).unwrap()
    }

    async fn form(&self, address: &str, fields: &str) -> Answer {
        let token = self.json("/").await["token"].as_str().unwrap().to_owned();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", &self.console)];
        self.send(Method::POST, address, &headers, &format!("token={token}&{fields}")).await
    }

    /// Reads the overview's live events until a change of this item is where it should be; returns what they sent.
    async fn live_until(&self, wanted: &str) -> String {
        let request = Request::get(format!("{}/live/overview", self.console)).body(Body::empty()).unwrap();
        let mut body = self.client.request(request).await.unwrap().into_body();
        let mut sent = String::new();
        let arrives = async {
            while !sent.contains(wanted) {
                let frame = body.frame().await.unwrap().unwrap();
                sent.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()));
            }
        };
        tokio::time::timeout(GENEROUS, arrives).await.unwrap();
        sent
    }
}

#[tokio::test]
async fn a_change_is_made_with_the_form_and_seen_arriving() {
    let visit = Visit::start().await;
    assert!(visit.page("/").await.contains("No change yet"));
    let saved = visit.form("/items", "action=save&key=FLAG&attribute=value&value=on").await;
    assert_eq!((saved.status, saved.location.as_str()), (303, "/?saved=FLAG#change-heading"));
    visit.live_until("in the trail: 1 entry").await;
    let view = visit.json("/").await;
    assert_eq!((view["counts"]["entries"].as_u64(), view["waiting"].as_u64()), (Some(1), Some(0)), "{view}");
    assert_eq!(
        (view["changes"][0]["itemKey"].as_str(), view["changes"][0]["place"].as_str()),
        (Some("FLAG"), Some("audited"))
    );
    // What a page of somebody else's could send.
    let fields = "action=delete&key=FLAG";
    for headers in
        [[("origin", "https://evil.example")], [("host", "evil.example")], [("sec-fetch-site", "cross-site")]]
    {
        assert_eq!(visit.send(Method::POST, "/items", &headers, fields).await.status, 403, "{headers:?}");
    }
}

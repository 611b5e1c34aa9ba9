//! The console of a real world, over HTTP: a change made with its form arrives in the trail.

use std::process::Stdio;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::bootstrap::engine::Engine;
use crate::support::{GENEROUS, bootstrap, config_audit};
use crate::trail::permissions::refusing;
use crate::trail::scene::{AUDIT, EPOCH, Tables, command, entries, item};

/// A running world with its console.
struct Visit {
    client: Client<HttpConnector, Body>,
    console: String,
    /// The cookie that an account's console gave in exchange for its key; empty for a local world.
    cookie: String,
    _world: Child,
}

/// The response.
struct Answer {
    status: u16,
    location: String,
    cookie: String,
    text: String,
}

impl Visit {
    async fn start() -> Self {
        let mut command = config_audit();
        command.args(["local", "--port", "0", "--console-port", "0", "--bootstrap"]).arg(bootstrap());
        Self::of(command).await
    }

    /// The pages that this command serves.
    async fn of(mut command: Command) -> Self {
        let mut world = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
        let first = tokio::time::timeout(GENEROUS, lines.next_line()).await.unwrap().unwrap().unwrap();
        let address = first.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        // Something must read the rest, or the world would block.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (console, key) = address.split_once("/?").map_or((&*address, None), |(console, key)| (console, Some(key)));
        let mut visit = Self { client, console: console.to_owned(), cookie: String::new(), _world: world };
        if let Some(key) = key {
            let opened = visit.send(Method::GET, &format!("/?{key}"), &[], "").await;
            assert_eq!((opened.status, opened.location.as_str()), (303, "/"));
            visit.cookie = opened.cookie.split(';').take(1).collect();
        }
        visit
    }

    async fn send(&self, method: Method, address: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let request = Request::builder().method(method).uri(format!("{}{address}", self.console));
        let cookie = Some(("cookie", &*self.cookie)).filter(|(_, value)| !value.is_empty());
        let headers = headers.iter().copied().chain(cookie);
        let request = headers.fold(request, |request, (name, value)| request.header(name, value));
        let response = self.client.request(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let header = |name| parts.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let (location, cookie) = (header("location"), header("set-cookie"));
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), location, cookie, text }
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

    /// Requests this page until it says what is wanted.
    async fn json_until(&self, address: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let asks = async {
            loop {
                let view = self.json(address).await;
                if is_wanted(&view) {
                    return view;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(GENEROUS, asks).await.unwrap()
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
    assert!(visit.page("/").await.contains("No changes yet"));
    let saved = visit.form("/items", "action=save&key=FLAG&attribute=value&value=on").await;
    assert_eq!((saved.status, saved.location.as_str()), (303, "/?saved=FLAG#change-heading"));
    // The badge of the change; what to try next mentions the trail too.
    visit.live_until("in the trail</span>").await;
    let view = visit.json_until("/", |view| view["counts"]["entries"] == 1 && view["waiting"] == 0).await;
    assert_eq!(
        (view["changes"][0]["itemKey"].as_str(), view["changes"][0]["place"].as_str()),
        (Some("FLAG"), Some("audited"))
    );
    // What somebody else's page could send.
    let fields = "action=delete&key=FLAG";
    for headers in
        [[("origin", "https://evil.example")], [("host", "evil.example")], [("sec-fetch-site", "cross-site")]]
    {
        assert_eq!(visit.send(Method::POST, "/items", &headers, fields).await.status, 403, "{headers:?}");
    }
}

#[tokio::test]
async fn the_trail_of_a_change_leads_to_its_item_and_is_intact() {
    let visit = Visit::start().await;
    assert!(visit.page("/trail").await.contains("No entries yet"));
    for value in ["on", "off"] {
        visit.form("/items", &format!("action=save&key=FLAG&attribute=value&value={value}")).await;
    }
    // An entry may be listed a moment before its invocation is known.
    let is_complete = |trail: &Value| {
        let entries = trail["entries"].as_array().map_or(&[][..], Vec::as_slice);
        entries.len() == 2 && entries.iter().all(|entry| entry["requestId"].is_string())
    };
    let trail = visit.json_until("/trail", is_complete).await;
    let newest = &trail["entries"][0];
    assert_eq!(
        (newest["kind"].as_str(), newest["oldValue"].as_str(), newest["newValue"].as_str()),
        (Some("changed"), Some("on"), Some("off"))
    );
    let item = visit.json("/trail/item?key=FLAG").await;
    assert_eq!((item["entries"].as_u64(), item["findings"].as_array().map(Vec::len)), (Some(2), Some(0)), "{item}");
    let csv = visit.page("/trail/export.csv?kind=created").await;
    assert_eq!(csv.lines().count(), 2, "{csv}");
    let invocation = visit.json(&format!("/invocations/{}", newest["requestId"].as_str().unwrap())).await;
    assert_eq!(invocation["outcome"], "ok", "{invocation}");
    assert_eq!(invocation["stored"][0]["itemKey"], "FLAG", "{invocation}");
    assert!(!invocation["documents"].as_array().unwrap().is_empty(), "{invocation}");
    let page = visit.page(&format!("/invocations/{}", newest["requestId"].as_str().unwrap())).await;
    assert!(page.contains("RecordsAudited") && page.contains("<rect"), "{page}");
    assert_eq!(visit.form("/trail/verify", "").await.status, 303);
    let verified = visit.json_until("/trail/verify", |view| view["state"] == "done").await;
    assert_eq!(verified["verdict"].as_str(), Some("The trail is intact."), "{verified}");
}

#[tokio::test]
async fn what_is_broken_fails_until_it_is_mended_and_nothing_is_lost() {
    let visit = Visit::start().await;
    assert_eq!(visit.form("/break", "fault=functionCrashes&on=true").await.status, 303);
    visit.form("/items", "action=save&key=FLAG&attribute=value&value=on").await;
    let failed = |view: &Value| view["invocations"].as_array().is_some_and(|all| !all.is_empty());
    let list = visit.json_until("/invocations?outcome=failed", failed).await;
    assert_eq!(list["invocations"][0]["outcome"], "failed", "{list}");
    assert!(visit.page("/").await.contains("Deliberately broken: The function crashes"));
    assert_eq!(visit.form("/break", "fault=none").await.status, 303);
    let trail = visit.json_until("/trail", |trail| trail["entries"].as_array().is_some_and(|all| all.len() == 1)).await;
    assert_eq!(trail["entries"][0]["itemKey"], "FLAG");
    let metrics = visit.page("/metrics").await;
    assert!(metrics.contains("config_audit_world_entries_total 1"), "{metrics}");
    for page in ["/alarms", "/alarms/InvocationErrors", "/alarms/Incident", "/runbooks/invocation-errors", "/break"] {
        assert!(visit.page(page).await.contains("</html>"), "{page}");
    }
    assert_eq!(visit.form("/break", "fault=earthquake&on=true").await.status, 400);
}

#[tokio::test]
async fn somebody_who_alters_or_deletes_an_entry_sets_off_the_alarm_and_breaks_the_trail() {
    let visit = Visit::start().await;
    assert_eq!(visit.form("/break/tamper", "act=alter").await.status, 400, "there is no entry yet");
    visit.form("/items", "action=save&key=FLAG&attribute=value&value=on").await;
    let is_stored = |trail: &Value| trail["entries"].as_array().is_some_and(|all| all.len() == 1);
    visit.json_until("/trail", is_stored).await;
    assert_eq!(visit.form("/break/tamper", "act=forge").await.status, 400);
    for act in ["alter", "delete"] {
        assert_eq!(visit.form("/break/tamper", &format!("act={act}")).await.status, 303);
    }
    // The alarm itself looks once a minute.
    let is_above_the_threshold = |alarm: &Value| {
        let points = alarm["points"].as_array().into_iter().flatten();
        points.filter_map(|point| point["value"].as_f64()).sum::<f64>() >= 2.0
    };
    visit.json_until("/alarms/TrailTampered", is_above_the_threshold).await;
    let failures = visit.page("/").await;
    assert!(failures.contains("somebody altered the entry: its newValue"), "{failures}");
}

#[tokio::test]
async fn a_throttling_table_and_a_damaged_record_are_shown_as_such() {
    let visit = Visit::start().await;
    visit.form("/break", "fault=tableThrottles&on=true").await;
    visit.form("/items", "action=save&key=FLAG&attribute=value&value=on").await;
    let waits =
        |view: &Value| view["changes"][0]["place"] == "awaitingRetry" || view["changes"][0]["place"] == "failed";
    visit.json_until("/", waits).await;
    visit.form("/break", "fault=none").await;
    visit.json_until("/", |view| view["changes"][0]["place"] == "audited").await;
    visit.form("/break", "fault=recordsDamaged&on=true").await;
    visit.form("/items", "action=save&key=FLAG&attribute=value&value=off").await;
    visit.json_until("/", |view| view["changes"][0]["place"] == "quarantined").await;
}

#[tokio::test]
async fn an_account_is_shown_with_a_role_that_may_only_read_and_its_values_when_somebody_asks() {
    let tables = Tables::on(Engine::Embedded).await;
    let history =
        vec![(EPOCH, Some(item("FLAG", &[("value", 3600)]))), (EPOCH + 60, Some(item("FLAG", &[("value", 424_242)])))];
    tables.write(AUDIT, entries("FLAG", &history)).await;
    let may_not = |operation: &str, _: &str| !["Query", "Scan", "GetItem", "BatchGetItem"].contains(&operation);
    let (url, _proxy) = refusing(tables.database.url(), "AccessDeniedException", may_not).await;
    let mut visit = Visit::of(command(&url, &tables.aws, &["console", "--audit-table", AUDIT, "--port", "0"])).await;
    let first = visit.page("/trail").await;
    assert!(first.contains("can only read") && first.contains("Read the whole table"), "{first}");
    let token = visit.json("/trail").await["token"].as_str().unwrap().to_owned();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(visit.send(Method::POST, "/trail/read", &form, &format!("token={token}")).await.status, 303);
    visit.json_until("/trail", |trail| trail["reading"]["state"] == "done").await;
    for address in ["/trail?", "/trail/item?key=FLAG", "/trail/item?key=FLAG&at=2099", "/trail/export.csv?"] {
        let hidden = visit.page(address).await;
        assert!(hidden.contains("FLAG") && !hidden.contains("424242"), "{address}: {hidden}");
        let shown = visit.page(&format!("{address}&values=shown")).await;
        assert!(shown.contains("424242"), "{address}: {shown}");
    }
    // There is nothing that could be changed or broken here.
    for address in ["/items", "/break"] {
        assert_eq!(visit.send(Method::POST, address, &form, &format!("token={token}")).await.status, 404, "{address}");
    }
    // Another user of this machine does not have the key.
    visit.cookie.clear();
    for address in ["/", "/trail", "/trail/item?key=FLAG&values=shown", "/trail/export.csv"] {
        let refused = visit.send(Method::GET, address, &[], "").await;
        assert!(refused.status == 403 && !refused.text.contains("FLAG"), "{address}: {}", refused.text);
    }
}

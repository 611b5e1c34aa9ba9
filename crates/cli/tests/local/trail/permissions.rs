//! AWS refuses one thing: the command says which permission is missing, and on what.

use std::net::Ipv4Addr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::scene::{AUDIT, CONFIGURATION, EPOCH, Tables, entries, item, run_at};
use crate::bootstrap::engine::Engine;
use config_audit_local::AwsSettings;
use config_audit_tables::sdk_item;

/// The engine, except that it refuses requests of this kind with this code. `is_refused` gets the operation and the
/// body.
pub(crate) async fn refusing(
    engine: &str,
    code: &'static str,
    is_refused: impl Fn(&str, &str) -> bool + Clone + Send + Sync + 'static,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let engine = engine.to_owned();
    let answer = move |headers: HeaderMap, body: Bytes| {
        let (client, engine, is_refused) = (client.clone(), engine.clone(), is_refused.clone());
        async move {
            let target = headers["x-amz-target"].to_str().unwrap();
            let operation = target.rsplit('.').next().unwrap();
            if is_refused(operation, &String::from_utf8_lossy(&body)) {
                let refusal = json!({ "__type": format!("com.amazon.coral.service#{code}"), "message": "no" });
                return Response::builder().status(400).body(Body::from(refusal.to_string())).unwrap();
            }
            let mut request = Request::post(engine).body(Body::from(body)).unwrap();
            *request.headers_mut() = headers;
            // The engine expects its own address.
            request.headers_mut().remove("host");
            client.request(request).await.unwrap().map(Body::new)
        }
    };
    let server = tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await.unwrap() });
    (url, server)
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(CONFIGURATION, [sdk_item(item("K", &[]))]).await;
    tables.write(AUDIT, entries("GONE", &vec![(EPOCH, Some(item("GONE", &[])))])).await;
    let both = ["--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
    let verify = [&["verify", "--settle", "0"], &both[..]].concat();
    let backfill = [&["backfill"], &both[..]].concat();
    let audit = ["--audit-table", AUDIT];
    let history = [&["history", "K"], &audit[..]].concat();
    let export = [&["export"], &audit[..]].concat();
    let tail = [&["tail"], &audit[..]].concat();
    let index = format!("on table {AUDIT} and its indexes");
    let configuration = format!("on table {CONFIGURATION}");
    for (command, operation, place) in [
        (&history, "Query", &index),
        (&verify, "DescribeTable", &configuration),
        (&verify, "Scan", &configuration),
        (&verify, "Query", &index),
        (&verify, "GetItem", &configuration),
        (&backfill, "Scan", &configuration),
        (&backfill, "PutItem", &format!("on table {AUDIT}")),
        (&export, "Scan", &format!("on table {AUDIT}")),
        (&export, "BatchGetItem", &format!("on table {AUDIT}")),
        (&tail, "DescribeTable", &format!("on table {AUDIT}")),
        (&tail, "DescribeStream", &format!("on the stream of table {AUDIT}")),
        (&tail, "GetRecords", &format!("on the stream of table {AUDIT}")),
    ] {
        let is_refused = move |asked: &str, _: &str| asked == operation;
        let (url, server) = refusing(tables.database.url(), "AccessDeniedException", is_refused).await;
        let ran = run_at(&url, &tables.aws, command).await;
        assert_eq!(ran.code, 2, "{operation}: {ran:?}");
        assert!(ran.stderr.contains(&format!("dynamodb:{operation}")) && ran.stderr.contains(place), "{ran:?}");
        server.abort();
    }
    tables.database.stop().await;
}

#[tokio::test]
async fn a_table_that_is_not_there_is_named() {
    let tables = Tables::on(Engine::Embedded).await;
    for command in [
        &["history", "K", "--audit-table", "Nowhere"][..],
        &["verify", "--configuration-table", "Nowhere", "--audit-table", AUDIT],
        &["verify", "--configuration-table", CONFIGURATION, "--audit-table", "Nowhere"],
        &["backfill", "--configuration-table", "Nowhere", "--audit-table", AUDIT],
        &["export", "--audit-table", "Nowhere"],
        &["tail", "--audit-table", "Nowhere"],
    ] {
        let ran = tables.run(command).await;
        assert_eq!(ran.code, 2, "{command:?}: {ran:?}");
        assert!(ran.stderr.contains("table Nowhere") && ran.stderr.contains("no such table"), "{ran:?}");
    }
    tables.database.stop().await;
}

/// `--table` was the Audit table in some commands and the Configuration table in others.
#[tokio::test]
async fn the_former_name_of_an_option_leads_to_the_present_one() {
    let aws = AwsSettings::dummy();
    for (command, option) in [
        (&["history", "K"][..], "--audit-table"),
        (&["tail"], "--audit-table"),
        (&["verify", "--audit-table", AUDIT], "--configuration-table"),
        (&["backfill", "--audit-table", AUDIT], "--configuration-table"),
    ] {
        let ran = run_at("http://127.0.0.1:1", &aws, &[command, &["--table", "Audit"]].concat()).await;
        let tip = format!("a similar argument exists: '{option}'");
        assert!(ran.code == 2 && ran.stderr.contains(&tip), "{command:?}: {ran:?}");
    }
}

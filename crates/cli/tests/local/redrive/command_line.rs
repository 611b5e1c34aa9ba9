//! What the command says in a dry run, and when something is missing.

use std::process::Stdio;

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use config_audit_cli::commands::redrive::RedriveError;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;

use super::scene::{Ground, batch, body, command, damaged, given_up, omitted, quarantined, raw, try_run};
use crate::bootstrap::proxy::Fault;
use crate::bootstrap::records::{SECRET, insert, invalid, oversized};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET};
use crate::support::{GENEROUS, config_audit, scripted_function};

#[tokio::test]
async fn a_dry_run_says_what_is_there_and_writes_nothing() {
    let mut objects = vec![batch([1, 2]), quarantined("no_key", &insert(3)), omitted(&insert(4))];
    objects.extend([quarantined("no_key", &invalid(5)), quarantined("rejected_by_dynamodb", &oversized(6))]);
    objects.extend(damaged().into_iter().enumerate().map(|(n, (body, _))| (format!("damaged-{n}"), body)));
    let ground = Ground::new(objects).await;
    let before = ground.objects();
    let said = ground.command(&["--dry-run"]).await;
    let words = [
        "RetryAttemptsExhausted: 2 records of KEY_1, KEY_2; would be 2 audited",
        "no_key: 1 record of KEY_3; would be 1 audited",
        "no_key: 1 record; would be 1 quarantined again",
        "rejected_by_dynamodb: 1 record of KEY_6; would be 1 audited",
        "s old",
        "2 RetryAttemptsExhausted, 2 no_key, 1 rejected_by_dynamodb",
        "damaged-3",
        "a dry run: nothing was written",
    ];
    said.assert(1, &words);
    let url = format!("s3://{FAILURE_BUCKET}/quarantined/");
    let said = command(&ground.proxy.url(), &ground.bucket.url(), &[&url, "--dry-run", "--output", "json"]).await;
    assert_eq!((&said.json()["dryRun"], &said.json()["objects"]), (&json!(true), &json!(3)), "{said:?}");
    assert_eq!(ground.objects(), before);
    assert_eq!((ground.entries().await.len(), ground.proxy.writes()), (0, 0));
}

/// A record that would be quarantined again has the key of an existing object, which a dry run does not touch.
#[tokio::test]
async fn a_dry_run_tells_of_an_object_that_a_run_would_have_replaced() {
    let (_, body) = given_up(&[invalid(5)], "request", "function");
    // More than are replayed at the same time, so that the first is done before the last is read.
    let between = (10..30).map(|n| batch([n]));
    let kept = quarantined("no_key", &invalid(5));
    let objects = between.chain([("aws/lambda/0".to_owned(), body), kept.clone()]);
    let ground = Ground::new(objects).await;
    let said = ground.command(&["--dry-run"]).await;
    said.assert(1, &["Objects  22 replayed", "22 = 20 audited + 0 unchanged + 2 quarantined again", &kept.0]);
}

#[tokio::test]
async fn a_table_that_cannot_be_written_to_ends_the_run_before_anything_is_moved() {
    let ground = Ground::new([batch([1])]).await;
    let before = ground.objects();
    let said = ground.command(&["--audit-table", "Missing-test"]).await;
    assert_eq!(said.code, Some(2), "an option twice: {said:?}");
    let url = format!("s3://{FAILURE_BUCKET}");
    let missing = [url.as_str(), "--audit-table", "Missing-test"];
    let said = command(&ground.proxy.url(), &ground.bucket.url(), &missing).await;
    said.assert(1, &["the Audit table Missing-test", "no such table", "--region"]);
    for (code, words) in [
        ("AccessDeniedException", "dynamodb:BatchWriteItem"),
        ("UnrecognizedClientException", "AWS does not accept your credentials"),
        ("ExpiredTokenException", "log in again"),
    ] {
        ground.proxy.always(Fault::Refuse(400, code));
        ground.command(&[]).await.assert(1, &[AUDIT_TABLE, words]);
        // The same if it happens later.
        let error = try_run(&ground.redrive()).await.unwrap_err();
        assert!(matches!(&error, RedriveError::Table(error) if error.to_string().contains(words)), "{error}");
    }
    assert_eq!(ground.objects(), before);
}

#[tokio::test]
async fn a_command_line_that_is_wrong_is_said_so() {
    let ground = Ground::new([]).await;
    let url = format!("s3://{FAILURE_BUCKET}");
    let bucket = |name: &'static str| [name, "--audit-table", AUDIT_TABLE];
    let (database, s3) = (ground.proxy.url(), ground.bucket.url());
    command(&database, &s3, &[&url]).await.assert(2, &["--audit-table"]);
    command(&database, &s3, &bucket("no such directory")).await.assert(2, &["no such directory", "s3://BUCKET"]);
    command(&database, &s3, &bucket("https://example.com/")).await.assert(2, &["s3://BUCKET"]);
    command(&database, &s3, &bucket("s3:///prefix")).await.assert(2, &["a bucket's name"]);
    ground.command(&["--failure-bucket", "other"]).await.assert(2, &["--failure-bucket is for a directory"]);
    command(&database, &s3, &bucket("s3://missing-test")).await.assert(1, &["missing-test", "no such bucket"]);
    ground.command(&[]).await.assert(0, &["Objects  0 replayed"]);
}

/// An S3 with one object that denies one action.
async fn denying(denied: &'static str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |method: Method, uri: Uri, headers: HeaderMap| {
        let body = body.clone();
        async move {
            let action = match method {
                Method::GET if uri.query().is_some_and(|query| query.contains("list-type")) => "list",
                Method::GET => "get",
                Method::PUT if headers.contains_key("x-amz-copy-source") => "copy",
                Method::PUT => "put",
                _ => "delete",
            };
            let text = match action {
                // AWS's message says who requested what; here it is a secret, so every line that prints it is a leak.
                _ if action == denied => {
                    let error = format!("<Error><Code>AccessDenied</Code><Message>{SECRET}</Message></Error>");
                    return (StatusCode::FORBIDDEN, error.into_bytes());
                }
                "list" => {
                    "<ListBucketResult><Contents><Key>an object</Key><Size>9</Size></Contents></ListBucketResult>"
                }
                "copy" => "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>",
                "get" => return (StatusCode::OK, body),
                _ => "",
            };
            (StatusCode::OK, text.as_bytes().to_vec())
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    url
}

#[tokio::test]
async fn a_permission_that_is_missing_is_named() {
    let ground = Ground::new([]).await;
    let url = format!("s3://{FAILURE_BUCKET}");
    for (denied, record, permission) in [
        ("list", insert(1), "s3:ListBucket on the bucket failures-test"),
        ("get", insert(1), "s3:GetObject on the objects of the bucket failures-test"),
        ("copy", insert(1), "s3:GetObject and s3:PutObject on the objects"),
        ("delete", insert(1), "s3:DeleteObject on the objects"),
        ("put", invalid(1), "s3:PutObject on the objects"),
        // It has no sequence number, without which Lambda could not name it.
        ("put", json!({ "nonsense": SECRET }), "s3:PutObject on the objects"),
    ] {
        let s3 = denying(denied, body("no_key", &raw(&record))).await;
        let said = command(&ground.proxy.url(), &s3, &[&url, "--audit-table", AUDIT_TABLE]).await;
        said.assert(1, &[permission]);
        assert!(denied == "list" || said.stdout.contains("an object  "), "{said:?}");
    }
}

#[tokio::test]
async fn the_local_world_prints_the_command_that_replays_its_bucket() {
    let mut command = config_audit();
    command.args(["local", "--port", "0", "--bootstrap"]).arg(scripted_function()).stdout(Stdio::piped());
    let mut world = command.spawn().unwrap();
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let printed = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("it ended");
            if line.contains(" redrive ") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(GENEROUS, printed).await.unwrap();
    let output = tokio::process::Command::new("sh").arg("-c").arg(&line).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("Objects  0 replayed"), "{line}: {output:?}");
}

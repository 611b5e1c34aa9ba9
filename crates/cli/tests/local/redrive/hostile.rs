//! Things in the failure bucket, or in a copy of it, that are not objects, and records that would lead elsewhere.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use axum::http::{HeaderMap, Method, StatusCode, Uri};
use config_audit::aws::error_chain;
use config_audit_cli::place::Place;
use serde_json::json;
use tokio::net::TcpListener;

use super::scene::{Ground, Object, archived, assert_entries, body, command, quarantined, raw, read, write};
use crate::bootstrap::records::{insert, invalid};
use crate::bootstrap::scene::{AUDIT_TABLE, FAILURE_BUCKET};
use crate::support::GENEROUS;

const NO_S3: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn what_is_not_a_regular_file_is_named_and_left_and_the_others_are_replayed() {
    let ground = Ground::new([]).await;
    let outside = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let good: Vec<Object> = (0..3).map(|n| quarantined("no_key", &insert(n))).collect();
    write(copy.path(), good.clone());
    write(outside.path(), [quarantined("no_key", &insert(7))]);
    let file = |name: &[u8]| copy.path().join(OsStr::from_bytes(name));
    assert!(std::process::Command::new("mkfifo").arg(file(b"a-pipe")).status().unwrap().success());
    let _socket = UnixListener::bind(file(b"a-socket")).unwrap();
    symlink("nowhere", file(b"a-dangling-link")).unwrap();
    symlink(file(b"a-pipe"), file(b"a-link-to-a-pipe")).unwrap();
    symlink(outside.path(), file(b"a-link-out")).unwrap();
    std::fs::write(file(b"not-utf-8-\xff"), body("no_key", &raw(&insert(8)))).unwrap();
    std::fs::write(file(b"not-utf-8-\xfe"), body("no_key", &raw(&insert(9)))).unwrap();
    std::fs::create_dir(file(b"not-utf-8-\xfd")).unwrap();
    std::fs::write(file(b"not-utf-8-\xfd/in-it"), body("no_key", &raw(&insert(9)))).unwrap();
    let named = [
        ("a-pipe", "not a regular file"),
        ("a-socket", "not a regular file"),
        ("a-dangling-link", "a symbolic link"),
        ("a-link-to-a-pipe", "a symbolic link"),
        ("a-link-out", "a symbolic link"),
        ("not-utf-8-\\xff", "not UTF-8"),
        ("not-utf-8-\\xfe", "not UTF-8"),
        ("not-utf-8-\\xfd/in-it", "not UTF-8"),
    ];
    let directory = copy.path().to_str().unwrap();
    let url = ground.proxy.url();
    let run = async |more: &[&str]| {
        let arguments = [&[directory, "--audit-table", AUDIT_TABLE], more].concat();
        tokio::time::timeout(GENEROUS, command(&url, NO_S3, &arguments)).await.expect("it hangs")
    };
    let dry = run(&["--dry-run"]).await;
    dry.assert(1, &["Objects  3 replayed", "Damaged  8"]);
    let said = run(&["--output", "json"]).await;
    said.assert(1, &["\"archived\": 3"]);
    let damaged: BTreeMap<String, String> = serde_json::from_value(said.json()["damaged"].clone()).unwrap();
    assert_eq!(damaged.len(), named.len(), "{damaged:#?}");
    for (name, reason) in named {
        assert!(damaged[name].contains(reason), "{name}: {damaged:#?}");
    }
    assert_entries(&ground.database, 0..3).await;
    for name in
        [&b"a-pipe"[..], b"a-socket", b"a-dangling-link", b"a-link-out", b"not-utf-8-\xff", b"not-utf-8-\xfd/in-it"]
    {
        assert!(file(name).symlink_metadata().is_ok(), "{} was moved", name.escape_ascii());
    }
    // Nothing is left to replay, but these are still reported.
    run(&[]).await.assert(1, &["Objects  0 replayed", "Damaged  8"]);
    for (key, expected) in archived(&good) {
        assert_eq!(std::fs::read(copy.path().join(key)).unwrap(), expected);
    }
}

/// The name of the record's table becomes a part of the key under which the record is kept.
#[tokio::test]
async fn no_record_leads_to_another_file_or_out_of_the_directory() {
    for table in ["..", ".", "../..", "...", "/", "x/../../y"] {
        let ground = Ground::new([]).await;
        let parent = tempfile::tempdir().unwrap();
        let copy = parent.path().join("copy");
        // It is refused again, so it is stored again, under a key made from the record.
        let mut record = invalid(1);
        record["eventSourceARN"] = json!(format!("arn:aws:dynamodb:eu-central-1:123456789012:table/{table}/stream/x"));
        let (key, kept) = quarantined("no_key", &record);
        let name = key.rsplit_once('/').unwrap().1;
        // What it would overwrite if it led upwards.
        let others = [(name.to_owned(), b"another".to_vec()), (format!("aws/{name}"), b"another".to_vec())];
        write(&copy, others.clone());
        write(&copy, [("quarantined/Configuration-dev/1".to_owned(), kept)]);
        std::fs::write(parent.path().join(name), "outside").unwrap();
        let arguments = [copy.to_str().unwrap(), "--audit-table", AUDIT_TABLE];
        command(&ground.proxy.url(), NO_S3, &arguments).await.assert(1, &["1 quarantined again"]);
        let found = read(&copy);
        for (other, expected) in others {
            assert_eq!(found[&other], expected, "with {table}: {other} was overwritten");
        }
        assert_eq!(std::fs::read(parent.path().join(name)).unwrap(), b"outside", "with {table}");
        assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 2, "with {table}");
        assert!(found.keys().any(|key| key.starts_with("quarantined/") && key.ends_with(name)), "{table}: {found:?}");
    }
}

/// An S3 whose keys have characters that XML cannot represent. It returns them only if it is asked to encode them.
async fn bucket(keys: &'static [(&'static str, &'static str)], bodies: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = move |method: Method, uri: Uri, headers: HeaderMap| {
        let bodies = bodies.clone();
        async move {
            let query = uri.query().unwrap_or_default();
            if query.contains("list-type=2") {
                let is_encoded = query.contains("encoding-type=url");
                let key = |(plain, encoded): &(&'static str, &'static str)| if is_encoded { *encoded } else { *plain };
                let keys =
                    keys.iter().map(key).map(|key| format!("<Contents><Key>{key}</Key><Size>9</Size></Contents>"));
                let encoding = if is_encoded { "<EncodingType>url</EncodingType>" } else { "" };
                let list = keys.collect::<Vec<_>>().concat();
                return (StatusCode::OK, format!("<ListBucketResult>{encoding}{list}</ListBucketResult>").into_bytes());
            }
            let wanted = |encoded: &str| format!("/{FAILURE_BUCKET}/{}", encoded.replace('+', "%20"));
            match (method, headers.get("x-amz-copy-source")) {
                (Method::GET, _) => match keys.iter().position(|(_, encoded)| uri.path() == wanted(encoded)) {
                    Some(index) => (StatusCode::OK, bodies[index].clone()),
                    None => (StatusCode::NOT_FOUND, b"<Error><Code>NoSuchKey</Code></Error>".to_vec()),
                },
                (Method::PUT, Some(_)) => {
                    (StatusCode::OK, b"<CopyObjectResult><ETag>e</ETag></CopyObjectResult>".to_vec())
                }
                _ => (StatusCode::OK, Vec::new()),
            }
        }
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    url
}

#[tokio::test]
async fn a_key_with_control_characters_costs_nothing() {
    const KEYS: &[(&str, &str)] = &[
        ("a&#x1;b", "a%01b"),
        ("a b", "a+b"),
        ("a+b%2F", "a%2Bb%252F"),
        ("&#xFFFE;", "%EF%BF%BE"),
        ("damaged&#x1B;[2K", "damaged%1B%5B2K"),
    ];
    let mut bodies: Vec<Vec<u8>> = (0..4).map(|n| body("no_key", &raw(&insert(n)))).collect();
    bodies.push(Vec::new());
    let s3 = bucket(KEYS, bodies).await;
    let ground = Ground::new([]).await;
    let url = format!("s3://{FAILURE_BUCKET}");
    let said = command(&ground.proxy.url(), &s3, &[&url, "--audit-table", AUDIT_TABLE]).await;
    said.assert(1, &["Objects  4 replayed, 4 archived", "Damaged  1", "damaged\\u{1b}[2K  it is empty"]);
    assert_entries(&ground.database, 0..4).await;
}

/// As a proxy may answer. The object must stay, because it is the only copy.
#[tokio::test]
async fn an_answer_that_proves_nothing_stores_nothing_and_moves_nothing() {
    let ground = Ground::new([]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = axum::Router::new().fallback(async |method: Method| {
        assert_ne!(method, Method::DELETE, "the original is deleted");
        StatusCode::OK
    });
    tokio::spawn(async move { axum::serve(listener, answers).await });
    let Place::Bucket { client, bucket, prefix, address } = ground.place() else { panic!("a bucket") };
    let client = aws_sdk_s3::Client::from_conf(client.config().to_builder().endpoint_url(url).build());
    let place = Place::Bucket { client, bucket, prefix, address };
    for result in [place.archive("quarantined/x").await, place.put("quarantined/y", Vec::new()).await] {
        assert!(error_chain(&result.unwrap_err()).contains("does not confirm that the object is stored"));
    }
}

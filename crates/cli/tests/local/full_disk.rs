//! A full disk under the failure bucket: nothing is acknowledged unless it is stored, and everything continues once
//! there is room. Also, a disk that cannot be written to at all.

use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::AwsSettings;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

use crate::support::{GENEROUS, bootstrap};

/// Runs the rest of its arguments with a disk of 256 KB, and enlarges the disk once it reads a line. Whatever it starts
/// ends with it.
const ON_A_SMALL_DISK: &str = r#"
    disk=$1; shift
    mount -t tmpfs -o size=256k none "$disk"
    "$@" &
    read -r _ && mount -o remount,size=8m "$disk"
    wait
"#;

/// Larger than the disk, and too large for an entry with what an entry adds, so the whole record must be stored.
const LARGE: usize = 409_500;

/// Waits for the next line that contains this; returns all lines up to it.
async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, part: &str) -> Vec<String> {
    let mut seen = Vec::new();
    let waiting = async {
        loop {
            let line = lines.next_line().await.unwrap().unwrap_or_else(|| panic!("it ended after {seen:#?}"));
            let is_it = line.contains(part);
            seen.push(line);
            if is_it {
                return;
            }
        }
    };
    let found = tokio::time::timeout(GENEROUS, waiting).await;
    assert!(found.is_ok(), "no {part:?} in {seen:#?}");
    seen
}

#[tokio::test]
async fn a_full_disk_under_the_failure_bucket_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let disk = directory.path().join("s3");
    std::fs::create_dir(&disk).unwrap();
    // Mounting our own file system needs no privileges if the kernel lets users create namespaces.
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-euc",
        ON_A_SMALL_DISK,
        "sh",
    ]);
    command.arg(&disk).arg(env!("CARGO_BIN_EXE_config-audit")).args(["local", "--port", "0"]);
    command.arg("--directory").arg(directory.path()).arg("--bootstrap").arg(bootstrap());
    let mut world = command
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("unshare (of util-linux) cannot be run");
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let introduction = line_with(&mut lines, "Waiting for changes").await;
    let url = introduction.iter().find_map(|line| line.strip_prefix("DynamoDB  ")?.split(' ').next()).unwrap();
    let client = AwsSettings::dummy().dynamodb(url);
    let put = async |key: &str, value: String| {
        let put = client.put_item().table_name("Configuration-local").item("key", AttributeValue::S(key.to_owned()));
        put.item("value", AttributeValue::S(value)).send().await.unwrap();
    };
    let is_audited = async |key: &str| {
        let found = client.scan().table_name("Audit-local").filter_expression("itemKey = :key");
        let found = found.expression_attribute_values(":key", AttributeValue::S(key.to_owned())).send().await.unwrap();
        found.items().len()
    };

    put("LARGE", "x".repeat(LARGE)).await;
    line_with(&mut lines, "record failed, and Lambda will redeliver it").await;
    // It stays failed for as long as the disk is full, and the log says what it needs.
    let observed = line_with(&mut lines, "record failed, and Lambda will redeliver it").await;
    assert!(observed.iter().any(|line| line.contains("failure bucket")), "{observed:#?}");
    assert_eq!(is_audited("LARGE").await, 0);

    world.stdin.take().unwrap().write_all(b"make room\n").await.unwrap();
    line_with(&mut lines, "  LARGE  (created)  ").await;
    // The shard is free again.
    put("SMALL", "x".to_owned()).await;
    line_with(&mut lines, "  SMALL  (created)  ").await;
    assert_eq!((is_audited("LARGE").await, is_audited("SMALL").await), (1, 1));
    world.start_kill().unwrap();
    tokio::time::timeout(GENEROUS, world.wait()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_read_only_directory_is_named_and_nothing_starts() {
    let directory = tempfile::tempdir().unwrap();
    let mount = r#"mount -t tmpfs none "$1"; mkdir "$1/old"; mount -o remount,ro "$1"; shift; exec "$@""#;
    let command = |more: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-euc", mount, "sh"]).arg(directory.path());
        command.arg(env!("CARGO_BIN_EXE_config-audit")).args(more).arg("--bootstrap").arg(bootstrap());
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    };
    let (old, new) = (directory.path().join("old"), directory.path().join("new"));
    for place in [&old, &new] {
        let mut command =
            command(&["local", "--examples", "--exit-after-examples", "--directory", place.to_str().unwrap()]);
        let ran = tokio::time::timeout(GENEROUS, command.output()).await.unwrap().unwrap();
        let error = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(
            (ran.status.code(), ran.stdout.as_slice(), error.lines().count()),
            (Some(1), &b""[..], 1),
            "{error}"
        );
        assert!(error.contains(&format!("{} cannot be used (allow writing", place.display())), "{error}");
    }
    let mut command = command(&["invoke", "--data", r#"{"Records":[]}"#]);
    let ran = command.env("TMPDIR", directory.path()).output();
    let ran = tokio::time::timeout(GENEROUS, ran).await.unwrap().unwrap();
    let error = String::from_utf8(ran.stderr).unwrap();
    assert!(ran.status.code() == Some(1) && error.lines().count() == 1, "{error}");
    assert!(error.contains(&format!("{} cannot be used", directory.path().display())), "{error}");
}

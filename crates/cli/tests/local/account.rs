//! Which account the commands use, and what they say when AWS cannot be reached or refuses.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use config_audit_local::AwsSettings;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::bootstrap::engine::{Engine, free_port};
use crate::support::{GENEROUS, config_audit};
use crate::trail::scene::{AUDIT, CONFIGURATION, Ran, Tables, item};
use config_audit_tables::sdk_item;

const NO_ITEMS: &str = r#"{"Items":[],"Count":0,"ScannedCount":0}"#;
const CALLER: &str = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>\
     </GetCallerIdentityResult></GetCallerIdentityResponse>";

/// A service that gives every request the same response.
struct Service {
    url: String,
    /// What signed each request: `KEY/DATE/REGION/SERVICE/aws4_request`.
    signers: Arc<Mutex<Vec<String>>>,
}

impl Service {
    async fn answering(status: u16, body: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let signers = Arc::<Mutex<Vec<String>>>::default();
        let signed = Arc::clone(&signers);
        let answer = move |headers: HeaderMap| {
            let authorization = headers["authorization"].to_str().unwrap();
            let (_, credential) = authorization.split_once("Credential=").unwrap();
            signed.lock().unwrap().push(credential.split_once(',').unwrap().0.to_owned());
            async move { (StatusCode::from_u16(status).unwrap(), body) }
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        Self { url, signers }
    }

    /// The keys and regions that requests were signed with.
    fn signers(&self) -> Vec<(String, String)> {
        let signers = self.signers.lock().unwrap();
        let parts = signers.iter().map(|signer| signer.split('/').map(str::to_owned).collect::<Vec<_>>());
        parts.map(|parts| (parts[0].clone(), parts[2].clone())).collect()
    }
}

/// A profile `other`, with keys and a region of its own.
fn profiles(directory: &TempDir) -> PathBuf {
    let file = directory.path().join("config");
    let profile = "[profile other]\nregion = eu-west-3\naws_access_key_id = PROFILE\naws_secret_access_key = secret\n";
    std::fs::write(&file, profile).unwrap();
    file
}

async fn run(command: &mut Command) -> Ran {
    Ran::from(&tokio::time::timeout(GENEROUS, command.output()).await.unwrap().unwrap())
}

fn history() -> Command {
    let mut command = config_audit();
    command.args(["history", "K", "--audit-table", AUDIT]);
    command.env("AWS_ACCESS_KEY_ID", "ENVIRONMENT").env("AWS_SECRET_ACCESS_KEY", "secret");
    command
}

#[tokio::test]
async fn a_profile_of_the_command_line_wins_over_the_keys_of_the_environment() {
    let directory = tempfile::tempdir().unwrap();
    let (profile, environment) = ("PROFILE", "ENVIRONMENT");
    for (arguments, variables, key, region) in [
        (&["--profile", "other"][..], &[][..], profile, "eu-west-3"),
        (&["--profile", "other", "--region", "eu-north-1"], &[], profile, "eu-north-1"),
        (&["--profile", "other"], &[("AWS_REGION", "us-east-2")], profile, "us-east-2"),
        // A profile in the environment does not override the keys there, as in the AWS CLI.
        (&[], &[("AWS_PROFILE", "other")], environment, "eu-west-3"),
        (&["--region", "eu-north-1"], &[], environment, "eu-north-1"),
    ] {
        let service = Service::answering(200, NO_ITEMS).await;
        let mut command = history();
        command.args(arguments).envs(variables.iter().copied()).env("AWS_CONFIG_FILE", profiles(&directory));
        let ran = run(command.args(["--endpoint-url", &service.url])).await;
        assert_eq!(service.signers(), [(key.to_owned(), region.to_owned())], "{arguments:?}: {ran:?}");
    }
}

#[tokio::test]
async fn a_profile_that_does_not_exist_is_an_error_and_nothing_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, variable) in [(&["--profile", "missing"][..], "AWS_REGION"), (&[], "AWS_PROFILE")] {
        let service = Service::answering(200, NO_ITEMS).await;
        let mut command = history();
        command.args(arguments).env(variable, "missing").env("AWS_CONFIG_FILE", profiles(&directory));
        let ran = run(command.args(["--endpoint-url", &service.url])).await;
        let said = "config-audit: there is no profile missing in your AWS configuration; check --profile";
        assert!(ran.code == 2 && ran.stderr.starts_with(said), "{ran:?}");
        assert_eq!((ran.stderr.lines().count(), service.signers().len()), (1, 0), "{ran:?}");
    }
}

/// `backfill` and `redrive` on an engine, with an STS beside it.
fn writers(tables: &Tables, directory: &TempDir) -> [Command; 2] {
    let both = ["--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
    let mut backfill = config_audit();
    backfill.arg("backfill").args(both);
    let mut redrive = config_audit();
    redrive.arg("redrive").arg(directory.path()).args(["--audit-table", AUDIT]);
    [backfill, redrive].map(|mut command| {
        command.envs(tables.aws.environment());
        command
    })
}

#[tokio::test]
async fn who_writes_sees_the_account_and_the_region_first() {
    let tables = Tables::on(Engine::Embedded).await;
    tables.write(CONFIGURATION, [sdk_item(item("K", &[]))]).await;
    let directory = tempfile::tempdir().unwrap();
    let database = tables.database.url();
    for (sts, whose) in [
        (Service::answering(200, CALLER).await, "of account 123456789012 in eu-central-1"),
        (
            Service::answering(403, "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>").await,
            "in eu-central-1 at ENDPOINT (account unknown: sts:GetCallerIdentity failed)",
        ),
    ] {
        for mut command in writers(&tables, &directory) {
            command.env("AWS_ENDPOINT_URL_DYNAMODB", database).env("AWS_ENDPOINT_URL_STS", &sts.url);
            let ran = run(&mut command).await;
            let first = ran.stderr.lines().next().unwrap().to_owned();
            assert!(ran.code == 0 && first.contains(&whose.replace("ENDPOINT", database)), "{ran:?}");
        }
    }
    // A custom endpoint has no account.
    for mut command in writers(&tables, &directory) {
        let ran = run(command.args(["--endpoint-url", database])).await;
        let whose = format!("table {AUDIT} at {database}, region eu-central-1.");
        assert!(ran.code == 0 && ran.stderr.lines().next().unwrap().contains(&whose), "{ran:?}");
    }
    tables.database.stop().await;
}

/// The commands that talk to AWS, with everything that they need except an account.
fn commands() -> Vec<Command> {
    let both = ["--configuration-table", CONFIGURATION, "--audit-table", AUDIT];
    let lines: [&[&str]; 5] = [
        &["history", "K", "--audit-table", AUDIT],
        &["tail", "--audit-table", AUDIT],
        &["verify", "--configuration-table", CONFIGURATION, "--audit-table", AUDIT],
        &["backfill", both[0], both[1], both[2], both[3]],
        &["redrive", "s3://failures", "--audit-table", AUDIT],
    ];
    let command = |line: &&[&str]| {
        let mut command = config_audit();
        command.args(*line);
        command
    };
    lines.iter().map(command).collect()
}

/// Fails unless the command printed exactly one error, as its last line, with all of these words and nothing that looks
/// like a dump.
fn assert_one_line(ran: &Ran, words: &[&str]) {
    assert!(ran.code == 2 || ran.code == 1, "{ran:?}");
    let errors: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("config-audit: ")).collect();
    let [error] = errors[..] else { panic!("{ran:?}") };
    assert_eq!(ran.stderr.lines().last(), Some(error), "{ran:?}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in {error}");
    }
    for dump in ["{", "(dyn", "Some(", "x-amz", "secret", "Error "] {
        assert!(!error.contains(dump), "{dump:?} is in {error}");
    }
    assert!(error.len() < 400, "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_the_account_is_said_in_one_line() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let expired = Service::answering(400, r#"{"__type":"com.amazon.coral.service#ExpiredTokenException"}"#).await;
    let throttling = Service::answering(400, r#"{"__type":"x#ThrottlingException","message":"secret"}"#).await;
    let page = Service::answering(200, "<html>secret</html>").await;
    let unready = Service::answering(503, "secret").await;
    let settings = AwsSettings::dummy().environment();
    let with = |more: &[(&str, &str)], without: &[&str]| {
        let mut variables: Vec<(String, String)> =
            more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        variables.extend(settings.iter().filter(|(name, _)| !without.iter().any(|part| name.contains(part))).cloned());
        variables.push(("AWS_MAX_ATTEMPTS".to_owned(), "2".to_owned()));
        variables
    };
    let at = |url| [("AWS_ENDPOINT_URL", url)];
    for (variables, words) in [
        (with(&[], &["REGION"]), &["no region is configured", "use --region", "AWS_REGION"][..]),
        (with(&at("127.0.0.1:8000"), &[]), &["127.0.0.1:8000", "scheme", "http://127.0.0.1:8000"]),
        (with(&at(&nobody), &[]), &[&nobody, "cannot connect", "check --endpoint-url"]),
        (with(&at(&nobody), &["KEY"]), &["there are no credentials", "log in"]),
        (with(&at(&expired.url), &[]), &[&expired.url, "your credentials have expired", "log in"]),
        (with(&at(&throttling.url), &[]), &[&throttling.url, "ThrottlingException", "later"]),
        (with(&at(&page.url), &[]), &[&page.url, "is not from AWS"]),
        (with(&at(&unready.url), &[]), &[&unready.url, "is not from AWS"]),
    ] {
        for mut command in commands() {
            let ran = run(command.envs(variables.clone())).await;
            assert_one_line(&ran, words);
        }
    }
}

#[tokio::test]
async fn an_endpoint_of_the_command_line_has_its_scheme() {
    for mut command in commands() {
        let ran = run(command.args(["--endpoint-url", "127.0.0.1:8000"])).await;
        let words = "invalid value '127.0.0.1:8000' for '--endpoint-url <URL>': expected a URL with a scheme";
        assert!(ran.code == 2 && ran.stderr.contains(words), "{ran:?}");
    }
}

/// The first request fails; the second is answered only when the user has been notified.
#[tokio::test]
async fn a_user_who_waits_is_told_that_the_command_retries() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (requests, observed) = (Arc::new(Mutex::new(0)), Arc::new(Semaphore::new(0)));
    let release = Arc::clone(&observed);
    let answer = move || {
        *requests.lock().unwrap() += 1;
        let (is_first, observed) = (*requests.lock().unwrap() == 1, Arc::clone(&observed));
        async move {
            if is_first {
                return (StatusCode::INTERNAL_SERVER_ERROR, "{}");
            }
            drop(observed.acquire().await.unwrap());
            (StatusCode::OK, NO_ITEMS)
        }
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    let mut command = history();
    command.args(["--region", "eu-central-1", "--endpoint-url", &url]).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    tokio::time::timeout(GENEROUS, said.read_line(&mut line)).await.unwrap().unwrap();
    assert_eq!(line, "retrying…\n");
    release.add_permits(1);
    let mut rest = String::new();
    tokio::time::timeout(GENEROUS, said.read_to_string(&mut rest)).await.unwrap().unwrap();
    assert_eq!(rest, format!("Table {AUDIT} has no entries of K.\n"));
    assert_eq!(child.wait().await.unwrap().code(), Some(1));
}

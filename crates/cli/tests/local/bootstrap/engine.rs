//! The two engines: dynoxide, embedded, and Amazon's DynamoDB Local, in one JVM for all tests but one.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use config_audit_local::{AwsSettings, Database};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::support::GENEROUS;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Embedded,
    DynamoDbLocal,
    /// In a JVM that no other test uses. One that several tests keep busy can return an item as unprocessed for minutes
    /// after a request for it was interrupted.
    DynamoDbLocalAlone,
}

impl Engine {
    pub(crate) const BOTH: [Self; 2] = [Self::Embedded, Self::DynamoDbLocal];

    /// A database without tables that nobody else uses, and the credentials for it.
    pub(crate) async fn database(self) -> (Database, AwsSettings) {
        match self {
            Self::Embedded => {
                let aws = AwsSettings::dummy();
                (Database::memory(0, aws.clone()).await.unwrap(), aws)
            }
            Self::DynamoDbLocal | Self::DynamoDbLocalAlone => {
                let port =
                    if self == Self::DynamoDbLocal { shared_dynamodb_local().await } else { dynamodb_local().await };
                // It separates tables by access key.
                let access_key_id = uuid::Uuid::new_v4().simple().to_string();
                let aws = AwsSettings { access_key_id, ..AwsSettings::dummy() };
                (Database::at(&format!("http://127.0.0.1:{port}"), aws.clone()), aws)
            }
        }
    }
}

/// A port that was free just now, for programs that cannot let the system pick one.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The port of the DynamoDB Local that tests share. The first test that needs it starts it.
async fn shared_dynamodb_local() -> u16 {
    static PORT: OnceCell<u16> = OnceCell::const_new();
    *PORT.get_or_init(dynamodb_local).await
}

/// Starts DynamoDB Local, and returns its port.
async fn dynamodb_local() -> u16 {
    let starting = async {
        loop {
            // Somebody may take the port before the JVM does.
            if let Some(port) = try_to_start().await {
                return port;
            }
        }
    };
    tokio::time::timeout(GENEROUS, starting).await.expect("DynamoDB Local does not start")
}

/// It has no setting for the address to listen on, but its data is in memory and made up.
async fn try_to_start() -> Option<u16> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/dynamodb-local");
    let jar = directory.join("DynamoDBLocal.jar");
    assert!(jar.is_file(), "Amazon's DynamoDB Local is not there; install it first: make tools");
    let port = free_port();
    let mut java = Command::new("java")
        // Quick to start, and little memory.
        .args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m"])
        .arg(format!("-Djava.library.path={}", directory.join("DynamoDBLocal_lib").display()))
        .arg("-jar")
        .arg(jar)
        .args(["-inMemory", "-port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("java cannot be run, and DynamoDB Local needs it; install it first: make tools");
    end_with_this_process(&java);
    loop {
        if java.try_wait().unwrap().is_some() {
            return None;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Some(port);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nothing in this process is dropped when the last test ends, or when somebody kills the process. So another process
/// waits for the end of a pipe that this one holds open.
fn end_with_this_process(child: &Child) {
    let mut guard = Command::new("sh");
    guard.args(["-c", "read -r _; kill \"$1\"", "guard", &child.id().to_string()]);
    // Its own process group, so that Ctrl-C at the terminal does not end it before the child.
    std::os::unix::process::CommandExt::process_group(&mut guard, 0);
    let guard = guard.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    std::mem::forget(guard.expect("sh cannot be run"));
}

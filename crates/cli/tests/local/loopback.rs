//! Nothing in the local world can be reached from another machine, or used by a web page in a browser on this one: it
//! holds what a table holds, and its credentials are public.

use std::collections::HashSet;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::support::{GENEROUS, bootstrap, config_audit};

/// The protocols and local addresses of a process's sockets that accept connections or datagrams from anyone, as the
/// kernel prints them: the address in hexadecimal, a colon, the port.
fn open_to(process: u32) -> Vec<(&'static str, String)> {
    let sockets: HashSet<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut open = Vec::new();
    // State 0A is LISTEN; 07 is a UDP socket that is not connected.
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let lines = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in lines.lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            if columns[3] == state && sockets.contains(columns[9]) {
                open.push((table, columns[1].to_owned()));
            }
        }
    }
    open
}

/// A local world whose function's process waits for an event.
async fn running() -> Child {
    let mut command = config_audit();
    command
        .args(["local", "--port", "0", "--console-port", "0", "--bootstrap"])
        .arg(bootstrap())
        .arg("--examples")
        .stdout(Stdio::piped());
    let mut world = command.spawn().unwrap();
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let running = async { while !lines.next_line().await.unwrap().unwrap().contains("Waiting for changes") {} };
    tokio::time::timeout(GENEROUS, running).await.unwrap();
    world
}

/// Lists the tables as the AWS CLI does, with these additional headers. Returns the response.
async fn list_tables(port: u16, method: &str, headers: &str) -> String {
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let request = format!(
        "{method} / HTTP/1.1\r\n{headers}Connection: close\r\nContent-Type: application/x-amz-json-1.0\r\n\
         X-Amz-Target: DynamoDB_20120810.ListTables\r\nX-Amz-Date: 20260303T000000Z\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=local/20260303/eu-central-1/dynamodb/aws4_request, \
         SignedHeaders=host, Signature=0\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(GENEROUS, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn no_port_of_the_local_world_answers_a_web_page() {
    let world = running().await;
    let open = open_to(world.id().unwrap());
    let ports = open.iter().filter(|(protocol, _)| protocol.starts_with("tcp"));
    let ports: Vec<u16> =
        ports.map(|(_, address)| u16::from_str_radix(address.split_once(':').unwrap().1, 16).unwrap()).collect();
    // DynamoDB, S3, the Runtime API, the console, and the witness's own Runtime API once it was invoked; only the first can
    // list tables.
    assert!((4..=5).contains(&ports.len()), "{open:?}");
    let mut lists = 0;
    for port in ports {
        let ours = format!("Host: 127.0.0.1:{port}\r\n");
        let pages = [
            ("POST", format!("{ours}Origin: https://evil.example\r\n")),
            ("POST", format!("{ours}Origin: null\r\n")),
            ("OPTIONS", format!("{ours}Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n")),
            ("GET", format!("{ours}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Dest: image\r\n")),
            // The page's own host name now resolves to this machine.
            ("POST", format!("Host: evil.example:{port}\r\n")),
            ("POST", format!("Host: evil.example:{port}\r\nSec-Fetch-Site: same-origin\r\n")),
            ("POST", "Host: 127.0.0.1:1\r\n".to_owned()),
        ];
        for (method, headers) in pages {
            let answer = list_tables(port, method, &headers).await;
            assert!(answer.starts_with("http/1.1 403 "), "{method} {headers}{answer}");
            assert!(!answer.contains("access-control-"), "{method} {headers}{answer}");
        }
        // The same from a program.
        let answer = list_tables(port, "POST", &ours).await;
        assert!(!answer.contains("access-control-"), "{answer}");
        lists += usize::from(answer.starts_with("http/1.1 200 ") && answer.contains("configuration-local"));
    }
    assert_eq!(lists, 1);
}

#[tokio::test]
async fn the_local_world_listens_on_the_loopback_interface_alone() {
    let world = running().await;
    let open = open_to(world.id().unwrap());
    // DynamoDB, S3, the Runtime API, the console and the X-Ray daemon.
    assert!(open.len() >= 5, "{open:?}");
    // 127.0.0.1, its first byte last.
    assert!(open.iter().all(|(_, address)| address.starts_with("0100007F:")), "{open:?}");
}

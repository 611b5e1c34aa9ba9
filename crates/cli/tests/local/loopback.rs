//! Nothing of the local world can be reached from another machine: it holds what a table holds, and its credentials are
//! known to all.

use std::collections::HashSet;
use std::fs;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{GENEROUS, bootstrap, config_audit};

/// The local addresses of a process's sockets that take what comes, as the kernel writes them: the address in
/// hexadecimal, a colon, the port.
fn open_to(process: u32) -> Vec<String> {
    let sockets: HashSet<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .filter_map(|target| Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut open = Vec::new();
    // State 0A is LISTEN; 07 is a UDP socket that is connected to nobody.
    for (table, state) in [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")] {
        let lines = fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
        for line in lines.lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            if columns[3] == state && sockets.contains(columns[9]) {
                open.push(columns[1].to_owned());
            }
        }
    }
    open
}

#[tokio::test]
async fn the_local_world_listens_on_the_loopback_interface_alone() {
    let mut command = config_audit();
    command.arg("local").arg("--bootstrap").arg(bootstrap()).arg("--examples").stdout(Stdio::piped());
    let mut world = command.spawn().unwrap();
    let mut lines = BufReader::new(world.stdout.take().unwrap()).lines();
    let running = async { while !lines.next_line().await.unwrap().unwrap().contains("Waiting for changes") {} };
    tokio::time::timeout(GENEROUS, running).await.unwrap();
    let open = open_to(world.id().unwrap());
    // DynamoDB, S3, the Runtime API and the X-Ray daemon.
    assert!(open.len() >= 4, "{open:?}");
    // 127.0.0.1, its first byte last.
    assert!(open.iter().all(|address| address.starts_with("0100007F:")), "{open:?}");
}

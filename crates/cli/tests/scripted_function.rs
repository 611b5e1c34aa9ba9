//! A Lambda function for the tests: it does what a script says, one line for each invocation, and speaks to the Runtime
//! API over a bare socket.
//!
//! `AT_INIT` says what the process does before its first poll, `SCRIPT` names the script. Each invocation takes the
//! first line off the script; when it is empty, every invocation succeeds.
//!
//! | line | what the function does |
//! |---|---|
//! | `return JSON` | returns it |
//! | `fail N` | reports the event's record N, from 0, as failed |
//! | `error TYPE MESSAGE` | fails |
//! | `exit CODE` | ends the process |
//! | `hang` | answers never |
//! | `hang` | never answers |
//!
//! It prints `{"handled":n}` before it answers, and sends a segment document.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a Lambda function of a few lines: its environment and its output are all it has"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, UdpSocket};

use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let init = std::env::var("AT_INIT").unwrap_or_default();
    match init.split_once(' ').unwrap_or((&init, "")) {
        ("error", message) => {
            call("POST", "init/error", &json!({ "errorType": "Scripted", "errorMessage": message }).to_string())?;
            std::process::exit(1);
        }
        ("exit", code) => {
            eprintln!("SETTING is missing");
            std::process::exit(code.parse()?);
        }
        ("hang", _) => hang(),
        _ => {}
    }
    let mut handled = 0;
    loop {
        let (request_id, event) = call("GET", "invocation/next", "")?;
        handled += 1;
        println!("{}", json!({ "handled": handled }));
        if let Ok(daemon) = std::env::var("AWS_XRAY_DAEMON_ADDRESS") {
            let document = json!({ "id": "a", "name": "scripted", "handled": handled });
            let datagram = format!("{}\n{document}", json!({ "format": "json", "version": 1 }));
            UdpSocket::bind("127.0.0.1:0")?.send_to(datagram.as_bytes(), daemon)?;
        }
        let line = next_line()?;
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let respond = |body: &str| call("POST", &format!("invocation/{request_id}/response"), body);
        match word {
            "return" => drop(respond(rest)?),
            "fail" => {
                let event: Value = serde_json::from_str(&event)?;
                let number = &event["Records"][rest.parse::<usize>()?]["dynamodb"]["SequenceNumber"];
                respond(&json!({ "batchItemFailures": [{ "itemIdentifier": number }] }).to_string())?;
            }
            "error" => {
                let (kind, message) = rest.split_once(' ').unwrap_or((rest, ""));
                let report = json!({ "errorType": kind, "errorMessage": message }).to_string();
                call("POST", &format!("invocation/{request_id}/error"), &report)?;
            }
            "exit" => {
                // A line that a dying process did not finish is still a line.
                print!("half a line");
                std::io::stdout().flush()?;
                std::process::exit(rest.parse()?);
            }
            "hang" => hang(),
            "environment" => {
                let environment: std::collections::BTreeMap<_, _> = std::env::vars().collect();
                respond(&json!(environment).to_string())?;
            }
            _ => drop(respond("{\"batchItemFailures\":[]}")?),
        }
    }
}

fn hang() -> ! {
    println!("hanging");
    loop {
        std::thread::park();
    }
}

fn next_line() -> Result<String, Failure> {
    let Ok(script) = std::env::var("SCRIPT") else { return Ok(String::new()) };
    let text = std::fs::read_to_string(&script)?;
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    std::fs::write(&script, rest)?;
    Ok(first.to_owned())
}

/// One request on a connection of its own. Returns the request ID of the answer, if it has one, and the body.
fn call(method: &str, path: &str, body: &str) -> Result<(String, String), Failure> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut stream = TcpStream::connect(&api)?;
    write!(
        stream,
        "{method} /2018-06-01/runtime/{path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut reader = BufReader::new(stream);
    let (mut request_id, mut length) = (String::new(), 0);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "lambda-runtime-aws-request-id" => value.trim().clone_into(&mut request_id),
                "content-length" => length = value.trim().parse()?,
                _ => {}
            }
        }
        line.clear();
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content)?;
    Ok((request_id, String::from_utf8(content)?))
}

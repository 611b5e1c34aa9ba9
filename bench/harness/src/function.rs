//! A function's process, with Lambda's Runtime API around it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::aws::runtime_api::{Call, Poll, RuntimeApi};
use crate::clock;
use crate::processor::{self, Processors};
use crate::timer;

/// The answer of a function that has audited all records.
const ALL_WRITTEN: &[u8] = br#"{"batchItemFailures":[]}"#;
/// How long a process may take to make its next call.
const PATIENCE: Duration = Duration::from_mins(2);
/// The interval between checks whether a process is still busy.
const LOOK: Duration = Duration::from_micros(300);
/// The maximum number of such checks.
const LOOKS: usize = 100;

/// Why a function could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionError {
    /// The process cannot be started or watched.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The process ended, or did something unexpected.
    #[error("the process {0}; the end of its output: {1}")]
    Unexpected(String, String),
}

/// How a function's process is started.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// All its environment variables, except for the Runtime API's.
    pub(crate) environment: Vec<(String, String)>,
}

/// A running function.
#[derive(Debug)]
pub(crate) struct Function {
    child: Child,
    process: Pid,
    api: RuntimeApi,
    poll: Option<Poll>,
    output: Arc<Mutex<Vec<u8>>>,
    /// When the process was started.
    pub(crate) started: Instant,
}

/// The measurements of an invocation.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// From the event's delivery to the answer.
    pub(crate) wall: Duration,
    /// The process's CPU time, from the event's delivery until it waits for the next one.
    pub(crate) processor: Duration,
    /// The harness's own CPU time meanwhile.
    pub(crate) harness: Duration,
    /// What the process printed.
    pub(crate) output: Vec<u8>,
}

impl Function {
    /// Starts a process. It has not polled yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) async fn start(start: &Start, processors: &Processors) -> Result<Self, FunctionError> {
        let api = RuntimeApi::start().await?;
        let (program, arguments) =
            start.command.split_first().ok_or_else(|| io::Error::other("there is no command"))?;
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io::Error::from)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(start.environment.iter().map(|(name, value)| (name, value)))
            .env("AWS_LAMBDA_RUNTIME_API", api.address().to_string())
            .current_dir(Path::new(program).parent().filter(|path| path.is_absolute()).unwrap_or(Path::new("/")))
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .kill_on_drop(true);
        let started = clock::now();
        let child = processors.start(|| command.spawn())?;
        // The command holds the pipe's other end.
        drop(command);
        let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let process = process.ok_or_else(|| io::Error::other("the process ended at once"))?;
        let output = Arc::default();
        tokio::spawn(read_all(reader, Arc::clone(&output)));
        Ok(Self { child, process, api, poll: None, output, started })
    }

    /// The process's ID.
    pub(crate) fn process(&self) -> Pid {
        self.process
    }

    /// Waits until the process polls for an event.
    ///
    /// # Errors
    /// When it does something else.
    pub(crate) async fn ready(&mut self) -> Result<(), FunctionError> {
        if self.poll.is_none() {
            match self.call().await? {
                Call::Next(poll) => self.poll = Some(poll),
                Call::Answer { body, .. } => return Err(self.unexpected("answered before it polled", &body)),
                Call::Error(body) => return Err(self.unexpected("reported an error", &body)),
            }
        }
        Ok(())
    }

    /// Delivers an event to a waiting process, and waits for the answer. Returns the times of both.
    ///
    /// # Errors
    /// When the answer does not say that all records were audited.
    pub(crate) async fn answer(&mut self, event: Bytes, is_sampled: bool) -> Result<(Instant, Instant), FunctionError> {
        self.ready().await?;
        let Some(poll) = self.poll.take() else { return Err(self.unexpected("does not poll", b"")) };
        let delivered = poll.deliver(event, is_sampled);
        match self.call().await? {
            Call::Answer { at, body } if is_all_written(&body) => Ok((delivered, at)),
            Call::Answer { body, .. } => Err(self.unexpected("answered that not all is written", &body)),
            Call::Next(_) => Err(self.unexpected("polled before it answered", b"")),
            Call::Error(body) => Err(self.unexpected("reported an error", &body)),
        }
    }

    /// Runs a whole invocation, including the work that the process does after its answer.
    ///
    /// # Errors
    /// When the answer does not say that all records were audited.
    pub(crate) async fn invoke(&mut self, event: Bytes, is_sampled: bool) -> Result<Invocation, FunctionError> {
        self.ready().await?;
        self.take_output();
        let before = self.idle().await?;
        let own = processor::own_time();
        let (delivered, answered) = self.answer(event, is_sampled).await?;
        let harness = processor::own_time().saturating_sub(own);
        self.ready().await?;
        let after = self.idle().await?;
        Ok(Invocation {
            wall: answered - delivered,
            processor: Duration::from_nanos(after - before),
            harness,
            output: self.take_output(),
        })
    }

    /// Waits until the process is idle. Returns its CPU time so far, in nanoseconds.
    async fn idle(&self) -> io::Result<u64> {
        let mut time = processor::time_of(self.process)?;
        for _ in 0..LOOKS {
            timer::wait(LOOK).await?;
            let later = processor::time_of(self.process)?;
            if later == time {
                break;
            }
            time = later;
        }
        Ok(time)
    }

    /// The largest resident set so far, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub(crate) fn peak_memory(&self) -> io::Result<u64> {
        processor::peak_memory_of(self.process)
    }

    /// Ends the process with a signal that lets valgrind write its counts.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub(crate) async fn terminate(mut self) -> Result<(), FunctionError> {
        kill_process(self.process, Signal::TERM).map_err(io::Error::from)?;
        self.child.wait().await?;
        Ok(())
    }

    /// Ends the process.
    pub(crate) async fn end(mut self) {
        let _ = self.child.kill().await;
    }

    async fn call(&mut self) -> Result<Call, FunctionError> {
        let what = tokio::select! {
            biased;
            Some(call) = self.api.call() => return Ok(call),
            status = self.child.wait() => {
                status.map_or_else(|error| format!("is gone: {error}"), |status| format!("ended with {status}"))
            }
            _ = timer::wait(PATIENCE) => format!("made no call for {} s", PATIENCE.as_secs()),
        };
        Err(self.unexpected(&what, b""))
    }

    fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.output.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn unexpected(&self, what: &str, body: &[u8]) -> FunctionError {
        let output = self.take_output();
        let end = String::from_utf8_lossy(&output[output.len().saturating_sub(2_000)..]).into_owned();
        let body = String::from_utf8_lossy(&body[..body.len().min(2_000)]).into_owned();
        FunctionError::Unexpected(if body.is_empty() { what.to_owned() } else { format!("{what} ({body})") }, end)
    }
}

/// Python writes a space after the colon.
fn is_all_written(answer: &[u8]) -> bool {
    answer.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(ALL_WRITTEN)
}

async fn read_all(reader: OwnedFd, output: Arc<Mutex<Vec<u8>>>) {
    let Ok(mut reader) = tokio::net::unix::pipe::Receiver::from_owned_fd(reader) else { return };
    read_into(&mut reader, &output).await;
}

async fn read_into(reader: &mut (impl AsyncRead + Unpin), output: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        output.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..length]);
    }
}

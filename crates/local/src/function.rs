//! The function: runs the `bootstrap` binary as Lambda runs it, one invocation at a time.
//!
//! A process serves many invocations. One that crashes, fails to start, or is still at work at the time-out is replaced
//! at the next invocation.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use chrono::{DateTime, Utc};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use uuid::Uuid;

use super::happening::{Happening, Happenings, LogSource};
use super::runtime_api::{Call, Invocation, RuntimeApi};
use super::xray::XrayDaemon;
use config_audit::clock::Clock;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_cloudwatch::telemetry::message;
use config_audit_mapping::shard;

/// The account in the function's ARN: nobody's.
pub const ACCOUNT: &str = "000000000000";

/// How to run the function.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// The binary.
    pub bootstrap: PathBuf,
    /// `AWS_LAMBDA_FUNCTION_NAME`.
    pub name: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, in MB. Told to the function, not enforced.
    pub memory_mb: u32,
    /// How long an invocation may take before the process is killed.
    pub timeout: Duration,
    /// How long a process may take to ask for its first event. Lambda allows 10 s.
    pub init_timeout: Duration,
    /// The region in the function's ARN.
    pub region: String,
    /// What Lambda says of the trace that an invocation belongs to.
    pub trace: Trace,
    /// The function's own variables. They win over those that Lambda sets, as nothing here is reserved.
    pub environment: BTreeMap<String, String>,
    /// Whether the process sees this process's whole environment, the user's AWS settings included. Otherwise it
    /// starts from an empty one, so that nothing of the user's leaks in.
    pub inherit_environment: bool,
}

impl FunctionSettings {
    /// Lambda's defaults for a binary: 128 MB, and 30 s as in `serverless.yml`.
    #[must_use]
    pub fn new(bootstrap: impl Into<PathBuf>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            name: "config-audit-local-audit".to_owned(),
            memory_mb: 128,
            timeout: Duration::from_secs(30),
            init_timeout: Duration::from_secs(10),
            region: "eu-central-1".to_owned(),
            trace: Trace::Sampled,
            environment: BTreeMap::new(),
            inherit_environment: false,
        }
    }

    /// The function's ARN, without a version.
    #[must_use]
    pub fn arn(&self) -> String {
        format!("arn:aws:lambda:{}:{ACCOUNT}:function:{}", self.region, self.name)
    }
}

/// What Lambda says of the trace that an invocation belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trace {
    /// It is one of those that X-Ray keeps, so that spans are there to be shown.
    Sampled,
    /// X-Ray does not keep it.
    NotSampled,
    /// Nothing.
    Absent,
}

impl Trace {
    /// A new trace's `Lambda-Runtime-Trace-Id`; empty where Lambda says nothing.
    fn header(self, now: DateTime<Utc>) -> String {
        let sampled = match self {
            Self::Sampled => 1,
            Self::NotSampled => 0,
            Self::Absent => return String::new(),
        };
        let seconds = now.timestamp();
        let root = Uuid::new_v4().simple().to_string();
        let parent = Uuid::new_v4().simple().to_string();
        format!("Root=1-{seconds:08x}-{};Parent={};Sampled={sampled}", &root[..24], &parent[..16])
    }
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The function returned these bytes, JSON as a rule.
    Returned(Bytes),
    /// The function reported an error.
    FunctionError(ErrorReport),
    /// The function was still at work at the time-out, and was killed.
    TimedOut,
    /// The process ended in the middle of the invocation.
    Exited {
        /// How, in the operating system's words.
        status: String,
    },
    /// The process could not serve: it said so, ended before it asked for an event, or never asked for one.
    InitFailed(ErrorReport),
}

impl Answer {
    /// The same for the event source mapping.
    ///
    /// # Errors
    /// Why the function returned nothing; the mapping needs no more of it.
    pub fn to_mapping(&self) -> shard::Answer {
        match self {
            Self::Returned(body) => Ok(body.to_vec()),
            failed => Err(failed.failure().unwrap_or_default()),
        }
    }

    /// Why the invocation failed, in one line; nothing when the function returned.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match self {
            Self::Returned(_) => None,
            Self::FunctionError(report) => Some(format!("the function failed: {report}")),
            Self::TimedOut => Some("the function timed out".to_owned()),
            Self::Exited { status } => Some(format!("the function's process ended: {status}")),
            Self::InitFailed(report) => Some(format!("the function did not start: {report}")),
        }
    }
}

/// An error as a function reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReport {
    /// `errorType`.
    pub error_type: String,
    /// `errorMessage`.
    pub message: String,
}

impl std::fmt::Display for ErrorReport {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.error_type, self.message)
    }
}

/// Why an invocation could not even be tried.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// The binary is missing or can't be run.
    #[error("can't run {} (build it with `cargo build --bin bootstrap`, or name another with --bootstrap)", path.display())]
    CannotRun {
        /// The binary.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No port, pipe or process is to be had.
    #[error("the operating system refused what the function needs")]
    System(#[from] std::io::Error),
}

/// A function, with a process or without one yet, and the X-Ray daemon that Lambda runs beside it.
#[derive(Debug)]
pub struct Function {
    settings: FunctionSettings,
    happenings: Happenings,
    xray: XrayDaemon,
    environment: Option<ExecutionEnvironment>,
}

impl Function {
    /// A function whose first invocation will start a process. Its X-Ray daemon runs already.
    ///
    /// # Errors
    /// When no port is to be had.
    pub async fn start(settings: FunctionSettings, happenings: Happenings) -> Result<Self, FunctionError> {
        let xray = XrayDaemon::start(happenings.clone()).await?;
        Ok(Self { settings, happenings, xray, environment: None })
    }

    /// How it is run.
    #[must_use]
    pub fn settings(&self) -> &FunctionSettings {
        &self.settings
    }

    /// Invokes the function with this event, and returns when it answered and asked for the next one, or is gone.
    ///
    /// Dropping the future ends the process.
    ///
    /// # Errors
    /// When no process can be started. All that goes wrong in the function itself is an [`Answer`].
    pub async fn invoke(&mut self, event: impl Into<Bytes>) -> Result<Invoked, FunctionError> {
        let request_id = Uuid::new_v4().to_string();
        let trace_header = self.settings.trace.header(Clock::System.now());
        self.happenings
            .tell(Happening::InvocationStarted { request_id: request_id.clone(), trace_header: trace_header.clone() });
        let started = Clock::System.instant();
        let answer = self.answer(&request_id, trace_header, event.into()).await?;
        if answer == Answer::TimedOut {
            let timeout = self.settings.timeout;
            self.happenings.tell(Happening::TimedOut { request_id: request_id.clone(), timeout });
        }
        let invoked = Invoked { request_id, answer, duration: Clock::System.instant() - started };
        self.xray.flush().await?;
        self.happenings.tell(Happening::Answered {
            request_id: invoked.request_id.clone(),
            answer: invoked.answer.clone(),
            duration: invoked.duration,
        });
        Ok(invoked)
    }

    /// Ends the process, if there is one. All that it printed has been told when this returns.
    pub async fn stop(&mut self) {
        if let Some(environment) = self.environment.take() {
            environment.end(&self.happenings).await;
        }
    }

    async fn answer(&mut self, request_id: &str, trace_header: String, event: Bytes) -> Result<Answer, FunctionError> {
        // A process that ended while it waited is no fault of this invocation.
        if self.environment.as_mut().is_some_and(ExecutionEnvironment::has_ended) {
            self.stop().await;
        }
        // Taken, and put back when the process can go on: where this future is dropped half-way, the process goes too.
        let mut environment = match self.environment.take() {
            Some(environment) => environment,
            None => ExecutionEnvironment::start(&self.settings, &self.xray.address(), &self.happenings).await?,
        };
        let outcome = match environment.ready(self.settings.init_timeout).await {
            Err(report) => Outcome { answer: Answer::InitFailed(report), usable: false },
            Ok(poll) => {
                let invocation = Invocation {
                    request_id: request_id.to_owned(),
                    deadline: SystemTime::from(Clock::System.now()) + self.settings.timeout,
                    function_arn: self.settings.arn(),
                    trace_header,
                    event,
                };
                environment.run(poll, invocation, self.settings.timeout).await
            }
        };
        if outcome.usable {
            environment.output.flush().await;
            self.environment = Some(environment);
        } else {
            environment.end(&self.happenings).await;
        }
        Ok(outcome.answer)
    }
}

/// An invocation that is over.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// Its request ID.
    pub request_id: String,
    /// How it ended.
    pub answer: Answer,
    /// How long it took, a cold start included.
    pub duration: Duration,
}

struct Outcome {
    answer: Answer,
    /// Whether the process can take the next event.
    usable: bool,
}

/// A process, the Runtime API that it polls, and its outputs.
#[derive(Debug)]
struct ExecutionEnvironment {
    child: Child,
    api: RuntimeApi,
    output: Output,
    /// The poll that waits for an event.
    poll: Option<oneshot::Sender<Invocation>>,
}

impl ExecutionEnvironment {
    async fn start(settings: &FunctionSettings, xray: &str, happenings: &Happenings) -> Result<Self, FunctionError> {
        let api = RuntimeApi::start().await?;
        let (output, stdout, stderr) = Output::start(happenings)?;
        let mut command = Command::new(&settings.bootstrap);
        if !settings.inherit_environment {
            command.env_clear();
            for name in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
                if let Some(value) = ProcessEnvironment.get(name) {
                    command.env(name, value);
                }
            }
            // The home directory may hold AWS settings of the user's, and a cloud machine answers with its own.
            command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
            command.env("AWS_EC2_METADATA_DISABLED", "true");
            command.env("AWS_REGION", &settings.region).env("AWS_DEFAULT_REGION", &settings.region);
        }
        command
            .env("AWS_LAMBDA_RUNTIME_API", api.address())
            .env("AWS_LAMBDA_FUNCTION_NAME", &settings.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", settings.memory_mb.to_string())
            .env("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", settings.name))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", log_stream_name())
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .env("AWS_LAMBDA_LOG_LEVEL", "INFO")
            .env("AWS_XRAY_DAEMON_ADDRESS", xray)
            .env("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR")
            .env("_HANDLER", "bootstrap")
            .env("TZ", ":UTC");
        if let Some(directory) = settings.bootstrap.parent() {
            command.env("LAMBDA_TASK_ROOT", directory);
        }
        let child = command
            .envs(&settings.environment)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            // A group of its own: Ctrl-C at the terminal reaches us, and we end the process after its last answer.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| FunctionError::CannotRun { path: settings.bootstrap.clone(), source })?;
        if let Some(pid) = child.id() {
            happenings.tell(Happening::ProcessStarted { pid });
        }
        Ok(Self { child, api, output, poll: None })
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until the process polls for an event, or says what keeps it from doing so.
    async fn ready(&mut self, limit: Duration) -> Result<oneshot::Sender<Invocation>, ErrorReport> {
        if let Some(poll) = self.poll.take() {
            return Ok(poll);
        }
        let deadline = Clock::System.instant() + limit;
        match timeout_at(deadline, self.event()).await {
            Ok(Event::Call(Call::Next(poll))) => Ok(poll),
            Ok(Event::Call(Call::InitError(report))) => Err(report),
            Ok(Event::Call(Call::Response(_) | Call::Error(_))) => Err(runtime_error(
                "Runtime.InvalidCall",
                "the process answered before it asked for an event".to_owned(),
            )),
            Ok(Event::Ended(status)) => {
                self.output.flush().await;
                let said = self
                    .output
                    .last_line()
                    .map_or_else(String::new, |line| format!("; its last words: {}", message(&line)));
                Err(runtime_error(
                    "Runtime.ExitError",
                    format!("the process ended before its first poll: {status}{said}"),
                ))
            }
            Err(_) => Err(runtime_error(
                "Sandbox.Timedout",
                format!("the process asked for no event within {} s", limit.as_secs_f64()),
            )),
        }
    }

    /// Hands over the event and waits for the answer, then for the next poll: only then has the process done all that
    /// belongs to this invocation.
    async fn run(&mut self, poll: oneshot::Sender<Invocation>, invocation: Invocation, limit: Duration) -> Outcome {
        let deadline = Clock::System.instant() + limit;
        // When the poll is gone the process is too, and the next event says so.
        let _ = poll.send(invocation);
        let answer = match timeout_at(deadline, self.event()).await {
            Ok(Event::Call(Call::Response(body))) => Answer::Returned(body),
            Ok(Event::Call(Call::Error(report))) => Answer::FunctionError(report),
            Ok(Event::Call(Call::InitError(report))) => {
                return Outcome { answer: Answer::InitFailed(report), usable: false };
            }
            Ok(Event::Call(Call::Next(_))) => {
                let message = "the process asked for the next event before it answered this one".to_owned();
                let answer = Answer::FunctionError(runtime_error("Runtime.NoResponse", message));
                return Outcome { answer, usable: false };
            }
            Ok(Event::Ended(status)) => {
                return Outcome { answer: Answer::Exited { status: status.to_string() }, usable: false };
            }
            Err(_) => return Outcome { answer: Answer::TimedOut, usable: false },
        };
        // The answer stands, whatever comes now.
        let usable = match timeout_at(deadline, self.event()).await {
            Ok(Event::Call(Call::Next(poll))) => {
                self.poll = Some(poll);
                true
            }
            _ => false,
        };
        Outcome { answer, usable }
    }

    /// The next thing the process does: a call, or its end.
    async fn event(&mut self) -> Event {
        tokio::select! {
            biased;
            Some(call) = self.api.call() => Event::Call(call),
            status = self.child.wait() => match (self.api.call_made(), status) {
                // It reported, and then ended.
                (Some(call), _) => Event::Call(call),
                (None, Ok(status)) => Event::Ended(Ended::Status(status)),
                (None, Err(error)) => Event::Ended(Ended::Unknown(error)),
            },
        }
    }

    /// Kills the process if it still runs, and tells all that it printed.
    async fn end(mut self, happenings: &Happenings) {
        if !self.has_ended() {
            self.kill();
        }
        let status = match self.child.wait().await {
            Ok(status) => Ended::Status(status),
            Err(error) => Ended::Unknown(error),
        };
        self.output.flush().await;
        happenings.tell(Happening::ProcessExited { status: status.to_string() });
    }

    /// Lambda ends an environment with everything in it; here that is the process's group.
    fn kill(&mut self) {
        let group = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.start_kill();
    }
}

impl Drop for ExecutionEnvironment {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

enum Event {
    Call(Call),
    Ended(Ended),
}

enum Ended {
    Status(ExitStatus),
    Unknown(std::io::Error),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(formatter, "{status}"),
            Self::Unknown(error) => write!(formatter, "unknown ({error})"),
        }
    }
}

/// Both outputs of a process.
///
/// We keep the writing ends too: a marker of our own comes out after all that the process wrote before it, which is how
/// [`Output::flush`] knows that everything has been told.
#[derive(Debug)]
struct Output {
    pipes: [Pipe; 2],
    last_line: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
struct Pipe {
    writer: std::io::PipeWriter,
    marker: String,
    marks: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Output {
    fn start(happenings: &Happenings) -> std::io::Result<(Self, Stdio, Stdio)> {
        let last_line = Arc::default();
        let stdout = Pipe::start(LogSource::Stdout, happenings, &last_line)?;
        let stderr = Pipe::start(LogSource::Stderr, happenings, &last_line)?;
        let (to_stdout, to_stderr) = (stdout.writer.try_clone()?, stderr.writer.try_clone()?);
        Ok((Self { pipes: [stdout, stderr], last_line }, Stdio::from(to_stdout), Stdio::from(to_stderr)))
    }

    async fn flush(&mut self) {
        for pipe in &mut self.pipes {
            pipe.flush().await;
        }
    }

    fn last_line(&self) -> Option<String> {
        self.last_line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Pipe {
    fn start(
        source: LogSource,
        happenings: &Happenings,
        last_line: &Arc<Mutex<Option<String>>>,
    ) -> std::io::Result<Self> {
        let (reader, writer) = std::io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let marker = format!("{}\n", Uuid::new_v4());
        let (mark, marks) = mpsc::unbounded_channel();
        let (expected, happenings, last_line) = (marker.clone(), happenings.clone(), Arc::clone(last_line));
        let task = tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                // The marker may follow a line that a dying process did not end.
                let ends_with_marker = line.ends_with(expected.as_bytes());
                let end = if ends_with_marker { line.len() - expected.len() } else { line.len() };
                let text =
                    String::from_utf8_lossy(line[..end].strip_suffix(b"\n").unwrap_or(&line[..end])).into_owned();
                if !(ends_with_marker && text.is_empty()) {
                    if !text.is_empty() {
                        *last_line.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
                    }
                    happenings.tell(Happening::LogLine { source, line: text });
                }
                if ends_with_marker {
                    let _ = mark.send(());
                }
                line.clear();
            }
        });
        Ok(Self { writer, marker, marks, task })
    }

    async fn flush(&mut self) {
        let Ok(mut writer) = self.writer.try_clone() else { return };
        let marker = self.marker.clone();
        // The pipe may be full, and then this waits for the reader; so not on a thread that the reader may need.
        let written = tokio::task::spawn_blocking(move || writer.write_all(marker.as_bytes())).await;
        if matches!(written, Ok(Ok(()))) {
            self.marks.recv().await;
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn runtime_error(error_type: &str, message: String) -> ErrorReport {
    ErrorReport { error_type: error_type.to_owned(), message }
}

fn log_stream_name() -> String {
    format!("{}/[$LATEST]{}", Clock::System.now().format("%Y/%m/%d"), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_header_has_xrays_form() {
        let now = DateTime::from_timestamp_secs(0x6541_2f3a).unwrap();
        let header = Trace::Sampled.header(now);
        let parts: Vec<_> = header.split(';').collect();
        let root: Vec<_> = parts[0].strip_prefix("Root=").unwrap().split('-').collect();
        assert_eq!((root[0], root[1], root[2].len()), ("1", "65412f3a", 24));
        assert_eq!(parts[1].strip_prefix("Parent=").unwrap().len(), 16);
        assert_eq!(parts[2], "Sampled=1");
        assert!(Trace::NotSampled.header(now).ends_with(";Sampled=0"));
        assert_eq!(Trace::Absent.header(now), "");
    }

    #[test]
    fn the_arn_is_lambdas() {
        let arn = FunctionSettings::new("bootstrap").arn();
        assert_eq!(arn, "arn:aws:lambda:eu-central-1:000000000000:function:config-audit-local-audit");
    }
}

//! A process of the function: starts it, hands it events, and ends it.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::time::timeout_at;
use uuid::Uuid;

use super::output::Output;
use super::runtime_api::{Call, NextInvocation, RuntimeApi};
use super::settings::FunctionSettings;
use crate::event::{EventBus, WorldEvent};
use crate::invocation::{ErrorReport, InvocationError, Outcome};
use config_audit::clock::Clock;
use config_audit::settings::{Environment, ProcessEnvironment};
use config_audit_cloudwatch::line::Line;

/// Why no process could be started.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// The binary is missing or cannot be run.
    #[error("cannot run {} (build it with `cargo build --bin bootstrap`, or name another with --bootstrap)", path.display())]
    CannotRun {
        /// The binary.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// There is no free port, pipe or process.
    #[error("the operating system refused a port, a pipe or a process that the function needs")]
    System(#[from] io::Error),
}

/// The process's poll for its next event.
type Poll = oneshot::Sender<NextInvocation>;

/// The end of one invocation in a process.
pub(super) struct Completion {
    pub(super) outcome: Outcome,
    /// Whether the process can take the next event.
    pub(super) is_usable: bool,
}

impl Completion {
    /// A failure after which the process cannot continue.
    pub(super) fn fatal(error: InvocationError) -> Self {
        Self { outcome: Err(error), is_usable: false }
    }
}

/// A process with the Runtime API that it polls and its outputs: Lambda's execution environment.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    api: RuntimeApi,
    output: Output,
    /// Its poll that is waiting for an event.
    poll: Option<Poll>,
}

impl Process {
    pub(super) async fn start(settings: &FunctionSettings, xray: &str, bus: &EventBus) -> Result<Self, FunctionError> {
        let api = RuntimeApi::start().await?;
        let (output, stdout, stderr) = Output::start(bus)?;
        let mut command = Command::new(&settings.bootstrap);
        if !settings.inherit_environment {
            command.env_clear();
            for name in ["PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
                if let Some(value) = ProcessEnvironment.get(name) {
                    command.env(name, value);
                }
            }
            // The home directory may have the user's AWS settings, and a cloud machine offers credentials of its own.
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
            // Its own process group, so that Ctrl-C at the terminal reaches only us, and we end the process properly.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| FunctionError::CannotRun { path: settings.bootstrap.clone(), source })?;
        if let Some(pid) = child.id() {
            bus.publish(WorldEvent::ProcessStarted { pid });
        }
        Ok(Self { child, api, output, poll: None })
    }

    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal to the process, if it is still running.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // It may have just ended by itself.
            let _ = kill_process(pid, signal);
        }
    }

    /// Returns when everything that the process has printed so far has been published.
    pub(super) async fn flush_output(&mut self) {
        self.output.flush().await;
    }

    /// Waits until the process polls for an event, or returns why it will not.
    pub(super) async fn ready(&mut self, timeout: Duration) -> Result<Poll, ErrorReport> {
        if let Some(poll) = self.poll.take() {
            return Ok(poll);
        }
        let deadline = Clock::System.instant() + timeout;
        match timeout_at(deadline, self.next_action()).await {
            Ok(Action::Call(Call::Next(poll))) => Ok(poll),
            Ok(Action::Call(Call::InitError(report))) => Err(report),
            Ok(Action::Call(Call::Response(_) | Call::Error(_))) => {
                Err(ErrorReport::new("Runtime.InvalidCall", "the process answered before it asked for an event"))
            }
            Ok(Action::Exited(status)) => {
                self.output.flush().await;
                let last_line = self.output.last_line();
                let quote = last_line
                    .map_or_else(String::new, |line| format!("; its last line: {}", Line::parse(&line).message()));
                let message = format!("the process ended before its first poll: {status}{quote}");
                Err(ErrorReport::new("Runtime.ExitError", message))
            }
            Err(_) => {
                let message = format!("the process asked for no event within {} s", timeout.as_secs_f64());
                Err(ErrorReport::new("Sandbox.Timedout", message))
            }
        }
    }

    /// Hands over the event and waits for the answer, then for the next poll: only then has the process done everything
    /// that belongs to this invocation.
    pub(super) async fn serve(&mut self, poll: Poll, invocation: NextInvocation, timeout: Duration) -> Completion {
        let deadline = Clock::System.instant() + timeout;
        // If the poll is gone, so is the process, and its next action is its exit.
        let _ = poll.send(invocation);
        let outcome = match timeout_at(deadline, self.next_action()).await {
            Ok(Action::Call(Call::Response(body))) => Ok(body),
            Ok(Action::Call(Call::Error(report))) => Err(InvocationError::Function(report)),
            Ok(Action::Call(Call::InitError(report))) => return Completion::fatal(InvocationError::Init(report)),
            Ok(Action::Call(Call::Next(_))) => {
                let message = "the process asked for the next event before it answered this one";
                let report = ErrorReport::new("Runtime.NoResponse", message);
                return Completion::fatal(InvocationError::Function(report));
            }
            Ok(Action::Exited(status)) => {
                return Completion::fatal(InvocationError::Exited { status: status.to_string() });
            }
            Err(_) => return Completion::fatal(InvocationError::TimedOut { timeout }),
        };
        // Whatever the process does now, its answer counts.
        let next = timeout_at(deadline, self.next_action()).await;
        let is_usable = if let Ok(Action::Call(Call::Next(poll))) = next {
            self.poll = Some(poll);
            true
        } else {
            false
        };
        Completion { outcome, is_usable }
    }

    async fn next_action(&mut self) -> Action {
        tokio::select! {
            biased;
            Some(call) = self.api.call() => Action::Call(call),
            status = self.child.wait() => match (self.api.try_call(), status) {
                // It made a call, and then exited.
                (Some(call), _) => Action::Call(call),
                (None, status) => Action::Exited(Exit(status)),
            },
        }
    }

    /// Kills the process if it is still running. Everything that it printed has been published when this returns.
    pub(super) async fn end(mut self, bus: &EventBus) {
        if !self.has_ended() {
            self.kill();
        }
        let exit = Exit(self.child.wait().await);
        self.output.flush().await;
        bus.publish(WorldEvent::ProcessExited { status: exit.to_string() });
    }

    /// Kills the process's group: Lambda ends an execution environment with everything in it.
    fn kill(&mut self) {
        let group = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.start_kill();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// What the process does next.
enum Action {
    Call(Call),
    Exited(Exit),
}

/// How a process exited, if the system knows.
struct Exit(io::Result<ExitStatus>);

impl std::fmt::Display for Exit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Ok(status) => write!(formatter, "{status}"),
            Err(error) => write!(formatter, "unknown ({error})"),
        }
    }
}

fn log_stream_name() -> String {
    format!("{}/[$LATEST]{}", Clock::System.now().format("%Y/%m/%d"), Uuid::new_v4().simple())
}

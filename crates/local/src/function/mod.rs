//! The function: runs the `bootstrap` binary as Lambda runs it, one invocation at a time.
//!
//! A process serves many invocations. One that crashes, fails to start, or exceeds the time-out is replaced at the next
//! invocation.
//!
//! `process` is one such process; `runtime_api` is the Runtime API that it polls, `output` reads what it prints, and
//! `xray` is the X-Ray daemon that Lambda runs alongside it.

mod output;
mod process;
mod runtime_api;
pub mod settings;
mod xray;

use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use rustix::process::Signal;
use uuid::Uuid;

use crate::event::{EventBus, WorldEvent};
use crate::faults::{Breaker, FunctionFault};
use crate::invocation::{CompletedInvocation, InvocationError, Outcome};
use config_audit::clock::Clock;

pub use process::FunctionError;
pub use settings::{FunctionSettings, Trace};

use process::{Completion, Process};
use runtime_api::NextInvocation;
use xray::XrayDaemon;

/// A function that may have a process, and its X-Ray daemon.
#[derive(Debug)]
pub struct Function {
    settings: FunctionSettings,
    bus: EventBus,
    xray: XrayDaemon,
    process: Option<Process>,
    breaker: Breaker,
}

impl Function {
    /// A function whose first invocation will start a process. Its X-Ray daemon runs already. `breaker` can break it.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(settings: FunctionSettings, bus: EventBus, breaker: Breaker) -> Result<Self, FunctionError> {
        let xray = XrayDaemon::start(bus.clone()).await?;
        Ok(Self { settings, bus, xray, process: None, breaker })
    }

    /// Invokes the function with this event. Returns when the function has answered and asked for the next event, or its
    /// process has ended.
    ///
    /// Dropping the future ends the process.
    ///
    /// # Errors
    /// When no process can be started. Everything that goes wrong in the function itself is in the [`Outcome`].
    pub async fn invoke(&mut self, event: impl Into<Bytes>) -> Result<CompletedInvocation, FunctionError> {
        let request_id = Uuid::new_v4().to_string();
        let trace_header = self.settings.trace.header(Clock::System.now());
        self.bus.publish(WorldEvent::InvocationStarted {
            request_id: request_id.clone(),
            trace_header: trace_header.clone(),
        });
        let started = Clock::System.instant();
        let (outcome, init) = self.outcome(&request_id, trace_header, event.into()).await?;
        let completed = CompletedInvocation { request_id, outcome, duration: Clock::System.instant() - started, init };
        self.xray.flush().await?;
        self.bus.publish(WorldEvent::InvocationEnded(completed.clone()));
        Ok(completed)
    }

    /// Ends the process, if any. Everything that it printed has been published when this returns.
    pub async fn stop(&mut self) {
        if let Some(process) = self.process.take() {
            process.end(&self.bus).await;
        }
    }

    /// The outcome, and how long the process took to ask for an event, if it was started for this one.
    async fn outcome(
        &mut self,
        request_id: &str,
        trace_header: String,
        event: Bytes,
    ) -> Result<(Outcome, Option<Duration>), FunctionError> {
        // A process that ended while it was idle does not make this invocation fail.
        if self.process.as_mut().is_some_and(Process::has_ended) {
            self.stop().await;
        }
        // Taken, and put back if it can continue: if this future is dropped before it completes, the process ends too.
        let started = Clock::System.instant();
        let (mut process, is_new) = match self.process.take() {
            Some(process) => (process, false),
            None => (Process::start(&self.settings, &self.xray.address(), &self.bus).await?, true),
        };
        let ready = process.ready(self.settings.init_timeout).await;
        let init = is_new.then(|| Clock::System.instant() - started);
        let completion = match ready {
            Err(report) => Completion::fatal(InvocationError::Init(report)),
            Ok(poll) => {
                let invocation = NextInvocation {
                    request_id: request_id.to_owned(),
                    deadline: SystemTime::from(Clock::System.now()) + self.settings.timeout,
                    function_arn: self.settings.arn(),
                    trace_header,
                    event,
                };
                match self.breaker.faults().function {
                    Some(FunctionFault::Crashes) => process.signal(Signal::KILL),
                    // A stopped process can still be killed, and is, at the time-out.
                    Some(FunctionFault::Hangs) => process.signal(Signal::STOP),
                    None => {}
                }
                process.serve(poll, invocation, self.settings.timeout).await
            }
        };
        if completion.is_usable {
            process.flush_output().await;
            self.process = Some(process);
        } else {
            process.end(&self.bus).await;
        }
        Ok((completion.outcome, init))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_binary_that_does_not_exist_is_named() {
        let settings = FunctionSettings::new("/nowhere/bootstrap");
        let mut function = Function::start(settings, EventBus::new(), Breaker::default()).await.unwrap();
        let error = function.invoke("{}").await.unwrap_err().to_string();
        assert!(error.starts_with("cannot run /nowhere/bootstrap"), "{error}");
    }
}

//! The function: its process, and each of its invocations, with the real handler.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use chrono::TimeDelta;
use config_audit::clock::Clock;
use config_audit::handler::Handler;
use config_audit::invocation::Invocation;
use config_audit::report::Report;
use config_audit_mapping::shard::Answer;
use config_audit_mapping::{StreamRecord, event};
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tokio::time::{sleep, timeout_at};

use crate::bucket::FailureBucket;
use crate::fault::Fault;
use crate::laws;
use crate::ledger::TrackedChange;
use crate::log::InvocationLog;
use crate::observed::{Metric, Observer};
use crate::run::Run;
use crate::table::AuditTable;

/// The function's ARN.
pub(crate) const FUNCTION_ARN: &str = "arn:aws:lambda:eu-central-1:000000000000:function:config-audit-audit";

/// The function of a run.
#[derive(Debug)]
pub(crate) struct Function {
    run: Rc<Run>,
    /// Whether the function has a process that can be invoked again.
    is_warm: Cell<bool>,
}

impl Function {
    pub(crate) fn new(run: Rc<Run>) -> Self {
        Self { run, is_warm: Cell::new(false) }
    }

    /// Invokes the function, and emits Lambda's own metrics.
    pub(crate) async fn invoke(&self, records: &[Arc<StreamRecord>]) -> Answer {
        let started = self.run.now();
        self.run.emit(Metric::Invocations, 1.0);
        self.run.emit(Metric::InvokedEventCount, records.len() as f64);
        let answer = self.serve(records).await;
        if answer.is_err() {
            self.run.emit(Metric::FailedInvokeEventCount, records.len() as f64);
        }
        self.run.emit(Metric::Errors, f64::from(u8::from(answer.is_err())));
        self.run.emit(Metric::Duration, (self.run.now() - started) as f64);
        if let Some(last) = records.last() {
            self.run.emit(Metric::IteratorAge, (self.run.now_ms() - last.created_ms).max(0) as f64);
        }
        answer
    }

    async fn serve(&self, records: &[Arc<StreamRecord>]) -> Answer {
        let number = self.run.ledger.count_invocation();
        let batch = self.run.ledger.deliver(records.iter().map(|record| &record.sequence_number));
        self.run.say(|| {
            let indices: Vec<String> = batch.iter().map(|tracked| format!("#{}", tracked.change.index)).collect();
            format!("invocation {number}: {}", indices.join(" "))
        });
        if self.run.strikes(Fault::FunctionDoesNotStart) {
            return self.crash("the function did not start");
        }
        if self.run.strikes(Fault::FunctionHangs) {
            sleep(self.run.scenario.timeout).await;
            return self.crash("the function timed out");
        }
        let log = InvocationLog::open(self.run.now(), self.run.scenario.timeout);
        // The function's clock and its deadline are on one machine; DynamoDB's clock is on another.
        let time = self.run.time() + TimeDelta::milliseconds(self.run.scenario.clock_ahead);
        let deadline = Clock::System.instant() + self.run.scenario.timeout;
        let handler = Handler {
            store: AuditTable { run: Rc::clone(&self.run), log: Rc::clone(&log) },
            quarantine: self
                .run
                .scenario
                .has_bucket
                .then(|| FailureBucket { run: Rc::clone(&self.run), log: Rc::clone(&log) }),
            clock: Clock::starting_at(time),
            key_attribute: "key".to_owned(),
            provenance: self.run.scenario.provenance,
        };
        let event = event(records);
        let invocation = Invocation {
            request_id: format!("request-{number}"),
            function_arn: FUNCTION_ARN.to_owned(),
            trace: self.trace(),
            cold_start: !self.is_warm.replace(true) || self.run.strikes(Fault::FunctionReplaced),
            deadline: time + self.run.scenario.timeout,
            event: event.as_bytes(),
        };
        // A kill can happen wherever the handler waits, so it happens at one of its polls. It is counted when it
        // happens.
        let polls =
            if self.run.is_due(Fault::FunctionKilled) { self.run.draw(1 << self.run.draw(10)) } else { u64::MAX };
        let handling = Killable { future: pin!(handler.handle(&invocation)), polls };
        let report = match timeout_at(deadline, handling).await {
            Err(_) => {
                self.run.violate("the handler had no answer at the function's time-out");
                return Err("the function timed out".to_owned());
            }
            Ok(None) => {
                self.run.saw(Fault::FunctionKilled);
                return self.crash("the function's process was killed");
            }
            Ok(Some(_)) if polls < u64::MAX => {
                // Its work was done before the kill, but its answer was not sent.
                self.run.saw(Fault::FunctionKilled);
                return self.crash("the function's process was killed");
            }
            Ok(Some(report)) => report,
        };
        let ended = self.run.now();
        let log = log.borrow();
        if log.reached_deadline(ended) && report.failed().next().is_some() {
            self.run.saw(Fault::DeadlineReached);
        }
        self.run.check(laws::of_an_invocation(&self.run.scenario, &batch, &log, &report, ended));
        self.answer(number, &batch, report)
    }

    /// Logs an invocation, and returns the function's answer.
    fn answer(&self, number: u64, batch: &[Rc<TrackedChange>], report: Report) -> Answer {
        let answer = report
            .answer()
            .map_err(|error| error.to_string())
            .and_then(|answer| serde_json::to_vec(&answer).map_err(|error| error.to_string()));
        self.run.say(|| match &answer {
            Ok(answer) => format!("answer {number}: {}", String::from_utf8_lossy(answer)),
            Err(error) => format!("error {number}: {error}"),
        });
        let is_lost = self.run.strikes(Fault::AnswerLost);
        if !is_lost {
            self.run.check(laws::of_an_answer(&self.run.ledger, batch, &report, &answer));
        }
        if let Some(observer) = &self.run.observer {
            self.log(observer, report);
        }
        if is_lost { self.crash("the function's process ended") } else { answer }
    }

    /// The process is gone, and the next invocation is the first of a new one.
    fn crash(&self, why: &str) -> Answer {
        self.is_warm.set(false);
        Err(why.to_owned())
    }

    /// Each invocation has its own trace.
    fn trace(&self) -> SpanContext {
        let trace_id = TraceId::from(u128::from(1 + self.run.draw(u64::MAX - 1)) << 64 | 1);
        SpanContext::new(trace_id, SpanId::from(1), TraceFlags::default(), true, TraceState::default())
    }

    /// Sends the log lines of an invocation to CloudWatch, unless a fault loses or corrupts them.
    fn log(&self, observer: &Observer, mut report: Report) {
        if self.run.strikes(Fault::TelemetryLost) {
            return;
        }
        if self.run.strikes(Fault::BooksWrong) {
            report.records.pop();
        }
        let mut lines = observer.lines_of(&report);
        if self.run.strikes(Fault::EmfMalformed) {
            for line in &mut lines {
                line.pop();
            }
        }
        if self.run.strikes(Fault::EmfInvalid) {
            for line in &mut lines {
                *line = line.replace("\"Unit\":\"Count\"", "\"Unit\":\"Records\"");
            }
        }
        observer.log(self.run.now(), lines);
    }
}

/// A future that is dropped after this many polls, like a killed process.
struct Killable<'a, F> {
    future: Pin<&'a mut F>,
    polls: u64,
}

impl<F: Future> Future for Killable<'_, F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        self.future.as_mut().poll(context).map(Some)
    }
}

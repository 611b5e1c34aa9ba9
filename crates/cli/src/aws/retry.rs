//! Retries, and how the user learns about them.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef, InterceptorContext,
};
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};
use config_audit::clock::Clock;
use tokio::time::Instant;

use crate::terminal::Terminal;

/// How long a request may fail before the user is told.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time between two notices: several requests are under way at once.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says `retrying…` if a failed request has not succeeded within two seconds. Clones share one state.
#[derive(Debug, Clone)]
pub struct RetryNotice {
    terminal: Terminal,
    last: Arc<Mutex<Option<Instant>>>,
    /// For retries outside the SDK: since when all attempts have failed.
    failing_since: Arc<Mutex<Option<Instant>>>,
}

/// A request in progress.
#[derive(Debug)]
struct UnderWay {
    began: Instant,
    /// Whether it has been sent before.
    is_sent: AtomicBool,
    /// Dropped when the request has succeeded or failed for good.
    guard: Arc<()>,
}

impl Storable for UnderWay {
    type Storer = StoreReplace<Self>;
}

impl RetryNotice {
    pub(super) fn new(terminal: Terminal) -> Self {
        Self { terminal, last: Arc::default(), failing_since: Arc::default() }
    }

    /// Records a request of a writer that retries on its own.
    pub fn attempted(&self, has_failed: bool) {
        let now = Clock::System.instant();
        let mut since = self.failing_since.lock().unwrap_or_else(PoisonError::into_inner);
        if !has_failed {
            *since = None;
        } else if now - *since.get_or_insert(now) >= PATIENCE {
            self.print();
        }
    }

    fn print(&self) {
        let now = Clock::System.instant();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now - last >= INTERVAL) {
            *last = Some(now);
            self.terminal.note("retrying…");
        }
    }
}

impl Intercept for RetryNotice {
    fn name(&self) -> &'static str {
        "RetryNotice"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let began = Clock::System.instant();
        bag.interceptor_state().store_put(UnderWay { began, is_sent: AtomicBool::new(false), guard: Arc::default() });
        Ok(())
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(request) = bag.load::<UnderWay>()
            && request.is_sent.swap(true, Ordering::Relaxed)
        {
            let (notice, until, guard) = (self.clone(), request.began + PATIENCE, Arc::downgrade(&request.guard));
            tokio::spawn(async move {
                tokio::time::sleep_until(until).await;
                if guard.strong_count() > 0 {
                    notice.print();
                }
            });
        }
        Ok(())
    }
}

/// If nothing listens now, nothing will in a second, so the user should know at once.
#[derive(Debug)]
pub(super) struct Unreachable;

impl ClassifyRetry for Unreachable {
    fn name(&self) -> &'static str {
        "Unreachable"
    }

    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error = context.output_or_error().and_then(|outcome| outcome.as_ref().err()?.as_connector_error());
        let mut cause: Option<&(dyn std::error::Error + 'static)> = error.map(|error| error as _);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            {
                return RetryAction::RetryForbidden;
            }
            cause = error.source();
        }
        RetryAction::NoActionIndicated
    }
}

//! Puts records into the failure bucket: several at once, in the background.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::StoredRecord;
use crate::bucket::{Bucket, BucketError};
use crate::clock::{Clock, Interval};
use crate::invocation::Invocation;
use crate::report::{Cause, Object, Outcome};

/// The maximum number of uploads to the failure bucket in flight.
const MAX_IN_FLIGHT: usize = 8;
/// The minimum time in which S3 can be expected to answer; with less left, nothing is sent.
const MIN_ATTEMPT: Duration = Duration::from_millis(5);

/// An object that must be put into the failure bucket.
#[derive(Debug)]
pub struct Upload<'a> {
    /// The object's key.
    pub key: String,
    /// Why the record is uploaded.
    pub cause: Cause,
    /// The record, byte for byte.
    pub record: &'a RawValue,
}

/// The result of an [`Upload`].
#[derive(Debug)]
pub struct Uploaded {
    /// The record's number, as given to [`Uploader::add`].
    pub record: usize,
    /// Why the record is uploaded.
    pub cause: Cause,
    /// Why it is not stored, if it is not.
    pub refused: Option<String>,
}

impl Uploaded {
    /// The outcome of a record that is only uploaded.
    #[must_use]
    pub fn outcome(self) -> Outcome {
        match self.refused {
            Some(why) => {
                let message = format!("{}; {why}", self.cause.message);
                Outcome::Failed(Cause::new(self.cause.reason, message))
            }
            None => Outcome::Quarantined(self.cause),
        }
    }
}

/// Puts the records of one invocation into the failure bucket.
pub struct Uploader<'a, Q> {
    bucket: Option<&'a Q>,
    clock: Clock,
    until: Instant,
    invocation: &'a Invocation<'a>,
    waiting: VecDeque<(usize, Upload<'a>)>,
    /// The uploads in flight; each number is an index into `attempts`.
    running: FuturesUnordered<LocalBoxFuture<'a, (usize, Result<(), BucketError>)>>,
    attempts: Vec<Attempt>,
}

/// One attempt, from the moment it begins.
struct Attempt {
    object: Object,
    /// `None` once the attempt has been answered.
    cause: Option<Cause>,
}

impl<'a, Q: Bucket> Uploader<'a, Q> {
    /// Puts records into `bucket` and sends nothing after `until`; without a bucket, nothing can be stored.
    #[must_use]
    pub fn new(bucket: Option<&'a Q>, clock: Clock, until: Instant, invocation: &'a Invocation<'a>) -> Self {
        let (waiting, running) = (VecDeque::new(), FuturesUnordered::new());
        Self { bucket, clock, until, invocation, waiting, running, attempts: Vec::new() }
    }

    /// Adds the upload of a record.
    pub fn add(&mut self, record: usize, upload: Upload<'a>) {
        self.waiting.push_back((record, upload));
    }

    /// Waits for the next object to be stored or rejected; `None` if none is in flight. Cancel-safe: uploads continue
    /// if this is dropped.
    pub async fn next(&mut self) -> Option<Uploaded> {
        let Some(bucket) = self.bucket else {
            let (record, Upload { cause, .. }) = self.waiting.pop_front()?;
            let refused = Some("it is not stored anywhere, because FAILURE_BUCKET is not set".to_owned());
            return Some(Uploaded { record, cause, refused });
        };
        while self.running.len() < MAX_IN_FLIGHT
            && self.until.saturating_duration_since(self.clock.instant()) >= MIN_ATTEMPT
            && let Some((record, upload)) = self.waiting.pop_front()
        {
            self.start(bucket, record, upload);
        }
        let (place, result) = self.running.next().await?;
        let Attempt { object, cause } = &mut self.attempts[place];
        object.interval.ended = self.clock.instant();
        let refused = result.err().map(|error| {
            object.error = Some(error.code);
            error.message
        });
        if refused.is_none() {
            object.error = None;
        }
        Some(Uploaded { record: object.record, cause: cause.take()?, refused })
    }

    fn start(&mut self, bucket: &'a Q, record: usize, Upload { key, cause, record: raw }: Upload<'a>) {
        let kept = StoredRecord {
            reason: cause.reason.code(),
            detail: &cause.message,
            request_id: &self.invocation.request_id,
            function_arn: &self.invocation.function_arn,
            record: raw,
        };
        let body = kept.body();
        let place = self.attempts.len();
        let interval = Interval::new(self.clock.instant());
        // Until it is answered, it counts as abandoned.
        let object = Object { record, interval, url: bucket.url(&key), error: Some("deadline".to_owned()) };
        self.attempts.push(Attempt { object, cause: Some(cause) });
        self.running.push(Box::pin(async move { (place, bucket.put(&key, body).await) }));
    }

    /// Abandons uploads in flight and uploads not started. Returns those, and every object that was sent, in the order
    /// of sending.
    pub fn finish(self) -> (Vec<Uploaded>, Vec<Object>) {
        let now = self.clock.instant();
        let mut left = Vec::new();
        let mut objects = Vec::with_capacity(self.attempts.len());
        for Attempt { mut object, cause } in self.attempts {
            if let Some(cause) = cause {
                object.interval.ended = now;
                let refused = Some("the failure bucket did not answer in time".to_owned());
                left.push(Uploaded { record: object.record, cause, refused });
            }
            objects.push(object);
        }
        left.extend(self.waiting.into_iter().map(|(record, Upload { cause, .. })| Uploaded {
            record,
            cause,
            refused: Some("there was no time left to store it".to_owned()),
        }));
        (left, objects)
    }
}

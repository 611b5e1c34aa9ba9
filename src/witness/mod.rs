//! The witness: the function for the Audit table's stream. It reports every entry that somebody altered or deleted, and
//! stores a fingerprint of every entry in a bucket whose objects cannot be changed.
//!
//! The audit function only ever writes an entry once, or again with the same content, which makes no stream record. So the
//! stream of the Audit table has nothing but INSERTs, and MODIFYs of the provenance; everything else is tampering.
//!
//! The invariant is that of [`crate::handler`]: a record is acknowledged only when what it demands is known to be stored.

mod fingerprint;
mod object;
mod record;

use std::pin::pin;

use serde_json::value::RawValue;

pub use fingerprint::Fingerprint;
pub use object::{PREFIX, Witness, WitnessObject, is_authentic, object_key};

use crate::aws::arn::StreamArn;
use crate::bucket::{Bucket, BucketError};
use crate::clock::{Clock, Interval};
use crate::invocation::{Invocation, work_until, working_time};
use crate::quarantine::uploader::Uploader;
use crate::report::{Cause, Object, Report};
use crate::settings::Function;
use crate::stream::WrongViewType;
use record::StreamRecord;

/// Handles invocations with records of the Audit table's stream, one at a time.
#[derive(Debug)]
pub struct WitnessHandler<W, Q> {
    /// The witness bucket. Without one, tampering is reported, but entries leave no witness.
    pub bucket: Option<W>,
    /// The failure bucket, if any: where the records of tampering are stored, which have the entry as it was.
    pub quarantine: Option<Q>,
    /// The clock.
    pub clock: Clock,
}

impl<W: Bucket, Q: Bucket> WitnessHandler<W, Q> {
    /// Handles one invocation, and answers before its deadline.
    pub async fn handle(&self, invocation: &Invocation<'_>) -> Report {
        let mut report = Report::new(Function::Witness, invocation, self.clock);
        if let Some(raw) = report.split(invocation.event) {
            self.process(invocation, &raw, &mut report).await;
        }
        report.interval.ended = self.clock.instant();
        report
    }

    /// Does what each record demands, as far as possible before the deadline, and reports the outcomes.
    async fn process(&self, invocation: &Invocation<'_>, raw: &[&RawValue], report: &mut Report) {
        let until = report.interval.started + working_time(report.allowed);
        let now = self.clock.instant();
        let mut records: Vec<StreamRecord<'_>> = raw.iter().map(|raw| StreamRecord::new(raw, now)).collect();
        let mut uploader = Uploader::new(self.quarantine.as_ref(), self.clock, until, invocation);
        let mut objects = Vec::new();
        report.error = work_until(until, self.settle(&mut records, &mut uploader, &mut objects)).await;

        let (not_uploaded, sent) = uploader.finish();
        objects.extend(sent);
        let now = self.clock.instant();
        for left in not_uploaded.into_iter().filter(|_| report.error.is_none()) {
            records[left.record].uploaded(left, now);
        }
        report.received = raw.len();
        report.stream_arn = records.iter().find_map(StreamRecord::stream_arn).cloned().map(StreamArn::into_owned);
        report.objects = objects;
        let message = "its witness is not known to be stored: there was no time left to store it";
        let unsettled = Cause::of_unsettled(report.error.as_ref(), message);
        report.records = records.into_iter().map(|record| record.end(&unsettled, now)).collect();
        report.fail_without_sequence_numbers();
    }

    /// Reads the records, then stores the witnesses, all in one object, and concurrently the records of tampering.
    async fn settle<'a>(
        &'a self,
        records: &mut [StreamRecord<'a>],
        uploader: &mut Uploader<'a, Q>,
        objects: &mut Vec<Object>,
    ) -> Result<(), WrongViewType> {
        for (index, record) in records.iter_mut().enumerate() {
            if let Some(upload) = record.begin(self.bucket.is_some())? {
                uploader.add(index, upload);
            }
        }
        let object = self.bucket.as_ref().and_then(|bucket| Some((bucket, self.object(bucket, records, objects)?)));
        let mut is_put = object.is_none();
        let mut put = pin!(async {
            let Some((bucket, (key, body))) = object else { return Ok(()) };
            bucket.put(&key, body).await
        });
        loop {
            tokio::select! {
                biased;
                result = &mut put, if !is_put => {
                    is_put = true;
                    let now = self.clock.instant();
                    if let Some(object) = objects.first_mut() {
                        object.interval.ended = now;
                        object.error = result.as_ref().err().map(|error: &BucketError| error.code.clone());
                    }
                    for record in records.iter_mut() {
                        record.witnessed(&result, now);
                    }
                }
                Some(upload) = uploader.next() => {
                    let index = upload.record;
                    records[index].uploaded(upload, self.clock.instant());
                }
                else => return Ok(()),
            }
        }
    }

    /// The key and the body of the object with the witnesses of these records; `None` if none needs one. Until it is
    /// answered, the object counts as abandoned.
    fn object(&self, bucket: &W, records: &[StreamRecord<'_>], objects: &mut Vec<Object>) -> Option<(String, Vec<u8>)> {
        let (first, record) = records.iter().enumerate().find(|(_, record)| record.witness().is_some())?;
        let entries = records.iter().filter_map(StreamRecord::witness).cloned().collect();
        let body = WitnessObject { entries }.body();
        let key = object_key(record.stream_arn(), record.created(), &body);
        objects.push(Object {
            record: first,
            interval: Interval::new(self.clock.instant()),
            url: bucket.url(&key),
            error: Some("deadline".to_owned()),
        });
        Some((key, body))
    }
}

#[cfg(test)]
mod tests;

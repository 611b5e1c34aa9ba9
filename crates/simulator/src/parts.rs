//! The Audit table and the failure bucket, with every fault that they can have. What the handler holds are these.

use std::rc::Rc;
use std::time::Duration;

use config_audit::audit::Entry;
use config_audit::quarantine::{Quarantine, QuarantineError};
use config_audit::store::{Failure, MAX_BATCH, Put, Store, StoreError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::fault::Fault;
use crate::log::{InvocationLog, RequestAnswer};
use crate::observed::Metric;
use crate::world::{Kept, World};

/// The Audit table, as one invocation sees it.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) world: Rc<World>,
    pub(crate) log: Rc<InvocationLog>,
}

impl Store for Table {
    async fn put(&self, entries: &[&Entry]) -> Result<Put, StoreError> {
        let (world, log) = (&self.world, &self.log);
        let place = log.send_request(entries.iter().map(|entry| entry.id).collect());
        let answer = |answer| log.requests.borrow_mut()[place].answer = Some((world.now(), answer));
        if entries.is_empty() || entries.len() > MAX_BATCH {
            world.violate(format!("a request has {} entries", entries.len()));
        }
        let struck = |fault: Fault| {
            let strikes = world.strikes(fault);
            if strikes {
                log.requests.borrow_mut()[place].faults.push(fault);
            }
            strikes
        };
        let write = |entries: &[&Entry]| {
            for entry in entries {
                world.store(entry.id, &entry.item());
            }
        };
        sleep(Duration::from_millis(1 + world.draw(20))).await;
        if struck(Fault::StoreIsSlow) {
            sleep(Duration::from_millis(world.draw(6_000))).await;
        }
        let error = if struck(Fault::StoreThrottles) {
            world.emit(Metric::WriteThrottleEvents, entries.len() as f64);
            Some((Failure::Throttled, "ThrottlingException"))
        } else if struck(Fault::IndexThrottles) {
            world.emit(Metric::IndexWriteThrottleEvents, entries.len() as f64);
            Some((Failure::Throttled, "ThrottlingException"))
        } else if struck(Fault::StoreIsMisconfigured) {
            Some((Failure::Misconfigured, "AccessDeniedException"))
        } else if struck(Fault::StoreRefuses) {
            Some((Failure::Refused, "LimitExceededException"))
        } else if struck(Fault::StoreFails) {
            Some((Failure::Unavailable, "InternalServerError"))
        } else if struck(Fault::StoreFailsHalfWritten) {
            write(&entries[..entries.len() / 2]);
            Some((Failure::Unavailable, "InternalServerError"))
        } else if entries.iter().any(|entry| entry.item_key == "REJECTED") {
            Some((Failure::Rejected, "ValidationException"))
        } else {
            None
        };
        if let Some((failure, code)) = error {
            answer(if failure == Failure::Rejected { RequestAnswer::Rejected } else { RequestAnswer::Failed });
            return Err(error_of(failure, code));
        }
        if struck(Fault::StorePanics) {
            // Without the panic hook, which would print.
            std::panic::resume_unwind(Box::new("a panic of the client"));
        }
        if struck(Fault::StoreIsSilent) {
            std::future::pending::<()>().await;
        }
        if struck(Fault::StoreWritesTooLate) {
            let items: Vec<_> = entries.iter().map(|entry| (entry.id, entry.item())).collect();
            let (late, wait) = (Rc::clone(world), Duration::from_millis(world.draw(60_000)));
            world.spawn("a late write", async move {
                sleep(wait).await;
                for (id, item) in &items {
                    late.store(*id, item);
                }
            });
            std::future::pending::<()>().await;
        }
        let back = if struck(Fault::StoreGivesBack) {
            1 + usize::try_from(world.draw(entries.len() as u64)).unwrap_or_default()
        } else {
            0
        };
        if back > 0 {
            world.emit(Metric::WriteThrottleEvents, back as f64);
        }
        let (unprocessed, written) = entries.split_at(back);
        write(written);
        if struck(Fault::StoreFailsAfterWriting) {
            answer(RequestAnswer::Failed);
            return Err(error_of(Failure::Unavailable, "connection"));
        }
        if struck(Fault::StoreIsSilentAfterWriting) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(world.draw(10))).await;
        answer(RequestAnswer::Stored(written.iter().map(|entry| entry.id).collect()));
        Ok(Put { unprocessed: (0..unprocessed.len()).collect(), ..Put::default() })
    }
}

fn error_of(failure: Failure, code: &str) -> StoreError {
    StoreError { failure, code: code.to_owned(), message: "as simulated".to_owned(), request_id: None }
}

/// The failure bucket, as one invocation sees it.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) world: Rc<World>,
    pub(crate) log: Rc<InvocationLog>,
}

#[derive(Deserialize)]
struct Object<'a> {
    reason: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl Quarantine for Bucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), QuarantineError> {
        let (world, log) = (&self.world, &self.log);
        let object = match serde_json::from_slice::<Object<'_>>(&body) {
            Ok(object) => object,
            Err(error) => {
                world.violate(format!("the object {key} cannot be read: {error}"));
                return Ok(());
            }
        };
        let place = log.send_object(key, object.record.get());
        let struck = |fault: Fault| {
            let strikes = world.strikes(fault);
            if strikes {
                log.objects.borrow_mut()[place].faults.push(fault);
            }
            strikes
        };
        sleep(Duration::from_millis(5 + world.draw(40))).await;
        if struck(Fault::BucketIsSlow) {
            sleep(Duration::from_millis(world.draw(6_000))).await;
        }
        let refused = || QuarantineError { code: "AccessDenied".to_owned(), message: "as simulated".to_owned() };
        if struck(Fault::BucketRefuses) {
            return Err(refused());
        }
        if struck(Fault::BucketIsSilent) {
            std::future::pending::<()>().await;
        }
        {
            let mut kept = world.kept.borrow_mut();
            let of_the_record = kept.entry(object.record.get().to_owned()).or_default();
            of_the_record.retain(|kept| kept.key != key);
            of_the_record.push(Kept { key: key.to_owned(), reason: object.reason });
        }
        if struck(Fault::BucketRefusesAfterStoring) {
            return Err(refused());
        }
        log.objects.borrow_mut()[place].stored = Some(world.now());
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://failures/{key}")
    }
}

//! The failure bucket, with every fault it can have.

use std::rc::Rc;
use std::time::Duration;

use config_audit::bucket::{Bucket, BucketError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;

use crate::fault::Fault;
use crate::ledger::StoredObject;
use crate::log::OpenLog;
use crate::run::Run;

/// The failure bucket, as one invocation sees it.
#[derive(Debug)]
pub(crate) struct FailureBucket {
    pub(crate) run: Rc<Run>,
    pub(crate) log: OpenLog,
}

#[derive(Deserialize)]
struct Object<'a> {
    reason: String,
    #[serde(borrow)]
    record: &'a RawValue,
}

impl Bucket for FailureBucket {
    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        let (run, log) = (&self.run, &self.log);
        let object = match serde_json::from_slice::<Object<'_>>(&body) {
            Ok(object) => object,
            Err(error) => {
                run.violate(format!("the object {key} cannot be read: {error}"));
                return Ok(());
            }
        };
        let place = log.borrow_mut().add_object(key, object.record.get());
        let struck = |fault: Fault| {
            let strikes = run.strikes(fault);
            if strikes {
                log.borrow_mut().objects[place].faults.push(fault);
            }
            strikes
        };
        sleep(Duration::from_millis(5 + run.draw(40))).await;
        if struck(Fault::BucketIsSlow) {
            sleep(Duration::from_millis(run.draw(6_000))).await;
        }
        let refused = || {
            log.borrow_mut().objects[place].is_refused = true;
            BucketError { code: "AccessDenied".to_owned(), message: "as simulated".to_owned() }
        };
        if struck(Fault::BucketRefuses) {
            return Err(refused());
        }
        if struck(Fault::BucketIsSilent) {
            std::future::pending::<()>().await;
        }
        run.observe_object(key);
        run.ledger.store_object(
            object.record.get(),
            StoredObject { at: run.now(), key: key.to_owned(), reason: object.reason },
        );
        if struck(Fault::BucketRefusesAfterStoring) {
            return Err(refused());
        }
        run.say(|| format!("  stored: {key}"));
        log.borrow_mut().objects[place].stored = Some(run.now());
        Ok(())
    }

    fn url(&self, key: &str) -> String {
        format!("s3://failures/{key}")
    }
}

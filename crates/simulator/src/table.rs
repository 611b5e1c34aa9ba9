//! The Audit table, with every fault that it can have.

use std::rc::Rc;
use std::time::Duration;

use config_audit::audit::EncodedEntry;
use config_audit::store::{Failure, Put, Store, StoreError};
use serde_dynamo::{AttributeValue, Item};
use tokio::time::sleep;
use uuid::Uuid;

use crate::fault::Fault;
use crate::laws;
use crate::log::{OpenLog, RequestAnswer};
use crate::observed::Metric;
use crate::run::Run;

/// The Audit table, as one invocation sees it.
#[derive(Debug)]
pub(crate) struct AuditTable {
    pub(crate) run: Rc<Run>,
    pub(crate) log: OpenLog,
}

impl Store for AuditTable {
    async fn put(&self, entries: &[&EncodedEntry]) -> Result<Put, StoreError> {
        let (run, log) = (&self.run, &self.log);
        let place = log.borrow_mut().add_request(entries.iter().map(|entry| entry.id).collect());
        let _noticed = GivenUp { run, log, place };
        let answer = |answer| log.borrow_mut().requests[place].answer = Some((run.now(), answer));
        run.check(laws::of_a_request(&run.ledger, entries));
        let struck = |fault: Fault| {
            let strikes = run.strikes(fault);
            if strikes {
                log.borrow_mut().requests[place].faults.push(fault);
            }
            strikes
        };
        let rejected = AttributeValue::S("REJECTED".to_owned());
        let write = |entries: &[&EncodedEntry]| {
            for entry in entries {
                store(run, entry.id, &item(entry));
            }
        };
        sleep(Duration::from_millis(1 + run.draw(20))).await;
        if struck(Fault::StoreIsSlow) {
            sleep(Duration::from_millis(run.draw(6_000))).await;
        }
        let error = if struck(Fault::StoreThrottles) {
            run.emit(Metric::WriteThrottleEvents, entries.len() as f64);
            Some((Failure::Throttled, "ThrottlingException"))
        } else if struck(Fault::IndexThrottles) {
            run.emit(Metric::IndexWriteThrottleEvents, entries.len() as f64);
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
        } else if entries.iter().any(|entry| item(entry).get("itemKey") == Some(&rejected)) {
            Some((Failure::Rejected, "ValidationException"))
        } else {
            None
        };
        if let Some((failure, code)) = error {
            answer(if failure == Failure::Rejected { RequestAnswer::Rejected } else { RequestAnswer::Failed(code) });
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
            let items: Vec<_> = entries.iter().map(|entry| (entry.id, item(entry))).collect();
            let (late, wait) = (Rc::clone(run), Duration::from_millis(run.draw(60_000)));
            run.spawn("a late write", async move {
                sleep(wait).await;
                for (id, item) in &items {
                    store(&late, *id, item);
                }
            });
            std::future::pending::<()>().await;
        }
        let back = if struck(Fault::StoreGivesBack) {
            1 + usize::try_from(run.draw(entries.len() as u64)).unwrap_or_default()
        } else {
            0
        };
        if back > 0 {
            run.emit(Metric::WriteThrottleEvents, back as f64);
        }
        let (unprocessed, written) = entries.split_at(back);
        write(written);
        if struck(Fault::StoreFailsAfterWriting) {
            answer(RequestAnswer::Failed("connection"));
            return Err(error_of(Failure::Unavailable, "connection"));
        }
        if struck(Fault::StoreIsSilentAfterWriting) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(run.draw(10))).await;
        answer(RequestAnswer::Stored(written.iter().map(|entry| entry.id).collect()));
        Ok(Put { unprocessed: (0..unprocessed.len()).collect(), ..Put::default() })
    }
}

/// The item that an entry is sent as; without any attribute where it is not one.
fn item(entry: &EncodedEntry) -> Item {
    serde_json::from_str(&entry.json).unwrap_or_default()
}

fn error_of(failure: Failure, code: &str) -> StoreError {
    StoreError { failure, code: code.to_owned(), message: "as simulated".to_owned(), request_id: None }
}

/// An entry is written.
fn store(run: &Run, id: Uuid, item: &Item) {
    run.check(laws::of_an_entry(&run.ledger, run.scenario.provenance, id, item));
    if let Err(changed) = run.ledger.store_entry(id, item) {
        run.violate(changed);
    }
}

/// Notes in the log when the function stops waiting for a request.
struct GivenUp<'a> {
    run: &'a Run,
    log: &'a OpenLog,
    place: usize,
}

impl Drop for GivenUp<'_> {
    fn drop(&mut self) {
        let request = &mut self.log.borrow_mut().requests[self.place];
        if request.answer.is_none() {
            request.given_up = Some(self.run.now());
        }
    }
}

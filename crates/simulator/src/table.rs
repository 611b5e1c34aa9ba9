//! The Audit table, with every fault it can have.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use config_audit::audit::EncodedEntry;
use config_audit::store::{Failure, Put, Store, StoreError};
use serde_dynamo::Item;
use tokio::time::sleep;
use uuid::Uuid;

use crate::change::RecordDefect;
use crate::expected::has_values;
use crate::fault::Fault;
use crate::laws;
use crate::ledger::has_defect;
use crate::limits::is_within_limits;
use crate::log::{OpenLog, RequestAnswer, SentEntry};
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
        let items: Vec<(Uuid, Rc<SentItem>)> =
            entries.iter().map(|entry| (entry.id, run.sent_items.get(entry))).collect();
        let sent = items.iter().map(|(id, sent)| SentEntry { id: *id, has_values: sent.has_values });
        let place = log.borrow_mut().add_request(sent.collect());
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
        } else if items.iter().any(|(_, sent)| sent.is_invalid) {
            Some((Failure::Rejected, "ValidationException"))
        } else if struck(Fault::StoreFailsHalfWritten) {
            store(run, &items[..items.len() / 2]);
            Some((Failure::Unavailable, "InternalServerError"))
        } else {
            None
        };
        if let Some((failure, code)) = error {
            answer(if failure == Failure::Rejected { RequestAnswer::Rejected } else { RequestAnswer::Failed(code) });
            return Err(error_of(failure, code));
        }
        if struck(Fault::StorePanics) {
            // This bypasses the panic hook, which would print.
            std::panic::resume_unwind(Box::new("a panic of the client"));
        }
        if struck(Fault::StoreIsSilent) {
            std::future::pending::<()>().await;
        }
        if struck(Fault::StoreWritesTooLate) {
            let (late, items, wait) = (Rc::clone(run), items.clone(), Duration::from_millis(run.draw(60_000)));
            run.spawn("a late write", async move {
                sleep(wait).await;
                store(&late, &items);
            });
            std::future::pending::<()>().await;
        }
        let back = if struck(Fault::StoreGivesBack) {
            1 + usize::try_from(run.draw(items.len() as u64)).unwrap_or_default()
        } else {
            0
        };
        if back > 0 {
            run.emit(Metric::WriteThrottleEvents, back as f64);
        }
        let (unprocessed, written) = items.split_at(back);
        store(run, written);
        if struck(Fault::StoreFailsAfterWriting) {
            answer(RequestAnswer::Failed("connection"));
            return Err(error_of(Failure::Unavailable, "connection"));
        }
        if struck(Fault::StoreIsSilentAfterWriting) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(run.draw(10))).await;
        answer(RequestAnswer::Stored(written.iter().map(|(id, _)| *id).collect()));
        Ok(Put { unprocessed: (0..unprocessed.len()).collect(), ..Put::default() })
    }
}

/// The entries sent to the table. During an outage the same entries are sent again and again, and parsing them took a
/// third of a run's time, so each is parsed once.
#[derive(Debug, Default)]
pub(crate) struct SentItems(RefCell<HashMap<Uuid, Rc<SentItem>>>);

/// An entry as last sent.
#[derive(Debug)]
struct SentItem {
    json: String,
    /// Empty if the entry is not an item.
    item: Item,
    has_values: bool,
    is_invalid: bool,
}

impl SentItems {
    fn get(&self, entry: &EncodedEntry) -> Rc<SentItem> {
        let mut items = self.0.borrow_mut();
        if let Some(sent) = items.get(&entry.id).filter(|sent| *sent.json == *entry.json) {
            return Rc::clone(sent);
        }
        let item: Item = serde_json::from_str(&entry.json).unwrap_or_default();
        let (has_values, is_invalid) = (has_values(&item), is_invalid(&item));
        let sent = Rc::new(SentItem { json: entry.json.clone(), item, has_values, is_invalid });
        items.insert(entry.id, Rc::clone(&sent));
        sent
    }
}

fn error_of(failure: Failure, code: &str) -> StoreError {
    StoreError { failure, code: code.to_owned(), message: "as simulated".to_owned(), request_id: None }
}

/// Whether DynamoDB rejects an entry. It rejects those of some items for unknown reasons.
fn is_invalid(item: &Item) -> bool {
    has_defect(item, RecordDefect::Rejected)
        || has_defect(item, RecordDefect::ValuesRejected) && has_values(item)
        || !is_within_limits(item)
}

/// Writes entries, and checks each of them.
fn store(run: &Run, items: &[(Uuid, Rc<SentItem>)]) {
    for (id, sent) in items {
        run.check(laws::of_an_entry(&run.ledger, run.scenario.provenance, *id, &sent.item));
        match run.ledger.store_entry(*id, &sent.item) {
            Ok(is_new) => run.observe_entry(is_new),
            Err(changed) => run.violate(changed),
        }
    }
}

/// Logs when the function stops waiting for a request.
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

//! Writing many entries: in batches, several at once, with retries, until a deadline.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::audit::Entry;
use crate::clock::Clock;
use crate::store::{Failure, MAX_BATCH, Put, Store, StoreError};

/// The most requests under way at once. Eight batches of 25 are twice a batch of Lambda's default size, and eight open
/// connections are little memory.
const IN_FLIGHT: usize = 8;
/// The longest wait for one answer. Half of the time that is left is the limit where that is less, so that a request
/// that hangs always leaves time for a second try.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);
/// Waits between tries are drawn evenly from zero up to this, doubled with each try, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is known to be stored, since this time.
    Stored(Instant),
    /// DynamoDB finds it invalid; no retry helps.
    Rejected,
    /// It is not known to be stored; the code says why.
    Unknown(String),
}

/// One request to the Audit table.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// When it was sent.
    pub started: Instant,
    /// When it was answered, or given up.
    pub ended: Instant,
    /// How many entries it carried.
    pub entries: usize,
    /// How many tries these entries had had before.
    pub retries: u32,
    /// What came of it.
    pub result: Result<Put, StoreError>,
}

/// What came of writing.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// One for each entry, in order.
    pub fates: Vec<Fate>,
    /// All requests, in the order in which they were sent.
    pub requests: Vec<Request>,
    /// Why nothing can be written at all, if that is so. Writing stopped there.
    pub misconfigured: Option<StoreError>,
}

struct Job {
    entries: Vec<usize>,
    retries: u32,
}

/// Writes `entries`, which all have different IDs, until all is settled or it is `until`.
pub async fn write<S: Store>(store: &S, clock: Clock, entries: &[Entry], until: Instant) -> Written {
    let requests = RefCell::new(Vec::new());
    let mut fates = vec![Fate::Unknown("deadline".to_owned()); entries.len()];
    let mut misconfigured = None;
    let indices: Vec<usize> = (0..entries.len()).collect();
    let mut waiting: VecDeque<Job> =
        indices.chunks(MAX_BATCH).map(|chunk| Job { entries: chunk.to_vec(), retries: 0 }).collect();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < IN_FLIGHT
            && let Some(job) = waiting.pop_front()
        {
            running.push(attempt(store, clock, entries, job, until, &requests));
        }
        let Ok(Some((job, result))) = timeout_at(until, running.next()).await else { break };
        let again = |entries: Vec<usize>| Job { entries, retries: job.retries + 1 };
        match result {
            Ok(Put { unprocessed, .. }) => {
                let stored = Fate::Stored(clock.instant());
                for (index, entry) in job.entries.iter().enumerate() {
                    if !unprocessed.contains(&index) {
                        fates[*entry] = stored.clone();
                    }
                }
                let left: Vec<usize> = unprocessed.iter().map(|index| job.entries[*index]).collect();
                if !left.is_empty() {
                    note(&mut fates, &left, "unprocessed");
                    waiting.push_back(again(left));
                }
            }
            Err(error) => {
                note(&mut fates, &job.entries, &error.code);
                match error.failure {
                    Failure::Throttled | Failure::Unavailable => waiting.push_back(again(job.entries)),
                    // One bad entry fails the whole request: halve it until that one is alone.
                    Failure::Rejected if job.entries.len() > 1 => {
                        let (one, other) = job.entries.split_at(job.entries.len() / 2);
                        let halves = [one, other].map(|half| Job { entries: half.to_vec(), retries: job.retries });
                        waiting.extend(halves);
                    }
                    Failure::Rejected => fates[job.entries[0]] = Fate::Rejected,
                    Failure::Refused => {}
                    Failure::Misconfigured => {
                        misconfigured = Some(error);
                        break;
                    }
                }
            }
        }
    }
    // What is still under way is given up here: whether it was written is not known.
    drop(running);
    let mut requests = requests.into_inner();
    let now = clock.instant();
    for request in &mut requests {
        request.ended = request.ended.min(now);
    }
    Written { fates, requests, misconfigured }
}

fn note(fates: &mut [Fate], entries: &[usize], code: &str) {
    for entry in entries {
        fates[*entry] = Fate::Unknown(code.to_owned());
    }
}

/// Sends one request, after a wait where it is a retry. The request is on record from the moment it is sent.
async fn attempt<S: Store>(
    store: &S,
    clock: Clock,
    entries: &[Entry],
    job: Job,
    until: Instant,
    requests: &RefCell<Vec<Request>>,
) -> (Job, Result<Put, StoreError>) {
    if job.retries > 0 {
        let most = FIRST_WAIT.saturating_mul(1 << (job.retries - 1).min(10)).min(LONGEST_WAIT);
        sleep(most.mul_f64(fastrand::f64())).await;
    }
    let started = clock.instant();
    let limit = LONGEST_ATTEMPT.min((until - started) / 2);
    let unanswered = |code: &str, message: &str| StoreError {
        failure: Failure::Unavailable,
        code: code.to_owned(),
        message: message.to_owned(),
        request_id: None,
    };
    let place = requests.borrow().len();
    requests.borrow_mut().push(Request {
        started,
        ended: until,
        entries: job.entries.len(),
        retries: job.retries,
        result: Err(unanswered("deadline", "the request was given up at the deadline")),
    });
    let batch: Vec<&Entry> = job.entries.iter().map(|index| &entries[*index]).collect();
    let result = timeout(limit, store.put(&batch))
        .await
        .unwrap_or_else(|_| Err(unanswered("timeout", "DynamoDB did not answer in time")));
    let request = &mut requests.borrow_mut()[place];
    request.ended = clock.instant();
    request.result.clone_from(&result);
    (job, result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryStore, Reply, any_reply, entries};
    use proptest::prelude::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Writes `count` entries to a store that answers its requests with `replies`, in turn, and then as it should.
    fn write_to(count: usize, replies: Vec<Reply>) -> (Written, MemoryStore, Duration) {
        write_within(LIMIT, count, replies)
    }

    fn write_within(limit: Duration, count: usize, replies: Vec<Reply>) -> (Written, MemoryStore, Duration) {
        let store = MemoryStore::replying(replies);
        let entries = entries(count);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (written, took) = runtime.block_on(async {
            let start = Clock::System.instant();
            let written = write(&store, Clock::System, &entries, start + limit).await;
            (written, Clock::System.instant() - start)
        });
        for (entry, fate) in entries.iter().zip(&written.fates) {
            if matches!(fate, Fate::Stored(_)) {
                assert!(store.contains(entry.id), "said to be stored, and is not");
            }
        }
        (written, store, took)
    }

    fn stored(written: &Written) -> usize {
        written.fates.iter().filter(|fate| matches!(fate, Fate::Stored(_))).count()
    }

    #[test]
    fn a_batch_of_a_hundred_takes_the_time_of_one_request() {
        let (written, _, took) = write_to(100, vec![Reply::Slow(Duration::from_millis(20)); 4]);
        assert_eq!(stored(&written), 100);
        assert_eq!(written.requests.len(), 4);
        assert_eq!(took, Duration::from_millis(20));
    }

    #[test]
    fn the_ninth_request_waits_for_one_of_eight() {
        let slow = |count| write_to(count * MAX_BATCH, vec![Reply::Slow(Duration::from_millis(20)); count]).2;
        assert_eq!(slow(IN_FLIGHT), Duration::from_millis(20));
        assert_eq!(slow(IN_FLIGHT + 1), Duration::from_millis(40));
    }

    #[test]
    fn nothing_to_write_takes_no_request() {
        assert_eq!(write_to(0, vec![]).0.requests, []);
    }

    #[test]
    fn what_passes_is_retried_until_it_is_stored() {
        for replies in [
            vec![Reply::Fail(Failure::Throttled); 5],
            vec![Reply::Fail(Failure::Unavailable); 5],
            vec![Reply::Unprocessed(7); 3],
            vec![Reply::Never],
            vec![Reply::StoredButUnavailable; 3],
        ] {
            let (written, _, _) = write_to(60, replies.clone());
            assert_eq!(stored(&written), 60, "{replies:?}");
            assert!(written.requests.iter().any(|request| request.retries > 0), "{replies:?}");
        }
    }

    #[test]
    fn a_store_that_never_answers_ends_at_the_deadline_and_nothing_counts_as_stored() {
        let (written, _, took) = write_to(300, vec![Reply::Never; 10_000]);
        assert_eq!(took, LIMIT);
        assert_eq!(stored(&written), 0);
        assert!(written.requests.iter().all(|request| request.result.is_err()));
    }

    #[test]
    fn an_invalid_entry_is_found_and_costs_the_others_nothing() {
        let store = MemoryStore::rejecting([3, 77]);
        let entries = entries(100);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let written = runtime.block_on(write(&store, Clock::System, &entries, Clock::System.instant() + LIMIT));
        let rejected: Vec<_> = (0..100).filter(|index| written.fates[*index] == Fate::Rejected).collect();
        assert_eq!(rejected, [3, 77]);
        assert_eq!(stored(&written), 98);
    }

    #[test]
    fn a_wrong_table_ends_it_at_once() {
        let (written, _, took) = write_to(100, vec![Reply::Fail(Failure::Misconfigured)]);
        assert!(written.misconfigured.is_some());
        assert_eq!(took, Duration::ZERO);
    }

    #[test]
    fn a_refused_request_is_not_repeated() {
        let (written, _, _) = write_to(25, vec![Reply::Fail(Failure::Refused)]);
        assert_eq!((written.requests.len(), stored(&written)), (1, 0));
    }

    #[test]
    fn a_request_that_hangs_leaves_time_for_a_second_try_however_near_the_deadline_is() {
        for limit in [Duration::from_mins(1), Duration::from_secs(4), Duration::from_millis(200)] {
            let (written, _, took) = write_within(limit, 1, vec![Reply::Never]);
            assert_eq!(stored(&written), 1, "{limit:?}");
            assert!(took <= LONGEST_ATTEMPT + FIRST_WAIT, "{took:?}");
        }
    }

    #[test]
    fn waits_are_drawn_up_to_a_limit_that_doubles() {
        fastrand::seed(7);
        let mut longest = [Duration::ZERO; 8];
        for _ in 0..100 {
            let (written, _, _) = write_within(Duration::from_mins(1), 1, vec![Reply::Fail(Failure::Throttled); 8]);
            for (longest, pair) in longest.iter_mut().zip(written.requests.windows(2)) {
                *longest = (*longest).max(pair[1].started - pair[0].ended);
            }
        }
        for (longest, limit) in longest.into_iter().zip([50, 100, 200, 400, 800, 1_600, 2_000, 2_000]) {
            // Tokio's clock goes by milliseconds.
            let limit = Duration::from_millis(limit);
            assert!(
                longest <= limit + Duration::from_millis(1) && longest > limit * 9 / 10,
                "{longest:?} of {limit:?}"
            );
        }
    }

    /// Operators see it as the reason of the failed record.
    #[test]
    fn an_entry_that_is_not_stored_says_why() {
        for (reply, code) in [
            (Reply::Fail(Failure::Refused), "Refused"),
            (Reply::Fail(Failure::Throttled), "Throttled"),
            (Reply::Unprocessed(25), "unprocessed"),
            (Reply::Never, "timeout"),
        ] {
            let (written, _, _) = write_to(2, vec![reply; 10_000]);
            assert_eq!(written.fates, vec![Fate::Unknown(code.to_owned()); 2], "{reply:?}");
        }
    }

    proptest! {
        /// Whatever the store does: what counts as stored is stored, and the deadline is kept.
        #[test]
        fn stored_means_stored(count in 0_usize..120, replies in prop::collection::vec(any_reply(), 0..20)) {
            let (written, _, took) = write_to(count, replies);
            prop_assert!(took <= LIMIT);
            prop_assert_eq!(written.fates.len(), count);
            prop_assert!(written.requests.iter().all(|request| request.entries <= MAX_BATCH && request.started <= request.ended));
        }
    }
}

use proptest::prelude::*;

use tokio::time::timeout_at;

use super::*;
use crate::testing::{MemoryStore, Reply, any_reply, entries};

const LIMIT: Duration = Duration::from_secs(10);

/// The result of writing, and how long it took.
struct Outcome {
    /// One for each record, in order.
    fates: Vec<WriteOutcome>,
    requests: Vec<Request>,
    stored: usize,
    misconfigured: Option<StoreError>,
    took: Duration,
}

/// Runs on a clock that advances only while everything is waiting.
fn on_paused_clock<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(work)
}

/// Writes `count` entries, each of its own record, to a store that answers its requests with `replies`, in turn, and
/// then normally.
fn write_to(count: usize, replies: Vec<Reply>) -> (Outcome, MemoryStore) {
    write_within(LIMIT, count, MemoryStore::replying(replies))
}

fn write_within(limit: Duration, count: usize, store: MemoryStore) -> (Outcome, MemoryStore) {
    let entries = entries(count);
    let outcome = on_paused_clock(async {
        let start = Clock::System.instant();
        let mut writer = Writer::new(&store, Clock::System, start + limit);
        for (record, entry) in entries.iter().enumerate() {
            writer.add(record, vec![entry.clone()]);
        }
        let mut fates = vec![None; count];
        let (mut misconfigured, mut running) = (None, true);
        while running {
            match timeout_at(start + limit, writer.next()).await {
                Ok(Some(Ok(written))) => assert_eq!(fates[written.record].replace(written.outcome), None, "said twice"),
                Ok(Some(Err(error))) => (misconfigured, running) = (Some(error), false),
                Ok(None) | Err(_) => running = false,
            }
        }
        let took = Clock::System.instant() - start;
        let Finished { unsettled, requests, stored } = writer.finish();
        for written in unsettled {
            assert_eq!(fates[written.record].replace(written.outcome), None, "said twice");
        }
        let fates = fates.into_iter().map(|fate| fate.expect("each record has a fate")).collect();
        Outcome { fates, requests, stored, misconfigured, took }
    });
    for (entry, fate) in entries.iter().zip(&outcome.fates) {
        if *fate == WriteOutcome::Stored {
            assert!(store.contains(entry.id), "said to be stored, and is not");
        }
    }
    assert_eq!(outcome.stored, outcome.fates.iter().filter(|fate| **fate == WriteOutcome::Stored).count());
    (outcome, store)
}

#[test]
fn a_batch_of_a_hundred_takes_the_time_of_one_request() {
    let (outcome, _) = write_to(100, vec![Reply::Slow(Duration::from_millis(20)); 4]);
    assert_eq!((outcome.stored, outcome.requests.len(), outcome.took), (100, 4, Duration::from_millis(20)));
}

#[test]
fn a_request_too_many_waits_for_an_answer() {
    let slow = |count| write_to(count * MAX_BATCH, vec![Reply::Slow(Duration::from_millis(20)); count]).0.took;
    for (requests, took) in [(16, 20), (17, 40), (48, 40), (49, 60)] {
        assert_eq!(slow(requests), Duration::from_millis(took), "{requests} requests");
    }
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
        let (outcome, _) = write_to(60, replies.clone());
        assert_eq!(outcome.stored, 60, "{replies:?}");
        assert!(outcome.requests.iter().any(|request| request.retries > 0), "{replies:?}");
    }
}

#[test]
fn a_store_that_never_answers_is_left_at_the_deadline_and_nothing_counts_as_stored() {
    let (outcome, _) = write_to(300, vec![Reply::Never; 10_000]);
    assert!(outcome.took <= LIMIT);
    assert_eq!(outcome.stored, 0);
    assert!(outcome.requests.iter().all(|request| request.result.is_err()));
}

#[test]
fn an_invalid_entry_is_found_and_costs_the_others_nothing() {
    let (outcome, _) = write_within(LIMIT, 100, MemoryStore::rejecting([3, 77]));
    let rejected: Vec<_> = (0..100)
        .filter(|index| outcome.fates[*index] == WriteOutcome::Rejected(vec![entries(100)[*index].id]))
        .collect();
    assert_eq!((rejected.as_slice(), outcome.stored), (&[3, 77][..], 98));
}

#[test]
fn a_wrong_table_ends_it_at_once() {
    let (outcome, _) = write_to(100, vec![Reply::Fail(Failure::Misconfigured)]);
    assert!(outcome.misconfigured.is_some());
    assert_eq!(outcome.took, Duration::ZERO);
}

#[test]
fn a_refused_request_is_not_repeated() {
    let (outcome, _) = write_to(25, vec![Reply::Fail(Failure::Refused)]);
    assert_eq!((outcome.requests.len(), outcome.stored), (1, 0));
}

#[test]
fn a_request_that_hangs_leaves_time_for_a_second_try_however_near_the_deadline_is() {
    for limit in [Duration::from_mins(1), Duration::from_secs(4), Duration::from_millis(200)] {
        let (outcome, _) = write_within(limit, 1, MemoryStore::replying(vec![Reply::Never]));
        assert_eq!(outcome.stored, 1, "{limit:?}");
        assert!(outcome.took <= MAX_ATTEMPT + FIRST_WAIT, "{:?}", outcome.took);
    }
}

#[test]
fn no_request_is_sent_with_no_time_left_for_an_answer() {
    for limit in [Duration::ZERO, Duration::from_millis(9)] {
        let (outcome, _) = write_within(limit, 1, MemoryStore::default());
        assert_eq!((outcome.requests, outcome.fates), (vec![], vec![WriteOutcome::Unanswered]), "{limit:?}");
    }
}

#[test]
fn waits_are_drawn_up_to_a_limit_that_doubles() {
    fastrand::seed(7);
    let mut longest = [Duration::ZERO; 8];
    for _ in 0..100 {
        let store = MemoryStore::replying(vec![Reply::Fail(Failure::Throttled); 8]);
        let (outcome, _) = write_within(Duration::from_mins(1), 1, store);
        for (longest, pair) in longest.iter_mut().zip(outcome.requests.windows(2)) {
            *longest = (*longest).max(pair[1].interval.started - pair[0].interval.ended);
        }
    }
    for (longest, limit) in longest.into_iter().zip([50, 100, 200, 400, 800, 1_600, 2_000, 2_000]) {
        // Tokio's clock has a resolution of milliseconds.
        let limit = Duration::from_millis(limit);
        assert!(longest <= limit + Duration::from_millis(1) && longest > limit * 9 / 10, "{longest:?} of {limit:?}");
    }
}

/// Operators see it as the reason of the failed record.
#[test]
fn an_entry_that_is_not_stored_says_why() {
    for (reply, reason) in [
        (Reply::Fail(Failure::Refused), Reason::DynamoDb("Refused".to_owned())),
        (Reply::Fail(Failure::Throttled), Reason::DynamoDb("Throttled".to_owned())),
        (Reply::Unprocessed(25), Reason::Unprocessed),
        (Reply::Never, Reason::Timeout),
    ] {
        let (outcome, _) = write_to(2, vec![reply; 10_000]);
        let reasons = outcome.fates.iter().map(|fate| match fate {
            WriteOutcome::Unknown(cause) if !cause.message.is_empty() => &cause.reason,
            other => panic!("{reply:?}: {other:?}"),
        });
        assert_eq!(reasons.collect::<Vec<_>>(), [&reason, &reason], "{reply:?}");
    }
}

#[test]
fn an_entry_that_two_records_have_is_written_once_and_settles_both() {
    let store = MemoryStore::default();
    let entry = entries(1).remove(0);
    on_paused_clock(async {
        let mut writer = Writer::new(&store, Clock::System, Clock::System.instant() + LIMIT);
        writer.add(0, vec![entry.clone()]);
        writer.add(1, vec![entry.clone()]);
        for record in 0..2 {
            let written = writer.next().await.unwrap().unwrap();
            assert_eq!((written.record, written.outcome, written.stored), (record, WriteOutcome::Stored, 1));
        }
        // It is already stored.
        writer.add(2, vec![entry]);
        assert_eq!(writer.next().await.unwrap().unwrap().record, 2);
        let finished = writer.finish();
        assert_eq!((finished.requests.len(), finished.stored, finished.unsettled.len()), (1, 1, 0));
    });
}

/// They have already waited for their object.
#[test]
fn entries_that_come_later_go_first() {
    let store = MemoryStore::replying(vec![Reply::Slow(Duration::from_millis(20)); 100]);
    let entries = entries(20 * MAX_BATCH + 1);
    on_paused_clock(async {
        let start = Clock::System.instant();
        let mut writer = Writer::new(&store, Clock::System, start + LIMIT);
        for (record, entry) in entries[1..].iter().enumerate() {
            writer.add(record + 1, vec![entry.clone()]);
        }
        writer.next().await.unwrap().unwrap();
        writer.add(0, vec![entries[0].clone()]);
        loop {
            let written = writer.next().await.unwrap().unwrap();
            if written.record == 0 {
                assert_eq!(written.at - start, Duration::from_millis(40));
                break;
            }
        }
    });
}

/// A table that accepts this many requests at once, and throttles the others.
struct Busy {
    takes: usize,
    now: std::cell::Cell<usize>,
    most: std::cell::Cell<usize>,
    throttled: std::cell::Cell<usize>,
}

impl Store for Busy {
    async fn put(&self, _: &[&EncodedEntry]) -> Result<Put, StoreError> {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
        let is_throttled = self.now.get() > self.takes;
        sleep(Duration::from_millis(10)).await;
        self.now.set(self.now.get() - 1);
        if is_throttled {
            self.throttled.set(self.throttled.get() + 1);
            let code = "ThrottlingException".to_owned();
            return Err(StoreError { failure: Failure::Throttled, code, message: String::new(), request_id: None });
        }
        Ok(Put::default())
    }
}

#[test]
fn what_is_left_of_several_batches_is_sent_together() {
    // Each of forty batches gives back one entry, and waits while the small window is full.
    let slow = Reply::SlowAndUnprocessed(Duration::from_millis(200), 1);
    let (outcome, _) = write_within(Duration::from_mins(2), 40 * MAX_BATCH, MemoryStore::replying(vec![slow; 40]));
    assert_eq!(outcome.stored, 40 * MAX_BATCH);
    assert!(outcome.requests.len() < 50, "{} requests", outcome.requests.len());
}

proptest! {
    /// Whatever the store does: what counts as stored is stored, and the deadline is kept.
    #[test]
    fn stored_means_stored(count in 0_usize..120, replies in prop::collection::vec(any_reply(), 0..20)) {
        let (outcome, _) = write_to(count, replies);
        prop_assert!(outcome.took <= LIMIT);
        prop_assert_eq!(outcome.fates.len(), count);
        let is_sound = |request: &Request| request.entries <= MAX_BATCH && request.interval.started <= request.interval.ended;
        prop_assert!(outcome.requests.iter().all(is_sound));
    }
}

proptest! {
    // Each case is 400 requests.
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// However few requests a table takes at once: after a while the writer sends about as many, everything is stored,
    /// and few requests are throttled.
    #[test]
    fn requests_in_flight_settle_at_what_the_table_takes(takes in 1_usize..=8, seed in any::<u64>()) {
        fastrand::seed(seed);
        let store = Busy { takes, now: 0.into(), most: 0.into(), throttled: 0.into() };
        let batches = 400;
        let requests = on_paused_clock(async {
            let mut writer = Writer::new(&store, Clock::System, Clock::System.instant() + Duration::from_mins(10));
            for (record, entry) in entries(batches * MAX_BATCH).into_iter().enumerate() {
                writer.add(record, vec![entry]);
            }
            let mut stored = 0;
            while let Some(written) = writer.next().await {
                assert_eq!(written.unwrap().outcome, WriteOutcome::Stored);
                stored += 1;
            }
            assert_eq!(stored, batches * MAX_BATCH);
            writer.finish().requests
        });
        prop_assert_eq!(store.most.get(), 16, "it begins with as many as it may");
        // With a constant sixteen in flight, all but `takes` of sixteen requests would be throttled: less than half as
        // many are.
        let (throttled, all) = (store.throttled.get(), requests.len());
        prop_assert!(throttled * 16 * 2 <= all * (16 - takes), "{throttled} of {all} requests were throttled");
        // Nor does it stay small: the table gets as many requests as it can take.
        let last = requests.last().unwrap().interval.ended - requests[0].interval.started;
        let ideal = Duration::from_millis(10) * u32::try_from(batches.div_ceil(takes)).unwrap();
        prop_assert!(last <= ideal * 3 / 2, "{last:?}, and {ideal:?} would do");
    }
}

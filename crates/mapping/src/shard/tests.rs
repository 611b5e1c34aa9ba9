use proptest::prelude::*;

use super::*;

/// Sequence numbers as long as DynamoDB's, including a change of length: 998, 999, 1000, …
fn number(index: usize) -> SequenceNumber {
    SequenceNumber::new(format!("{}{:018}", if index < 2 { "998" } else { "1000" }, index))
}

fn record(index: usize) -> StreamRecord {
    StreamRecord {
        sequence_number: number(index),
        created_ms: 0,
        event_name: "INSERT".to_owned(),
        json: "{}".to_owned(),
    }
}

fn shard(settings: MappingSettings, records: usize) -> ShardState {
    let mut shard = ShardState::new(settings);
    for index in 0..records {
        shard.push(record(index), 0);
    }
    shard
}

fn indexes(records: &[Arc<StreamRecord>]) -> Vec<usize> {
    let index = |record: &Arc<StreamRecord>| {
        let digits = record.sequence_number.as_str();
        digits[digits.len() - 18..].parse().unwrap()
    };
    records.iter().map(index).collect()
}

#[allow(clippy::unnecessary_wraps, reason = "an answer is a `Result`")]
fn returned(body: &str) -> Answer {
    Ok(body.as_bytes().to_vec())
}

fn failing(indexes: &[usize]) -> Answer {
    let failures: Vec<_> =
        indexes.iter().map(|index| serde_json::json!({ "itemIdentifier": number(*index) })).collect();
    returned(&serde_json::json!({ "batchItemFailures": failures }).to_string())
}

fn error() -> Answer {
    Err("it failed".to_owned())
}

/// The records of the next step, which must be an invocation.
fn invoked(shard: &mut ShardState, now: i64) -> Vec<usize> {
    match shard.next(now) {
        Step::Invoke(records) => indexes(&records),
        step => panic!("{step:?}"),
    }
}

#[test]
fn what_an_answer_means() {
    let records: Vec<_> = (0..4).map(|index| Arc::new(record(index))).collect();
    let one = number(1);
    let successes =
        ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#, r#"{"other":1}"#];
    for body in successes {
        assert_eq!(judge(&returned(body), &records, true), Verdict::Success, "{body}");
    }
    let failures = [
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#.to_owned(),
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#.to_owned(),
        r#"{"batchItemFailures":[{"itemIdentifier":5}]}"#.to_owned(),
        r#"{"batchItemFailures":[null]}"#.to_owned(),
        r#"{"batchItemFailures":{}}"#.to_owned(),
        r#"{"batchItemFailures":[{"itemIdentifier":"12345"}]}"#.to_owned(),
        format!(r#"{{"batchItemFailures":[{{"identifier":"{one}"}}]}}"#),
        format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"{one}"}},{{"itemIdentifier":"12345"}}]}}"#),
        "\"text\"".to_owned(),
        "{".to_owned(),
    ];
    for body in failures {
        let verdict = judge(&returned(&body), &records, true);
        assert!(matches!(verdict, Verdict::Failed(_)), "{body}: {verdict:?}");
        // Without ReportBatchItemFailures, the answer is ignored.
        assert_eq!(judge(&returned(&body), &records, false), Verdict::Success, "{body}");
    }
    // As text, 998… would be larger.
    assert_eq!(judge(&failing(&[3, 1, 2]), &records, true), Verdict::FailedFrom(1));
    assert_eq!(judge(&error(), &records, true), Verdict::Failed("it failed".to_owned()));
    assert_eq!(judge(&error(), &records, false), Verdict::Failed("it failed".to_owned()));
}

#[test]
fn a_batch_closes_when_it_is_full_or_its_window_is_over() {
    let window = Duration::from_secs(2);
    let settings = MappingSettings { batch_size: 3, batching_window: window, ..MappingSettings::default() };
    let mut shard = shard(settings, 4);
    assert_eq!(invoked(&mut shard, 0), [0, 1, 2]);
    assert_eq!(shard.answered(&returned("null"), 10), [Effect::CheckpointAdvanced(number(2))]);
    assert_eq!(shard.next(1_000), Step::Wait(Some(2_000)));
    assert_eq!(invoked(&mut shard, 2_000), [3]);
    shard.answered(&returned("null"), 2_000);
    assert!(shard.is_idle());
    assert_eq!(shard.next(9_000), Step::Wait(None));
}

#[test]
fn at_most_one_batch_is_gathered_ahead_and_idle_is_only_when_all_is_done() {
    let mut shard = shard(MappingSettings { batch_size: 2, ..MappingSettings::default() }, 0);
    assert!(shard.is_idle());
    for (index, room) in [(0, 1), (1, 0), (2, 0)] {
        shard.push(record(index), 0);
        assert_eq!(shard.room(), room);
        assert!(!shard.is_idle());
    }
    assert_eq!(invoked(&mut shard, 0), [0, 1]);
    assert_eq!(shard.room(), 1);
    shard.answered(&returned("{}"), 0);
    assert_eq!(invoked(&mut shard, 0), [2]);
    assert!(!shard.is_idle(), "a batch is under way");
    shard.answered(&returned("{}"), 0);
    assert!(shard.is_idle());
}

#[test]
fn a_batch_closes_before_it_is_larger_than_an_event_may_be_window_or_not() {
    // With the commas between them, four of these are one byte too large.
    let bytes = (PAYLOAD_LIMIT + 1 - "{\"Records\":[,,,]}".len()) / 4;
    let mut shard =
        ShardState::new(MappingSettings { batching_window: Duration::from_secs(2), ..MappingSettings::default() });
    for index in 0..4 {
        shard.push(StreamRecord { json: "x".repeat(bytes), ..record(index) }, 0);
    }
    let Step::Invoke(records) = shard.next(0) else { panic!("no invocation") };
    assert_eq!(indexes(&records), [0, 1, 2]);
    assert!(crate::event(&records).len() <= PAYLOAD_LIMIT);
    assert_eq!(PAYLOAD_LIMIT, 6_291_456, "6 MiB");
}

#[test]
fn a_record_larger_than_an_event_may_be_goes_alone() {
    let mut shard = ShardState::new(MappingSettings::default());
    shard.push(StreamRecord { json: "x".repeat(PAYLOAD_LIMIT), ..record(0) }, 0);
    shard.push(record(1), 0);
    assert_eq!(invoked(&mut shard, 0), [0]);
}

#[test]
fn reported_failures_move_the_checkpoint_to_the_lowest_and_use_up_no_retry_when_bisecting() {
    let settings = MappingSettings { maximum_retry_attempts: Some(0), ..MappingSettings::default() };
    let mut shard = shard(settings, 5);
    assert_eq!(invoked(&mut shard, 0), [0, 1, 2, 3, 4]);
    let effects = shard.answered(&failing(&[4, 2]), 0);
    assert_eq!(effects, [Effect::CheckpointAdvanced(number(1)), Effect::Bisected(number(2))]);
    assert_eq!(invoked(&mut shard, 0), [2, 3, 4]);
    shard.answered(&returned("{}"), 0);
    assert!(shard.is_idle());
}

#[test]
fn reported_failures_are_a_retry_where_batches_are_not_bisected() {
    let settings = MappingSettings { bisect_batch_on_function_error: false, ..MappingSettings::default() };
    let mut shard = shard(settings, 3);
    invoked(&mut shard, 0);
    let effects = shard.answered(&failing(&[1]), 0);
    assert_eq!(effects[0], Effect::CheckpointAdvanced(number(0)));
    assert!(matches!(effects[1], Effect::Retry { records: 2, retry: 1, .. }), "{effects:?}");
    assert_eq!(shard.next(0), Step::Wait(Some(500)));
    assert_eq!(invoked(&mut shard, 500), [1, 2]);
}

#[test]
fn a_failed_batch_is_halved_until_the_bad_record_is_alone() {
    let settings = MappingSettings { maximum_retry_attempts: Some(1), ..MappingSettings::default() };
    let mut shard = shard(settings, 4);
    let mut now = 0;
    let mut delivered = Vec::new();
    let mut given_up = Vec::new();
    loop {
        match shard.next(now) {
            Step::Invoke(records) => {
                let batch = indexes(&records);
                let answer = if batch.contains(&2) { error() } else { returned("{}") };
                shard.answered(&answer, now);
                delivered.push(batch);
            }
            Step::GiveUp { records, condition, invocations } => {
                given_up.push((indexes(&records), condition, invocations));
                shard.gave_up();
            }
            Step::Wait(Some(until)) => now = until,
            Step::Wait(None) => break,
        }
    }
    assert_eq!(delivered, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![2], vec![3]]);
    assert_eq!(given_up, [(vec![2], Condition::RetryAttemptsExhausted, 4)]);
}

#[test]
fn the_waits_between_retries_double_up_to_the_longest() {
    let settings = MappingSettings { longest_retry_delay: Duration::from_secs(3), ..MappingSettings::default() };
    let mut shard = shard(settings, 1);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..5 {
        invoked(&mut shard, now);
        shard.answered(&error(), now);
        let Step::Wait(Some(until)) = shard.next(now) else { panic!("no wait") };
        waits.push(until - now);
        now = until;
    }
    assert_eq!(waits, [500, 1000, 2000, 3000, 3000]);
}

#[test]
fn records_that_are_too_old_are_given_up_and_younger_ones_are_delivered() {
    let settings = MappingSettings { maximum_record_age: Some(Duration::from_mins(1)), ..MappingSettings::default() };
    let mut shard = ShardState::new(settings);
    for (index, created_ms) in [0, 1_000, 50_000].into_iter().enumerate() {
        shard.push(StreamRecord { created_ms, ..record(index) }, 0);
    }
    let Step::GiveUp { records, condition, invocations } = shard.next(62_000) else { panic!("not given up") };
    assert_eq!((indexes(&records), condition, invocations), (vec![0, 1], Condition::RecordAgeExceeded, 0));
    assert_eq!(shard.gave_up(), [Effect::CheckpointAdvanced(number(1))]);
    assert_eq!(invoked(&mut shard, 62_000), [2]);
}

#[test]
fn a_record_of_just_the_maximum_age_is_still_delivered() {
    let settings = MappingSettings { maximum_record_age: Some(Duration::from_mins(1)), ..MappingSettings::default() };
    assert_eq!(invoked(&mut shard(settings.clone(), 1), 60_000), [0]);
    assert!(matches!(shard(settings.clone(), 1).next(60_001), Step::GiveUp { .. }));
    let for_ever = MappingSettings { maximum_record_age: Some(Duration::MAX), ..settings };
    assert_eq!(invoked(&mut shard(for_ever, 1), 60_001), [0]);
}

#[test]
fn a_destination_that_refuses_is_asked_again_and_loses_nothing() {
    let settings = MappingSettings { maximum_retry_attempts: Some(0), ..MappingSettings::default() };
    let mut shard = shard(settings, 1);
    invoked(&mut shard, 0);
    shard.answered(&error(), 0);
    assert!(matches!(shard.next(0), Step::GiveUp { .. }));
    shard.postpone(0);
    assert_eq!(shard.next(0), Step::Wait(Some(500)));
    assert!(matches!(shard.next(500), Step::GiveUp { .. }));
    shard.postpone(500);
    assert_eq!(shard.next(500), Step::Wait(Some(1_500)));
    assert!(matches!(shard.next(1_500), Step::GiveUp { .. }));
    assert_eq!(shard.gave_up(), [Effect::CheckpointAdvanced(number(0))]);
    assert!(shard.is_idle());
}

#[test]
fn the_waits_after_throttles_begin_anew_once_the_function_was_invoked() {
    let mut shard = shard(MappingSettings::default(), 2);
    let mut now = 0;
    let mut throttle = |shard: &mut ShardState| {
        while let Step::Wait(Some(until)) = shard.next(now) {
            now = until;
        }
        shard.postpone(now);
        let Step::Wait(Some(until)) = shard.next(now) else { panic!("no wait") };
        until - now
    };
    let waits: Vec<_> = (0..7).map(|_| throttle(&mut shard)).collect();
    assert_eq!(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000]);
    invoked(&mut shard, 63_500);
    // The failed batch is halved, and its halves have not been throttled yet.
    shard.answered(&error(), 63_500);
    assert_eq!(throttle(&mut shard), 500);
}

#[test]
fn while_a_step_is_under_way_there_is_no_other() {
    let mut shard = shard(MappingSettings::default(), 2);
    invoked(&mut shard, 0);
    assert_eq!(shard.next(0), Step::Wait(None));
    assert_eq!(shard.gave_up(), []);
    shard.answered(&returned("{}"), 0);
    assert_eq!(shard.answered(&returned("{}"), 0), []);
}

/// How the function in a property test answers a batch.
#[derive(Debug, Clone)]
enum Scripted {
    Success,
    /// Reports these records, as fractions of the batch.
    Report(Vec<prop::sample::Index>),
    Nonsense,
    Error,
    Unreadable,
}

fn scripted() -> impl Strategy<Value = Scripted> {
    prop_oneof![
        2 => Just(Scripted::Success),
        3 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Scripted::Report),
        1 => Just(Scripted::Nonsense),
        3 => Just(Scripted::Error),
        1 => Just(Scripted::Unreadable),
    ]
}

fn settings() -> impl Strategy<Value = MappingSettings> {
    (1..12_usize, 0..3_u64, prop::option::of(0..4_u32), prop::option::of(1..100_u64), any::<bool>(), any::<bool>())
        .prop_map(|(batch_size, window, retries, age, bisect, report)| MappingSettings {
            batch_size,
            batching_window: Duration::from_secs(window),
            maximum_retry_attempts: retries,
            maximum_record_age: age.map(Duration::from_secs),
            bisect_batch_on_function_error: bisect,
            report_batch_item_failures: report,
            ..MappingSettings::default()
        })
}

proptest! {
    #[test]
    fn whatever_the_answers_every_record_is_done_once_in_order_and_none_above_a_failure(
        settings in settings(),
        count in 0..40_usize,
        script in prop::collection::vec(scripted(), 0..60),
        refusals in prop::collection::vec(any::<bool>(), 0..10),
    ) {
        let mut shard = shard(settings.clone(), count);
        let (mut script, mut refusals) = (script.into_iter(), refusals.into_iter());
        let mut now = 0_i64;
        // How many records, from the first, are done.
        let mut done = 0;
        let mut steps = 0;
        loop {
            steps += 1;
            prop_assert!(steps < 5_000, "it does not end");
            match shard.next(now) {
                Step::Wait(None) => break,
                Step::Wait(Some(until)) => {
                    prop_assert!(until > now);
                    now = until;
                }
                Step::Invoke(records) => {
                    let batch = indexes(&records);
                    prop_assert!(batch.len() <= settings.batch_size);
                    // Always the oldest records that are not done, without a gap.
                    prop_assert_eq!(&batch, &(done..done + batch.len()).collect::<Vec<_>>());
                    // An empty script means that the function has recovered.
                    let mut lowest = None;
                    let mut whole = true;
                    let answer = match script.next().unwrap_or(Scripted::Success) {
                        Scripted::Success => { whole = false; returned("{\"batchItemFailures\":[]}") }
                        Scripted::Report(picks) => {
                            let picked: Vec<_> = picks.iter().map(|pick| batch[pick.index(batch.len())]).collect();
                            lowest = picked.iter().min().copied();
                            whole = false;
                            failing(&picked)
                        }
                        Scripted::Nonsense => returned("{\"batchItemFailures\":[{\"itemIdentifier\":\"1\"}]}"),
                        Scripted::Unreadable => returned("nonsense"),
                        Scripted::Error => error(),
                    };
                    let ignored = !settings.report_batch_item_failures && answer.is_ok();
                    let effects = shard.answered(&answer, now);
                    let advanced = effects.iter().find_map(|effect| match effect {
                        Effect::CheckpointAdvanced(to) => Some(to.clone()),
                        _ => None,
                    });
                    let expected = match (ignored, whole, lowest) {
                        (true, ..) | (false, false, None) => done + batch.len(),
                        (false, _, Some(lowest)) => lowest,
                        (false, true, None) => done,
                    };
                    let to = (expected > done).then(|| number(expected - 1));
                    prop_assert_eq!(advanced, to);
                    done = expected;
                }
                Step::GiveUp { records, condition, .. } => {
                    let batch = indexes(&records);
                    prop_assert_eq!(&batch, &(done..done + batch.len()).collect::<Vec<_>>());
                    match condition {
                        Condition::RecordAgeExceeded => prop_assert!(settings.maximum_record_age.is_some()),
                        Condition::RetryAttemptsExhausted => prop_assert!(settings.maximum_retry_attempts.is_some()),
                    }
                    if refusals.next().unwrap_or(false) {
                        shard.postpone(now);
                    } else {
                        done += batch.len();
                        prop_assert_eq!(shard.gave_up(), [Effect::CheckpointAdvanced(number(done - 1))]);
                    }
                }
            }
        }
        prop_assert_eq!(done, count);
        prop_assert!(shard.is_idle());
    }
}

#[test]
fn the_defaults_are_what_is_deployed() {
    let deployed = include_str!("../../../../serverless/trigger.yml");
    let MappingSettings { batch_size, maximum_record_age, maximum_retry_attempts, .. } = MappingSettings::default();
    assert_eq!(maximum_retry_attempts, None);
    for line in [
        format!("BatchSize: {batch_size}"),
        format!("MaximumRecordAgeInSeconds: {}", maximum_record_age.unwrap().as_secs()),
        "MaximumRetryAttempts: -1".to_owned(),
        "FunctionResponseTypes: [ReportBatchItemFailures]".to_owned(),
        "BisectBatchOnFunctionError: true".to_owned(),
    ] {
        assert!(deployed.lines().any(|deployed| deployed.trim() == line), "{line} is not deployed");
    }
}

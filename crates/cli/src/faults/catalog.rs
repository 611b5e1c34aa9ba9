//! All faults: what goes wrong, and which alarms must fire.

use std::time::Duration;

use config_audit_simulator::change::RecordDefect;
use config_audit_simulator::fault::Fault;
use config_audit_simulator::scenario::{Millis, Scenario, WriteKind};
use config_audit_simulator::value::Value;

use super::case::{Expected, FaultCase, notify, page};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// When a fault begins. By then the alarms are in state OK.
pub const BEGIN: Millis = 2 * HOUR;
/// When a lasting fault ends: after longer than Lambda retries and the stream keeps its records.
const END: Millis = BEGIN + 28 * HOUR;
/// Changes per hour.
const TRAFFIC: u64 = 40;

/// The alarms that follow when no record is audited for a day, although the function is invoked.
const OUTAGE: &[&str] = &[
    "RecordsFailing",
    "DurationHigh",
    "IteratorAgeHigh",
    "IteratorAgeCritical",
    "RecordsGivenUp",
    // When the fault has ended and the records that waited are audited.
    "FreshnessBurnFast",
    "FreshnessBurnSlow",
];
/// The same when the invocations emit no metrics.
const SILENT_OUTAGE: &[&str] = &[
    "TelemetryMissing",
    "TelemetryMissingHourly",
    "IteratorAgeHigh",
    "IteratorAgeCritical",
    "RecordsGivenUp",
    "FreshnessBurnFast",
    "FreshnessBurnSlow",
];

/// All faults.
#[must_use]
pub fn all() -> Vec<FaultCase> {
    let groups = [of_the_store(), of_the_function(), of_records(), of_telemetry(), with_consequences(), that_heal()];
    groups.into_iter().flatten().collect()
}

/// There is no such fault.
#[derive(Debug, thiserror::Error)]
#[error("no fault has {wanted:?} in its name; choose one of the {} above", known.len())]
pub struct UnknownFault {
    /// What was asked for.
    pub wanted: String,
    /// The names of all faults. The commands list them above the error.
    pub known: Vec<&'static str>,
}

/// The fault of this name, or else all faults whose names contain it.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<Vec<FaultCase>, UnknownFault> {
    let (exact, others) = all().into_iter().partition::<Vec<_>, _>(|case| case.name == name);
    if !exact.is_empty() {
        return Ok(exact);
    }
    let (matching, others) = others.into_iter().partition::<Vec<_>, _>(|case| case.name.contains(name));
    if matching.is_empty() {
        let known = others.iter().map(|case| case.name).collect();
        return Err(UnknownFault { wanted: name.to_owned(), known });
    }
    Ok(matching)
}

fn case(name: &'static str, expected: &[Expected], may_follow: &[&'static str], scenario: Scenario) -> FaultCase {
    // These faults exist from the start.
    let begins = if scenario.wrong_view_type || scenario.clock_ahead != 0 { 0 } else { BEGIN };
    let (expected, may_follow) = (expected.to_vec(), may_follow.to_vec());
    FaultCase { name, begins, expected, may_follow, pages: 1, stay_on: &[], scenario }
}

fn of_the_store() -> Vec<FaultCase> {
    let failing = page("RecordsFailing");
    let throttled = [failing, notify("AuditTableThrottled")];
    vec![
        case("the Audit table throttles every write", &throttled, OUTAGE, lasting(Fault::StoreThrottles)),
        case("the Audit table's index throttles every write", &throttled, OUTAGE, lasting(Fault::IndexThrottles)),
        case("DynamoDB gives items back unprocessed", &throttled, OUTAGE, lasting(Fault::StoreGivesBack)),
        case("DynamoDB answers 500", &[failing], OUTAGE, lasting(Fault::StoreFails)),
        case(
            "DynamoDB does not answer",
            &[failing, notify("DurationHigh"), notify("WriteLatencyHigh")],
            OUTAGE,
            lasting(Fault::StoreIsSilent),
        ),
        case("DynamoDB's answers are lost", &[failing], OUTAGE, lasting(Fault::StoreFailsAfterWriting)),
        case("DynamoDB takes seconds", &[notify("WriteLatencyHigh")], &[], lasting(Fault::StoreIsSlow)),
        case("DynamoDB refuses every write, and nobody knows why", &[failing], OUTAGE, lasting(Fault::StoreRefuses)),
        case(
            "access to the table or to its encryption key is denied, or the table is deleted",
            &[page("InvocationErrors")],
            OUTAGE,
            lasting(Fault::StoreIsMisconfigured),
        ),
    ]
}

fn of_the_function() -> Vec<FaultCase> {
    let errors = page("InvocationErrors");
    let throttles = notify("InvocationThrottles");
    vec![
        case("the function panics", &[errors], OUTAGE, lasting(Fault::StorePanics)),
        case("the function runs out of memory", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionKilled)),
        case("the function crashes at start", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionDoesNotStart)),
        case("the function crashes after its work", &[errors], OUTAGE, lasting(Fault::AnswerLost)),
        case("the function times out", &[errors, notify("DurationHigh")], SILENT_OUTAGE, lasting(Fault::FunctionHangs)),
        case("the stream has no old images", &[errors], OUTAGE, {
            let mut scenario = healthy();
            scenario.wrong_view_type = true;
            scenario
        }),
        // Records are late in bursts that are hours apart, and each burst pages.
        case(
            "seven in ten invocations are throttled",
            &[throttles, page("FreshnessBurnFast").after_three_late_records()],
            &["FreshnessBurnSlow"],
            healthy().with(Fault::FunctionThrottled, BEGIN, END, 70),
        )
        .pages(8),
        case(
            "every invocation is throttled",
            &[throttles, page("InvocationsBlocked")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            lasting(Fault::FunctionThrottled),
        ),
        case(
            "the mapping is disabled",
            &[page("MappingStopped")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            lasting(Fault::MappingDisabled),
        )
        .stays_on(&["MappingStopped"]),
        case("the mapping is disabled, and an hour later nobody changes anything", &[page("MappingStopped")], &[], {
            let mut scenario = healthy();
            scenario.writes.retain(|write| write.at < BEGIN + HOUR);
            scenario.with(Fault::MappingDisabled, BEGIN, BEGIN + 20 * HOUR, 100)
        })
        .stays_on(&["MappingStopped"]),
    ]
}

fn of_records() -> Vec<FaultCase> {
    let quarantined = page("RecordsQuarantined");
    let failing = page("RecordsFailing");
    let refused = |scenario: Scenario| scenario.with(Fault::BucketRefuses, BEGIN, END, 100);
    // There is one such record every two to three hours.
    let again = |fault, defect| case(fault, &[quarantined], &[], with_defect(defect)).pages(12);
    // Lambda puts what the failure bucket refused into it in the end.
    let refusing = |fault, scenario| case(fault, &[failing], OUTAGE, scenario).may_follow("RecordsQuarantined");
    vec![
        again("records without a key", RecordDefect::NoKey),
        again("records that cannot be decoded", RecordDefect::Undecodable),
        again("records whose entry DynamoDB rejects", RecordDefect::Rejected),
        refusing("records without a key, and the failure bucket refuses", refused(with_defect(RecordDefect::NoKey))),
        refusing("records without a key, and the failure bucket does not answer", {
            with_defect(RecordDefect::NoKey).with(Fault::BucketIsSilent, BEGIN, END, 100)
        }),
        refusing("records without a key, and no failure bucket", {
            let mut scenario = with_defect(RecordDefect::NoKey);
            scenario.has_bucket = false;
            scenario
        }),
        refusing("values too large for an entry, and the failure bucket refuses", refused(with_large_values())),
    ]
}

fn of_telemetry() -> Vec<FaultCase> {
    let refused = notify("EmfRefused");
    let missing = page("TelemetryMissing");
    let clock = |ahead| {
        let mut scenario = healthy();
        scenario.clock_ahead = ahead;
        scenario
    };
    let hourly = &["TelemetryMissingHourly"];
    vec![
        case("every line of the log is cut", &[refused, missing], hourly, lasting(Fault::EmfMalformed)),
        case("every line of the log breaks the format", &[refused, missing], hourly, lasting(Fault::EmfInvalid)),
        case("one line of the log in five is cut", &[refused.after("EMFParsingErrors", 1.0)], &[], {
            healthy().with(Fault::EmfMalformed, BEGIN, END, 20)
        }),
        case("the log does not arrive", &[missing], hourly, lasting(Fault::TelemetryLost)),
        case(
            "the log does not arrive, of a table that changes once an hour",
            &[notify("TelemetryMissingHourly")],
            &[],
            Scenario::of_traffic(7, END / HOUR + 1, |_| 1).with(Fault::TelemetryLost, BEGIN, END, 100),
        ),
        case("the function miscounts its records", &[page("BooksDoNotBalance")], &[], {
            healthy().with(Fault::BooksWrong, BEGIN, BEGIN + HOUR, 100)
        }),
        case("the function's clock is an hour ahead", &[missing], &["FreshnessBurnFast", "FreshnessBurnSlow"], {
            clock(3_600_000)
        }),
        case("the function's clock is an hour behind", &[missing], hourly, clock(-3_600_000)),
    ]
}

/// Faults whose alarms fire because of what the fault leads to.
fn with_consequences() -> Vec<FaultCase> {
    let failing = || lasting(Fault::StoreFails);
    // For six minutes every 70 minutes no process starts: about one record in a hundred is late.
    let often = (0..24).fold(healthy(), |scenario, time| {
        let from = BEGIN + time * 70 * MINUTE;
        scenario.with(Fault::FunctionDoesNotStart, from, from + 6 * MINUTE, 100)
    });
    vec![
        case(
            "records fail for a day, and grow too old",
            &[
                page("RecordsFailing"),
                notify("IteratorAgeHigh"),
                page("IteratorAgeCritical"),
                page("RecordsGivenUp").after("OnFailureDestinationDeliveredEventCount", 1.0),
            ],
            &["DurationHigh", "FreshnessBurnFast", "FreshnessBurnSlow"],
            failing(),
        ),
        case(
            "records grow too old, and the failure bucket refuses them",
            &[page("DestinationRefused").after("DestinationDeliveryFailures", 1.0)],
            OUTAGE,
            failing().with(Fault::DestinationRefuses, BEGIN, END, 100),
        ),
        case(
            "records grow too old, and the mapping has no destination",
            &[page("RecordsDropped").after("DroppedEventCount", 1.0)],
            OUTAGE,
            failing().with(Fault::DestinationMissing, BEGIN, END, 100),
        ),
        // In one of the 24 times nobody changes anything, so 23 page.
        case(
            "the function fails for six minutes, again and again",
            &[notify("FreshnessBurnSlow").after_three_late_records(), page("InvocationErrors")],
            &["FreshnessBurnFast"],
            often,
        )
        .pages(23),
    ]
}

/// Faults that end. The records that waited are audited then, and nobody is paged again for them.
fn that_heal() -> Vec<FaultCase> {
    let healing = |fault| healthy().with(fault, BEGIN, BEGIN + 3 * HOUR, 100);
    vec![
        case(
            "the table throttles for three hours",
            &[page("RecordsFailing"), notify("AuditTableThrottled")],
            OUTAGE,
            healing(Fault::StoreThrottles),
        ),
        case("the mapping is disabled for three hours", &[page("MappingStopped")], OUTAGE, {
            healing(Fault::MappingDisabled)
        }),
        case(
            "every invocation is throttled for three hours",
            &[page("InvocationsBlocked"), notify("InvocationThrottles")],
            OUTAGE,
            healing(Fault::FunctionThrottled),
        ),
    ]
}

/// Thirty days in which nothing goes wrong that does not resolve itself: days and nights, bursts, idle hours, deployments,
/// short throttles, occasional crashes, and redelivered batches.
#[must_use]
pub fn healthy_month() -> Scenario {
    let per_hour = |hour: u64| match (hour / 24 % 7, hour % 24) {
        // At weekends and at night.
        (5 | 6, _) | (_, 0..6 | 22..) => u64::from(hour.is_multiple_of(3)) * 2,
        (_, 9..18) => 90,
        _ => 15,
    };
    let mut scenario = Scenario::of_traffic(1, 30 * 24, per_hour);
    for day in 0..30 {
        let begin = day * 24 * HOUR;
        let at = |hour: u64, minutes: u64| (begin + hour * HOUR, begin + hour * HOUR + minutes * MINUTE);
        let all_day = at(0, 24 * 60);
        // A deployment replaces the process. The table throttles while it scales up. Other functions use up the concurrency,
        // also at night, when there is only one record to audit. Now and then a request fails.
        let faults = [
            (Fault::FunctionReplaced, at(11, 10), 100),
            (Fault::StoreThrottles, at(10, 3), 70),
            (Fault::StoreThrottles, at(0, 3), 100),
            (Fault::AnswerLost, at(14, 1), 100),
            (Fault::FunctionThrottled, at(16, 3), 50),
            (Fault::FunctionThrottled, at(3, 4), 100),
            (Fault::StoreFails, all_day, 1),
            (Fault::StoreFailsAfterWriting, all_day, 1),
            (Fault::RedeliveredAfterSuccess, all_day, 2),
            (Fault::StaleRedelivery, all_day, 1),
        ];
        for (fault, (from, to), chance) in faults {
            scenario = scenario.with(fault, from, to, chance);
        }
        if day % 7 == 2 {
            scenario = scenario.with_burst(begin + 10 * HOUR + 20 * MINUTE, 2 * MINUTE, 3_000);
        }
    }
    scenario
}

/// More than a day in which nothing goes wrong.
#[must_use]
pub fn healthy() -> Scenario {
    let mut scenario = Scenario::of_traffic(7, END / HOUR + 1, |_| TRAFFIC);
    // AWS does not document how long Lambda waits between retries. The longer the wait, the harder for the alarms.
    scenario.mapping.longest_retry_delay = Duration::from_mins(2);
    scenario
}

fn lasting(fault: Fault) -> Scenario {
    healthy().with(fault, BEGIN, END, 100)
}

/// With this defect in one record of a hundred from `BEGIN` on.
fn with_defect(defect: RecordDefect) -> Scenario {
    let mut scenario = healthy();
    for write in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(100) {
        write.defect = Some(defect);
        if let Some(key) = defect.item_key() {
            key.clone_into(&mut write.key);
        }
    }
    scenario
}

fn with_large_values() -> Scenario {
    let mut scenario = healthy();
    for (index, write) in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(500).enumerate() {
        write.key = format!("LARGE_{index}");
        write.kind = WriteKind::Set(vec![("value", Some(Value::Large(420_000)))]);
    }
    scenario
}

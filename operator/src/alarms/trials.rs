//! The faults that alarms are tried on: what goes wrong, and which alarms are there for it.

use config_audit_simulator::change::{Oddity, Value};
use config_audit_simulator::fault::Fault;
use config_audit_simulator::observed::Sent;
use config_audit_simulator::scenario::{Millis, Scenario, What};

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// When the fault begins: by then the alarms have seen that all is well.
const BEGIN: Millis = 2 * HOUR;
/// Nobody looks for longer than Lambda retries, and than the stream keeps its records.
const END: Millis = BEGIN + 28 * HOUR;
/// Changes an hour.
const TRAFFIC: u64 = 40;

/// One fault, and what it has to set off.
#[derive(Debug)]
pub struct Trial {
    /// The fault, for people.
    pub fault: &'static str,
    /// When it begins.
    pub begin: Millis,
    /// The alarms that are there for it.
    pub meant: Vec<Meant>,
    /// The run.
    pub scenario: Scenario,
}

/// An alarm that has to fire.
#[derive(Debug, Clone, Copy)]
pub struct Meant {
    /// Its logical ID.
    pub alarm: &'static str,
    /// From when its time counts.
    pub since: Since,
}

/// From when the time of an alarm counts.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// When the fault begins.
    Fault,
    /// When this metric first has a value of at least so much: some alarms are there for what a fault leads to.
    First(Sent, f64),
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Trial> {
    let mut all = at_once();
    all.extend(in_the_end());
    all
}

/// Faults that set off their alarms by what they do at once.
fn at_once() -> Vec<Trial> {
    let lasting = |fault: Fault| healthy().with(fault, BEGIN, END, 100);
    let trial = |fault, meant: &[&'static str], scenario: Scenario| Trial {
        fault,
        // Some are there from the start.
        begin: if scenario.wrong_view_type || scenario.clock_ahead > 0 { 0 } else { BEGIN },
        meant: meant.iter().map(|alarm| Meant { alarm, since: Since::Fault }).collect(),
        scenario,
    };
    vec![
        trial(
            "the Audit table throttles every write",
            &["RecordsFailing", "AuditTableThrottled"],
            lasting(Fault::StoreThrottles),
        ),
        trial("DynamoDB answers 500", &["RecordsFailing"], lasting(Fault::StoreFails)),
        trial("DynamoDB does not answer", &["RecordsFailing", "DurationHigh"], lasting(Fault::StoreIsSilent)),
        trial("DynamoDB's answers are lost", &["RecordsFailing"], lasting(Fault::StoreFailsAfterWriting)),
        trial("the table's encryption key is disabled", &["RecordsFailing"], lasting(Fault::StoreRefuses)),
        trial("access is denied, or the table is deleted", &["InvocationErrors"], lasting(Fault::StoreIsMisconfigured)),
        trial("the function panics", &["InvocationErrors"], lasting(Fault::StorePanics)),
        trial("the function runs out of memory", &["InvocationErrors"], lasting(Fault::FunctionKilled)),
        trial("the function crashes at start", &["InvocationErrors"], lasting(Fault::FunctionDoesNotStart)),
        trial("the function crashes after its work", &["InvocationErrors"], lasting(Fault::AnswerLost)),
        trial("the function times out", &["InvocationErrors", "DurationHigh"], lasting(Fault::FunctionHangs)),
        trial("the stream has no old images", &["InvocationErrors"], {
            let mut scenario = healthy();
            scenario.wrong_view_type = true;
            scenario
        }),
        trial("most invocations are throttled", &["InvocationThrottles"], {
            healthy().with(Fault::FunctionThrottled, BEGIN, END, 90)
        }),
        trial(
            "every invocation is throttled",
            &["InvocationThrottles", "InvocationsBlocked"],
            lasting(Fault::FunctionThrottled),
        ),
        trial("the mapping is disabled", &["MappingStopped"], lasting(Fault::MappingDisabled)),
        trial("records without a key", &["RecordsQuarantined"], with_oddity(Oddity::NoKey)),
        trial("records that cannot be decoded", &["RecordsQuarantined"], with_oddity(Oddity::Undecodable)),
        trial("records whose entry DynamoDB rejects", &["RecordsQuarantined"], with_oddity(Oddity::Rejected)),
        trial("records without a key, and the failure bucket refuses", &["RecordsFailing"], {
            with_oddity(Oddity::NoKey).with(Fault::BucketRefuses, BEGIN, END, 100)
        }),
        trial("records without a key, and the failure bucket does not answer", &["RecordsFailing"], {
            with_oddity(Oddity::NoKey).with(Fault::BucketIsSilent, BEGIN, END, 100)
        }),
        trial("records without a key, and no failure bucket", &["RecordsFailing"], {
            let mut scenario = with_oddity(Oddity::NoKey);
            scenario.has_bucket = false;
            scenario
        }),
        trial("values too large for an entry, and the failure bucket refuses", &["RecordsFailing"], {
            with_large_values().with(Fault::BucketRefuses, BEGIN, END, 100)
        }),
        trial("every line of the log is malformed", &["EmfRefused", "TelemetryMissing"], lasting(Fault::EmfMalformed)),
        trial("the log does not arrive", &["TelemetryMissing"], lasting(Fault::TelemetryLost)),
        trial("a bug loses a record without a trace", &["BooksDoNotBalance"], {
            healthy().with(Fault::BooksWrong, BEGIN, BEGIN + HOUR, 100)
        }),
        trial("the function's clock is an hour ahead", &["FreshnessBurnFast"], {
            let mut scenario = healthy();
            scenario.clock_ahead = 3_600_000;
            scenario
        }),
    ]
}

/// Faults that set off their alarms by what they lead to.
fn in_the_end() -> Vec<Trial> {
    let late = |alarm, metric, least| Meant { alarm, since: Since::First(metric, least) };
    let trial = |fault, meant: &[Meant], scenario| Trial { fault, begin: BEGIN, meant: meant.to_vec(), scenario };
    // One record in a hundred is late: for six minutes the function does not start, and an hour later again.
    let often_late = (0..24).fold(healthy(), |scenario, time| {
        let from = BEGIN + time * 70 * MINUTE;
        scenario.with(Fault::FunctionDoesNotStart, from, from + 6 * MINUTE, 100)
    });
    let failing = || healthy().with(Fault::StoreFails, BEGIN, END, 100);
    vec![
        trial(
            "the function fails for six minutes, again and again",
            &[late("FreshnessBurnSlow", Sent::Own("AuditLag"), 300_000.0)],
            often_late,
        ),
        trial(
            "one line of the log in five is malformed",
            &[late("EmfRefused", Sent::EmfParsingErrors, 1.0)],
            healthy().with(Fault::EmfMalformed, BEGIN, END, 20),
        ),
        trial(
            "records fail for a day, and grow too old",
            &[
                late("IteratorAgeHigh", Sent::IteratorAge, 900_000.0),
                late("IteratorAgeCritical", Sent::IteratorAge, 7_200_000.0),
                late("RecordsGivenUp", Sent::OnFailureDestinationDelivered, 1.0),
            ],
            failing(),
        ),
        trial(
            "records grow too old, and the failure bucket refuses them",
            &[late("DestinationRefused", Sent::DestinationDeliveryFailures, 1.0)],
            failing().with(Fault::DestinationRefuses, BEGIN, END, 100),
        ),
        trial(
            "records grow too old, and the mapping has no destination",
            &[late("RecordsDropped", Sent::DroppedEventCount, 1.0)],
            failing().with(Fault::DestinationMissing, BEGIN, END, 100),
        ),
    ]
}

/// Thirty days with nothing wrong that does not mend itself: days and nights, bursts, idle hours, deploys, short throttles,
/// a crash now and then, and batches that are delivered again.
#[must_use]
pub fn healthy_month() -> Scenario {
    let per_hour = |hour: u64| match (hour / 24 % 7, hour % 24) {
        // Once a week somebody imports a file.
        (2, 10) => 1_500,
        // Nobody works at the weekend, or at night.
        (5 | 6, _) | (_, 0..6 | 22..) => u64::from(hour.is_multiple_of(3)) * 2,
        (_, 9..18) => 90,
        _ => 15,
    };
    let mut scenario = Scenario::of_traffic(1, 30 * 24, per_hour);
    for day in 0..30 {
        let day = day * 24 * HOUR;
        // A table that grows throttles for a minute; a deploy replaces the process; somewhere a request fails.
        scenario = scenario
            .with(Fault::StoreThrottles, day + 10 * HOUR, day + 10 * HOUR + MINUTE, 70)
            .with(Fault::AnswerLost, day + 14 * HOUR, day + 14 * HOUR + MINUTE, 100)
            .with(Fault::StoreFails, day, day + 24 * HOUR, 1)
            .with(Fault::StoreFailsAfterWriting, day, day + 24 * HOUR, 1)
            .with(Fault::FunctionThrottled, day + 16 * HOUR, day + 16 * HOUR + 2 * MINUTE, 50)
            .with(Fault::RedeliveredAfterSuccess, day, day + 24 * HOUR, 2)
            .with(Fault::StaleRedelivery, day, day + 24 * HOUR, 1);
    }
    scenario
}

fn healthy() -> Scenario {
    Scenario::of_traffic(7, END / HOUR + 1, |_| TRAFFIC)
}

/// With one record of a hundred being odd, from the beginning of the fault on.
fn with_oddity(oddity: Oddity) -> Scenario {
    let mut scenario = healthy();
    for write in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(100) {
        write.oddity = Some(oddity);
        if oddity == Oddity::Rejected {
            "REJECTED".clone_into(&mut write.key);
        }
    }
    scenario
}

fn with_large_values() -> Scenario {
    let mut scenario = healthy();
    for (index, write) in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(500).enumerate() {
        write.key = format!("LARGE_{index}");
        write.what = What::Set(vec![("value", Some(Value::Large(420_000)))]);
    }
    scenario
}

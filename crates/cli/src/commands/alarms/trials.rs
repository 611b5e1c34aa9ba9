//! The faults that alarms are tried on: what goes wrong, and which alarms are there for it.

use std::time::Duration;

use config_audit_simulator::change::{Oddity, Value};
use config_audit_simulator::fault::Fault;
use config_audit_simulator::scenario::{Millis, Scenario, What};
use serde::Serialize;

const MINUTE: Millis = 60_000;
const HOUR: Millis = 60 * MINUTE;
/// When the fault begins: by then the alarms have seen that all is well.
pub(crate) const BEGIN: Millis = 2 * HOUR;
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
    /// The alarms that may fire besides, for what the fault leads to. No other may.
    pub also: Vec<&'static str>,
    /// How often each alarm that pages goes off: once for each time the trouble comes.
    pub pages: usize,
    /// The alarms that are still on when the fault ends, or the run does.
    pub stay_on: &'static [&'static str],
    /// The run.
    pub scenario: Scenario,
}

/// An alarm that has to fire.
#[derive(Debug, Clone, Copy)]
pub struct Meant {
    /// Its logical ID.
    pub alarm: &'static str,
    /// Whom it has to tell.
    pub severity: Severity,
    /// From when its time counts.
    pub since: Since,
}

/// Whom an alarm tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// It wakes somebody.
    Page,
    /// It is read in working hours.
    Notify,
}

/// From when the time of an alarm counts.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// When the fault begins.
    Fault,
    /// When the metric of this name first has a value of at least so much: some alarms are there for what a fault leads to.
    First(&'static str, f64),
    /// When the third record is audited late: two are no trend (alarms/freshness.yml).
    ThirdLate,
}

const fn page(alarm: &'static str) -> Meant {
    Meant { alarm, severity: Severity::Page, since: Since::Fault }
}

const fn notify(alarm: &'static str) -> Meant {
    Meant { alarm, severity: Severity::Notify, since: Since::Fault }
}

impl Meant {
    const fn once(self, metric: &'static str, least: f64) -> Self {
        Self { since: Since::First(metric, least), ..self }
    }

    const fn once_late(self) -> Self {
        Self { since: Since::ThirdLate, ..self }
    }
}

impl Trial {
    fn new(fault: &'static str, meant: &[Meant], also: &[&'static str], scenario: Scenario) -> Self {
        // Some are there from the start.
        let begin = if scenario.wrong_view_type || scenario.clock_ahead != 0 { 0 } else { BEGIN };
        Self { fault, begin, meant: meant.to_vec(), also: also.to_vec(), pages: 1, stay_on: &[], scenario }
    }

    fn also(mut self, alarm: &'static str) -> Self {
        self.also.push(alarm);
        self
    }

    fn pages(self, pages: usize) -> Self {
        Self { pages, ..self }
    }

    fn stays_on(self, stay_on: &'static [&'static str]) -> Self {
        Self { stay_on, ..self }
    }
}

/// What follows when nothing is audited for a day, though it is tried.
const OUTAGE: &[&str] = &[
    "RecordsFailing",
    "DurationHigh",
    "IteratorAgeHigh",
    "IteratorAgeCritical",
    "RecordsGivenUp",
    // When it is over, and what waited is audited.
    "FreshnessBurnFast",
    "FreshnessBurnSlow",
];
/// The same where each try is an invocation that sends no metrics.
const SILENT_OUTAGE: &[&str] = &[
    "TelemetryMissing",
    "TelemetryMissingHourly",
    "IteratorAgeHigh",
    "IteratorAgeCritical",
    "RecordsGivenUp",
    "FreshnessBurnFast",
    "FreshnessBurnSlow",
];

/// All of them.
#[must_use]
pub fn all() -> Vec<Trial> {
    let groups = [of_the_store(), of_the_function(), of_records(), of_telemetry(), in_the_end(), that_heal()];
    groups.into_iter().flatten().collect()
}

fn of_the_store() -> Vec<Trial> {
    let failing = page("RecordsFailing");
    let throttled = [failing, notify("AuditTableThrottled")];
    vec![
        Trial::new("the Audit table throttles every write", &throttled, OUTAGE, lasting(Fault::StoreThrottles)),
        Trial::new("the Audit table's index throttles every write", &throttled, OUTAGE, lasting(Fault::IndexThrottles)),
        Trial::new("DynamoDB gives items back unprocessed", &throttled, OUTAGE, lasting(Fault::StoreGivesBack)),
        Trial::new("DynamoDB answers 500", &[failing], OUTAGE, lasting(Fault::StoreFails)),
        Trial::new(
            "DynamoDB does not answer",
            &[failing, notify("DurationHigh"), notify("WriteLatencyHigh")],
            OUTAGE,
            lasting(Fault::StoreIsSilent),
        ),
        Trial::new("DynamoDB's answers are lost", &[failing], OUTAGE, lasting(Fault::StoreFailsAfterWriting)),
        Trial::new("DynamoDB takes seconds", &[notify("WriteLatencyHigh")], &[], lasting(Fault::StoreIsSlow)),
        Trial::new(
            "DynamoDB refuses every write, and nobody knows why",
            &[failing],
            OUTAGE,
            lasting(Fault::StoreRefuses),
        ),
        Trial::new(
            "access to the table or to its encryption key is denied, or the table is deleted",
            &[page("InvocationErrors")],
            OUTAGE,
            lasting(Fault::StoreIsMisconfigured),
        ),
    ]
}

fn of_the_function() -> Vec<Trial> {
    let errors = page("InvocationErrors");
    let throttles = notify("InvocationThrottles");
    vec![
        Trial::new("the function panics", &[errors], OUTAGE, lasting(Fault::StorePanics)),
        Trial::new("the function runs out of memory", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionKilled)),
        Trial::new("the function crashes at start", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionDoesNotStart)),
        Trial::new("the function crashes after its work", &[errors], OUTAGE, lasting(Fault::AnswerLost)),
        Trial::new(
            "the function times out",
            &[errors, notify("DurationHigh")],
            SILENT_OUTAGE,
            lasting(Fault::FunctionHangs),
        ),
        Trial::new("the stream has no old images", &[errors], OUTAGE, {
            let mut scenario = healthy();
            scenario.wrong_view_type = true;
            scenario
        }),
        // Late records come in clumps, hours apart, and each clump pages.
        Trial::new(
            "seven in ten invocations are throttled",
            &[throttles, page("FreshnessBurnFast").once_late()],
            &["FreshnessBurnSlow"],
            healthy().with(Fault::FunctionThrottled, BEGIN, END, 70),
        )
        .pages(9),
        Trial::new(
            "every invocation is throttled",
            &[throttles, page("InvocationsBlocked")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            lasting(Fault::FunctionThrottled),
        ),
        Trial::new(
            "the mapping is disabled",
            &[page("MappingStopped")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            lasting(Fault::MappingDisabled),
        )
        .stays_on(&["MappingStopped"]),
        Trial::new(
            "the mapping is disabled, and an hour later nobody changes anything",
            &[page("MappingStopped")],
            &[],
            {
                let mut scenario = healthy();
                scenario.writes.retain(|write| write.at < BEGIN + HOUR);
                scenario.with(Fault::MappingDisabled, BEGIN, BEGIN + 20 * HOUR, 100)
            },
        )
        .stays_on(&["MappingStopped"]),
    ]
}

fn of_records() -> Vec<Trial> {
    let quarantined = page("RecordsQuarantined");
    let failing = page("RecordsFailing");
    let refused = |scenario: Scenario| scenario.with(Fault::BucketRefuses, BEGIN, END, 100);
    // There is one in two or three hours.
    let again = |fault, oddity| Trial::new(fault, &[quarantined], &[], with_oddity(oddity)).pages(12);
    // What the failure bucket refused is put into it in the end.
    let refusing = |fault, scenario| Trial::new(fault, &[failing], OUTAGE, scenario).also("RecordsQuarantined");
    vec![
        again("records without a key", Oddity::NoKey),
        again("records that cannot be decoded", Oddity::Undecodable),
        again("records whose entry DynamoDB rejects", Oddity::Rejected),
        refusing("records without a key, and the failure bucket refuses", refused(with_oddity(Oddity::NoKey))),
        refusing("records without a key, and the failure bucket does not answer", {
            with_oddity(Oddity::NoKey).with(Fault::BucketIsSilent, BEGIN, END, 100)
        }),
        refusing("records without a key, and no failure bucket", {
            let mut scenario = with_oddity(Oddity::NoKey);
            scenario.has_bucket = false;
            scenario
        }),
        refusing("values too large for an entry, and the failure bucket refuses", refused(with_large_values())),
    ]
}

fn of_telemetry() -> Vec<Trial> {
    let refused = notify("EmfRefused");
    let missing = page("TelemetryMissing");
    let clock = |ahead| {
        let mut scenario = healthy();
        scenario.clock_ahead = ahead;
        scenario
    };
    let hourly = &["TelemetryMissingHourly"];
    vec![
        Trial::new("every line of the log is cut", &[refused, missing], hourly, lasting(Fault::EmfMalformed)),
        Trial::new("every line of the log breaks the format", &[refused, missing], hourly, lasting(Fault::EmfInvalid)),
        Trial::new("one line of the log in five is cut", &[refused.once("EMFParsingErrors", 1.0)], &[], {
            healthy().with(Fault::EmfMalformed, BEGIN, END, 20)
        }),
        Trial::new("the log does not arrive", &[missing], hourly, lasting(Fault::TelemetryLost)),
        Trial::new(
            "the log does not arrive, of a table that changes once an hour",
            &[notify("TelemetryMissingHourly")],
            &[],
            Scenario::of_traffic(7, END / HOUR + 1, |_| 1).with(Fault::TelemetryLost, BEGIN, END, 100),
        ),
        Trial::new("the function miscounts its records", &[page("BooksDoNotBalance")], &[], {
            healthy().with(Fault::BooksWrong, BEGIN, BEGIN + HOUR, 100)
        }),
        Trial::new("the function's clock is an hour ahead", &[missing], &["FreshnessBurnFast", "FreshnessBurnSlow"], {
            clock(3_600_000)
        }),
        Trial::new("the function's clock is an hour behind", &[missing], hourly, clock(-3_600_000)),
    ]
}

/// Faults that set off their alarms by what they lead to.
fn in_the_end() -> Vec<Trial> {
    let failing = || lasting(Fault::StoreFails);
    // For six minutes no process starts, and an hour later again: one record in a hundred is late.
    let often = (0..24).fold(healthy(), |scenario, time| {
        let from = BEGIN + time * 70 * MINUTE;
        scenario.with(Fault::FunctionDoesNotStart, from, from + 6 * MINUTE, 100)
    });
    vec![
        Trial::new(
            "records fail for a day, and grow too old",
            &[
                page("RecordsFailing"),
                notify("IteratorAgeHigh"),
                page("IteratorAgeCritical"),
                page("RecordsGivenUp").once("OnFailureDestinationDeliveredEventCount", 1.0),
            ],
            &["DurationHigh", "FreshnessBurnFast", "FreshnessBurnSlow"],
            failing(),
        ),
        Trial::new(
            "records grow too old, and the failure bucket refuses them",
            &[page("DestinationRefused").once("DestinationDeliveryFailures", 1.0)],
            OUTAGE,
            failing().with(Fault::DestinationRefuses, BEGIN, END, 100),
        ),
        Trial::new(
            "records grow too old, and the mapping has no destination",
            &[page("RecordsDropped").once("DroppedEventCount", 1.0)],
            OUTAGE,
            failing().with(Fault::DestinationMissing, BEGIN, END, 100),
        ),
        // Once of 24 times nothing is changed meanwhile.
        Trial::new(
            "the function fails for six minutes, again and again",
            &[notify("FreshnessBurnSlow").once_late(), page("InvocationErrors")],
            &["FreshnessBurnFast"],
            often,
        )
        .pages(23),
    ]
}

/// Faults that end: what waited is audited then, OUTAGE, and nobody is paged again for it.
fn that_heal() -> Vec<Trial> {
    let healing = |fault| healthy().with(fault, BEGIN, BEGIN + 3 * HOUR, 100);
    vec![
        Trial::new(
            "the table throttles for three hours",
            &[page("RecordsFailing"), notify("AuditTableThrottled")],
            OUTAGE,
            healing(Fault::StoreThrottles),
        ),
        Trial::new("the mapping is disabled for three hours", &[page("MappingStopped")], OUTAGE, {
            healing(Fault::MappingDisabled)
        }),
        Trial::new(
            "every invocation is throttled for three hours",
            &[page("InvocationsBlocked"), notify("InvocationThrottles")],
            OUTAGE,
            healing(Fault::FunctionThrottled),
        ),
    ]
}

/// Thirty days with nothing wrong that does not mend itself: days and nights, bursts, idle hours, deployments, short
/// throttles, a crash now and then, and batches that are delivered again.
#[must_use]
pub fn healthy_month() -> Scenario {
    let per_hour = |hour: u64| match (hour / 24 % 7, hour % 24) {
        // Nobody works at the weekend, or at night.
        (5 | 6, _) | (_, 0..6 | 22..) => u64::from(hour.is_multiple_of(3)) * 2,
        (_, 9..18) => 90,
        _ => 15,
    };
    let mut scenario = Scenario::of_traffic(1, 30 * 24, per_hour);
    for day in 0..30 {
        let begin = day * 24 * HOUR;
        let at = |hour: u64, minutes: u64| (begin + hour * HOUR, begin + hour * HOUR + minutes * MINUTE);
        let all_day = at(0, 24 * 60);
        // A deployment replaces the process. A table that grows throttles. Other functions take the concurrency, by night
        // too, when one record is all there is. Somewhere a request fails.
        let weather = [
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
        for (fault, (from, to), chance) in weather {
            scenario = scenario.with(fault, from, to, chance);
        }
        if day % 7 == 2 {
            scenario = scenario.with_burst(begin + 10 * HOUR + 20 * MINUTE, 2 * MINUTE, 3_000);
        }
    }
    scenario
}

/// A day and more with nothing wrong.
pub(crate) fn healthy() -> Scenario {
    let mut scenario = Scenario::of_traffic(7, END / HOUR + 1, |_| TRAFFIC);
    // Lambda does not say how long it waits before a retry: it is a longer time that alarms must be able to bridge.
    scenario.mapping.longest_retry_delay = Duration::from_mins(2);
    scenario
}

fn lasting(fault: Fault) -> Scenario {
    healthy().with(fault, BEGIN, END, 100)
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

//! All faults: what goes wrong, and which alarms must fire.

use config_audit_simulator::change::RecordDefect;
use config_audit_simulator::fault::Fault;
use config_audit_simulator::scenario::{Millis, Scenario, WriteKind};
use config_audit_simulator::value::Value;

use super::case::{Expected, FaultCase, notify, page};
use super::trial::{Cadence, Rate, Trial};

pub(super) const MINUTE: Millis = 60_000;
pub(super) const HOUR: Millis = 60 * MINUTE;
/// When a fault begins. By then the alarms are in state OK.
pub const BEGIN: Millis = 2 * HOUR;
/// When the first canary is written: some minutes after its alarm was deployed.
pub(super) const FIRST_CANARY: Millis = 10 * MINUTE;

/// The alarms that follow if no record is audited for a day although the function is invoked.
const OUTAGE: &[&str] = &[
    "RecordsFailing",
    "DurationHigh",
    "IteratorAgeHigh",
    "IteratorAgeCritical",
    "RecordsGivenUp",
    // When the fault has ended and the waiting records are audited.
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

/// All faults, as played in a trial.
#[must_use]
pub fn all(trial: Trial) -> Vec<FaultCase> {
    let groups = [
        of_the_store,
        of_the_function,
        of_records,
        of_telemetry,
        with_consequences,
        that_heal,
        with_a_canary,
        of_the_witness,
    ];
    groups.into_iter().flat_map(|group| group(trial)).map(|case| case.in_trial(trial)).collect()
}

/// There is no such fault.
#[derive(Debug, thiserror::Error)]
#[error("no fault has {wanted:?} in its name; choose one of the {} above", known.len())]
pub struct UnknownFault {
    /// The requested name.
    pub wanted: String,
    /// The names of all faults. The commands list them above the error.
    pub known: Vec<&'static str>,
}

/// The fault with this name, or else all faults whose names contain it, as played in a trial.
///
/// # Errors
/// When no fault matches.
pub fn named(name: &str, trial: Trial) -> Result<Vec<FaultCase>, UnknownFault> {
    let (exact, others) = all(trial).into_iter().partition::<Vec<_>, _>(|case| case.name == name);
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
    // Nothing can be seen before something changes.
    let changes = scenario.writes.iter().map(|write| write.at);
    let seen = changes.filter(|at| *at >= begins).min().unwrap_or(begins);
    let (expected, may_follow) = (expected.to_vec(), may_follow.to_vec());
    FaultCase {
        name,
        trial: Trial::USUAL,
        begins,
        seen,
        expected,
        may_follow,
        pages: Some(1),
        stay_on: &[],
        is_separate_when_quiet: false,
        unseen: None,
        scenario,
    }
}

fn of_the_store(trial: Trial) -> Vec<FaultCase> {
    let lasting = |fault| lasting(trial, fault);
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
        case("DynamoDB takes seconds", &[notify("WriteLatencyHigh")], &[], lasting(Fault::StoreIsSlow))
            .unseen_when_quiet(
                trial,
                "three slow minutes in an hour never come; each change is audited seconds later all the same",
            ),
        case("DynamoDB refuses every write, and nobody knows why", &[failing], OUTAGE, lasting(Fault::StoreRefuses)),
        case(
            "access to the table or to its encryption key is denied, or the table is deleted",
            &[page("InvocationErrors")],
            OUTAGE,
            lasting(Fault::StoreIsMisconfigured),
        ),
    ]
}

fn of_the_function(trial: Trial) -> Vec<FaultCase> {
    let lasting = |fault| lasting(trial, fault);
    let errors = page("InvocationErrors");
    let throttles = notify("InvocationThrottles");
    let late = [page("FreshnessBurnFast").after_three_late_records()];
    vec![
        case("the function panics", &[errors], OUTAGE, lasting(Fault::StorePanics)),
        case("the function runs out of memory", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionKilled)),
        case("the function crashes at start", &[errors], SILENT_OUTAGE, lasting(Fault::FunctionDoesNotStart)),
        case("the function crashes after its work", &[errors], OUTAGE, lasting(Fault::AnswerLost)),
        case("the function times out", &[errors, notify("DurationHigh")], SILENT_OUTAGE, lasting(Fault::FunctionHangs)),
        case("the stream has no old images", &[errors], OUTAGE, {
            let mut scenario = trial.healthy(trial.end());
            scenario.wrong_view_type = true;
            scenario
        }),
        // Records are late in bursts that are hours apart, and each burst pages.
        case(
            "seven in ten invocations are throttled",
            // With fast retries, no record is late.
            &[&[throttles.after("Throttles", 1.0)][..], if trial.cadence == Cadence::Fast { &[] } else { &late }]
                .concat(),
            &["FreshnessBurnFast", "FreshnessBurnSlow", "IteratorAgeHigh", "InvocationsBlocked"],
            trial.healthy(trial.distant_end()).with(Fault::FunctionThrottled, BEGIN, trial.distant_end(), 70),
        )
        .pages_again()
        .unseen_when_quiet(trial, "capacity is back before the record is late"),
        case(
            "every invocation is throttled",
            &[throttles, page("InvocationsBlocked")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            lasting(Fault::FunctionThrottled),
        )
        .pages_for_each_change_when_quiet(),
        case(
            "the mapping is disabled",
            &[page("MappingStopped")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            healthy_until(trial, Fault::MappingDisabled),
        )
        .seen_at_once()
        .stays_on(&["MappingStopped"]),
        case("the mapping is disabled, and an hour later nobody changes anything", &[page("MappingStopped")], &[], {
            let mut scenario = trial.healthy(BEGIN);
            scenario.writes.retain(|write| write.at < BEGIN + HOUR);
            scenario.with(Fault::MappingDisabled, BEGIN, BEGIN + 20 * HOUR, 100)
        })
        .seen_at_once()
        .stays_on(&["MappingStopped"]),
    ]
}

fn of_records(trial: Trial) -> Vec<FaultCase> {
    let quarantined = notify("RecordsQuarantined");
    let failing = page("RecordsFailing");
    let end = trial.end();
    let with_defect = |defect| with_defect(trial, defect);
    let refused = |scenario: Scenario| scenario.with(Fault::BucketRefuses, BEGIN, end, 100);
    // There is one such record every two to three hours.
    let again = |fault, defect| case(fault, &[quarantined], &[], with_defect(defect));
    // In the end, Lambda puts the records that the failure bucket rejected into it.
    let refusing = |fault, scenario| case(fault, &[failing], OUTAGE, scenario).may_follow("RecordsQuarantined");
    vec![
        again("records without a key", RecordDefect::NoKey),
        again("records that cannot be decoded", RecordDefect::Undecodable),
        again("records whose entry DynamoDB rejects", RecordDefect::Rejected),
        case(
            "bad records all the time, and an hour later DynamoDB answers 500",
            &[quarantined, failing.after("RecordsFailed", 1.0)],
            OUTAGE,
            {
                let mut scenario = with_defect(RecordDefect::NoKey);
                for write in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(2) {
                    write.defect = Some(RecordDefect::NoKey);
                }
                scenario.with(Fault::StoreFails, BEGIN + HOUR, trial.end().max(BEGIN + 20 * HOUR), 100)
            },
        ),
        refusing("records without a key, and the failure bucket refuses", refused(with_defect(RecordDefect::NoKey))),
        refusing("records without a key, and the failure bucket does not answer", {
            with_defect(RecordDefect::NoKey).with(Fault::BucketIsSilent, BEGIN, end, 100)
        }),
        refusing("records without a key, and no failure bucket", {
            let mut scenario = with_defect(RecordDefect::NoKey);
            scenario.has_bucket = false;
            scenario
        }),
        refusing("values too large for an entry, and the failure bucket refuses", refused(with_large_values(trial))),
    ]
}

fn of_telemetry(trial: Trial) -> Vec<FaultCase> {
    let refused = notify("EmfRefused");
    // A table that seldom changes pages nobody: an hour's only invocation may just be late.
    let is_quiet = trial.rate == Rate::Quiet;
    let missing = if is_quiet { notify("TelemetryMissingHourly") } else { page("TelemetryMissing") };
    let clock = |hours: i64| {
        let mut scenario = trial.healthy(trial.distant_end());
        scenario.clock_ahead = hours * 3_600_000;
        scenario
    };
    let hourly = &["TelemetryMissingHourly"];
    let lasting = |fault| healthy_until(trial, fault);
    vec![
        case("every line of the log is cut", &[refused, missing], hourly, lasting(Fault::EmfMalformed)),
        case("every line of the log breaks the format", &[refused, missing], hourly, lasting(Fault::EmfInvalid)),
        case("one line of the log in five is cut", &[refused.after("EMFParsingErrors", 1.0)], &[], {
            trial.healthy(trial.distant_end()).with(Fault::EmfMalformed, BEGIN, trial.distant_end(), 20)
        })
        .unseen_when_quiet(trial, "there may be no line that is cut for days"),
        case("the log does not arrive", &[missing], hourly, lasting(Fault::TelemetryLost)),
        case("the function miscounts its records", &[page("BooksDoNotBalance")], &[], {
            trial.healthy(trial.distant_end()).with(Fault::BooksWrong, BEGIN, BEGIN + HOUR, 100)
        }),
        case(
            "the function's clock is an hour ahead",
            &[if is_quiet { missing } else { notify("FreshnessBurnSlow").after_three_late_records() }],
            &["FreshnessBurnFast", "FreshnessBurnSlow", "TelemetryMissing", "TelemetryMissingHourly"],
            clock(1),
        ),
        // An hour behind would look like metrics that arrive an hour late, which happens in CloudWatch.
        case("the function's clock is two hours behind", &[missing], hourly, clock(-2)),
    ]
}

/// Faults whose alarms fire because of the fault's consequences.
fn with_consequences(trial: Trial) -> Vec<FaultCase> {
    let end = trial.distant_end();
    let failing = || healthy_until(trial, Fault::StoreFails);
    let errors = [page("InvocationErrors")];
    let repeated = usize::from(trial.cadence != Cadence::TenMinutes);
    // For six minutes every 70 minutes no process starts: about one record in a hundred is late.
    let often = (0..24).fold(trial.healthy(end), |scenario, time| {
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
            failing().with(Fault::DestinationRefuses, BEGIN, end, 100),
        )
        .pages_for_each_change_when_quiet(),
        case(
            "records grow too old, and the mapping has no destination",
            &[page("RecordsDropped").after("DroppedEventCount", 1.0)],
            OUTAGE,
            failing().with(Fault::DestinationMissing, BEGIN, end, 100),
        )
        .pages_for_each_change_when_quiet(),
        case(
            "the function fails for six minutes, again and again",
            // With slow retries, each occurrence has one failure, and the next begins after the alarms have cleared.
            &[&[notify("FreshnessBurnSlow").after_three_late_records()][..], &errors[..repeated]].concat(),
            &["FreshnessBurnFast", "InvocationErrors"],
            often,
        )
        .pages_again()
        .unseen_when_quiet(trial, "few changes meet a failure, and none meets it three times"),
    ]
}

/// Faults that end. The waiting records are then audited, and page nobody again.
fn that_heal(trial: Trial) -> Vec<FaultCase> {
    let healing = |fault| trial.healthy(BEGIN + 12 * HOUR).with(fault, BEGIN, BEGIN + 3 * HOUR, 100);
    vec![
        case(
            "the table throttles for three hours",
            &[page("RecordsFailing"), notify("AuditTableThrottled")],
            OUTAGE,
            healing(Fault::StoreThrottles),
        ),
        case("the mapping is disabled for three hours", &[page("MappingStopped")], OUTAGE, {
            healing(Fault::MappingDisabled)
        })
        .seen_at_once(),
        case(
            "every invocation is throttled for three hours",
            &[page("InvocationsBlocked"), notify("InvocationThrottles")],
            OUTAGE,
            healing(Fault::FunctionThrottled),
        ),
    ]
}

/// Faults that the canary's alarm detects, and faults about which it stays silent because another alarm pages.
fn with_a_canary(trial: Trial) -> Vec<FaultCase> {
    let canary = page("CanaryMissing");
    let with = |scenario: Scenario| {
        let end = scenario.end();
        scenario.with_canary(FIRST_CANARY..end)
    };
    let missing: &[Expected] = if trial.rate == Rate::Quiet {
        &[canary, notify("TelemetryMissingHourly")]
    } else {
        &[page("TelemetryMissing")]
    };
    vec![
        case("the canary's schedule stops", &[canary], &[], {
            trial.healthy(trial.distant_end()).with_canary(FIRST_CANARY..BEGIN)
        })
        .seen_at_once()
        .stays_on(&["CanaryMissing"]),
        case(
            "the table has a new stream, the mapping reads the old one, and there is a canary",
            &[canary],
            &["RecordsGivenUp", "FreshnessBurnFast", "FreshnessBurnSlow"],
            with(healthy_until(trial, Fault::StreamReplaced)),
        )
        .seen_at_once()
        .stays_on(&["CanaryMissing"]),
        case(
            "the mapping is disabled, and there is a canary",
            &[page("MappingStopped")],
            &["RecordsGivenUp", "FreshnessBurnSlow"],
            with(healthy_until(trial, Fault::MappingDisabled)),
        )
        .seen_at_once()
        .stays_on(&["MappingStopped"]),
        case(
            "the function crashes at start, and there is a canary",
            &[page("InvocationErrors")],
            SILENT_OUTAGE,
            with(lasting(trial, Fault::FunctionDoesNotStart)),
        ),
        case(
            "the log does not arrive, and there is a canary",
            missing,
            &["TelemetryMissingHourly"],
            with(healthy_until(trial, Fault::TelemetryLost)),
        ),
    ]
}

/// What somebody does to the trail, and faults that would keep the witness from noticing.
fn of_the_witness(trial: Trial) -> Vec<FaultCase> {
    let tampered = |fault| trial.healthy(trial.end()).with(fault, BEGIN, BEGIN + MINUTE, 100);
    let behind = [page("WitnessBehind")];
    vec![
        case("somebody alters an entry", &[page("TrailTampered")], &[], tampered(Fault::EntryAltered)).seen_at_once(),
        case("somebody deletes an entry", &[page("TrailTampered")], &[], tampered(Fault::EntryDeleted)).seen_at_once(),
        case("the witness's mapping is disabled", &behind, &[], healthy_until(trial, Fault::WitnessMappingDisabled))
            .seen_at_once()
            .stays_on(&["WitnessBehind"]),
        case("the witness bucket refuses", &behind, &[], lasting(trial, Fault::WitnessBucketRefuses)),
        case("the witness crashes at start", &behind, &[], lasting(trial, Fault::WitnessDoesNotStart)),
        case("every invocation of the witness is throttled", &behind, &[], lasting(trial, Fault::WitnessThrottled)),
    ]
}

/// More than a day in which nothing goes wrong.
#[must_use]
pub fn healthy(trial: Trial) -> Scenario {
    trial.healthy(trial.distant_end())
}

fn lasting(trial: Trial, fault: Fault) -> Scenario {
    trial.healthy(trial.end()).with(fault, BEGIN, trial.end(), 100)
}

/// A scenario whose fault lasts so long that Lambda gives up and the stream deletes records, at any cadence.
fn healthy_until(trial: Trial, fault: Fault) -> Scenario {
    trial.healthy(trial.distant_end()).with(fault, BEGIN, trial.distant_end(), 100)
}

/// A scenario with this defect in one of a hundred records from `BEGIN` on.
fn with_defect(trial: Trial, defect: RecordDefect) -> Scenario {
    let mut scenario = trial.healthy(trial.distant_end());
    for write in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(100) {
        write.defect = Some(defect);
        if let Some(key) = defect.item_key() {
            key.clone_into(&mut write.key);
        }
    }
    scenario
}

fn with_large_values(trial: Trial) -> Scenario {
    let mut scenario = trial.healthy(trial.distant_end());
    for (index, write) in scenario.writes.iter_mut().filter(|write| write.at >= BEGIN).step_by(500).enumerate() {
        write.key = format!("LARGE_{index}");
        write.kind = WriteKind::Set(vec![("value", Some(Value::Large(420_000)))]);
    }
    scenario
}

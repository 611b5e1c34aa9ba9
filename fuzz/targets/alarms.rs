//! A template with alarms, as `config-audit alarms check` reads it: it is refused with the name of its file, or its
//! alarms can be evaluated.

#![no_main]

use std::collections::BTreeMap;

use chrono::DateTime;
use config_audit_cloudwatch::alarms::{Alarms, AlarmsError, Kind, State};
use config_audit_cloudwatch::metrics::Metrics;
use config_audit_fuzz::mutate;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| { mutate(data, 0, size, max_size, seed) });

fuzz_target!(|input: &str| {
    match Alarms::read(&[("alarms.yml", input)], &|name| Some(name.to_owned())) {
        Ok(alarms) => evaluate(&alarms),
        Err(AlarmsError::Template(error)) => assert_eq!(error.file, "alarms.yml", "{error} is of no file"),
        Err(AlarmsError::DuplicateName(_) | AlarmsError::Order { .. }) => {}
    }
});

/// Each change starts from the alarm's previous state, and a composite alarm's state follows from the alarms in its
/// rule.
fn evaluate(alarms: &Alarms) {
    let at = |minute: i64| DateTime::from_timestamp(1_772_496_000 + minute * 60, 0).expect("a time");
    let mut metrics = Metrics::default();
    for alarm in alarms.all() {
        let Kind::Metric(watched) = &alarm.kind else { continue };
        for (number, (metric, _)) in (1_i32..).zip(&watched.metrics) {
            for minute in 10..20 {
                let (came, value) = (at(minute + i64::from(number % 4)), f64::from(number) * 1e3 - 1.5e3);
                metrics.add(metric, at(minute), came, value);
            }
        }
    }
    let mut states = BTreeMap::new();
    for change in alarms.evaluate(&metrics, at(0), at(40)) {
        let before = states.insert(change.alarm.clone(), change.to).unwrap_or(State::InsufficientData);
        assert!(before == change.from && change.from != change.to, "{change:?} follows on {before}");
    }
    for alarm in alarms.all() {
        let state = |name: &str| states.get(name).copied().unwrap_or(State::InsufficientData);
        if let Kind::Composite(rule) = &alarm.kind {
            assert_eq!(state(&alarm.name) == State::Alarm, rule.holds(&state), "{} and its rule differ", alarm.name);
        }
    }
}

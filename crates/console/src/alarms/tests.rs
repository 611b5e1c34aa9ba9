use std::time::Duration;

use chrono::TimeDelta;
use config_audit_local::{CompletedInvocation, InvocationError, WorldEvent, WorldTable};

use super::*;
use crate::activity::KEPT_HOURS;

/// A function that fails in each of these minutes.
fn failing(activity: &Activity, from: DateTime<Utc>, minutes: i64) {
    activity.update(|known| {
        for minute in 0..minutes {
            let outcome = Err(InvocationError::Exited { status: "exit status: 1".to_owned() });
            let completed =
                CompletedInvocation { request_id: String::new(), outcome, duration: Duration::ZERO, init: None };
            known.apply(&WorldEvent::InvocationEnded(completed), from + TimeDelta::minutes(minute));
        }
    });
}

#[test]
fn an_alarm_fires_in_the_same_minute_as_in_cloudwatch_and_the_overview_shows_it() {
    let activity = Activity::new(None);
    let alarms = Alarms::bundled().unwrap();
    let start = activity.read(|known| known.since);
    assert!(alarms.strip(&activity, start).into_string().contains("No alarm that notifies is in ALARM"));
    failing(&activity, start, 20);
    let evaluated = alarms.at(&activity, start + TimeDelta::minutes(20));
    let alarm = evaluated.alarms.iter().find(|alarm| alarm.id == "InvocationErrors").unwrap();
    let incident = evaluated.alarms.iter().find(|alarm| alarm.id == "Incident").unwrap();
    assert_eq!((alarm.state, incident.state, incident.pages), (State::Alarm, State::Alarm, true));
    let after = alarm.since.unwrap() - start;
    // Its runbook promises eight minutes.
    assert!(after > TimeDelta::zero() && after <= TimeDelta::minutes(8), "{after}");
    let strip = alarms.strip(&activity, start + TimeDelta::minutes(20)).into_string();
    assert!(strip.contains("/alarms/InvocationErrors"), "{strip}");
    assert!(list(&evaluated).into_string().contains("in alarm"));
}

#[test]
fn an_alarm_keeps_its_timeline_when_its_metrics_are_dropped() {
    let activity = Activity::new(None);
    let alarms = Alarms::bundled().unwrap();
    let start = activity.read(|known| known.since);
    failing(&activity, start, 20);
    let timeline = |minutes: i64| {
        let evaluated = alarms.at(&activity, start + TimeDelta::minutes(minutes));
        let alarm = evaluated.alarms.iter().find(|alarm| alarm.id == "InvocationErrors").unwrap();
        (alarm.state, alarm.timeline.iter().map(|change| change.to).collect::<Vec<_>>())
    };
    assert_eq!(timeline(20), (State::Alarm, vec![State::Ok, State::Alarm]));
    // Days later, one invocation makes the console drop all earlier metrics.
    failing(&activity, start + TimeDelta::hours(KEPT_HOURS + 2), 1);
    assert_eq!(timeline((KEPT_HOURS + 2) * 60 + 2).1[..2], [State::Ok, State::Alarm]);
}

/// The state of an alarm after 90 minutes with these events in each.
fn state_after(id: &str, events: &[WorldEvent]) -> State {
    let activity = Activity::new(None);
    let alarms = Alarms::bundled().unwrap();
    let start = activity.read(|known| known.since);
    activity.update(|known| {
        for minute in 0..90 {
            for event in events {
                known.apply(event, start + TimeDelta::minutes(minute));
            }
        }
    });
    let evaluated = alarms.at(&activity, start + TimeDelta::minutes(90));
    evaluated.alarms.iter().find(|alarm| alarm.id == id).unwrap().state
}

#[test]
fn a_disabled_mapping_is_noticed_by_the_writes_that_nothing_reads_and_a_quiet_table_is_not() {
    let (table, operation) = (WorldTable::Configuration, "PutItem".to_owned());
    let written = WorldEvent::TableWritten { table, operation, items: 1, took: Duration::ZERO };
    let polled = WorldEvent::StreamPolled { records: 0 };
    for (events, state) in [
        (vec![written.clone()], State::Alarm),
        (vec![written, WorldEvent::StreamPolled { records: 1 }], State::Ok),
        (vec![polled], State::Ok),
        (vec![], State::Ok),
    ] {
        assert_eq!(state_after("MappingStopped", &events), state, "{events:?}");
    }
}

#[test]
fn metrics_are_kept_for_longer_than_any_alarm_looks_back() {
    for alarm in Alarms::bundled().unwrap().definitions.all() {
        if let Kind::Metric(metric) = &alarm.kind {
            let range =
                TimeDelta::minutes(metric.period_minutes.into()) * metric.rule.evaluation_range().try_into().unwrap();
            assert!(range < TimeDelta::hours(KEPT_HOURS), "{} looks back {} hours", alarm.id, range.num_hours());
        }
    }
}

#[test]
fn the_list_says_that_metrics_are_missing() {
    let missing_before = DateTime::from_timestamp(1_700_000_000, 0);
    let list = |missing_before| list(&Evaluated { missing_before, ..Evaluated::default() }).into_string();
    assert!(list(missing_before).contains("those from before") && !list(None).contains("those from before"));
}

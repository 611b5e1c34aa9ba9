//! Incidents over HTTP.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::testing::{Fixture, fixture};

const THROTTLED: &str = "/practice/faults/the-audit-table-throttles-every-write";

async fn json(fixture: &Fixture, address: &str) -> Value {
    let (status, _, body) = fixture.get(address, "application/json").await;
    assert_eq!(status, 200, "{address}: {body}");
    serde_json::from_str(&body).unwrap()
}

async fn html(fixture: &Fixture, address: &str) -> String {
    let (status, _, body) = fixture.get(address, "text/html").await;
    assert_eq!(status, 200, "{address}: {body}");
    body
}

fn ids(view: &Value) -> Vec<&str> {
    view["alarms"].as_array().unwrap().iter().map(|alarm| alarm["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_fault_has_an_address_of_its_own_at_every_rate() {
    let fixture = fixture().await;
    let page = html(&fixture, "/practice").await;
    for link in page.split("href=\"/runbooks/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert_eq!(fixture.get(&format!("/runbooks/{link}"), "text/html").await.0, 200, "{link}");
    }
    for rate in Rate::ALL {
        let names: Vec<_> = incident::cases(rate).iter().map(|case| case.name).collect();
        assert!(names.iter().eq(FAULTS.iter().map(|fault| &fault.name)), "the order is the same at each rate");
    }
    let addresses: BTreeSet<_> = FAULTS.iter().map(|fault| &fault.address).collect();
    assert_eq!(addresses.len(), FAULTS.len());
    assert!(addresses.iter().all(|address| page.contains(&format!("href=\"{address}\""))), "{page}");
    assert!(FAULTS.iter().all(|fault| !fault.alarms.is_empty()), "the quiz asks for the runbook of an alarm");
}

#[tokio::test]
async fn dashboards_alarms_and_losses_follow_the_time() {
    let fixture = fixture().await;
    let before = json(&fixture, &format!("{THROTTLED}?at=-1")).await;
    assert_eq!((ids(&before), before["pages"].as_array().unwrap().len()), (vec![], 0), "{before}");
    let hour = json(&fixture, &format!("{THROTTLED}?at=60")).await;
    assert!(ids(&hour).contains(&"RecordsFailing") && ids(&hour).contains(&"Incident"), "{hour}");
    assert_eq!(hour["pages"].as_array().unwrap().len(), 1, "{hour}");
    assert_eq!(hour["loss"], serde_json::json!({ "lost": 0, "awaitingRedrive": 0 }));
    // Lambda gives a record up after 22 hours.
    let day = json(&fixture, &format!("{THROTTLED}?at=1500")).await;
    let waiting = |loss: &Value| loss["awaitingRedrive"].as_u64().unwrap();
    assert!(waiting(&day["loss"]) > 0 && waiting(&day["loss"]) < waiting(&day["lossIfNobodyReacts"]), "{day}");
    let graph =
        |view: &Value| view["widgets"].as_array().unwrap().iter().find(|it| it["type"] == "graph").unwrap().clone();
    assert_ne!(graph(&before), graph(&hour));
    let page = html(&fixture, &format!("{THROTTLED}?at=60&dashboard=deep-dive")).await;
    for text in [
        "the fault begins",
        "1 hour after it began",
        "The runbook of RecordsFailing",
        "Lost if nobody reacts within 28 hours",
    ] {
        assert!(page.contains(text), "{text}\n{page}");
    }
    let (page, _) = page.split_once("The runbook of").unwrap();
    assert!(!page.contains("no such alarm") && !page.contains("style=") && !page.contains("${"), "{page}");
}

#[tokio::test]
async fn a_cause_that_is_removed_early_costs_nothing() {
    let fixture = fixture().await;
    let view = json(&fixture, &format!("{THROTTLED}?endedAfter=60")).await;
    assert_eq!(view["lossInTheEnd"], serde_json::json!({ "lost": 0, "awaitingRedrive": 0 }), "{view}");
    assert!(view["lossIfNobodyReacts"]["awaitingRedrive"].as_u64().unwrap() > 100, "{view}");
    let last = view["events"].as_array().unwrap().last().unwrap();
    assert_eq!(last["event"], "cleared", "{view}");
    assert!(
        html(&fixture, &format!("{THROTTLED}?endedAfter=60"))
            .await
            .contains("Lost with the cause removed after 1 hour")
    );
}

#[tokio::test]
async fn the_quiz_hides_the_fault_until_its_runbook_is_found() {
    let fixture = fixture().await;
    let number = FAULTS.iter().position(|fault| fault.address == THROTTLED).unwrap();
    let name = FAULTS[number].name;
    let address = format!("/practice/quiz/{number}");
    for (answer, verdict, is_told) in [
        ("", "", false),
        ("?answer=mapping-stopped", "is not that of this fault", false),
        ("?answer=incident", "leads to the runbook of the alarm", false),
        ("?answer=records-failing", "Right: ", true),
        ("?answer=show", "It is this: ", true),
    ] {
        let page = html(&fixture, &format!("{address}{answer}")).await;
        assert!(page.contains(verdict), "{answer}: {page}");
        assert_eq!((page.contains(name), page.contains("the fault begins")), (is_told, is_told), "{answer}: {page}");
        let view = json(&fixture, &format!("{address}{answer}")).await;
        assert_eq!((view["fault"].as_str(), view["lossIfNobodyReacts"].is_null()), (is_told.then_some(name), !is_told));
    }
    // What has not happened yet would give it away.
    assert_eq!(json(&fixture, &format!("{address}?at=0")).await["events"], serde_json::json!([]));
    let (status, headers, _) = fixture.get("/practice/quiz", "text/html").await;
    assert!(status == 303 && headers["location"].to_str().unwrap().starts_with("/practice/quiz/"), "{headers:?}");
}

#[tokio::test]
async fn an_incident_says_what_no_alarm_can_see_and_when_a_fault_ends_by_itself() {
    let fixture = fixture().await;
    let page = html(&fixture, "/practice/faults/dynamodb-takes-seconds?rate=quiet").await;
    assert!(page.contains("No alarm can see this fault: three slow minutes"), "{page}");
    let view = json(&fixture, "/practice/faults/the-table-throttles-for-three-hours").await;
    let ended = view["events"].as_array().unwrap().iter().find(|event| event["event"] == "ended").unwrap();
    assert_eq!(ended["at"], "2026-03-03T05:00:00Z", "{view}");
    // The links of what happened lead to a time at which it has happened.
    let view = json(&fixture, &format!("{THROTTLED}?at=1322")).await;
    assert!(view["loss"]["awaitingRedrive"].as_u64().unwrap() > 0, "{view}");
    assert!(
        html(&fixture, THROTTLED).await.contains("?at=1322\">"),
        "the first record is in the failure bucket at 1321.8"
    );
}

#[tokio::test]
async fn what_cannot_be_practised_is_an_error() {
    let fixture = fixture().await;
    for (address, status) in [
        ("/practice/faults/none", 404),
        ("/practice/quiz/999", 404),
        ("/practice/quiz/x", 400),
        (&format!("{THROTTLED}?dashboard=none"), 404),
        (&format!("{THROTTLED}?endedAfter=7"), 400),
        (&format!("{THROTTLED}?rate=fast"), 400),
        (&format!("{THROTTLED}?at=soon"), 400),
        ("/practice/faults/the-table-throttles-for-three-hours?endedAfter=240", 400),
        // A wrong view type of the stream is there from the beginning to the end.
        ("/practice/faults/the-stream-has-no-old-images?endedAfter=15", 400),
    ] {
        assert_eq!(fixture.get(address, "text/html").await.0, status, "{address}");
    }
    // A time outside the incident is its nearest end.
    assert_eq!(json(&fixture, &format!("{THROTTLED}?at=-999999")).await["minute"], -120);
}

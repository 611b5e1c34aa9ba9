use axum::body::Body;
use axum::http::{Request, StatusCode};
use config_audit_local::faults::FunctionFault::{Crashes, Hangs};
use config_audit_local::faults::TableFault::{Fails, LosesAnswers, Silent, Slow, Throttles};
use serde_json::Value;

use super::*;
use crate::testing::fixture;

#[test]
fn each_switch_breaks_its_part_and_fixes_it_again() {
    for switch in SWITCHES {
        let mut faults = Faults::default();
        (switch.set)(&mut faults, true);
        assert!((switch.is_on)(&faults) && faults != Faults::default(), "{}", switch.name);
        let on = SWITCHES.iter().filter(|other| (other.is_on)(&faults)).count();
        assert_eq!(on, 1, "{}", switch.name);
        (switch.set)(&mut faults, false);
        assert_eq!(faults, Faults::default(), "{}", switch.name);
        let promise = alarms::promise(switch.alarm).into_string();
        assert!(promise.contains(" minutes"), "{promise}");
        // Times and alarms are not typed by hand.
        assert!(!["minute", "hour", switch.alarm].iter().any(|word| switch.effect.contains(word)), "{}", switch.effect);
    }
}

#[tokio::test]
async fn every_form_of_the_page_does_what_it_says() {
    let fixture = fixture().await;
    let none = Faults::default();
    let table = |fault| Faults { table: Some(fault), ..none };
    let function = |fault| Faults { function: Some(fault), ..none };
    let switches = [
        ("tableThrottles", table(Throttles)),
        ("tableFails", table(Fails)),
        ("tableSlow", table(Slow)),
        ("tableSilent", table(Silent)),
        ("tableLosesAnswers", table(LosesAnswers)),
        ("functionCrashes", function(Crashes)),
        ("functionHangs", function(Hangs)),
        ("mappingDisabled", Faults { mapping_disabled: true, ..none }),
        ("recordsDamaged", Faults { records_damaged: true, ..none }),
        ("bucketRefuses", Faults { bucket_refuses: true, ..none }),
    ];
    assert_eq!(switches.map(|(name, _)| name).as_slice(), SWITCHES.iter().map(|it| it.name).collect::<Vec<_>>());
    let token = fixture.token.as_str();
    for (name, broken) in switches {
        for (fields, expected) in [
            (vec![("fault", name), ("on", "true")], broken),
            (vec![("fault", name), ("on", "false")], none),
            (vec![("fault", name), ("on", "true")], broken),
            (vec![("fault", "none")], none),
        ] {
            let (status, headers, _) = fixture.post("/break", token, &fields).await;
            assert_eq!(
                (status, &headers["location"]),
                (StatusCode::SEE_OTHER, &"/break".parse().unwrap()),
                "{fields:?}"
            );
            assert_eq!(fixture.breaker.faults(), expected, "{fields:?}");
        }
    }
    // Faults of two parts are active at once, and of each part only the last one is.
    for (name, _) in switches {
        fixture.post("/break", token, &[("fault", name), ("on", "true")]).await;
    }
    let all = Faults {
        table: Some(LosesAnswers),
        function: Some(Hangs),
        mapping_disabled: true,
        records_damaged: true,
        bucket_refuses: true,
    };
    assert_eq!(fixture.breaker.faults(), all);
    // The token is checked before anything else.
    for address in ["/break", "/break/load", "/break/oversized", "/break/tamper"] {
        assert_eq!(
            fixture.post(address, "x", &[("fault", "none"), ("rate", "1")]).await.0,
            StatusCode::FORBIDDEN,
            "{address}"
        );
    }
    for (address, fields) in [
        ("/break", &[("fault", "earthquake"), ("on", "true")][..]),
        ("/break", &[("fault", "tableFails"), ("on", "perhaps")]),
        ("/break/load", &[("rate", "501")]),
        ("/break/load", &[("rate", "-1")]),
        ("/break/load", &[("rate", "many")]),
    ] {
        assert_eq!(fixture.post(address, token, fields).await.0, StatusCode::BAD_REQUEST, "{address} {fields:?}");
    }
    assert_eq!(fixture.breaker.faults(), all);
    fixture.database.stop().await;
}

#[tokio::test]
async fn scripts_get_json_for_what_worked_and_for_what_did_not() {
    let fixture = fixture().await;
    let request = |method: &str, address: &str, body: String| {
        let request = Request::builder().method(method).uri(address).header("accept", "application/json");
        request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(body)).unwrap()
    };
    let token = fixture.token.as_str();
    for (method, address, body, status, member) in [
        ("POST", "/break", format!("token={token}&fault=tableSlow&on=true"), 200, "faults"),
        ("POST", "/break/load", format!("token={token}&rate=0"), 200, "changesPerSecond"),
        ("POST", "/break", "fault=tableSlow&on=true".to_owned(), 403, "error"),
        ("POST", "/break", format!("token={token}&fault=tableSlow&on=maybe"), 400, "error"),
        ("POST", "/break/load", format!("token={token}&rate=x"), 400, "error"),
        ("POST", "/break", "x".repeat(3 << 20), 413, "error"),
        ("PUT", "/break", String::new(), 405, "error"),
        ("POST", "/alarms", String::new(), 405, "error"),
        ("GET", "/invocations?after=x&after=y", String::new(), 400, "error"),
        ("GET", "/nowhere", String::new(), 404, "error"),
    ] {
        let (given, headers, text) = fixture.send(request(method, address, body)).await;
        assert_eq!(given.as_u16(), status, "{method} {address}: {text}");
        let json: Value = serde_json::from_str(&text).unwrap();
        assert!(json.get(member).is_some(), "{method} {address}: {text}");
        assert_eq!(headers.contains_key("allow"), status == 405, "{method} {address}");
    }
    fixture.database.stop().await;
}

#[tokio::test]
async fn forms_in_which_somebody_types_are_not_replaced_by_live_parts() {
    let fixture = fixture().await;
    let (_, _, page) = fixture.get("/break", "text/html").await;
    let (_, typed) = page.split_once("<h2>Load</h2>").unwrap();
    assert!(typed.contains("name=\"rate\"") && typed.contains("/break/oversized"), "{page}");
    let live = page.split_once("id=\"broken\"").unwrap().1.split("<h2>Load</h2>").next().unwrap();
    assert!(live.contains("fault") && !live.contains("/break/load"), "{live}");
    // The script finds the focused element again by its ID.
    for button in page.split("<button").skip(1) {
        assert!(button.split('>').next().unwrap().contains("id="), "{button}");
    }
    fixture.database.stop().await;
}

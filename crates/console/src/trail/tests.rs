//! The trail's pages over HTTP, without a server.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use config_audit_local::{AwsSettings, Database};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::site::{protected, trail_only};

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'\u{202e}";
const SECRET: &str = "s3cr3t-9000";

struct Fixture {
    database: Database,
    trail: Arc<Trail>,
    router: Router,
}

/// One item with this key, created with a value, changed twice, and deleted.
async fn fixture(key: &str) -> Fixture {
    let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
    database.ensure_audit_table("Audit").await.unwrap();
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let item =
        |value: &str| AttributeValue::M([("key".to_owned(), text(key)), ("value".to_owned(), text(value))].into());
    let (first, second, third) = ("off".to_owned(), SECRET.to_owned(), "on".to_owned());
    let entries = [
        ("a", vec![("newValue", item(&first))]),
        ("b", vec![("updatedAttribute", text("value")), ("oldValue", text(&first)), ("newValue", text(&second))]),
        ("c", vec![("updatedAttribute", text("value")), ("oldValue", text(&second)), ("newValue", text(&third))]),
        ("d", vec![("oldValue", item(&third))]),
    ];
    for (number, (id, more)) in entries.into_iter().enumerate() {
        let put = database.client().put_item().table_name("Audit").item("id", text(id)).item("itemKey", text(key));
        let put = put.item("modificationTime", text(&format!("2024-09-11T09:0{number}:00.000Z")));
        more.into_iter().fold(put, |put, (name, value)| put.item(name, value)).send().await.unwrap();
    }
    let frame = Frame { sections: &[], ..Frame::default() };
    let audit = AuditTable::new(database.client().clone(), "Audit", "here");
    let trail = Arc::new(Trail::new(frame, audit, None, Arc::default(), None, FormToken::random()));
    Fixture { database, router: protected(trail_only(Arc::clone(&trail))), trail }
}

/// One more entry of the item FLAG, which nothing would write.
async fn put_entry(database: &Database, id: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = database.client().put_item().table_name("Audit").item("id", text(id));
    put.item("itemKey", text("FLAG")).item("modificationTime", text("yesterday")).send().await.unwrap();
}

impl Fixture {
    async fn get(&self, address: &str, accept: &str) -> (StatusCode, String) {
        let request = Request::get(address).header("accept", accept).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn json(&self, address: &str) -> Value {
        serde_json::from_str(&self.get(address, "application/json").await.1).unwrap()
    }

    async fn page(&self, address: &str) -> String {
        let (status, page) = self.get(address, "text/html").await;
        assert_eq!(status, StatusCode::OK, "{address}: {page}");
        page
    }
}

#[tokio::test]
async fn an_accounts_table_is_read_only_on_request() {
    let fixture = fixture("FLAG").await;
    assert!(fixture.page("/trail").await.contains("Read the whole table"));
    assert_eq!(fixture.json("/trail").await["known"], 0);
    let request = Request::post("/trail/read").header("content-type", "application/x-www-form-urlencoded");
    let refused = fixture.router.clone().oneshot(request.body(Body::from("token=x")).unwrap()).await.unwrap();
    assert_eq!((refused.status(), fixture.trail.reading()), (StatusCode::FORBIDDEN, Reading::NotRead));
    Arc::clone(&fixture.trail).read().await;
    let view = fixture.json("/trail").await;
    let ids: Vec<_> = view["entries"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap()).collect();
    assert_eq!((ids, view["reading"]["entries"].as_u64()), (vec!["d", "c", "b", "a"], Some(4)));
    let view = fixture.json("/trail?kind=changed&to=2024-09-11T09:01").await;
    assert_eq!((view["matching"].as_u64(), view["entries"][0]["id"].as_str()), (Some(1), Some("b")));
    assert_eq!(fixture.get("/trail?from=yesterday", "text/html").await.0, StatusCode::BAD_REQUEST);
    fixture.database.stop().await;
}

#[tokio::test]
async fn values_are_hidden_until_requested() {
    let fixture = fixture("FLAG").await;
    Arc::clone(&fixture.trail).read().await;
    let addresses = [
        "/trail",
        "/trail/item?key=FLAG",
        "/trail/item?key=FLAG&at=2024-09-11T09:01",
        "/trail/entry/b",
        "/trail/export.csv",
        "/trail/export.json",
    ];
    for address in addresses {
        let separator = if address.contains('?') { '&' } else { '?' };
        for accept in ["text/html", "application/json"] {
            let hidden = fixture.get(address, accept).await.1;
            assert!(hidden.contains("FLAG") && !hidden.contains(SECRET), "{address}: {hidden}");
            let shown = fixture.get(&format!("{address}{separator}values=shown"), accept).await.1;
            assert!(shown.contains(SECRET) || shown.contains("<ins>"), "{address}: {shown}");
        }
    }
    fixture.database.stop().await;
}

#[tokio::test]
async fn an_item_is_shown_at_any_time_and_gaps_are_listed() {
    let fixture = fixture("FLAG").await;
    let value = async |at: &str| {
        let view = fixture.json(&format!("/trail/item?key=FLAG&values=shown&at={at}")).await;
        (view["state"]["exists"].clone(), view["state"]["attributes"]["value"].clone())
    };
    assert_eq!(value("2024-09-11T09:00").await, (true.into(), "off".into()));
    assert_eq!(value("2024-09-11T09:01:00Z").await, (true.into(), SECRET.into()));
    assert_eq!(value("2024-09-10").await, (false.into(), Value::Null));
    assert_eq!(value("2024-09-11").await, (false.into(), Value::Null));
    assert!(fixture.page("/trail/item?key=FLAG").await.contains("intact"));
    let delete = fixture.database.client().delete_item().table_name("Audit");
    delete.key("id", AttributeValue::S("c".to_owned())).send().await.unwrap();
    let view = fixture.json("/trail/item?key=FLAG").await;
    assert_eq!(
        (view["findings"][0]["finding"].as_str(), view["findings"][0]["entry"].as_str()),
        (Some("attribute"), Some("d"))
    );
    assert!(fixture.page("/trail/item?key=FLAG").await.contains("a change of attribute value"));
    assert!(fixture.page("/trail/item?key=NOBODY").await.contains("no entry for this item"));
    assert_eq!(fixture.get("/trail/entry/nowhere", "text/html").await.0, StatusCode::NOT_FOUND);
    fixture.database.stop().await;
}

#[tokio::test]
async fn the_newest_change_waits_for_its_entry_but_a_gap_before_it_is_a_finding() {
    let fixture = fixture("FLAG").await;
    let client = fixture.database.client().clone();
    fixture.database.ensure_configuration_table("Configuration", "key").await.unwrap();
    let configuration = ConfigurationTable::find(client.clone(), "Configuration", "here").await.unwrap();
    let audit = AuditTable::new(client.clone(), "Audit", "here");
    let trail = Trail::new(Frame::default(), audit, Some(configuration), Arc::default(), None, FormToken::random());
    let pages = Fixture { router: trail_only(Arc::new(trail)), ..fixture };
    let findings = async |key: &str| {
        let view = pages.json(&format!("/trail/item?key={key}")).await;
        let finding = |finding: &Value| (finding["finding"].clone(), finding["isAtEnd"].clone());
        view["findings"].as_array().unwrap().iter().map(finding).collect::<Vec<_>>()
    };
    let page = async |key: &str| pages.page(&format!("/trail/item?key={key}")).await;
    assert!(findings("FLAG").await.is_empty() && page("FLAG").await.contains("intact"));
    // The item was created again; its entry is not stored yet.
    for key in ["FLAG", "NEW"] {
        let put = client.put_item().table_name("Configuration").item("key", AttributeValue::S(key.to_owned()));
        put.send().await.unwrap();
    }
    assert_eq!(findings("FLAG").await, [("creation".into(), true.into())]);
    assert_eq!(findings("NEW").await, [("noEntry".into(), true.into())]);
    for key in ["FLAG", "NEW"] {
        let page = page(key).await;
        assert!(page.contains("badge waiting") && !page.contains("badge bad"), "{page}");
    }
    let delete = client.delete_item().table_name("Audit").key("id", AttributeValue::S("c".to_owned()));
    delete.send().await.unwrap();
    assert_eq!(findings("FLAG").await, [("attribute".into(), false.into()), ("creation".into(), true.into())]);
    assert!(page("FLAG").await.contains("1 finding"));
    pages.database.stop().await;
}

#[tokio::test]
async fn a_time_that_is_not_one_is_refused_and_never_linked() {
    let fixture = fixture("FLAG").await;
    for at in ["yesterday", "2024-9-1", "2024-09-11T09:00:00%2B02:00"] {
        let (status, page) = fixture.get(&format!("/trail/item?key=FLAG&at={at}"), "text/html").await;
        assert!(status == StatusCode::BAD_REQUEST && page.contains("`at` is not a time"), "{at}: {page}");
    }
    let view = fixture.json("/trail/item?key=FLAG&at=2024-09-11%2009:01Z").await;
    assert_eq!(view["state"]["exists"], true);
    put_entry(&fixture.database, "e").await;
    let page = fixture.page("/trail/item?key=FLAG").await;
    // The unreadable entry comes first.
    let position = |id: &str| page.find(&format!("/trail/entry/{id}")).unwrap();
    assert!(["e", "d", "c", "b", "a"].map(position).is_sorted());
    assert_eq!(page.matches("item at this time").count(), 4);
    fixture.database.stop().await;
}

#[tokio::test]
async fn an_accounts_table_can_be_read_again_to_list_newer_entries() {
    let fixture = fixture("FLAG").await;
    Arc::clone(&fixture.trail).read().await;
    assert!(fixture.page("/trail").await.contains("Read the table again"));
    put_entry(&fixture.database, "e").await;
    assert_eq!(fixture.json("/trail").await["known"], 4);
    Arc::clone(&fixture.trail).read().await;
    let view = fixture.json("/trail").await;
    assert_eq!((view["known"].as_u64(), view["reading"]["entries"].as_u64()), (Some(5), Some(5)));
    fixture.database.stop().await;
}

#[tokio::test]
async fn entries_whose_events_were_missed_are_read() {
    let Fixture { database, .. } = fixture("FLAG").await;
    let activity = Arc::new(Activity::new(None));
    let audit = AuditTable::new(database.client().clone(), "Audit", "here");
    let (index, seen) = (Arc::clone(activity.entries()), Some(Arc::clone(&activity)));
    let trail = Arc::new(Trail::new(Frame::default(), audit, None, index, seen, FormToken::random()));
    let following = tokio::spawn(Arc::clone(&trail).follow(Duration::from_millis(1)));
    let has = async |entries: usize| {
        while trail.index.size() != (entries, 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    has(4).await;
    put_entry(&database, "e").await;
    activity.update(|state| state.missed += 1);
    has(5).await;
    following.abort();
    database.stop().await;
}

#[tokio::test]
async fn what_stops_before_its_end_has_failed() {
    let Fixture { database, .. } = fixture("FLAG").await;
    database.ensure_configuration_table("Configuration", "key").await.unwrap();
    let configuration = ConfigurationTable::find(database.client().clone(), "Configuration", "here").await.unwrap();
    let audit = AuditTable::new(database.client().clone(), "Audit", "here");
    let trail = Trail::new(Frame::default(), audit, Some(configuration), Arc::default(), None, FormToken::random());
    let trail = Arc::new(trail);
    // Polled once, then dropped.
    tokio::time::timeout(Duration::ZERO, Arc::clone(&trail).read()).await.unwrap_err();
    tokio::time::timeout(Duration::ZERO, Arc::clone(&trail).verify()).await.unwrap_err();
    assert!(matches!(trail.reading(), Reading::Failed { .. }));
    let pages = Fixture { database, router: trail_only(Arc::clone(&trail)), trail };
    assert_eq!(pages.json("/trail/verify").await["state"], "failed");
    // Both can be started again.
    assert!(Arc::clone(&pages.trail).read().await);
    Arc::clone(&pages.trail).verify().await;
    assert_eq!(pages.json("/trail/verify").await["state"], "done");
    pages.database.stop().await;
}

#[tokio::test]
async fn tasks_end_with_the_trail() {
    let Fixture { database, trail, .. } = fixture("FLAG").await;
    let task = || {
        let (sender, ended) = tokio::sync::oneshot::channel::<()>();
        let task = async move {
            let _sender = sender;
            std::future::pending::<()>().await;
        };
        (task, ended)
    };
    let (running, ended) = task();
    trail.spawn(running);
    drop(TrailOwner(Arc::clone(&trail)));
    ended.await.unwrap_err();
    let (late, ended) = task();
    trail.spawn(late);
    ended.await.unwrap_err();
    database.stop().await;
}

#[tokio::test]
async fn a_hostile_key_stays_text_on_every_page_and_in_every_link() {
    let fixture = fixture(HOSTILE).await;
    Arc::clone(&fixture.trail).read().await;
    let key = crate::address::Address::new("").with("key", HOSTILE).to_string();
    for address in [
        "/trail?values=shown".to_owned(),
        format!("/trail/item{key}&values=shown"),
        format!("/trail{key}"),
        "/trail/entry/a?values=shown".to_owned(),
        "/trail/verify".to_owned(),
    ] {
        let page = fixture.page(&address).await;
        // An input field contains the text as given, which cannot affect the page.
        let parts = page.split("value=\"").enumerate();
        let outside: String =
            parts.map(|(number, part)| if number == 0 { part } else { part.split_once('"').unwrap().1 }).collect();
        assert!(!page.contains("<img") && !outside.contains('\u{202e}'), "{address}: {page}");
    }
    let export: Value = fixture.json("/trail/export.json?values=shown").await;
    assert_eq!((export.as_array().unwrap().len(), export[3]["itemKey"].as_str()), (4, Some(HOSTILE)));
    fixture.database.stop().await;
}

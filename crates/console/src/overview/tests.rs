//! The overview over HTTP, without a server.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use config_audit_local::{AwsSettings, Breaker, Database};
use config_audit_tables::AuditTable;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::activity::Activity;
use crate::alarms::Alarms;
use crate::faults::Load;
use crate::items::Items;
use crate::layout::Frame;
use crate::token::FormToken;
use crate::trail::Trail;

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'\u{202e}";

struct Fixture {
    database: Database,
    token: FormToken,
    router: Router,
}

async fn fixture() -> Fixture {
    let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
    database.ensure_configuration_table("Configuration", "key").await.unwrap();
    let token = FormToken::random();
    let client = database.client().clone();
    let items = Items::new(client.clone(), "Configuration", "key", "Audit");
    let activity = Arc::new(Activity::new(None));
    let frame = Frame { sections: Site::SECTIONS, ..Frame::default() };
    let audit = AuditTable::new(client, "Audit", "here");
    let trail = Trail::new(frame.clone(), audit, None, Arc::default(), None, token.clone());
    let alarms = Arc::new(Alarms::bundled().unwrap());
    let (breaker, load) = (Breaker::default(), Load::default());
    let site = Site { frame, activity, alarms, breaker, can_break_table: true, load, items, token: token.clone() };
    Fixture { database, token, router: site.router(Arc::new(trail)) }
}

impl Fixture {
    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn get(&self, address: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
        self.send(Request::get(address).header("accept", accept).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, token: &str, fields: &[(&str, &str)]) -> (StatusCode, HeaderMap, String) {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let fields = fields.iter().copied().chain([("token", token)]);
        let body: Vec<_> = fields.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = Request::post("/items").header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body.join("&"))).unwrap()).await
    }
}

#[tokio::test]
async fn the_page_has_security_headers_and_nothing_inline() {
    let fixture = fixture().await;
    let (status, headers, page) = fixture.get("/", "text/html,*/*").await;
    assert_eq!(status, StatusCode::OK);
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(
        (&headers["x-content-type-options"], &headers["cache-control"]),
        (&"nosniff".parse().unwrap(), &"no-store".parse().unwrap())
    );
    for inline in [" style=", "<style", " onclick", "javascript:", "http://", "https://"] {
        assert!(!page.contains(inline), "{inline}");
    }
    for address in page.split(['"']).filter(|part| part.starts_with("/assets/")) {
        let (status, headers, asset) = fixture.get(address, "*/*").await;
        assert!(status.is_success() && !asset.is_empty(), "{address}");
        assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    }
    assert!(page.contains("No changes yet"), "an empty page says what to do");
    fixture.database.stop().await;
}

#[tokio::test]
async fn the_same_address_serves_json_to_scripts() {
    let fixture = fixture().await;
    let (_, headers, body) = fixture.get("/", "application/json").await;
    assert_eq!(headers["content-type"], "application/json");
    let view: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((view["counts"]["changes"].as_u64(), view["token"].as_str()), (Some(0), Some(fixture.token.as_str())));
    assert_eq!(view["pipeline"]["way"][3]["state"], "starts with the first change");
    let (status, _, body) = fixture.get("/nowhere", "application/json").await;
    assert_eq!((status, body.as_str()), (StatusCode::NOT_FOUND, r#"{"error":"there is no page at this address"}"#));
    fixture.database.stop().await;
}

#[tokio::test]
async fn a_form_needs_the_token_and_then_changes_the_item() {
    let fixture = fixture().await;
    let save = [("action", "save"), ("key", HOSTILE), ("attribute", "value"), ("value", "1800")];
    for token in ["", "x", FormToken::random().as_str()] {
        assert_eq!(fixture.post(token, &save).await.0, StatusCode::FORBIDDEN);
    }
    let client = fixture.database.client();
    assert_eq!(client.scan().table_name("Configuration").send().await.unwrap().count, 0);
    let (status, headers, _) = fixture.post(fixture.token.as_str(), &save).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let next = headers["location"].to_str().unwrap().split('#').next().unwrap().to_owned();
    let items = client.scan().table_name("Configuration").send().await.unwrap().items.unwrap();
    assert_eq!(
        (items[0]["key"].as_s().unwrap().as_str(), items[0]["value"].as_n().unwrap().as_str()),
        (HOSTILE, "1800")
    );
    // The next page names the item, and the name stays text.
    let (_, _, page) = fixture.get(&next, "text/html").await;
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;") && page.contains("U+202E"), "{page}");
    assert!(!page.contains("<img") && !page.contains('\u{202e}'), "{page}");
    for (fields, status) in [
        (&[("action", "delete"), ("key", HOSTILE)][..], StatusCode::SEE_OTHER),
        (&[("action", "save"), ("key", "")], StatusCode::BAD_REQUEST),
        (&[("action", "save"), ("key", "a"), ("attribute", "key")], StatusCode::BAD_REQUEST),
        (&[("action", "drop"), ("key", "a")], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(fixture.post(fixture.token.as_str(), fields).await.0, status, "{fields:?}");
    }
    assert_eq!(client.scan().table_name("Configuration").send().await.unwrap().count, 0);
    fixture.database.stop().await;
}

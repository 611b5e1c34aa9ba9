//! The overview over HTTP, without a server.

use axum::http::StatusCode;
use serde_json::Value;

use crate::testing::fixture;
use crate::token::FormToken;

const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'\u{202e}";

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
        assert_eq!(fixture.post("/items", token, &save).await.0, StatusCode::FORBIDDEN);
    }
    let client = fixture.database.client();
    assert_eq!(client.scan().table_name("Configuration").send().await.unwrap().count, 0);
    let (status, headers, _) = fixture.post("/items", fixture.token.as_str(), &save).await;
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
        assert_eq!(fixture.post("/items", fixture.token.as_str(), fields).await.0, status, "{fields:?}");
    }
    assert_eq!(client.scan().table_name("Configuration").send().await.unwrap().count, 0);
    fixture.database.stop().await;
}

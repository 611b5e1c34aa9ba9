//! The key of an account's console. Every user of the machine can connect to it, but only those who know its key can read it.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use uuid::Uuid;

use crate::site::Refusal;
use crate::token::FormToken;

/// A key, new for each console. The printed address carries it, and a browser exchanges it for a cookie.
#[derive(Debug, Clone)]
pub(crate) struct AccessKey {
    secret: FormToken,
    /// The cookie's name. Cookies do not depend on the port, so two consoles need two names.
    cookie: String,
}

impl AccessKey {
    /// A random key.
    #[must_use]
    pub(crate) fn random() -> Self {
        Self { secret: FormToken::random(), cookie: format!("config-audit-{}", Uuid::new_v4().simple()) }
    }

    /// The address that a browser must open first.
    #[must_use]
    pub(crate) fn address(&self, console: &str) -> String {
        format!("{console}/?key={}", self.secret.as_str())
    }

    /// Requires the key for these pages.
    pub(crate) fn require(self, pages: Router) -> Router {
        pages.route_layer(from_fn_with_state(self, check))
    }

    fn is_in_query(&self, query: &str) -> bool {
        query.split('&').filter_map(|field| field.strip_prefix("key=")).any(|value| self.secret.is(value))
    }

    fn is_in_cookies(&self, headers: &HeaderMap) -> bool {
        let headers = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let cookies = headers.flat_map(|value| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.filter(|(name, _)| *name == self.cookie).any(|(_, value)| self.secret.is(value))
    }
}

async fn check(State(key): State<AccessKey>, request: Request, next: Next) -> Response {
    // Only here, because the trail's pages have a parameter of the same name: an item's key.
    if request.uri().path() == "/" && key.is_in_query(request.uri().query().unwrap_or_default()) {
        let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", key.cookie, key.secret.as_str());
        // The redirect removes the key from the address, which the browser shows and remembers.
        return ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response();
    }
    if key.is_in_cookies(request.headers()) { next.run(request).await } else { Refusal::Key.into_response() }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::http::header::LOCATION;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;
    use crate::site::protected;

    async fn ask(router: &Router, address: &str, cookies: &[&str]) -> Response {
        let request = Request::get(address).header("accept", "application/json");
        let request = cookies.iter().fold(request, |request, cookie| request.header(COOKIE, *cookie));
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn the_key_is_exchanged_for_a_cookie_without_which_no_page_is_shown() {
        let key = AccessKey::random();
        let pages = Router::new().route("/", get(async || "the first page")).route("/trail", get(async || "the trail"));
        let router = protected(key.clone().require(pages));
        let other = AccessKey::random();
        let secret = key.secret.as_str();

        let opened = ask(&router, &key.address(""), &[]).await;
        assert_eq!((opened.status(), &opened.headers()[LOCATION]), (StatusCode::SEE_OTHER, &"/".parse().unwrap()));
        let cookie = opened.headers()[SET_COOKIE].to_str().unwrap();
        let (cookie, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Strict; Path=/");

        for (address, cookies, status) in [
            ("/trail", &[cookie][..], StatusCode::OK),
            ("/", &["a=b; c", cookie], StatusCode::OK),
            ("/trail", &[&format!("a=b; {cookie}; c=d")], StatusCode::OK),
            ("/", &[], StatusCode::FORBIDDEN),
            ("/trail", &[], StatusCode::FORBIDDEN),
            (&format!("/trail?key={secret}"), &[], StatusCode::FORBIDDEN),
            (&other.address(""), &[], StatusCode::FORBIDDEN),
            ("/?key=", &[], StatusCode::FORBIDDEN),
            ("/trail", &[&format!("{}={secret}", other.cookie)], StatusCode::FORBIDDEN),
            ("/trail", &[&format!("{}={}", key.cookie, other.secret.as_str())], StatusCode::FORBIDDEN),
            ("/nowhere", &[], StatusCode::NOT_FOUND),
        ] {
            assert_eq!(ask(&router, address, cookies).await.status(), status, "{address} {cookies:?}");
        }
        let refused = ask(&router, "/trail", &[]).await.into_body();
        let refused = to_bytes(refused, usize::MAX).await.unwrap();
        assert_eq!(
            String::from_utf8_lossy(&refused),
            r#"{"error":"this console needs a key: open the address that config-audit printed"}"#
        );
    }
}

//! What all pages share, and the routes.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, FromRef, Request};
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use config_audit_local::Breaker;
use config_audit_tables::AwsError;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::json;

use crate::activity::Activity;
use crate::alarms::Alarms;
use crate::assets;
use crate::faults::Load;
use crate::items::Items;
use crate::layout::{Frame, Page, Section};
use crate::practice::Incidents;
use crate::text::Visible;
use crate::token::FormToken;
use crate::trail::Trail;
use crate::{alarms, dashboards, faults, invocations, live, overview, practice, prometheus};

/// The largest form, in bytes: a fully percent-encoded value, which DynamoDB limits to 400 KB.
const MAX_FORM: usize = 2 << 20;

/// Allows only our own resources: no inline scripts or styles, no frames, no forms to other sites.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What the pages of the local world show.
#[derive(Debug)]
pub(crate) struct Site {
    /// What all pages share.
    pub(crate) frame: Frame,
    /// The activity in the local world.
    pub(crate) activity: Arc<Activity>,
    /// The deployed alarms.
    pub(crate) alarms: Arc<Alarms>,
    /// Breaks the world.
    pub(crate) breaker: Breaker,
    /// Whether the Audit table can be broken.
    pub(crate) can_break_table: bool,
    /// Changes many items per second.
    pub(crate) load: Load,
    /// Changes items.
    pub(crate) items: Items,
    /// Simulated incidents.
    pub(crate) incidents: Incidents,
    /// The token that every form carries.
    pub(crate) token: FormToken,
}

impl Site {
    /// The sections of this console.
    pub(crate) const SECTIONS: &'static [Section] = &[
        Section::Overview,
        Section::Trail,
        Section::Invocations,
        Section::Dashboards,
        Section::Alarms,
        Section::BreakIt,
        Section::Practice,
    ];

    /// All routes.
    pub(crate) fn router(self, trail: Arc<Trail>) -> Router {
        let pages = Router::new()
            .route("/", get(overview::page))
            .route("/items", post(overview::change))
            .route("/invocations", get(invocations::page))
            .route("/invocations/{id}", get(invocations::detail))
            .route("/dashboards", get(dashboards::index))
            .route("/dashboards/{name}", get(dashboards::page))
            .route("/live/dashboards/{name}", get(dashboards::live))
            .route("/alarms", get(alarms::page))
            .route("/alarms/{id}", get(alarms::detail))
            .route("/runbooks/{name}", get(alarms::runbook))
            .route("/live/alarms", get(alarms::live))
            .route("/break", get(faults::page).post(faults::set))
            .route("/break/load", post(faults::set_load))
            .route("/break/tamper", post(faults::tamper))
            .route("/break/oversized", post(faults::oversized))
            .route("/live/break", get(faults::live))
            .route("/practice", get(practice::index))
            .route("/practice/faults/{name}", get(practice::fault))
            .route("/practice/quiz", get(practice::any))
            .route("/practice/quiz/{number}", get(practice::quiz))
            .route("/metrics", get(prometheus::page))
            .route("/live/overview", get(live::overview))
            .route("/live/invocations", get(invocations::live))
            .with_state(Arc::new(self));
        protected(pages.merge(trail.router()))
    }
}

impl FromRef<Arc<Site>> for FormToken {
    fn from_ref(site: &Arc<Site>) -> Self {
        site.token.clone()
    }
}

/// The routes of a console that has only a trail.
pub(crate) fn trail_only(trail: Arc<Trail>) -> Router {
    Router::new().route("/", get(async || Redirect::to("/trail"))).merge(trail.router())
}

/// Adds what all consoles have, and the security headers.
pub(crate) fn protected(pages: Router) -> Router {
    pages
        .route("/assets/{version}/{name}", get(assets::serve))
        .fallback(async || Refusal::NotFound)
        .layer(DefaultBodyLimit::max(MAX_FORM))
        .layer(from_fn(secure))
}

/// Whether a client asked for JSON: it accepts JSON but not HTML.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let accepted = accepted.collect::<Vec<_>>().join(",");
    accepted.contains("application/json") && !accepted.contains("text/html")
}

/// The response to a form: JSON for clients that want JSON, otherwise a redirect to a page, so that reloading the page does not
/// submit the form again.
pub(crate) fn done(headers: &HeaderMap, address: &str, json: impl Serialize) -> Response {
    if wants_json(headers) { axum::Json(json).into_response() } else { Redirect::to(address).into_response() }
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// No such address.
    #[error("there is no page at this address")]
    NotFound,
    /// A form without the token of this console.
    #[error("the form is from an earlier console; reload the page and submit the form again")]
    Token,
    /// A request without this console's key.
    #[error("this console needs a key: open the address that config-audit printed")]
    Key,
    /// The form or the query is not valid.
    #[error("{0}")]
    Invalid(String),
    /// The form is too large.
    #[error("the form is larger than {} MB", MAX_FORM >> 20)]
    TooLarge,
    /// The address does not accept the request's method.
    #[error("this address does not accept this method")]
    Method,
    /// DynamoDB refused.
    #[error("{0}")]
    Store(String),
    /// The console failed, which is a bug.
    #[error("the console failed: {0}")]
    Failed(String),
}

impl From<AwsError> for Refusal {
    fn from(error: AwsError) -> Self {
        Self::Store(error.to_string())
    }
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Token | Self::Key => StatusCode::FORBIDDEN,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Store(_) => StatusCode::BAD_GATEWAY,
            Self::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn page(&self) -> Markup {
        let content = html! {
            p { (Visible(&self.to_string())) "." }
            p { a href="/" { "Back to the start page" } }
        };
        let title = self.status().canonical_reason().unwrap_or("Error");
        Frame::default().render(&Page::new(title, Section::Overview, content))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        // `secure` adds the body: a page, or JSON for clients that want JSON.
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Why a response is an error. If none of our handlers refused, axum did, because it could not read the request.
async fn refusal(response: Response) -> Refusal {
    let (parts, body) = response.into_parts();
    match (parts.extensions.get::<Refusal>(), parts.status) {
        (Some(refusal), _) => refusal.clone(),
        (None, StatusCode::METHOD_NOT_ALLOWED) => Refusal::Method,
        (None, _) => {
            let text = to_bytes(body, MAX_FORM).await.unwrap_or_default();
            Refusal::Invalid(String::from_utf8_lossy(&text).into_owned())
        }
    }
}

/// Adds the security headers.
async fn secure(request: Request, next: Next) -> Response {
    let is_json = wants_json(request.headers());
    let mut response = next.run(request).await;
    if response.status().is_client_error() || response.status().is_server_error() {
        let allowed = response.headers_mut().remove(ALLOW);
        let refusal = refusal(response).await;
        response = if is_json {
            (refusal.status(), axum::Json(json!({ "error": refusal.to_string() }))).into_response()
        } else {
            (refusal.status(), refusal.page()).into_response()
        };
        response.headers_mut().extend(allowed.map(|allowed| (ALLOW, allowed)));
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // With `no-referrer`, browsers would not mark our own forms as same-origin.
        (REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

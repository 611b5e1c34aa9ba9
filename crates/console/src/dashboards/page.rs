//! The pages of the dashboards.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use chrono::{DateTime, TimeDelta, Utc};
use config_audit::clock::Clock;
use config_audit_cloudwatch::dashboard::{Dashboard, DashboardError};
use futures_util::Stream;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::draw::{Links, draw};
use super::log;
use super::values::{Data, Values, values};
use crate::address::Address;
use crate::alarms::name_in_world;
use crate::layout::{Page, Section};
use crate::live;
use crate::site::{Refusal, Site};

/// The deployed dashboards: their names, what they are for, and their files.
pub(crate) const BUNDLED: [(&str, &str, &str); 2] = [
    (
        "operations",
        "Are audits being written, and if not, since when and why? The one to open when you are paged.",
        include_str!("../../../../dashboards/operations.json"),
    ),
    (
        "deep-dive",
        "Where the time goes and what the function costs, for those who look for a cause.",
        include_str!("../../../../dashboards/deep-dive.json"),
    ),
];

/// The ranges to choose from: what the address says, and their lengths in minutes.
const RANGES: [(&str, i64); 6] = [("15m", 15), ("1h", 60), ("3h", 180), ("12h", 720), ("1d", 1_440), ("2d", 2_880)];
/// The periods to choose from, likewise.
const PERIODS: [(&str, i64); 4] = [("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60)];
/// The shortest time that a dashboard shows, so that a world that has just started has an axis.
const SHORTEST: TimeDelta = TimeDelta::minutes(15);
/// How often a dashboard is redrawn, in seconds. No period is shorter than a minute.
const REDRAWN: i64 = 10;

/// The local world has no canary.
const CANARY_MISSING: &str = "config-audit-dev-CanaryMissing";

/// What to show of a dashboard.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Choice {
    range: Option<String>,
    period: Option<String>,
}

/// A dashboard at a time.
#[derive(Debug, Serialize)]
struct View {
    name: &'static str,
    at: DateTime<Utc>,
    widgets: Vec<Values>,
}

/// The list of dashboards.
pub(crate) async fn index(Shared(site): Shared<Arc<Site>>, headers: HeaderMap) -> Response {
    let names: Vec<&str> = BUNDLED.iter().map(|(name, ..)| *name).collect();
    site.frame.respond(&headers, &names, || {
        let content = html! {
            p.help { "The files of the folder dashboards/, drawn as CloudWatch draws them, from the metrics and the log of this world." }
            ul.steps {
                @for (name, about, _) in BUNDLED {
                    li { div { a.large href=(Address::below("/dashboards", name)) { (name) } p { (about) } } }
                }
            }
        };
        Page::new("Dashboards", Section::Dashboards, content)
    })
}

/// A dashboard.
///
/// # Errors
/// If there is no such dashboard, range or period.
pub(crate) async fn page(
    Shared(site): Shared<Arc<Site>>,
    Path(name): Path<String>,
    Query(choice): Query<Choice>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (name, dashboard) = find(&name, &choice)?;
    let view = view(name, &dashboard, &site, Clock::System.now());
    let drawn = drawn(&dashboard, &view)?;
    Ok(site.frame.respond(&headers, &view, || {
        let content = html! {
            (choices(name, &choice))
            div.live #dashboard { (drawn) }
        };
        let live = address(&format!("/live/dashboards/{name}"), choice.range.as_deref(), choice.period.as_deref());
        Page::new(format!("Dashboard: {name}"), Section::Dashboards, content).live(live)
    }))
}

/// The live part of a dashboard.
///
/// # Errors
/// If there is no such dashboard, range or period.
pub(crate) async fn live(
    Shared(site): Shared<Arc<Site>>,
    Path(name): Path<String>,
    Query(choice): Query<Choice>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let (name, dashboard) = find(&name, &choice)?;
    let last: Mutex<(i64, Markup)> = Mutex::default();
    Ok(live::stream(site.activity.revision(), move || {
        let now = Clock::System.now();
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if now.timestamp() / REDRAWN > last.0
            && let Ok(drawn) = drawn(&dashboard, &view(name, &dashboard, &site, now))
        {
            *last = (now.timestamp() / REDRAWN, drawn);
        }
        vec![("dashboard", last.1.clone())]
    }))
}

/// The bundled dashboard of this name, in a deployment that gives the names in it these values.
///
/// # Errors
/// If there is no such dashboard.
pub(crate) fn bundled(name: &str, value: &dyn Fn(&str) -> String) -> Result<(&'static str, Dashboard), Refusal> {
    let (name, _, body) = BUNDLED.into_iter().find(|(other, ..)| *other == name).ok_or(Refusal::NotFound)?;
    let dashboard = read(name, body, value).map_err(|error| Refusal::Failed(error.to_string()))?;
    Ok((name, dashboard))
}

fn find(name: &str, choice: &Choice) -> Result<(&'static str, Dashboard), Refusal> {
    let (name, mut dashboard) = bundled(name, &name_in_world)?;
    if let Some(minutes) = chosen("range", choice.range.as_deref(), &RANGES)? {
        dashboard.start = TimeDelta::minutes(minutes);
    }
    if let Some(minutes) = chosen("period", choice.period.as_deref(), &PERIODS)? {
        dashboard.set_period(minutes);
    }
    Ok((name, dashboard))
}

fn read(name: &str, body: &str, value: &dyn Fn(&str) -> String) -> Result<Dashboard, DashboardError> {
    Dashboard::read(&format!("dashboards/{name}.json"), body, &|name| Some(value(name)))
}

fn chosen(what: &str, text: Option<&str>, known: &[(&str, i64)]) -> Result<Option<i64>, Refusal> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let found = known.iter().find(|(other, _)| *other == text).map(|(_, minutes)| *minutes);
    let known: Vec<&str> = known.iter().map(|(other, _)| *other).collect();
    found.map(Some).ok_or_else(|| Refusal::Invalid(format!("the {what} is not one of {}", known.join(", "))))
}

fn view(name: &'static str, dashboard: &Dashboard, site: &Site, now: DateTime<Utc>) -> View {
    let alarms = site.alarms.states(&site.activity, now);
    let left_out = [CANARY_MISSING.to_owned()];
    let log = log::events(&site.activity, now - dashboard.start);
    let widgets = site.activity.read(|known| {
        let (metrics, first) = (known.metrics.metrics(), known.since.min(now - SHORTEST));
        values(dashboard, &Data { now, first, metrics, alarms: &alarms, left_out: &left_out, log: Some(&log) })
    });
    View { name, at: now, widgets }
}

fn drawn(dashboard: &Dashboard, view: &View) -> Result<Markup, Refusal> {
    draw(dashboard, &view.widgets, &[], &InWorld).map_err(|error| Refusal::Failed(error.to_string()))
}

/// The links of the ranges and periods.
fn choices(name: &str, choice: &Choice) -> Markup {
    let (range, period) = (choice.range.as_deref(), choice.period.as_deref());
    let here = format!("/dashboards/{name}");
    let link = |text: &str, range: Option<&str>, period: Option<&str>, is_chosen: bool| {
        html! { a href=(address(&here, range, period)) aria-current=[is_chosen.then_some("true")] { (text) } " " }
    };
    html! {
        p.toolbar.choices { "Range: " (link("as deployed", None, period, range.is_none()))
            @for (text, _) in RANGES { (link(text, Some(text), period, range == Some(text))) } }
        p.toolbar.choices { "Period: " (link("as deployed", range, None, period.is_none()))
            @for (text, _) in PERIODS { (link(text, range, Some(text), period == Some(text))) } }
    }
}

fn address(path: &str, range: Option<&str>, period: Option<&str>) -> String {
    Address::new(path).with("range", range.unwrap_or_default()).with("period", period.unwrap_or_default()).to_string()
}

/// The links of the console.
struct InWorld;

impl Links for InWorld {
    fn dashboard(&self, name: &str) -> String {
        let found = BUNDLED.iter().find(|(other, ..)| name.ends_with(other));
        found.map_or_else(|| "/dashboards".to_owned(), |(name, ..)| format!("/dashboards/{name}"))
    }

    fn alarm<'a>(&self, name: &'a str) -> (&'a str, Option<String>) {
        let id = name.rsplit('-').next().unwrap_or(name);
        (id, Some(Address::below("/alarms", id).to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use config_audit_cloudwatch::dashboard::Content;
    use config_audit_cloudwatch::insights::Query;

    use super::*;
    use crate::testing::fixture;

    #[test]
    fn everything_in_the_bundled_dashboards_can_be_drawn() {
        for (name, _, body) in BUNDLED {
            let dashboard = read(name, body, &name_in_world).unwrap();
            let mut rows: BTreeMap<u32, (u32, Vec<u32>)> = BTreeMap::new();
            for widget in &dashboard.widgets {
                let row = rows.entry(widget.y).or_default();
                row.0 += widget.width;
                row.1.push(widget.height);
                if let Content::Log { title, query } = &widget.content {
                    Query::parse(query).unwrap_or_else(|error| panic!("{name}, {title}: {error}"));
                }
            }
            // The grid has no gaps: it is drawn in this order, without places.
            for (y, (width, heights)) in rows {
                assert_eq!(width, 24, "{name}, row {y}");
                assert!(heights.iter().all(|height| *height == heights[0]), "{name}, row {y}");
            }
        }
    }

    #[tokio::test]
    async fn a_dashboard_is_a_page_and_a_json_document_and_nothing_else_has_its_address() {
        let fixture = fixture().await;
        let (status, _, page) = fixture.get("/dashboards/operations?range=1h&period=5m", "text/html").await;
        assert_eq!(status, 200);
        assert!(page.contains("No data in this time range") && !page.contains("${"), "{page}");
        assert!(
            page.contains("href=\"/dashboards/deep-dive\"") && page.contains("href=\"/alarms/Incident\""),
            "{page}"
        );
        assert!(!page.contains("no such alarm") && !page.contains("style="), "{page}");
        assert!(page.contains("data-live=\"/live/dashboards/operations?range=1h&amp;period=5m\""), "{page}");
        let (_, _, json) = fixture.get("/dashboards/deep-dive", "application/json").await;
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["name"], "deep-dive");
        assert!(json["widgets"].as_array().unwrap().iter().any(|widget| widget["type"] == "graph"), "{json}");
        for (address, status) in [
            ("/dashboards", 200),
            ("/dashboards/other", 404),
            ("/dashboards/operations?range=5y", 400),
            ("/dashboards/operations?period=1s", 400),
        ] {
            assert_eq!(fixture.get(address, "text/html").await.0, status, "{address}");
        }
    }
}

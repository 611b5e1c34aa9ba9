//! A drawn dashboard as a page of its own, for a browser.

use config_audit_cloudwatch::dashboard::Dashboard;
use config_audit_console::dashboards::{ChartError, Links, Mark, STYLE, Values, draw};
use maud::{DOCTYPE, PreEscaped, html};

/// What is around the dashboard.
const PAGE_STYLE: &str = include_str!("page.css");

/// A dashboard as a page, with one line about the data above it.
///
/// # Errors
/// If a graph cannot be drawn.
pub(super) fn page(
    name: &str,
    about: &str,
    dashboard: &Dashboard,
    values: &[Values],
    marks: &[Mark],
    links: &dyn Links,
) -> Result<String, ChartError> {
    let drawn = draw(dashboard, values, marks, links)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (name) ": " (about) }
                style { (PreEscaped(PAGE_STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                header { (about) }
                main { (drawn) }
            }
        }
    };
    Ok(page.into_string())
}

//! Runbooks as pages.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use std::sync::Arc;

use super::bundled;
use crate::layout::{Page, Section};
use crate::markdown;
use crate::site::{Refusal, Site};

/// The page of a runbook.
///
/// # Errors
/// When there is no such runbook.
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let text = bundled::runbook(&name).ok_or(Refusal::NotFound)?;
    let view = json!({ "name": name, "markdown": text });
    Ok(site.frame.respond(&headers, &view, || Page::new("Runbook", Section::Alarms, render(text))))
}

/// The text as HTML.
pub(crate) fn render(text: &str) -> Markup {
    html! { article.runbook { (markdown::render(text, &address)) } }
}

/// A link's target in the console; `None` if its file is not in the console.
fn address(link: &str) -> Option<String> {
    if link.starts_with('#') || link.starts_with("https://") {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let name = file.strip_suffix(".md").filter(|name| bundled::runbook(name).is_some())?;
    Some(if anchor.is_empty() { format!("/runbooks/{name}") } else { format!("/runbooks/{name}#{anchor}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_links_to_other_runbooks_and_to_the_web() {
        let text = "[one](incident.md#a) [two](../security.md) [three](https://example.com) [four](#b)";
        let page = render(text).into_string();
        assert!(
            page.contains(
                r##"<a href="/runbooks/incident#a">one</a> two <a href="https://example.com">three</a> <a href="#b">four</a>"##
            ),
            "{page}"
        );
    }
}

//! Runbooks as pages.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use maud::{Markup, PreEscaped, html};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use serde_json::json;
use std::sync::Arc;

use super::bundled;
use crate::layout::{Page, Section};
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

/// The text as HTML, with its headings one level below the page's own.
pub(super) fn render(markdown: &str) -> Markup {
    let mut dropped = 0;
    let events = Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| {
        Some(match event {
            Event::Start(Tag::Heading { level, id, classes, attrs }) => {
                Event::Start(Tag::Heading { level: lower(level), id, classes, attrs })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let Some(address) = address(&dest_url) else {
                    dropped += 1;
                    return None;
                };
                Event::Start(Tag::Link { link_type, dest_url: CowStr::from(address), title, id })
            }
            Event::End(TagEnd::Link) if dropped > 0 => {
                dropped -= 1;
                return None;
            }
            // Our own texts contain no HTML; anything that looks like it stays text.
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            other => other,
        })
    });
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, events);
    // Make wide tables and long commands scrollable by keyboard.
    let page = page.replace("<pre>", "<pre tabindex=\"0\">");
    html! { article.runbook { (PreEscaped(page)) } }
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H2,
        HeadingLevel::H2 => HeadingLevel::H3,
        HeadingLevel::H3 => HeadingLevel::H4,
        HeadingLevel::H4 => HeadingLevel::H5,
        HeadingLevel::H5 | HeadingLevel::H6 => HeadingLevel::H6,
    }
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
    fn a_runbook_is_rendered_below_the_page_heading_and_links_to_other_runbooks() {
        let text = "# Title\n\n<b>x</b> [one](incident.md#a) [two](../security.md) [three](https://example.com)\n\n```sh\nls\n```\n";
        let page = render(text).into_string();
        assert!(page.contains("<h2>Title</h2>") && page.contains("&lt;b&gt;x"), "{page}");
        assert!(
            page.contains(r#"<a href="/runbooks/incident#a">one</a> two <a href="https://example.com">three</a>"#),
            "{page}"
        );
        assert!(page.contains("<pre tabindex=\"0\"><code class=\"language-sh\">ls"), "{page}");
    }
}

//! Our own texts as HTML.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Markdown as HTML, with its headings one level below the page's own. HTML in it stays text, and images are left out.
/// `address` says where a link leads; the text of a link that leads nowhere is kept.
pub(crate) fn render(markdown: &str, address: &dyn Fn(&str) -> Option<String>) -> Markup {
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
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => return None,
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            other => other,
        })
    });
    let mut page = String::new();
    pulldown_cmark::html::push_html(&mut page, events);
    // Make wide tables and long commands scrollable by keyboard.
    PreEscaped(page.replace("<pre>", "<pre tabindex=\"0\">"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_stays_text_and_links_lead_only_where_they_may() {
        let text = "# Title\n\n<script>x</script>\n\n<b>y</b> [one](a) [two](javascript:z) ![image](file:///f)\n\n```sh\nls\n```\n";
        let page = render(text, &|link| (link == "a").then(|| "/a".to_owned())).into_string();
        assert!(page.contains("<h2>Title</h2>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("&lt;b&gt;y&lt;/b&gt; <a href=\"/a\">one</a> two image"), "{page}");
        assert!(page.contains("<pre tabindex=\"0\"><code class=\"language-sh\">ls"), "{page}");
        assert!(!page.contains("javascript:") && !page.contains("file:"), "{page}");
    }
}

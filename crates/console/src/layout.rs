//! The frame of every page.

use maud::{DOCTYPE, Markup, html};

use crate::assets::{ICON, SCRIPT, STYLE};

/// A section of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The world at a glance.
    Overview,
}

impl Section {
    /// Its name and its address.
    #[must_use]
    pub(crate) const fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/"),
        }
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// The heading.
    pub(crate) title: &'a str,
    /// The section that it belongs to.
    pub(crate) section: Section,
    /// Where its live parts come from; they have IDs, and the class `live`.
    pub(crate) live: Option<&'a str>,
    /// All below the heading.
    pub(crate) content: Markup,
}

impl Page<'_> {
    /// The whole document, with links to these sections. `place` says what is shown, such as the tables.
    #[must_use]
    pub(crate) fn render(&self, sections: &[Section], place: &str) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · config-audit" }
                    link rel="icon" href=(ICON.address());
                    link rel="stylesheet" href=(STYLE.address());
                    script src=(SCRIPT.address()) defer {}
                }
                body data-live=[self.live] {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "config-audit" }
                        nav aria-label="Sections" {
                            @for section in sections {
                                @let (name, address) = section.link();
                                a href=(address) aria-current=[(*section == self.section).then_some("page")] { (name) }
                            }
                        }
                        p.place { (place) }
                        @if self.live.is_some() {
                            p #connection role="status" { "not live: reload for the newest" }
                        }
                    }
                    main #content tabindex="-1" {
                        h1 { (self.title) }
                        (self.content)
                    }
                }
            }
        }
    }
}

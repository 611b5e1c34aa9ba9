//! The layout of every page.

use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use serde::Serialize;

use crate::assets::{DASHBOARD_STYLE, ICON, SCRIPT, STYLE};
use crate::site::wants_json;

/// A section of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// The world at a glance.
    Overview,
    /// The entries of the Audit table.
    Trail,
    /// The function's invocations.
    Invocations,
    /// The bundled dashboards.
    Dashboards,
    /// The bundled alarms.
    Alarms,
    /// Switches that break the world.
    BreakIt,
    /// Simulated incidents.
    Practice,
}

impl Section {
    /// Its name and its address.
    #[must_use]
    pub(crate) const fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/"),
            Self::Trail => ("Trail", "/trail"),
            Self::Invocations => ("Invocations", "/invocations"),
            Self::Dashboards => ("Dashboards", "/dashboards"),
            Self::Alarms => ("Alarms", "/alarms"),
            Self::BreakIt => ("Break it", "/break"),
            Self::Practice => ("Practise", "/practice"),
        }
    }
}

/// What all pages of a console share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frame {
    /// The sections of this console.
    pub(crate) sections: &'static [Section],
    /// What is shown, such as the tables.
    pub(crate) place: String,
    /// The message at the top of every page.
    pub(crate) notice: Option<&'static str>,
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    title: String,
    section: Section,
    live: Option<String>,
    content: Markup,
}

impl Page {
    /// A page with this heading, in this section.
    pub(crate) fn new(title: impl Into<String>, section: Section, content: Markup) -> Self {
        Self { title: title.into(), section, live: None, content }
    }

    /// Adds live parts, which come from this address. They have IDs and the class `live`.
    pub(crate) fn live(mut self, address: String) -> Self {
        self.live = Some(address);
        self
    }
}

impl Frame {
    /// A page, or its view as JSON, whichever the client asked for.
    pub(crate) fn respond(&self, headers: &HeaderMap, view: &impl Serialize, page: impl FnOnce() -> Page) -> Response {
        if wants_json(headers) { axum::Json(view).into_response() } else { self.render(&page()).into_response() }
    }

    /// The whole document.
    #[must_use]
    pub(crate) fn render(&self, page: &Page) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (page.title) " · config-audit" }
                    link rel="icon" href=(ICON.address());
                    link rel="stylesheet" href=(STYLE.address());
                    @if matches!(page.section, Section::Dashboards | Section::Practice) { link rel="stylesheet" href=(DASHBOARD_STYLE.address()); }
                    script src=(SCRIPT.address()) defer {}
                }
                body data-live=[&page.live] {
                    a.skip href="#content" { "Skip to the content" }
                    header.top {
                        a.brand href="/" { "config-audit" }
                        nav aria-label="Sections" {
                            @for section in self.sections {
                                @let (name, address) = section.link();
                                a href=(address) aria-current=[(*section == page.section).then_some("page")] { (name) }
                            }
                        }
                        p.place { (self.place) }
                        @if page.live.is_some() {
                            p #connection role="status" { "not live: reload for the newest" }
                        }
                    }
                    main #content tabindex="-1" {
                        h1 { (page.title) }
                        @if let Some(notice) = self.notice { p.help { (notice) } }
                        (page.content)
                    }
                }
            }
        }
    }
}

//! One complete entry, at an address to share with a colleague.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use config_audit_local::aws::entry::Entry;
use config_audit_local::aws::item;
use maud::{Markup, html};
use serde::Deserialize;

use super::row::{Row, badge, item_address};
use super::{Head, Trail};
use crate::address::Address;
use crate::layout::{Page, Section};
use crate::site::Refusal;
use crate::text::Visible;

/// What the address asks for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    values: String,
}

/// The page.
///
/// # Errors
/// If there is no such entry, or DynamoDB rejects the request.
pub(super) async fn page(
    State(trail): State<Arc<Trail>>,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let found = trail.audit.entry(&id).await?.ok_or(Refusal::NotFound)?;
    let found = item(found);
    let row = Row::of(&trail, Head::of(&found), trail.shows_values(&asked.values).then(|| Entry::from_item(found)));
    Ok(trail.frame.respond(&headers, &row, || Page::new("Entry", Section::Trail, content(&row, &asked))))
}

fn content(row: &Row, asked: &Asked) -> Markup {
    let Head { id, item_key, updated_attribute, .. } = &row.head;
    html! {
        p { (badge(row.kind)) " " a.key href=(item_address(item_key).with("values", &asked.values)) { (Visible(item_key)) }
            @if let Some(name) = updated_attribute { " " code { (Visible(name)) } } " at " (row.time()) " UTC" }
        div.entry.whole { (row.sides(true)) }
        @if row.entry().is_none() {
            p { a href=(Address::below("/trail/entry", id).with("values", "shown")) { "Show the values" } }
        }
        dl.facts {
            dt { "Entry" } dd { code { (Visible(id)) } }
            @if let Some(request_id) = &row.request_id {
                dt { "Written by" } dd { a href=(Address::below("/invocations", request_id)) { "invocation " (request_id) } }
            }
            @if let Some(provenance) = row.value("provenance") { dt { "Provenance" } dd { code { (Visible(&provenance)) } } }
        }
    }
}

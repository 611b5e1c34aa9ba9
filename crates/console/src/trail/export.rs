//! Exports the entries of a list as a file.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use config_audit_tables::CONCURRENCY;
use config_audit_tables::export::COLUMNS;
use config_audit_text::csv_line;
use futures_util::stream::{Stream, StreamExt, iter, once};

use super::index::Kind;
use super::list::Asked;
use super::row::{Row, entry};
use super::{Head, Trail};
use crate::site::Refusal;

/// As CSV.
///
/// # Errors
/// If the filter is not valid.
pub(super) async fn csv(State(trail): State<Arc<Trail>>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let rows = rows(trail, &asked)?.map(|row| row.map(|row| csv_line(columns(&row)) + "\n"));
    let header = csv_line(COLUMNS) + "\n";
    Ok(file("audit-trail.csv", "text/csv; charset=utf-8", once(async { Ok(header) }).chain(rows)))
}

/// As a JSON array.
///
/// # Errors
/// If the filter is not valid.
pub(super) async fn json(State(trail): State<Arc<Trail>>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let rows = rows(trail, &asked)?.enumerate().map(|(number, row)| {
        let json = serde_json::to_string(&row?).map_err(io::Error::other)?;
        Ok(if number == 0 { json } else { format!(",\n{json}") })
    });
    let text = |text: &'static str| once(async move { Ok(text.to_owned()) });
    Ok(file("audit-trail.json", "application/json", text("[").chain(rows).chain(text("]\n"))))
}

/// Streams the rows, and reads their values if asked to. If AWS fails before the end, the file ends in an error, so
/// that nobody takes it for complete.
fn rows(trail: Arc<Trail>, asked: &Asked) -> Result<impl Stream<Item = io::Result<Row>> + use<>, Refusal> {
    if let Some(mistake) = asked.filter.mistake() {
        return Err(Refusal::Invalid(mistake));
    }
    let with_values = trail.shows_values(&asked.values);
    let heads = trail.index.page(&asked.filter, None, usize::MAX - 1).heads;
    let rows = iter(heads).map(move |head: Head| {
        let trail = Arc::clone(&trail);
        async move {
            let entry = if with_values { entry(&trail.audit, &head.id).await.map_err(io::Error::other)? } else { None };
            Ok(Row::of(&trail, head, entry))
        }
    });
    Ok(rows.buffered(CONCURRENCY))
}

fn file(
    name: &str,
    content_type: &'static str,
    parts: impl Stream<Item = io::Result<String>> + Send + 'static,
) -> Response {
    let headers =
        [(CONTENT_TYPE, content_type.to_owned()), (CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\""))];
    (headers, Body::from_stream(parts.map(|part| part.map(Bytes::from)))).into_response()
}

fn columns(row: &Row) -> [String; 7] {
    let Head { id, item_key, modification_time, updated_attribute, .. } = &row.head;
    [
        modification_time.to_string(),
        item_key.to_string(),
        updated_attribute.as_deref().unwrap_or_default().to_owned(),
        row.value("oldValue").unwrap_or_default(),
        row.value("newValue").unwrap_or_default(),
        (row.kind == Kind::Backfilled).to_string(),
        id.to_string(),
    ]
}

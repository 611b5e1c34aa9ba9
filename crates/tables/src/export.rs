//! Reads a whole trail in order of time, without holding its values.
//!
//! DynamoDB returns the entries of a table in no useful order. So [`heads`] first reads the sort keys of the entries,
//! and [`entries`] then reads the entries themselves in that order. Memory holds a [`Head`] for each entry, and the
//! entries of [`CONCURRENT_BATCHES`] batches.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::stream::{Stream, StreamExt, iter};

use crate::SdkItem;
use crate::audit::AuditTable;
use crate::batch::MAX_BATCH;
use crate::error::AwsError;

/// How many batches of entries are read concurrently.
const CONCURRENT_BATCHES: usize = 4;

/// The columns of entries as CSV, for everything that prints or serves them.
pub const COLUMNS: [&str; 7] =
    ["modificationTime", "itemKey", "updatedAttribute", "oldValue", "newValue", "backfilled", "id"];

/// The sort key of an entry: the time of the change, then the item, then the ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Head {
    /// The time of the change, according to the entry.
    pub time: Box<str>,
    /// The item's key.
    pub item_key: Box<str>,
    /// The entry's ID.
    pub id: Box<str>,
}

impl Head {
    /// The head of this entry. A missing attribute is empty.
    #[must_use]
    pub fn of(entry: &SdkItem) -> Self {
        let text = |name| text(entry, name).unwrap_or_default().into();
        Self { time: text("modificationTime"), item_key: text("itemKey"), id: text("id") }
    }
}

/// The sorted heads of all entries for which `is_wanted` returns true. It receives the head, and the attribute that the
/// entry says was changed. `progress` receives the number of entries read, and how many of them are wanted.
///
/// # Errors
/// If AWS returns an error.
pub async fn heads(
    audit: &AuditTable,
    is_wanted: impl Fn(&Head, Option<&str>) -> bool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Head>, AwsError> {
    let (mut heads, mut read, mut start) = (Vec::new(), 0, None);
    loop {
        let (outlines, next) = audit.outlines(start).await?;
        read += outlines.len();
        let wanted = outlines.iter().map(|outline| (Head::of(outline), text(outline, "updatedAttribute")));
        heads.extend(wanted.filter(|(head, attribute)| is_wanted(head, *attribute)).map(|(head, _)| head));
        progress(read, heads.len());
        start = next;
        if start.is_none() {
            heads.sort_unstable();
            return Ok(heads);
        }
    }
}

/// The entries with these heads, in batches, in the same order; `None` for an entry that no longer exists.
pub fn entries<'a>(
    audit: &'a AuditTable,
    heads: &'a [Head],
) -> impl Stream<Item = Result<Vec<(&'a Head, Option<SdkItem>)>, AwsError>> + 'a {
    let batches = iter(heads.chunks(MAX_BATCH)).map(move |heads| async move {
        let ids: Vec<&str> = heads.iter().map(|head| &*head.id).collect();
        let mut found = audit.entries_by_id(&ids).await?;
        let mut entries = Vec::with_capacity(heads.len());
        for head in heads {
            let entry = match found.remove(&*head.id) {
                Some(entry) => Some(entry),
                // A batch is eventually consistent, so it may lack an entry that was just written.
                None => audit.current_entry(&head.id).await?,
            };
            entries.push((head, entry));
        }
        Ok(entries)
    });
    batches.buffered(CONCURRENT_BATCHES)
}

fn text<'a>(entry: &'a SdkItem, name: &str) -> Option<&'a str> {
    if let Some(AttributeValue::S(text)) = entry.get(name) { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use config_audit_local::{AwsSettings, Database};
    use futures_util::stream::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn entries_come_by_time_in_batches_and_a_deleted_one_is_none() {
        let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
        database.ensure_audit_table("Audit").await.unwrap();
        let table = AuditTable::new(database.client().clone(), "Audit", "here");
        for number in 0..=MAX_BATCH {
            let put = database.client().put_item().table_name("Audit");
            let text = |text: String| AttributeValue::S(text);
            let put = put.item("id", text(number.to_string())).item("itemKey", text("K".to_owned()));
            let put = put.item("modificationTime", text(format!("{:03}", MAX_BATCH - number)));
            put.item("updatedAttribute", text(if number == 0 { "other" } else { "a" }.to_owned()))
                .send()
                .await
                .unwrap();
        }
        let mut progress = Vec::new();
        let heads = heads(&table, |_, attribute| attribute == Some("a"), |read, wanted| progress.push((read, wanted)));
        let heads = heads.await.unwrap();
        assert_eq!(progress, [(MAX_BATCH + 1, MAX_BATCH)]);
        assert!(heads.is_sorted() && (&*heads[0].id, &*heads[0].time) == ("100", "000"), "{heads:?}");

        let delete = database.client().delete_item().table_name("Audit");
        delete.key("id", AttributeValue::S("7".to_owned())).send().await.unwrap();
        let batches: Vec<_> = entries(&table, &heads).try_collect().await.unwrap();
        let read: Vec<_> = batches.concat();
        assert!(read.iter().map(|(head, _)| *head).eq(&heads));
        for (head, entry) in read {
            assert_eq!(entry.as_ref().map(Head::of).as_ref(), Some(head).filter(|head| &*head.id != "7"));
        }
        database.stop().await;
    }
}

//! The Audit table's stream: publishes new entries as they are written.

use std::time::Duration;

use crate::aws::entry::Entry;
use crate::aws::stream::StreamReader;
use crate::event::{EventBus, WorldEvent};

/// How often to look for new entries.
const POLL: Duration = Duration::from_millis(100);
/// The number of polls between searches for new shards.
const REFRESH: u32 = 50;

/// Publishes the entries that this reader reads, until it is dropped.
pub(crate) async fn publish_entries(mut reader: StreamReader, bus: EventBus) {
    let mut polls = 0_u32;
    loop {
        // New shards are rare. A failure here is retried; the mapping warns if the endpoint is unreachable.
        if polls.is_multiple_of(REFRESH) {
            let _ = reader.refresh().await;
        }
        polls = polls.wrapping_add(1);
        let shards: Vec<_> = reader.shards().map(|(id, _)| id.to_owned()).collect();
        for shard in shards {
            let Ok(page) = reader.read(&shard, 1000).await else { continue };
            if let Some(message) = page.notice {
                bus.publish(WorldEvent::Warning { message });
            }
            for change in page.records.into_iter().filter_map(|record| record.dynamodb) {
                // Rewriting an entry on redelivery adds a stream record in the embedded database, but not in DynamoDB.
                if let Some(image) = change.new_image.filter(|new| Some(new) != change.old_image.as_ref()) {
                    bus.publish(WorldEvent::EntryStored { entry: Entry::from_item(image) });
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

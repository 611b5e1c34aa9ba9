//! The Audit table's stream: publishes new entries as they are written.

use std::time::Duration;

use crate::aws::entry::Entry;
use crate::aws::stream::StreamReader;
use crate::event::{EventBus, WorldEvent};

/// How often to look for new entries.
const POLL: Duration = Duration::from_millis(100);
/// After how many polls to look for new shards.
const REFRESH: u32 = 50;

/// Publishes the entries that this reader reads, until it is dropped.
pub(crate) async fn publish_entries(mut reader: StreamReader, bus: EventBus) {
    let mut polls = 0_u32;
    loop {
        // New shards are rare. What fails here is tried again; the mapping warns if the endpoint is away.
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
                // A redelivered record rewrites its entry. DynamoDB has no stream record of that, the embedded one has.
                if let Some(image) = change.new_image.filter(|new| Some(new) != change.old_image.as_ref()) {
                    bus.publish(WorldEvent::EntryStored { entry: Entry::from_item(image) });
                }
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

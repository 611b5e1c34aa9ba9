//! A change to an item, and where it is now.

use chrono::{DateTime, Utc};
use config_audit_mapping::SequenceNumber;
use serde::Serialize;

/// A change to an item, from the stream to its entries.
#[derive(Debug, Clone)]
pub struct Change {
    /// The item's key; empty if the record does not have one.
    pub key: String,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// When the item was changed, to the second, as the stream reports it.
    pub created: DateTime<Utc>,
    /// Its position in the shard.
    pub sequence_number: SequenceNumber,
    /// `eventID`.
    pub event_id: String,
    /// Its shard.
    pub shard_id: String,
    /// Where it is now.
    pub place: Place,
    /// How many times it was delivered to the function.
    pub deliveries: usize,
    /// The last invocation that received it.
    pub request_id: Option<String>,
    /// How many of its entries are stored.
    pub entries: usize,
    /// The attribute that changed, if only one did.
    pub attribute: Option<String>,
    /// From the change to its last entry.
    pub lag_ms: Option<f64>,
}

/// How far a change has got.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "place")]
pub enum Place {
    /// It is in the stream, and the mapping has not delivered it yet.
    InStream,
    /// The function is processing it.
    InFunction,
    /// The function could not audit it, or the whole invocation failed.
    Failed {
        /// Why.
        reason: String,
    },
    /// It will be delivered again.
    AwaitingRetry {
        /// The number of that retry, from 1.
        retry: u32,
        /// When.
        at: DateTime<Utc>,
        /// Why it failed.
        reason: String,
    },
    /// All its entries are stored.
    Audited,
    /// No attribute changed, so it has no entries.
    Unchanged,
    /// The function put it into the failure bucket.
    Quarantined {
        /// Why.
        reason: String,
    },
    /// Lambda put it into the failure bucket.
    GivenUp {
        /// Lambda's condition.
        condition: String,
    },
    /// It is done, but the console received nothing that says how.
    Done,
}

impl Place {
    /// Whether it is in its final place.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::InStream | Self::InFunction | Self::Failed { .. } | Self::AwaitingRetry { .. })
    }
}

impl Change {
    /// What was done, in one word.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self.event_name.as_str() {
            "INSERT" => "created",
            "MODIFY" => "changed",
            "REMOVE" => "deleted",
            _ => "unknown",
        }
    }
}

//! A change of an item, and where it is now.

use chrono::{DateTime, Utc};
use config_audit_mapping::SequenceNumber;
use serde::Serialize;

/// A change of an item, from the stream to its entries.
#[derive(Debug, Clone)]
pub struct Change {
    /// The item's key; empty if the record has none.
    pub key: String,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// When the item was changed, as the stream says it: a whole second.
    pub created: DateTime<Utc>,
    /// Its place in the shard.
    pub sequence_number: SequenceNumber,
    /// `eventID`.
    pub event_id: String,
    /// Its shard.
    pub shard_id: String,
    /// Where it is now.
    pub place: Place,
    /// How often it was delivered to the function.
    pub deliveries: usize,
    /// The last invocation with it.
    pub request_id: Option<String>,
    /// How many of its entries are stored.
    pub entries: usize,
    /// The attribute that changed, if it is one.
    pub attribute: Option<String>,
    /// From the change to its last entry.
    pub lag_ms: Option<f64>,
}

/// Where a change is on its way.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "place")]
pub enum Place {
    /// It is in the stream, and the mapping has not delivered it yet.
    InStream,
    /// The function works on it.
    InFunction,
    /// The function could not audit it, or failed as a whole.
    Failed {
        /// Why.
        reason: String,
    },
    /// It will be delivered again.
    AwaitingRetry {
        /// Which retry that will be, from 1.
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
    /// It is done. Nothing that was received says what became of it.
    Done,
}

impl Place {
    /// Whether nothing more will happen to it.
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

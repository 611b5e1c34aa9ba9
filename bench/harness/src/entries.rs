//! Checks that two subjects wrote the same entries: the same IDs with the same contents, each once.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

/// The entries of an invocation, by their IDs.
#[derive(Debug, PartialEq)]
pub(crate) struct Entries(BTreeMap<String, Value>);

/// Why the written entries are not the expected ones.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntriesError {
    /// A body that is not JSON.
    #[error("a request is not valid JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A body without a put.
    #[error("a request puts no item with an id")]
    NoItem,
    /// An entry was sent twice in one invocation.
    #[error("the entry {0} was written twice")]
    Twice(String),
    /// Only one subject wrote the entry, or the contents differ.
    #[error("the entry {id} is {theirs}, not {ours}")]
    Differs {
        /// The entry.
        id: String,
        /// What this subject wrote.
        theirs: String,
        /// What ours wrote.
        ours: String,
    },
}

impl Entries {
    /// Reads the bodies of `BatchWriteItem` or `PutItem`.
    ///
    /// # Errors
    /// When a body is not a request, or an entry was sent twice.
    pub(crate) fn read(bodies: &[Bytes]) -> Result<Self, EntriesError> {
        let mut entries = BTreeMap::new();
        for body in bodies {
            let mut body: Value = serde_json::from_slice(body)?;
            let items: Vec<Value> = match body.get_mut("RequestItems").and_then(Value::as_object_mut) {
                Some(tables) => tables
                    .values_mut()
                    .filter_map(Value::as_array_mut)
                    .flatten()
                    .map(|request| request["PutRequest"]["Item"].take())
                    .collect(),
                None => vec![body["Item"].take()],
            };
            for item in items {
                let id = item["id"]["S"].as_str().ok_or(EntriesError::NoItem)?.to_owned();
                if entries.insert(id.clone(), item).is_some() {
                    return Err(EntriesError::Twice(id));
                }
            }
        }
        Ok(Self(entries))
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Checks that these are the entries that ours wrote.
    ///
    /// # Errors
    /// The first entry that differs.
    pub(crate) fn compare(&self, ours: &Self) -> Result<(), EntriesError> {
        let text = |entry: Option<&Value>| entry.map_or_else(|| "missing".to_owned(), Value::to_string);
        for id in self.0.keys().chain(ours.0.keys()) {
            let (theirs, ours) = (self.0.get(id), ours.0.get(id));
            if theirs != ours {
                return Err(EntriesError::Differs { id: id.clone(), theirs: text(theirs), ours: text(ours) });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bodies: &[&'static str]) -> Result<Entries, EntriesError> {
        Entries::read(&bodies.iter().map(|body| Bytes::from_static(body.as_bytes())).collect::<Vec<_>>())
    }

    const BATCH: &str = r#"{"RequestItems":{"Audit":[{"PutRequest":{"Item":{"id":{"S":"a"},"newValue":{"N":"1"}}}}]}}"#;

    #[test]
    fn an_entry_is_the_same_in_a_batch_and_alone() {
        let alone = read(&[r#"{"Item":{"newValue":{"N":"1"},"id":{"S":"a"}},"TableName":"Audit"}"#]).unwrap();
        alone.compare(&read(&[BATCH]).unwrap()).unwrap();
    }

    #[test]
    fn other_contents_a_missing_entry_and_a_second_one_are_found() {
        let ours = read(&[BATCH]).unwrap();
        let other = read(&[r#"{"Item":{"id":{"S":"a"},"newValue":{"N":"2"}}}"#]).unwrap();
        assert!(matches!(other.compare(&ours), Err(EntriesError::Differs { id, .. }) if id == "a"));
        assert!(matches!(read(&[]).unwrap().compare(&ours), Err(EntriesError::Differs { .. })));
        assert!(matches!(read(&[BATCH, BATCH]), Err(EntriesError::Twice(id)) if id == "a"));
    }
}

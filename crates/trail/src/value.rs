//! A value of an attribute, as the trail compares it.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use config_audit::audit::omitted_hash;
use config_audit::value::{canonical_hash, equal, size};
use serde_dynamo::AttributeValue;

/// An item of DynamoDB, in the library's type.
pub type Item = HashMap<String, AttributeValue>;

/// The attributes of an item.
pub type Attributes = HashMap<String, Value>;

/// The value of an attribute, or a note in its place if it was too large for an entry. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Value(Arc<Hashed>);

#[derive(Debug)]
struct Hashed {
    value: AttributeValue,
    /// The value's hash, computed on first use.
    hash: OnceLock<String>,
}

impl Value {
    /// The value itself.
    #[must_use]
    pub fn get(&self) -> &AttributeValue {
        &self.0.value
    }

    /// Whether it is a note in place of a value.
    #[must_use]
    pub fn is_omitted(&self) -> bool {
        omitted_hash(self.get()).is_some()
    }

    /// The hash that equal values share. A note has the hash of the value that it stands for.
    #[must_use]
    pub fn hash(&self) -> &str {
        omitted_hash(self.get()).unwrap_or_else(|| self.0.hash.get_or_init(|| canonical_hash(self.get())))
    }

    /// Its size in bytes, as DynamoDB counts it.
    #[must_use]
    pub fn size(&self) -> usize {
        size(self.get())
    }

    /// Whether both are the same value; a note may stand for either.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || equal(self.get(), other.get())
            || ((self.is_omitted() || other.is_omitted()) && self.hash() == other.hash())
    }
}

impl From<AttributeValue> for Value {
    fn from(value: AttributeValue) -> Self {
        Self(Arc::new(Hashed { value, hash: OnceLock::new() }))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

/// How many levels of lists and maps a value has.
pub(super) fn depth(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(members) => 1 + members.iter().map(depth).max().unwrap_or_default(),
        AttributeValue::M(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The state of an attribute: its value, or `None` if it did not exist.
pub(super) type Attribute<'a> = Option<&'a Value>;

/// The attributes of this item.
pub(super) fn attributes(item: Item) -> Attributes {
    item.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// Whether two attributes have the same value; `None` means that the attribute does not exist.
pub(super) fn same(one: Attribute<'_>, other: Attribute<'_>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (None, None) => true,
        _ => false,
    }
}

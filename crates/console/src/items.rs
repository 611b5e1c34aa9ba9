//! Changes items of the local world's Configuration table by hand.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use config_audit_local::aws::error_message;
use serde::Deserialize;
use serde_json::Value;

/// The Configuration table of the local world.
#[derive(Debug, Clone)]
pub(crate) struct Items {
    client: Client,
    table: String,
    audit_table: String,
    key_attribute: String,
}

/// What somebody does to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tampering {
    /// Gives it another new value.
    Alter,
    /// Removes it.
    Delete,
}

/// Why an item cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ItemError {
    /// An item needs a key.
    #[error("an item needs a key, such as CACHE_TTL_SEC")]
    NoKey,
    /// The attribute has no name, or that of the key attribute.
    #[error("an attribute needs a name other than {key_attribute}, which is the key attribute")]
    Attribute {
        /// The key attribute.
        key_attribute: String,
    },
    /// DynamoDB refused.
    #[error("table {table} cannot be changed: {message}")]
    Refused {
        /// The table.
        table: String,
        /// DynamoDB's reason.
        message: String,
    },
}

impl Items {
    /// The items of this table.
    #[must_use]
    pub(crate) fn new(client: Client, table: &str, key_attribute: &str, audit_table: &str) -> Self {
        let (table, audit_table) = (table.to_owned(), audit_table.to_owned());
        Self { client, table, audit_table, key_attribute: key_attribute.to_owned() }
    }

    /// The Configuration table's name.
    #[must_use]
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The Audit table's name.
    #[must_use]
    pub(crate) fn audit_table(&self) -> &str {
        &self.audit_table
    }

    /// Sets an attribute of an item. Creates the item if it does not exist.
    ///
    /// # Errors
    /// If a name is missing, or DynamoDB rejects the request.
    pub(crate) async fn set(&self, key: &str, attribute: &str, value: &str) -> Result<(), ItemError> {
        let key = self.key(key)?;
        if attribute.is_empty() || attribute == self.key_attribute {
            return Err(ItemError::Attribute { key_attribute: self.key_attribute.clone() });
        }
        let update = self.client.update_item().table_name(&self.table).set_key(Some(key));
        let update =
            update.update_expression("SET #attribute = :value").expression_attribute_names("#attribute", attribute);
        let sent = update.expression_attribute_values(":value", read_value(value)).send().await;
        sent.map(drop).map_err(|error| self.refused(error_message(&error)))
    }

    /// Deletes an item. Like DynamoDB, does nothing if the item does not exist.
    ///
    /// # Errors
    /// If the key is missing, or DynamoDB rejects the request.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), ItemError> {
        let key = self.key(key)?;
        let sent = self.client.delete_item().table_name(&self.table).set_key(Some(key)).send().await;
        sent.map(drop).map_err(|error| self.refused(error_message(&error)))
    }

    /// Alters or deletes an entry, as somebody would who may write to the Audit table.
    ///
    /// # Errors
    /// If DynamoDB rejects the request.
    pub(crate) async fn tamper(&self, act: Tampering, id: &str) -> Result<(), ItemError> {
        let table = &self.audit_table;
        let refused = |message| ItemError::Refused { table: table.clone(), message };
        let key = AttributeValue::S(id.to_owned());
        match act {
            Tampering::Alter => {
                let update = self.client.update_item().table_name(table).key("id", key);
                let update = update.update_expression("SET newValue = :value");
                let update =
                    update.expression_attribute_values(":value", AttributeValue::S("something else".to_owned()));
                update.send().await.map(drop).map_err(|error| refused(error_message(&error)))
            }
            Tampering::Delete => {
                let delete = self.client.delete_item().table_name(table).key("id", key);
                delete.send().await.map(drop).map_err(|error| refused(error_message(&error)))
            }
        }
    }

    fn key(&self, key: &str) -> Result<HashMap<String, AttributeValue>, ItemError> {
        if key.is_empty() {
            return Err(ItemError::NoKey);
        }
        Ok(HashMap::from([(self.key_attribute.clone(), AttributeValue::S(key.to_owned()))]))
    }

    fn refused(&self, message: String) -> ItemError {
        ItemError::Refused { table: self.table.clone(), message }
    }
}

/// Converts user input: JSON becomes the matching DynamoDB type, everything else a string.
fn read_value(text: &str) -> AttributeValue {
    let is_number = !text.is_empty() && text.parse::<f64>().is_ok_and(f64::is_finite);
    match serde_json::from_str::<Value>(text) {
        // Keep the digits as typed; a float would lose some.
        Ok(Value::Number(_)) if is_number => AttributeValue::N(text.trim().to_owned()),
        Ok(value) => of_json(value),
        Err(_) => AttributeValue::S(text.to_owned()),
    }
}

fn of_json(value: Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(value),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text),
        Value::Array(values) => AttributeValue::L(values.into_iter().map(of_json).collect()),
        Value::Object(members) => {
            AttributeValue::M(members.into_iter().map(|(name, value)| (name, of_json(value))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_the_matching_type_and_everything_else_is_text() {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let number = |digits: &str| AttributeValue::N(digits.to_owned());
        for (typed, value) in [
            ("1800", number("1800")),
            ("12345678901234567890123456789012345678", number("12345678901234567890123456789012345678")),
            ("-0.5", number("-0.5")),
            ("true", AttributeValue::Bool(true)),
            ("null", AttributeValue::Null(true)),
            ("\"1800\"", text("1800")),
            ("on", text("on")),
            ("", text("")),
            ("{", text("{")),
            ("[1]", AttributeValue::L(vec![number("1")])),
            (r#"{"a":"b"}"#, AttributeValue::M(HashMap::from([("a".to_owned(), text("b"))]))),
        ] {
            assert_eq!(read_value(typed), value, "{typed}");
        }
    }
}

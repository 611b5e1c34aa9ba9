//! A table's description from DynamoDB, and why the table cannot be used.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TableDescription;

use crate::error::AwsError;

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// AWS returned an error, or could not be reached.
    #[error(transparent)]
    Aws(#[from] AwsError),
    /// Its items cannot be audit entries.
    #[error("table {table} {place} is not an Audit table: it does not have {lack}; check --audit-table")]
    NotAudit {
        /// The table.
        table: String,
        /// Where it is.
        place: String,
        /// The missing part.
        lack: &'static str,
    },
    /// Entries name an item by one attribute.
    #[error(
        "table {table} has a sort key, but entries name an item by its partition key alone, so the trails of its items \
         cannot be told apart"
    )]
    SortKey {
        /// The Configuration table.
        table: String,
    },
}

pub(super) async fn describe(client: &Client, table: &str, place: &str) -> Result<TableDescription, AwsError> {
    let action = format!("describing table {table} {place}");
    let output = client
        .describe_table()
        .table_name(table)
        .send()
        .await
        .map_err(|error| AwsError::new(&action, &format!("dynamodb:DescribeTable on table {table}"), &error))?;
    output.table.ok_or_else(|| AwsError { action, code: None, reason: "the answer contains no table".to_owned() })
}

//! The two tables on the command line, and why a command that reads them fails.

use clap::Args;
use clap::builder::UnknownArgumentValueParser;
use config_audit_tables::{AwsError, TableError};

use crate::aws::AccountError;
use crate::terminal::WriteError;

/// The two tables, for the commands that read both.
#[derive(Debug, Args)]
pub struct TableArguments {
    /// The Configuration table
    #[arg(long, value_name = "NAME")]
    pub configuration_table: String,
    #[arg(long = "table", hide = true, value_parser = UnknownArgumentValueParser::suggest_arg("--configuration-table"))]
    _former_name: Option<String>,
    /// The Audit table
    #[arg(long, value_name = "NAME")]
    pub audit_table: String,
}

/// Why a command cannot read the tables, or print what it read.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no account to ask.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

impl From<AwsError> for CommandError {
    fn from(error: AwsError) -> Self {
        Self::Table(error.into())
    }
}

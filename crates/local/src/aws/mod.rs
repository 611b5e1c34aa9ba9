//! AWS clients, and the two tables as they are in any account: nothing here knows the local world.

pub mod entry;
mod error;
mod settings;
pub mod stream;
pub mod tables;

pub use error::error_message;
pub use settings::{AwsSettings, http_client};
pub use tables::{Item, item};

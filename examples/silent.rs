//! The function without any telemetry, as the baseline for the cost of its telemetry (`make bench`).

// The futures of a function are nested deeper than the compiler's default allows.
#![recursion_limit = "256"]

use config_audit::clock::Clock;
use config_audit::settings::{ProcessEnvironment, Settings};
use lambda_runtime::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    config_audit::lambda::run(&Settings::read(&ProcessEnvironment)?, None, Clock::System).await
}

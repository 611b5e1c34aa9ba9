//! The Lambda's entry point: settings, telemetry, runtime. No logic.

// The futures of a function are nested deeper than the compiler's default allows.
#![recursion_limit = "256"]

use std::process::ExitCode;

use config_audit::clock::Clock;
use config_audit::settings::{LogFormat, ProcessEnvironment, Settings, SettingsError};
use config_audit::telemetry::{Telemetry, logs};
use tracing::level_filters::LevelFilter;

// One thread: a function with up to 1,769 MB has at most one processor, and spends its time waiting.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let clock = Clock::System;
    let settings = Settings::read(&ProcessEnvironment);
    match &settings {
        Ok(settings) => logs::start(settings.log_level, settings.log_format, clock),
        Err(_) => logs::start(LevelFilter::INFO, LogFormat::Json, clock),
    }
    match start(settings, clock).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the function cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn start(settings: Result<Settings, SettingsError>, clock: Clock) -> Result<(), lambda_runtime::Error> {
    let settings = settings?;
    let telemetry = Telemetry::start(&settings)?;
    config_audit::lambda::run(&settings, Some(&telemetry), clock).await
}

//! What several tests need: the scripted function, the real bootstrap, and waiting for events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use config_audit_local::{FunctionSettings, WorldEvent};
use tokio::sync::mpsc::UnboundedReceiver;

/// Long enough for the slowest machine; a test that works never waits for it.
pub(crate) const GENEROUS: Duration = Duration::from_mins(2);

/// The function that does what a script says: `tests/scripted_function.rs`.
pub(crate) fn scripted_function() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_scripted-function"))
}

/// The Lambda's own binary. It is another package's, so cargo does not build it for these tests.
pub(crate) fn bootstrap() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_config-audit")).with_file_name("bootstrap");
    assert!(path.is_file(), "{} is not there; build it first: cargo build --bin bootstrap", path.display());
    path
}

/// Settings for the scripted function with this script.
pub(crate) fn scripted(directory: &Path, script: &[&str]) -> FunctionSettings {
    let mut settings = FunctionSettings::new(scripted_function());
    settings.timeout = GENEROUS;
    settings.init_timeout = GENEROUS;
    let file = directory.join("script");
    std::fs::write(&file, script.join("\n")).unwrap();
    settings.environment.insert("SCRIPT".to_owned(), file.to_str().unwrap().to_owned());
    settings
}

/// Waits for an event for which `wanted` returns something; returns that, and all events up to it.
pub(crate) async fn wait_for<T>(
    events: &mut UnboundedReceiver<Arc<WorldEvent>>,
    mut wanted: impl FnMut(&WorldEvent) -> Option<T>,
) -> (T, Vec<Arc<WorldEvent>>) {
    let mut all = Vec::new();
    let waiting = async {
        loop {
            let event = events.recv().await.expect("the world ended");
            all.push(Arc::clone(&event));
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(GENEROUS, waiting).await;
    let found = found.unwrap_or_else(|_| panic!("nothing more after {all:#?}"));
    (found, all)
}

/// The command under test, with no settings of the user's in its environment.
pub(crate) fn config_audit() -> tokio::process::Command {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_config-audit"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    // Nor from the home directory, nor from the machine's metadata.
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    command
}

//! The output of `config-audit --version`: the version and, in a release build from a clone, the commit.
//!
//! A debug build does not contain its commit, because every commit would then rebuild the command and its tests. A
//! release build depends on nothing but its sources: builds from a clone and from an archive of the same commit differ
//! only in this line.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "that is how a build script talks with cargo")]

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { commit() } else { None };
    let version = commit.map_or_else(|| version.to_owned(), |commit| format!("{version} ({commit})"));
    println!("cargo:rustc-env=CONFIG_AUDIT_VERSION={version}");
}

/// The short hash of the checked-out commit. `None` if this is not a clone of the repository, or there is no git.
fn commit() -> Option<String> {
    // The directory that contains this package could be in somebody else's repository.
    let is_tracked = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|_| is_tracked)?;
    // It grows with each commit and each checkout.
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

//! What `config-audit --version` says: the version, and in a release build from a clone the commit.
//!
//! A debug build does not say its commit, because then each commit would rebuild the command and its tests. What a release
//! build is made from decides alone what is in it: a clone and an archive of the same commit differ only in this line.

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

/// The commit that is checked out, in short. `None` where this is not a clone of the repository, or there is no git.
fn commit() -> Option<String> {
    // The directory that has this package could be in a repository of somebody else's.
    let is_tracked = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|_| is_tracked)?;
    // It grows with each commit and each switch of branches.
    if Path::new(&log).exists() {
        println!("cargo:rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

//! The simulator finds bugs: the Lambda is broken on purpose, in one way after another, and each is found.
//!
//! In a copy of the workspace, every sabotage is an edit of the real source that an environment variable switches on.
//! So one build has them all, and the shipped source has no switch. An edit that no longer matches the source fails the
//! test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod catalog;
mod copy;

use std::path::Path;
use std::process::Output;

use catalog::{Edit, SABOTAGES};
use copy::Copy;

/// Each is found within this many runs.
const RUNS: &str = "3000";

/// Added to the Lambda in the copy.
const SWITCH: &str = r#"
//! Whether the Lambda is broken in one way.

/// Whether it is broken in the way of this name.
pub fn is(name: &str) -> bool {
    static NAME: std::sync::LazyLock<Option<String>> = std::sync::LazyLock::new(|| std::env::var("SABOTAGE").ok());
    NAME.as_deref() == Some(name)
}
"#;

#[test]
fn every_sabotage_is_found() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let copy = Copy::of(&workspace);
    copy.add("src/sabotage.rs", SWITCH);
    copy.replace("src/lib.rs", "\npub mod settings;\n", "\npub mod sabotage;\npub mod settings;\n");
    for sabotage in SABOTAGES {
        let is_on = format!("crate::sabotage::is({:?})", sabotage.what);
        for edit in sabotage.edits {
            match edit {
                Edit::Switch { file, context, code, broken } => {
                    let switch = format!("{{ if {is_on} {{ {broken} }} else {{ {code} }} }}");
                    copy.replace(file, &context.replace('@', code), &context.replace('@', &switch));
                }
                Edit::Rewrite { file, code, broken } => copy.replace(file, code, &broken.replace("IS_ON", &is_on)),
            }
        }
    }
    copy.build();

    let whole = copy.simulate(None, &["--runs", RUNS]);
    assert!(whole.status.success(), "the Lambda as it is fails already:\n{}", text(&whole));
    let mut missed = Vec::new();
    for sabotage in SABOTAGES {
        let found = copy.simulate(Some(sabotage.what), &["--runs", RUNS]);
        let output = text(&found);
        if found.status.success() || !output.contains(sabotage.found_as) {
            missed.push(format!("not found as {:?}: {}\n{output}", sabotage.found_as, sabotage.what));
            continue;
        }
        println!("found: {}", sabotage.what);
        if sabotage.what == "unprocessed items are forgotten" {
            assert_can_be_read(&copy, sabotage.what, &output);
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// The first failing run, made smaller, is one write, one fault, and their consequences.
fn assert_can_be_read(copy: &Copy, sabotage: &str, output: &str) {
    let seed = output.lines().find_map(|line| line.strip_prefix("seed ")?.strip_suffix(" fails:")).unwrap();
    let replayed = copy.simulate(Some(sabotage), &["--replay", seed]);
    let story = text(&replayed);
    assert!(!replayed.status.success() && story.contains("VIOLATION") && story.contains("store gives back"), "{story}");
    assert!(story.lines().count() < 20, "{story}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

//! The simulator finds bugs: the Lambda is broken on purpose, in one way after the other, and each is found.
//!
//! Each is an edit of the real source, in a copy of the workspace, built and run as `make simulate` does. An edit that no
//! longer fits the source fails the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Each is found within so many runs.
const RUNS: &str = "3000";

/// A way to break the Lambda.
struct Sabotage {
    what: &'static str,
    file: &'static str,
    /// What stands in the file, once.
    from: &'static str,
    to: &'static str,
    /// A part of a broken promise, as the simulator words it.
    found_as: &'static str,
}

const SABOTAGES: [Sabotage; 16] = [
    Sabotage {
        what: "it reports something else than sequence numbers, as event IDs are",
        file: "src/report.rs",
        from: "failure.item_identifier.clone_from(&record.sequence_number);",
        to: "failure.item_identifier = record.sequence_number.as_ref().map(|number| format!(\"e{number}\"));",
        found_as: "no record of the batch",
    },
    Sabotage {
        what: "the IDs of entries are random",
        file: "src/audit/id.rs",
        from: "bytes.copy_from_slice(&digest[..16]);",
        to: "bytes.copy_from_slice(&digest[..16]);\n    bytes[..8].copy_from_slice(&fastrand::u64(..).to_le_bytes());",
        found_as: "an entry that no change asked for",
    },
    Sabotage {
        what: "the attribute is no part of the ID, so entries of one record overwrite each other",
        file: "src/audit/id.rs",
        from: "hash.update(attribute.unwrap_or_default());",
        to: "let _ = attribute;",
        found_as: "the table has no entry",
    },
    Sabotage {
        what: "a request that timed out counts as written",
        file: "src/writer.rs",
        from: ".unwrap_or_else(|_| Err(unanswered(\"timeout\", \"DynamoDB did not answer in time\")));",
        to: ".unwrap_or_else(|_| Ok(Put::default()));",
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "unprocessed items are forgotten",
        file: "src/writer.rs",
        from: "Ok(Put { unprocessed, .. }) => {",
        to: "Ok(Put { .. }) => {\n                let unprocessed: Vec<usize> = Vec::new();",
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "the lowest of the failed records is not reported",
        file: "src/report.rs",
        from: "            .failed()\n            .map(|record| {\n                let mut failure",
        to: "            .failed()\n            .skip(1)\n            .map(|record| {\n                let mut failure",
        found_as: "was acknowledged, and",
    },
    Sabotage {
        what: "the deadline is not kept",
        file: "src/handler.rs",
        from: "let until = start + allowed.saturating_sub(margin);",
        to: "let until = start + (allowed.saturating_sub(margin)) * 2;",
        found_as: "the handler had no answer at the function's time-out",
    },
    Sabotage {
        what: "a record counts as quarantined although the failure bucket refused it",
        file: "src/handler.rs",
        from: "record.outcome = match kept.refused {",
        to: "record.outcome = match kept.refused.filter(|_| false) {",
        found_as: "it is not in the failure bucket",
    },
    Sabotage {
        what: "an entry has the time of its writing, so each delivery changes it",
        file: "src/handler.rs",
        from: "let time = change.created.unwrap_or(report.started);",
        to: "let time = report.started;",
        found_as: "an entry",
    },
    Sabotage {
        what: "numbers are compared as text, so 1 and 1.0 differ",
        file: "src/value/mod.rs",
        from: "one == other || Number::parse(one).is_some_and(|one| Number::parse(other).is_some_and(|other| one == other))",
        to: "one == other",
        found_as: "and no fault asked for it",
    },
    Sabotage {
        what: "a bad record fails the whole batch",
        file: "src/handler.rs",
        from: "            Some(Err(Refusal::Record(reason))) => {",
        to: "            Some(Err(Refusal::Record(_))) if true => return Err(NotAnEvent.into()),\n            \
             Some(Err(Refusal::Record(reason))) => {",
        found_as: "an invocation failed as a whole, and nothing asked for it",
    },
    Sabotage {
        what: "failed records are missing in the metrics",
        file: "src/telemetry/metrics.rs",
        from: "self.add(&catalog::RECORDS_FAILED, counts.failed);",
        to: "self.add(&catalog::RECORDS_FAILED, 0);",
        found_as: "the books do not balance",
    },
    Sabotage {
        what: "quarantined records are counted as failed ones",
        file: "src/telemetry/metrics.rs",
        from: "self.add(&catalog::RECORDS_QUARANTINED, counts.quarantined);",
        to: "self.add(&catalog::RECORDS_QUARANTINED, counts.failed);",
        found_as: "the books do not balance",
    },
    Sabotage {
        what: "every record is reported as failed, the stored ones too",
        file: "src/report.rs",
        from: "        answer.batch_item_failures = self\n            .failed()",
        to: "        answer.batch_item_failures = self\n            .records\n            .iter()\n            \
             .filter(|record| record.sequence_number.is_some())",
        found_as: "and the answer says otherwise",
    },
    Sabotage {
        what: "only the first request of an invocation is ever sent",
        file: "src/writer.rs",
        from: "indices.chunks(MAX_BATCH).map(",
        to: "indices.chunks(MAX_BATCH).take(1).map(",
        found_as: "and no fault asked for it",
    },
    Sabotage {
        what: "an entry names another object than the one that has its record",
        file: "src/handler.rs",
        from: "|bucket| bucket.url(&full_record_key));",
        to: "|bucket| bucket.url(&report.request_id));",
        found_as: "an entry says that its record is in",
    },
];

#[test]
fn every_sabotage_is_found() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let copy = Copy::of(&workspace);
    let whole = copy.simulate();
    assert!(whole.status.success(), "the Lambda as it is fails already:\n{}", text(&whole));
    for sabotage in SABOTAGES {
        copy.edit(&sabotage);
        let found = copy.simulate();
        let told = text(&found);
        assert!(!found.status.success() && told.contains(sabotage.found_as), "not found: {}\n{told}", sabotage.what);
        println!("found: {}", sabotage.what);
        if sabotage.from.contains("unprocessed") {
            assert_can_be_read(&copy, &told);
        }
        copy.restore(&workspace, &sabotage);
    }
}

/// The first failing run, made smaller, is one write, one fault, and what came of them.
fn assert_can_be_read(copy: &Copy, told: &str) {
    let seed = told.lines().find_map(|line| line.strip_prefix("seed ")?.strip_suffix(" fails:")).unwrap();
    let replayed = copy.run(&["--replay", seed]);
    let story = text(&replayed);
    assert!(!replayed.status.success() && story.contains("VIOLATION") && story.contains("store gives back"), "{story}");
    assert!(story.lines().count() < 20, "{story}");
}

/// A copy of the workspace that may be broken.
struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    fn of(workspace: &Path) -> Self {
        // Below target/, so that what was built before is of use, and nothing is left elsewhere.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let root = target.join("sabotage");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        for part in ["Cargo.toml", "Cargo.lock", "src", "examples", "crates"] {
            copy(&workspace.join(part), &root.join(part));
        }
        // The binary of another name, or it would stand in the real one's place.
        let manifest = root.join("crates/simulator/Cargo.toml");
        replace(&manifest, "name = \"simulate\"", "name = \"simulate-broken\"");
        replace(&manifest, "path = \"src/main.rs\"", "path = \"src/main.rs\"\ntest = false");
        Self { root, target }
    }

    fn edit(&self, sabotage: &Sabotage) {
        replace(&self.root.join(sabotage.file), sabotage.from, sabotage.to);
    }

    fn restore(&self, workspace: &Path, sabotage: &Sabotage) {
        copy(&workspace.join(sabotage.file), &self.root.join(sabotage.file));
    }

    fn simulate(&self) -> Output {
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--locked",
                "--profile",
                "simulation",
                "-p",
                "config-audit-simulator",
                "--bin",
                "simulate-broken",
            ])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .unwrap();
        assert!(built.status.success(), "it cannot be built:\n{}", text(&built));
        self.run(&["--runs", RUNS])
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(self.target.join("simulation/simulate-broken")).args(arguments).output().unwrap()
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Written anew, so that cargo sees a new time.
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

fn replace(file: &Path, from: &str, to: &str) {
    let source = fs::read_to_string(file).unwrap();
    assert_eq!(source.matches(from).count(), 1, "{} is to have once:\n{from}", file.display());
    fs::write(file, source.replace(from, to)).unwrap();
}

//! A copy of the workspace that may be broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::text;

/// The profile that the simulator is built with, and the folder that cargo puts it into.
const PROFILE: (&str, &str) = ("dev", "debug");
/// A different name, so that it does not replace the real simulator.
const BINARY: &str = "simulate-broken";
/// The version of the workspace's packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The copy.
pub(crate) struct Copy {
    root: PathBuf,
    target: PathBuf,
}

impl Copy {
    pub(crate) fn of(workspace: &Path) -> Self {
        // Under target/, so that earlier builds are reused and nothing is left elsewhere.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let root = target.join("sabotage");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        for part in ["Cargo.toml", "Cargo.lock", "src", "examples", "crates", "bench/harness", "bench/silent"] {
            copy(&workspace.join(part), &root.join(part));
        }
        let copy = Self { root, target };
        copy.change_version();
        let manifest = "crates/simulator/Cargo.toml";
        copy.replace(manifest, "name = \"simulate\"", &format!("name = {BINARY:?}"));
        copy.replace(manifest, "path = \"src/main.rs\"", "path = \"src/main.rs\"\ntest = false");
        copy
    }

    /// Gives the copy's packages another version. Otherwise cargo would mistake them for those of the workspace, whose
    /// target folder they share, and builds after the test would contain the broken code.
    fn change_version(&self) {
        rewrite(&self.root.join("Cargo.toml"), |manifest| {
            manifest.replacen(&format!("\nversion = {VERSION:?}\n"), "\nversion = \"0.0.0\"\n", 1)
        });
        let own = format!("\"\nversion = {VERSION:?}\ndependencies");
        rewrite(&self.root.join("Cargo.lock"), |lock| {
            let packages = lock.split("\n\n").map(|package| {
                let is_own = package.contains("name = \"config-audit");
                if is_own { package.replace(&own, "\"\nversion = \"0.0.0\"\ndependencies") } else { package.to_owned() }
            });
            packages.collect::<Vec<_>>().join("\n\n")
        });
    }

    /// Adds a file.
    pub(crate) fn add(&self, file: &str, content: &str) {
        fs::write(self.root.join(file), content).unwrap();
    }

    /// Replaces text that occurs in a file exactly once.
    pub(crate) fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.root.join(file);
        let source = fs::read_to_string(&path).unwrap();
        assert_eq!(source.matches(from).count(), 1, "{file} must contain this exactly once:\n{from}");
        fs::write(path, source.replace(from, to)).unwrap();
    }

    /// Builds the simulator with the features of the whole workspace, so that no dependency is rebuilt.
    pub(crate) fn build(&self) {
        let (profile, _) = PROFILE;
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--workspace", "--bin", BINARY, "--profile", profile])
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .unwrap();
        assert!(built.status.success(), "it cannot be built:\n{}", text(&built));
    }

    /// Runs the simulator with one sabotage, or with none.
    pub(crate) fn simulate(&self, sabotage: Option<&str>, arguments: &[&str]) -> Output {
        let (_, folder) = PROFILE;
        let mut command = Command::new(self.target.join(folder).join(BINARY));
        command.args(arguments).env_remove("SABOTAGE").envs(sabotage.map(|name| ("SABOTAGE", name)));
        command.output().unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        // Rewritten, so that cargo sees a new modification time.
        fs::write(to, fs::read(from).unwrap()).unwrap();
    }
}

fn rewrite(file: &Path, change: impl Fn(String) -> String) {
    let source = fs::read_to_string(file).unwrap();
    let changed = change(source.clone());
    assert_ne!(source, changed, "{}", file.display());
    fs::write(file, changed).unwrap();
}

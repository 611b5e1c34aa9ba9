//! What shells ask of the command: completions, and the version.

use crate::support::config_audit;

async fn run(arguments: &[&str]) -> String {
    let output = config_audit().args(arguments).output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn bash_completes_commands_and_options() {
    let script = run(&["completions", "bash"]).await;
    for (words, expected) in [
        ("config-audit hist", "history"),
        ("config-audit history K --audit-t", "--audit-table"),
        ("config-audit exp", "export"),
        ("config-audit alarms c", "check"),
    ] {
        let ask = r#"
            source /dev/stdin
            COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            $(complete -p config-audit | sed 's/.*-F \([^ ]*\).*/\1/') config-audit "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            echo "${COMPREPLY[@]}"
        "#;
        let mut bash = tokio::process::Command::new("bash");
        bash.args(["--norc", "-c", ask, "bash", words]).stdin(std::process::Stdio::piped());
        let mut bash = bash.stdout(std::process::Stdio::piped()).spawn().expect("bash cannot be run");
        let mut input = bash.stdin.take().unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut input, script.as_bytes()).await.unwrap();
        drop(input);
        let output = bash.wait_with_output().await.unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), expected, "{words}");
    }
}

#[tokio::test]
async fn zsh_and_fish_get_a_script_of_their_own() {
    assert!(run(&["completions", "zsh"]).await.starts_with("#compdef config-audit\n"));
    assert!(run(&["completions", "fish"]).await.contains("complete -c config-audit"));
}

/// A debug build has no commit (build.rs).
#[tokio::test]
async fn the_version_is_the_packages() {
    assert_eq!(run(&["--version"]).await, format!("config-audit {}\n", env!("CARGO_PKG_VERSION")));
}

//! `config-audit completions`: shell completion scripts.

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;

use crate::terminal::{Terminal, WriteError};

/// Which shell.
#[derive(Debug, Args)]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    shell: ShellArgument,
}

/// The shells that are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShellArgument {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script for this command. Returns 0.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(arguments: &CompletionsArguments, mut command: Command, terminal: Terminal) -> Result<u8, WriteError> {
    let shell = match arguments.shell {
        ShellArgument::Bash => Shell::Bash,
        ShellArgument::Zsh => Shell::Zsh,
        ShellArgument::Fish => Shell::Fish,
    };
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, &name, &mut script);
    // For bash, clap_complete writes a name with a hyphen in two ways, and bash then does not find subcommand options
    // (https://github.com/clap-rs/clap/issues/6421).
    let script = String::from_utf8_lossy(&script).replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    terminal.document(&script)?;
    Ok(0)
}

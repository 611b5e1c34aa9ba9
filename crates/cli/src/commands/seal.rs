//! `config-audit seal`: a digest of everything witnessed so far, for somebody outside the account.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;

use clap::Args;
use config_audit::clock::Clock;
use config_audit_cloudwatch::units::count;
use config_audit_evidence::{Comparison, Seal, SealError, SpoolError};
use futures_util::stream::TryStreamExt;

use crate::aws::{AccountError, AwsArguments, url};
use crate::place::Location;
use crate::progress::Progress;
use crate::terminal::{Terminal, Tone, WriteError};
use crate::witnesses::{Witnesses, WitnessesError};

/// Everything witnessed so far.
#[derive(Debug, Args)]
pub struct SealArguments {
    /// Where the witnesses are: `s3://BUCKET`, or a directory with a copy of it
    #[arg(long, value_name = "LOCATION")]
    witness: Location,
    /// The Audit table whose entries were witnessed
    #[arg(long, value_name = "NAME")]
    audit_table: String,
    /// The file of the seal before this one, whose hash becomes part of this one
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    aws: AwsArguments,
    /// Use the S3 behind this URL [default: `AWS_ENDPOINT_URL_S3`, or --endpoint-url]
    #[arg(long, value_name = "URL", value_parser = url, help_heading = "AWS")]
    s3_endpoint_url: Option<String>,
}

/// Why there is no seal.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// There is no account to ask.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The witnesses cannot be read.
    #[error(transparent)]
    Witnesses(#[from] WitnessesError),
    /// An object is not what the witness function stored.
    #[error(
        "{key} in the witness bucket cannot be sealed; `config-audit verify --witness` names everything that is wrong"
    )]
    Flawed {
        /// The object's key.
        key: String,
        /// What is wrong with it.
        source: crate::witnesses::Flaw,
    },
    /// There is nothing to seal.
    #[error("no entry of the table {0} was witnessed more than 15 minutes ago, so there is nothing to seal")]
    Nothing(String),
    /// The temporary files.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A file is not a seal.
    #[error("{} cannot be read as a seal", path.display())]
    NotASeal {
        /// The file.
        path: PathBuf,
        /// Why.
        source: SealError,
    },
    /// The seal is of another table.
    #[error("{} seals the table {sealed}, not {table}", path.display())]
    OtherTable {
        /// The file.
        path: PathBuf,
        /// The table that it seals.
        sealed: String,
        /// The table on the command line.
        table: String,
    },
    /// A file.
    #[error("{what} {} failed", path.display())]
    File {
        /// What was tried, such as "reading".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// Standard output.
    #[error("{0}")]
    Output(#[from] WriteError),
}

/// Runs the command. Returns 0 if the seal is written.
///
/// # Errors
/// If it is not; nothing is written then.
pub async fn run(arguments: SealArguments, terminal: Terminal) -> Result<u8, SealingError> {
    let SealArguments { witness, audit_table: table, previous, output, aws, s3_endpoint_url } = arguments;
    let previous = previous.map(|path| read(&path, &table)).transpose()?.map(|(file, _)| file);
    let aws = aws.load(terminal).await?;
    let witnesses = Witnesses::new(&aws, witness, &table, s3_endpoint_url)?;
    let until = Seal::limit(Clock::System.now());
    let mut comparison = Comparison::new();
    let mut objects = pin!(witnesses.objects());
    let mut progress = Progress::new(terminal);
    while let Some(seen) = objects.try_next().await? {
        if seen.stored.is_none_or(|stored| stored > until) {
            continue;
        }
        let content = seen.content.map_err(|source| SealingError::Flawed { key: seen.key, source })?;
        for witness in content {
            comparison.add_witness(witness, seen.stored, true)?;
        }
        progress.show(|| count(comparison.collected().1, "witness", "witnesses"));
    }
    let tree = comparison.tree()?;
    if tree.leaves() == 0 {
        return Err(SealingError::Nothing(table));
    }
    let seal = Seal::new(&table, until, &tree, previous.as_deref());
    write(&output, seal.file().as_bytes())?;
    terminal.line(
        Tone::Good.paint("Sealed")
            + format!(
                ": {} of entries of the table {table}, stored until {}, in {}",
                count(seal.witnesses, "witness", "witnesses"),
                seal.until,
                output.display()
            ),
    )?;
    terminal.note("Give the file to somebody outside the account; docs/evidence.md says how to have its time proven.");
    Ok(0)
}

/// Reads a seal of this table's witnesses; also returns its file.
///
/// # Errors
/// If the file cannot be read, or is not such a seal.
pub fn read(path: &Path, table: &str) -> Result<(Vec<u8>, Seal), SealingError> {
    let failed = |source| SealingError::File { what: "reading", path: path.to_owned(), source };
    let file = std::fs::read(path).map_err(failed)?;
    let seal = Seal::read(&file).map_err(|source| SealingError::NotASeal { path: path.to_owned(), source })?;
    if seal.table != table {
        return Err(SealingError::OtherTable { path: path.to_owned(), sealed: seal.table, table: table.to_owned() });
    }
    Ok((file, seal))
}

/// Writes a file that does not exist yet, whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<(), SealingError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let written = (|| {
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        io::Write::write_all(&mut file, content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path)?;
        Ok(())
    })();
    written.map_err(|source| SealingError::File { what: "writing", path: path.to_owned(), source })
}

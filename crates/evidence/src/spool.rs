//! Rows about entries, split by the entries' IDs into parts that fit in memory one at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Seek, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many parts there are. Each may become an open file, and most systems allow a process 1,024.
const PARTS: usize = 256;
/// How many bytes of a part are kept in memory before they are written to its file.
const MAX_BUFFER: usize = 32 * 1024;

/// The temporary files could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the temporary files in {} cannot be used; free some space there, or set TMPDIR to another directory", directory.display())]
pub struct SpoolError {
    directory: PathBuf,
    source: io::Error,
}

impl From<io::Error> for SpoolError {
    fn from(source: io::Error) -> Self {
        Self { directory: std::env::temp_dir(), source }
    }
}

/// Rows of one type, in parts.
#[derive(Debug)]
pub(crate) struct Spool(Vec<Part>);

#[derive(Debug, Default)]
struct Part {
    buffer: Vec<u8>,
    /// It has no name, so the operating system deletes it even after a crash.
    file: Option<File>,
}

impl Spool {
    /// An empty spool.
    pub(crate) fn new() -> Self {
        Self((0..PARTS).map(|_| Part::default()).collect())
    }

    /// Adds a row about the entry with this ID.
    pub(crate) fn add(&mut self, id: &str, row: &impl Serialize) -> Result<(), SpoolError> {
        let part = &mut self.0[usize::from(position(id)[0])];
        serde_json::to_writer(&mut part.buffer, row).map_err(io::Error::from)?;
        part.buffer.push(b'\n');
        if part.buffer.len() > MAX_BUFFER {
            part.spill()?;
        }
        Ok(())
    }

    /// Reads the parts, in order of [`position`].
    pub(crate) fn read<T: for<'a> Deserialize<'a>>(self) -> impl Iterator<Item = Result<Vec<T>, SpoolError>> {
        self.0.into_iter().map(|part| Ok(part.rows()?))
    }
}

impl Part {
    fn spill(&mut self) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.file = Some(file);
        Ok(())
    }

    fn rows<T: for<'a> Deserialize<'a>>(self) -> io::Result<Vec<T>> {
        fn parse<T: for<'a> Deserialize<'a>>(lines: impl BufRead, rows: &mut Vec<T>) -> io::Result<()> {
            for line in lines.lines() {
                rows.push(serde_json::from_str(&line?)?);
            }
            Ok(())
        }
        let mut rows = Vec::new();
        if let Some(mut file) = self.file {
            file.rewind()?;
            parse(BufReader::new(file), &mut rows)?;
        }
        parse(Cursor::new(self.buffer), &mut rows)?;
        Ok(rows)
    }
}

/// Where an entry stands among all: the order of the hashes of their IDs.
pub(crate) fn position(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read_again_in_order_of_its_position_whether_or_not_it_was_written_to_a_file() {
        for count in [0, 10, 20_000] {
            let mut spool = Spool::new();
            let rows: Vec<String> = (0..count).map(|number| format!("row {number} {}", "x".repeat(600))).collect();
            for row in &rows {
                spool.add(row, row).unwrap();
            }
            assert_eq!(spool.0.iter().any(|part| part.file.is_some()), count > 10);
            let parts: Vec<Vec<String>> = spool.read().collect::<Result<_, _>>().unwrap();
            for (number, part) in parts.iter().enumerate() {
                assert!(part.iter().all(|row| usize::from(position(row)[0]) == number));
            }
            let (mut read, mut rows) = (parts.concat(), rows);
            read.sort();
            rows.sort();
            assert!(read == rows, "{count} rows");
        }
    }
}

//! A directory with a copy of the failure bucket, or of a part of it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Listed, NotAnObject, PlaceError};

/// The contents of one directory below `root`, by name, and its subdirectories, last first. Hidden files are not
/// objects.
pub(super) fn files(root: &Path, directory: &Path) -> Result<(Vec<Listed>, Vec<PathBuf>), PlaceError> {
    let listed = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(source) if directory == root => return Err(failed("listing", directory, source)),
        // The others are still listed. If it no longer exists, another run has moved it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
        Err(error) => {
            let (key, _) = key(root, directory);
            let not_an_object = Some(NotAnObject::Unlisted(error.to_string()));
            return Ok((vec![Listed { key, size: 0, modified: None, not_an_object }], Vec::new()));
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        // The metadata of a link itself, not of its target.
        let Some(metadata) = unless_gone(entry.metadata()).map_err(|source| failed("listing", directory, source))?
        else {
            continue;
        };
        if metadata.is_dir() {
            directories.push(path);
            continue;
        }
        let (key, is_key) = key(root, &path);
        let not_an_object = if metadata.is_symlink() {
            Some(NotAnObject::Link)
        } else if !metadata.is_file() {
            Some(NotAnObject::NotAFile)
        } else {
            (!is_key).then_some(NotAnObject::Name)
        };
        let modified = metadata.modified().ok().map(Into::into);
        files.push(Listed { key, size: metadata.len(), modified, not_an_object });
    }
    directories.reverse();
    Ok((files, directories))
}

/// The key of a file, and whether it is valid: a name that is not UTF-8 is escaped.
fn key(root: &Path, path: &Path) -> (String, bool) {
    let below = path.strip_prefix(root).unwrap_or(path);
    let text = below.to_str().map(str::to_owned);
    let is_key = text.is_some();
    (text.unwrap_or_else(|| below.as_os_str().as_encoded_bytes().escape_ascii().to_string()), is_key)
}

/// The file of a key. Keys come from record text, and directories from anyone, so nothing may lead out of `root`.
fn file(root: &Path, key: &str) -> Result<PathBuf, PlaceError> {
    let mut file = root.to_owned();
    for part in key.split('/') {
        file.push(part);
        if matches!(part, "" | "." | "..") || file.is_symlink() {
            return Err(PlaceError::Key(key.to_owned()));
        }
    }
    Ok(file)
}

/// Reads a file; `None` if it no longer exists.
pub(super) fn get(root: &Path, key: &str) -> Result<Option<Vec<u8>>, PlaceError> {
    let file = file(root, key)?;
    unless_gone(std::fs::read(&file)).map_err(|source| failed("reading", &file, source))
}

/// Writes a file atomically.
pub(super) fn put(root: &Path, key: &str, body: &[u8]) -> Result<(), PlaceError> {
    let file = file(root, key)?;
    let write = || {
        let parent = file.parent().unwrap_or(root);
        std::fs::create_dir_all(parent)?;
        // Hidden, so that it is never listed.
        let mut part = tempfile::Builder::new().prefix(".part-").tempfile_in(parent)?;
        part.write_all(body)?;
        part.as_file().sync_all()?;
        part.persist(&file)?;
        Ok(())
    };
    write().map_err(|source| failed("writing", &file, source))
}

/// Moves a file, unless it no longer exists.
pub(super) fn rename(root: &Path, from: &str, to: &str) -> Result<(), PlaceError> {
    let (from, to) = (file(root, from)?, file(root, to)?);
    let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
    let moved = made.and_then(|()| unless_gone(std::fs::rename(&from, &to)));
    moved.map(drop).map_err(|source| failed("archiving", &from, source))
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(what: &'static str, path: &Path, source: io::Error) -> PlaceError {
    PlaceError::Directory { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::super::Place;
    use super::*;

    #[tokio::test]
    async fn a_directory_listing_omits_only_hidden_and_archived_files() {
        let directory = tempfile::tempdir().unwrap();
        for file in ["b", "a/z", "a/b/c", ".hidden", "a/.part-1", "redriven/a/z", ".git/config"] {
            let file = directory.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "four").unwrap();
        }
        let place = Place::Directory { path: directory.path().to_owned(), bucket: None };
        let listed: Vec<Listed> = place.list().try_collect().await.unwrap();
        let mut keys: Vec<_> = listed.iter().map(|listed| listed.key.as_str()).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["a/b/c", "a/z", "b"]);
        assert!(listed.iter().all(|listed| listed.size == 4 && listed.modified.is_some()));
    }

    #[tokio::test]
    async fn a_file_is_replaced_atomically_archived_once_and_may_be_gone() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::Directory { path: directory.path().to_owned(), bucket: None };
        for body in ["first", "second"] {
            place.put("a/b", body.into()).await.unwrap();
        }
        assert_eq!(place.get("a/b").await.unwrap().as_deref(), Some(&b"second"[..]));
        place.archive("a/b").await.unwrap();
        place.archive("a/b").await.unwrap();
        assert_eq!(place.get("a/b").await.unwrap(), None);
        assert_eq!(place.get("redriven/a/b").await.unwrap().as_deref(), Some(&b"second"[..]));
        assert_eq!(std::fs::read_dir(directory.path().join("a")).unwrap().count(), 0, "a file was left behind");
    }

    #[test]
    fn no_key_leads_out_of_the_directory_or_to_another_file_in_it() {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(outside.path(), root.path().join("linked")).unwrap();
        for key in ["../x", "quarantined/../x", "a/./x", "/x", "a//x", "a/", "", "..", "linked/x", "linked"] {
            assert!(matches!(put(root.path(), key, b"x"), Err(PlaceError::Key(_))), "{key:?}");
            assert!(matches!(get(root.path(), key), Err(PlaceError::Key(_))), "{key:?}");
            assert!(matches!(rename(root.path(), key, "x"), Err(PlaceError::Key(_))), "{key:?}");
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 1, "something was written");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0, "something was written");
        put(root.path(), "a/...", b"x").unwrap();
    }
}

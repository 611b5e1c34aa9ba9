//! A bucket of the service, or a directory with a copy of it.

mod directory;
mod versions;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::copy_object::CopyObjectError;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::types::EncodingType;
use chrono::{DateTime, Utc};
use futures_util::stream::{LocalBoxStream, StreamExt, TryStreamExt, iter, try_unfold};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use config_audit_tables::AwsError;

pub use versions::FirstVersion;

/// The directory of objects that have been replayed.
const ARCHIVE: &str = "redriven";
/// The key prefix of full records of omitted values.
const OMITTED: &str = "omitted/";
/// The key prefix of records that show tampering.
const TAMPERING: &str = "tampering/";

/// The characters that the copy-source header does not encode.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where failed records are, as given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// `s3://bucket` or `s3://bucket/prefix`.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// The key prefix; empty for all.
        prefix: String,
    },
    /// A directory.
    Directory(PathBuf),
}

impl FromStr for Location {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix("s3://") else {
            return if text.is_empty() || text.contains("://") {
                Err("expected s3://BUCKET, s3://BUCKET/PREFIX, or a directory")
            } else {
                Ok(Self::Directory(text.into()))
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return Err("expected a bucket's name after s3://");
        }
        Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

/// A bucket, or a directory with a copy of it.
#[derive(Debug, Clone)]
pub enum Place {
    /// A bucket.
    Bucket {
        /// A client for it.
        client: aws_sdk_s3::Client,
        /// Its name.
        bucket: String,
        /// The prefix of its objects' keys; empty for all.
        prefix: String,
        /// Where S3 is, for error messages.
        address: String,
    },
    /// A directory with a copy of the bucket, or of a part of it. Its files are small and local, so they are read and written
    /// synchronously, and the command is never interrupted in between.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The bucket that it is a copy of, if that is known.
        bucket: Option<String>,
    },
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key; in a directory, the path below it.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written.
    pub modified: Option<DateTime<Utc>>,
    /// Why it is not a readable object, if it is not.
    pub not_an_object: Option<NotAnObject>,
}

/// Why something in the place is not an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnObject {
    /// No key can have such a name.
    #[error("its name is not UTF-8, so it cannot be a key; rename it")]
    Name,
    /// It leads elsewhere, or nowhere.
    #[error("it is a symbolic link, which is not followed; put the file itself there")]
    Link,
    /// Reading it could block forever.
    #[error("it is not a regular file")]
    NotAFile,
    /// A directory that cannot be listed.
    #[error("the directory cannot be listed: {0}")]
    Unlisted(String),
}

/// A request to the place failed.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The bucket.
    #[error(transparent)]
    Bucket(#[from] AwsError),
    /// The directory.
    #[error("{what} {} failed", path.display())]
    Directory {
        /// What was tried, such as "reading".
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The key is derived from a damaged record.
    #[error("the key {0} is not a path below the directory, or the path contains a symbolic link")]
    Key(String),
}

impl PlaceError {
    /// AWS's error code, or `unavailable`.
    #[must_use]
    pub fn code(&self) -> &str {
        if let Self::Bucket(AwsError { code: Some(code), .. }) = self { code } else { "unavailable" }
    }
}

impl Place {
    /// The URL prefix of an object's key. Entries refer to full records by URL, and a replay must not change that.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Bucket { bucket, .. } | Self::Directory { bucket: Some(bucket), .. } => format!("s3://{bucket}/"),
            // No entry contains it, because records that need it are not written.
            Self::Directory { bucket: None, .. } => "s3:///".to_owned(),
        }
    }

    /// Whether an object has been replayed and moved to the archive.
    #[must_use]
    pub fn is_archived(&self, key: &str) -> bool {
        let is_of_archive = matches!(self, Self::Directory { path, .. } if is_archive(path));
        is_of_archive || first_directory(key) == Some(ARCHIVE)
    }

    /// Whether the user asks for the archive.
    fn is_in_archive(&self) -> bool {
        match self {
            Self::Bucket { prefix, .. } => prefix == ARCHIVE || first_directory(prefix) == Some(ARCHIVE),
            Self::Directory { path, .. } => is_archive(path),
        }
    }

    /// The objects to replay, page by page; those in the archive only if the user asks for it. Objects written in the
    /// meantime may be among them.
    #[must_use]
    pub fn list(&self) -> LocalBoxStream<'_, Result<Listed, PlaceError>> {
        let pages: LocalBoxStream<'_, Result<Vec<Listed>, PlaceError>> = match self {
            Self::Bucket { client, bucket, prefix, address } => {
                // The token of the next page: `Some(None)` before the first, and `None` after the last.
                let page = move |next: Option<Option<String>>| async move {
                    let Some(token) = next else { return Ok(None) };
                    // A key may have characters that XML does not allow.
                    let request =
                        client.list_objects_v2().bucket(bucket).prefix(prefix).encoding_type(EncodingType::Url);
                    let page = request.set_continuation_token(token).send().await.map_err(|error| {
                        let permission = format!("s3:ListBucket on the bucket {bucket}");
                        AwsError::new(format!("listing the bucket {bucket} {address}"), &permission, &error)
                    })?;
                    let is_encoded = page.encoding_type == Some(EncodingType::Url);
                    let objects = page.contents.unwrap_or_default().into_iter();
                    let objects =
                        objects.filter_map(|object| listed(object.key, object.size, object.last_modified, is_encoded));
                    let objects = objects.collect();
                    Ok(Some((objects, page.next_continuation_token.map(Some))))
                };
                try_unfold(Some(None), page).boxed_local()
            }
            Self::Directory { path, .. } => {
                let page = move |mut waiting: Vec<PathBuf>| async move {
                    let Some(directory) = waiting.pop() else { return Ok(None) };
                    let (files, directories) = directory::files(path, &directory)?;
                    waiting.extend(directories);
                    Ok(Some((files, waiting)))
                };
                try_unfold(vec![path.clone()], page).boxed_local()
            }
        };
        let lists_archive = self.is_in_archive();
        let is_object = move |listed: &Listed| {
            // A console marks its folders with empty objects whose keys end with a slash.
            !(listed.key.ends_with('/') && listed.size == 0) && self.is_archived(&listed.key) == lists_archive
        };
        pages
            .map_ok(|page| iter(page.into_iter().map(Ok)))
            .try_flatten()
            .try_filter(move |listed| std::future::ready(is_object(listed)))
            .boxed_local()
    }

    /// The first version of each object, whatever became of it since. A directory has no others.
    #[must_use]
    pub fn first_versions(&self) -> LocalBoxStream<'_, Result<FirstVersion, PlaceError>> {
        match self {
            Self::Bucket { client, bucket, prefix, address } => versions::first(client, bucket, prefix, address),
            Self::Directory { .. } => {
                self.list().map_ok(|listed| FirstVersion { listed, id: None, is_last: true }).boxed_local()
            }
        }
    }

    /// Reads an object; `None` if it no longer exists.
    ///
    /// # Errors
    /// If the place returns an error.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, PlaceError> {
        self.get_version(key, None).await
    }

    /// Reads a version of an object, or the latest one.
    ///
    /// # Errors
    /// If the place returns an error.
    pub async fn get_version(&self, key: &str, version: Option<&str>) -> Result<Option<Vec<u8>>, PlaceError> {
        match self {
            Self::Bucket { client, bucket, .. } => {
                let action = if version.is_some() { "s3:GetObjectVersion" } else { "s3:GetObject" };
                let permission = on_objects(action, bucket);
                let request = client.get_object().bucket(bucket).key(key).set_version_id(version.map(str::to_owned));
                let output = match request.send().await {
                    Ok(output) => output,
                    Err(SdkError::ServiceError(error)) if matches!(error.err(), GetObjectError::NoSuchKey(_)) => {
                        return Ok(None);
                    }
                    Err(error) => return Err(AwsError::new("reading it", &permission, &error).into()),
                };
                let body = output.body.collect().await.map_err(|_| AwsError {
                    action: "reading it".to_owned(),
                    code: None,
                    reason: "the connection was lost; run the command again".to_owned(),
                })?;
                Ok(Some(body.to_vec()))
            }
            Self::Directory { path, .. } => directory::get(path, key),
        }
    }

    /// Writes an object atomically. Replaces one with the same key.
    ///
    /// # Errors
    /// If the place returns an error.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), PlaceError> {
        match self {
            Self::Bucket { client, bucket, .. } => {
                let request = client.put_object().bucket(bucket).key(key).content_type("application/json");
                let put = request.body(body.into()).send().await;
                let permission = on_objects("s3:PutObject", bucket);
                let put = put.map_err(|error| AwsError::new(format!("writing {key}"), &permission, &error))?;
                proven(&format!("writing {key}"), put.e_tag.as_deref())
            }
            Self::Directory { path, .. } => directory::put(path, key, &body),
        }
    }

    /// Moves an object to the archive, in a bucket by copying it. A crash in between leaves both, which is harmless: the next run
    /// replays the object, changes nothing, and moves it again. If the object does not exist, another run has moved it.
    ///
    /// # Errors
    /// If the place returns an error; the object then stays where it was.
    pub async fn archive(&self, key: &str) -> Result<(), PlaceError> {
        let archived = format!("{ARCHIVE}/{key}");
        match self {
            Self::Bucket { client, bucket, .. } => {
                let source = utf8_percent_encode(&format!("{bucket}/{key}"), PLAIN).to_string();
                match client.copy_object().bucket(bucket).key(&archived).copy_source(source).send().await {
                    Ok(copied) => {
                        let e_tag = copied.copy_object_result.and_then(|result| result.e_tag);
                        proven(&format!("copying it to {ARCHIVE}/"), e_tag.as_deref())?;
                    }
                    Err(SdkError::ServiceError(error)) if is_gone(error.err()) => return Ok(()),
                    Err(error) => {
                        let permission = on_objects("s3:GetObject and s3:PutObject", bucket);
                        return Err(AwsError::new(format!("copying it to {ARCHIVE}/"), &permission, &error).into());
                    }
                }
                let deleted = client.delete_object().bucket(bucket).key(key).send().await;
                let permission = on_objects("s3:DeleteObject", bucket);
                deleted.map_err(|error| AwsError::new("deleting it after it was archived", &permission, &error))?;
                Ok(())
            }
            Self::Directory { path, .. } => directory::rename(path, key, &archived),
        }
    }
}

/// S3 returns the `ETag` of an object that it stored. A response without one is not from S3, but from a proxy, for
/// example.
fn proven(action: &str, e_tag: Option<&str>) -> Result<(), PlaceError> {
    let reason = "the response does not confirm that the object is stored".to_owned();
    let missing = || AwsError { action: action.to_owned(), code: None, reason };
    e_tag.map(drop).ok_or_else(|| missing().into())
}

/// Whether the object with this key is a full record that an audit entry refers to.
#[must_use]
pub fn is_full_record(key: &str) -> bool {
    key.starts_with(OMITTED)
}

/// Whether the object with this key is a record of the Audit table's stream that shows tampering.
#[must_use]
pub fn is_tampering(key: &str) -> bool {
    key.starts_with(TAMPERING)
}

/// Whether a directory is the archive, or in it.
fn is_archive(directory: &Path) -> bool {
    directory.components().any(|part| part.as_os_str() == ARCHIVE)
}

/// The directory that a key begins with.
fn first_directory(key: &str) -> Option<&str> {
    key.split_once('/').map(|(directory, _)| directory)
}

fn on_objects(actions: &str, bucket: &str) -> String {
    format!("{actions} on the objects of the bucket {bucket}, and the use of its KMS key, if it has one")
}

/// An object of a listing, with these members of an answer.
fn listed(
    key: Option<String>,
    size: Option<i64>,
    time: Option<aws_smithy_types::DateTime>,
    is_encoded: bool,
) -> Option<Listed> {
    let modified = time.and_then(|time| DateTime::from_timestamp(time.secs(), time.subsec_nanos()));
    let size = size.unwrap_or_default().try_into().unwrap_or_default();
    let key = key?;
    let decoded = if is_encoded { decoded(&key) } else { Some(key.clone()) };
    let not_an_object = decoded.is_none().then_some(NotAnObject::Name);
    Some(Listed { key: decoded.unwrap_or(key), size, modified, not_an_object })
}

/// A key of a listing with `encoding-type=url`, which is encoded like a form's field.
fn decoded(key: &str) -> Option<String> {
    Some(percent_decode_str(&key.replace('+', " ")).decode_utf8().ok()?.into_owned())
}

fn is_gone(error: &CopyObjectError) -> bool {
    aws_sdk_s3::error::ProvideErrorMetadata::code(error) == Some("NoSuchKey")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_bucket_or_a_directory() {
        let bucket =
            |bucket: &str, prefix: &str| Ok(Location::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        for (text, expected) in [
            ("s3://failures", bucket("failures", "")),
            ("s3://failures/", bucket("failures", "")),
            ("s3://failures/quarantined/Configuration", bucket("failures", "quarantined/Configuration")),
            ("copy/of/it", Ok(Location::Directory("copy/of/it".into()))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in ["", "s3://", "s3:///prefix", "https://failures.s3.amazonaws.com"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_decoded_as_s3_encodes_it() {
        for (encoded, key) in [
            ("quarantined/Configuration/1.json", Some("quarantined/Configuration/1.json")),
            ("a%01b+c%2Bd%25", Some("a\u{1}b c+d%")),
            ("%C3%A9", Some("é")),
            ("%FF", None),
        ] {
            assert_eq!(decoded(encoded).as_deref(), key, "{encoded}");
        }
    }
}

//! What the witness function stored: the objects in the witness bucket, or in a directory with a copy of it.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use config_audit::witness::{PREFIX, Witness, WitnessObject, is_authentic};
use futures_util::stream::{Stream, StreamExt};

use crate::aws::Aws;
use crate::place::{FirstVersion, Listed, Location, NotAnObject, Place, PlaceError};

/// How many objects are read at once.
const CONCURRENCY: usize = 16;
/// The size in bytes of the largest object that is read. The function's are smaller: an event has at most 6 MB.
const MAX_SIZE: u64 = 16 * 1024 * 1024;

/// The objects of one table.
#[derive(Debug)]
pub struct Witnesses {
    place: Place,
}

/// One object.
#[derive(Debug)]
pub struct Seen {
    /// Its key, below the directory if it is one.
    pub key: String,
    /// When it was stored.
    pub stored: Option<DateTime<Utc>>,
    /// Whether nobody has replaced or deleted it since. If somebody has, this is what was stored first.
    pub is_last: bool,
    /// The witnesses in it.
    pub content: Result<Vec<Witness>, Flaw>,
}

/// Why an object is not what the witness function stored.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// No version of it is left.
    #[error("it is gone: all its versions were deleted")]
    Gone,
    /// It is no object.
    #[error(transparent)]
    NotAnObject(#[from] NotAnObject),
    /// The function stores no such object.
    #[error("it has {0} bytes, more than the witness function writes")]
    TooLarge(u64),
    /// Its key does not have its hash.
    #[error("its content does not have the hash that its name says")]
    NotAuthentic,
    /// It has that hash, but another form.
    #[error("it does not have the form of a witness: {0}")]
    Form(serde_json::Error),
}

/// The witnesses cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WitnessesError {
    /// There is no such directory.
    #[error(
        "there is no directory {}; --witness is s3://BUCKET or a directory that contains entries/, and --witness-table is the \
         name of the table whose entries were witnessed", .0.display()
    )]
    NoDirectory(PathBuf),
    /// The place returned an error.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl Witnesses {
    /// The witnesses of this table's entries.
    ///
    /// # Errors
    /// If the location is a directory that does not have them.
    pub fn new(aws: &Aws, location: Location, table: &str, endpoint: Option<String>) -> Result<Self, WitnessesError> {
        let place = match location {
            Location::Bucket { bucket, prefix } => {
                let slash = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "/" };
                let prefix = format!("{prefix}{slash}{PREFIX}{table}/");
                let address = aws.place_of_s3(endpoint.as_deref());
                Place::Bucket { client: aws.s3(endpoint), bucket, prefix, address }
            }
            Location::Directory(path) => {
                let path = path.join(PREFIX).join(table);
                if !path.is_dir() {
                    return Err(WitnessesError::NoDirectory(path));
                }
                Place::Directory { path, bucket: None }
            }
        };
        Ok(Self { place })
    }

    /// All objects, in order of their keys.
    pub fn objects(&self) -> impl Stream<Item = Result<Seen, WitnessesError>> {
        let seen = |first: Result<FirstVersion, PlaceError>| async { Ok(self.object(first?).await?) };
        self.place.first_versions().map(seen).buffered(CONCURRENCY)
    }

    async fn object(&self, first: FirstVersion) -> Result<Seen, PlaceError> {
        let FirstVersion { listed: Listed { key, size, modified, not_an_object }, id, is_last } = first;
        let content = if let Some(reason) = not_an_object {
            Err(reason.into())
        } else if id.is_none() && !is_last {
            Err(Flaw::Gone)
        } else if size > MAX_SIZE {
            Err(Flaw::TooLarge(size))
        } else {
            match self.place.get_version(&key, id.as_deref()).await? {
                None => Err(Flaw::Gone),
                Some(body) if !is_authentic(&key, &body) => Err(Flaw::NotAuthentic),
                Some(body) => {
                    let object = serde_json::from_slice::<WitnessObject>(&body);
                    object.map(|object| object.entries).map_err(Flaw::Form)
                }
            }
        };
        Ok(Seen { key, stored: modified, is_last, content })
    }
}

//! The failure bucket: the S3 API (s3s, s3s-fs) over a directory, on 127.0.0.1.
//!
//! The function and the commands use the API. The local world itself reads and writes the directory.

mod api;
mod directory;

use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;

use crate::aws::AwsSettings;
use crate::faults::Breaker;
use crate::server::{Callers, Server};
use api::Api;
use directory::Root;

pub use directory::StoredObject;

/// A bucket of the embedded S3.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    root: Root,
    aws: AwsSettings,
    server: Server,
    breaker: Breaker,
}

/// Why the bucket could not be started, read or written.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The directory cannot be created or written to.
    #[error(
        "the bucket's directory {} cannot be used (free some space, allow writing, or name another directory)",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The name is not valid for a bucket.
    #[error("{name:?} is not a valid bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")]
    Name {
        /// The name.
        name: String,
    },
    /// s3s-fs cannot use the directory.
    #[error("s3s-fs cannot use the directory {}: {message}", path.display())]
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// Its reason.
        message: String,
    },
    /// The port cannot be bound.
    #[error("cannot serve S3 on 127.0.0.1")]
    Port(#[source] io::Error),
    /// An object cannot be written.
    #[error("the object {key} cannot be written to the bucket {bucket}")]
    Write {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// Why it cannot be written.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The objects cannot be read.
    #[error("the objects of the bucket {bucket} cannot be read")]
    Read {
        /// The bucket.
        bucket: String,
        /// The operating system's error.
        source: io::Error,
    },
}

impl Bucket {
    /// Serves the bucket `name` from the subdirectory of that name below `root`; creates both if they are missing.
    /// Requests must be signed with the credentials of `aws`. `breaker` can break it.
    ///
    /// # Errors
    /// When the directory cannot be written to, the name is not valid for a bucket, or no port can be bound.
    pub async fn start(root: &Path, name: &str, aws: &AwsSettings, breaker: Breaker) -> Result<Self, BucketError> {
        let root = Root::new(root);
        create(&root, name).await?;
        let files = FileSystem::new(root.path())
            .map_err(|error| BucketError::FileSystem { path: root.path().to_owned(), message: format!("{error:?}") })?;
        let mut service = S3ServiceBuilder::new(Api { files, root: root.clone(), breaker: breaker.clone() });
        service.set_auth(SimpleAuth::from_single(&*aws.access_key_id, &*aws.secret_access_key));
        let service = service.build();
        let router = Router::new().fallback(move |request: axum::extract::Request| {
            let service = service.clone();
            async move {
                match service.call(request.map(s3s::Body::http_body_unsync)).await {
                    Ok(response) => response.map(axum::body::Body::new),
                    Err(error) => {
                        let mut response = axum::http::Response::new(axum::body::Body::from(format!("{error:?}")));
                        *response.status_mut() = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
                        response
                    }
                }
            }
        });
        let server = Server::start(0, router, Callers::Programs).await.map_err(BucketError::Port)?;
        Ok(Self { name: name.to_owned(), root, aws: aws.clone(), server, breaker })
    }

    /// Creates another bucket, which is served at the same endpoint.
    ///
    /// # Errors
    /// When its directory cannot be written to, or the name is not valid for a bucket.
    pub async fn create(&self, name: &str) -> Result<(), BucketError> {
        create(&self.root, name).await
    }

    /// The endpoint's URL, without the bucket.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The bucket's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client for the endpoint.
    #[must_use]
    pub fn client(&self) -> aws_sdk_s3::Client {
        self.aws.s3(&self.url())
    }

    /// Writes an object.
    ///
    /// # Errors
    /// When the key is not valid, the disk is full, or the directory was removed.
    pub async fn put(&self, key: &str, body: &[u8]) -> Result<(), BucketError> {
        let error = |source| BucketError::Write { bucket: self.name.clone(), key: key.to_owned(), source };
        if self.breaker.faults().bucket_refuses {
            return Err(error("broken on purpose".into()));
        }
        let file = self.root.file(&self.name, key).map_err(|invalid| error(invalid.into()))?;
        self.root.write_all(&file, body).await.map_err(|failed| error(failed.into()))
    }

    /// All objects, by key. Meant for the few that the local world holds.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn objects(&self) -> Result<Vec<StoredObject>, BucketError> {
        let objects = self.root.objects(&self.name).await;
        objects.map_err(|source| BucketError::Read { bucket: self.name.clone(), source })
    }

    /// Stops serving. The directory is kept.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

async fn create(root: &Root, name: &str) -> Result<(), BucketError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    if !(3..=63).contains(&name.len()) || !name.bytes().all(allowed) || name.starts_with('.') {
        return Err(BucketError::Name { name: name.to_owned() });
    }
    let created = root.create_bucket(name).await;
    created.map_err(|source| BucketError::Directory { path: root.bucket(name), source })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ProvideErrorMetadata;

    use uuid::Uuid;

    use super::*;
    use config_audit::aws::error_chain;

    async fn bucket(directory: &Path) -> Bucket {
        Bucket::start(directory, "failures", &AwsSettings::dummy(), Breaker::default()).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_as_long_as_lambdas_is_stored_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let key = format!("aws/lambda/{}/shardId-{}/2026/11/22/x", Uuid::new_v4(), "0".repeat(150));
        bucket.put(&key, b"{}").await.unwrap();
        bucket.put("second", b"[]").await.unwrap();
        let expected = [
            StoredObject { key, body: b"{}".to_vec() },
            StoredObject { key: "second".to_owned(), body: b"[]".to_vec() },
        ];
        assert_eq!(bucket.objects().await.unwrap(), expected);
        bucket.stop().await;
    }

    #[tokio::test]
    async fn an_object_is_copied_whole_under_a_key_as_long_as_lambdas() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let key = format!("aws/lambda/{}", "0".repeat(200));
        let copy = |from: &str| {
            let request = bucket.client().copy_object().bucket(bucket.name()).key(format!("kept/{key}"));
            request.copy_source(format!("{}/{from}", bucket.name())).send()
        };
        let missing = copy("missing").await.unwrap_err();
        assert_eq!(missing.code(), Some("NoSuchKey"));
        bucket.put(&key, b"{}").await.unwrap();
        copy(&key).await.unwrap();
        let keys: Vec<_> =
            bucket.objects().await.unwrap().into_iter().map(|object| (object.key, object.body)).collect();
        assert_eq!(keys, [(key.clone(), b"{}".to_vec()), (format!("kept/{key}"), b"{}".to_vec())]);
    }

    #[tokio::test]
    async fn a_directory_that_was_removed_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        std::fs::remove_dir_all(directory.path().join("failures")).unwrap();
        let error = error_chain(&bucket.put("key", b"{}").await.unwrap_err());
        let expected = format!("the bucket's directory {} is missing", directory.path().join("failures").display());
        assert!(error.ends_with(&expected), "{error}");
        let error = bucket.client().put_object().bucket("failures").key("key").send().await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Some("NoSuchBucket"), Some(expected.as_str())));
        assert!(bucket.objects().await.is_err());
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_created_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Bucket::start(&file, "failures", &AwsSettings::dummy(), Breaker::default()).await.unwrap_err();
        assert!(matches!(&error, BucketError::Directory { path, .. } if *path == file.join("failures")), "{error}");
    }

    #[tokio::test]
    async fn an_invalid_bucket_name_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "Upper", "ab"] {
            let error =
                Bucket::start(directory.path(), name, &AwsSettings::dummy(), Breaker::default()).await.unwrap_err();
            assert!(matches!(error, BucketError::Name { .. }), "{name}");
        }
    }

    #[tokio::test]
    async fn other_credentials_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let stranger = AwsSettings { secret_access_key: "other".to_owned(), ..AwsSettings::dummy() };
        assert!(stranger.s3(&bucket.url()).list_buckets().send().await.is_err());
    }

    #[tokio::test]
    async fn what_one_side_writes_the_other_reads() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let client = bucket.client();
        let put = client.put_object().bucket("failures").key("a/by-api").body(b"1".to_vec().into());
        put.send().await.unwrap();
        bucket.put("a/b/directly", b"2").await.unwrap();
        for key in ["../out", ".hidden", "a//b", ""] {
            assert!(bucket.put(key, b"3").await.is_err(), "{key:?}");
        }
        std::fs::write(directory.path().join("failures/.part"), "4").unwrap();
        let objects = bucket.objects().await.unwrap();
        let keys: Vec<&str> = objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["a/b/directly", "a/by-api"]);
        for object in &objects {
            let output = client.get_object().bucket("failures").key(&object.key).send().await.unwrap();
            assert_eq!(output.body.collect().await.unwrap().to_vec(), object.body, "{}", object.key);
        }
        assert!(!directory.path().join("out").exists());
    }
}

//! The failure bucket: the S3 API (s3s, s3s-fs) over a directory, on 127.0.0.1.

use std::io;
use std::path::{Path, PathBuf};

use axum::Router;
use futures_util::TryStreamExt;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopySource, DeleteObjectInput, DeleteObjectOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::clients::{Identity, refusal};
use super::server::Server;

/// A bucket of the embedded S3.
#[derive(Debug)]
pub struct Bucket {
    name: String,
    client: aws_sdk_s3::Client,
    server: Server,
}

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// What is in it.
    pub body: Vec<u8>,
}

/// Why the bucket is not there, or refused.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The directory can't be made or written to.
    #[error("the bucket's directory {} can't be used (make room, allow writing, or name another)", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The name would not be one directory.
    #[error("{name:?} is no bucket name: 3 to 63 lower-case letters, digits, dots and hyphens")]
    Name {
        /// The name.
        name: String,
    },
    /// s3s-fs did not take the directory.
    #[error("s3s-fs did not take the directory {}: {message}", path.display())]
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// Its reason.
        message: String,
    },
    /// The port can't be bound.
    #[error("can't serve S3 on 127.0.0.1")]
    Port(#[source] io::Error),
    /// S3 refused a request.
    #[error("the bucket {bucket} can't {what}: {message}")]
    Request {
        /// The bucket.
        bucket: String,
        /// What was asked.
        what: String,
        /// The answer.
        message: String,
    },
}

impl Bucket {
    /// Serves the bucket `name` from the subdirectory of that name below `root`; both are made if they are missing.
    /// Requests must be signed with `identity`.
    ///
    /// # Errors
    /// When the directory can't be written to, the name is no bucket's, or no port can be bound.
    pub async fn start(root: &Path, name: &str, identity: &Identity) -> Result<Self, BucketError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if !(3..=63).contains(&name.len()) || !name.bytes().all(allowed) || name.starts_with('.') {
            return Err(BucketError::Name { name: name.to_owned() });
        }
        let directory = root.join(name);
        probe(&directory).await.map_err(|source| BucketError::Directory { path: directory.clone(), source })?;
        let files = FileSystem::new(root)
            .map_err(|error| BucketError::FileSystem { path: root.to_owned(), message: format!("{error:?}") })?;
        let mut service = S3ServiceBuilder::new(FilesOnly { files, root: root.to_owned() });
        service.set_auth(SimpleAuth::from_single(&*identity.access_key_id, &*identity.secret_access_key));
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
        let server = Server::start_router(0, router).await.map_err(BucketError::Port)?;
        Ok(Self { name: name.to_owned(), client: identity.s3(&server.url()), server })
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
    pub fn client(&self) -> &aws_sdk_s3::Client {
        &self.client
    }

    /// Writes an object.
    ///
    /// # Errors
    /// When S3 refuses: a full disk, a directory that was taken away.
    pub async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), BucketError> {
        let request = self.client.put_object().bucket(&self.name).key(key).content_type("application/json");
        match request.body(body.into()).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.request(format!("take {key}"), refusal(&error))),
        }
    }

    /// All objects, by key. Meant for the few that the local world holds.
    ///
    /// # Errors
    /// When S3 refuses.
    pub async fn objects(&self) -> Result<Vec<StoredObject>, BucketError> {
        let mut objects = Vec::new();
        let mut pages = self.client.list_objects_v2().bucket(&self.name).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.request("list its objects", refusal(&error)))?;
            for key in page.contents.unwrap_or_default().into_iter().filter_map(|object| object.key) {
                let object = self.client.get_object().bucket(&self.name).key(&key).send().await;
                let object = object.map_err(|error| self.request(format!("give {key}"), refusal(&error)))?;
                let body = object
                    .body
                    .collect()
                    .await
                    .map_err(|error| self.request(format!("give {key}"), error.to_string()))?;
                objects.push(StoredObject { key, body: body.to_vec() });
            }
        }
        Ok(objects)
    }

    /// Stops serving. The directory stays.
    pub async fn stop(self) {
        self.server.stop().await;
    }

    fn request(&self, what: impl Into<String>, message: String) -> BucketError {
        BucketError::Request { bucket: self.name.clone(), what: what.into(), message }
    }
}

/// Makes the directory and writes a file in it, to find out now and not at the first failure.
async fn probe(directory: &Path) -> io::Result<()> {
    tokio::fs::create_dir_all(directory).await?;
    let file = directory.join(format!(".probe-{}", Uuid::new_v4()));
    let written = tokio::fs::write(&file, b"a byte or two").await;
    let removed = tokio::fs::remove_file(&file).await;
    written.and(removed)
}

/// s3s-fs with a `PutObject` and a `CopyObject` of our own.
///
/// Its own `PutObject` keeps an object's metadata in a file whose *name* is the base64 of bucket and key. The keys of Lambda's
/// on-failure destination make that name longer than the 255 bytes a file name may have, and the object is refused.
/// It also makes a bucket that is missing, where S3 refuses. Metadata is not kept here; nothing in it is needed.
struct FilesOnly {
    files: FileSystem,
    root: PathBuf,
}

impl FilesOnly {
    /// The object's file; no key leads out of the bucket, or to a file of ours.
    fn path(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let harmless = |part: &str| !part.is_empty() && !part.starts_with('.');
        if !harmless(bucket) || !key.split('/').all(harmless) {
            return Err(s3_error!(InvalidArgument, "the parts of a key must not be empty or begin with a dot here"));
        }
        let directory = self.root.join(bucket);
        if !directory.is_dir() {
            return Err(s3_error!(NoSuchBucket, "the directory {} is not there", directory.display()));
        }
        Ok(directory.join(key))
    }

    /// Writes an object's file, whole or not at all.
    async fn write<F>(&self, path: &Path, content: F) -> S3Result<()>
    where
        F: AsyncFnOnce(&mut tokio::fs::File) -> io::Result<()>,
    {
        // Under another name first: whoever lists the bucket sees whole objects only.
        let part = self.root.join(format!(".part-{}", Uuid::new_v4()));
        let written = async {
            let mut file = tokio::fs::File::create(&part).await?;
            content(&mut file).await?;
            file.sync_all().await?;
            if let Some(parent) = path.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::rename(&part, &path).await
        }
        .await;
        if let Err(error) = written {
            let _ = tokio::fs::remove_file(&part).await;
            return Err(failed(path, "written", &error));
        }
        Ok(())
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, format!("{} can't be {what}: {error}", path.display()))
}

#[async_trait::async_trait]
impl S3 for FilesOnly {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, .. } = request.input;
        let path = self.path(&bucket, &key)?;
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        self.write(&path, async |file| {
            while let Some(chunk) = body.try_next().await.map_err(io::Error::other)? {
                file.write_all(&chunk).await?;
            }
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutObjectOutput::default()))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopyObjectInput { bucket, key, copy_source, .. } = request.input;
        let CopySource::Bucket { bucket: from_bucket, key: from_key, .. } = copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let (from, to) = (self.path(&from_bucket, &from_key)?, self.path(&bucket, &key)?);
        let bytes = tokio::fs::read(&from).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => s3_error!(NoSuchKey),
            _ => failed(&from, "read", &error),
        })?;
        self.write(&to, async |file| file.write_all(&bytes).await).await?;
        Ok(S3Response::new(CopyObjectOutput::default()))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }

    async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
        self.files.list_objects(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn list_buckets(&self, request: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
        self.files.list_buckets(request).await
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        self.files.get_bucket_location(request).await
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ProvideErrorMetadata;

    use super::*;

    async fn bucket(directory: &Path) -> Bucket {
        Bucket::start(directory, "failures", &Identity::throw_away()).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_as_long_as_lambdas_is_stored_and_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let key = format!("aws/lambda/{}/shardId-{}/2026/11/22/x", Uuid::new_v4(), "0".repeat(150));
        bucket.put(&key, b"{}".to_vec()).await.unwrap();
        bucket.put("second", b"[]".to_vec()).await.unwrap();
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
        bucket.put(&key, b"{}".to_vec()).await.unwrap();
        copy(&key).await.unwrap();
        let keys: Vec<_> =
            bucket.objects().await.unwrap().into_iter().map(|object| (object.key, object.body)).collect();
        assert_eq!(keys, [(key.clone(), b"{}".to_vec()), (format!("kept/{key}"), b"{}".to_vec())]);
    }

    #[tokio::test]
    async fn a_directory_that_was_taken_away_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        std::fs::remove_dir_all(directory.path().join("failures")).unwrap();
        let error = bucket.put("key", Vec::new()).await.unwrap_err().to_string();
        assert!(error.contains("NoSuchBucket") && error.contains("failures"), "{error}");
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Bucket::start(&file, "failures", &Identity::throw_away()).await.unwrap_err();
        assert!(matches!(&error, BucketError::Directory { path, .. } if *path == file.join("failures")), "{error}");
    }

    #[tokio::test]
    async fn a_name_that_is_no_buckets_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "Upper", "ab"] {
            let error = Bucket::start(directory.path(), name, &Identity::throw_away()).await.unwrap_err();
            assert!(matches!(error, BucketError::Name { .. }), "{name}");
        }
    }

    #[tokio::test]
    async fn other_credentials_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let bucket = bucket(directory.path()).await;
        let stranger = Identity { secret_access_key: "other".to_owned(), ..Identity::throw_away() };
        assert!(stranger.s3(&bucket.url()).list_buckets().send().await.is_err());
    }
}

//! The S3 API of the bucket's directory.

use std::io;
use std::path::Path;

use futures_util::TryStreamExt;
use md5::{Digest, Md5};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput, ETag,
    GetBucketLocationInput, GetBucketLocationOutput, GetObjectInput, GetObjectOutput, HeadBucketInput,
    HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectVersionsInput,
    ListObjectVersionsOutput, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectVersion, PutObjectInput, PutObjectOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::io::AsyncWriteExt;

use super::directory::{KeyError, Root};
use crate::faults::Breaker;

/// What S3 calls the only version of an object in a bucket without versions.
const ONLY_VERSION: &str = "null";

/// s3s-fs with our own `PutObject` and `CopyObject`.
///
/// Its `PutObject` keeps an object's metadata in a file whose *name* is the base64 of bucket and key. The keys of
/// Lambda's on-failure destination make that name longer than the 255 bytes that a file name may have, so the object is
/// refused. It also creates a missing bucket, where S3 refuses. Ours keeps no metadata, because nothing here needs it.
pub(super) struct Api {
    pub(super) files: FileSystem,
    pub(super) root: Root,
    pub(super) breaker: Breaker,
}

impl From<KeyError> for S3Error {
    fn from(error: KeyError) -> Self {
        let code = match error {
            KeyError::Part(_) => S3ErrorCode::InvalidArgument,
            KeyError::NoBucket(_) => S3ErrorCode::NoSuchBucket,
        };
        Self::with_message(code, error.to_string())
    }
}

fn failed(path: &Path, action: &str, error: &io::Error) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, format!("{} cannot be {action}: {error}", path.display()))
}

/// The `ETag` that S3 gives to an object stored in one piece.
fn e_tag(md5: Md5) -> ETag {
    ETag::Strong(config_audit::value::hex(&md5.finalize()))
}

#[async_trait::async_trait]
impl S3 for Api {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if self.breaker.faults().bucket_refuses {
            return Err(s3_error!(AccessDenied, "broken on purpose"));
        }
        let PutObjectInput { bucket, key, body, if_none_match, .. } = request.input;
        let file = self.root.file(&bucket, &key)?;
        if if_none_match.is_some() && file.exists() {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let mut md5 = Md5::new();
        let write = self.root.write(&file, async |output| {
            while let Some(chunk) = body.try_next().await.map_err(io::Error::other)? {
                md5.update(&chunk);
                output.write_all(&chunk).await?;
            }
            Ok(())
        });
        write.await.map_err(|error| failed(&file, "written", &error))?;
        let e_tag = Some(e_tag(md5));
        Ok(S3Response::new(PutObjectOutput { e_tag, ..PutObjectOutput::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let CopyObjectInput { bucket, key, copy_source, .. } = request.input;
        let CopySource::Bucket { bucket: from_bucket, key: from_key, .. } = copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        let (from, to) = (self.root.file(&from_bucket, &from_key)?, self.root.file(&bucket, &key)?);
        let bytes = tokio::fs::read(&from).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => s3_error!(NoSuchKey),
            _ => failed(&from, "read", &error),
        })?;
        self.root.write_all(&to, &bytes).await.map_err(|error| failed(&to, "written", &error))?;
        let e_tag = Some(e_tag(Md5::new_with_prefix(&bytes)));
        let copy_object_result = Some(CopyObjectResult { e_tag, ..CopyObjectResult::default() });
        Ok(S3Response::new(CopyObjectOutput { copy_object_result, ..CopyObjectOutput::default() }))
    }

    async fn get_object(&self, mut request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        request.input.version_id = request.input.version_id.filter(|version| version != ONLY_VERSION);
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
        let mut response = self.files.list_objects_v2(request).await?;
        // If asked to encode the keys, it claims to have done so, but has not.
        response.output.encoding_type = None;
        Ok(response)
    }

    /// Each object has one version.
    async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let ListObjectVersionsInput { bucket, prefix, key_marker, max_keys, .. } = request.input.clone();
        let list =
            ListObjectsV2Input { bucket, prefix, start_after: key_marker, max_keys, ..ListObjectsV2Input::default() };
        let listed = self.files.list_objects_v2(request.map_input(|_| list)).await?.output;
        let version = |object: Object| ObjectVersion {
            key: object.key,
            size: object.size,
            last_modified: object.last_modified,
            version_id: Some(ONLY_VERSION.to_owned()),
            is_latest: Some(true),
            ..ObjectVersion::default()
        };
        let versions: Vec<ObjectVersion> = listed.contents.unwrap_or_default().into_iter().map(version).collect();
        let next_key_marker = versions.last().and_then(|version| version.key.clone());
        Ok(S3Response::new(ListObjectVersionsOutput {
            is_truncated: listed.is_truncated,
            next_key_marker: next_key_marker.filter(|_| listed.is_truncated == Some(true)),
            versions: Some(versions),
            ..ListObjectVersionsOutput::default()
        }))
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

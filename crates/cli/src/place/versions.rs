//! The first version of each object in a bucket with versions.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::EncodingType;
use config_audit_tables::AwsError;
use futures_util::stream::{LocalBoxStream, StreamExt, TryStreamExt, iter, try_unfold};

use super::{Listed, PlaceError, listed};

/// The first version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstVersion {
    /// The object, as it was first stored.
    pub listed: Listed,
    /// The version's ID; `None` if the place has no versions.
    pub id: Option<String>,
    /// Whether nobody has replaced or deleted it since.
    pub is_last: bool,
}

/// Where a listing continues, and the last key of the page before: its older versions may be on the next page.
#[derive(Default)]
struct Position {
    markers: Option<(Option<String>, Option<String>)>,
    last: Option<FirstVersion>,
}

/// The first versions of the objects with this prefix, page by page.
pub(super) fn first<'a>(
    client: &'a Client,
    bucket: &'a str,
    prefix: &'a str,
    address: &'a str,
) -> LocalBoxStream<'a, Result<FirstVersion, PlaceError>> {
    let page = move |position: Option<Position>| async move {
        let Some(Position { markers, last }) = position else { return Ok(None) };
        let (key, version) = markers.unwrap_or_default();
        let request = client.list_object_versions().bucket(bucket).prefix(prefix).encoding_type(EncodingType::Url);
        let request = request.set_key_marker(key).set_version_id_marker(version);
        let page = request.send().await.map_err(|error| {
            let permission = format!("s3:ListBucketVersions on the bucket {bucket}");
            AwsError::new(format!("listing the versions in the bucket {bucket} {address}"), &permission, &error)
        })?;
        let is_truncated = page.is_truncated == Some(true);
        let markers = (page.next_key_marker.clone(), page.next_version_id_marker.clone());
        let mut firsts = merge(last, versions(page));
        let last = if is_truncated { firsts.pop() } else { None };
        let next = is_truncated.then_some(Position { markers: Some(markers), last });
        Ok::<_, PlaceError>(Some((firsts, next)))
    };
    let pages = try_unfold(Some(Position::default()), page);
    pages.map_ok(|page| iter(page.into_iter().map(Ok))).try_flatten().boxed_local()
}

/// The versions and the delete markers of a page, by key; those of one key as S3 lists them, newest first. A delete marker
/// has no content.
fn versions(page: ListObjectVersionsOutput) -> Vec<(Listed, Option<String>)> {
    let is_encoded = page.encoding_type == Some(EncodingType::Url);
    let objects = page.versions.unwrap_or_default().into_iter().filter_map(|version| {
        Some((listed(version.key, version.size, version.last_modified, is_encoded)?, version.version_id))
    });
    let markers = page.delete_markers.unwrap_or_default().into_iter();
    let markers =
        markers.filter_map(|marker| Some((listed(marker.key, None, marker.last_modified, is_encoded)?, None)));
    let mut all: Vec<_> = markers.chain(objects).collect();
    all.sort_by(|(one, _), (other, _)| one.key.cmp(&other.key));
    all
}

/// Keeps the oldest version of each key; `before` is what an earlier page has of the first one.
fn merge(before: Option<FirstVersion>, versions: Vec<(Listed, Option<String>)>) -> Vec<FirstVersion> {
    let mut firsts: Vec<FirstVersion> = before.into_iter().collect();
    for (listed, id) in versions {
        let is_marker = id.is_none();
        match firsts.last_mut().filter(|first| first.listed.key == listed.key) {
            Some(first) => {
                first.is_last = false;
                if !is_marker {
                    (first.listed, first.id) = (listed, id);
                }
            }
            None => firsts.push(FirstVersion { listed, id, is_last: !is_marker }),
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(key: &str, id: Option<&str>) -> (Listed, Option<String>) {
        (Listed { key: key.to_owned(), size: 1, modified: None, not_an_object: None }, id.map(str::to_owned))
    }

    #[test]
    fn the_oldest_version_counts_even_if_it_is_on_the_next_page() {
        let page = vec![version("a", Some("1")), version("b", None), version("b", Some("3")), version("b", Some("2"))];
        let mut firsts = merge(None, page);
        let last = firsts.pop();
        firsts.extend(merge(last, vec![version("b", Some("1")), version("c", None), version("d", Some("1"))]));
        let seen: Vec<_> =
            firsts.iter().map(|first| (first.listed.key.as_str(), first.id.as_deref(), first.is_last)).collect();
        let expected = [("a", Some("1"), true), ("b", Some("1"), false), ("c", None, false), ("d", Some("1"), true)];
        assert_eq!(seen, expected);
    }
}

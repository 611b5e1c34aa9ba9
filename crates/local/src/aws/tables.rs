//! What this project knows about its two tables: the type of their items, the Audit table's index, their streams.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{StreamViewType, TableDescription};
use serde_dynamo::AttributeValue;

/// The index that makes an item's history one query.
pub const HISTORY_INDEX: &str = "itemKey-modificationTime-index";

/// An item in the workspace's single type of DynamoDB values, which the Lambda's library uses too.
pub type Item = HashMap<String, AttributeValue>;

/// Converts an item of either SDK, the table's or the stream's, to that type.
#[must_use]
pub fn item<V: Into<AttributeValue>>(attributes: impl IntoIterator<Item = (String, V)>) -> Item {
    attributes.into_iter().map(|(name, value)| (name, value.into())).collect()
}

/// The ARN of the table's stream, if it has one with both images.
#[must_use]
pub fn stream_arn(table: &TableDescription) -> Option<String> {
    let stream = table.stream_specification.as_ref()?;
    let has_both_images = stream.stream_enabled && stream.stream_view_type == Some(StreamViewType::NewAndOldImages);
    has_both_images.then(|| table.latest_stream_arn.clone()).flatten()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::StreamSpecification;

    use super::*;

    #[test]
    fn only_an_enabled_stream_with_both_images_counts() {
        let arn = |enabled: bool, view_type: StreamViewType| {
            let stream = StreamSpecification::builder().stream_enabled(enabled).stream_view_type(view_type);
            let table =
                TableDescription::builder().latest_stream_arn("arn").stream_specification(stream.build().unwrap());
            stream_arn(&table.build())
        };
        assert_eq!(arn(true, StreamViewType::NewAndOldImages).as_deref(), Some("arn"));
        // DynamoDB still names the disabled stream.
        assert_eq!(arn(false, StreamViewType::NewAndOldImages), None);
        assert_eq!(arn(true, StreamViewType::NewImage), None);
        assert_eq!(stream_arn(&TableDescription::builder().build()), None);
    }

    #[test]
    fn items_of_both_sdks_become_the_same_item() {
        use aws_sdk_dynamodb::types::AttributeValue as OfTable;
        use aws_sdk_dynamodbstreams::types::AttributeValue as OfStream;
        let digits = "12345678901234567890123456789012345678";
        let of_table = HashMap::from([(
            "value".to_owned(),
            OfTable::M(HashMap::from([
                ("number".to_owned(), OfTable::N(digits.to_owned())),
                ("bytes".to_owned(), OfTable::Bs(vec![vec![0, 1].into()])),
            ])),
        )]);
        let of_stream = HashMap::from([(
            "value".to_owned(),
            OfStream::M(HashMap::from([
                ("number".to_owned(), OfStream::N(digits.to_owned())),
                ("bytes".to_owned(), OfStream::Bs(vec![vec![0, 1].into()])),
            ])),
        )]);
        let expected = AttributeValue::M(HashMap::from([
            ("number".to_owned(), AttributeValue::N(digits.to_owned())),
            ("bytes".to_owned(), AttributeValue::Bs(vec![vec![0, 1]])),
        ]));
        assert_eq!(item(of_table), item(of_stream.clone()));
        assert_eq!(item(of_stream)["value"], expected);
    }
}

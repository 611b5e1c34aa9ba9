//! The value types of DynamoDB: the SDK's, the Streams SDK's, and the library's. They are the same in all but name.

use std::collections::HashMap;

use serde_dynamo::AttributeValue;

/// An item in the SDK's type.
pub type SdkItem = HashMap<String, aws_sdk_dynamodb::types::AttributeValue>;

/// The same item in another of the types.
#[must_use]
pub fn convert<A, B>(item: impl IntoIterator<Item = (String, A)>) -> HashMap<String, B>
where
    A: Into<AttributeValue>,
    B: From<AttributeValue>,
{
    item.into_iter().map(|(name, value)| (name, value.into().into())).collect()
}

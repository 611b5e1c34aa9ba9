//! Checks that an answer is exactly as DynamoDB sent it.

use aws_sdk_dynamodb::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

/// Rejects an answer that DynamoDB did not send like this: a success with a status other than 200, or a body that does
/// not match the CRC-32 in its header `x-amz-crc32` (Amazon DynamoDB Developer Guide, "Low-level API"). An answer
/// without the header is accepted.
#[derive(Debug)]
pub(super) struct AnswerInterceptor;

#[derive(Debug, thiserror::Error)]
enum WrongAnswer {
    #[error("the answer's status is {0}, but DynamoDB's is 200")]
    Status(u16),
    /// The body was altered or truncated in transit.
    #[error("the answer's body does not match its x-amz-crc32 header")]
    Checksum,
}

impl Intercept for AnswerInterceptor {
    fn name(&self) -> &'static str {
        "AnswerInterceptor"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let status = response.status();
        if status.is_success() && status.as_u16() != 200 {
            return Err(WrongAnswer::Status(status.as_u16()).into());
        }
        let Some(expected) = response.headers().get("x-amz-crc32") else { return Ok(()) };
        let actual = crc32fast::hash(response.body().bytes().unwrap_or_default());
        if expected.parse() == Ok(actual) { Ok(()) } else { Err(WrongAnswer::Checksum.into()) }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::Client;
    use aws_sdk_dynamodb::config::interceptors::BeforeDeserializationInterceptorContextMut;
    use aws_sdk_dynamodb::error::SdkError;
    use serde_json::json;

    use super::*;

    /// Replaces the correct checksum of each answer with this one; `None` removes it.
    #[derive(Debug)]
    struct Checksum(Option<&'static str>);

    impl Intercept for Checksum {
        fn name(&self) -> &'static str {
            "Checksum"
        }

        fn modify_before_deserialization(
            &self,
            context: &mut BeforeDeserializationInterceptorContextMut<'_>,
            _: &RuntimeComponents,
            _: &mut ConfigBag,
        ) -> Result<(), BoxError> {
            let headers = context.response_mut().headers_mut();
            headers.remove("x-amz-crc32").ok_or("DynamoDB's answers have one")?;
            if let Some(checksum) = self.0 {
                headers.insert("x-amz-crc32", checksum);
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn an_answer_altered_in_transit_is_rejected() {
        let answer = json!({ "TableNames": ["Audit"] });
        let right = crc32fast::hash(answer.to_string().as_bytes()).to_string().leak();
        let config = config_audit_fake_aws::service(move |_, _| (200, answer.clone()));
        for (checksum, is_taken) in [(None, true), (Some(&*right), true), (Some("1"), false), (Some("x"), false)] {
            let config = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(Checksum(checksum)).build();
            let request = Client::from_conf(config).list_tables().customize().interceptor(AnswerInterceptor);
            let result = request.send().await;
            assert_eq!(result.is_ok(), is_taken, "{checksum:?}");
            if let Err(error) = result {
                assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
            }
        }
    }
}

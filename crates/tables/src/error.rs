//! Errors of AWS requests, each in one line: what failed, where, why, and what to do.

use std::error::Error;
use std::fmt::Debug;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use config_audit::aws::{causes, error_chain, is_error_code, root_cause};

/// What to do if nothing answers.
const CHECK_CONNECTION: &str = "check --endpoint-url, --region, the network and proxies";
const NO_ANSWER: &str = "the request timed out; check the network and proxies, or run the command again";
const NOT_AWS: &str = "the response is not from AWS; check --endpoint-url and proxies";

/// AWS returned an error, or could not be reached. Quotes AWS only if the text cannot contain a value.
#[derive(Debug, thiserror::Error)]
#[error("{action} failed: {reason}")]
pub struct AwsError {
    /// What was requested, and where, such as "reading table Audit in eu-central-1".
    pub action: String,
    /// AWS's error code, if it responded.
    pub code: Option<String>,
    /// Why it failed, and what to do.
    pub reason: String,
}

impl AwsError {
    /// The error of a request. `permission` is what the request needs, such as `dynamodb:Query on table Audit and its indexes`.
    pub fn new<E, R>(action: impl Into<String>, permission: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: Debug + 'static,
    {
        match (error.code(), error) {
            (Some(code), _) => Self::of_code(action, permission, code),
            // A response without a code is not from AWS, and could contain anything.
            (None, SdkError::ServiceError(_) | SdkError::ResponseError(_)) => {
                Self { action: action.into(), code: None, reason: NOT_AWS.to_owned() }
            }
            (None, _) => Self { action: action.into(), code: None, reason: unanswered(error) },
        }
    }

    /// The error with this AWS error code.
    pub fn of_code(action: impl Into<String>, permission: &str, code: &str) -> Self {
        // A custom endpoint may send anything as a code.
        let code = if is_error_code(code) { code } else { "an error without a valid code" };
        let reason = match code {
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
                format!("your credentials lack a permission; this requires {permission}")
            }
            "ResourceNotFoundException" => {
                "there is no such table or index; check --region, --profile and the name".to_owned()
            }
            "NoSuchBucket" => "there is no such bucket; check the name".to_owned(),
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => {
                format!("the bucket is in another region ({code}); check --region")
            }
            "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
                format!("your credentials have expired ({code}); log in again, such as with `aws sso login`")
            }
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "InvalidClientTokenId"
            | "InvalidAccessKeyId"
            | "IncompleteSignatureException"
            | "MissingAuthenticationTokenException"
            | "SignatureDoesNotMatch" => {
                format!("AWS does not accept your credentials ({code}); check --profile, or log in again")
            }
            "ProvisionedThroughputExceededException" => {
                format!("the table has reached its capacity ({code}); raise it, or run the command again later")
            }
            "ThrottlingException"
            | "Throttling"
            | "RequestLimitExceeded"
            | "RequestThrottled"
            | "TooManyRequestsException"
            | "SlowDown" => format!("AWS is throttling your requests ({code}); run the command again later"),
            "InternalServerError" | "InternalFailure" | "InternalError" | "ServiceUnavailable" => {
                format!("AWS failed ({code}); run the command again later")
            }
            // A validation message can quote the item.
            _ => format!("AWS answered {code}"),
        };
        Self { action: action.into(), code: Some(code.to_owned()), reason }
    }

    /// The error of the function's own writer, which uses these codes where AWS has none. Its messages are meant for
    /// operators of the function.
    pub fn of_writer(action: impl Into<String>, permission: &str, code: &str) -> Self {
        let reason = match code {
            "connection" => format!("cannot connect; {CHECK_CONNECTION}"),
            "timeout" => NO_ANSWER.to_owned(),
            "request" | "dispatch" => "the request could not be sent; check --region and your credentials".to_owned(),
            code if code == "response" || code.starts_with("Http") => NOT_AWS.to_owned(),
            _ => return Self::of_code(action, permission, code),
        };
        Self { action: action.into(), code: Some(code.to_owned()), reason }
    }

    /// Whether DynamoDB rejected the request's content, so that retrying is pointless.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.code.as_deref() == Some("ValidationException")
    }
}

/// Why there was no response.
fn unanswered<E, R>(error: &SdkError<E, R>) -> String
where
    E: Error + 'static,
    R: Debug + 'static,
{
    if let Some(credentials) = causes(error).find_map(<dyn Error>::downcast_ref::<CredentialsError>) {
        return without_credentials(credentials);
    }
    let is_timeout = match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(dispatch) => dispatch.is_timeout(),
        _ => false,
    };
    if is_timeout {
        return NO_ANSWER.to_owned();
    }
    match error {
        SdkError::DispatchFailure(dispatch) if dispatch.is_io() => {
            format!("cannot connect: {}; {CHECK_CONNECTION}", root_cause(error))
        }
        _ => format!("the request could not be built ({})", one_line(error)),
    }
}

/// Why there are no credentials.
#[must_use]
pub fn without_credentials(error: &CredentialsError) -> String {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "there are no credentials; log in, or check --profile, AWS_PROFILE and AWS_ACCESS_KEY_ID".to_owned()
        }
        _ => format!("your credentials cannot be loaded ({}); check --profile, or log in again", one_line(error)),
    }
}

fn one_line(error: &dyn Error) -> String {
    error_chain(error).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use aws_sdk_dynamodb::error::ConnectorError;
    use aws_sdk_dynamodb::operation::query::QueryError;

    use super::*;

    #[test]
    fn a_request_without_a_response_has_its_reason_in_one_line() {
        let dispatch = |error: ConnectorError| SdkError::<QueryError>::dispatch_failure(error);
        let other = |error: CredentialsError| dispatch(ConnectorError::other(error.into(), None));
        for (error, words) in [
            (SdkError::timeout_error("first\nsecond"), "failed: the request timed out; check the network"),
            (dispatch(ConnectorError::timeout("first\nsecond".into())), "failed: the request timed out"),
            (
                dispatch(ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionReset).into())),
                "failed: cannot connect: connection reset; check --endpoint-url",
            ),
            (other(CredentialsError::not_loaded("first\nsecond")), "failed: there are no credentials; log in"),
            (
                other(CredentialsError::provider_error("first\nsecond")),
                "first second); check --profile, or log in again",
            ),
            (SdkError::construction_failure("first\nsecond"), "(failed to construct request: first second)"),
        ] {
            let text = AwsError::new("reading", "dynamodb:Query", &error).to_string();
            assert!(text.contains(words) && !text.contains('\n'), "{text}");
        }
    }

    /// A custom endpoint may be anything.
    #[test]
    fn an_invalid_error_code_is_not_quoted() {
        for code in ["", "a secret", "two\nlines", "\u{1b}[2K", &"x".repeat(65)] {
            let text = AwsError::of_code("reading", "dynamodb:Query", code).to_string();
            assert_eq!(text, "reading failed: AWS answered an error without a valid code");
        }
    }
}

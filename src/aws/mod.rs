//! What the function knows about AWS: ARNs, partitions, the certificates of endpoints, and how to describe the errors
//! of its clients.

pub mod arn;
pub mod partition;
pub mod tls;

use std::error::Error;

/// Whether an external text has the form of an AWS error code, so that quoting it reveals nothing else.
#[must_use]
pub fn is_error_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An error and each of its causes, outermost first.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

/// What went wrong, without the layers that passed it on: the innermost cause.
#[must_use]
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An error and its causes in one line. The SDK's own `DisplayErrorContext` ends in a debug dump of them all.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some errors include their cause in their own message.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failed {
        #[error("the request failed")]
        Request(#[source] Box<Failed>),
        #[error("connecting failed: {0}")]
        Connect(#[source] Box<Failed>),
        #[error("connection refused")]
        Refused,
    }

    #[test]
    fn each_cause_appears_once() {
        let error = Failed::Request(Box::new(Failed::Connect(Box::new(Failed::Refused))));
        assert_eq!(error_chain(&error), "the request failed: connecting failed: connection refused");
        assert_eq!(error_chain(&Failed::Refused), "connection refused");
        assert_eq!(root_cause(&error), "connection refused");
    }
}

//! The token that every form carries. Other sites cannot read it, so they cannot submit our forms.

use axum::extract::{FromRef, FromRequest, RawForm, Request};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::site::Refusal;

/// A token, new for each console.
#[derive(Debug, Clone)]
pub(crate) struct FormToken(String);

impl FormToken {
    /// A token of 244 random bits.
    #[must_use]
    pub(crate) fn random() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// As forms carry it.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a form carried this token. Runs in constant time.
    #[must_use]
    pub(crate) fn is(&self, carried: &str) -> bool {
        let differences = self.0.bytes().zip(carried.bytes()).fold(0, |all, (own, other)| all | (own ^ other));
        self.0.len() == carried.len() && differences == 0
    }
}

/// A submitted form, whose token has been checked: a handler that takes it cannot forget to.
#[derive(Debug)]
pub(crate) struct Sent<T>(pub(crate) T);

/// A form that carries only a token.
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenForm {
    token: String,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T>
where
    FormToken: FromRef<S>,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let form = RawForm::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge,
            _ => Refusal::Invalid(rejection.body_text()),
        })?;
        // Twice, because `serde(flatten)` leaves the numbers and booleans of a form as text.
        let TokenForm { token } = read(&form.0)?;
        if !FormToken::from_ref(state).is(&token) {
            return Err(Refusal::Token);
        }
        read(&form.0).map(Self)
    }
}

fn read<T: DeserializeOwned>(form: &[u8]) -> Result<T, Refusal> {
    serde_urlencoded::from_bytes(form).map_err(|error| Refusal::Invalid(format!("the form cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_equals_only_itself() {
        let token = FormToken::random();
        assert!(token.is(token.as_str()) && token.as_str().len() == 64);
        for other in ["", "x", &token.as_str()[1..], FormToken::random().as_str(), &format!("{}0", token.as_str())] {
            assert!(!token.is(other), "{other}");
        }
    }
}

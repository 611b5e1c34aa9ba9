//! The token that every form carries. Other sites cannot read it, so they cannot submit our forms.

use serde::Deserialize;
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

/// A form that carries only a token.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TokenForm {
    token: String,
}

impl TokenForm {
    /// # Errors
    /// If the token is not ours.
    pub(crate) fn check(&self, token: &FormToken) -> Result<(), Refusal> {
        if token.is(&self.token) { Ok(()) } else { Err(Refusal::Token) }
    }
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

//! Addresses of pages, with their parameters.

use std::fmt;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// An address that parameters can be added to.
#[derive(Debug, Clone)]
pub(crate) struct Address(String);

impl Address {
    /// The page at this path.
    pub(crate) fn new(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The page of this name below this path.
    pub(crate) fn below(path: &str, name: &str) -> Self {
        Self(format!("{path}/{}", utf8_percent_encode(name, NON_ALPHANUMERIC)))
    }

    /// Adds a parameter, unless its value is empty.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.0.push(if self.0.contains('?') { '&' } else { '?' });
            self.0 += name;
            self.0.push('=');
            self.0.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
        self
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_encoded_and_an_empty_one_is_left_out() {
        let address = Address::new("/trail").with("key", "a&b=c/é").with("kind", "").with("to", "1");
        assert_eq!(address.to_string(), "/trail?key=a%26b%3Dc%2F%C3%A9&to=1");
        assert_eq!(Address::below("/trail/entry", "../x").to_string(), "/trail/entry/%2E%2E%2Fx");
    }
}

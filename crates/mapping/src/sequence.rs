//! Sequence numbers: decimal numbers of up to 40 digits, more than any integer type can hold.

use std::cmp::Ordering;
use std::fmt;

/// A stream record's place in its shard. Compares as a number: 21 digits come before 22.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct SequenceNumber(String);

impl SequenceNumber {
    /// The number with these decimal digits.
    pub fn new(digits: impl Into<String>) -> Self {
        Self(digits.into())
    }

    /// The digits, as received.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether DynamoDB Streams may assign it to a record: 21 to 40 decimal digits.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        (21..=40).contains(&self.0.len()) && self.0.bytes().all(|byte| byte.is_ascii_digit())
    }
}

impl Ord for SequenceNumber {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right) = (self.0.trim_start_matches('0'), other.0.trim_start_matches('0'));
        left.len().cmp(&right.len()).then_with(|| left.cmp(right))
    }
}

impl PartialOrd for SequenceNumber {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SequenceNumber {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SequenceNumber {}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_compare_as_numbers() {
        let number = |digits: &str| SequenceNumber::new(digits);
        assert!(number("99999999999999999999") < number("100000000000000000000"));
        assert!(number(&"9".repeat(39)) < number(&format!("1{}", "0".repeat(39))));
        assert!(number("2") > number("1"));
        assert_eq!(number("007"), number("7"));
    }
}

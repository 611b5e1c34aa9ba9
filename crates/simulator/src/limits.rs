//! DynamoDB's limits on an item, measured as DynamoDB does, in an independent implementation.

use serde_dynamo::{AttributeValue, Item};

/// The largest item, in bytes (Amazon DynamoDB Developer Guide, "Service, account, and table quotas").
pub(crate) const MAX_ITEM_BYTES: usize = 409_600;
/// How many levels of lists and maps an attribute may have: 32 (same page), of which the item itself is the first.
pub(crate) const MAX_LEVELS: usize = 31;

/// Whether DynamoDB accepts an item of this size and depth.
pub(crate) fn is_within_limits(item: &Item) -> bool {
    let size: usize = item.iter().map(|(name, value)| name.len() + bytes(value)).sum();
    size <= MAX_ITEM_BYTES && item.values().all(|value| levels(value) <= MAX_LEVELS)
}

/// How many bytes DynamoDB counts for a value of a type that the reference model has.
pub(crate) fn bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(number) => number_bytes(number),
        AttributeValue::Ns(numbers) => numbers.iter().map(|number| number_bytes(number)).sum(),
        AttributeValue::L(members) => members.iter().fold(3, |sum, member| sum + 1 + bytes(member)),
        AttributeValue::M(members) => {
            members.iter().fold(3, |sum, (name, member)| sum + 1 + name.len() + bytes(member))
        }
        _ => 0,
    }
}

/// DynamoDB stores a number as pairs of digits, counted from the decimal point, without leading and trailing pairs of
/// zeros. It adds one byte, and one more for a minus sign.
fn number_bytes(text: &str) -> usize {
    let digits = text.trim_start_matches('-');
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let padding = |digits: &str| "0".repeat(digits.len() % 2);
    let padded = [&padding(whole), whole, fraction, &padding(fraction)].concat();
    let pairs: Vec<&[u8]> = padded.as_bytes().chunks(2).collect();
    let is_significant = |pair: &&[u8]| **pair != *b"00";
    let first = pairs.iter().position(&is_significant);
    let last = pairs.iter().rposition(is_significant);
    let significant = first.zip(last).map_or(0, |(first, last)| last - first + 1);
    1 + significant + (text.len() - digits.len())
}

/// How many levels of lists and maps a value has.
pub(crate) fn levels(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::L(members) => 1 + members.iter().map(levels).max().unwrap_or(0),
        AttributeValue::M(members) => 1 + members.values().map(levels).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_measured_in_pairs_of_digits_from_the_decimal_point() {
        for (number, size) in [
            ("0", 1),
            ("0.00", 1),
            ("7", 2),
            ("100", 2),
            ("3600", 2),
            ("123", 3),
            ("-27", 3),
            ("0.001", 2),
            ("1.2", 3),
            ("12.34", 3),
            ("1.234", 4),
            ("-1001.5", 5),
        ] {
            assert_eq!(number_bytes(number), size, "{number}");
        }
    }

    #[test]
    fn an_item_of_the_limits_is_taken_and_one_of_a_byte_or_a_level_more_is_not() {
        let item = |value: AttributeValue| {
            Item::from([("name".to_owned(), value)].into_iter().collect::<std::collections::HashMap<_, _>>())
        };
        let text = |length: usize| item(AttributeValue::S("x".repeat(length)));
        assert!(is_within_limits(&text(MAX_ITEM_BYTES - 4)));
        assert!(!is_within_limits(&text(MAX_ITEM_BYTES - 3)));
        let nested = |levels: usize| {
            item((0..levels).fold(AttributeValue::N("1".to_owned()), |inner, _| AttributeValue::L(vec![inner])))
        };
        assert!(is_within_limits(&nested(31)));
        assert!(!is_within_limits(&nested(32)));
    }
}

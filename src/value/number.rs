//! DynamoDB's numbers, compared by numeric value.

/// A DynamoDB number in normal form: `0.<digits> × 10^exponent`, where the digits neither start nor end with zero.
///
/// `1`, `1.0` and `1E0` are the same `Number`; so are `0`, `-0` and `0E5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    exponent: i32,
    /// The digits as an integer, which 38 of them always fit; 0 for zero.
    digits: u128,
    /// The number of digits; 0 for zero.
    count: u32,
}

/// The maximum number of significant digits that DynamoDB stores.
const MAX_DIGITS: u32 = 38;
/// Magnitudes go from 1E-130 to 9.99…E+125. Here the point stands before the first digit, so the exponents are one higher.
const EXPONENTS: std::ops::RangeInclusive<i64> = -129..=126;

impl Number {
    const ZERO: Self = Self { negative: false, exponent: 0, digits: 0, count: 0 };

    /// Parses a decimal number; `None` if DynamoDB would refuse it: the text is not a decimal number, it has more than 38
    /// significant digits, or its magnitude is outside 1E-130 to 9.99…E+125
    /// (Amazon DynamoDB Developer Guide, "Supported data types", Number).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, power) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], parse_power(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let (mut digits, mut count) = (0_u128, 0);
        // Zeros before the first nonzero digit, and zeros that count only if a nonzero digit follows.
        let (mut leading, mut zeros) = (0, 0);
        for byte in whole.bytes().chain(fraction.bytes()) {
            match byte {
                b'0' if count == 0 => leading += 1,
                b'0' => zeros += 1,
                b'1'..=b'9' => {
                    let more = 1 + std::mem::take(&mut zeros);
                    count += more;
                    if count > MAX_DIGITS {
                        return None;
                    }
                    digits = digits * 10_u128.pow(more) + u128::from(byte - b'0');
                }
                _ => return None,
            }
        }
        if count == 0 {
            return Some(Self::ZERO);
        }
        let exponent = i64::try_from(whole.len()).ok()?.checked_sub(leading)?.checked_add(power)?;
        EXPONENTS.contains(&exponent).then_some(Self {
            negative,
            exponent: i32::try_from(exponent).ok()?,
            digits,
            count,
        })
    }

    /// The size of the number in bytes, as DynamoDB counts it: one for each pair of digits, one more, and another one
    /// for a minus sign (Amazon DynamoDB Developer Guide, "DynamoDB item sizes and formats"). Pairs are counted from
    /// the decimal point, as both test engines do: `1.2` has two of them, `12` one.
    #[must_use]
    pub const fn size(&self) -> usize {
        let before_first_pair = (self.exponent % 2 != 0 && self.count > 0) as usize;
        (before_first_pair + self.count as usize).div_ceil(2) + 1 + self.negative as usize
    }
}

/// Parses the exponent after `E`: a sign and digits. It may have any length, so that `0E99999999999999999999` is zero.
fn parse_power(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A longer exponent is replaced by one that is too large for any number but zero, and too small to overflow a sum.
    let power = digits
        .trim_start_matches('0')
        .parse::<u32>()
        .map_or_else(|_| if digits.bytes().all(|byte| byte == b'0') { 0 } else { i64::from(u32::MAX) }, i64::from);
    Some(if negative { -power } else { power })
}

#[cfg(test)]
mod tests {
    use super::Number;
    use bigdecimal::{BigDecimal, Zero};
    use proptest::prelude::*;

    /// Decimals of all lengths and magnitudes, many of them beyond what DynamoDB stores.
    fn decimal_text() -> impl Strategy<Value = String> {
        let mantissa =
            prop_oneof!["[0-9]{1,45}", "[0-9]{0,25}\\.[0-9]{1,25}", "[0-9]{1,25}\\.", "0{0,130}\\.?0{0,130}[0-9]{1,3}"];
        let exponent = prop_oneof!["", "[eE][-+]?[0-9]{1,2}", "[eE][-+]?1[0-9]{2}", "[eE][-+]?0{0,9}12[3-9]"];
        ("[-+]?", mantissa, exponent).prop_map(|(sign, mantissa, exponent)| format!("{sign}{mantissa}{exponent}"))
    }

    fn decimal(text: &str) -> Option<BigDecimal> {
        text.parse().ok()
    }

    /// At most 38 significant digits, and a magnitude from 1E-130 to 9.99…E+125.
    fn is_storable(decimal: &BigDecimal) -> bool {
        let decimal = decimal.normalized();
        let digits = i64::try_from(decimal.digits()).unwrap();
        let magnitude = digits - decimal.fractional_digit_count() - 1;
        decimal.is_zero() || (decimal.digits() <= 38 && (-130..=125).contains(&magnitude))
    }

    /// How many digits a number has in base 100, with the point between two of them.
    fn pairs(decimal: &BigDecimal) -> usize {
        let text = decimal.normalized().abs().to_plain_string();
        let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
        let digits = format!("{}{whole}{fraction}{}", "0".repeat(whole.len() % 2), "0".repeat(fraction.len() % 2));
        let pairs: Vec<&[u8]> = digits.as_bytes().chunks(2).collect();
        let is_significant = |pair: &&[u8]| **pair != *b"00";
        let first = pairs.iter().position(is_significant);
        first.map_or(0, |first| pairs.iter().rposition(is_significant).map_or(0, |last| last - first + 1))
    }

    #[test]
    fn numbers_of_the_same_value_are_equal_however_they_are_written() {
        for same in [
            &["1", "1.0", "1E0", "+1", "01", "0.1E1", "10E-1", "1.", "1e+00"][..],
            &["0", "-0", "0.000", "0E5", "000", ".0", "0E99999999999999999999"],
            &["-3600", "-3.6E3", "-36e2", "-0003600.000"],
            &["0.00012", "1.2E-4", "12e-5"],
        ] {
            for text in same {
                assert_eq!(Number::parse(text), Number::parse(same[0]), "{text} is {}", same[0]);
                assert!(Number::parse(text).is_some(), "{text} is a number");
            }
        }
    }

    #[test]
    fn numbers_of_different_values_differ() {
        let all = ["0", "1", "-1", "10", "0.1", "3600", "1800", "1E2", "1E-2"].map(Number::parse);
        for (i, one) in all.iter().enumerate() {
            for other in &all[i + 1..] {
                assert_ne!(one, other);
            }
        }
    }

    #[test]
    fn text_that_dynamodb_refuses_is_not_a_number() {
        let too_many = "1".repeat(39);
        for text in [
            "",
            "-",
            "+",
            ".",
            "E5",
            "1E",
            "1E+",
            "abc",
            "0x10",
            "1 ",
            " 1",
            "1_000",
            "NaN",
            "Infinity",
            "1.2.3",
            "--1",
            "1E1.5",
            "1e126",
            "1E-131",
            "٣",
            &too_many,
            "1E99999999999999999999",
        ] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_limits_themselves_are_numbers() {
        let largest = format!("{}E125", "9.".to_owned() + &"9".repeat(37));
        for text in [&largest, "1E-130", "-1E-130", &"9".repeat(38), &("1".to_owned() + &"0".repeat(125))] {
            assert!(Number::parse(text).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn writing_an_integer_with_zeros_or_an_exponent_keeps_its_value(n in any::<i64>(), zeros in 0_usize..6) {
            let plain = Number::parse(&n.to_string());
            prop_assert!(plain.is_some());
            prop_assert_eq!(&plain, &Number::parse(&format!("{n}.{}", "0".repeat(zeros))));
            prop_assert_eq!(&plain, &Number::parse(&format!("{n}{}E-{zeros}", "0".repeat(zeros))));
        }

        #[test]
        fn equality_is_that_of_integers(a in any::<i32>(), b in any::<i32>()) {
            prop_assert_eq!(Number::parse(&a.to_string()) == Number::parse(&b.to_string()), a == b);
        }

        /// Compared with an independent implementation of decimals, on texts around DynamoDB's limits.
        #[test]
        fn a_decimal_is_read_exactly_where_dynamodb_can_store_it(text in decimal_text()) {
            let expected = decimal(&text).filter(is_storable);
            prop_assert_eq!(Number::parse(&text).is_some(), expected.is_some(), "{}", text);
            if let (Some(number), Some(expected)) = (Number::parse(&text), expected) {
                let sign = usize::from(expected < BigDecimal::zero());
                prop_assert_eq!(number.size(), pairs(&expected) + 1 + sign, "{}", text);
            }
        }

        #[test]
        fn two_texts_are_equal_exactly_where_their_decimals_are(
            digits in "[0-9]{1,3}", zeros in 0_usize..4, power in -3_i64..4, other in decimal_text(),
        ) {
            let one = format!("{digits}{}E{power}", "0".repeat(zeros));
            let shifted = format!("{digits}E{}", power + i64::try_from(zeros).unwrap());
            for other in [&shifted, &other] {
                if let (Some(read), Some(other_read)) = (Number::parse(&one), Number::parse(other)) {
                    prop_assert_eq!(read == other_read, decimal(&one) == decimal(other), "{} and {}", one, other);
                }
            }
        }

        /// Digits, a sign, one point, an exponent: nothing else is part of a number, wherever it stands.
        #[test]
        fn text_that_is_no_decimal_is_refused(before in "[-+0-9.eE]{0,4}", odd in "[^-+0-9.eE]", after in "\\PC{0,4}") {
            prop_assert_eq!(Number::parse(&format!("{before}{odd}{after}")), None);
        }
    }
}

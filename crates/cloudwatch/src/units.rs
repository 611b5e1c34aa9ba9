//! Durations, sizes and numbers for people.

/// Units of time, each with its length in milliseconds and the value from which it is used.
const TIMES: [(&str, f64, f64); 6] = [
    ("years", 365.25 * DAY, 365.25 * DAY),
    ("days", DAY, 2.0 * DAY),
    ("h", 60.0 * MINUTE, 120.0 * MINUTE),
    ("min", MINUTE, 2.0 * MINUTE),
    ("s", 1000.0, 1000.0),
    ("ms", 1.0, 0.0),
];
const MINUTE: f64 = 60_000.0;
const DAY: f64 = 24.0 * 60.0 * MINUTE;

/// Units of size, each with its number of bytes.
const SIZES: [(&str, f64); 4] = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0)];

/// A duration, such as `57 min` or `2.2 years`.
#[must_use]
pub fn duration(milliseconds: f64) -> String {
    let unit = TIMES.iter().find(|(.., from)| milliseconds.abs() >= *from);
    unit.map_or_else(
        || milliseconds.to_string(),
        |(unit, length, _)| format!("{} {unit}", short(milliseconds / length)),
    )
}

/// A size, such as `3.3 MB`.
#[must_use]
pub fn size(bytes: f64) -> String {
    let unit = SIZES.iter().find(|(_, length)| bytes.abs() >= *length);
    unit.map_or_else(
        || format!("{} bytes", number(bytes)),
        |(unit, length)| format!("{} {unit}", short(bytes / length)),
    )
}

/// A value of a metric with this CloudWatch unit. Counts need no unit.
#[must_use]
pub fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "Seconds" => duration(value * 1000.0),
        "Milliseconds" => duration(value),
        "Microseconds" => duration(value / 1000.0),
        "Bytes" => size(value),
        "Count" | "None" | "" => number(value),
        unit => format!("{} {unit}", number(value)),
    }
}

/// A number of things, such as `1 entry` or `12,345 entries`.
#[must_use]
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A number with thousands separators: `12,345`.
#[must_use]
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with at most three decimals.
#[must_use]
pub fn number(value: f64) -> String {
    rounded(value, 3)
}

/// At least two digits: `2.2`, `57`, `365`; values below one have up to two decimals.
fn short(value: f64) -> String {
    let decimals = match value.abs() {
        below if below < 1.0 => 2,
        below if below < 10.0 => 1,
        _ => 0,
    };
    rounded(value, decimals)
}

fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_unit_that_people_would_choose() {
        for (milliseconds, text) in [
            (0.0, "0 ms"),
            (0.254, "0.25 ms"),
            (1.5, "1.5 ms"),
            (999.0, "999 ms"),
            (1_000.0, "1 s"),
            (2_340.0, "2.3 s"),
            (90_000.0, "90 s"),
            (57.0 * MINUTE, "57 min"),
            (100.0 * MINUTE, "100 min"),
            (22.0 * 60.0 * MINUTE, "22 h"),
            (14.0 * DAY, "14 days"),
            (69_482_823_169.0, "2.2 years"),
            (-1_500.0, "-1.5 s"),
        ] {
            assert_eq!(duration(milliseconds), text);
        }
        assert_eq!(duration(f64::NAN), "NaN");
    }

    #[test]
    fn sizes_have_the_unit_that_people_would_choose() {
        for (bytes, text) in
            [(0.0, "0 bytes"), (409.0, "409 bytes"), (6_144.0, "6.1 kB"), (3_300_000.0, "3.3 MB"), (2e9, "2 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_number_of_things_has_separators_and_the_noun_in_the_right_form() {
        let texts = [0, 1, 2, 999, 1_000, 12_345, 1_000_000].map(|number| count(number, "entry", "entries"));
        let expected = ["0 entries", "1 entry", "2 entries", "999 entries", "1,000 entries", "12,345 entries"];
        assert_eq!((&texts[..6], texts[6].as_str()), (&expected.map(str::to_owned)[..], "1,000,000 entries"));
    }

    #[test]
    fn a_quantity_has_the_unit_of_its_metric() {
        assert_eq!(quantity(2.0, "Count"), "2");
        assert_eq!(quantity(4.0 / 3.0, ""), "1.333");
        assert_eq!(quantity(1_200.0, "Count"), "1200");
        assert_eq!(quantity(90.0, "Seconds"), "90 s");
        assert_eq!(quantity(1_500.0, "Microseconds"), "1.5 ms");
        assert_eq!(quantity(6_144.0, "Bytes"), "6.1 kB");
        assert_eq!(quantity(12.5, "Percent"), "12.5 Percent");
    }
}

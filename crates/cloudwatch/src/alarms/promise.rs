//! How soon an alarm fires, according to its runbook.

/// The time from the start of a problem to its alarm, in minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Usually.
    pub usual: i64,
    /// With Lambda's retries ten minutes apart.
    pub slow: i64,
}

impl Promise {
    /// Reads the lines `Fires within: 15 minutes` and `With retries ten minutes apart: 45 minutes` of a runbook.
    #[must_use]
    pub fn read(runbook: &str) -> Option<Self> {
        let minutes = |label: &str| {
            let rest = runbook.lines().find_map(|line| line.strip_prefix(label))?;
            rest.split(' ').next()?.parse().ok()
        };
        let usual = minutes("Fires within: ")?;
        Some(Self { usual, slow: minutes("With retries ten minutes apart: ").unwrap_or(usual) })
    }
}

/// The name of an alarm's runbook: `records-failing` for `RecordsFailing`.
#[must_use]
pub fn runbook_name(alarm: &str) -> String {
    let mut name = String::new();
    for letter in alarm.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_promises_one_time_or_two() {
        let promise = |usual, slow| Some(Promise { usual, slow });
        for (runbook, expected) in [
            ("# A\n\nFires within: 8 minutes", promise(8, 8)),
            ("Fires within: 15 minutes  \nWith retries ten minutes apart: 45 minutes\n", promise(15, 45)),
            ("It fires within: 8 minutes", None),
            ("Fires within: soon", None),
        ] {
            assert_eq!(Promise::read(runbook), expected, "{runbook}");
        }
        assert_eq!(runbook_name("IteratorAgeHigh"), "iterator-age-high");
    }
}

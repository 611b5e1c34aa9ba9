//! A time on the command line: a time with an offset, a day, or how long ago.

use std::sync::OnceLock;

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args;
use config_audit::clock::{Clock, timestamp};

/// The accepted formats, for help and errors.
const ACCEPTED: &str = "a time such as 2026-03-03T10:00:00Z or 2026-03-03T12:00:00+02:00, a day in UTC such as 2026-03-03, or \
     how long ago, such as 90s, 1h or 7d";

/// A time, or a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// As it was given.
    text: String,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Moment {
    /// Reads an argument.
    ///
    /// # Errors
    /// The accepted formats.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_at(text, now())
    }

    fn parse_at(text: &str, now: DateTime<Utc>) -> Result<Self, String> {
        let (first, last) = day(text)
            .or_else(|| DateTime::parse_from_rfc3339(text).ok().map(|time| (time.to_utc(), time.to_utc())))
            .or_else(|| ago(text, now).map(|time| (time, time)))
            // The trail has no other years, and times in these compare as text.
            .filter(|(first, last)| first.year() >= 0 && last.year() <= 9999)
            .ok_or_else(|| format!("expected {ACCEPTED}"))?;
        Ok(Self { text: text.to_owned(), first, last })
    }

    /// The first time that an entry of this moment can have, in the entries' format.
    #[must_use]
    pub fn first(&self) -> String {
        timestamp(self.first)
    }

    /// The last one.
    #[must_use]
    pub fn last(&self) -> String {
        timestamp(self.last)
    }

    /// Fails for a time in the future. A day that has begun but not ended is fine.
    ///
    /// # Errors
    /// Names the option.
    pub fn check_past(&self, option: &'static str) -> Result<(), RangeError> {
        if self.first > now() { Err(RangeError::Future { option, text: self.text.clone() }) } else { Ok(()) }
    }
}

/// The time of the command, the same for all its arguments: `--since 1h --until 1h` is one moment.
fn now() -> DateTime<Utc> {
    static NOW: OnceLock<DateTime<Utc>> = OnceLock::new();
    *NOW.get_or_init(|| Clock::System.now())
}

fn day(text: &str) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let first = text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN).and_utc();
    let next = first.checked_add_days(Days::new(1))?;
    Some((first, next.checked_sub_signed(TimeDelta::milliseconds(1))?))
}

fn ago(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let ago = humantime::parse_duration(text).ok()?;
    now.checked_sub_signed(TimeDelta::from_std(ago).ok()?)
}

/// A range of times, both ends included.
#[derive(Debug, Clone, Default, Args)]
pub struct RangeArguments {
    /// Only changes from this time on: 2026-03-03T10:00:00Z, 2026-03-03T12:00:00+02:00, 2026-03-03 (a day in UTC), or how long
    /// ago: 90s, 1h, 7d
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    since: Option<Moment>,
    /// Only changes up to and including this time, in the format of --since; a day includes its end
    #[arg(long, value_name = "TIME", value_parser = Moment::parse)]
    until: Option<Moment>,
}

/// Why a time is not valid.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// It is in the future.
    #[error("{option} {text} is in the future")]
    Future {
        /// The option.
        option: &'static str,
        /// As it was given.
        text: String,
    },
    /// The range is empty.
    #[error("--since {since} is after --until {until}, so the range is empty")]
    Empty {
        /// As it was given.
        since: String,
        /// As it was given.
        until: String,
    },
}

/// The position of a time relative to a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Before it.
    Before,
    /// In it.
    Within,
    /// After it.
    After,
}

impl RangeArguments {
    /// Fails for an empty range.
    ///
    /// # Errors
    /// Why.
    pub fn check(&self) -> Result<(), RangeError> {
        match (&self.since, &self.until) {
            (Some(since), Some(until)) if since.first > until.last => {
                Err(RangeError::Empty { since: since.text.clone(), until: until.text.clone() })
            }
            (Some(since), _) => since.check_past("--since"),
            (None, _) => Ok(()),
        }
    }

    /// The position of an entry's time relative to this range.
    #[must_use]
    pub fn position(&self, time: &str) -> Position {
        if self.since.as_ref().is_some_and(|since| *time < *since.first()) {
            Position::Before
        } else if self.until.as_ref().is_some_and(|until| *until.last() < *time) {
            Position::After
        } else {
            Position::Within
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-03-03T10:00:00Z".parse().unwrap()
    }

    fn texts(text: &str) -> Result<(String, String), String> {
        Moment::parse_at(text, now()).map(|moment| (moment.first(), moment.last()))
    }

    #[test]
    fn times_are_parsed_in_all_formats() {
        for (text, first) in [
            ("2026-03-03T10:00:00Z", "2026-03-03T10:00:00.000Z"),
            ("2026-03-03T12:00:00+02:00", "2026-03-03T10:00:00.000Z"),
            ("2026-03-02T22:30:00.5-11:30", "2026-03-03T10:00:00.500Z"),
            ("90s", "2026-03-03T09:58:30.000Z"),
            ("1h", "2026-03-03T09:00:00.000Z"),
            ("1h30m", "2026-03-03T08:30:00.000Z"),
            ("7d", "2026-02-24T10:00:00.000Z"),
            ("2w", "2026-02-17T10:00:00.000Z"),
        ] {
            assert_eq!(texts(text), Ok((first.to_owned(), first.to_owned())), "{text}");
        }
        let day = ("2026-03-03T00:00:00.000Z".to_owned(), "2026-03-03T23:59:59.999Z".to_owned());
        assert_eq!(texts("2026-03-03"), Ok(day));
    }

    #[test]
    fn anything_else_is_rejected_with_the_accepted_formats() {
        for text in [
            "",
            "now",
            "yesterday",
            "7",
            "-1h",
            "1h ago",
            "2026-03",
            "2026-02-30",
            "03/03/2026",
            "2026-03-03T10:00:00",
            "10:00",
            "+12026-03-03",
            "99999999999d",
            "10000y",
        ] {
            let error = texts(text).unwrap_err();
            assert!(error.contains("7d") && error.contains("+02:00") && error.contains("UTC"), "{text}: {error}");
        }
    }

    #[test]
    fn an_empty_range_is_rejected() {
        let moment = |text: &str| Some(Moment::parse(text).unwrap());
        let check = |since: Option<&str>, until: Option<&str>| {
            let range = RangeArguments { since: since.and_then(moment), until: until.and_then(moment) };
            range.check().map_err(|error| error.to_string())
        };
        assert_eq!(check(None, Some("9999-12-31")), Ok(()));
        assert_eq!(check(Some("2026-03-03"), Some("2026-03-03")), Ok(()));
        let error = check(Some("2026-03-04"), Some("2026-03-03T00:00:00Z")).unwrap_err();
        assert!(error.starts_with("--since 2026-03-04 is after --until 2026-03-03T00:00:00Z"), "{error}");
        assert_eq!(check(Some("9999-12-31"), None), Err("--since 9999-12-31 is in the future".to_owned()));
    }

    proptest! {
        /// A range has a before, a within and an after, in this order, and includes whole days.
        #[test]
        fn a_time_is_before_in_or_after_a_range(mut days in prop::array::uniform3(0_i64..20_000)) {
            days.sort_unstable();
            let date = |day: i64| DateTime::from_timestamp(day * 86_400, 0).unwrap();
            let moment = |day: i64| Moment::parse(&date(day).date_naive().to_string()).ok();
            let range = RangeArguments { since: moment(days[0]), until: moment(days[2]) };
            prop_assert_eq!(range.position(&timestamp(date(days[1]))), Position::Within);
            let millisecond = TimeDelta::milliseconds(1);
            prop_assert_eq!(range.position(&timestamp(date(days[0]) - millisecond)), Position::Before);
            prop_assert_eq!(range.position(&timestamp(date(days[2] + 1) - millisecond)), Position::Within);
            prop_assert_eq!(range.position(&timestamp(date(days[2] + 1))), Position::After);
        }
    }
}

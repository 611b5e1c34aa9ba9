//! Everything in a run: all of it comes from one seed, and all of it is readable, so that a failing run can be made
//! smaller.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use chrono::DateTime;
use fastrand::Rng;

use crate::change::{CANARY, RecordDefect};
use crate::fault::Fault;
use crate::value::Value;
use config_audit_mapping::MappingSettings;

/// DynamoDB's time at the start of a run, in seconds since 1970; the seed adds a fraction of a second.
pub const EPOCH: i64 = 1_772_496_000; // 2026-03-03T00:00:00Z

/// The times of a run are in milliseconds since its start.
pub type Millis = u64;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// One run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The random decisions in the run come from this seed.
    pub seed: u64,
    /// What the writers do, in order of time.
    pub writes: Vec<Write>,
    /// How many shards the stream has at the start.
    pub shards: usize,
    /// The times at which a shard splits.
    pub splits: Vec<Millis>,
    /// The event source mapping.
    pub mapping: MappingSettings,
    /// `ParallelizationFactor`, 1 to 10.
    pub parallelization_factor: u64,
    /// The function's timeout.
    pub timeout: Duration,
    /// Whether the function has a failure bucket.
    pub has_bucket: bool,
    /// How far the function's clock is ahead of DynamoDB's, in milliseconds.
    pub clock_ahead: i64,
    /// Whether entries say where they come from.
    pub provenance: bool,
    /// Whether the stream lacks an image.
    pub wrong_view_type: bool,
    /// The faults that come and go.
    pub fault_windows: Vec<FaultWindow>,
}

/// One write to the Configuration table.
#[derive(Debug, Clone)]
pub struct Write {
    /// When it happens.
    pub at: Millis,
    /// The item.
    pub key: String,
    /// What is done to it.
    pub kind: WriteKind,
    /// What is wrong with its record.
    pub defect: Option<RecordDefect>,
}

/// What is done to an item.
#[derive(Debug, Clone)]
pub enum WriteKind {
    /// Sets or removes these attributes; creates the item if it does not exist.
    Set(Vec<(&'static str, Option<Value>)>),
    /// Writes the same values again in another notation.
    Rewrite,
    /// Deletes the item.
    Delete,
}

/// A fault that comes and goes.
#[derive(Debug, Clone)]
pub struct FaultWindow {
    /// The fault.
    pub fault: Fault,
    /// When it starts.
    pub from: Millis,
    /// When it ends.
    pub to: Millis,
    /// How often it strikes when it could, in percent.
    pub chance: u8,
}

impl Scenario {
    /// The run of this seed.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        // Most runs cover minutes; some cover a day, because a day-long outage is a different matter.
        let is_long = rng.u8(..100) < 6;
        let span = if is_long { rng.u64(HOUR..30 * HOUR) } else { rng.u64(SECOND..10 * MINUTE) };
        let wrong_view_type = rng.u16(..1_000) < 3;
        let mut scenario = Self {
            seed,
            writes: writes(rng, span),
            shards: rng.usize(1..=3),
            splits: Vec::new(),
            mapping: MappingSettings {
                batch_size: *choose(rng, &[1, 2, 5, 10, 25, 100, 100]),
                batching_window: Duration::from_secs(*choose(rng, &[0, 1, 1, 5, 60])),
                maximum_retry_attempts: (rng.u8(..100) < 10).then(|| rng.u32(0..4)),
                maximum_record_age: Some(Duration::from_secs(*choose(rng, &[3_600, 79_200, 79_200, 79_200]))),
                bisect_batch_on_function_error: rng.u8(..100) < 80,
                report_batch_item_failures: true,
                first_retry_delay: Duration::from_millis(500),
                // Long runs wait longer: the outcome is the same, with fewer waits.
                longest_retry_delay: if is_long { Duration::from_mins(20) } else { Duration::from_mins(1) },
            },
            parallelization_factor: *choose(rng, &[1, 1, 1, 2, 3, 10]),
            timeout: Duration::from_secs(*choose(rng, &[2, 5, 30, 30])),
            has_bucket: rng.u8(..100) < 95,
            clock_ahead: 0,
            provenance: rng.u8(..100) < 15,
            wrong_view_type,
            fault_windows: Vec::new(),
        };
        while rng.u8(..100) < 20 {
            scenario.splits.push(rng.u64(..span));
        }
        scenario.splits.sort_unstable();
        if rng.u8(..100) < 20 {
            scenario.clock_ahead = rng.i64(-3_600_000..3_600_000);
        }
        let windows = rng.usize(..6);
        for _ in 0..windows {
            let fault = *choose(rng, &Fault::IN_WINDOWS);
            let from = rng.u64(..span);
            let length = rng.u64(..span.max(2));
            scenario.fault_windows.push(FaultWindow {
                fault,
                from,
                to: from + length,
                chance: *choose(rng, &[5, 20, 50, 80, 100]),
            });
        }
        if is_long && rng.u8(..100) < 30 {
            // This may be longer than the stream keeps its records.
            let from = rng.u64(..span);
            let to = from + rng.u64(HOUR..40 * HOUR);
            scenario.fault_windows.push(FaultWindow { fault: Fault::MappingDisabled, from, to, chance: 100 });
        }
        // A separate random generator, so that this changes neither other runs nor what the kept seeds once found.
        scenario.add_rarities(&mut Rng::with_seed(seed ^ 0x7a7e));
        scenario.add_canaries(&mut Rng::with_seed(seed ^ 0xca4a), span);
        scenario
    }

    /// Adds what only some runs have.
    fn add_rarities(&mut self, rng: &mut Rng) {
        if rng.u8(..100) < 8 {
            for write in self.writes.iter_mut().filter(|write| write.defect.is_none()) {
                if rng.u8(..100) >= 15 {
                    continue;
                }
                let defect = *choose(rng, &[RecordDefect::ValuesRejected, RecordDefect::InvalidTime]);
                write.defect = Some(defect);
                if let Some(key) = defect.item_key() {
                    key.clone_into(&mut write.key);
                }
            }
        }
        if rng.u8(..100) < 2 {
            self.replace_values(rng, |rng| Value::Nested(rng.usize(29..35), rng.i64(..)));
        }
        // The reference model's sizes do not include provenance.
        if rng.u16(..1_000) < 2 && !self.provenance {
            self.replace_values(rng, |rng| Value::Padded(rng.usize(409_420..409_465)));
        }
        if rng.u16(..1_000) < 2 {
            self.add_bulk(rng);
        }
    }

    /// Adds to some runs a canary, and somebody who tries to hide changes behind it.
    fn add_canaries(&mut self, rng: &mut Rng, span: Millis) {
        if rng.u8(..100) >= 4 {
            return;
        }
        for _ in 0..rng.usize(1..8) {
            let at = rng.u64(..span);
            let mut canary = canary(at);
            if let WriteKind::Set(values) = &mut canary.kind
                && rng.u8(..100) < 40
            {
                let value = |value| Some(Value::Number(value, 0));
                let secret = || Some(Value::Text("2026-03-03T10:15:00Z, and more".to_owned()));
                let others =
                    [("value", value(7)), ("note", value(0)), ("scheduledTime", secret()), ("scheduledTime", None)];
                values.push(choose(rng, &others).clone());
            }
            self.writes.push(canary);
        }
        if rng.bool() {
            self.writes.push(Write { at: span, key: CANARY.to_owned(), kind: WriteKind::Delete, defect: None });
        }
        self.writes.sort_by_key(|write| write.at);
        for window in self.fault_windows.iter_mut().filter(|window| window.fault == Fault::MappingDisabled) {
            window.fault = Fault::StreamReplaced;
        }
    }

    /// Replaces some of the values that writes set.
    fn replace_values(&mut self, rng: &mut Rng, value: impl Fn(&mut Rng) -> Value) {
        let kinds = self.writes.iter_mut().map(|write| &mut write.kind);
        let values = kinds.filter_map(|kind| if let WriteKind::Set(values) = kind { Some(values) } else { None });
        for (_, old) in values.flatten() {
            if rng.u8(..100) < 20 {
                *old = Some(value(rng));
            }
        }
    }

    /// Adds changes with more entries than are sent at once: to all attributes of an item, again and again. Some
    /// requests must be sent again while others have not been sent yet.
    fn add_bulk(&mut self, rng: &mut Rng) {
        self.mapping.batch_size = 200;
        let at = choose(rng, &self.writes).at;
        let fault = *choose(rng, &[Fault::StoreThrottles, Fault::StoreFails, Fault::StoreGivesBack]);
        self.fault_windows.push(FaultWindow { fault, from: at, to: at + 2 * MINUTE, chance: 20 });
        for _ in 0..240 {
            let kind = WriteKind::Set(ATTRIBUTES.map(|name| (name, Some(Value::Number(rng.i64(..), 0)))).to_vec());
            self.writes.push(Write { at, key: "BULK".to_owned(), kind, defect: None });
        }
        self.writes.sort_by_key(|write| write.at);
    }

    /// This many hours of traffic through what `serverless.yml` deploys, with nothing wrong. `per_hour` gives the
    /// number of changes in an hour; hours are counted from 0.
    #[must_use]
    pub fn of_traffic(seed: u64, hours: u64, per_hour: impl Fn(u64) -> u64) -> Self {
        let scenario = Self {
            seed,
            writes: Vec::new(),
            shards: 1,
            splits: Vec::new(),
            mapping: MappingSettings { batching_window: Duration::from_secs(1), ..MappingSettings::default() },
            parallelization_factor: 1,
            timeout: Duration::from_secs(30),
            has_bucket: true,
            clock_ahead: 0,
            provenance: false,
            wrong_view_type: false,
            fault_windows: Vec::new(),
        };
        let mut scenario = (0..hours).fold(scenario, |mut scenario, hour| {
            scenario.add_burst(hour * HOUR, HOUR, per_hour(hour));
            scenario
        });
        scenario.writes.sort_by_key(|write| write.at);
        scenario
    }

    /// The same scenario with `changes` more changes within `length` of `from`.
    #[must_use]
    pub fn with_burst(mut self, from: Millis, length: Millis, changes: u64) -> Self {
        self.add_burst(from, length, changes);
        self.writes.sort_by_key(|write| write.at);
        self
    }

    fn add_burst(&mut self, from: Millis, length: Millis, changes: u64) {
        let mut rng = Rng::with_seed(self.seed ^ from);
        for _ in 0..changes {
            let kind = WriteKind::Set(vec![("value", Some(Value::Number(rng.i64(..), 0)))]);
            let at = from + rng.u64(..length);
            self.writes.push(Write { at, key: format!("KEY_{}", rng.u32(..200)), kind, defect: None });
        }
    }

    /// The same scenario with a canary every 15 minutes in this range.
    #[must_use]
    pub fn with_canary(mut self, times: Range<Millis>) -> Self {
        self.writes.extend(times.step_by(15 * 60_000).map(canary));
        self.writes.sort_by_key(|write| write.at);
        self
    }

    /// Whether it has a canary.
    #[must_use]
    pub fn has_canary(&self) -> bool {
        self.writes.iter().any(|write| write.key == CANARY)
    }

    /// The same scenario with a fault between `from` and `to`.
    #[must_use]
    pub fn with(mut self, fault: Fault, from: Millis, to: Millis, chance: u8) -> Self {
        self.fault_windows.push(FaultWindow { fault, from, to, chance });
        self
    }

    /// Whether nothing at all fails in it.
    #[must_use]
    pub fn is_fault_free(&self) -> bool {
        let may_be_over_limits = |kind: &WriteKind| match kind {
            WriteKind::Set(values) => values.iter().flat_map(|(_, value)| value).any(Value::may_be_over_limits),
            WriteKind::Rewrite | WriteKind::Delete => false,
        };
        let needs_bucket = |write: &Write| write.defect.is_some() || may_be_over_limits(&write.kind);
        let bucket_is_missed = !self.has_bucket && self.writes.iter().any(needs_bucket);
        self.fault_windows.is_empty() && !self.wrong_view_type && !bucket_is_missed
    }

    /// When the last write and the last fault have ended.
    #[must_use]
    pub fn end(&self) -> Millis {
        let writes = self.writes.iter().map(|write| write.at);
        writes.chain(self.fault_windows.iter().map(|window| window.to)).max().unwrap_or_default()
    }
}

/// The scheduled write of the canary.
fn canary(at: Millis) -> Write {
    let time = DateTime::from_timestamp(EPOCH, 0).unwrap_or_default() + Duration::from_millis(at);
    let time = time.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let values = vec![("value", Some(Value::Number(0, 0))), ("scheduledTime", Some(Value::Text(time)))];
    Write { at, key: CANARY.to_owned(), kind: WriteKind::Set(values), defect: None }
}

fn choose<'a, T>(rng: &mut Rng, from: &'a [T]) -> &'a T {
    &from[rng.usize(..from.len())]
}

const ATTRIBUTES: [&str; 4] = ["value", "owner", "hosts", "note"];

fn writes(rng: &mut Rng, span: Millis) -> Vec<Write> {
    let keys = rng.u32(1..=5);
    let count = *choose(rng, &[1, 3, 8, 15, 30, 60]);
    // A burst puts many changes into the same second.
    let is_burst = rng.u8(..100) < 30;
    let has_defects = rng.u8(..100) < 40;
    let has_large = rng.u16(..1_000) < 10;
    let mut unique = 1_000;
    let mut writes: Vec<Write> = (0..count)
        .map(|_| {
            let at = if is_burst { rng.u64(..span.min(2 * SECOND)) } else { rng.u64(..span) };
            let defect = if has_defects && rng.u8(..100) < 15 {
                use RecordDefect::{
                    InvalidValue, NoKey, NoSequenceNumber, NoTime, Rejected, Undecodable, UnknownEvent,
                };
                let all = [InvalidValue, NoKey, NoSequenceNumber, NoTime, Rejected, Undecodable, UnknownEvent];
                Some(*choose(rng, &all))
            } else {
                None
            };
            let key = match defect.and_then(RecordDefect::item_key) {
                Some(key) => key.to_owned(),
                None => format!("KEY_{}", rng.u32(..keys)),
            };
            let kind = match rng.u8(..100) {
                ..10 => WriteKind::Delete,
                10..15 => WriteKind::Rewrite,
                _ => WriteKind::Set(assignments(rng, &mut unique, has_large)),
            };
            Write { at, key, kind, defect }
        })
        .collect();
    writes.sort_by_key(|write| write.at);
    writes
}

fn assignments(rng: &mut Rng, unique: &mut i64, has_large: bool) -> Vec<(&'static str, Option<Value>)> {
    let mut set = Vec::new();
    for name in ATTRIBUTES {
        if rng.u8(..100) >= 40 {
            continue;
        }
        let value = match rng.u8(..100) {
            ..10 => None,
            10..25 => Some(Value::Number(rng.i64(..3), rng.usize(..3))),
            25..35 => Some(Value::Set(vec![rng.i64(..3), 10, rng.i64(20..23)])),
            35..37 if has_large => Some(Value::Large(420_000 + rng.usize(..2))),
            35..60 => {
                *unique += 1;
                Some(Value::Text(format!("text {unique}")))
            }
            _ => {
                *unique += 1;
                Some(Value::Number(*unique, 0))
            }
        };
        set.push((name, value));
    }
    set
}

impl fmt::Display for Scenario {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mapping = &self.mapping;
        writeln!(
            formatter,
            "seed {}; {} shard(s), parallelization factor {}; batch size {}, window {:?}, bisect {}, retries {}, age {:?}",
            self.seed,
            self.shards,
            self.parallelization_factor,
            mapping.batch_size,
            mapping.batching_window,
            mapping.bisect_batch_on_function_error,
            mapping.maximum_retry_attempts.map_or_else(|| "without end".to_owned(), |maximum| maximum.to_string()),
            mapping.maximum_record_age.unwrap_or_default(),
        )?;
        writeln!(
            formatter,
            "time-out {:?}, failure bucket {}, provenance {}, function's clock {} ms ahead, view type {}",
            self.timeout,
            self.has_bucket,
            self.provenance,
            self.clock_ahead,
            if self.wrong_view_type { "KEYS_ONLY" } else { "NEW_AND_OLD_IMAGES" },
        )?;
        for split in &self.splits {
            writeln!(formatter, "{split:>10} ms  a shard splits")?;
        }
        for FaultWindow { fault, from, to, chance } in &self.fault_windows {
            writeln!(formatter, "{from:>10} ms  to {to} ms: {} ({chance} %)", fault.words())?;
        }
        for Write { at, key, kind, defect } in &self.writes {
            write!(formatter, "{at:>10} ms  {key}: {kind:?}")?;
            match defect {
                Some(defect) => writeln!(formatter, ", {defect:?}")?,
                None => writeln!(formatter)?,
            }
        }
        Ok(())
    }
}

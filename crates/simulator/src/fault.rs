//! Everything that can go wrong in a run, by name, so that a campaign can say what it has seen and what not.

/// Declares the kinds, and all of them.
macro_rules! faults {
    ($($(#[doc = $what:literal])+ $fault:ident,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $what])+ $fault,)*
        }

        impl Fault {
            /// All of them, in order.
            pub const ALL: [Self; [$(stringify!($fault)),*].len()] = [$(Self::$fault),*];
        }
    };
}

faults! {
    // The Audit table.
    /// A request is throttled; nothing is written.
    StoreThrottles,
    /// A request is throttled since the table's index has no capacity left; nothing is written.
    IndexThrottles,
    /// A part of a request comes back as unprocessed.
    StoreGivesBack,
    /// A request fails; nothing is written.
    StoreFails,
    /// A request fails, and half of it is written.
    StoreFailsHalfWritten,
    /// A request fails, and all of it is written: the answer is lost.
    StoreFailsAfterWriting,
    /// A request is never answered; nothing is written.
    StoreIsSilent,
    /// A request is never answered, and all of it is written.
    StoreIsSilentAfterWriting,
    /// A request is never answered, and is written long after it was given up.
    StoreWritesTooLate,
    /// A request takes seconds.
    StoreIsSlow,
    /// A request is not allowed, or the table is gone, until somebody mends it.
    StoreIsMisconfigured,
    /// A request is refused for a reason that is in no list.
    StoreRefuses,
    /// The client panics.
    StorePanics,
    // The failure bucket.
    /// An object is refused.
    BucketRefuses,
    /// An object is refused, and stored all the same.
    BucketRefusesAfterStoring,
    /// A request for an object is never answered.
    BucketIsSilent,
    /// A request for an object takes seconds.
    BucketIsSlow,
    // The function.
    /// The process is killed at one of the points where it waits.
    FunctionKilled,
    /// The process ends after its work, before its answer is out.
    AnswerLost,
    /// No process starts.
    FunctionDoesNotStart,
    /// The process does nothing until its time is over, as one does that gets no processor.
    FunctionHangs,
    /// Lambda does not invoke: no concurrency is left.
    FunctionThrottled,
    /// A new version was deployed: the next invocation is the first of its process.
    FunctionReplaced,
    /// The handler had to stop at its deadline.
    DeadlineReached,
    // The event source mapping.
    /// A batch is delivered again although it had succeeded.
    RedeliveredAfterSuccess,
    /// A batch is delivered again long after it was done, beside newer ones.
    StaleRedelivery,
    /// A batch is given up because its retries are used up.
    RetriesExhausted,
    /// Records are given up because they are too old.
    RecordsTooOld,
    /// The on-failure destination refuses a batch that was given up, and Lambda drops it.
    DestinationRefuses,
    /// There is no on-failure destination, and Lambda drops what it gives up.
    DestinationMissing,
    /// The mapping does not poll.
    MappingDisabled,
    /// The table has a new stream, and the mapping polls the old one, which stays empty.
    StreamReplaced,
    /// Records leave the stream unread, while the mapping does not poll.
    RecordsExpired,
    /// A shard ends, and two go on for it.
    ShardSplits,
    // The telemetry.
    /// The wide line of an invocation is not valid JSON, as one that was cut.
    EmfMalformed,
    /// The wide line of an invocation is JSON, and against the embedded metric format.
    EmfInvalid,
    /// The log lines of an invocation never arrive.
    TelemetryLost,
    /// What the function reports of an invocation misses a record, as by a bug.
    BooksWrong,
    // The records.
    /// A record that is not of a record's shape.
    RecordUndecodable,
    /// A record without a key.
    RecordWithoutKey,
    /// A record of an unknown event name.
    RecordOfUnknownEvent,
    /// A record with a number that is not valid.
    RecordWithInvalidValue,
    /// A record whose time is in milliseconds.
    RecordWithInvalidTime,
    /// A record whose entries DynamoDB rejects.
    RecordRejected,
    /// A record whose entries DynamoDB rejects unless they have notes in place of values.
    RecordWithRejectedValues,
    /// A record without a sequence number.
    RecordWithoutSequenceNumber,
    /// A record without a time.
    RecordWithoutTime,
    /// A record with values too large for an entry, or nested too deeply.
    RecordOverLimits,
    /// A record with a value whose decimals decide whether an entry has room for it.
    RecordNearSizeLimit,
    /// A record with a value nested about as deeply as DynamoDB allows.
    RecordNearDepthLimit,
    /// A modification that changes nothing.
    RecordUnchanged,
    /// A record of the canary.
    RecordOfCanary,
    /// A record of what looks like the canary, and is not.
    RecordOfFalseCanary,
    /// A stream whose records lack an image.
    WrongViewType,
    // The surroundings.
    /// The function's clock is ahead of DynamoDB's, by up to an hour.
    ClockAhead,
    /// The function's clock is behind DynamoDB's, by up to an hour.
    ClockBehind,
    /// The function has no failure bucket.
    NoFailureBucket,
}

impl Fault {
    /// Those that come and go in a run: in some windows of time, with some chance.
    pub const IN_WINDOWS: [Self; 26] = [
        Self::StoreThrottles,
        Self::IndexThrottles,
        Self::StoreGivesBack,
        Self::StoreFails,
        Self::StoreFailsHalfWritten,
        Self::StoreFailsAfterWriting,
        Self::StoreIsSilent,
        Self::StoreIsSilentAfterWriting,
        Self::StoreWritesTooLate,
        Self::StoreIsSlow,
        Self::StoreIsMisconfigured,
        Self::StoreRefuses,
        Self::StorePanics,
        Self::BucketRefuses,
        Self::BucketRefusesAfterStoring,
        Self::BucketIsSilent,
        Self::BucketIsSlow,
        Self::FunctionKilled,
        Self::AnswerLost,
        Self::FunctionDoesNotStart,
        Self::FunctionHangs,
        Self::FunctionThrottled,
        Self::RedeliveredAfterSuccess,
        Self::StaleRedelivery,
        Self::DestinationRefuses,
        Self::DestinationMissing,
    ];

    /// Whether it could cost an audit. Those of the telemetry could not, nor could a deployment; they are for the alarms.
    #[must_use]
    pub fn touches_audits(self) -> bool {
        !matches!(
            self,
            Self::EmfMalformed | Self::EmfInvalid | Self::TelemetryLost | Self::BooksWrong | Self::FunctionReplaced
        )
    }

    /// The fault in words: `StoreIsSlow` is "store is slow".
    #[must_use]
    pub fn words(self) -> String {
        let mut words = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.extend(letter.to_lowercase());
        }
        words
    }
}

/// How often each kind was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl FaultCounts {
    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this kind was seen.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds what another run saw.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }

    /// All faults together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_in_its_place() {
        for (index, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!(fault as usize, index, "{fault:?}");
        }
        assert_eq!(Fault::StoreIsSilentAfterWriting.words(), "store is silent after writing");
    }
}

//! Everything that can go wrong in a run, by name, so that a campaign can say what it has seen and what it has not.

/// Declares the kinds of fault, and the list of all of them.
macro_rules! faults {
    ($($(#[doc = $what:literal])+ $fault:ident,)*) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[doc = $what])+ $fault,)*
        }

        impl Fault {
            /// All kinds, in order.
            pub const ALL: [Self; [$(stringify!($fault)),*].len()] = [$(Self::$fault),*];
        }
    };
}

faults! {
    // The Audit table.
    /// A request is throttled; nothing is written.
    StoreThrottles,
    /// A request is throttled because the table's index has no capacity left; nothing is written.
    IndexThrottles,
    /// Part of a request comes back as unprocessed.
    StoreGivesBack,
    /// A request fails; nothing is written.
    StoreFails,
    /// A request fails, but half of it is written.
    StoreFailsHalfWritten,
    /// A request fails, but all of it is written: the answer is lost.
    StoreFailsAfterWriting,
    /// A request is never answered; nothing is written.
    StoreIsSilent,
    /// A request is never answered, but all of it is written.
    StoreIsSilentAfterWriting,
    /// A request is never answered, but is written long after the function gave up on it.
    StoreWritesTooLate,
    /// A request takes seconds.
    StoreIsSlow,
    /// A request is not allowed, or the table is gone, until somebody fixes it.
    StoreIsMisconfigured,
    /// A request is refused for an unlisted reason.
    StoreRefuses,
    /// The client panics.
    StorePanics,
    // The failure bucket.
    /// An object is refused.
    BucketRefuses,
    /// An object is refused, but stored anyway.
    BucketRefusesAfterStoring,
    /// A request for an object is never answered.
    BucketIsSilent,
    /// A request for an object takes seconds.
    BucketIsSlow,
    // The function.
    /// The process is killed at one of the points where it waits.
    FunctionKilled,
    /// The process ends after its work, before its answer is sent.
    AnswerLost,
    /// No process starts.
    FunctionDoesNotStart,
    /// The process does nothing until it times out, like a process that gets no CPU.
    FunctionHangs,
    /// Lambda does not invoke the function: no concurrency is left.
    FunctionThrottled,
    /// A new version was deployed: the next invocation is the first of its process.
    FunctionReplaced,
    /// The handler had to stop at its deadline.
    DeadlineReached,
    // The event source mapping.
    /// A batch is delivered again although it had succeeded.
    RedeliveredAfterSuccess,
    /// A batch is delivered again long after it was done, alongside newer ones.
    StaleRedelivery,
    /// Lambda gives up on a batch because its retries are exhausted.
    RetriesExhausted,
    /// Lambda gives up on records because they are too old.
    RecordsTooOld,
    /// The on-failure destination refuses a batch that Lambda gave up on, and Lambda drops it.
    DestinationRefuses,
    /// There is no on-failure destination, and Lambda drops what it gives up on.
    DestinationMissing,
    /// The mapping does not poll.
    MappingDisabled,
    /// The table has a new stream, and the mapping polls the old one, which stays empty.
    StreamReplaced,
    /// Records leave the stream unread, while the mapping does not poll.
    RecordsExpired,
    /// A shard ends, and two child shards continue it.
    ShardSplits,
    // The telemetry.
    /// The wide line of an invocation is not valid JSON, as if it had been cut off.
    EmfMalformed,
    /// The wide line of an invocation is valid JSON, but violates the embedded metric format.
    EmfInvalid,
    /// The log lines of an invocation never arrive.
    TelemetryLost,
    /// The function's report of an invocation lacks a record, as if by a bug.
    BooksWrong,
    // The records.
    /// A record that does not have the shape of a record.
    RecordUndecodable,
    /// A record without a key.
    RecordWithoutKey,
    /// A record with an unknown event name.
    RecordOfUnknownEvent,
    /// A record with an invalid number.
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
    /// A record with a value whose decimals decide whether it fits into an entry.
    RecordNearSizeLimit,
    /// A record with a value nested about as deeply as DynamoDB allows.
    RecordNearDepthLimit,
    /// A modification that changes nothing.
    RecordUnchanged,
    /// A record of the canary.
    RecordOfCanary,
    /// A record of something that looks like the canary but is not.
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
    // The witness. Only the alarms see these.
    /// Somebody alters an entry.
    EntryAltered,
    /// Somebody deletes an entry.
    EntryDeleted,
    /// The witness's mapping does not poll.
    WitnessMappingDisabled,
    /// The witness bucket refuses an object.
    WitnessBucketRefuses,
    /// No process of the witness starts.
    WitnessDoesNotStart,
    /// Lambda does not invoke the witness: no concurrency is left.
    WitnessThrottled,
}

impl Fault {
    /// The faults that come and go in a run: in some time windows, with some probability.
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

    /// Whether it could lose an audit. Faults of telemetry and of the witness, and deployments, could not; they are for the
    /// alarms.
    #[must_use]
    pub fn touches_audits(self) -> bool {
        !matches!(
            self,
            Self::EmfMalformed
                | Self::EmfInvalid
                | Self::TelemetryLost
                | Self::BooksWrong
                | Self::FunctionReplaced
                | Self::EntryAltered
                | Self::EntryDeleted
                | Self::WitnessMappingDisabled
                | Self::WitnessBucketRefuses
                | Self::WitnessDoesNotStart
                | Self::WitnessThrottled
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
    /// Counts one occurrence.
    pub fn count(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How often this kind was seen.
    #[must_use]
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(other.0) {
            *own += other;
        }
    }

    /// The total of all faults.
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

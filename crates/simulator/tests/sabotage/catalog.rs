//! The ways to break the Lambda.

/// A way to break the Lambda.
pub(crate) struct Sabotage {
    /// What is broken; also the name that switches it on.
    pub(crate) what: &'static str,
    pub(crate) edits: &'static [Edit],
    /// Part of the violation, as the simulator words it.
    pub(crate) found_as: &'static str,
}

/// An edit of the source. What it replaces must occur in the file exactly once.
pub(crate) enum Edit {
    /// An expression, or a whole statement, and what is evaluated in its place.
    Switch {
        file: &'static str,
        /// The surrounding source, with `@` in its place.
        context: &'static str,
        code: &'static str,
        broken: &'static str,
    },
    /// Any other piece of source. In the new one, `IS_ON` stands for whether the sabotage is on.
    Rewrite { file: &'static str, code: &'static str, broken: &'static str },
}

use Edit::{Rewrite, Switch};

pub(crate) const SABOTAGES: &[Sabotage] = &[
    Sabotage {
        what: "it reports something else than sequence numbers, as event IDs are",
        edits: &[Switch {
            file: "src/report.rs",
            context: "@",
            code: "failure.item_identifier.clone_from(&record.sequence_number);",
            broken: "failure.item_identifier = record.sequence_number.as_ref().map(|number| format!(\"e{number}\"));",
        }],
        found_as: "which is not a record of the batch",
    },
    Sabotage {
        what: "the IDs of entries are random",
        edits: &[Switch {
            file: "src/audit/id.rs",
            context: "@",
            code: "bytes.copy_from_slice(&digest[..16]);",
            broken: "bytes.copy_from_slice(&digest[..16]); bytes[..8].copy_from_slice(&fastrand::u64(..).to_le_bytes());",
        }],
        found_as: "an entry that no change asked for",
    },
    Sabotage {
        what: "the attribute is not part of the ID, so entries of one record overwrite each other",
        edits: &[Switch {
            file: "src/audit/id.rs",
            context: "@",
            code: "hash.update(attribute.unwrap_or_default());",
            broken: "let _ = attribute;",
        }],
        found_as: "the table has no entry",
    },
    Sabotage {
        what: "a request that timed out counts as written",
        edits: &[Switch {
            file: "src/writer.rs",
            context: "@",
            code: "result.unwrap_or_else(|_| Err(unanswered(&Reason::Timeout, \"DynamoDB did not answer in time\")))",
            broken: "result.unwrap_or_else(|_| Ok(Put::default()))",
        }],
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "unprocessed items are forgotten",
        edits: &[Switch {
            file: "src/writer.rs",
            context: "@",
            code: "if unprocessed.contains(&index) { left.push(*place) } else { stored.push(*place) }",
            broken: "stored.push(*place)",
        }],
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "the lowest of the failed records is not reported",
        edits: &[Rewrite {
            file: "src/report.rs",
            code: ".failed()\n            .map(|record| {\n                let mut failure",
            broken: ".failed()\n            .skip(usize::from(IS_ON))\n            .map(|record| {\n                let mut failure",
        }],
        found_as: "was acknowledged, and",
    },
    Sabotage {
        what: "the deadline is not kept",
        edits: &[Switch {
            file: "src/handler.rs",
            context: "let until = report.interval.started + @;",
            code: "working_time(report.allowed)",
            broken: "working_time(report.allowed) * 2",
        }],
        found_as: "the handler had no answer at the function's time-out",
    },
    Sabotage {
        what: "a record counts as quarantined although the failure bucket refused it",
        edits: &[Rewrite {
            file: "src/journey.rs",
            code: "Some(uploaded.outcome())",
            broken: "Some(if IS_ON { Outcome::Quarantined(uploaded.cause) } else { uploaded.outcome() })",
        }],
        found_as: "it is not in the failure bucket",
    },
    Sabotage {
        what: "an entry has the time of its writing, so each delivery changes it",
        edits: &[Switch {
            file: "src/journey.rs",
            context: "@",
            code: "change.created.unwrap_or(planning.started)",
            broken: "planning.started",
        }],
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "numbers are compared as text, so 1 and 1.0 differ",
        edits: &[Rewrite {
            file: "src/value/mod.rs",
            code: "one == other || Number::parse(one)",
            broken: "one == other || !IS_ON && Number::parse(one)",
        }],
        found_as: "and it changes nothing",
    },
    Sabotage {
        what: "a bad record fails the whole batch",
        edits: &[Switch {
            file: "src/journey.rs",
            context: "Ok(Err(Refusal::Record(error))) => @,",
            code: "self.not_a_change(Cause::new(error.into(), error.to_string()))",
            broken: "return Err(WrongViewType(error.to_string()))",
        }],
        found_as: "an invocation failed as a whole, and nothing asked for it",
    },
    Sabotage {
        what: "failed records are missing in the metrics",
        edits: &[Switch {
            file: "src/telemetry/catalog.rs",
            context: "Measure::Count(|report| @);",
            code: "report.counts().failed",
            broken: "0",
        }],
        found_as: "the books do not balance",
    },
    Sabotage {
        what: "quarantined records are counted as failed ones",
        edits: &[Switch {
            file: "src/telemetry/catalog.rs",
            context: "@",
            code: "report.counts().quarantined",
            broken: "report.counts().total() - report.counts().audited - report.counts().unchanged - report.counts().quarantined",
        }],
        found_as: "the books do not balance",
    },
    Sabotage {
        what: "every record is reported as failed, the stored ones too",
        edits: &[Rewrite {
            file: "src/report.rs",
            code: "answer.batch_item_failures = self\n            .failed()",
            broken: "answer.batch_item_failures = self\n            .records\n            .iter()\n            .filter(|record| {\n                \
                     IS_ON && record.sequence_number.is_some() || matches!(record.outcome, Outcome::Failed(_))\n            })",
        }],
        found_as: "and the answer says otherwise",
    },
    Sabotage {
        what: "only the first request of an invocation is ever sent",
        edits: &[Rewrite {
            file: "src/writer.rs",
            code: "let count = queue.len().min(MAX_BATCH);",
            broken: "if IS_ON && (self.in_flight > 0 || !self.requests.borrow().is_empty()) { return None; }\n        \
                     let count = queue.len().min(MAX_BATCH);",
        }],
        found_as: "and no fault of its own asked for it",
    },
    Sabotage {
        what: "an entry names another object than the one that has its record",
        edits: &[Switch {
            file: "src/journey.rs",
            context: "let full_record = || @;",
            code: "(planning.url)(&omitted_key(stream_arn.as_ref(), &event_id))",
            broken: "(planning.url)(\"elsewhere\")",
        }],
        found_as: "an entry says that its record is in",
    },
    Sabotage {
        what: "objects are put only after all entries that can be written are settled",
        edits: &[
            Rewrite {
                file: "src/handler.rs",
                code: "Some(upload) = uploader.next() => {",
                broken: "Some(upload) = uploader.next(), if !IS_ON || writer.is_idle() => {",
            },
            Rewrite {
                file: "src/writer.rs",
                code: "    fn next_batch(&mut self)",
                broken: "    pub(crate) fn is_idle(&self) -> bool { self.records.is_empty() }\n\n    fn next_batch(&mut self)",
            },
        ],
        found_as: "and no fault of its own asked for it",
    },
    Sabotage {
        what: "the error of the whole invocation erases the causes of its records",
        edits: &[Rewrite {
            file: "src/handler.rs",
            code: "report.fail_without_sequence_numbers();",
            broken: "for record in report.records.iter_mut().filter(|_| IS_ON && report.error.is_some()) {\n            \
                     if let crate::report::Outcome::Failed(cause) = &mut record.outcome {\n                \
                     *cause = unsettled.clone();\n            }\n        }\n        \
                     report.fail_without_sequence_numbers();",
        }],
        found_as: "and what became of its own requests is",
    },
    Sabotage {
        what: "retries go before entries that were never sent",
        edits: &[Rewrite {
            file: "src/writer.rs",
            code: "let queue = if self.urgent.is_empty()",
            broken: "if IS_ON && let Some(batch) = self.again.pop_front() { return Some(batch); }\n        \
                     let queue = if self.urgent.is_empty()",
        }],
        found_as: "an entry was sent again before those of",
    },
    Sabotage {
        what: "a record is quarantined before notes in place of its rejected values are tried",
        edits: &[Rewrite {
            file: "src/journey.rs",
            code: "if !std::mem::replace(&mut self.has_omitted_values, true)\n",
            broken: "if !IS_ON && !std::mem::replace(&mut self.has_omitted_values, true)\n",
        }],
        found_as: "no fault of its own asked for it",
    },
    Sabotage {
        what: "notes are written before the full record is kept",
        edits: &[Rewrite {
            file: "src/journey.rs",
            code: "self.next = Next::UploadThenWrite(object, encode(entries));",
            broken: "let entries = encode(entries);\n        \
                     self.next = if IS_ON { Next::Write(entries) } else { Next::UploadThenWrite(object, entries) };",
        }],
        found_as: "an entry says that its record is in",
    },
    Sabotage {
        what: "numbers are taken for smaller than they are",
        edits: &[Switch {
            file: "src/value/json.rs",
            context: "@",
            code: "Self::scalar(number.size())",
            broken: "Self::scalar(1)",
        }],
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "an entry may be nested one level deeper than DynamoDB allows",
        edits: &[Switch {
            file: "src/audit/limits.rs",
            context: "value.depth() > @)",
            code: "MAX_NESTING",
            broken: "MAX_NESTING + 1",
        }],
        found_as: "was acknowledged, and the table has no entry",
    },
    Sabotage {
        what: "a witness that was refused counts as stored",
        edits: &[Rewrite {
            file: "src/witness/record.rs",
            code: "Ok(()) => Outcome::Witnessed,",
            broken: "_ if IS_ON => Outcome::Witnessed, Ok(()) => Outcome::Witnessed,",
        }],
        found_as: "verify finds",
    },
    Sabotage {
        what: "a record of tampering that was refused counts as stored",
        edits: &[Rewrite {
            file: "src/witness/record.rs",
            code: "Some(uploaded.outcome())",
            broken: "Some(if IS_ON { Outcome::Quarantined(uploaded.cause) } else { uploaded.outcome() })",
        }],
        found_as: "records of tampering are kept",
    },
    Sabotage {
        what: "a deleted entry is not reported",
        edits: &[Switch {
            file: "src/witness/record.rs",
            context: "Images::Remove { .. } => @,",
            code: "Event::Tampering(Cause::new(Reason::EntryDeleted, deleted(&change)))",
            broken: "Event::Redelivered",
        }],
        found_as: "EntriesTampered is",
    },
    Sabotage {
        what: "the time of an entry is not part of its fingerprint",
        edits: &[Rewrite {
            file: "src/witness/fingerprint.rs",
            code: "let provenance = match entry.remove(PROVENANCE) {",
            broken: "if IS_ON { entry.remove(\"modificationTime\"); } let provenance = match entry.remove(PROVENANCE) {",
        }],
        found_as: "EntriesTampered is",
    },
    Sabotage {
        what: "an altered entry is witnessed like a new one",
        edits: &[Rewrite {
            file: "src/witness/record.rs",
            code: "if Fingerprint::of(old).agrees_with(&Fingerprint::of(new)) {",
            broken: "if IS_ON { Event::Stored(Fingerprint::of(new)) } else if Fingerprint::of(old).agrees_with(&Fingerprint::of(new)) {",
        }],
        found_as: "EntriesTampered is",
    },
];

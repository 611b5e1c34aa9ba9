//! Is the trail complete and unaltered?
//!
//! First the verification reads every item of the Configuration table, folds its entries, and compares the end of the
//! trail with the item. Then it reads the keys of all entries, and does the same for those whose item no longer exists:
//! their trail must end with a removal. An item without a creation entry looks older than the trail, whether it is
//! older or the entry was deleted. Such items are listed; if every creation should be recorded, each is a finding.
//!
//! In memory it keeps one page of each table, the entries of [`CONCURRENCY`] items, 16 bytes for each deleted key, and
//! the keys of at most [`MAX_SUSPECTS`] items.

use std::collections::HashSet;
use std::time::Duration;

use config_audit::canary;
use config_audit::clock::{Clock, timestamp};
use config_audit::value::size;
use config_audit_trail::{Finding, Item, Present, Step, Verdict, backfill_id, fold};
use futures_util::stream::{StreamExt, TryStreamExt, iter};
use serde_dynamo::AttributeValue;

use crate::CONCURRENCY;
use crate::audit::AuditTable;
use crate::configuration::{ConfigurationTable, KeyedItem};
use crate::error::AwsError;
use crate::summary::Summary;

/// How many times items that do not fit are read again.
const ROUNDS: u32 = 3;
/// The maximum number of items that wait to be read again.
const MAX_SUSPECTS: usize = 5_000;
/// Their maximum total size in bytes, because they are read again all at once.
const MAX_SUSPECT_BYTES: usize = 16 * 1024 * 1024;

/// Receives what a verification finds while it runs.
pub trait Observer {
    /// Why the verification cannot continue.
    type Error: From<AwsError>;

    /// Something is wrong with the trail of the item with this key.
    ///
    /// # Errors
    /// When the verification should stop.
    fn finding(&mut self, key: &str, finding: &Finding) -> Result<(), Self::Error>;

    /// The item looks older than the trail, which is not necessarily wrong.
    ///
    /// # Errors
    /// When the verification should stop.
    fn older(&mut self, key: &str, finding: &Finding) -> Result<(), Self::Error>;

    /// Another item was checked; this many wait to be read again.
    fn progress(&mut self, summary: &Summary, waiting: usize);
}

/// The requirements on a trail.
#[derive(Debug, Clone, Copy)]
pub struct VerificationSettings {
    /// How long the entries of a change may take to become visible. Until then, items that do not fit are read again.
    pub settle: Duration,
    /// Whether every item should have a creation entry or a backfilled entry.
    pub is_complete: bool,
}

/// Checks the whole trail against the Configuration table.
#[derive(Debug)]
pub struct Verification<O> {
    configuration: ConfigurationTable,
    audit: AuditTable,
    settings: VerificationSettings,
    observer: O,
    /// The keys of items that do not fit.
    suspects: Vec<String>,
    suspect_bytes: usize,
    summary: Summary,
}

impl<O: Observer> Verification<O> {
    /// Checks these tables and reports to the observer.
    #[must_use]
    pub fn new(
        configuration: ConfigurationTable,
        audit: AuditTable,
        settings: VerificationSettings,
        observer: O,
    ) -> Self {
        let (suspects, suspect_bytes, summary) = (Vec::new(), 0, Summary::default());
        Self { configuration, audit, settings, observer, suspects, suspect_bytes, summary }
    }

    /// Checks everything; returns the summary.
    ///
    /// # Errors
    /// If AWS returns an error, or the observer stops.
    pub async fn run(mut self) -> Result<Summary, O::Error> {
        self.check_items().await?;
        self.check_deleted_items().await?;
        Ok(self.summary)
    }

    /// Checks every item of the Configuration table.
    async fn check_items(&mut self) -> Result<(), O::Error> {
        let mut start = None;
        loop {
            let (items, next) = self.configuration.page(start).await?;
            self.summary.items += items.len();
            let audit = self.audit.clone();
            let verdicts = iter(items).map(|KeyedItem { key, item }| {
                let audit = &audit;
                async move {
                    let verdict = Verdict::of(audit.steps(&key).await?, Some(&item));
                    Ok::<_, AwsError>((key, size(&AttributeValue::M(item)), verdict))
                }
            });
            let mut verdicts = verdicts.buffer_unordered(CONCURRENCY);
            while let Some((key, bytes, verdict)) = verdicts.try_next().await? {
                self.take(key, bytes, verdict)?;
            }
            drop(verdicts);
            start = next;
            if start.is_none() {
                return self.check_suspects().await;
            }
            if self.suspects.len() >= MAX_SUSPECTS || self.suspect_bytes >= MAX_SUSPECT_BYTES {
                self.check_suspects().await?;
            }
        }
    }

    /// Checks every item that has only entries.
    async fn check_deleted_items(&mut self) -> Result<(), O::Error> {
        // The ID is a 122-bit hash of the key, and takes less memory.
        let mut seen = HashSet::new();
        let mut start = None;
        loop {
            let (mut keys, next) = self.audit.keys(start).await?;
            keys.retain(|key| !seen.contains(&backfill_id(key)));
            keys.sort_unstable();
            keys.dedup();
            let deleted = self.configuration.missing(&keys).await?;
            seen.extend(deleted.iter().map(|key| backfill_id(key)));
            self.summary.deleted += deleted.len();
            let audit = self.audit.clone();
            let steps = iter(deleted).map(|key| {
                let audit = &audit;
                async move { Ok::<_, AwsError>((audit.steps(&key).await?, key)) }
            });
            let mut steps = steps.buffer_unordered(CONCURRENCY);
            while let Some((steps, key)) = steps.try_next().await? {
                let verdict = self.verdict(&key, steps, None);
                self.take(key, 0, verdict)?;
            }
            drop(steps);
            start = next;
            if start.is_none() {
                return self.check_suspects().await;
            }
            if self.suspects.len() >= MAX_SUSPECTS {
                self.check_suspects().await?;
            }
        }
    }

    /// Counts an item that fits, and keeps the key of one that does not.
    fn take(&mut self, key: String, bytes: usize, verdict: Verdict) -> Result<(), O::Error> {
        let verdict = self.demand_creation(verdict);
        if verdict.findings.is_empty() {
            self.report(&key, &verdict)?;
        } else {
            self.suspects.push(key);
            self.suspect_bytes += bytes;
        }
        self.observer.progress(&self.summary, self.suspects.len());
        Ok(())
    }

    /// If every creation should be recorded, makes it a finding that an item looks older than the trail.
    fn demand_creation(&self, mut verdict: Verdict) -> Verdict {
        let older = verdict.older.take_if(|_| self.settings.is_complete);
        verdict.findings.extend(older.map(Finding::Older));
        verdict
    }

    /// Counts an item, and reports its findings to the observer.
    fn report(&mut self, key: &str, verdict: &Verdict) -> Result<(), O::Error> {
        for finding in &verdict.findings {
            self.observer.finding(key, finding)?;
        }
        if let Some(first) = verdict.older.as_ref().filter(|_| verdict.findings.is_empty()) {
            self.observer.older(key, &Finding::Older(first.clone()))?;
        }
        self.summary.add(verdict);
        Ok(())
    }

    /// Reads items that did not fit again, because a change may have been in progress, and reports those that still do
    /// not fit.
    async fn check_suspects(&mut self) -> Result<(), O::Error> {
        let mut suspects: Vec<(String, Option<Verdict>)> =
            std::mem::take(&mut self.suspects).into_iter().map(|key| (key, None)).collect();
        self.suspect_bytes = 0;
        for _ in 0..ROUNDS {
            if suspects.is_empty() {
                return Ok(());
            }
            let keys = suspects.into_iter().map(|(key, _)| key);
            suspects = Vec::new();
            for (key, verdict) in self.check_again(keys).await? {
                let verdict = self.demand_creation(verdict);
                if verdict.findings.is_empty() {
                    self.report(&key, &verdict)?;
                } else {
                    suspects.push((key, Some(verdict)));
                }
            }
        }
        suspects.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (key, verdict) in suspects {
            if let Some(verdict) = verdict {
                self.report(&key, &verdict)?;
            }
        }
        Ok(())
    }

    /// Reads these items, waits, and reads their entries.
    async fn check_again(&self, keys: impl Iterator<Item = String>) -> Result<Vec<(String, Verdict)>, AwsError> {
        let (configuration, audit) = (&self.configuration, &self.audit);
        let time = timestamp(Clock::System.now());
        let items = iter(keys)
            .map(|key| async move { Ok::<_, AwsError>((configuration.item(&key).await?, key)) })
            .buffer_unordered(CONCURRENCY);
        let items: Vec<(Option<Item>, String)> = items.try_collect().await?;
        tokio::time::sleep(self.settings.settle / ROUNDS).await;
        let time = &time;
        let verdicts = iter(items).map(|(item, key)| async move {
            let steps = audit.steps(&key).await?;
            let verdict = match Present::of_reads(time, item, configuration.item(&key).await?) {
                Present::Steady(item) => self.verdict(&key, steps, item.as_ref()),
                present => Verdict::judge(steps, &present).0,
            };
            Ok((key, verdict))
        });
        verdicts.buffer_unordered(CONCURRENCY).try_collect().await
    }

    /// What these entries prove about the item with this key. The canary has entries only if its key once had another
    /// item: they end with the canary, because its removal has none.
    fn verdict(&self, key: &str, steps: Vec<Step>, item: Option<&Item>) -> Verdict {
        let canary = || {
            let end = fold(steps.clone(), None).end()?.item();
            Some(end).filter(|end| self.configuration.is_canary(end))
        };
        let canary = if key == canary::KEY && item.is_none() { canary() } else { None };
        Verdict::of(steps, item.or(canary.as_ref()))
    }
}

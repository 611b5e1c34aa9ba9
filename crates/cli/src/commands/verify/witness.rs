//! `verify --witness`: is every entry as it was witnessed?

use std::path::PathBuf;
use std::pin::pin;

use clap::Args;
use config_audit::clock::Clock;
use config_audit::witness::Fingerprint;
use config_audit_cloudwatch::units::{count, thousands};
use config_audit_evidence::{Comparison, Counts, Finding, Seal, StoredEntry};
use config_audit_local::aws::item;
use config_audit_tables::{AuditTable, SdkItem};
use futures_util::stream::TryStreamExt;
use serde_dynamo::AttributeValue;
use serde_json::{Value, json};

use super::{Printer, VerifyError};
use crate::aws::{Aws, url};
use crate::commands::seal;
use crate::place::Location;
use crate::terminal::{Output, Text, Tone};
use crate::witnesses::{Seen, Witnesses};

/// What to compare the entries with.
#[derive(Debug, Args)]
pub(super) struct WitnessArguments {
    /// Also compare every entry with what the witness function stored: `s3://BUCKET`, or a directory with a copy of it
    #[arg(long, value_name = "LOCATION")]
    witness: Option<Location>,
    /// The table whose entries were witnessed, if --audit-table is a copy of it [default: --audit-table]
    #[arg(long, value_name = "NAME", requires = "witness")]
    witness_table: Option<String>,
    /// Also prove that everything that this seal covers is still there; `config-audit seal` makes them
    #[arg(long, value_name = "FILE", requires = "witness")]
    seal: Option<PathBuf>,
    /// Use the S3 behind this URL [default: `AWS_ENDPOINT_URL_S3`, or --endpoint-url]
    #[arg(long, value_name = "URL", value_parser = url, help_heading = "AWS")]
    s3_endpoint_url: Option<String>,
}

/// What the witnesses prove.
#[derive(Debug)]
pub(super) struct Evidence {
    counts: Counts,
    /// How many entries are not as they were witnessed.
    wrong: usize,
    /// How many objects are not what the witness function stored.
    flawed: usize,
    /// The time of the first witness.
    begins: Option<String>,
    /// The seal, and whether the witnesses still agree with it.
    seal: Option<(Seal, bool)>,
}

/// The witnesses to compare with, and the seal.
#[derive(Debug)]
pub(super) struct Reference {
    witnesses: Witnesses,
    seal: Option<Seal>,
}

impl WitnessArguments {
    /// What to compare with; `None` without `--witness`.
    pub(super) fn reference(self, aws: &Aws, audit_table: &str) -> Result<Option<Reference>, VerifyError> {
        let Some(location) = self.witness else { return Ok(None) };
        let table = self.witness_table.as_deref().unwrap_or(audit_table);
        let seal = self.seal.map(|path| seal::read(&path, table)).transpose()?.map(|(_, seal)| seal);
        let witnesses = Witnesses::new(aws, location, table, self.s3_endpoint_url)?;
        Ok(Some(Reference { witnesses, seal }))
    }
}

/// Compares every entry of the table with its witness. The entries are read first: an entry is stored before its witness.
pub(super) async fn check(
    audit: &AuditTable,
    Reference { witnesses, seal }: Reference,
    printer: &mut Printer,
) -> Result<Evidence, VerifyError> {
    let mut comparison = Comparison::new();
    let mut start = None;
    loop {
        let (entries, next) = audit.page(start).await?;
        for entry in entries {
            comparison.add_entry(stored_entry(entry))?;
        }
        printer.progress.show(|| format!("{} to compare", count(comparison.collected().0, "entry", "entries")));
        start = next;
        if start.is_none() {
            break;
        }
    }
    let now = Clock::System.now();
    let mut flawed = 0;
    let mut objects = pin!(witnesses.objects());
    while let Some(Seen { key, stored, is_last, content }) = objects.try_next().await? {
        if !is_last {
            flawed += 1;
            printer.object(&key, "somebody replaced or deleted it; what was stored first counts")?;
        }
        let is_covered = seal.as_ref().zip(stored).is_some_and(|(seal, stored)| seal.covers(stored));
        match content {
            Ok(content) => {
                for witness in content {
                    comparison.add_witness(witness, stored, is_covered)?;
                }
            }
            Err(flaw) => {
                flawed += 1;
                printer.object(&key, &flaw.to_string())?;
            }
        }
        printer.progress.show(|| format!("{} read", count(comparison.collected().1, "witness", "witnesses")));
    }
    let mut judgement = comparison.judge(now);
    let mut wrong = 0;
    while let Some(part) = judgement.next_part() {
        for suspect in part? {
            let entry = audit.current_entry(&suspect.finding().id).await?.map(stored_entry);
            if let Some(finding) = judgement.recheck(suspect, entry) {
                wrong += 1;
                printer.entry(&finding)?;
            }
        }
    }
    let seal = seal.map(|seal| {
        let agrees = seal.agrees_with(judgement.tree());
        (seal, agrees)
    });
    Ok(Evidence { counts: judgement.counts(), wrong, flawed, begins: judgement.begins().map(str::to_owned), seal })
}

fn stored_entry(entry: SdkItem) -> StoredEntry {
    let entry = item(entry);
    let text = |name| match entry.get(name) {
        Some(AttributeValue::S(text)) => text.clone(),
        _ => String::new(),
    };
    let (id, item_key, time) = (text("id"), text("itemKey"), text("modificationTime"));
    StoredEntry { id, item_key, time, fingerprint: Fingerprint::of(entry) }
}

impl Printer {
    /// An entry is not as it was witnessed.
    fn entry(&self, finding: &Finding) -> Result<(), VerifyError> {
        let key = finding.item_key.as_deref().unwrap_or("(no item)");
        self.found(key, finding.text(), &finding.json())
    }

    /// An object is not what the witness function stored.
    fn object(&self, key: &str, text: &str) -> Result<(), VerifyError> {
        self.found(key, text.to_owned(), &json!({ "object": key, "finding": "object", "text": text }))
    }

    fn found(&self, what: &str, text: String, json: &Value) -> Result<(), VerifyError> {
        match self.output {
            Output::Text => self.terminal.line(Tone::Bad.paint(what) + ": " + text)?,
            Output::Json => self.terminal.json_line(json)?,
        }
        Ok(())
    }
}

impl Evidence {
    /// Whether anything is wrong.
    pub(super) fn is_sound(&self) -> bool {
        self.wrong == 0
            && self.flawed == 0
            && self.begins.is_some()
            && self.seal.as_ref().is_none_or(|(_, agrees)| *agrees)
    }

    /// What was compared, in one line.
    pub(super) fn counts(&self) -> String {
        let Counts { proven, pending, older, .. } = self.counts;
        format!(
            "{} as witnessed, {} too new to have a witness, {} older than the first witness, {} not as witnessed",
            count(proven, "entry", "entries"),
            thousands(pending),
            thousands(older),
            thousands(self.wrong),
        )
    }

    /// The conclusions, for people. `is_consistent` is whether the entries fit one another and the items.
    pub(super) fn verdicts(&self, is_consistent: bool) -> Vec<Text> {
        let mut lines: Vec<Text> = Vec::new();
        if self.counts.late > 0 {
            lines.push(
                format!(
                    "{} stored more than a day after the change: a redrive does that, and so does a forgery.",
                    count(self.counts.late, "entry was", "entries were")
                )
                .into(),
            );
        }
        let intact = if is_consistent { "The trail is intact: every" } else { "Every" };
        match &self.begins {
            None => lines.push(Tone::Bad.paint("There is no witness of any entry, so nothing is proven.")),
            Some(_) if self.wrong > 0 => {
                let wrong = count(self.wrong, "entry is", "entries are");
                lines.push(Tone::Bad.paint(format!("Somebody touched the trail: {wrong} not as witnessed.")));
            }
            Some(begins) if self.is_sound() => {
                let text = format!("{intact} entry since {begins} that has a witness is as it was witnessed.");
                lines.push(Tone::Good.paint(text));
            }
            Some(_) => {}
        }
        if self.flawed > 0 {
            let flawed = count(self.flawed, "object is", "objects are");
            lines.push(Tone::Bad.paint(format!("Somebody touched the witness bucket: {flawed} not as stored.")));
        }
        if let Some((seal, agrees)) = &self.seal {
            let covers = format!("{} stored until {}", count(seal.witnesses, "witness", "witnesses"), seal.until);
            lines.push(if *agrees {
                Tone::Good.paint(format!("All that was sealed is still there: {covers}."))
            } else {
                Tone::Bad.paint(format!("The witness bucket no longer has what was sealed: {covers}."))
            });
        }
        lines.push("docs/evidence.md says what remains possible.".into());
        lines
    }

    /// The same as JSON, for tools.
    pub(super) fn json(&self) -> Value {
        json!({
            "entriesAsWitnessed": self.counts.proven, "tooNew": self.counts.pending, "olderThanTheWitness": self.counts.older,
            "storedLate": self.counts.late, "notAsWitnessed": self.wrong, "flawedObjects": self.flawed,
            "witnessedSince": self.begins, "sealHolds": self.seal.as_ref().map(|(_, agrees)| agrees),
            "isSound": self.is_sound(),
        })
    }
}

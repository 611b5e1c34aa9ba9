//! What a million changes cost, from the measurements. `bench/cost.js` computes a stage's monthly cost without any.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::table::Table;
use crate::measure::{Figures, Plan};

/// The number of changes that the table covers.
const CHANGES: f64 = 1e6;
/// The number of bytes that a write unit covers.
const WRITE_UNIT: f64 = 1_024.0;

/// `bench/prices.json`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Prices {
    list: BTreeMap<String, Price>,
    assumptions: Assumptions,
}

#[derive(Debug, Clone, Deserialize)]
struct Price {
    dollars: f64,
}

#[derive(Debug, Clone, Deserialize)]
struct Assumptions {
    memory_megabytes: f64,
    platform_log_bytes: f64,
    archived_share: f64,
    entry_overhead_bytes: f64,
    sampled_share: BTreeMap<usize, f64>,
}

/// The parts of the packaged template that a change's price depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stack {
    indexes: usize,
    retention_days: u64,
}

impl Stack {
    /// Reads a `CloudFormation` template.
    pub(crate) fn read(template: &Value) -> Self {
        let mut stack = Self::default();
        let resources = template["Resources"].as_object();
        for (name, resource) in resources.into_iter().flatten() {
            let properties = &resource["Properties"];
            match resource["Type"].as_str().unwrap_or_default() {
                "AWS::Logs::LogGroup" => {
                    stack.retention_days = properties["RetentionInDays"].as_u64().unwrap_or_default();
                }
                "AWS::DynamoDB::Table" if name == "AuditTable" => {
                    stack.indexes = properties["GlobalSecondaryIndexes"].as_array().map_or(0, Vec::len);
                }
                _ => {}
            }
        }
        stack
    }
}

impl Prices {
    fn of(&self, name: &str) -> f64 {
        self.list.get(name).map_or(f64::NAN, |price| price.dollars)
    }

    /// The assumptions behind the costs, as a list.
    pub(crate) fn assumptions(&self) -> String {
        let of = &self.assumptions;
        let shares = of.sampled_share.iter().map(|(records, share)| {
            format!(
                "{:.0} % of the invocations with {records} record{}",
                share * 100.0,
                if *records == 1 { "" } else { "s" }
            )
        });
        format!(
            "- Every function has {} MB, and the time that is billed was measured with the processor's share of that.\n\
             - Lambda's own log lines (`platform.start`, `platform.runtimeDone`, `platform.report`) are {} bytes an \
             invocation. What is kept is compressed to {:.0} %.\n\
             - X-Ray records {}: its default rule takes the first request of each second and 5 % of the others, so a quiet \
             table has all its invocations traced.\n\
             - An item has {} bytes besides its attributes, as DynamoDB counts its storage.\n\
             - No cold starts, no retries. Lambda's reads of a stream are free.\n",
            of.memory_megabytes,
            of.platform_log_bytes,
            of.archived_share * 100.0,
            shares.collect::<Vec<_>>().join(", "),
            of.entry_overhead_bytes,
        )
    }

    /// What a million changes cost with each function, in batches of this size.
    pub(crate) fn changes(&self, plan: &Plan, stack: &Stack, figures: &Figures, records: usize) -> Table {
        let mut table =
            Table::new(["dollars", "billed ms", "function", "table", "logs", "traces", "all of it", "metrics a month"]);
        for subject in &plan.subjects {
            if let Some(row) = self.row(subject.name, subject.has_telemetry(), stack, figures, records) {
                table.push(row);
            }
        }
        table
    }

    fn row(
        &self,
        name: &'static str,
        has_telemetry: bool,
        stack: &Stack,
        figures: &Figures,
        records: usize,
    ) -> Option<Vec<String>> {
        let of = &self.assumptions;
        let batch = figures.batches.get(&(name, records))?;
        let billed = figures.billed.get(&(name, records))?.median()?.ceil();
        let invocations = CHANGES / records as f64;
        let function = invocations
            * (self.of("lambda_request")
                + billed / 1e3 * of.memory_megabytes / 1_024.0 * self.of("lambda_gigabyte_second"));
        let stored = batch.request_bytes.median()? / records as f64;
        let units = (stored / WRITE_UNIT).ceil() * (1 + stack.indexes) as f64;
        let writes = CHANGES * units * self.of("dynamodb_write_unit");
        let logged = invocations * (batch.log_bytes.median()? + of.platform_log_bytes) / 1e9;
        let months = stack.retention_days as f64 / 30.0;
        let logs = logged * (self.of("logs_gigabyte") + of.archived_share * months * self.of("logs_gigabyte_month"));
        let sampled = of.sampled_share.get(&records).copied().unwrap_or(1.0);
        let traces = if has_telemetry { invocations * sampled * self.of("trace") } else { 0.0 };
        let metrics = metrics(figures, name) as f64 * self.of("custom_metric_month");
        let row = [function, writes, logs, traces, function + writes + logs + traces, metrics];
        Some([name.to_owned(), format!("{billed}")].into_iter().chain(row.map(money)).collect())
    }

    /// What storing the entries of a million changes costs a month, in a sentence.
    pub(crate) fn storage(&self, stack: &Stack, figures: &Figures) -> Option<String> {
        let bytes = figures.batches.get(&("ours", 100))?.request_bytes.median()? / 100.0;
        let gigabytes = CHANGES * (bytes + self.assumptions.entry_overhead_bytes) / 1e9;
        let copies = (1 + stack.indexes) as f64;
        let dollars =
            gigabytes * (copies * self.of("dynamodb_gigabyte_month") + self.of("dynamodb_recovery_gigabyte_month"));
        Some(format!(
            "To keep a million entries costs {} dollars a month: {bytes:.0} bytes each, in the table and its index, with \
             point-in-time recovery of the table.",
            money(dollars)
        ))
    }
}

/// The number of metrics that a function publishes, from the EMF lines that it logged.
fn metrics(figures: &Figures, name: &'static str) -> usize {
    let mut found = BTreeSet::new();
    for log in figures.batches.iter().filter(|((subject, _), _)| *subject == name).map(|(_, batch)| &batch.log) {
        for line in log.split(|byte| *byte == b'\n') {
            let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
            let directives = line["_aws"]["CloudWatchMetrics"].as_array();
            for directive in directives.into_iter().flatten() {
                for dimensions in directive["Dimensions"].as_array().into_iter().flatten() {
                    let values = dimensions
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|name| Some(format!("{name}={}", line.get(name.as_str()?)?)));
                    let values = values.collect::<Vec<_>>().join(",");
                    for metric in directive["Metrics"].as_array().into_iter().flatten() {
                        found.insert(format!("{} {values} {}", directive["Namespace"], metric["Name"]));
                    }
                }
            }
        }
    }
    found.len()
}

/// Dollars, to the cent; small amounts to a hundredth of a cent.
fn money(dollars: f64) -> String {
    if dollars == 0.0 || dollars >= 0.1 { format!("{dollars:.2}") } else { format!("{dollars:.4}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::BatchFigures;
    use serde_json::json;

    #[test]
    fn what_has_a_price_is_found_in_a_template() {
        let template = json!({ "Resources": {
            "Log": { "Type": "AWS::Logs::LogGroup", "Properties": { "RetentionInDays": 30 } },
            "AuditTable": { "Type": "AWS::DynamoDB::Table", "Properties": { "GlobalSecondaryIndexes": [{}] } },
            "Other": { "Type": "AWS::DynamoDB::Table", "Properties": {} },
        } });
        let expected = Stack { indexes: 1, retention_days: 30 };
        assert_eq!(Stack::read(&template), expected);
    }

    #[test]
    fn a_metric_counts_once_however_often_it_is_logged() {
        let line = json!({ "Service": "a", "_aws": { "CloudWatchMetrics": [
            { "Namespace": "N", "Dimensions": [["Service"]], "Metrics": [{ "Name": "One" }, { "Name": "Two" }] }
        ] } });
        let log = format!("{line}\n{line}\nnot JSON\n").into_bytes();
        let mut figures = Figures::default();
        figures.batches.insert(("ours", 1), BatchFigures { log, ..BatchFigures::default() });
        assert_eq!(metrics(&figures, "ours"), 2);
        assert_eq!(metrics(&figures, "bare"), 0);
    }

    #[test]
    fn every_price_that_is_used_is_in_the_file() {
        let prices: Prices = serde_json::from_str(include_str!("../../../prices.json")).unwrap();
        for name in [
            "lambda_request",
            "lambda_gigabyte_second",
            "dynamodb_write_unit",
            "dynamodb_gigabyte_month",
            "dynamodb_recovery_gigabyte_month",
            "logs_gigabyte",
            "logs_gigabyte_month",
            "custom_metric_month",
            "trace",
        ] {
            assert!(prices.of(name) > 0.0, "{name}");
        }
    }
}

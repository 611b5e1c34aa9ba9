//! The properties of alarms in a template.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::rule::{Comparison, MissingData};
use crate::metrics::Stat;
use crate::template::Text;

// An unknown property could change what an alarm does, so it is an error.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct CompositeProperties {
    pub(super) alarm_rule: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct MetricProperties {
    pub(super) comparison_operator: Text<Comparison>,
    pub(super) threshold: Text<f64>,
    pub(super) evaluation_periods: Text<usize>,
    pub(super) datapoints_to_alarm: Option<Text<usize>>,
    pub(super) treat_missing_data: Option<Text<MissingData>>,
    pub(super) evaluate_low_sample_count_percentile: Option<String>,
    #[serde(default)]
    pub(super) metrics: Vec<QueryProperty>,
    // For an alarm without Metrics:
    pub(super) metric_name: Option<String>,
    pub(super) namespace: Option<String>,
    #[serde(default)]
    pub(super) dimensions: Vec<Dimension>,
    pub(super) period: Option<Text<u32>>,
    pub(super) statistic: Option<Text<Stat>>,
    pub(super) extended_statistic: Option<Text<Stat>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct QueryProperty {
    pub(super) id: String,
    pub(super) expression: Option<String>,
    pub(super) metric_stat: Option<MetricStat>,
    pub(super) return_data: Option<Text<bool>>,
    #[serde(rename = "Label")]
    pub(super) _label: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct MetricStat {
    pub(super) metric: MetricProperty,
    pub(super) period: Text<u32>,
    pub(super) stat: Text<Stat>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct MetricProperty {
    pub(super) metric_name: String,
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) dimensions: Vec<Dimension>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Dimension {
    pub(super) name: String,
    pub(super) value: String,
}

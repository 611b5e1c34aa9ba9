//! The body of a dashboard, as in its file.

use serde::Deserialize;

use super::model::Threshold;

// An unknown property could change what is drawn, so it is an error.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    pub(super) start: String,
    #[serde(rename = "periodOverride")]
    _period_override: Option<PeriodOverride>,
    pub(super) widgets: Vec<Placed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum PeriodOverride {
    Inherit,
}

#[derive(Deserialize)]
pub(super) struct Placed {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
    #[serde(flatten)]
    pub(super) shown: Shown,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "properties", rename_all = "camelCase")]
pub(super) enum Shown {
    Text {
        markdown: String,
    },
    Alarm {
        title: String,
        alarms: Vec<String>,
        #[serde(rename = "sortBy")]
        _sort_by: Option<SortBy>,
    },
    Log {
        title: String,
        query: String,
    },
    Metric(Box<GraphProperties>),
}

/// Alarms in `ALARM` come first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum SortBy {
    StateUpdatedTimestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct GraphProperties {
    pub(super) title: String,
    #[serde(rename = "region")]
    _region: String,
    pub(super) view: View,
    pub(super) start: Option<String>,
    #[serde(default)]
    pub(super) stacked: bool,
    #[serde(default)]
    pub(super) set_period_to_time_range: bool,
    #[serde(default)]
    pub(super) sparkline: bool,
    /// Whether all digits of a number are drawn; here they always are.
    #[serde(rename = "singleValueFullPrecision")]
    _full_precision: Option<bool>,
    pub(super) stat: String,
    pub(super) period: u32,
    pub(super) metrics: Vec<Vec<Part>>,
    #[serde(default)]
    pub(super) y_axis: Axes,
    #[serde(rename = "legend")]
    _legend: Option<Legend>,
    #[serde(default)]
    pub(super) annotations: Annotations,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) enum View {
    TimeSeries,
    SingleValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Legend {
    #[serde(rename = "position")]
    _position: Position,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Position {
    Bottom,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Annotations {
    #[serde(default)]
    pub(super) horizontal: Vec<Threshold>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Axes {
    pub(super) left: Option<AxisProperties>,
    pub(super) right: Option<AxisProperties>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AxisProperties {
    #[serde(default)]
    pub(super) label: String,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    #[serde(rename = "showUnits")]
    _show_units: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Part {
    Text(String),
    Options(Box<Options>),
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Options {
    pub(super) id: Option<String>,
    pub(super) expression: Option<String>,
    pub(super) stat: Option<String>,
    pub(super) period: Option<u32>,
    pub(super) label: Option<String>,
    pub(super) color: Option<String>,
    pub(super) y_axis: Option<Side>,
    pub(super) visible: Option<bool>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) enum Side {
    Left,
    Right,
}

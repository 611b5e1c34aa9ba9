//! Every environment variable that the function itself reads, once, at start-up.
//!
//! The AWS SDK and Lambda's runtime read theirs (`AWS_REGION`, `AWS_ENDPOINT_URL_DYNAMODB`,
//! `AWS_LAMBDA_RUNTIME_API`, …).

use std::net::SocketAddr;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::aws::partition::{PUBLIC_DOMAIN, domain};
use crate::aws::tls::Trust;

/// Where variables come from: the process's environment, or a table in a test.
pub trait Environment {
    /// The variable's value; `None` if it is not set.
    fn get(&self, name: &str) -> Option<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        #[allow(clippy::disallowed_methods, reason = "this is the only place")]
        std::env::var(name).ok()
    }
}

/// Which of the functions in this binary runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Writes an entry for each change of the Configuration table.
    Audit,
    /// Watches the entries of the Audit table.
    Witness,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object per line, on standard output.
    Json,
    /// Plain lines for people, on standard error. Metrics stay JSON on standard output.
    Text,
}

/// The function's settings; `docs/configuration.md` has a table of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `_HANDLER`: which function runs.
    pub function: Function,
    /// `AUDIT_TABLE`: name or ARN of the Audit table.
    pub audit_table: String,
    /// `FAILURE_BUCKET`: where the function puts records that no retry can fix. Without one they are reported as failed.
    pub failure_bucket: Option<String>,
    /// `WITNESS_BUCKET`: where the witness function stores the witnesses of entries. Without one it only reports tampering.
    pub witness_bucket: Option<String>,
    /// `KEY_ATTRIBUTE`: the Configuration table's key.
    pub key_attribute: String,
    /// `AUDIT_PROVENANCE`: whether entries say which record they come from.
    pub provenance: bool,
    /// `SERVICE_NAME`: the metric dimension `Service`.
    pub service: String,
    /// `STAGE`: the metric dimension `Stage`.
    pub stage: String,
    /// `METRICS_NAMESPACE`: the CloudWatch namespace.
    pub namespace: String,
    /// `LATE_MINUTES`: a record that is audited later than this is late.
    pub late_after: Duration,
    /// `PROMETHEUS_LISTEN`: the address at which Prometheus can scrape the metrics.
    pub prometheus: Option<SocketAddr>,
    /// `AWS_LAMBDA_LOG_LEVEL`: the least severe level that is logged.
    pub log_level: LevelFilter,
    /// `AWS_LAMBDA_LOG_FORMAT`: the form of log lines.
    pub log_format: LogFormat,
    /// `AWS_XRAY_DAEMON_ADDRESS`: where spans are sent. Without it, none are.
    pub xray_daemon: Option<SocketAddr>,
    /// `AWS_ENDPOINT_URL_S3`, else `AWS_ENDPOINT_URL`: the URL of S3, unless it is AWS's own.
    pub s3_endpoint: Option<String>,
    /// From `AWS_REGION` and the `AWS_ENDPOINT_URL` variables: which certificates the endpoints need.
    pub trust: Trust,
    /// `AWS_LAMBDA_FUNCTION_NAME`: the function's own name.
    pub function_name: String,
    /// `AWS_LAMBDA_FUNCTION_VERSION`: the version of the function that is running.
    pub function_version: String,
}

/// A setting that is missing or wrong, in one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}; it must be {accepted}")]
pub struct SettingsError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// Which values are accepted.
    pub accepted: &'static str,
}

impl Settings {
    /// Reads all settings.
    ///
    /// # Errors
    ///
    /// The first setting that is missing or wrong.
    pub fn read(environment: &impl Environment) -> Result<Self, SettingsError> {
        let table = "the name (3 to 255 of a-z A-Z 0-9 _ - .) or the ARN of the Audit table";
        let bucket = "the name of an S3 bucket (3 to 63 of a-z 0-9 - .), or empty";
        let dimension = "1 to 255 printable ASCII characters, not only spaces, and must not start with a colon";
        let address = "an address and a port, such as 127.0.0.1:9464";
        let url = "a URL that starts with http:// or https://";
        let daemon = "an address and a port, such as 127.0.0.1:2000";
        let reader = Reader(environment);
        Ok(Self {
            function: reader
                .one_of(
                    "_HANDLER",
                    "bootstrap, for the audit function, or witness",
                    &[("bootstrap", Function::Audit), ("witness", Function::Witness)],
                )?
                .unwrap_or(Function::Audit),
            audit_table: reader.text("AUDIT_TABLE", table, is_table)?.ok_or(SettingsError {
                variable: "AUDIT_TABLE",
                problem: "is not set".to_owned(),
                accepted: table,
            })?,
            failure_bucket: reader.text("FAILURE_BUCKET", bucket, is_bucket)?,
            witness_bucket: reader.text("WITNESS_BUCKET", bucket, is_bucket)?,
            key_attribute: reader
                .text("KEY_ATTRIBUTE", "the name of an attribute, 1 to 255 bytes", |name| name.len() <= 255)?
                .unwrap_or_else(|| "key".to_owned()),
            provenance: reader
                .one_of("AUDIT_PROVENANCE", "on or off", &[("off", false), ("on", true)])?
                .unwrap_or(false),
            service: reader.text("SERVICE_NAME", dimension, is_dimension)?.unwrap_or_else(|| "config-audit".to_owned()),
            stage: reader.text("STAGE", dimension, is_dimension)?.unwrap_or_else(|| "dev".to_owned()),
            namespace: reader
                .text(
                    "METRICS_NAMESPACE",
                    "1 to 255 of a-z A-Z 0-9 . - _ / # : and must not start with AWS/",
                    is_namespace,
                )?
                .unwrap_or_else(|| "ConfigAudit".to_owned()),
            late_after: reader
                .parsed("LATE_MINUTES", "a whole number from 1 to 60", minutes)?
                .unwrap_or(Duration::from_mins(5)),
            prometheus: reader.parsed("PROMETHEUS_LISTEN", address, |text| text.parse().ok())?,
            log_level: reader
                .one_of(
                    "AWS_LAMBDA_LOG_LEVEL",
                    "TRACE, DEBUG, INFO, WARN, ERROR or FATAL",
                    &[
                        ("trace", LevelFilter::TRACE),
                        ("debug", LevelFilter::DEBUG),
                        ("info", LevelFilter::INFO),
                        ("warn", LevelFilter::WARN),
                        ("error", LevelFilter::ERROR),
                        ("fatal", LevelFilter::ERROR),
                    ],
                )?
                .unwrap_or(LevelFilter::INFO),
            log_format: reader
                .one_of(
                    "AWS_LAMBDA_LOG_FORMAT",
                    "JSON or Text",
                    &[("json", LogFormat::Json), ("text", LogFormat::Text)],
                )?
                .unwrap_or(LogFormat::Json),
            xray_daemon: reader.parsed("AWS_XRAY_DAEMON_ADDRESS", daemon, udp_address)?,
            s3_endpoint: match reader.text("AWS_ENDPOINT_URL_S3", url, is_url)? {
                Some(endpoint) => Some(endpoint),
                None => reader.text("AWS_ENDPOINT_URL", url, is_url)?,
            },
            trust: trust(environment),
            function_name: environment.get("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "audit".to_owned()),
            function_version: environment.get("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_else(|| "$LATEST".to_owned()),
        })
    }
}

/// Reads variables; an empty variable counts as not set.
struct Reader<'a, E>(&'a E);

impl<E: Environment> Reader<'_, E> {
    fn parsed<T>(
        &self,
        variable: &'static str,
        accepted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.0.get(variable).filter(|text| !text.is_empty()) else { return Ok(None) };
        let invalid = || SettingsError { variable, problem: format!("is {text:?}"), accepted };
        parse(&text).map(Some).ok_or_else(invalid)
    }

    fn text(
        &self,
        variable: &'static str,
        accepted: &'static str,
        is_valid: impl FnOnce(&str) -> bool,
    ) -> Result<Option<String>, SettingsError> {
        self.parsed(variable, accepted, |text| is_valid(text).then(|| text.to_owned()))
    }

    fn one_of<T: Copy>(
        &self,
        variable: &'static str,
        accepted: &'static str,
        values: &[(&str, T)],
    ) -> Result<Option<T>, SettingsError> {
        self.parsed(variable, accepted, |text| {
            values.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value)
        })
    }
}

/// From one minute to an hour: the alarms on late records look at hours.
fn minutes(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|minutes| (1..=60).contains(minutes)).map(Duration::from_mins)
}

/// Names of tables: Amazon DynamoDB Developer Guide, "Naming rules".
fn is_table(name: &str) -> bool {
    name.starts_with("arn:")
        || ((3..=255).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)))
}

/// Names of buckets: Amazon S3 User Guide, "General purpose bucket naming rules".
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte))
}

/// Values of dimensions: Amazon CloudWatch API Reference, Dimension. CloudWatch refuses one that is only white space.
fn is_dimension(value: &str) -> bool {
    value.len() <= 255
        && !value.trim().is_empty()
        && !value.starts_with(':')
        && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// Namespaces: Amazon CloudWatch API Reference, `PutMetricData`.
fn is_namespace(name: &str) -> bool {
    name.len() <= 255
        && !name.starts_with("AWS/")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#:".contains(&byte))
}

/// Amazon's roots are enough if the function calls only endpoints of AWS's public partition over TLS.
fn trust(environment: &impl Environment) -> Trust {
    let has_custom_endpoint = ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .filter_map(|name| environment.get(name))
        .any(|url| url.starts_with("https://"));
    let region = environment.get("AWS_REGION").unwrap_or_default();
    if has_custom_endpoint || domain(&region) != PUBLIC_DOMAIN { Trust::System } else { Trust::AmazonRoots }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The UDP address of an X-Ray daemon: `address:port`, or `tcp:address:port udp:address:port` in any order
/// (AWS X-Ray Developer Guide, `AWS_XRAY_DAEMON_ADDRESS`).
fn udp_address(text: &str) -> Option<SocketAddr> {
    let mut parts = text.split_whitespace();
    let udp = parts.clone().find_map(|part| part.strip_prefix("udp:"));
    udp.or_else(|| parts.next().filter(|part| !part.starts_with("tcp:")))?.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::collections::HashMap;

    impl<S: std::hash::BuildHasher> Environment for HashMap<&str, &str, S> {
        fn get(&self, name: &str) -> Option<String> {
            HashMap::get(self, name).map(ToString::to_string)
        }
    }

    pub(crate) fn settings() -> Settings {
        Settings::read(&HashMap::from([("AUDIT_TABLE", "Audit")])).unwrap()
    }

    #[test]
    fn only_the_table_is_required_and_the_rest_has_the_documented_defaults() {
        let settings = settings();
        assert_eq!(settings.audit_table, "Audit");
        assert_eq!((settings.function, settings.witness_bucket.as_deref()), (Function::Audit, None));
        assert_eq!(settings.failure_bucket, None);
        assert_eq!(settings.key_attribute, "key");
        assert!(!settings.provenance);
        assert_eq!((settings.service.as_str(), settings.stage.as_str()), ("config-audit", "dev"));
        assert_eq!(settings.namespace, "ConfigAudit");
        assert_eq!((settings.late_after, settings.prometheus), (Duration::from_mins(5), None));
        assert_eq!((settings.log_level, settings.log_format), (LevelFilter::INFO, LogFormat::Json));
        assert_eq!((settings.xray_daemon, settings.s3_endpoint), (None, None));
        assert_eq!(settings.trust, Trust::AmazonRoots);
        assert_eq!((settings.function_name.as_str(), settings.function_version.as_str()), ("audit", "$LATEST"));
    }

    /// Each variable that this file reads has a row in the page's table.
    #[test]
    fn each_variable_is_documented() {
        let page = include_str!("../docs/configuration.md");
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let code = include_str!("settings.rs").split("mod tests").next().unwrap();
        let is_name = |word: &&str| {
            word.len() > 1
                && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        };
        let names: std::collections::BTreeSet<&str> = code.split('"').skip(1).step_by(2).filter(is_name).collect();
        assert!(names.len() >= 17, "{names:?}");
        for name in names {
            let variable = format!("`{name}`");
            let is_of = |row: &&&str| row.split('|').nth(1).is_some_and(|cell| cell.contains(&variable));
            assert_eq!(rows.iter().filter(is_of).count(), 1, "rows for {name} in docs/configuration.md");
        }
    }

    #[test]
    fn an_invalid_setting_is_reported_with_the_accepted_values() {
        for (variable, value) in [
            ("AUDIT_TABLE", "no spaces please"),
            ("AUDIT_TABLE", ""),
            ("FAILURE_BUCKET", "Capital"),
            ("_HANDLER", "witnes"),
            ("WITNESS_BUCKET", "Capital"),
            ("AUDIT_PROVENANCE", "maybe"),
            ("SERVICE_NAME", ":x"),
            ("SERVICE_NAME", " "),
            ("STAGE", "   "),
            ("STAGE", "ünïcode"),
            ("METRICS_NAMESPACE", "AWS/Lambda"),
            ("LATE_MINUTES", "0"),
            ("LATE_MINUTES", "5 minutes"),
            ("PROMETHEUS_LISTEN", "9464"),
            ("AWS_LAMBDA_LOG_LEVEL", "LOUD"),
            ("AWS_LAMBDA_LOG_FORMAT", "xml"),
            ("AWS_XRAY_DAEMON_ADDRESS", "tcp:127.0.0.1:2000"),
            ("AWS_ENDPOINT_URL_S3", "localhost:9000"),
        ] {
            let mut environment = HashMap::from([("AUDIT_TABLE", "Audit")]);
            environment.insert(variable, value);
            let error = Settings::read(&environment).unwrap_err().to_string();
            let problem = if value.is_empty() { "is not set".to_owned() } else { format!("is {value:?}") };
            assert!(error.starts_with(&format!("{variable} {problem}; it must be ")), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn the_daemons_address_is_read_in_both_forms() {
        for text in ["127.0.0.1:2000", "udp:127.0.0.1:2000", "tcp:127.0.0.2:3000 udp:127.0.0.1:2000"] {
            let environment = HashMap::from([("AUDIT_TABLE", "Audit"), ("AWS_XRAY_DAEMON_ADDRESS", text)]);
            let daemon = Settings::read(&environment).unwrap().xray_daemon;
            assert_eq!(daemon, Some(SocketAddr::from(([127, 0, 0, 1], 2000))), "{text}");
        }
    }

    #[test]
    fn amazons_roots_are_enough_only_for_amazons_public_endpoints() {
        for (variable, value, trust) in [
            ("AWS_REGION", "eu-central-1", Trust::AmazonRoots),
            ("AWS_REGION", "cn-north-1", Trust::System),
            ("AWS_REGION", "us-isob-east-1", Trust::System),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000", Trust::AmazonRoots),
            ("AWS_ENDPOINT_URL_DYNAMODB", "https://dynamodb.example.test", Trust::System),
            ("AWS_ENDPOINT_URL", "https://aws.example.test", Trust::System),
        ] {
            let environment = HashMap::from([("AUDIT_TABLE", "Audit"), (variable, value)]);
            assert_eq!(Settings::read(&environment).unwrap().trust, trust, "{variable}={value}");
        }
    }

    #[test]
    fn s3_has_its_own_endpoint_or_that_of_all_services() {
        let (own, all) = ("http://127.0.0.1:9000", "http://127.0.0.1:4566");
        for (variables, expected) in [
            (vec![("AWS_ENDPOINT_URL_S3", own), ("AWS_ENDPOINT_URL", all)], own),
            (vec![("AWS_ENDPOINT_URL", all)], all),
        ] {
            let mut environment = HashMap::from([("AUDIT_TABLE", "Audit")]);
            environment.extend(variables);
            assert_eq!(Settings::read(&environment).unwrap().s3_endpoint.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_dimension_may_have_spaces_and_a_colon_inside() {
        let environment = HashMap::from([("AUDIT_TABLE", "Audit"), ("SERVICE_NAME", "the config: audit")]);
        assert_eq!(Settings::read(&environment).unwrap().service, "the config: audit");
    }

    #[test]
    fn levels_and_switches_are_read_in_upper_and_lower_case() {
        let environment = HashMap::from([
            ("AUDIT_TABLE", "arn:aws:dynamodb:eu-central-1:123456789012:table/Audit"),
            ("AUDIT_PROVENANCE", "ON"),
            ("AWS_LAMBDA_LOG_LEVEL", "debug"),
            ("AWS_LAMBDA_LOG_FORMAT", "Text"),
        ]);
        let settings = Settings::read(&environment).unwrap();
        assert_eq!(settings.audit_table, "arn:aws:dynamodb:eu-central-1:123456789012:table/Audit");
        assert!(settings.provenance);
        assert_eq!((settings.log_level, settings.log_format), (LevelFilter::DEBUG, LogFormat::Text));
    }
}
